"""``kelly-edge-release``: what a person, the courier and the boot ask of the box.

Exit codes: 0 done, 1 not healthy (the box is back on the release before), 2 a fault; always one line.
"""

import argparse
import json
import math
import os
import shutil
import sys
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from deploy.box import parcels, settings, store, switch
from deploy.box.disk import read_bounded
from deploy.box.faults import ReleaseError, printed
from deploy.box.health import Patience
from deploy.box.inspection import MENDED, read_inspection, write_inspection
from deploy.box.keys import accept
from deploy.box.layout import Layout, read_state
from deploy.box.programs import SystemPrograms
from deploy.box.trust import INSTALLED_ONES, MAX_KEYS_BYTES, read_keys, read_manifest, verify_bundle

PATIENCE_FILE = "etc/kelly-edge/health.json"
MAX_PATIENCE_BYTES = 4_096
"""Of that file. Chosen: our own have some hundred bytes."""
LONGEST_S = 600.0
"""The longest a box may be told to wait: the courier asks for fifteen minutes in all. Chosen by hand."""


def _patience(layout: Layout) -> Patience:
    """The defaults, or a slow box's own."""
    path = layout.root / PATIENCE_FILE
    if not path.exists():
        return Patience()
    names = {part.name for part in fields(Patience)}
    try:
        given = json.loads(read_bounded(path, MAX_PATIENCE_BYTES).decode("utf-8"))
        known = isinstance(given, dict) and set(given) <= names
        numbers = list(given.values()) if known else [math.nan]
        is_right = all(type(n) in (int, float) and 0.0 < n <= LONGEST_S for n in numbers)
    except (OSError, ValueError, RecursionError):
        is_right = False
    if not is_right:
        raise ReleaseError(
            f'{path} is not a list of seconds above 0 and up to {LONGEST_S:.0f} such as {{"ready_s": 25}}; '
            "correct it"
        )
    return Patience(**given)


def _verify(layout: Layout, args: argparse.Namespace) -> str:
    keys = args.keys or layout.allowed_signers
    manifest = verify_bundle(args.bundle, keys)
    return f"{manifest.release} is whole: {len(manifest.layers)} layers, signed"


def _missing(layout: Layout, args: argparse.Namespace) -> str:
    manifest = read_manifest(args.bundle, layout.allowed_signers)
    switch.check_counter(read_state(layout), manifest, args.allow_older)
    if manifest.machine != os.uname().machine:
        raise ReleaseError(
            f"{manifest.release} is for {manifest.machine}, this is {os.uname().machine}; build for it"
        )
    return json.dumps(sorted(layer.sha256 for layer in store.wanting_layers(layout, manifest)))


def _install(layout: Layout, args: argparse.Namespace) -> str:
    with switch.only_one(layout, args.wait):
        store.remove_leftovers(layout)
        switch.tidy(layout)
        manifest = verify_bundle(args.bundle, layout.allowed_signers, store.present_layers(layout))
        switch.check_counter(read_state(layout), manifest, args.allow_older)
        done = store.install(layout, args.bundle, manifest)
        current = layout.current_release()
        if current in done.mended:
            write_inspection(layout, current, MENDED)
        if args.bundle.resolve().parent == layout.incoming.resolve():
            shutil.rmtree(args.bundle, ignore_errors=True)
    how = "installed" if done.is_new else "was installed already"
    return f"{manifest.release} {how}" + "".join(f"; {name} was mended" for name in sorted(done.mended))


def _keys(layout: Layout, args: argparse.Namespace) -> str:
    if args.list is None:
        return json.dumps(asdict(read_keys(layout.allowed_signers)), indent=1)
    try:
        sealed = read_bounded(args.list, MAX_KEYS_BYTES)
    except OSError as error:
        raise ReleaseError(f"cannot read {args.list} ({error.strerror}); send the keys again") from None
    with switch.only_one(layout, args.wait):
        is_new = accept(layout.allowed_signers, sealed)
    # Said without reading what is in force: an older list mends none that was lost, and the next one may.
    return (
        f"{args.list.name} is in force"
        if is_new
        else f"{args.list.name} or a later list was in force already"
    )


