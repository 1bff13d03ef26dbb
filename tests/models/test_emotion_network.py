"""The torch network, its RTNeural file and the targets it is trained on."""

import json
from pathlib import Path

import mido
import numpy as np
import pytest

from firmware_py.runtimes.rtneural import RtneuralEmotion
from kelly_edge.contract import N_EMOTION, N_FEATURES
from kelly_edge.emotion.symbolic import N_DESCRIPTORS, TARGETS
from kelly_edge.errors import ArtefactError, DataError
from models.emotion.evaluate import stream
from models.emotion.symbolic import describe

SHIPPED = Path(__file__).resolve().parents[2] / "models" / "shipped"


def write_midi(path: Path, pitches: list[int], step_s: float) -> Path:
    track = mido.MidiTrack()
    ticks = round(step_s * 960)  # 480 ticks a beat of half a second
    for pitch in pitches:
        track.append(mido.Message("note_on", note=pitch, velocity=80, time=0))
        track.append(mido.Message("note_off", note=pitch, velocity=0, time=ticks))
    midi = mido.MidiFile(ticks_per_beat=480)
    midi.tracks.append(track)
    midi.save(path)
    return path


def test_rtneural_file_follows_torch_over_a_thousand_steps() -> None:
    torch = pytest.importorskip("torch", reason="training needs torch (extra: train)")
    from models.emotion.network import EmotionLstm, rtneural

    torch.manual_seed(0)
    network = EmotionLstm().eval()
    features = np.random.default_rng(0).normal(0, 1, (1_000, N_FEATURES)).astype(np.float32)
    with torch.no_grad():
        wanted = network(torch.from_numpy(features)[None])[0][0].numpy()
    found = stream(RtneuralEmotion(json.loads(json.dumps(rtneural(network)))), features)
    assert np.abs(found - wanted).max() < 1e-5


def test_streaming_carries_the_state() -> None:
    torch = pytest.importorskip("torch", reason="training needs torch (extra: train)")
    from models.emotion.network import EmotionLstm

    torch.manual_seed(1)
    network = EmotionLstm().eval()
    x = torch.randn(2, 50, N_FEATURES)
    with torch.no_grad():
        whole, _ = network(x)
        first, state = network(x[:, :20])
        second, _ = network(x[:, 20:], state)
        cold, _ = network(x[:, 20:])
    assert torch.allclose(whole, torch.cat([first, second], 1), atol=1e-6)
    assert not torch.allclose(second, cold, atol=1e-3)


def test_the_size_is_the_training_guides() -> None:
    pytest.importorskip("torch", reason="training needs torch (extra: train)")
    from models.emotion.network import EmotionLstm

    assert EmotionLstm().n_parameters() == 128 * 256 + 256 + 384 * 512 + 512 + 128 * 64 + 64


def test_the_shipped_json_is_in_rtneurals_layout() -> None:
    layout = json.loads((SHIPPED / "emotion_model.json").read_text(encoding="utf-8"))
    assert layout["in_shape"] == [None, None, N_FEATURES]
    assert [(x["type"], x["activation"], x["shape"][-1]) for x in layout["layers"]] == [
        ("dense", "tanh", 256),
        ("lstm", "", 128),
        ("dense", "", N_EMOTION),
    ]
    shapes = [[np.shape(w) for w in x["weights"]] for x in layout["layers"]]
    assert shapes == [[(128, 256), (256,)], [(256, 512), (128, 512), (512,)], [(128, 64), (64,)]]


@pytest.mark.parametrize("layout", [{}, {"layers": []}, {"layers": [{"weights": [["x"]]}] * 3}])
def test_another_json_is_refused_in_one_line(layout: dict) -> None:
    with pytest.raises(ArtefactError, match="not an RTNeural file") as error:
        RtneuralEmotion(layout)
    assert "\n" not in str(error.value)


def test_midi_gives_mode_tempo_and_density(tmp_path: Path) -> None:
    major = write_midi(tmp_path / "major.mid", [60, 64, 67, 65, 69, 72, 67, 71, 74, 60, 64, 67] * 4, 0.5)
    targets, descriptors = describe(major)
    named = dict(zip(TARGETS, targets, strict=True))
    assert named["mode"] == 1.0
    assert named["tempo"] == pytest.approx(0.0, abs=0.03)
    assert named["density"] == pytest.approx(0.0, abs=0.1)
    assert named["velocity"] == pytest.approx(0.5)
    assert descriptors.shape == (N_DESCRIPTORS,)
    minor = write_midi(tmp_path / "minor.mid", [57, 60, 64, 62, 65, 69, 64, 68, 71, 57, 60, 64] * 4, 0.5)
    assert describe(minor)[0][0] == 0.0


def test_a_file_that_is_no_midi_is_named(tmp_path: Path) -> None:
    path = tmp_path / "text.mid"
    path.write_text("not midi")
    with pytest.raises(DataError, match=r"text\.mid"):
        describe(path)
    empty = write_midi(tmp_path / "empty.mid", [], 1.0)
    with pytest.raises(DataError, match="no notes"):
        describe(empty)
