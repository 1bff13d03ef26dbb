"""The box as a USB MIDI instrument, through the kernel's configfs.

A gadget is a folder under ``/sys/kernel/config/usb_gadget``: strings, functions, a configuration that links
to them, and ``UDC``, the controller it is bound to. The kernel's rules shape the order here: nothing may
change while it is bound, links go before what they point to, folders are removed from the inside out.
Sources: Linux ``Documentation/usb/gadget_configfs.rst``, ``gadget-testing.rst`` (f_midi, f_midi2, ECM).
"""

import errno
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from firmware_py.devices.machine.configfs import (
    CONTROLLERS,
    GADGETS,
    HOME,
    MIDI2,
    OFFICIAL_TOOL,
    Tree,
    is_anothers,
)
from firmware_py.settings import GadgetSettings
from kelly_edge.errors import DeviceError

CONFIGURATION: Final = "configs/c.1"
ENGLISH: Final = "strings/0x409"
PRODUCT: Final = "Kelly Edge"

MIDI, ECM = "midi.usb0", "ecm.usb0"
ATTEMPTS: Final = {"auto": (MIDI2, MIDI), "midi2": (MIDI2,), "midi": (MIDI,)}
"""``gadget.function`` → functions to try, best first; f_midi2 offers MIDI 1.0 too, for other hosts.

Raspberry Pi OS has f_midi2 since July 2026 (raspberrypi/linux PR 7476); ``auto`` falls back where the kernel
refuses it.
"""
FUNCTION_VALUES: Final = {
    MIDI: {"id": "KellyEdge", "in_ports": "1", "out_ports": "1"},
    MIDI2: {"iface_name": PRODUCT, "ep.0/ep_name": PRODUCT, "ep.0/block.0/name": f"{PRODUCT} MIDI 1"},
}
IDENTITY: Final = {
    # The Linux Foundation's multifunction composite gadget.
    "idVendor": "0x1d6b",
    "idProduct": "0x0104",
    "bcdDevice": "0x0100",
    "bcdUSB": "0x0200",
}
COMPOSITE: Final = {"bDeviceClass": "0xEF", "bDeviceSubClass": "0x02", "bDeviceProtocol": "0x01"}
"""Of a device with more than one interface group (USB ECN: Interface Association Descriptors)."""
REFUSED: Final = (errno.ENOENT, errno.ENODEV, errno.EINVAL)
"""What the kernel answers to a function, or a value of one, that it does not have."""


@dataclass(frozen=True)
class Status:
    """The gadget now. ``controller`` is "" where it is not bound; ``state`` is the controller's word."""

    functions: tuple[str, ...]
    controller: str
    state: str

    @property
    def is_up(self) -> bool:
        """Whether a host could see the box."""
        return bool(self.controller)


def board_serial(root: Path) -> str:
    """The board's serial number; where it has none, 16 digits made from the machine id, which is kept."""
    try:
        serial = (root / "sys/firmware/devicetree/base/serial-number").read_bytes()
        if text := serial.rstrip(b"\0\n").decode("ascii", "replace").strip():
            return text
    except OSError:
        pass
    try:
        machine = (root / "etc/machine-id").read_text().strip()
    except OSError:
        machine = ""
    return hashlib.sha256(f"{PRODUCT} {machine}".encode()).hexdigest()[:16]


def mac(serial: str, end: str) -> str:
    """A locally administered address, the same at each start, for ``end`` ("host" or "box") of the cable."""
    digest = hashlib.sha256(f"{serial} {end}".encode()).digest()
    return ":".join(f"{byte:02x}" for byte in (0x02, *digest[:5]))


