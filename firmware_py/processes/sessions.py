"""Part of ``control``: when a session begins and ends, and what hangs on it: the log, the voice of a phase.

A hand begins and ends sessions through the knobs: ``n_sessions`` counts those begun, ``session`` says where
one stands. This stage sees both. Where the settings let a session begin itself it begins when somebody
plays; each ends itself after a long silence. Between sessions nothing is logged. What is on stands in the
``session`` cell, which outlives this process.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from firmware_py.board.map import LOG_BYTES, NAME_BYTES, NOTE_BYTES, SESSION_DTYPE, TARGET_DTYPE, Ends
from firmware_py.ports import Clock, Knobs
from firmware_py.settings import SessionSettings
from kelly_edge.contract import HEARD_DTYPE, PLAYING, SessionState
from kelly_edge.emotion.programme import REST, Programme

BEGINS_S: Final = 1.0
"""So long somebody must play until a session begins itself: neither a cough nor a chair begins one. Chosen by
hand."""
LAST_CHORD_S: Final = 4.0
"""The log goes on for so long after a hand ended the session, and after the last note began. Chosen: longer
than the last chord."""


class SessionJournal(Protocol):
    """A log that has something to say of sessions alone."""

    @property
    def path(self) -> str:
        """Where the session that is on is written; empty where it is not."""

    def begin(self, about: Mapping[str, Any]) -> None:
        """What is recorded from now on belongs to a new session, of which ``about`` tells."""

    def go_on(self, about: Mapping[str, Any], path: str) -> int:
        """What is recorded from now on belongs to the session whose log another process wrote to ``path``.

        Returns the number of the composer's last turn there; -1 for none. Empty: it had written nothing.
        """

    def end(self) -> None:
        """What is recorded from now on belongs to none, and is not kept."""


class Logged(Knobs, Protocol):
    """The knobs, and what of the box's state a log begins and ends with."""

    def log_knobs(self, time_s: float) -> None:
        """Where the knobs stand."""

    def log_counters(self, is_base: bool = False) -> None:
        """What every process counted; ``is_base``: before this session."""

    def begin_turns(self) -> None:
        """The composer's turns from now on."""

    def go_on_with_turns(self, after: int) -> None:
        """The composer's turns that a process before this one took after number ``after``, and later ones."""

    def end_turns(self) -> None:
        """The composer's turns until now."""

    @property
    def last_note_s(self) -> float:
        """When the last note was due that was played."""


def as_bytes(text: str, longest: int) -> bytes:
    """UTF-8 of ``text``, cut at a whole character."""
    return text.encode("utf-8", "ignore")[:longest].decode("utf-8", "ignore").encode()


def as_text(record: NDArray[Any], name: str) -> str:
    """A text of a record."""
    return bytes(record[name].item()).decode("utf-8", "replace")


