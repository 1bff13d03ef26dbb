"""Where things are on the box, and the one state a box keeps about its releases."""

import json
import os
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Final

from deploy.box.disk import read_bounded, write_link, write_whole
from deploy.box.faults import ReleaseError
from deploy.box.manifest import MANIFEST, MAX_MANIFEST_BYTES, SIGNATURE, Manifest, parse_manifest
from deploy.box.trust import (
    MAX_SIGNATURE_BYTES,
    RUNNING_ONE,
    check_signature,
    read_manifest,
    seal,
    unseal,
)

STATE: Final = "state.json"
# Chosen: far more than the files ever hold; whoever writes more meant no good.
MAX_STATE_BYTES: Final = 16 << 20
MAX_SEALED_BYTES: Final = 4 << 20
REBUILT: Final = "state.json could not be read and was made again from the signed manifests"


@dataclass(frozen=True)
class Layout:
    """``root`` is ``/`` on a box and a folder in tests."""

    root: Path = Path("/")

    @property
    def home(self) -> Path:
        return self.root / "opt/kelly-edge"

    @property
    def incoming(self) -> Path:
        return self.home / "incoming"

    @property
    def layers(self) -> Path:
        return self.home / "store/layers"

    @property
    def releases(self) -> Path:
        return self.home / "releases"

    @property
    def current(self) -> Path:
        return self.home / "current"

    @property
    def highest(self) -> Path:
        return self.home / "highest.json"

    @property
    def allowed_signers(self) -> Path:
        return self.root / "etc/kelly-edge/allowed_signers"

    @property
    def config(self) -> Path:
        return self.root / "etc/kelly-edge/config.yaml"

    @property
    def units(self) -> Path:
        return self.root / "etc/systemd/system"

    def current_release(self) -> str:
        """The release the link points to, or nothing; a link that leads elsewhere names no release."""
        try:
            folder, _, name = os.readlink(self.current).partition("/")
        except OSError:
            return ""
        return name if folder == "releases" and "/" not in name else ""

    def installed(self) -> list[str]:
        """Complete releases; a half-built one has another name."""
        try:
            return sorted(
                p.name
                for p in self.releases.iterdir()
                if p.is_dir() and not p.is_symlink() and not p.name.startswith(".")
            )
        except OSError:
            return []


@dataclass(frozen=True)
class State:
    """What the box remembers of its releases.

    ``good``: releases that proved healthy, the newest last; ``floor``: the counter below which nothing is
    taken; ``trial`` and ``fallback``: the release that has to prove itself, and where to go if it fails;
    ``last``: what happened last, for a person.
    """

    good: tuple[str, ...] = ()
    floor: int = 0
    trial: str = ""
    fallback: str = ""
    last: str = ""
    config_before: str = field(default="", repr=False)

    def passed(self, release: str, counter: int) -> "State":
        """After ``release`` proved healthy."""
        good = (*(r for r in self.good if r != release), release)
        text = f"{release} is good"
        return replace(
            self,
            good=good,
            floor=max(self.floor, counter),
            trial="",
            fallback="",
            last=text,
            config_before="",
        )


def read_state(layout: Layout) -> State:
    """The state; rebuilt where it cannot be read, fresh on a box that ran nothing yet."""
    try:
        return _parsed(read_bounded(layout.home / STATE, MAX_STATE_BYTES))
    except FileNotFoundError:
        is_fresh = not layout.current_release() and not layout.highest.is_file()
        return State() if is_fresh else _rebuilt(layout)
    except (OSError, ReleaseError, ValueError, RecursionError):
        return _rebuilt(layout)


def _parsed(content: bytes) -> State:
    """The state in ``content``.

    Raises
    ------
    ValueError: it is none.
    """
    raw: Any = json.loads(content.decode("utf-8"))
    known = {part.name for part in fields(State)}
    if not isinstance(raw, dict) or not {"good", "floor"} <= set(raw) <= known:
        raise ValueError("other keys")
    good, floor = raw.pop("good"), raw.pop("floor")
    if not isinstance(good, list) or not all(isinstance(text, str) for text in (*good, *raw.values())):
        raise ValueError("a text is none")
    if any(
        "/" in name or name.startswith(".") for name in (*good, raw.get("trial", ""), raw.get("fallback", ""))
    ):
        raise ValueError("a name leads elsewhere")
    if type(floor) is not int or floor < 0:
        raise ValueError("the floor is none")
    return State(good=tuple(good), floor=floor, **raw)


def _rebuilt(layout: Layout) -> State:
    """What the signed manifests on this box say: the floor stays, and what runs has to prove itself again."""
    known: list[Manifest] = []
    for release in layout.installed():
        with suppress(ReleaseError):
            manifest = read_manifest(layout.releases / release, layout.allowed_signers, RUNNING_ONE)
            if manifest.release == release:
                known.append(manifest)
    highest = read_highest(layout)
    current = layout.current_release()
    proved = [m for m in known if m.release == current] if highest else known
    floor = max((m.counter for m in (*proved, *((highest,) if highest else ()))), default=0)
    # What is newer than the highest that was ever good was never proved.
    others = [m for m in known if m.release != current and not (highest and m.counter > highest.counter)]
    good = [m.release for m in sorted(others, key=lambda m: m.counter)]
    if not known and not highest:
        return State()
    fallback = good[-1] if good and current else ""
    return State(good=tuple(good), floor=floor, trial=current, fallback=fallback, last=REBUILT)


def read_highest(layout: Layout) -> Manifest | None:
    """The manifest of the highest counter that was good here, kept though its release may be gone."""
    try:
        content, signature = unseal(read_bounded(layout.highest, MAX_SEALED_BYTES), layout.highest.name)
        check_signature(content, signature, layout.allowed_signers, RUNNING_ONE)
        return parse_manifest(content)
    except (OSError, ReleaseError):
        return None


def keep_highest(layout: Layout, manifest: Manifest) -> None:
    """Keep the signed manifest of a release that was good, if no higher one is kept.

    Raises
    ------
    ReleaseError: it cannot be written.
    """
    kept, folder = read_highest(layout), layout.releases / manifest.release
    if kept is not None and kept.counter >= manifest.counter:
        return
    try:
        content = read_bounded(folder / MANIFEST, MAX_MANIFEST_BYTES)
        signature = read_bounded(folder / SIGNATURE, MAX_SIGNATURE_BYTES)
    except OSError as error:
        raise ReleaseError(
            f"cannot read {folder} ({error.strerror}); push {manifest.release} again"
        ) from None
    write_whole(layout.highest, seal(content, signature))


def write_state(layout: Layout, state: State) -> None:
    """All of it or the one before: written beside, synced, renamed. The caller holds the lock."""
    write_whole(layout.home / STATE, json.dumps(asdict(state), indent=1).encode())


def flip(layout: Layout, release: str) -> None:
    """Point ``current`` to ``release``: one rename, so that it is the old one or the new one."""
    try:
        write_link(layout.current, f"releases/{release}")
    except OSError as error:
        raise ReleaseError(
            f"cannot point {layout.current} to {release} ({error.strerror}); make room"
        ) from None
