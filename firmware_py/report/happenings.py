"""Events of a session beside music (programmes, knobs, panics, markers), and the box's counters."""

from dataclasses import dataclass, field
from typing import Any, Final

from firmware_py.board.telemetry import COUNTERS

HANDS: Final = ("valence", "arousal", "density")
"""Knobs whose turning is told."""
A_TURN_S: Final = 5.0
"""Positions of a knob that follow each other within this time are one turn of it. Chosen by hand."""
# Events listed, times listed of one kind, characters of a text. Chosen: the page stays readable whatever the
# log holds.
MOST_EVENTS: Final = 500
MOST_TIMES: Final = 40
LONGEST_TEXT: Final = 300
TIMES_LOGGED: Final = ("p50_ms", "p99_ms", "longest_ms", "n_missed")


@dataclass
class Event:
    """Something that happened at ``time_s``: a kind of a word or two, and a text from anywhere."""

    time_s: float
    kind: str
    text: str


@dataclass
class Happenings:
    """Filled entry by entry; holds a bounded number of events."""

    events: list[Event] = field(default_factory=list)
    n_more: int = 0
    """Events that were left out."""
    programmes: list[tuple[float, str]] = field(default_factory=list)
    """Since when which programme was on."""
    counters: dict[str, dict[str, int]] = field(default_factory=dict)
    times: dict[str, dict[str, float]] = field(default_factory=dict)
    about: dict[str, str] = field(default_factory=dict)
    """The session's properties, from the first header."""
    _counted: dict[str, dict[str, int]] = field(default_factory=dict)
    _knobs: dict[str, float] = field(default_factory=dict)

    def add(self, entry: dict[str, Any], time_s: float) -> None:
        """Take an entry of any kind but those that ``Course`` has columns for.

        Raises
        ------
        KeyError, TypeError, ValueError, OverflowError: the entry is damaged.
        """
        kind = entry["kind"]
        if kind == "session":
            for name, value in list(entry.items())[:20]:
                if name not in ("kind", "part") and isinstance(value, str | int):
                    self.about.setdefault(name[:40], str(value)[:LONGEST_TEXT])
        elif kind == "knobs":
            self._add_knobs(entry, time_s)
        elif kind == "panic":
            self._add_event(time_s, "panic" if entry["is_on"] else "resumed", "")
        elif kind == "marker":
            text = next((entry[name] for name in ("text", "note", "name") if name in entry), "")
            self._add_event(time_s, "marker", str(text)[:LONGEST_TEXT])
        elif kind == "counters" and entry.get("process") in COUNTERS:
            self._add_counters(entry["process"], entry)
        elif kind == "times":
            name = str(entry["of"])[:40]
            if name in self.times or len(self.times) < MOST_TIMES:
                self.times[name] = {column: float(entry[column]) for column in TIMES_LOGGED}

    def _add_event(self, time_s: float, kind: str, text: str) -> None:
        last = self.events[-1] if self.events else None
        is_turned = last is not None and last.kind == kind and kind.endswith("knob")
        if last is not None and is_turned and time_s - last.time_s < A_TURN_S:
            last.time_s, last.text = time_s, text
        elif len(self.events) < MOST_EVENTS:
            self.events.append(Event(time_s, kind, text))
        else:
            self.n_more += 1

    def _add_knobs(self, entry: dict[str, Any], time_s: float) -> None:
        programme = str(entry["programme"])[:40]
        names: tuple[str, ...] = (*HANDS, "n_sessions")
        now = {name: float(entry[name]) for name in names if name in entry}
        if not self.programmes or self.programmes[-1][1] != programme:
            self.programmes.append((time_s, programme))
            self._add_event(time_s, "programme", programme)
        before, self._knobs = self._knobs, now
        if now.get("n_sessions", 0.0) > before.get("n_sessions", 0.0) and before:
            self._add_event(time_s, "session", "a new one begins")
        for name in HANDS:
            if name in now and now[name] != before.get(name, 0.0):
                self._add_event(time_s, f"{name} knob", f"{now[name]:+.2f}")

    def _add_counters(self, process: str, entry: dict[str, Any]) -> None:
        now = {name: int(entry[name]) for name in COUNTERS[process] if name in entry}
        if entry.get("is_base"):
            # Counted before this session.
            self._counted[process] = now
            return
        totals = self.counters.setdefault(process, {})
        before = self._counted.get(process, {})
        for name, count in now.items():
            # A process that was started again counts from 0.
            since = count - before.get(name, 0) if count >= before.get(name, 0) else count
            totals[name] = totals.get(name, 0) + since
        self._counted[process] = now
