"""What the free set is trained on: emotions told from notes, and the scores of songs."""

import zipfile
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch (pip install .[train])")

from kelly_edge.errors import DataError  # noqa: E402
from kelly_edge.music.compound_word import MAJOR, MINOR  # noqa: E402
from models.composer.data import Notes  # noqa: E402
from models.emotion.network import EmotionLstm  # noqa: E402
from models.free.cues import Scale, level_cuts, levels, measure_cues  # noqa: E402
from models.free.data import split_of  # noqa: E402
from models.free.emotion import folded  # noqa: E402
from models.free.lieder import read_song  # noqa: E402

SCALES = {MAJOR: (0, 4, 7, 12), MINOR: (0, 3, 7, 12)}


def piece(
    mode: int = MAJOR, bpm: float = 100.0, velocity: int = 64, shift: int = 0, share: float = 0.9
) -> np.ndarray:
    """Cues of 64 quarters that run through a triad."""
    beat_s = 60.0 / bpm
    onset = beat_s * np.arange(64)
    pitch = np.array([60 + shift + SCALES[mode][i % 4] for i in range(64)])
    notes = Notes(onset, onset + share * beat_s, pitch, np.full(64, velocity))
    return measure_cues(notes, (60 + shift) % 12, mode, bpm)


@pytest.fixture(scope="module")
def scale() -> Scale:
    rng = np.random.default_rng(0)
    return Scale.of(
        np.array([
            piece(mode, float(bpm), int(velocity), int(shift), float(share))
            for mode in (MAJOR, MINOR)
            for bpm, velocity, shift, share in zip(
                rng.uniform(60, 160, 30), rng.integers(30, 110, 30), rng.integers(-12, 13, 30),
                rng.uniform(0.3, 1.0, 30), strict=True,
            )
        ])
    )  # fmt: skip


@pytest.mark.parametrize(
    ("change", "valence", "arousal"),
    [
        ({"mode": MINOR}, -1, 0),
        ({"bpm": 150.0}, 1, 1),
        ({"bpm": 60.0}, -1, -1),
        ({"velocity": 105}, -1, 1),
        ({"velocity": 30}, 1, -1),
        ({"shift": 12}, 1, 1),
        ({"share": 0.3}, 1, 1),
    ],
)
def test_cues_do_what_experiments_found(
    scale: Scale, change: dict[str, float], valence: int, arousal: int
) -> None:
    plain, other = scale.emotions(np.array([piece(), piece(**change)]))  # type: ignore[arg-type]
    # A minor third is lower than a major one, so that the register moves a little too.
    moved = np.where(np.abs(other - plain) < 0.05, 0.0, np.sign(other - plain))
    assert tuple(moved) == (valence, arousal)


def test_levels_are_as_frequent_as_one_another() -> None:
    sums = np.random.default_rng(1).normal(size=(6_000, 2))
    found = levels(sums, level_cuts(sums))
    for axis in range(2):
        assert list(np.bincount(found[:, axis])[1:]) == [1_000] * 6


def test_a_song_is_in_one_split_alone_and_most_are_trained_on() -> None:
    splits = [split_of(f"song {i}") for i in range(2_000)]
    assert set(splits) == {"train", "held", "val"}
    assert 0.87 < splits.count("train") / 2_000 < 0.93
    assert splits == [split_of(f"song {i}") for i in range(2_000)]


def test_scales_folded_into_the_network_change_nothing() -> None:
    torch.manual_seed(0)
    network = EmotionLstm().eval()
    rng = np.random.default_rng(2)
    x = rng.normal(size=(1, 20, 128)).astype(np.float32)
    mean, spread = rng.normal(size=128).astype(np.float32), rng.uniform(0.2, 2, 128).astype(np.float32)
    with torch.no_grad():
        wanted, _ = network(torch.from_numpy((x - mean) / spread))
        found, _ = folded(network, mean, spread)(torch.from_numpy(x))
    np.testing.assert_allclose(found, wanted, atol=1e-4)


def score(*bars: str, beats: int = 4) -> str:
    """A part whose first measure is a pick-up of a quarter."""
    time = f"<time><beats>{beats}</beats><beat-type>4</beat-type></time>"
    head = f"<attributes><divisions>2</divisions>{time}</attributes>"
    head += '<direction><sound tempo="120"/></direction><direction><direction-type><dynamics><f/></dynamics>'
    head += "</direction-type></direction>"
    first = f"<measure>{head}{note('G', 2)}</measure>"
    rest = "".join(f"<measure>{bar}</measure>" for bar in bars)
    return f"<score-partwise><part>{first}{rest}</part></score-partwise>"


def note(step: str, duration: int, more: str = "") -> str:
    pitch = f"<pitch><step>{step}</step><octave>4</octave></pitch>"
    return f"<note>{more}{pitch}<duration>{duration}</duration></note>"


def write(path: Path, text: str) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("META-INF/container.xml", "<container/>")
        archive.writestr("score.xml", text)
    return path


def test_a_score_is_read_with_its_pick_up_chords_ties_and_voices(tmp_path: Path) -> None:
    tied = '<tie type="start"/>', '<tie type="stop"/>'
    first = note("C", 8, tied[0]) + note("E", 8, "<chord/>") + "<backup><duration>8</duration></backup>"
    first += "<forward><duration>4</duration></forward>" + note("A", 4)
    second = note("C", 8, tied[1]) + note("D", 1, "<grace/>").replace("<duration>1</duration>", "")
    song = read_song(write(tmp_path / "a.mxl", score(first, second, *[note("G", 8)] * 16)))
    assert song is not None and song.phase == 1
    # At 120 quarters a minute: the pick-up lasts half a second.
    rows = list(zip(song.notes.onset_s, song.notes.end_s, song.notes.pitch, strict=True))[:5]
    assert rows == [(0.0, 0.5, 67), (0.5, 2.5, 64), (0.5, 4.5, 60), (1.5, 2.5, 69), (4.5, 6.5, 67)]
    assert set(song.notes.velocity) == {96}


@pytest.mark.parametrize("beats", [3, 5])
def test_a_song_in_another_metre_is_left_out(tmp_path: Path, beats: int) -> None:
    text = score(*[note("G", 2 * beats)] * 20, beats=beats)
    assert read_song(write(tmp_path / "a.mxl", text)) is None


def test_what_is_no_score_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "a.mxl").write_bytes(b"nonsense")
    with pytest.raises(DataError, match="not compressed MusicXML"):
        read_song(tmp_path / "a.mxl")
