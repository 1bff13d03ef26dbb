"""What a MIDI file gives for free: targets for mode, tempo, density and so on, and 16 descriptors.

They are training targets, never inputs. Clip level: one value per file.
"""

from functools import cache
from pathlib import Path
from typing import Final

import mido
import numpy as np
from numpy.typing import NDArray

from kelly_edge.emotion.key_profiles import MAJOR, MINOR
from kelly_edge.errors import DataError

TARGETS: Final = ("mode", "tempo", "density", "polyphony", "register", "velocity")
N_DESCRIPTORS: Final = 16
"""Chroma by degree of the tonic (12), pitch spread, chord gap, held share, spread of the notes' levels. By
definition, the sum of these."""
CHORD_S: Final = 0.035
"""Notes nearer than this are one onset. Chosen: as ``composer.performance.TOGETHER_S``."""


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


def tempo_octaves(onsets: NDArray[np.float64]) -> float:
    """log2 of the tempo over 120, folded into 80 .. 160: the best lag of the onsets' autocorrelation."""
    rate = 50.0
    train = np.bincount((onsets * rate).round().astype(int))
    smooth = np.convolve(train - train.mean(), [0.5, 1.0, 0.5], "same")
    lags = np.arange(round(60 * rate / 160), round(60 * rate / 80) + 1)
    # A beat also repeats at two and four beats; a lag that does is a tempo.
    score = [
        sum(float(smooth[: -lag * m] @ smooth[lag * m :]) for m in (1, 2, 4) if lag * m < smooth.size)
        for lag in lags
    ]
    return float(np.log2(60 * rate / lags[int(np.argmax(score))] / 120.0))


@cache
def describe(path: Path) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """``TARGETS`` [6] (mode 1 major, 0 minor) and descriptors [16] of one file."""
    notes = read_notes(path)
    onset, duration, pitch, velocity = notes.T
    chroma = np.bincount(pitch.astype(int) % 12, np.minimum(duration, 2.0), 12)
    profiles = [np.roll(p, t) for p in (MAJOR, MINOR) for t in range(12)]
    key = int(np.argmax([np.corrcoef(chroma, p)[0, 1] for p in profiles]))
    first = np.r_[True, np.diff(onset) > CHORD_S]
    n_onsets, length = first.sum(), max(onset[-1] - onset[0], 1.0)
    targets = [
        1.0 if key < 12 else 0.0,
        tempo_octaves(onset - onset[0]),
        np.log2(max(n_onsets / length, 0.1) / 2.0),
        np.log2(len(notes) / n_onsets / 2.0),
        (pitch.mean() - 60.0) / 12.0,
        (velocity.mean() - 64.0) / 32.0,
    ]
    degrees = np.roll(chroma, -(key % 12)) / chroma.sum()
    gaps = np.diff(onset[first]) if n_onsets > 2 else np.ones(2)
    rest = [
        pitch.std() / 12.0 - 1.0,
        np.log2(np.median(gaps) + 0.02) + 2.0,
        np.log2(np.median(duration) + 0.02) + 1.0,
        # In dB, as General MIDI has them: it falls as the touch grows heavier, and gain does not change it.
        (40.0 * np.log10(np.maximum(velocity, 1.0))).std() / 1.5 - 2.5,
    ]
    return np.array(targets, np.float32), np.concatenate([(degrees - 0.083) / 0.07, rest]).astype(np.float32)
