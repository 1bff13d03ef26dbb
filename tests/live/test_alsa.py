"""The sound card: paced, truthful about xruns, silent and back when it goes."""

import multiprocessing
import os
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

alsaaudio = pytest.importorskip("alsaaudio", reason="pyalsaaudio is not installed")

from firmware_py.devices.sound.alsa import AlsaCard  # noqa: E402
from firmware_py.wiring.realtime import may_rise  # noqa: E402
from kelly_edge.contract import SAMPLE_RATE_HZ  # noqa: E402
from kelly_edge.errors import DeviceError  # noqa: E402

PATIENCE_S = 300.0
"""Only a fault takes this long."""
PERIOD = 128
PERIOD_S = PERIOD / SAMPLE_RATE_HZ


@pytest.fixture(autouse=True)
def realtime() -> Iterator[None]:
    """As the audio process runs, where that is granted: other work on the machine costs no xruns."""
    if may_rise():
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(80))
    yield
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


def new_card(period: int = PERIOD, n_periods: int = 3, card: str = "kelly") -> tuple[AlsaCard, list[str]]:
    warnings: list[str] = []
    return AlsaCard(card, period, n_periods, warnings.append), warnings


def run(card: AlsaCard, n_periods: int) -> np.ndarray:
    """Echo what is heard; returns the samples captured."""
    heard = np.zeros((n_periods, PERIOD), np.float32)
    for block in heard:
        card.wait()
        card.read(block)
        card.write(block)
    return heard


def test_each_stall_is_counted_and_sound_goes_on(server: Any) -> None:
    card, _ = new_card()
    run(card, 100)
    before = card.n_capture_xruns
    n_stalls = 3
    for _ in range(n_stalls):
        time.sleep(0.1)
        run(card, 100)
    card.close()
    # A busy machine may add xruns of its own; none may be missed. ``test_pace`` looks for too many.
    assert card.n_capture_xruns - before >= n_stalls
    assert card.n_disconnects == 0


def test_an_absent_card_is_waited_for_in_silence_and_no_faster_than_the_clock(server: Any) -> None:
    card, warnings = new_card(card="plughw:CARD=Nobody")
    begin_s = time.monotonic()
    heard = run(card, 187)
    assert time.monotonic() - begin_s > 187 * PERIOD_S - 0.1
    assert not heard.any()
    assert len(warnings) == 1
    assert "audio.card" in warnings[0]


def _outlive_the_server(name: str, commands: Any, answers: Any) -> None:
    """In a process of its own, as JACK ends the process that closes a client of a dead server."""
    if may_rise():
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(80))
    card, warnings = new_card()
    run(card, 50)
    answers.put(card.is_there)
    commands.get()  # killed
    begin_s = time.monotonic()
    run(card, 375)
    answers.put((card.is_there, time.monotonic() - begin_s))
    commands.get()  # started again
    begin_s = time.monotonic()
    while not card.is_there and time.monotonic() < begin_s + PATIENCE_S:
        run(card, 10)
    answers.put((card.is_there, time.monotonic() - begin_s))
    run(card, 100)
    answers.put((card.is_there, card.n_disconnects, warnings))
    answers.close()
    answers.join_thread()
    os._exit(0)


def test_a_server_killed_is_silence_and_the_server_back_is_sound(server: Any) -> None:
    context = multiprocessing.get_context("spawn")
    commands, answers = context.Queue(), context.Queue()
    process = context.Process(target=_outlive_the_server, args=(server.name, commands, answers))
    process.start()
    assert answers.get(timeout=PATIENCE_S)
    server.kill()
    commands.put("killed")
    is_there, taken_s = answers.get(timeout=PATIENCE_S)
    assert not is_there
    assert taken_s > 375 * PERIOD_S - 0.3
    server.start()
    commands.put("started")
    is_there, _ = answers.get(timeout=PATIENCE_S)
    assert is_there
    is_there, n_disconnects, warnings = answers.get(timeout=PATIENCE_S)
    process.join(PATIENCE_S)
    assert is_there
    assert n_disconnects >= 1
    assert "is not there" in warnings[0]
    assert "is back" in warnings[-1]


def test_a_device_that_cannot_do_it_is_refused_in_one_line(server: Any) -> None:
    # The server's own period is 128 frames: the plug-in takes no other.
    with pytest.raises(DeviceError, match=r"sound card kelly_jack gives periodsize 128 for 100") as caught:
        AlsaCard("kelly_jack", 100, 3, print)
    assert "\n" not in str(caught.value)
