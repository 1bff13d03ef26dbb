"""``control``: sets the knobs, writes the session log. Human time, far from sound."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from firmware_py.board.map import PANIC_DTYPE, TARGET_DTYPE, Ends
from firmware_py.board.telemetry import COUNTERS, as_dict, new_counters
from firmware_py.ports import Journal
from firmware_py.processes.player_sound import PlayerSound
from firmware_py.processes.turn_log import TurnLog
from firmware_py.settings import Settings
from kelly_edge.contract import HEARD_DTYPE, KNOBS_DTYPE, NOTE_DTYPE, PROGRAMMES, RUNGS, SessionState
from kelly_edge.emotion.programme import LOUDEST_VELOCITY

HEARD_LOGGED = ("valence", "arousal", "confidence", "tempo_bpm", "density_hz", "level_db", "presence")
TARGET_LOGGED = ("valence", "arousal", "density", "tempo_bpm")
DIGITS = 6
"""Of the numbers in the log, after the point. Chosen: microseconds."""
HEARD_DIGITS = 3
"""Of what is heard and asked, which is written up to twelve times a second; turns hold all digits. Chosen:
finer than any of it is certain."""


def initial_knobs(settings: Settings, programmes: Sequence[str] = PROGRAMMES) -> NDArray[Any]:
    """The knobs as the settings put them, before anybody turns one: a 0-d KNOBS_DTYPE array."""
    knobs = np.zeros((), KNOBS_DTYPE)
    knobs["dry_wet"] = settings.voice.dry_wet
    knobs["brightness"] = settings.voice.brightness
    knobs["octave"] = settings.voice.octave
    knobs["voice"] = settings.voice.names.index(settings.voice.selected)
    knobs["programme"] = programmes.index(settings.emotion.programme)
    knobs["loudest"] = LOUDEST_VELOCITY
    return knobs


def _rounded(record: NDArray[Any], names: tuple[str, ...], n_digits: int = DIGITS) -> dict[str, float]:
    return {name: round(float(record[name]), n_digits) for name in names}


def _nobody_listens(channel: int, pitch: int, time_s: float) -> None:
    pass


class ControlStage:
    """One ``step()`` logs new records; ``close()`` logs the counters.

    Parameters
    ----------
    played: told channel, pitch and due time of every note that was sent.
    programmes: their names, as the knob counts them.
    """

    def __init__(
        self,
        ends: Ends,
        settings: Settings,
        journal: Journal,
        played: Callable[[int, int, float], None] = _nobody_listens,
        programmes: Sequence[str] = PROGRAMMES,
    ) -> None:
        self._ends = ends
        self._programmes = tuple(programmes)
        self._journal = journal
        self._played = played
        self.counters = new_counters("control")
        self._heard = np.zeros((), HEARD_DTYPE)
        self._target = np.zeros((), TARGET_DTYPE)
        self._note = np.zeros((), NOTE_DTYPE)
        self._heard_s = -1.0
        self._sound = PlayerSound()
        self._turns = TurnLog(ends, journal)
        self._plan: dict[str, Any] = {}
        self._panic = np.zeros((), PANIC_DTYPE)
        self._was_panic = False
        self.start = initial_knobs(settings, programmes)
        """Where the settings put the knobs."""
        self.knobs = self.start.copy()
        # A control process started again: knobs stay where hands put them, and a count that changed would be
        # a panic or a new session.
        if ends.cell_to_read("knobs").read(self.knobs):
            self.knobs["voice"] = min(int(self.knobs["voice"]), len(settings.voice.names) - 1)
            self.knobs["programme"] = min(int(self.knobs["programme"]), len(self._programmes) - 1)
        ends.cell_to_write("knobs").write(self.knobs)
        self.last_note_s = -math.inf
        """When the last note that was played was due."""
        self.log_knobs(0.0)

    def turn(self, time_s: float, **values: float) -> None:
        """Set knobs by name; they reach the other processes at once."""
        for name, value in values.items():
            self.knobs[name] = value
        self._ends.cell_to_write("knobs").write(self.knobs)
        self.log_knobs(time_s)

    def press_panic(self, time_s: float) -> None:
        """Silence everything that sounds, until somebody resumes."""
        self._count("n_panics", time_s)

    def resume(self, time_s: float) -> None:
        """End the silence of a panic."""
        self._count("n_resumes", time_s)

    def begin_session(self, time_s: float) -> None:
        """Begin a new session: the programme's clock starts again."""
        self.turn(time_s, n_sessions=int(self.knobs["n_sessions"]) + 1, session=SessionState.ON)

    def end_session(self, time_s: float) -> None:
        """End the session that is on: the music comes to its end, then silence until one is begun."""
        self.turn(time_s, session=SessionState.ENDED)

    @property
    def is_session_on(self) -> bool:
        """Whether a session is on."""
        return int(self.knobs["session"]) == SessionState.ON

    def mark(self, time_s: float, text: str = "") -> None:
        """Mark this moment in the session log."""
        self._journal.record({"kind": "marker", "time_s": round(time_s, DIGITS), "text": text})
        self._count("n_marks", time_s)

    def forget_place(self, time_s: float) -> None:
        """Forget what was learned of the place: it is another one."""
        self._count("n_places", time_s)

    @property
    def is_panic(self) -> bool:
        """Whether the box is silent until somebody resumes."""
        self._ends.cell_to_read("panic").read(self._panic)
        return bool(self._panic["is_on"])

    def publish(self) -> None:
        """Put this process's counters on the board."""
        self._ends.count_drops(self.counters)
        self._ends.cell_to_write("telemetry_control").write(self.counters)

    def step(self) -> None:
        """Log the newest hop group, a panic, and the turns made and notes played since the last step."""
        heard, target = self._heard, self._target
        self._turns.step()
        if self.is_panic != self._was_panic:
            self._was_panic = not self._was_panic
            since_s = round(float(self._panic["since_s"]), DIGITS)
            self._journal.record({"kind": "panic", "time_s": since_s, "is_on": self._was_panic})
        if self._ends.cell_to_read("heard").read(heard) and heard["time_s"] != self._heard_s:
            self._heard_s = float(heard["time_s"])
            has_target = self._ends.cell_to_read("target").read(target)
            self._journal.record(
                {
                    "kind": "emotion",
                    "time_s": round(self._heard_s, HEARD_DIGITS),
                    **_rounded(heard, HEARD_LOGGED, HEARD_DIGITS),
                    "posterior": [round(float(p), HEARD_DIGITS) for p in heard["posterior"]],
                    "tonic": int(heard["tonic"]),
                    "mode": int(heard["mode"]),
                    "target": _rounded(target, TARGET_LOGGED, HEARD_DIGITS),
                }
            )
            if has_target:
                self._log_plan()
            if sound := self._sound.hear(heard):
                self._journal.record(sound)
        while self._ends.ring_to_read("played").read(self._note):
            note = self._note
            self.last_note_s = float(note["due_s"])
            self._played(int(note["channel"]), int(note["pitch"]), float(note["due_s"]))
            self._journal.record(
                {
                    "kind": "note",
                    **_rounded(note, ("onset_s", "due_s", "duration_s")),
                    "pitch": int(note["pitch"]),
                    "velocity": int(note["velocity"]),
                    "bar": int(note["bar"]),
                    "rung": RUNGS[int(note["rung"])],
                }
            )

    def close(self) -> None:
        """Log the records left and the counters of every process."""
        self.step()
        self._turns.close()
        self.log_counters()

    def begin_turns(self) -> None:
        """A log begins: the turns that the composer takes from now on are its own."""
        self._turns.begin()

    def go_on_with_turns(self, after: int) -> None:
        """A log goes on that holds the composer's turns up to number ``after``."""
        self._turns.go_on(after)

    def end_turns(self) -> None:
        """The log ends: put the turns into it that the composer took before the music began anew."""
        self._turns.end()

    def log_counters(self, is_base: bool = False) -> None:
        """Log what every process counted since it began; ``is_base``: before this session."""
        base = {"is_base": True} if is_base else {}
        for process in COUNTERS:
            counters = new_counters(process)
            self._ends.cell_to_read(f"telemetry_{process}").read(counters)
            self._journal.record({"kind": "counters", "process": process, **base, **as_dict(counters)})

    def _count(self, name: str, time_s: float) -> None:
        self.turn(time_s, **{name: int(self.knobs[name]) + 1})

    def _log_plan(self) -> None:
        """What the box plays, where that changed."""
        target = self._target
        plan = {
            "tonic": int(target["tonic"]),
            "mode": int(target["mode"]),
            "tempo_bpm": round(float(target["played_tempo_bpm"]), 1),
            "leads": bool(target["leads"]),
            "phase": int(target["phase"]),
        }
        if plan != self._plan:
            self._plan = plan
            self._journal.record({"kind": "plan", "time_s": round(self._heard_s, DIGITS), **plan})

    def log_knobs(self, time_s: float) -> None:
        """Log where the knobs stand."""
        values = {
            name: round(float(self.knobs[name]), DIGITS)
            for name in KNOBS_DTYPE.names or ()
            if name != "programme"
        }
        programme = self._programmes[int(self.knobs["programme"])]
        self._journal.record(
            {"kind": "knobs", "time_s": round(time_s, DIGITS), "programme": programme, **values}
        )
