"""The live wiring: each stage in a process of its own, between the run directory and real devices.

Each builder imports what its process needs and no more, so that ``audio`` stays small and far from the
models.
"""

import ctypes
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from firmware_py.board.map import SOUNDING_DTYPE, Board, Ends, file_board, memory_board
from firmware_py.board.pipes import PipeRing
from firmware_py.devices.files.clock import StreamClock, shared_clock
from firmware_py.devices.files.run_dir import RunDirWatch, make_run_dir
from firmware_py.devices.session.log import warn
from firmware_py.devices.systemd.service_manager import READY, STOPPING, ServiceManager
from firmware_py.settings import Settings
from firmware_py.wiring.loop import Stage, Stop, run_live
from firmware_py.wiring.pacing import every, nothing, wait_for
from firmware_py.wiring.realtime import POLICIES, become_realtime, hurry, throttling
from kelly_edge.contract import HEARD_DTYPE, HOP_SIZE, KEY_DTYPE, SAMPLE_RATE_HZ

SUPERVISOR: Final = "KELLY_EDGE_SUPERVISOR"
"""Environment: the process that started this one, and whose end is this one's."""
PR_SET_PDEATHSIG: Final = 1
"""Linux: an option of prctl(2)."""
EXIT_LOST: Final = 75
"""The run directory is not the one any more: the box must start again as a whole (sysexits' EX_TEMPFAIL).
From sysexits.h."""


@dataclass(frozen=True)
class Part:
    """A process, built: its stage, what it waits for, the deadline of a step, and how it ends."""

    stage: Stage
    wait: Callable[[], None]
    deadline_s: float
    close: Callable[[], None]


Builder = Callable[[Settings, Ends, StreamClock], Part]


def build_audio(settings: Settings, ends: Ends, clock: StreamClock) -> Part:
    """The sound card and the limiter."""
    from firmware_py.devices.offline import RecordingCard
    from firmware_py.processes.audio import AudioStage
    from firmware_py.wiring.cards import open_card
    from kelly_edge.signal.limiter import Limiter

    audio = settings.audio

    def new_limiter() -> Limiter:
        return Limiter(settings.limiter.ceiling_db, settings.limiter.release_ms)

    # Loud, so that the limiter works.
    loud = np.resize(np.array([2.0, -2.0], np.float32), N_WARM_PERIODS * audio.period)
    card = RecordingCard(loud, N_WARM_PERIODS, audio.period)
    warm = AudioStage(memory_board().ends("audio"), card, new_limiter(), audio.period)
    for _ in range(N_WARM_PERIODS):
        warm.step()
    live_card = open_card(audio, warn, settings.ears.listen)
    stage = AudioStage(ends, live_card, new_limiter(), audio.period)
    return Part(stage, live_card.wait, audio.period / SAMPLE_RATE_HZ, live_card.close)


N_WARM_PERIODS: Final = 16
"""Chosen by hand: caches are warm, and the card has not waited long."""


def build_dsp(settings: Settings, ends: Ends, clock: StreamClock) -> Part:
    """Emotion and voice."""
    from firmware_py.devices.files.compiled_cache import forget_damaged

    # The sealed cache of a box compiles again what is damaged, and cannot be written here.
    cache = os.environ.get("NUMBA_CACHE_DIR")
    if cache and "NUMBA_CACHE_LOCATOR_CLASSES" not in os.environ:
        forget_damaged(Path(cache), warn)
    from firmware_py.devices.files.place_file import kept_place, place_path
    from firmware_py.processes.dsp import DspStage
    from firmware_py.wiring.dsp_models import (
        new_place,
        new_voice,
        open_decoders,
        open_emotion,
        own_delay_s,
        uses_emopia,
    )
    from firmware_py.wiring.warm import warm_dsp

    emotion, decoders, period = open_emotion(settings), open_decoders(settings), settings.audio.period
    warm_dsp(settings, emotion, decoders, clock)
    place = new_place(settings, kept_place(place_path(settings.runtime.state_dir, os.environ), warn))
    voice, listen = new_voice(settings, decoders), settings.ears.listen
    delay_s = own_delay_s(settings)
    stage = DspStage(ends, emotion, voice, period, clock, place, listen, uses_emopia(settings), delay_s)
    block = np.zeros(period, np.float32)
    # Sound captured and keys struck while there was no dsp are too old to answer.
    capture, key = ends.ring_to_read("capture"), np.zeros((), KEY_DTYPE)
    keys, own = ends.ring_to_read("keys"), ends.ring_to_read("own")
    while capture.read(block) or keys.read(key) or own.read(key):
        continue
    return Part(stage, wait_for(capture, 0.1), HOP_SIZE / SAMPLE_RATE_HZ, nothing)


