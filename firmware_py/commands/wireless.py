"""``kelly-edge wireless``: RTP-MIDI for wireless instruments, as a MIDI port that the box opens as any other.

A process of its own, started only where ``wireless.bind`` asks for it: nothing else of the box is on that
network, and nothing in the sound waits for it. The protocol is in ``devices/wireless``.
"""

import argparse
import os
import signal
import time
from typing import Final

from firmware_py.commands.common import settings_of, tell_unit_idle
from firmware_py.devices.box_packages import need_packages
from firmware_py.devices.session.log import warn
from firmware_py.devices.systemd.service_manager import READY, STOPPING, ServiceManager
from firmware_py.devices.wireless.bridge import Bridge
from firmware_py.devices.wireless.lines import Lines
from firmware_py.doors import read_door
from firmware_py.settings import Settings
from firmware_py.wiring.live import SUPERVISOR, die_with
from firmware_py.wiring.loop import Stop
from kelly_edge.errors import ConfigError

NAME: Final = "Kelly Edge"
"""What the other ends show."""
TICK_S: Final = 0.25
"""Chosen: a quarter of the pace at which clocks are exchanged."""
FAREWELL_S: Final = 0.05
"""Chosen: JACK takes what was played last within twice its longest usual period, 1,024 frames."""


def is_wanted(settings: Settings) -> bool:
    """Whether a setting asks for it."""
    return bool(settings.wireless.bind)


def bridge_of(settings: Settings) -> Bridge:
    """The bridge that the settings describe."""
    peers = [read_door(text) for text in settings.wireless.peers]
    return Bridge(NAME, settings.wireless.playout_ms / 1e3, [(peer.host, peer.port) for peer in peers], warn)


def run(args: argparse.Namespace) -> int:
    """The sub-command."""
    settings = settings_of(args)
    if not is_wanted(settings):
        if tell_unit_idle():
            return 0
        raise ConfigError(
            "wireless.bind: is empty, so nobody is reached; set it, for example to 10.42.0.1:5004"
        )
    need_packages(("rtmidi",))
    from firmware_py.devices.wireless.virtual_port import VirtualPort

    die_with(os.environ.get(SUPERVISOR))
    stop = Stop()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop.ask)
    door, bridge = read_door(settings.wireless.bind), bridge_of(settings)
    lines, port, manager = Lines(door.host, door.port), VirtualPort(), ServiceManager(os.environ)
    manager.tell(READY)
    warn(f"wireless: RTP-MIDI at {door.text}; whoever is on that network may play")
    try:
        next_s = 0.0
        while not stop.is_asked:
            now_s = time.monotonic()
            due_s = bridge.next_due_s()
            until_s = min(next_s, now_s + port.look_every_s, next_s if due_s is None else due_s)
            lines.wait(port.woken, until_s - now_s)
            lines.receive(bridge)
            now_s = time.monotonic()
            if heard := port.receive():
                bridge.hear(heard, now_s)
            for message in bridge.due(now_s):
                port.send(message)
            if now_s >= next_s:
                next_s = now_s + TICK_S
                bridge.tick(now_s)
                if port.is_left():
                    bridge.release(now_s)
                manager.alive()
            lines.send(bridge)
    finally:
        manager.tell(STOPPING)
        for message in bridge.close(time.monotonic()):
            port.send(message)
        lines.send(bridge)
        time.sleep(FAREWELL_S)
        lines.close()
        port.close()
        manager.close()
    return 0
