"""The player heard by the notes of a keyboard: the readings of ``FeatureExtractor``, and the mood.

Beat, bar, chord and key have the same trackers as with a microphone; what they read is computed from the
notes (``struck_notes``). The mood is read from the notes of the last ``MOOD_S`` by ``symbolic`` descriptors
and a multinomial logistic regression (``symbolic_weights``), and is put into an emotion vector as the emotion
network would give it, with nothing in the embedding.
"""

import math
from collections import deque
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kelly_edge.contract import EMOTION_RATE_HZ, EVERY_KEY, N_EMOTION, N_PITCH_CLASSES, Mode
from kelly_edge.emotion.circumplex import SIGNS
from kelly_edge.emotion.features import KNOWN, PRESENCE_S, SILENT_DB, SOUNDING_DB, key_of
from kelly_edge.emotion.music_gate import LOGIT_LIMIT
from kelly_edge.emotion.register import HIGHEST, REGISTER
from kelly_edge.emotion.running_means import CHORD_S, leak
from kelly_edge.emotion.struck_notes import StruckNotes
from kelly_edge.emotion.symbolic import CHORD_S as TOGETHER_S
from kelly_edge.emotion.symbolic import TARGETS, describe_notes
from kelly_edge.emotion.symbolic_weights import BIASES, CENTRES, SCALES, WEIGHTS
from kelly_edge.emotion.tonal_state import BEST_KEY, FAST, tonal_state, tonal_tables
from kelly_edge.emotion.tonality import KEY_POSTERIOR, TONAL, tonal_step_of_notes
from kelly_edge.emotion.vector import slice_of
from kelly_edge.signal.melody import MelodyNote
from kelly_edge.signal.spectrum import LOWEST_KEY
from kelly_edge.units import SILENCE_DB, clamp

Floats = NDArray[np.float64]
MOOD_S: Final = 30.0
"""Notes that the mood is read from. Chosen: about the length of EMOPIA's clips, which it was fitted to."""
MOOD_EVERY: Final = 12
"""Hop groups from one reading of the mood to the next. Chosen: a second; it moves more slowly."""
FEWEST_NOTES: Final = 8
"""From which a mood is read. Chosen by hand: a bar or two."""
MOST_NOTES: Final = 1_024
"""That are remembered for the mood. Chosen: 34 a second for ``MOOD_S``, more than anybody plays."""
MODE_LOGIT: Final = 2.0
"""Half the log odds of the mode found, of the emotion vector. Chosen by hand: a key profile is .88 sure."""
LIMIT: Final = 2.5
"""Standard deviations: no single input says more, as where a keyboard knows but one velocity. Chosen: as
``features.LIMIT``."""
PLAYED_S: Final = 6.0
"""So long after its last note a keyboard is still what is heard. Chosen: a bar's rest at a slow tempo."""


ACCOMPANIES: Final = 9
"""Semitones below a note of the melody that still sounds from which on another is the accompaniment's.
Chosen by hand: a melody leaps by more than a sixth now and then, a left hand lies lower all the time."""


class Regression(NamedTuple):
    """A multinomial logistic regression on ``symbolic``'s targets and descriptors."""

    centres: Floats  # [22] means of the inputs
    scales: Floats  # [22] their standard deviations
    weights: Floats  # [4, 22]
    biases: Floats  # [4]


SHIPPED: Final = Regression(CENTRES, SCALES, WEIGHTS, BIASES)


def log_odds(inputs: Floats, regression: Regression) -> Floats:
    """Log odds [4] of the quadrants, of inputs [22]."""
    standard = np.clip((inputs - regression.centres) / regression.scales, -LIMIT, LIMIT)
    return np.asarray(regression.weights @ standard + regression.biases)


class NoteMemory:
    """The last notes struck, for the mood."""

    def __init__(self) -> None:
        self._rows: deque[list[float]] = deque(maxlen=MOST_NOTES)
        self._held: dict[int, list[float]] = {}

    def take(self, pitch: int, velocity: int, time_s: float) -> None:
        """A record of ``contract.KEY_DTYPE``."""
        for ended in list(self._held) if pitch == EVERY_KEY else [pitch]:
            if (row := self._held.pop(ended, None)) is not None:
                row[1] = time_s
        if velocity and pitch != EVERY_KEY:
            row = [time_s, math.inf, float(pitch), float(velocity)]
            self._rows.append(row)
            self._held[pitch] = row

    def rows(self, now_s: float) -> NDArray[np.float64]:
        """Those of the last ``MOOD_S``: [n, 4] as ``describe_notes`` takes them."""
        while self._rows and self._rows[0][0] < now_s - MOOD_S:
            self._rows.popleft()
        rows = np.array(self._rows, np.float64).reshape(-1, 4)
        rows = rows[np.argsort(rows[:, 0], kind="stable")]
        rows[:, 1] = np.maximum(np.minimum(rows[:, 1], now_s) - rows[:, 0], 0.01)
        return rows


class MelodyPlayed:
    """The melody among the notes of a keyboard: the highest of those struck together, but for those of an
    accompaniment below a note of it that sounds."""

    def __init__(self) -> None:
        self._pitch, self._onset_s, self._n_begun, self._n_told = 0, -math.inf, 0, 0
        self.note = MelodyNote(0, 0, 0.0)

    def take(self, pitch: int, velocity: int, time_s: float) -> None:
        """A record of ``contract.KEY_DTYPE``."""
        if velocity == 0:
            if pitch in (self._pitch, EVERY_KEY):
                self._pitch = 0
        elif self._pitch and time_s - self._onset_s <= TOGETHER_S:
            self._pitch = max(self._pitch, pitch)
        elif pitch > self._pitch - ACCOMPANIES:
            self._pitch, self._onset_s = pitch, time_s
            self._n_begun += 1

    def tell(self, now_s: float) -> None:
        """Once per hop group: ``note`` is that of the moment."""
        age_s = self.note.age_s
        if self._n_begun != self._n_told:
            self._n_told, age_s = self._n_begun, now_s - self._onset_s
        self.note = MelodyNote(self._pitch, self._n_begun % 256, age_s)


