"""The USB gadget, on a tree that refuses what the kernel refuses."""

import errno
import itertools
import os
import random
import re
from pathlib import Path, PurePosixPath

import pytest

from firmware_py.__main__ import main
from firmware_py.devices.machine.configfs import CONTROLLERS, GADGETS, HOME, MIDI2, OFFICIAL_TOOL
from firmware_py.devices.machine.usb_gadget import ECM, MIDI, Gadget, board_serial, mac
from firmware_py.settings import GadgetSettings
from kelly_edge.errors import DeviceError

SERIAL = "10000000abcdef01"
UDC = "fe980000.usb"
CLASS = ("bDeviceClass", "bDeviceSubClass", "bDeviceProtocol")
GADGET_VALUES = ("idVendor", "idProduct", "bcdDevice", "bcdUSB", "bMaxPacketSize0", *CLASS)
GADGET_FOLDERS = ("configs", "functions", "strings", "os_desc")
FUNCTIONS = {
    MIDI: {name: "" for name in ("id", "index", "buflen", "qlen", "in_ports", "out_ports")},
    MIDI2: {name: "" for name in ("iface_name", "process_ump", "ep.0/ep_name", "ep.0/block.0/name")},
    ECM: {name: "" for name in ("host_addr", "dev_addr", "qmult", "ifname")},
}
NO_ENTRY, BUSY, GONE = errno.ENOENT, errno.EBUSY, errno.ENODEV


def refuse(number: int) -> OSError:
    return OSError(number, os.strerror(number))


class KernelTree:
    """configfs as Linux's gadget code answers: drivers/usb/gadget/configfs.c and fs/configfs/dir.c."""

    def __init__(
        self, functions: tuple[str, ...] = (MIDI, MIDI2, ECM), udcs: tuple[str, ...] = (UDC,)
    ) -> None:
        self.known, self.udcs = functions, set(udcs)
        self.bound: dict[str, str] = {}
        self.folders = {PurePosixPath("."), GADGETS, CONTROLLERS}
        self.files: dict[PurePosixPath, str] = {}
        self.links: dict[PurePosixPath, PurePosixPath] = {}
        self.n_changes = 0
        self.fails_at = -1
        for udc in udcs:
            self.plug(udc)

    def plug(self, udc: str) -> None:
        self.udcs.add(udc)
        self.folders.add(CONTROLLERS / udc)
        self.files[CONTROLLERS / udc / "state"] = "configured\n"

    def unplug(self, udc: str) -> None:
        """The controller's driver goes: the kernel unbinds the gadget."""
        self.udcs.discard(udc)
        self.folders.discard(CONTROLLERS / udc)
        self.files.pop(CONTROLLERS / udc / "state", None)
        self.bound = {name: bound for name, bound in self.bound.items() if bound != udc}

    def _change(self) -> None:
        self.n_changes += 1
        if self.n_changes == self.fails_at:
            raise refuse(errno.EIO)

    def exists(self, path: PurePosixPath) -> bool:
        return path in self.folders or path in self.files or path in self.links or self._is_udc(path)

    def is_link(self, path: PurePosixPath) -> bool:
        return path in self.links

    def _is_udc(self, path: PurePosixPath) -> bool:
        return path.name == "UDC" and path.parent in self.folders and path.parent.parent == GADGETS

    def names(self, folder: PurePosixPath) -> list[str]:
        if folder not in self.folders:
            raise refuse(NO_ENTRY)
        return [p.name for p in (*self.folders, *self.files, *self.links) if p.parent == folder]

    def read(self, file: PurePosixPath) -> str:
        if self._is_udc(file):
            return self.bound.get(file.parent.name, "") + "\n"
        if file not in self.files:
            raise refuse(NO_ENTRY)
        return self.files[file]

    def write(self, file: PurePosixPath, text: str) -> None:
        self._change()
        if self._is_udc(file):
            self._bind(file.parent.name, text.strip())
        elif file not in self.files:
            raise refuse(NO_ENTRY)
        elif self._is_in_use(file.parent):
            # f_midi's and ecm's values are fixed once a configuration links to them.
            raise refuse(BUSY)
        else:
            self.files[file] = text + "\n"

    def _bind(self, gadget: str, udc: str) -> None:
        if not udc:
            if gadget not in self.bound:
                raise refuse(GONE)
            del self.bound[gadget]
        elif gadget in self.bound or udc in self.bound.values():
            raise refuse(BUSY)
        elif udc not in self.udcs:
            raise refuse(GONE)
        elif not any(link.is_relative_to(GADGETS / gadget) for link in self.links):
            raise refuse(errno.EINVAL)
        else:
            self.bound[gadget] = udc

    def _is_in_use(self, folder: PurePosixPath) -> bool:
        return any(folder.is_relative_to(target) for target in self.links.values())

    def make_folder(self, folder: PurePosixPath) -> None:
        self._change()
        if folder in self.folders:
            raise refuse(errno.EEXIST)
        if folder.parent not in self.folders:
            raise refuse(NO_ENTRY)
        kind = folder.parent.name
        if folder.parent == GADGETS:
            self._fill(folder, GADGET_VALUES, GADGET_FOLDERS)
        elif kind == "functions":
            if folder.name not in self.known:
                raise refuse(NO_ENTRY)
            for value in FUNCTIONS[folder.name]:
                self._fill((folder / value).parent, (PurePosixPath(value).name,), ())
            self.folders.add(folder)
        elif kind == "configs":
            if not folder.name.partition(".")[2].isdigit():
                raise refuse(errno.EINVAL)
            self._fill(folder, ("MaxPower", "bmAttributes"), ("strings",))
        elif kind == "strings":
            is_gadgets = folder.parent.parent.parent == GADGETS
            self._fill(
                folder, ("serialnumber", "manufacturer", "product") if is_gadgets else ("configuration",), ()
            )
        else:
            raise refuse(errno.EPERM)

    def _fill(self, folder: PurePosixPath, values: tuple[str, ...], folders: tuple[str, ...]) -> None:
        self.folders |= {folder, *(folder / name for name in folders)}
        self.files |= {folder / value: "" for value in values}

    def remove_folder(self, folder: PurePosixPath) -> None:
        self._change()
        if folder not in self.folders:
            raise refuse(NO_ENTRY)
        if folder.name in GADGET_FOLDERS or folder.parent.name.startswith(("ep.", "c.")):
            raise refuse(errno.EPERM)
        if self._is_in_use(folder):
            raise refuse(BUSY)
        inside = [p for p in self.folders if p != folder and p.is_relative_to(folder)]
        made = [p for p in inside if p.parent.name in GADGET_FOLDERS or p.parent == GADGETS]
        if made or any(link.is_relative_to(folder) for link in self.links):
            raise refuse(errno.ENOTEMPTY)
        if folder.parent == GADGETS and folder.name in self.bound:
            raise refuse(BUSY)
        self.folders -= {folder, *inside}
        self.files = {p: text for p, text in self.files.items() if not p.is_relative_to(folder)}

    def link(self, path: PurePosixPath, target: PurePosixPath) -> None:
        self._change()
        if target not in self.folders or path.parent not in self.folders:
            raise refuse(NO_ENTRY)
        if path in self.links:
            raise refuse(errno.EEXIST)
        if path.parents[1].parent.name in self.bound:
            raise refuse(BUSY)
        self.links[path] = target

    def remove_link(self, path: PurePosixPath) -> None:
        self._change()
        if path not in self.links:
            raise refuse(NO_ENTRY)
        del self.links[path]


