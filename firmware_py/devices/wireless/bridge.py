"""Between one MIDI port and several other ends over RTP-MIDI: invitations, and what goes where and when.

Pure: datagrams and times are given; what is to be sent, and played when, is taken from it. The command
``kelly-edge wireless`` has the sockets.
"""

import heapq
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from firmware_py.devices.wireless.packets import Exchange, Feedback, Midi, Sync, read, write_exchange
from firmware_py.devices.wireless.played import Played
from firmware_py.devices.wireless.session import GONE_S, Address, Session

MOST_SESSIONS: Final = 4
"""Other ends at a time. Chosen: a hand of players."""
INVITE_EVERY_S: Final = 1.5
"""Chosen: as Apple's session and others invite until they are answered."""
REFUSED_S: Final = 30.0
"""Whoever refused is not asked before. Chosen by hand."""
MESSAGES_AT_ONCE: Final = 100
"""Of a packet. Chosen: with the journal it is still within ``packets.MOST_BYTES``."""
SAYS_EVERY_S: Final = 60.0
"""A line about what was dropped at most so often. Chosen by hand: a journal that can still be read."""


@dataclass
class Outgoing:
    """A datagram for the sockets: by that of the data port, or by that of control."""

    is_data: bool
    to: Address
    data: bytes


@dataclass
class Invitation:
    """An end that the settings name, and that is not here yet."""

    token: int
    next_s: float = 0.0


