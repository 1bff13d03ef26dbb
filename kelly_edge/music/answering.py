"""Taking turns: when the person's phrase has ended, and for how long the box answers it.

A phrase ends with a rest (the melody's note has ended, or the level has fallen since the last attack) or
with a long note (no attack for longer than any before in the phrase). It is believed at once, without a fixed
wait: somebody who was only breathing is heard again and has the turn back. The answer is as long as the
phrase.
"""

import math
from typing import Final

from kelly_edge.music.motif import HeardNote

ATTACK_DB: Final = 2.0
"""Rise of the level within two hop groups that is an attack. Chosen by hand: decaying tones never
rise."""
REST_DB: Final = 12.0
"""Fall of the level since the last attack from which it is a rest, where no melody says when its note
ended. Chosen by hand: keys released; a held piano tone falls as far in about a second."""
REST_BEATS: Final = 0.1
"""A shorter rest is articulation. Beats, from when the release is heard; chosen on practice songs."""
DUE: Final = 0.9
"""No rest is an end before the next note is due: this many times the phrase's mean distance of attacks
after the last one. Chosen on practice songs."""
LONG_NOTE: Final = 3.0
"""A note is long when it lasts this many times the phrase's longest before. Chosen on 19 songs that are not
for evaluation: with 2.5 the box came in before one in eight phrases had ended."""
LONG_BEATS: Final = 1.6
"""And at least so many beats. Chosen on practice songs."""
USUAL_BEAT_S: Final = 0.6
"""Where no beat is heard, and where beats are longer: the ears may count every other one. Chosen: 100 per
minute."""
BREATH_BEATS: Final = 2.5
"""Somebody heard again within this has only breathed, and their phrase goes on. Chosen by hand."""
N_ATTACKS: Final = 3
"""A phrase has as many notes at least. Chosen by hand: two notes are a call to nobody."""
SILENT_DB: Final = -60.0
"""Level in dBFS below which nothing attacks. Chosen: near ``presence.SILENT_DB``."""
LONGEST_S: Final = 16.0
"""No answer is longer: whoever waited so long wants to play. Chosen by hand."""


class Answering:
    """Streaming: one ``hear`` per hop group.

    Attributes
    ----------
    is_on: whether the box has the turn. until_s: when its answer ends, or ended.
    begin_s, length_s: of the phrase it answers, or that is played.
    """

    def __init__(self) -> None:
        self.is_on = False
        self.until_s = -math.inf
        self._levels_db = (SILENT_DB, SILENT_DB)
        self._peak_db = SILENT_DB
        self.begin_s = self._attack_s = self._rest_s = math.inf
        self.length_s = 0.0
        self._longest_s, self._beat_s, self._on_s = 0.0, USUAL_BEAT_S, -math.inf
        self._n_attacks = 0

    def hear(self, level_db: float, beat_s: float, now_s: float, melody: HeardNote | None = None) -> None:
        """One hop group: level in dBFS, length of the beat heard (0: none, a note of the phrase stands for
        it), and the last note of a melody."""
        beat_s = self._beat_s = min(beat_s or self._usual_s() or USUAL_BEAT_S, USUAL_BEAT_S)
        is_attack = level_db > max(min(self._levels_db) + ATTACK_DB, self._levels_db[1], SILENT_DB)
        self._levels_db = (self._levels_db[1], level_db)
        if is_attack:
            self._attack(level_db, now_s)
            return
        self._peak_db = (
            max(self._peak_db, level_db) if now_s - self._attack_s < 0.5 * beat_s else self._peak_db
        )
        if self.is_on:
            if now_s >= self.until_s:
                self._listen()
            return
        if melody is not None and melody.end_s > self._attack_s:
            is_rest = melody.end_s <= now_s
        else:
            is_rest = level_db < self._peak_db - REST_DB
        self._rest_s = min(self._rest_s, now_s) if is_rest else math.inf
        if self._n_attacks >= N_ATTACKS and self._has_ended(beat_s, now_s):
            end_s = min(self._rest_s, now_s)
            # The answer begins on the next beat, about.
            self.is_on, self._on_s = True, now_s
            self.length_s = min(end_s - self.begin_s, LONGEST_S)
            self.until_s = end_s + beat_s + self.length_s

    def _usual_s(self) -> float:
        """Mean distance of the phrase's attacks; 0 before two."""
        return (self._attack_s - self.begin_s) / (self._n_attacks - 1) if self._n_attacks > 1 else 0.0

    def _attack(self, level_db: float, now_s: float) -> None:
        if self.is_on:
            # They go on: the turn is theirs again. Soon, and their phrase had not ended.
            self.is_on, self.until_s = False, now_s
            if now_s - self._on_s > BREATH_BEATS * self._beat_s:
                self._listen()
        if self._n_attacks == 0:
            self.begin_s = now_s
        else:
            self._longest_s = max(self._longest_s, now_s - self._attack_s)
        self._n_attacks += 1
        self._attack_s, self._rest_s, self._peak_db = now_s, math.inf, level_db

    def _has_ended(self, beat_s: float, now_s: float) -> bool:
        since_s = now_s - self._attack_s
        rests = now_s - self._rest_s >= REST_BEATS * beat_s and since_s >= DUE * self._usual_s()
        return rests or since_s >= max(LONG_NOTE * self._longest_s, LONG_BEATS * beat_s)

    def _listen(self) -> None:
        self.is_on = False
        self.begin_s = self._attack_s = self._rest_s = math.inf
        self._n_attacks, self._longest_s = 0, 0.0
