"""Sessions of a player and a box whose truth is known, as the entries of a session log."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Curve = NDArray[np.float64]
RANGES = {
    "tempo_bpm": (70.0, 130.0),
    "level_db": (-36.0, -16.0),
    "density_hz": (1.5, 5.0),
    "register": (52.0, 70.0),
}
"""Of the player; the box's loudness is a velocity."""
VELOCITIES = (45.0, 95.0)
GOES = ("follows", "stays", "goes the other way")
SCALES = {1: (0, 2, 4, 5, 7, 9, 11), 0: (0, 2, 3, 5, 7, 8, 11)}
FIRM = {0: 3.0, 7: 2.0, 3: 1.5, 4: 1.5}
"""How much more of these degrees a key has."""
MOODS = {"happy": (0.6, 0.5), "tense": (-0.5, 0.6), "sad": (-0.6, -0.5), "calm": (0.5, -0.5)}


@dataclass
class Simulated:
    """A session: what is true of it, curves without noise a value a second, and its entries."""

    n: int
    leads_from: int
    """Second from which the programme leads; ``n`` where it never does."""
    towards: str
    goes: dict[str, str]
    """What the player does in each measure while the programme leads."""
    lag_s: dict[str, float]
    """By how much later the player follows, or in a session without leading, the box."""
    coupled: set[str]
    """Measures in which the box follows the player in a session without leading."""
    key_goes: str
    louder_at: int
    louder_db: float
    moods: tuple[str, str]
    is_playing: NDArray[np.bool_]
    player: dict[str, Curve] = field(default_factory=dict)
    box: dict[str, Curve] = field(default_factory=dict)
    keys: tuple[Curve, Curve] = (np.zeros(0), np.zeros(0))
    asked: tuple[tuple[float, float], tuple[float, float]] = ((0.0, 0.0), (0.0, 0.0))
    """Valence and arousal when the programme began to lead, and at the end."""
    n_faults: int = 0
    entries: list[dict[str, Any]] = field(default_factory=list)


