"""The steps of a push of settings to a connected box: show what changes, send, and ask how it went.

The box decides: its release checks the file, and a box that falls ill with it takes the one before back.
"""

import difflib
import hashlib
import re
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Final

from deploy.box.settings import MAX_BYTES, SHOWN
from deploy.errors import DeployError
from deploy.fleet import Outcome, Remote
from deploy.inventory import Host
from deploy.places import PROGRAM
from deploy.push import IN_TURN, INCOMING, run_apart, send_program
from kelly_edge.shared.printed import printed

CONFIG: Final = "/etc/kelly-edge/config.yaml"
LONGEST_LINE: Final = 300
"""Characters. Chosen by hand."""
MOST_LINES: Final = 400
"""Of a difference, each at most ``LONGEST_LINE`` characters, that are shown. Chosen by hand."""

Show = Callable[[str], None]
"""Called with the difference, if there is one."""


def read_settings(host: Host) -> bytes:
    """The settings file that the inventory gives ``host``.

    Raises
    ------
    DeployError: it gives none, or it cannot be read.
    """
    if not host.settings:
        raise DeployError("the inventory gives it no settings; write settings: FILE.yaml for it or its group")
    shown = printed(host.settings, LONGEST_LINE)
    try:
        with Path(host.settings).open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise DeployError(f"{shown} is larger than {MAX_BYTES:,} bytes; give a file of settings")
        content.decode("utf-8")
    except OSError as error:
        raise DeployError(f"cannot read {shown} ({error.strerror}); correct the inventory") from None
    except UnicodeDecodeError:
        raise DeployError(f"{shown} is not UTF-8 text; save it as UTF-8") from None
    return content


def difference(there: str, here: str, name: str) -> str:
    """What would change in the box's settings, as a unified difference; empty where nothing would."""
    lines = list(
        difflib.unified_diff(
            there.splitlines(),
            here.splitlines(),
            f"{printed(name)} has",
            f"{printed(name)} gets",
            lineterm="",
        )
    )
    shown = [printed(line, LONGEST_LINE) for line in lines[:MOST_LINES]]
    if len(lines) > MOST_LINES:
        shown.append(f"… and {len(lines) - MOST_LINES} more lines")
    return "\n".join(shown)


def push_settings(remote: Remote, show: Show, is_dry_run: bool = False) -> Outcome:
    """Make the inventory's settings the box's, or leave the box as it was.

    Parameters
    ----------
    show: given the difference before anything is changed.
    is_dry_run: show the difference and change nothing.

    Raises
    ------
    DeployError: before the box's settings were touched.
    """
    name, content = remote.host.name, read_settings(remote.host)
    sha256 = hashlib.sha256(content).hexdigest()
    there = remote.run(f"head -c {MAX_BYTES} {CONFIG} 2>/dev/null || true")
    changes = difference(there, content.decode("utf-8"), name)
    if changes:
        show(changes)
    if is_dry_run:
        return Outcome(name, True, int(bool(changes)), "would change" if changes else "has them already")
    changed = int(send_program(remote))
    folder = f"{INCOMING}/settings.{secrets.token_hex(4)}"
    # The name of the file here: the box says in which line of it a fault is.
    file = f"{folder}/{re.sub('[^A-Za-z0-9._-]', '_', Path(remote.host.settings).name).lstrip('._-') or 'x'}"
    remote.run(f"umask 022; mkdir -p {folder}")
    try:
        remote.put(content, file)
        facts = run_apart(remote, f"{PROGRAM} settings {IN_TURN} {file}")
    finally:
        remote.ask(f"rm -rf {folder}")
    of_settings = facts.get("settings", {})
    is_in_place = of_settings.get("sha256") == sha256 and not of_settings.get("trial")
    last = str(of_settings.get("last", ""))
    # On a full disk the box could not write down how it ended.
    how = last if sha256[:SHOWN] in last else facts["said"].removeprefix("kelly-edge-release: ")
    is_changed = is_in_place and bool(changes)
    return Outcome(name, is_in_place and facts["is_healthy"], changed + int(is_changed), how, facts)
