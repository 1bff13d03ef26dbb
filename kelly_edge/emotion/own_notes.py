"""The box's own notes in its ears: what a microphone would hear of them, and what is left without them.

The notes that were sent are known. ``StruckNotes`` says how their tones look in the ears' readings, but for
how loud loudspeaker and room make them: that is learned in every mel band, and for the activations of the
keys, as a low quantile of what was heard over what was expected, since the player only adds to it. Whether
they are heard at all is told by keys that were silent before: of notes struck there many appear in the sound,
or few do. While few do nothing is taken off, and the readings are those of the ears, bit by bit.
"""

import math
from collections import deque
from typing import Final, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from kelly_edge.contract import EVERY_KEY, N_PITCH_CLASSES
from kelly_edge.emotion.features import FeatureExtractor
from kelly_edge.emotion.own_attacks import PlayersAttacks
from kelly_edge.emotion.rhythm import COMPRESSION, N_FRAMES, N_MEL
from kelly_edge.emotion.running_means import FAST_S, leak
from kelly_edge.emotion.struck_notes import StruckNotes, key_of_pitch
from kelly_edge.emotion.tonality import AUDIBLE
from kelly_edge.signal.melody import MelodyNote
from kelly_edge.signal.spectrum import LOWEST_KEY, N_KEYS
from kelly_edge.units import SILENCE_DB

Float32 = NDArray[np.float32]
Floats = NDArray[np.float64]
QUIET: Final = 0.3
"""Activation of a key below which it is silent. Chosen by hand: far below a note played softly."""
APPEARS: Final = 0.6
"""Activation that a note struck there must reach to appear. Chosen by hand: twice ``QUIET``."""
QUIET_S: Final = 1.0
"""Time constant over which a key's last sound is forgotten. Chosen by hand."""
TRIAL_S: Final = 0.5
"""A note appears within this, or not at all. Chosen: the spectrum's window of a third of a second, and a hop
group or two."""
TRIALS: Final = 12.0
"""Notes over which the share that appears is a mean. Chosen: some bars of the box's music."""
IN_SILENCE: Final = 3.0
"""So many notes counts one that appears while nobody plays: chance hardly explains it. Chosen by hand."""
SILENT_DB, FORGETS_DB = 20.0, 0.1
"""Nobody plays where the level is so far below the loudest, which is forgotten by so much per hop group.
Chosen by hand: a note that fades; a decibel per second, as ``presence`` forgets it."""
USUAL_SHARE: Final = 0.2
"""That share before any note. Chosen by hand: a player strikes some of them by chance."""
BELIEVED, DOUBTED = 0.45, 0.3
"""Shares from which the box hears itself, and below which it no longer does. Chosen on development songs: by
chance .06 to .20, with its own sound 6 dB below the player's .33 to .73."""
STEP: Final = 0.2
"""Nepers of power by which a gain learned moves per hop group. Chosen by hand: some dB per second."""
LOW: Final = 0.15
"""Quantile of heard over expected that is taken for the gain. Chosen by hand: low, since the player lifts the
others."""
FRESH_S: Final = 0.3
"""So long after it was struck a note teaches. Chosen: while its decay says little."""
LOUD_BAND: Final = 0.05
"""Share of the loudest band's power from which a band teaches. Chosen by hand: 13 dB."""
CERTAIN: Final = 2.0
"""So much more than expected is taken off, in power: the quantile is below the mean. Chosen by hand."""
LEFT: Final = 0.05
"""Share of a band's power below which what is left of it is the model's error. Chosen by hand: -13 dB."""
BEFORE_S, AFTER_S = 0.12, 0.2
"""A note of the melody that begins so much before or after one of the box's of the same name is the box's.
Chosen: a hop group, and the longest window of the pitch tracker beside one."""
EARLY_S: Final = 0.01
"""The tones are expected so much sooner than the delay says, and longer, so that a delay a little wrong is
covered. Chosen: a frame of the spectra."""
N_HELD: Final = 2
"""Frames for which an expected power stays its maximum. Chosen: 21 ms, for the same reason."""
PRESENCE_S: Final = 1.5
"""Time constant of the player's share. Chosen: as that of the presence."""
HIGHEST_DATA: Final = 127
"""The highest velocity of a note. MIDI 1.0."""
STEEPER: Final = 4.0 / 3.0
"""Exponent of the velocity: instruments are louder by 40 dB per decade of it, ``StruckNotes`` by 30. General
MIDI 1 (developer guidelines)."""
TINY: Final = 1e-12
"""Added to powers before logarithms and quotients. Chosen: below the ears' floor."""


