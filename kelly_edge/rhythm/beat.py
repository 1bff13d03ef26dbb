"""The beat heard, per hop group, causal: phase, period, confidence, place in the bar and beats of the bar.

Evidence (``evidence``) weighs the states of the pulse (``pulse``) and, given the pulse, what each beat sounds
like (``bar_evidence``) weighs the beats of the bar (``bar``). What is reported is kept: the octave of the
tempo and the downbeat change only after another has been the better one for a while, as a person who taps
along does not change feet at every doubt.

The phase is that of the newest sample given: the delay of the analysis (``DELAY_S``) is compensated.
"""

import math
from typing import Any, Final, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from kelly_edge.contract import EMOTION_RATE_HZ
from kelly_edge.emotion.rhythm import FRAME, FRAME_RATE_HZ, N_FRAMES
from kelly_edge.rhythm.bar import FIRST, METRE, METRES, N_CELLS, PRIOR, bar_weights, moved, next_beat, weigh
from kelly_edge.rhythm.bar_evidence import (
    BarNetwork,
    BeatVectors,
    bar_scratch,
    beat_vectors,
    begin_beat,
    complete,
    infer_bar,
    take_frame,
    take_notes,
)
from kelly_edge.rhythm.bar_weights import BAR
from kelly_edge.rhythm.count import (
    COUNTED,
    COUNTED_PERIOD,
    OFF,
    beat_count,
    count_anew,
    count_on,
    next_frame,
)
from kelly_edge.rhythm.evidence import (
    AHEAD,
    N_ACCENT,
    N_BANDS,
    N_CLASSES,
    N_HARMONY,
    N_SEEN,
    STILL,
    EvidenceState,
    Network,
    accent_inputs,
    evidence_state,
    harmony_inputs,
    infer,
    phases_of,
)
from kelly_edge.rhythm.pulse import (
    HARMONY_LAG,
    N_BINS,
    N_PERIODS,
    SHORTEST,
    PulseState,
    PulseTables,
    pulse_frame,
    pulse_harmony,
    pulse_state,
    pulse_sum,
    pulse_tables,
)
from kelly_edge.rhythm.weights import ACCENTS, HARMONY
from kelly_edge.signal.framing import ANALYSIS_RATE_HZ, DELAY_SAMPLES

