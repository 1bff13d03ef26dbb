"""The live wiring: each stage in a process of its own, between the run directory and real devices.

With ``wiring`` the only module that names a concrete device or process. Each builder imports what its
process needs and no more, so that ``audio`` stays small and far from the models.
"""

import ctypes
import os
import select
import signal
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from firmware_py.board import SOUNDING_DTYPE, Board, file_board, memory_board
from firmware_py.devices.clock import StreamClock, shared_clock
from firmware_py.devices.run_dir import make_run_dir
from firmware_py.devices.session_log import warn
from firmware_py.loop import Stage, Stop, run_live
from firmware_py.pipes import PipeRing
from firmware_py.realtime import POLICIES, become_realtime, throttling
from kelly_edge.config import Settings
from kelly_edge.contract import HOP_SIZE, HOPS_PER_EMOTION_STEP, SAMPLE_RATE_HZ

SUPERVISOR: Final = "KELLY_EDGE_SUPERVISOR"
"""Environment: the process that started this one, and whose end is this one's."""
PR_SET_PDEATHSIG: Final = 1


@dataclass(frozen=True)
class Part:
    """A process, built: its stage, what it waits for, the deadline of a step, and how it ends."""

    stage: Stage
    wait: Callable[[], None]
    deadline_s: float
    close: Callable[[], None]


Builder = Callable[[Settings, Board, StreamClock], Part]


def wait_for(ring: object, longest_s: float) -> Callable[[], None]:
    """Until a record waits in ``ring`` (a ``PipeRing``), or ``longest_s``."""
    assert isinstance(ring, PipeRing)
    fds = [ring.fileno()]

    def wait() -> None:
        select.select(fds, (), (), longest_s)

    return wait


def every(period_s: float) -> Callable[[], None]:
    """On a grid of ``period_s``; a step that took longer skips what it missed."""
    next_s = time.monotonic()

    def wait() -> None:
        nonlocal next_s
        now_s = time.monotonic()
        next_s = max(next_s + period_s, now_s)
        time.sleep(next_s - now_s)

    return wait


def _nothing() -> None:
    pass


def build_audio(settings: Settings, board: Board, clock: StreamClock) -> Part:
    """The sound card and the limiter."""
    from firmware_py.devices.alsa import AlsaCard
    from firmware_py.devices.offline import RecordingCard
    from firmware_py.processes.audio import AudioStage
    from kelly_edge.signal.limiter import Limiter

    audio = settings.audio

    def new_limiter() -> Limiter:
        return Limiter(settings.limiter.ceiling_db, settings.limiter.release_ms)

    n_warm = 8
    silent = RecordingCard(np.zeros(0, np.float32), n_warm, audio.period)
    warm = AudioStage(memory_board(), silent, new_limiter(), audio.period)
    for _ in range(n_warm):
        warm.step()
    card, limiter = AlsaCard(audio.card, audio.period, audio.n_periods, warn), new_limiter()
    stage = AudioStage(board, card, limiter, audio.period)
    return Part(stage, card.wait, audio.period / SAMPLE_RATE_HZ, card.close)


