"""The settings of the instrument: typed, frozen, a dataclass a section.

Each field carries its unit, its limits or choices and a line of documentation; the reader, the report
of ``kelly-edge check`` and ``config.yaml`` all follow from that table. ``kelly_edge.config_check`` checks
what a file or the command line gives against it.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields
from typing import Any, Final, cast

from kelly_edge.contract import PERIOD_SIZES, PROGRAMMES, SAMPLE_RATE_HZ
from kelly_edge.panel import LAST_PIN, SPI_PINS, pin_conflict, read_encoder, read_pot
from kelly_edge.shared.printed import printed

Value = bool | int | float | str | tuple[str, ...]
_KEY: Final = "setting"


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else f"{value:g}"


def shown(value: object) -> str:
    """A value as a message names it."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return printed(value) if value.strip() else repr(value)
    if isinstance(value, list | tuple):
        return "a list" if isinstance(value, list) else "a section"
    if isinstance(value, int) and abs(value) >= 10**30:
        return "a number of more than 30 digits"
    return printed(str(value))


@dataclass(frozen=True)
class Rule:
    """What a setting may be. ``check`` returns a fault's text, or nothing."""

    doc: str
    unit: str = ""
    limits: tuple[float, float] | None = None
    choices: tuple[Value, ...] = ()
    check: Callable[[Any], str] | None = None
    is_path: bool = False

    @property
    def allowed(self) -> str:
        """Limits or choices as text: ``0..600 s``, ``64, 128, 256``, or nothing."""
        if self.choices:
            return ", ".join(shown(choice) for choice in self.choices)
        if self.limits:
            low, high = map(_number, self.limits)
            return f"{low}..{high} {self.unit}".rstrip()
        return ""

    @property
    def documentation(self) -> str:
        """The meaning, then in brackets the limits or choices and the unit."""
        unit = "" if self.unit and self.allowed.endswith(self.unit) else self.unit
        bounds = f"{self.allowed} {unit}".strip()
        return f"{self.doc} ({bounds})" if bounds else self.doc


def _setting(
    default: Value,
    doc: str,
    unit: str = "",
    *,
    limits: tuple[float, float] | None = None,
    choices: tuple[Value, ...] = (),
    check: Callable[[Any], str] | None = None,
    is_path: bool = False,
) -> Any:
    # Any, as dataclasses.field is: each field's annotation says its type, and a test compares the two.
    return field(default=default, metadata={_KEY: Rule(doc, unit, limits, choices, check, is_path)})


def _printable(text: str) -> str:
    return "" if text.isprintable() else "holds a control character"


def _card(name: str) -> str:
    return "is empty" if not name.strip() else _printable(name)


def _patterns(patterns: tuple[str, ...]) -> str:
    return next((fault for p in patterns if (fault := _card(p))), "")


def _identifiers(names: tuple[str, ...]) -> str:
    if not 1 <= len(names) <= 127:
        return "must hold 1..127 names"
    odd = [n for n in names if not (n.isascii() and n.isidentifier())]
    if odd:
        return f"holds {shown(odd[0])}, which is not a name of letters, digits and _"
    return "holds a name twice" if len(set(names)) < len(names) else ""


def _lines(read: Callable[[str], object]) -> Callable[[tuple[str, ...]], str]:
    """A check of texts that ``read`` takes, or raises ValueError with the fault."""

    def check(texts: tuple[str, ...]) -> str:
        for text in texts:
            try:
                read(printed(text, 120))
            except ValueError as error:
                return f"holds a line whose {error}"
        return ""

    return check


UNIT_RANGE: Final = (-1.0, 1.0)
PIN_RANGE: Final = (-1, LAST_PIN)


@dataclass(frozen=True)
class AudioSettings:
    """The sound card."""

    card: str = _setting("default", "ALSA name of the sound card, or portaudio:NAME", check=_card)
    sample_rate_hz: int = _setting(
        SAMPLE_RATE_HZ, "rate of the card; resampled to 48000 inside", "Hz", choices=(48_000, 44_100)
    )
    period: int = _setting(128, "frames the card hands over at a time", "frames", choices=PERIOD_SIZES)
    n_periods: int = _setting(3, "periods in the card's buffer", "periods", limits=(2, 4))


@dataclass(frozen=True)
class EmotionSettings:
    """From the emotion heard to the emotion played."""

    programme: str = _setting("mirror", "how the target follows the listener", choices=PROGRAMMES)
    iso_match_s: float = _setting(60.0, "iso: music matched before leading begins", "s", limits=(0, 600))
    iso_rate_per_min: float = _setting(0.25, "iso: fastest change in leading", "per minute", limits=(0.01, 2))
    goal_valence: float = _setting(0.6, "iso: valence led to", limits=UNIT_RANGE)
    goal_arousal: float = _setting(0.2, "iso: arousal led to", limits=UNIT_RANGE)
    slew_per_s: float = _setting(
        0.5, "fastest change of the target, but for a hand on a knob", "per second", limits=(0.05, 2)
    )
    hold_valence: float = _setting(0.4, "hold: valence", limits=UNIT_RANGE)
    hold_arousal: float = _setting(-0.2, "hold: arousal", limits=UNIT_RANGE)
    learn_place: bool = _setting(True, "learn over minutes how far this place shifts arousal")