Float32 = NDArray[np.float32]
RISE_S: Final = 0.004
"""An attack is strongest in the frame whose middle lies this long before it: its window reaches it. Chosen
by hand, before ``LATE_S`` was measured."""
DELAY_S: Final = FRAME / 2 / ANALYSIS_RATE_HZ + DELAY_SAMPLES / 48_000 + AHEAD / FRAME_RATE_HZ - RISE_S
"""Age of the sound whose phase the filters have reached. Follows from the analysis."""
LATE_S: Final = 0.004
"""Mean delay with which beats of rendered pianos are found. Measured on development songs
(docs/decisions/0021)."""
ACCENT_TRUST, HARMONY_TRUST = 0.8, 0.3
"""Exponents of the likelihoods of the pulse, from accents and from harmony: below 1, since frames and
groups overlap and are not independent. Chosen by hand."""
BAR_ACCENT_TRUST, BAR_HARMONY_TRUST = 0.1, 0.3
"""The same on the bar, beside the networks of ``bar_weights``, which learned 0.05 and 0.23 for themselves.
Chosen on held-out songs among six pairs (docs/decisions/0053)."""
SAME_TEMPO: Final = 0.06
"""Relative difference within which periods are the same tempo. Chosen: a tempo token."""
# Chosen by hand.
BETTER: Final = 2.0
STAYS_S: Final = 1.5
"""Another tempo is taken when it was this many times likelier for this long."""
OTHER_TEMPO: Final = 1.3
"""A period that changes by this factor between groups is another tempo. Chosen by hand."""
OCTAVE_BETTER, OCTAVE_STAYS_S = 5.0, 4.0
"""The same of its double and its half, which are the same pulse felt otherwise. Chosen larger: nothing is
wrong meanwhile."""
BAR_BETTER, BAR_STAYS_BEATS, BAR_YOUNG_BEATS = 3.0, 3, 16
"""Another beat of the bar is taken when it was this many times likelier for more than so many beats; at once
while the bar is young. Chosen on development songs."""
# Time constant of the mean evidence. Chosen: a bar or two.
EVIDENCE_S: Final = 3.0
LEAST_EVIDENCE, CLEAR_EVIDENCE = 0.13, 0.25
"""Nats per frame by which a pulse explains what is heard better than no pulse does. Notes at random have
0.09 to 0.19, songs in a wet room 0.2 to 0.3, dry ones 0.3 to 0.5. Chosen between these measured ranges."""
LEAST_FOCUS, CLEAR_FOCUS = 0.75, 0.92
"""Length of the mean direction of the phases: no phase, a clear one. Chosen by hand."""
LEAST_MASS, CLEAR_MASS = 0.25, 0.6
"""Probability of the tempo kept, its double and its half. Chosen by hand."""
HALVES: Final = 8
"""Beats of a bar of which halves of four are tapped. By definition of ``bar.METRES``."""
OCTAVE_BEATS: Final = 6.0
"""Time constant, in beats heard, of the probability that they are halves of those felt. Chosen on development
songs."""
OCTAVE_HOLDS: Final = 0.2
"""The octave is kept while that probability is within this of a half. Chosen on development songs."""
FELT_AT_FIRST: Final = 0.3
"""That probability before anything is heard. Chosen: the share of bars of eight in ``bar.USUAL``."""
PERIOD, PHASE, CONFIDENCE, BAR_PHASE, BEATS = range(5)
"""Slots of ``reading``, of the beats tapped."""
N_KEPT: Final = 8
"""By definition: the slots of ``kept``."""
TEMPO_AGE, CELL, CELL_AGE, N_SINCE, EVIDENCE, BAR_CONFIDENCE, IN_HALVES, IS_HALVED = range(8)
"""Slots of ``kept``: groups for which another tempo was better; the beat of the bar; beats for which another
was better; beats since the bar began anew; running evidence; probability of the beat; probability that halves
of beats are tapped, and whether they are."""


class BeatState(NamedTuple):
    """Everything the beat remembers."""

    evidence: EvidenceState
    pulse: PulseState
    bar: Float32  # [N_CELLS] log weights
    vectors: BeatVectors
    units: Float32  # [n, n_units] what the networks remember of the beats
    rises: Float32  # [N_FRAMES, N_BANDS] of the group
    kept: NDArray[np.float64]  # see TEMPO_AGE
    counted: NDArray[np.float64]  # see ``count.COUNTED``
    reading: NDArray[np.float64]  # see PERIOD; the phases before ``DELAY_S`` is made up for
    accents: Float32  # [N_FRAMES, N_CLASSES] of the group
    harmony: Float32  # [N_CLASSES]
    inputs: Float32  # [N_ACCENT] scratch
    phases: Float32  # [N_BINS] scratch
    cells: Float32  # [N_CELLS] scratch
    scratch: Float32  # of ``infer_bar``


def beat_state() -> BeatState:
    """Silence before the stream."""

    def zeros(*shape: int) -> Float32:
        return np.zeros(shape, np.float32)

    return BeatState(
        evidence_state(),
        pulse_state(pulse_tables()),
        bar_weights(),
        beat_vectors(),
        zeros(BAR.units.shape[0], BAR.units.shape[2]),
        zeros(N_FRAMES, N_BANDS),
        np.zeros(N_KEPT),
        beat_count(),
        np.array([0.0, 0.0, 0.0, 0.0, 4.0]),
        zeros(N_FRAMES, N_CLASSES),
        zeros(N_CLASSES),
        zeros(max(N_ACCENT, N_HARMONY)),
        zeros(N_BINS),
        zeros(N_CELLS),
        bar_scratch(BAR),
    )


