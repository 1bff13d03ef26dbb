"""Every ring: what finds no room is dropped and counted, and the count is shown."""

import io
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from firmware_py.board.map import RINGS, memory_board
from firmware_py.board.telemetry import COUNTERS, new_counters
from firmware_py.commands.monitor.reading import Reader
from firmware_py.commands.monitor.screen import draw
from firmware_py.devices.files.config_file import load_settings
from firmware_py.devices.offline import ListJournal, VirtualClock
from firmware_py.processes.watch import WatchStage
from firmware_py.settings import Settings
from firmware_py.wiring.offline import Models, Offline
from kelly_edge.contract import SAMPLE_RATE_HZ

DROPS = {name: (spec.writer, spec.drops) for name, spec in RINGS.items() if spec.writer in COUNTERS}
"""Ring of the box → the process that writes it, and its count."""


def test_every_ring_between_processes_has_a_count() -> None:
    assert len(DROPS) >= 6
    for process, counter in DROPS.values():
        assert counter in COUNTERS[process]


@pytest.mark.parametrize("ring", DROPS)
def test_what_finds_a_ring_full_is_counted_on_the_board(ring: str) -> None:
    process, name = DROPS[ring]
    board = memory_board()
    end, counters = board.ends(process).ring_to_write(ring), new_counters(process)
    for _ in range(RINGS[ring].capacity + 3):
        end.write(np.zeros((), RINGS[ring].dtype))
    board.ends(process).count_drops(counters)
    assert counters[name] == 3 and sum(counters.item()) == 3


@pytest.mark.parametrize("ring", DROPS)
def test_a_count_is_shown_and_told(ring: str) -> None:
    process, name = DROPS[ring]
    board, told, clock = memory_board(), list[str](), VirtualClock()
    watch = WatchStage(board.ends("control"), ListJournal(), told.append, clock)
    counters = new_counters(process)
    counters[name] = 7
    board.cells[f"telemetry_{process}"].write(counters)
    clock.time_s = 1.5
    watch.step()
    assert f"{name} +7" in told[0]
    console = Console(width=200, file=io.StringIO())
    console.print(draw(Reader(board.cells).read(0.0), ""))
    assert isinstance(console.file, io.StringIO)
    shown = f"{process} {name.removeprefix('n_').replace('_', ' ')} 7"
    assert shown in " ".join(console.file.getvalue().split())


def test_a_composer_that_takes_nothing_costs_records_that_are_counted(
    models: Models, settings: Settings
) -> None:
    rng = np.random.default_rng(0)
    samples = (0.1 * rng.standard_normal(7 * SAMPLE_RATE_HZ)).astype(np.float32)
    offline = Offline(settings, models, samples, composer=False)
    offline.run()
    n_groups = int(offline.dsp.counters["n_emotion_steps"])
    n_lost = n_groups - RINGS["heard"].capacity
    assert offline.dsp.counters["n_heard_dropped"] == n_lost == offline.board.rings["heard"].n_dropped > 0


def test_bars_that_nobody_takes_are_counted(models: Models, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load_settings(None, ["midi.clock=true"])
    monkeypatch.setitem(RINGS, "bars", replace(RINGS["bars"], capacity=0))  # type: ignore[arg-type]
    offline = Offline(settings, models, np.zeros(SAMPLE_RATE_HZ, np.float32))
    offline.run()
    assert offline.composer.counters["n_bars_dropped"] == offline.board.rings["bars"].n_dropped > 0