def build_midi(settings: Settings, ends: Ends, clock: StreamClock) -> Part:
    """The MIDI outputs."""
    from firmware_py.devices.midi.outputs import MidiPorts
    from firmware_py.devices.midi.watched import ON_TIME_S, WatchedMidi
    from firmware_py.processes.midi import MidiStage
    from firmware_py.processes.midi_clock import ClockedMidi, MidiClock, NoteStage
    from firmware_py.wiring.guardian import silence_outputs
    from firmware_py.wiring.midi_pace import QUIET_S, MidiPace
    from firmware_py.wiring.warm import warm_midi

    warm_midi()
    # What one before it left sounding, should the guardian be gone too.
    silence_outputs(ends, settings.midi.outputs, lambda text: None)
    ports = MidiPorts(settings.midi.outputs, warn)
    out = WatchedMidi(ports, ends.cell_to_write("sounding"), clock, np.zeros((), SOUNDING_DTYPE))
    notes = MidiStage(ends, out, clock)
    stage: NoteStage = notes
    quiet_s = QUIET_S
    if settings.midi.clock:
        latency_s = 1e-3 * settings.midi.latency_ms
        stage = ClockedMidi(notes, MidiClock(ends.ring_to_read("bars"), ports, clock, latency_s))
        quiet_s = QUIET_BETWEEN_PULSES_S
    pace = MidiPace(
        stage, ends.ring_to_read("notes"), out, ports, clock, ends.cell_to_write("send_error"), quiet_s
    )
    return Part(stage, pace.wait, ON_TIME_S, pace.close)


QUIET_BETWEEN_PULSES_S: Final = 8e-3
"""With MIDI clock on, nothing is ever quieter: a pulse comes every 8 to 60 ms. Chosen: the shortest of
these."""


def build_composer(settings: Settings, ends: Ends, clock: StreamClock) -> Part:
    """The composing model."""
    from firmware_py.devices.files.programmes import open_programmes
    from firmware_py.processes.composer import ComposerStage
    from firmware_py.wiring.composer_models import BeatingNetwork, new_generator, open_composer_network
    from firmware_py.wiring.warm import warm_composer

    warm_composer()
    network = BeatingNetwork(open_composer_network(settings))
    generator, programmes = new_generator(settings, network), open_programmes(settings)
    stage = ComposerStage(ends, settings, generator, clock, programmes=programmes)
    network.beat = stage.beat
    heard, ring = np.zeros((), HEARD_DTYPE), ends.ring_to_read("heard")
    # Hop groups heard while there was no composer are past.
    while ring.read(heard):
        continue
    return Part(stage, wait_for(ring, 0.05), 1.0, nothing)


def build_control(settings: Settings, ends: Ends, clock: StreamClock) -> Part:
    """Knobs, session log, reports and controllers."""
    from firmware_py.wiring.control import open_control

    parts = open_control(settings, ends, clock)
    return Part(parts, parts.pace(0.1), 0.1, parts.close)


def build_guardian(settings: Settings, ends: Ends, clock: StreamClock) -> Part:
    """Who decides on panics, and releases the notes of a ``midi`` that is gone."""
    from firmware_py.wiring.guardian import LOOK_EVERY_S, GuardianStage
    from firmware_py.wiring.panic import open_panic

    stage = GuardianStage(ends, settings.midi.outputs, warn, open_panic(settings, ends, clock, warn))
    return Part(stage, every(LOOK_EVERY_S), SILENT_WITHIN_S, stage.act)