@dataclass(frozen=True)
class ComposerSettings:
    """The composing model."""

    look_ahead_s: float = _setting(2.0, "how far ahead notes are composed", "s", limits=(0.5, 8))
    seed: int = _setting(0, "same seed, same input: same music", limits=(0, 2**32 - 1))
    temperature: float = _setting(1.0, "below 1 safer, above 1 more surprising", limits=(0.1, 2))
    top_p: float = _setting(1.0, "most of the probability kept when drawing", limits=(0.05, 1))
    key_lock: bool = _setting(True, "stay in the key heard")
    follow_tempo: bool = _setting(True, "follow the tempo heard")
    follow_harmony: bool = _setting(True, "play in the chords heard")
    make_room: bool = _setting(True, "leave room for what is played: thinner, softer, under a melody")
    channel: int = _setting(0, "MIDI channel, counted from 0", limits=(0, 15))
    program: int = _setting(0, "General MIDI program of performance.mid, counted from 0", limits=(0, 127))


@dataclass(frozen=True)
class VoiceSettings:
    """The voice that answers."""

    names: tuple[str, ...] = _setting(
        ("flute", "saxophone", "cello", "soft_piano", "pad"),
        "voices to load, each a model ddsp_NAME",
        check=_identifiers,
    )
    selected: str = _setting("flute", "the voice heard at start, one of names", check=_printable)
    octave: int = _setting(0, "shift of the voice", "octaves", limits=(-2, 2))
    brightness: float = _setting(0.0, "darker below 0, brighter above", limits=UNIT_RANGE)
    dry_wet: float = _setting(1.0, "0 the microphone alone, 1 the voice alone", limits=(0, 1))
    gate_confidence: float = _setting(0.5, "pitch confidence below which the voice is silent", limits=(0, 1))
    gate_db: float = _setting(-60.0, "loudness below which the voice is silent", "dB", limits=(-120, 0))


@dataclass(frozen=True)
class EnvelopeSettings:
    """The safety envelope: bounds of every note, independent of the model."""

    velocity_max: int = _setting(100, "loudest note", "MIDI velocity", limits=(1, 127))
    velocity_slew_per_s: float = _setting(40.0, "fastest rise of velocity", "per second", limits=(1, 1_000))
    density_max_hz: float = _setting(14.0, "most notes in any second", "notes/s", limits=(1, 40))
    pitch_min: int = _setting(28, "lowest note", "MIDI note", limits=(0, 127))
    pitch_max: int = _setting(96, "highest note, at least 12 above pitch_min", "MIDI note", limits=(0, 127))
    tempo_min_bpm: float = _setting(40.0, "slowest tempo", "bpm", limits=(20, 300))
    tempo_max_bpm: float = _setting(160.0, "fastest tempo, above tempo_min_bpm", "bpm", limits=(20, 300))
    tempo_slew_bpm_per_bar: float = _setting(12.0, "fastest change of tempo", "bpm/bar", limits=(0.1, 300))
    polyphony_max: int = _setting(12, "most notes that sound together", "notes", limits=(1, 32))


@dataclass(frozen=True)
class LimiterSettings:
    """The safety limiter of the sound."""

    ceiling_db: float = _setting(-1.0, "highest sample that leaves the box", "dBFS", limits=(-60, -1))
    release_ms: float = _setting(100.0, "time the gain takes to come back", "ms", limits=(5, 2_000))


@dataclass(frozen=True)
class MidiSettings:
    """Where notes go."""

    outputs: tuple[str, ...] = _setting(("*",), "patterns of the MIDI ports to play to", check=_patterns)
    latency_ms: float = _setting(
        0.0, "latency of the instrument played; sent earlier by it", "ms", limits=(0, 500)
    )
    clock: bool = _setting(False, "send MIDI clock")
    inputs: tuple[str, ...] = _setting(
        ("*",), "patterns of the MIDI ports controllers are heard from; [] for none", check=_patterns
    )