@njit(cache=True)  # type: ignore[untyped-decorator]
def _mass(tempo: Float32, period: float) -> float:
    total = 0.0
    for i in range(N_PERIODS):
        if abs(math.log((SHORTEST + i) / period)) < SAME_TEMPO:
            total += tempo[i]
    return total


@njit(cache=True)  # type: ignore[untyped-decorator]
def _keep_tempo(state: BeatState) -> None:
    """Period, phase and confidence of the tempo kept, or of another that has been better for long."""
    tempo, direction, kept, reading = state.pulse.tempo, state.pulse.direction, state.kept, state.reading
    best, highest = 0, -1.0
    for i in range(N_PERIODS):
        near = 0.0
        for j in range(max(0, i - 3), min(N_PERIODS, i + 4)):
            near += tempo[j]
        if near > highest:
            best, highest = i, near
    other = float(SHORTEST + best)
    if reading[PERIOD] <= 0.0:
        reading[PERIOD] = other
    is_other = abs(math.log(other / reading[PERIOD])) >= SAME_TEMPO
    is_octave = abs(abs(math.log(other / reading[PERIOD])) - math.log(2.0)) < SAME_TEMPO
    better, stays_s = (OCTAVE_BETTER, OCTAVE_STAYS_S) if is_octave else (BETTER, STAYS_S)
    is_better = is_other and _mass(tempo, other) > better * _mass(tempo, reading[PERIOD])
    kept[TEMPO_AGE] = kept[TEMPO_AGE] + 1.0 if is_better else 0.0
    if kept[TEMPO_AGE] > stays_s * EMOTION_RATE_HZ:
        reading[PERIOD], kept[TEMPO_AGE] = other, 0.0
    for _ in range(2):
        mass, mean, x, y = 1e-12, 0.0, 0.0, 0.0
        for i in range(N_PERIODS):
            if abs(math.log((SHORTEST + i) / reading[PERIOD])) < SAME_TEMPO:
                mass += tempo[i]
                mean += tempo[i] * (SHORTEST + i)
                x += direction[i, 0]
                y += direction[i, 1]
        if mass > 1e-6:
            reading[PERIOD] = mean / mass
    reading[PHASE] = (math.atan2(y, x) / (2.0 * math.pi)) % 1.0
    focus = (math.sqrt(x * x + y * y) / mass - LEAST_FOCUS) / (CLEAR_FOCUS - LEAST_FOCUS)
    clear = (kept[EVIDENCE] - LEAST_EVIDENCE) / (CLEAR_EVIDENCE - LEAST_EVIDENCE)
    # Doubt between a tempo and its double is no doubt about the pulse.
    pulse = mass + _mass(tempo, 2.0 * reading[PERIOD]) + _mass(tempo, 0.5 * reading[PERIOD])
    sure = (pulse - LEAST_MASS) / (CLEAR_MASS - LEAST_MASS)
    reading[CONFIDENCE] = min(max(min(focus, clear, sure), 0.0), 1.0)


@njit(cache=True)  # type: ignore[untyped-decorator]
def _begin_anew(state: BeatState) -> None:
    """Another tempo is kept, so the beats remembered are no beats any more."""
    count_anew(state.counted)
    state.vectors.ring[:] = 0.0
    state.units[:] = 0.0
    for c in range(N_CELLS):
        state.bar[c] = math.log(PRIOR[c])
    state.kept[CELL_AGE] = state.kept[N_SINCE] = 0.0
    state.kept[IN_HALVES] = FELT_AT_FIRST


