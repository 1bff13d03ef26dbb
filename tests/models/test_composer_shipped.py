"""The shipped composer: proved by its golden vectors, in key, endless, and it means what was asked."""

import itertools

import numpy as np
import pytest

from firmware_py.runtimes.artefacts import load
from firmware_py.runtimes.onnx import OnnxComposer, open_composer
from kelly_edge.errors import ArtefactError
from kelly_edge.music.generator import Generator
from kelly_edge.music.notes import Bar
from kelly_edge.music.sampling import SamplingSettings
from kelly_edge.music.target import Target

SCALE = {1: {0, 2, 4, 5, 7, 9, 11}, 0: {0, 2, 3, 5, 7, 8, 10, 11}}


@pytest.fixture(scope="module")
def network() -> OnnxComposer:
    return open_composer(load("transformer_model"))


def compose(network: OnnxComposer, target: Target, n: int, seed: int = 0) -> list[Bar]:
    generator = Generator(network, SamplingSettings(), seed)
    return [generator.compose_bar(target) for _ in range(n)]


def notes_per_second(bars: list[Bar]) -> float:
    return sum(len(bar.notes) for bar in bars) / sum(bar.n_beats * 60.0 / bar.tempo_bpm for bar in bars)


def test_the_file_is_small_enough_for_the_box() -> None:
    assert len(load("transformer_model").content) <= 8_000_000


def test_outputs_other_than_the_golden_ones_are_refused() -> None:
    artefact = load("transformer_model")
    entry = {**artefact.entry, "golden_tolerance": {"onnxruntime": -1.0}}
    object.__setattr__(artefact, "entry", entry)
    with pytest.raises(ArtefactError, match="off their golden vector"):
        open_composer(artefact)


@pytest.mark.parametrize(("tonic", "mode"), [(0, 1), (9, 0), (6, 1)])
def test_music_is_in_the_key_asked_for(network: OnnxComposer, tonic: int, mode: int) -> None:
    bars = compose(network, Target(0.0, 0.2, tonic=tonic, mode=mode), 12)
    pitches = [note.pitch for bar in bars for note in bar.notes]
    assert len(pitches) > 30
    assert {(pitch - tonic) % 12 for pitch in pitches} <= SCALE[mode]


def test_the_same_seed_gives_the_same_performance(network: OnnxComposer) -> None:
    assert compose(network, Target(0.5, 0.5), 12, 4) == compose(network, Target(0.5, 0.5), 12, 4)


def test_rewinding_with_the_same_target_changes_nothing(network: OnnxComposer) -> None:
    target = Target(-0.4, -0.4, tonic=9, mode=0)
    straight = compose(network, target, 24)
    generator = Generator(network, SamplingSettings(), 0)
    for _ in range(20):
        generator.compose_bar(target)
    generator.rewind(6)
    generator.compose_bar(Target(0.9, 0.9, tonic=0, mode=1))
    generator.rewind(6)
    assert [generator.compose_bar(target) for _ in range(18)] == straight[6:]


def test_more_arousal_is_denser_and_louder(network: OnnxComposer) -> None:
    """Means over four performances each, far from the noise of one."""
    calm, tense = (
        [bar for seed in range(4) for bar in compose(network, Target(0.2, arousal), 14, seed)]
        for arousal in (-0.9, 0.9)
    )
    assert notes_per_second(tense) > 1.3 * notes_per_second(calm)
    loudness = [np.mean([n.velocity for bar in bars for n in bar.notes]) for bars in (calm, tense)]
    assert loudness[1] > loudness[0] + 5.0


def test_density_thins_and_thickens(network: OnnxComposer) -> None:
    thin, dense = (
        [bar for seed in range(3) for bar in compose(network, Target(0.2, 0.0, density=d), 12, seed)]
        for d in (-1.0, 1.0)
    )
    assert notes_per_second(dense) > 1.5 * notes_per_second(thin)


def test_ten_minutes_neither_stop_nor_loop(network: OnnxComposer) -> None:
    """300 bars of 2 s: no long silence, no bar more than thrice in a row, no passage over and over."""
    bars = compose(network, Target(0.3, 0.1, tonic=0, mode=1, tempo_bpm=120.0), 300)
    played = [tuple((n.onset_beats, n.pitch) for n in bar.notes) for bar in bars]
    for key, group in itertools.groupby(played):
        assert len(list(group)) <= 3, key
    late = played[-40:]
    assert len(set(late)) >= 30
    thirds = [notes_per_second(bars[i : i + 100]) for i in (0, 100, 200)]
    assert max(thirds) < 2.5 * min(thirds)
