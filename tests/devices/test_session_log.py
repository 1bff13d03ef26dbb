"""The session log stays within its bounds, costs next to nothing in silence, and never waits for the card."""

import errno
import json
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from firmware_py.devices.session import log as session_log
from firmware_py.devices.session.format import REPEAT_EVERY_S, SCHEMA, Changes
from firmware_py.devices.session.log import SessionLog
from firmware_py.devices.session.store import DAY_S, PARTS_PER_STORE, Bounds, remove_old
from kelly_edge.contract import GROUP_S

WAIT_S = 60.0
"""Only a fault takes this long."""


def emotion(time_s: float, level_db: float = -60.0, presence: float = 0.0, **target: float) -> dict[str, Any]:
    return {
        "kind": "emotion",
        "time_s": time_s,
        "valence": 0.0,
        "level_db": level_db,
        "presence": presence,
        "posterior": [0.25, 0.25, 0.25, 0.25],
        "tonic": -1,
        "target": {"valence": 0.0, **target},
    }


def note(n: int) -> dict[str, Any]:
    return {"kind": "note", "onset_s": n / 10, "due_s": n / 10, "duration_s": 0.5, "pitch": 60, "bar": n}


def parts(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.jsonl"))


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())


# --- compact -------------------------------------------------------------------------------


def test_an_hour_of_silence_costs_an_entry_every_ten_minutes() -> None:
    changes = Changes()
    # The level of an empty room, up and down by 10 dB.
    logged = [
        n for n in range(round(3_600 / GROUP_S)) if changes.is_news(emotion(n * GROUP_S, -60 + 10 * (n % 2)))
    ]
    assert len(logged) == 3_600 / REPEAT_EVERY_S
    assert logged[0] == 0


@pytest.mark.parametrize(
    "changed",
    [
        emotion(1.0, presence=0.2),
        emotion(1.0, valence=0.01),
        {**emotion(1.0), "tonic": 0},
        {**emotion(1.0), "posterior": [0.15, 0.35, 0.25, 0.25]},
        {**emotion(1.0), "a field to come": 1},
    ],
)
def test_what_a_reader_can_tell_apart_is_logged_at_once(changed: dict[str, Any]) -> None:
    changes = Changes()
    assert changes.is_news(emotion(0.9))
    assert not changes.is_news(emotion(0.95))
    assert changes.is_news(changed)


def test_a_slow_drift_is_logged_although_no_step_of_it_is_news() -> None:
    changes = Changes()
    logged = [n for n in range(1_000) if changes.is_news(emotion(n * GROUP_S, valence=n / 1_000))]
    assert len(logged) == pytest.approx(100, abs=10)


def test_an_emotion_that_moves_in_every_hop_group_is_logged_five_times_a_second_and_the_last_not_lost() -> (
    None
):
    changes = Changes()
    n_groups = round(60 / GROUP_S)
    entries = [emotion(n * GROUP_S, valence=(-1.0) ** n) for n in range(n_groups)]
    logged = [n for n, entry in enumerate(entries) if changes.is_news(entry)]
    assert len(logged) == pytest.approx(60 * 5, abs=12)
    assert np.diff(logged).max() <= 3
    # It stands still: where it came to is written.
    still = [n for n in range(5) if changes.is_news(emotion((n_groups + n) * GROUP_S, valence=0.5))]
    assert still[0] <= 2 and len(still) == 1


def test_while_somebody_plays_the_level_is_news() -> None:
    changes = Changes()
    assert changes.is_news(emotion(0.0, -40.0, presence=1.0))
    assert not changes.is_news(emotion(0.1, -38.0, presence=1.0))
    assert changes.is_news(emotion(0.2, -37.0, presence=1.0))


def test_counters_that_rise_by_themselves_are_no_news_and_faults_are() -> None:
    changes = Changes()
    counters = {"kind": "counters", "process": "audio", "n_periods": 1, "n_capture_xruns": 0}
    assert changes.is_news({**counters, "time_s": 0.0})
    assert not changes.is_news({**counters, "time_s": 60.0, "n_periods": 22_500})
    assert changes.is_news({**counters, "time_s": 120.0, "n_capture_xruns": 1})
    # The last counts, which have no time, always are.
    assert changes.is_news(counters)


def test_every_note_is_logged() -> None:
    changes = Changes()
    assert all(changes.is_news(note(0)) for _ in range(3))


# --- bounded -------------------------------------------------------------------------------


def test_the_folder_never_exceeds_its_bound_and_the_oldest_go_first(tmp_path: Path) -> None:
    bounds = Bounds(max_bytes=100_000)
    log = SessionLog(tmp_path, bounds)
    log.record({"kind": "knobs", "time_s": 0.0, "octave": 1})
    log.record(emotion(0.0, valence=0.5))
    for n in range(4_000):
        log.record(note(n))
        if n % 100 == 0:
            assert log.flush(WAIT_S)
            assert size(tmp_path) <= bounds.max_bytes
    log.close()
    assert log.n_lost == 0
    kept = parts(tmp_path)
    assert len(kept) > PARTS_PER_STORE / 2
    bars = [entry["bar"] for part in kept for entry in lines(part) if entry["kind"] == "note"]
    # What is kept is the end, without a gap.
    assert bars == list(range(4_000 - len(bars), 4_000))
    for part in kept:
        first, *state = lines(part)[:3]
        assert (first["kind"], first["schema"]) == ("session", SCHEMA)
        assert [entry["kind"] for entry in state] == ["knobs", "emotion"]
        assert part.stat().st_mode & 0o777 == 0o600
        assert part.stat().st_size <= bounds.part_bytes


