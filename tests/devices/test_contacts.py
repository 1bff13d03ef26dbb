"""Detents and pushes from edges, with contacts that bounce, stick and lose edges."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_py.ports import Edge
from firmware_py.processes.contacts import (
    DEBOUNCE_S,
    FASTEST_EDGES_PER_S,
    LONG_S,
    STUCK_S,
    Button,
    Encoder,
    Faults,
    Push,
)

A, B, PIN = 17, 27, 4
CLOCKWISE = ((A, False), (B, False), (A, True), (B, True))
"""A detent of an encoder that rests with both contacts open."""
BACK = ((B, False), (A, False), (B, True), (A, True))


def encoder(edges_per_detent: int = 4) -> tuple[Encoder, list[str]]:
    told: list[str] = []
    return Encoder(A, B, edges_per_detent, Faults("knob", told.append)), told


def turn(knob: Encoder, detents: int, start_s: float = 0.0, quarter_s: float = 0.0125) -> None:
    """A quarter every 12.5 ms: 20 detents per second."""
    way = (CLOCKWISE if detents > 0 else BACK) * abs(detents)
    for n, (pin, is_high) in enumerate(way):
        knob.feed(Edge(start_s + n * quarter_s, pin, is_high))


@pytest.mark.parametrize("detents", [1, -1, 20, -20, 200])
def test_every_detent_counts_in_its_direction(detents: int) -> None:
    knob, told = encoder()
    turn(knob, detents)
    assert knob.take() == detents
    assert knob.take() == 0
    assert told == []


def test_an_encoder_with_two_detents_a_cycle_counts_both() -> None:
    knob, _ = encoder(edges_per_detent=2)
    turn(knob, 10)
    assert knob.take() == 20
    turn(knob, -10)
    assert knob.take() == -20


def test_half_a_detent_and_back_is_none() -> None:
    knob, _ = encoder()
    for pin, is_high in ((A, False), (B, False), (B, True), (A, True)):
        knob.feed(Edge(0.0, pin, is_high))
    assert knob.take() == 0


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from([1, -1]), max_size=60), st.randoms(use_true_random=False))
def test_bounces_change_no_count(turns: list[int], draw: random.Random) -> None:
    knob, told = encoder()
    time_s = 0.0
    for direction in turns:
        for pin, is_high in CLOCKWISE if direction > 0 else BACK:
            time_s += 0.0125
            for _ in range(draw.randrange(4)):
                knob.feed(Edge(time_s, pin, is_high))
                knob.feed(Edge(time_s, pin, not is_high))
            knob.feed(Edge(time_s, pin, is_high))
    assert knob.take() == sum(turns)
    assert told == []


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 39), st.sampled_from([1, -1]), st.sampled_from([1, -1]))
def test_a_lost_edge_costs_one_detent_at_most_for_good(lost: int, direction: int, later: int) -> None:
    knob, _ = encoder()
    for n, (pin, is_high) in enumerate((CLOCKWISE if direction > 0 else BACK) * 10):
        if n != lost:
            knob.feed(Edge(0.0125 * n, pin, is_high))
    turn(knob, 5 * later)
    assert abs(knob.take() - (10 * direction + 5 * later)) <= 1
    turn(knob, 5)
    assert knob.take() == 5


def test_a_dead_contact_is_told_of_once_and_turns_nothing() -> None:
    knob, told = encoder()
    for n in range(400):
        knob.feed(Edge(0.0125 * n, A, n % 2 == 1))
    assert knob.take() == 0
    assert told == ["knob has a stuck contact: only pin 17 moves; check its wires"]


def test_a_flood_of_bounces_is_told_of_once() -> None:
    knob, told = encoder()
    for n in range(20 * FASTEST_EDGES_PER_S):
        knob.feed(Edge(n / (4 * FASTEST_EDGES_PER_S), (A, B)[n % 2], n % 4 > 1))
    assert [line for line in told if "bounces" in line] == [
        "knob bounces faster than a hand turns; check its ground wire or replace it"
    ]


def button() -> tuple[Button, list[str]]:
    told: list[str] = []
    return Button(Faults("button", told.append)), told


def test_a_push_counts_at_its_first_edge_and_once_whatever_it_bounces() -> None:
    push, told = button()
    for n in range(9):
        push.feed(Edge(0.001 * n, PIN, n % 2 == 1))
    assert push.look(0.010) == Push(1, 0, 0)
    for n in range(9):
        push.feed(Edge(0.2 + 0.001 * n, PIN, n % 2 == 0))
    assert push.look(0.209) == Push(0, 0, 0)
    assert push.look(0.209 + DEBOUNCE_S) == Push(0, 1, 0)
    assert told == []


def test_two_pushes_between_two_looks_are_two() -> None:
    push, _ = button()
    for n in range(4):
        push.feed(Edge(0.1 * n, PIN, n % 2 == 1))
    assert push.look(1.0) == Push(2, 2, 0)


def test_a_long_push_is_told_of_while_it_lasts_once_and_is_no_tap() -> None:
    push, _ = button()
    push.feed(Edge(0.0, PIN, False))
    assert push.look(LONG_S - 0.1) == Push(1, 0, 0)
    assert push.look(LONG_S) == Push(0, 0, 1)
    assert push.look(LONG_S + 1.0) == Push(0, 0, 0)
    push.feed(Edge(LONG_S + 2.0, PIN, True))
    assert push.look(LONG_S + 3.0) == Push(0, 0, 0)


def test_a_button_that_never_comes_back_is_told_of_once() -> None:
    push, told = button()
    push.feed(Edge(0.0, PIN, False))
    for n in range(100):
        push.look(STUCK_S - 1.0 + n)
    assert told == ["button is pushed for 30 s: it is stuck, or its wire touches ground"]
