"""The two sockets of RTP-MIDI: control, and data at the port after it."""

import contextlib
import errno
import select
import socket
import struct
import time
from typing import Final

from firmware_py.devices.wireless.bridge import Bridge
from firmware_py.devices.wireless.packets import MOST_BYTES
from kelly_edge.errors import DeviceError

AT_ONCE: Final = 64
"""Datagrams that are read before what is due is played. Chosen: a millisecond's work."""
IP_RECVERR: Final = 11
"""Linux, ip(7): a socket is told which address refused a datagram."""
ERROR_BYTES: Final = 512
"""Of what is told with it. Chosen: several times the structure sock_extended_err with an address."""


class Lines:
    """See the module.

    Raises
    ------
    DeviceError: the address is taken, or not this machine's.
    """

    def __init__(self, host: str, port: int) -> None:
        self._control = self._open(host, port)
        self._data = self._open(host, port + 1)

    @staticmethod
    def _open(host: str, port: int) -> socket.socket:
        line = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            line.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)
            line.bind((host, port))
        except OSError as error:
            line.close()
            raise DeviceError(
                f"cannot listen at {host}:{port}: {error.strerror}; correct wireless.bind"
            ) from None
        return line

    def wait(self, other: int, within_s: float) -> None:
        """Until something came here or at the descriptor ``other``."""
        descriptors = [self._control.fileno(), self._data.fileno(), other]
        select.select(descriptors, (), (), max(within_s, 0.0))

    def receive(self, bridge: Bridge) -> None:
        """Hand on what came, and who refused."""
        for line in (self._control, self._data):
            self._hand_on_refusals(line, bridge)
            for _ in range(AT_ONCE):
                try:
                    data, sender = line.recvfrom(MOST_BYTES + 1)
                except BlockingIOError:
                    break
                except OSError:
                    # An error of something sent before.
                    continue
                bridge.take(data, sender, line is self._data, time.monotonic())

    @staticmethod
    def _hand_on_refusals(line: socket.socket, bridge: Bridge) -> None:
        with contextlib.suppress(OSError):
            while True:
                _, told, _, address = line.recvmsg(1, ERROR_BYTES, socket.MSG_ERRQUEUE)
                if any(struct.unpack_from("I", data)[0] == errno.ECONNREFUSED for _, _, data in told):
                    bridge.refused(address, time.monotonic())

    def send(self, bridge: Bridge) -> None:
        """Send what is to be sent; what the network does not take is lost."""
        out, bridge.out = bridge.out, []
        for datagram in out:
            line = self._data if datagram.is_data else self._control
            # The first call may tell the error of an earlier one, and send nothing.
            for _ in range(2):
                with contextlib.suppress(OSError):
                    line.sendto(datagram.data, datagram.to)
                    break

    def close(self) -> None:
        """Hang up."""
        self._control.close()
        self._data.close()
