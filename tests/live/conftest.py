"""A sound server without hardware, and the box that plays on it."""

import fcntl
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest
from rig import Box

from firmware_py.rehearsal.server import N_NAMES, DummyServer, absent


@pytest.fixture(autouse=True)
def turn() -> Iterator[None]:
    """A turn among the tests of all processes that may start a server: JACK knows only a few per machine."""
    folder = Path(tempfile.gettempdir())
    # One server less than there are, for a rehearsal of somebody's beside the tests.
    files = [(folder / f"kelly_edge_live_{n}.lock").open("a") for n in range(N_NAMES - 1)]
    while not any(map(_is_taken, files)):
        time.sleep(0.1)
    yield
    for file in files:
        file.close()


def _is_taken(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[DummyServer]:
    """A running server, and this process led to it."""
    if why := absent():
        pytest.skip(why)
    dummy = DummyServer(tmp_path)
    for name, value in dummy.env.items():
        monkeypatch.setenv(name, value)
    dummy.start()
    yield dummy
    dummy.stop()


@pytest.fixture
def box(server: DummyServer, tmp_path: Path) -> Iterator[Box]:
    """The box with small stages for ``dsp`` and ``composer``."""
    a_box = Box(tmp_path, server.env)
    yield a_box
    a_box.close()
