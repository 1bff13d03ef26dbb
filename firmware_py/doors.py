"""Addresses of the box's doors: page and OSC, this machine's alone or the USB cable's network; RTP-MIDI.

The doors have no encryption and, in OSC and RTP-MIDI, no password: page and OSC listen to no other network,
RTP-MIDI to one that a person names, and never to all of them.
"""

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

CABLE: Final = "cable"
"""For an address: the one that the box has on the network over the USB cable (``gadget.ecm``)."""
LAST_PORT: Final = 65_535
"""By definition of TCP and UDP: 16 bits."""
FIRST_PORT: Final = 1_024
"""Linux: those below are root's alone."""
REMEDY: Final = "write 127.0.0.1:PORT for this machine, or cable:PORT for the USB cable"


@dataclass(frozen=True)
class Door:
    """A host, a numeric address or ``CABLE``, and a port."""

    host: str
    port: int

    @property
    def is_cable(self) -> bool:
        """Whether the address is to be asked of the cable's network."""
        return self.host == CABLE

    @property
    def is_loopback(self) -> bool:
        """Whether it is of this machine alone."""
        return not self.is_cable and ipaddress.ip_address(self.host).is_loopback

    @property
    def text(self) -> str:
        """As in an address bar."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def read_door(text: str) -> Door:
    """The door in ``ADDRESS:PORT``.

    Raises
    ------
    ValueError: the fault, as the end of a message.
    """
    host, colon, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        colon = ""
    digits = port if port.isascii() and port.isdigit() and len(port) <= len(str(LAST_PORT)) else ""
    if not colon or not host or not digits:
        raise ValueError(f"is not ADDRESS:PORT; {REMEDY}")
    if not FIRST_PORT <= int(digits) <= LAST_PORT:
        raise ValueError(f"has a port that is not within {FIRST_PORT}..{LAST_PORT}")
    if host == CABLE:
        return Door(CABLE, int(digits))
    try:
        address = ipaddress.ip_address("127.0.0.1" if host == "localhost" else host)
    except ValueError:
        raise ValueError(f"names no numeric address; {REMEDY}") from None
    return Door(str(address), int(digits))


def bind_fault(text: str) -> str:
    """The fault of an address to listen at, or nothing; empty listens nowhere."""
    return _fault(text, _bind_fault)


def send_fault(text: str) -> str:
    """The fault of an address to send to, or nothing; empty sends nowhere."""
    return _fault(text, _send_fault)


def wireless_fault(text: str) -> str:
    """The fault of an address of RTP-MIDI, its control port, or nothing; empty is nowhere."""
    return _fault(text, _wireless_fault)


def _fault(text: str, of_door: Callable[[Door], str]) -> str:
    """Why ``text`` is no door, or what ``of_door`` finds; nothing where it is empty."""
    if not text:
        return ""
    try:
        door = read_door(text)
    except ValueError as error:
        return str(error)
    return of_door(door)


def _bind_fault(door: Door) -> str:
    if not door.is_cable and not door.is_loopback:
        return f"is neither of this machine alone nor of the USB cable; {REMEDY}"
    return ""


def _send_fault(door: Door) -> str:
    if door.is_cable:
        return "is the box's own end; write the numeric address of the computer at the other one"
    address = ipaddress.ip_address(door.host)
    is_near = address.is_loopback or (address.version == 4 and address.is_private)
    if not is_near or address.is_unspecified or (address.is_reserved and not address.is_loopback):
        return "is neither of this machine nor of a network on a cable; write its numeric address and a port"
    return ""


def _wireless_fault(door: Door) -> str:
    address = None if door.is_cable else ipaddress.ip_address(door.host)
    is_private = address is not None and address.version == 4 and address.is_private
    if address is None or not is_private or address.is_unspecified or address.is_reserved:
        return "is no address of a private IPv4 network; write one as 10.42.0.1:5004"
    # RFC 3550: the even port is the first of a pair; some programs tell the two apart by it.
    return "has an odd port; the data's is the one after it, so choose an even one" if door.port % 2 else ""
