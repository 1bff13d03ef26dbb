"""The board: every ring and cell, its record, its writer and its readers. The map of the box.

``Board.ends`` gives a process the ends that the map gives it and no others, live, offline and in tests.

audio ══capture══▶ dsp ══playback══▶ audio        dsp ══heard══▶ composer, ──heard──▶ control
composer ══notes, bars══▶ midi                          control ──knobs──▶ dsp, composer, midi
composer ──target──▶ control, ──alive──▶ midi     midi ══played══▶ control
composer ──composing, turn──▶ composer, should it start again
every process ──telemetry_<process>, times_<process>──▶ control
midi ──send_error──▶ control                      midi ──sounding, telemetry──▶ guardian, should midi die
guardian ──panic──▶ audio, midi, control          control ──knobs──▶ guardian: panics and resumes
control ──clock──▶ composer: MIDI clock or Link  control ──hand──▶ midi: pedal and bend to pass on
midi ══own══▶ dsp: the box's own notes, which its microphone may hear
control ══keys══▶ dsp: the player's keyboard; control ──keyboard──▶ monitor: which one it is
command line ══panic══▶ guardian, ══commands, marks══▶ control
control ──session──▶ control, should it start again; command line and monitor look at it
composer ══turns══▶ control: what each turn of it read and made
control ──logging──▶ control, should it start again: the turns it took last
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from firmware_py.board.channels import (
    Cell,
    CellReader,
    CellWriter,
    MemoryCell,
    MemoryRing,
    Ring,
    RingReader,
    RingWriter,
)
from firmware_py.board.pipes import FileCell, PipeRing
from firmware_py.board.telemetry import COUNTERS, TELEMETRY_DTYPES, TIMES_DTYPE
from kelly_edge.contract import (
    ATTENDED_DTYPE,
    HEARD_DTYPE,
    KEY_DTYPE,
    KNOB_RANGES,
    KNOBS_DTYPE,
    NOTE_DTYPE,
)

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
        ("programme", "<i1"),  # the one obeyed, as in KNOBS_DTYPE
        ("phase", "<i1"),  # index of its phase
        ("phase_left_s", "<f4"),  # infinity where it goes on without end
        ("programme_left_s", "<f4"),
    ]
)
"""What the composer composes for now: the ``target`` cell."""
BAR_DTYPE: Final = np.dtype(
    [
        ("start_s", "<f8"),
        ("beat_s", "<f8"),
        ("n_beats", "<u4"),  # of its bar, as it is played
        ("number", "<u4"),
        ("beat", "<u4"),  # which beat of the bar it is, from 0 at the bar line
        ("tonic", "<i1"),  # pitch class 0..11 of the key it was written in, -1 unknown
        ("mode", "<i1"),  # Mode
    ]
)
"""A committed beat: the ``bars`` ring, for MIDI clock; the first of a bar also for performance.mid."""
CLOCK_DTYPE: Final = np.dtype(
    [
        ("is_running", "?"),
        ("line_s", "<f8"),  # a bar line, seconds of the stream
        ("beat_s", "<f8"),
        ("n_beats", "<u4"),  # of a bar
        ("pulse_s", "<f8"),  # when its last pulse was heard
    ]
)
"""The beat of MIDI clock heard, or of a Link session: the ``clock`` cell."""
HAND_DTYPE: Final = np.dtype([("pedal", "u1"), ("bend", "<u2"), ("channel", "u1")])
"""Where sustain pedal (0..127) and pitch bend (0..16383, 8192 at rest) at the inputs stand, and the channel
(0..15) of the box's notes, as MPE leaves it free: the ``hand`` cell."""
KEYBOARD_BYTES: Final = 200
"""UTF-8 bytes of a MIDI port's name. Chosen by hand: ALSA's names have up to 130."""
KEYBOARD_DTYPE: Final = np.dtype(
    [
        ("name", f"S{KEYBOARD_BYTES}"),  # of the port that last sent a note; empty: unplugged
        ("time_s", "<f8"),  # when
        ("n_notes", "<i8"),  # struck on every keyboard so far
    ]
)
"""The player's keyboard as it is heard: the ``keyboard`` cell."""
SOUNDING_DTYPE: Final = np.dtype([("is_on", "?", (16, 128)), ("is_held", "?", 16)])
"""Channel × note: notes struck and not yet released; channels whose pedal is down or whose bend is not at
rest: the ``sounding`` cell."""

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

