"""A sound card without hardware: JACK's dummy driver under ALSA's plugin, with a card's pace and xruns.

For a rehearsal on a laptop without hardware, and for the live tests. ``tape.py`` is the player beside it.
"""

import contextlib
import functools
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from firmware_py.rehearsal.tape import PERIOD
from firmware_py.wiring.realtime import may_rise
from kelly_edge.contract import SAMPLE_RATE_HZ
from kelly_edge.errors import DeviceError

PATIENCE_S: Final = 60.0
"""Other work may hold the machine. Chosen by hand."""
NOT_REACHED: Final = "not running"
"""Both of JACK's tools say it of a server."""
N_NAMES: Final = 6
"""JACK 1.9 knows eight servers per machine (its MAX_SERVERS); chosen: two are left for servers of others."""
ASOUND: Final = """
</usr/share/alsa/alsa.conf>
pcm.kelly_jack {
  type jack
  name "kelly_edge"
  playback_ports { 0 system:playback_1 }
  capture_ports { 0 system:capture_1 }
}
pcm.kelly { type plug slave.pcm "kelly_jack" }
pcm.tape_jack {
  type jack
  name "tape"
  playback_ports { 0 system:playback_2 }
  capture_ports { 0 system:capture_2 1 system:capture_2 }
}
pcm.tape { type plug slave.pcm "tape_jack" }
"""


@functools.cache
def server_name() -> str:
    """A name for this process's server that no other process has.

    It is kept as long as the process lives: JACK's library in it does not survive a server of another name. A
    server that is killed keeps its place among the few that JACK knows, until another of its name is
    started. So the names are few too, and taken again.

    Raises
    ------
    DeviceError: all are in use.
    """
    for n in range(N_NAMES):
        name = f"kelly_rehearsal_{n}"
        taken = socket.socket(socket.AF_UNIX)
        try:
            # An abstract name: the kernel gives it back when this process ends, however that comes.
            taken.bind(f"\0{name}")
        except OSError:
            taken.close()
            continue
        # Its process may have been killed, and the server not.
        if not _answers(name):
            taken.detach()
            return name
        taken.close()
    raise DeviceError(f"{N_NAMES} rehearsals run on this machine already; end one of them")


def _answers(name: str) -> bool:
    """Whether a server of that name runs."""
    asked = subprocess.run(
        ["jack_lsp", "-s", name],
        env={**os.environ, "JACK_NO_START_SERVER": "1"},
        capture_output=True,
        timeout=PATIENCE_S,
        check=False,
    )
    return asked.returncode == 0


class DummyServer:
    """``jackd`` on a timer; ``env`` leads ALSA and JACK clients to it, to the card ``kelly``.

    The card ``tape`` is for ``Tape``; its ports are connected by hand.
    """

    def __init__(self, folder: Path, period: int = PERIOD, rate_hz: int = SAMPLE_RATE_HZ) -> None:
        self.name = server_name()
        self.asound = folder / "asound.conf"
        self.asound.write_text(ASOUND)
        self.log = folder / "jackd.log"
        self.period = period
        self.rate_hz = rate_hz
        self.env = {
            "JACK_DEFAULT_SERVER": self.name,
            "JACK_NO_START_SERVER": "1",
            "JACK_NO_AUDIO_RESERVATION": "1",
            "ALSA_CONFIG_PATH": str(self.asound),
        }
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def is_alive(self) -> bool:
        """Whether ``jackd`` runs."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """Of ``jackd``."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Wait until its ports are there.

        Raises
        ------
        DeviceError: it did not start.
        """
        self._forget_killed()
        priority = ["-R", "-P", "85"] if may_rise() else ["-r"]
        dummy = ["-d", "dummy", "-r", str(self.rate_hz), "-p", str(self.period), "-C", "2", "-P", "2"]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                ["jackd", "-n", self.name, *priority, "-t", "100", "-p", "128", *dummy],
                stdout=log,
                stderr=log,
                env={**os.environ, **self.env},
            )
        end = time.monotonic() + PATIENCE_S
        while "system:playback_1" not in self.ports():
            if time.monotonic() > end or self._process.poll() is not None:
                raise DeviceError(f"jackd did not start: {self._last_words()}")
            time.sleep(0.05)

    def ports(self) -> str:
        """Every port, each followed by its connections."""
        return self.run("jack_lsp", "-c").stdout

    def connect(self, source: str, sink: str) -> None:
        """Connect two ports by name.

        Raises
        ------
        DeviceError: one of them is not there.
        """
        done = self.run("jack_connect", source, sink)
        if done.returncode != 0:
            raise DeviceError(f"cannot connect {source} to {sink}: {done.stderr.strip()}")

    def _last_words(self) -> str:
        return "; ".join(self.log.read_text(errors="replace").splitlines()[-3:])

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """A JACK tool; asked again where it does not reach a server that runs, as on a full machine."""
        end = time.monotonic() + PATIENCE_S
        while True:
            done = subprocess.run(
                command,
                env={**os.environ, **self.env},
                capture_output=True,
                text=True,
                timeout=PATIENCE_S,
                check=False,
            )
            if NOT_REACHED not in done.stderr + done.stdout or not self.is_alive or time.monotonic() > end:
                return done
            time.sleep(0.1)

    def kill(self) -> None:
        """As a crash ends it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
            self._forget_killed()

    def _forget_killed(self) -> None:
        """A killed server leaves files by which its name is taken."""
        for path in Path("/dev/shm").glob(f"*{self.name}*"):
            path.unlink() if path.is_file() or path.is_fifo() or path.is_socket() else shutil.rmtree(path)

    def stop(self) -> None:
        """In peace."""
        if self._process is not None:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(10)
            self.kill()


