"""``kelly-edge voice``: let a voice of the box answer a recording, without music."""

import argparse
from pathlib import Path
from typing import Any, Final

from firmware_py.commands.common import Bar, print_summary, settings_of, sources_of
from firmware_py.commands.heard import DIGITS
from firmware_py.devices.files.audio_file import read_audio
from firmware_py.devices.files.output import OutputFolder, WavWriter
from firmware_py.settings import Settings
from firmware_py.wiring.offline import Offline, Progress, open_models
from kelly_edge.contract import SAMPLE_RATE_HZ
from kelly_edge.shared.printed import printed
from kelly_edge.units import gain_to_db

SILENT_VOICE: Final = 1e-5
"""Peak of a voice that nobody hears: -100 dBFS. Chosen: below what 16-bit recordings hold."""


def run(args: argparse.Namespace) -> int:
    """The sub-command."""
    more = [f"voice.selected={args.voice}"] if args.voice else []
    with Bar("speaking") as bar:
        summary = speak(args.recording, args.out, settings_of(args, more), bar, args.config)
    print_summary(summary, args.json)
    return 0


def speak(
    path: Path, out: Path, settings: Settings, progress: Progress, config: Path | None = None
) -> dict[str, Any]:
    """Write the voice's answer alone to the .wav file ``out``, no music; ``config`` as in ``play``."""
    sources = sources_of(path, settings, config)
    recording = read_audio(path)
    with OutputFolder(out.parent, [out.name], sources) as output:
        models = open_models(settings)
        with WavWriter(output, out.name, SAMPLE_RATE_HZ) as wav:
            Offline(settings, models, recording, composer=False, play=wav.write).run(progress)
    notices = list(recording.notices)
    if wav.peak < SILENT_VOICE:
        name = printed(str(path), 300)
        notices.append(
            f"{name}: the voice stays silent: no note is clear and loud enough "
            f"({recording.level_db:.0f} dBFS; see voice.gate_db and voice.gate_confidence)"
        )
    return {
        "seconds": round(recording.duration_s, DIGITS),
        "voice": settings.voice.selected,
        "voice_peak_dbfs": round(gain_to_db(wav.peak), DIGITS),
        "files": [str(out)],
        "notices": notices,
    }
