"""``kelly-edge rehearse``: the live box plays to a recording in real time, without any hardware.

JACK's dummy driver is the sound card, a named pipe the instrument. The processes, their priorities and their
pace are those of the box; the results are left in a folder.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from firmware_py.commands.common import print_summary, settings_of, sources_of
from firmware_py.commands.monitor.reading import open_cells
from firmware_py.commands.run import all_step
from firmware_py.devices.box_packages import need_packages
from firmware_py.devices.files.audio_file import read_audio
from firmware_py.devices.files.output import JsonLines, OutputFolder, WavWriter, write_midi
from firmware_py.devices.session.reader import SessionReader, find_session
from firmware_py.devices.session.store import sessions_folder
from firmware_py.rehearsal.server import PATIENCE_S, DummyServer, Tape, absent
from firmware_py.settings import Settings
from kelly_edge.contract import NOTE_DTYPE, SAMPLE_RATE_HZ, Listen
from kelly_edge.errors import DeviceError, KellyError

FILES: Final = ("performance.mid", "voice.wav", "session.jsonl")
XRUNS: Final = ("n_capture_xruns", "n_playback_xruns")
TAIL_S: Final = 2.0
"""Silence played after the recording, in which the last notes end. Chosen: longer than the last bar sounds
on."""
LOOK_EVERY_S: Final = 0.05
"""Chosen: the rehearsal ends within a twentieth of a second."""


def run(args: argparse.Namespace) -> int:
    """The sub-command."""
    # Asked to end, it takes the box and the sound server with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    need_packages(("rtmidi", "alsaaudio"))
    if missing := absent():
        raise DeviceError(f"cannot rehearse: {missing}")
    settings = settings_of(args)
    recording = read_audio(args.recording)
    samples = np.concatenate([recording.samples, np.zeros(round(TAIL_S * SAMPLE_RATE_HZ), np.float32)])
    sources = sources_of(args.recording, settings, args.config)
    with OutputFolder(args.out, FILES, sources) as output, tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        answered = _play(folder, args, samples)
        entries = list(SessionReader(find_session(sessions_folder(os.environ, str(folder / "state")))))
        notes = _notes(entries, settings)
        write_midi(output, "performance.mid", notes, settings.composer.program)
        with WavWriter(output, "voice.wav", SAMPLE_RATE_HZ) as wav, JsonLines(output, "session.jsonl") as log:
            wav.write(answered)
            for entry in entries:
                log.record(entry)
    counted = {e["process"]: e for e in entries if e["kind"] == "counters"}
    summary = {
        "seconds": round(recording.duration_s, 3),
        "n_notes": len(notes),
        "n_xruns": sum(counted.get("audio", {}).get(name, 0) for name in XRUNS),
        "n_late_notes": counted.get("midi", {}).get("n_late", 0),
        "files": [str(args.out / file) for file in FILES],
        "notices": list(recording.notices),
    }
    print_summary(summary, args.json)
    return 0


def _play(folder: Path, args: argparse.Namespace, samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """The box's answer to ``samples``: float32 [n] at the same times. Its session is left in ``folder``."""
    server = DummyServer(folder)
    server.start()
    try:
        with _instrument(folder / "notes"), _box(folder, args, server) as box:
            _wait_for(lambda: _is_ready(folder / "run"), box, server, PATIENCE_S)
            tape = Tape(server, folder, samples)
            try:
                tape.play()
                with _monitor(folder, args):
                    duration_s = len(samples) / SAMPLE_RATE_HZ
                    _wait_for(lambda: tape.is_done, box, server, duration_s + PATIENCE_S)
                    return np.ascontiguousarray(tape.recorded()[:, 1])
            finally:
                tape.close()
    finally:
        server.stop()


def _is_ready(run_dir: Path) -> bool:
    try:
        return all_step(open_cells(run_dir))
    except KellyError:
        # It is still being laid out.
        return False


def _own(folder: Path) -> dict[str, str]:
    """The settings that keep a rehearsal apart from a box that runs here."""
    return {
        "audio.card": "kelly",
        "ears.listen": Listen.MICROPHONE,
        "audio.sample_rate_hz": str(SAMPLE_RATE_HZ),
        "midi.outputs": f"raw:{folder / 'notes'}",
        "panel.chip": "none",
        "runtime.run_dir": str(folder / "run"),
        "runtime.state_dir": str(folder / "state"),
        "session.log": "true",
        "session.begin": "start",
    }


def _words(folder: Path, args: argparse.Namespace) -> list[str]:
    words = [f"--config={args.config}"] if args.config else []
    own = [f"{name}={value}" for name, value in _own(folder).items()]
    return words + [f"--set={setting}" for setting in [*args.set, *own]]


@contextmanager
def _box(folder: Path, args: argparse.Namespace, server: DummyServer) -> Iterator["subprocess.Popen[bytes]"]:
    """``kelly-edge run``, until the block ends."""
    command = [sys.executable, "-m", "firmware_py", "run", *_words(folder, args)]
    box = subprocess.Popen(command, env={**os.environ, **server.env}, start_new_session=True)
    try:
        yield box
    finally:
        box.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            box.wait(PATIENCE_S)
        box.kill()
        box.wait()


@contextmanager
def _instrument(path: Path) -> Iterator[None]:
    """A named pipe that takes every MIDI byte, as an instrument would."""
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    # Held open for writing too, so that reading waits where no process of the box does.
    writer = os.open(path, os.O_WRONLY)
    os.set_blocking(reader, True)
    thread = threading.Thread(target=_drain, args=(reader,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        os.close(writer)
        thread.join(PATIENCE_S)
        os.close(reader)


def _drain(reader: int) -> None:
    """Until the last writer is gone."""
    while os.read(reader, 4_096):
        pass


@contextmanager
def _monitor(folder: Path, args: argparse.Namespace) -> Iterator[None]:
    """``kelly-edge monitor``, where stdout is a terminal and nobody asked for JSON."""
    if args.json or not sys.stdout.isatty():
        yield
        return
    monitor = subprocess.Popen([sys.executable, "-m", "firmware_py", "monitor", *_words(folder, args)])
    try:
        yield
    finally:
        monitor.terminate()
        monitor.wait()


def _wait_for(
    is_so: Callable[[], bool], box: "subprocess.Popen[bytes]", server: DummyServer, within_s: float
) -> None:
    end_s = time.monotonic() + within_s
    while not is_so():
        if box.poll() is not None:
            raise DeviceError(f"the box ended by itself (status {box.returncode}); its last lines say why")
        if not server.is_alive:
            raise DeviceError("the sound server ended by itself; is the machine too busy for real time?")
        if time.monotonic() > end_s:
            raise DeviceError(f"the rehearsal stands still: not done within {within_s:.0f} s")
        time.sleep(LOOK_EVERY_S)


def _notes(entries: list[dict[str, Any]], settings: Settings) -> NDArray[Any]:
    """The notes of a session log: NOTE_DTYPE [n]."""
    played = [entry for entry in entries if entry["kind"] == "note"]
    notes = np.zeros(len(played), NOTE_DTYPE)
    for note, entry in zip(notes, played, strict=True):
        for name in ("onset_s", "due_s", "duration_s", "pitch", "velocity", "bar"):
            note[name] = entry[name]
        note["channel"] = settings.composer.channel
    return notes
