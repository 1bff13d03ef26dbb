# ruff: noqa: E402 - what needs torch is imported after it was found
"""What the bar's networks learn from: beats tapped, what the filter was given with them, and the numbers."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from kelly_edge.emotion.rhythm import FRAME_RATE_HZ, N_FRAMES
from kelly_edge.rhythm.bar import FIRST, METRES, N_CELLS, bar_weights, next_beat
from kelly_edge.rhythm.bar_evidence import (
    N_COMPARED,
    N_RING,
    N_VECTOR,
    BarNetwork,
    bar_scratch,
    compared,
    infer_bar,
)
from kelly_edge.rhythm.bar_weights import BAR
from kelly_edge.rhythm.beat import BAR_ACCENT_TRUST, BAR_HARMONY_TRUST, beat_group, beat_state
from kelly_edge.rhythm.pulse import pulse_tables
from kelly_edge.rhythm.weights import ACCENTS, HARMONY
from models.ensemble.heard_beats import (
    Steps,
    TappedBeats,
    cells_tapped,
    heard_and_kept,
    heard_of,
    steps_of,
    tapped_beats,
)
from models.ensemble.practice import draw
from models.ensemble.simulated import Beats

torch = pytest.importorskip("torch", reason="training needs torch (pip install .[train])")

from models.ensemble.bar_model import (
    N_UNITS,
    TRUSTS,
    BarModel,
    Stretch,
    batch_of,
    fit,
    judge,
    network_parts,
)
from models.ensemble.fit_bars import kept_rows, piece_song, standardised, stretches_of

FOUR, EIGHT = FIRST[METRES.index(4)], FIRST[METRES.index(8)]


def test_tapped_beats_are_those_annotated_or_their_halves_or_unknown() -> None:
    beats_s = np.arange(40) * 0.8
    song = piece_song(beats_s, beats_s[2::4])

    def tapped(begin_s: NDArray[np.float64], period_s: float) -> NDArray[np.int64]:
        return cells_tapped(song, begin_s, np.full(len(begin_s), period_s * FRAME_RATE_HZ))

    whole = tapped(beats_s[2:30] + 0.03, 0.8)
    assert whole.tolist() == [FOUR + i % 4 for i in range(28)]
    halves = tapped(1.6 + 0.4 * np.arange(40) - 0.03, 0.4)
    assert halves.tolist()[1:] == [EIGHT + i % 8 for i in range(1, 40)]
    assert (tapped(beats_s[2:20] + 0.4, 0.8) == -1).all()
    assert (tapped(1.6 + 0.53 * np.arange(20), 0.53) == -1).all()


def test_rows_are_made_once(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    beats = Beats(rng.random((5, N_VECTOR)).astype(np.float32), rng.random(5), np.arange(5))
    made = kept_rows(tmp_path, "song", lambda: [(beats, np.arange(5), 2.0)])
    read = kept_rows(tmp_path, "song", lambda: pytest.fail("made twice"))
    assert len(read) == len(made) == 1
    np.testing.assert_array_equal(read[0][0].vectors, beats.vectors)
    assert (read[0][1].tolist(), read[0][2]) == ([0, 1, 2, 3, 4], 2.0)


def test_what_was_heard_is_heard_once(tmp_path: Path) -> None:
    sound = np.random.default_rng(2).normal(0.0, 0.1, 24_000).astype(np.float32)
    frames, notes = heard_and_kept(tmp_path, "noise", lambda: sound)
    again = heard_and_kept(tmp_path, "noise", lambda: pytest.fail("heard twice"))
    np.testing.assert_array_equal(frames, again[0])
    np.testing.assert_array_equal(notes, again[1])
    for kept, heard in zip((frames, notes), heard_of(sound), strict=True):
        np.testing.assert_allclose(kept, heard, rtol=1e-3, atol=1e-3)


def test_what_is_collected_is_what_the_tracker_weighs() -> None:
    """The filter run on what was collected believes what the tracker believes, to the last beat."""
    piece = draw(np.random.default_rng(11))
    frames, notes = heard_of(piece.sound)
    silent, state, tables = BarNetwork(*(np.zeros_like(part) for part in BAR)), beat_state(), pulse_tables()
    for group, activations in enumerate(notes):
        heard = frames[group * N_FRAMES : (group + 1) * N_FRAMES]
        beat_group(heard, activations, ACCENTS, HARMONY, silent, tables, state)
    tapped = tapped_beats(frames, notes)
    bar, scratch = bar_weights(), np.zeros(N_CELLS, np.float32)
    for k, (before, after, _, is_new) in enumerate(zip(*tapped.steps, strict=True)):
        if is_new:
            bar = bar_weights()
        elif k:
            next_beat(bar, scratch)
        for evidence in (before, after):
            bar += np.array((BAR_ACCENT_TRUST, BAR_HARMONY_TRUST), np.float32) @ evidence
    assert len(tapped.steps.beat) > 20
    assert tapped.steps.beat[tapped.steps.beat >= 0].tolist() == list(range(len(tapped.period)))
    np.testing.assert_allclose(bar - bar.max(), state.bar - state.bar.max(), atol=1e-2)


def some_steps(rng: np.random.Generator, beat: NDArray[np.int64]) -> Steps:
    """Steps with evidence drawn."""
    n = len(beat)
    before, after = (rng.normal(0.0, 1.0, (n, 2, N_CELLS)).astype(np.float32) for _ in range(2))
    return Steps(before, after, beat, np.zeros(n, np.bool_))


def test_the_belief_that_is_judged_is_that_of_the_filter() -> None:
    rng = np.random.default_rng(5)
    steps = some_steps(rng, np.array([-1, 0, 1, -1, 2]))
    said = rng.normal(0.0, 1.0, (3, N_CELLS)).astype(np.float32)
    bar, scratch, expected = bar_weights(), np.zeros(N_CELLS, np.float32), []
    for k, beat in enumerate(steps.beat):
        if k:
            next_beat(bar, scratch)
        bar += np.array(TRUSTS[:2], np.float32) @ steps.before[k]
        bar += np.float32(TRUSTS[2]) * said[beat] if beat >= 0 else 0.0
        expected.append(bar - np.log(np.exp(bar).sum()))
        bar += np.array(TRUSTS[:2], np.float32) @ steps.after[k]
    stretch = Stretch(np.zeros((3, N_COMPARED), np.float32), np.zeros(3, np.int64), 1.0, steps)
    with torch.no_grad():
        found = BarModel().beliefs(torch.tensor(said[None]), batch_of([stretch]))[0].numpy()
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_a_stretch_that_begins_later_keeps_beats_and_steps_together() -> None:
    rng = np.random.default_rng(6)
    steps = some_steps(rng, np.array([0, -1, 1, 2, -1, 3]))
    whole = Stretch(np.arange(4.0, dtype=np.float32)[:, None], np.arange(4), 1.0, steps)
    for begin, beats in ((0, [0, 1, 2, 3]), (1, [1, 2, 3]), (2, [1, 2, 3]), (4, [3]), (5, [3])):
        later = whole.later(begin)
        assert later.cells.tolist() == beats
        for k, beat in enumerate(later.steps.beat):
            assert beat == -1 or later.cells[beat] == steps.beat[begin + k]
        np.testing.assert_array_equal(later.steps.before, steps.before[begin:])


def test_another_tempo_begins_another_stretch_and_short_ones_say_nothing() -> None:
    beats_s = np.arange(60) * 0.5
    song, n = piece_song(beats_s, beats_s[::4]), 50
    steps = steps_of(n)
    steps.beat[:], steps.is_new[[20, 28]] = np.arange(n), True
    rows = np.arange(n, dtype=np.float32)[:, None] * np.ones(N_COMPARED, np.float32)
    stretches = stretches_of(TappedBeats(rows, np.full(n, 0.5 * FRAME_RATE_HZ), beats_s[:n], steps), song)
    assert [len(stretch.cells) for stretch in stretches] == [20, 22]
    assert [stretch.inputs[0, 0] for stretch in stretches] == [0.0, 28.0]
    assert stretches[1].cells.tolist() == [FOUR + i % 4 for i in range(28, 50)]
    assert stretches[1].steps.beat.tolist() == list(range(22))


def test_inputs_are_learned_without_their_mean_and_spread() -> None:
    rng = np.random.default_rng(1)
    cells = np.zeros(400, np.int64)
    piece = Stretch(rng.normal(3.0, 0.5, (400, N_COMPARED)).astype(np.float32), cells, 1.0, steps_of(0))
    (found,), mean, scale = standardised([piece])
    np.testing.assert_allclose(found.inputs.mean(0), 0.0, atol=1e-4)
    np.testing.assert_allclose(found.inputs.std(0), 0.5 / 0.55, atol=0.1)
    np.testing.assert_allclose(found.inputs * scale + mean, piece.inputs, atol=1e-4)


def test_the_ears_compute_what_was_learned() -> None:
    """The networks in the box answer together as torch does, beat after beat."""
    torch.manual_seed(3)
    rng = np.random.default_rng(3)
    mean, scale = rng.random(N_COMPARED).astype(np.float32), np.full(N_COMPARED, 0.7, np.float32)
    models = [BarModel().eval() for _ in range(2)]
    network = BarNetwork(*(part.astype(np.float32) for part in network_parts(models, mean, scale)))
    units, out = np.zeros((2, N_UNITS), np.float32), np.zeros(N_CELLS, np.float32)
    scratch, inputs, found = bar_scratch(network), [], []
    for _ in range(6):
        ring = rng.random((N_RING, N_VECTOR)).astype(np.float32)
        comparisons = np.zeros(N_COMPARED, np.float32)
        compared(ring, 50.0, comparisons)
        inputs.append((comparisons - mean) / scale)
        infer_bar(network, ring, 50.0, units, scratch, out)
        found.append(out.copy())
    with torch.no_grad():
        said = [model(torch.tensor(np.array([inputs])))[0].numpy() for model in models]
    np.testing.assert_allclose(found, TRUSTS[2] * np.mean(said, 0), atol=1e-4)


def test_it_learns_where_bars_of_four_begin() -> None:
    rng, stretches = np.random.default_rng(4), []
    for _ in range(96):
        cells = (np.arange(40) + rng.integers(4)) % 4
        inputs = rng.normal(0.0, 0.3, (40, N_COMPARED)).astype(np.float32)
        inputs[:, 0] += 4.0 * (cells == 0)
        steps = steps_of(40)
        steps.beat[:] = np.arange(40)
        stretches.append(Stretch(inputs, cells, 1.0, steps))
    assert judge([BarModel().eval()], stretches) < 0.5
    assert judge([fit(stretches, 0, 12)], stretches) > 0.7
