"""The composer beside somebody who plays chords: in them, even where they change late, and with room."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from firmware_py.board.map import memory_board
from firmware_py.devices.offline import RecordingMidi, VirtualClock
from firmware_py.processes.composer import ComposerStage
from firmware_py.processes.midi import MidiStage
from firmware_py.report.played_mood import mood_of_notes
from firmware_py.settings import Settings
from firmware_py.wiring.composer_models import new_generator
from firmware_py.wiring.offline import Models
from kelly_edge.contract import (
    GROUP_S,
    HEARD_DTYPE,
    HOP_SIZE,
    N_CHORDS,
    NOTE_DTYPE,
    PROGRAMMES,
    SAMPLE_RATE_HZ,
)
from kelly_edge.harmony.chords import MAJOR, MINOR, chord_of, classes_of
from kelly_edge.music.scheduler import COMMIT_S

Notes = NDArray[Any]
BEAT_S = 0.5
LOOP = tuple(chord_of(*c) for c in ((0, MAJOR), (9, MINOR), (5, MAJOR), (7, MAJOR)))
CHORD_S = 4 * BEAT_S
HEARD_LATE_S = 0.15


def chord_at(time_s: float) -> int:
    """The loop, a chord a bar, until it stays in E major, which is not in its key."""
    return chord_of(4, MAJOR) if time_s >= 40.0 else LOOP[int(max(time_s, 0.0) / CHORD_S) % len(LOOP)]


class Player:
    """Hop groups of somebody who plays the chords on a steady beat."""

    def __init__(self, models: Models, settings: Settings) -> None:
        self.board, self.clock, self.out = memory_board(), VirtualClock(), RecordingMidi()
        generator = new_generator(settings, models.composer)
        self.stage = ComposerStage(self.board.ends("composer"), settings, generator, self.clock)
        self.midi = MidiStage(self.board.ends("midi"), self.out, self.clock)
        self.settings = settings
        self.density_hz, self.highest, self.level_db, self.arousal = 0.0, 0.0, -20.0, 0.0
        self.arrived: list[tuple[float, Any]] = []

    def run(self, seconds: float, at: Callable[[float], None] = lambda _: None) -> Notes:
        """NOTE_DTYPE [n], with the time each left in ``arrived``."""
        heard, note = np.zeros((), HEARD_DTYPE), np.zeros((), NOTE_DTYPE)
        for group in range(round(seconds / GROUP_S)):
            time_s = (group + 1) * GROUP_S
            self.clock.time_s = time_s
            at(time_s)
            chord = chord_at(time_s - HEARD_LATE_S)
            heard["group"], heard["time_s"] = group, time_s
            heard["tonic"], heard["mode"], heard["tempo_bpm"] = 0, 1, 60.0 / BEAT_S
            heard["presence"] = heard["confidence"] = 1.0
            heard["chroma"] = [1 / 3 * (classes_of(chord) >> p & 1) for p in range(12)]
            heard["chord_belief"] = 0.05 / N_CHORDS
            heard["chord_belief"][chord] = 0.95
            heard["beat_s"], heard["beat_confidence"], heard["n_beats"] = BEAT_S, 1.0, 4
            heard["beat_phase"], heard["bar_phase"] = time_s / BEAT_S % 1.0, time_s / CHORD_S % 1.0
            heard["density_hz"], heard["highest"] = self.density_hz, self.highest
            heard["level_db"], heard["arousal"] = self.level_db, self.arousal
            self.board.rings["heard"].write(heard)
            self.stage.step()
            while self.board.rings["notes"].read(note):
                self.arrived.append((time_s, note.copy()))
        return np.array([note for _, note in self.arrived], NOTE_DTYPE)


def share_in_chord(notes: Notes, from_s: float, to_s: float) -> float:
    within = notes[(notes["onset_s"] >= from_s) & (notes["onset_s"] < to_s)]
    assert len(within) > 20
    return float(np.mean([classes_of(chord_at(n["onset_s"])) >> n["pitch"] % 12 & 1 for n in within]))


def followed(**composer: bool) -> Settings:
    settings = Settings()
    return replace(settings, composer=replace(settings.composer, **composer))


def test_it_plays_in_a_loop_of_chords_and_in_one_from_elsewhere(models: Models) -> None:
    notes = Player(models, Settings()).run(60.0)
    assert share_in_chord(notes, 16.0, 40.0) > 0.85
    # Half a second after the loop has been left for a chord outside of the key.
    assert share_in_chord(notes, 40.5, 60.0) > 0.85


def test_without_following_it_plays_in_the_key_alone(models: Models) -> None:
    notes = Player(models, followed(follow_harmony=False)).run(40.0)
    assert share_in_chord(notes, 16.0, 40.0) < 0.7


def test_music_that_leads_to_the_other_mode_has_its_own_chords(models: Models) -> None:
    emotion = replace(Settings().emotion, programme="hold", hold_valence=-0.9)
    player = Player(models, replace(Settings(), emotion=emotion))
    assert PROGRAMMES[2] == "hold"
    notes = player.run(40.0)
    late = notes[notes["onset_s"] > 16.0]
    assert share_in_chord(notes, 16.0, 40.0) < 0.8
    assert {3, 8, 10} & {int(pitch) % 12 for pitch in late["pitch"]}


def test_notes_leave_one_by_one_in_time_and_in_order(models: Models) -> None:
    player = Player(models, Settings())
    player.run(30.0)
    ahead = np.array([note["onset_s"] - time_s for time_s, note in player.arrived])
    onsets = np.array([note["onset_s"] for _, note in player.arrived])
    assert (np.diff(onsets) >= 0.0).all()
    assert (ahead <= COMMIT_S + 1e-9).all()
    # Nothing is held back longer than a turn.
    assert (ahead[len(ahead) // 4 :] >= COMMIT_S - GROUP_S - 1e-9).all()
    assert HOP_SIZE / SAMPLE_RATE_HZ < GROUP_S


@pytest.mark.parametrize("highest", (64.0, 72.0, 81.0))
def test_there_is_room_above_for_a_melody(models: Models, highest: float) -> None:
    player = Player(models, Settings())
    player.highest = highest
    notes = player.run(30.0)
    assert notes["pitch"].max() < highest


def test_beside_somebody_busy_it_plays_less_and_softly(models: Models) -> None:
    def played(density_hz: float, settings: Settings) -> tuple[float, float]:
        player = Player(models, settings)
        player.density_hz = density_hz
        notes = player.run(40.0)
        late = notes[notes["onset_s"] > 10.0]
        return len(late) / 30.0, float(late["velocity"].mean())

    busy, _ = played(6.0, Settings())
    calm, soft = played(0.0, Settings())
    everywhere, loud = played(0.0, followed(make_room=False))
    assert busy < 0.8 * calm
    assert 0.8 * everywhere < calm <= everywhere
    assert soft < 0.95 * loud


def test_somebody_busy_and_excited_is_answered_with_energy(models: Models) -> None:
    player = Player(models, Settings())
    player.density_hz, player.highest, player.arousal = 6.0, 79.0, 0.9
    notes = player.run(40.0)
    table = np.stack([notes[name] for name in ("onset_s", "duration_s", "pitch", "velocity")], 1)
    arousal = np.nanmean(mood_of_notes(table.astype(float), 40, 1.0)[15:, 1])
    print(f"played with arousal {arousal:+.2f}")
    assert arousal > 0.3
    assert share_in_chord(notes, 16.0, 40.0) > 0.85
    assert notes["pitch"].max() < 79


def test_it_swells_and_fades_with_what_is_heard(models: Models) -> None:
    player = Player(models, Settings())

    def fade(time_s: float) -> None:
        player.level_db = -20.0 if time_s < 30.0 else -32.0

    notes = player.run(36.0, fade)
    before = notes[(notes["onset_s"] > 20.0) & (notes["onset_s"] < 30.0)]["velocity"].mean()
    after = notes[notes["onset_s"] > 32.0]["velocity"].mean()
    assert after < 0.9 * before
