"""The settings that ship as examples, each for a place (docs/examples)."""

from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).resolve().parents[1] / "examples"


def example_names() -> list[str]:
    """Names of all examples, sorted."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def example_text(name: str) -> str:
    """The settings file of one of ``example_names``."""
    return (FOLDER / f"{name}.yaml").read_text(encoding="utf-8")
