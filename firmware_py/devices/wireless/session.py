"""One other end: its clock, the packets to and from it, what it holds here, and whether it is still there.

Pure: times in seconds of CLOCK_MONOTONIC are given, datagrams are returned.
"""

from dataclasses import dataclass, field
from typing import Final

from firmware_py.devices.wireless.journal import SentJournal
from firmware_py.devices.wireless.other_clock import FARTHEST_S, OtherClock, ticks_of, wrapped
from firmware_py.devices.wireless.packets import (
    TICKS_PER_S,
    WRAP,
    Midi,
    Sync,
    write_feedback,
    write_midi,
    write_sync,
)
from firmware_py.devices.wireless.played import Played

Address = tuple[str, int]

SYNC_EVERY_S: Final = 1.0
"""Chosen: ``QUIET_S`` has three of them; Apple's session asks every ten seconds."""
QUIET_S: Final = 3.0
"""Whoever used to answer, and does not for so long, holds no note any more. Chosen: three questions."""
GONE_S: Final = 30.0
"""Nothing heard for so long ends the session. Chosen: three of Apple's exchanges of clocks."""
LATE: Final = 100
"""A packet that is this many behind is a new count. Chosen: more than a radio turns round."""
MOST_PER_S: Final = 2_000
"""Messages taken from one end. Chosen: twice what a MIDI cable carries."""


@dataclass
class Counts:
    """What did not come as it was sent."""

    lost: int = 0
    repaired: int = 0
    late: int = 0
    malformed: int = 0
    exclusive: int = 0
    too_many: int = 0

    def __str__(self) -> str:
        return ", ".join(f"{name.replace('_', ' ')} {n}" for name, n in vars(self).items() if n)


@dataclass
class Session:
    """Another end; ``is_open`` once both of its ports are known."""

    ours: int
    """Our own source's number (SSRC)."""
    ssrc: int
    token: int
    name: str
    control: Address
    heard_s: float
    number: int
    """Of the last packet that was sent; it never wraps here."""
    is_ours: bool = False
    """Whether we invited."""
    data: Address | None = None
    clock: OtherClock = field(default_factory=OtherClock)
    held: Played = field(default_factory=Played)
    counts: Counts = field(default_factory=Counts)
    is_quiet: bool = False

    def __post_init__(self) -> None:
        self._journal = SentJournal()
        self._last: int | None = None
        self._told: int | None = None
        self._due_s = 0.0
        self._asked_s = self._answered_s = float("-inf")
        self._asked_ticks = self._answer_ticks = -1
        self._second, self._n_in_second = 0, 0

    @property
    def is_open(self) -> bool:
        """Whether MIDI may flow."""
        return self.data is not None

    def write(self, messages: list[tuple[float, bytes]], now_s: float) -> bytes:
        """A packet with ``messages`` and the times at which they were played."""
        self.number += 1
        journal = self._journal.write(self.number, now_s)
        begin = ticks_of(messages[0][0]) if messages else ticks_of(now_s)
        timed, latest = [], 0
        for time_s, message in messages:
            latest = max(latest, ticks_of(time_s) - begin)
            timed.append((latest, message))
            self._journal.add(self.number, time_s, message)
        return write_midi(Midi(self.ours, self.number, begin, timed, journal))

    def confirm(self, number: int) -> None:
        """The other end tells which packet came last."""
        behind = self.number - number & 0xFFFF
        if behind < 0x8000:
            self._journal.confirm(self.number - behind)

    def take(self, packet: Midi, now_s: float, playout_s: float) -> list[tuple[float, bytes]]:
        """The messages of a packet, after those that make up for lost ones, and when each is to be played."""
        ahead = 1 if self._last is None else packet.number - self._last & 0xFFFF
        if ahead == 0 or ahead > 0xFFFF - LATE:
            self.counts.late += 1
            return []
        if not self._may_take(len(packet.messages), now_s):
            self.counts.too_many += len(packet.messages)
            return []
        self._last = packet.number
        self.counts.exclusive += packet.n_exclusive
        made_up: list[bytes] = []
        if ahead > 1:
            self.counts.lost += ahead - 1
            repaired = self.held.repair(packet.journal) if packet.journal else []
            self.counts.malformed += repaired is None
            made_up = repaired or []
            self.counts.repaired += len(made_up)
        sent_s = self.clock.local_s(packet.ticks, now_s)
        timed = [(0, message) for message in made_up] + packet.messages
        for _, message in packet.messages:
            self.held.take(message)
        return [(self._when(sent_s + playout_s + t / TICKS_PER_S, now_s), message) for t, message in timed]

    def release(self, now_s: float) -> list[tuple[float, bytes]]:
        """What ends every note that the other end holds here, after all it sent."""
        return [(self._when(now_s, now_s), message) for message in self.held.release()]

    def _when(self, due_s: float, now_s: float) -> float:
        """Never before what was sent earlier, nor farther away than a message may be."""
        self._due_s = min(max(due_s, self._due_s, now_s), now_s + FARTHEST_S)
        return self._due_s

    def _may_take(self, n: int, now_s: float) -> bool:
        if int(now_s) != self._second:
            self._second, self._n_in_second = int(now_s), 0
        self._n_in_second += n
        return self._n_in_second <= MOST_PER_S

    # --- clocks ---------------------------------------------------------------------------

    def sync(self, told: Sync, now_s: float) -> bytes | None:
        """A part of an exchange of clocks came; the next part, if there is one."""
        now, (first, second, third) = ticks_of(now_s), told.times
        if told.count == 0:
            self._answer_ticks = now
            return write_sync(self.ours, 1, (first, now, 0))
        if told.count == 1 and first == self._asked_ticks:
            self._answered_s, self.is_quiet = now_s, False
            trip = now - first
            self.clock.learn(trip, wrapped((second - first) % WRAP - trip / 2))
            return write_sync(self.ours, 2, (first, second, now))
        if told.count == 2 and second == self._answer_ticks:
            there_and_back = wrapped((third - first) % WRAP)
            self.clock.learn(there_and_back, wrapped((first - second) % WRAP + there_and_back / 2))
        return None

    def ask(self, now_s: float) -> bytes | None:
        """The question for the other end's clock, where it is time for it."""
        if now_s - self._asked_s < SYNC_EVERY_S:
            return None
        self._asked_s, self._asked_ticks = now_s, ticks_of(now_s)
        return write_sync(self.ours, 0, (self._asked_ticks, 0, 0))

    def feedback(self) -> bytes | None:
        """What came last, where that is news."""
        if self._last is None or self._last == self._told:
            return None
        self._told = self._last
        return write_feedback(self.ours, self._last)

    def fell_quiet(self, now_s: float) -> bool:
        """Whether an end that used to answer has just stopped; told once."""
        if self.is_quiet or not self._answered_s < now_s - QUIET_S or self._answered_s == float("-inf"):
            return False
        self.is_quiet = now_s - self.heard_s >= QUIET_S
        return self.is_quiet