@dataclass(frozen=True)
class PanelSettings:
    """Knobs, buttons and the lamp; lines as in ``kelly_edge.panel``, pins by BCM number."""

    chip: str = _setting(
        "auto", "label of the GPIO chip; auto: the board's header; none: no panel", check=_card
    )
    encoders: tuple[str, ...] = _setting(
        (
            "valence 0.04 on 17 27 22",
            "arousal 0.04 on 5 6 13",
            "density 0.04 on 23 24 25",
            "voice 1 / dry_wet 0.05 on 12 16 26",
        ),
        "rotary encoders: NAME STEP [/ NAME STEP] on A B PUSH",
        check=_lines(read_encoder),
    )
    edges_per_detent: int = _setting(4, "edges of an encoder from one rest to the next", choices=(4, 2))
    pots: tuple[str, ...] = _setting(
        (), "pots on an MCP3008 at SPI 0, chip select 0: NAME LOW..HIGH on CHANNEL", check=_lines(read_pot)
    )
    panic_pin: int = _setting(4, "panic button; -1 for none", limits=PIN_RANGE)
    hold_pin: int = _setting(
        7, "button: a tap holds or resumes, 1 s changes the programme, 3 s begins a session", limits=PIN_RANGE
    )
    red_pin: int = _setting(9, "red of the lamp", limits=PIN_RANGE)
    green_pin: int = _setting(10, "green of the lamp", limits=PIN_RANGE)
    blue_pin: int = _setting(11, "blue of the lamp", limits=PIN_RANGE)
    common_anode: bool = _setting(False, "the lamp lights where its pins are low")

    def conflict(self) -> str:
        """The fault of a pin used twice, or nothing."""
        pins = [("panic_pin", self.panic_pin), ("hold_pin", self.hold_pin)]
        pins += [(f"{c}_pin", getattr(self, f"{c}_pin")) for c in ("red", "green", "blue")]
        for text in self.encoders:
            line = read_encoder(text)
            name = f"the encoder of {line.pages[0].name}"
            pins += [(name, line.a), (name, line.b), (name, line.push)]
        return pin_conflict(pins + [("the pots' converter", pin) for pin in SPI_PINS if self.pots])


@dataclass(frozen=True)
class GadgetSettings:
    """The box as a USB instrument of a computer."""

    function: str = _setting(
        "auto", "auto: MIDI 2.0 where the kernel has it, else 1.0", choices=("auto", "midi2", "midi")
    )
    ecm: bool = _setting(False, "also a network over the cable")
    controller: str = _setting("", "name in /sys/class/udc; empty: the first", check=_printable)
    only_port: bool = _setting(
        False,
        "provision makes a board's one USB port (Zero 2 W) a device port, but for an OTG adapter",
    )


@dataclass(frozen=True)
class RuntimeSettings:
    """What runs the models, and where things are."""

    tflite: str = _setting(
        "auto",
        "runtime of the .tflite models; auto: what `kelly-edge bench --store` found fastest",
        choices=("auto", "ai_edge_litert", "tflite_runtime"),
    )
    models_dir: str = _setting(
        "", "folder of the models; empty: searched for", check=_printable, is_path=True
    )
    run_dir: str = _setting(
        "", "folder of rings and cells; empty: the system's", check=_printable, is_path=True
    )
    state_dir: str = _setting(
        "",
        "folder of session logs and learned controllers; empty: the system's",
        check=_printable,
        is_path=True,
    )


@dataclass(frozen=True)
class SessionSettings:
    """What is kept of a session. Sound is never kept."""

    log: bool = _setting(True, "write a session log")
    keep_mb: int = _setting(
        200, "size of all session logs; beyond it the oldest are removed", "MB", limits=(1, 100_000)
    )
    keep_days: int = _setting(90, "age beyond which session logs are removed", "days", limits=(1, 3_650))
    prometheus: str = _setting(
        "",
        "file of counters for node_exporter's textfile collector; empty: none",
        check=_printable,
        is_path=True,
    )


@dataclass(frozen=True)
class Settings:
    """All sections."""

    audio: AudioSettings = AudioSettings()
    emotion: EmotionSettings = EmotionSettings()
    composer: ComposerSettings = ComposerSettings()
    voice: VoiceSettings = VoiceSettings()
    envelope: EnvelopeSettings = EnvelopeSettings()
    limiter: LimiterSettings = LimiterSettings()
    midi: MidiSettings = MidiSettings()
    panel: PanelSettings = PanelSettings()
    gadget: GadgetSettings = GadgetSettings()
    runtime: RuntimeSettings = RuntimeSettings()
    session: SessionSettings = SessionSettings()


def rules() -> Iterator[tuple[str, str, Rule, Value]]:
    """Every setting: section, name, rule, default."""
    for section in fields(Settings):
        for f in fields(cast(Any, section.default)):
            yield section.name, f.name, f.metadata[_KEY], cast(Value, f.default)


def describe(settings: Settings) -> list[tuple[str, Value, str, str]]:
    """Path, value, unit and documentation with limits of every setting."""
    rows = []
    for section, name, rule, _ in rules():
        value = getattr(getattr(settings, section), name)
        rows.append((f"{section}.{name}", value, rule.unit, rule.documentation))
    return rows
