"""``kelly-edge session export``: a session as MIDI, tables and report, for other programs and for papers."""

import argparse
import csv
import math
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from firmware_py.board.map import BAR_DTYPE
from firmware_py.commands.common import print_summary, settings_of
from firmware_py.devices.files.output import OutputFolder, write_midi
from firmware_py.devices.session.reader import SessionReader
from firmware_py.devices.session.sessions import find_named
from firmware_py.devices.session.store import sessions_folder
from firmware_py.report.course import DAMAGE, LONGEST_S, read_course, remark_on
from firmware_py.report.page import page
from firmware_py.report.parties import meet
from firmware_py.report.played_mood import played_mood
from firmware_py.report.together import MEASURES
from kelly_edge.contract import NOTE_DTYPE

FILES: Final = ("performance.mid", "course.csv", "notes.csv", "report.html")
MOODS: Final = ("heard", "asked", "played")
NOTE_COLUMNS: Final = ("onset_s", "due_s", "duration_s", "pitch", "velocity", "bar", "rung")
DIGITS: Final = 6
"""Of numbers in tables, after the point. Chosen: microseconds, as in the log."""
HIGHEST: Final = 127
HIGHEST_CHANNEL: Final = 15
"""Of data bytes and channels, by definition (MIDI 1.0)."""
MOST_BEATS: Final = 32
LONGEST_NOTE_S: Final = 3_600.0
"""Of a bar, and of a note: more is damage. Chosen by hand."""


def run(args: argparse.Namespace) -> int:
    """The sub-command."""
    files = find_named(args.session, sessions_folder(os.environ, settings_of(args).runtime.state_dir))
    course, reader = read_course(files)
    found = Found(SessionReader(files))
    remark = remark_on(course, reader, files)
    with OutputFolder(args.out, FILES, files.parts) as output:
        write_midi(output, FILES[0], found.midi_notes(), found.program, found.midi_bars())
        _write_course(output.path(FILES[1]), course)
        _write_table(output.path(FILES[2]), NOTE_COLUMNS, found.notes)
        output.path(FILES[3]).write_text(page(course, files.name, remark), encoding="utf-8")
    summary = {
        "session": files.name,
        "n_notes": len(found.notes),
        "n_bars": len(found.bars),
        "files": [str(args.out / name) for name in FILES],
        "notices": [remark] if remark else [],
    }
    print_summary(summary, args.json)
    return 0


class Found:
    """Notes and bar lines of a log; what is damaged of them is left out.

    Attributes
    ----------
    notes: rows of ``NOTE_COLUMNS``; bars: BAR_DTYPE records.
    """

    def __init__(self, entries: Iterable[dict[str, Any]]) -> None:
        self.notes: list[list[float | str]] = []
        self.bars: list[NDArray[Any]] = []
        self.program = self.channel = 0
        for entry in entries:
            try:
                if entry["kind"] == "note":
                    self.notes.append(_note(entry))
                elif entry["kind"] == "bar":
                    self.bars.append(_bar(entry))
                elif entry["kind"] == "session":
                    self.program = _within(entry["settings"]["composer.program"], HIGHEST)
                    self.channel = _within(entry["settings"]["composer.channel"], HIGHEST_CHANNEL)
            except DAMAGE:
                continue

    def midi_notes(self) -> NDArray[Any]:
        """NOTE_DTYPE [n]."""
        notes = np.zeros(len(self.notes), NOTE_DTYPE)
        for note, row in zip(notes, self.notes, strict=True):
            for name, value in zip(NOTE_COLUMNS[:-1], row, strict=False):
                note[name] = value
            note["channel"] = self.channel
        return notes

    def midi_bars(self) -> NDArray[Any]:
        """BAR_DTYPE [n]."""
        return np.array(self.bars, BAR_DTYPE)


def _within(value: object, highest: int) -> int:
    if not isinstance(value, int) or not 0 <= value <= highest:
        raise ValueError("out of its range")
    return value


def _seconds(value: Any, longest_s: float = LONGEST_S) -> float:
    seconds = float(value)
    if not 0.0 <= seconds <= longest_s:
        raise ValueError("out of its range")
    return seconds


def _note(entry: dict[str, Any]) -> list[float | str]:
    return [
        _seconds(entry["onset_s"]),
        float(entry["due_s"]),
        _seconds(entry["duration_s"], LONGEST_NOTE_S),
        _within(entry["pitch"], HIGHEST),
        _within(entry["velocity"], HIGHEST),
        _within(entry["bar"], 2**32 - 1),
        str(entry.get("rung", ""))[:20],
    ]


def _bar(entry: dict[str, Any]) -> NDArray[Any]:
    bar = np.zeros((), BAR_DTYPE)
    bar["start_s"], bar["beat_s"] = _seconds(entry["time_s"]), _seconds(entry["beat_s"], 60.0)
    bar["n_beats"] = _within(entry["n_beats"], MOST_BEATS)
    if not (bar["n_beats"] and bar["beat_s"] > 0.0):
        raise ValueError("a bar without beats")
    bar["tonic"] = _within(entry["tonic"] + 1, 12) - 1
    bar["mode"] = _within(entry["mode"] + 1, 2) - 1
    return bar


def _write_course(path: Path, course: Any) -> None:
    """What was heard, asked and played, and both parties' measures, on the report's grid of time."""
    parties = meet(course)
    moods = (parties.heard, parties.asked, played_mood(parties))
    names = ["time_s", "somebody_plays", "programme_leads"]
    columns = [parties.start_s + parties.time_s, parties.is_playing.astype(float), parties.leads]
    for what, values in zip(MOODS, moods, strict=True):
        names += [f"valence_{what}", f"arousal_{what}"]
        columns += [values[:, 0], values[:, 1]]
    for measure in MEASURES:
        for who in ("player", "box"):
            names.append(f"{measure.name}_{who}")
            columns.append(getattr(getattr(parties, who), measure.name))
    _write_table(path, names, np.stack(columns, 1).tolist())


def _write_table(path: Path, names: Iterable[str], rows: Iterable[Iterable[Any]]) -> None:
    """A table with a head; a cell is empty where nothing is known."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(names)
        for row in rows:
            writer.writerow([_cell(value) for value in row])


def _cell(value: object) -> object:
    if isinstance(value, float):
        return round(value, DIGITS) if math.isfinite(value) else ""
    return value