def simulate(seed: int, length_s: int | None = None) -> Simulated:
    """The session of a seed: of each truth, some have it and some do not."""
    rng = np.random.default_rng(seed)
    n = length_s or int(rng.integers(420, 780))
    has_lead = bool(rng.random() < 0.6)
    leads_from = int(rng.integers(120, n // 2)) if has_lead else n
    moods = tuple(rng.choice(list(MOODS), 2))
    session = Simulated(
        n, leads_from, str(rng.choice(list(MOODS))),
        {name: str(rng.choice(GOES)) for name in RANGES},
        {name: float(rng.integers(8, 60) if has_lead else rng.integers(5, 20)) for name in RANGES},
        {name for name in RANGES if not has_lead and rng.random() < 0.5},
        str(rng.choice(("follows", "stays", "none"))),
        0, 0.0, (str(moods[0]), str(moods[1])), _playing(rng, n),
    )  # fmt: skip
    (_lead if has_lead else _mirror)(session, rng)
    _keys(session, rng)
    session.entries = list(_entries(session, rng))
    return session


def _playing(rng: np.random.Generator, n: int) -> NDArray[np.bool_]:
    is_playing = np.ones(n, bool)
    for _ in range(rng.integers(0, 4)):
        begin = int(rng.integers(0, n))
        is_playing[begin : begin + rng.integers(10, 40)] = False
    return is_playing


def _wander(rng: np.random.Generator, n: int, spread: float) -> Curve:
    """Noise that changes over half a minute or so."""
    width = int(rng.integers(15, 45))
    noise = np.convolve(rng.normal(size=n + 4 * width), np.hanning(width), "same")[2 * width : 2 * width + n]
    return spread * (noise - noise.mean()) / noise.std()


def _late(curve: Curve, lag: float) -> Curve:
    return np.r_[np.full(int(lag), curve[0]), curve][: len(curve)]


def _lead(session: Simulated, rng: np.random.Generator) -> None:
    """The box leads from some value to another; the player follows, stays or goes the other way."""
    n, begin = session.n, session.leads_from
    for name, (low, high) in RANGES.items():
        start, end = rng.permutation([low + 0.15 * (high - low), high - 0.15 * (high - low)])
        took = int(rng.integers(60, n - begin))
        way = np.clip((np.arange(n) - begin) / took, 0.0, 1.0)
        box = start + (end - start) * way
        follower = _late(way, session.lag_s[name])
        if session.goes[name] == "follows" and follower[-40:].min() < 0.9:
            # There must be time to follow in.
            session.goes[name] = "stays"
        share = {"follows": 1.0, "stays": 0.0, "goes the other way": -0.8}[session.goes[name]]
        session.box[name] = box
        session.player[name] = start + share * (end - start) * follower + _wander(rng, n, 0.02 * (high - low))


def _mirror(session: Simulated, rng: np.random.Generator) -> None:
    """The box follows what the player does, or something else."""
    n = session.n
    for name, (low, high) in RANGES.items():
        player, other = (
            np.clip((low + high) / 2.0 + _wander(rng, n, 0.2 * (high - low)), low, high) for _ in range(2)
        )
        if name == "level_db" and rng.random() < 0.5:
            session.coupled.discard(name)
            session.louder_at = int(rng.integers(n // 4, 3 * n // 4))
            session.louder_db = float(rng.choice((-1.0, 1.0)) * rng.uniform(8.0, 14.0))
            player = -26.0 + _wander(rng, n, 1.0) + session.louder_db * (np.arange(n) >= session.louder_at)
        session.player[name] = player
        session.box[name] = _late(player, session.lag_s[name]) if name in session.coupled else other


def _keys(session: Simulated, rng: np.random.Generator) -> None:
    """Both begin in one key; where the programme leads the box may go to the other mode."""
    n, tonic, mode = session.n, int(rng.integers(12)), int(rng.integers(2))
    box = np.full(n, tonic + 12.0 * (1 - mode))
    player = box.copy()
    turn = session.leads_from + 40
    if session.leads_from < n and session.key_goes != "none":
        box[turn:] = tonic + 12.0 * mode
        if session.key_goes == "follows":
            player[turn + 15 :] = tonic + 12.0 * mode
    session.keys = (player, box)


@cache
def _classes(key: int) -> Curve:
    """Shares of the pitch classes in a key."""
    shares = np.zeros(12)
    for degree in SCALES[1 if key < 12 else 0]:
        shares[(key + degree) % 12] = FIRM.get(degree, 1.0)
    return shares / shares.sum()


@cache
def _nearest(key: int, pitch: int) -> int:
    """The pitch of the key that is nearest."""
    return min((p for p in range(24, 100) if _classes(key)[p % 12] > 0.0), key=lambda p: abs(p - pitch))


def _entries(session: Simulated, rng: np.random.Generator) -> Iterator[dict[str, Any]]:
    n, begin = session.n, session.leads_from
    programme = "iso" if begin < n else "mirror"
    yield {"kind": "session", "schema": 3, "written": "2026-11-30T12:00:00+0000"}
    yield {"kind": "knobs", "time_s": 0.0, "programme": programme, "valence": 0.0, "n_sessions": 0.0}
    path = np.linspace(0.0, 1.0, n)[:, None]
    first, last = (np.array(MOODS[mood]) for mood in session.moods)
    # Most of each third is in its mood.
    path = np.clip(3.0 * path - 1.0, 0.0, 1.0)
    mood = (1.0 - path) * first + path * last
    goal = np.array(MOODS[session.towards])
    asked = mood.copy()
    led = np.clip((np.arange(n) - begin) / 60.0, 0.0, 1.0)[:, None]
    asked[begin:] = (mood[begin] * (1.0 - led) + goal * led)[begin:] if begin < n else asked[begin:]
    start = mood[begin] if begin < n else goal
    session.asked = (float(start[0]), float(start[1])), (float(goal[0]), float(goal[1]))
    yield from _heard(session, rng, mood, asked)
    plan: dict[str, Any] = {}
    for second, (key, tempo_bpm) in enumerate(zip(session.keys[1], session.box["tempo_bpm"], strict=True)):
        now = {
            "tonic": int(key) % 12, "mode": 1 - int(key) // 12, "tempo_bpm": round(tempo_bpm),
            "leads": second >= begin,
        }  # fmt: skip
        if now != plan:
            plan = now
            yield {"kind": "plan", "time_s": float(second), **plan}
    yield from _notes(session, rng)
    session.n_faults = int(rng.integers(0, 3))
    yield {
        "kind": "counters", "process": "audio", "n_periods": 1000, "n_capture_xruns": session.n_faults,
        "n_playback_xruns": 0,
    }  # fmt: skip


def _heard(
    session: Simulated, rng: np.random.Generator, mood: Curve, asked: Curve
) -> Iterator[dict[str, Any]]:
    """A mood and a sound each second, with the noise of ears."""
    n, player = session.n, session.player
    moods = np.clip(mood + rng.normal(0.0, 0.1, (n, 2)), -1.0, 1.0).tolist()
    level_db = (player["level_db"] + rng.normal(0.0, 1.5, n)).tolist()
    tempo_bpm = (player["tempo_bpm"] + rng.normal(0.0, 1.5, n)).tolist()
    density_hz = np.maximum(0.0, player["density_hz"] + rng.normal(0.0, 0.3, n)).tolist()
    register = (player["register"] + rng.normal(0.0, 2.0, n)).tolist()
    keys = session.keys[0].astype(int).tolist()
    chroma = np.stack([_classes(key) for key in keys]) * rng.uniform(0.5, 1.5, (n, 12))
    percent = np.round(100.0 * chroma / chroma.sum(1, keepdims=True)).tolist()
    for t, (goal, plays) in enumerate(zip(asked.tolist(), session.is_playing.tolist(), strict=True)):
        yield {
            "kind": "emotion", "time_s": t + 0.2, "valence": moods[t][0], "arousal": moods[t][1],
            "presence": float(plays), "tempo_bpm": tempo_bpm[t], "density_hz": density_hz[t],
            "level_db": level_db[t], "tonic": keys[t] % 12, "mode": 1 - keys[t] // 12,
            "target": {"valence": goal[0], "arousal": goal[1]},
        }  # fmt: skip
        if plays:
            yield {
                "kind": "sound", "time_s": t + 1.0, "level_db": level_db[t], "register": register[t],
                "chroma": percent[t],
            }  # fmt: skip


def _notes(session: Simulated, rng: np.random.Generator) -> Iterator[dict[str, Any]]:
    low, high = RANGES["level_db"]
    loud = (session.box["level_db"] - low) / (high - low)
    velocities = (VELOCITIES[0] + loud * (VELOCITIES[1] - VELOCITIES[0])).tolist()
    registers, densities = (session.box[name].tolist() for name in ("register", "density_hz"))
    keys = session.keys[1].astype(int).tolist()
    touch, gaps = (
        rng.normal(size=(20 * session.n, 2)).tolist(),
        rng.uniform(0.7, 1.3, 20 * session.n).tolist(),
    )
    noise = iter(zip(touch, gaps, strict=True))
    time_s = 3.0
    while time_s < session.n - 1:
        at, ((a, b), gap) = int(time_s), next(noise)
        yield {
            "kind": "note", "onset_s": time_s, "due_s": time_s, "duration_s": 0.4,
            "pitch": _nearest(keys[at], round(registers[at] + 5.0 * a)),
            "velocity": int(min(127.0, max(1.0, velocities[at] + 6.0 * b))), "bar": 0, "rung": "full",
        }  # fmt: skip
        time_s += gap / densities[at]
