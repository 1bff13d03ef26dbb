"""What a composer keeps on the board for the one that follows it, should it end: the ``composing`` cell.

The cell lies in the run directory. It outlives the process and ends with the box: each start of the box
makes that directory anew.
"""

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from firmware_py.board.channels import CellReader
from firmware_py.board.map import COMPOSING_DTYPE, COMPOSING_VERSION
from kelly_edge.emotion.leading import Leading
from kelly_edge.emotion.programme import MAX_PHASES, NAME
from kelly_edge.emotion.steering import SteeringState
from kelly_edge.music.following import Following
from kelly_edge.music.target import FASTEST_BPM, SLOWEST_BPM

UNIT = (-1.0, 1.0)
"""Limits of valence and arousal, by definition."""
COUNT = (0.0, math.inf)
RANGES = {
    "valence": UNIT,
    "arousal": UNIT,
    "own_valence": UNIT,
    "own_arousal": UNIT,
    "phase_s": COUNT,
    "led": COUNT,
    "phase": (0, MAX_PHASES - 1),
    "from_valence": UNIT,
    "from_arousal": UNIT,
    "tonic": (-1, 11),
    "mode": (-1, 1),
    "matched_mode": (-1, 1),
    "asked_mode": (-1, 1),
    "led_mode": (-1, 1),
    "presence": (0.0, 1.0),
}
TEMPI = ("tempo_bpm", "matched_tempo_bpm", "led_tempo_bpm", "played_tempo_bpm")
STEERING = (
    "valence",
    "arousal",
    "own_valence",
    "own_arousal",
    "phase_s",
    "led",
    "from_valence",
    "from_arousal",
)


@dataclass(frozen=True)
class Composing:
    """Where the therapy stands; the defaults are those of a box that has just started."""

    steering: SteeringState = field(default_factory=SteeringState)
    following: Following = field(default_factory=Following)
    leading: Leading = field(default_factory=Leading)
    presence: float = 0.0
    is_resting: bool = True
    n_sessions: int | None = None
    """The knobs' count that was obeyed; None before any."""
    played_tempo_bpm: float = 0.0


def _programme(record: NDArray[Any]) -> str:
    return bytes(record["programme"].item()).decode("ascii", "replace")


def _is_sane(record: NDArray[Any]) -> bool:
    values = {name: float(record[name]) for name in (*RANGES, *TEMPI)}
    return (
        int(record["version"]) == COMPOSING_VERSION
        and (not _programme(record) or NAME.fullmatch(_programme(record)) is not None)
        and all(math.isfinite(value) for value in values.values())
        and all(low <= values[name] <= high for name, (low, high) in RANGES.items())
        and all(values[name] == 0.0 or SLOWEST_BPM <= values[name] <= FASTEST_BPM for name in TEMPI)
    )


def read_composing(cell: CellReader) -> Composing:
    """What the composer before left, or the start of a box if there was none or it cannot be trusted."""
    record = np.zeros((), COMPOSING_DTYPE)
    if not (cell.read(record) and _is_sane(record)):
        return Composing()
    steering = SteeringState(
        programme=_programme(record),
        phase=int(record["phase"]),
        n_begun=int(record["n_begun"]),
        **{name: float(record[name]) for name in STEERING},
    )
    following = Following(int(record["tonic"]), int(record["mode"]), float(record["tempo_bpm"]))
    leading = Leading(
        int(record["matched_mode"]),
        float(record["matched_tempo_bpm"]),
        int(record["asked_mode"]),
        bool(record["asks_tempo"]),
        int(record["led_mode"]),
        float(record["led_tempo_bpm"]),
        int(record["leading_begun"]),
    )
    return Composing(
        steering,
        following,
        leading,
        float(record["presence"]),
        bool(record["is_resting"]),
        int(record["n_sessions"]),
        float(record["played_tempo_bpm"]),
    )


def fill_record(record: NDArray[Any], now: Composing) -> None:
    """Put ``now`` into ``record``, a 0-d COMPOSING_DTYPE array."""
    steering, following, leading = now.steering, now.following, now.leading
    record["version"] = COMPOSING_VERSION
    record["n_sessions"] = now.n_sessions or 0
    for name in (*STEERING, "phase", "n_begun"):
        record[name] = getattr(steering, name)
    record["programme"] = steering.programme.encode("ascii")
    for name in ("tonic", "mode", "tempo_bpm"):
        record[name] = getattr(following, name)
    record["matched_mode"], record["matched_tempo_bpm"] = leading.mode, leading.tempo_bpm
    record["asked_mode"], record["asks_tempo"] = leading.asked_mode, leading.asks_tempo
    record["led_mode"], record["led_tempo_bpm"] = leading.led_mode, leading.led_tempo_bpm
    record["leading_begun"] = leading.n_begun
    record["presence"], record["is_resting"] = now.presence, now.is_resting
    record["played_tempo_bpm"] = now.played_tempo_bpm