COMMANDS: Final = ("panic", "resume", "session", "stop", "place", "turn")
"""What the command line, the page and OSC may ask of a running box."""
TURNED: Final = (*KNOB_RANGES, "programme")
"""The knobs that ``turn`` may turn."""
PRESS_DTYPE: Final = np.dtype([("what", "<u4")])
"""Panic or resume, an index into ``COMMANDS``: the ``panic`` ring."""
NAME_BYTES, NOTE_BYTES, LOG_BYTES = 120, 800, 400
"""UTF-8 bytes of a session's name or code, of what is noted of it, and of its log's path. Chosen by hand: a
line, a paragraph, and the longest path there is likely to be."""
COMMAND_DTYPE: Final = np.dtype(
    [
        ("what", "<u4"),
        ("programme", "<i1"),  # to begin a session with, as in KNOBS_DTYPE; -1: the one there is
        ("knob", "<i1"),  # to turn, an index into TURNED
        ("value", "<f4"),  # to turn it to
        ("name", f"S{NAME_BYTES}"),
        ("note", f"S{NOTE_BYTES}"),
    ]
)
"""An index into ``COMMANDS`` beyond panic and resume, and what belongs to it: the ``commands`` ring."""
SESSION_DTYPE: Final = np.dtype(
    [
        ("is_on", "?"),
        ("number", "<u4"),  # from 1 since the box began; 0 before any
        ("begun_s", "<f8"),  # seconds of the stream
        ("ended_s", "<f8"),
        ("by_itself", "?"),  # it began because somebody played
        ("name", f"S{NAME_BYTES}"),
        ("note", f"S{NOTE_BYTES}"),
        ("log", f"S{LOG_BYTES}"),  # path of the file that is written; empty for none
    ]
)
"""The session that is on, or the last one: the ``session`` cell."""
COMPOSING_VERSION: Final = 2
"""Of ``COMPOSING_DTYPE``: raised when a field changes its meaning. Our own format."""
COMPOSING_DTYPE: Final = np.dtype(
    [
        ("version", "<u4"),
        ("n_sessions", "<u4"),  # of the knobs, as far as they were obeyed
        # steering.SteeringState
        ("valence", "<f8"),
        ("arousal", "<f8"),
        ("programme", "S40"),  # its name, empty for none
        ("own_valence", "<f8"),
        ("own_arousal", "<f8"),
        ("phase_s", "<f8"),
        ("led", "<f8"),
        ("phase", "<i1"),
        ("from_valence", "<f8"),
        ("from_arousal", "<f8"),
        ("n_begun", "<u4"),
        # following.Following
        ("tonic", "<i1"),
        ("mode", "<i1"),
        ("tempo_bpm", "<f8"),
        # leading.Leading
        ("matched_mode", "<i1"),
        ("matched_tempo_bpm", "<f8"),
        ("asked_mode", "<i1"),
        ("asks_tempo", "?"),
        ("led_mode", "<i1"),
        ("led_tempo_bpm", "<f8"),
        ("leading_begun", "<i8"),  # Leading.n_begun
        # the music
        ("presence", "<f8"),  # smoothed
        ("is_resting", "?"),
        ("played_tempo_bpm", "<f8"),  # of the last bar committed, 0 none
    ]
)
"""What the next composer goes on from, should this one end: the ``composing`` cell."""

