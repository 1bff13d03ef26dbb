"""The measures of harmony and what is learned for it, on tunes small enough to count by hand."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="the rhythm's fit needs torch")

from kelly_edge.contract import HEARD_DTYPE
from kelly_edge.errors import DataError
from kelly_edge.harmony.chords import MAJOR, MINOR, NO_CHORD, chord_of
from kelly_edge.harmony.hearing import N_VIEWS
from models.composer.data import Notes
from models.ensemble.fit_chords import as_module, count_progressions, fit_templates, keys_of, per_mille
from models.ensemble.harmony import as_triad, chords_of, measure, parse_chord
from models.ensemble.measures import Party, player_of
from models.ensemble.songs import Chord, Song

BEGIN_S = 20.0


def notes(*rows: tuple[float, float, int]) -> Notes:
    onset, end, pitch = (np.array(column, float) for column in zip(*rows, strict=True))
    return Notes(onset, end, pitch.astype(np.int64), np.full(len(rows), 64))


def song_of(played: Notes, *chords: tuple[float, float, str]) -> Song:
    beats_s = np.arange(0.0, 90.0, 0.5)
    annotated = tuple(Chord(*chord) for chord in chords)
    return Song("001", Path("001.mid"), played, beats_s, beats_s[::4], annotated)


def party(played: Notes) -> Party:
    none = np.zeros(0)
    return Party(played.onset_s, played.end_s, played.pitch, none, none, none, none)


SONG = song_of(
    notes((20.0, 22.0, 60), (20.0, 22.0, 64), (22.0, 24.0, 67), (22.0, 24.0, 65)),
    (20.0, 22.0, "C:maj"),
    (22.0, 24.0, "G:7"),
    (24.0, 26.0, "N"),
)


@pytest.mark.parametrize(
    ("name", "root", "classes", "triad"),
    (
        ("N", -1, (), NO_CHORD),
        ("C:maj", 0, (0, 4, 7), chord_of(0, MAJOR)),
        ("Bb:min7/b3", 10, (1, 5, 8, 10), chord_of(10, MINOR)),
        ("G:maj/2", 7, (2, 7, 9, 11), chord_of(7, MAJOR)),
        ("Cb:dim", 11, (2, 5, 11), chord_of(11, MINOR)),
        ("F#:sus4(b7)", 6, (1, 4, 6, 11), chord_of(6, MAJOR)),
        ("B#:aug", 0, (0, 4, 8), chord_of(0, MAJOR)),
    ),
)
def test_names_of_chords(name: str, root: int, classes: tuple[int, ...], triad: int) -> None:
    assert parse_chord(name) == (root, classes)
    assert as_triad(name) == triad


@pytest.mark.parametrize("name", ("", "H:maj", "C", "C:wild", "C:maj/8", "C:maj/x", "n"))
def test_a_name_nobody_knows_is_one_clear_line(name: str) -> None:
    with pytest.raises(DataError, match=r"song 001: .*chord_midi"):
        chords_of(song_of(SONG.notes, (0.0, 1.0, name)))


def test_both_rates_counted_by_hand() -> None:
    box = notes(
        (20.5, 21.0, 72),  # in C, an octave
        (20.5, 21.0, 61),  # neither, a semitone from C
        (22.5, 23.0, 77),  # the seventh of G7; no interval but an octave and a tone
        (22.5, 23.0, 71),  # in G7, a tritone from F
        (25.0, 25.5, 66),  # no chord, nothing sounds: counts for neither
        (19.0, 19.5, 61),  # before what is measured
    )
    figures = measure(SONG, party(box))
    assert figures["in_chord"] == pytest.approx(3 / 4)
    assert figures["consonant"] == pytest.approx(2 / 4)
    assert math.isnan(figures["chord_now"])


def test_the_player_is_not_held_against_himself() -> None:
    figures = measure(SONG, player_of(SONG))
    assert figures["in_chord"] == 1.0
    assert figures["consonant"] == 1.0
    alone = song_of(notes((30.0, 31.0, 60)), (30.0, 31.0, "C:maj"))
    assert math.isnan(measure(alone, player_of(alone))["consonant"])


def test_nothing_played_is_no_figure() -> None:
    empty = Notes(*(np.zeros(0),) * 2, *(np.zeros(0, np.int64),) * 2)
    figures = measure(SONG, party(empty))
    assert math.isnan(figures["in_chord"]) and math.isnan(figures["consonant"])


def test_chords_believed_are_measured_in_time_and_late() -> None:
    heard = np.zeros(60, HEARD_DTYPE)
    heard["time_s"] = BEGIN_S + np.arange(60) * 0.1
    # G is believed a little later than it is played.
    heard["chord"] = np.where(heard["time_s"] < 22.195, chord_of(0, MAJOR), chord_of(7, MAJOR))
    listening = Party(*(np.zeros(0),) * 2, np.zeros(0, np.int64), *(np.zeros(0),) * 3, heard)
    figures = measure(SONG, listening)
    assert figures["chord_late"] == 1.0
    assert figures["chord_now"] == pytest.approx(38 / 40)


def test_templates_tell_the_chords_they_were_fitted_to() -> None:
    rng = np.random.default_rng(0)
    triads = rng.integers(0, 24, 400)
    views = np.zeros((400, N_VIEWS, 12))
    for out, triad in zip(views, triads, strict=True):
        root, third = triad // 2, 4 - triad % 2
        out[0, [root, (root + third) % 12, (root + 7) % 12]] = 0.5
        out[1, root] = 0.7
    weights, bias = fit_templates(views + 0.1 * rng.random(views.shape), triads)
    assert weights.shape == (2, N_VIEWS, 12) and math.isfinite(bias)
    assert weights[0, 0, 4] > weights[0, 0, 3] and weights[1, 0, 3] > weights[1, 0, 4]
    assert weights[:, 1, 0].min() > 0.0


def test_progressions_are_counted_in_the_key(tmp_path: Path) -> None:
    for name, key, chords in (
        ("001", "D:maj", ("D:maj", "D:maj7", "G:maj", "N", "A:7")),
        ("002", "B:min", ("B:min", "E:min")),
        ("003", "C:maj", ("C:maj", "F:maj")),
    ):
        (tmp_path / name).mkdir()
        (tmp_path / name / "key_audio.txt").write_text(f"1.0\t99.0\t{key}\n")
        lines = [f"{i}\t{i + 1}\t{chord}\n" for i, chord in enumerate(chords)]
        (tmp_path / name / "chord_midi.txt").write_text("".join(lines))
    counts = count_progressions(tmp_path, ["003"])
    assert counts[chord_of(0, MAJOR), chord_of(5, MAJOR)] == 1.0
    assert counts[chord_of(9, MINOR), chord_of(2, MINOR)] == 1.0
    assert counts.sum() == 2.0  # none across a rest, none to itself, none of a song left out
    shares = per_mille(counts)
    assert (np.diag(shares) == 0).all() and np.all(np.abs(shares.sum(1) - 1_000) < 30)
    assert keys_of(["1.0\t2.0\tGb:min", "no key"]) == [(1.0, 9)]


def test_what_is_written_is_a_module_that_python_reads() -> None:
    names: dict[str, Any] = {}
    exec(as_module(np.ones((2, 3, 12)), -0.5, np.ones((24, 24), np.int64)), names)
    assert np.shape(names["TEMPLATES"]) == (2, 3, 12)
    assert names["TEMPLATE_BIASES"] == (0.0, -0.5)
    assert np.shape(names["PROGRESSIONS"]) == (24, 24)
