"""The box's own notes in its microphone: believed when they are heard, and then taken off; otherwise nothing
changes."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from kelly_edge.contract import GROUP_S, HOP_SIZE
from kelly_edge.emotion.features import FeatureExtractor
from kelly_edge.emotion.own_notes import OwnNotes
from kelly_edge.signal.melody import MelodyNote
from kelly_edge.units import SILENCE_DB
from models.ensemble.practice import accompanied, beat_times, struck

DELAY_S = 0.02
SECONDS = 24.0
STOPS_S = 14.0
PLAYED = [note for note in accompanied(beat_times([110.0] * 44), 4) if note[0] < STOPS_S]
"""A player who stops: begin (s), length (s), pitch, loudness."""
OWN = [(1.0 + 0.31 * k, 0.5, 48.0 + (5 * k) % 19, 0.5) for k in range(76)]
"""The box, which goes on, at half of that."""
Notes = Sequence[tuple[float, float, float, float]]


class Heard:
    """Both through one microphone; readings [n groups] of the guard."""

    def __init__(self, player: Notes, fed_back: Notes, sent: Notes = OWN) -> None:
        late = [(begin_s + DELAY_S, *rest) for begin_s, *rest in fed_back]
        sound = struck([*player, *late], SECONDS)  # type: ignore[list-item]
        messages = [(begin_s, int(pitch), 60) for begin_s, _, pitch, _ in sent]
        messages += [(begin_s + length_s, int(pitch), 0) for begin_s, length_s, pitch, _ in sent]
        messages.sort(key=lambda message: (message[0], message[2]))
        ears, self.own, n_sent = FeatureExtractor(), OwnNotes(DELAY_S), 0
        self.time_s, self.is_heard, self.level_db, self.same, self.flux = [], [], [], [], []
        before: NDArray[np.float32] | None = None
        for k in range(len(sound) // HOP_SIZE):
            if not ears.push(sound[k * HOP_SIZE : (k + 1) * HOP_SIZE]):
                continue
            now_s = (len(self.time_s) + 1) * GROUP_S
            while n_sent < len(messages) and messages[n_sent][0] <= now_s:
                time_s, pitch, velocity = messages[n_sent]
                self.own.take(pitch, velocity, time_s)
                n_sent += 1
            self.own.hear(now_s, ears)
            self.time_s.append(now_s)
            self.is_heard.append(self.own.is_heard)
            self.level_db.append(self.own.level_db)
            self.same.append(self.own.frames is ears.frames and self.own.notes is ears.notes)
            last = self.own.frames if before is None else before
            rises = [np.maximum(b - a, 0.0).mean() for a, b in pairwise([last[-1], *self.own.frames])]
            self.flux.append(float(max(rises)))
            before = self.own.frames.copy()

    def during(self, values: list[float], from_s: float, to_s: float) -> NDArray[np.float64]:
        return np.array([v for t, v in zip(self.time_s, values, strict=True) if from_s < t <= to_s], float)


def test_without_its_own_sound_nothing_is_taken_off() -> None:
    heard = Heard(PLAYED, [])
    assert not any(heard.is_heard)
    assert all(heard.same)
    assert heard.own.players_share == 1.0


def test_its_own_sound_is_believed_and_is_nobody_who_plays() -> None:
    heard = Heard(PLAYED, OWN)
    assert heard.is_heard[-1]
    alone = heard.during(heard.level_db, STOPS_S + 2.0, SECONDS - 1.0)
    assert (alone == SILENCE_DB).mean() > 0.9
    beside = heard.during(heard.level_db, 8.0, STOPS_S)
    assert (beside > -40.0).mean() > 0.7
    assert heard.own.players_share < 0.1
    plain = Heard(PLAYED, OWN, sent=[])
    flux, plain_flux = (h.during(h.flux, STOPS_S + 2.0, SECONDS - 1.0) for h in (heard, plain))
    assert flux.mean() < 0.5 * plain_flux.mean()


def test_a_melody_has_none_of_its_notes_and_all_of_the_player_s() -> None:
    own = OwnNotes(DELAY_S)
    own.is_heard = True
    own.melody(MelodyNote(60, 5, 0.01), 1.0)
    own.take(64, 60, 2.0)
    told = [own.melody(MelodyNote(*note), now_s) for note, now_s in (
        ((60, 5, 0.01), 1.5),
        ((64, 6, 0.05), 2.1),
        ((64, 6, 0.05), 2.2),
        ((67, 7, 0.04), 2.6),
        ((0, 7, 0.04), 2.7),
    )]  # fmt: skip
    assert told == [(60, 5, 0.01), (0, 5, 0.01), (0, 5, 0.01), (67, 6, 0.04), (0, 6, 0.04)]
