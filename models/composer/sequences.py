"""What the composer is trained on: augmented sequences of rows, drawn afresh or taught beforehand.

A taught sequence comes with what a teacher makes of it: the logits of every head and the hidden states of
its trunk, in half precision (1.1 kB a row at a width of 256). ``models.composer.distil`` writes them once;
here they are read by memory map, so a student trains at its own speed and never waits for its teacher.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kelly_edge.errors import DataError
from kelly_edge.music.compound_word import (
    AROUSAL,
    BAR,
    DENSITY,
    FAMILIES,
    MODE,
    NOTE,
    PITCH,
    SAMPLED,
    TEMPO,
    TYPE,
    VALENCE,
    VELOCITY,
    Rows,
)

DROPPED: Final = {VALENCE: 0.15, AROUSAL: 0.15, DENSITY: 0.5, MODE: 0.1}
"""How often a condition is withheld from a whole sequence, so that it may be unknown in play. Chosen by
hand."""
OCTAVE_SHIFTED: Final = {"pop909": 0.2, "emopia": 0.0, "free": 0.0}
"""Share of passages moved by an octave; not where register says something of the emotion. Chosen by hand."""
SIZES: Final = [family.size for family in SAMPLED]
"""Logits of each head, side by side in a taught sequence."""
JOIN_TRIES: Final = 8
"""Pieces tried as a continuation in the same key. Chosen by hand."""
TAUGHT_FILES: Final = ("rows", "logits", "hidden")


class Lesson(NamedTuple):
    """A batch; the last two are None where there is no teacher."""

    rows: Tensor
    """int64 [batch, n, 11]."""
    logits: list[Tensor] | None
    """The teacher's, a head: [batch, n, size]."""
    hidden: Tensor | None
    """The teacher's [batch, n - 1, width]."""


def draw_passage(piece: Rows, n_rows: int, octave: float, rng: np.random.Generator) -> Rows:
    """At most ``n_rows`` of a piece from a bar line in its first half on, augmented."""
    lines = np.flatnonzero(piece[:, TYPE] == BAR)
    lines = lines[lines <= max(0, len(piece) - min(n_rows, len(piece)) // 2)]
    start = 0 if rng.random() < 0.3 else lines[rng.integers(len(lines))]
    part = piece[start : start + n_rows].copy()
    notes = part[:, TYPE] == NOTE
    if rng.random() < octave:
        shift = int(rng.choice([-12, 12]))
        moved = part[notes, PITCH] + shift
        if len(moved) and moved.min() >= 1 and moved.max() < FAMILIES[PITCH].size:
            part[notes, PITCH] = moved
    shift = rng.integers(-1, 2)
    part[notes, VELOCITY] = np.clip(part[notes, VELOCITY] + shift, 1, FAMILIES[VELOCITY].size - 1)
    part[:, TEMPO] = np.clip(part[:, TEMPO] + rng.integers(-1, 2), 1, FAMILIES[TEMPO].size - 1)
    return part


def draw_sequence(pieces: list[Rows], n_rows: int, octave: float, rng: np.random.Generator) -> Rows:
    """Passages of pieces, one after another until ``n_rows`` are full, with conditions withheld.

    A passage after another teaches what happens when the emotion asked for changes. So another piece
    begins only where that change is seen: joined at random, music learns to leave its piece unasked.
    """
    hidden = [column for column, share in DROPPED.items() if rng.random() < share]
    asked = [column for column in (VALENCE, AROUSAL) if column not in hidden]
    parts: list[Rows] = []
    length = 0
    while length < n_rows:
        for _ in range(JOIN_TRIES):
            part = draw_passage(pieces[rng.integers(len(pieces))], n_rows - length, octave, rng)
            if not parts or np.any(part[0, asked] != parts[-1][-1, asked]):
                break
        parts.append(part)
        length += len(part)
    rows = np.concatenate(parts)
    rows[:, hidden] = 0
    return rows


@dataclass(frozen=True)
class Drawn:
    """Sequences of a corpus, every one augmented anew."""

    pieces: list[Rows]
    corpus: str
    context: int

    def draw(self, n: int, rng: np.random.Generator) -> Lesson:
        """A batch of ``n``."""
        octave = OCTAVE_SHIFTED[self.corpus]
        batch = [draw_sequence(self.pieces, self.context, octave, rng) for _ in range(n)]
        return Lesson(torch.from_numpy(np.stack(batch).astype(np.int64)), None, None)


@dataclass(frozen=True)
class Taught:
    """A fixed set of sequences and what the teacher makes of them."""

    rows: NDArray[np.int16]
    """[n_sequences, context, 11]."""
    logits: NDArray[np.float16]
    """[n_sequences, context, sum of ``SIZES``]."""
    hidden: NDArray[np.float16]
    """[n_sequences, context - 1, width of the teacher]."""

    def draw(self, n: int, rng: np.random.Generator) -> Lesson:
        """A batch of ``n``, in order of their place in the files."""
        picks = np.sort(rng.choice(len(self.rows), n, replace=False))
        rows, logits, hidden = (
            torch.from_numpy(found[picks]) for found in (self.rows, self.logits, self.hidden)
        )
        return Lesson(rows.long(), list(logits.float().split(SIZES, -1)), hidden.float())


def taught_folder(work: Path, corpus: str) -> Path:
    """Where the taught sequences of a corpus lie."""
    return work / f"taught-{corpus}"


def load_taught(work: Path, corpus: str, context: int) -> Taught:
    """The taught sequences of ``corpus`` by memory map.

    Raises
    ------
    DataError: there are none, or they are longer or shorter than ``context``.
    """
    folder = taught_folder(work, corpus)
    if not folder.is_dir():
        raise DataError(
            f"{folder}: no taught sequences; write them with python -m models.composer.distil "
            f"--teacher FILE.pt --corpus {corpus} --work {work}"
        )
    found = Taught(*(np.load(folder / f"{name}.npy", mmap_mode="r") for name in TAUGHT_FILES))
    if found.rows.shape[1] != context:
        raise DataError(
            f"{folder}: sequences of {found.rows.shape[1]} rows, the network reads {context}; "
            "remove the folder and write it again with a teacher of this context"
        )
    return found
