"""The session in plain sentences, each computed; where the numbers are not clear, nothing is said."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from firmware_py.report.happenings import Happenings
from firmware_py.report.leading import Lead, leads, most
from firmware_py.report.parties import Parties
from firmware_py.report.pitch_classes import key_name
from firmware_py.report.together import MEASURES, SAME_TIME_S, Together
from firmware_py.report.words import clock, joined, mood_word, span

Float64 = NDArray[np.float64]
# Chosen by hand: less playing, or a shorter part of a session, is not summed up.
LEAST_PLAYED_S: Final = 20.0
SHORTEST_PART_S: Final = 60.0
LOUDER_DB: Final = 6.0
"""Chosen: about two steps of dynamics."""
LOUDER_SPREADS: Final = 2.0
"""How many standard deviations of each part lie between two parts of which one is called louder. Chosen on
simulated sessions."""
MOVED: Final = 0.2
"""Of valence or arousal. Chosen: a little more than ``words.MIDDLE``."""
TOWARDS: Final = (("less pleasant", "more pleasant"), ("calmer", "livelier"))
NAMES: Final = {
    "level_db": "loudness", "register": "register", "density_hz": "density", "tempo_bpm": "tempo",
    "tonality": "clearness of the key", "dissonance": "dissonance",
}  # fmt: skip
WITHIN: Final = (
    (30.0, " within half a minute"),
    (60.0, " within a minute"),
    (120.0, " within two minutes"),
    (math.inf, ""),
)
"""The words for the longest lag that a change allows."""
FAULTS: Final = {
    "dropouts of the sound (xruns)": (("audio", "n_capture_xruns"), ("audio", "n_playback_xruns")),
    "late blocks of sound": (("audio", "n_late_blocks"),),
    "notes that came late": (("midi", "n_late"), ("midi", "n_stale")),
    "entries that this log lacks": (("control", "n_entries_lost"),),
}


@dataclass(frozen=True)
class Sentence:
    """``text``, and its claims in numbers: ``about`` and its ``facts``."""

    text: str
    about: str
    facts: dict[str, float | str | bool]


def tell(parties: Parties, happenings: Happenings, alike: dict[str, Together]) -> list[Sentence]:
    """The session's sentences, in the order in which they are read."""
    times = leads(parties)
    return [
        *_playing(parties),
        *_loudness(parties),
        *_mood(parties),
        *_leading(parties, happenings, times),
        *(sentence for lead in times for sentence in _following(lead)),
        *_keys(parties),
        *_alike(alike),
        *_faults(happenings),
    ]


def _playing(parties: Parties) -> Iterator[Sentence]:
    played_s = float(np.sum(parties.is_playing)) * parties.step_s
    box_s = float(np.sum(np.isfinite(parties.box.density_hz))) * parties.step_s
    facts: dict[str, float | str | bool] = {"session_s": parties.end_s, "played_s": played_s, "box_s": box_s}
    player = "nobody was heard playing" if played_s < 1.0 else f"the player was heard for {span(played_s)}"
    box = "the box did not play" if box_s < 1.0 else f"the box played for {span(box_s)}"
    yield Sentence(f"In {span(parties.end_s)}, {player}, and {box}.", "playing", facts)


def _loudness(parties: Parties) -> Iterator[Sentence]:
    """One step in loudness, where it is clear; or nothing."""
    known = np.flatnonzero(np.isfinite(parties.player.level_db) & parties.is_playing)
    level_db, n_least = parties.player.level_db[known], max(1, round(SHORTEST_PART_S / parties.step_s))
    if len(known) < 2 * n_least:
        return
    n = len(known)
    sums = np.cumsum(level_db)
    cuts = np.arange(n_least, n - n_least + 1)
    before, after = sums[cuts - 1] / cuts, (sums[-1] - sums[cuts - 1]) / (n - cuts)
    # Where the squares within both parts are least.
    cut = int(cuts[np.argmax(cuts * before**2 + (n - cuts) * after**2)])
    first, last = level_db[:cut], level_db[cut:]
    rise_db = float(last.mean() - first.mean())
    at_s = float(parties.time_s[known[cut]])
    if abs(rise_db) >= LOUDER_DB and abs(rise_db) >= LOUDER_SPREADS * max(first.std(), last.std()):
        how, then = ("softly", "louder") if rise_db > 0.0 else ("loudly", "softer")
        change = f"on average about {abs(rise_db):.0f} dB {then}"
        text = f"The player played more {how} until {clock(at_s)}, then {change}."
        yield Sentence(text, "loudness", {"at_s": at_s, "rise_db": rise_db})
        return
    low, high = np.percentile(level_db, (10.0, 90.0))
    if high - low < LOUDER_DB:
        text = f"The player's loudness stayed within {math.ceil(high - low)} dB for most of the time."
        yield Sentence(text, "loudness", {"range_db": float(high - low)})


