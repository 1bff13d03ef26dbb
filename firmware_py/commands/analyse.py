"""``kelly-edge analyse``: write the pitch, loudness, features and emotion heard in a recording."""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from firmware_py.commands.analysis import Analysis
from firmware_py.commands.common import Bar, print_summary, settings_of, sources_of
from firmware_py.commands.heard import DIGITS, Heard
from firmware_py.devices.files.audio_file import read_audio
from firmware_py.devices.files.output import OutputFolder, write_npz
from firmware_py.settings import Settings
from firmware_py.wiring.offline import Offline, Progress, open_models


def run(args: argparse.Namespace) -> int:
    """The sub-command."""
    with Bar("analysing") as bar:
        summary = analyse(args.recording, args.out, settings_of(args), bar, args.config)
    print_summary(summary, args.json)
    return 0


def analyse(
    path: Path, out: Path, settings: Settings, progress: Progress, config: Path | None = None
) -> dict[str, Any]:
    """Write the analysis to the .npz file ``out``, see ``Analysis``; ``config`` as in ``play``."""
    sources = sources_of(path, settings, config)
    recording = read_audio(path)
    with OutputFolder(out.parent, [out.name], sources) as output, Analysis(output) as analysis:
        heard = Heard(analysis)
        offline = Offline(settings, open_models(settings), recording, play=_nobody, journal=heard)
        offline.run(progress, lambda n_done: analysis.note_down(offline.dsp))
        arrays = analysis.arrays()
        write_npz(output, out.name, arrays)
    return {
        "seconds": round(recording.duration_s, DIGITS),
        "arrays": {name: list(values.shape) for name, values in arrays.items()},
        "files": [str(out)],
        "notices": [*recording.notices, *heard.notices(recording)],
    }


def _nobody(block: NDArray[np.float32]) -> None:
    """Nobody listens."""