@njit(cache=True)  # type: ignore[untyped-decorator]
def _keep_bar(network: BarNetwork, notes: Float32, is_still: bool, state: BeatState) -> None:
    """The group's evidence on the bar, and the beat of the bar that is kept."""
    kept, count, reading, bar = state.kept, state.counted, state.reading, state.bar
    period, last = reading[PERIOD], count[COUNTED_PERIOD]
    if last > 0.0 and abs(math.log(period / last)) > math.log(OTHER_TEMPO):
        _begin_anew(state)
    per_frame = count_on(reading[PHASE], period, N_FRAMES, count)
    for i in range(N_FRAMES):
        if next_frame(per_frame, count):
            next_beat(bar, state.cells)
            kept[CELL] = moved(int(kept[CELL]), 1)
            kept[N_SINCE] += 1.0
            begin_beat(period, state.vectors)
        take_frame(state.rises[i], count[COUNTED], period, state.vectors)
        weigh(bar, state.accents[i], count[COUNTED] + count[OFF], BAR_ACCENT_TRUST)
    place = count[COUNTED] + count[OFF]
    weigh(bar, state.harmony, place - HARMONY_LAG / period, BAR_HARMONY_TRUST)
    if complete(state.vectors) and not is_still:
        infer_bar(network, state.vectors.ring, period, state.units, state.scratch, state.cells)
        for c in range(N_CELLS):
            bar[c] += state.cells[c]
        choose_octave(state)
        choose_cell(state)
    take_notes(notes, state.vectors)
    metre = METRE[int(kept[CELL])]
    reading[BEATS] = METRES[metre]
    reading[BAR_PHASE] = (int(kept[CELL]) - FIRST[metre] + place) / reading[BEATS] % 1.0


@njit(cache=True)  # type: ignore[untyped-decorator]
def choose_octave(state: BeatState) -> None:
    """Whether beats or their halves are tapped, as bars of eight have been likely or not for a while."""
    kept, bar = state.kept, state.bar
    highest, total, eights = bar.max(), 0.0, 0.0
    for c in range(N_CELLS):
        bar[c] -= highest
        total += math.exp(bar[c])
        if METRES[METRE[c]] == HALVES:
            eights += math.exp(bar[c])
    keep = math.exp(-1.0 / OCTAVE_BEATS)
    kept[IN_HALVES] = keep * kept[IN_HALVES] + (1.0 - keep) * eights / total
    if kept[IN_HALVES] > 0.5 + OCTAVE_HOLDS:
        kept[IS_HALVED] = 1.0
    elif kept[IN_HALVES] < 0.5 - OCTAVE_HOLDS:
        kept[IS_HALVED] = 0.0


@njit(cache=True)  # type: ignore[untyped-decorator]
def choose_cell(state: BeatState) -> None:
    """The beat of the bar that is kept, or another that has been better, in the octave chosen."""
    kept, bar = state.kept, state.bar
    total, best, cell = 0.0, -1, int(kept[CELL])
    for c in range(N_CELLS):
        total += math.exp(bar[c])
        is_felt = (METRES[METRE[c]] == HALVES) == (kept[IS_HALVED] > 0.0)
        if is_felt and (best < 0 or bar[c] > bar[best]):
            best = c
    if (METRES[METRE[cell]] == HALVES) != (kept[IS_HALVED] > 0.0):
        # The octave has changed.
        kept[CELL], kept[CELL_AGE] = best, 0.0
        cell = best
    is_better = best != cell and bar[best] > bar[cell] + math.log(BAR_BETTER)
    kept[CELL_AGE] = kept[CELL_AGE] + 1.0 if is_better else 0.0
    stays = BAR_STAYS_BEATS if kept[N_SINCE] > BAR_YOUNG_BEATS else 0
    if kept[CELL_AGE] > stays:
        cell = best
        kept[CELL], kept[CELL_AGE] = cell, 0.0
    kept[BAR_CONFIDENCE] = math.exp(bar[cell]) / total


