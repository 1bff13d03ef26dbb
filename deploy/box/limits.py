"""What a healthy release must reach: numbers signed and stored with it, as ``system/health.json``."""

import json
import math
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Final

from deploy.box.faults import ReleaseError

LIMITS: Final = "system/health.json"
MAX_BYTES: Final = 4_096
"""Of that file. Chosen: far more than it ever holds."""


@dataclass(frozen=True)
class Limits:
    """Of the rehearsal and of the running box.

    ``notes``: that reach ``midi`` from the test phrase, at least; ``voice_s``, ``voice_peak_dbfs``: of the
    voice that answers it, at least; ``share_of_periods``: of the periods that the clock allows, those that
    the sound card captures and plays, at least; ``hops_per_s``: those that ``dsp`` hears, at least (187.5 are
    due); ``xruns``: while the box is watched, at most.
    """

    notes: float
    voice_s: float
    voice_peak_dbfs: float
    share_of_periods: float
    hops_per_s: float
    xruns: float


def limits_of(release: Path) -> Limits | None:
    """The limits stored with ``release``; None for a release built before there were any.

    Raises
    ------
    ReleaseError: they cannot be read.
    """
    path = release / LIMITS
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ValueError
        raw = json.loads(path.read_text(encoding="utf-8"))
        limits = Limits(**{field.name: _number(raw[field.name]) for field in fields(Limits)})
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError, OverflowError):
        raise ReleaseError(f"{path} does not hold the limits of a healthy release; build it again") from None
    return limits


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError
    return float(value)
