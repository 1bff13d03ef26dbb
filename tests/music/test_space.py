"""Room for the player: how many notes leave, where they lie and how loud they are."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kelly_edge.contract import EMOTION_RATE_HZ, HEARD_DTYPE
from kelly_edge.music.notes import TimedNote
from kelly_edge.music.space import (
    ALLOWANCE,
    BUSY_HZ,
    BUSY_NOTES_HZ,
    EASY_NOTES_HZ,
    LEAST,
    LOWEST,
    MOST,
    SOFTER,
    THINNEST,
    Space,
)


def space_of(seconds: float = 20.0, arousal: float = 0.0, **values: float) -> Space:
    """``arousal`` is that of the music, ``values`` what is heard."""
    space = Space()
    heard: Any = np.zeros((), HEARD_DTYPE)
    heard["level_db"] = -20.0
    for name, value in values.items():
        heard[name] = value
    for _ in range(round(seconds * EMOTION_RATE_HZ)):
        space.hear(heard, arousal)
    return space


@pytest.mark.parametrize(("density_hz", "notes_hz"), ((0.0, EASY_NOTES_HZ), (2 * BUSY_HZ, BUSY_NOTES_HZ)))
def test_as_many_notes_leave_as_there_is_room_for(density_hz: float, notes_hz: float) -> None:
    space = space_of(density_hz=density_hz)
    onsets = np.arange(0.0, 60.0, 1 / 32)
    n_admitted = sum(space.admits(TimedNote(t, 0.1, 60, 64), on_beat=True) for t in onsets)
    assert n_admitted == pytest.approx(60.0 * notes_hz, rel=0.05)


@pytest.mark.parametrize(
    ("arousal", "density", "notes_hz"),
    ((-1.0, -1.0, 4.0), (0.0, -1.0, 4.0), (0.5, -0.625, 6.4), (0.9, -0.325, 9.3), (1.0, -0.25, 10.2)),
)
def test_somebody_busy_is_answered_with_the_energy_asked(
    arousal: float, density: float, notes_hz: float
) -> None:
    space = space_of(arousal=arousal, density_hz=2 * BUSY_HZ, highest=80.0)
    assert space.density == pytest.approx(density, abs=0.125)
    onsets = np.arange(0.0, 60.0, 1 / 32)
    n_admitted = sum(space.admits(TimedNote(t, 0.1, 60, 64), on_beat=True) for t in onsets)
    assert n_admitted == pytest.approx(60.0 * notes_hz, rel=0.1)


def test_energetic_music_makes_room_by_register() -> None:
    note = TimedNote(0.0, 1.0, 75, 64)
    below = {
        a: space_of(arousal=a, density_hz=2 * BUSY_HZ, highest=80.0).under(note).pitch for a in (0.0, 1.0)
    }
    assert below == {0.0: 75, 1.0: 63}
    # Beside somebody who plays little none is wanted.
    assert space_of(arousal=1.0, density_hz=0.5, highest=80.0).under(note).pitch == 75


def test_beats_come_first() -> None:
    space = space_of(density_hz=BUSY_HZ)
    admitted = {True: 0, False: 0}
    for step in range(400):
        for _ in range(2):
            on_beat = step % 4 == 0
            admitted[on_beat] += space.admits(TimedNote(step / 8, 0.1, 60, 64), on_beat)
    assert admitted[True] > 0.9 * 200
    assert admitted[False] < 0.1 * 600


def test_a_chord_of_many_notes_is_cut_to_its_upper_ones() -> None:
    space = space_of(density_hz=BUSY_HZ)
    chord = [TimedNote(1.0, 0.5, pitch, 64) for pitch in range(80, 60, -3)]
    left = [note.pitch for note in chord if space.admits(note, on_beat=True)]
    assert left == [80, 77, 74, 71][: int(ALLOWANCE)]


def test_density_follows_the_player_without_flapping() -> None:
    assert space_of(density_hz=0.0).density == 0.0
    assert space_of(density_hz=20.0).density == -THINNEST
    space, steps = Space(), []
    heard: Any = np.zeros((), HEARD_DTYPE)
    rng = np.random.default_rng(0)
    for _ in range(round(60 * EMOTION_RATE_HZ)):
        heard["density_hz"] = 2.5 + 0.5 * rng.normal()
        space.hear(heard)
        steps.append(space.density)
    assert len(set(steps[len(steps) // 3 :])) <= 2
    assert int((np.diff(steps[len(steps) // 3 :]) != 0).sum()) <= 2


@given(st.integers(21, 108), st.floats(0.0, 108.0))
def test_notes_lie_below_a_melody_in_their_own_class(pitch: int, highest: float) -> None:
    moved = space_of(0.1, highest=highest).under(TimedNote(0.0, 1.0, pitch, 64)).pitch
    assert moved <= pitch and (pitch - moved) % 12 == 0
    assert moved == pitch or moved >= LOWEST
    if highest >= LOWEST + 24:
        assert moved < highest
    if highest < 40.0:
        assert moved == pitch


@given(st.floats(-50.0, 0.0), st.floats(-50.0, 0.0), st.integers(1, 127))
def test_loudness_answers_within_its_bounds(usual_db: float, now_db: float, velocity: int) -> None:
    space = space_of(level_db=usual_db)
    heard: Any = np.zeros((), HEARD_DTYPE)
    heard["level_db"] = now_db
    for _ in range(12):
        space.hear(heard)
    note = space.soften(TimedNote(0.0, 1.0, 60, velocity))
    lowest, highest = SOFTER * LEAST * velocity, SOFTER * MOST * velocity
    assert max(1, lowest - 1) <= note.velocity <= min(127, highest + 1)
    louder = SOFTER * velocity
    assert note.velocity >= round(louder) - 1 if now_db >= usual_db else note.velocity <= round(louder) + 1


def test_silence_and_what_was_forgotten_change_nothing_but_the_step_below() -> None:
    space = space_of(level_db=-90.0)
    assert space.soften(TimedNote(0.0, 1.0, 60, 100)).velocity == round(SOFTER * 100)
    busy = space_of(density_hz=20.0, highest=70.0)
    busy.forget()
    assert busy.density == 0.0
    assert busy.under(TimedNote(0.0, 1.0, 90, 64)).pitch == 90