@njit(cache=True)  # type: ignore[untyped-decorator]
def beat_group(
    frames: Float32,
    notes: Float32,
    accents: Network,
    harmony: Network,
    bar: BarNetwork,
    tables: PulseTables,
    state: BeatState,
) -> None:
    """Take a group's log mel frames [8, 27] and activations of the notes [88]; fills ``state.reading``."""
    evidence, expected, mean = state.evidence, 0.0, 0.0
    for i in range(N_FRAMES):
        mean = accent_inputs(frames[i], evidence, state.inputs)
        state.rises[i] = evidence.rises[N_SEEN - 1 - AHEAD]
        infer(accents, state.inputs, evidence.hidden, state.accents[i])
        if mean < STILL:
            state.accents[i] = 0.0
        phases_of(state.accents[i], ACCENT_TRUST, state.phases)
        expected += pulse_frame(state.phases, tables, state.pulse)
    harmony_inputs(notes, evidence, state.inputs)
    infer(harmony, state.inputs, evidence.hidden, state.harmony)
    if mean < STILL:
        state.harmony[:] = 0.0
    phases_of(state.harmony, HARMONY_TRUST, state.phases)
    expected += pulse_harmony(state.phases, tables, state.pulse)
    gain = (pulse_sum(tables, state.pulse) - expected) / N_FRAMES
    keep = math.exp(-1.0 / (EVIDENCE_S * EMOTION_RATE_HZ))
    state.kept[EVIDENCE] = keep * state.kept[EVIDENCE] + (1.0 - keep) * gain
    _keep_tempo(state)
    _keep_bar(bar, notes, mean < STILL, state)


def felt(reading: NDArray[np.float64]) -> tuple[float, float, float, int]:
    """Period in seconds, phase, phase within the bar and beats of the bar as felt, at the newest sample.

    Where bars of eight are tapped, their beats are halves of those felt.
    """
    tapped_s, n_tapped = float(reading[PERIOD]) / FRAME_RATE_HZ, int(reading[BEATS])
    ahead = (DELAY_S + LATE_S) / tapped_s
    bar_phase = float(reading[BAR_PHASE] + ahead / n_tapped) % 1.0
    if n_tapped != HALVES:
        return tapped_s, float(reading[PHASE] + ahead) % 1.0, bar_phase, n_tapped
    return 2.0 * tapped_s, bar_phase * (HALVES // 2) % 1.0, bar_phase, HALVES // 2


class BeatTracker:
    """Streaming; ``push`` a hop group's log mel frames and note activations, then read the attributes.

    Attributes
    ----------
    phase: 0..1 within the beat, at the newest sample given. period_s: of the beat. confidence: 0..1.
    bar_phase: 0..1 within the bar, 0 at the downbeat. n_beats: beats of the bar: 3, 4 or 6.
    """

    def __init__(self) -> None:
        self._tables = pulse_tables()
        self.reset()

    def reset(self) -> None:
        """Silence before the stream."""
        self._state = beat_state()
        self.phase = self.period_s = self.confidence = self.bar_phase = 0.0
        self.bar_confidence = 0.0
        self.n_beats = 4

    def fill(self, heard: NDArray[Any]) -> None:
        """Put the reading into ``heard``, a 0-d HEARD_DTYPE array; no period where no beat is believed."""
        heard["beat_phase"] = self.phase
        heard["beat_s"] = self.period_s if self.confidence > 0.0 else 0.0
        heard["beat_confidence"] = self.confidence
        heard["bar_phase"] = self.bar_phase
        heard["n_beats"] = self.n_beats

    def tapped(self) -> tuple[Float32, float, float]:
        """What the bar is judged by: vectors of the last beats [N_RING, N_VECTOR], the newest last; period in
        frames and phase of the beat counted, as the filters have reached it."""
        state = self._state
        period, phase = float(state.reading[PERIOD]), float(state.counted[COUNTED])
        return state.vectors.ring.copy(), period, phase

    def push(self, frames: Float32, notes: Float32) -> None:
        """Log mel of the group's frames, float32 [8, 27], and activations of the notes, [88]."""
        state = self._state
        beat_group(frames, notes, ACCENTS, HARMONY, BAR, self._tables, state)
        reading = state.reading
        self.period_s, self.phase, self.bar_phase, self.n_beats = felt(reading)
        self.confidence = float(reading[CONFIDENCE])
        self.bar_confidence = float(state.kept[BAR_CONFIDENCE])
