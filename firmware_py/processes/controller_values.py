"""Control changes of learned controllers to where their knobs stand, or by how much they were turned.

The two halves of a 14-bit value come one after the other; a value counts once both are there, so that a slow
hand never makes the knob jump by a coarse step and back.

The numbers are those of the MIDI 1.0 specification (table 3, and RP-018 for data entry).
"""

from collections import defaultdict
from collections.abc import Iterable
from typing import Final, NamedTuple, Protocol

from firmware_py.ports.learned import (
    BINARY_OFFSET,
    CC,
    INCREMENTS,
    LSB_ONLY,
    MSB_FIRST,
    N_COARSE,
    NO_PARAMETER,
    NRPN,
    PAIRS,
    RELATIVE,
    RPN,
    SIGN_MAGNITUDE,
    Learned,
    Source,
)

# MIDI 1.0: the highest values, and controllers that carry a parameter's value.
TOP_7_BIT, TOP_14_BIT = 127, 16_383
DATA_ENTRY, DATA_ENTRY_LSB, DATA_INCREMENT, DATA_DECREMENT = 6, 38, 96, 97
DATA: Final = (DATA_ENTRY, DATA_ENTRY_LSB, DATA_INCREMENT, DATA_DECREMENT)
SELECTS: Final = {99: (NRPN, True), 98: (NRPN, False), 101: (RPN, True), 100: (RPN, False)}
"""Control change → which kind of parameter it selects, and whether it is the coarse half of the number."""
PAIR_WITHIN_S: Final = 0.05
"""How long to wait for the second half of a value; it follows the first within a few milliseconds. Chosen
with a wide margin."""
SIGN_BIT: Final = 64
"""Of relative values, in the format of common encoders."""


Place = tuple[str, int]
"""Port and channel."""


class At(NamedTuple):
    """Where a controller stands: ``value`` of ``top``."""

    value: int
    top: int

    @property
    def as_7_bit(self) -> int:
        """The value of 127, for buttons."""
        return self.value * TOP_7_BIT // self.top


class By(NamedTuple):
    """How many steps an endless encoder was turned, and which way."""

    n_steps: int


class Selection:
    """Which parameter of one channel data entry sets."""

    def __init__(self) -> None:
        self._halves: dict[tuple[str, bool], int] = {}
        self._kind = ""

    def hear(self, number: int, value: int) -> bool:
        """Take in a control change; whether it selects a parameter."""
        if number not in SELECTS:
            return False
        self._halves[SELECTS[number]] = value
        self._kind = SELECTS[number][0]
        return True

    @property
    def is_known(self) -> bool:
        """Whether any parameter was selected since the beginning, or none expressly."""
        return bool(self._kind)

    @property
    def parameter(self) -> tuple[str, int] | None:
        """Address and number of the parameter; None where none is selected."""
        coarse, fine = (self._halves.get((self._kind, is_coarse)) for is_coarse in (True, False))
        if coarse is None or fine is None or (number := coarse << 7 | fine) == NO_PARAMETER:
            return None
        return self._kind, number

    def route(self, number: int) -> tuple[str, int]:
        """Address and number that a control change other than ``SELECTS`` belongs to."""
        return (self.parameter if number in DATA else None) or (CC, number)


def steps(coding: str, value: int) -> int:
    """The steps that ``value`` (0..127) of an endless encoder means."""
    if coding == BINARY_OFFSET:
        return value - SIGN_BIT
    if coding == SIGN_MAGNITUDE:
        return value if value < SIGN_BIT else SIGN_BIT - value
    return value if value < SIGN_BIT else value - 128


class Receiver(Protocol):
    """Makes sense of the control changes of one controller."""

    def take(self, number: int, value: int, now_s: float) -> At | By | None:
        """One control change; what follows from it, if anything does yet."""

    def due(self, now_s: float) -> At | None:
        """What waited for a second half that did not come."""