MAX_DRAWS: Final = 400
"""A bar of the most notes takes 245 draws: two of its head, five a note, and the end.
Chosen: more than that."""
TURN_DTYPE: Final = np.dtype(
    [
        ("number", "<u4"),  # since the box began, from 0; a new process leaves one out
        # The music begins anew with this turn, from ``before``, as after the process's start.
        ("begins", "?"),
        ("before", COMPOSING_DTYPE),
        ("has_sessions", "?"),  # ``before`` knows a count of sessions
        ("start_s", "<f8"),  # where its first bar begins, -infinity for as soon as it can
        # what was read
        ("is_heard", "?"),  # a hop group was heard; otherwise the turn goes by the clock
        ("group", "<u4"),
        ("time_s", "<f8"),
        ("heard", ATTENDED_DTYPE),
        ("clock", CLOCK_DTYPE),  # zeros where it is not followed
        ("knobs", KNOBS_DTYPE),
        ("now_s", "<f8"),  # the time of the turn
        ("ends_s", "<f8"),  # when the music shall have ended
        # what was made
        ("rung", "<i1"),  # Rung of the bar composed, or one of NO_RUNG, CUT_SHORT
        ("n_draws", "<u2"),
        ("draws", "<u1", (MAX_DRAWS,)),  # tokens drawn for that bar
        ("n_notes", "<u2"),
        ("notes_crc", "<u4"),  # CRC-32 of their records
        ("has_bar", "?"),  # a bar line was committed
        ("bar", BAR_DTYPE),  # the first beat of the last of them
        ("bar_rung", "<i1"),  # Rung: how it was made
    ]
)
"""A turn of the composer, whole: what it read, and what it made of that (the ``turns`` ring). The one that is
being taken, without what it makes, stands in the ``turn`` cell."""
NO_RUNG, CUT_SHORT = -1, -2
"""Of a turn: it composed no bar; the composer ended within it, and what it made is not known. By
definition."""
MAX_LOGGING: Final = 256
"""Turns that ``control`` keeps, about 22 s of them. Chosen: twice what it packs into one entry of the log,
and a little more, for a card that takes its time."""
LOGGING_DTYPE: Final = np.dtype([("n", "<u4"), ("turns", TURN_DTYPE, (MAX_LOGGING,))])
"""How many turns of the session that is logged ``control`` has taken, and the last of them, turn i at
``i % MAX_LOGGING``: the ``logging`` cell. Some of them are not in the log yet."""
LONGEST_MARK: Final = 400
"""Bytes of a mark's text. Chosen by hand: a few sentences."""
MARK_DTYPE: Final = np.dtype([("text", f"S{LONGEST_MARK}")])
"""A therapist's mark, UTF-8: the ``marks`` ring."""

SAMPLE_DTYPE: Final = np.dtype("<f4")


@dataclass(frozen=True)
class RingSpec:
    """A row of the map: ``capacity`` records from one writer to one reader.

    ``drops`` is the writer's counter of records that found the ring full. ``primer`` fills the ring before
    its writer begins.
    """

    record: str
    dtype: np.dtype[Any]
    capacity: int
    writer: str
    reader: str
    drops: str = ""
    primer: str = ""


@dataclass(frozen=True)
class CellSpec:
    """A row of the map: the latest record of one writer."""

    dtype: np.dtype[Any]
    writer: str
    readers: tuple[str, ...]


