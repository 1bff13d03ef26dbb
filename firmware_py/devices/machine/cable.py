"""The network over the USB cable: the addresses of interfaces that a USB gadget function made."""

import fcntl
import ipaddress
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

NET: Final = Path("/sys/class/net")
IS_GADGET: Final = "DEVTYPE=gadget"
"""Linux: how the driver of network gadgets names its interfaces (u_ether.c)."""
SIOCGIFADDR: Final = 0x8915
SIOCGIFNETMASK: Final = 0x891B
"""Linux: ioctls of netdevice(7) that ask for an interface's address and mask."""
INTERFACE_BYTES: Final = 15
"""Linux: the longest name of an interface, IFNAMSIZ less the final zero."""


def _asked(name: str, request: int) -> str:
    """An IPv4 address of the interface ``name``; an ``OSError`` where it has none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as line:
        answer = fcntl.ioctl(line.fileno(), request, struct.pack("256s", name.encode()[:INTERFACE_BYTES]))
    return socket.inet_ntoa(answer[20:24])


@dataclass(frozen=True)
class Cable:
    """A network over a cable: the interface's name, and the box's address with its network."""

    name: str
    interface: ipaddress.IPv4Interface


def cables(net: Path = NET, asked: Callable[[str, int], str] = _asked) -> list[Cable]:
    """Each cable that has an address; none where there is no cable."""
    found = []
    for uevent in sorted(net.glob("*/uevent")):
        try:
            if IS_GADGET not in uevent.read_text(encoding="utf-8", errors="replace").split():
                continue
            name = uevent.parent.name
            address, mask = asked(name, SIOCGIFADDR), asked(name, SIOCGIFNETMASK)
            found.append(Cable(name, ipaddress.IPv4Interface(f"{address}/{mask}")))
        except (OSError, ValueError):
            continue
    return found
