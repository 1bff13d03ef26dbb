"""The free set: the same contract as the research set, from data that anybody may use."""

import csv
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

from firmware_py.runtimes import artefacts
from firmware_py.runtimes.onnx import open_composer
from firmware_py.settings import RuntimeSettings, Settings
from firmware_py.wiring.choice import EMOTION_MODELS
from firmware_py.wiring.offline import Models, Offline, open_models
from kelly_edge.contract import SAMPLE_RATE_HZ
from kelly_edge.errors import ArtefactError
from models.free.record import COLUMNS, TABLE
from models.shipping import SHIPPED

FREE = SHIPPED / "free"
KINDS = ("emotion", "composer", "composer_full", "voice")
SETTINGS = replace(Settings(), runtime=RuntimeSettings(models="free"))


def entries() -> dict[str, dict[str, object]]:
    """Every entry of the free set and of what it shares."""
    listing = yaml.safe_load((FREE / artefacts.MANIFEST).read_text(encoding="utf-8"))
    paths = [FREE / f"{name}.yaml" for name in listing["models"]]
    paths += [SHIPPED / f"{name}.yaml" for name in listing["shared"]]
    return {path.stem: yaml.safe_load(path.read_text(encoding="utf-8")) for path in paths}


@pytest.fixture(scope="module")
def models() -> Models:
    return open_models(SETTINGS)


@pytest.mark.parametrize("kind", KINDS)
def test_both_sets_have_the_same_models(kind: str) -> None:
    names = set(artefacts.names_of_kind(kind))
    assert names
    assert set(artefacts.names_of_kind(kind, "", "free")) == names


@pytest.mark.parametrize("name", EMOTION_MODELS.values())
def test_the_emotion_model_takes_and_gives_the_same_tensors(name: str) -> None:
    free, research = artefacts.load(name, "", "free"), artefacts.load(name)
    assert free.content != research.content
    for side in ("inputs", "outputs"):
        shapes = [[(t["shape"], t["dtype"]) for t in a.entry[side]] for a in (free, research)]
        assert shapes[0] == shapes[1]
    model = artefacts.open_tflite(free, "ai_edge_litert")
    assert np.isfinite(model.step(np.zeros((1, 128), np.float32))[0]).all()


def test_the_composer_decides_the_same_families(models: Models) -> None:
    artefact = artefacts.load("transformer_model", "", "free")
    assert len(artefact.content) <= 8_000_000
    assert int(artefact.entry["n_parameters"]) <= 3_000_000
    research = open_composer(artefacts.load("transformer_model"))
    ours, theirs = models.composer.tables, research.tables
    assert [w.shape[1] for w in ours.weights] == [w.shape[1] for w in theirs.weights]
    assert [len(p) for p in ours.parents] == [len(p) for p in theirs.parents]


def test_the_voices_are_the_same_files() -> None:
    for name in artefacts.names_of_kind("voice"):
        assert artefacts.load(name, "", "free").path == artefacts.load(name).path
    assert artefacts.load("ddsp_model", "", "free").name == artefacts.load("ddsp_model").name


def is_non_commercial(words: str) -> bool:
    return bool(re.search(r"non-commercial|\bNC\b|emopia|vgmidi", words, re.IGNORECASE))


def test_nothing_that_the_free_set_saw_forbids_commercial_use() -> None:
    found = entries()
    assert len(found) == sum(len(artefacts.names_of_kind(kind)) for kind in KINDS)
    for name, entry in found.items():
        assert entry["licence"] and entry["data"]
        assert not is_non_commercial(f"{entry['licence']} {entry['data']}"), name
    research = artefacts.load("emotion_model").entry
    assert is_non_commercial(str(research["licence"])) and is_non_commercial(str(research["data"]))


def test_every_file_that_a_model_saw_stands_in_the_table_with_its_licence() -> None:
    with (FREE / TABLE).open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert set(rows[0]) == set(COLUMNS)
    assert {name for row in rows for name in row["models"].split()} == set(entries())
    assert len({row["file"] for row in rows if row["models"].startswith("transformer")}) > 600
    for row in rows:
        assert all(row.values())
        assert not is_non_commercial(" ".join(row.values())), row


def test_a_recording_is_played_from_end_to_end(models: Models, demo_samples: np.ndarray) -> None:
    performance = Offline(SETTINGS, models, demo_samples[: 12 * SAMPLE_RATE_HZ]).run()
    assert len(performance.notes) > 20
    assert np.isfinite(performance.voice).all() and np.abs(performance.voice).max() > 0.01


def test_a_folder_without_a_free_set_is_told_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(ArtefactError, match=r"no manifest.yaml in .*free"):
        artefacts.load("emotion_model", str(tmp_path), "free")
