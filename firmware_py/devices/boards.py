"""The boards a box may be (``boards.yaml``, which the courier reads too)."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import yaml

TABLE: Final = Path(__file__).resolve().parents[1] / "boards.yaml"


@dataclass(frozen=True)
class Board:
    """A row of the table; the file says what each field means."""

    name: str
    model: str
    header: str
    device_port: str
    port: str
    takes: str
    source: str


def find_board(model: str) -> Board | None:
    """The board of this ``/proc/device-tree/model``, which may end in a revision; None for any other."""
    exact = model.rstrip("\0\n ").partition(" Rev ")[0]
    rows = yaml.safe_load(TABLE.read_text(encoding="utf-8"))["boards"]
    return next((Board(**row) for row in rows if row["model"] == exact), None)
