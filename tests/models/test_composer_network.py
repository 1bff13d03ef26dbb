# ruff: noqa: E402 - what needs torch is imported after it was found
"""The composer network in torch: causality, parents, training and export of a tiny one."""

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch (pip install .[train])")
pytest.importorskip("onnx", reason="export needs onnx (pip install .[train])")

from firmware_py.runtimes.onnx import OnnxComposer, stream_rows
from kelly_edge.errors import ArtefactError, DataError
from kelly_edge.music import compound_word as cw
from kelly_edge.music.compound_word import Condition, GridBar, GridNote
from kelly_edge.music.generator import Generator
from kelly_edge.music.known_runs import KnownRuns
from kelly_edge.music.sampling import SamplingSettings
from kelly_edge.music.target import Target
from models.composer.export import export_full, export_step, sample_rows
from models.composer.network import Composer, NetworkConfig, attend, row_losses, struck_together
from models.composer.train import Likelihood, load_config, load_model, save_checkpoint

torch.set_num_threads(1)

TINY = NetworkConfig(n_layers=2, width=16, n_heads=2, context=64, head_width=8, dropout=0.0)


@pytest.fixture(scope="module")
def model() -> Composer:
    torch.manual_seed(0)
    network = Composer(TINY)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return network.eval()


def tokens(n: int) -> "torch.Tensor":
    return torch.from_numpy(sample_rows(n, TINY.context).astype(np.int64))[None]


def piece(n_bars: int = 12) -> cw.Rows:
    notes = tuple(GridNote(i, 60 + i, 4, 63) for i in range(0, 16, 4))
    return cw.encode([GridBar(Condition(3, 3, 2, 1), 96.0, 1, notes)] * n_bars)


def test_a_row_does_not_see_the_rows_after_it(model: Composer) -> None:
    rows = tokens(20)
    changed = rows.clone()
    changed[:, 12:] = 0
    torch.testing.assert_close(model(rows)[:, :13], model(changed)[:, :13])
    assert not torch.allclose(model(rows)[:, 13], model(changed)[:, 13])


def test_a_family_sees_its_parents_and_no_other_family_of_its_row(model: Composer) -> None:
    rows = tokens(10)
    contexts = model(rows)
    before = model.logits(contexts, rows)
    for column, family in enumerate(cw.FAMILIES):
        changed = rows.clone()
        changed[..., column] = (changed[..., column] + 1) % family.size
        after = model.logits(contexts, changed)
        for child, old, new in zip(cw.SAMPLED, before, after, strict=True):
            assert torch.equal(old, new) == (family.name not in child.parents)


def test_notes_on_the_position_of_the_note_before_are_struck_together() -> None:
    notes = (GridNote(0, 50, 4, 63), GridNote(0, 60, 4, 63), GridNote(0, 64, 4, 63), GridNote(4, 40, 4, 63))
    rows = cw.encode([GridBar(Condition(), 96.0, 1, notes), GridBar(Condition(), 96.0, 1, notes[3:])])
    found = struck_together(torch.from_numpy(rows.astype(np.int64)))
    assert found.tolist() == [0, 0, 1, 1, 0, 0, 0]


def test_losses_count_only_families_that_apply() -> None:
    rows = torch.from_numpy(np.concatenate([piece(1)[:2], np.zeros((1, cw.N_FAMILIES))]).astype(np.int64))[
        None
    ]
    logits = [torch.zeros(1, 3, family.size) for family in cw.SAMPLED]
    losses = row_losses(logits, rows)[0]
    sizes = {family.name: np.log(family.size) for family in cw.SAMPLED}
    bar = [sizes["type"], sizes["tempo"], sizes["chord"], 0, 0, 0, 0]
    note = [sizes["type"], 0, 0, sizes["position"], sizes["pitch"], sizes["duration"], sizes["velocity"]]
    np.testing.assert_allclose(losses.numpy(), [bar, note, [0] * 7], rtol=1e-5)