def test_old_sessions_go_by_age_and_then_by_size_and_nothing_else_does(tmp_path: Path) -> None:
    now_s = 1_000 * DAY_S
    names = {
        "20260101-000000-1.jsonl": 100,  # as written before there were parts
        "20260201-000000-1-0001.jsonl": 91,
        "20260301-000000-1-0001.jsonl": 89,
        "20260302-000000-1-0001.jsonl": 10,
        "20270101-000000-1-0001.jsonl": -300,  # a clock that was ahead
        "notes.jsonl": 500,
        "20260101-000000-1.txt": 500,
    }
    for name, age_days in names.items():
        (tmp_path / name).write_bytes(b"x" * 1_000)
        os.utime(tmp_path / name, (now_s - age_days * DAY_S,) * 2)
    (tmp_path / "20260101-000000-2.jsonl").symlink_to(tmp_path / "notes.jsonl")
    assert remove_old(tmp_path, Bounds(max_bytes=1_000_000), now_s) == 2
    assert remove_old(tmp_path, Bounds(max_bytes=3_000), now_s) == 0
    assert remove_old(tmp_path, Bounds(max_bytes=3_000), now_s, room_for=1) == 1
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {*list(names)[3:], "20260101-000000-2.jsonl"}


def test_a_part_that_another_box_is_writing_stays(tmp_path: Path) -> None:
    log = SessionLog(tmp_path)
    log.record(note(0))
    assert log.flush(WAIT_S)
    assert remove_old(tmp_path, Bounds(max_bytes=0), time.time() + 1_000 * DAY_S) == 0
    log.close()
    assert remove_old(tmp_path, Bounds(max_bytes=0), time.time()) == 1


def test_a_session_of_the_same_name_is_not_written_over(tmp_path: Path) -> None:
    for n in range(2):
        log = SessionLog(tmp_path, now=lambda: 1e9)
        log.record(note(n))
        log.close()
    assert [[e["bar"] for e in lines(p) if e["kind"] == "note"] for p in parts(tmp_path)] == [[0], [1]]


def test_a_log_that_somebody_removes_goes_on_in_a_new_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_log, "LOOK_EVERY_S", 0.0)
    log = SessionLog(tmp_path)
    log.record(note(0))
    assert log.flush(WAIT_S)
    parts(tmp_path)[0].unlink()
    log.record(note(1))
    log.record(note(2))
    log.close()
    (path,) = parts(tmp_path)
    assert lines(path)[-1] == note(2)


# --- a card that is full, slow or dead -----------------------------------------------------


class Card:
    """What ``os.write`` does to session logs: nothing new, refuse, or hang."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.is_full = False
        self.free = threading.Event()
        self.free.set()
        self._write = os.write
        monkeypatch.setattr("firmware_py.devices.session.log.os.write", self.write)

    def write(self, fd: int, content: bytes) -> int:
        self.free.wait(WAIT_S)
        if self.is_full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return self._write(fd, content)


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> Iterator[Card]:
    a_card = Card(monkeypatch)
    yield a_card
    a_card.free.set()


def test_a_full_card_costs_entries_said_once_and_again_after_it_was_mended(
    tmp_path: Path, card: Card, capsys: pytest.CaptureFixture[str]
) -> None:
    log = SessionLog(tmp_path)
    for n in range(40):
        card.is_full = n % 20 >= 10
        log.record(note(n))
        assert log.flush(WAIT_S)
    card.is_full = False
    log.close()
    assert log.n_lost == 20
    bars = [entry["bar"] for entry in lines(parts(tmp_path)[0]) if entry["kind"] == "note"]
    assert bars == [*range(10), *range(20, 30)]
    assert capsys.readouterr().err.count("loses entries") == 2


def test_a_card_that_is_full_from_the_start_leaves_no_empty_files(tmp_path: Path, card: Card) -> None:
    card.is_full = True
    log = SessionLog(tmp_path / "sessions")
    log.record(note(0))
    assert log.flush(WAIT_S)
    assert list((tmp_path / "sessions").iterdir()) == []
    card.is_full = False
    log.record(note(1))
    log.close()
    assert log.n_lost == 1
    assert [entry["kind"] for entry in lines(parts(tmp_path / "sessions")[0])] == ["session", "note"]


def test_a_card_without_room_for_a_release_gets_no_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_log, "has_room", lambda folder: False)
    log = SessionLog(tmp_path)
    log.record(note(0))
    log.close()
    assert log.n_lost == 1
    assert parts(tmp_path) == []


def test_a_card_that_hangs_holds_nobody_up_and_loses_only_what_it_has_no_room_for(
    tmp_path: Path, card: Card, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    card.free.clear()
    log = SessionLog(tmp_path)
    n_recorded = session_log.MAX_WAITING + 100
    # This comes to its end at all: while the card hangs, nothing but the queue takes entries.
    for n in range(n_recorded):
        log.record(note(n))
    assert 99 <= log.n_lost <= 100
    assert not log.flush(0.01)
    assert capsys.readouterr().err.count("too slowly") == 1
    card.free.set()
    log.close()
    bars = [e["bar"] for part in parts(tmp_path) for e in lines(part) if e["kind"] == "note"]
    assert len(bars) == n_recorded - log.n_lost
    assert bars == sorted(bars)


def test_a_card_that_never_comes_back_does_not_hold_up_the_end(
    tmp_path: Path, card: Card, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(session_log, "CLOSE_WITHIN_S", 0.05)
    card.free.clear()
    log = SessionLog(tmp_path)
    log.record(note(0))
    log.close()
    assert "not complete" in capsys.readouterr().err
