"""``make rehearse``: the shipped box plays to a recording on a dummy server; its figures are printed.

``rehearse.py recording [SECONDS]`` plays with the real models, through JACK and a raw device at once, and
compares what was sent with what was due, with what arrived and with what the offline wiring composes.
``rehearse.py stress [SECONDS]`` counts xruns beside stress-ng, with real-time priority and without, and
measures the round trip.
``rehearse.py start`` starts the box with the real models five times while somebody plays already, and
measures from the start of the process to the first note. Times are only as good as the machine is idle.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from rig import Box, JackReceiver, Receiver, children, clock_start_s, round_trips, wait_until

from firmware_py.board.channels import Ring
from firmware_py.board.map import ALIVE_DTYPE
from firmware_py.board.pipes import CellView
from firmware_py.board.telemetry import TIMES_DTYPE, as_dict, new_counters, summary_ms
from firmware_py.commands.demo import demo_recording
from firmware_py.devices.files.audio_file import read_audio
from firmware_py.rehearsal.server import DummyServer, Tape
from firmware_py.settings import Settings
from firmware_py.wiring.loop import Stage
from firmware_py.wiring.offline import Offline, open_models
from kelly_edge.contract import GROUP_S, HEARD_DTYPE, SAMPLE_RATE_HZ
from kelly_edge.latency import algorithmic_latency, card_latency, total_samples

SAME_ONSET_S = 0.03
N_STARTS = 5


def counters(box: Box, process: str) -> dict[str, int]:
    """What ``process`` counted up to now."""
    record = new_counters(process)
    CellView(box.run_dir / f"telemetry_{process}.cell", record.dtype).read(record)
    return as_dict(record)


def notes_received(receiver: Receiver) -> list[tuple[float, int]]:
    """(CLOCK_MONOTONIC, pitch) of each note-on."""
    return [(at_s, pitch) for at_s, status, pitch, _ in list(receiver.received) if status & 0xF0 == 0x90]


def same_share(live: list[tuple[float, int]], offline: list[tuple[float, int]]) -> float:
    """Share of all notes that have a partner: same pitch, onset within ``SAME_ONSET_S``."""
    left, n_same = list(live), 0
    for onset_s, pitch in offline:
        match = next((n for n in left if n[1] == pitch and abs(n[0] - onset_s) <= SAME_ONSET_S), None)
        if match is not None:
            left.remove(match)
            n_same += 1
    return 2.0 * n_same / max(1, len(live) + len(offline))


class Later:
    """``stage``, which begins with hop group ``first``: nobody hears those before."""

    def __init__(self, stage: Stage, heard: Ring, first: int) -> None:
        self._stage, self._heard, self._n_left = stage, heard, first
        self._record = np.zeros((), HEARD_DTYPE)

    def step(self) -> None:
        if self._n_left:
            self._heard.read(self._record)
            self._n_left -= 1
        else:
            self._stage.step()


def offline_notes(hops: np.ndarray, first_group: int) -> list[tuple[float, int]]:
    """What the offline wiring composes for ``hops`` (float32 [n, 256]): (s after ``first_group``, pitch).

    The composer is there from ``first_group`` on.
    """
    settings = Settings()
    offline = Offline(settings, open_models(settings), hops.reshape(-1))
    later = Later(offline.composer, offline.board.rings["heard"], first_group)
    offline.turns = [replace(t, stage=later) if t.stage is offline.composer else t for t in offline.turns]
    begin_s = (first_group + 1) * GROUP_S
    return [(float(note["onset_s"]) - begin_s, int(note["pitch"])) for note in offline.run().notes]


def recording(seconds: float) -> dict[str, Any]:
    """One performance, measured."""
    demo = read_audio(demo_recording()).samples
    samples = np.resize(demo, round(seconds * SAMPLE_RATE_HZ))
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        server = DummyServer(folder)
        server.start()
        os.environ.update(server.env)
        piano = JackReceiver()
        taped = folder / "hops.npz"
        box = Box(folder, {**server.env, "KELLY_TEST_HOPS": str(taped)}, output="both")
        try:
            # Connected before the others are up: nobody waits for the first sound.
            wait_until(lambda: "kelly_edge-01:out_000" in server.ports(), 20)
            found["card open after start, s"] = time.monotonic() - box.started_s
            tape = Tape(server, folder, samples)
            wait_until(lambda: len(children(box.popen.pid)) == 6, 10)
            wait_until((box.run_dir / "alive.cell").exists, 10)
            wait_until(lambda: counters(box, "composer")["n_bars"] > 0, 10)
            wait_until(lambda: counters(box, "dsp")["n_hops"] > 0, 10)
            found["all stages run after start, s"] = time.monotonic() - box.started_s
            xruns = counters(box, "audio")
            tape_s = tape.play()
            wait_until(lambda: box.receiver.n_note_ons > 0, 20)
            found["first note after the recording began, s"] = time.monotonic() - tape_s
            tape.recorded()
            found["PSS, MB"] = {k: round(v) for k, v in box.memory_mb().items()}
            found["PSS of all, MB"] = round(sum(box.memory_mb().values()))
            after = counters(box, "audio")
            found["audio, risen"] = {k: after[k] - xruns[k] for k in after if k != "n_periods"}
            start_s = clock_start_s(box.run_dir)
            alive = np.zeros((), ALIVE_DTYPE)
            CellView(box.run_dir / "alive.cell", ALIVE_DTYPE).read(alive)
            errors = np.zeros((), TIMES_DTYPE)
            time.sleep(0.6)
            CellView(box.run_dir / "send_error.cell", TIMES_DTYPE).read(errors)
        finally:
            box.stop()
            box.close()
            piano.close()
            server.stop()
        entries, heard = box.session(), dict(np.load(taped))
    found["send error, ms"] = summary_ms(errors)
    played = [(e["due_s"], e["pitch"]) for e in entries if e["kind"] == "note"]
    raw, jack = notes_received(box.receiver), notes_received(piano)
    found["notes logged / received raw / received on JACK"] = (len(played), len(raw), len(jack))
    found["same pitches in the same order"] = (
        [p for _, p in played] == [p for _, p in raw],
        [p for _, p in played] == [p for _, p in jack],
    )
    if len(raw) == len(played):
        due = np.array([t for t, _ in played])
        late_ms = 1e3 * (np.array([t for t, _ in raw]) - start_s - due)
        slope = np.polyfit(due, late_ms, 1)[0]
        found["arrival after due, raw, ms p50 / p99"] = [
            round(float(np.quantile(late_ms, q)), 3) for q in (0.5, 0.99)
        ]
        found["drift over the performance, ms"] = round(float(slope * (due[-1] - due[0])), 3)
    first_group = int(np.searchsorted(heard["group_s"], float(alive["born_s"])))
    begin_s = float(heard["group_s"][first_group])
    live = [(t - begin_s, p) for t, p in played]
    found["share of notes as offline, for the same sound"] = same_share(
        live, offline_notes(heard["hops"], first_group)
    )
    return found


def stress(seconds: float) -> dict[str, Any]:
    """Xruns and round trip beside stress-ng, as real-time processes and as ordinary ones."""
    settings = Settings()
    expected = total_samples((*algorithmic_latency(0), card_latency(settings.audio)))
    found: dict[str, Any] = {"round trip by check, samples": expected}
    for name, ordinary in (("FIFO", ""), ("ordinary", "1")):
        with tempfile.TemporaryDirectory() as folder_name:
            folder = Path(folder_name)
            server = DummyServer(folder)
            server.start()
            os.environ.update(server.env)
            box = Box(folder, {**server.env, "KELLY_TEST_ORDINARY": ordinary})
            load = ["stress-ng", "--cpu", "4", "--vm", "1", "--vm-bytes", "64M", "--quiet"]
            every = 9_600
            impulses = np.zeros(round(seconds * SAMPLE_RATE_HZ), np.float32)
            impulses[every // 2 :: every] = 0.5
            stressed: subprocess.Popen[bytes] | None = None
            try:
                box.plays(20)
                tape = Tape(server, folder, impulses)
                time.sleep(1.0)
                stressed = subprocess.Popen(load)
                time.sleep(1.0)
                before = counters(box, "audio")
                tape.play()
                time.sleep(seconds / 2)
                # One xrun by force, in the middle.
                os.kill(box.pid("audio"), signal.SIGUSR1)
                trips = round_trips(tape.recorded(), every)
                after = counters(box, "audio")
            finally:
                if stressed is not None:
                    stressed.terminate()
                    stressed.wait()
                box.stop()
                box.close()
                server.stop()
        risen = {k: after[k] - before[k] for k in after if k != "n_periods"}
        found[name] = {
            "seconds": seconds,
            "risen, one xrun of them forced": risen,
            "round trips, samples": Counter(map(str, trips)),
        }
    return found


def start(seconds: float) -> dict[str, Any]:
    """Process start to the first note, with somebody playing at other places of ``seconds`` of the demo."""
    demo = read_audio(demo_recording()).samples
    found: dict[str, Any] = {}
    for begin_s in np.linspace(0.0, seconds, N_STARTS, endpoint=False):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            server = DummyServer(folder)
            server.start()
            os.environ.update(server.env)
            tape = Tape(server, folder, np.roll(demo, -round(begin_s * SAMPLE_RATE_HZ)), connected=False)
            tape.play()
            box = Box(folder, server.env, stand_ins=False)
            try:
                wait_until(lambda: "kelly_edge:in_000" in server.ports(), 20)  # noqa: B023
                tape.connect()
                heard_s = time.monotonic() - box.started_s
                wait_until(lambda: box.receiver.n_note_ons > 0, 20)  # noqa: B023
                first_s = time.monotonic() - box.started_s
            finally:
                tape.close()
                box.stop()
                box.close()
                server.stop()
        found[f"playing from {begin_s:.0f} s"] = {"heard after, s": heard_s, "first note after, s": first_s}
    return found


WHAT: dict[str, Callable[[float], dict[str, Any]]] = {
    "recording": recording,
    "stress": stress,
    "start": start,
}

if __name__ == "__main__":
    what = sys.argv[1]
    result = WHAT[what](float(sys.argv[2]) if len(sys.argv) > 2 else 60.0)
    print(json.dumps(result, indent=2))
    sys.stdout.flush()
    os._exit(0)
