"""Which of the box's units failed since the machine started, as systemd wrote it into its journal.

Read with systemd-python, outside of everything that plays: the doctor asks once. (Writing to systemd near
real time is ``service_manager`` and ``systemd_journal``.)
"""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final
from uuid import UUID

UNIT_FAILED: Final = "d9b373ed55a64feb8242e02dbe79a49c"
"""The MESSAGE_ID of "Failed with result …" (sd-messages.h, SD_MESSAGE_UNIT_FAILURE_RESULT)."""
SERVICE_MANAGER: Final = "1"
"""Its process: what a service writes about itself does not count."""
OURS: Final = "kelly-edge"


@dataclass(frozen=True)
class UnitFailure:
    """``result``: in systemd's word, for instance ``watchdog``, ``signal`` or ``exit-code``."""

    unit: str
    result: str
    at: datetime


class NoJournalError(Exception):
    """It cannot be read; the text says why."""


def unit_failures(folder: Path | None = None, boot: UUID | None = None) -> list[UnitFailure]:
    """The failures of our units since the machine started, the oldest first.

    Parameters
    ----------
    folder: another journal than this machine's.
    boot: another start than the last one.

    Raises
    ------
    NoJournalError: systemd-python is not installed, or this user may not read the journal.
    """
    try:
        from systemd import journal  # type: ignore[attr-defined]
    except ImportError:
        raise NoJournalError("systemd-python is not installed") from None
    try:
        with journal.Reader(path=None if folder is None else str(folder)) as reader:
            reader.this_boot(boot)
            reader.add_match(_PID=SERVICE_MANAGER)
            if not reader.get_next():
                raise NoJournalError("no journal that this user may read")
            reader.add_match(MESSAGE_ID=UNIT_FAILED)
            reader.seek_head()
            return [
                UnitFailure(entry["UNIT"], entry.get("UNIT_RESULT", ""), entry["__REALTIME_TIMESTAMP"])
                for entry in reader
                if entry.get("UNIT", "").startswith(OURS)
            ]
    except OSError as error:
        raise NoJournalError(f"no journal can be read ({error.strerror})") from None
