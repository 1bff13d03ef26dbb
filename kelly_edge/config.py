"""The settings of the instrument, a dataclass a section.

Each field carries its unit, its limits or choices and a line of documentation (``config_rules``); the reader,
the report of ``kelly-edge check`` and ``config.yaml`` all follow from that table. The box adds its own
sections, and reads and checks all of them (``firmware_py.settings``, ``settings_check``).
"""

import re
from dataclasses import dataclass
from typing import Final

from kelly_edge.config_rules import name_fault, printable_fault, setting, shown
from kelly_edge.contract import LISTEN, PERIOD_SIZES, ROLES, SAMPLE_RATE_HZ, BuiltIn

OWN_NOTES: Final = ("discount", "ignore")
UNIT_RANGE: Final = (-1.0, 1.0)
"""Limits of valence, arousal and knobs, by definition."""


def _identifiers(names: tuple[str, ...]) -> str:
    if not 1 <= len(names) <= 127:
        return "must hold 1..127 names"
    odd = [n for n in names if not (n.isascii() and n.isidentifier())]
    if odd:
        return f"holds {shown(odd[0])}, which is not a name of letters, digits and _"
    return "holds a name twice" if len(set(names)) < len(names) else ""


def _programme(name: str) -> str:
    return "" if re.fullmatch(PROGRAMME_NAME, name) else f"{shown(name)} is no name of a programme"


def _programmes(names: tuple[str, ...]) -> str:
    if not 1 <= len(names) <= MAX_PROGRAMMES:
        return f"must hold 1..{MAX_PROGRAMMES} names"
    if faults := [fault for name in names if (fault := _programme(name))]:
        return faults[0]
    if BuiltIn.HOLD.name.lower() in names:
        return "holds hold, which a tap of the hold button chooses"
    return "holds a name twice" if len(set(names)) < len(names) else ""


SHIPPED_PROGRAMMES: Final = (
    "calm-in-15",
    "lift-in-10",
    "wake-gently",
    "vent-and-settle",
    "listen-first",
    "steady-ground",
)
"""The programmes that come with the box as files, besides those of ``contract.BuiltIn``."""
PROGRAMME_NAME: Final = "[a-z][a-z0-9_-]{0,39}"
MAX_PROGRAMMES: Final = 100
"""Chosen by hand: more than anybody chooses among; the knob has room for 127."""


@dataclass(frozen=True)
class AudioSettings:
    """The sound card."""

    card: str = setting("default", "ALSA name of the sound card, or portaudio:NAME", check=name_fault)
    sample_rate_hz: int = setting(
        SAMPLE_RATE_HZ, "rate of the card; resampled to 48000 inside", "Hz", choices=(48_000, 44_100)
    )
    period: int = setting(128, "frames the card hands over at a time", "frames", choices=PERIOD_SIZES)
    n_periods: int = setting(3, "periods in the card's buffer", "periods", limits=(2, 4))


@dataclass(frozen=True)
class EarsSettings:
    """How the player is heard."""

    listen: str = setting(
        "microphone",
        "what the player is heard by; a keyboard is any port of midi.inputs that sends notes",
        choices=LISTEN,
    )
    own_notes: str = setting(
        OWN_NOTES[0], "whether what the box plays is taken off what the microphone hears", choices=OWN_NOTES
    )
    own_delay_ms: float = setting(
        20.0,
        "from when an instrument sounds until the microphone hears it; a metre of air is 3",
        "ms",
        limits=(0.0, 500.0),
    )


