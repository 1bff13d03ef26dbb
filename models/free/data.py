"""POP909 (MIT) and OpenScore Lieder (CC0) as compound words, with emotions computed from their notes.

``python -m models.free.data --work out/free`` writes out/free/tokens.npz, which ``models.composer.train``,
``export`` and ``evaluate`` read as the corpus ``free``. Of every twenty songs one is held out to choose on
(``held``) and one to report (``val``); nothing of EMOPIA or VGMIDI is read. Levels of valence and arousal
(``models.free.cues``) belong to passages of eight bars; cues are standardised within each corpus, as
loudness is written otherwise in a score than in a performance.
"""

import sys
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np

from kelly_edge.errors import KellyError
from kelly_edge.music.compound_word import GridBar, encode
from kelly_edge.shared.command_line import Parser, command, path_argument
from models.composer.data import (
    BARS_PER_LABEL,
    Piece,
    data_folder,
    estimate_key,
    read_pop909,
    save_tokens,
    to_bars,
)
from models.free.cues import Scale, cues_of_bars, level_cuts, levels
from models.free.lieder import read_song

ONE_IN: Final = 20
"""Songs of which one is held out to choose on and one to report. Chosen: as POP909's validation was."""


def split_of(song: str) -> str:
    """``train``, ``held`` or ``val``, told from the name of a song."""
    return {0: "val", 1: "held"}.get(zlib.crc32(song.encode()) % ONE_IN, "train")


def read_lieder(folder: Path, every: int = 1) -> list[Piece]:
    """The corpus's songs that begin with at least sixteen bars of four quarters; of one song in ``every``."""
    pieces = []
    for path in sorted(folder.glob("*.mxl"))[::every]:
        song = read_song(path)
        if song is None:
            continue
        tonic, mode = estimate_key(song.notes.pitch, np.minimum(song.notes.end_s - song.notes.onset_s, 2.0))
        bars = to_bars(song.notes, song.beats_s, song.phase, [(0.0, tonic, mode)])
        pieces.append(Piece(f"lieder_{path.stem}", path.stem, "", 0, bars))
    return pieces


def passages(piece: Piece) -> list[tuple[GridBar, ...]]:
    """The passages of a piece that share a level."""
    return [piece.bars[i : i + BARS_PER_LABEL] for i in range(0, len(piece.bars), BARS_PER_LABEL)]


def label(pieces: list[Piece]) -> list[Piece]:
    """Give every bar its levels; scale and cuts come from the training songs alone."""
    corpora = sorted({piece.name.split("_")[0] for piece in pieces})
    found = {p.name: [cues_of_bars(passage) for passage in passages(p)] for p in pieces}
    sums, training = {}, []
    for corpus in corpora:
        mine = [p for p in pieces if p.name.startswith(corpus)]
        scale = Scale.of(
            np.array([c for p in mine if p.split == "train" for c in found[p.name] if c is not None])
        )
        for piece in mine:
            cues = np.array([scale.mean if c is None else c for c in found[piece.name]])
            sums[piece.name] = scale.emotions(cues)
            if piece.split == "train":
                training.append(sums[piece.name])
    cuts = level_cuts(np.concatenate(training))
    result = []
    for piece in pieces:
        bars = []
        for passage, (valence, arousal) in zip(passages(piece), levels(sums[piece.name], cuts), strict=True):
            bars += [
                replace(bar, condition=replace(bar.condition, valence=int(valence), arousal=int(arousal)))
                for bar in passage
            ]
        result.append(replace(piece, bars=tuple(bars)))
    return result


@command("models.free.data", KellyError)
def main() -> None:
    """Write the tokens."""
    parser = Parser(prog="models.free.data", description=__doc__)
    parser.add_argument("--work", type=path_argument, default=Path("out/free"), help="folder for tokens.npz")
    parser.add_argument("--every", type=int, default=2, help="one song in so many")
    arguments = parser.parse_args()
    work, every, folder = arguments.work, max(1, arguments.every), data_folder("pop909", "lieder")
    pieces = read_pop909(folder / "pop909", every) + read_lieder(folder / "lieder", every)
    pieces = label([replace(piece, split=split_of(piece.song)) for piece in pieces])
    save_tokens([(piece, encode(list(piece.bars))) for piece in pieces], work / "tokens.npz")
    n = {c: sum(p.name.startswith(c) for p in pieces) for c in ("pop909", "lieder")}
    print(f"{n} songs, {sum(len(p.bars) for p in pieces)} bars to {work / 'tokens.npz'}")


if __name__ == "__main__":
    sys.exit(main())