RINGS: Final[Mapping[str, RingSpec]] = {
    "capture": RingSpec("float32 [period]", SAMPLE_DTYPE, 64, "audio", "dsp", "n_capture_dropped"),
    # audio begins with a hop of silence: dsp needs a whole one before it answers.
    "playback": RingSpec("float32 [period]", SAMPLE_DTYPE, 64, "dsp", "audio", "n_blocks_dropped", "audio"),
    "heard": RingSpec("HEARD_DTYPE, every hop group", HEARD_DTYPE, 64, "dsp", "composer", "n_heard_dropped"),
    "keys": RingSpec("KEY_DTYPE", KEY_DTYPE, 1_024, "control", "dsp", "n_keys_dropped"),
    "notes": RingSpec("NOTE_DTYPE", NOTE_DTYPE, 1_024, "composer", "midi", "n_notes_dropped"),
    "own": RingSpec("KEY_DTYPE, as sent", KEY_DTYPE, 1_024, "midi", "dsp", "n_own_dropped"),
    "played": RingSpec("NOTE_DTYPE", NOTE_DTYPE, 1_024, "midi", "control", "n_played_dropped"),
    "bars": RingSpec(
        "BAR_DTYPE, where they are asked for", BAR_DTYPE, 64, "composer", "midi", "n_bars_dropped"
    ),
    # As long as a full log's card may hold control up.
    "turns": RingSpec("TURN_DTYPE", TURN_DTYPE, 512, "composer", "control", "n_turns_dropped"),
    "marks": RingSpec("MARK_DTYPE", MARK_DTYPE, 16, "command line", "control"),
    # A ring each, so that a panic is heard though control stands still. A full one holds more of the same
    # words than will ever be obeyed.
    "panic": RingSpec("PRESS_DTYPE", PRESS_DTYPE, 64, "command line", "guardian"),
    "commands": RingSpec("COMMAND_DTYPE", COMMAND_DTYPE, 64, "command line", "control"),
}
CELLS: Final[Mapping[str, CellSpec]] = {
    "heard": CellSpec(HEARD_DTYPE, "dsp", ("control",)),
    "knobs": CellSpec(KNOBS_DTYPE, "control", ("dsp", "composer", "midi", "guardian")),
    "session": CellSpec(SESSION_DTYPE, "control", ("control",)),
    "clock": CellSpec(CLOCK_DTYPE, "control", ("composer",)),
    "hand": CellSpec(HAND_DTYPE, "control", ("midi",)),
    "keyboard": CellSpec(KEYBOARD_DTYPE, "control", ("control",)),
    "panic": CellSpec(PANIC_DTYPE, "guardian", ("audio", "midi", "control")),
    "target": CellSpec(TARGET_DTYPE, "composer", ("control",)),
    **{f"telemetry_{p}": CellSpec(dtype, p, ("control",)) for p, dtype in TELEMETRY_DTYPES.items()},
    # The guardian sees that midi lives.
    "telemetry_midi": CellSpec(TELEMETRY_DTYPES["midi"], "midi", ("control", "guardian")),
    **{f"times_{p}": CellSpec(TIMES_DTYPE, p, ("control",)) for p in TELEMETRY_DTYPES},
    "send_error": CellSpec(TIMES_DTYPE, "midi", ("control",)),
    "alive": CellSpec(ALIVE_DTYPE, "composer", ("midi",)),
    "composing": CellSpec(COMPOSING_DTYPE, "composer", ("composer",)),
    "turn": CellSpec(TURN_DTYPE, "composer", ("composer",)),
    "logging": CellSpec(LOGGING_DTYPE, "control", ("control",)),
    "sounding": CellSpec(SOUNDING_DTYPE, "midi", ("guardian",)),
}


PROCESSES: Final = tuple(COUNTERS)


class NotOnTheMap(LookupError):
    """A process asked for an end that the map does not give it: a fault of the program."""


@dataclass(frozen=True)
class Board:
    """The channels of one wiring, by the names of the map; whoever lays it out sees all of them."""

    rings: Mapping[str, Ring]
    cells: Mapping[str, Cell]

    def ends(self, process: str) -> "Ends":
        """The ends of ``process``. Raises ``NotOnTheMap`` where the box has no such process."""
        if process not in PROCESSES:
            raise NotOnTheMap(f"there is no process {process}, but {', '.join(PROCESSES)}")
        return Ends(self, process)


class Ends:
    """What one process has of the board: the ends that the map gives it, and no others.

    Each method raises ``NotOnTheMap`` for any other end.
    """

    def __init__(self, board: Board, process: str) -> None:
        self.process = process
        self._board = board
        self._drops = [
            (name, spec.drops) for name, spec in RINGS.items() if spec.drops and spec.writer == process
        ]

    def ring_to_write(self, name: str) -> RingWriter:
        """Where records of the ring ``name`` go in."""
        spec = RINGS[name]
        self._see_that_it_may("write", "ring", name, (spec.writer, spec.primer))
        return self._board.rings[name]

    def ring_to_read(self, name: str) -> RingReader:
        """Where records of the ring ``name`` come out."""
        self._see_that_it_may("read", "ring", name, (RINGS[name].reader,))
        return self._board.rings[name]

    def cell_to_write(self, name: str) -> CellWriter:
        """Where the value of the cell ``name`` is set."""
        self._see_that_it_may("write", "cell", name, (CELLS[name].writer,))
        return self._board.cells[name]

    def cell_to_read(self, name: str) -> CellReader:
        """Where the value of the cell ``name`` is seen; who sets it may see it too."""
        spec = CELLS[name]
        self._see_that_it_may("read", "cell", name, (spec.writer, *spec.readers))
        return self._board.cells[name]

    def count_drops(self, counters: NDArray[Any]) -> None:
        """Put into this process's ``counters`` what found its rings full."""
        for name, counter in self._drops:
            counters[counter] = self._board.rings[name].n_dropped

    def _see_that_it_may(self, verb: str, kind: str, name: str, processes: Sequence[str]) -> None:
        if self.process not in processes:
            raise NotOnTheMap(f"{self.process} does not {verb} the {kind} {name}, says the map")


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
