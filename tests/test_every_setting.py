"""Every numeric setting does what its line in config.yaml says, at both ends of its range and in the middle.

A row of ``ROWS`` per setting: what to observe of an instrument with it, and within which bounds. The bounds
have two sides: what is promised is not exceeded, and it is reached. A new setting needs a new row:
``"section.name": Row(observe)`` where ``observe(settings)`` gives the value that is really in force.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import mido
import numpy as np
import pytest

from firmware_py.board.map import memory_board
from firmware_py.commands.wireless import bridge_of
from firmware_py.devices.files.config_file import load_settings
from firmware_py.devices.files.output import OutputFolder, write_midi
from firmware_py.devices.offline import ListJournal, RecordingMidi, VirtualClock
from firmware_py.devices.session.log import SessionLog
from firmware_py.devices.session.store import DAY_S
from firmware_py.devices.sound import alsa
from firmware_py.devices.sound.resampled_card import ResampledCard
from firmware_py.devices.wireless import packets as rtp
from firmware_py.ports import Edge
from firmware_py.processes.composer import ComposerStage
from firmware_py.processes.control import ControlStage, initial_knobs
from firmware_py.processes.dsp import DspStage
from firmware_py.processes.midi import MidiStage
from firmware_py.processes.panel import PanelStage, panel_pins
from firmware_py.processes.sessions import SessionStage
from firmware_py.settings import Settings, rules
from firmware_py.wiring import cards
from firmware_py.wiring import panic as panic_parts
from firmware_py.wiring.composer_models import new_generator
from firmware_py.wiring.control import bounds_of
from firmware_py.wiring.dsp_models import new_voice, own_delay_s
from firmware_py.wiring.offline import Models
from firmware_py.wiring.panel import lamp_on
from kelly_edge.config_rules import Value
from kelly_edge.contract import (
    EMOTION_RATE_HZ,
    GROUP_S,
    HEARD_DTYPE,
    HOP_SIZE,
    NOTE_DTYPE,
    PROGRAMMES,
    SAMPLE_RATE_HZ,
)
from kelly_edge.emotion.own_notes import BEFORE_S, EARLY_S, OwnNotes
from kelly_edge.emotion.programme import built_in
from kelly_edge.music.draws import Draws
from kelly_edge.music.envelope import Envelope, bound_tempo
from kelly_edge.music.following import fold_tempo
from kelly_edge.music.notes import Bar, BarNote, TimedNote
from kelly_edge.music.sampling import draw
from kelly_edge.music.scheduler import COMMIT_S
from kelly_edge.signal.limiter import Limiter
from kelly_edge.signal.melody import MelodyNote
from kelly_edge.timbre.controls import Controls
from kelly_edge.units import gain_to_db

Bound = Callable[[float], float]


@dataclass(frozen=True)
class Row:
    """What is observed with a setting at a value, and its lowest and highest (the value itself if None)."""

    observe: Callable[[Settings], float]
    lowest: Bound | None = None
    highest: Bound | None = None
    values: tuple[float, ...] | None = None
    """Instead of the ends and the middle of the rule's range."""
    also: tuple[str, ...] = ()
    """Other settings, ``section.name=value``, where ``{v}`` stands for the value."""


def near(observe: Callable[[Settings], float], tolerance: float, **others: Any) -> Row:
    """A row whose observation is the value itself, give or take ``tolerance``."""
    return Row(observe, lambda v: v - tolerance, lambda v: v + tolerance, **others)


# --- a composer that hears ------------------------------------------------------------------
class PlainGenerator:
    """Bars of one note on each beat at 120 beats per minute, in no time."""

    next_bar = 0
    draws = Draws()

    def begin(self) -> None:
        self.next_bar = 0

    def rewind(self, bar_number: int) -> None:
        self.next_bar = bar_number

    def compose_bar(self, target: Any, rung: int = 0) -> Bar:
        number, self.next_bar = self.next_bar, self.next_bar + 1
        notes = tuple(BarNote(float(beat), 0.5, 60 + beat, 64) for beat in range(4)) if rung == 0 else ()
        return Bar(number, 120.0, 4, notes, rung)