class Gadget:
    """The box's gadget in ``tree``.

    Parameters
    ----------
    serial: what the host is told, and the network addresses are made from.
    """

    def __init__(self, tree: Tree, settings: GadgetSettings, serial: str) -> None:
        self._tree = tree
        self._settings = settings
        self._serial = serial

    def status(self) -> Status:
        """The gadget as it is now."""
        tree = self._tree
        if not tree.exists(HOME):
            return Status((), "", "")
        folder = HOME / CONFIGURATION
        names = sorted(tree.names(folder)) if tree.exists(folder) else []
        linked = tuple(name for name in names if tree.is_link(folder / name))
        controller = tree.read(HOME / "UDC").strip()
        state_file = CONTROLLERS / controller / "state"
        state = tree.read(state_file).strip() if controller and tree.exists(state_file) else ""
        return Status(linked, controller, state)

    def up(self) -> Status:
        """Compose and bind; nothing is touched where all is as it should be.

        Raises
        ------
        DeviceError: no controller, no kernel support, no right, or the controller is somebody else's.
        """
        tree = self._tree
        controller = self._controller()
        try:
            if not self._is_composed():
                self._remove()
                self._compose()
            bound = tree.read(HOME / "UDC").strip()
            if bound == controller:
                return self.status()
            if bound:
                tree.write(HOME / "UDC", "\n")
            tree.write(HOME / "UDC", controller)
        except OSError as error:
            raise self._refusal(error, controller) from None
        return self.status()

    def down(self) -> Status:
        """Unbind and remove; nothing to do is no fault.

        Raises
        ------
        DeviceError: the kernel refuses.
        """
        try:
            self._remove()
        except OSError as error:
            raise self._refusal(error, "the controller") from None
        return self.status()

    def _controller(self) -> str:
        if not self._tree.exists(GADGETS):
            raise DeviceError(
                "no /sys/kernel/config/usb_gadget; `modprobe libcomposite` and mount configfs (as root)"
            )
        controllers = sorted(self._tree.names(CONTROLLERS)) if self._tree.exists(CONTROLLERS) else []
        if not controllers:
            raise DeviceError(
                "no USB device controller in /sys/class/udc; `python -m deploy provision` sets it where the "
                "board has one (docs/hardware.md, Boards)"
            )
        wanted = self._settings.controller
        if wanted and wanted not in controllers:
            raise DeviceError(
                f"no USB device controller {wanted}; set gadget.controller to one of {', '.join(controllers)}"
            )
        return wanted or controllers[0]

    def _strings(self) -> dict[str, str]:
        return {"serialnumber": self._serial, "manufacturer": PRODUCT, "product": PRODUCT}

    def _is_composed(self) -> bool:
        """Whether the gadget is complete and as the settings ask."""
        tree, linked = self._tree, set(self.status().functions)
        if (ECM in linked) != self._settings.ecm or not linked & set(ATTEMPTS[self._settings.function]):
            return False
        strings = HOME / ENGLISH
        return all(
            tree.exists(strings / name) and tree.read(strings / name).strip() == value
            for name, value in self._strings().items()
        )

    def _compose(self) -> None:
        tree, settings = self._tree, self._settings
        tree.make_folder(HOME)
        self._write_all(HOME, IDENTITY | (COMPOSITE if settings.ecm else {}))
        tree.make_folder(HOME / ENGLISH)
        self._write_all(HOME / ENGLISH, self._strings())
        configuration = HOME / CONFIGURATION
        tree.make_folder(configuration)
        tree.make_folder(configuration / ENGLISH)
        title = "MIDI and network" if settings.ecm else "MIDI"
        self._write_all(configuration / ENGLISH, {"configuration": title})
        # A Pi has its own supply: it asks the host for the least.
        self._write_all(configuration, {"MaxPower": "2", "bmAttributes": "0xc0"})
        functions = [self._make_midi()]
        if settings.ecm:
            addresses = {"host_addr": mac(self._serial, "host"), "dev_addr": mac(self._serial, "box")}
            self._make(ECM, addresses)
            functions.append(ECM)
        for function in functions:
            tree.link(configuration / function, HOME / "functions" / function)

    def _make_midi(self) -> str:
        *better, last = ATTEMPTS[self._settings.function]
        for function in better:
            try:
                self._make(function, FUNCTION_VALUES[function])
            except OSError as error:
                if error.errno not in REFUSED:
                    raise
                if self._tree.exists(HOME / "functions" / function):
                    self._tree.remove_folder(HOME / "functions" / function)
            else:
                return function
        self._make(last, FUNCTION_VALUES[last])
        return last

    def _make(self, function: str, values: Mapping[str, str]) -> None:
        self._tree.make_folder(HOME / "functions" / function)
        self._write_all(HOME / "functions" / function, values)

    def _write_all(self, folder: PurePosixPath, values: Mapping[str, str]) -> None:
        for name, value in values.items():
            self._tree.write(folder / name, value)

    def _remove(self) -> None:
        """Its existing parts: after a fault it may be incomplete."""
        tree = self._tree
        if not tree.exists(HOME):
            return
        if tree.read(HOME / "UDC").strip():
            tree.write(HOME / "UDC", "\n")
        for name in self._names("configs"):
            configuration = HOME / "configs" / name
            for link in tree.names(configuration):
                if tree.is_link(configuration / link):
                    tree.remove_link(configuration / link)
            for language in self._names(f"configs/{name}/strings"):
                tree.remove_folder(configuration / "strings" / language)
            tree.remove_folder(configuration)
        for folder in ("functions", "strings"):
            for name in self._names(folder):
                tree.remove_folder(HOME / folder / name)
        tree.remove_folder(HOME)

    def _names(self, folder: str) -> list[str]:
        return sorted(self._tree.names(HOME / folder))

    def _holder(self, controller: str) -> str:
        """The gadget that has the controller, other than ours; a g_* module's is named by the controller."""
        tree = self._tree
        others = [GADGETS / name for name in tree.names(GADGETS) if name != HOME.name]
        holders = [path.name for path in others if tree.read(path / "UDC").strip() == controller]
        if holders:
            return holders[0]
        function = CONTROLLERS / controller / "function"
        return tree.read(function).strip() if tree.exists(function) else ""

    def _refusal(self, error: OSError, controller: str) -> DeviceError:
        if error.errno == errno.EBUSY and (holder := self._holder(controller)):
            return DeviceError(
                f"USB gadget: {is_anothers(controller, holder, self._tree.exists(OFFICIAL_TOOL))}"
            )
        reasons = {
            errno.EACCES: "only root may; run `sudo kelly-edge gadget`",
            errno.EPERM: "only root may; run `sudo kelly-edge gadget`",
            errno.EBUSY: f"{controller} is another gadget's; remove that one, or unload its g_* module",
            errno.ENOENT: "the kernel has no such USB function; load usb_f_midi, or set gadget.function=midi",
            errno.ENODEV: f"{controller} is gone; try again when it is back in /sys/class/udc",
        }
        text = reasons.get(error.errno or 0, error.strerror or str(error))
        return DeviceError(f"USB gadget: {text}")
