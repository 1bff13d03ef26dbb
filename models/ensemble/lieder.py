"""Songs of the OpenScore Lieder Corpus as a person to play with: voice and piano together, on a piano.

Beats, bars and notes are the score's. It names no chords, so they are told from its notes, all of them known:
the most likely chain of chords, one for each beat (Viterbi), in which a note counts for as long as it sounds
in the beat. So ``in_chord`` says whether the box plays what the score sounds, not how an analyst would name
it. Only songs in bars of four whose beginning lasts a whole excerpt can be heard.
"""

from itertools import pairwise
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from kelly_edge.errors import DataError
from models.composer.data import Notes
from models.ensemble.harmony import LETTERS, SHORTHANDS
from models.ensemble.songs import EXCERPT_S, Chord, Song
from models.free.excerpts import write_midi
from models.free.lieder import read_song

Floats = NDArray[np.float64]
QUALITIES: Final = ("maj", "min", "7", "min7", "maj7", "dim", "dim7", "hdim7", "aug")
"""Chords that are told apart, as POP909's annotation names them."""
ROOTS: Final = {semitone: letter for letter, semitone in LETTERS.items()}
OUTSIDE: Final = 1.5
"""Cost of a beat whose notes are all foreign to the chord, beside its notes within it. Chosen by hand: one
note in three may pass."""
MISSED, LEAST_SHARE = 0.15, 0.05
"""Cost of each tone of the chord that has less than this share of the beat: a triad is told before its
seventh chord. Chosen by hand."""
CHANGE: Final = 0.35
"""Cost of another chord on the next beat. Chosen by hand: about a note in four."""


def candidates() -> tuple[list[str], Floats]:
    """Names and pitch classes [n, 12] of the chords."""
    names, tables = [], []
    for root in range(12):
        name = ROOTS.get(root) or f"{ROOTS[(root - 1) % 12]}#"
        for quality in QUALITIES:
            names.append(f"{name}:{quality}")
            table = np.zeros(12)
            table[[(root + step) % 12 for step in SHORTHANDS[quality]]] = 1.0
            tables.append(table)
    return names, np.array(tables)


def sounding(notes: Notes, beats_s: Floats) -> Floats:
    """How long each pitch class sounds in each beat, seconds: [n_beats - 1, 12]."""
    table = np.zeros((len(beats_s) - 1, 12))
    for i, (begin, end) in enumerate(pairwise(beats_s)):
        inside = np.minimum(notes.end_s, end) - np.maximum(notes.onset_s, begin)
        np.add.at(table[i], notes.pitch % 12, np.maximum(inside, 0.0))
    return table


def chords_told(notes: Notes, beats_s: Floats) -> tuple[Chord, ...]:
    """The chords of the beats, ``N`` where nothing sounds."""
    names, classes = candidates()
    heard = sounding(notes, beats_s)
    total = heard.sum(1)
    share = heard / np.maximum(total, 1e-9)[:, None]
    is_missed = (share[:, None, :] < LEAST_SHARE) & (classes > 0.0)
    cost = OUTSIDE * (1.0 - share @ classes.T) + MISSED * is_missed.sum(2)
    cost[total < 1e-6] = 0.0
    best, came = cost[0], np.zeros(cost.shape, np.int64)
    for i in range(1, len(cost)):
        stay, other = best, int(best.argmin())
        moves = stay > best[other] + CHANGE
        came[i] = np.where(moves, other, np.arange(len(best)))
        best = np.where(moves, best[other] + CHANGE, stay) + cost[i]
    path = [int(best.argmin())]
    for i in range(len(cost) - 1, 0, -1):
        path.append(int(came[i, path[-1]]))
    path.reverse()
    return tuple(
        Chord(float(begin), float(end), names[which] if total[i] > 1e-6 else "N")
        for i, ((begin, end), which) in enumerate(zip(pairwise(beats_s), path, strict=True))
    )


def load_lied(folder: Path, name: str, cache: Path) -> Song:
    """The excerpt of a song; its notes are left as MIDI in ``cache``.

    Raises
    ------
    DataError: it does not last that long in bars of four, or is no score.
    """
    read = read_song(folder / f"{name}.mxl")
    if read is None or read.notes.end_s.max() < EXCERPT_S:
        raise DataError(f"song {name} of {folder}: no {EXCERPT_S:.0f} s in bars of four; give another")
    inside = read.notes.onset_s < EXCERPT_S
    notes = Notes(
        read.notes.onset_s[inside],
        np.minimum(read.notes.end_s[inside], EXCERPT_S),
        read.notes.pitch[inside],
        read.notes.velocity[inside],
    )
    midi = cache / f"{name}.mid"
    write_midi(notes, midi)
    beats_s = read.beats_s[read.beats_s < EXCERPT_S]
    return Song(name, midi, notes, beats_s, beats_s[read.phase :: 4], chords_told(notes, read.beats_s))
