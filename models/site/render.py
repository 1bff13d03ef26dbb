"""Render the site's examples: each recording, and what the box makes of it, as a browser can play them.

    python -m models.site.render [--font FONT] [--out out/hear]

Nothing is done where the sounds that are there came from the same models, code, pieces and font: ``digest``
is kept beside them, and the site shows none that are stale.
"""

import hashlib
import json
import shutil
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import soundfile
from numpy.typing import NDArray

import firmware_py
import kelly_edge
import models
from firmware_py.commands import mix
from firmware_py.commands.demo import demo_recording
from firmware_py.commands.play import play
from firmware_py.devices.files.audio_file import read_audio
from firmware_py.devices.files.config_file import load_settings
from firmware_py.report import write_report
from kelly_edge.contract import SAMPLE_RATE_HZ
from kelly_edge.errors import DataError, KellyError
from kelly_edge.shared.command_line import Parser, command, path_argument
from models.score import render
from models.site.pieces import PIECES

FONT: Final = Path("/usr/share/sounds/sf2/FluidR3_GM.sf2")
FOLDER: Final = Path("out/hear")
LIST: Final = "examples.json"
BEFORE, AFTER, PICTURE, REPORT = "before.mp3", "after.mp3", "session.png", "report.html"
DIGEST_OF: Final = ("*.py", "*.yaml", "shipped/*", "demo/*")
"""Files of our packages that the sounds may depend on."""
SQUEEZED: Final = 0.65
"""How far MP3 squeezes, of libsndfile's 0..1. Chosen: about 112 kbit/s for one channel, without a fault to be
heard in a piano."""


@dataclass(frozen=True)
class Example:
    """A recording, and the settings with which the box plays to it."""

    name: str
    title: str
    about: str
    settings: tuple[str, ...] = ()

    @property
    def typed(self) -> str:
        """What a reader types to hear the same."""
        options = "".join(f" --set {text}" for text in self.settings)
        return f"kelly-edge play {self.name}.flac --out answer{options}"


EXAMPLES: Final = (
    Example(
        "greensleeves-to-joy",
        "From sad to happy",
        "Greensleeves, slow and soft in minor, becomes the Ode to Joy, quick and loud in major: the demo.",
    ),
    Example(
        "prelude",
        "A prelude",
        "Bach's Prelude in C on a piano: calm and even. The voice is a warm pad.",
        ("voice.selected=pad",),
    ),
    Example(
        "amazing-grace",
        "A flute alone",
        "Amazing Grace on a flute, without harmony: the box finds chords to it. The voice is a cello.",
        ("voice.selected=cello", "voice.octave=-1"),
    ),
    Example(
        "mountain-king",
        "A storm",
        "Grieg's Mountain King, ever louder and quicker, met at its strength. The voice is a saxophone.",
        ("voice.selected=saxophone", "emotion.programme=vent-and-settle"),
    ),
    Example(
        "lullaby",
        "A lullaby",
        "Brahms's Lullaby on a guitar, slow and soft. The voice is a soft piano.",
        ("voice.selected=soft_piano", "emotion.programme=calm-in-15"),
    ),
)


def digest(font: Path = FONT) -> str:
    """A hash of all that the sounds depend on: models, code, recordings, the font's name and size."""
    found = hashlib.sha256(f"{font.name} {font.stat().st_size if font.is_file() else 0}".encode())
    for package in (kelly_edge, firmware_py, models):
        root = Path(str(package.__file__)).parent
        for path in sorted({path for pattern in DIGEST_OF for path in root.rglob(pattern)}):
            # The workshop trains; of it only what makes these recordings is heard.
            within = path.relative_to(root)
            if not path.is_file() or (
                package is models and within.parts[0] not in ("shipped", "site", "score.py")
            ):
                continue
            found.update(f"{package.__name__}/{within}\0".encode() + path.read_bytes() + b"\0")
    return found.hexdigest()


def rendered(folder: Path, of: str) -> list[dict[str, Any]]:
    """The examples in ``folder``, as their list tells of them; none where they are stale or not there."""
    try:
        told = json.loads((folder / LIST).read_text(encoding="utf-8"))
        fresh = told["digest"] == of
        return list(told["examples"]) if fresh else []
    except (OSError, ValueError, KeyError, TypeError):
        return []


def render_all(folder: Path, font: Path = FONT) -> list[dict[str, Any]]:
    """Render every example into ``folder``, which is replaced as a whole; what its list tells of them.

    Raises
    ------
    DataError: fluidsynth or the font is missing.
    """
    if mix.font() is None or not font.is_file():
        raise DataError(f"no {font} or no fluidsynth; apt-get install fluidsynth fluid-soundfont-gm")
    # First: what is edited meanwhile is not heard.
    now = digest(font)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".hear-") as name:
        made = Path(name, "hear")
        told = [_render(example, made / "hear" / example.name, font) for example in EXAMPLES]
        text = json.dumps({"digest": now, "examples": told}, indent=1)
        (made / LIST).write_text(text, encoding="utf-8")
        if folder.exists():
            shutil.rmtree(folder)
        made.rename(folder)
    return told


def _render(example: Example, folder: Path, font: Path) -> dict[str, Any]:
    folder.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as name:
        recording = Path(name) / f"{example.name}.flac"
        if (piece := PIECES.get(example.name)) is None:
            shutil.copyfile(demo_recording(), recording)
        else:
            render(piece(), font, recording)
        played = Path(name) / example.name
        settings = load_settings(None, list(example.settings))
        summary = play(recording, played, settings, lambda share: None, picture=True, with_mix=True)
        write_report(played, folder / REPORT)
        shutil.copyfile(played / PICTURE, folder / PICTURE)
        _squeeze(read_audio(recording).samples, folder / BEFORE)
        _squeeze(read_audio(played / mix.NAME).samples, folder / AFTER)
    heard = {key: summary[key] for key in ("seconds", "heard", "n_notes")}
    return {**asdict(example), "typed": example.typed, **heard}


def _squeeze(samples: NDArray[np.float32], path: Path) -> None:
    soundfile.write(
        path, samples, SAMPLE_RATE_HZ, format="MP3", subtype="MPEG_LAYER_III",
        compression_level=SQUEEZED, bitrate_mode="VARIABLE",
    )  # fmt: skip


@command("models.site.render", KellyError)
def main() -> int:
    """Command line."""
    parser = Parser(description=__doc__)
    parser.add_argument("--font", type=path_argument, default=FONT)
    parser.add_argument("--out", type=path_argument, default=FOLDER)
    args = parser.parse_args()
    if rendered(args.out, digest(args.font)):
        print(f"{args.out} is what these models and this code play")
        return 0
    for example in render_all(args.out, args.font):
        print(f"{example['name']:>20}  {example['seconds']:.0f} s, {example['n_notes']} notes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
