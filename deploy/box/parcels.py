"""What a person fetches from a box: session logs and the journal, each as one file of root's.

A service may write the session logs, so root neither opens nor lists them: the service's own user packs them
in the sandbox, and root takes what comes out of the pipe, up to a bound.
"""

import lzma
import os
import re
import stat
import subprocess
import tarfile
import tempfile
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Final

from deploy.box import sandbox
from deploy.box.disk import open_regular
from deploy.box.faults import ReleaseError, printed
from deploy.box.layout import Layout

MAX_PARCEL_BYTES: Final = 512 << 20
"""Chosen: more than twice the logs that the settings keep by default."""
MAX_FILE_BYTES: Final = 64 << 20
"""Chosen: eight times a part of a log."""
MAX_FILES: Final = 10_000
"""Files of a parcel. Chosen by hand: a log per day would take 27 years."""
FILE_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,120}")
PIECE_BYTES: Final = 64 << 10
"""Chosen: the usual size of a pipe."""
SESSIONS: Final = "var/lib/kelly-edge/sessions"
JOURNAL: Final = ("journalctl", "--quiet", "--no-pager", "--output=short-iso", "--unit=kelly-edge*")
MAX_JOURNAL_BYTES: Final = 16 << 20
"""Chosen by hand: some 100,000 lines."""
PACK_WITHIN_S: Final = 600.0
"""Chosen by hand: a slow card takes minutes."""
XZ_PRESET: Final = 0
"""The quickest: a box may be playing. Chosen for that reason."""


def pack(folder: Path, out: IO[bytes], most_bytes: int = MAX_PARCEL_BYTES) -> None:
    """Write the session logs in ``folder`` to ``out`` as a ``tar.xz``, the newest first, until it is full.

    Regular files with plain names alone, none behind a link. A log that grows meanwhile is cut where it ended
    when its turn came.

    Parameters
    ----------
    most_bytes: of the logs in all.
    """
    with lzma.open(out, "wb", preset=XZ_PRESET) as packed, tarfile.open(fileobj=packed, mode="w|") as tar:
        for name in _newest(folder)[:MAX_FILES]:
            try:
                fd = open_regular(folder / name)
            except (OSError, ReleaseError):
                continue
            with os.fdopen(fd, "rb") as file:
                found = os.fstat(fd)
                if found.st_size > min(MAX_FILE_BYTES, most_bytes):
                    continue
                most_bytes -= found.st_size
                info = tarfile.TarInfo(name)
                info.size, info.mtime, info.mode = found.st_size, int(found.st_mtime), 0o600
                tar.addfile(info, file)


def _newest(folder: Path) -> list[str]:
    """Names of regular files in ``folder``, the one written last first; none where there is no folder."""
    found = []
    try:
        for entry in os.scandir(folder):
            status = entry.stat(follow_symlinks=False)
            if FILE_NAME.fullmatch(entry.name) and stat.S_ISREG(status.st_mode):
                found.append((-status.st_mtime, entry.name))
    except FileNotFoundError:
        return []
    return [name for _, name in sorted(found)]


def keep_output(words: Sequence[str], path: Path, most_bytes: int, is_tail: bool = False) -> None:
    """Run ``words`` and keep what they print in ``path``, which root alone may read.

    Parameters
    ----------
    is_tail: keep the end of what is longer, instead of refusing it.

    Raises
    ------
    ReleaseError: the program fails, or prints more than ``most_bytes``.
    """
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    kept: deque[bytes] = deque()
    n_bytes = 0
    with os.fdopen(fd, "wb") as file, tempfile.TemporaryFile() as errors:
        try:
            program = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors)
        except OSError as error:
            raise ReleaseError(f"cannot run {words[0]} ({error.strerror}); install systemd") from None
        with program:
            assert program.stdout is not None
            while piece := program.stdout.read(PIECE_BYTES):
                n_bytes += len(piece)
                if not is_tail:
                    file.write(piece)
                else:
                    kept.append(piece)
                if n_bytes > most_bytes:
                    if not is_tail:
                        program.kill()
                        raise ReleaseError(f"{words[0]} brings more than {most_bytes:,} bytes; fetch less")
                    n_bytes -= len(kept.popleft())
        file.writelines(kept)
        errors.seek(0)
        said = errors.read(PIECE_BYTES).decode(errors="replace").strip().splitlines()
    if program.returncode:
        raise ReleaseError(f"{words[0]} failed ({printed((said or ['no message'])[-1], 200)}); try again")


def fetch_sessions(layout: Layout, path: Path) -> None:
    """Let the service's user pack its session logs, and keep the parcel in ``path``.

    Raises
    ------
    ReleaseError: it cannot be packed.
    """
    keep_output(sandbox.words_for(session_words(layout), PACK_WITHIN_S), path, MAX_PARCEL_BYTES)


def fetch_journal(path: Path) -> None:
    """Keep the end of what the units of the box told the journal in ``path``.

    Raises
    ------
    ReleaseError: it cannot be read.
    """
    keep_output(JOURNAL, path, MAX_JOURNAL_BYTES, is_tail=True)


def session_words(layout: Layout) -> list[str]:
    """The words that pack the sessions, for the service's own user."""
    program = str(layout.home / "bin/kelly-edge-release")
    return [program, "--root", str(layout.root), "pack"]