class Composing:
    """The stages of composer and midi, hearing somebody who plays without any mood."""

    def __init__(self, settings: Settings) -> None:
        self.clock, self.board, self.out = VirtualClock(), memory_board(), RecordingMidi()
        generator: Any = PlainGenerator()
        self.stage = ComposerStage(
            self.board.ends("composer"), settings, generator, self.clock, tells_bars=True
        )
        self.midi = MidiStage(self.board.ends("midi"), self.out, self.clock)
        self.board.cells["knobs"].write(initial_knobs(settings))
        self.heard = np.zeros((), HEARD_DTYPE)
        self.heard["presence"] = self.heard["confidence"] = 1.0
        self.heard["tonic"] = self.heard["mode"] = -1
        self._group = 0

    def turn(self) -> dict[str, float]:
        """One hop group; the target after it."""
        self.heard["group"], self.heard["time_s"] = self._group, (self._group + 1) * GROUP_S
        self._group += 1
        self.clock.time_s = float(self.heard["time_s"])
        self.board.rings["heard"].write(self.heard)
        self.stage.step()
        record = self.stage._target_record
        return {name: float(record[name]) for name in ("valence", "arousal")}

    def hear(self, seconds: float) -> dict[str, float]:
        target = {}
        for _ in range(round(seconds * EMOTION_RATE_HZ)):
            target = self.turn()
        return target


def matched_s(settings: Settings) -> float:
    rig = Composing(settings)
    while rig.turn()["valence"] < 0.01:
        assert rig.clock.time_s < 700.0, "leading never begins"
    return rig.clock.time_s


def led_per_minute(settings: Settings) -> float:
    seconds = min(60.0, 50.0 / settings.emotion.iso_rate_per_min)
    return Composing(settings).hear(seconds)["valence"] * 60.0 / seconds


def moved_per_s(settings: Settings) -> float:
    """How fast the target goes where a programme is chosen."""
    n_groups = int(0.8 / settings.emotion.slew_per_s * EMOTION_RATE_HZ)
    rig = Composing(settings)
    rig.turn()
    knobs = initial_knobs(settings)
    knobs["programme"] = PROGRAMMES.index("hold")
    rig.board.cells["knobs"].write(knobs)
    for _ in range(n_groups):
        target = rig.turn()
    return target["valence"] / (n_groups * GROUP_S)


def after(seconds: float, name: str) -> Callable[[Settings], float]:
    return lambda settings: Composing(settings).hear(seconds)[name]


def planned_ahead_s(settings: Settings) -> float:
    rig = Composing(settings)
    rig.hear(20.0)
    ahead = []
    for _ in range(100):
        rig.turn()
        ahead.append(rig.stage._plan.end_s - rig.clock.time_s)
    return min(ahead)


def sent_early_s(settings: Settings) -> float:
    """How long before its beat a note is sent, milliseconds; infinity where one is late or lost."""
    rig = Composing(settings)
    for _ in range(200):
        rig.turn()
        while rig.clock.time_s < (rig._group + 1) * GROUP_S - 1e-9:
            rig.midi.step()
            rig.clock.time_s += GROUP_S / 16
    if rig.midi.counters["n_late"] or rig.midi.counters["n_stale"]:
        return math.inf
    bars, bar = [], np.zeros((), rig.stage._bar.dtype)
    while rig.board.rings["bars"].read(bar):
        if bar["beat"] == 0:
            bars.append(float(bar["start_s"]))
    sent = [due_s for due_s, status, pitch, _ in rig.out.messages if status & 0xF0 == 0x90 and pitch == 60]
    early = [min(line - due_s for line in bars if line > due_s - 1e-6) for due_s in sent]
    assert len(early) > 3
    return 1e3 * float(np.median(early))


def channel_of_notes(settings: Settings) -> float:
    rig, note = Composing(settings), np.zeros((), NOTE_DTYPE)
    rig.hear(6.0)
    channels = set()
    while rig.board.rings["notes"].read(note):
        channels.add(int(note["channel"]))
    (channel,) = channels
    return channel


# --- what the composing model is told -------------------------------------------------------
N_DRAWS = 20_000


