"""The evaluation command: scores by hand, files in, files out, faults in one line."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from kelly_edge.emotion.circumplex import EmotionEstimate
from models.emotion import data, evaluate


def prediction(quadrant: int, confidence: float = 0.7) -> evaluate.Prediction:
    p = np.full(4, (1 - confidence) / 3, np.float32)
    p[quadrant] = confidence
    v, a = p @ np.array([[1, 1], [-1, 1], [-1, -1], [1, -1]])
    return evaluate.Prediction(f"{quadrant}.wav", EmotionEstimate(float(v), float(a), 1.0, p))


def test_scores_by_hand() -> None:
    predictions = [prediction(0), prediction(1), prediction(2), prediction(3)]
    result = evaluate.scores(predictions, np.array([0, 0, 2, 2]))
    assert result["quadrant"]["accuracy"] == 0.5
    assert result["arousal"]["accuracy"] == 1.0
    assert result["arousal"]["auc"] == 1.0
    assert result["valence"]["accuracy"] == 0.5
    assert result["quadrant"]["ece"] == pytest.approx(0.2, abs=1e-6)
    low, high = result["quadrant"]["ci95"]
    assert low <= 0.5 <= high


def test_accuracy_by_confidence_by_hand() -> None:
    predictions = [prediction(0, 0.5), prediction(1, 0.9), prediction(0, 0.7)]
    for x in predictions:
        object.__setattr__(x.estimate, "confidence", float(x.estimate.posterior.max()))
    result = evaluate.scores(predictions, np.array([3, 1, 1]))
    assert result["confidence"]["accuracy_by_third"] == [0.0, 0.0, 1.0]


def test_auc_of_one_class_is_undefined() -> None:
    result = evaluate.scores([prediction(0), prediction(1)], np.array([0, 0]))
    assert np.isnan(result["valence"]["auc"])


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recordings")
    t = np.arange(44_100 * 3) / 44_100
    for name, f_hz in (("low", 110.0), ("high", 880.0)):
        tone = 0.2 * np.sin(2 * np.pi * f_hz * t) * np.exp(-3 * (t % 0.5))
        soundfile.write(folder / f"{name}.wav", np.stack([tone, tone], 1), 44_100)
    soundfile.write(folder / "short.flac", np.zeros(10), 48_000)
    return folder


@pytest.mark.parametrize("runtime", ["ai_edge_litert", "rtneural_json"])
def test_a_row_for_every_file(recordings: Path, tmp_path: Path, runtime: str) -> None:
    out = tmp_path / "pred.csv"
    assert evaluate.main(["--audio-dir", str(recordings), "--out", str(out), "--runtime", runtime]) == 0
    with out.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [Path(r["path"]).name for r in rows] == ["high.wav", "low.wav", "short.flac"]
    for row in rows:
        assert row["quadrant"] in {"Q1", "Q2", "Q3", "Q4"}
        assert sum(float(row[f"p_q{i}"]) for i in range(1, 5)) == pytest.approx(1.0, abs=1e-3)
        assert -1.0 <= float(row["valence"]) <= 1.0
    assert float(rows[2]["confidence"]) == 0.0


def test_labels_give_scores(recordings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    labels = tmp_path / "labels.csv"
    labels.write_text("path,valence_sign,arousal_sign\nx/low.mid,-1,-1\nhigh.wav,1,1\n")
    assert evaluate.main(["--audio-dir", str(recordings), "--labels", str(labels), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["n"] == 2
    assert {"quadrant", "arousal", "valence"} <= set(result)


@pytest.mark.parametrize(
    "argv",
    [
        ["--audio-dir", "no-such-folder"],
        ["--audio-dir", "{recordings}", "--labels", "missing.csv"],
        ["--audio-dir", "{recordings}", "--model", "missing.tflite"],
        ["--audio-dir", "{recordings}", "--model", "missing.json", "--runtime", "rtneural_json"],
        ["--audio-dir", "{recordings}", "--out", "no-such-folder/pred.csv"],
        ["--condition", "fluid-0", "--cache", "no-such-cache"],
        ["--condition", "nonsense"],
    ],
)
def test_faults_are_one_line_and_exit_2(
    recordings: Path, capsys: pytest.CaptureFixture[str], argv: list[str]
) -> None:
    assert evaluate.main([a.replace("{recordings}", str(recordings)) for a in argv]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


def test_absent_data_says_what_to_get(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KELLY_DATA", str(tmp_path))
    with pytest.raises(data.DataError, match="Zenodo"):
        data.emopia("train")
    assert data.main(["prepare"]) == 2


def test_evaluation_fonts_are_in_no_training_condition() -> None:
    assert {c.font for c in data.TRAIN_CONDITIONS} == {"fluid", "muse", "csound", "random"}


@pytest.mark.parametrize(
    "name", ["fluid-0", "fluid-mixed", "fluid-0-microphone", "timgm-0-noise_20db", "random-1-microphone"]
)
def test_condition_names_read_back(name: str) -> None:
    assert data.parse_condition(name).name == name


@pytest.mark.parametrize("treatment", ["clean", "microphone", "quiet"])
def test_treatments_keep_length_and_are_finite(treatment: str) -> None:
    audio = np.random.default_rng(0).uniform(-0.5, 0.5, 48_000).astype(np.float32)
    treated = data.TREATMENTS[treatment](audio, np.random.default_rng(1))
    assert treated.shape == audio.shape
    assert treated.dtype == np.float32
    assert np.isfinite(treated).all()
