"""The files of the kernel's configuration, as the gadget uses them: a port, and the real ones."""

import os
from pathlib import Path, PurePosixPath
from typing import Final, Protocol

GADGETS: Final = PurePosixPath("sys/kernel/config/usb_gadget")
HOME: Final = GADGETS / "kelly-edge"
CONTROLLERS: Final = PurePosixPath("sys/class/udc")
MIDI2: Final = "midi2.usb0"
OFFICIAL_TOOL: Final = PurePosixPath("usr/bin/rpi-usb-gadget")
"""Raspberry Pi OS's own program for USB gadgets."""


def is_anothers(controller: str, holder: str, is_official: bool) -> str:
    """What a person reads of a controller that another gadget holds.

    Parameters
    ----------
    is_official: Raspberry Pi OS's program for gadgets is installed.
    """
    who = f"the gadget {holder}" + (", likely of rpi-usb-gadget" if is_official else "")
    remedy = "`sudo rpi-usb-gadget off`" if is_official else "remove that one, or unload its g_* module"
    return f"{controller} is held by {who}; {remedy}"


class Tree(Protocol):
    """Files below a root. Every call but ``exists`` and ``is_link`` may raise OSError, as the kernel does."""

    def exists(self, path: PurePosixPath) -> bool:
        """Whether anything is there."""

    def is_link(self, path: PurePosixPath) -> bool:
        """Whether a link is there."""

    def names(self, folder: PurePosixPath) -> list[str]:
        """What a folder holds."""

    def read(self, file: PurePosixPath) -> str:
        """The text of a file."""

    def write(self, file: PurePosixPath, text: str) -> None:
        """Set a value."""

    def make_folder(self, folder: PurePosixPath) -> None:
        """Make a folder, which the kernel fills."""

    def remove_folder(self, folder: PurePosixPath) -> None:
        """Remove a folder with the values the kernel put there."""

    def link(self, path: PurePosixPath, target: PurePosixPath) -> None:
        """Make a link to ``target``."""

    def remove_link(self, path: PurePosixPath) -> None:
        """Remove a link."""


class RealTree:
    """The files below ``root``."""

    def __init__(self, root: Path = Path("/")) -> None:
        self._root = root

    def exists(self, path: PurePosixPath) -> bool:
        """See ``Tree``."""
        return os.path.lexists(self._root / path)

    def is_link(self, path: PurePosixPath) -> bool:
        """See ``Tree``."""
        return (self._root / path).is_symlink()

    def names(self, folder: PurePosixPath) -> list[str]:
        """See ``Tree``."""
        return os.listdir(self._root / folder)

    def read(self, file: PurePosixPath) -> str:
        """See ``Tree``."""
        return (self._root / file).read_text(encoding="utf-8", errors="replace")

    def write(self, file: PurePosixPath, text: str) -> None:
        """See ``Tree``; one write, for the kernel takes each as a whole value, and no file is created."""
        fd = os.open(self._root / file, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, text.encode())
        finally:
            os.close(fd)

    def make_folder(self, folder: PurePosixPath) -> None:
        """See ``Tree``."""
        (self._root / folder).mkdir()

    def remove_folder(self, folder: PurePosixPath) -> None:
        """See ``Tree``."""
        (self._root / folder).rmdir()

    def link(self, path: PurePosixPath, target: PurePosixPath) -> None:
        """See ``Tree``."""
        (self._root / path).symlink_to(self._root / target)

    def remove_link(self, path: PurePosixPath) -> None:
        """See ``Tree``."""
        (self._root / path).unlink()