def _prune(layout: Layout, args: argparse.Namespace) -> str:
    with switch.only_one(layout, args.wait):
        store.remove_leftovers(layout)
        gone = switch.tidy(layout)
    return f"removed {', '.join(gone)}" if gone else "nothing to remove"


def _inspect(layout: Layout, args: argparse.Namespace) -> str:
    return switch.inspect(layout)


def _switch(layout: Layout, args: argparse.Namespace) -> str:
    with switch.only_one(layout, args.wait):
        return switch.switch(layout, SystemPrograms(layout), args.release, _patience(layout))


def _rollback(layout: Layout, args: argparse.Namespace) -> str:
    with switch.only_one(layout, args.wait):
        return switch.rollback(layout, SystemPrograms(layout), args.release or "", _patience(layout))


def _settings(layout: Layout, args: argparse.Namespace) -> str:
    with switch.only_one(layout, args.wait):
        return settings.change(layout, SystemPrograms(layout), args.file, _patience(layout))


def _doctor(layout: Layout, args: argparse.Namespace) -> str:
    release = switch.trusted(layout, layout.current_release()).release
    return json.dumps(SystemPrograms(layout).doctor(layout.releases / release), indent=1)


def _sessions(layout: Layout, args: argparse.Namespace) -> str:
    parcels.fetch_sessions(layout, args.file)
    return f"{args.file} holds the session logs"


def _journal(layout: Layout, args: argparse.Namespace) -> str:
    parcels.fetch_journal(args.file)
    return f"{args.file} holds the journal"


def _pack(layout: Layout, args: argparse.Namespace) -> str:
    """The session logs on stdout: what ``sessions`` lets the service's user run."""
    parcels.pack(layout.root / parcels.SESSIONS, sys.stdout.buffer)
    return ""


def _check(layout: Layout, args: argparse.Namespace) -> str:
    manifest = switch.trusted(layout, layout.current_release(), deep=args.deep)
    return f"{manifest.release} is sound"


def _boot(layout: Layout, args: argparse.Namespace) -> str:
    with switch.only_one(layout):
        return switch.at_boot(layout, SystemPrograms(layout))


def _confirm(layout: Layout, args: argparse.Namespace) -> str:
    programs, patience = SystemPrograms(layout), _patience(layout)
    with switch.only_one(layout):
        text = switch.confirm(layout, programs, patience)
        return "; ".join(filter(None, (text, settings.confirm(layout, programs, patience))))


