"""What a box's own ``kelly-edge doctor`` finds, from afar."""

import json
from typing import Any, Final

from deploy.errors import DeployError
from deploy.fleet import Outcome, Remote
from deploy.places import PROGRAM
from deploy.push import send_program
from kelly_edge.shared.printed import printed

DOCTOR_WITHIN_S: Final = 300
"""Chosen by hand: a Pi 3 loads the instrument in half a minute."""
LONGEST_FINDING: Final = 200
"""Characters. Chosen by hand."""
SHOWN: Final = 4
"""Findings in a row; all of them are in ``--json``. Chosen by hand."""


def doctor(remote: Remote) -> Outcome:
    """One row: how many checks found a fault or a warning, and the gravest with what to do.

    Raises
    ------
    DeployError: the box's release cannot tell.
    """
    changed = int(send_program(remote))
    facts = _facts(remote.run(f"{PROGRAM} doctor", DOCTOR_WITHIN_S))
    by_level = {level: [c for c in facts["checks"] if c["level"] == level] for level in ("fault", "warning")}
    found = [
        printed(f"{c['check']}: {c['found']} ({c['remedy']})", LONGEST_FINDING)
        for level in by_level.values()
        for c in level
    ]
    counts = ", ".join(f"{level}s {len(checks)}" for level, checks in by_level.items())
    more = [f"{len(found) - SHOWN} more in --json"] if len(found) > SHOWN else []
    text = "; ".join([f"{len(facts['checks'])} checks, {counts}", *found[:SHOWN], *more])
    return Outcome(remote.host.name, not by_level["fault"], changed, text, facts)


def _facts(text: str) -> dict[str, Any]:
    try:
        facts = json.loads(text)
        checks = facts["checks"]
        is_right = all(
            isinstance(c[key], str) for c in checks for key in ("check", "level", "found", "remedy")
        )
    except (ValueError, KeyError, TypeError):
        is_right = False
    if not is_right or not isinstance(facts, dict) or not isinstance(checks, list):
        raise DeployError("its doctor does not answer as one does; push a release that has one")
    return facts
