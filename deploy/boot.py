"""Boot settings: exactly the lines that a board's ``config.txt`` needs for the settings.

What is written stands in a block of its own, between two comments, so that the next run finds it, changes it
or takes it out. Before there was a block, every board was given the same three lines; they are taken out too.

Sources: raspberrypi/linux ``overlays/README`` (dwc2, spi0-1cs) and ``spi0-1cs-overlay.dts``, which enables
SPI 0 with one chip select, GPIO 8; raspberrypi/linux issue 3749 (SPI holds GPIO 7 to 11).
"""

import base64
import binascii
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import yaml

from deploy.errors import DeployError
from kelly_edge.shared.boards import Board, find_board

CONFIG: Final = "/boot/firmware/config.txt"
DEBIANS: Final = "/etc/default/raspi-firmware"
CUSTOM: Final = "/etc/default/raspi-firmware-custom"
"""Debian writes config.txt anew at each kernel update, and appends this file."""
SETTINGS: Final = "/etc/kelly-edge/config.yaml"
BEGIN: Final = "# kelly-edge: boot settings, written by `python -m deploy provision`; edits are lost"
END: Final = "# kelly-edge: end"
DEVICE_PORT: Final = "dtoverlay=dwc2,dr_mode=peripheral"
EITHER_PORT: Final = "dtoverlay=dwc2,dr_mode=otg"
"""The port's ID pin decides: a device for a computer's cable, a host for an OTG adapter."""
SPI: Final = "dtoverlay=spi0-1cs"
EARLIER: Final = (DEVICE_PORT, "dtparam=spi=on", "disable_splash=1")
"""What provisioning appended to every board's file, in this order, before 0.2."""
SPI_PINS: Final = (7, 8, 9, 10, 11)
"""GPIO numbers, as wired on every Raspberry Pi: both chip selects of SPI 0, data and clock."""
LOOK: Final = f"""
echo "model=$(cat /proc/device-tree/model 2>/dev/null | tr -d '\\000')"
for f in {CONFIG} {CUSTOM} {SETTINGS}; do test -f $f && echo "file:$f=$(base64 -w0 $f)"; done
test -f {DEBIANS} && echo debian=yes
for n in /sys/class/net/*; do
  test "$(cat $n/operstate 2>/dev/null)" = up && echo "net:${{n##*/}}=$(readlink -f $n)"
done
true
"""
"""Changes nothing; its output is for ``read_look``."""


@dataclass(frozen=True)
class Seen:
    """What a box said of itself. ``networks``: the sysfs path of each interface that is up."""

    model: str = ""
    files: tuple[tuple[str, str], ...] = ()
    is_debian: bool = False
    networks: tuple[str, ...] = ()

    def file(self, path: str) -> str | None:
        """The text of a file; None where it is absent."""
        return dict(self.files).get(path)


@dataclass(frozen=True)
class BootPlan:
    """``files``: path and new text of each that changes. ``added`` and ``removed``: lines."""

    board: str
    files: tuple[tuple[str, str], ...]
    added: tuple[str, ...]
    removed: tuple[str, ...]
    notes: tuple[str, ...]

    def text(self) -> str:
        """In one line: the board, its changes, and why a setting is left."""
        changes = [*(f"+ {line}" for line in self.added), *(f"- {line}" for line in self.removed)]
        said = ", ".join(changes) if changes else "nothing to change"
        return "; ".join([f"boot settings of a {self.board}: {said}", *self.notes])


def read_look(output: str) -> Seen:
    """What ``LOOK`` printed."""
    answers = [line.partition("=")[::2] for line in output.splitlines() if "=" in line]
    files = []
    for key, value in answers:
        if key.startswith("file:"):
            try:
                content = base64.b64decode(value, validate=True)
            except binascii.Error:
                raise DeployError(f"{key[5:]} came back damaged; try again") from None
            # Latin-1 keeps every byte of a file that others write too.
            files.append((key[5:], content.decode("latin-1")))
    single = {key: value for key, value in answers if key in ("model", "debian")}
    networks = tuple(value for key, value in answers if key.startswith("net:") and key != "net:lo")
    return Seen(single.get("model", ""), tuple(files), "debian" in single, networks)


