"""Part of ``control``: a person's hands. Encoders, buttons and pots move the knobs; settings say which what.

A push of an encoder turns to its next page; of one with a single page, it puts the knob back to its start.
The hold button's tap holds the emotion and lets go again; a second's push changes the programme; when it
lasts three seconds it ends the session that is on, or begins one, instead. After a panic a tap resumes. The
panic button is ``guardian``'s.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np

from firmware_py.panel_lines import Page, PotLine, read_encoder, read_pot
from firmware_py.ports import Clock, Edge, Knobs
from firmware_py.processes.contacts import Button, Encoder, Faults
from firmware_py.settings import PanelSettings
from kelly_edge.contract import GRID_DIGITS, KNOB_RANGES, WHOLE_KNOBS, BuiltIn
from kelly_edge.units import clamp

SMOOTH_S: Final = 0.05
"""Time constant with which a knob follows the hand. Chosen by hand."""
NEAR: Final = 0.002
"""Share of its range from which a knob is where it should be. Chosen: a step of the 10-bit converter is
.001."""
# Shares of the range. Chosen: four steps of the 10-bit converter are noise, more than a fifth between two
# readings is no hand.
POT_NOISE: Final = 4 / 1_023
POT_JUMP: Final = 0.2
N_JUMPS: Final = 20
"""Jumps without a steady reading between them: no wiper, but an open wire. Chosen by hand."""


class Contacts(Protocol):
    """Pins that a person moves."""

    def take(self) -> Sequence[Edge]:
        """The edges since the last call, in order."""

    def now_s(self) -> float:
        """The time now on the clock of the edges."""


class Converter(Protocol):
    """Pots."""

    def read(self, channel: int) -> float:
        """Where the pot stands, 0..1."""


class Followers:
    """Knobs on their way to where the hand put them; a knob that somebody else turned is let go.

    Parameters
    ----------
    ranges: name of a knob → lowest and highest value.
    """

    def __init__(self, knobs: Knobs, ranges: dict[str, tuple[float, float]]) -> None:
        self._knobs = knobs
        self._ranges = ranges
        self._goals: dict[str, float] = {}
        self._written: dict[str, np.float32] = {}
        self._start = {name: float(knobs.start[name]) for name in ranges}

    def turn(self, page: Page, n_detents: int) -> None:
        """Move by detents, on the grid of the page's steps: as many back come back to the same value."""
        steps = round(self._goal(page.name) / page.step) + n_detents
        self.aim(page.name, round(steps * page.step, GRID_DIGITS))

    def reset(self, name: str) -> None:
        """Back to where the settings put it."""
        self.aim(name, self._start[name])

    def aim(self, name: str, value: float) -> None:
        """Go to ``value``, or to the end of the range."""
        low, high = self._ranges[name]
        self._goals[name] = clamp(value, low, high)

    def step(self, elapsed_s: float) -> dict[str, float]:
        """The knobs that move, and their values now."""
        share = 1.0 - math.exp(-elapsed_s / SMOOTH_S)
        values = {}
        for name in [name for name in self._goals if self._is_somebody_elses(name)]:
            del self._goals[name], self._written[name]
        for name, goal in self._goals.items():
            value = float(self._knobs.knobs[name])
            low, high = self._ranges[name]
            is_near = abs(goal - value) <= NEAR * (high - low)
            new = goal if name in WHOLE_KNOBS or is_near else value + share * (goal - value)
            if np.float32(new) != np.float32(value):
                values[name] = new
            self._written[name] = np.float32(new)
        return values

    def _goal(self, name: str) -> float:
        if name in self._goals and not self._is_somebody_elses(name):
            return self._goals[name]
        return float(self._knobs.knobs[name])

    def _is_somebody_elses(self, name: str) -> bool:
        return name in self._written and self._written[name] != np.float32(self._knobs.knobs[name])


@dataclass
class Knob:
    """An encoder with its push, and the page it is on."""

    encoder: Encoder
    push: Button
    pages: tuple[Page, ...]
    page: int = 0


@dataclass
class Pot:
    """A pot, where it was when it last counted, and how often it jumped."""

    line: PotLine
    faults: Faults
    position: float = -1.0
    n_jumps: int = 0


def control_pins(settings: PanelSettings) -> dict[str, tuple[int, ...]]:
    """Everything on the panel, by name, with the pins it cannot do without."""
    controls: dict[str, tuple[int, ...]] = {}
    for line in (read_encoder(text) for text in settings.encoders):
        name = line.pages[0].name
        controls |= {f"{name} knob": (line.a, line.b), f"push of the {name} knob": (line.push,)}
    single = {
        "panic button": settings.panic_pin,
        "hold button": settings.hold_pin,
        "red of the lamp": settings.red_pin,
        "green of the lamp": settings.green_pin,
        "blue of the lamp": settings.blue_pin,
    }
    return controls | {name: (pin,) for name, pin in single.items() if pin >= 0}


def panel_pins(settings: PanelSettings) -> tuple[int, ...]:
    """The contacts the settings name."""
    controls = control_pins(settings).items()
    return tuple(pin for name, pins in controls if not name.endswith("of the lamp") for pin in pins)


