"""What the log holds of the player's sound and of the box's plan: a second's means, and changes alone."""

import json
from typing import Any

import numpy as np
import pytest

from firmware_py.board.map import TARGET_DTYPE, memory_board
from firmware_py.devices.offline import ListJournal
from firmware_py.devices.session.format import SCHEMA, STATE_KINDS
from firmware_py.processes.control import ControlStage
from firmware_py.processes.player_sound import PlayerSound
from firmware_py.settings import Settings
from kelly_edge.contract import GROUP_S, HEARD_DTYPE
from kelly_edge.emotion.vector import slice_of

BYTES_AN_HOUR = 600_000
"""The live log of the demo has 9 MB per hour."""


def heard(n: int, presence: float = 1.0, level_db: float = -20.0, register: float = 0.5) -> np.ndarray:
    record = np.zeros((), HEARD_DTYPE)
    record["time_s"], record["presence"], record["level_db"] = n * GROUP_S, presence, level_db
    record["emotion"][slice_of("register").start] = register
    record["chroma"][[0, 4, 7]] = 0.5, 0.3, 0.2
    return record


def entries_of(records: list[np.ndarray]) -> list[dict[str, Any]]:
    sound = PlayerSound()
    return [entry for record in records if (entry := sound.hear(record)) is not None]


def test_a_second_of_playing_is_one_entry_with_its_means() -> None:
    entries = entries_of([heard(n, level_db=-20.0 if n % 2 else -200.0) for n in range(1, 26)])
    assert len(entries) == 2
    assert [round(e["time_s"]) for e in entries] == [1, 2]
    # Power is averaged, not decibels.
    assert entries[0]["level_db"] == pytest.approx(-23.0, abs=0.5)
    assert entries[0]["register"] == 66.0
    assert entries[0]["chroma"] == [50, 0, 0, 0, 30, 0, 0, 20, 0, 0, 0, 0]


@pytest.mark.parametrize(
    "records",
    [
        [heard(n, presence=0.4) for n in range(200)],
        [heard(n, presence=float(n % 12 < 4)) for n in range(200)],
        [heard(n, level_db=float("nan")) for n in range(200)],
        [heard(n, register=float("inf")) for n in range(200)],
        [heard(n) for n in range(11)],
        # A clock that leaps: no second is whole.
        [heard(n * 60) for n in range(20)],
        [heard(-n) for n in range(20)],
    ],
)
def test_what_is_no_second_of_playing_is_no_entry(records: list[np.ndarray]) -> None:
    assert entries_of(records) == []


def test_an_hour_of_playing_costs_little() -> None:
    rng = np.random.default_rng(0)
    n_groups = round(600 / GROUP_S)
    made = entries_of([heard(n, level_db=float(rng.normal(-20, 3))) for n in range(n_groups)])
    n_bytes = sum(len(json.dumps(entry, separators=(",", ":"))) + 1 for entry in made)
    assert 0 < 6 * n_bytes < BYTES_AN_HOUR


def test_what_the_box_plays_is_logged_when_it_changes() -> None:
    board, journal = memory_board(), ListJournal()
    control, target = ControlStage(board.ends("control"), Settings(), journal), np.zeros((), TARGET_DTYPE)

    def step(n: int) -> list[dict[str, Any]]:
        board.cells["heard"].write(heard(n))
        del journal.entries[:]
        control.step()
        return [entry for entry in journal.entries if entry["kind"] == "plan"]

    # Before the composer planned anything, nothing is said of a plan.
    assert step(1) == []
    target["tonic"], target["mode"], target["played_tempo_bpm"] = 9, 0, 80.04
    board.cells["target"].write(target)
    (plan,) = step(2)
    assert plan == {
        "kind": "plan", "time_s": round(2 * GROUP_S, 6), "tonic": 9, "mode": 0, "tempo_bpm": 80.0,
        "leads": False, "phase": 0,
    }  # fmt: skip
    assert step(3) == []
    target["leads"] = True
    board.cells["target"].write(target)
    assert [entry["leads"] for entry in step(4)] == [True]
    # Each part of a log repeats it.
    assert "plan" in STATE_KINDS and SCHEMA >= 3
