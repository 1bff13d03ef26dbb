"""The wheel of a commit: the same bytes wherever and whenever it is built.

It is built from what is committed, not from the working tree (where an old ``build/`` leaves modules that are
gone), with the commit's time as every file's date and one pinned setuptools.
"""

import io
import os
import shutil
import sys
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path

from deploy.commands import run, unpack
from deploy.project import Project


def make_wheel(project: Project, out: Path, tools: Sequence[Path]) -> Path:
    """The wheel of the last commit, in ``out``.

    Parameters
    ----------
    tools: folders where pip finds setuptools, if not among its own packages.

    Raises
    ------
    DeployError: this is no checkout, or it does not build.
    """
    archive = run(
        ["git", "archive", "--format=tar", "HEAD"], cwd=project.folder, remedy="run from a checkout"
    )
    with tempfile.TemporaryDirectory() as scratch:
        source, built = Path(scratch) / "source", Path(scratch) / "built"
        with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
            unpack(tar, source)
        for path in sorted(source.rglob("*")):
            # The modes go into the wheel, and come from this user's umask otherwise.
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
        env = {**os.environ, "SOURCE_DATE_EPOCH": str(project.source_date())}
        env["PYTHONPATH"] = os.pathsep.join(str(folder) for folder in tools)
        words = [sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check", "--no-deps"]
        words += ["--no-build-isolation", "--no-cache-dir"]
        old_umask = os.umask(0o022)
        try:
            run([*words, "--wheel-dir", built, source], env=env, remedy="install setuptools")
        finally:
            os.umask(old_umask)
        [wheel] = built.glob("*.whl")
        out.mkdir(parents=True, exist_ok=True)
        return Path(shutil.copy2(wheel, out / wheel.name))
