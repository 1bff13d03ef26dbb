"""Where things are on the box, and the one state a box keeps about its releases."""

import json
import os
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from deploy.box.faults import ReleaseError

STATE: Final = "state.json"


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
    def allowed_signers(self) -> Path:
        return self.root / "etc/kelly-edge/allowed_signers"

    @property
    def config(self) -> Path:
        return self.root / "etc/kelly-edge/config.yaml"

    @property
    def units(self) -> Path:
        return self.root / "etc/systemd/system"

    def current_release(self) -> str:
        """The release the link points to, or nothing."""
        try:
            return Path(os.readlink(self.current)).name
        except OSError:
            return ""

    def installed(self) -> list[str]:
        """Complete releases; a half-built one has another name."""
        try:
            return sorted(
                p.name for p in self.releases.iterdir() if p.is_dir() and not p.name.startswith(".")
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
    """The state; a fresh one where there is none or it cannot be read (the link alone decides what runs)."""
    try:
        raw: dict[str, Any] = json.loads((layout.home / STATE).read_text(encoding="utf-8"))
        return State(**{**raw, "good": tuple(raw["good"])})
    except (OSError, ValueError, TypeError, KeyError):
        return State()


def write_state(layout: Layout, state: State) -> None:
    """All of it or the one before: written beside, synced, renamed."""
    write_whole(layout.home / STATE, json.dumps(asdict(state), indent=1).encode())


def write_whole(path: Path, content: bytes, mode: int = 0o644) -> None:
    """``content`` at ``path``, or what was there before.

    Raises
    ------
    ReleaseError: the disk refuses.
    """
    beside = path.with_name(f".{path.name}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with beside.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        beside.chmod(mode)
        beside.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        with suppress(OSError):
            beside.unlink(missing_ok=True)
        raise ReleaseError(f"cannot write {path} ({error.strerror}); make room on the box") from None


def sync_folder(folder: Path) -> None:
    """A rename outlives a power cut once its folder is synced."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def flip(layout: Layout, release: str) -> None:
    """Point ``current`` to ``release``: one rename, so that it is the old one or the new one."""
    beside = layout.home / ".current.new"
    try:
        beside.unlink(missing_ok=True)
        beside.symlink_to(f"releases/{release}")
        beside.replace(layout.current)
        sync_folder(layout.home)
    except OSError as error:
        raise ReleaseError(
            f"cannot point {layout.current} to {release} ({error.strerror}); make room"
        ) from None
