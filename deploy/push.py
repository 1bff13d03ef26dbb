"""The steps of a push to a connected box: look, send the missing parts, install, switch, ask how it went.

The box decides: it verifies, switches and goes back on its own, in a unit of systemd's that outlives the
connection. The courier asks how it ended.
"""

import json
import secrets
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from deploy.boot import LOOK, plan_boot, read_look
from deploy.box.disk import sha256_of
from deploy.box.manifest import MANIFEST, OBJECTS, SIGNATURE, Manifest
from deploy.bundle import TOOL, Bundle, write_tool
from deploy.errors import DeployError
from deploy.fleet import Outcome, Remote
from deploy.places import HOME, PROGRAM

INCOMING: Final = f"{HOME}/incoming"
SWITCH_UNIT: Final = "kelly-edge-switch"
SWITCH_WITHIN_S: Final = 900
"""Chosen: 15 minutes, with the wait for another switch (``IN_TURN``)."""
IN_TURN: Final = "--wait 600"
"""Another push may be at its switch."""
# Chosen by hand: how often a box is asked, and how far its clock may be off before signatures' and
# certificates' dates mislead.
ASK_EVERY_S: Final = 1.0
CLOCK_OFF_S: Final = 86_400
PREFLIGHT: Final = """
echo machine=$(uname -m)
echo python=$(python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)
echo clock=$(date +%s)
echo throttled=$(vcgencmd get_throttled 2>/dev/null | cut -d= -f2)
echo signers=$(test -s /etc/kelly-edge/allowed_signers && echo yes)
"""
UNDER_VOLTAGE: Final = 0x1
"""Bit 0 of the Pi's get_throttled: the supply sags now. Raspberry Pi documentation of ``vcgencmd
get_throttled``."""

KNOWN_FACTS: Final = frozenset({"current", "is_healthy", "installed", "last"})
"""What every box's account of itself holds."""

Progress = Callable[[str, str], None]
"""Called with the host's name and the present step."""


@dataclass(frozen=True)
class Preflight:
    """What a box said of itself before anything was done to it."""

    machine: str
    python: str
    warnings: tuple[str, ...]


def look(remote: Remote) -> Preflight:
    """Ask the box about itself.

    Raises
    ------
    DeployError: it cannot take a release as it is.
    """
    answers = dict(line.partition("=")[::2] for line in remote.run(PREFLIGHT).splitlines() if "=" in line)
    if answers.get("signers") != "yes":
        raise DeployError("this box trusts nobody yet; provision it first")
    if _number(answers.get("throttled", ""), 16) & UNDER_VOLTAGE:
        raise DeployError("the supply sags (under-voltage); use a better one before pushing")
    warnings = []
    if abs(_number(answers.get("clock", "")) - time.time()) > CLOCK_OFF_S:
        warnings.append("its clock is off by more than a day")
    return Preflight(answers.get("machine", ""), answers.get("python", ""), tuple(warnings))


def _number(text: str, base: int = 10) -> int:
    """A number of the box's answer; 0 where it says something else (vcgencmd's errors go to stdout)."""
    try:
        return int(text, base)
    except ValueError:
        return 0


def misfit(seen: Preflight, manifest: Manifest) -> str:
    """Why the bundle cannot run on the box, or nothing."""
    if manifest.machine != seen.machine:
        return f"the bundle is for {manifest.machine}, this is {seen.machine}"
    if manifest.python != seen.python:
        return (
            f"the bundle is for Python {manifest.python} and this box has {seen.python}; "
            f"build it with --python {seen.python}"
        )
    return ""


def status_of(remote: Remote, deep: bool = False) -> dict[str, Any]:
    """The box's own account of its releases."""
    try:
        facts = json.loads(remote.run(f"{PROGRAM} status --json{' --deep' if deep else ''}"))
    except ValueError:
        facts = None
    if not isinstance(facts, dict) or KNOWN_FACTS - set(facts):
        raise DeployError("it does not answer as a box does; provision it")
    return facts


def _layers_on(remote: Remote) -> set[str]:
    return set(remote.run(f"ls {HOME}/store/layers 2>/dev/null || true").split())


def plan(remote: Remote, bundle: Bundle, default_settings: str) -> Outcome:
    """What ``push`` would do, and ``provision`` to the boot settings; nothing is changed.

    Parameters
    ----------
    default_settings: what a box without settings of its own is given.
    """
    boot = plan_boot(read_look(remote.run(LOOK)), default_settings).text()
    try:
        outcome = _plan(remote, bundle)
    except DeployError as error:
        raise DeployError(f"{error}; {boot}") from None
    return replace(outcome, text=f"{outcome.text}; {boot}")


