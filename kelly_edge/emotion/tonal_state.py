"""What the tonal kernels share: the slots of their memory, their constants, and the memory itself."""

from functools import cache
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kelly_edge.contract import N_PITCH_CLASSES
from kelly_edge.emotion.key_profiles import MAJOR, MINOR
from kelly_edge.emotion.running_means import CHORD_S, FAST_S, KEY_S, leak
from kelly_edge.signal.framing import ANALYSIS_RATE_HZ
from kelly_edge.signal.spectrum import (
    LOWEST_KEY,
    N_KEYS,
    N_LOG_BINS,
    Bank,
    FftPlan,
    fft_plan,
    log_bank,
    note_templates,
)

Float32 = NDArray[np.float32]
WINDOW: Final = 4096
"""341 ms at 12 kHz: 2.9 Hz per bin. Chosen: tells semitones from A2 upwards."""
BASS_TOP: Final = 52 - LOWEST_KEY
"""Keys up to E3 make the bass chroma. Chosen: below the usual tenor."""
LEAST: Final = 0.01
"""The solution begins at a share of the last one and a little of every key: none is ever stuck at zero.
Chosen by hand."""
N_MODES: Final = 2
"""Major and minor, by definition."""
N_KEYS_AND_MODES: Final = N_PITCH_CLASSES * N_MODES
"""Majors by tonic, then minors by tonic."""
FAST, CHORD, KEY, TUNING = range(4)
"""Time constants, in the order of ``TonalTables.leaks``; chromas and ``weights`` have the first three."""
POWER, ONSETS, BEST_KEY, KEY_MARGIN, CHANGE, SOUNDS, SWELLS = range(7)
"""Slots of ``TonalState.scalars``: mean square of the log spectrum (15 s); keys that begin per group (4 s);
index of the best key, -1 before any; its correlation less the next best's; cosine distance of the harmony of
.4 s from that of 15 s (4 s); share of groups that sound (4 s); keys that grow per group (15 s)."""
COSINE, SINE, OFFSET = range(3)
"""Slots of ``TonalState.tuning``: leaky sum of the phases of a semitone; semitones above A = 440 Hz."""
TUNING_STEP: Final = 0.05
"""Semitones from one bank of log-frequency bands to the next: 5 cents. Chosen: about the smallest step of
pitch that listeners notice."""
N_TUNINGS: Final = 25
"""Banks from -0.6 to +0.6 semitones: beyond a half, so that a tuning near it does not flap between keys.
Chosen by hand."""
TUNING_S: Final = 6.0
"""Time constant of the tuning estimate: steady under vibrato, and a slow drift is followed. Chosen by
hand."""


class TonalTables(NamedTuple):
    """Constants of the kernel."""

    plan: FftPlan
    banks: Bank  # one for each tuning: [25, …]
    templates: Float32  # [274, 88] log spectrum of each key
    gram: Float32  # [88, 88] templates.T @ templates
    profiles: Float32  # [24, 12] 12 majors then 12 minors by tonic, zero mean, unit norm
    leaks: Float32  # [4] share kept per group: FAST, CHORD, KEY, TUNING


class TonalState(NamedTuple):
    """Everything the tonal features remember."""

    notes: Float32  # [88] activations of this group
    previous: Float32  # [88] of the group before
    chroma: Float32  # [3, 12] running means by pitch class: FAST, CHORD, KEY
    bass: Float32  # [12] the same of keys up to E3: CHORD
    triads: Float32  # [24] how much each triad sounds, majors then minors by root: CHORD
    register: Float32  # [7] running means, FAST: PITCH_MEAN to TREBLE_SHARE
    struck: Float32  # [5] keys that began, KEY, dB: see running_means.NUMBER, register.STEPS
    weights: Float32  # [3] how much of each running mean is real: 1 - leak ** n
    scalars: Float32  # [7] see POWER
    tuning: Float32  # [3] see COSINE
    power: Float32  # [2049] scratch: power, then magnitude
    log_spectrum: Float32  # [274] magnitude relative to the last 15 s
    observed: Float32  # [274] the same, whitened
    projected: Float32  # [88] scratch of ``nnls``
    modelled: Float32  # [88] scratch of ``nnls``


@cache
def tonal_tables() -> TonalTables:
    """The constants and the scratch of one thread, built once (about a tenth of a second)."""
    templates = note_templates(WINDOW, ANALYSIS_RATE_HZ)
    profiles = np.array([np.roll(p, t) for p in (MAJOR, MINOR) for t in range(12)])
    profiles -= profiles.mean(1, keepdims=True)
    profiles /= np.linalg.norm(profiles, axis=1, keepdims=True)
    return TonalTables(
        fft_plan(WINDOW),
        _banks(),
        templates,
        np.ascontiguousarray(templates.T @ templates),
        profiles.astype(np.float32),
        np.array([leak(FAST_S), leak(CHORD_S), leak(KEY_S), leak(TUNING_S)], np.float32),
    )


def _banks() -> Bank:
    """The log-frequency bands at every tuning, from the lowest."""
    tunings = TUNING_STEP * (np.arange(N_TUNINGS) - N_TUNINGS // 2)
    banks = [log_bank(WINDOW, ANALYSIS_RATE_HZ, float(t)) for t in tunings]
    longest = max(bank.weights.shape[1] for bank in banks)
    weights = [np.pad(bank.weights, ((0, 0), (0, longest - bank.weights.shape[1]))) for bank in banks]
    return Bank(np.stack([b.first for b in banks]), np.stack([b.size for b in banks]), np.stack(weights))


def tonal_state() -> TonalState:
    """Silence before the stream."""

    def zeros(*shape: int) -> Float32:
        return np.zeros(shape, np.float32)

    scalars = zeros(7)
    scalars[BEST_KEY] = -1.0
    return TonalState(
        np.full(N_KEYS, LEAST, np.float32),
        zeros(N_KEYS),
        zeros(3, 12),
        zeros(12),
        zeros(24),
        zeros(7),
        zeros(5),
        zeros(3),
        scalars,
        zeros(3),
        zeros(WINDOW // 2 + 1),
        zeros(N_LOG_BINS),
        zeros(N_LOG_BINS),
        zeros(N_KEYS),
        zeros(N_KEYS),
    )
