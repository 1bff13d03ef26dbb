"""All settings: the instrument's sections (``kelly_edge.config``) and the box's own.

``firmware_py.settings_check`` checks what a file or the command line gives against the table of them all.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields
from typing import Any, Final, cast

from firmware_py.doors import bind_fault, send_fault, wireless_fault
from firmware_py.panel_lines import LAST_PIN, SPI_PINS, pin_conflict, read_encoder, read_pot
from kelly_edge.config import (
    AudioSettings,
    ComposerSettings,
    EarsSettings,
    EmotionSettings,
    EnvelopeSettings,
    LimiterSettings,
    VoiceSettings,
)
from kelly_edge.config_rules import KEY, Rule, Value, name_fault, printable_fault, setting
from kelly_edge.shared.printed import printed

PIN_RANGE: Final = (-1, LAST_PIN)


def _patterns(patterns: tuple[str, ...]) -> str:
    return next((fault for p in patterns if (fault := name_fault(p))), "")


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


@dataclass(frozen=True)
class MidiSettings:
    """Where notes go."""

    outputs: tuple[str, ...] = setting(("*",), "patterns of the MIDI ports to play to", check=_patterns)
    latency_ms: float = setting(
        0.0, "latency of the instrument played; sent earlier by it", "ms", limits=(0, 500)
    )
    clock: bool = setting(False, "send MIDI clock")
    follow_clock: bool = setting(False, "MIDI clock heard at inputs is the beat, where it runs")
    follow_link: bool = setting(
        False, "the beat of an Ableton Link session is the beat, where somebody else is in it"
    )
    pass_on: bool = setting(
        False,
        "sustain pedal and pitch bend at inputs go on to outputs; notes keep off MPE members' channels",
    )
    inputs: tuple[str, ...] = setting(
        ("*",),
        "patterns of the MIDI ports keyboard, controllers and clock are heard from; [] for none",
        check=_patterns,
    )

    @property
    def follows(self) -> bool:
        """Whether a machine may say where the beats are."""
        return self.follow_clock or self.follow_link


@dataclass(frozen=True)
class PanelSettings:
    """Knobs, buttons and the lamp; lines as in ``firmware_py.panel_lines``, pins by BCM number."""

    chip: str = setting(
        "auto", "label of the GPIO chip; auto: the board's header; none: no panel", check=name_fault
    )
    encoders: tuple[str, ...] = setting(
        (
            "valence 0.04 on 17 27 22",
            "arousal 0.04 on 5 6 13",
            "density 0.04 on 23 24 25",
            "voice 1 / dry_wet 0.05 on 12 16 26",
        ),
        "rotary encoders: NAME STEP [/ NAME STEP] on A B PUSH",
        check=_lines(read_encoder),
    )
    edges_per_detent: int = setting(4, "edges of an encoder from one rest to the next", choices=(4, 2))
    pots: tuple[str, ...] = setting(
        (), "pots on an MCP3008 at SPI 0, chip select 0: NAME LOW..HIGH on CHANNEL", check=_lines(read_pot)
    )
    panic_pin: int = setting(4, "panic button; -1 for none", limits=PIN_RANGE)
    hold_pin: int = setting(
        7,
        "button: a tap holds or resumes, 1 s changes the programme, 3 s ends or begins a session",
        limits=PIN_RANGE,
    )
    red_pin: int = setting(9, "red of the lamp", limits=PIN_RANGE)
    green_pin: int = setting(10, "green of the lamp", limits=PIN_RANGE)
    blue_pin: int = setting(11, "blue of the lamp", limits=PIN_RANGE)
    common_anode: bool = setting(False, "the lamp lights where its pins are low")

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

    function: str = setting(
        "auto", "auto: MIDI 2.0 where the kernel has it, else 1.0", choices=("auto", "midi2", "midi")
    )
    ecm: bool = setting(False, "also a network over the cable")
    controller: str = setting("", "name in /sys/class/udc; empty: the first", check=printable_fault)
    only_port: bool = setting(
        False,
        "provision makes a board's one USB port (Zero 2 W) a device port, but for an OTG adapter",
    )


@dataclass(frozen=True)
class RuntimeSettings:
    """What runs the models, and where things are."""

    tflite: str = setting(
        "auto",
        "runtime of the .tflite models; auto: what `kelly-edge bench --store` found fastest",
        choices=("auto", "ai_edge_litert", "tflite_runtime"),
    )
    models: str = setting(
        "research",
        "which set: research hears and plays better, and is non-commercial; free is anybody's",
        choices=("research", "free"),
    )
    models_dir: str = setting(
        "", "folder of the models; empty: searched for", check=printable_fault, is_path=True
    )
    run_dir: str = setting(
        "", "folder of rings and cells; empty: the system's", check=printable_fault, is_path=True
    )
    state_dir: str = setting(
        "",
        "folder of session logs and learned controllers; empty: the system's",
        check=printable_fault,
        is_path=True,
    )

    @property
    def model_set(self) -> tuple[str, str]:
        """Where models are taken from, for ``artefacts.load``: the folder and the set."""
        return self.models_dir, self.models


@dataclass(frozen=True)
class SessionSettings:
    """What is kept of a session. Sound is never kept."""

    begin: str = setting(
        "itself",
        "when a session begins: itself, as soon as somebody plays; by a hand alone; at the start of the box",
        choices=("itself", "hand", "start"),
    )
    end_after_min: float = setting(
        10.0, "silence after which a session ends by itself; 0: it does not", "minutes", limits=(0, 240)
    )
    log: bool = setting(True, "write a session log")
    keep_mb: int = setting(
        200, "size of all session logs; beyond it the oldest are removed", "MB", limits=(1, 100_000)
    )
    keep_days: int = setting(90, "age beyond which session logs are removed", "days", limits=(1, 3_650))
    prometheus: str = setting(
        "",
        "file of counters for node_exporter's textfile collector; empty: none",
        check=printable_fault,
        is_path=True,
    )


@dataclass(frozen=True)
class PageSettings:
    """The page in a browser."""

    bind: str = setting(
        "",
        "where the page is shown: 127.0.0.1:PORT, cable:PORT for the USB cable; empty: nowhere",
        check=bind_fault,
    )


@dataclass(frozen=True)
class OscSettings:
    """Open Sound Control, without a PIN."""

    bind: str = setting(
        "",
        "where OSC is heard: 127.0.0.1:PORT, cable:PORT for the USB cable; empty: nowhere",
        check=bind_fault,
    )
    send_to: str = setting(
        "",
        "where OSC is sent: ADDRESS:PORT, of this machine or on the USB cable; empty: nowhere",
        check=send_fault,
    )


@dataclass(frozen=True)
class WirelessSettings:
    """RTP-MIDI, without a password."""

    bind: str = setting(
        "",
        "where RTP-MIDI is heard: ADDRESS:PORT on the instruments' network, 10.42.0.1:5004; empty: nowhere",
        check=wireless_fault,
    )
    peers: tuple[str, ...] = setting(
        (),
        "ADDRESS:PORT of instruments that are invited; others invite the box themselves",
        check=lambda texts: next((fault for text in texts if (fault := wireless_fault(text))), ""),
    )
    playout_ms: float = setting(
        10.0,
        "what comes is played so long after it was sent, so that the radio's unevenness is not heard",
        "ms",
        limits=(0, 200),
    )


@dataclass(frozen=True)
class Settings:
    """All sections."""

    audio: AudioSettings = field(default=AudioSettings())
    ears: EarsSettings = field(default=EarsSettings())
    emotion: EmotionSettings = field(default=EmotionSettings())
    composer: ComposerSettings = field(default=ComposerSettings())
    voice: VoiceSettings = field(default=VoiceSettings())
    envelope: EnvelopeSettings = field(default=EnvelopeSettings())
    limiter: LimiterSettings = field(default=LimiterSettings())
    midi: MidiSettings = field(default=MidiSettings())
    panel: PanelSettings = field(default=PanelSettings())
    gadget: GadgetSettings = field(default=GadgetSettings())
    runtime: RuntimeSettings = field(default=RuntimeSettings())
    session: SessionSettings = field(default=SessionSettings())
    page: PageSettings = field(default=PageSettings())
    osc: OscSettings = field(default=OscSettings())
    wireless: WirelessSettings = field(default=WirelessSettings())


def rules() -> Iterator[tuple[str, str, Rule, Value]]:
    """Every setting: section, name, rule, default."""
    for section in fields(Settings):
        for f in fields(cast(Any, section.default)):
            yield section.name, f.name, f.metadata[KEY], cast(Value, f.default)


def describe(settings: Settings) -> list[tuple[str, Value, str, str]]:
    """Path, value, unit and documentation with limits of every setting."""
    rows = []
    for section, name, rule, _ in rules():
        value = getattr(getattr(settings, section), name)
        rows.append((f"{section}.{name}", value, rule.unit, rule.documentation))
    return rows