def _plan(remote: Remote, bundle: Bundle) -> Outcome:
    facts = (
        status_of(remote)
        if remote.ask(f"test -x {PROGRAM}")
        else {"current": "", "is_healthy": False, "installed": []}
    )
    manifest, seen = bundle.manifest, look(remote)
    if why := misfit(seen, manifest):
        return Outcome(remote.host.name, False, 0, why)
    if facts["current"] == manifest.release and facts["is_healthy"]:
        return Outcome(remote.host.name, True, 0, f"{manifest.release} runs already")
    missing = set(manifest.objects) - _layers_on(remote)
    size = sum(manifest.objects[sha] for sha in missing)
    names = sorted(layer.name for layer in manifest.layers if layer.sha256 in missing)
    listed = ", ".join(names[:4]) + ("…" if len(names) > 4 else "")
    what = f"would send {size / 1e6:.1f} MB ({len(names)} layers: {listed})"
    return Outcome(
        remote.host.name, True, 1, f"{facts['current'] or 'nothing'} -> {manifest.release}: {what}"
    )


def push(
    remote: Remote, bundle: Bundle, allow_older: bool, progress: Progress, lists: Sequence[Path] = ()
) -> Outcome:
    """Make ``bundle`` run on the box, or leave the box as it was.

    What the box holds already is read to the last byte first; what is damaged is sent again.

    Parameters
    ----------
    lists: the signed lists of keys, the oldest first; the box is sent those it does not know yet.

    Raises
    ------
    DeployError: before the switch; the box runs the same release as before.
    """
    name, manifest = remote.host.name, bundle.manifest
    progress(name, "looking")
    seen = look(remote)
    if why := misfit(seen, manifest):
        raise DeployError(why)
    changed = int(send_program(remote)) + send_keys(remote, lists)
    facts = status_of(remote, deep=True)
    if facts["current"] == manifest.release and facts["is_healthy"]:
        return Outcome(name, True, changed, f"{manifest.release} runs already")
    was_good = manifest.release in facts.get("good", ())
    older = " --allow-older" if allow_older else ""
    with upload_folder(remote, manifest.release) as folder:
        sent = _send(remote, bundle, folder, older, progress)
        progress(name, "installing")
        said = remote.run(f"{PROGRAM} install {IN_TURN}{older} {folder}", SWITCH_WITHIN_S)
    if "was installed already" not in said or "mended" in said:
        changed += sent + 1
    progress(name, "switching, proving")
    facts = run_apart(remote, f"{PROGRAM} switch {IN_TURN} {manifest.release}")
    runs = facts["current"] == manifest.release and facts["is_healthy"]
    # Another push may have had its turn since, or be at it: this release was proved all the same.
    is_good = runs or (not was_good and manifest.release in facts.get("good", ()))
    # On a full disk it could not write down how it ended.
    how = facts["last"] if manifest.release in facts["last"] else f"{facts['said']}; on {facts['current']}"
    return Outcome(name, is_good, changed + 1, "; ".join([how, *seen.warnings]))


@contextmanager
def upload_folder(remote: Remote, name: str) -> Iterator[str]:
    """A folder on the box for this push alone, so that two at once do not write over each other.

    It holds what earlier pushes of ``name`` brought whole. A push that ends with a fault leaves it to the
    next one; the box removes it when nothing was added for an hour.
    """
    folder = f"{INCOMING}/{name}.{secrets.token_hex(4)}"
    mine = f"{folder}/{OBJECTS}"
    remote.run(
        f"umask 022; mkdir -p {mine} && for f in {INCOMING}/{name}.*/{OBJECTS}/*; do case $f in "
        f"*.part|*'*'|{folder}/*) ;; *) ln $f {mine}/ 2>/dev/null;; esac; done; true"
    )
    yield folder


def _send(remote: Remote, bundle: Bundle, folder: str, older: str, progress: Progress) -> int:
    """Send the manifest, then the layers the box asks for; how many files."""
    for file in (MANIFEST, SIGNATURE):
        remote.put(bundle.folder / file, f"{folder}/{file}")
    missing = json.loads(remote.run(f"{PROGRAM} missing{older} {folder}"))
    # What an earlier, interrupted push brought whole is not sent again.
    arrived = remote.run(
        f"cd {folder}/{OBJECTS} && for f in *; do case $f in *.part|'*') ;; *) sha256sum $f;; esac; done"
    )
    whole = {line.split()[0] for line in arrived.splitlines() if len(set(line.split())) == 1}
    todo = [sha for sha in missing if sha not in whole]
    for number, sha256 in enumerate(todo, 1):
        size = bundle.manifest.objects[sha256]
        progress(remote.host.name, f"sending {number} of {len(todo)} ({size / 1e6:.1f} MB)")
        path = bundle.folder / OBJECTS / sha256
        if not path.is_file():
            raise DeployError(f"{bundle.folder} lacks {OBJECTS}/{sha256[:12]}…; build it again")
        remote.put(path, f"{folder}/{OBJECTS}/{sha256}")
    return len(todo) + 2