def drawn(settings: Settings, logits: list[float]) -> np.ndarray:
    """How often each of the logits is drawn with the settings' sampling."""
    sampling = new_generator(settings, MODELS[0].composer)._settings
    rng, legal = np.random.default_rng(1), np.ones(len(logits), np.bool_)
    values = np.array(logits, np.float32)
    tokens = [draw(values, legal, sampling.temperature, sampling.top_p, rng) for _ in range(N_DRAWS)]
    return np.bincount(tokens, minlength=len(logits))


def temperature_of(settings: Settings) -> float:
    first, second = drawn(settings, [0.0, 0.2])
    return 0.2 / math.log(second / first)


def share_kept(settings: Settings) -> float:
    return float(np.count_nonzero(drawn(settings, [0.0] * 20))) / 20


def seed_of(settings: Settings) -> float:
    """The seed whose music this is: the settings' own, or that of another."""
    from kelly_edge.music.generator import Generator
    from kelly_edge.music.sampling import SamplingSettings
    from kelly_edge.music.target import Target

    asked = new_generator(settings, MODELS[0].composer).compose_bar(Target(0.5, 0.5))
    seed = settings.composer.seed
    for candidate in (seed, seed ^ 1):
        bar = Generator(MODELS[0].composer, SamplingSettings(), candidate).compose_bar(Target(0.5, 0.5))
        if bar == asked:
            return candidate
    return -1.0


# --- the voice --------------------------------------------------------------------------------
class Harmonics:
    """A decoder that plays the first ``n`` harmonics alike."""

    def __init__(self, n: int) -> None:
        self.n = n

    def step(self, f0_hz: float, loudness_db: float, controls: Controls) -> None:
        controls.amplitude = 0.5 if self.n else 0.0
        controls.harmonic_distribution[:] = 0.0
        controls.harmonic_distribution[: self.n] = 1.0 / max(self.n, 1)
        controls.noise_magnitudes[:] = 0.0

    def reset(self) -> None:
        pass


TONE = (0.3 * np.sin(2.0 * np.pi * 750.0 * np.arange(SAMPLE_RATE_HZ) / SAMPLE_RATE_HZ)).astype(np.float32)
"""A second; 750 Hz is 64 samples, and far from mains hum."""


