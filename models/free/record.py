"""Write down, file by file, what the free set saw: ``python -m models.free.record --work out/free``.

Writes ``licences.csv`` (model, what it was used for, file, source, licence) into the free set, from the
tokens and excerpts that training read, and the names of the voices that it shares into its manifest.
"""

import csv
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
import yaml

from firmware_py.runtimes.artefacts import MANIFEST, names_of_kind
from kelly_edge.errors import KellyError
from kelly_edge.shared.command_line import Parser, command, path_argument
from models.free.data import split_of
from models.shipping import SHIPPED, folder_of, set_alias

TABLE: Final = "licences.csv"
COLUMNS: Final = ("models", "used for", "file", "source", "licence")
USES: Final = {"train": "training", "held": "selection", "val": "test"}
COMPOSER: Final = "transformer_model transformer_model_full"
EMOTION: Final = "emotion_model emotion_model_float32"
POP909: Final = ("POP909, github.com/music-x-lab/POP909-Dataset", "MIT")
LIEDER: Final = ("OpenScore Lieder Corpus, github.com/OpenScore/Lieder", "CC0 1.0")
SOUNDS: Final = (
    ("FluidR3_GM.sf2", "Debian fluid-soundfont-gm", "MIT"),
    ("MuseScore_General_Lite.sf3", "Debian musescore-general-soundfont-small", "MIT"),
    ("models/emotion/strings.py, acoustics.py", "synthesised by this project", "MIT"),
    ("models/emotion/melodies.py, not_music.py", "synthesised by this project", "MIT"),
    (
        "speech of espeak-ng",
        "Debian espeak-ng, as a program",
        "GPL-3.0-or-later; what it says is not covered",
    ),
    ("speech of flite and festival", "Debian flite, festival, as programs", "MIT-CMU"),
)
"""What excerpts were rendered with, and what music is told from."""


def _song(stem: str, corpus: str) -> tuple[str, str, str]:
    if corpus == "pop909":
        return f"pop909/POP909/{stem}/{stem}.mid", *POP909
    return f"lieder/{stem}.mxl", *LIEDER


def rows(work: Path) -> Iterator[tuple[str, ...]]:
    """The table without its head."""
    with np.load(work / "tokens.npz") as saved:
        for name, split in zip(saved["names"], saved["splits"], strict=True):
            corpus, stem = str(name).split("_", 1)
            yield COMPOSER, USES[str(split)], *_song(stem, corpus)
    for name in sorted(json.loads((work / "excerpts" / "cues.json").read_text(encoding="utf-8"))):
        corpus, stem = name.split("-", 1)
        use = "training" if split_of(stem) == "train" else "calibration"
        yield EMOTION, use, *_song(stem, corpus)
    for sound in SOUNDS:
        yield EMOTION, "training", *sound
    for name in names_of_kind("voice"):
        entry = yaml.safe_load((SHIPPED / f"{name}.yaml").read_text(encoding="utf-8"))
        for source in entry["data"]:
            yield name, "training", str(source), "see models/shipped/" + entry["card"], str(entry["licence"])


@command("models.free.record", KellyError)
def main() -> None:
    """Read the command line and write the table and the shared names."""
    parser = Parser(prog="models.free.record", description=__doc__)
    parser.add_argument("--work", type=path_argument, default=Path("out/free"), help="folder of the training")
    work: Path = parser.parse_args().work
    folder = folder_of("free")
    with (folder / TABLE).open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(rows(work))
    aliases = yaml.safe_load((SHIPPED / MANIFEST).read_text(encoding="utf-8"))["aliases"]
    for alias, name in aliases.items():
        set_alias(alias, name, folder)
    manifest = yaml.safe_load((folder / MANIFEST).read_text(encoding="utf-8"))
    manifest["shared"] = names_of_kind("voice")
    (folder / MANIFEST).write_text(yaml.safe_dump(manifest, sort_keys=True), encoding="utf-8")
    print(folder / TABLE)


if __name__ == "__main__":
    sys.exit(main())