def send_program(remote: Remote) -> bool:
    """The box's program, where the box has another; whether it was sent."""
    with tempfile.TemporaryDirectory() as scratch:
        path = write_tool(Path(scratch) / TOOL)
        there = remote.run(f"sha256sum {PROGRAM} 2>/dev/null || true").split()
        if there and there[0] == sha256_of(path):
            return False
        # Not beside its place: what a lost connection leaves in incoming/ goes by itself.
        folder = f"{INCOMING}/program.{secrets.token_hex(4)}"
        remote.run(f"umask 022; mkdir -p {HOME}/bin {folder}")
        remote.put(path.read_bytes(), f"{folder}/{TOOL}", "755")
        remote.run(f"mv -f {folder}/{TOOL} {PROGRAM} && sync {HOME}/bin && rmdir {folder}")
    return True


def send_keys(remote: Remote, lists: Sequence[Path]) -> int:
    """The signed lists of keys that the box does not know yet, one after the other; how many.

    Raises
    ------
    DeployError: the box refuses one.
    """
    if not lists:
        return 0
    known = 0
    # A box whose list is damaged does not answer, and is sent all of them.
    with suppress(DeployError, ValueError, KeyError, TypeError):
        known = int(json.loads(remote.run(f"{PROGRAM} keys"))["serial"])
    n_taken = 0
    for path in lists:
        if int(path.stem) > known:
            folder = f"{INCOMING}/keys.{secrets.token_hex(4)}"
            remote.run(f"umask 022; mkdir -p {folder}")
            remote.put(path, f"{folder}/{path.name}")
            n_taken += "already" not in remote.run(
                f"{PROGRAM} keys {IN_TURN} {folder}/{path.name} && rm -rf {folder}"
            )
    return n_taken


def trust(remote: Remote, lists: Sequence[Path]) -> Outcome:
    """Send the box the signed lists of keys it does not know yet."""
    n = int(send_program(remote)) + send_keys(remote, lists)
    known = json.loads(remote.run(f"{PROGRAM} keys"))
    text = f"list {known['serial']}: " + ", ".join(
        f"{len(known[group])} {name}"
        for group, name in (("keys", "trusted"), ("retired", "retired"), ("revoked", "revoked"))
    )
    return Outcome(remote.host.name, True, n, text)


def run_apart(remote: Remote, command: str) -> dict[str, Any]:
    """Run a command of the box's program under systemd, wait for its end, and ask how the box is.

    Returns the box's account, and what the command said at last as ``said``.

    Raises
    ------
    DeployError: it cannot be started, or the connection is lost; the box goes on by itself then.
    """
    # A name of its own: systemd may hold one that has ended for minutes. Who is first is up to the program.
    unit = f"{SWITCH_UNIT}-{secrets.token_hex(4)}"
    remote.run(f"systemd-run --quiet --collect --unit={unit} {command}")
    end_s = time.monotonic() + SWITCH_WITHIN_S
    while remote.ask(f"systemctl is-active --quiet {unit}.service"):
        if time.monotonic() > end_s:
            raise DeployError("it does not come to an end; look at its journal")
        time.sleep(ASK_EVERY_S)
    said = remote.run(f"journalctl -q -o cat -n 1 _SYSTEMD_UNIT={unit}.service || true").strip()
    return {**status_of(remote), "said": said}


def rollback(remote: Remote, release: str) -> Outcome:
    """Back to the good release before (or to ``release``)."""
    before = status_of(remote)["current"]
    facts = run_apart(remote, f"{PROGRAM} rollback {IN_TURN} {release}".rstrip())
    is_good = facts["is_healthy"] and facts["current"] != before
    return Outcome(remote.host.name, is_good, int(facts["current"] != before), facts["last"])


def status(remote: Remote, deep: bool) -> Outcome:
    """How the box is."""
    facts = status_of(remote, deep)
    ready = sum(unit["is_ready"] for unit in facts["units"])
    verdict = (
        "healthy"
        if facts["is_healthy"]
        else facts["fault"] or ("on trial" if facts["trial"] else "not healthy")
    )
    text = f"{facts['current'] or 'no release'}: {verdict}, {ready} of {len(facts['units'])} units ready, "
    text += f"{facts['free_mib']} MiB free"
    if facts.get("earlier_fault"):
        text += f"; the release before: {facts['earlier_fault']}"
    if facts["last"]:
        text += f"; last: {facts['last']}"
    if last := facts.get("settings", {}).get("last", ""):
        text += f"; {last}"
    return Outcome(remote.host.name, facts["is_healthy"], 0, text, facts)
