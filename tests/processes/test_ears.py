"""A player heard by the notes of a keyboard: beat, chord, key, silence and mood on a virtual clock."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from firmware_py.board.map import memory_board
from firmware_py.devices.offline import VirtualClock
from firmware_py.processes.dsp import DspStage
from firmware_py.processes.keyboard import Keyboard
from firmware_py.settings import Settings
from firmware_py.wiring.dsp_models import new_voice
from firmware_py.wiring.offline import Models
from kelly_edge.contract import GROUP_S, HEARD_DTYPE, HOP_SIZE, HOPS_PER_EMOTION_STEP, SAMPLE_RATE_HZ, Listen
from kelly_edge.emotion.keyboard import PLAYED_S, KeyboardEar
from kelly_edge.emotion.vector import slice_of
from kelly_edge.music.presence import Silence
from kelly_edge.signal.melody import MelodyNote

Message = tuple[float, tuple[int, ...]]
BEAT_S = 0.6
I_IV_V_I = ((48, 60, 64, 67), (53, 60, 65, 69), (55, 59, 62, 67), (48, 60, 64, 67))
CHORDS = (0, 10, 14, 0)
"""C, F, G, C as ``harmony.chords`` counts them."""


def cadence(n_bars: int, pedal: bool = True, bar_beats: int = 4) -> list[Message]:
    """I IV V I, a bar each: chords on the beats; with the pedal keys are let go at once."""
    played: list[Message] = []
    for bar in range(n_bars):
        begin_s = 1.0 + bar * bar_beats * BEAT_S
        if pedal:
            # As pianists do: up with the new chord, and down again at once.
            played += [(begin_s + 0.005, (0xB0, 64, 0)), (begin_s + 0.03, (0xB0, 64, 127))]
        for beat in range(bar_beats):
            at_s = begin_s + beat * BEAT_S
            pitches = I_IV_V_I[bar % 4] if beat == 0 else I_IV_V_I[bar % 4][1:]
            lasts_s = 0.1 if pedal else 0.9 * BEAT_S
            for pitch in pitches:
                played += [(at_s, (0x90, pitch, 90 if beat == 0 else 64)), (at_s + lasts_s, (0x80, pitch, 0))]
    return sorted(played, key=lambda message: message[0])


class Player:
    """The stage of dsp with a keyboard, in a silent room, on a virtual clock."""

    def __init__(self, settings: Settings, models: Models, listen: str = Listen.KEYBOARD) -> None:
        self.board, self.clock = memory_board(), VirtualClock()
        self.keyboard = Keyboard(self.board.ends("control"), self.clock)
        voice = new_voice(settings, models.decoders)
        self.dsp = DspStage(
            self.board.ends("dsp"), models.emotion, voice, settings.audio.period, self.clock, listen=listen
        )
        self._period = settings.audio.period
        self._n = 0

    def hear(self, messages: Sequence[Message], seconds: float) -> np.ndarray:
        """HEARD_DTYPE [n], a record a hop group."""
        records, block, i = [], np.zeros(self._period, np.float32), 0
        messages = [(self._n / SAMPLE_RATE_HZ + time_s, message) for time_s, message in messages]
        for _ in range(int(seconds / GROUP_S)):
            for _ in range(HOPS_PER_EMOTION_STEP * HOP_SIZE // self._period):
                self._n += self._period
                self.clock.time_s = self._n / SAMPLE_RATE_HZ
                while i < len(messages) and messages[i][0] <= self.clock.time_s:
                    self.keyboard.hear("piano", bytes(messages[i][1]), self.clock.time_s - messages[i][0])
                    i += 1
                self.board.rings["capture"].write(block)
                self.dsp.step()
                while self.board.rings["playback"].read(block):
                    continue
                block[:] = 0.0
            records.append(self.dsp.heard.copy())
        return np.array(records, HEARD_DTYPE)


@pytest.fixture(scope="module")
def heard(settings: Settings, models: Models) -> np.ndarray:
    """Twelve bars with the pedal, then everything off."""
    end_s = 1.0 + 12 * 4 * BEAT_S
    return Player(settings, models).hear([*cadence(12), (end_s, (0xB0, 64, 0))], end_s + 6.0)


def late(heard: np.ndarray, from_s: float, to_s: float) -> np.ndarray:
    return heard[(heard["time_s"] > from_s) & (heard["time_s"] < to_s)]


def test_the_beat_of_a_metronomic_player_is_right_to_20_ms(heard: np.ndarray) -> None:
    steady = late(heard, 10.0, 29.0)
    assert (steady["beat_confidence"] > 0.5).all()
    period_s = steady["beat_s"].astype(float)
    # The octave of the tempo is the ears' choice.
    octave = np.round(np.log2(period_s / BEAT_S))
    assert np.abs(period_s / BEAT_S / 2.0**octave - 1.0).max() < 0.02
    since_s = steady["beat_phase"] * period_s
    off_s = (steady["time_s"] - since_s - 1.0 + BEAT_S / 2) % BEAT_S - BEAT_S / 2
    assert np.abs(off_s).max() < 0.02


def test_the_chord_is_known_at_once_through_the_pedal(heard: np.ndarray) -> None:
    for bar in range(4, 12):
        begin_s = 1.0 + bar * 4 * BEAT_S
        chords = late(heard, begin_s + 0.35, begin_s + 4 * BEAT_S)["chord"]
        assert (chords == CHORDS[bar % 4]).mean() > 0.9, bar
    assert tuple(late(heard, 10.0, 29.0)[-1][["tonic", "mode"]].item()) == (0, 1)


def test_silence_follows_when_the_pedal_lets_go(heard: np.ndarray) -> None:
    end_s = 1.0 + 12 * 4 * BEAT_S
    assert late(heard, 5.0, end_s)["presence"].min() > 0.9
    after = late(heard, end_s + 1.5, 1e9)
    assert after["level_db"].max() < -80.0
    assert heard[-1]["presence"] < 0.1 and heard[-1]["chord"] == -1


def test_what_the_pedal_holds_is_heard_and_what_is_released_is_not(
    settings: Settings, models: Models
) -> None:
    chord = [(0.5, (0x90, pitch, 90)) for pitch in (48, 55, 64)]
    released = [(0.7, (0x80, pitch, 0)) for pitch in (48, 55, 64)]
    held = Player(settings, models).hear([(0.4, (0xB0, 64, 127)), *chord, *released], 2.5)
    dry = Player(settings, models).hear([*chord, *released], 2.5)
    assert held[-1]["level_db"] > dry[-1]["level_db"] + 30.0


def test_a_chord_that_is_held_is_no_end(settings: Settings, models: Models) -> None:
    heard = Player(settings, models).hear([(0.5, (0x90, pitch, 90)) for pitch in (48, 55, 64)], 8.0)
    silence = Silence()
    for record in heard:
        silence.hear(float(record["level_db"]), float(record["time_s"]))
    assert not silence.is_end and heard[-1]["presence"] > 0.9


def test_all_notes_off_and_an_unplugged_keyboard_end_every_tone(settings: Settings, models: Models) -> None:
    player = Player(settings, models)
    keys = [(0.5, (0x90, pitch, 90)) for pitch in (48, 55, 64)]
    assert player.hear([*keys, (1.0, (0xB0, 123, 0))], 3.0)[-1]["level_db"] < -80.0
    assert player.hear(keys, 1.0)[-1]["level_db"] > -40.0
    player.keyboard.forget("piano")
    assert player.hear([], 2.0)[-1]["level_db"] < -80.0


def test_with_both_the_keyboard_counts_while_it_is_played(settings: Settings, models: Models) -> None:
    player = Player(settings, models, Listen.BOTH)
    assert player.hear(cadence(3), 6.0)[-1]["chord"] >= 0
    assert player.dsp.ears.source is player.dsp.ears.keyboard
    player.hear([(0.0, (0xB0, 123, 0)), (0.0, (0xB0, 64, 0))], PLAYED_S + 1.0)
    assert player.dsp.ears.source is player.dsp.extractor


def test_a_microphone_alone_hears_no_keys(settings: Settings, models: Models) -> None:
    player = Player(settings, models, Listen.MICROPHONE)
    assert player.hear(cadence(2), 4.0)["level_db"].max() < -100.0


def play_piece(ear: KeyboardEar, chords: Sequence[Sequence[int]], beat_s: float, velocity: int) -> np.ndarray:
    """The emotion vector after half a minute of ``chords``, one a beat, four times arpeggiated."""
    steps = [(beat, note) for beat in range(int(30.0 / beat_s)) for note in range(4)]
    struck: list[tuple[float, int, int]] = []
    for beat, note in steps:
        chord, at_s = chords[beat // 4 % len(chords)], (beat + note / 4) * beat_s
        struck += [
            (at_s, chord[note % len(chord)], velocity),
            (at_s + beat_s / 4.5, chord[note % len(chord)], 0),
        ]
    i = 0
    for group in range(int(30.0 / GROUP_S)):
        now_s = (group + 1) * GROUP_S
        while i < len(struck) and struck[i][0] <= now_s:
            ear.take(struck[i][1], struck[i][2], struck[i][0])
            i += 1
        ear.hear(now_s)
    return ear.emotion


def test_the_mood_of_known_music_is_read_from_its_notes() -> None:
    major, minor = ((60, 64, 67, 72), (65, 69, 72, 77)), ((45, 48, 52, 57), (50, 53, 57, 62))
    lively = play_piece(KeyboardEar(), major, 0.45, 100).copy()
    sad = play_piece(KeyboardEar(), minor, 1.6, 40).copy()
    arousal = slice_of("arousal").start
    assert lively[arousal] > 0.5 > -0.25 > sad[arousal]
    assert int(np.argmax(lively[slice_of("quadrant")])) == 0
    assert int(np.argmax(lively[slice_of("mode")])) == 1 and int(np.argmax(sad[slice_of("mode")])) == 0


@pytest.mark.parametrize("pitch", [0, 20, 21, 108, 109, 127])
def test_every_midi_note_may_be_struck(pitch: int) -> None:
    ear = KeyboardEar()
    for velocity in (1, 127):
        ear.take(pitch, velocity, 0.05)
        ear.hear(GROUP_S)
        assert np.isfinite(ear.notes).all() and np.isfinite(ear.frames).all() and ear.level_db > -90.0


def test_more_notes_than_can_ring_forget_the_oldest() -> None:
    ear, rng = KeyboardEar(), np.random.default_rng(0)
    rows: list[Any] = []
    for group in range(60):
        for _ in range(40):
            rows.append(int(rng.integers(21, 109)))
            ear.take(rows[-1], 90, group * GROUP_S)
        ear.hear((group + 1) * GROUP_S)
    assert np.isfinite(ear.frames).all() and ear.density_hz < 1.2 / GROUP_S


def test_the_melody_is_told_from_its_accompaniment() -> None:
    ear, now_s, told = KeyboardEar(), 0.0, [MelodyNote(0, 0, 0.0)]
    # The melody lasts for half a second, with a chord of the left hand twice in each note; a chord's keys
    # come one after the other, the highest in the middle.
    for n, pitch in enumerate((72, 74, 67, 76)):
        for half in range(2):
            at_s = 0.5 * n + 0.25 * half
            for order, key in enumerate((48, 52) if half else (48, pitch, 52)):
                ear.take(key, 64, at_s + 0.005 * order)
            while now_s + GROUP_S <= at_s + 0.25:
                now_s += GROUP_S
                ear.hear(now_s)
                if ear.melody.note.number != told[-1].number:
                    told.append(ear.melody.note)
            for key in (48, 52, pitch) if half else (48, 52):
                ear.take(key, 0, at_s + 0.2)
    assert [note.pitch for note in told] == [0, 72, 74, 67, 76]
    assert [note.number for note in told] == [0, 1, 2, 3, 4]
    assert all(0.0 <= note.age_s <= GROUP_S for note in told)
    ear.hear(now_s + GROUP_S)
    assert ear.melody.note.pitch == 0
