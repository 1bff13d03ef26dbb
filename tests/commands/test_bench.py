"""The bench: every stage is there, the choice follows the figures, and what is kept is taken."""

import json
from pathlib import Path

import pytest

from firmware_py.commands.costs import Cost, Subject, choose, measure, subjects
from firmware_py.devices.files.config_file import load_settings
from firmware_py.settings import Settings
from firmware_py.wiring.choice import Choice, choice_path, store_choice, stored_choice
from firmware_py.wiring.dsp_models import board_choice

STAGES = {
    "128 features", "emotion step", "pitch and loudness", "voice decoder", "synthesiser", "whole voice",
    "limiter, at work", "compound word",
}  # fmt: skip


def cost(stage: str, variant: str, p50_us: float) -> Cost:
    return Cost(stage, variant, p50_us, p50_us, 0.0)


def test_every_stage_is_measured_and_takes_time() -> None:
    costs = measure(subjects(Settings()), seconds_each=0.02)
    assert {c.stage for c in costs} == STAGES
    assert all(0.0 < c.p50_us <= c.p99_us and c.share_of_core > 0.0 for c in costs)


def test_cost_is_per_item() -> None:
    calls: list[int] = []

    def step() -> int:
        calls.append(sum(range(20_000)))
        return 1_000

    (found,) = measure([Subject("s", "v", 1e6, step)], seconds_each=0.05)
    (single,) = measure([Subject("s", "v", 1e6, lambda: step() and 1)], seconds_each=0.05)
    assert found.p50_us < 0.1 * single.p50_us


def test_the_cheaper_runtime_is_chosen() -> None:
    costs = [
        cost("emotion step", "int8, ai_edge_litert", 100.0),
        cost("emotion step", "int8, tflite_runtime", 10.0),
        cost("voice decoder", "int8, ai_edge_litert", 9.0),
        cost("voice decoder", "int8, tflite_runtime", 4.0),
    ]
    assert choose(costs) == Choice("tflite_runtime", "int8")


def test_the_decoder_counts_sixteen_times_the_emotion_step() -> None:
    costs = [
        cost("emotion step", "int8, ai_edge_litert", 10.0),
        cost("emotion step", "int8, tflite_runtime", 30.0),
        cost("voice decoder", "int8, ai_edge_litert", 10.0),
        cost("voice decoder", "int8, tflite_runtime", 5.0),
    ]
    assert choose(costs).tflite == "tflite_runtime"


def test_a_hair_does_not_move_the_default() -> None:
    costs = [
        cost("emotion step", "int8, ai_edge_litert", 10.0),
        cost("emotion step", "int8, tflite_runtime", 9.5),
        cost("voice decoder", "int8, ai_edge_litert", 10.0),
        cost("voice decoder", "int8, tflite_runtime", 9.5),
    ]
    assert choose(costs) == Choice()


def test_float_is_chosen_where_it_is_faster() -> None:
    costs = [
        cost("emotion step", "int8, ai_edge_litert", 400.0),
        cost("emotion step", "float32, ai_edge_litert", 100.0),
        cost("voice decoder", "int8, ai_edge_litert", 1.0),
    ]
    assert choose(costs) == Choice("ai_edge_litert", "float32")


def test_auto_takes_what_is_kept_and_a_named_runtime_does_not(
    tmp_path: Path,
) -> None:
    kept_in = f"runtime.state_dir={tmp_path}"
    store_choice(Choice("tflite_runtime", "float32"), {"a": 1.0}, choice_path(str(tmp_path)))
    assert board_choice(load_settings(None, ["runtime.tflite=auto", kept_in])) == Choice(
        "tflite_runtime", "float32"
    )
    assert board_choice(load_settings(None, ["runtime.tflite=ai_edge_litert", kept_in])) == Choice()


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"choice": {"tflite": "nnapi", "precision": "int8"}}', '{"choice": 3}']
)
def test_a_damaged_choice_is_the_default(tmp_path: Path, content: str) -> None:
    path = tmp_path / "board.json"
    path.write_text(content, encoding="utf-8")
    assert stored_choice(path) == Choice()


def test_the_choice_is_kept_with_its_reasons(tmp_path: Path) -> None:
    path = choice_path("", {"STATE_DIRECTORY": str(tmp_path / "new")})
    store_choice(Choice(), {"emotion step": 9.4}, path)
    assert json.loads(path.read_text(encoding="utf-8"))["measured"] == {"emotion step": 9.4}
    assert stored_choice(path) == Choice()
    assert path.parent == tmp_path / "new"
