"""Which controller turns which knob: the record that ``learn`` makes, a file keeps and the processes obey."""

from dataclasses import dataclass
from typing import Final

from firmware_py.ports.midi import FIRST_MODE_MESSAGE, N_CHANNELS
from kelly_edge.shared.printed import printed

N_NUMBERS: Final = FIRST_MODE_MESSAGE
N_COARSE: Final = 32
"""Control changes below are the coarse halves (MSB) of 14-bit ones, whose fine halves (LSB) are 32 higher.
MIDI 1.0."""
NO_PARAMETER: Final = 0x3FFF
"""NRPN or RPN 127/127 selects none. MIDI 1.0."""

CC, NRPN, RPN = "cc", "nrpn", "rpn"
"""How a controller is addressed: a control change of its own, or a (non-)registered parameter number that
control changes 98 to 101 select and data entry (6, 38, 96, 97) sets."""
SEVEN_BIT = "7-bit"
MSB_FIRST, LSB_FIRST = "14-bit, MSB first", "14-bit, LSB first"
LSB_ONLY = "7-bit in the LSB"
TWOS_COMPLEMENT, BINARY_OFFSET, SIGN_MAGNITUDE = "two's complement", "binary offset", "sign-magnitude"
INCREMENTS = "increments"
SWITCH = "switch"
PAIRS: Final = (MSB_FIRST, LSB_FIRST)
RELATIVE: Final = (TWOS_COMPLEMENT, BINARY_OFFSET, SIGN_MAGNITUDE)
"""Codings of the steps of an endless encoder: -1 is 127, 63 or 65."""
CODINGS: Final = {
    CC: (SEVEN_BIT, *PAIRS, *RELATIVE, SWITCH),
    NRPN: (SEVEN_BIT, *PAIRS, *RELATIVE, SWITCH, LSB_ONLY, INCREMENTS),
    RPN: (SEVEN_BIT, *PAIRS, *RELATIVE, SWITCH, LSB_ONLY, INCREMENTS),
}


Source = tuple[str, int, str, int]
"""Port, channel, address and number."""


@dataclass(frozen=True)
class Learned:
    """``control`` is turned by ``number`` on ``channel`` (0..15) of ``port``.

    ``number`` is a control change (0..119; of a 14-bit one the coarse half, 0..31) or the number of an NRPN
    or RPN (0..16382), as ``address`` says; ``coding`` is one of ``CODINGS`` of that address.
    """

    control: str
    port: str
    channel: int
    number: int
    address: str = CC
    coding: str = SEVEN_BIT

    @property
    def sources(self) -> frozenset[Source]:
        """Where it is turned: port, channel, address and number of everything that it listens to."""
        numbers = [self.number]
        if self.address == CC and self.coding in PAIRS:
            numbers.append(self.number + N_COARSE)
        return frozenset((self.port, self.channel, self.address, number) for number in numbers)

    @property
    def is_possible(self) -> bool:
        """Whether MIDI has such a controller."""
        n_numbers = N_COARSE if self.coding in PAIRS else N_NUMBERS
        return (
            0 <= self.channel < N_CHANNELS
            and self.coding in CODINGS.get(self.address, ())
            and 0 <= self.number < (n_numbers if self.address == CC else NO_PARAMETER)
        )

    @property
    def description(self) -> str:
        """The controller as a person knows it."""
        return described(self.port, self.channel, self.address, self.number, self.coding)


def described(port: str, channel: int, address: str, number: int, coding: str) -> str:
    """A controller as a person knows it; ``coding`` may be empty, where it is not known."""
    is_pair = address == CC and coding in PAIRS
    what = (
        f"control change {number}" + (f" with {number + N_COARSE}" if is_pair else "")
        if address == CC
        else f"{address.upper()} {number}"
    )
    kinds = {**dict.fromkeys(RELATIVE, "endless encoder, "), SWITCH: "button or pedal: "}
    how = f" ({kinds.get(coding, '')}{coding})" if coding not in ("", SEVEN_BIT) else ""
    return f"{what}{how}, channel {channel + 1}, {printed(port)}"
