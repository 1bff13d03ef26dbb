"""A model that is missing, damaged, swapped or miscomputing is refused in one line."""

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from firmware_py.runtimes import artefacts
from firmware_py.runtimes.tflite import RUNTIME_MODULES
from kelly_edge.errors import ArtefactError

SHIPPED = Path(artefacts.__file__).parents[2] / "models" / "shipped"
NAME = "emotion_model"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the shipped models that a test may damage."""
    copy = tmp_path / "models"
    shutil.copytree(SHIPPED, copy)
    return copy


def edit_entry(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    path = folder / f"{NAME}.yaml"
    entry = yaml.safe_load(path.read_text())
    change(entry)
    path.write_text(yaml.safe_dump(entry))


def refuse(folder: Path) -> str:
    with pytest.raises(ArtefactError) as caught:
        artefacts.open_tflite(artefacts.load(NAME, str(folder)), "ai_edge_litert")
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize("name", artefacts.names_of_kind("emotion") + artefacts.names_of_kind("voice"))
@pytest.mark.parametrize("runtime", RUNTIME_MODULES)
def test_every_shipped_model_computes_its_golden_vectors(name: str, runtime: str) -> None:
    pytest.importorskip(RUNTIME_MODULES[runtime], reason=f"{runtime} has no wheel for this Python")
    artefact = artefacts.load(name)
    golden = artefacts.golden_vectors(artefact)
    model = artefacts.open_tflite(artefact, runtime)
    allowed = artefact.entry["golden_tolerance"][runtime]
    for step in range(len(golden[f"input/{model.inputs[0]}"])):
        # From zero state: what was computed when it was opened must have left nothing.
        results = model.step(*(golden[f"input/{name}"][step] for name in model.inputs))
        for output, result in zip(model.outputs, results, strict=True):
            wanted = golden[f"output/{runtime}/{output}"][step]
            np.testing.assert_allclose(result, wanted, rtol=0.0, atol=allowed)


def test_there_are_models_of_every_kind() -> None:
    for kind in ("emotion", "composer", "voice"):
        assert artefacts.names_of_kind(kind)


def test_the_guides_name_of_the_voice_is_an_alias() -> None:
    assert artefacts.load("ddsp_model").name.startswith("ddsp_")


def test_a_flipped_byte_is_refused(folder: Path) -> None:
    path = folder / f"{NAME}.tflite"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert "damaged or swapped" in refuse(folder)


def test_a_swapped_model_with_a_matching_hash_is_refused_by_its_shape(folder: Path) -> None:
    voice = next(folder.glob("ddsp_*.tflite")).read_bytes()
    (folder / f"{NAME}.tflite").write_bytes(voice)
    edit_entry(folder, lambda entry: entry.update(sha256=hashlib.sha256(voice).hexdigest(), state=[]))
    assert "manifest says" in refuse(folder)


def test_a_model_that_computes_something_else_is_refused(folder: Path) -> None:
    golden = dict(np.load(folder / f"{NAME}.golden.npz"))
    key = next(k for k in golden if k.startswith("output/ai_edge_litert/"))
    golden[key] = golden[key] + np.float32(1.0)
    np.savez_compressed(folder / f"{NAME}.golden.npz", **golden)
    sha256 = hashlib.sha256((folder / f"{NAME}.golden.npz").read_bytes()).hexdigest()
    edit_entry(folder, lambda entry: entry.update(golden_sha256=sha256))
    assert "off its golden vector" in refuse(folder)


def test_garbage_with_a_matching_hash_is_refused(folder: Path) -> None:
    (folder / f"{NAME}.tflite").write_bytes(b"not a model")
    edit_entry(folder, lambda entry: entry.update(sha256=hashlib.sha256(b"not a model").hexdigest()))
    assert "refuses the model" in refuse(folder)


def test_a_missing_file_is_named(folder: Path) -> None:
    (folder / f"{NAME}.tflite").unlink()
    assert f"{NAME}.tflite" in refuse(folder)


def test_a_broken_entry_is_named(folder: Path) -> None:
    (folder / f"{NAME}.yaml").write_text(": [")
    assert f"{NAME}.yaml" in refuse(folder)


def test_a_folder_without_models_is_refused(tmp_path: Path) -> None:
    assert "manifest.yaml" in refuse(tmp_path)


def test_an_unknown_model_says_where_it_was_looked_for() -> None:
    with pytest.raises(ArtefactError, match="no_such_model is in no manifest of"):
        artefacts.load("no_such_model")


def test_the_user_data_folder_is_searched_last(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    origins = [origin for origin, _ in artefacts.search_folders("x")]
    assert origins == ["explicit", "release", "repo", "user data"]
    assert artefacts.search_folders()[-1][1].is_relative_to(tmp_path)


WRONG: tuple[Any, ...] = (None, -1, 1e400, float("nan"), "x", "../..", [], [[]], {}, {"a": [1]}, True)


def damaged_entries(rng: np.random.Generator, text: str) -> str:
    """An entry with a key gone, a value of another kind at any depth, or bytes of its text lost."""
    kind = rng.integers(3)
    if kind == 2:
        at, n = int(rng.integers(len(text))), int(rng.integers(1, 40))
        return text[:at] + text[at + n :]
    entry = yaml.safe_load(text)
    place, key = entry, str(rng.choice([k for k in entry if k != "metrics"]))
    while kind == 1 and rng.random() < 0.6:
        inner = place[key]
        if isinstance(inner, dict) and inner:
            place, key = inner, rng.choice(list(inner))
        elif isinstance(inner, list) and inner:
            place, key = inner, int(rng.integers(len(inner)))
        else:
            break
    if kind == 0:
        del place[key]
    else:
        place[key] = WRONG[int(rng.integers(len(WRONG)))]
    return yaml.safe_dump(entry)


@pytest.mark.parametrize("name", ["emotion_model", "ddsp_flute", "transformer_model", "manifest"])
def test_a_damaged_entry_is_one_line_or_does_not_matter(folder: Path, name: str) -> None:
    from firmware_py.settings import RuntimeSettings, Settings
    from firmware_py.wiring.offline import open_models
    from kelly_edge.config import VoiceSettings

    settings = Settings(
        runtime=RuntimeSettings(models_dir=str(folder)), voice=VoiceSettings(names=("flute",))
    )
    rng, path, n_refused = np.random.default_rng(5), folder / f"{name}.yaml", 0
    text = path.read_text(encoding="utf-8")
    for _ in range(12):
        path.write_text(damaged_entries(rng, text), encoding="utf-8")
        try:
            open_models(settings)
        except ArtefactError as error:
            n_refused += 1
            assert "\n" not in str(error) and str(folder) in str(error)
    assert n_refused > 3
