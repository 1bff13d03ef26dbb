"""``kelly-edge panic`` before anything else: its word is written before a module of ours is loaded.

The command itself takes a third of a second of a laptop's processor to load, on a small board a second and
more; a panic has a quarter. So the word goes into the ``panic`` ring first, with nothing but what Python has
loaded by then, and the command follows, asks again and tells how it went: to ask twice changes nothing.
Whatever is not plain here is left to it, with its faults.
"""

import os
import stat
import zlib
from collections.abc import Mapping, Sequence
from typing import Final

RECORD: Final = bytes(4)
"""The word ``panic``, the first of ``map.COMMANDS``, as a ``PRESS_DTYPE``."""
KIND: Final = zlib.crc32(b"([('what', '<u4')], ())")
"""``pipes.record_kind`` of it: the tests compare."""
FRAME: Final = KIND.to_bytes(4, "little") + zlib.crc32(RECORD).to_bytes(4, "little") + RECORD
RING: Final = "panic.ring"
RUN_DIR: Final = "runtime.run_dir"


def press(words: Sequence[str], environment: Mapping[str, str] = os.environ) -> bool:
    """Ask the box for silence where the command line ``words`` is that of a panic; whether it was written."""
    if "panic" not in words[:2]:
        return False
    run_dir = _run_dir(words, environment)
    return run_dir is not None and _write(os.path.join(run_dir, RING))


def _run_dir(words: Sequence[str], environment: Mapping[str, str]) -> str | None:
    """Where the box meets; None where it takes the whole command to know, or to refuse the line."""
    from firmware_py.devices.files.run_dir_places import place_of_run_dir

    setting: str | None = ""
    config, rest = "", list(words)
    while rest:
        word = rest.pop(0)
        name, equals, value = word.partition("=")
        if name in ("--set", "--config"):
            if not equals:
                if not rest:
                    return None
                value = rest.pop(0)
            if name == "--config":
                config = value
            elif value.partition("=")[0].strip() == RUN_DIR:
                setting = value.partition("=")[2].strip()
        elif word not in ("panic", "--json", "--debug"):
            return None
    if config and not setting:
        setting = _configured(config)
    # A quoted or commented value is YAML, a relative one may be.
    if setting is None or (setting and (setting[0] != "/" or any(mark in setting for mark in "\"'#\\\n"))):
        return None
    return place_of_run_dir(setting, environment)


def _configured(path: str) -> str | None:
    """``runtime.run_dir`` of a settings file, nothing where it names none; None where it cannot be read."""
    from pathlib import Path

    from kelly_edge.shared.yaml_file import YamlFault, read_entries

    try:
        entries = read_entries(Path(path).expanduser(), "settings")
    except (YamlFault, RuntimeError):
        return None
    named = [
        value.value
        for section in entries
        if section.key == "runtime" and isinstance(section.value, tuple)
        for value in section.value
        if value.key == "run_dir"
    ]
    return str(named[-1] or "") if named else ""


def _write(path: str) -> bool:
    """Into a FIFO that is this user's or the box's and nobody else's; it is neither made nor waited for."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        found = os.fstat(fd)
        owners = (os.geteuid(), os.stat(os.path.dirname(path)).st_uid)
        is_ours = stat.S_ISFIFO(found.st_mode) and found.st_uid in owners
        if not is_ours or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            return False
        return os.write(fd, FRAME) == len(FRAME)
    except OSError:
        return False
    finally:
        os.close(fd)
