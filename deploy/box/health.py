"""Is a release healthy? First a rehearsal beside what runs, then a look at the units that run.

1. The settings are valid in it. 2. It plays a test phrase through the whole chain (a file for a sound card):
every model is verified by its golden vectors, notes come out, the voice is heard. 3. After the flip every
unit gets READY. 4. Nothing restarts and no xrun is counted for a while.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from deploy.box.faults import ReleaseError
from deploy.box.programs import Programs, Unit

VOICE_BYTES: Final = 100_000
"""A voice.wav of a second or more."""


@dataclass(frozen=True)
class Patience:
    """How long the box waits: for units to get READY, then for nothing to go wrong, in seconds."""

    ready_s: float = 25.0
    steady_s: float = 30.0
    look_every_s: float = 1.0


def rehearse(programs: Programs, release: Path) -> str:
    """Let ``release`` play beside what runs; a line about it.

    Raises
    ------
    ReleaseError: it is not fit to take over.
    """
    if fault := programs.check_config(release):
        raise ReleaseError(f"it refuses the settings of this box ({fault})")
    summary = programs.play_phrase(release)
    n_notes = _number(summary.get("n_notes"))
    if n_notes < 1:
        raise ReleaseError("the test phrase plays, but no note comes out")
    if not _number(summary.get("voice_peak_dbfs"), otherwise=-999.0) > -60.0:
        raise ReleaseError("the test phrase plays, but the voice is silent")
    if summary.get("bytes", {}).get("voice.wav", 0) < VOICE_BYTES:
        raise ReleaseError("the test phrase plays, but the voice is cut short")
    return f"phrase played, {n_notes:.0f} notes"


def _number(value: Any, otherwise: float = 0.0) -> float:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else otherwise


def prove(
    programs: Programs,
    release: Path,
    patience: Patience,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> str:
    """Watch what runs; a line about it.

    Raises
    ------
    ReleaseError: a unit does not get READY, fails or restarts, or the sound was interrupted.
    """
    units = _wait_until_ready(programs, patience, sleep, clock)
    restarts = {unit.name: unit.n_restarts for unit in units}
    xruns = programs.xruns(release)
    end_s = clock() + patience.steady_s
    while clock() < end_s:
        sleep(min(patience.look_every_s, max(end_s - clock(), 0.0)))
        for unit in programs.units():
            if not unit.is_ready or unit.n_restarts > restarts.get(unit.name, 0):
                raise ReleaseError(f"{unit.name} does not stay up ({unit.state}, {unit.n_restarts} restarts)")
    later = programs.xruns(release)
    if xruns is not None and later is not None and later > xruns:
        raise ReleaseError(f"{later - xruns} xruns in {patience.steady_s:.0f} s")
    counted = "no card to count xruns of" if later is None else "no new xruns"
    return f"{len(units)} units ready, steady for {patience.steady_s:.0f} s, {counted}"


def _wait_until_ready(
    programs: Programs, patience: Patience, sleep: Callable[[float], None], clock: Callable[[], float]
) -> list[Unit]:
    end_s = clock() + patience.ready_s
    while True:
        units = programs.units()
        if not units:
            raise ReleaseError("its target wants no unit")
        if failed := next((unit for unit in units if unit.has_failed), None):
            raise ReleaseError(f"{failed.name} failed ({failed.state})")
        late = next((unit for unit in units if not unit.is_ready), None)
        if late is None:
            return units
        if clock() >= end_s:
            raise ReleaseError(f"{late.name} is not READY after {patience.ready_s:.0f} s ({late.state})")
        sleep(patience.look_every_s)