SILENT_WITHIN_S: Final = 0.25
"""Time without a step after which the part counts as hung. Chosen: what a panic may take."""


BUILDERS: Final[Mapping[str, Builder]] = {
    "guardian": build_guardian,
    "control": build_control,
    "midi": build_midi,
    "audio": build_audio,
    "dsp": build_dsp,
    "composer": build_composer,
}
"""In the order they start; they stop in reverse, so that ``midi`` outlives what sends it notes, and
``guardian`` ``midi``."""


def die_with(supervisor: str | None) -> None:
    """Be asked to stop when the process that started this one is gone, however it went."""
    if supervisor is None:
        return
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != int(supervisor):
        os.kill(os.getpid(), signal.SIGTERM)


@contextmanager
def _leaving_at_once() -> Iterator[None]:
    """Within, SIGTERM and SIGINT end the process with exit code 0 whatever it does.

    A handler in Python waits for the end of a long call into a library, and an exception from it may be
    caught there; the interpreter's own part of the handler does neither, and wakes a thread.
    """
    done = b"\0"
    reading, writing = os.pipe()
    os.set_blocking(writing, False)

    def watch() -> None:
        if os.read(reading, 1) != done:
            os._exit(0)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    before = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    for number in STOPPING_SIGNALS:
        signal.signal(number, lambda *_: os._exit(0))
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        os.write(writing, done)
        thread.join()
        os.close(reading)
        os.close(writing)


STOPPING_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


class BoardWatch:
    """Tells of bytes in a ring that are none of ours, and whether the run directory is still the same."""

    def __init__(self, board: Board, run_dir: Path) -> None:
        self._files = RunDirWatch(run_dir)
        self._rings = {name: ring for name, ring in board.rings.items() if isinstance(ring, PipeRing)}
        self._n_foreign = 0
        self._run_dir = run_dir

    def is_whole(self) -> bool:
        """Look."""
        n_foreign = sum(ring.n_foreign for ring in self._rings.values())
        if n_foreign != self._n_foreign:
            if not self._n_foreign:
                found = ", ".join(name for name, ring in self._rings.items() if ring.n_foreign)
                warn(f"something else writes into {self._run_dir} ({found}): its bytes are passed over")
            self._n_foreign = n_foreign
        return self._files.is_whole()


def run_process(process: str, settings: Settings, builders: Mapping[str, Builder] = BUILDERS) -> int:
    """Run one process until SIGTERM or SIGINT: build and warm it, then make it real-time.

    Asked to stop while it is being built it leaves at once: compiling may take minutes, and whoever stops it
    waits for seconds.

    Raises
    ------
    KellyError: a model, a device or the run directory refuses.
    """
    hurry(os.getpid())
    stop = Stop()
    with _leaving_at_once():
        die_with(os.environ.get(SUPERVISOR))
        run_dir = make_run_dir(settings.runtime.run_dir)
        board, clock = file_board(run_dir, settings.audio.period), shared_clock(run_dir)
        watch = BoardWatch(board, run_dir)
        ends = board.ends(process)
        part = builders[process](settings, ends, clock)
        for number in STOPPING_SIGNALS:
            signal.signal(number, stop.ask)
    manager = ServiceManager(os.environ)
    try:
        become_realtime(process, warn)
        if POLICIES[process].own_core and (text := throttling()):
            warn(text)
        manager.tell(READY)
        is_whole = run_live(
            part.stage,
            part.wait,
            part.deadline_s,
            ends.cell_to_write(f"times_{process}"),
            stop,
            manager.alive,
            watch.is_whole,
        )
        # A supervisor says so itself, once for all.
        if not is_whole and SUPERVISOR not in os.environ:
            warn(f"{run_dir} was removed or replaced; {process} starts again, as the others do")
    finally:
        manager.tell(STOPPING)
        part.close()
        manager.close()
    return 0 if is_whole else EXIT_LOST
