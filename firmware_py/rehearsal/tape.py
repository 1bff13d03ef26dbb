"""A tape machine on the dummy server, in a process of its own: ``IN.npy OUT.npy RATE``.

Plays float32 [n] at the server's rate and records float32 [n, 2] beside it: its own sound and the box's
answer. Both come through the same connection, so that their distance is the box's latency to the sample.
Starts when a line comes in on stdin; by then its ports must be connected."""

import os
import select
import sys

import numpy as np

from firmware_py.wiring.realtime import may_rise

# Frames, and periods of the buffer. Chosen: 2.7 ms, the middle of the box's settings; 43 ms of slack
# for a busy machine.
PERIOD = 128
N_PERIODS = 16


def main(played: str, recorded: str, rate_hz: int) -> None:
    """Play all of ``played``; write the sound recorded meanwhile."""
    # Imported here, so that the tests and the command that start this process need no ALSA themselves.
    import alsaaudio

    shape = {
        "device": "tape",
        "rate": rate_hz,
        "format": alsaaudio.PCM_FORMAT_FLOAT_LE,
        "periodsize": PERIOD,
        "periods": N_PERIODS,
    }
    samples = np.load(played)
    blocks = np.zeros((-(-len(samples) // PERIOD), PERIOD), np.float32)
    blocks.reshape(-1)[: len(samples)] = samples
    kept = np.zeros((len(blocks), PERIOD, 2), np.float32)
    if may_rise():
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(82))
    player = alsaaudio.PCM(alsaaudio.PCM_PLAYBACK, channels=1, **shape)
    recorder = alsaaudio.PCM(alsaaudio.PCM_CAPTURE, channels=2, **shape)
    silence = bytes(4 * PERIOD)
    for _ in range(N_PERIODS):
        player.write(silence)
    recorder.read()
    print("ready", flush=True)
    n_xruns = 0
    while not select.select([sys.stdin], (), (), 0)[0]:
        n_xruns += recorder.read()[0] < 0
        player.write(silence)
    n_xruns = 0
    for block, out in zip(blocks, kept, strict=True):
        n_frames, data = recorder.read()
        if n_frames == PERIOD:
            out[:] = np.frombuffer(data, np.float32).reshape(PERIOD, 2)
        n_xruns += n_frames < 0
        n_xruns += player.write(block.tobytes()) < 0
    np.save(recorded, kept.reshape(-1, 2))
    print(f"xruns {n_xruns}", flush=True)
    # A server that died meanwhile would hold us.
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
