"""Which runtime and precision this board runs fastest: measured once by ``kelly-edge bench --store``.

INT8 is not faster everywhere, nor is one runtime (armnn #511; a Cortex-A72 needs four times the instructions
of ai-edge-litert for the same file in tflite-runtime). ``runtime.tflite: auto`` takes what is kept here.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from firmware_py.devices.kept import replace_file, state_root
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


def stored_choice(path: Path) -> Choice:
    """What was chosen for this board; the default where nothing readable is kept."""
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))["choice"]
        choice = Choice(str(kept["tflite"]), str(kept["precision"]))
    except (OSError, ValueError, KeyError, TypeError):
        return Choice()
    known = choice.tflite in RUNTIME_MODULES and choice.precision in EMOTION_MODELS
    return choice if known else Choice()


def store_choice(choice: Choice, measured: Mapping[str, Any], path: Path) -> None:
    """Keep ``choice`` and what it rests on.

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
