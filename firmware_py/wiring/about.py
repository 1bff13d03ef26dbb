"""What a session log's header says of the box that writes it: all that the composed music depends on besides
what is heard and turned by hand. Nothing of it tells who plays, or where."""

import functools
import hashlib
import json
import platform
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

import kelly_edge
from firmware_py.devices.files.programmes import open_programmes
from firmware_py.devices.session.programmes import as_kept
from firmware_py.runtimes import artefacts
from firmware_py.settings import Settings, rules
from kelly_edge.emotion.programme import Programme
from kelly_edge.errors import ArtefactError

COMPOSER: Final = "transformer_model"
SECTIONS: Final = ("audio", "ears", "emotion", "composer", "voice", "envelope", "limiter", "midi")
"""Settings that shape what is heard and played; the others hold folders, pins and ports of one box."""
PORTS: Final = ("midi.outputs", "midi.inputs", "audio.card")
LIBRARIES: Final = ("numpy", "onnxruntime", "numba")
LENGTH: Final = 16
"""Digits of a hash that are kept. Chosen: 64 bits tell releases apart."""
PROCESS: Final = ("composer", "listening", "aiming", "sending", "ladder", "farewell", "composing")
"""Modules of the composer's process that the music depends on."""


def settings_in_force(settings: Settings) -> dict[str, Any]:
    """Every setting of ``SECTIONS`` but the ports, by its path, as JSON holds it."""
    found = {}
    for section, name, rule, _ in rules():
        path = f"{section}.{name}"
        if section in SECTIONS and path not in PORTS and not rule.is_path:
            value = getattr(getattr(settings, section), name)
            found[path] = list(value) if isinstance(value, tuple) else value
    return found


def about_session(settings: Settings, programmes: Sequence[Programme] = ()) -> dict[str, Any]:
    """The header's fields: release, code, model, machine, libraries, seed, settings and programmes, and the
    hash of both.

    ``programmes``: as the knob counts them; without, those that the settings name.

    Raises
    ------
    ConfigError: a programme cannot be read.
    """
    in_force, kept = settings_in_force(settings), as_kept(programmes or open_programmes(settings))
    return {
        "release": version_of("kelly-edge"),
        "code": code_hash(),
        "model": model_hash(*settings.runtime.model_set),
        "machine": platform.machine(),
        "libraries": ", ".join(f"{name} {version_of(name)}" for name in LIBRARIES),
        "config": _hash(json.dumps([in_force, kept], sort_keys=True).encode()),
        "seed": settings.composer.seed,
        "settings": in_force,
        "programmes": kept,
    }


def version_of(package: str) -> str:
    """Of an installed package; empty for one that is not."""
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def model_hash(models_dir: str, model_set: str) -> str:
    """Of the composer's network; empty where there is none."""
    try:
        return _hash(artefacts.load(COMPOSER, models_dir, model_set).content)
    except ArtefactError:
        return ""


@functools.cache
def code_hash() -> str:
    """Of the instrument's source and the composer's process: a release changed by hand is another one."""
    package = Path(kelly_edge.__file__).parent
    process = Path(__file__).parents[1] / "processes"
    files = [*package.rglob("*.py"), *(process / f"{name}.py" for name in PROCESS)]
    digest = hashlib.sha256()
    for path in sorted(files):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:LENGTH]


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:LENGTH]
