"""Where a session stands, read from the cells of the box, for ``session status`` and ``monitor``."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from firmware_py.board.channels import CellReader
from firmware_py.board.map import CELLS
from kelly_edge.contract import BuiltIn, SessionState
from kelly_edge.emotion.programme import Programme

STATES: Final[Mapping[int, str]] = {
    SessionState.ON: "on",
    SessionState.WAITING: "none; the next one begins when somebody plays",
    SessionState.ENDED: "none; silent until one begins",
}


def read_session(cells: Mapping[str, CellReader], programmes: Sequence[Programme]) -> dict[str, Any]:
    """The session that is on, or how the next one begins.

    Parameters
    ----------
    cells: at least ``session``, ``knobs`` and ``target``.
    programmes: of the settings, as the knob counts them.
    """
    session, knobs, target = (np.zeros((), CELLS[name].dtype) for name in ("session", "knobs", "target"))
    for name, record in (("session", session), ("knobs", knobs), ("target", target)):
        cells[name].read(record)
    told: dict[str, Any] = {"session": STATES.get(int(knobs["session"]), "unknown")}
    chosen = int(knobs["programme"])
    if session["is_on"]:
        told["number"] = int(session["number"])
        for name in ("name", "note"):
            if text := session[name].item().decode("utf-8", "replace"):
                told[name] = text
    told["programme"] = programmes[chosen].name if 0 <= chosen < len(programmes) else "unknown"
    if session["is_on"] and told["programme"] != "unknown" and int(target["programme"]) == chosen:
        told |= _phase(programmes[chosen], target, chosen == BuiltIn.HOLD)
    if log := session["log"].item().decode("utf-8", "replace"):
        told["log"] = log
    return told


def _phase(programme: Programme, target: Any, is_held: bool) -> dict[str, Any]:
    n = 0 if is_held else min(int(target["phase"]), len(programme.phases) - 1)
    told: dict[str, Any] = {"phase": f"{n + 1} of {len(programme.phases)}, {programme.phases[n].mode}"}
    for name in ("phase_left_s", "programme_left_s"):
        left_s = float(target[name])
        if math.isfinite(left_s):
            told[name] = round(left_s)
    return told