def _mood(parties: Parties) -> Iterator[Sentence]:
    known = np.flatnonzero(parties.is_playing & np.isfinite(parties.heard[:, 0]))
    if len(known) * parties.step_s < LEAST_PLAYED_S:
        return
    third = max(1, len(known) // 3)
    first, last = (parties.heard[part].mean(0) for part in (known[:third], known[-third:]))
    words = [mood_word(*end) for end in (first, last)]
    facts: dict[str, float | str | bool] = {
        "first": words[0], "last": words[1], "first_v": float(first[0]), "first_a": float(first[1]),
        "last_v": float(last[0]), "last_a": float(last[1]),
    }  # fmt: skip
    if words[0] == words[1]:
        text = f"The box heard the playing as {words[0]} in its first third and in its last."
    else:
        text = f"The box heard the first third of the playing as {words[0]} and the last as {words[1]}."
    yield Sentence(text, "mood", facts)


def _leading(parties: Parties, happenings: Happenings, times: list[Lead]) -> Iterator[Sentence]:
    if not np.isfinite(parties.leads).any():
        return
    names = {name for _, name in happenings.programmes}
    programme = f" (programme {names.pop()})" if len(names) == 1 else ""
    if not times and not np.any(parties.leads > 0.5):
        text = f"The box followed the player throughout and did not lead{programme}."
        yield Sentence(text, "led", {"led": False})
    for number, lead in enumerate(times):
        (v, a), (to_v, to_a) = lead.asked
        when = f"{clock(lead.from_s)} to {clock(lead.to_s)}"
        begins = "first followed the player, then " if number == 0 and lead.from_s > 5.0 else ""
        begins = "also " if number > 0 else begins
        moves = zip((to_v - v, to_a - a), TOWARDS, strict=True)
        towards = [words[change > 0.0] for change, words in moves if abs(change) >= MOVED]
        facts: dict[str, float | str | bool] = {
            "led": True, "from_s": lead.from_s, "to_s": lead.to_s, "towards": " ".join(towards),
        }  # fmt: skip
        if towards:
            text = (
                f"The box {begins}led towards {joined(towards)} music from {when}{programme}: valence "
                f"{v:+.1f} to {to_v:+.1f} and arousal {a:+.1f} to {to_a:+.1f} were asked for."
            )
        else:
            text = f"The box {begins}held {mood_word(to_v, to_a)} music from {when}{programme}."
        yield Sentence(text, "led", facts)


def _following(lead: Lead) -> Iterator[Sentence]:
    for change in lead.changes:
        if not change.followed:
            continue
        name, unit = NAMES[change.measure.name], {"tempo_bpm": " bpm", "density_hz": " onsets per second"}
        of = unit.get(change.measure.name, "")
        within_s, within = next((s, words) for s, words in WITHIN if change.lag_s <= s)
        facts: dict[str, float | str | bool] = {
            "measure": change.measure.name, "followed": True, "within_s": within_s,
            "from_s": lead.from_s,
        }  # fmt: skip
        if change.measure.name == "level_db":
            moved = [ends[1] - ends[0] for ends in (change.player, change.box)]
            went = f"by {moved[0]:+.0f} dB (the box by {moved[1]:+.0f})"
        else:
            digits = 1 if change.measure.name == "density_hz" else 0
            went = (
                f"from {change.player[0]:.{digits}f} to {change.player[1]:.{digits}f}{of} (the box from "
                f"{change.box[0]:.{digits}f} to {change.box[1]:.{digits}f})"
            )
        yield Sentence(f"The player followed in {name}{within}, {went}.", "followed", facts)
    if lead.key_followed:
        text = f"The player followed in key too, to {key_name(lead.box_key)}."
        yield Sentence(text, "followed", {"measure": "key", "followed": True, "from_s": lead.from_s})
    stayed = [NAMES[c.measure.name] for c in lead.changes if c.followed is False]
    stayed += ["key"] if lead.key_followed is False else []
    if stayed:
        text = f"The player did not follow in {joined(stayed, 'or')}."
        measures = [c.measure.name for c in lead.changes if c.followed is False]
        measures += ["key"] if lead.key_followed is False else []
        yield Sentence(
            text, "followed", {"measure": " ".join(measures), "followed": False, "from_s": lead.from_s}
        )


def _keys(parties: Parties) -> Iterator[Sentence]:
    player, box = parties.player.key, parties.box.key
    both = np.isfinite(player) & np.isfinite(box)
    if np.sum(both) * parties.step_s < LEAST_PLAYED_S:
        return
    share = float(np.mean(player[both] == box[both]))
    key = most(player)
    facts: dict[str, float | str | bool] = {"share": share, "key": float(key)}
    yield Sentence(
        f"Where both keys are known, they were the same {share:.0%} of the time; the player's was mostly "
        f"heard as {key_name(key)}.",
        "key",
        facts,
    )


def _alike(alike: dict[str, Together]) -> Iterator[Sentence]:
    for measure in MEASURES:
        t = alike[measure.name]
        if not t.is_clear:
            continue
        if abs(t.lag_s) < SAME_TIME_S:
            who = "at the same time"
        else:
            first, second = ("the box", "the player") if t.lag_s > 0.0 else ("the player", "the box")
            who = f"{first} first, {second} {abs(t.lag_s):.0f} s later"
        facts: dict[str, float | str | bool] = {"measure": measure.name, "r": t.r, "lag_s": t.lag_s}
        yield Sentence(
            f"In {NAMES[measure.name]} the two moved together over the session (r = {t.r:.2f}): {who}.",
            "alike",
            facts,
        )


def _faults(happenings: Happenings) -> Iterator[Sentence]:
    if not happenings.counters:
        return
    found = {
        what: sum(happenings.counters.get(process, {}).get(name, 0) for process, name in names)
        for what, names in FAULTS.items()
    }
    told = "; ".join(f"{what}: {n}" for what, n in found.items() if n > 0)
    text = f"The box counted {told}." if told else "The box counted no dropout, no late note, no lost entry."
    yield Sentence(text, "faults", {"n": float(sum(found.values()))})
