"""``kelly-edge-release``: what a person, the courier and the boot ask of the box.

Exit codes: 0 done, 1 not healthy (the box is back on the release before), 2 a fault; always one line.
"""

import argparse
import contextlib
import json
import os
import shutil
import sys
from dataclasses import asdict
from pathlib import Path

from deploy.box import store, switch
from deploy.box.faults import ReleaseError
from deploy.box.health import Patience
from deploy.box.layout import Layout, read_state
from deploy.box.programs import SystemPrograms
from deploy.box.trust import read_manifest, verify_bundle

PATIENCE_FILE = "etc/kelly-edge/health.json"


def _patience(layout: Layout) -> Patience:
    """The defaults, or a slow box's own."""
    path = layout.root / PATIENCE_FILE
    if not path.is_file():
        return Patience()
    try:
        return Patience(**{key: float(value) for key, value in json.loads(path.read_text()).items()})
    except (OSError, ValueError, TypeError, AttributeError):
        raise ReleaseError(f'{path} is not a list of seconds such as {{"ready_s": 25}}; correct it') from None


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
    if manifest.release in layout.installed():
        return "[]"
    return json.dumps(sorted(set(manifest.objects) - store.present_layers(layout)))


def _install(layout: Layout, args: argparse.Namespace) -> str:
    with switch.only_one(layout):
        store.remove_leftovers(layout)
        manifest = verify_bundle(args.bundle, layout.allowed_signers, store.present_layers(layout))
        switch.check_counter(read_state(layout), manifest, args.allow_older)
        is_new = store.install(layout, args.bundle, manifest)
        if args.bundle.resolve().parent == layout.incoming.resolve():
            shutil.rmtree(args.bundle, ignore_errors=True)
    return f"{manifest.release} {'installed' if is_new else 'was installed already'}"


def _switch(layout: Layout, args: argparse.Namespace) -> str:
    with switch.only_one(layout):
        return switch.switch(layout, SystemPrograms(layout), args.release, _patience(layout))


def _rollback(layout: Layout, args: argparse.Namespace) -> str:
    with switch.only_one(layout):
        return switch.rollback(layout, SystemPrograms(layout), args.release or "", _patience(layout))


def _check(layout: Layout, args: argparse.Namespace) -> str:
    manifest = switch.trusted(layout, layout.current_release(), deep=args.deep)
    return f"{manifest.release} is sound"


def _boot(layout: Layout, args: argparse.Namespace) -> str:
    with switch.only_one(layout):
        return switch.at_boot(layout, SystemPrograms(layout))


def _confirm(layout: Layout, args: argparse.Namespace) -> str:
    with switch.only_one(layout):
        return switch.confirm(layout, SystemPrograms(layout), _patience(layout))


def _status(layout: Layout, args: argparse.Namespace) -> str:
    state, current = read_state(layout), layout.current_release()
    try:
        switch.trusted(layout, current, deep=args.deep)
        fault = ""
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
        "installed": layout.installed(),
        "good": list(state.good),
        "floor": state.floor,
        "trial": state.trial,
        "last": state.last,
        "free_mib": store.free_bytes(layout) >> 20 if layout.home.is_dir() else 0,
        "units": [asdict(unit) for unit in units],
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
        ("install", _install, "unpack a bundle beside what runs"),
        ("switch", _switch, "run a release; back to the one before if it is not healthy"),
        ("rollback", _rollback, "run the good release before"),
        ("check", _check, "check the current release's signature and files"),
        ("boot", _boot, "before the units start: run what is sound"),
        ("confirm", _confirm, "after the units started: judge a release on trial"),
        ("status", _status, "what runs, and whether it is healthy"),
    )
    for name, run, text in table:
        sub = commands.add_parser(name, help=text, description=text)
        sub.set_defaults(run=run)
        if name in ("verify", "missing", "install"):
            sub.add_argument(
                "bundle", type=Path, help="folder with manifest.json, its signature and objects/"
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


JUDGING = (_switch, _rollback, _confirm, _boot)
"""What ends in a verdict about a release."""


def main() -> int:
    """Run one command."""
    args = _parser().parse_args()
    try:
        print(args.run(Layout(args.root), args))
    except ReleaseError as error:
        print(f"kelly-edge-release: {error}", file=sys.stderr)
        if args.run not in JUDGING:
            return 2
        # The courier, or a person, reads it later.
        with contextlib.suppress(ReleaseError):
            switch.note(Layout(args.root), str(error))
        return 1
    except OSError as error:
        print(
            f"kelly-edge-release: {error.filename or 'the disk'}: {error.strerror}; make room or mend it",
            file=sys.stderr,
        )
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
