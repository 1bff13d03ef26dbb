"""The board: every ring and cell, its record, its writer and its readers. The map of the box.

audio ══capture══▶ dsp ══playback══▶ audio        dsp ══heard══▶ composer, ──heard──▶ control
composer ══notes, bars══▶ midi                          control ──knobs──▶ dsp, composer, midi
composer ──target──▶ control, ──alive──▶ midi     midi ══played══▶ control
composer ──composing──▶ composer, should it start again
every process ──telemetry_<process>, times_<process>──▶ control
midi ──send_error──▶ control                      midi ──sounding──▶ guardian, should midi die
guardian ──panic──▶ audio, midi, control          control ──knobs──▶ guardian: panics and resumes
command line ══panic══▶ guardian, ══commands══▶ control
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from firmware_py.channels import Cell, MemoryCell, MemoryRing, Ring
from firmware_py.pipes import FileCell, PipeRing
from firmware_py.telemetry import TELEMETRY_DTYPES, TIMES_DTYPE
from kelly_edge.contract import HEARD_DTYPE, KNOBS_DTYPE, NOTE_DTYPE

TARGET_DTYPE: Final = np.dtype(
    [
        ("time_s", "<f8"),
        ("valence", "<f4"),
        ("arousal", "<f4"),
        ("density", "<f4"),
        ("tonic", "<i1"),
        ("mode", "<i1"),
        ("tempo_bpm", "<f4"),
        ("played_tempo_bpm", "<f4"),  # of the newest bar planned, 0 before any
        ("leads", "?"),  # the programme leads; otherwise it follows the player
    ]
)
"""What the composer composes for now: the ``target`` cell."""
BAR_DTYPE: Final = np.dtype(
    [
        ("start_s", "<f8"),
        ("beat_s", "<f8"),
        ("n_beats", "<u4"),
        ("number", "<u4"),
        ("tonic", "<i1"),  # pitch class 0..11 of the key it was written in, -1 unknown
        ("mode", "<i1"),  # 1 major, 0 minor, -1 unknown
    ]
)
"""A bar that was committed: the ``bars`` ring, for MIDI clock and the tempo map of performance.mid."""
SOUNDING_DTYPE: Final = np.dtype([("is_on", "?", (16, 128))])
"""Channel × note: what has been struck and not yet released: the ``sounding`` cell."""

ALIVE_DTYPE: Final = np.dtype([("time_s", "<f8"), ("born_s", "<f8")])
"""When the composer gave its last sign of life, and when this one began: the ``alive`` cell."""

PANIC_DTYPE: Final = np.dtype(
    [
        ("is_on", "?"),  # the box is silent until somebody resumes
        ("n_beats", "<i8"),  # moves while the guardian lives
        ("since_s", "<f8"),  # when it last began or ended
        ("n_panics", "<u4"),  # of the knobs, as far as they were obeyed
        ("n_resumes", "<u4"),
    ]
)
"""Whether the box must be silent: the ``panic`` cell. It outlives every process."""

COMMANDS: Final = ("panic", "resume", "session")
"""What the command line may ask of a running box."""
COMMAND_DTYPE: Final = np.dtype([("what", "<u4")])
"""An index into ``COMMANDS``: the ``panic`` ring (the first two) and the ``commands`` ring (the last)."""
COMPOSING_VERSION: Final = 1
"""Of ``COMPOSING_DTYPE``: raised when a field changes its meaning."""
COMPOSING_DTYPE: Final = np.dtype(
    [
        ("version", "<u4"),
        ("n_sessions", "<u4"),  # of the knobs, as far as they were obeyed
        # steering.SteeringState
        ("valence", "<f8"),
        ("arousal", "<f8"),
        ("programme", "<i1"),  # index into PROGRAMMES, -1 none
        ("own_valence", "<f8"),
        ("own_arousal", "<f8"),
        ("heard_s", "<f8"),
        ("led", "<f8"),
        # following.Following
        ("tonic", "<i1"),
        ("mode", "<i1"),
        ("tempo_bpm", "<f8"),
        # leading.Leading
        ("matched_mode", "<i1"),
        ("matched_tempo_bpm", "<f8"),
        ("asked_mode", "<i1"),
        ("asks_tempo", "?"),
        # the music
        ("presence", "<f8"),  # smoothed
        ("is_resting", "?"),
        ("played_tempo_bpm", "<f8"),  # of the last bar committed, 0 none
    ]
)
"""What the next composer goes on from, should this one end: the ``composing`` cell."""

SAMPLE_DTYPE: Final = np.dtype("<f4")


@dataclass(frozen=True)
class RingSpec:
    """A row of the map: ``capacity`` records from one writer to one reader."""

    record: str
    dtype: np.dtype[Any]
    capacity: int
    writer: str
    reader: str


@dataclass(frozen=True)
class CellSpec:
    """A row of the map: the latest record of one writer."""

    dtype: np.dtype[Any]
    writer: str
    readers: tuple[str, ...]


RINGS: Final[Mapping[str, RingSpec]] = {
    "capture": RingSpec("float32 [period]", SAMPLE_DTYPE, 64, "audio", "dsp"),
    "playback": RingSpec("float32 [period]", SAMPLE_DTYPE, 64, "dsp", "audio"),
    "heard": RingSpec("HEARD_DTYPE, every hop group", HEARD_DTYPE, 64, "dsp", "composer"),
    "notes": RingSpec(f"NOTE_DTYPE, {NOTE_DTYPE.itemsize} bytes", NOTE_DTYPE, 1_024, "composer", "midi"),
    "played": RingSpec("NOTE_DTYPE", NOTE_DTYPE, 1_024, "midi", "control"),
    "bars": RingSpec("BAR_DTYPE, where they are asked for", BAR_DTYPE, 64, "composer", "midi"),
    # A ring each, so that a panic is heard though control stands still.
    "panic": RingSpec("COMMAND_DTYPE", COMMAND_DTYPE, 64, "command line", "guardian"),
    "commands": RingSpec("COMMAND_DTYPE", COMMAND_DTYPE, 64, "command line", "control"),
}
CELLS: Final[Mapping[str, CellSpec]] = {
    "heard": CellSpec(HEARD_DTYPE, "dsp", ("control",)),
    "knobs": CellSpec(KNOBS_DTYPE, "control", ("dsp", "composer", "guardian")),
    "panic": CellSpec(PANIC_DTYPE, "guardian", ("audio", "midi", "control")),
    "target": CellSpec(TARGET_DTYPE, "composer", ("control",)),
    **{f"telemetry_{p}": CellSpec(dtype, p, ("control",)) for p, dtype in TELEMETRY_DTYPES.items()},
    **{f"times_{p}": CellSpec(TIMES_DTYPE, p, ("control",)) for p in TELEMETRY_DTYPES},
    "send_error": CellSpec(TIMES_DTYPE, "midi", ("control",)),
    "alive": CellSpec(ALIVE_DTYPE, "composer", ("midi",)),
    "composing": CellSpec(COMPOSING_DTYPE, "composer", ("composer",)),
    "sounding": CellSpec(SOUNDING_DTYPE, "midi", ("guardian",)),
}


@dataclass(frozen=True)
class Board:
    """The channels of one wiring, by the names of the map."""

    rings: Mapping[str, Ring]
    cells: Mapping[str, Cell]


def memory_board() -> Board:
    """A board within one process, for the offline and test wirings."""
    return Board(
        rings={name: MemoryRing(spec.capacity) for name, spec in RINGS.items()},
        cells={name: MemoryCell(spec.dtype) for name, spec in CELLS.items()},
    )


def file_board(run_dir: Path, period: int) -> Board:
    """A process's ends of the board in ``run_dir``; ``period`` in frames shapes the audio rings.

    Raises
    ------
    OutputError: the folder is absent, not ours, or holds another version's board.
    """
    shapes = {SAMPLE_DTYPE: (period,)}
    return Board(
        rings={
            name: PipeRing(run_dir / f"{name}.ring", spec.dtype, shapes.get(spec.dtype, ()), spec.capacity)
            for name, spec in RINGS.items()
        },
        cells={name: FileCell(run_dir / f"{name}.cell", spec.dtype) for name, spec in CELLS.items()},
    )
