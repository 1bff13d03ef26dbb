"""Session logs and journals from boxes into folders of this machine.

What comes is a box's word for it: names are taken only if they are plain, files only if they are regular and
no larger than a bound, and nothing is written through a link.
"""

import base64
import binascii
import lzma
import re
import secrets
import tarfile
import tempfile
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, Final

from deploy.box.archive import PIECE_BYTES, Unpacked
from deploy.box.disk import write_whole
from deploy.box.faults import ReleaseError
from deploy.box.parcels import FILE_NAME, MAX_FILE_BYTES, MAX_FILES, MAX_PARCEL_BYTES
from deploy.errors import DeployError
from deploy.fleet import Outcome, Remote
from deploy.inventory import Host
from deploy.places import PROGRAM
from deploy.push import INCOMING, send_program
from kelly_edge.shared.printed import printed

KINDS: Final = ("sessions", "journal")
FETCH_WITHIN_S: Final = 900
"""Chosen: longer than a box may take to pack."""
AT_ONCE_BYTES: Final = 1 << 20
"""What one answer brings: as text, for an answer of a box is one. Chosen by hand."""
PRIVATE: Final = 0o600
"""POSIX mode: the owner reads and writes."""
PRIVATE_FOLDER: Final = 0o700
"""What a session log tells is nobody else's business. POSIX mode."""


def folders_of(hosts: Sequence[Host], out: Path) -> dict[str, Path]:
    """The folder in ``out`` of each host, by name.

    Raises
    ------
    DeployError: two hosts would share one.
    """
    folders = {host.name: re.sub(r"[^A-Za-z0-9._@-]", "_", host.name).lstrip(".") or "_" for host in hosts}
    shared = [name for name, n in Counter(folders.values()).items() if n > 1]
    if shared:
        raise DeployError(f"two hosts would be written to {out / shared[0]}; fetch one after the other")
    return {name: out / folder for name, folder in folders.items()}


def fetch(remote: Remote, what: str, folder: Path) -> Outcome:
    """Bring the box's session logs into ``folder/sessions``, or its journal into ``folder/journal.txt``.

    Raises
    ------
    DeployError: nothing came, or it cannot be written.
    """
    changed = int(send_program(remote))
    away = f"{INCOMING}/fetch.{secrets.token_hex(4)}"
    remote.run(f"umask 077; mkdir -p {away}")
    try:
        remote.run(f"{PROGRAM} {what} {away}/parcel", FETCH_WITHIN_S)
        with tempfile.TemporaryDirectory() as scratch:
            parcel = Path(scratch) / "parcel"
            _bring(remote, f"{away}/parcel", parcel)
            text = _keep(what, parcel, folder)
    except (ReleaseError, OSError) as error:
        raise DeployError(f"cannot keep what came ({error}); make room, or give another --out") from None
    finally:
        remote.ask(f"rm -rf {away}")
    return Outcome(remote.host.name, True, changed, text)


def _bring(remote: Remote, there: str, here: Path) -> None:
    """Copy a file of the box that does not change, piece by piece."""
    with here.open("xb") as file:
        for number in range(MAX_PARCEL_BYTES // AT_ONCE_BYTES + 1):
            text = remote.run(
                f"dd if={there} bs={AT_ONCE_BYTES} skip={number} count=1 2>/dev/null | base64 -w 0"
            )
            try:
                piece = base64.b64decode(text.strip(), validate=True)
            except (binascii.Error, ValueError):
                raise DeployError("what came is no file; try again") from None
            if len(piece) > AT_ONCE_BYTES:
                raise DeployError("what came is longer than what was asked for; try again")
            file.write(piece)
            if len(piece) < AT_ONCE_BYTES:
                return
    raise DeployError(f"it is larger than {MAX_PARCEL_BYTES:,} bytes; fetch less")


def _keep(what: str, parcel: Path, folder: Path) -> str:
    """Write what came to its place; a line about it."""
    for place in (folder, folder / what):
        if place.is_symlink():
            raise DeployError(f"{printed(str(place), 300)} is a link; give another --out")
    folder.mkdir(PRIVATE_FOLDER, parents=True, exist_ok=True)
    if what == "journal":
        content = parcel.read_bytes()
        write_whole(folder / "journal.txt", content, PRIVATE)
        return f"{len(content) / 1e6:.2f} MB in {folder / 'journal.txt'}"
    (folder / what).mkdir(PRIVATE_FOLDER, exist_ok=True)
    n_files, n_bytes, n_refused = unpack(parcel, folder / what)
    refused = f"; {n_refused} refused for their names, kinds or sizes" if n_refused else ""
    return f"{n_files} session logs, {n_bytes / 1e6:.2f} MB in {folder / what}{refused}"


def unpack(parcel: Path, folder: Path) -> tuple[int, int, int]:
    """Write the files of a ``tar.xz`` of unknown origin into ``folder``: files, bytes, and files refused.

    Raises
    ------
    DeployError: it is damaged, or holds more than it may.
    """
    n_files = n_bytes = n_refused = 0
    try:
        with closing(Unpacked(parcel, 2 * MAX_PARCEL_BYTES)) as content:
            stream: Any = content
            with tarfile.open(fileobj=stream, mode="r:") as tar:
                for _ in range(MAX_FILES):
                    member = tar.next()
                    if member is None:
                        return n_files, n_bytes, n_refused
                    if not _is_plain(member):
                        n_refused += 1
                        continue
                    source = tar.extractfile(member)
                    assert source is not None
                    pieces = b"".join(iter(partial(source.read, PIECE_BYTES), b""))
                    write_whole(folder / member.name, pieces, PRIVATE)
                    n_files, n_bytes = n_files + 1, n_bytes + len(pieces)
    except (tarfile.TarError, lzma.LZMAError, EOFError, ValueError, RecursionError) as error:
        raise DeployError(
            f"the session logs came damaged ({printed(str(error), 100)}); "
            f"{n_files} are in {folder}; try again"
        ) from None
    raise DeployError(f"there are more than {MAX_FILES:,} session logs; the newest are in {folder}")


def _is_plain(member: tarfile.TarInfo) -> bool:
    return (
        member.type in (tarfile.REGTYPE, tarfile.AREGTYPE)
        and not member.issparse()
        and FILE_NAME.fullmatch(member.name) is not None
        and 0 <= member.size <= MAX_FILE_BYTES
    )
