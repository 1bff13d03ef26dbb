"""Run a program and turn its failure into one line."""

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from deploy.errors import DeployError
from kelly_edge_text.printed import printed


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
