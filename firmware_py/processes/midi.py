"""``midi``: notes on absolute deadlines. Knows every sounding note and leaves none hanging.

A note-on more than ``STALE_S`` late is dropped and counted with its note-off; the note-off of a
sounding note is never dropped. A pitch struck again is released first. A composer that stands still or is
gone mutes the music: what sounds is released, what falls due is dropped and counted, until it is back;
one that was started again finds none of the other's notes waiting. Notes that the composer takes back end at
once. Sustain pedal and pitch bend that are
passed on are let go wherever the music is silenced. A panic mutes it too, and is told to every
channel of every instrument; it lasts until somebody resumes. The knob ``mute`` is obeyed here too, at once.
"""

import heapq
import math
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from firmware_py.board.map import ALIVE_DTYPE, HAND_DTYPE, Ends
from firmware_py.board.telemetry import new_counters
from firmware_py.ports import Clock, MidiOut
from firmware_py.ports.midi import (
    ALL_NOTES_OFF,
    ALL_SOUND_OFF,
    BEND_CENTRE,
    CONTROL_CHANGE,
    N_CHANNELS,
    NOTE_OFF,
    NOTE_ON,
    PITCH_BEND,
    STALE_S,
    SUSTAIN,
)
from firmware_py.processes.panic_watch import PanicWatch
from kelly_edge.contract import KEY_DTYPE, KNOBS_DTYPE, NOTE_DTYPE

LATE_S = 0.01
"""From here on a note sent counts as late. Chosen: asynchronies of 10 ms begin to be heard."""
COMPOSER_STALLED_S = 0.2
"""After this time without a sign of life the composer counts as hung. Chosen by hand."""
EVERY_CHANNEL = range(N_CHANNELS)


