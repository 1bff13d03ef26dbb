"""Part of ``control``: MIDI controllers turn the knobs they were taught to (``kelly-edge learn``).

One table says what a controller may turn, and how far.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Protocol

from firmware_py.ports import Clock, Knobs
from firmware_py.ports.learned import Learned
from firmware_py.ports.midi import SCAN_EVERY_S
from firmware_py.processes.controller_values import At, By, Receivers
from firmware_py.processes.feedback import FeedbackGuard
from kelly_edge.contract import BUTTONS, GRID_DIGITS, KNOB_RANGES, PROGRAMMES, WHOLE_KNOBS
from kelly_edge.errors import KellyError
from kelly_edge.shared.printed import printed
from kelly_edge.units import clamp

# MIDI 1.0: highest value of a control change; its middle, as pan and balance define it.
HIGHEST: Final = 127
MIDDLE: Final = 64
STEPS_THROUGH: Final = 50
"""Steps of an endless encoder from one end of a knob to the other: those of the panel's valence knob.
Chosen: two turns and a half of an encoder of twenty detents."""


@dataclass(frozen=True)
class Control:
    """What a controller turns: ``knob`` of KNOBS_DTYPE between ``low`` and ``high``.

    ``kind``: ``range``, with the middle of a bipolar one at 64; ``choice`` of whole numbers;
    ``button``, which counts presses. ``both_edges``: it counts releases too, for a button may stay down.
    """

    knob: str
    kind: str
    low: float = 0.0
    high: float = 1.0
    both_edges: bool = False


CONTROLS: Final[Mapping[str, Control]] = {
    **{
        name: Control(name, "choice" if name in WHOLE_KNOBS else "range", low, high)
        for name, (low, high) in KNOB_RANGES.items()
    },
    "programme": Control("programme", "choice", 0.0, len(PROGRAMMES) - 1.0),
    **{name: Control(count, "button", both_edges=name == "panic") for name, count in BUTTONS.items()},
}


def _highest(control: Control, n_voices: int) -> float:
    return n_voices - 1.0 if control.knob == "voice" else control.high


def turned(control: Control, value: int, n_voices: int, top: int = HIGHEST) -> float:
    """The knob's value for a controller's ``value`` (0..``top``); a button has none."""
    if control.kind == "choice":
        n_choices = int(_highest(control, n_voices) - control.low) + 1
        return control.low + value * n_choices // (top + 1)
    if control.low < 0.0 < control.high:
        # The controller's middle is exactly the knob's.
        middle = (top + 1) // 2
        span = control.high if value >= middle else -control.low
        return span * (value - middle) / (top - middle if value >= middle else middle)
    return control.low + (control.high - control.low) * value / top


def stepped(control: Control, value: float, n_steps: int, n_voices: int) -> float:
    """The knob's value after an endless encoder turned it by ``n_steps`` from ``value``.

    A choice goes on by one however fast the encoder is turned: none is passed over.
    """
    high = _highest(control, n_voices)
    if control.kind == "choice":
        moved = float(round(value) + (n_steps > 0) - (n_steps < 0))
    else:
        moved = round(value + n_steps * (high - control.low) / STEPS_THROUGH, GRID_DIGITS)
    return clamp(moved, control.low, high)


class Edges:
    """Presses and releases of buttons, each of whatever values: from 64 on a button is down."""

    def __init__(self) -> None:
        self._is_down: dict[object, bool] = {}

    def is_press(self, source: object, value: int) -> bool:
        """Whether the button of ``source`` goes down with ``value``."""
        return self.is_edge(source, value) and value >= MIDDLE

    def is_edge(self, source: object, value: int) -> bool:
        """Whether it goes down or up; a button's first message is an edge."""
        before = self._is_down.get(source)
        self._is_down[source] = value >= MIDDLE
        return before is not self._is_down[source]


class Inputs(Protocol):
    """Where controllers are heard."""

    def receive(self) -> Iterator[tuple[str, bytes]]:
        """What came since the last call: port and message."""

    def scan(self) -> None:
        """Look for ports that came or went."""


class ControllerStage:
    """One ``step()`` moves the knobs whose controllers were turned since the last one.

    Parameters
    ----------
    changed: gives the learned controls where they are new, else None; may raise a ``KellyError``.
    n_programmes: how many there are to choose from.
    """

    def __init__(
        self,
        knobs: Knobs,
        inputs: Inputs,
        changed: Callable[[], Sequence[Learned] | None],
        guard: FeedbackGuard,
        n_voices: int,
        warn: Callable[[str], None],
        clock: Clock,
        n_programmes: int = len(PROGRAMMES),
    ) -> None:
        programme = replace(CONTROLS["programme"], high=n_programmes - 1.0)
        self._controls = {**CONTROLS, "programme": programme}
        self._knobs = knobs
        self._inputs = inputs
        self._changed = changed
        self._guard = guard
        self._n_voices = n_voices
        self._warn = warn
        self._clock = clock
        self._receivers = Receivers()
        self._edges = Edges()
        self._presses = {
            "panic": knobs.press_panic,
            "resume": knobs.resume,
            "session": knobs.begin_session,
            "stop": knobs.end_session,
            "mark": knobs.mark,
        }
        self._warned_of: set[str] = set()
        self._scan_s = clock.now_s()
        self.n_taken = 0

    @property
    def n_refused(self) -> int:
        """Control changes that were no hand."""
        return self._guard.n_refused

    def step(self) -> None:
        """Take in the messages that came; now and then look for ports and for a new map."""
        now_s = self._clock.now_s()
        if now_s >= self._scan_s:
            self._scan_s = now_s + SCAN_EVERY_S
            self._inputs.scan()
            self._learn()
        values: dict[str, float] = {}
        for port, message in self._inputs.receive():
            if self._guard.admits(port, message, now_s):
                self._take(port, message, values, now_s)
            elif self._guard.is_looping(port, now_s) and port not in self._warned_of:
                self._warned_of.add(port)
                self._warn(f"MIDI input {printed(port)} returns what the box plays; its knobs are not heard")
        for name, whole in self._receivers.due(now_s):
            self._turn(name, whole, values)
        if values:
            self._knobs.turn(now_s, **values)

    def _learn(self) -> None:
        try:
            learned = self._changed()
        except KellyError as error:
            self._warn(str(error))
            return
        if learned is not None:
            self._receivers.learn(known for known in learned if known.control in CONTROLS)

    def _take(self, port: str, message: bytes, values: dict[str, float], now_s: float) -> None:
        if (taken := self._receivers.take(port, message, now_s)) is None:
            return
        name, heard = taken
        self.n_taken += 1
        control = self._controls[name]
        if control.kind != "button":
            self._turn(name, heard, values)
        elif isinstance(heard, At):
            counts = self._edges.is_edge if control.both_edges else self._edges.is_press
            if counts(name, heard.as_7_bit):
                self._presses[name](now_s)

    def _turn(self, name: str, heard: At | By, values: dict[str, float]) -> None:
        """Of a turn only where it ended counts."""
        control = self._controls[name]
        if isinstance(heard, At):
            values[control.knob] = turned(control, heard.value, self._n_voices, heard.top)
        else:
            value = values.get(control.knob, float(self._knobs.knobs[control.knob]))
            values[control.knob] = stepped(control, value, heard.n_steps, self._n_voices)
