# ruff: noqa: E402 - what needs torch is imported after it was found
"""The full graph of the composer: tokens to logits, the same network as the step graph on the box."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray

torch = pytest.importorskip("torch", reason="the exporter needs torch")
pytest.importorskip("onnx", reason="the exporter needs onnx")

from firmware_py.runtimes.artefacts import load
from firmware_py.runtimes.onnx import OnnxComposer
from kelly_edge.errors import ArtefactError
from kelly_edge.music.compound_word import SAMPLED, TYPE, Rows
from kelly_edge.music.known_runs import KnownRuns
from models.composer.evaluate import onnx_logits
from models.composer.export import composer_of, export_full, export_step, sample_rows
from models.composer.network import Composer, NetworkConfig
from models.shipping import SHIPPED

STEP = SHIPPED / "transformer_model.onnx"
AGREEMENT, RELATIVE_ERROR = 0.97, 0.1
"""What the step graph's rounding of activations to INT8 leaves."""


def run(content: bytes, tokens: NDArray[np.int64]) -> NDArray[np.float32]:
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(["logits"], {"tokens": tokens})[0])


@pytest.fixture(scope="module")
def content() -> bytes:
    return load("transformer_model_full").content


@pytest.fixture(scope="module")
def rows() -> Rows:
    with np.load(SHIPPED / "transformer_model.golden.npz") as golden:
        return np.asarray(golden["input/row"], np.int16)


def test_it_gives_its_golden_logits(content: bytes) -> None:
    with np.load(SHIPPED / "transformer_model_full.golden.npz") as golden:
        found = run(content, golden["input/tokens"])
        np.testing.assert_allclose(found, golden["output/onnxruntime/logits"], atol=1e-3)


def test_its_logits_are_those_of_the_step_graph(content: bytes, rows: Rows) -> None:
    found = run(content, rows[None].astype(np.int64))[0]
    expected = [table[0].numpy() for table in onnx_logits(OnnxComposer(STEP), rows)]
    equal = total = start = 0
    for family, table in zip(SAMPLED, expected, strict=True):
        mine = found[:, start : start + family.size]
        start += family.size
        applies = rows[:, TYPE] == family.row if family.row else np.ones(len(rows), bool)
        error = np.sqrt(np.mean((mine - table)[applies] ** 2)) / table[applies].std()
        assert error < RELATIVE_ERROR, family.name
        equal, total = equal + int((mine.argmax(1) == table.argmax(1))[applies].sum()), total + applies.sum()
    assert start == found.shape[-1]
    assert equal / total >= AGREEMENT


def test_batch_and_sequence_are_free(content: bytes, rows: Rows) -> None:
    tokens = rows[None].astype(np.int64)
    alone = run(content, tokens)
    both = run(content, np.concatenate([tokens, tokens[:, ::-1]]))
    np.testing.assert_allclose(both[0], alone[0], atol=1e-3)
    # A place depends on the rows up to it alone, so less of them says the same.
    np.testing.assert_allclose(run(content, tokens[:, :7])[0], alone[0, :7], atol=1e-3)


def test_the_file_is_small_and_says_where_it_is_from(content: bytes) -> None:
    assert len(content) <= 8_000_000
    artefact = load("transformer_model_full")
    assert artefact.entry["card"] == "transformer_model_full.md"
    assert (SHIPPED / "transformer_model_full.md").is_file()


def test_a_network_comes_back_from_its_own_step_graph(tmp_path: Path) -> None:
    """So the full graph needs no checkpoint."""
    torch.manual_seed(1)
    config = NetworkConfig(n_layers=2, width=32, n_heads=4, context=32, head_width=16)
    model = Composer(config).eval()
    for parameter in model.parameters():  # trained ones differ; equal ones the exporter would merge
        torch.nn.init.normal_(parameter, std=0.1)
    path = tmp_path / "step.onnx"
    export_step(model, KnownRuns(np.zeros(1, np.uint8)), path, int8=False)
    tokens = torch.from_numpy(sample_rows(16, 32).astype(np.int64))[None]
    with torch.no_grad():
        again = composer_of(path)
        for mine, theirs in zip(
            again.logits(again(tokens), tokens), model.logits(model(tokens), tokens), strict=True
        ):
            torch.testing.assert_close(mine, theirs, atol=1e-5, rtol=1e-5)
    export_full(again, tmp_path / "full.onnx")


def test_what_is_no_step_graph_is_refused_by_name() -> None:
    with pytest.raises(ArtefactError, match="not a composer step graph"):
        composer_of(SHIPPED / "transformer_model_full.onnx")
