"""What the tests ask of a box that runs: its units, its log, and what the computer at its USB cable hears."""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from box_machine import Machine

PROCESSES: Final = ("guardian", "control", "midi", "audio", "dsp", "composer")
UNITS: Final = tuple(f"kelly-edge@{name}.service" for name in PROCESSES)
TARGET: Final = "kelly-edge.target"
STOP: Final = f"systemctl stop {TARGET} {' '.join(UNITS)}"
"""Waits for every unit, not for the target alone."""
SAFE: Final = "kelly-edge-safe.service"
GADGET: Final = "kelly-edge-gadget.service"
BOOT: Final = "kelly-edge-boot.service"
"""The courier's look at the release before anything starts."""
LAMP: Final = {"red": 9, "green": 10, "blue": 11}
"""Colour → line, as config.yaml has it."""
PANIC_PIN: Final = 4
ENCODERS: Final = {"valence": (17, 27), "arousal": (5, 6), "density": (23, 24)}
HOST_LOG: Final = "/run/bench-host.log"
PLAYING: Final = "playing"
"""The snapshot of a box that has come up and plays."""
MUSIC: Final = "/root/music.wav"
PLAY: Final = f"aplay -q -D plughw:CARD=Loopback,DEV=0 --buffer-size=16384 {MUSIC}"
PLAY_ON: Final = f"systemd-run -q --collect --unit=bench-music sh -c 'while :; do {PLAY} || sleep 1; done'"
"""Somebody plays to the box, again and again, until ``bench-music`` is stopped."""
KELLY_EDGE: Final = "/opt/kelly-edge/current/venv/bin/kelly-edge"
SESSIONS: Final = "/var/lib/kelly-edge/sessions"
READY_WITHIN_S: Final = 240.0
MUSIC_WITHIN_S: Final = 90.0
"""Seconds of the box's own clock."""

NOTE = re.compile(
    r"(?P<s>[\d.]+) +\d+:\d+ +Note (?P<kind>on|off) +(?P<ch>\d+), note (?P<note>\d+), velocity (?P<vel>\d+)"
)
CONTROL = re.compile(
    r"(?P<s>[\d.]+) +\d+:\d+ +Control change +(?P<ch>\d+), controller (?P<cc>\d+), value (?P<value>\d+)"
)


@dataclass(frozen=True)
class Heard:
    """A message the host heard: ``velocity`` 0 is a release, ``pitch`` -1 is "all notes off"."""

    time_s: float
    channel: int
    pitch: int
    velocity: int

    @property
    def silences(self) -> bool:
        """Whether it is "all notes off"."""
        return self.pitch < 0


def parse(text: str) -> list[Heard]:
    """aseqdump's lines, each after its time."""
    heard = []
    for line in text.splitlines():
        if note := NOTE.match(line):
            velocity = int(note["vel"]) if note["kind"] == "on" else 0
            heard.append(Heard(float(note["s"]), int(note["ch"]), int(note["note"]), velocity))
        elif (control := CONTROL.match(line)) and control["cc"] in ("120", "123"):
            heard.append(Heard(float(control["s"]), int(control["ch"]), -1, 0))
    return heard


def sounding(heard: Iterable[Heard]) -> set[tuple[int, int]]:
    """Channel and pitch of what was struck and not released."""
    on: set[tuple[int, int]] = set()
    for event in heard:
        if event.silences:
            on = {key for key in on if key[0] != event.channel}
        elif event.velocity:
            on.add((event.channel, event.pitch))
        else:
            on.discard((event.channel, event.pitch))
    return on


def struck(heard: Iterable[Heard]) -> list[Heard]:
    """The note-ons."""
    return [event for event in heard if event.velocity > 0]


