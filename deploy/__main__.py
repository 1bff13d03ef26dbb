"""``python -m deploy``: the courier's command line.

Exit codes: 0 done (and every host is good), 1 a host is not good, else as in ``kelly_edge_commands``:
all that goes wrong is one line on stderr.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from deploy.errors import DeployError
from kelly_edge_commands import Parser, path_argument, run_command

if TYPE_CHECKING:
    from deploy.fleet import Outcome
    from deploy.inventory import Host

CHECKOUT = Path(__file__).resolve().parents[1]
KEY = Path("~/.config/kelly-edge/release_key").expanduser()
CACHE = Path("~/.cache/kelly-edge-deploy").expanduser()


def _build(args: argparse.Namespace) -> int:
    from deploy.bundle import build
    from deploy.project import Project
    from deploy.target import find_target

    target = find_target(args.python)
    bundle = build(Project(args.project), target, args.out, args.cache, args.key, args.counter)
    print(f"{'part':<24}{'version':<14}{'MB':>8}{'unpacked':>10}")
    for name, version, size, unpacked in bundle.parts():
        print(f"{name:<24}{version:<14}{size / 1e6:>8.2f}{unpacked / 1e6:>10.2f}")
    unpacked = sum(layer.unpacked for layer in bundle.manifest.layers)
    print(f"{'all':<38}{bundle.size / 1e6:>8.2f}{unpacked / 1e6:>10.2f}")
    print(bundle.folder)
    return 0


def _keys(args: argparse.Namespace) -> int:
    from deploy.bundle import make_keys

    print(make_keys(args.key))
    return 0


def _image(args: argparse.Namespace) -> int:
    from deploy.image import make_image

    print(make_image(args.out, args.ssh_key, args.hostname, args.cache))
    return 0


def _report(outcomes: Sequence["Outcome"]) -> int:
    from deploy.fleet import table

    print(table(outcomes))
    return 0 if all(outcome.is_good for outcome in outcomes) else EXIT_NOT_GOOD


def _progress(host: str, what: str) -> None:
    print(f"{host}: {what}", file=sys.stderr)


def _hosts(args: argparse.Namespace) -> list["Host"]:
    from deploy.inventory import find_hosts

    return find_hosts(args.host, args.hosts)


def _push(args: argparse.Namespace) -> int:
    hosts = _hosts(args)
    # Before sockets are used: it patches them.
    from deploy.bundle import open_bundle
    from deploy.fleet import on_each
    from deploy.push import push

    bundle = open_bundle(args.bundle)
    return _report(on_each(hosts, lambda remote: push(remote, bundle, args.allow_older, _progress)))


def _plan(args: argparse.Namespace) -> int:
    hosts = _hosts(args)
    from deploy.bundle import open_bundle
    from deploy.fleet import on_each
    from deploy.push import plan

    bundle = open_bundle(args.bundle)
    return _report(on_each(hosts, lambda remote: plan(remote, bundle)))


def _status(args: argparse.Namespace) -> int:
    hosts = _hosts(args)
    from deploy.fleet import on_each
    from deploy.push import status

    return _report(on_each(hosts, lambda remote: status(remote, args.deep)))


def _rollback(args: argparse.Namespace) -> int:
    hosts = _hosts(args)
    from deploy.fleet import on_each
    from deploy.push import rollback

    return _report(on_each(hosts, lambda remote: rollback(remote, args.to)))


def _provision(args: argparse.Namespace) -> int:
    hosts = _hosts(args)
    from deploy.provision import provision

    return _report(provision(hosts, args.key, CHECKOUT / "config.yaml"))


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="python -m deploy", description="Build, push and prove releases of Kelly Edge.")
    parser.add_argument("--key", type=path_argument, default=KEY, help="signing key (default: %(default)s)")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    sub = commands.add_parser("keys", help="make a signing key")
    sub.set_defaults(run=_keys)
    sub = commands.add_parser("build", help="build a signed bundle for a Raspberry Pi")
    sub.set_defaults(run=_build)
    sub.add_argument("--out", type=path_argument, required=True, help="folder for the bundle")
    sub.add_argument("--project", type=path_argument, default=CHECKOUT, help=argparse.SUPPRESS)
    sub.add_argument(
        "--python", default="3.11", help="the box's: 3.11 (bookworm) or 3.13 (trixie); default: %(default)s"
    )
    sub.add_argument(
        "--cache", type=path_argument, default=CACHE, help="downloads and layers (default: %(default)s)"
    )
    sub.add_argument("--counter", type=int, help="anti-downgrade counter (default: number of commits)")
    sub = commands.add_parser("image", help="make an SD image for Raspberry Pi 3 and 4 (as root)")
    sub.set_defaults(run=_image)
    sub.add_argument("--out", type=path_argument, required=True, help="the image to write")
    sub.add_argument("--ssh-key", type=path_argument, required=True, help="public key that may log in")
    sub.add_argument("--hostname", default="kelly-edge", help="default: %(default)s")
    sub.add_argument(
        "--cache", type=path_argument, default=CACHE, help="Debian's tree (default: %(default)s)"
    )
    for name, run, text in (
        ("provision", _provision, "prepare fresh boxes; a second run changes nothing"),
        ("push", _push, "make a bundle run on boxes, or leave them as they were"),
        ("plan", _plan, "what push would do; changes nothing"),
        ("status", _status, "how boxes are"),
        ("rollback", _rollback, "back to the good release before"),
    ):
        sub = commands.add_parser(name, help=text, description=text)
        sub.set_defaults(run=run)
        sub.add_argument("host", nargs="+", metavar="HOST", help="name, @group or user@address:port")
        sub.add_argument(
            "--hosts", type=path_argument, default=Path("hosts.yaml"), help="inventory (default: %(default)s)"
        )
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
        if name == "rollback":
            sub.add_argument("--to", default="", metavar="RELEASE", help="default: the good one before")
    return parser


EXIT_NOT_GOOD = 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    return run_command("deploy", lambda: _work(words), (DeployError,), "--debug" in words)


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