def gadget_on(tree: KernelTree, **settings: object) -> Gadget:
    return Gadget(tree, GadgetSettings(**settings), SERIAL)  # type: ignore[arg-type]


def test_up_makes_a_bound_midi_instrument_with_the_boards_serial() -> None:
    tree = KernelTree(functions=(MIDI,))
    status = gadget_on(tree).up()
    assert (status.functions, status.controller, status.state) == ((MIDI,), UDC, "configured")
    strings = HOME / "strings/0x409"
    assert tree.read(strings / "product") == "Kelly Edge\n"
    assert tree.read(strings / "serialnumber") == f"{SERIAL}\n"


def test_midi_2_is_taken_where_the_kernel_has_it_and_midi_1_where_not() -> None:
    assert gadget_on(KernelTree()).up().functions == (MIDI2,)
    assert gadget_on(KernelTree(), function="midi").up().functions == (MIDI,)
    assert gadget_on(KernelTree(functions=(MIDI, ECM))).up().functions == (MIDI,)
    with pytest.raises(DeviceError, match=r"gadget\.function=midi"):
        gadget_on(KernelTree(functions=(MIDI,)), function="midi2").up()


def test_a_midi_2_of_another_kernel_falls_back_and_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(FUNCTIONS, MIDI2, {"process_ump": ""})
    tree = KernelTree()
    assert gadget_on(tree).up().functions == (MIDI,)
    assert tree.names(HOME / "functions") == [MIDI]


def test_the_network_is_there_only_when_asked_for_with_two_private_addresses() -> None:
    tree = KernelTree(functions=(MIDI, ECM))
    assert gadget_on(tree, ecm=True).up().functions == (ECM, MIDI)
    host, box = (tree.read(HOME / "functions" / ECM / f"{end}_addr").strip() for end in ("host", "dev"))
    assert host != box and all(address.startswith("02:") for address in (host, box))
    assert mac(SERIAL, "host") == host
    assert gadget_on(tree, ecm=False).up().functions == (MIDI,)


