"""Part of ``control``: MIDI controllers turn the knobs they were taught to (``kelly-edge learn``).

One table says what a controller may turn, and how far.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from firmware_py.devices.learned_controls import Learned
from firmware_py.devices.ports import Clock
from firmware_py.processes.feedback import FeedbackGuard
from kelly_edge.contract import PROGRAMMES
from kelly_edge.errors import KellyError

HIGHEST: Final = 127
MIDDLE: Final = 64
SCAN_EVERY_S: Final = 1.0


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
    "valence": Control("valence", "range", -1.0, 1.0),
    "arousal": Control("arousal", "range", -1.0, 1.0),
    "density": Control("density", "range", -1.0, 1.0),
    "dry_wet": Control("dry_wet", "range"),
    "brightness": Control("brightness", "range", -1.0, 1.0),
    "octave": Control("octave", "choice", -2.0, 2.0),
    "voice": Control("voice", "choice", 0.0, float("inf")),  # as many as there are
    "programme": Control("programme", "choice", 0.0, len(PROGRAMMES) - 1.0),
    "panic": Control("n_panics", "button", both_edges=True),
    "resume": Control("n_resumes", "button"),
    "session": Control("n_sessions", "button"),
}


def turned(control: Control, value: int, n_voices: int) -> float:
    """The knob's value for a controller's ``value`` (0..127); a button has none."""
    if control.kind == "choice":
        high = n_voices - 1.0 if control.high == float("inf") else control.high
        n_choices = int(high - control.low) + 1
        return control.low + value * n_choices // (HIGHEST + 1)
    if control.low < 0.0:
        # The controller's middle is exactly the knob's.
        span = control.high if value >= MIDDLE else -control.low
        return span * (value - MIDDLE) / (HIGHEST - MIDDLE if value >= MIDDLE else MIDDLE)
    return control.low + (control.high - control.low) * value / HIGHEST


class Edges:
    """Presses and releases of buttons, each of whatever values: from 64 on a button is down."""

    def __init__(self) -> None:
        self._is_down: dict[object, bool] = {}

    def is_press(self, source: object, value: int) -> bool:
        """Whether the button of ``source`` goes down with ``value``."""
        return self.is_edge(source, value) and value >= MIDDLE

    def is_edge(self, source: object, value: int) -> bool:
        """Whether it goes down or up; what is heard first of a button is an edge."""
        before = self._is_down.get(source)
        self._is_down[source] = value >= MIDDLE
        return before is not self._is_down[source]


class Knobs(Protocol):
    """What is turned: the ``control`` process's knobs."""

    def turn(self, time_s: float, **values: float) -> None:
        """Set knobs by name."""

    def press_panic(self, time_s: float) -> None:
        """One more panic."""

    def resume(self, time_s: float) -> None:
        """End the silence of a panic."""

    def begin_session(self, time_s: float) -> None:
        """Begin a new session."""


class Inputs(Protocol):
    """Where controllers are heard."""

    def receive(self) -> Iterator[tuple[str, bytes]]:
        """What came since the last call: port and message."""

    def scan(self) -> None:
        """Look for ports that came or went."""


class ControllerStage:
    """One ``step()`` turns what was turned since the last one.

    Parameters
    ----------
    changed: gives the learned controls where they are new, else None; may raise a ``KellyError``.
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
    ) -> None:
        self._knobs = knobs
        self._inputs = inputs
        self._changed = changed
        self._guard = guard
        self._n_voices = n_voices
        self._warn = warn
        self._clock = clock
        self._learned: dict[tuple[str, int, int], str] = {}
        self._edges = Edges()
        self._presses = {"panic": knobs.press_panic, "resume": knobs.resume, "session": knobs.begin_session}
        self._warned_of: set[str] = set()
        self._scan_s = clock.now_s()
        self.n_taken = 0

    @property
    def n_refused(self) -> int:
        """Control changes that were no hand."""
        return self._guard.n_refused

    def step(self) -> None:
        """Take in what came; now and then look for ports and for a new map."""
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
                self._warn(f"MIDI input {port} returns what the box plays; its knobs are not heard")
        if values:
            self._knobs.turn(now_s, **values)

    def _learn(self) -> None:
        try:
            learned = self._changed()
        except KellyError as error:
            self._warn(str(error))
            return
        if learned is not None:
            self._learned = {c.source: c.control for c in learned if c.control in CONTROLS}

    def _take(self, port: str, message: bytes, values: dict[str, float], now_s: float) -> None:
        source = (port, message[0] & 0x0F, message[1])
        name = self._learned.get(source)
        if name is None:
            return
        control, value = CONTROLS[name], message[2]
        self.n_taken += 1
        if control.kind == "button":
            counts = self._edges.is_edge if control.both_edges else self._edges.is_press
            if counts(source, value):
                self._presses[name](now_s)
        else:
            # Of a turn only where it ended counts.
            values[control.knob] = turned(control, value, self._n_voices)
