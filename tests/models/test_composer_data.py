"""From MIDI to rows: keys, chords, grid and levels."""

from pathlib import Path

import numpy as np
import pytest

from kelly_edge.errors import DataError
from kelly_edge.music import compound_word as cw
from kelly_edge.music.compound_word import Condition, GridBar, GridNote
from models.composer.data import (
    Notes,
    Piece,
    describe,
    estimate_key,
    fit_chord,
    load_tokens,
    read_midi,
    save_tokens,
    split_of,
    to_bars,
    to_tonic_c,
)
from models.composer.generate import write_midi

SCALE_STEPS = {cw.MAJOR: (0, 2, 4, 5, 7, 9, 11), cw.MINOR: (0, 2, 3, 5, 7, 8, 11)}


@pytest.mark.parametrize("tonic", range(12))
@pytest.mark.parametrize("mode", [cw.MAJOR, cw.MINOR])
def test_a_scale_that_dwells_on_its_triad_has_its_key(tonic: int, mode: int) -> None:
    pitch = np.array([60 + tonic + step for step in SCALE_STEPS[mode]])
    weight = np.array([4.0, 1.0, 3.0, 1.0, 3.5, 1.0, 1.0])
    assert estimate_key(pitch, weight) == (tonic, mode)


@pytest.mark.parametrize("tonic", range(12))
def test_the_way_to_c_is_short(tonic: int) -> None:
    assert (tonic + to_tonic_c(tonic)) % 12 == 0
    assert -6 <= to_tonic_c(tonic) <= 5


@pytest.mark.parametrize(("root", "quality"), [(0, "maj"), (9, "min"), (7, "7"), (11, "dim")])
def test_a_bar_of_one_chord_is_that_chord(root: int, quality: str) -> None:
    notes = [GridNote(i, 48 + root + step, 8, 60) for i, step in enumerate(cw.CHORD_QUALITIES[quality])]
    assert fit_chord(notes) == cw.chord_token(root, quality)


def test_two_notes_are_no_chord() -> None:
    assert fit_chord([GridNote(0, 60, 4, 60), GridNote(4, 64, 4, 60)]) == cw.NO_CHORD


def test_notes_fall_on_the_grid_of_their_beats_in_c() -> None:
    beats = np.arange(0.0, 10.0, 0.5)
    notes = Notes(
        np.array([1.0, 1.51, 3.0]), np.array([1.5, 2.0, 3.26]), np.array([62, 66, 69]), np.array([50, 60, 70])
    )
    bars = to_bars(notes, beats, 2, [(0.0, 2, cw.MAJOR)])
    assert [bar.notes for bar in bars] == [
        (GridNote(0, 60, 4, 50), GridNote(4, 64, 4, 60)),
        (GridNote(0, 67, 2, 70),),
    ]
    assert [bar.tempo_bpm for bar in bars] == pytest.approx([120.0, 120.0])
    assert bars[0].condition == Condition(density=1, mode=cw.MAJOR)


def test_every_bar_is_in_the_key_of_its_time() -> None:
    notes = Notes(np.array([0.0, 2.0]), np.array([1.0, 3.0]), np.array([60, 62]), np.array([60, 60]))
    bars = to_bars(notes, np.arange(0.0, 6.0, 0.5), 0, [(0.0, 0, cw.MAJOR), (2.0, 2, cw.MINOR)])
    assert [bar.notes[0].pitch for bar in bars] == [60, 60]
    assert [bar.condition.mode for bar in bars] == [cw.MAJOR, cw.MINOR]


def test_an_empty_passage_can_be_described() -> None:
    assert np.all(np.isfinite(describe([GridBar(Condition(), 90.0, cw.NO_CHORD, ())])))


def test_a_sixteenth_of_the_training_songs_is_held_out_and_no_song_of_validation() -> None:
    songs = [f"song {i}" for i in range(2_000)]
    splits = [split_of(song, "train") for song in songs]
    assert set(splits) == {"train", "held"}
    assert 0.04 < splits.count("held") / len(splits) < 0.09
    assert splits == [split_of(song, "train") for song in songs]
    assert {split_of(song, "val") for song in songs} == {"val"}


def test_tokens_come_back_by_corpus_and_split(tmp_path: Path) -> None:
    bars = (GridBar(Condition(), 96.0, 1, (GridNote(0, 60, 4, 63),)),)
    pieces = [
        (Piece(name, name, split, quadrant, bars * n), cw.encode(bars * n))
        for n, (name, split, quadrant) in enumerate(
            [("a", "train", 1), ("b", "train", 0), ("c", "val", 4), ("d", "train", 2)], 1
        )
    ]
    save_tokens(pieces, tmp_path / "tokens.npz")
    assert [len(r) for r in load_tokens(tmp_path / "tokens.npz", "emopia", "train")] == [2, 8]
    assert [len(r) for r in load_tokens(tmp_path / "tokens.npz", "pop909", "train")] == [4]
    assert [len(r) for r in load_tokens(tmp_path / "tokens.npz", "emopia", "val")] == [6]


def test_missing_tokens_name_the_command_that_writes_them(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"models\.composer\.data"):
        load_tokens(tmp_path / "tokens.npz", "emopia", "train")


def test_a_text_file_named_mid_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.mid").write_text("not a MIDI file")
    with pytest.raises(DataError, match="not a readable MIDI file"):
        read_midi(tmp_path / "a.mid")


def test_written_midi_reads_back_with_its_times(tmp_path: Path) -> None:
    from kelly_edge.music.notes import Bar, BarNote

    bars = [
        Bar(0, 120.0, 4, (BarNote(0.0, 1.0, 60, 50), BarNote(3.5, 2.0, 64, 70)), 0),
        Bar(1, 60.0, 4, (BarNote(1.0, 0.5, 67, 90),), 0),
    ]
    write_midi(bars, tmp_path / "a.mid", 60.0)
    notes = read_midi(tmp_path / "a.mid")
    np.testing.assert_allclose(notes.onset_s, [0.0, 1.75, 3.0], atol=2e-3)
    np.testing.assert_allclose(notes.end_s - notes.onset_s, [0.5, 1.75, 0.5], atol=5e-3)
    assert notes.pitch.tolist() == [60, 64, 67]
    assert notes.velocity.tolist() == [50, 70, 90]
