"""The box with its own notes in its microphone, in the offline wiring: it ends when the player does."""

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("mido", reason="mido is not installed; pip install -e '.[test]'")
pytest.importorskip("scipy", reason="scipy is not installed; pip install -e '.[test]'")

from firmware_py.settings import Settings
from firmware_py.wiring.offline import Models, Offline
from models.ensemble.loudspeaker import HIGHEST, LASTS_S, LOWEST, Loudspeaker
from models.ensemble.practice import accompanied, beat_times, struck

PLAYS_S, SECONDS = 20.0, 30.0
DELAY_S = 0.01


def last_end_s(settings: Settings, models: Models, own_notes: str) -> float:
    """When the last note of the box ends, beside a player who stops at ``PLAYS_S``."""
    played = [note for note in accompanied(beat_times([104.0] * 40), 4) if note[0] < PLAYS_S]
    player = struck(played, SECONDS)
    player[round(PLAYS_S * 48_000) :] = 0.0
    tones = {pitch: struck([(0.0, LASTS_S, pitch, 0.5)], LASTS_S) for pitch in range(LOWEST, HIGHEST + 1)}
    speaker = Loudspeaker(player, tones, 1.0, DELAY_S)
    offline = Offline(replace(settings, ears=replace(settings.ears, own_notes=own_notes)), models, speaker)
    speaker.out = offline.midi_out
    notes = offline.run().notes
    assert (notes["onset_s"] < PLAYS_S).sum() > 20
    return float(np.max(notes["onset_s"] + notes["duration_s"]))


def test_the_box_does_not_go_on_with_itself(settings: Settings, models: Models) -> None:
    assert last_end_s(settings, models, "discount") < PLAYS_S + 5.0
    # So it is the guard that ended it.
    assert last_end_s(settings, models, "ignore") > PLAYS_S + 7.0
