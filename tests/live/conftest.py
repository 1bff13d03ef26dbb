"""A sound server without hardware: ``jackd -d dummy`` under ALSA's plugin has a card's pace and xruns."""

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from firmware_py.realtime import may_rise

PERIOD = 128
ASOUND = """
</usr/share/alsa/alsa.conf>
pcm.kelly_jack {{
  type jack
  name "{name}"
  playback_ports {{ 0 system:playback_1 }}
  capture_ports {{ 0 {capture} }}
}}
pcm.kelly {{ type plug slave.pcm "kelly_jack" }}
"""


class DummyServer:
    """``jackd`` on a timer; ``env`` leads ALSA and JACK clients to it, to the card ``kelly``."""

    def __init__(self, folder: Path, capture: str = "system:capture_1") -> None:
        self.name = f"kelly_test_{os.getpid()}"
        self.asound = folder / "asound.conf"
        self.asound.write_text(ASOUND.format(name="kelly_edge", capture=capture))
        self.log = folder / "jackd.log"
        self.env = {
            "JACK_DEFAULT_SERVER": self.name,
            "JACK_NO_START_SERVER": "1",
            "JACK_NO_AUDIO_RESERVATION": "1",
            "ALSA_CONFIG_PATH": str(self.asound),
        }
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        priority = ["-R", "-P", "85"] if may_rise() else ["-r"]
        dummy = ["-d", "dummy", "-r", "48000", "-p", str(PERIOD), "-C", "2", "-P", "2"]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                ["jackd", "-n", self.name, *priority, "-p", "128", *dummy],
                stdout=log,
                stderr=log,
                env={**os.environ, **self.env},
            )
        end = time.monotonic() + 10
        while "system:playback_1" not in self.ports():
            assert time.monotonic() < end, self.log.read_text()
            time.sleep(0.05)

    def ports(self) -> str:
        return self.run("jack_lsp", "-c").stdout

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, env={**os.environ, **self.env}, capture_output=True, text=True, timeout=10, check=False
        )

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
            # A killed server leaves its name taken.
            for path in Path("/dev/shm").glob(f"*{self.name}*"):
                path.unlink() if path.is_file() or path.is_fifo() or path.is_socket() else shutil.rmtree(path)

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(10)
            self.kill()


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[DummyServer]:
    """A running server, and this process led to it."""
    if shutil.which("jackd") is None:
        pytest.skip("no jackd here (apt-get install jackd2 libasound2-plugins)")
    if not list(Path("/usr/lib").glob("*/alsa-lib/libasound_module_pcm_jack.so")):
        pytest.skip("no ALSA plugin for JACK here (apt-get install libasound2-plugins)")
    dummy = DummyServer(tmp_path)
    for name, value in dummy.env.items():
        monkeypatch.setenv(name, value)
    dummy.start()
    yield dummy
    dummy.stop()
