"""The composer's turns as the session log holds them: a second of them packed into one entry.

Rows differ little from one to the next, so their differences are what is compressed: of times the distance of
their bit patterns, of all else the bits that changed. Every number comes back bit for bit.
"""

import base64
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from firmware_py.board.map import COMPOSING_DTYPE, MAX_DRAWS, TURN_DTYPE
from kelly_edge.contract import KNOBS_DTYPE

ROW_NAMES: Final = (
    "is_heard", "group", "time_s", "heard", "clock", "now_s", "ends_s", "rung", "n_draws", "n_notes",
    "notes_crc",
)  # fmt: skip
"""Fields of a turn that stand in its row; the others stand in an entry's own fields."""
ROW_DTYPE: Final = np.dtype([(name, TURN_DTYPE[name]) for name in ROW_NAMES])
TIMES: Final = ("time_s", "now_s", "ends_s")
MOST_ROWS: Final = 4_096
"""Of an entry that is read. Chosen: a damaged one unpacks to a few megabytes at most."""
LEVEL: Final = 9
"""Of zlib. Chosen: the smallest log; a second's turns take well under a millisecond."""
DIGITS: Final = 6
"""Of an entry's time, after the point. Chosen: microseconds, as in the other entries."""


@dataclass(frozen=True)
class TurnRow:
    """A turn as it is read from a log.

    ``turn`` is a TURN_DTYPE record without ``bar``; ``draws`` are the tokens drawn.
    """

    turn: NDArray[Any]
    draws: tuple[int, ...]


def pack_turns(turns: Sequence[NDArray[Any]], with_knobs: bool) -> dict[str, Any]:
    """The entry of ``turns`` (0-d TURN_DTYPE arrays, numbered one after another, all with the same knobs)."""
    rows = np.zeros(len(turns), ROW_DTYPE)
    for row, turn in zip(rows, turns, strict=True):
        for name in ROW_NAMES:
            row[name] = turn[name]
    draws = b"".join(turn["draws"][: int(turn["n_draws"])].tobytes() for turn in turns)
    packed = zlib.compress(_differences(rows).T.tobytes() + draws, LEVEL)
    entry = {
        "kind": "turns",
        "time_s": round(float(turns[0]["now_s"]), DIGITS),
        "turn": int(turns[0]["number"]),
        "n": len(turns),
    }
    if with_knobs:
        entry["knobs"] = _as_dict(turns[0]["knobs"])
    entry["rows"] = base64.b85encode(packed).decode("ascii")
    return entry


def beginning(turn: NDArray[Any]) -> dict[str, Any]:
    """The entry that says from where the music begins anew with ``turn``."""
    before = _as_dict(turn["before"])
    if not turn["has_sessions"]:
        before["n_sessions"] = None
    start_s = float(turn["start_s"])
    return {
        "kind": "composer",
        "time_s": round(float(turn["now_s"]), DIGITS),
        "turn": int(turn["number"]),
        "start_s": start_s if np.isfinite(start_s) else None,
        "before": before,
    }


def unpack_beginning(entry: Mapping[str, Any], turn: NDArray[Any]) -> None:
    """Put what ``beginning`` said into ``turn``.

    Raises
    ------
    KeyError, TypeError, ValueError, OverflowError: the entry is damaged.
    """
    before = dict(entry["before"])
    turn["has_sessions"] = before["n_sessions"] is not None
    before["n_sessions"] = before["n_sessions"] or 0
    _fill(turn["before"], before, COMPOSING_DTYPE)
    start_s = entry["start_s"]
    turn["start_s"] = -np.inf if start_s is None else float(start_s)
    turn["number"] = int(entry["turn"])
    turn["begins"] = True


def unpack_knobs(entry: Mapping[str, Any], knobs: NDArray[Any]) -> None:
    """Put an entry's knobs into ``knobs``, a 0-d KNOBS_DTYPE array, where it has some.

    Raises
    ------
    KeyError, TypeError, ValueError, OverflowError: the entry is damaged.
    """
    if "knobs" in entry:
        _fill(knobs, entry["knobs"], KNOBS_DTYPE)
        if int(knobs["programme"]) < 0:
            raise ValueError("no such programme")


