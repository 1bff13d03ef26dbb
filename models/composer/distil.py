"""Write down what the teacher makes of a fixed set of augmented sequences, for a student to learn from.

``python -m models.composer.distil --teacher DIR/teacher-best.pt --corpus pop909|emopia --work DIR
[--sequences 4000]`` writes DIR/taught-pop909 or DIR/taught-emopia (``models.composer.sequences``); then
``python -m models.composer.train --config student --distil --work DIR`` trains on them. A sequence costs
the teacher one forward pass, whatever number of times the student sees it.
"""

import shutil
import sys
from pathlib import Path

import numpy as np
import torch

from kelly_edge.errors import DataError, KellyError
from kelly_edge.music.compound_word import N_FAMILIES
from kelly_edge.shared.command_line import Parser, command, path_argument
from models.composer.data import load_tokens
from models.composer.network import Composer
from models.composer.sequences import OCTAVE_SHIFTED, SIZES, TAUGHT_FILES, Drawn, taught_folder
from models.composer.train import load_model
from models.precision import fast_dtype

# Sequences that the teacher reads at a time, and the seed; chosen by hand, results do not depend on the
# first.
BATCH = 16
SEED = 11
HALF_MAX = float(np.finfo(np.float16).max)


@torch.no_grad()
def write_taught(teacher: Composer, drawn: Drawn, n_sequences: int, folder: Path) -> None:
    """Draw the sequences, pass them through ``teacher`` and write ``folder``, beside it first."""
    beside = folder.with_name(folder.name + ".part")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    n, width = drawn.context, teacher.config.width
    shapes = {
        "rows": (np.int16, (n_sequences, n, N_FAMILIES)),
        "logits": (np.float16, (n_sequences, n, sum(SIZES))),
        "hidden": (np.float16, (n_sequences, n - 1, width)),
    }
    files = {
        name: np.lib.format.open_memmap(beside / f"{name}.npy", "w+", *shapes[name]) for name in TAUGHT_FILES
    }
    rng = np.random.default_rng(SEED)
    bfloat16 = fast_dtype(torch.device("cpu")) == torch.bfloat16
    for start in range(0, n_sequences, BATCH):
        rows = drawn.draw(min(BATCH, n_sequences - start), rng).rows
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            hidden = teacher.hidden(rows[:, :-1])
            logits = torch.cat(teacher.logits(teacher.contexts_of(hidden), rows), -1)
        for name, values in (("rows", rows), ("logits", logits.float()), ("hidden", hidden.float())):
            files[name][start : start + len(rows)] = values.clamp(-HALF_MAX, HALF_MAX).numpy()
    for file in files.values():
        file.flush()
    shutil.rmtree(folder, ignore_errors=True)
    beside.rename(folder)


@command("models.composer.distil", KellyError)
def main() -> None:
    """Read the command line and write the taught sequences."""
    parser = Parser(prog="models.composer.distil", description=__doc__)
    parser.add_argument(
        "--teacher", type=path_argument, required=True, help="a checkpoint of models.composer.train"
    )
    parser.add_argument("--corpus", choices=sorted(OCTAVE_SHIFTED), required=True)
    parser.add_argument(
        "--work", type=path_argument, default=Path("out/composer"), help="folder with tokens.npz"
    )
    parser.add_argument("--sequences", type=int, default=4_000, help="how many, of the teacher's context")
    arguments = parser.parse_args()
    if arguments.sequences < 1:
        raise DataError(f"--sequences {arguments.sequences}: give at least 1")
    teacher = load_model(arguments.teacher)
    pieces = load_tokens(arguments.work / "tokens.npz", arguments.corpus, "train")
    drawn = Drawn(pieces, arguments.corpus, teacher.config.context)
    folder = taught_folder(arguments.work, arguments.corpus)
    write_taught(teacher, drawn, arguments.sequences, folder)
    print(f"{arguments.sequences} sequences of {drawn.context} rows to {folder}")


if __name__ == "__main__":
    sys.exit(main())
