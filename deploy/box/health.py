"""Is a release healthy? First a rehearsal beside the running release, then a look at the box while it runs.

1. The settings are valid in it, and its functions compile. 2. It plays a test phrase through the whole chain
(a file for a sound card): every model is verified by its golden vectors, notes reach ``midi``, the voice is
heard. 3. After the flip the target and every unit get READY. 4. For a while nothing restarts, periods are
captured and played, hops are heard, every process steps, and no xrun is counted. ``Limits`` says how many.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from deploy.box.faults import ReleaseError
from deploy.box.limits import Limits, limits_of
from deploy.box.programs import Programs, Unit

COUNTED: Final = ("n_periods", "n_absent_periods")


@dataclass(frozen=True)
class Patience:
    """How long the box waits: for units to get READY, then for nothing to go wrong, in seconds."""

    ready_s: float = 35.0
    steady_s: float = 30.0
    look_every_s: float = 1.0


@dataclass(frozen=True)
class Proof:
    """That a release is healthy: a line about it, and whether a sound card played (None: nobody knows)."""

    line: str
    has_card: bool | None


def rehearse(programs: Programs, release: Path) -> str:
    """Let ``release`` play beside the running one; a line about it.

    Raises
    ------
    ReleaseError: it is not fit to take over.
    """
    if fault := programs.check_config(release):
        raise ReleaseError(f"it refuses the settings of this box ({fault})")
    limits = limits_of(release)
    if limits is None:
        raise ReleaseError("it was built without the limits of its health; build it again")
    programs.compile(release)
    summary = programs.play_phrase(release)
    n_notes = _number(summary.get("n_notes"))
    if n_notes < limits.notes:
        raise ReleaseError(f"of the test phrase {n_notes:.0f} notes reach midi, {limits.notes:.0f} must")
    if not _number(summary.get("voice_peak_dbfs"), otherwise=-999.0) > limits.voice_peak_dbfs:
        raise ReleaseError("the test phrase plays, but the voice is silent")
    if _number(summary.get("voice_seconds")) < limits.voice_s:
        raise ReleaseError("the test phrase plays, but the voice is cut short")
    return f"phrase played, {n_notes:.0f} notes"


def _number(value: Any, otherwise: float = 0.0) -> float:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else otherwise


def _at(reading: Any, *path: str) -> float:
    """The number at ``path`` in the output of a monitor; 0 where there is none."""
    for name in path:
        reading = reading.get(name) if isinstance(reading, Mapping) else None
    return _number(reading)


def prove(
    programs: Programs,
    release: Path,
    patience: Patience,
    had_card: bool = False,
) -> Proof:
    """Watch the running release.

    Parameters
    ----------
    had_card: a sound card played on this box before.

    Raises
    ------
    ReleaseError: a unit does not get READY, fails or restarts, or nothing is heard or played.
    """
    limits = limits_of(release)
    units = _wait_until_ready(programs, patience)
    restarts = {unit.name: unit.n_restarts for unit in units}
    before = programs.reading(release)
    end_s = programs.now_s() + patience.steady_s
    while (left_s := end_s - programs.now_s()) > 0.0:
        programs.wait(min(patience.look_every_s, left_s))
        for unit in programs.units():
            if not unit.is_ready or unit.n_restarts > restarts.get(unit.name, 0):
                raise ReleaseError(f"{unit.name} does not stay up ({unit.state}, {unit.n_restarts} restarts)")
    line = f"{len(units)} units ready, steady for {patience.steady_s:.0f} s"
    if limits is None:
        return Proof(f"{line}; built before a release said what healthy means", None)
    has_card, heard = listen(before, programs.reading(release), limits, had_card)
    return Proof(f"{line}, {heard}", has_card)


def listen(
    before: dict[str, Any] | None, after: dict[str, Any] | None, limits: Limits, had_card: bool
) -> tuple[bool, str]:
    """Whether a sound card plays, and a line about the sound heard between two readings.

    Raises
    ------
    ReleaseError: the box is silent or deaf between them.
    """
    if before is None or after is None:
        raise ReleaseError("no process counts anything in /run/kelly-edge: nothing is heard or played")
    seconds = _at(after, "time_s") - _at(before, "time_s")
    if not (_at(before, "time_s") > 0.0 and seconds > 0.0):
        raise ReleaseError("its monitor does not report the time of its readings; build it again")
    for process in after.get("processes", {}):
        if _at(after, "processes", process, "n_times") <= _at(before, "processes", process, "n_times"):
            raise ReleaseError(f"{process} took no step in {seconds:.0f} s")
    n_hops = _risen(before, after, "processes", "dsp", "counters", "n_hops")
    if n_hops < limits.hops_per_s * seconds:
        raise ReleaseError(f"dsp heard {n_hops:.0f} hops in {seconds:.0f} s")
    if _risen(before, after, "heard", "time_s") <= 0.0:
        raise ReleaseError(f"nothing new was heard in {seconds:.0f} s")
    n_periods, n_absent = (_risen(before, after, "processes", "audio", "counters", n) for n in COUNTED)
    period_s = _at(after, "processes", "audio", "deadline_ms") / 1e3
    if not period_s > 0.0 or n_periods < limits.share_of_periods * seconds / period_s:
        raise ReleaseError(f"audio moved {n_periods:.0f} periods in {seconds:.0f} s")
    if n_absent > (1.0 - limits.share_of_periods) * n_periods:
        if had_card:
            raise ReleaseError("the sound card that this box had is not there; plug it in or set audio.card")
        return False, "hears silence: no sound card yet"
    n_xruns = _risen(before, after, "xruns", "capture") + _risen(before, after, "xruns", "playback")
    if n_xruns > limits.xruns:
        raise ReleaseError(f"{n_xruns:.0f} xruns in {seconds:.0f} s")
    return True, f"{n_periods - n_absent:.0f} periods captured and played, {n_xruns:.0f} xruns"


def _risen(before: Mapping[str, Any], after: Mapping[str, Any], *path: str) -> float:
    return _at(after, *path) - _at(before, *path)


def _wait_until_ready(programs: Programs, patience: Patience) -> list[Unit]:
    end_s = programs.now_s() + patience.ready_s
    while True:
        units = programs.units()
        if len(units) < 2:
            raise ReleaseError("its target wants no unit")
        if failed := next((unit for unit in units if unit.has_failed), None):
            raise ReleaseError(f"{failed.name} failed ({failed.state})")
        # The target is up once each unit is READY or failed: a late unit is the better answer.
        late = next((unit for unit in (*units[1:], units[0]) if not unit.is_ready), None)
        if late is None:
            return units
        if programs.now_s() >= end_s:
            raise ReleaseError(f"{late.name} is not READY after {patience.ready_s:.0f} s ({late.state})")
        programs.wait(patience.look_every_s)
