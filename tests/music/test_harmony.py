"""Bars in the chord heard: on the beat its tones alone, open where it is not believed, nothing else."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from small_network import SmallNetwork

from kelly_edge.contract import HEARD_DTYPE, N_CHORDS
from kelly_edge.harmony.chords import (
    MAJOR,
    MEMBERS,
    MINOR,
    N_STATES,
    NO_CHORD,
    Floats,
    chord_of,
    classes_of,
    transposed,
)
from kelly_edge.music.accompanying import Accompanying
from kelly_edge.music.fitting import EVERY_CLASS
from kelly_edge.music.generator import Generator
from kelly_edge.music.harmony import FARTHEST, FREE, SURE, BeatHarmony, beat_harmony, fit_of, refit
from kelly_edge.music.notes import TimedNote
from kelly_edge.music.sampling import SamplingSettings
from kelly_edge.music.target import Target, sane

CHORDS = st.integers(0, N_CHORDS - 1)
TARGET = Target(0.5, 0.5, tonic=2, mode=1, tempo_bpm=100.0)


def belief_in(shares: dict[int, float]) -> Floats:
    belief = np.zeros(N_STATES, np.float32)
    belief[N_CHORDS] = 1.0 - sum(shares.values())
    for chord, share in shares.items():
        belief[chord] = share
    return belief


def sure(*chords: int) -> tuple[BeatHarmony, ...]:
    return tuple(beat_harmony(belief_in({chord: 1.0})) for chord in chords)


def even(delays: float = 0.0) -> SamplingSettings:
    return SamplingSettings(unevenness=delays)


@settings(max_examples=60, deadline=None)
@given(st.lists(CHORDS, min_size=4, max_size=4), st.integers(0, 11), st.integers(0, 1), st.integers(0, 99))
def test_on_every_beat_only_tones_of_its_chord_are_struck(
    chords: list[int], tonic: int, mode: int, seed: int
) -> None:
    target = replace(TARGET, tonic=tonic, mode=mode, chords=sure(*chords))
    generator = Generator(SmallNetwork(), even(), seed)
    n_notes = 0
    for bar in (generator.compose_bar(target) for _ in range(4)):
        for note in bar.notes:
            if note.onset_beats == int(note.onset_beats):
                n_notes += 1
                assert classes_of(chords[int(note.onset_beats)]) >> note.pitch % 12 & 1
    assume(n_notes)


@settings(max_examples=30, deadline=None)
@given(CHORDS, st.integers(0, 11), st.integers(0, 99))
def test_no_note_lies_a_semitone_above_a_tone_of_the_chord(chord: int, tonic: int, seed: int) -> None:
    target = replace(TARGET, tonic=tonic, chords=sure(*[chord] * 4))
    generator = Generator(SmallNetwork(), even(), seed)
    classes = classes_of(chord)
    for bar in (generator.compose_bar(target) for _ in range(4)):
        for note in bar.notes:
            assert classes >> note.pitch % 12 & 1 or not classes >> (note.pitch - 1) % 12 & 1


def test_no_chords_and_free_beats_give_what_they_gave_before() -> None:
    plain, free = (Generator(SmallNetwork(), SamplingSettings(), 5) for _ in range(2))
    for _ in range(12):
        assert plain.compose_bar(TARGET) == free.compose_bar(replace(TARGET, chords=(FREE,) * 4))


def test_a_chord_outside_of_the_key_is_played_and_the_key_is_kept() -> None:
    e_major = chord_of(4, MAJOR)
    target = Target(0.5, 0.5, tonic=0, mode=1, tempo_bpm=100.0, chords=sure(*[e_major] * 4))
    generator = Generator(SmallNetwork(), even(), 3)
    bars = [generator.compose_bar(target) for _ in range(12)]
    struck = {note.pitch % 12 for bar in bars for note in bar.notes if note.onset_beats % 1.0 == 0.0}
    assert struck and struck <= {4, 8, 11}
    assert {(bar.tonic, bar.mode) for bar in bars if bar.notes} == {(0, 1)}


def test_a_doubtful_chord_is_played_open() -> None:
    c_major, c_minor, a_minor = chord_of(0, MAJOR), chord_of(0, MINOR), chord_of(9, MINOR)
    fifth = beat_harmony(belief_in({c_major: 0.5, c_minor: 0.5}))
    assert fifth == BeatHarmony(NO_CHORD, 1 << 0 | 1 << 7)
    common = beat_harmony(belief_in({c_major: 0.48, a_minor: 0.47, c_minor: 0.05}))
    assert common == BeatHarmony(NO_CHORD, 1 << 0 | 1 << 4)
    generator = Generator(SmallNetwork(), even(), 3)
    bars = [generator.compose_bar(replace(TARGET, chords=(fifth,) * 4)) for _ in range(40)]
    struck = {n.pitch % 12 for b in bars for n in b.notes if n.onset_beats % 1.0 == 0.0}
    assert struck and struck <= {0, 7}


@given(st.lists(st.floats(0.0, 1.0), min_size=N_STATES, max_size=N_STATES))
def test_whatever_is_believed_something_may_be_played(shares: list[float]) -> None:
    belief = np.array(shares, np.float32) + np.float32(1e-6)
    harmony = beat_harmony(belief / belief.sum())
    assert 0 < harmony.classes <= EVERY_CLASS
    if harmony.chord != NO_CHORD:
        assert harmony.classes == classes_of(harmony.chord)
        assert belief[harmony.chord] / belief.sum() >= SURE - 1e-3


@given(CHORDS, st.integers(28, 96), st.integers(0, 3))
def test_a_note_that_leaves_is_moved_to_the_nearest_tone_of_the_chord(
    chord: int, pitch: int, n_taken: int
) -> None:
    fit = fit_of(belief_in({chord: 1.0}))
    tones = [p for p in range(pitch - FARTHEST, pitch + FARTHEST + 1) if MEMBERS[chord, p % 12]]
    taken = tones[: min(n_taken, len(tones) - 1)]
    moved = refit(TimedNote(1.0, 0.5, pitch, 64), fit, taken)
    nearest = min(abs(p - pitch) for p in tones if p not in taken)
    assert MEMBERS[chord, moved.pitch % 12] and moved.pitch not in taken
    assert abs(moved.pitch - pitch) == nearest
    assert moved == replace(moved, onset_s=1.0, duration_s=0.5, velocity=64)


def test_a_tone_is_doubled_rather_than_moved_out_of_the_chord() -> None:
    """D and F are the tones of D minor near D: where both are struck, C sharp is no way out."""
    fit = fit_of(belief_in({chord_of(2, MINOR): 0.95}))
    d = TimedNote(1.0, 0.5, 62, 64)
    assert refit(d, fit, (62, 65)) == d
    assert refit(d, fit, (62,)).pitch == 65


def test_a_note_that_fits_as_well_as_another_stays() -> None:
    fit = fit_of(belief_in({chord_of(0, MAJOR): 0.4, chord_of(2, MAJOR): 0.4}))
    for pitch in (60, 64, 67, 62, 66, 69):
        assert refit(TimedNote(0.0, 1.0, pitch, 64), fit).pitch == pitch


def hear_chord(accompanying: Accompanying, chord: int, n_groups: int = 20) -> float:
    heard = np.zeros((), HEARD_DTYPE)
    heard["chord_belief"] = belief_in({chord: 1.0}) if chord >= 0 else belief_in({})
    for group in range(n_groups):
        accompanying.hear(heard, (group + 1) * 0.085)
    return n_groups * 0.085


def test_notes_are_corrected_only_in_a_chord_heard() -> None:
    c_sharp = TimedNote(2.0, 0.5, 61, 64)
    for chord, expected in ((chord_of(0, MAJOR), 60), (NO_CHORD, 61), (chord_of(6, MAJOR), 61)):
        accompanying = Accompanying()
        hear_chord(accompanying, chord)
        assert accompanying.correct(c_sharp, on_beat=True).pitch == expected
    silent = Accompanying()
    silent.hear(np.zeros((), HEARD_DTYPE), 0.1)
    assert silent.correct(c_sharp, on_beat=True) == c_sharp
    assert silent.harmonies(2.0, 0.5) == (FREE,) * 4


def test_a_third_that_was_never_heard_is_left_out() -> None:
    accompanying, heard = Accompanying(), np.zeros((), HEARD_DTYPE)
    heard["chord_belief"] = belief_in({chord_of(9, MAJOR): 1.0})
    heard["chroma"][[4, 9]] = 0.5
    for group in range(20):
        accompanying.hear(heard, (group + 1) * 0.085)
    assert all(beat.classes == 1 << 4 | 1 << 9 for beat in accompanying.harmonies(2.0, 0.5))
    assert accompanying.correct(TimedNote(2.0, 0.5, 61, 64), on_beat=True).pitch % 12 in (4, 9)
    heard["chroma"][1] = 0.4
    accompanying.hear(heard, 1.8)
    assert accompanying.harmonies(2.0, 0.5)[0].classes == classes_of(chord_of(9, MAJOR))
    accompanying.forget()
    assert accompanying.harmonies(2.0, 0.5)[0] == FREE


def test_a_passing_note_passes_off_the_beat_alone() -> None:
    accompanying = Accompanying()
    now_s = hear_chord(accompanying, chord_of(0, MAJOR))
    first = accompanying.correct(TimedNote(now_s + 0.25, 0.2, 60, 64), on_beat=True)
    assert first.pitch == 60
    assert accompanying.correct(TimedNote(now_s + 0.5, 0.2, 62, 64), on_beat=False).pitch == 62
    assert accompanying.correct(TimedNote(now_s + 0.75, 0.2, 62, 64), on_beat=True).pitch in (60, 64)
    assert accompanying.correct(TimedNote(now_s + 1.0, 1.0, 62, 64), on_beat=False).pitch in (60, 64)


@pytest.mark.parametrize("chord", (NO_CHORD, 0, 13, 23))
def test_a_chord_moves_by_octaves_into_itself(chord: int) -> None:
    assert transposed(chord, 12) == transposed(chord, -24) == chord
    assert chord == NO_CHORD or classes_of(transposed(chord, 5)) != classes_of(chord)


def test_chords_survive_the_check_of_a_target() -> None:
    assert sane(replace(TARGET, chords=sure(0, 1, 2, 3))).chords == sure(0, 1, 2, 3)
