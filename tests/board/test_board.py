"""The map of the board is true: what each process asks for is what the map gives it, and nothing else."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from firmware_py.board import map as board_map
from firmware_py.board.map import CELLS, PROCESSES, RINGS, Board, Ends, NotOnTheMap, file_board, memory_board
from firmware_py.devices.files.clock import StreamClock
from firmware_py.devices.files.config_file import load_settings
from firmware_py.devices.offline import RecordingCard
from firmware_py.parser import PROCESSES as HELP
from firmware_py.processes.lamp import LampStage
from firmware_py.wiring import cards
from firmware_py.wiring.live import BUILDERS
from firmware_py.wiring.realtime import POLICIES
from kelly_edge.contract import HEARD_DTYPE

End = tuple[str, str, str, str]
"""Process, what it does, kind and name: ("midi", "read", "ring", "notes")."""
METHODS: dict[tuple[str, str], Callable[[Ends, str], object]] = {
    ("write", "ring"): Ends.ring_to_write,
    ("read", "ring"): Ends.ring_to_read,
    ("write", "cell"): Ends.cell_to_write,
    ("read", "cell"): Ends.cell_to_read,
}


class AskedEnds(Ends):
    """Ends that remember what was asked of them."""

    def __init__(self, board: Board, process: str, asked: set[End]) -> None:
        super().__init__(board, process)
        self.asked = asked

    def _see_that_it_may(self, verb: str, kind: str, name: str, processes: Any) -> None:
        super()._see_that_it_may(verb, kind, name, processes)
        self.asked.add((self.process, verb, kind, name))


class OpenCard(RecordingCard):
    """A card that waits for nobody."""

    def wait(self) -> None:
        """At once."""

    def close(self) -> None:
        """Nothing to close."""


def on_the_map(rings: Mapping[str, Any] = RINGS, cells: Mapping[str, Any] = CELLS) -> set[End]:
    """Every end that the map gives to a process. That a writer may see its own cell is understood."""
    found: set[End] = set()
    for name, ring in rings.items():
        found |= {(p, "write", "ring", name) for p in (ring.writer, ring.primer) if p}
        found.add((ring.reader, "read", "ring", name))
    for name, cell in cells.items():
        found.add((cell.writer, "write", "cell", name))
        found |= {(p, "read", "cell", name) for p in cell.readers if p != cell.writer}
    return {end for end in found if end[0] in PROCESSES}


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> set[End]:
    """What the processes of the live wiring ask for, from their building to their end."""
    folder = tmp_path_factory.mktemp("run")
    settings = load_settings(
        None,
        [
            *("midi.outputs=[]", "midi.inputs=[]", "midi.clock=true", "panel.chip=none", "session.log=false"),
            f"runtime.state_dir={tmp_path_factory.mktemp('state')}",
        ],
    )
    period, clock, found = settings.audio.period, StreamClock(0.0), set[End]()
    board = file_board(folder, period)
    # Without something heard control looks at no target.
    board.cells["heard"].write(np.ones((), HEARD_DTYPE))
    with pytest.MonkeyPatch.context() as patched:
        card = OpenCard(np.zeros(0, np.float32), 4, period)
        patched.setattr(cards, "open_card", lambda *_: card)
        for process, build in BUILDERS.items():
            ends = AskedEnds(board, process, found)
            part = build(settings, ends, clock)
            part.stage.step()
            part.close()
            # As ``run_process`` does for each of them.
            ends.cell_to_write(f"times_{process}")
    # Needs pins, or a board that has some.
    LampStage(AskedEnds(board, "control", found), lambda *_: None, clock).step()
    # Where ``midi.follow_clock``, ``midi.pass_on`` or ``ears.listen`` and inputs ask for them.
    for name in ("clock", "hand", "keyboard"):
        AskedEnds(board, "control", found).cell_to_write(name)
    AskedEnds(board, "control", found).ring_to_write("keys")
    return found


def test_the_processes_ask_for_what_is_on_the_map_and_for_all_of_it(asked: set[End]) -> None:
    of_their_own = {(cell.writer, "read", "cell", name) for name, cell in CELLS.items()}
    assert asked - of_their_own == on_the_map()


def falsified() -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    """The map with one entry of one row wrong: what, rings and cells."""
    for name, ring in RINGS.items():
        for field in ("writer", "reader"):
            if (before := getattr(ring, field)) in PROCESSES:
                other = next(p for p in PROCESSES if p not in (ring.writer, ring.reader, ring.primer))
                yield (
                    f"ring {name}: {field} {before}",
                    {**RINGS, name: replace(ring, **{field: other})},
                    CELLS,
                )
    for name, cell in CELLS.items():
        other = next(p for p in PROCESSES if p not in (cell.writer, *cell.readers))
        yield f"cell {name}: writer {cell.writer}", RINGS, {**CELLS, name: replace(cell, writer=other)}
        for reader in sorted({*cell.readers} - {cell.writer}):
            readers = tuple(r for r in cell.readers if r != reader)
            yield f"cell {name}: reader {reader}", RINGS, {**CELLS, name: replace(cell, readers=readers)}


@pytest.mark.parametrize(
    ("rings", "cells"), [row[1:] for row in falsified()], ids=[r[0] for r in falsified()]
)
def test_with_a_falsified_row_a_process_is_refused_what_it_asks_for(
    asked: set[End], monkeypatch: pytest.MonkeyPatch, rings: dict[str, Any], cells: dict[str, Any]
) -> None:
    monkeypatch.setattr(board_map, "RINGS", rings)
    monkeypatch.setattr(board_map, "CELLS", cells)
    board, refused = memory_board(), []
    for process, verb, kind, name in sorted(asked):
        try:
            METHODS[verb, kind](board.ends(process), name)
        except NotOnTheMap:
            refused.append((process, verb, kind, name))
    assert refused
    assert on_the_map(rings, cells) != on_the_map()


@pytest.mark.parametrize("process", PROCESSES)
def test_a_process_has_no_end_of_another(process: str) -> None:
    ends, allowed = memory_board().ends(process), on_the_map()
    for (verb, kind), method in METHODS.items():
        for name in RINGS if kind == "ring" else CELLS:
            is_own = kind == "cell" and CELLS[name].writer == process
            if (process, verb, kind, name) in allowed or is_own:
                assert method(ends, name) is not None
            else:
                with pytest.raises(NotOnTheMap, match=f"{process} does not {verb} the {kind} {name}"):
                    method(ends, name)


def test_every_table_of_processes_holds_the_same() -> None:
    assert set(BUILDERS) == set(POLICIES) == set(HELP) == set(PROCESSES)


def test_there_are_no_ends_of_an_unknown_process() -> None:
    with pytest.raises(NotOnTheMap, match="there is no process lamp, but audio"):
        memory_board().ends("lamp")


def test_the_command_line_alone_is_beside_the_processes(tmp_path: Path) -> None:
    written = {spec.writer for spec in (*RINGS.values(), *CELLS.values())}
    assert written - {*PROCESSES} == {"command line"}
