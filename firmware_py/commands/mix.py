"""``mix.wav``: the player, the answer on a General MIDI instrument and the voice, as they sound together.

The answer is rendered by fluidsynth, as an aid to listening alone: where it or a sound font is not installed,
there is no mix, and everything else is as it would be.
"""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
import soundfile
from numpy.typing import NDArray

from firmware_py.devices.files.output import OutputFolder, WavWriter
from kelly_edge.contract import SAMPLE_RATE_HZ
from kelly_edge.errors import OutputError
from kelly_edge.signal.limiter import Limiter
from kelly_edge.units import db_to_gain

NAME: Final = "mix.wav"
FONTS: Final = tuple(
    Path("/usr/share/sounds", name)
    for name in (
        "sf2/FluidR3_GM.sf2",
        "sf3/MuseScore_General_Lite.sf3",
        "sf3/MuseScore_General.sf3",
        "sf2/default-GM.sf2",
        "sf3/default-GM.sf3",
        "sf2/TimGM6mb.sf2",
    )
)
"""Where Debian's packages put General MIDI fonts, the fullest piano first."""
PLAYER_DB, ANSWER_DB, VOICE_DB = -3.0, -3.0, -6.0
"""Levels in the mix. The player and the answer, whose loudness is alike, are heard apart. Chosen by hand."""
BLOCK: Final = 4_096
"""Samples mixed at a time: as many as the limiter takes. Follows from ``limiter.Limiter``."""


def font() -> Path | None:
    """The sound font that would be used; None where fluidsynth or every font is missing."""
    if shutil.which("fluidsynth") is None:
        return None
    return next((path for path in FONTS if path.is_file()), None)


def mix(
    output: OutputFolder, player: Iterator[NDArray[np.float32]], with_font: Path, limiter: Limiter
) -> None:
    """Write ``mix.wav`` from the player's sound (mono, 48 kHz) and the ``output``'s other results.

    Raises
    ------
    OutputError: fluidsynth failed.
    """
    parts = (
        (PLAYER_DB, _evenly(player)),
        (ANSWER_DB, _evenly(rendered(output.path("performance.mid"), with_font))),
        (VOICE_DB, _evenly(_read(output.path("voice.wav")))),
    )
    with WavWriter(output, NAME, SAMPLE_RATE_HZ) as wav:
        while True:
            mixed = np.zeros(BLOCK, np.float32)
            blocks = [(db_to_gain(level_db), next(part, None)) for level_db, part in parts]
            if all(block is None for _, block in blocks):
                return
            for gain, block in blocks:
                if block is not None:
                    mixed += np.float32(gain) * block
            limiter.process(mixed)
            wav.write(mixed)


def _evenly(blocks: Iterator[NDArray[np.float32]]) -> Iterator[NDArray[np.float32]]:
    """The same samples in blocks of ``BLOCK``, the last one filled with zeros."""
    waiting = np.zeros(0, np.float32)
    for block in blocks:
        waiting = np.concatenate([waiting, block])
        while len(waiting) >= BLOCK:
            yield waiting[:BLOCK]
            waiting = waiting[BLOCK:]
    if len(waiting):
        yield np.pad(waiting, (0, BLOCK - len(waiting)))


def _read(path: Path) -> Iterator[NDArray[np.float32]]:
    with soundfile.SoundFile(path) as file:
        yield from file.blocks(BLOCK, dtype="float32")


def rendered(midi: Path, with_font: Path) -> Iterator[NDArray[np.float32]]:
    """Mono blocks of ``midi`` through ``with_font``, read from fluidsynth as it renders."""
    command = ["fluidsynth", "-ni", "-q", "-r", str(SAMPLE_RATE_HZ), "-g", "1.0", "-O", "s16", "-T", "raw"]
    command += ["-F", "/dev/stdout", str(with_font), str(midi)]
    n_samples = 0
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as synth:
        assert synth.stdout is not None
        while data := synth.stdout.read(4 * BLOCK):
            pairs = np.frombuffer(data[: len(data) // 4 * 4], "<i2").reshape(-1, 2)
            n_samples += len(pairs)
            yield pairs.mean(axis=1).astype(np.float32) / 32_768.0
    if synth.returncode != 0 or n_samples == 0:
        raise OutputError(f"fluidsynth rendered nothing with {with_font} (status {synth.returncode})")
