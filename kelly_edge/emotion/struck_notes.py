"""Notes whose keys are known, as the ears would hear them: struck tones that decay.

Beat, bar and chord are heard from log mel frames and from activations of the piano's keys. Of a keyboard
both are computed from the moments at which keys were struck and released, under the same windows as the
microphone's spectra and as late as these, so that the same trackers read them. There is no room, no noise and
no doubt about an octave.
"""

import math
from functools import cache
from typing import Final, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from kelly_edge.contract import SAMPLE_RATE_HZ
from kelly_edge.emotion.rhythm import (
    COMPRESSION,
    FLOOR,
    FRAME,
    FRAME_RATE_HZ,
    MEL_HIGH_HZ,
    MEL_LOW_HZ,
    N_FRAMES,
    N_MEL,
)
from kelly_edge.emotion.running_means import KEY_S, leak
from kelly_edge.emotion.tonal_state import WINDOW
from kelly_edge.signal.framing import ANALYSIS_RATE_HZ, DELAY_SAMPLES
from kelly_edge.signal.spectrum import (
    HARMONIC_DECAY,
    LOWEST_KEY,
    N_HARMONICS_MODELLED,
    N_KEYS,
    mel_bank,
)
from kelly_edge.units import midi_to_hz

Float32 = NDArray[np.float32]
Floats = NDArray[np.float64]
USUAL_VELOCITY, LOUD, LOUDER = 74.0, 7.0, 1.5
"""A note of the first velocity has the second activation when its window is full; it grows with this power of
the velocity. Chosen: about what renderings show."""
DECAY_S, BASS_DECAY_S, RELEASE_S = 0.8, 1.3, 0.12
"""Time constants of the amplitude while a key is held, and after. Seconds. Chosen by hand: a piano's."""
HELD_S: Final = 4.0
"""The same for the level that is told: whoever holds a key still plays. Chosen by hand: 30 dB in 14 s, as a
piano's lower strings."""
BASS_BELOW: Final = 40
"""Key (0 is A0) below which strings ring for longer. Chosen by hand."""
LOUDEST_DB, DB_PER_DECADE = -14.0, 30.0
"""Level of a note of velocity 127, in dBFS, and by how much ten times the velocity is louder. Chosen: about
those of a piano at a microphone; a little less steep than General MIDI, for no inner voice is masked."""
N_POINTS: Final = 9
"""Points at which the long window is read. Chosen by hand."""
WINDOW_S: Final = WINDOW / ANALYSIS_RATE_HZ
FRAME_S: Final = FRAME / ANALYSIS_RATE_HZ
BEHIND_S: Final = DELAY_SAMPLES / SAMPLE_RATE_HZ
"""As old is the newest sample that a microphone's spectra know of. Follows from ``signal.framing``."""
N_SLOTS: Final = 128
"""Notes that sound or ring at once. Chosen: more than the keys of a piano."""
ATTACK_S: Final = 0.008
"""From a key's message until its tone counts in the frames. Measured on development songs: so the beats found
lie on the keys, as those of rendered pianos do."""
GONE: Final = 1e-8
"""Power, of 1 when struck loudest, below which a note is forgotten. Chosen by hand: -80 dB."""


class Struck(NamedTuple):
    """The notes that ring, a slot each."""

    begin_s: Floats  # [N_SLOTS]
    end_s: Floats  # [N_SLOTS] infinity while it is held
    key: NDArray[np.int64]  # [N_SLOTS] 0..87, -1 for a free slot
    power: Floats  # [N_SLOTS] mean square when struck
    loudness: Floats  # [N_SLOTS] activation when struck
    frames: Float32  # [N_FRAMES, N_MEL] log mel of the group's frames
    windowed: Float32  # [88] activations under the long window, as late as the microphone's
    sounding: Float32  # [88] activations now
    scalars: Floats  # [3] running mean of the power (15 s), its weight; power as it is told


