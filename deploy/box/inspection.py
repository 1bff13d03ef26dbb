"""The last deep check: every byte of the running release, and of the one that the box would go back to.

What lies on a card rots without anybody reading it. A timer asks once a day, so that the fault is known, and
can be mended by a push, before the release is needed.
"""

import json
import time
from dataclasses import asdict, dataclass, fields
from typing import Any, Final

from deploy.box.disk import read_bounded, write_whole
from deploy.box.faults import ReleaseError
from deploy.box.layout import Layout

INSPECTION: Final = "inspection.json"
MAX_BYTES: Final = 64 << 10
"""Of that file. Chosen: far more than it ever holds."""
MENDED: Final = "its files were mended while it ran; run it anew with `switch`"


@dataclass(frozen=True)
class Inspection:
    """``fault``: of ``release``, which ran; ``earlier``: of the one it would go back to; ``at``: in UTC."""

    release: str = ""
    fault: str = ""
    earlier: str = ""
    at: str = ""


def read_inspection(layout: Layout) -> Inspection:
    """The last one; an empty one where there is none or it cannot be read."""
    try:
        raw: Any = json.loads(read_bounded(layout.home / INSPECTION, MAX_BYTES).decode("utf-8"))
        if set(raw) != {part.name for part in fields(Inspection)} or not all(
            isinstance(value, str) for value in raw.values()
        ):
            return Inspection()
        return Inspection(**raw)
    except (OSError, ReleaseError, ValueError, RecursionError, TypeError, AttributeError):
        return Inspection()


def write_inspection(layout: Layout, release: str, fault: str = "", earlier: str = "") -> None:
    """Keep the findings. The caller holds the lock.

    Raises
    ------
    ReleaseError: it cannot be written.
    """
    at = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime())
    found = Inspection(release, fault, earlier, at)
    write_whole(layout.home / INSPECTION, json.dumps(asdict(found), indent=1).encode())
