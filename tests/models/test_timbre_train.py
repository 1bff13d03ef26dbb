"""Training and judging a voice on one's own recordings: learned from, held out, resumed, reported."""

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from kelly_edge.contract import HOP_SIZE, SAMPLE_RATE_HZ
from kelly_edge.errors import DataError
from kelly_edge.timbre.controls import Controls
from kelly_edge.timbre.voice import DELAY

pytest.importorskip("torch", reason="training needs torch")

import torch

from models.timbre import data, evaluate, export, train
from models.timbre.data import analyse, is_held_out, recordings
from models.timbre.network import CONFIGS, HOP, DecoderNetwork

F0_HZ = 330.0


def tone(seconds: float = 1.5, f0_hz: float = F0_HZ) -> np.ndarray:
    t = np.arange(round(seconds * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    return (0.2 * np.sin(2.0 * np.pi * f0_hz * t)).astype(np.float32)


@pytest.fixture()
def folder(tmp_path: Path) -> Path:
    """Two recordings to learn from and one held out, by their names."""
    names = [f"take{i}.wav" for i in range(100)]
    chosen = [n for n in names if not is_held_out(n)][:2] + [n for n in names if is_held_out(n)][:1]
    (tmp_path / "audio").mkdir()
    for i, name in enumerate(chosen):
        soundfile.write(tmp_path / "audio" / name, tone(f0_hz=F0_HZ * (1.0 + 0.2 * i)), SAMPLE_RATE_HZ)
    return tmp_path


def test_about_a_tenth_of_the_names_is_held_out_and_always_the_same() -> None:
    held_out = [is_held_out(f"recording {i}.wav") for i in range(2_000)]
    assert 0.08 < np.mean(held_out) < 0.12
    assert held_out == [is_held_out(f"recording {i}.wav") for i in range(2_000)]


def test_a_take_lies_on_its_sound_late_by_the_delay_of_the_voice() -> None:
    sound = np.concatenate([np.zeros(SAMPLE_RATE_HZ // 2, np.float32), tone()])
    take = analyse(sound)
    assert len(take.sound) == HOP * len(take.f0_hz)
    onset = int(np.argmax(np.abs(take.sound) > 0.02)) * 2
    assert onset == pytest.approx(SAMPLE_RATE_HZ // 2 + DELAY, abs=64)
    settled = slice((SAMPLE_RATE_HZ // 2) // HOP_SIZE + 20, len(sound) // HOP_SIZE)
    np.testing.assert_allclose(take.f0_hz[settled], F0_HZ, rtol=2e-3)
    assert np.all(take.f0_hz > 0.0)


def test_training_writes_a_checkpoint_and_resumes_where_it_stopped(folder: Path) -> None:
    path = train.train("mine", folder / "audio", "student", folder / "work", 1, seed=0)
    saved = torch.load(path, weights_only=True)
    assert saved["step"] == 1
    DecoderNetwork(CONFIGS["student"]).load_state_dict(saved["network"])
    assert np.isfinite(json.loads(path.with_suffix(".json").read_text())["held_out_loss"])
    train.train("mine", folder / "audio", "student", folder / "work", 2, seed=0)
    again = torch.load(path, weights_only=True)
    assert again["step"] == 2
    assert "schedule" not in again


def test_a_training_resumed_with_more_steps_takes_the_rate_of_a_training_that_long(folder: Path) -> None:
    args = ("mine", folder / "audio", "student", folder / "work")
    train.train(*args, 2, seed=0)
    assert last_rate(folder) == train.learning_rate("student", 1, 2)
    train.train(*args, 3, seed=0)
    assert last_rate(folder) == train.learning_rate("student", 2, 3)
    assert train.learning_rate("student", 2, 3) < train.learning_rate("student", 2, 300)


def last_rate(folder: Path) -> float:
    saved = torch.load(folder / "work" / "mine.student.pt", weights_only=True)
    return float(saved["optimiser"]["param_groups"][0]["lr"])


def test_the_learning_rate_rises_to_its_own_and_falls_to_a_twentieth() -> None:
    for config, widths in CONFIGS.items():
        rates = [train.learning_rate(config, step, 1_000) for step in range(1_001)]
        top = int(np.argmax(rates))
        assert top == train.WARM_UP_STEPS - 1
        assert rates[top] == pytest.approx(widths.learning_rate, rel=0.01)
        assert rates[-1] == pytest.approx(widths.learning_rate / 20.0)
        assert all(a < b for a, b in itertools.pairwise(rates[: top + 1]))
        assert all(a > b for a, b in itertools.pairwise(rates[top:]))


def test_a_few_steps_of_training_lower_the_loss_on_the_recording_held_out(folder: Path) -> None:
    def held_out_loss(n_steps: int) -> float:
        work = folder / str(n_steps)
        path = train.train("mine", folder / "audio", "student", work, n_steps, seed=0)
        return float(json.loads(path.with_suffix(".json").read_text())["held_out_loss"])

    assert held_out_loss(60) < 0.9 * held_out_loss(1)


def test_a_folder_without_recordings_is_refused_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(DataError, match="no recordings in"):
        recordings("mine", tmp_path)
    with pytest.raises(DataError, match="give its recordings with --audio"):
        recordings("mine", None)
    monkeypatch.setattr("sys.argv", ["train", "--voice", "mine", "--audio", str(tmp_path)])
    assert train.main() == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_one_long_recording_is_cut_and_some_of_it_held_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data, "PIECE_S", 0.5)
    sound = np.concatenate([tone(0.5, f0_hz) for f0_hz in (220.0, 330.0, 440.0, 550.0, 660.0)])
    soundfile.write(tmp_path / "take.wav", sound, SAMPLE_RATE_HZ)
    parts = {held_out: data.sounds("mine", tmp_path, held_out) for held_out in (False, True)}
    assert len(parts[False]) > len(parts[True]) >= 1
    assert sum(len(x) for part in parts.values() for x in part) == len(data.read_48(tmp_path / "take.wav"))


def test_a_recording_too_short_to_hold_any_of_it_out_is_refused(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "take.wav", tone(0.5), SAMPLE_RATE_HZ)
    with pytest.raises(DataError, match="too little for mine"):
        data.sounds("mine", tmp_path, held_out=False)


def test_a_voice_that_was_not_shipped_is_refused_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluate.main(["--voice", "theremin", "--json"]) == 2
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1
    assert "ddsp_theremin" in error


class Sine:
    """A decoder that plays a sine as loud as what it hears, off in pitch or level if told."""

    def __init__(self, number: int = 1, gain: float = 1.0) -> None:
        self.number, self.gain = number, gain

    def step(self, f0_hz: float, loudness_db: float, controls: Controls) -> None:
        # DDSP's scale: mean square times 512 * 3 / 8, A-weighted (330 Hz: -6.0 dB).
        controls.amplitude = self.gain * np.sqrt(2.0 / 192.0) * 10.0 ** ((loudness_db + 6.0) / 20.0)
        controls.harmonic_distribution[:] = 0.0
        controls.harmonic_distribution[self.number - 1] = 1.0
        controls.noise_magnitudes[:] = 0.0

    def reset(self) -> None: ...


def test_the_judge_tells_a_faithful_answer_from_one_off_in_pitch_or_level() -> None:
    faithful = evaluate.judge(Sine(), tone())
    assert faithful.f0_cents < 2.0
    assert faithful.f0_within_50 == 1.0
    assert faithful.loudness_l1_db < 1.0
    louder = evaluate.judge(Sine(gain=2.0), tone())
    assert louder.loudness_l1_db == pytest.approx(6.0, abs=1.0)
    octave = evaluate.judge(Sine(number=2), tone())
    assert octave.f0_cents == pytest.approx(1_200.0, abs=2.0)
    assert octave.f0_within_50 == 0.0
    assert faithful.loss < louder.loss < octave.loss


def test_silence_is_judged_as_nothing_to_compare() -> None:
    row = evaluate.judge(Sine(), np.zeros(SAMPLE_RATE_HZ // 2, np.float32))
    assert np.isnan(row.f0_cents) and np.isnan(row.loudness_l1_db)
    told = evaluate.summary([row])
    assert told["f0_cents"] == {"n": 0, "value": None, "ci95": None}
    assert told["loss"]["n"] == 1
    assert told["loss"]["ci95"] is None


def test_the_interval_holds_the_mean_and_narrows_with_more_recordings() -> None:
    rng = np.random.default_rng(0)

    def width(n: int) -> float:
        rows = [evaluate.Row(x, x, 1.0, x, 1.0) for x in rng.normal(5.0, 1.0, n).tolist()]
        loss = evaluate.summary(rows)["loss"]
        assert loss["ci95"][0] < loss["value"] < loss["ci95"][1]
        return float(loss["ci95"][1] - loss["ci95"][0])

    assert width(200) < 0.5 * width(10)


def test_the_shipped_flute_is_judged_on_a_folder_given(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluate.main(["--voice", "flute", "--audio-dir", str(folder / "audio"), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["n"] == 3
    assert 0.0 < result["shipped"]["loss"]["value"] < 10.0
    assert result["shipped"]["f0_cents"]["value"] < 12.0
    assert result["shipped"]["cost_us"]["value"] > 0.0


def test_the_shipped_flute_is_compared_with_a_yardstick(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.manual_seed(0)
    checkpoint = folder / "flute.reference.pt"
    torch.save({"network": DecoderNetwork(CONFIGS["reference"]).state_dict()}, checkpoint)
    yardstick = ["--checkpoint", str(checkpoint), "--config", "reference"]
    assert (
        evaluate.main(["--voice", "flute", "--audio-dir", str(folder / "audio"), *yardstick, "--json"]) == 0
    )
    result = json.loads(capsys.readouterr().out)
    shipped, reference = (result[which]["loss"]["value"] for which in ("shipped", "reference"))
    assert shipped != reference
    assert (result["loss_change_percent"]["value"] < 0.0) == (shipped < reference)
    card = export._yardstick(result)
    assert str(result["reference"]["loss"]["value"]) in card
    assert str(result["loss_change_percent"]["value"]) in card


def test_a_card_without_a_yardstick_says_so() -> None:
    assert "not trained" in export._yardstick({"shipped": {}})
    assert export._cell({"value": 0.5, "ci95": [0.4, 0.6]}) == "0.5 (0.4 to 0.6)"
    assert export._cell({"value": 0.5, "ci95": None}) == "0.5"


@pytest.mark.parametrize("cents", [None, 60.0, 1_348.0])
def test_a_voice_that_does_not_play_the_pitch_asked_for_is_not_shipped(cents: float | None) -> None:
    with pytest.raises(DataError, match="off the pitch asked for; not shipped"):
        export.refuse_off_pitch("mine", {"f0_cents": {"value": cents}})
    export.refuse_off_pitch("mine", {"f0_cents": {"value": 3.0}})
