"""The report of a session: one page for the therapist, from the session log alone."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from firmware_py.devices.files.output import OutputFolder
from firmware_py.devices.session.reader import PLAYED, find_session
from firmware_py.report.course import read_course, remark_on
from firmware_py.report.page import page
from firmware_py.report.printing import print_page

ENDINGS: Final = (".html", ".pdf")
"""Endings of the files that a report can be written to."""


@dataclass(frozen=True)
class Written:
    """A report or a picture, and a remark on its session for the reader (empty: none)."""

    path: Path
    remark: str = ""


def write_report(session: Path, out: Path) -> Written:
    """Write the report of a session of ``play`` or a live one (see ``find_session``) to ``out``.

    Parameters
    ----------
    out: a name that ends with one of ``ENDINGS``. A PDF is printed by Chromium, where it is installed.

    Raises
    ------
    SessionError: there is no session.
    OutputError: the report cannot be written or printed.
    """
    files = find_session(session)
    course, reader = read_course(files)
    remark = remark_on(course, reader, files)
    # Every folder of play names its log alike.
    name = files.parts[0].absolute().parent.name if files.parts[0].name == PLAYED else files.name
    html = page(course, name, remark)
    with OutputFolder(out.parent, [out.name], files.parts) as output:
        if out.suffix.lower() == ".pdf":
            print_page(html, output.path(out.name))
        else:
            output.path(out.name).write_text(html, encoding="utf-8")
    return Written(out, remark)
