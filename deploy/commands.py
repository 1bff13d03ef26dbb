"""Run a program and turn its failure into one line."""

import subprocess
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from deploy.errors import DeployError
from kelly_edge.shared.printed import printed


def run(
    command: Sequence[str | Path],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdin: bytes | None = None,
    remedy: str = "",
) -> bytes:
    """Standard output of ``command``.

    Raises
    ------
    DeployError: it is not installed, or it failed; with its last line on stderr.
    """
    words = [str(word) for word in command]
    try:
        done = subprocess.run(words, cwd=cwd, env=env, input=stdin, capture_output=True, check=False)
    except OSError as error:
        raise DeployError(f"cannot run {words[0]} ({error.strerror}); {remedy or 'install it'}") from None
    if done.returncode:
        lines = (done.stderr or done.stdout).decode(errors="replace").strip().splitlines() or ["no message"]
        raise DeployError(f"{words[0]} failed ({printed(lines[-1], 300)}){'; ' + remedy if remedy else ''}")
    return done.stdout


def unpack(archive: tarfile.TarFile, folder: Path) -> None:
    """Unpack ``archive`` below ``folder``, and nowhere else.

    Debian 12's Python 3.11.2 knows no filters yet; what is unpacked is ours, or was checked against its hash.
    """
    archive.extraction_filter = getattr(tarfile, "data_filter", lambda member, path: member)
    archive.extractall(folder)