def build_dsp(settings: Settings, board: Board, clock: StreamClock) -> Part:
    """Emotion and voice."""
    from firmware_py.processes.dsp import DspStage
    from firmware_py.wiring import new_voice, open_decoders, open_emotion

    emotion, decoders, period = open_emotion(settings), open_decoders(settings), settings.audio.period
    warm = memory_board()
    stage = DspStage(warm, emotion, new_voice(settings, decoders), period)
    block = np.zeros(period, np.float32)
    for _ in range(2 * HOPS_PER_EMOTION_STEP * HOP_SIZE // period):
        warm.rings["capture"].write(block)
        stage.step()
    stage = DspStage(board, emotion, new_voice(settings, decoders), period)
    # What was heard while no dsp was there is too old to answer.
    while board.rings["capture"].read(block):
        continue
    return Part(stage, wait_for(board.rings["capture"], 0.1), HOP_SIZE / SAMPLE_RATE_HZ, _nothing)


def build_midi(settings: Settings, board: Board, clock: StreamClock) -> Part:
    """The MIDI outputs."""
    from firmware_py.devices.midi_ports import MidiPorts
    from firmware_py.devices.watched_midi import ON_TIME_S, WatchedMidi
    from firmware_py.processes.midi import MidiStage

    ports = MidiPorts(settings.midi.outputs, warn)
    out = WatchedMidi(ports, board.cells["sounding"], clock, np.zeros((), SOUNDING_DTYPE))
    stage = MidiStage(board, out, clock)
    notes, errors_cell = board.rings["notes"], board.cells["send_error"]
    assert isinstance(notes, PipeRing)
    fds, scan_s = [notes.fileno()], 0.0

    def wait() -> None:
        nonlocal scan_s
        now_s = clock.now_s()
        left_s = stage.next_due_s() - now_s
        # Ports are looked for only where no note is near: looking takes milliseconds.
        if left_s > QUIET_S and now_s > scan_s:
            scan_s = now_s + SCAN_EVERY_S
            ports.scan()
            errors_cell.write(out.errors.record)
            left_s = stage.next_due_s() - clock.now_s()
        # A new note wakes it; the panic button is a cell and must be looked at.
        select.select(fds, (), (), min(max(left_s - WAKE_EARLY_S, 0.0), LOOK_AT_KNOBS_EVERY_S))
        due_s = stage.next_due_s()
        if due_s - clock.now_s() < WAKE_EARLY_S:
            # Waking takes 0.1 ms, more or less: wake before it is time and look at the clock until it is.
            while clock.now_s() < due_s:
                continue

    def close() -> None:
        stage.release_all(clock.now_s())
        ports.scan()
        ports.close()
        errors_cell.write(out.errors.record)

    return Part(stage, wait, ON_TIME_S, close)


SCAN_EVERY_S: Final = 0.5
QUIET_S: Final = 0.05
WAKE_EARLY_S: Final = 3e-4
LOOK_AT_KNOBS_EVERY_S: Final = 5e-3


def build_composer(settings: Settings, board: Board, clock: StreamClock) -> Part:
    """The composing model."""
    from firmware_py.processes.composer import ComposerStage
    from firmware_py.wiring import new_generator, open_composer_network

    generator = new_generator(settings, open_composer_network(settings))
    stage = ComposerStage(board, settings, generator, clock)
    return Part(stage, every(0.02), 1.0, _nothing)


def build_control(settings: Settings, board: Board, clock: StreamClock) -> Part:
    """Knobs, session log and journal."""
    from firmware_py.devices.session_log import SessionLog, session_path
    from firmware_py.processes.control import ControlStage
    from firmware_py.processes.watch import WatchStage

    log = SessionLog(session_path(os.environ) if settings.session.log else None)
    stage = ControlStage(board, settings, log)
    watch = WatchStage(board, log, warn, clock)

    class Both:
        def step(self) -> None:
            stage.step()
            watch.step()

    def close() -> None:
        stage.close()
        watch.close()
        log.close()

    return Part(Both(), every(0.1), 0.1, close)


BUILDERS: Final[Mapping[str, Builder]] = {
    "control": build_control,
    "midi": build_midi,
    "audio": build_audio,
    "dsp": build_dsp,
    "composer": build_composer,
}
"""In the order they start; they stop in reverse, so that ``midi`` outlives what sends it notes."""


def _die_with(supervisor: str | None) -> None:
    """Be asked to stop when the process that started this one is gone, however it went."""
    if supervisor is None:
        return
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != int(supervisor):
        os.kill(os.getpid(), signal.SIGTERM)


def notify(message: str, environment: Mapping[str, str]) -> None:
    """Tell systemd, where it asked to be told; never waits (systemd-python's notify blocks)."""
    address = environment.get("NOTIFY_SOCKET", "")
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as out:
        try:
            out.sendto(message.encode(), address.replace("@", "\0", 1))
        except OSError:
            return


def run_process(process: str, settings: Settings, builders: Mapping[str, Builder] = BUILDERS) -> int:
    """Run one process until SIGTERM or SIGINT: build and warm it, then make it real-time.

    Raises
    ------
    KellyError: a model, a device or the run directory refuses.
    """
    stop = Stop()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop.ask)
    _die_with(os.environ.get(SUPERVISOR))
    run_dir = make_run_dir(settings.runtime.run_dir)
    board, clock = file_board(run_dir, settings.audio.period), shared_clock(run_dir)
    part = builders[process](settings, board, clock)
    try:
        become_realtime(process, warn)
        if POLICIES[process].own_core and (text := throttling()):
            warn(text)
        notify("READY=1", os.environ)
        run_live(part.stage, part.wait, part.deadline_s, board.cells[f"times_{process}"], stop)
    finally:
        notify("STOPPING=1", os.environ)
        part.close()
    return 0


def silence_what_sounds(settings: Settings, run_dir: Path) -> int:
    """Release what a ``midi`` process that died left sounding; returns how many notes."""
    from firmware_py.devices.midi_ports import MidiPorts
    from firmware_py.devices.watched_midi import silence

    sounding = np.zeros((), SOUNDING_DTYPE)
    cell = file_board(run_dir, settings.audio.period).cells["sounding"]
    if not cell.read(sounding) or not sounding["is_on"].any():
        return 0
    ports = MidiPorts(settings.midi.outputs, warn)
    n_notes = silence(ports, sounding)
    ports.scan()
    ports.close()
    cell.write(np.zeros((), SOUNDING_DTYPE))
    return n_notes
