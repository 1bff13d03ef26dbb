"""When the programme led, and whether the player went the way that the box went then."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from firmware_py.report.parties import Parties
from firmware_py.report.together import MEASURES, Measure, best_lag

Float64 = NDArray[np.float64]
SHORTEST_S: Final = 60.0
"""A programme that led for less than this is not mentioned. Chosen by hand."""
ENDS_S: Final = 30.0
"""Beginning and end of a change are means over this time: before the programme led, and at its end. Chosen
by hand: some phrases."""
FOLLOWED_SHARE, STAYED_SHARE = 0.5, 0.2
"""A player who went at least the first share of the box's way followed; a player who went at most the
second did not. Between the two nothing is said. Chosen by hand, apart, so that no sentence of 200 simulated
sessions is false."""
FIRST_S, LAST_S = -10.0, 180.0
"""The least and the greatest lag behind the box of a player who followed. Chosen by hand."""
CLEAR: Final = 1.5
"""Steps (``Measure.step``) that the box must have gone for the player to have followed or not. Chosen on
simulated sessions, whose truth is known (tests/report/test_sentences.py)."""
KEY_FOLLOWED, KEY_STAYED = 0.7, 0.3
"""Shares of the last third. Chosen on simulated sessions."""
TOLD: Final = ("tempo_bpm", "level_db", "density_hz", "register")


@dataclass(frozen=True)
class Change:
    """The box's and the player's change in one measure while the programme led; None: neither followed nor
    stayed."""

    measure: Measure
    box: tuple[float, float]
    player: tuple[float, float]
    followed: bool | None
    lag_s: float
    """The player's greatest lag behind the box, in seconds; NaN where they did not follow."""


@dataclass(frozen=True)
class Lead:
    """A time in which the programme led, in seconds of the session."""

    from_s: float
    to_s: float
    asked: tuple[tuple[float, float], tuple[float, float]]
    """Valence and arousal asked, at its beginning and its end."""
    changes: tuple[Change, ...]
    key_followed: bool | None
    """Whether the player went to the box's other key; None: it went to none, or the player is in both."""
    box_key: int = -1


def leads(parties: Parties) -> list[Lead]:
    """Each time in which the programme led for a minute or longer."""
    is_led = np.r_[False, parties.leads > 0.5, False]
    edges = np.flatnonzero(is_led[1:] != is_led[:-1]).reshape(-1, 2)
    step_s = parties.step_s
    return [_lead(parties, int(a), int(b)) for a, b in edges if (b - a) * step_s >= SHORTEST_S]


def _lead(parties: Parties, first: int, last: int) -> Lead:
    n = max(1, round(ENDS_S / parties.step_s))
    asked = parties.asked

    def mood(at: int) -> tuple[float, float]:
        return float(asked[at, 0]), float(asked[at, 1])

    told = (m for m in MEASURES if m.name in TOLD)
    changes = [change for m in told if (change := _change(parties, m, first, last, n)) is not None]
    key_followed, box_key = _key(parties, first, last, n)
    return Lead(
        first * parties.step_s, last * parties.step_s, (mood(first), mood(last - 1)), (*changes,),
        key_followed, box_key,
    )  # fmt: skip


def _ends(values: Float64, first: int, last: int, n: int) -> tuple[float, float] | None:
    """Means before ``first`` and up to ``last``; None where either is hardly known."""
    before, after = values[max(0, first - n) : first], values[last - n : last]
    if np.isfinite(before).sum() < n / 2 or np.isfinite(after).sum() < n / 2:
        return None
    return float(np.nanmedian(before)), float(np.nanmedian(after))


def _change(parties: Parties, measure: Measure, first: int, last: int, n: int) -> Change | None:
    box, player = (getattr(party, measure.name) for party in (parties.box, parties.player))
    box_ends, player_ends = _ends(box, first, last, n), _ends(player, first, last, n)
    if box_ends is None or player_ends is None:
        return None
    box_went, player_went = box_ends[1] - box_ends[0], player_ends[1] - player_ends[0]
    if abs(box_went) < CLEAR * measure.step:
        return None
    share = player_went / box_went
    lag_s = np.nan
    followed: bool | None = None
    if share >= FOLLOWED_SHARE and abs(player_went) >= measure.step:
        part = slice(max(0, first - n), last)
        n_before, n_after = (round(s / parties.step_s) for s in (ENDS_S, LAST_S))
        best = best_lag(player[part], box[part], n_before, n_after, parties.step_s)
        if best is not None:
            lag_s = best.latest_s
            followed = True if best.lag_s >= FIRST_S else None
    elif share <= STAYED_SHARE:
        followed = False
    return Change(measure, box_ends, player_ends, followed, float(lag_s))


def _key(parties: Parties, first: int, last: int, n: int) -> tuple[bool | None, int]:
    """Whether the player went to the key the box went to, and that key."""
    box, player = parties.box.key, parties.player.key
    third = slice(last - max(n, (last - first) // 3), last)
    box_key, before = most(box[third]), most(player[max(0, first - n) : first])
    if box_key < 0 or before < 0 or box_key == before:
        return None, box_key
    known = np.isfinite(box[third]) & np.isfinite(player[third])
    # The box must have stayed there itself.
    if known.sum() < n / 2 or np.mean(box[third][known] == box_key) < KEY_FOLLOWED:
        return None, box_key
    share = float(np.mean(player[third][known] == box_key))
    return (True if share >= KEY_FOLLOWED else False if share <= KEY_STAYED else None), box_key


def most(keys: Float64) -> int:
    """The commonest key; -1 where none is known."""
    known = keys[np.isfinite(keys)].astype(int)
    return int(np.bincount(known).argmax()) if len(known) else -1
