"""Turns of the composer come out of a log entry bit for bit, and damage is a ValueError or the like."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_py.board.map import MAX_DRAWS, TURN_DTYPE
from firmware_py.board.turns import (
    ROW_NAMES,
    beginning,
    pack_turns,
    unpack_beginning,
    unpack_knobs,
    unpack_turns,
)
from kelly_edge.contract import KNOBS_DTYPE

DAMAGE = (KeyError, TypeError, ValueError, OverflowError)


def turns_of(seed: int, n: int, is_wild: bool) -> list[Any]:
    """``n`` turns, of numbers like a session's, or of any bits at all."""
    rng = np.random.default_rng(seed)
    turns = np.zeros(n, TURN_DTYPE)
    if is_wild:
        turns = np.frombuffer(rng.bytes(n * TURN_DTYPE.itemsize), TURN_DTYPE).copy()
        turns["knobs"] = turns["knobs"][0]
    else:
        turns["time_s"] = turns["now_s"] = 1e4 + np.arange(n) * 0.0853333
        turns["ends_s"] = np.inf
    turns["number"] = 7 + np.arange(n)
    turns["n_draws"] = rng.integers(0, MAX_DRAWS + 1, n)
    return [turn.copy() for turn in turns[..., None][:, 0]]


@settings(max_examples=60)
@given(seed=st.integers(0, 2**32), n=st.integers(1, 40), is_wild=st.booleans())
def test_what_is_packed_comes_back_bit_for_bit(seed: int, n: int, is_wild: bool) -> None:
    turns = turns_of(seed, n, is_wild)
    entry = json.loads(json.dumps(pack_turns(turns, with_knobs=False)))
    rows = unpack_turns(entry)
    assert len(rows) == n
    for turn, row in zip(turns, rows, strict=True):
        for name in ROW_NAMES:
            assert row.turn[name].tobytes() == turn[name].tobytes(), name
        assert row.turn["number"] == turn["number"]
        assert row.draws == tuple(turn["draws"][: int(turn["n_draws"])].tolist())


def test_knobs_and_beginning_come_back() -> None:
    turn = np.zeros((), TURN_DTYPE)
    turn["knobs"]["valence"], turn["knobs"]["programme"], turn["knobs"]["octave"] = 0.1, 2, -2
    turn["before"]["valence"], turn["before"]["programme"] = 0.1 + 0.2, -1
    turn["has_sessions"], turn["start_s"], turn["number"] = True, -np.inf, 3
    entry = json.loads(json.dumps(beginning(turn)))
    found = np.zeros((), TURN_DTYPE)
    unpack_beginning(entry, found)
    for name in ("before", "has_sessions", "start_s", "number"):
        assert found[name].tobytes() == turn[name].tobytes()
    assert found["begins"]
    knobs = np.zeros((), KNOBS_DTYPE)
    unpack_knobs(json.loads(json.dumps(pack_turns([turn], with_knobs=True))), knobs)
    assert knobs.tobytes() == turn["knobs"].tobytes()


@settings(max_examples=300)
@given(data=st.data())
def test_a_damaged_entry_is_refused_or_read(data: st.DataObject) -> None:
    entry = pack_turns(turns_of(data.draw(st.integers(0, 9)), 12, True), with_knobs=True)
    text = bytearray(json.dumps(entry).encode())
    for _ in range(data.draw(st.integers(1, 4))):
        text[data.draw(st.integers(0, len(text) - 1))] = data.draw(st.integers(32, 126))
    try:
        damaged = json.loads(text)
    except ValueError:
        return
    try:
        rows = unpack_turns(damaged)
        unpack_knobs(damaged, np.zeros((), KNOBS_DTYPE))
    except DAMAGE:
        return
    assert len(rows) == damaged["n"]


@pytest.mark.parametrize(
    "change",
    [
        {"n": 0},
        {"n": 10**9},
        {"n": -1},
        {"n": "x"},
        {"turn": -1},
        {"rows": ""},
        {"rows": 5},
        {"rows": "~" * 50},
        {"n": 2},
    ],
)
def test_an_entry_that_cannot_be_is_refused(change: dict[str, Any]) -> None:
    entry = pack_turns(turns_of(0, 3, False), with_knobs=False)
    with pytest.raises(DAMAGE):
        unpack_turns({**entry, **change})


@pytest.mark.parametrize("knobs", [None, {}, {"valence": True}])
def test_knobs_that_cannot_be_are_refused(knobs: Any) -> None:
    with pytest.raises(DAMAGE):
        unpack_knobs({"knobs": knobs}, np.zeros((), KNOBS_DTYPE))


def test_a_programme_that_does_not_exist_is_refused() -> None:
    turn = turns_of(0, 1, False)[0]
    turn["knobs"]["programme"] = -1
    with pytest.raises(ValueError, match="programme"):
        unpack_knobs(pack_turns([turn], with_knobs=True), np.zeros((), KNOBS_DTYPE))
