"""A voice: answers each hop heard in another instrument's sound.

The f0 and loudness heard drive the chosen decoder, its controls the synthesiser. A gate on confidence and
loudness keeps noise and silence quiet, and mains hum too; voices are changed by cross-fading their controls;
the dry sound is delayed to lie under the wet one.
"""

import math
from collections.abc import Sequence
from typing import Final, Protocol

import numpy as np
from numba import njit
from numpy.typing import NDArray

from kelly_edge.contract import HOP_RATE_HZ, HOP_SIZE, N_HARMONICS, SAMPLE_RATE_HZ
from kelly_edge.signal.loudness import LOUDNESS_FLOOR_DB, LoudnessMeter
from kelly_edge.timbre.controls import Controls
from kelly_edge.timbre.synth import Synth

Float32 = NDArray[np.float32]
DELAY: Final = LoudnessMeter.delay_samples
"""Samples by which the sound follows its cause, once a hop is complete. Within a hop levels move linearly
from one reading of the loudness to the next, which are a hop apart: that adds nothing on average."""
CROSS_FADE_HOPS: Final = 24
"""128 ms from one voice to another. Chosen by hand: no click, no waiting."""
ATTACK, RELEASE = 0.5, 0.12
"""Share of the way the gate opens and closes in a hop. Chosen by hand: a note begins within 15 ms and ends
within 100."""
GATE_CLOSED: Final = 1e-3
"""Opening of the gate below which it is closed: -60 dB. Chosen by hand."""
DRY_WET_STEP: Final = 0.125
"""Most that ``dry_wet`` moves in a hop: 43 ms from one end to the other, so that a knob does not click.
Chosen by hand."""
HOLD_BELOW_GATE: Final = 0.7
"""An open gate closes only below this share of the confidence that opens it. Chosen by hand."""
# Limits of two knobs: what brightness at its end adds, and octaves of transposition. Chosen by hand.
TILT_DB_PER_OCTAVE: Final = 6.0
MAX_OCTAVES: Final = 2
MAINS_HZ: Final = (50.0, 60.0, 100.0, 120.0)
"""Mains hum: the supply's frequency and that of a rectifier. Standard of the world's supplies: 50 and 60
Hz (IEC 60038)."""
MAINS_CENTS: Final = 17.0
"""One per cent: how far a hop's f0 may be measured from ``MAINS_HZ``; the notes of A = 440 Hz lie farther.
Chosen: G1 (49 Hz) lies 35 cents from 50 Hz."""
HUM_CENTS, HUM_DB = 6.0, 6.0
"""Mean distance from ``MAINS_HZ``, and distance from the mean loudness, of a sound as steady as a supply:
a low hum's loudness ripples by 5 dB within its period. Chosen by hand."""
HUM_HOPS: Final = round(1.5 * HOP_RATE_HZ)
"""Hops a sound must be so before it counts as hum."""
HUM_STRAY: Final = 8
"""Hops that one of another pitch or loudness, or of silence, takes away. Chosen by hand."""
HUM_MEAN: Final = 0.02
"""Share of a hop in the means. Chosen by hand: 0.27 s."""


class MainsHum:
    """Tells mains hum, which is periodic and may be loud, from a low note: it neither moves nor begins.

    Something at one of ``MAINS_HZ`` held that still for 1.5 s is hum, a player's note too; vibrato, a glide,
    another pitch or a change of 6 dB is answered at once.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Nothing heard before."""
        self._n_hops = 0
        self._level_db = LOUDNESS_FLOOR_DB
        self._off_cents = 0.0

    def hears(self, f0_hz: float, loudness_db: float) -> bool:
        """Whether the hop's ``f0_hz`` is hum; 0 where nothing is heard."""
        off_cents = MAINS_CENTS
        if f0_hz > 0.0:
            cents = (abs(1200.0 * math.log2(max(f0_hz, 1.0) / mains_hz)) for mains_hz in MAINS_HZ)
            off_cents = min(MAINS_CENTS, *cents)
        if off_cents == MAINS_CENTS or not abs(loudness_db - self._level_db) < HUM_DB:
            self._n_hops = max(0, self._n_hops - HUM_STRAY)
            if self._n_hops == 0:
                self._level_db, self._off_cents = loudness_db, off_cents
            return False
        self._n_hops = min(self._n_hops + 1, HUM_HOPS)
        self._level_db += HUM_MEAN * (loudness_db - self._level_db)
        self._off_cents += HUM_MEAN * (off_cents - self._off_cents)
        return self._n_hops == HUM_HOPS and self._off_cents < HUM_CENTS


class Decoder(Protocol):
    """A model of one instrument; its state is inside."""

    def step(self, f0_hz: float, loudness_db: float, controls: Controls) -> None:
        """One hop: fill ``controls``."""

    def reset(self) -> None:
        """Nothing played before."""


