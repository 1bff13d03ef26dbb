"""The safety envelope holds whatever notes come."""

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kelly_edge.config import EnvelopeSettings
from kelly_edge.music.envelope import FIRST_VELOCITY, RELEASE_PER_S, Envelope, bound_tempo, fold_pitch
from kelly_edge.music.notes import TimedNote

LIMITS = EnvelopeSettings()

notes = st.lists(
    st.builds(
        TimedNote,
        onset_s=st.floats(0.0, 20.0),
        duration_s=st.floats(0.0, 8.0),
        pitch=st.integers(0, 127),
        velocity=st.integers(1, 127),
    ),
    max_size=120,
).map(lambda some: sorted(some, key=lambda n: n.onset_s))


def admit_all(some: list[TimedNote], limits: EnvelopeSettings = LIMITS) -> list[TimedNote]:
    envelope = Envelope(limits)
    return [n for n in map(envelope.admit, some) if n is not None]


@given(notes)
def test_every_note_is_within_register_and_velocity(some: list[TimedNote]) -> None:
    for note in admit_all(some):
        assert LIMITS.pitch_min <= note.pitch <= LIMITS.pitch_max
        assert 1 <= note.velocity <= LIMITS.velocity_max


@given(notes)
def test_never_more_note_ons_in_a_second_than_allowed(some: list[TimedNote]) -> None:
    onsets = [n.onset_s for n in admit_all(some)]
    for onset in onsets:
        assert sum(onset - 1.0 < other <= onset for other in onsets) <= LIMITS.density_max_hz


@given(notes)
def test_never_more_pitches_sounding_than_allowed(some: list[TimedNote]) -> None:
    sounding: dict[int, float] = {}
    for note in admit_all(some):
        sounding = {p: end for p, end in sounding.items() if end > note.onset_s}
        sounding[note.pitch] = note.onset_s + note.duration_s
        assert len(sounding) <= LIMITS.polyphony_max


@given(notes)
def test_velocity_rises_no_faster_than_its_slew_above_the_loudest_of_late(some: list[TimedNote]) -> None:
    admitted = admit_all(some)
    chords: dict[float, int] = {}
    for note in admitted:
        chords[note.onset_s] = max(note.velocity, chords.get(note.onset_s, 0))
    times = sorted(chords)
    if times:
        assert chords[times[0]] <= FIRST_VELOCITY
    for before, after in pairwise(times):
        loudest = max(chords[t] - RELEASE_PER_S * (before - t) for t in times if t <= before)
        # The loudness reached has a fraction, which a velocity has not: at most one more.
        assert chords[after] < max(loudest + 1 + LIMITS.velocity_slew_per_s * (after - before), 2) + 1e-5


@pytest.mark.parametrize("slew", [1.0, 2.0, 3.0, 40.0, 1_000.0])
@pytest.mark.parametrize("notes_per_s", [0.5, 1.0, 7.0, 14.0])
def test_velocity_rises_by_its_slew_however_often_a_note_comes(slew: float, notes_per_s: float) -> None:
    limits = replace(LIMITS, velocity_slew_per_s=slew, velocity_max=127, density_max_hz=40.0)
    rising = [TimedNote(i / notes_per_s, 0.05, 60, 127 if i else 20) for i in range(round(20 * notes_per_s))]
    for note, admitted in zip(rising, admit_all(rising, limits), strict=True):
        assert admitted.velocity == min(127, int(20 + slew * note.onset_s + 1e-5))


def test_fourteen_notes_a_second_reach_what_is_allowed() -> None:
    some = [TimedNote(i / 14.0, 0.05, 60, 127) for i in range(8)]
    assert [n.velocity for n in admit_all(some)][0::7] == [FIRST_VELOCITY, 84]


@pytest.mark.parametrize(
    ("density", "n_notes"), [(1.0, 1), (1.5, 1), (1.99, 1), (2.0, 2), (14.0, 14), (40.0, 40)]
)
def test_a_second_holds_as_many_notes_as_its_density_and_no_more(density: float, n_notes: int) -> None:
    flood = [TimedNote(0.01 * i, 0.03, 60, 64) for i in range(100)]
    assert len(admit_all(flood, replace(LIMITS, density_max_hz=density))) == n_notes


def test_from_a_soft_passage_loudness_rises_by_its_slew_alone() -> None:
    soft = [TimedNote(0.25 * i, 0.2, 60, 30) for i in range(20)]
    loud = [TimedNote(5.0 + 0.25 * i, 0.2, 60, 100) for i in range(4)]
    assert [n.velocity for n in admit_all(soft + loud)[20:]] == [40, 50, 60, 70]


def test_a_soft_accompaniment_does_not_hold_the_melody_down() -> None:
    """A melody of 64 every half second, with three notes of 40 between."""
    some = [TimedNote(0.125 * i, 0.1, 72 if i % 4 == 0 else 50, 64 if i % 4 == 0 else 40) for i in range(40)]
    assert [n.velocity for n in admit_all(some, replace(LIMITS, density_max_hz=20.0))[::4]] == [64] * 10


def test_a_refused_note_is_counted() -> None:
    envelope = Envelope(replace(LIMITS, polyphony_max=1))
    assert envelope.admit(TimedNote(0.0, 1.0, 60, 50)) is not None
    assert envelope.admit(TimedNote(0.1, 1.0, 64, 50)) is None
    assert envelope.counts.as_dict() == {"register": 0, "velocity": 0, "density": 0, "polyphony": 1}


def test_pitches_fold_by_octaves() -> None:
    assert fold_pitch(20, 28, 96) == 32
    assert fold_pitch(108, 28, 96) == 96
    assert fold_pitch(60, 28, 96) == 60


def test_tempo_is_bounded_and_slewed() -> None:
    slew = LIMITS.tempo_slew_bpm_per_bar
    assert bound_tempo(LIMITS, 500.0, 0.0) == LIMITS.tempo_max_bpm
    assert bound_tempo(LIMITS, 120.0, 80.0) == 80.0 + slew
    assert bound_tempo(LIMITS, 50.0, 80.0) == 80.0 - slew