class KeyboardEar:
    """Streaming: keys as they come, then ``hear`` once per hop group; the attributes are fresh after it.

    Parameters
    ----------
    reads_mood: otherwise ``emotion`` stays zero.

    Attributes
    ----------
    As those of ``FeatureExtractor``, and:

    sounding: ``[88]``, activations of the keys at this moment, without the delay of a spectrum.
    melody: a ``MelodyPlayed``.
    emotion: float32 ``[64]``, see ``vector``. is_played: whether a key sounds or was struck lately.
    """

    def __init__(self, reads_mood: bool = True) -> None:
        self._reads_mood = reads_mood
        self._struck = StruckNotes()
        self.frames, self.notes, self.sounding = (
            self._struck.frames,
            self._struck.notes,
            self._struck.sounding,
        )
        self._memory, self.melody = NoteMemory(), MelodyPlayed()
        self._tables, self._state = tonal_tables(), tonal_state()
        self._tonal = np.zeros(sum(size for _, size in TONAL), np.float32)
        self._register = np.zeros(len(REGISTER), np.float32)
        self._keep, self._keep_rate = leak(PRESENCE_S), leak(CHORD_S)
        self.chroma = np.zeros(N_PITCH_CLASSES, np.float32)
        self.emotion = np.zeros(N_EMOTION, np.float32)
        self.level_db = SILENCE_DB
        self.tonic, self.mode, self.key_posterior = -1, int(Mode.UNKNOWN), 0.0
        self.density_hz = self.presence = self.highest = 0.0
        self.is_played = False
        self._played_s = self._onset_s = -math.inf
        self._n_onsets, self._rate, self._rate_weight = 0, 0.0, 0.0
        self._n_groups = 0

    def take(self, pitch: int, velocity: int, time_s: float) -> None:
        """A record of ``contract.KEY_DTYPE``."""
        self._memory.take(pitch, velocity, time_s)
        self.melody.take(pitch, velocity, time_s)
        if pitch == EVERY_KEY:
            self._struck.release_all(time_s)
        elif velocity == 0:
            self._struck.release(pitch, time_s)
        else:
            self._struck.strike(pitch, velocity, time_s)
            # The notes of a chord are one onset.
            self._n_onsets += time_s - self._onset_s > TOGETHER_S
            self._onset_s = time_s
            self._played_s = max(self._played_s, time_s)

    def hear(self, now_s: float) -> None:
        """The hop group that ends at ``now_s``."""
        self._struck.hear(now_s)
        self.melody.tell(now_s)
        tonal_step_of_notes(self.notes, self._tables, self._state, self._tonal, self._register)
        power = self._struck.power
        self.level_db = max(10.0 * math.log10(power), SILENCE_DB) if power > 0.0 else SILENCE_DB
        loud = clamp((self.level_db - SILENT_DB) / (SOUNDING_DB - SILENT_DB), 0.0, 1.0)
        # A key that is struck is no noise: it is believed at once.
        self.presence = max(self._keep * self.presence + (1.0 - self._keep) * loud, loud)
        self.is_played = now_s - self._played_s < PLAYED_S
        self._count_onsets()
        known = self.presence > KNOWN
        best = int(self._state.scalars[BEST_KEY])
        self.tonic, self.mode = key_of(best) if known else (-1, int(Mode.UNKNOWN))
        self.key_posterior = float(self._tonal[KEY_POSTERIOR])
        fast = self._state.chroma[FAST]
        np.multiply(fast, 1.0 / max(float(fast.sum()), 1e-6), out=self.chroma)
        self.highest = float(self._register[HIGHEST]) + LOWEST_KEY if known else 0.0
        if self._reads_mood and self._n_groups % MOOD_EVERY == 0:
            self._read_mood(now_s)
        self._n_groups += 1

    def _count_onsets(self) -> None:
        keep = self._keep_rate
        self._rate = keep * self._rate + (1.0 - keep) * self._n_onsets
        self._rate_weight = keep * self._rate_weight + 1.0 - keep
        self._n_onsets = 0
        self.density_hz = self._rate / self._rate_weight * EMOTION_RATE_HZ

    def _read_mood(self, now_s: float) -> None:
        notes, emotion = self._memory.rows(now_s), self.emotion
        emotion[slice_of("music")] = LOGIT_LIMIT
        if len(notes) < FEWEST_NOTES:
            return
        targets, descriptors = describe_notes(notes)
        odds = log_odds(np.concatenate([targets, descriptors]), SHIPPED)
        emotion[slice_of("quadrant")] = odds
        # Half log odds of each sign, as ``vector`` has them.
        emotion[slice_of("valence")], emotion[slice_of("arousal")] = odds @ SIGNS / 4.0
        named = dict(zip(TARGETS, targets, strict=True))
        is_major = named.pop("mode") > 0.5
        emotion[slice_of("mode")] = (-MODE_LOGIT, MODE_LOGIT) if is_major else (MODE_LOGIT, -MODE_LOGIT)
        for name, value in named.items():
            emotion[slice_of(name)] = value