def absent() -> str:
    """Which part of a dummy server is missing, and the package that holds it; nothing where none is."""
    if shutil.which("jackd") is None:
        return "no jackd here (apt-get install jackd2 libasound2-plugins)"
    if not all(map(shutil.which, ("jack_lsp", "jack_connect"))):
        return "no jack_lsp or jack_connect here (apt-get install jack-example-tools, from Debian 13 on)"
    if not list(Path("/usr/lib").glob("*/alsa-lib/libasound_module_pcm_jack.so")):
        return "no ALSA plugin for JACK here (apt-get install libasound2-plugins)"
    return ""


class Tape:
    """``tape.py``, connected to the box: plays ``samples`` (float32 [n]), records itself and the box.

    Without a box yet (``connected`` False) it plays to nobody until ``connect``, and records nothing.
    """

    def __init__(
        self, server: DummyServer, folder: Path, samples: NDArray[np.float32], connected: bool = True
    ) -> None:
        self._recorded = folder / "recorded.npy"
        np.save(folder / "played.npy", samples)
        files = (str(folder / "played.npy"), str(self._recorded))
        self._popen = subprocess.Popen(
            [sys.executable, "-m", "firmware_py.rehearsal.tape", *files, str(server.rate_hz)],
            env={**os.environ, **server.env},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self._popen.stdout is not None
        if self._popen.stdout.readline() != "ready\n":
            raise DeviceError("the tape machine did not start: is the sound server still there?")
        self._server = server
        if connected:
            server.connect("tape:out_000", "tape-01:in_000")
            server.connect("kelly_edge-01:out_000", "tape-01:in_001")
            self.connect()

    def connect(self) -> None:
        """Connect to the box's capture; call again after the box has opened its card again."""
        self._server.connect("tape:out_000", "kelly_edge:in_000")

    def play(self) -> float:
        """Begin to play; returns the time of it, about, in seconds of CLOCK_MONOTONIC."""
        assert self._popen.stdin is not None
        self._popen.stdin.write("play\n")
        self._popen.stdin.flush()
        return time.monotonic()

    @property
    def is_done(self) -> bool:
        """Whether all samples were played."""
        return self._popen.poll() is not None

    def recorded(self) -> NDArray[np.float32]:
        """The recording, float32 [n, 2], once all is played. A sample lost is lost to both channels."""
        assert self._popen.stdout is not None
        self._popen.stdout.readline()
        self._popen.wait(10)
        return np.asarray(np.load(self._recorded), np.float32)

    def close(self) -> None:
        """Stop, wherever it is."""
        self._popen.kill()
        self._popen.wait()
        for stream in (self._popen.stdin, self._popen.stdout):
            if stream is not None:
                stream.close()