def unpack_turns(entry: Mapping[str, Any]) -> list[TurnRow]:
    """The turns of an entry, without knobs.

    Raises
    ------
    KeyError, TypeError, ValueError, OverflowError: the entry is damaged.
    """
    first, n = int(entry["turn"]), int(entry["n"])
    if not 0 < n <= MOST_ROWS or first < 0:
        raise ValueError("no such number of turns")
    size = n * ROW_DTYPE.itemsize
    try:
        # Never more than an entry can hold, whatever it unpacks to.
        unpacking = zlib.decompressobj()
        content = unpacking.decompress(base64.b85decode(entry["rows"]), size + n * MAX_DRAWS)
    except zlib.error as error:
        raise ValueError(str(error)) from None
    if not unpacking.eof or len(content) < size:
        raise ValueError("rows are cut short")
    rows = _added_up(np.frombuffer(content[:size], np.uint8).reshape(ROW_DTYPE.itemsize, n).T)
    draws, found = content[size:], []
    turns = np.zeros(n, TURN_DTYPE)
    for name in ROW_NAMES:
        turns[name] = rows[name]
    turns["number"] = first + np.arange(n)
    for turn in turns:
        n_draws = int(turn["n_draws"])
        if n_draws > min(MAX_DRAWS, len(draws)):
            raise ValueError("draws are cut short")
        found.append(TurnRow(turn, tuple(draws[:n_draws])))
        draws = draws[n_draws:]
    if draws:
        raise ValueError("more draws than turns")
    return found


def _differences(rows: NDArray[Any]) -> NDArray[np.uint8]:
    """What changes from each row to the next, as bytes: [n, size]."""
    rows = rows.copy()
    times = {name: np.diff(rows[name].view(np.int64), prepend=0) for name in TIMES}
    group = np.diff(rows["group"].astype(np.int64), prepend=0).astype(np.uint32)
    for name in (*TIMES, "group"):
        rows[name] = 0
    content = rows.view(np.uint8).reshape(len(rows), -1)
    content = np.concatenate([content[:1], content[1:] ^ content[:-1]])
    changed = content.reshape(-1).view(ROW_DTYPE)
    for name, distances in times.items():
        changed[name] = distances.view(np.float64)
    changed["group"] = group
    return content


def _added_up(content: NDArray[np.uint8]) -> NDArray[Any]:
    """The rows of ``_differences``."""
    changed = np.ascontiguousarray(content).reshape(-1).view(ROW_DTYPE)
    times = {name: np.cumsum(changed[name].copy().view(np.int64)).view(np.float64) for name in TIMES}
    group = np.cumsum(changed["group"], dtype=np.uint32)
    rows = np.bitwise_xor.accumulate(content, axis=0)
    rows = np.ascontiguousarray(rows).reshape(-1).view(ROW_DTYPE).copy()
    for name, values in times.items():
        rows[name] = values
    rows["group"] = group
    return rows


def _as_dict(record: NDArray[Any]) -> dict[str, Any]:
    values = {name: record[name].item() for name in record.dtype.names or ()}
    return {name: v.decode("ascii", "replace") if isinstance(v, bytes) else v for name, v in values.items()}


def _fill(record: NDArray[Any], values: Mapping[str, Any], dtype: np.dtype[Any]) -> None:
    for name in dtype.names or ():
        value = values[name]
        if dtype[name].kind == "S":
            if not isinstance(value, str) or len(value) > dtype[name].itemsize:
                raise ValueError(f"{name} is no text, or too long")
            record[name] = value.encode("ascii")
            continue
        if isinstance(value, bool) != (dtype[name] == np.bool_) or not isinstance(value, int | float):
            raise ValueError(f"{name} is no number")
        if dtype[name].kind in "iu":
            limits = np.iinfo(dtype[name])
            if not (isinstance(value, int) and limits.min <= value <= limits.max):
                raise ValueError(f"{name} is out of its range")
        else:
            # Finite as it is read, and not as a float of the record, is out of range as well.
            with np.errstate(over="ignore"):
                is_finite = bool(np.isfinite(dtype[name].type(value)))
            if not is_finite:
                raise ValueError(f"{name} is not finite")
        record[name] = value
