"""The report reads what the manifest entries hold, and says nothing where nothing was measured."""

import json

import pytest

from firmware_py.commands.costs import Cost
from models import report
from models.report import QUALITIES, found, renderings, rows

COSTS = [Cost(q.stage, "int8, x", 12.34, 20.0, 0.1) for q in QUALITIES.values()]


def test_every_shipped_model_says_its_float_and_int8_quality() -> None:
    table = rows("", COSTS)
    assert {"emotion_model", "transformer_model", "ddsp_flute"} <= {row["model"] for row in table}
    for row in table:
        if row["model"] != "emotion_model_float32":
            assert row["float"] is not None and row["INT8"] is not None, row["model"]
            assert row["us a step"] == 12.3
    (emotion,) = (row for row in table if row["model"] == "emotion_model")
    assert 0.0 < emotion["ECE"] < 0.5


def test_what_was_not_measured_is_left_empty() -> None:
    assert found({"a": {"b": 1}}, ("a", "b")) == 1.0
    assert found({"a": {"b": 1}}, ("a", "c")) is None
    assert found({"a": 1}, ("a", "b")) is None
    assert found({}, ()) is None


def test_the_emotion_model_says_its_scores_by_rendering_and_their_spread_over_seeds() -> None:
    (emotion,) = (row for row in rows("", COSTS) if row["model"] == "emotion_model")
    by_name = {row["rendering"]: row for row in emotion["renderings"]}
    assert {"seen_font_fluidr3", "unseen_font_timgm6mb", "far_font_opl3"} <= set(by_name)
    for row in by_name.values():
        for score in ("quadrant", "arousal", "valence"):
            low, high = row[score]["ci95"]
            assert low <= row[score]["accuracy"] <= high
            assert 0.0 < row[score]["sd"] < 0.1 and low - 0.1 < row[score]["mean"] < high + 0.1


def test_a_rendering_without_seeds_has_its_interval_alone() -> None:
    score = {"accuracy": 0.5, "ci95": [0.4, 0.6], "auc": 0.7}
    scores = dict.fromkeys(("quadrant", "arousal", "valence"), score)
    (row,) = renderings({"emopia_val_int8_ai_edge_litert": {"far": scores}})
    assert row["rendering"] == "far" and row["arousal"] == {"accuracy": 0.5, "ci95": [0.4, 0.6]}
    assert renderings({}) == []


def test_the_report_prints_a_table_of_models_and_one_of_renderings(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(report, "measure", lambda _subjects, _seconds: COSTS)
    assert report.main([]) == 0
    printed = capsys.readouterr().out
    assert "emotion_model" in printed and "far_font_opl3" in printed and "±" in printed
    assert report.main(["--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["renderings"]