@dataclass(frozen=True)
class EmotionSettings:
    """From the emotion heard to the emotion played."""

    programme: str = setting(
        "mirror", "the programme at start, one of `kelly-edge programme list`", check=_programme
    )
    programmes: tuple[str, ...] = setting(
        ("mirror", "iso", *SHIPPED_PROGRAMMES),
        "programmes that panel, controllers and `session start` choose among, in this order",
        check=_programmes,
    )
    programmes_dir: str = setting(
        "", "folder of programmes of your own, NAME.yaml; empty: none", check=printable_fault, is_path=True
    )
    iso_match_s: float = setting(60.0, "iso: music matched before leading begins", "s", limits=(0, 600))
    iso_rate_per_min: float = setting(0.25, "iso: fastest change in leading", "per minute", limits=(0.01, 2))
    goal_valence: float = setting(0.6, "iso: valence led to", limits=UNIT_RANGE)
    goal_arousal: float = setting(0.2, "iso: arousal led to", limits=UNIT_RANGE)
    slew_per_s: float = setting(
        0.5, "fastest change of the target, but for a hand on a knob", "per second", limits=(0.05, 2)
    )
    hold_valence: float = setting(0.4, "hold: valence", limits=UNIT_RANGE)
    hold_arousal: float = setting(-0.2, "hold: arousal", limits=UNIT_RANGE)
    learn_place: bool = setting(True, "learn over minutes how far this place shifts arousal")


@dataclass(frozen=True)
class ComposerSettings:
    """The composing model."""

    look_ahead_s: float = setting(2.0, "how far ahead notes are composed", "s", limits=(0.5, 8))
    seed: int = setting(0, "same seed, same input: same music", limits=(0, 2**32 - 1))
    temperature: float = setting(1.0, "below 1 safer, above 1 more surprising", limits=(0.1, 2))
    top_p: float = setting(1.0, "most of the probability kept when drawing", limits=(0.05, 1))
    key_lock: bool = setting(True, "stay in the key heard")
    follow_tempo: bool = setting(True, "follow the tempo heard")
    follow_harmony: bool = setting(True, "play in the chords heard")
    make_room: bool = setting(True, "leave room for what is played: thinner, softer, under a melody")
    role: str = setting("accompany", "what the box does beside the player", choices=ROLES)
    channel: int = setting(0, "MIDI channel, counted from 0", limits=(0, 15))
    program: int = setting(0, "General MIDI program of performance.mid, counted from 0", limits=(0, 127))


@dataclass(frozen=True)
class VoiceSettings:
    """The voice that answers."""

    names: tuple[str, ...] = setting(
        ("flute", "saxophone", "cello", "soft_piano", "pad"),
        "voices to load, each a model ddsp_NAME",
        check=_identifiers,
    )
    selected: str = setting("flute", "the voice heard at start, one of names", check=printable_fault)
    octave: int = setting(0, "shift of the voice", "octaves", limits=(-2, 2))
    brightness: float = setting(0.0, "darker below 0, brighter above", limits=UNIT_RANGE)
    dry_wet: float = setting(1.0, "0 the microphone alone, 1 the voice alone", limits=(0, 1))
    gate_confidence: float = setting(0.5, "pitch confidence below which the voice is silent", limits=(0, 1))
    gate_db: float = setting(-60.0, "loudness below which the voice is silent", "dB", limits=(-120, 0))


@dataclass(frozen=True)
class EnvelopeSettings:
    """The safety envelope: bounds of every note, independent of the model."""

    velocity_max: int = setting(100, "loudest note", "MIDI velocity", limits=(1, 127))
    velocity_slew_per_s: float = setting(40.0, "fastest rise of velocity", "per second", limits=(1, 1_000))
    density_max_hz: float = setting(14.0, "most notes in any second", "notes/s", limits=(1, 40))
    pitch_min: int = setting(28, "lowest note", "MIDI note", limits=(0, 127))
    pitch_max: int = setting(96, "highest note, at least 12 above pitch_min", "MIDI note", limits=(0, 127))
    tempo_min_bpm: float = setting(40.0, "slowest tempo", "bpm", limits=(20, 300))
    tempo_max_bpm: float = setting(160.0, "fastest tempo, above tempo_min_bpm", "bpm", limits=(20, 300))
    tempo_slew_bpm_per_bar: float = setting(12.0, "fastest change of tempo", "bpm/bar", limits=(0.1, 300))
    polyphony_max: int = setting(12, "most notes that sound together", "notes", limits=(1, 32))


@dataclass(frozen=True)
class LimiterSettings:
    """The safety limiter of the sound."""

    ceiling_db: float = setting(-1.0, "highest sample that leaves the box", "dBFS", limits=(-60, -1))
    release_ms: float = setting(100.0, "time the gain takes to come back", "ms", limits=(5, 2_000))