class Bands(NamedTuple):
    """What is known of the mel bands."""

    gains: Floats  # [N_MEL] log power of what is heard over that of ``StruckNotes``; NaN unknown
    expected: Floats  # [N_HELD, N_MEL] power expected in the last frames
    left: Floats  # [N_MEL] power left in the last frame


@njit(cache=True)  # type: ignore[untyped-decorator]
def take_off(
    heard: Float32, own: Float32, reference: float, teaches: bool, holds: bool, bands: Bands, left: Float32
) -> float:
    """Frames [8, 27] of a group as heard, and as the box's own notes alone would have them, into what is
    ``left``; returns the power heard over that expected.

    ``reference``: that of ``own`` over that of ``heard``. ``teaches``: own notes are fresh. ``holds``:
    nothing may rise.
    """
    n_frames, n_bands = heard.shape
    gains, expected = bands.gains, bands.expected
    means = np.zeros((2, n_bands))
    for b in range(n_bands):
        for i in range(n_frames):
            means[0, b] += math.expm1(heard[i, b]) / (COMPRESSION * n_frames)
            means[1, b] += math.expm1(own[i, b]) / (COMPRESSION * n_frames) * reference
    least, total, total_own = max(LOUD_BAND * means[1].max(), TINY), 0.0, TINY
    for b in range(n_bands):
        if teaches and means[1, b] > least:
            ratio = math.log((means[0, b] + TINY) / (means[1, b] + TINY))
            if math.isnan(gains[b]):
                gains[b] = ratio
            gains[b] += STEP * (LOW if ratio > gains[b] else LOW - 1.0)
        gain = 0.0 if math.isnan(gains[b]) else math.exp(gains[b])
        total += means[0, b]
        total_own += gain * means[1, b]
        for i in range(n_frames):
            power = math.expm1(heard[i, b]) / COMPRESSION
            now = gain * math.expm1(own[i, b]) / COMPRESSION * reference
            longer = now
            for k in range(N_HELD):
                longer = max(longer, expected[k, b])
            for k in range(N_HELD - 1):
                expected[k, b] = expected[k + 1, b]
            expected[N_HELD - 1, b] = now
            rest = power - CERTAIN * longer
            # Where the box's own is all that is heard nothing rises.
            if holds or rest < LEFT * power:
                rest = min(bands.left[b], power)
            bands.left[b] = rest
            left[i, b] = math.log1p(COMPRESSION * rest)
    return float(total / total_own)


class Trial(NamedTuple):
    """A note struck on a silent key."""

    key: int
    begin_s: float
    in_silence: bool


