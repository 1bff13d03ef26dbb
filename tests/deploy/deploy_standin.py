"""A bundle of a stand-in for the instrument: see ``deploy_standin_main.py``; under the real units."""

import random
import shutil
from pathlib import Path

from deploy.bundle import Bundle, describe, make_keys, write_bundle
from deploy.interpreter import here
from deploy.layers import Member, make_layer
from deploy.project import Project

CHECKOUT = Path(__file__).resolve().parents[2]
SOURCE_DATE = 1_763_900_000
PYTHON = "3.11"
"""The boxes'."""
MAIN = Path(__file__).with_name("deploy_standin_main.py")
LIBRARY_BYTES = 1_000_000


def write_project(folder: Path, behaviour: str = "good", note: str = "") -> Project:
    """A checkout of the stand-in."""
    files = {
        "pyproject.toml": '[project]\nname = "kelly-edge"\nversion = "0.1.0"\n',
        "config.yaml": "audio: {}\n",
        "kelly_edge/__init__.py": f'"""{note}"""\n',
        "firmware_py/__init__.py": "",
        "firmware_py/__main__.py": MAIN.read_text().replace("@BEHAVIOUR@", behaviour),
        "firmware_py/demo/demo.txt": "a demo\n",
        "models/shipped/manifest.yaml": "models: [one]\n",
        "models/shipped/one.tflite": "weights\n",
    }
    # The units are the real ones.
    shutil.copytree(CHECKOUT / "systemd", folder / "systemd", dirs_exist_ok=True)
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return Project(folder)


def build_standin(
    work: Path,
    key: Path,
    behaviour: str = "good",
    counter: int = 1,
    machine: str = "aarch64",
    note: str = "",
    python: str = PYTHON,
) -> Bundle:
    """A signed bundle of the stand-in in ``work``."""
    folder = work / f"project-{behaviour}-{counter}-{note}"
    shutil.rmtree(folder, ignore_errors=True)
    project = write_project(folder, behaviour, note)
    # Does not compress: a transfer takes as long as its size.
    noise = random.Random(1).randbytes(LIBRARY_BYTES)
    library = make_layer(
        "library", "1", "site-packages", "size", {"library/data.bin": Member(noise)}, "0" * 64
    )
    layers = [library, *project.layers(here())]
    manifest = describe([layer for layer, _ in layers], project, counter, SOURCE_DATE, machine, python)
    return write_bundle(work / "bundles", layers, manifest, key)


def signing_key(folder: Path) -> Path:
    """A fresh key in ``folder``."""
    key = folder / "key"
    make_keys(key)
    return key
