"""Songs of the OpenScore Lieder Corpus (CC0) as notes: a reader of the part of MusicXML that they use.

Read are pitches, lengths, ties, chords, voices, tempi and dynamic marks. Repeats are not played again, grace
notes and cues are left out, crescendi are not drawn between two marks. Of a song the measures up to the first
that breaks the bars of four beats are kept; songs in other metres have too few of them and give ``None``.
"""

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from xml.etree import ElementTree

import numpy as np

from kelly_edge.errors import DataError
from models.composer.data import PITCH_NAMES, Floats, Notes

DYNAMICS: Final = {
    "pppp": 10, "ppp": 16, "pp": 33, "p": 49, "mp": 64, "mf": 80, "f": 96, "ff": 112, "fff": 126,
    "ffff": 127, "sf": 112, "sfz": 112, "fz": 112, "fp": 96, "sfp": 96, "rf": 96, "rfz": 96,
}  # fmt: skip
"""Velocities of the marks. Chosen: as the notation program plays them in which the corpus was written
(MuseScore's defaults)."""
UNMARKED: Final = 70
"""Velocity before the first mark. Chosen between mp and mf."""
TEMPO_BPM: Final = 90.0
"""Quarters a minute where a score has no number. Chosen: the middle of the corpus."""
FEWEST_BARS: Final = 16
"""Bars a song has at least. Chosen: two passages of eight."""
METRES: Final = {(4, 4): 4.0, (2, 2): 4.0, (2, 4): 2.0}
"""Quarters in a measure of the metres that fit bars of four beats, by definition."""


@dataclass(frozen=True)
class Song:
    """A song in bars of four quarters."""

    notes: Notes
    beats_s: Floats
    """Seconds of every quarter."""
    phase: int
    """0..3: the quarter on which bars begin."""


def read_score(path: Path) -> ElementTree.Element:
    """The score in a compressed MusicXML file.

    Raises
    ------
    DataError: it holds none.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            names = [n for n in archive.namelist() if n.endswith(".xml") and not n.startswith("META-INF")]
            return ElementTree.fromstring(archive.read(names[0]))
    except (OSError, zipfile.BadZipFile, IndexError, ElementTree.ParseError) as error:
        raise DataError(f"{path}: not compressed MusicXML ({error}); fetch the corpus again") from error


@dataclass
class _Part:
    """What reading one part yields; places and lengths in quarters."""

    notes: list[tuple[float, float, int, int]]
    tempi: list[tuple[float, float]]
    lines: list[float]
    """Where its measures begin, with the end of the last."""


def _pitch(note: ElementTree.Element) -> int | None:
    pitch = note.find("pitch")
    if pitch is None:
        return None
    steps = PITCH_NAMES[pitch.findtext("step", "C")] + round(float(pitch.findtext("alter", "0")))
    return steps + 12 * (int(pitch.findtext("octave", "4")) + 1)


def _read_part(part: ElementTree.Element) -> _Part:
    """One part up to the first measure in another metre."""
    found = _Part([], [], [])
    divisions, begin, velocity = 1.0, 0.0, UNMARKED
    tied: dict[int, int] = {}
    for measure in part.iter("measure"):
        found.lines.append(begin)
        place = last = furthest = begin
        for event in measure:
            quarters = float(event.findtext("duration", "0")) / divisions
            if event.tag == "attributes":
                divisions = float(event.findtext("divisions", str(divisions)))
                metre = event.find("time")
                if metre is not None:
                    beats, unit = metre.findtext("beats", "0"), metre.findtext("beat-type", "0")
                    if not (beats.isdigit() and (int(beats), int(unit)) in METRES):
                        return found
            elif event.tag == "backup":
                place -= quarters
            elif event.tag == "forward":
                place += quarters
            elif event.tag in ("direction", "sound"):
                for sound in event.iter("sound"):
                    if "tempo" in sound.attrib and float(sound.attrib["tempo"]) > 0.0:
                        found.tempi.append((place, float(sound.attrib["tempo"])))
                for marks in event.iter("dynamics"):
                    velocity = next((DYNAMICS[m.tag] for m in marks if m.tag in DYNAMICS), velocity)
            elif event.tag == "note" and event.find("grace") is None and event.find("cue") is None:
                at = last if event.find("chord") is not None else place
                pitch = _pitch(event)
                if pitch is not None:
                    ties = {tie.get("type") for tie in event.findall("tie")}
                    if "stop" in ties and pitch in tied:
                        onset, _, _, struck = found.notes[tied[pitch]]
                        found.notes[tied[pitch]] = (onset, at + quarters, pitch, struck)
                    else:
                        tied[pitch] = len(found.notes)
                        found.notes.append((at, at + quarters, pitch, velocity))
                    if "start" not in ties:
                        tied.pop(pitch, None)
                if event.find("chord") is None:
                    last, place = place, place + quarters
            furthest = max(furthest, place)
        begin = furthest
    found.lines.append(begin)
    return found


def _regular(lines: list[float]) -> tuple[float, float]:
    """(pick-up, place of the first measure that breaks the bars of four), both in quarters."""
    lengths = np.diff(lines)
    if len(lengths) < 2:
        return 0.0, 0.0
    usual = float(np.median(lengths))
    if usual not in METRES.values():
        return 0.0, 0.0
    pick_up = float(lengths[0]) if lengths[0] < usual else 0.0
    for line in lines[1:]:
        if abs((line - pick_up + 1e-3) % usual) > 2e-3:
            return pick_up, line
    return pick_up, lines[-1]


def read_song(path: Path) -> Song | None:
    """A song's regular beginning; None where that is shorter than ``FEWEST_BARS``."""
    parts = [_read_part(part) for part in read_score(path).iter("part")]
    if not parts:
        return None
    pick_up, end = _regular(min((part.lines for part in parts), key=len))
    if (end - pick_up) / 4.0 < FEWEST_BARS:
        return None
    # Quarters are counted so that bars begin on whole ones.
    shift = float(np.ceil(pick_up) - pick_up)
    tempi = sorted({at + shift: bpm for part in parts for at, bpm in part.tempi if at < end}.items())
    quarters = np.arange(int(end + shift) + 6)
    bpm = np.full(len(quarters), tempi[0][1] if tempi else TEMPO_BPM)
    for at, value in tempi:
        bpm[quarters >= int(at)] = value
    beats_s = np.concatenate([[0.0], np.cumsum(60.0 / bpm[:-1])])
    table = np.array(
        sorted((a + shift, b + shift, p, v) for part in parts for a, b, p, v in part.notes if a < end),
        np.float64,
    ).reshape(-1, 4)
    if not len(table):
        return None
    onset, finish = (np.interp(table[:, i], quarters, beats_s) for i in (0, 1))
    whole = table[:, 2:].astype(np.int64)
    return Song(Notes(onset, finish, whole[:, 0], whole[:, 1]), beats_s, int(np.ceil(pick_up)) % 4)
