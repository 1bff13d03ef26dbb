"""The safety envelope: bounds every note after the model, whatever the model says.

Order of the rules for a note: register (octaves folded in), density (note-ons in any second), polyphony,
velocity ceiling and slew. Loudness rises from the loudest recent notes, not from the last one: a soft
accompaniment between the notes of a melody does not hold the melody down. Tempo is bounded a bar at a time.
Every change or refusal is counted.
"""

from collections import deque
from dataclasses import dataclass, fields
from typing import Final

from kelly_edge.config import EnvelopeSettings
from kelly_edge.music.notes import TimedNote
from kelly_edge.units import clamp

DENSITY_WINDOW_S: Final = 1.0
"""Follows from the setting's unit, notes per second."""
FIRST_VELOCITY: Final = 64
"""The loudest first note after nothing: music enters gently. Middle of MIDI's range; chosen."""
RELEASE_PER_S: Final = 5.0
"""How fast the loudness reached is forgotten, in MIDI velocity: a bar of 2 s costs 10. Chosen by hand."""
ROUNDING: Final = 1e-6
"""What the sum of many rises may fall short by: a rise of 20 is not 19.9999999. MIDI velocities; chosen
far above the error of float64, far below 1."""
SHORTEST_S: Final = 0.03
"""Chosen: a note is heard as one, and synthesisers start it."""


@dataclass
class EnvelopeCounts:
    """How often each rule bound a note."""

    register: int = 0
    velocity: int = 0
    density: int = 0
    polyphony: int = 0

    def as_dict(self) -> dict[str, int]:
        """The counts by rule."""
        return {f.name: getattr(self, f.name) for f in fields(self)}


def bound_tempo(settings: EnvelopeSettings, wanted_bpm: float, previous_bpm: float) -> float:
    """Tempo of the next bar: within the limits, and near the previous bar's (0: there was none)."""
    bounded = clamp(wanted_bpm, settings.tempo_min_bpm, settings.tempo_max_bpm)
    if previous_bpm > 0.0:
        slew = settings.tempo_slew_bpm_per_bar
        bounded = clamp(bounded, previous_bpm - slew, previous_bpm + slew)
    return bounded


def fold_pitch(pitch: int, low: int, high: int) -> int:
    """``pitch`` moved by octaves into ``low`` .. ``high`` (at least an octave apart)."""
    if pitch < low:
        pitch += 12 * (-((pitch - low) // 12))
    if pitch > high:
        pitch -= 12 * (-((high - pitch) // 12))
    return pitch


class Envelope:
    """Stateful over the notes of a stream, which come in order of onset."""

    def __init__(self, settings: EnvelopeSettings) -> None:
        self.settings = settings
        self.counts = EnvelopeCounts()
        self._onsets: deque[float] = deque()
        self._ends: dict[int, float] = {}
        self._onset_s = float("-inf")
        self._loudness = 0.0
        self._ceiling = 0.0

    def admit(self, note: TimedNote) -> TimedNote | None:
        """The note within the envelope, or None where no room is left for it."""
        limits = self.settings
        pitch = fold_pitch(note.pitch, limits.pitch_min, limits.pitch_max)
        self.counts.register += pitch != note.pitch
        while self._onsets and self._onsets[0] <= note.onset_s - DENSITY_WINDOW_S:
            self._onsets.popleft()
        if len(self._onsets) + 1 > limits.density_max_hz * DENSITY_WINDOW_S:
            self.counts.density += 1
            return None
        self._ends = {p: end for p, end in self._ends.items() if end > note.onset_s}
        # A pitch struck again replaces itself (midi releases it first), so it takes no new voice.
        if pitch not in self._ends and len(self._ends) >= limits.polyphony_max:
            self.counts.polyphony += 1
            return None
        velocity = self._bound_velocity(note)
        self.counts.velocity += velocity != note.velocity
        duration_s = max(note.duration_s, SHORTEST_S)
        self._onsets.append(note.onset_s)
        self._ends[pitch] = note.onset_s + duration_s
        return TimedNote(note.onset_s, duration_s, pitch, velocity)

    def _bound_velocity(self, note: TimedNote) -> int:
        limits = self.settings
        if note.onset_s > self._onset_s:
            if self._onset_s > float("-inf"):
                gap_s = note.onset_s - self._onset_s
                rise = limits.velocity_slew_per_s * gap_s
                self._ceiling = min(float(limits.velocity_max), self._loudness + rise)
                self._loudness -= RELEASE_PER_S * gap_s
            else:
                self._ceiling = float(min(FIRST_VELOCITY, limits.velocity_max))
            self._onset_s = note.onset_s
        # The loudness reached keeps its fraction, so that many small rises add up to the slew.
        self._loudness = max(self._loudness, min(float(note.velocity), self._ceiling))
        return int(clamp(note.velocity, 1, max(1.0, self._ceiling + ROUNDING)))
