"""The boards a box may be (``boards.yaml``): the courier sets them up, the doctor looks at them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import yaml

TABLE: Final = Path(__file__).with_name("boards.yaml")


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


def read_boards() -> tuple[Board, ...]:
    """Every board of the table."""
    return tuple(Board(**row) for row in yaml.safe_load(TABLE.read_text(encoding="utf-8"))["boards"])


def find_board(model: str) -> Board | None:
    """The board of this ``/proc/device-tree/model``, which may end in a revision; None for any other."""
    exact = model.rstrip("\0\n ").partition(" Rev ")[0]
    return next((board for board in read_boards() if board.model == exact), None)