class Plain:
    """A controller whose every message stands for itself."""

    def __init__(self, learned: Learned) -> None:
        self._coding = learned.coding
        self._is_parameter = learned.address != CC
        self._only = DATA_ENTRY_LSB if learned.coding == LSB_ONLY else DATA_ENTRY

    def take(self, number: int, value: int, now_s: float) -> At | By | None:
        """See ``Receiver``."""
        if self._coding == INCREMENTS:
            return By({DATA_INCREMENT: 1, DATA_DECREMENT: -1}.get(number, 0))
        if self._is_parameter and number != self._only:
            return None
        if self._coding in RELATIVE:
            return By(steps(self._coding, value))
        return At(value, TOP_7_BIT)

    def due(self, now_s: float) -> At | None:
        """See ``Receiver``."""
        return None


class Pair:
    """A 14-bit controller. A new MSB alone means LSB 0; an LSB alone leaves the MSB, both as specified."""

    def __init__(self, learned: Learned) -> None:
        self._first_is_msb = learned.coding == MSB_FIRST
        self._is_cc = learned.address == CC
        self._msb: int | None = None
        self._lsb = 0
        self._waits_since_s: float | None = None

    def take(self, number: int, value: int, now_s: float) -> At | By | None:
        """See ``Receiver``."""
        if not self._is_cc and number not in (DATA_ENTRY, DATA_ENTRY_LSB):
            return None
        is_msb = number < N_COARSE
        is_first = is_msb == self._first_is_msb
        # Two first halves in a row: the one before was a whole message.
        before = self._whole() if is_first else None
        if not is_msb:
            self._lsb = value
        else:
            self._msb = value
            if is_first:
                self._lsb = 0
        if is_first:
            self._waits_since_s = now_s
            return before
        self._waits_since_s = now_s
        return self._whole()

    def due(self, now_s: float) -> At | None:
        """See ``Receiver``."""
        if self._waits_since_s is None or now_s - self._waits_since_s < PAIR_WITHIN_S:
            return None
        return self._whole()

    def _whole(self) -> At | None:
        is_waiting, self._waits_since_s = self._waits_since_s is not None, None
        return At(self._msb << 7 | self._lsb, TOP_14_BIT) if is_waiting and self._msb is not None else None


class Receivers:
    """All learned controllers: which of them a message belongs to, and what it means."""

    def __init__(self) -> None:
        self._receivers: dict[Source, tuple[str, Receiver]] = {}
        self._selections: defaultdict[Place, Selection] = defaultdict(Selection)
        self._only_parameters: dict[Place, tuple[str, int]] = {}
        """The parameter learned of a port's channel, where it is the only one."""

    def learn(self, learned: Iterable[Learned]) -> None:
        """Listen to these from now on, and to no others."""
        self._receivers.clear()
        parameters: defaultdict[Place, list[tuple[str, int]]] = defaultdict(list)
        for known in learned:
            receiver = Pair(known) if known.coding in PAIRS else Plain(known)
            self._receivers.update(dict.fromkeys(known.sources, (known.control, receiver)))
            if known.address != CC:
                parameters[known.port, known.channel].append((known.address, known.number))
        self._only_parameters = {place: only[0] for place, only in parameters.items() if len(only) == 1}

    def take(self, port: str, message: bytes, now_s: float) -> tuple[str, At | By] | None:
        """A control change: the control that it turns, and where to."""
        channel, number, value = message[0] & 0x0F, message[1], message[2]
        selection = self._selections[port, channel]
        if selection.hear(number, value):
            return None
        route = selection.route(number)
        if number in DATA and not selection.is_known:
            # Some devices select a parameter once, and that was before this process began.
            route = self._only_parameters.get((port, channel), route)
        if (known := self._receivers.get((port, channel, *route))) is None:
            return None
        control, receiver = known
        heard = receiver.take(number, value, now_s)
        return None if heard is None else (control, heard)

    def due(self, now_s: float) -> list[tuple[str, At]]:
        """Values whose second half did not come; asked for after all that was received."""
        found = []
        for control, receiver in set(self._receivers.values()):
            if (whole := receiver.due(now_s)) is not None:
                found.append((control, whole))
        return found
