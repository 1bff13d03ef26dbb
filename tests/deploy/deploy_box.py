"""The box's program as the courier calls it, on a box that is a folder."""

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from deploy.box import __main__ as program
from deploy.box import store
from deploy.box.health import Patience
from deploy.box.layout import Layout
from deploy.box.trust import verify_bundle
from deploy.bundle import Bundle

AT_ONCE = Patience(ready_s=0.0, steady_s=0.0)


def install(box: Layout, bundle: Bundle) -> str:
    """Put a bundle among the releases, from its folder."""
    manifest = verify_bundle(bundle.folder, box.allowed_signers)
    store.install(box, bundle.folder, manifest, margin_bytes=0)
    return manifest.release


def call(box: Layout, *words: object) -> int:
    """``kelly-edge-release WORDS`` on ``box``; its exit code."""
    before, sys.argv = sys.argv, ["kelly-edge-release", "--root", str(box.root), *map(str, words)]
    umask = os.umask(0o022)
    try:
        return program.main()
    finally:
        sys.argv = before
        os.umask(umask)


def ask(box: Layout, capsys: pytest.CaptureFixture[str], *words: object) -> Any:
    """What a command that ends well prints, as JSON."""
    capsys.readouterr()
    assert call(box, *words) == 0
    return json.loads(capsys.readouterr().out)


def flip_byte(path: Path) -> None:
    """One bit rots in place: every name of the file holds it, and its times stay."""
    found = path.stat()
    with path.open("r+b") as file:
        file.seek(found.st_size // 2)
        byte = file.read(1)[0]
        file.seek(found.st_size // 2)
        file.write(bytes([byte ^ 0x10]))
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))
