"""The place learned over minutes: bounded, slow, and a calm hour stays calm."""

import math

import pytest

from kelly_edge.contract import EMOTION_RATE_HZ
from kelly_edge.emotion.place import LIMIT, MEMORY_MIN, Place, PlaceMemory

MINUTE = round(60.0 * EMOTION_RATE_HZ)


def played(place: Place, minutes: float, arousal: float, presence: float = 1.0) -> Place:
    for _ in range(round(minutes * MINUTE)):
        place.push(arousal, presence)
    return place


@pytest.mark.parametrize("arousal", [-0.1, -0.4, -1.0, -3.0, 0.4, 3.0])
def test_an_hour_of_one_mood_keeps_its_mood(arousal: float) -> None:
    offset = played(Place(), 60.0, arousal).offset
    assert 0.0 < -offset * math.copysign(1.0, arousal) <= LIMIT
    # Calm stays calm, and nearly as calm: at least six tenths of its log odds are left.
    assert (arousal + offset) / arousal > 0.6


def test_it_is_learned_over_minutes() -> None:
    place = Place()
    offsets = [played(place, 1.0, -1.0).offset for _ in range(20)]
    assert offsets[0] < 0.06 < offsets[4] < offsets[19] <= LIMIT
    assert max(b - a for a, b in zip([0.0, *offsets], offsets, strict=False)) < 0.06


def test_varied_music_in_a_place_that_is_off_moves_it_towards_the_middle() -> None:
    place = Place()
    for _ in range(15):
        # Lively and calm in turn, all heard 0.4 too calm.
        played(place, 1.0, 0.8 - 0.4)
        played(place, 1.0, -0.8 - 0.4)
    assert 0.1 < place.offset <= LIMIT


def test_silence_and_bad_numbers_teach_nothing() -> None:
    place = played(Place(), 5.0, -1.0)
    before = place.memory
    played(place, 5.0, 2.0, presence=0.0)
    place.push(float("nan"), 1.0)
    place.push(1.0, float("inf"))
    assert place.memory.minutes == pytest.approx(before.minutes)
    assert place.memory.arousal == pytest.approx(before.arousal)


def test_it_can_be_forgotten_and_left_off() -> None:
    place = played(Place(PlaceMemory(10.0, -1.0)), 1.0, -1.0)
    assert place.offset > 0.0
    place.reset()
    assert place.offset == 0.0 and place.memory == PlaceMemory()
    off = played(Place(PlaceMemory(10.0, -1.0), learns=False), 1.0, 1.0)
    assert off.offset == 0.0 and off.memory == PlaceMemory(10.0, -1.0)


@pytest.mark.parametrize(
    ("minutes", "arousal", "is_sane"),
    [(0.0, 0.0, True), (MEMORY_MIN, -1.5, True), (-1.0, 0.0, False), (MEMORY_MIN + 1.0, 0.0, False),
     (1.0, 1.6, False), (math.nan, 0.0, False), (1.0, math.inf, False)],
)  # fmt: skip
def test_a_memory_from_outside_is_checked(minutes: float, arousal: float, is_sane: bool) -> None:
    assert PlaceMemory(minutes, arousal).is_sane is is_sane


def test_memory_is_bounded_and_new_music_replaces_old() -> None:
    place = played(Place(PlaceMemory(MEMORY_MIN, -1.0)), 60.0, 1.0)
    assert place.memory.is_sane and place.memory.minutes <= MEMORY_MIN
    assert place.offset < 0.0