def test_a_few_steps_of_training_lower_the_loss() -> None:
    torch.manual_seed(0)
    likelihood = Likelihood(Composer(TINY))
    optimiser = torch.optim.AdamW(likelihood.parameters(), lr=1e-2)
    rows = torch.from_numpy(piece(12)[:60].astype(np.int64))[None]
    losses = []
    for _ in range(15):
        loss = likelihood(rows)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.5 * losses[0]


def test_the_step_graph_streams_what_torch_computes_at_once(model: Composer, tmp_path: Path) -> None:
    path = tmp_path / "float.onnx"
    export_step(model, KnownRuns(np.zeros(1, np.uint8)), path, int8=False)
    rows = sample_rows(40, TINY.context)
    with torch.no_grad():
        expected = model(torch.from_numpy(rows.astype(np.int64))[None])[0, 1:].numpy()
    np.testing.assert_allclose(stream_rows(OnnxComposer(path), rows)[:-1], expected, atol=1e-4)


def test_the_int8_graph_is_near_the_float_one_and_composes(model: Composer, tmp_path: Path) -> None:
    path = tmp_path / "int8.onnx"
    export_step(model, KnownRuns(np.zeros(1, np.uint8)), path)
    rows = sample_rows(30, TINY.context)
    with torch.no_grad():
        expected = model(torch.from_numpy(rows.astype(np.int64))[None])[0, 1:].numpy()
    found = stream_rows(OnnxComposer(path.read_bytes()), rows)[:-1]
    assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.99
    generator = Generator(OnnxComposer(path), SamplingSettings(), 0)
    assert [generator.compose_bar(Target(0, 0)).number for _ in range(5)] == [0, 1, 2, 3, 4]


def test_the_full_graph_takes_any_batch_and_length(model: Composer, tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    path = tmp_path / "full.onnx"
    export_full(model, path)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    assert [i.name for i in session.get_inputs()] == ["tokens"]
    for batch, n in ((1, 1), (3, 7), (2, 64)):
        rows = tokens(n).repeat(batch, 1, 1)
        logits = session.run(["logits"], {"tokens": rows.numpy()})[0]
        assert logits.shape == (batch, n, sum(family.size for family in cw.SAMPLED))
        with torch.no_grad():
            expected = torch.cat(model.logits(model(rows), rows), -1)
        # Its weights are kept in float16.
        np.testing.assert_allclose(logits, expected.numpy(), atol=1e-3, rtol=1e-2)


def test_a_checkpoint_gives_back_the_same_network(model: Composer, tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "a.pt", model)
    torch.testing.assert_close(load_model(tmp_path / "a.pt")(tokens(8)), model(tokens(8)))


def test_a_missing_checkpoint_names_the_command_that_makes_one(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"models\.composer\.train"):
        load_model(tmp_path / "none.pt")


def test_teacher_student_and_the_guide_are_configs_of_one_network() -> None:
    guide, stages = load_config("guide")
    assert (guide.n_layers, guide.width, guide.n_heads, guide.context) == (12, 512, 8, 1024)
    assert [stage.corpus for stage in stages] == ["pop909", "emopia"]
    n = {
        name: sum(p.numel() for p in Composer(load_config(name)[0]).parameters())
        for name in ("student", "teacher")
    }
    assert 1e6 < n["student"] < n["teacher"] < 6e6
    with pytest.raises(DataError, match="not one of student, teacher, guide"):
        load_config("giant")


def test_written_out_attention_is_torchs_own() -> None:
    torch.manual_seed(1)
    query, key, value = torch.randn(3, 2, 4, 9, 6)
    expected = torch.nn.functional.scaled_dot_product_attention(query, key, value, is_causal=True)
    torch.testing.assert_close(attend(query, key, value), expected)


def test_bytes_that_are_no_step_graph_are_refused_in_one_line(tmp_path: Path) -> None:
    for content in (b"", b"not a model", b"\x00" * 100):
        with pytest.raises(ArtefactError, match="not a composer step graph") as caught:
            OnnxComposer(content)
        assert "\n" not in str(caught.value)