class PanelStage:
    """One ``step()`` takes in every control moved since the last one.

    Parameters
    ----------
    n_voices: how many voices there are to choose from.
    warn: told of a knob's fault, once.
    flash: told that an encoder drives something else now, or that a session begins or ends.
    offered: the programmes to choose among, as the knob counts them.
    """

    def __init__(
        self,
        settings: PanelSettings,
        contacts: Contacts,
        converter: Converter | None,
        knobs: Knobs,
        n_voices: int,
        warn: Callable[[str], None],
        clock: Clock,
        flash: Callable[[], None] = lambda: None,
        offered: Sequence[int] = (BuiltIn.MIRROR, BuiltIn.ISO),
    ) -> None:
        self._offered = tuple(offered)
        self._contacts = contacts
        self._converter = converter
        self._knobs = knobs
        self._clock = clock
        self._flash = flash
        self._warn = warn
        self._step_s = clock.now_s()
        self._followers = Followers(knobs, {**KNOB_RANGES, "voice": (0.0, n_voices - 1.0)})
        # What a tap of the hold button comes back to.
        programme = int(knobs.knobs["programme"])
        self._programme = self._offered[0] if programme == BuiltIn.HOLD else programme
        # As it was before a push that became long, and may become very long.
        self._before_push = (int(knobs.knobs["programme"]), self._programme)
        self._users: dict[int, Encoder | Button] = {}
        self._encoders = [self._encoder(text, settings.edges_per_detent) for text in settings.encoders]
        self._hold = self._button("hold button", settings.hold_pin)
        lines = [read_pot(text) for text in settings.pots] if converter is not None else []
        self._pots = [Pot(line, Faults(f"pot {line.channel} ({line.name})", warn)) for line in lines]

    def step(self) -> None:
        """Take in edges and pots; move the knobs a step toward where they should be."""
        now_s = self._clock.now_s()
        for edge in self._contacts.take():
            self._users[edge.pin].feed(edge)
        edges_now_s = self._contacts.now_s()
        for knob in self._encoders:
            self._turn(knob, edges_now_s)
        for pot in self._pots:
            self._read(pot)
        values = self._followers.step(now_s - self._step_s)
        self._step_s = now_s
        programme = self._programme_asked(edges_now_s, now_s)
        if programme != int(self._knobs.knobs["programme"]):
            values["programme"] = programme
        if values:
            self._knobs.turn(now_s, **values)

    def _turn(self, knob: Knob, now_s: float) -> None:
        page = knob.pages[knob.page]
        if n_detents := knob.encoder.take():
            self._followers.turn(page, n_detents)
        for _ in range(knob.push.look(now_s).n_downs):
            if len(knob.pages) == 1:
                self._followers.reset(page.name)
            else:
                knob.page = (knob.page + 1) % len(knob.pages)
                self._flash()

    def _read(self, pot: Pot) -> None:
        assert self._converter is not None
        position = self._converter.read(pot.line.channel)
        moved = abs(position - pot.position)
        is_first = pot.position < 0.0
        if moved > POT_JUMP and not is_first:
            pot.n_jumps += 1
            if pot.n_jumps == N_JUMPS:
                pot.faults.tell("jumps about: check its wires; it is not heard until it is steady")
        elif moved <= POT_NOISE:
            pot.n_jumps = 0
        if is_first or (moved > POT_NOISE and pot.n_jumps < N_JUMPS):
            low, high = pot.line.low, pot.line.high
            self._followers.aim(pot.line.name, low + position * (high - low))
        if moved > POT_NOISE:
            pot.position = position

    def _programme_asked(self, edges_now_s: float, now_s: float) -> int:
        push = self._hold.look(edges_now_s)
        programme = int(self._knobs.knobs["programme"])
        if programme != BuiltIn.HOLD:
            self._programme = programme
        if push.n_very_longs:
            change = self._knobs.end_session if self._knobs.is_session_on else self._knobs.begin_session
            change(now_s)
            self._flash()
            programme, self._programme = self._before_push
            return programme
        if push.n_longs:
            self._before_push = (programme, self._programme)
            at = self._offered.index(self._programme) if self._programme in self._offered else -1
            self._programme = self._offered[(at + 1) % len(self._offered)]
            return self._programme
        if push.n_taps and self._knobs.is_panic:
            self._knobs.resume(now_s)
            return programme
        if push.n_taps % 2:
            return self._programme if programme == BuiltIn.HOLD else BuiltIn.HOLD
        return programme

    def _encoder(self, text: str, edges_per_detent: int) -> Knob:
        line = read_encoder(text)
        name = line.pages[0].name
        faults = Faults(f"{name} knob (pins {line.a}, {line.b})", self._warn)
        encoder = Encoder(line.a, line.b, edges_per_detent, faults)
        self._users[line.a] = self._users[line.b] = encoder
        return Knob(encoder, self._button(f"push of the {name} knob", line.push), line.pages)

    def _button(self, name: str, pin: int) -> Button:
        button = Button(Faults(f"{name} (pin {pin})", self._warn))
        if pin >= 0:
            self._users[pin] = button
        return button
