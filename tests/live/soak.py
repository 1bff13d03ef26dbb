"""``make soak``: the shipped box plays for MINUTES; memory and descriptors of every process are watched.

``soak.py MINUTES``. After a warm-up of a tenth, at most five minutes, resident memory may rise by 1 MB an
hour a process and descriptors stay as they are. Exit code 1 where they do not.
"""

import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from rig import Box, children, n_descriptors, rss_mb, wait_until

from firmware_py.board.telemetry import as_dict, new_counters
from firmware_py.commands.demo import demo_recording
from firmware_py.devices.files.audio_file import read_audio
from firmware_py.rehearsal.server import DummyServer, Tape
from kelly_edge.contract import SAMPLE_RATE_HZ

LOOK_EVERY_S = 5.0
MB_PER_HOUR = 1.0


def watch(box: Box, seconds: float) -> dict[str, list[tuple[float, float, int]]]:
    """Process → (time in seconds, resident MB, descriptors), every ``LOOK_EVERY_S``."""
    pids = {"supervisor": box.popen.pid, **children(box.popen.pid)}
    seen: dict[str, list[tuple[float, float, int]]] = {name: [] for name in pids}
    begin_s = time.monotonic()
    while (now_s := time.monotonic() - begin_s) < seconds:
        for name, pid in pids.items():
            seen[name].append((now_s, rss_mb(pid), n_descriptors(pid)))
        time.sleep(LOOK_EVERY_S)
    return seen


def main(minutes: float) -> int:
    """Print a row per process; the exit code."""
    seconds = 60.0 * minutes
    warm_s = min(300.0, seconds / 10.0)
    demo = read_audio(demo_recording()).samples
    n_failed = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        server = DummyServer(folder)
        server.start()
        os.environ.update(server.env)
        box = Box(folder, server.env, stand_ins=False)
        try:
            wait_until(lambda: "kelly_edge-01:out_000" in server.ports(), 30)
            wait_until((box.run_dir / "alive.cell").exists, 30)
            tape = Tape(server, folder, np.resize(demo, round((seconds + 10.0) * SAMPLE_RATE_HZ)))
            tape.play()
            pids = children(box.popen.pid)
            box.plays(60)
            seen = watch(box, seconds)
            assert children(box.popen.pid) == pids, "a process was started again"
            tape.close()
        finally:
            box.stop()
            box.close()
            server.stop()
        session = box.session()
    print(f"{minutes:g} minutes, the first {warm_s:.0f} s not counted")
    for process, rows in seen.items():
        kept = np.array([row for row in rows if row[0] >= warm_s])
        slope = 3_600.0 * float(np.polyfit(kept[:, 0], kept[:, 1], 1)[0])
        n_fds = sorted(set(kept[:, 2].astype(int).tolist()))
        is_fine = slope <= MB_PER_HOUR and len(n_fds) == 1
        n_failed += not is_fine
        print(
            f"{process:>10}  {kept[0, 1]:6.1f} to {kept[-1, 1]:6.1f} MB, {slope:+6.2f} MB/h, "
            f"descriptors {n_fds}{'' if is_fine else '  FAILED'}"
        )
    for process in ("audio", "midi", "composer"):
        counted = [e for e in session if e["kind"] == "counters" and e["process"] == process][-1]
        print(process, {k: counted[k] for k in as_dict(new_counters(process)) if counted.get(k)})
    return int(n_failed > 0)


if __name__ == "__main__":
    code = main(float(sys.argv[1]) if len(sys.argv) > 1 else 30.0)
    sys.stdout.flush()
    # A client of a server that is gone would hold us.
    os._exit(code)