class Instrument:
    """A box, asked from outside."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine

    # --- the host's side of the cable ----------------------------------------------------------

    def heard(self, since_s: float = 0.0) -> list[Heard]:
        """What the host heard after ``since_s`` of the box's monotonic clock."""
        return [event for event in parse(self.machine.ssh(f"cat {HOST_LOG}")) if event.time_s >= since_s]

    def now_s(self) -> float:
        """The box's monotonic clock."""
        return float(self.machine.ssh("python3 -c 'import time; print(time.monotonic())'"))

    def wait_for_music(self, since_s: float, n_notes: int = 3, within_s: float = MUSIC_WITHIN_S) -> None:
        """Until the host has heard ``n_notes`` notes after ``since_s``."""
        count = f"awk '$1 > {since_s} && /Note on/' {HOST_LOG} | wc -l"
        self.machine.wait_until(f'[ "$({count})" -ge {n_notes} ]', within_s)

    # --- units -----------------------------------------------------------------------------

    def states(self, units: Sequence[str] = UNITS) -> dict[str, str]:
        """Unit → active, activating, failed …"""
        words = self.machine.ssh(f"systemctl is-active {' '.join(units)}", check=False).split()
        return dict(zip(units, words, strict=True))

    def wait_until_ready(self, units: Sequence[str] = UNITS, within_s: float = READY_WITHIN_S) -> float:
        """Until all of ``units`` are active; the seconds it took."""
        return self.machine.wait_until(
            f'[ "$(systemctl is-active {" ".join(units)} | sort -u)" = active ]', within_s, 1.0
        )

    def show(self, unit: str, name: str) -> str:
        """A property of a unit."""
        return self.machine.ssh(f"systemctl show -P {name} {unit}").strip()

    def journal(self, unit: str) -> str:
        """What a unit said since power-on."""
        return self.machine.ssh(f"journalctl -b -o cat --no-pager -u '{unit}'")

    def counters(self, process: str) -> dict[str, int]:
        """What a process has counted, as ``kelly-edge monitor`` reads it."""
        text = self.machine.ssh(f"{KELLY_EDGE} monitor --json --set=runtime.run_dir=/run/kelly-edge")
        counted: dict[str, int] = json.loads(text)["processes"][process]["counters"]
        return counted

    # --- the session log and the panel ---------------------------------------------------------

    def session(self, kind: str) -> list[dict[str, Any]]:
        """Entries of that kind, of the newest session log."""
        text = self.machine.ssh(
            f'grep -h \'"kind":"{kind}"\' "$(ls -t {SESSIONS}/*.jsonl | head -1)" || true'
        )
        return [json.loads(line) for line in text.splitlines()]

    def target(self) -> dict[str, float]:
        """The target emotion as last logged."""
        target: dict[str, float] = self.session("emotion")[-1]["target"]
        return target

    def knobs(self) -> dict[str, Any]:
        """The knobs as last logged."""
        return self.session("knobs")[-1]

    def turn(self, name: str, detents: int, per_second: float = 10.0) -> None:
        """Turn an encoder."""
        a, b = ENCODERS[name]
        self.machine.ssh(f"bench-turn {a} {b} {detents} {per_second}")

    def press(self, pin: int, seconds: float = 0.3) -> float:
        """Press a button; when it went down, on the box's monotonic clock."""
        return float(self.machine.ssh(f"cut -d' ' -f1 /proc/uptime; bench-press {pin} {seconds}"))

    def lamp(self) -> frozenset[str]:
        """The colours that are lit."""
        values = self.machine.ssh(
            "cat " + " ".join(f"/run/bench-gpio/sim_gpio{line}/value" for line in LAMP.values())
        ).split()
        return frozenset(colour for colour, value in zip(LAMP, values, strict=True) if value == "1")


@dataclass(frozen=True)
class PowerOn:
    """What was seen of a box from power-on to the end of the music, with nothing typed but questions."""

    ready_s: float
    states: dict[str, str]
    restarts: dict[str, str]
    lamp: frozenset[str]
    ports: str
    release: str
    heard: list[Heard]
    session: dict[str, list[dict[str, Any]]]
    said: str
