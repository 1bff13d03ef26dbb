"""A stand-in for the instrument: the same files and commands, small enough to be switched in a second.

How it behaves is a word in its code: ``good``, ``no-ready`` (its units never tell READY), ``crash``,
``silent`` (a model that loads but says nothing), ``broken`` (the phrase does not play), ``refuses`` (the
settings), ``writes`` (knows settings the others do not).
"""

import random
import shutil
from pathlib import Path

from deploy.bundle import Bundle, describe, make_keys, write_bundle
from deploy.interpreter import here
from deploy.layers import Member, make_layer
from deploy.project import Project

SOURCE_DATE = 1_763_900_000
PYTHON = "3.11"
"""The boxes'."""
MAIN = '''"""Stand-in."""
import json, os, socket, sys, time
from pathlib import Path

BEHAVIOUR = "@BEHAVIOUR@"

def notify(text):
    address = os.environ.get("NOTIFY_SOCKET", "")
    if address:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
            out.sendto(text.encode(), address.replace("@", "\\0", 1))

def main():
    command, rest = sys.argv[1], sys.argv[2:]
    if command == "check":
        text = Path(rest[0]).read_text()
        if BEHAVIOUR == "refuses" or ("newer:" in text and BEHAVIOUR != "writes"):
            print("newer: unknown section (config.yaml line 1)", file=sys.stderr)
            return 2
        return 0
    if command == "play":
        if BEHAVIOUR == "broken":
            print("kelly-edge: a model is damaged", file=sys.stderr)
            return 2
        out = Path(rest[rest.index("--out") + 1])
        out.mkdir()
        (out / "voice.wav").write_bytes(bytes(200_000))
        print(json.dumps({"n_notes": 0 if BEHAVIOUR == "silent" else 7, "voice_peak_dbfs": -9.0}))
        return 0
    if command == "monitor":
        return 2
    if BEHAVIOUR == "crash":
        return 3
    if BEHAVIOUR != "no-ready":
        notify("READY=1")
    while True:
        time.sleep(3600)
'''
TARGET = """[Unit]
Description=stand-in
Wants=kelly-edge@audio.service kelly-edge@composer.service
[Install]
WantedBy=multi-user.target
"""
UNIT = """[Unit]
Description=stand-in %i
PartOf=kelly-edge.target
[Service]
Type=notify
ExecStart=/opt/kelly-edge/current/venv/bin/kelly-edge %i
Restart=always
RestartSec=200ms
TimeoutStartSec=180
"""
LIBRARY_BYTES = 1_000_000


def write_project(folder: Path, behaviour: str = "good", note: str = "") -> Project:
    """A checkout of the stand-in."""
    files = {
        "pyproject.toml": '[project]\nname = "kelly-edge"\nversion = "0.1.0"\n',
        "config.yaml": "audio: {}\n",
        "kelly_edge/__init__.py": f'"""{note}"""\n',
        "kelly_edge_commands/__init__.py": "",
        "firmware_py/__init__.py": "",
        "firmware_py/__main__.py": MAIN.replace("@BEHAVIOUR@", behaviour),
        "firmware_py/demo/demo.txt": "a demo\n",
        "models/shipped/manifest.yaml": "models: [one]\n",
        "models/shipped/one.tflite": "weights\n",
        "systemd/system/kelly-edge.target": TARGET,
        "systemd/system/kelly-edge@.service": UNIT,
    }
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
