"""The music opens in what is played: in every key, after a silence in another one, and not late."""

from typing import Any

import numpy as np
import pytest

from firmware_py.board.map import memory_board
from firmware_py.devices.files.config_file import load_settings
from firmware_py.devices.offline import VirtualClock
from firmware_py.processes.composer import ComposerStage
from firmware_py.settings import Settings
from firmware_py.wiring.composer_models import new_generator
from firmware_py.wiring.offline import Models, Offline
from kelly_edge.contract import GROUP_S, HEARD_DTYPE, RUNGS, SAMPLE_RATE_HZ
from kelly_edge.music.compound_word import STEPS_PER_BEAT
from kelly_edge.music.generator import Generator
from kelly_edge.music.target import Target

BEAT_S = 0.5
CHORDS = {
    1: ((0, 4, 7), (5, 9, 12), (7, 11, 14), (0, 4, 7)),
    0: ((0, 3, 7), (5, 8, 12), (7, 11, 14), (0, 3, 7)),
}
"""Semitones above the tonic, by mode: I IV V I."""
NEAR_S = 4.0
Played = list[tuple[float, float, int]]
"""Begin and end in seconds, MIDI pitch."""


def cadences(tonic: int, mode: int, begin_s: float, seconds: float) -> Played:
    """Chords of two beats, struck on each, over their roots in the bass."""
    played: Played = []
    for beat in range(int(seconds / BEAT_S)):
        at_s = begin_s + beat * BEAT_S
        chord = CHORDS[mode][beat // 2 % 4]
        pitches = [48 + tonic + chord[0] - 12, *(60 + tonic + step for step in chord)]
        played += [(at_s, at_s + 0.95 * BEAT_S, pitch) for pitch in pitches]
    return played


def sound_of(played: Played, seconds: float) -> np.ndarray:
    """Struck strings with five harmonics: float32 at 48 kHz."""
    sound = np.zeros(round(seconds * SAMPLE_RATE_HZ))
    for begin_s, end_s, pitch in played:
        t = np.arange(round((end_s - begin_s) * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
        f0_hz = 440.0 * 2.0 ** ((pitch - 69) / 12.0)
        tone = sum(np.sin(2.0 * np.pi * n * f0_hz * t) * 0.5 ** (n - 1) for n in range(1, 6))
        fade = np.minimum(1.0, (t[-1] - t) / 0.02) * np.minimum(1.0, t / 0.003)
        start = round(begin_s * SAMPLE_RATE_HZ)
        sound[start : start + len(t)] += 0.05 * tone * fade * np.exp(-2.0 * t)
    return sound.astype(np.float32)


def share_that_fits(notes: np.ndarray, played: Played) -> float:
    """Share of the notes whose pitch class sounds in what is played within ``NEAR_S`` of them."""
    fit = []
    for note in notes:
        at_s = float(note["onset_s"])
        near = {p % 12 for begin_s, end_s, p in played if begin_s < at_s + NEAR_S and end_s > at_s - NEAR_S}
        fit.append(int(note["pitch"]) % 12 in near)
    return float(np.mean(fit))


def notes_for(settings: Settings, models: Models, played: Played, seconds: float) -> np.ndarray:
    return Offline(settings, models, sound_of(played, seconds)).run().notes


@pytest.mark.parametrize("mode", [1, 0])
@pytest.mark.parametrize("tonic", range(12))
def test_the_first_notes_are_among_those_played(
    settings: Settings, models: Models, tonic: int, mode: int
) -> None:
    played = cadences(tonic, mode, 0.2, 7.5)
    notes = notes_for(settings, models, played, 8.0)
    assert len(notes) >= 8
    assert float(notes["onset_s"][0]) < 4.0
    assert share_that_fits(notes, played) >= 0.9


def test_after_a_silence_it_opens_in_the_key_of_the_next_player(settings: Settings, models: Models) -> None:
    first, second = cadences(9, 1, 0.2, 12.0), cadences(3, 0, 22.0, 8.0)
    notes = notes_for(settings, models, first + second, 30.0)
    later = notes[notes["onset_s"] > 22.0]
    assert len(later) >= 8
    assert share_that_fits(later, second) >= 0.9


def test_two_notes_alone_are_answered_too_with_those_two(settings: Settings, models: Models) -> None:
    played = [(0.2 + 0.4 * i, 0.55 + 0.4 * i, 64 + 5 * (i % 2)) for i in range(24)]
    notes = notes_for(settings, models, played, 10.0)
    assert len(notes) >= 3
    assert share_that_fits(notes, played) >= 0.9


@pytest.mark.parametrize("rung", range(len(RUNGS)))
@pytest.mark.parametrize("tonic", range(-1, 12))
def test_no_note_of_a_bar_is_foreign_on_any_rung(models: Models, tonic: int, rung: int) -> None:
    generator = Generator(models.composer, new_generator(Settings(), models.composer)._settings, 3)
    free = Target(0.5, 0.5, tonic=tonic, mode=1 if tonic >= 0 else -1)
    for _ in range(2):
        generator.compose_bar(free)  # something to continue
    for classes in (1 << 6, 0b000010010001, 0b101010110101):
        target = Target(0.5, 0.5, tonic=tonic, mode=free.mode, classes=classes)
        for _ in range(2):
            bar = generator.compose_bar(target, rung)
            assert all(classes >> note.pitch % 12 & 1 for note in bar.notes)
            assert all(note.onset_beats < 4.0 + 1.0 / STEPS_PER_BEAT for note in bar.notes)


def test_the_longest_look_ahead_of_the_shortest_rests_may_be_taken_back(models: Models) -> None:
    overrides = ("composer.look_ahead_s=8", "midi.latency_ms=500")
    overrides += ("envelope.tempo_max_bpm=300", "envelope.tempo_min_bpm=299")
    settings, clock, board = load_settings(None, overrides), VirtualClock(), memory_board()
    stage = ComposerStage(board.ends("composer"), settings, new_generator(settings, models.composer), clock)
    heard: Any = np.zeros((), HEARD_DTYPE)
    heard["tonic"] = heard["mode"] = -1
    for group in range(240):
        heard["presence"] = float(group >= 200)
        heard["group"], heard["time_s"] = group, (group + 1) * GROUP_S
        clock.time_s = float(heard["time_s"])
        board.rings["heard"].write(heard)
        stage.step()
    assert stage.counters["n_full"] > 0