class SessionStage:
    """One ``step()`` looks whether a session begins or ends.

    Parameters
    ----------
    programmes: as the knob counts them. voices: names of those loaded.
    """

    def __init__(
        self,
        ends: Ends,
        settings: SessionSettings,
        knobs: Logged,
        log: SessionJournal,
        programmes: Sequence[Programme],
        voices: Sequence[str],
        clock: Clock,
    ) -> None:
        self._ends = ends
        self._settings = settings
        self._knobs = knobs
        self._log = log
        self._programmes = programmes
        self._voices = list(voices)
        self._clock = clock
        self._cell = ends.cell_to_write("session")
        self._record: NDArray[Any] = np.zeros((), SESSION_DTYPE)
        self._heard = np.zeros((), HEARD_DTYPE)
        self._target = np.zeros((), TARGET_DTYPE)
        self._name = self._note = b""
        self._n_sessions = int(knobs.knobs["n_sessions"])
        self._look_s = clock.now_s()
        self._played_s = 0.0
        self._silent_since_s = clock.now_s()
        self._group = -1
        self._phase = (-1, -1)
        self._is_logging = False
        if ends.cell_to_read("session").read(self._record) and self._record["number"]:
            # One that was on when this process ended goes on, or takes in its last chord; in a new run
            # directory the stream has begun anew.
            self._record["begun_s"] = min(self._begun_s, clock.now_s())
            if self._record["is_on"] or self._record["log"]:
                self._go_on_with_log()
        else:
            knobs.turn(clock.now_s(), session=self._between)
            if settings.begin == "start":
                knobs.turn(clock.now_s(), session=SessionState.ON)
                self._begin(clock.now_s(), by_itself=True)
        self._write()

    @property
    def _between(self) -> SessionState:
        """Where a box stands that nobody has begun a session on."""
        return SessionState.ENDED if self._settings.begin == "hand" else SessionState.WAITING

    @property
    def is_on(self) -> bool:
        """Whether a session is on."""
        return bool(self._record["is_on"])

    def name_next(self, name: str, note: str) -> None:
        """What the next session that a hand begins is called, and what is noted of it."""
        self._name, self._note = as_bytes(name, NAME_BYTES), as_bytes(note, NOTE_BYTES)

    def step(self) -> None:
        """Look."""
        now_s = self._clock.now_s()
        self._listen(now_s)
        n_sessions, state = int(self._knobs.knobs["n_sessions"]), int(self._knobs.knobs["session"])
        if n_sessions != self._n_sessions:
            self._begin(now_s, by_itself=False)
        elif self.is_on and state != SessionState.ON:
            self._end(now_s)
        elif not self.is_on and state == SessionState.WAITING and self._played_s >= BEGINS_S:
            self._knobs.begin_session(now_s)
            self._begin(now_s, by_itself=True)
        elif self.is_on and self._is_long_silent(now_s):
            self._knobs.turn(now_s, session=self._between)
            self._end(now_s)
        if self._is_logging and not self.is_on:
            self._close_log_after_last_chord(now_s)
        self._change_voice(now_s)
        self._write()

    def _listen(self, now_s: float) -> None:
        elapsed_s, self._look_s = now_s - self._look_s, now_s
        is_there, before = self._ends.cell_to_read("heard").read(self._heard), self._group
        self._group = int(self._heard["group"])
        plays = is_there and self._group != before and float(self._heard["presence"]) >= PLAYING
        self._played_s = self._played_s + elapsed_s if plays else max(0.0, self._played_s - elapsed_s)
        self._ends.cell_to_read("target").read(self._target)
        if plays or self._phase_is_rest():
            self._silent_since_s = now_s

    def _phase_is_rest(self) -> bool:
        """Whether the programme itself asks for silence."""
        phases = self._programmes[int(self._target["programme"])].phases
        return phases[min(int(self._target["phase"]), len(phases) - 1)].mode == REST

    def _is_long_silent(self, now_s: float) -> bool:
        minutes = self._settings.end_after_min
        return minutes > 0.0 and now_s - max(self._silent_since_s, self._begun_s) >= 60.0 * minutes

    @property
    def _begun_s(self) -> float:
        return float(self._record["begun_s"])

    def _begin(self, now_s: float, by_itself: bool) -> None:
        record = self._record
        self._n_sessions = int(self._knobs.knobs["n_sessions"])
        if self._is_logging:
            self._close_log()
        record["is_on"], record["number"] = True, int(record["number"]) + 1
        record["begun_s"], record["ended_s"], record["by_itself"] = now_s, math.nan, by_itself
        record["name"], record["note"] = ("", "") if by_itself else (self._name, self._note)
        self._name = self._note = b""
        self._phase = (-1, -1)
        self._open_log()

    def _end(self, now_s: float) -> None:
        self._record["is_on"], self._record["ended_s"] = False, now_s
        self._played_s = 0.0

    def _open_log(self) -> None:
        self._log.begin(self._about())
        self._is_logging = True
        self._knobs.begin_turns()
        self._knobs.log_knobs(self._clock.now_s())
        self._knobs.log_counters(is_base=True)

    def _go_on_with_log(self) -> None:
        """What the others counted until now was counted in this session, so there is no new base."""
        after = self._log.go_on(self._about(), as_text(self._record, "log"))
        self._is_logging = True
        self._knobs.go_on_with_turns(after)
        self._knobs.log_knobs(self._clock.now_s())

    def _about(self) -> dict[str, Any]:
        record = self._record
        programme = self._programmes[int(self._knobs.knobs["programme"])].name
        about = {"number": int(record["number"]), "programme": programme}
        return about | {name: text for name in ("name", "note") if (text := as_text(record, name))}

    def _close_log_after_last_chord(self, now_s: float) -> None:
        if now_s - max(float(self._record["ended_s"]), self._knobs.last_note_s) >= LAST_CHORD_S:
            self._close_log()

    def _close_log(self) -> None:
        self._knobs.end_turns()
        self._knobs.log_counters()
        self._log.end()
        self._is_logging = False

    def _change_voice(self, now_s: float) -> None:
        """The voice that a phase asks for, when it begins; a hand may choose another then."""
        target = self._target
        phase = (int(target["programme"]), int(target["phase"]))
        if not self.is_on or phase == self._phase or phase[0] >= len(self._programmes):
            return
        self._phase = phase
        phases = self._programmes[phase[0]].phases
        voice = phases[min(phase[1], len(phases) - 1)].voice
        if voice in self._voices:
            self._knobs.turn(now_s, voice=self._voices.index(voice))

    def _write(self) -> None:
        self._record["log"] = as_bytes(self._log.path if self._is_logging else "", LOG_BYTES)
        self._cell.write(self._record)