def struck() -> Struck:
    """Silence."""
    return Struck(
        np.zeros(N_SLOTS),
        np.zeros(N_SLOTS),
        np.full(N_SLOTS, -1, np.int64),
        np.zeros(N_SLOTS),
        np.zeros(N_SLOTS),
        np.zeros((N_FRAMES, N_MEL), np.float32),
        np.zeros(N_KEYS, np.float32),
        np.zeros(N_KEYS, np.float32),
        np.zeros(3),
    )


@cache
def key_spectra() -> Float32:
    """Mel power of each key's tone of mean square 1: [88, 27]."""
    bank = mel_bank(N_MEL, MEL_LOW_HZ, MEL_HIGH_HZ, FRAME, ANALYSIS_RATE_HZ)
    bins = np.arange(FRAME // 2 + 1)
    spectra = np.zeros((N_KEYS, N_MEL), np.float32)
    for key in range(N_KEYS):
        f0, power = float(midi_to_hz(float(LOWEST_KEY + key))), np.zeros(bins.size)
        shares = HARMONIC_DECAY ** (2.0 * np.arange(N_HARMONICS_MODELLED))
        for h, share in enumerate(shares / shares.sum(), 1):
            # Main lobe of the Hann window, whose bins' powers sum to 3 of a mean square of 1.
            x = bins - h * f0 * FRAME / ANALYSIS_RATE_HZ
            lobe = np.where(np.abs(x) < 2.0, np.cos(0.25 * np.pi * x) ** 4, 0.0)
            power += 3.0 * share * lobe / max(float(lobe.sum()), 1.5)
        for band, (first, size, weights) in enumerate(zip(*bank, strict=True)):
            spectra[key, band] = weights[:size] @ power[first : first + size]
    return spectra


@njit(cache=True)  # type: ignore[untyped-decorator]
def in_window(now_s: float, begin_s: float, end_s: float, decay_s: float, window_s: float) -> float:
    """Mean amplitude of a struck tone, 1 when it begins, under a Hann window that ends at ``now_s``."""
    level = 0.0
    for q in range(N_POINTS):
        place = (q + 0.5) / N_POINTS
        at_s = now_s - window_s * place
        if at_s < begin_s:
            continue
        value = math.exp(-(at_s - begin_s) / decay_s)
        if at_s > end_s:
            value *= math.exp(-(at_s - end_s) / RELEASE_S)
        level += value * (1.0 - math.cos(2.0 * math.pi * place)) / N_POINTS
    return level


@njit(cache=True)  # type: ignore[untyped-decorator]
def _energy(age_s: float) -> float:
    """Share of a frame's energy in the newest ``age_s`` of its squared Hann window."""
    u = 2.0 * math.pi * min(max(age_s / FRAME_S, 0.0), 1.0)
    return (u - 4.0 / 3.0 * math.sin(u) + math.sin(2.0 * u) / 6.0) / (2.0 * math.pi)


@njit(cache=True)  # type: ignore[untyped-decorator]
def _amplitude(at_s: float, begin_s: float, end_s: float, decay_s: float) -> float:
    value = math.exp(-max(at_s - begin_s, 0.0) / decay_s)
    return value * math.exp(-(at_s - end_s) / RELEASE_S) if at_s > end_s else value


@njit(cache=True)  # type: ignore[untyped-decorator]
def release(state: Struck, key: int, time_s: float) -> None:
    """The key, or every one (-1), is damped from ``time_s`` on."""
    for j in range(N_SLOTS):
        if (state.key[j] == key or key < 0) and state.end_s[j] > time_s:
            state.end_s[j] = max(time_s, state.begin_s[j])


@njit(cache=True)  # type: ignore[untyped-decorator]
def strike(state: Struck, key: int, velocity: int, time_s: float) -> None:
    """The key is struck; where it sounds it is damped first."""
    release(state, key, time_s)
    at = 0
    for j in range(N_SLOTS):
        if state.key[j] < 0:
            at = j
            break
        if state.begin_s[j] < state.begin_s[at]:
            at = j
    state.begin_s[at], state.end_s[at], state.key[at] = time_s, math.inf, key
    state.power[at] = 10.0 ** (0.1 * (LOUDEST_DB + DB_PER_DECADE * math.log10(velocity / 127.0)))
    state.loudness[at] = LOUD * (velocity / USUAL_VELOCITY) ** LOUDER


@njit(cache=True)  # type: ignore[untyped-decorator]
def hear_struck(state: Struck, spectra: Float32, keep: float, now_s: float) -> None:
    """Fill frames, activations and power of the hop group that ends at ``now_s``."""
    frames, scalars = state.frames, state.scalars
    frames[:] = 0.0
    state.windowed[:] = 0.0
    state.sounding[:] = 0.0
    newest_s, power, told = now_s - BEHIND_S, 0.0, 0.0
    for j in range(N_SLOTS):
        key = state.key[j]
        if key < 0:
            continue
        begin_s, end_s = state.begin_s[j], state.end_s[j]
        decay_s = BASS_DECAY_S if key < BASS_BELOW else DECAY_S
        for i in range(N_FRAMES):
            frame_end_s = newest_s - ATTACK_S - (N_FRAMES - 1 - i) / FRAME_RATE_HZ
            share = _energy(frame_end_s - begin_s)
            if share > 0.0:
                middle_s = max(frame_end_s - 0.5 * FRAME_S, 0.5 * (frame_end_s + begin_s))
                energy = state.power[j] * share * _amplitude(middle_s, begin_s, end_s, decay_s) ** 2
                for b in range(N_MEL):
                    frames[i, b] += energy * spectra[key, b]
        now = _amplitude(now_s, begin_s, end_s, decay_s)
        if now_s >= begin_s:
            power += state.power[j] * now * now
            told += state.power[j] * _amplitude(now_s, begin_s, end_s, HELD_S) ** 2
            state.sounding[key] += state.loudness[j] * now
        windowed = in_window(newest_s, begin_s, end_s, decay_s, WINDOW_S)
        state.windowed[key] += state.loudness[j] * windowed
        if now * now < GONE and now_s - end_s > WINDOW_S:
            state.key[j] = -1
    scalars[0] = keep * scalars[0] + (1.0 - keep) * power
    scalars[1] = keep * scalars[1] + (1.0 - keep)
    scalars[2] = told
    reference = scalars[0] / scalars[1] + FLOOR
    for i in range(N_FRAMES):
        for b in range(N_MEL):
            frames[i, b] = math.log(1.0 + COMPRESSION * frames[i, b] / reference)


class StruckNotes:
    """Streaming: ``strike`` and ``release`` as they come, then ``hear`` once per hop group.

    Attributes
    ----------
    frames: log mel of the group's frames, float32 [8, 27]. notes: activations [88] as the microphone's
    spectra would have them. sounding: the same of this moment. power: mean square, of 1 at full scale.
    """

    def __init__(self) -> None:
        self._state = struck()
        self._spectra = key_spectra()
        self._keep = leak(KEY_S)
        self.frames, self.notes, self.sounding = (
            self._state.frames,
            self._state.windowed,
            self._state.sounding,
        )

    @property
    def power(self) -> float:
        """Mean square at the end of the group."""
        return float(self._state.scalars[2])

    @property
    def reference(self) -> float:
        """Mean square of the last 15 s, which the frames are relative to."""
        power, weight, _ = self._state.scalars
        return float(power / weight if weight > 0.0 else 0.0) + FLOOR

    def strike(self, pitch: int, velocity: int, time_s: float) -> None:
        """A MIDI note of velocity 1..127; beyond a piano's keys it is the nearest octave's."""
        strike(self._state, key_of_pitch(pitch), velocity, time_s)

    def release(self, pitch: int, time_s: float) -> None:
        """It sounds no longer."""
        release(self._state, key_of_pitch(pitch), time_s)

    def release_all(self, time_s: float) -> None:
        """Nothing sounds any longer."""
        release(self._state, -1, time_s)

    def hear(self, now_s: float) -> None:
        """The hop group that ends at ``now_s``."""
        hear_struck(self._state, self._spectra, self._keep, now_s)


def key_of_pitch(pitch: int) -> int:
    """Key 0..87 of a MIDI note, moved by octaves where a piano has none."""
    key = pitch - LOWEST_KEY
    while key < 0:
        key += 12
    while key >= N_KEYS:
        key -= 12
    return key
