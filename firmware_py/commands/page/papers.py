"""Reports and exports for the page: made by the commands of that name, one at a time and at low priority.

A process of its own: the report of an hour takes seconds, in which the page must answer a panic.
"""

import asyncio
import io
import sys
import tempfile
import zipfile
from asyncio.subprocess import DEVNULL, PIPE
from pathlib import Path
from typing import Final

from firmware_py.commands.page.wires import Wires
from firmware_py.devices.session.sessions import find_kept
from kelly_edge.errors import OutputError

NICENESS: Final = 5
"""Added to the page's own. Chosen: it disturbs neither the page nor ``monitor``."""
WITHIN_S: Final = 180.0
"""Chosen: a slow board tells an hour within a minute."""


class Papers:
    """What is made of the sessions that are kept."""

    def __init__(self, wires: Wires) -> None:
        self._wires = wires
        self._one = asyncio.Lock()

    async def report(self, name: str) -> bytes:
        """The report of a session, as HTML.

        Raises
        ------
        SessionError: there is no session of that name.
        OutputError: it could not be made.
        """
        with tempfile.TemporaryDirectory(prefix="kelly-edge-page-") as folder:
            out = Path(folder, "report.html")
            await self._make("report", name, out)
            return out.read_bytes()

    async def export(self, name: str) -> bytes:
        """A session's files, packed; raises as ``report`` does."""
        with tempfile.TemporaryDirectory(prefix="kelly-edge-page-") as folder:
            out = Path(folder, "files")
            await self._make("session export", name, out)
            packed = io.BytesIO()
            with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
                for path in sorted(out.iterdir()):
                    archive.write(path, path.name)
            return packed.getvalue()

    async def _make(self, command: str, name: str, out: Path) -> None:
        part = find_kept(name, self._wires.sessions).parts[0]
        words = [*command.split(), str(part), "--out", str(out), *self._wires.words]
        async with self._one:
            process = await asyncio.create_subprocess_exec(
                "nice", "-n", str(NICENESS), sys.executable, "-m", "firmware_py", *words,
                stdin=DEVNULL, stdout=DEVNULL, stderr=PIPE,
            )  # fmt: skip
            try:
                _, said = await asyncio.wait_for(process.communicate(), WITHIN_S)
            except TimeoutError:
                raise OutputError(f"not made within {WITHIN_S:.0f} s; ask on the box") from None
            finally:
                # Too slow, or whoever asked has left.
                if process.returncode is None:
                    process.kill()
                    await process.wait()
        if process.returncode:
            lines = said.decode(errors="replace").strip().splitlines()
            raise OutputError((lines or ["it ended without a word"])[-1].removeprefix("kelly-edge: "))
