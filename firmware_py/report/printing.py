"""Prints a page to PDF by the browser that is installed, which lays it out as on the screen."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Final

from kelly_edge.errors import OutputError
from kelly_edge.shared.printed import printed

BROWSERS: Final = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
WITHIN_S: Final = 120.0
"""Chosen: a slow board prints a page within a minute."""
REMEDY: Final = "give --out report.html and print that from any browser"


def find_browser() -> str | None:
    """The first of ``BROWSERS`` on the path."""
    return next((found for name in BROWSERS if (found := shutil.which(name))), None)


def command(browser: str, profile: Path, *options: str) -> list[str]:
    """The browser without a window, a network or the user's profile."""
    # Root has no sandbox; the page has no script.
    alone = ["--no-sandbox"] if os.geteuid() == 0 else []
    return [
        browser, "--headless", "--disable-gpu", "--no-first-run", "--disable-extensions",
        "--disable-background-networking", "--host-resolver-rules=MAP * ~NOTFOUND",
        f"--user-data-dir={profile}", *alone, *options,
    ]  # fmt: skip


def print_page(html: str, path: Path) -> None:
    """Write ``html`` as a PDF to ``path``.

    Raises
    ------
    OutputError: no browser is installed, or it fails.
    """
    browser = find_browser()
    if browser is None:
        raise OutputError(f"cannot print a report to PDF: Chromium is not installed; {REMEDY}")
    with tempfile.TemporaryDirectory(prefix="kelly-edge-print-") as folder:
        source = Path(folder, "report.html")
        source.write_text(html, encoding="utf-8")
        options = ("--no-pdf-header-footer", f"--print-to-pdf={path}", source.as_uri())
        try:
            done = subprocess.run(
                command(browser, Path(folder, "profile"), *options),
                capture_output=True, text=True, errors="replace", timeout=WITHIN_S, check=False,
            )  # fmt: skip
            fault = (
                ""
                if done.returncode == 0 and path.is_file()
                else (done.stderr.strip().splitlines() or [""])[-1]
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            fault = str(error)
            path.unlink(missing_ok=True)
        if not path.is_file():
            raise OutputError(f"cannot print a report to PDF ({printed(fault, 120)}); {REMEDY}")
