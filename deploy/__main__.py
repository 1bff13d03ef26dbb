"""``python -m deploy``: the courier's command line.

Exit codes: 0 done (and every host is good), 1 a host is not good, else as in
``kelly_edge.shared.command_line``: all that goes wrong is one line on stderr.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from deploy.box.faults import ReleaseError
from deploy.errors import DeployError
from kelly_edge.shared.command_line import Parser, path_argument, run_command
from kelly_edge.shared.printed import printed

if TYPE_CHECKING:
    from deploy.fleet import Outcome
    from deploy.inventory import Host

CHECKOUT = Path(__file__).resolve().parents[1]
SETTINGS = CHECKOUT / "config.yaml"
"""What a box without settings of its own is given."""
DEFAULT_PYTHON = "3.13"
"""Of Raspberry Pi OS since October 2025 (trixie)."""
PYTHON_HELP = "the box's: 3.13 (trixie) or 3.11 (bookworm); default: %(default)s"
KEY = Path("~/.config/kelly-edge/release_key").expanduser()
CACHE = Path("~/.cache/kelly-edge-deploy").expanduser()


def _build(args: argparse.Namespace) -> int:
    from deploy.bundle import build
    from deploy.project import Project
    from deploy.target import find_target

    target = find_target(args.python)
    bundle = build(Project(args.project), target, args.out, args.cache, args.key, args.counter)
    print(f"{'part':<30}{'version':<14}{'MB':>8}{'unpacked':>10}")
    for name, version, size, unpacked in bundle.parts():
        print(f"{name:<30}{version:<14}{size / 1e6:>8.2f}{unpacked / 1e6:>10.2f}")
    unpacked = sum(layer.unpacked for layer in bundle.manifest.layers)
    print(f"{'all':<44}{bundle.size / 1e6:>8.2f}{unpacked / 1e6:>10.2f}")
    print(bundle.folder)
    return 0


def _wheel(args: argparse.Namespace) -> int:
    from deploy.project import Project
    from deploy.wheel import make_wheel
    from deploy.wheelhouse import build_tools

    args.cache.mkdir(parents=True, exist_ok=True)
    print(make_wheel(Project(CHECKOUT), args.out, [build_tools(args.cache)]))
    return 0


def _keys(args: argparse.Namespace) -> int:
    from deploy.bundle import make_keys
    from deploy.keyring import change_keys

    changes = (args.add, args.retire, args.revoke)
    print(change_keys(args.key, *changes) if any(changes) else make_keys(args.key))
    return 0


def _sign(args: argparse.Namespace) -> int:
    from deploy.bundle import open_bundle, sign_again

    print(sign_again(open_bundle(args.bundle), args.key))
    return 0


def _trust(args: argparse.Namespace) -> int:
    hosts = _hosts(args)
    from deploy.fleet import on_each
    from deploy.keyring import key_lists
    from deploy.push import trust

    lists = key_lists(args.key)
    return _report(on_each(hosts, lambda remote: trust(remote, lists)))


def _image(args: argparse.Namespace) -> int:
    from deploy.image import make_image
    from deploy.target import find_target

    suite = find_target(args.python).suite
    print(make_image(args.out, args.ssh_key, args.hostname, args.cache, suite))
    return 0


def _report(outcomes: Sequence["Outcome"], is_json: bool = False) -> int:
    from deploy.fleet import as_json, table

    print(as_json(outcomes) if is_json else table(outcomes))
    return 0 if all(outcome.is_good for outcome in outcomes) else EXIT_NOT_GOOD


def _progress(host: str, what: str) -> None:
    print(f"{host}: {printed(what, 300)}", file=sys.stderr)


def _hosts(args: argparse.Namespace) -> list["Host"]:
    from deploy.inventory import find_hosts

    return find_hosts(args.host, args.hosts, args.strict)


def _push(args: argparse.Namespace) -> int:
    hosts = _hosts(args)
    # Before sockets are used: it patches them.
    from deploy.bundle import open_bundle
    from deploy.fleet import on_each
    from deploy.keyring import key_lists
    from deploy.push import push

    bundle, lists = open_bundle(args.bundle), key_lists(args.key)
    return _report(on_each(hosts, lambda remote: push(remote, bundle, args.allow_older, _progress, lists)))


def _plan(args: argparse.Namespace) -> int:
    hosts = _hosts(args)
    from deploy.bundle import open_bundle
    from deploy.fleet import on_each
    from deploy.push import plan

    bundle = open_bundle(args.bundle)
    settings = SETTINGS.read_text(encoding="utf-8")
    return _report(on_each(hosts, lambda remote: plan(remote, bundle, settings)))


def _status(args: argparse.Namespace) -> int:
    hosts = _hosts(args)
    from deploy.fleet import on_each
    from deploy.push import status

    return _report(on_each(hosts, lambda remote: status(remote, args.deep)), args.json)


def _settings(args: argparse.Namespace) -> int:
    hosts = _hosts(args)
    from deploy.fleet import on_each
    from deploy.settings import push_settings

    return _report(on_each(hosts, lambda remote: push_settings(remote, print, args.dry_run)))


def _doctor(args: argparse.Namespace) -> int:
    hosts = _hosts(args)
    from deploy.doctor import doctor
    from deploy.fleet import on_each

    return _report(on_each(hosts, doctor), args.json)


def _fetch(args: argparse.Namespace) -> int:
    hosts = _hosts(args)
    from deploy.fetch import fetch, folders_of
    from deploy.fleet import on_each

    folders = folders_of(hosts, args.out)
    return _report(on_each(hosts, lambda remote: fetch(remote, args.what, folders[remote.host.name])))


def _rollback(args: argparse.Namespace) -> int:
    hosts = _hosts(args)
    from deploy.fleet import on_each
    from deploy.push import rollback

    return _report(on_each(hosts, lambda remote: rollback(remote, args.to)))


def _provision(args: argparse.Namespace) -> int:
    hosts = _hosts(args)
    from deploy.provision import provision

    return _report(provision(hosts, args.key, SETTINGS))


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="python -m deploy", description="Build, push and prove releases of Kelly Edge.")
    parser.add_argument("--key", type=path_argument, default=KEY, help="signing key (default: %(default)s)")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    sub = commands.add_parser(
        "keys",
        help="make a signing key, or sign the next list of trusted keys",
        description="Without options: make a signing key. With them: sign the next list of keys with --key.",
    )
    sub.set_defaults(run=_keys)
    for option, text in (
        ("--add", "trust this public key too"),
        ("--retire", "accept nothing new signed with this key; installed releases that it signed stay"),
        ("--revoke", "take nothing of this key ever again"),
    ):
        sub.add_argument(
            option, type=path_argument, action="append", default=[], metavar="KEY.pub", help=text
        )
    sub = commands.add_parser("sign", help="sign a bundle with another key")
    sub.set_defaults(run=_sign)
    sub.add_argument("bundle", type=path_argument, help="bundle, or the --out it was built into")
    sub = commands.add_parser("build", help="build a signed bundle for a Raspberry Pi")
    sub.set_defaults(run=_build)
    sub.add_argument("--out", type=path_argument, required=True, help="folder for the bundle")
    sub.add_argument("--project", type=path_argument, default=CHECKOUT, help=argparse.SUPPRESS)
    sub.add_argument("--python", default=DEFAULT_PYTHON, help=PYTHON_HELP)
    sub.add_argument(
        "--cache", type=path_argument, default=CACHE, help="downloads and layers (default: %(default)s)"
    )
    sub.add_argument("--counter", type=int, help="anti-downgrade counter (default: number of commits)")
    sub = commands.add_parser("wheel", help="build the last commit's wheel: the same bytes each time")
    sub.set_defaults(run=_wheel)
    sub.add_argument("--out", type=Path, required=True, help="folder for the wheel")
    sub.add_argument("--cache", type=Path, default=CACHE, help="setuptools (default: %(default)s)")
    sub = commands.add_parser("image", help="make an SD image for Raspberry Pi 3 and 4 (as root)")
    sub.set_defaults(run=_image)
    sub.add_argument("--out", type=path_argument, required=True, help="the image to write")
    sub.add_argument("--ssh-key", type=path_argument, required=True, help="public key that may log in")
    sub.add_argument("--python", default=DEFAULT_PYTHON, help=PYTHON_HELP)
    sub.add_argument("--hostname", default="kelly-edge", help="default: %(default)s")
    sub.add_argument(
        "--cache", type=path_argument, default=CACHE, help="Debian's tree (default: %(default)s)"
    )
    for name, run, text in (
        ("provision", _provision, "prepare fresh boxes; a second run changes nothing"),
        ("push", _push, "make a bundle run on boxes, or leave them as they were"),
        ("trust", _trust, "send boxes the signed lists of keys"),
        ("plan", _plan, "what push would do, and provision to the boot settings; changes nothing"),
        ("status", _status, "how boxes are"),
        ("rollback", _rollback, "back to the good release before"),
        (
            "settings",
            _settings,
            "give boxes the settings that the inventory names, or leave them as they were",
        ),
        ("doctor", _doctor, "whether boxes are fit to play live"),
        ("fetch", _fetch, "bring session logs or the journal from boxes"),
    ):
        sub = commands.add_parser(name, help=text, description=text)
        sub.set_defaults(run=run)
        if name == "fetch":
            sub.add_argument("what", choices=("sessions", "journal"))
        sub.add_argument("host", nargs="+", metavar="HOST", help="name, @group or user@address:port")
        sub.add_argument(
            "--hosts", type=path_argument, default=Path("hosts.yaml"), help="inventory (default: %(default)s)"
        )
        sub.add_argument("--strict", action="store_true", help="refuse a box whose host key is not known yet")
        if name in ("push", "plan"):
            sub.add_argument(
                "--bundle",
                type=path_argument,
                default=Path("out/bundle"),
                help="bundle, or the --out it was built into",
            )
        if name == "push":
            sub.add_argument(
                "--allow-older", action="store_true", help="push a release older than one that was good"
            )
        if name == "status":
            sub.add_argument("--deep", action="store_true", help="libraries by hash too")
        if name in ("status", "doctor"):
            sub.add_argument("--json", action="store_true", help="all that boxes say, as JSON")
        if name == "settings":
            sub.add_argument(
                "--dry-run", action="store_true", help="show what would change, and change nothing"
            )
        if name == "fetch":
            sub.add_argument(
                "--out", type=path_argument, required=True, help="a folder; each box has its own in it"
            )
        if name == "rollback":
            sub.add_argument("--to", default="", metavar="RELEASE", help="default: the good one before")
    return parser


EXIT_NOT_GOOD = 1
"""Exit status: POSIX, the program ran and the answer is no. Chosen: 2 stays for a wrong call."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    return run_command("deploy", lambda: _work(words), (DeployError, ReleaseError), "--debug" in words)


def _work(words: Sequence[str]) -> int:
    args = _parser().parse_args(words)
    try:
        return int(args.run(args))
    except ModuleNotFoundError as error:
        module = (error.name or "").partition(".")[0]
        if module in {"pyinfra", "gevent", "packaging", "yaml", "paramiko"}:
            raise DeployError(f"{module} is not installed; pip install 'kelly-edge[deploy]'") from error
        raise


if __name__ == "__main__":
    sys.exit(main())