class MidiStage:
    """One ``step()`` sends the notes that are due."""

    def __init__(self, ends: Ends, out: MidiOut, clock: Clock) -> None:
        self._ends = ends
        self._notes = ends.ring_to_read("notes")
        self._played = ends.ring_to_write("played")
        self._own = ends.ring_to_write("own")
        self._key = np.zeros((), KEY_DTYPE)
        self._panic = PanicWatch(ends.cell_to_read("panic"))
        self._alive_cell = ends.cell_to_read("alive")
        self._knobs_cell = ends.cell_to_read("knobs")
        self._knobs = np.zeros((), KNOBS_DTYPE)
        self._is_turned_off = False
        self._hand_cell = ends.cell_to_read("hand")
        self._hand = np.zeros((), HAND_DTYPE)
        self._hand["bend"] = BEND_CENTRE
        self._hands_on = False
        self._sent = (0, 0, BEND_CENTRE)
        """Channel, pedal and bend as the instruments have them."""
        self._telemetry = ends.cell_to_write("telemetry_midi")
        self._out = out
        self._clock = clock
        self._note = np.zeros((), NOTE_DTYPE)
        self._alive = np.zeros((), ALIVE_DTYPE)
        self._composer_born_s = -1.0
        self._is_muted = False
        self._was_panic = False
        self.is_silent = False
        """Whether nothing may sound, as of the last step: a panic, or nobody who would hear of one."""
        self._due: list[tuple[float, int, NDArray[Any]]] = []
        self._sounding: dict[tuple[int, int], float] = {}
        self._n_received = 0
        self.counters = new_counters("midi")

    def step(self) -> None:
        """Send the notes that are due, take in new ones, and send those of them that are due."""
        # First: one that stood still during a panic must not begin with a note.
        self._obey_panic()
        self._obey_mute()
        self._send_due()
        self._take_in()
        self._pass_on()
        self._send_due()
        self._telemetry.write(self.counters)

    def _send_due(self) -> None:
        now_s = self._clock.now_s()
        while self._due and self._due[0][0] <= now_s:
            due_s, _, note = heapq.heappop(self._due)
            self._release_until(due_s)
            self._strike(note, now_s)
        self._release_until(now_s)

    def _take_in(self) -> None:
        now_s = self._clock.now_s()
        if self._alive_cell.read(self._alive):
            self._watch_composer(now_s)
        while self._notes.read(self._note):
            if not self._note["velocity"]:
                self._take_back(now_s)
                continue
            # The count breaks ties, so that notes of one chord keep their order.
            heapq.heappush(self._due, (float(self._note["due_s"]), self._n_received, self._note.copy()))
            self._n_received += 1
        self._ends.count_drops(self.counters)

    def _take_back(self, now_s: float) -> None:
        """The composer gives the turn to somebody else: what it sent neither sounds on nor begins."""
        self.counters["n_taken_back"] += len(self._due)
        self._due.clear()
        self._release_until(now_s)
        for key in sorted(self._sounding):
            self._release(key, now_s)

    def _obey_panic(self) -> None:
        now_s = self._clock.now_s()
        was_silent, self.is_silent = self.is_silent, self._panic.is_silent(now_s)
        was_panic, self._was_panic = self._was_panic, self._panic.is_on
        if self._was_panic and not was_panic:
            self.counters["n_panics"] += 1
            # All notes of the instruments, not only those known here.
            self.release_all(now_s, EVERY_CHANNEL)
            for channel in EVERY_CHANNEL:
                self._out.send(now_s, CONTROL_CHANGE | channel, ALL_SOUND_OFF, 0)
        elif self.is_silent and not was_silent:
            self.counters["n_guardian_stalls"] += 1
            self.release_all(now_s)

    def _obey_mute(self) -> None:
        if self._knobs_cell.read(self._knobs) and bool(self._knobs["mute"]) != self._is_turned_off:
            self._is_turned_off = not self._is_turned_off
            if self._is_turned_off:
                self.release_all(self._clock.now_s())

    def _pass_on(self) -> None:
        """Send on what pedal and bend of the inputs changed; nothing is held where nothing may sound."""
        self._hands_on = self._hand_cell.read(self._hand)
        if not self._hands_on:
            return
        if self._is_muted or self._is_turned_off or self.is_silent:
            self._let_go(self._clock.now_s())
        else:
            self._hold(*(int(self._hand[name]) for name in ("channel", "pedal", "bend")))

    def _hold(self, channel: int, pedal: int, bend: int) -> None:
        now_s = self._clock.now_s()
        if channel != self._sent[0]:
            self._let_go(now_s)
            self._sent = (channel, 0, BEND_CENTRE)
        if pedal != self._sent[1]:
            self._out.send(now_s, CONTROL_CHANGE | channel, SUSTAIN, pedal)
        if bend != self._sent[2]:
            self._out.send(now_s, PITCH_BEND | channel, bend & 0x7F, bend >> 7)
        self._sent = (channel, pedal, bend)

    def _let_go(self, now_s: float) -> None:
        """Pedal up, bend at rest."""
        channel, pedal, bend = self._sent
        self._sent = (channel, 0, BEND_CENTRE)
        if pedal:
            self._out.send(now_s, CONTROL_CHANGE | channel, SUSTAIN, 0)
        if bend != BEND_CENTRE:
            self._out.send(now_s, PITCH_BEND | channel, BEND_CENTRE & 0x7F, BEND_CENTRE >> 7)

    def next_due_s(self) -> float:
        """When something must be sent next, as far as is known; infinity when nothing waits."""
        due_s = self._due[0][0] if self._due else math.inf
        return min(due_s, min(self._sounding.values(), default=math.inf))

    def release_all(self, now_s: float, also: Iterable[int] = ()) -> None:
        """Release exactly the sounding notes, then All Notes Off on their channels and ``also`` on those."""
        # First: what the pedal holds sounds on after its note-off.
        self._let_go(now_s)
        channels = sorted({channel for channel, _ in self._sounding}.union(also))
        for key in sorted(self._sounding):
            self._release(key, min(now_s, self._sounding[key]))
        for channel in channels:
            self._out.send(now_s, CONTROL_CHANGE | channel, ALL_NOTES_OFF, 0)
        self._telemetry.write(self.counters)

    def finish(self) -> None:
        """Strike nothing more; sounding notes are released where each ends, at once but dated then."""
        self._due.clear()
        self._let_go(self._clock.now_s())
        self._release_until(math.inf)
        self._telemetry.write(self.counters)

    def _watch_composer(self, now_s: float) -> None:
        born_s = float(self._alive["born_s"])
        if born_s != self._composer_born_s:
            if self._composer_born_s >= 0.0:
                self.counters["n_forgotten"] += len(self._due)
                self._due.clear()
            self._composer_born_s = born_s
        stands_still = now_s - float(self._alive["time_s"]) > COMPOSER_STALLED_S
        if stands_still and not self._is_muted:
            self.counters["n_composer_stalls"] += 1
            self.release_all(now_s)
        self._is_muted = stands_still

    def _strike(self, note: NDArray[Any], now_s: float) -> None:
        due_s, key = float(note["due_s"]), (self._channel_of(note), int(note["pitch"]))
        if now_s - due_s > STALE_S:
            self.counters["n_stale"] += 1
            return
        if self._is_muted or self._is_turned_off or self.is_silent:
            self.counters["n_muted"] += 1
            return
        self.counters["n_late"] += now_s - due_s > LATE_S
        if key in self._sounding:
            self._release(key, due_s)
        self._out.send(due_s, NOTE_ON | key[0], key[1], int(note["velocity"]))
        self._sounding[key] = due_s + float(note["duration_s"])
        self._tell_ears(due_s, key[1], int(note["velocity"]))
        self.counters["n_note_ons"] += 1
        self._played.write(note)

    def _channel_of(self, note: NDArray[Any]) -> int:
        """Its own, but where an MPE instrument at the inputs needs that."""
        return int(self._hand["channel"] if self._hands_on else note["channel"])

    def _tell_ears(self, due_s: float, pitch: int, velocity: int) -> None:
        key = self._key
        key["time_s"], key["pitch"], key["velocity"] = due_s, pitch, velocity
        self._own.write(key)

    def _release_until(self, time_s: float) -> None:
        ended = sorted((end, key) for key, end in self._sounding.items() if end <= time_s)
        for end_s, key in ended:
            self._release(key, end_s)

    def _release(self, key: tuple[int, int], due_s: float) -> None:
        self._out.send(due_s, NOTE_OFF | key[0], key[1], 0)
        self._tell_ears(due_s, key[1], 0)
        del self._sounding[key]
        self.counters["n_note_offs"] += 1
