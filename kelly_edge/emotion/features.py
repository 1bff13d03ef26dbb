"""The 128 features the emotion network hears, once per hop group (85.3 ms), causal.

One streaming implementation for training and the box: ``FeatureExtractor.push`` takes hops of 256 samples.
``FEATURES`` is the table; each value is (physical value - centre) / scale, held within +-``LIMIT``, so that
one INT8 scale fits all. No feature depends on the input's gain, on what lies below 30 Hz or on the tuning;
the level itself is only reported (``level_db``). What decides valence is the tonal part; see ``tonality``
for how it ignores the key.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from kelly_edge.contract import EMOTION_RATE_HZ, HOPS_PER_EMOTION_STEP, N_FEATURES, N_PITCH_CLASSES, Mode
from kelly_edge.emotion.register import HIGHEST
from kelly_edge.emotion.rhythm import (
    BPM,
    FLOOR,
    KEY,
    ONSETS_4S,
    POWER,
    rhythm_state,
    rhythm_step,
    rhythm_tables,
)
from kelly_edge.emotion.tonal_state import (
    BEST_KEY,
    CHANGE,
    FAST,
    SOUNDS,
    WINDOW,
    tonal_state,
    tonal_tables,
)
from kelly_edge.emotion.tonality import KEY_POSTERIOR, tonal_step
from kelly_edge.signal.framing import DELAY_SAMPLES, FACTOR, HopGroups
from kelly_edge.signal.spectrum import LOWEST_KEY


@dataclass(frozen=True)
class FeatureSpec:
    """A slice of the features: ``size`` values from ``start``; stored as (value - centre) / scale."""

    name: str
    start: int
    size: int
    unit: str
    source: str
    centre: float
    scale: float

    @property
    def slice(self) -> slice:
        """Where the values are."""
        return slice(self.start, self.start + self.size)


_ROWS: Final = (
    # name, size, unit, source, centre, scale
    ("mel_db", 27, "dB re 15 s mean power", "HTK mel power 50 Hz to 5.4 kHz, 1 s mean", -17.0, 10.0),
    ("centroid", 1, "octaves re 1 Hz", "power-weighted mean log2 frequency", 8.3, 0.85),
    ("bandwidth", 1, "octaves", "power-weighted standard deviation of log2 frequency", 1.15, 0.35),
    ("tilt_db", 1, "dB a mel band", "regression of the log mel bands", -0.75, 0.38),
    ("low_share_db", 1, "dB", "power below 260 Hz over all", -6.0, 6.5),
    ("high_share_db", 1, "dB", "power above 2 kHz over all", -16.0, 6.0),
    ("crest_db", 1, "dB", "strongest bin over all", -6.0, 2.0),
    ("onset_rate", 3, "onsets a group", "peaks of the flux; means over 1, 4, 15 s", 0.27, 0.13),
    ("attack_rate", 1, "attacks a mel band and group", "rises of the bands, 4 s mean", 0.33, 0.13),
    ("onset_level_spread_db", 1, "dB", "standard deviation of the onsets' levels, 15 s", 3.0, 1.0),
    (
        "attack_level_spread_db",
        1,
        "dB",
        "standard deviation within a mel band of the attacks' levels, 15 s",
        4.8,
        1.0,
    ),
    ("flux_fast", 1, "nepers", "log-mel flux, 0.4 s mean", 0.085, 0.04),
    ("flux", 1, "nepers", "log-mel flux, 4 s mean", 0.09, 0.03),
    ("tempogram", 6, "correlation", "flux autocorrelation in six bands, 312 to 37 bpm", 0.25, 0.19),
    ("tempo", 1, "octaves re 120 bpm", "lag of the strongest weighted autocorrelation", 0.0, 0.45),
    ("pulse_clarity", 1, "correlation", "autocorrelation at that lag", 0.38, 0.17),
    ("pitch_mean", 1, "semitones above A0", "activation-weighted mean key, 0.4 s", 36.5, 7.0),
    ("pitch_spread", 1, "semitones", "activation-weighted standard deviation", 15.5, 2.9),
    ("lowest", 1, "semitones above A0", "lowest active key", 20.0, 9.5),
    ("highest", 1, "semitones above A0", "highest active key", 51.0, 10.0),
    ("polyphony", 1, "notes", "participation ratio of the activations", 5.8, 2.0),
    ("bass_share", 1, "share", "activation up to E3", 0.42, 0.19),
    ("treble_share", 1, "share", "activation from E5", 0.14, 0.11),
    ("note_rate", 1, "octaves re a note a group", "keys that begin, 4 s mean", 0.3, 0.75),
    ("swell_rate", 1, "octaves re a note a group", "keys that grow by a third, 15 s mean", 1.0, 0.6),
    ("note_level_spread_db", 1, "dB", "standard deviation of beginning keys' levels, 15 s", 7.2, 1.7),
    ("note_level_step_db", 1, "dB", "difference from one beginning key to the next, 15 s mean", 7.0, 1.6),
    ("degree_chroma_15s", 12, "share", "15 s chroma by degree of the diatonic collection", 0.083, 0.045),
    ("degree_chroma_4s", 12, "share", "4 s chroma by degree", 0.083, 0.05),
    ("degree_bass_4s", 12, "share", "4 s bass chroma by degree", 0.083, 0.065),
    (
        "degree_major_triads",
        12,
        "share",
        "4 s activation of major triads by degree of the root",
        0.042,
        0.045,
    ),
    ("degree_minor_triads", 12, "share", "4 s activation of minor triads by degree of the root", 0.042, 0.04),
    ("best_major", 1, "correlation", "best major key profile, 15 s", 0.7, 0.15),
    ("best_minor", 1, "correlation", "best minor key profile, 15 s", 0.72, 0.14),
    ("major_less_minor", 1, "correlation", "difference of the two", 0.0, 0.19),
    ("major_share", 1, "share", "major among the triads, 4 s", 0.52, 0.065),
    ("key_entropy", 1, "nats", "of the posterior over the 12 collections", 0.78, 0.38),
    ("key_posterior", 1, "probability", "of the best collection", 0.76, 0.16),
    ("major_less_minor_4s", 1, "correlation", "best major less best minor profile, 4 s", 0.0, 0.18),
    ("clash", 1, "ratio", "semitones and tritones in the 0.4 s chroma", 0.7, 0.35),
)


def _table() -> tuple[FeatureSpec, ...]:
    specs, start = [], 0
    for name, size, unit, source, centre, scale in _ROWS:
        specs.append(FeatureSpec(name, start, size, unit, source, centre, scale))
        start += size
    return tuple(specs)


FEATURES: Final = _table()
"""The 128, in order."""
LIMIT: Final = 2.5
"""What lies further out than piano clips and recorded bands do must not outvote the rest: centres and
scales stand between the two (767 clips of EMOPIA; 63 pieces of orchestras, bands and synthesisers from
games). In scales of the feature, ±. Chosen with the scales; nothing was fitted to labels."""
SILENT_DB, SOUNDING_DB = -70.0, -55.0
"""Presence rises from 0 to 1 between these levels. In dBFS; chosen by hand."""
NOISY, TONAL = 0.45, 0.22
"""Presence falls from 1 to 0 between these spectral flatnesses (white noise in any colour: 0.56). Chosen
by hand; that of noise was measured."""
# Both chosen by hand.
LIVELY: Final = 0.015
STEADY_SHARE: Final = 0.25
"""A tone that never moves (mains hum, a drone) keeps this share of its presence; harmony that moves by
``LIVELY`` (cosine distance of the 0.4 s chroma from the 15 s one, mean over what sounded of the last 4 s) has
all of it."""
SOUNDED: Final = 0.1
"""Share of those 4 s from which that mean is believed: 0.4 s. Chosen by hand."""
KNOWN: Final = 0.3
"""Presence from which key, tempo and highest note are those of what sounds; below it they come from earlier
sound. Chosen by hand."""
PRESENCE_S: Final = 1.5
"""Time constant of the presence. Chosen: noise that starts or stops is known within about two seconds."""


def _starts() -> dict[str, int]:
    return {spec.name: spec.start for spec in FEATURES}


def _centres_and_scales() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    centre, scale = np.zeros(N_FEATURES, np.float32), np.ones(N_FEATURES, np.float32)
    for spec in FEATURES:
        centre[spec.slice], scale[spec.slice] = spec.centre, spec.scale
    return centre, scale


def standardise(physical: NDArray[np.float32]) -> NDArray[np.float32]:
    """Features from physical values ``[…, 128]``, as ``FeatureExtractor.push`` gives them."""
    centre, scale = _centres_and_scales()
    return np.clip((physical - centre) * (np.float32(1.0) / scale), -LIMIT, LIMIT).astype(np.float32)


class FeatureExtractor:
    """Streaming features of mono float32 hops at 48 kHz; NaN and infinities count as silence.

    The attributes are fresh after ``push`` returned True; ``features`` is overwritten by the next group.

    Attributes
    ----------
    features: float32 ``[128]``, see ``FEATURES``; physical: the same in their units.
    level_db: RMS of the group, dBFS, from -120.
    tonic, mode: best key (pitch class, 1 major or 0 minor), -1 unknown. tempo_bpm: 0 unknown.
    key_posterior: probability of the best diatonic collection, 0..1.
    chroma: float32 ``[12]``, share of each pitch class (C first) in the last 0.4 s, sums to 1; zeros: none.
    density_hz: note onsets (chords count once) a second over 4 s. presence: 0 silence or noise .. 1 music.
    highest: MIDI note of the highest key that sounds, mean of 0.4 s; 0 none.
    frames: float32 ``[8, 27]``, log mel of the group's frames, oldest first. notes: ``[88]``, activations of
    the piano's keys. Beat and chord are heard by them.
    """

    def __init__(self) -> None:
        self._groups = HopGroups(WINDOW, HOPS_PER_EMOTION_STEP)
        self._tonal_tables = tonal_tables()
        self._rhythm_tables = rhythm_tables()
        self._centre, scale = _centres_and_scales()
        self._inverse = np.float32(1.0) / scale
        self.physical = np.zeros(N_FEATURES, np.float32)
        self.features = np.zeros(N_FEATURES, np.float32)
        self.chroma = np.zeros(N_PITCH_CLASSES, np.float32)
        at = _starts()
        raw = self.physical
        self._mel = raw[: at["centroid"]]
        self._shape = raw[at["centroid"] : at["onset_rate"]]
        self._rhythm = raw[at["onset_rate"] : at["pitch_mean"]]
        self._register = raw[at["pitch_mean"] : at["degree_chroma_15s"]]
        self._tonal = raw[at["degree_chroma_15s"] :]
        self._keep = math.exp(-1.0 / (PRESENCE_S * EMOTION_RATE_HZ))
        self.reset()

    def reset(self) -> None:
        """Silence before the stream."""
        self._groups.reset()
        self._tonal_state = tonal_state()
        self._rhythm_state = rhythm_state()
        self.frames, self.notes = self._rhythm_state.frames, self._tonal_state.notes
        self.features[:] = self.chroma[:] = 0.0
        self.level_db = -120.0
        self.tonic, self.mode, self.key_posterior = -1, -1, 0.0
        self.tempo_bpm = self.density_hz = self.presence = self.highest = 0.0
        self.flatness = 1.0

    @property
    def delay_samples(self) -> int:
        """How far the centre of the analysis lags the newest sample, at 48 kHz."""
        return round(DELAY_SAMPLES + WINDOW * FACTOR / 2)

    @property
    def reference(self) -> float:
        """Mean square of the last 15 s, which ``frames`` are relative to."""
        state = self._rhythm_state
        return float(state.scalars[POWER] / max(state.weights[KEY], 1e-3)) + FLOOR

    def push(self, hop: NDArray[np.float32]) -> bool:
        """Take one hop, float32 ``[256]``; True when a hop group of 16 is complete."""
        if not self._groups.push(hop):
            return False
        window, raw = self._groups.window, self.physical
        rhythm_step(
            window,
            self._rhythm_tables,
            self._rhythm_state,
            self._mel,
            self._shape,
            self._rhythm,
        )
        self.flatness = tonal_step(window, self._tonal_tables, self._tonal_state, self._tonal, self._register)
        np.subtract(raw, self._centre, out=self.features)
        np.multiply(self.features, self._inverse, out=self.features)
        np.clip(self.features, -LIMIT, LIMIT, out=self.features)
        self._describe()
        return True

    def _describe(self) -> None:
        """The readings beside the features."""
        power = self._groups.level_power
        self.level_db = 10.0 * math.log10(power) if power > 1e-12 else -120.0
        loud = min(max((self.level_db - SILENT_DB) / (SOUNDING_DB - SILENT_DB), 0.0), 1.0)
        tonal = min(max((NOISY - self.flatness) / (NOISY - TONAL), 0.0), 1.0)
        change, sounded = float(self._tonal_state.scalars[CHANGE]), float(self._tonal_state.scalars[SOUNDS])
        lively = min(max(change / (LIVELY * max(sounded, SOUNDED)), STEADY_SHARE), 1.0)
        self.presence = self._keep * self.presence + (1.0 - self._keep) * loud * tonal * lively
        known = self.presence > KNOWN
        best = int(self._tonal_state.scalars[BEST_KEY])
        self.tonic, self.mode = key_of(best) if known else (-1, Mode.UNKNOWN)
        self.key_posterior = float(self._tonal[KEY_POSTERIOR])
        fast = self._tonal_state.chroma[FAST]
        np.multiply(fast, 1.0 / max(float(fast.sum()), 1e-6), out=self.chroma)
        self.tempo_bpm = float(self._rhythm_state.scalars[BPM]) if known else 0.0
        self.highest = float(self._register[HIGHEST]) + LOWEST_KEY if known else 0.0
        self.density_hz = float(self._rhythm[ONSETS_4S]) * EMOTION_RATE_HZ if loud > 0.0 else 0.0


def key_of(index: int) -> tuple[int, int]:
    """Tonic and mode (``contract.Mode``) of a ``tonal_state.BEST_KEY``: major keys, then minor; -1 none."""
    if index < 0:
        return -1, Mode.UNKNOWN
    is_minor, tonic = divmod(index, N_PITCH_CLASSES)
    return tonic, Mode.MINOR if is_minor else Mode.MAJOR
