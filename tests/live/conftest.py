"""A sound server without hardware, and the box that plays on it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from rig import Box

from firmware_py.rehearsal.server import DummyServer, absent


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
