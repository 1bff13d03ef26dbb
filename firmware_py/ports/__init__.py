"""What the processes ask of the outside: Protocols, and the records that pass through them.

Adapters are thin; fakes obey the same rules and pass the same contract tests.
"""

from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from firmware_py.board.telemetry import Report


class SoundCard(Protocol):
    """A full-duplex card at ``SAMPLE_RATE_HZ``, one period of mono float32 at a time."""

    @property
    def is_there(self) -> bool:
        """Whether sound flows; an adapter keeps the pace with silence while its device is away."""

    @property
    def n_capture_xruns(self) -> int:
        """Number of times that captured sound was lost."""

    @property
    def n_playback_xruns(self) -> int:
        """Times that there was nothing to play."""

    def read(self, out: NDArray[np.float32]) -> None:
        """Wait for the next period and fill ``out`` with it (zeros when the card has none)."""

    def write(self, block: NDArray[np.float32]) -> None:
        """Hand a period to the card."""


class MidiOut(Protocol):
    """Somewhere three-byte MIDI messages go."""

    def send(self, due_s: float, status: int, data1: int, data2: int) -> None:
        """Send a message that is due at ``due_s`` (seconds of the stream)."""


class Clock(Protocol):
    """Seconds of the stream; monotonic."""

    def now_s(self) -> float:
        """The time now."""


class Outlet(Protocol):
    """Somewhere ``control`` reports what every process counted. It never waits and never raises."""

    n_lost: int

    def publish(self, report: Report) -> None:
        """Make ``report`` known; one that cannot be is counted in ``n_lost``."""


class Journal(Protocol):
    """Where ``control`` writes what happened."""

    def record(self, entry: dict[str, Any]) -> None:
        """Append one entry; its first key is ``kind``."""


class Edge(NamedTuple):
    """``pin`` became high or low at ``time_s`` (seconds, monotonic)."""

    time_s: float
    pin: int
    is_high: bool


class Knobs(Protocol):
    """What hands move, at the panel, at a controller and on the command line: ``control``'s knobs."""

    knobs: NDArray[Any]
    """A 0-d KNOBS_DTYPE array: where they are."""
    start: NDArray[Any]
    """Where the settings put them."""

    @property
    def is_panic(self) -> bool:
        """Whether the box is silent until somebody resumes."""

    def turn(self, time_s: float, **values: float) -> None:
        """Set knobs by name."""

    def press_panic(self, time_s: float) -> None:
        """Silence everything that sounds, until somebody resumes."""

    def resume(self, time_s: float) -> None:
        """End the silence of a panic."""

    @property
    def is_session_on(self) -> bool:
        """Whether a session is on."""

    def begin_session(self, time_s: float) -> None:
        """Begin a new session: the programme's clock starts again."""

    def end_session(self, time_s: float) -> None:
        """End the session that is on."""

    def mark(self, time_s: float, text: str = "") -> None:
        """Mark this moment in the session log."""

    def forget_place(self, time_s: float) -> None:
        """Forget what was learned of the place: it is another one."""