@dataclass
class Bridge:
    """See the module.

    Parameters
    ----------
    name: shown at the other ends.
    playout_s: messages are played so long after they were sent, whatever time the network took.
    invited: control ports of other ends that are invited until they are here.
    say: told who comes and goes.
    """

    name: str
    playout_s: float
    invited: Sequence[Address] = ()
    say: Callable[[str], None] = print
    sessions: dict[int, Session] = field(default_factory=dict)
    out: list[Outgoing] = field(default_factory=list)
    """To be sent now, and taken away by whoever sends."""
    n_strange: int = 0
    """Datagrams that were malformed, or of nobody known."""

    def __post_init__(self) -> None:
        self._random = random.SystemRandom()
        self.ssrc = self._random.getrandbits(32)
        self._invitations = {address: Invitation(self._random.getrandbits(32)) for address in self.invited}
        self._due: list[tuple[float, int, bytes]] = []
        self._n_due = 0
        self._played = Played()
        self._says_s, self._said = 0.0, (0, 0)

    # --- what comes ---------------------------------------------------------------------------

    def take(self, data: bytes, sender: Address, is_data: bool, now_s: float) -> None:
        """A datagram came to the data port, or to that of control."""
        told = read(data)
        session = self._session(told, sender)
        if isinstance(told, Exchange) and told.word == b"IN":
            self._invited(told, session, sender, is_data, now_s)
        elif isinstance(told, Exchange) and told.word in (b"OK", b"NO"):
            self._answered(told, session, sender, is_data, now_s)
        elif session is None or told is None or sender not in (session.control, session.data):
            self.n_strange += 1
        else:
            session.heard_s = now_s
            if isinstance(told, Midi):
                session.is_quiet = False
                self._play(session.take(told, now_s, self.playout_s))
            elif isinstance(told, Sync):
                if (answer := session.sync(told, now_s)) is not None:
                    self._send(is_data, sender, answer)
            elif isinstance(told, Feedback):
                session.confirm(told.number)
            else:
                self._end(session, now_s, "left")

    def _session(self, told: Exchange | Sync | Feedback | Midi | None, sender: Address) -> Session | None:
        """Whose it is; some answer at the data port by another number (SSRC) than at that of control."""
        if told is None or told.ssrc in self.sessions:
            return None if told is None else self.sessions[told.ssrc]
        if isinstance(told, Midi) or (isinstance(told, Exchange) and told.word == b"IN"):
            return None
        control, data = sender, (sender[0], sender[1] - 1)
        return next((s for s in self.sessions.values() if s.control in (control, data)), None)

    def refused(self, address: Address, now_s: float) -> None:
        """The network says that nobody listens at ``address`` any more."""
        for session in list(self.sessions.values()):
            if address in (session.control, session.data):
                self._end(session, now_s, "is gone")

    def hear(self, messages: Sequence[tuple[float, bytes]], now_s: float) -> None:
        """Messages came in at our port, with their times: to every other end."""
        for begin in range(0, len(messages), MESSAGES_AT_ONCE):
            part = list(messages[begin : begin + MESSAGES_AT_ONCE])
            for _, message in part:
                self._played.take(message)
            for session in self.sessions.values():
                if session.data is not None:
                    self._send(True, session.data, session.write(part, now_s))

    def _invited(
        self, told: Exchange, session: Session | None, sender: Address, is_data: bool, now_s: float
    ) -> None:
        if is_data:
            if session is None or session.token != told.token or session.control[0] != sender[0]:
                self.n_strange += 1
                return
            self._open(session, sender, now_s)
        else:
            same = [s for s in self.sessions.values() if sender == s.control or s is session]
            if session is not None and session.control[0] != sender[0]:
                same = []
            if len(self.sessions) - len(same) >= MOST_SESSIONS or (session is not None and not same):
                self._send(False, sender, write_exchange(b"NO", told.token, self.ssrc))
                return
            for former in same:
                # It was killed and is back, or asks again because our answer was lost.
                if former.is_open or former is not session:
                    self._end(former, now_s, "begins anew")
            self.sessions[told.ssrc] = self._new(told, sender, now_s)
        self._send(is_data, sender, write_exchange(b"OK", told.token, self.ssrc, self.name))

    def _answered(
        self, told: Exchange, session: Session | None, sender: Address, is_data: bool, now_s: float
    ) -> None:
        invitation = self._invitations.get(sender)
        if is_data and session is not None and session.is_ours and session.control[0] == sender[0]:
            self._open(session, sender, now_s)
        elif invitation is None or invitation.token != told.token or is_data:
            self.n_strange += 1
        elif told.word == b"NO":
            invitation.next_s = now_s + REFUSED_S
        elif session is None and len(self.sessions) < MOST_SESSIONS:
            self.sessions[told.ssrc] = new = self._new(told, sender, now_s)
            new.is_ours = True
            self._invite_data(new)

    def _new(self, told: Exchange, control: Address, now_s: float) -> Session:
        return Session(
            self.ssrc, told.ssrc, told.token, told.name, control, now_s, self._random.getrandbits(16)
        )

    def _open(self, session: Session, data: Address, now_s: float) -> None:
        if not session.is_open:
            self.say(f"wireless: {session.name} at {session.control[0]} is here")
        session.data, session.heard_s = data, now_s

    # --- what passes by itself ---------------------------------------------------------------------

    def tick(self, now_s: float) -> None:
        """Invite, exchange clocks, confirm, and miss who is gone; several times per second."""
        there = {session.control for session in self.sessions.values()}
        for address, invitation in self._invitations.items():
            if address not in there and now_s >= invitation.next_s:
                invitation.next_s = now_s + INVITE_EVERY_S * self._random.uniform(0.9, 1.1)
                self._send(False, address, write_exchange(b"IN", invitation.token, self.ssrc, self.name))
        for session in list(self.sessions.values()):
            if session.data is None:
                if now_s - session.heard_s > 2 * INVITE_EVERY_S:
                    del self.sessions[session.ssrc]
                elif session.is_ours:
                    self._invite_data(session)
            elif now_s - session.heard_s > GONE_S:
                self._end(session, now_s, "is gone")
            else:
                if session.fell_quiet(now_s):
                    self._play(session.release(now_s))
                if (question := session.ask(now_s)) is not None:
                    self._send(True, session.data, question)
                    if (feedback := session.feedback()) is not None:
                        self._send(False, session.control, feedback)
        counts = (self.n_strange, sum(session.counts.malformed for session in self.sessions.values()))
        if counts != self._said and now_s >= self._says_s:
            self._says_s, self._said = now_s + SAYS_EVERY_S, counts
            self.say(f"wireless: {sum(counts)} packets dropped so far, malformed or of nobody known")

    def next_due_s(self) -> float | None:
        """When the next message is to be played."""
        return self._due[0][0] if self._due else None

    def due(self, now_s: float) -> list[bytes]:
        """The messages that are to be played by now, in their order."""
        messages = []
        while self._due and self._due[0][0] <= now_s:
            messages.append(heapq.heappop(self._due)[2])
        return messages

    def release(self, now_s: float) -> None:
        """Who plays to our port is gone: end at the other ends what it holds there."""
        self.hear([(now_s, message) for message in self._played.release()], now_s)

    def close(self, now_s: float) -> list[bytes]:
        """Release on both sides and say farewell; the messages that are still to be played here."""
        self.release(now_s)
        for session in list(self.sessions.values()):
            self._send(False, session.control, write_exchange(b"BY", session.token, self.ssrc))
            self._end(session, now_s, "was left")
        return self.due(float("inf"))

    def _invite_data(self, session: Session) -> None:
        to = (session.control[0], session.control[1] + 1)
        self._send(True, to, write_exchange(b"IN", session.token, self.ssrc, self.name))

    def _end(self, session: Session, now_s: float, how: str) -> None:
        self._play(session.release(now_s))
        del self.sessions[session.ssrc]
        if session.is_open:
            counts = f" ({session.counts})" if str(session.counts) else ""
            self.say(f"wireless: {session.name} at {session.control[0]} {how}{counts}")

    def _play(self, timed: list[tuple[float, bytes]]) -> None:
        for due_s, message in timed:
            self._n_due += 1
            heapq.heappush(self._due, (due_s, self._n_due, message))

    def _send(self, is_data: bool, to: Address, data: bytes) -> None:
        self.out.append(Outgoing(is_data, to, data))