def test_up_twice_changes_nothing_and_down_twice_is_no_fault() -> None:
    tree = KernelTree()
    gadget_on(tree).up()
    n_changes = tree.n_changes
    gadget_on(tree).up()
    assert tree.n_changes == n_changes
    assert not gadget_on(tree).down().is_up
    assert not gadget_on(tree).down().is_up
    assert not tree.exists(HOME)


def test_an_unbound_gadget_is_bound_again_and_not_made_again() -> None:
    tree = KernelTree()
    gadget_on(tree).up()
    tree.write(HOME / "UDC", "\n")
    n_changes = tree.n_changes
    assert gadget_on(tree).up().controller == UDC
    assert tree.n_changes == n_changes + 1


def test_a_controller_that_comes_back_is_bound_again() -> None:
    tree = KernelTree()
    gadget_on(tree).up()
    tree.unplug(UDC)
    assert not gadget_on(tree).status().is_up
    with pytest.raises(DeviceError, match="no USB device controller"):
        gadget_on(tree).up()
    tree.plug("dummy_udc.1")
    assert gadget_on(tree).up().controller == "dummy_udc.1"


def test_another_serial_or_controller_takes_the_old_ones_place() -> None:
    tree = KernelTree(udcs=(UDC, "xhci.1"))
    gadget_on(tree).up()
    assert gadget_on(tree, controller="xhci.1").up().controller == "xhci.1"
    Gadget(tree, GadgetSettings(), "another").up()
    assert tree.read(HOME / "strings/0x409/serialnumber") == "another\n"


@pytest.mark.parametrize(
    ("is_module", "is_official", "says"),
    [
        (False, False, "the gadget g1; remove that one, or unload its g_* module"),
        (False, True, "the gadget g1, likely of rpi-usb-gadget; `sudo rpi-usb-gadget off`"),
        (True, False, "the gadget g_ether; remove that one"),
    ],
)
def test_a_controller_of_another_gadget_is_left_alone_and_named(
    is_module: bool, is_official: bool, says: str
) -> None:
    tree = KernelTree()
    if is_module:
        tree.files[CONTROLLERS / UDC / "function"] = "g_ether\n"
    else:
        tree.make_folder(GADGETS / "g1")
    tree.bound["g1"] = UDC
    if is_official:
        tree.files[OFFICIAL_TOOL] = ""
    with pytest.raises(DeviceError, match=re.escape(f"{UDC} is held by {says}")):
        gadget_on(tree).up()
    assert tree.bound == {"g1": UDC}


def test_a_fault_at_any_change_leaves_what_the_next_up_or_down_can_mend() -> None:
    whole = KernelTree()
    gadget_on(whole, ecm=True).up()
    for fails_at, mend in itertools.product(range(1, whole.n_changes + 1), ("up", "down")):
        tree = KernelTree()
        tree.fails_at = fails_at
        with pytest.raises(DeviceError):
            gadget_on(tree, ecm=True).up()
        status = getattr(gadget_on(tree, ecm=True), mend)()
        assert status.is_up == (mend == "up")
        assert not status.is_up or set(status.functions) == {MIDI2, ECM}


def test_random_orders_of_up_down_and_unplugging_end_up_when_asked_last() -> None:
    draw = random.Random(1)
    tree = KernelTree()
    for _ in range(500):
        gadget = gadget_on(tree, ecm=draw.random() < 0.5, function=draw.choice(("auto", "midi", "midi2")))
        draw.choice((gadget.up, gadget.down, lambda: tree.unplug(UDC)))()
        tree.plug(UDC)
    assert gadget_on(tree).up().is_up


def test_the_serial_is_the_boards_or_made_from_the_machine_id_without_showing_it(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/machine-id").write_text("0123456789abcdef0123456789abcdef\n")
    made = board_serial(tmp_path)
    assert len(made) == 16 and made not in "0123456789abcdef0123456789abcdef"
    tree = tmp_path / "sys/firmware/devicetree/base"
    tree.mkdir(parents=True)
    (tree / "serial-number").write_bytes(b"10000000abcdef01\0")
    assert board_serial(tmp_path) == SERIAL


@pytest.mark.skipif(Path("/", GADGETS).exists(), reason="has a gadget")
def test_without_kernel_support_the_command_says_what_to_load(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["gadget", "up"]) == 2
    assert "modprobe libcomposite" in capsys.readouterr().err
    assert main(["gadget", "status"]) == 1
    assert main(["gadget", "down"]) == 0