def spoken(settings: Settings, n_harmonics: int) -> np.ndarray:
    """The voice's answer to ``TONE`` through the stage ``dsp``: its last half second."""
    board, clock, period = memory_board(), VirtualClock(), settings.audio.period
    voice = new_voice(settings, [Harmonics(n_harmonics)])
    board.cells["knobs"].write(initial_knobs(settings))
    stage, out, block = (
        DspStage(board.ends("dsp"), MODELS[0].emotion, voice, period, clock),
        [],
        np.zeros(period, "f4"),
    )
    for start in range(0, len(TONE) - period + 1, period):
        board.rings["capture"].write(TONE[start : start + period])
        stage.step()
        while board.rings["playback"].read(block):
            out.append(block.copy())
    return np.concatenate(out)[-SAMPLE_RATE_HZ // 2 :]


def level_at(sound: np.ndarray, frequency_hz: float) -> float:
    spectrum = np.abs(np.fft.rfft(sound * np.hanning(len(sound))))
    bin_number = round(frequency_hz * len(sound) / SAMPLE_RATE_HZ)
    return float(spectrum[bin_number - 2 : bin_number + 3].max())


def octaves_up(settings: Settings) -> float:
    sound = spoken(settings, 1)
    peak = int(np.argmax(np.abs(np.fft.rfft(sound * np.hanning(len(sound))))))
    return math.log2(peak * SAMPLE_RATE_HZ / len(sound) / 750.0)


def tilt(settings: Settings) -> float:
    """By how much of 6 dB per octave the second harmonic is lifted."""
    sound = spoken(settings, 2)
    return gain_to_db(level_at(sound, 1_500.0) / level_at(sound, 750.0)) / 6.0


def wet_share(settings: Settings) -> float:
    """One less the share of the microphone, beside a voice that is silent."""
    return 1.0 - level_at(spoken(settings, 0), 750.0) / level_at(TONE[-SAMPLE_RATE_HZ // 2 :], 750.0)


def opens_at(settings: Settings, levels: np.ndarray, by: str) -> float:
    """The lowest level, of confidence or of loudness, that the voice answers."""
    hop, out = np.zeros(HOP_SIZE, np.float32), np.zeros(HOP_SIZE, np.float32)
    for level in levels:
        voice = new_voice(settings, [Harmonics(1)])
        voice.dry_wet = 1.0
        confidence, loudness_db = (level, -10.0) if by == "confidence" else (1.0, level)
        for _ in range(10):
            voice.process(hop, out, 440.0, float(confidence), float(loudness_db))
        if np.abs(out).max() > 1e-3:
            return float(level)
    return math.inf


# --- the box's own notes ----------------------------------------------------------------------
def heard_late_ms(settings: Settings) -> float:
    """How much later than its message a note of the box is expected: the first onset taken for it."""
    for late_ms in np.arange(-200.0, 700.0):
        own = OwnNotes(own_delay_s(settings) or 0.0)
        own.is_heard = True
        own.melody(MelodyNote(0, 0, 0.0), 0.0)
        own.take(60, 64, 10.0)
        if own.melody(MelodyNote(60, 1, 0.0), 10.0 + 1e-3 * late_ms).pitch == 0:
            return float(late_ms + 1e3 * (BEFORE_S + EARLY_S))
    return math.inf


# --- the envelope -----------------------------------------------------------------------------
def admitted(settings: Settings, notes: list[TimedNote]) -> list[TimedNote]:
    envelope = Envelope(settings.envelope)
    return [note for note in map(envelope.admit, notes) if note is not None]


def loudest(settings: Settings) -> float:
    return max(n.velocity for n in admitted(settings, [TimedNote(0.5 * i, 0.1, 60, 127) for i in range(40)]))


def rise_per_s(settings: Settings) -> float:
    """Rise from velocity 1 by notes fourteen times per second, or as fast as density lets them come."""
    slew = settings.envelope.velocity_slew_per_s
    seconds = min(20.0, 90.0 / slew)
    n = max(2, round(seconds * 14.0))
    notes = [TimedNote(seconds * i / n, 0.01, 60, 127 if i else 1) for i in range(n + 1)]
    return (admitted(settings, notes)[-1].velocity - 1) / seconds


def most_in_a_second(settings: Settings) -> float:
    flood = [TimedNote(0.005 * i, 0.04, 40 + i % 40, 64) for i in range(2_000)]
    onsets = np.array([note.onset_s for note in admitted(settings, flood)])
    return max(int(np.sum((onsets > t - 1.0 + 1e-9) & (onsets <= t))) for t in onsets)


def most_together(settings: Settings) -> float:
    held = [TimedNote(0.03 * i, 9.0, 30 + i, 64) for i in range(60)]
    notes = admitted(settings, held)
    return max(sum(n.onset_s <= t.onset_s < n.onset_s + n.duration_s for n in notes) for t in notes)


def pitches(settings: Settings) -> list[int]:
    return [n.pitch for n in admitted(settings, [TimedNote(float(i), 0.1, i, 64) for i in range(128)])]


def tempo_of(settings: Settings, wanted_bpm: float) -> float:
    """The tempo that somebody's ``wanted_bpm`` becomes in the first bar."""
    limits = settings.envelope
    followed = fold_tempo(wanted_bpm, limits.tempo_min_bpm, limits.tempo_max_bpm)
    assert limits.tempo_min_bpm <= followed <= limits.tempo_max_bpm
    return bound_tempo(limits, wanted_bpm, 0.0)


# --- the limiter ------------------------------------------------------------------------------
def limited(settings: Settings, sound: np.ndarray) -> np.ndarray:
    limiter, out = Limiter(settings.limiter.ceiling_db, settings.limiter.release_ms), sound.astype("f4")
    for start in range(0, len(out) - 127, 128):
        limiter.process(out[start : start + 128])
    return out


def peak_db(settings: Settings) -> float:
    return gain_to_db(float(np.abs(limited(settings, 4.0 * np.sin(np.arange(48_000) / 10.0))).max()))


def release_ms(settings: Settings) -> float:
    """Time in which the reduction after a burst falls to one e-th."""
    sound = np.full(8 * SAMPLE_RATE_HZ, 1e-3)
    sound[:4_800] = 4.0
    reduction = 1.0 - limited(settings, sound)[4_800 + 200 :] / 1e-3
    return float(np.argmax(reduction < reduction[0] / math.e)) / SAMPLE_RATE_HZ * 1e3


# --- files, cards, pins -----------------------------------------------------------------------
def program_in_file(settings: Settings) -> float:
    with OutputFolder(FOLDER[0]) as output:
        write_midi(output, "p.mid", np.zeros(0, NOTE_DTYPE), settings.composer.program)
    (change,) = (m for m in mido.MidiFile(FOLDER[0] / "p.mid").tracks[0] if m.type == "program_change")
    return int(change.program)


class AskedCard:
    """What a card was asked for."""

    def __init__(self, card: str, period: int, n_periods: int, warn: object, rate_hz: int) -> None:
        self.period, self.n_periods, self.rate_hz = period, n_periods, rate_hz


def asked(name: str) -> Callable[[Settings], float]:
    def observe(settings: Settings) -> float:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(alsa, "AlsaCard", AskedCard)
            card: Any = cards.open_card(settings.audio, print)
        inner = card._card if isinstance(card, ResampledCard) else card
        return float(getattr(inner, name))

    return observe


class Lights:
    """The pins that a lamp lights."""

    def __init__(self) -> None:
        self.lit: list[int] = []

    def light(self, pin: int, is_on: bool) -> None:
        self.lit += [pin] * is_on


def lit(colour: int) -> Callable[[Settings], float]:
    def observe(settings: Settings) -> float:
        lights: Any = Lights()
        lamp_on(lights, settings.panel)(*(i == colour for i in range(3)))
        return float(lights.lit[0]) if lights.lit else -1.0

    return observe


class Finger:
    """Contacts on a clock, with the edges that a test gives, and the knobs behind them."""

    def __init__(self, settings: Settings) -> None:
        self.clock, self.edges = VirtualClock(1.0), list[Edge]()
        self.knobs = initial_knobs(settings)
        self.start = self.knobs.copy()
        self.is_panic = False
        self.stage = PanelStage(
            settings.panel, self, None, self, 5, lambda text: None, self.clock, lambda: None
        )

    def now_s(self) -> float:
        return self.clock.time_s

    def take(self) -> list[Edge]:
        edges, self.edges = self.edges, []
        return edges

    def turn(self, time_s: float, **values: float) -> None:
        for name, value in values.items():
            self.knobs[name] = value

    def resume(self, time_s: float) -> None:
        """There is no panic here."""

    is_session_on = False

    def begin_session(self, time_s: float) -> None:
        """Sessions are tested elsewhere."""

    def end_session(self, time_s: float) -> None:
        """Nor are they ended here."""

    def mark(self, time_s: float, text: str = "") -> None:
        """Marks are tested elsewhere."""

    def forget_place(self, time_s: float) -> None:
        """Places are tested elsewhere."""

    def step(self, *edges: Edge) -> None:
        self.edges += edges
        for _ in range(5):
            self.clock.time_s += 0.1
            self.stage.step()

    def push(self, pin: int) -> None:
        self.step(Edge(self.now_s(), pin, False))
        self.step(Edge(self.now_s(), pin, True))


def pushed(does: Callable[[Finger], bool]) -> Callable[[Settings], float]:
    """The pin of the header whose push has an effect."""

    def observe(settings: Settings) -> float:
        effective = []
        for pin in panel_pins(settings.panel):
            finger = Finger(settings)
            finger.push(pin)
            effective += [pin] * does(finger)
        return float(effective[0]) if effective else -1.0

    return observe


def ends_after_min(settings: Settings) -> float:
    """Minutes of silence after which a session ends."""
    board, clock = memory_board(), VirtualClock()
    control = ControlStage(board.ends("control"), settings, ListJournal())
    log: Any = SessionLog(None)
    programmes, voices = built_in(settings.emotion), settings.voice.names
    stage = SessionStage(board.ends("control"), settings.session, control, log, programmes, voices, clock)
    control.begin_session(0.0)
    stage.step()
    while stage.is_on:
        clock.time_s += 1.0
        stage.step()
    return clock.time_s / 60.0


def played_after_ms(settings: Settings) -> float:
    """How long after it was sent a message of a wireless instrument is played."""
    bridge, end = bridge_of(settings), ("10.42.0.7", 5004)
    for port in (5004, 5005):
        invitation = rtp.write_exchange(b"IN", 1, 2, "a piano")
        bridge.take(invitation, (end[0], port), port == 5005, 1.0)
    bridge.take(rtp.write_midi(rtp.Midi(2, 1, 0, [(0, b"\xf8")])), (end[0], 5005), True, 2.0)
    due_s = bridge.next_due_s()
    assert due_s is not None
    return 1e3 * (due_s - 2.0)


def panic_pin(settings: Settings) -> float:
    """The pin of the header that guardian opens for the panic button."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(panic_parts, "open_factory", lambda chip, folder: object())
        patch.setattr(panic_parts, "PanicButton", lambda factory, pin, warn: pin)
        pin: Any = panic_parts.open_panic_button(settings, print)
    return -1.0 if pin is None else float(pin)


def is_held(finger: Finger) -> bool:
    return int(finger.knobs["programme"]) == 2


def edges_for_a_detent(settings: Settings) -> float:
    """Edges of A and B for each step of the knob."""
    finger, n_edges = Finger(settings), 0
    levels = {17: True, 27: True}
    for _ in range(4):
        for pin in (17, 27):
            levels[pin] = not levels[pin]
            finger.edges.append(Edge(finger.now_s(), pin, levels[pin]))
            n_edges += 1
    finger.step()
    return n_edges / round(float(finger.knobs["valence"]) / 0.04)


NO_PINS = ("panel.encoders=[]", "panel.panic_pin=-1", "panel.hold_pin=-1", "panel.red_pin=-1")
NO_PINS += ("panel.green_pin=-1", "panel.blue_pin=-1")
MODELS: list[Models] = []
FOLDER: list[Any] = []
ISO = (
    "emotion.programme=iso",
    "emotion.iso_match_s=0",
    "emotion.iso_rate_per_min=2",
    "emotion.goal_valence=1",
)
HOLD = ("emotion.programme=hold",)

ROWS: dict[str, Row] = {
    "audio.sample_rate_hz": Row(asked("rate_hz")),
    "audio.period": Row(asked("period")),
    "audio.n_periods": Row(asked("n_periods"), values=(2, 3, 4)),
    "emotion.iso_match_s": near(matched_s, 1.0, also=ISO),
    "emotion.iso_rate_per_min": Row(led_per_minute, lambda v: 0.97 * v, lambda v: 1.001 * v, also=ISO),
    "emotion.slew_per_s": near(moved_per_s, 1e-3, also=("emotion.hold_valence=1",)),
    "emotion.goal_valence": near(after(40.0, "valence"), 1e-3, also=ISO),
    "emotion.goal_arousal": near(after(40.0, "arousal"), 1e-3, also=ISO),
    "emotion.hold_valence": near(after(30.0, "valence"), 1e-3, also=HOLD),
    "emotion.hold_arousal": near(after(30.0, "arousal"), 1e-3, also=HOLD),
    "composer.look_ahead_s": Row(planned_ahead_s, highest=lambda v: v + COMMIT_S + GROUP_S),
    "composer.seed": Row(seed_of),
    "composer.temperature": Row(temperature_of, lambda v: 0.75 * v, lambda v: 1.25 * v),
    "composer.top_p": near(share_kept, 0.05),
    "composer.channel": Row(channel_of_notes),
    "composer.program": Row(program_in_file),
    "voice.octave": near(octaves_up, 0.01),
    "voice.brightness": near(tilt, 0.05),
    "voice.dry_wet": near(wet_share, 0.02),
    "voice.gate_confidence": near(lambda s: opens_at(s, np.linspace(0.0, 1.0, 101), "confidence"), 0.011),
    "voice.gate_db": near(lambda s: opens_at(s, np.arange(-125.0, 6.0), "loudness"), 0.5),
    "envelope.velocity_max": Row(loudest, also=("envelope.velocity_slew_per_s=100",)),
    "envelope.velocity_slew_per_s": Row(
        rise_per_s,
        lambda v: v - max(0.05, v / 90.0),
        also=("envelope.density_max_hz=40", "envelope.velocity_max=127"),
    ),
    "envelope.density_max_hz": Row(
        most_in_a_second, lambda v: float(math.floor(v)), values=(1.0, 1.5, 14.0, 20.5, 40.0)
    ),
    "envelope.pitch_min": Row(
        lambda s: min(pitches(s)), values=(0, 57, 115), also=("envelope.pitch_max=127",)
    ),
    "envelope.pitch_max": Row(
        lambda s: max(pitches(s)), values=(12, 69, 127), also=("envelope.pitch_min=0",)
    ),
    "envelope.tempo_min_bpm": Row(
        lambda s: tempo_of(s, 5.0), values=(20, 160, 299), also=("envelope.tempo_max_bpm=300",)
    ),
    "envelope.tempo_max_bpm": Row(
        lambda s: tempo_of(s, 999.0), values=(21, 160, 300), also=("envelope.tempo_min_bpm=20",)
    ),
    "envelope.tempo_slew_bpm_per_bar": near(
        lambda s: bound_tempo(s.envelope, 999.0, 20.0) - 20.0,
        1e-9,
        values=(0.1, 150.0, 280.0),  # no tempi lie farther apart
        also=("envelope.tempo_min_bpm=20", "envelope.tempo_max_bpm=300"),
    ),
    "envelope.polyphony_max": Row(most_together, also=("envelope.density_max_hz=40",), values=(1, 16, 32)),
    "limiter.ceiling_db": Row(peak_db, lambda v: v - 0.1),
    "limiter.release_ms": Row(release_ms, lambda v: 0.95 * v - 0.1, lambda v: 1.05 * v + 0.1),
    "ears.own_delay_ms": near(heard_late_ms, 2.0),
    "midi.latency_ms": near(sent_early_s, 1e-3),
    "wireless.playout_ms": near(played_after_ms, 0.1),
    "session.end_after_min": near(ends_after_min, 0.05, values=(0.5, 10.0, 240.0)),
    "session.keep_mb": Row(lambda s: bounds_of(s.session).max_bytes / 1e6),
    "session.keep_days": Row(lambda s: bounds_of(s.session).max_age_s / DAY_S),
    "panel.edges_per_detent": Row(edges_for_a_detent),
    "panel.panic_pin": Row(panic_pin, also=NO_PINS),
    "panel.hold_pin": Row(pushed(is_held), also=NO_PINS),
    "panel.red_pin": Row(lit(0), also=NO_PINS),
    "panel.green_pin": Row(lit(1), also=NO_PINS),
    "panel.blue_pin": Row(lit(2), also=NO_PINS),
}
NUMERIC = {
    f"{section}.{name}": rule
    for section, name, rule, default in rules()
    if isinstance(default, int | float) and not isinstance(default, bool)
}


def values_of(path: str) -> tuple[Value, ...]:
    """Both ends and the middle of its range, or every choice."""
    rule = NUMERIC[path]
    if ROWS[path].values is not None:
        return ROWS[path].values  # type: ignore[return-value]
    if rule.choices:
        return rule.choices
    assert rule.limits is not None
    low, high = rule.limits
    middle: float = (low + high) / 2.0
    section, name = path.split(".")
    whole = isinstance(getattr(getattr(Settings(), section), name), int)
    return (int(low), int(middle), int(high)) if whole else (float(low), middle, float(high))


@pytest.fixture(autouse=True)
def parts(models: Models, tmp_path: Any) -> None:
    """What some rows need."""
    MODELS[:], FOLDER[:] = [models], [tmp_path]


def test_every_numeric_setting_has_its_row() -> None:
    assert ROWS.keys() == NUMERIC.keys()


@pytest.mark.parametrize(
    ("path", "value"), [(path, value) for path in ROWS if path in NUMERIC for value in values_of(path)]
)
def test_a_setting_does_what_its_line_says(path: str, value: float) -> None:
    row = ROWS[path]
    also = [override for override in row.also if not override.startswith(f"{path}=")]
    settings = load_settings(None, [*also, f"{path}={value}"])
    observed = row.observe(settings)
    lowest = value if row.lowest is None else row.lowest(value)
    highest = value if row.highest is None else row.highest(value)
    assert lowest - 1e-6 <= observed <= highest + 1e-6