class OwnNotes:
    """Streaming: ``take`` what is sent, then ``hear`` once per hop group; the attributes are fresh after it.

    Parameters
    ----------
    delay_s: from a note's message until its sound reaches the microphone.

    Attributes
    ----------
    is_heard: whether the box hears itself.
    frames, notes, chroma, level_db: as ``FeatureExtractor`` has them, without the box's own notes.
    players_share: 0..1, how much of the last seconds somebody else than the box sounded.
    """

    def __init__(self, delay_s: float) -> None:
        self._delay_s = delay_s
        self._struck = StruckNotes()
        self._attacks = PlayersAttacks()
        self._trials: deque[Trial] = deque()
        self._begun: deque[tuple[int, float]] = deque(maxlen=N_KEYS)
        self._peaks = np.zeros(N_KEYS, np.float32)
        self._recent = np.zeros(N_KEYS, np.float32)
        self._forget = leak(QUIET_S)
        self._share = USUAL_SHARE
        self._level_db = self._loudest_db = SILENCE_DB
        self._bands = Bands(np.full(N_MEL, np.nan), np.zeros((N_HELD, N_MEL)), np.zeros(N_MEL))
        self._left = np.zeros((N_FRAMES, N_MEL), np.float32)
        self._key_gain = np.nan
        self._keep, self._keep_share = leak(FAST_S), leak(PRESENCE_S)
        self._chroma = np.zeros(N_PITCH_CLASSES, np.float32)
        self._number, self._n_withheld, self._is_withheld, self._age_s = -1, 0, False, 0.0
        self.is_heard = False
        self.players_share = 1.0
        self.frames = np.zeros((N_FRAMES, N_MEL), np.float32)
        self.notes = np.zeros(N_KEYS, np.float32)
        self.chroma = np.zeros(N_PITCH_CLASSES, np.float32)
        self.level_db = SILENCE_DB

    def take(self, pitch: int, velocity: int, time_s: float) -> None:
        """A note of the box as it is sent, a record of ``contract.KEY_DTYPE``."""
        heard_s = time_s + self._delay_s - EARLY_S
        if pitch == EVERY_KEY:
            self._struck.release_all(heard_s)
        elif velocity == 0:
            self._struck.release(pitch, heard_s)
        else:
            key = key_of_pitch(pitch)
            if self._recent[key] < QUIET and self._struck.notes[key] < QUIET:
                self._peaks[key] = 0.0
                in_silence = self._level_db < self._loudest_db - SILENT_DB
                self._trials.append(Trial(key, heard_s, in_silence))
            as_loud = round(HIGHEST_DATA * (velocity / HIGHEST_DATA) ** STEEPER)
            self._struck.strike(pitch, max(as_loud, 1), heard_s)
            self._begun.append((pitch, heard_s))
            self._attacks.begin(heard_s)

    def hear(self, now_s: float, ears: FeatureExtractor) -> None:
        """The hop group that ends at ``now_s``, as the ears heard it."""
        self._judge(now_s, ears.notes)
        self._level_db = ears.level_db
        self._loudest_db = max(self._loudest_db - FORGETS_DB, ears.level_db)
        self.frames, self.notes, self.chroma = ears.frames, ears.notes, ears.chroma
        self.level_db = ears.level_db
        if not self._begun:
            return
        self._struck.hear(now_s)
        since_s = now_s - self._begun[-1][1]
        teaches = 0.0 <= since_s < FRESH_S
        if teaches:
            self._learn_keys(ears.notes)
        over = take_off(
            ears.frames,
            self._struck.frames,
            self._struck.reference / ears.reference,
            teaches,
            self._attacks.is_deserted,
            self._bands,
            self._left,
        )
        rings = since_s < TRIAL_S or float(self._struck.notes.max()) > QUIET
        self._attacks.hear(now_s, ears.frames, ears.level_db, rings, over)
        if not self.is_heard:
            self.players_share = 1.0
            return
        self.frames = self._left
        self._discount_keys(ears.notes)
        self.level_db = self._attacks.level_db
        keep = self._keep_share
        self.players_share = keep * self.players_share + (1.0 - keep) * (not self._attacks.is_alone)

    def melody(self, note: MelodyNote, now_s: float) -> MelodyNote:
        """The melody's note as ``MelodyTracker`` has it, but for those of the box's own."""
        if note.number != self._number:
            is_first, self._number = self._number < 0, note.number
            is_own = self._attacks.is_alone or self._is_own(note.pitch, now_s - note.age_s)
            self._is_withheld = self.is_heard and not is_first and is_own
            self._n_withheld += self._is_withheld
        if not self._is_withheld:
            self._age_s = note.age_s
        pitch = 0 if self._is_withheld else note.pitch
        return MelodyNote(pitch, (note.number - self._n_withheld) % 256, self._age_s)

    def _is_own(self, pitch: int, onset_s: float) -> bool:
        return any(
            (own - pitch) % N_PITCH_CLASSES == 0 and -AFTER_S < begin_s - onset_s < BEFORE_S
            for own, begin_s in self._begun
        )

    def _judge(self, now_s: float, notes: Float32) -> None:
        """Whether notes struck on silent keys appear."""
        np.maximum(self._peaks, notes, out=self._peaks)
        np.maximum(self._recent * self._forget, notes, out=self._recent)
        while self._trials and self._trials[0].begin_s + TRIAL_S <= now_s:
            trial = self._trials.popleft()
            appears = bool(self._peaks[trial.key] >= APPEARS)
            is_plain = trial.in_silence and self._attacks.attack_s < trial.begin_s
            weight = IN_SILENCE if appears and is_plain else 1.0
            self._share += (appears - self._share) * weight / TRIALS
        self.is_heard = self._share > (DOUBTED if self.is_heard else BELIEVED)

    def _learn_keys(self, notes: Float32) -> None:
        own = self._struck.notes
        keys = np.flatnonzero(own > 0.5 * max(float(own.max()), QUIET))
        for ratio in np.log((notes[keys] + TINY) / own[keys]):
            if np.isnan(self._key_gain):
                self._key_gain = float(ratio)
            self._key_gain += STEP * (LOW if ratio > self._key_gain else LOW - 1.0) / len(keys)

    def _discount_keys(self, notes: Float32) -> None:
        gain = 0.0 if np.isnan(self._key_gain) else float(np.exp(self._key_gain))
        self.notes = np.maximum(notes - np.float32(CERTAIN * gain) * self._struck.notes, np.float32(0.0))
        keys = np.flatnonzero(self.notes > AUDIBLE)
        classes, roots = (keys + LOWEST_KEY) % N_PITCH_CLASSES, np.sqrt(self.notes[keys])
        self._chroma *= self._keep
        np.add.at(self._chroma, classes, (1.0 - self._keep) * roots)
        self.chroma = self._chroma / max(float(self._chroma.sum()), 1e-6)
