"""Which runtime and precision this board runs fastest: measured once by ``kelly-edge bench --store``.

INT8 is not faster everywhere, nor is one runtime (armnn #511; a Cortex-A72 needs four times the instructions
of ai-edge-litert for the same file in tflite-runtime). ``runtime.tflite: auto`` takes what is kept here.
"""

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from firmware_py.devices.files.kept import UNREADABLE, read_json, replace_file, set_aside, state_root
from firmware_py.devices.session.log import warn as warn_person
from firmware_py.runtimes.tflite import RUNTIME_MODULES
from kelly_edge.errors import OutputError

AUTO: Final = "auto"
EMOTION_MODELS: Final[Mapping[str, str]] = {"int8": "emotion_model", "float32": "emotion_model_float32"}
"""Precision → the shipped emotion model of it."""


@dataclass(frozen=True)
class Choice:
    """``tflite`` is a key of ``RUNTIME_MODULES``, ``precision`` one of ``EMOTION_MODELS``."""

    tflite: str = "ai_edge_litert"
    precision: str = "int8"


def choice_path(state_dir: str = "", environment: Mapping[str, str] = os.environ) -> Path:
    """Where the choice is kept: in ``runtime.state_dir``, outside any release."""
    return state_root(state_dir, environment) / "board.json"


def stored_choice(path: Path, warn: Callable[[str], None] = warn_person) -> Choice:
    """The runtimes chosen for this board; the default where nothing is kept.

    What cannot be read is set aside, which is told: without the file the board is measured again at its next
    start.
    """
    try:
        kept = read_json(path)["choice"]
        choice = Choice(str(kept["tflite"]), str(kept["precision"]))
    except FileNotFoundError:
        return Choice()
    except UNREADABLE:
        set_aside(path, f"{Choice().tflite} is taken; choose again with `kelly-edge bench --store`", warn)
        return Choice()
    # Another release may know what this one does not.
    known = choice.tflite in RUNTIME_MODULES and choice.precision in EMOTION_MODELS
    return choice if known else Choice()


def store_choice(choice: Choice, measured: Mapping[str, Any], path: Path) -> None:
    """Keep ``choice`` and the measurements it rests on.

    Raises
    ------
    OutputError: it cannot be written.
    """
    content = json.dumps({"choice": asdict(choice), "measured": measured}, indent=2)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        replace_file(path, content.encode())
    except OSError as error:
        raise OutputError(f"cannot keep the board's choice in {path}: {error.strerror}; free space") from None
