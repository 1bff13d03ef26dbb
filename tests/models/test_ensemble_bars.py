# ruff: noqa: E402 - what needs torch is imported after it was found
"""What the bar's network learns from: cells of tapped beats, rows that are kept, and the numbers it gives."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from kelly_edge.emotion.rhythm import FRAME_RATE_HZ
from kelly_edge.rhythm.bar import FIRST, METRES, N_CELLS
from kelly_edge.rhythm.bar_evidence import N_COMPARED, N_RING, N_VECTOR, BarNetwork, compared, infer_bar
from models.ensemble.heard_beats import TappedBeats, cells_tapped
from models.ensemble.simulated import Beats, bring_to

torch = pytest.importorskip("torch", reason="training needs torch (pip install .[train])")

from models.ensemble.bar_model import N_UNITS, BarModel, Table, fit, judge, log_share
from models.ensemble.fit_bars import kept_rows, piece_song

FOUR, EIGHT = FIRST[METRES.index(4)], FIRST[METRES.index(8)]


def tapped(begin_s: NDArray[np.float64], period_s: float) -> TappedBeats:
    """Beats at these times."""
    n = len(begin_s)
    vectors = np.zeros((n, N_VECTOR), np.float32)
    return TappedBeats(vectors, np.full(n, period_s * FRAME_RATE_HZ), begin_s, np.zeros(n, bool))


def test_tapped_beats_are_those_annotated_or_their_halves_or_unknown() -> None:
    beats_s = np.arange(40) * 0.8
    song = piece_song(beats_s, beats_s[2::4])
    whole = cells_tapped(song, tapped(beats_s[2:30] + 0.03, 0.8))
    assert whole.tolist() == [FOUR + i % 4 for i in range(28)]
    halves = cells_tapped(song, tapped(1.6 + 0.4 * np.arange(40) - 0.03, 0.4))
    assert halves.tolist()[1:] == [EIGHT + i % 8 for i in range(1, 40)]
    assert (cells_tapped(song, tapped(beats_s[2:20] + 0.4, 0.8)) == -1).all()
    assert (cells_tapped(song, tapped(1.6 + 0.53 * np.arange(20), 0.53)) == -1).all()


def test_rows_are_made_once(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    beats = Beats(rng.random((5, N_VECTOR)).astype(np.float32), rng.random(5), np.arange(5))
    made = kept_rows(tmp_path, "song", lambda: [(beats, np.arange(5), 2.0)])
    read = kept_rows(tmp_path, "song", lambda: pytest.fail("made twice"))
    assert len(read) == len(made) == 1
    np.testing.assert_array_equal(read[0][0].vectors, beats.vectors)
    assert (read[0][1].tolist(), read[0][2]) == ([0, 1, 2, 3, 4], 2.0)


def test_simulated_beats_are_brought_to_those_rendered() -> None:
    rng = np.random.default_rng(1)

    def piece(mean: float, spread: float) -> Beats:
        vectors = rng.normal(mean, spread, (400, N_VECTOR)).astype(np.float32)
        return Beats(vectors, np.ones(400), np.arange(400))

    simulated, rendered = piece(0.0, 1.0), piece(3.0, 0.5)
    bring_to([simulated], [rendered])
    assert simulated.vectors[10:, -1].mean() == pytest.approx(3.0, abs=0.1)
    assert simulated.vectors[10:, -1].std() == pytest.approx(0.5, abs=0.1)
    assert simulated.vectors[:, 0].mean() == pytest.approx(0.0, abs=0.2)


def test_the_ears_compute_what_was_learned() -> None:
    """The network in the box answers as torch does, beat after beat."""
    torch.manual_seed(3)
    rng = np.random.default_rng(3)
    model = BarModel(rng.random(N_COMPARED).astype(np.float32), np.full(N_COMPARED, 0.7, np.float32)).eval()
    network = BarNetwork(*(part.astype(np.float32) for part in model.parts()))
    units, out = np.zeros(N_UNITS, np.float32), np.zeros(N_CELLS, np.float32)
    scratch = np.zeros(N_COMPARED + 6 * N_UNITS, np.float32)
    inputs, found = [], []
    for _ in range(6):
        ring = rng.random((N_RING, N_VECTOR)).astype(np.float32)
        comparisons = np.zeros(N_COMPARED, np.float32)
        compared(ring, 50.0, comparisons)
        inputs.append(comparisons)
        infer_bar(network, ring, 50.0, units, scratch, out)
        found.append(out.copy())
    with torch.no_grad():
        expected = model(torch.tensor(np.array([inputs])))[0].numpy()
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_it_learns_where_bars_of_four_begin() -> None:
    rng, tables = np.random.default_rng(4), []
    for _ in range(96):
        cells = (np.arange(40) + rng.integers(4)) % 4
        inputs = rng.normal(0.0, 0.3, (40, N_COMPARED)).astype(np.float32)
        inputs[:, 0] += 4.0 * (cells == 0)
        tables.append(Table(inputs, cells, 1.0))
    model = fit(tables, 12)
    assert judge(model, tables, log_share(tables))[1] > 0.7