class Voice:
    """Streaming: ``process`` a hop at a time; the attributes may be set between hops.

    Attributes
    ----------
    voice_index: which decoder speaks; one that does not exist changes nothing. octave: shift, -2..2.
    brightness: -1..1, tilt of the harmonics by up to 6 dB per octave. dry_wet, gate_confidence: 0..1.
    gate_db: loudness, DDSP's scale. Values beyond count as the nearest, not finite ones as the default.
    """

    delay_samples: Final = DELAY

    def __init__(self, decoders: Sequence[Decoder], seed: int) -> None:
        self._decoders = tuple(decoders)
        self._synth = Synth(seed)
        self._controls = Controls()
        self._other = Controls()
        self._dry = np.zeros(DELAY + HOP_SIZE, np.float32)
        self._hum = MainsHum()
        self._octaves = np.log2(np.arange(1, N_HARMONICS + 1)).astype(np.float32)
        self.voice_index = 0
        self.octave = 0
        self.brightness = 0.0
        self.dry_wet = 1.0
        self.gate_confidence = 0.5
        self.gate_db = -60.0
        self.reset()

    def reset(self) -> None:
        """Nothing heard before."""
        self._synth.reset()
        for decoder in self._decoders:
            decoder.reset()
        self._hum.reset()
        self._dry[:] = 0.0
        self._wet_share = -1.0  # none yet: the first hop takes the knob as it stands
        self._gate = 0.0
        self._open = False
        self._f0_hz = 0.0
        self._active = self._leaving = min(max(self.voice_index, 0), len(self._decoders) - 1)
        self._fade = CROSS_FADE_HOPS

    def process(
        self, hop: Float32, out: Float32, f0_hz: float, confidence: float, loudness_db: float
    ) -> None:
        """Answer ``hop`` (float32 [256]) into ``out``; the other arguments are the readings at its end."""
        self._turn_gate(f0_hz, confidence, loudness_db)
        self._wet(out, loudness_db if math.isfinite(loudness_db) else LOUDNESS_FLOOR_DB)
        dry = self._dry
        dry[:-HOP_SIZE] = dry[HOP_SIZE:]
        dry[-HOP_SIZE:] = hop
        wanted = _within(self.dry_wet, 0.0, 1.0, 1.0)
        before = wanted if self._wet_share < 0.0 else self._wet_share
        self._wet_share = before + min(max(wanted - before, -DRY_WET_STEP), DRY_WET_STEP)
        if before < 1.0 or self._wet_share < 1.0:
            _blend(out, dry[:HOP_SIZE], before, self._wet_share)

    def _turn_gate(self, f0_hz: float, confidence: float, loudness_db: float) -> None:
        needed = self.gate_confidence * (HOLD_BELOW_GATE if self._open else 1.0)
        heard = confidence >= needed and loudness_db >= self.gate_db and 0.0 < f0_hz < math.inf
        hum = self._hum.hears(f0_hz if heard else 0.0, loudness_db)
        self._open = heard and not hum
        if self._open:
            octave = _within(self.octave, -MAX_OCTAVES, MAX_OCTAVES, 0)
            self._f0_hz = min(f0_hz, SAMPLE_RATE_HZ / 2) * 2.0**octave
            self._gate += ATTACK * (1.0 - self._gate)
        else:
            self._gate -= RELEASE * self._gate
            if self._gate < GATE_CLOSED:
                self._gate = 0.0

    def _wet(self, out: Float32, loudness_db: float) -> None:
        controls, f0_hz = self._controls, self._f0_hz
        if self.voice_index != self._active and 0 <= self.voice_index < len(self._decoders):
            self._leaving, self._active, self._fade = self._active, self.voice_index, 0
            self._decoders[self._active].reset()
        if self._gate == 0.0 and not self._open:
            controls.amplitude = 0.0
            controls.noise_magnitudes[:] = 0.0
        else:
            self._decoders[self._active].step(f0_hz, loudness_db, controls)
            if self._fade < CROSS_FADE_HOPS:
                self._fade += 1
                self._decoders[self._leaving].step(f0_hz, loudness_db, self._other)
                _mix(controls, self._other, 1.0 - self._fade / CROSS_FADE_HOPS)
            brightness = _within(self.brightness, -1.0, 1.0, 0.0)
            if brightness:
                _tilt(controls, self._octaves, brightness)
        self._synth.play(controls, f0_hz, self._gate, out)


def _within(value: float, low: float, high: float, default: float) -> float:
    """``value`` held between ``low`` and ``high``; ``default`` if it is not finite."""
    return min(max(value, low), high) if math.isfinite(value) else default


@njit(cache=True)
def _blend(wet: Float32, dry: Float32, share_from: float, share_to: float) -> None:
    """Mix ``dry`` into ``wet``, whose share moves linearly; dry samples that are not finite are silent."""
    n = wet.shape[0]
    for i in range(n):
        share = share_from + (i + 1.0) / n * (share_to - share_from)
        x = dry[i] if math.isfinite(dry[i]) else np.float32(0.0)
        wet[i] = share * wet[i] + (1.0 - share) * x


def _mix(controls: Controls, other: Controls, share: float) -> None:
    """``controls`` moved towards ``other`` by ``share``; levels, not distributions, are what fades."""
    mine, theirs = (1.0 - share) * controls.amplitude, share * other.amplitude
    total = mine + theirs
    if total > 0.0:
        controls.harmonic_distribution *= np.float32(mine / total)
        controls.harmonic_distribution += np.float32(theirs / total) * other.harmonic_distribution
    controls.amplitude = total
    controls.noise_magnitudes *= np.float32(1.0 - share)
    controls.noise_magnitudes += np.float32(share) * other.noise_magnitudes


def _tilt(controls: Controls, octaves: Float32, brightness: float) -> None:
    """Tilt the distribution by ``brightness`` times 6 dB per octave; the sum stays the same."""
    harmonics = controls.harmonic_distribution
    before = float(harmonics.sum())
    harmonics *= np.exp(np.float32(brightness * TILT_DB_PER_OCTAVE / 20.0 * math.log(10.0)) * octaves)
    after = float(harmonics.sum())
    if after > 0.0:
        harmonics *= np.float32(before / after)
