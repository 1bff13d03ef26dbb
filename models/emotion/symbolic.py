"""What a MIDI file gives for free: targets for mode, tempo, density and so on, and 16 descriptors.

They are training targets, never inputs. Clip level: one value per file.
"""

from functools import cache
from pathlib import Path

import mido
import numpy as np
from numpy.typing import NDArray

from kelly_edge.emotion.symbolic import describe_notes
from kelly_edge.errors import DataError


def open_midi(path: Path) -> mido.MidiFile:
    """The file, parsed. Raises DataError."""
    try:
        return mido.MidiFile(path)
    except (OSError, ValueError, EOFError, KeyError) as error:
        raise DataError(f"{path} is no MIDI file ({error}); fetch the data set again") from None


def read_notes(path: Path) -> NDArray[np.float64]:
    """Rows (onset s, duration s, pitch, velocity), sorted by onset. Raises DataError."""
    time, sounding, rows = 0.0, dict[int, tuple[float, int]](), []
    for message in open_midi(path):
        time += message.time
        if message.type not in ("note_on", "note_off"):
            continue
        if message.note in sounding:
            start, velocity = sounding.pop(message.note)
            rows.append((start, max(time - start, 0.01), message.note, velocity))
        if message.type == "note_on" and message.velocity > 0:
            sounding[message.note] = (time, message.velocity)
    if not rows:
        raise DataError(f"{path} holds no notes; leave it out of the split")
    return np.array(sorted(rows), np.float64)


@cache
def describe(path: Path) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """``symbolic.TARGETS`` [6] and descriptors [16] of one file."""
    return describe_notes(read_notes(path))