def plan_boot(seen: Seen, default_settings: str) -> BootPlan:
    """What provisioning changes in the box's boot settings.

    Parameters
    ----------
    default_settings: what a box without settings of its own is given.

    Raises
    ------
    DeployError: the box's settings cannot be read.
    """
    board, config = find_board(seen.model), seen.file(CONFIG)
    if config is None:
        return BootPlan(board.name if board else "board without config.txt", (), (), (), ())
    own_settings = seen.file(SETTINGS)
    settings = _settings(default_settings if own_settings is None else own_settings)
    name = board.name if board else seen.model or "board that does not say its model"
    texts = {CONFIG: config}
    if seen.is_debian:
        texts[CUSTOM] = seen.file(CUSTOM) or ""
    theirs = [line for text in texts.values() for line in active(_without_ours(text, seen), board)]
    wanted, notes = _wanted(board, settings, seen, theirs)
    has_port = any(DEVICE_PORT in active(text, board) for text in texts.values())
    if has_port and DEVICE_PORT not in [*wanted, *theirs] and _is_reached_by_device_port(seen):
        wanted = [DEVICE_PORT, *wanted]
        notes = [*notes, f"the network comes through the USB device port, so {DEVICE_PORT} stays"]
    new = {path: _with_block(_without_ours(text, seen), wanted) for path, text in texts.items()}
    before = {line for text in texts.values() for line in active(text, board)}
    after = {line for text in new.values() for line in active(text, board)}
    if board is None:
        before |= {line for text in texts.values() for line in _lines(text)}
        after |= {line for text in new.values() for line in _lines(text)}
    return BootPlan(
        name,
        tuple((path, text) for path, text in new.items() if text != texts[path]),
        tuple(sorted(after - before)),
        tuple(sorted(before - after)),
        tuple(notes),
    )


def write_command(place: str, text: str) -> str:
    """The shell command that writes a file of a box.

    It is written beside its place, then renamed: after a power cut the box boots from the old or the new one.
    """
    content, beside = base64.b64encode(text.encode("latin-1")).decode(), f"{place}.kelly-edge"
    return (
        f"echo {content} | base64 -d >{beside} && sync {beside} && mv -f {beside} {place} && sync -f {place}"
    )


def _lines(text: str) -> list[str]:
    found = [line.strip() for line in text.splitlines()]
    return [line for line in found if line and not line.startswith(("#", "["))]


def active(text: str, board: Board | None) -> list[str]:
    """Settings that count on ``board``: no comments, and nothing under another board's ``[filter]``."""
    counts, found = True, []
    for line in (line.strip() for line in text.splitlines()):
        if match := re.fullmatch(r"\[(\S+)\]", line):
            counts = match[1] == "all" or (board is not None and _is_filter_of(match[1], board))
        elif line and not line.startswith("#") and counts:
            found.append(line)
    return found


def _is_filter_of(word: str, board: Board) -> bool:
    short = board.name.lower().split()
    words = {"pi" + short[1]} if short[0] == "pi" else {"pi02", "pi0", "pi0w"}
    return word in words | ({"pi3+"} if board.name == "Pi 3 B+" else set())


def _settings(text: str) -> dict[str, Any]:
    try:
        content = yaml.safe_load(text) or {}
    except yaml.YAMLError:
        content = None
    sections = ("panel", "gadget")
    if not isinstance(content, dict) or not all(isinstance(content.get(s) or {}, dict) for s in sections):
        raise DeployError(f"{SETTINGS} is not YAML; `kelly-edge check` says where") from None
    return {section: content.get(section) or {} for section in sections}