def _status(layout: Layout, args: argparse.Namespace) -> str:
    state, current = read_state(layout), layout.current_release()
    inspected = read_inspection(layout)
    try:
        switch.trusted(layout, current, deep=args.deep)
        # By a key that was revoked since it plays on, and is said to be in want of another.
        read_manifest(layout.releases / current, layout.allowed_signers, INSTALLED_ONES)
        read_keys(layout.allowed_signers)
        fault = inspected.fault if inspected.release == current else ""
    except ReleaseError as error:
        fault = str(error)
    programs = SystemPrograms(layout)
    units = [] if layout.root != Path("/") else programs.units()
    is_healthy = not fault and current in state.good and not state.trial and all(u.is_ready for u in units)
    if is_healthy and units:
        fault = switch.silence(layout, programs)
        is_healthy = not fault
    facts = {
        "current": current,
        "is_healthy": is_healthy,
        "fault": fault,
        "earlier_fault": inspected.earlier if inspected.release == current else "",
        "inspected": inspected.at if inspected.release == current else "",
        "installed": layout.installed(),
        "good": list(state.good),
        "floor": state.floor,
        "trial": state.trial,
        "last": state.last,
        "free_mib": store.free_bytes(layout) >> 20 if layout.home.is_dir() else 0,
        "units": [asdict(unit) for unit in units],
        "settings": {"sha256": settings.digest(layout), **asdict(settings.read_trial(layout))},
    }
    if args.json:
        return json.dumps(facts, indent=1)
    names = ", ".join(f"{u.name} {'ready' if u.is_ready else u.state}" for u in units)
    verdict = (
        "healthy" if is_healthy else fault or (f"on trial: {state.trial}" if state.trial else "not healthy")
    )
    return f"{current or 'no release'}: {verdict}; last: {state.last or 'nothing'}; {names}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="kelly-edge-release", description="The releases of this box.")
    parser.add_argument("--root", type=Path, default=Path("/"), help=argparse.SUPPRESS)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    table = (
        ("verify", _verify, "check a bundle: signature and every byte"),
        ("missing", _missing, "the layers of a bundle this box lacks, as JSON"),
        ("install", _install, "unpack a bundle beside the running release"),
        ("switch", _switch, "run a release; back to the one before if it is not healthy"),
        ("rollback", _rollback, "run the good release before"),
        ("settings", _settings, "use these settings; those before come back if the box is not healthy"),
        ("doctor", _doctor, "what the current release's `kelly-edge doctor` finds, as JSON"),
        ("sessions", _sessions, "pack the session logs into a new file that root alone may read"),
        ("journal", _journal, "write the end of the units' journal into such a file"),
        ("pack", _pack, ""),
        ("check", _check, "check the current release's signature and files"),
        ("prune", _prune, "remove releases, layers and uploads that no rule keeps"),
        ("keys", _keys, "the keys this box trusts; with a signed list, those it trusts from now on"),
        (
            "inspect",
            _inspect,
            "read every byte of the running release and of the one before, and note the result",
        ),
        ("boot", _boot, "before the units start: choose a release that is sound"),
        ("confirm", _confirm, "after the units started: judge a release on trial"),
        ("status", _status, "the running release, and whether it is healthy"),
    )
    for name, run, text in table:
        shown: dict[str, Any] = {"help": text} if text else {}
        sub = commands.add_parser(name, description=text, **shown)
        sub.set_defaults(run=run)
        if name in ("verify", "missing", "install"):
            sub.add_argument(
                "bundle", type=Path, help="folder with manifest.json, its signature and objects/"
            )
        if name == "settings":
            sub.add_argument("file", type=Path, help="a config.yaml; the one before is config.yaml.before")
        if name in ("sessions", "journal"):
            sub.add_argument("file", type=Path, help="the file to make: a tar.xz, or a text")
        if name in ("install", "switch", "rollback", "settings", "keys", "prune"):
            sub.add_argument(
                "--wait", type=float, default=0.0, metavar="S", help="wait for another change to end"
            )
        if name == "keys":
            sub.add_argument(
                "list", type=Path, nargs="?", help="keys.json, as `python -m deploy keys` makes it"
            )
        if name == "verify":
            sub.add_argument("--keys", type=Path, help="allowed signers (default: this box's)")
        if name in ("missing", "install"):
            sub.add_argument(
                "--allow-older", action="store_true", help="take a release older than one that was good"
            )
        if name == "switch":
            sub.add_argument("release")
        if name == "rollback":
            sub.add_argument("release", nargs="?")
        if name in ("check", "status"):
            sub.add_argument("--deep", action="store_true", help="libraries by hash too")
        if name == "status":
            sub.add_argument("--json", action="store_true")
    return parser


JUDGING = (_switch, _rollback, _settings, _confirm, _boot, _inspect)
"""What ends in a verdict about a release, which is noted under the lock where it is given."""


def main() -> int:
    """Run one command."""
    args = _parser().parse_args()
    # A root shell's umask of 077 must not lock the services out of the releases.
    os.umask(0o022)
    try:
        text = args.run(Layout(args.root), args)
        if text:
            print(text)
    except ReleaseError as error:
        print(f"kelly-edge-release: {error}", file=sys.stderr)
        return 1 if args.run in JUDGING else 2
    except OSError as error:
        where = printed(str(error.filename or "the disk"), 300)
        print(
            f"kelly-edge-release: {where}: {error.strerror}; make room or mend it",
            file=sys.stderr,
        )
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
