"""Notes of committed beats wait here until they must leave, and are corrected and bounded as they do."""

import math
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from firmware_py.board.channels import RingWriter
from firmware_py.processes.listening import Listening
from firmware_py.settings import Settings
from kelly_edge.contract import EVERY_KEY, NOTE_DTYPE, Rung
from kelly_edge.music.envelope import Envelope
from kelly_edge.music.notes import TimedNote
from kelly_edge.music.scheduler import CommittedBeat

SOFTLY: Final = (0.7, 0.8, 0.9)
"""Velocity of the first bars after a rest, as a share: the music does not burst in. Chosen by hand."""

BOUND: Final[Mapping[str, str]] = {
    "n_bound_register": "register",
    "n_bound_velocity": "velocity",
    "n_refused_density": "density",
    "n_refused_polyphony": "polyphony",
}
"""Counters of what the envelope bound, and its own names for them."""


class Manner(NamedTuple):
    """How notes leave: whether in the chords heard and in the room left, how loud, and whether at all."""

    follows_harmony: bool
    makes_room: bool
    is_dense: bool
    """Whether as many notes leave as were composed, where room is made."""
    velocity_max: int
    """The highest that therapist and programme allow."""
    gain: float
    """What velocities are multiplied by."""
    is_mute: bool


class Sending:
    """The notes on their way to ``midi``.

    Parameters
    ----------
    counters: of the process; those of ``BOUND`` go on from where they stand.
    tell: gets each note that leaves, and what takes notes back, a 0-d NOTE_DTYPE array.

    Attributes
    ----------
    n_bars_since_rest: bars of music begun since the last rest.
    """

    def __init__(
        self,
        notes: RingWriter,
        settings: Settings,
        listening: Listening,
        counters: Any,
        tell: Callable[[NDArray[Any]], None],
    ) -> None:
        self._ring = notes
        self._counters = counters
        self._before = {name: int(counters[name]) for name in BOUND}
        self._tell = tell
        self._settings = settings
        self._listening = listening
        self._envelope = Envelope(settings.envelope)
        self._waiting: deque[tuple[TimedNote, CommittedBeat]] = deque()
        self._note = np.zeros((), NOTE_DTYPE)
        self.n_bars_since_rest = 0
        self._sounds_until_s = -math.inf

    def put(self, beat: CommittedBeat) -> None:
        """A beat is committed: its notes wait until they must leave."""
        if beat.index == 0:
            self.n_bars_since_rest = 0 if beat.bar.rung == Rung.REST else self.n_bars_since_rest + 1
        softness = (*SOFTLY, 1.0)[min(max(self.n_bars_since_rest - 1, 0), len(SOFTLY))]
        # An answer is expected.
        softness = 1.0 if self._listening.answering.is_on else softness
        for note in beat.notes():
            self._waiting.append((replace(note, velocity=max(1, round(note.velocity * softness))), beat))

    def drop(self, now_s: float) -> None:
        """The notes that wait do not leave, and what left sounds no longer: the turn is another's."""
        self._waiting.clear()
        if self._sounds_until_s > now_s:
            self._sounds_until_s = -math.inf
            record = self._note
            record.fill(0)
            record["onset_s"] = record["due_s"] = now_s
            record["pitch"] = EVERY_KEY
            self._tell(record)
            self._ring.write(record)

    def send(self, until_s: float, manner: Manner) -> None:
        """Notes that begin by ``until_s`` leave one by one, so that each knows the chord heard last."""
        while self._waiting and self._waiting[0][0].onset_s <= until_s:
            wanted, beat = self._waiting.popleft()
            fitted = self._fitted(wanted, beat.is_on_beat(wanted.onset_s), manner)
            if fitted is None:
                continue
            admitted = self._envelope.admit(
                replace(fitted, velocity=min(fitted.velocity, manner.velocity_max))
            )
            if admitted is not None and not manner.is_mute:
                self._counters["n_notes"] += self._write(admitted, beat, manner.gain)
        for name, rule in BOUND.items():
            self._counters[name] = self._before[name] + getattr(self._envelope.counts, rule)

    def _fitted(self, note: TimedNote, on_beat: bool, manner: Manner) -> TimedNote | None:
        """The note as it fits what is heard by now; None where no room is left for it."""
        space = self._listening.space
        if manner.makes_room:
            if not (manner.is_dense or space.admits(note, on_beat)):
                return None
            note = space.under(space.soften(note))
        if manner.follows_harmony:
            note = self._listening.accompanying.correct(note, on_beat)
        # A tone of the chord may have been nearer above.
        return space.under(note) if manner.makes_room else note

    def _write(self, note: TimedNote, beat: CommittedBeat, gain: float) -> bool:
        record = self._note
        record["onset_s"] = note.onset_s
        record["due_s"] = note.onset_s - self._settings.midi.latency_ms / 1_000.0
        record["duration_s"] = note.duration_s
        record["pitch"] = note.pitch
        record["velocity"] = max(1, round(note.velocity * gain))
        record["channel"] = self._settings.composer.channel
        record["rung"] = beat.bar.rung
        record["bar"] = beat.bar.number
        self._sounds_until_s = max(self._sounds_until_s, note.onset_s + note.duration_s)
        self._tell(record)
        return self._ring.write(record)
