"""What the box does beside the player: it answers in their pauses, or leads on through them."""

import math
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from firmware_py.processes.listening import GOES_ON_S, Listening
from firmware_py.settings import Settings
from firmware_py.wiring.offline import Models, Offline
from kelly_edge.contract import GROUP_S, HEARD_DTYPE, N_CHORDS, ROLES, Role
from kelly_edge.music.following import Following
from kelly_edge.music.target import Target
from models.ensemble.practice import accompanied, beat_times, struck

BPM = 96.0
BEAT_S = 60.0 / BPM


class NoClock:
    """The cell of a clock that nobody sends."""

    def read(self, record: object) -> bool:
        """Nothing."""
        return False


def in_role(settings: Settings, role: str) -> Settings:
    """The settings with another role."""
    return replace(settings, composer=replace(settings.composer, role=role))


def heard_group(time_s: float, plays: bool) -> NDArray[Any]:
    """A record of somebody who plays in C at ``BPM``, or of silence."""
    heard = np.zeros((), HEARD_DTYPE)
    heard["time_s"], heard["tonic"], heard["mode"] = time_s, -1, -1
    heard["level_db"], heard["n_beats"] = -75.0, 4
    if plays:
        heard["level_db"], heard["presence"], heard["density_hz"] = -20.0, 1.0, 4.0
        heard["chroma"][[0, 4, 7]] = 1.0 / 3.0
        heard["chord_belief"][0] = 1.0
        heard["beat_s"], heard["beat_confidence"] = BEAT_S, 1.0
        heard["beat_phase"] = time_s / BEAT_S % 1.0
        heard["bar_phase"] = time_s / BEAT_S / 4.0 % 1.0
    else:
        heard["chord_belief"][N_CHORDS] = 1.0
    return heard


def listened(settings: Settings, role: str, silent_s: float) -> tuple[Listening, float]:
    """Six seconds of playing heard in a role, then silence; and the time."""
    listening = Listening(settings, NoClock(), Following(), 0.0, True)  # type: ignore[arg-type]
    now_s = 0.0
    while now_s < 6.0 + silent_s:
        now_s += GROUP_S
        listening.hear(heard_group(now_s, now_s < 6.0), now_s, BPM, role)
    return listening, now_s


@pytest.mark.parametrize(("role", "rests"), [(role, role != Role.LEAD) for role in ROLES])
def test_only_music_that_leads_goes_on_in_a_silence(settings: Settings, role: str, rests: bool) -> None:
    listening, _ = listened(settings, role, 8.0)
    assert listening.is_resting == rests


def test_music_that_leads_ends_when_nobody_comes_back(settings: Settings) -> None:
    listening, now_s = listened(settings, Role.LEAD, GOES_ON_S[Role.LEAD] + 3.0)
    assert listening.is_resting
    assert listening.finish_s < now_s


def test_music_that_leads_keeps_its_own_tempo(settings: Settings) -> None:
    for role, follows in ((Role.ACCOMPANY, True), (Role.TOGETHER, True), (Role.LEAD, False)):
        listening, now_s = listened(settings, role, 0.0)
        beat = listening.beat_to_follow(Target(0.0, 0.0), now_s)
        assert (beat is not None) == follows
        assert (listening.finish_s == math.inf) or role != Role.LEAD


def test_it_answers_phrases_in_their_pauses(settings: Settings, models: Models) -> None:
    """Four phrases of two bars, with two and a half bars after each."""
    beats_s, played, ends_s = beat_times([BPM] * 80), [], []
    for k in range(4):
        phrase = beats_s[18 * k : 18 * k + 9]
        played += [note for note in accompanied(phrase, 4) if note[0] < phrase[-1]]
        ends_s.append(phrase[-1])
    sound = struck(played, ends_s[-1] + 12.0)
    notes = Offline(in_role(settings, Role.ANSWER), models, sound).run().notes
    onset_s, end_s = notes["onset_s"], notes["onset_s"] + notes["duration_s"]
    answered = 0
    for k, (phrase_end_s, next_s) in enumerate(pairwise([*ends_s, math.inf])):
        if k == 0:
            continue
        begin_s = phrase_end_s - 8 * BEAT_S
        overlap_s = np.clip(np.minimum(end_s, phrase_end_s) - np.maximum(onset_s, begin_s), 0.0, None)
        assert overlap_s.max(initial=0.0) < BEAT_S
        answer_s = onset_s[(onset_s > phrase_end_s - BEAT_S) & (onset_s < next_s - 8 * BEAT_S)]
        answered += bool(answer_s.size) and answer_s.min() < phrase_end_s + 1.2 * BEAT_S
    assert answered >= 2