def _wanted(
    board: Board | None, settings: dict[str, Any], seen: Seen, theirs: Sequence[str]
) -> tuple[list[str], list[str]]:
    """The lines of the block, and what a person should know."""
    lines, notes = [], []
    if board is None:
        return [], ["no board of ours (kelly_edge/shared/boards.yaml): nothing is set"]
    usb = [line for line in theirs if re.match(r"dtoverlay=(dwc2|dwc-otg)\b|otg_mode=", line)]
    if usb:
        notes.append(f"its own {usb[-1]} stays")
        if board.takes and "dr_mode=peripheral" in usb[-1]:
            notes.append(f"it takes away {board.takes}")
    elif board.device_port == "own":
        lines.append(DEVICE_PORT)
    elif board.device_port == "none":
        notes.append(f"no USB device port: device mode would take {board.takes}")
    elif settings["gadget"].get("only_port") is not True:
        notes.append(
            f"its one port stays a host port (gadget.only_port): device mode would take {board.takes}"
        )
    elif seen.networks and all(_is_usb(path) for path in seen.networks):
        notes.append("its one port stays a host port: its only network is on USB")
    else:
        lines.append(EITHER_PORT)
    if settings["panel"].get("pots"):
        lines.append(SPI)
    elif held := [line for line in theirs if re.match(r"dtparam=spi(=on)?$|dtoverlay=spi0-", line)]:
        notes.append(f"its own {held[-1]} holds GPIO 7 to 11, where the panel has hold button and lamp")
    return lines, notes


def _is_usb(path: str) -> bool:
    """Whether an interface hangs on USB, from either end of the cable."""
    return re.search(r"/(usb\d+|gadget(\.\d+)?)/", path) is not None


def _is_reached_by_device_port(seen: Seen) -> bool:
    """Whether every network that is up comes through the USB device port."""
    return bool(seen.networks) and all(re.search(r"/gadget(\.\d+)?/", path) for path in seen.networks)


def _without_ours(text: str, seen: Seen) -> str:
    """``text`` without our block and without what an earlier provision appended."""
    lines, kept, inside = text.splitlines(keepends=True), [], False
    for line in lines:
        if line.strip() == BEGIN:
            inside = True
        elif inside and line.strip() == END:
            inside = False
        elif not inside:
            kept.append(line)
    if inside:
        # Cut off in the middle: what follows the beginning is ours, up to the first line that never was.
        kept = _without_cut_block(lines)
    return _without_earlier(kept, seen)


def _without_cut_block(lines: Sequence[str]) -> list[str]:
    kept, inside = [], False
    for line in lines:
        word = line.strip()
        inside = word == BEGIN or (inside and word in ("", "[all]", DEVICE_PORT, EITHER_PORT, SPI, END))
        if not inside:
            kept.append(line)
    return kept


def _without_earlier(lines: Sequence[str], seen: Seen) -> str:
    """Runs of the earlier lines, which end in the last of them; alone, a line may be somebody else's."""
    kept: list[str] = []
    run: list[str] = []
    for line in [*lines, ""]:
        if line.strip() in EARLIER and line.strip() not in [r.strip() for r in run]:
            run.append(line)
            continue
        words = [r.strip() for r in run]
        is_ours = len(run) > 1 and words[-1] == EARLIER[-1]
        kept += [] if is_ours else run
        run = [line] if line.strip() in EARLIER else []
        kept += [] if run else [line]
    if seen.is_debian:
        # There the image wrote this one alone.
        kept = [line for line in kept if line.strip() != EARLIER[1]]
    board = find_board(seen.model)
    if board is not None and board.device_port == "none":
        # It takes every wired connection away, also when somebody else wrote it.
        kept = [line for line in kept if line.strip() != DEVICE_PORT]
    return "".join(kept)


def _with_block(text: str, wanted: Sequence[str]) -> str:
    if not wanted:
        return text
    if text and not text.endswith("\n"):
        text += "\n"
    return text + "\n".join([BEGIN, "[all]", *wanted, END]) + "\n"
