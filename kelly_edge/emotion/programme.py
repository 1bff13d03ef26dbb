"""A programme: phases of music therapy as data, and what an entry of its file may be.

    match   follow the emotion heard; seconds of music count, silence does not
    lead    go from where she is to a target, in a time (``duration_s``) or at a rate (``rate_per_min``)
    hold    stay at a target
    rest    be silent and listen

``mirror``, ``iso`` and ``hold`` are programmes too, made of the settings of section ``emotion``.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from kelly_edge.config import PROGRAMME_NAME, UNIT_RANGE, EmotionSettings
from kelly_edge.config_rules import Rule, Value, shown
from kelly_edge.config_values import did_you_mean, read_value, refuse
from kelly_edge.contract import PROGRAMMES, ROLES
from kelly_edge.shared.entries import Entry
from kelly_edge.shared.printed import printed

MATCH, LEAD, HOLD, REST = "match", "lead", "hold", "rest"
LOUDEST_VELOCITY: Final = 127
"""The highest velocity there is, by MIDI 1.0."""
NAME: Final = re.compile(PROGRAMME_NAME)
"""Names of programmes, and of their files without ``.yaml``."""
MAX_PHASES: Final = 20
"""Chosen by hand: more than any programme of the literature has."""


@dataclass(frozen=True)
class Phase:
    """A phase of a programme; see the module's text for ``mode``."""

    mode: str
    valence: float = 0.0
    arousal: float = 0.0
    duration_s: float = math.inf
    """Infinite for one that lasts until another programme is chosen; and where ``rate_per_min`` says it."""
    rate_per_min: float = 0.0
    """Of ``lead``: how fast valence and arousal go. 0: the rate follows from where she is when it begins."""
    voice: str = ""
    """The voice to change to; empty: the one there is."""
    velocity_max: int = LOUDEST_VELOCITY
    """No note is louder."""
    role: str = ""
    """What the box does beside the player, one of ``contract.ROLES``; empty: as the settings say."""


@dataclass(frozen=True)
class Programme:
    """A plan of therapy."""

    name: str
    when: str
    """A sentence that says when to use it."""
    source: str
    """Where the literature describes it."""
    phases: tuple[Phase, ...]
    interrupts: bool = False
    """Whether the programme before it goes on afterwards from where it stood, as ``hold``'s does."""


def built_in(settings: EmotionSettings) -> tuple[Programme, ...]:
    """The programmes of ``contract.BuiltIn``, in its order, as the settings say."""
    goal = (settings.goal_valence, settings.goal_arousal)
    iso = (
        Phase(MATCH, duration_s=settings.iso_match_s),
        Phase(LEAD, *goal, rate_per_min=settings.iso_rate_per_min),
    )
    hold = Phase(HOLD, settings.hold_valence, settings.hold_arousal)
    return (
        Programme(
            "mirror",
            "Somebody shall feel heard: the music follows their mood and goes nowhere else.",
            "Reflecting, a technique of empathy: Bruscia 1987, Improvisational Models of Music Therapy.",
            (Phase(MATCH),),
        ),
        Programme(
            "iso",
            "The mood heard shall be met and then led to the goal of the settings, at their rate.",
            "Iso principle: Heiderscheit & Madson 2015, Music Therapy Perspectives 33(1):45-52; "
            "Starcke et al. 2021, IJERPH 18(23):12486.",
            iso,
        ),
        Programme(
            "hold",
            "The emotion of the settings shall stay for a while; the programme before it waits.",
            "Holding, a technique of emotional exploration: Bruscia 1987, Improvisational Models of Music "
            "Therapy.",
            (hold,),
            interrupts=True,
        ),
    )


# --- the file ---------------------------------------------------------------------------------
def _text(text: str) -> str:
    return "is empty" if not text.strip() else "" if text.isprintable() else "holds a control character"


def _name(name: str) -> str:
    if not NAME.fullmatch(name):
        return f"{shown(name)} is not a name of up to 40 small letters, digits, - and _"
    return f"{name} is a name of the box's own" if name in PROGRAMMES else ""


TEXTS: Final[Mapping[str, Rule]] = {
    "name": Rule("the programme's name, that of its file", check=_name),
    "when": Rule("a sentence that says when to use it", check=_text),
    "source": Rule("where the literature describes it", check=_text),
}
"""The fields of a programme beside its phases; each must be there."""
FIELDS: Final[Mapping[str, tuple[type, Rule]]] = {
    "mode": (str, Rule("what the music does", choices=(MATCH, LEAD, HOLD, REST))),
    "valence": (float, Rule("target", limits=UNIT_RANGE)),
    "arousal": (float, Rule("target", limits=UNIT_RANGE)),
    "duration_s": (float, Rule("how long it lasts; match: seconds of music", "s", limits=(1, 14_400))),
    "rate_per_min": (float, Rule("lead: fastest change", "per minute", limits=(0.01, 2))),
    "voice": (str, Rule("voice to change to, one of voice.names", check=_text)),
    "velocity_max": (int, Rule("no note is louder", "MIDI velocity", limits=(1, LOUDEST_VELOCITY))),
    "role": (str, Rule("what the box does beside the player", choices=ROLES)),
}
"""The fields of a phase: type and rule."""
HAS_TARGET: Final = (LEAD, HOLD)


def programme_from(entries: Sequence[Entry], stem: str, place: str) -> Programme:
    """A programme of a file's entries.

    Parameters
    ----------
    stem: name of its file without ``.yaml``. place: the file, for faults that no line has.

    Raises
    ------
    ConfigError: every fault, one a line.
    """
    reader = _Reader(place)
    given = reader.take(entries, [*TEXTS, "phases"], "")
    texts = {name: reader.value(given, name, str, rule) for name, rule in TEXTS.items()}
    for name in [*TEXTS, "phases"]:
        if name not in given:
            reader.fault(name, "is missing; write it", place)
    if texts["name"] not in (None, stem):
        reader.fault("name", f"{texts['name']} is not the file's name, {shown(stem)}", given["name"].place)
    phases = reader.phases(given["phases"]) if "phases" in given else []
    refuse(reader.faults)
    return Programme(stem, str(texts["when"]), str(texts["source"]), tuple(phases))


class _Reader:
    """Collects faults."""

    def __init__(self, place: str) -> None:
        self.faults: list[str] = []
        self._place = place

    def fault(self, path: str, text: str, place: str) -> None:
        """One line more."""
        self.faults.append(f"{path}: {text} ({place})")

    def take(self, entries: Sequence[Entry], known: Sequence[str], path: str) -> dict[str, Entry]:
        """The known entries by name, each once."""
        given: dict[str, Entry] = {}
        for entry in entries:
            if entry.key not in known:
                name = f"{path}{printed(entry.key)}"
                self.fault(name, f"unknown entry{did_you_mean(entry.key, known)}", entry.place)
            elif entry.key in given:
                self.fault(
                    f"{path}{entry.key}", f"is there twice, first in {given[entry.key].place}", entry.place
                )
            else:
                given[entry.key] = entry
        return given

    def value(
        self, given: Mapping[str, Entry], name: str, kind: type, rule: Rule, path: str = ""
    ) -> Value | None:
        """The value of an entry; None where it is absent or has a fault."""
        if name not in given:
            return None
        value, fault = read_value(rule, kind, given[name].value)
        if value is None:
            self.fault(f"{path}{name}", fault, given[name].place)
        return value

    def phases(self, entry: Entry) -> list[Phase]:
        """The phases, as far as they have no fault."""
        if not isinstance(entry.value, list) or not 1 <= len(entry.value) <= MAX_PHASES:
            self.fault("phases", f"is not a list of 1..{MAX_PHASES} phases", entry.place)
            return []
        phases = []
        for n, item in enumerate(entry.value, 1):
            # An item has no place of its own: it begins where its first entry stands.
            place = item[0].place if isinstance(item, tuple) and item else entry.place
            if not isinstance(item, tuple) or not item:
                self.fault(f"phase {n}", f"{shown(item)} is not a phase, entries of key: value", place)
            elif phase := self._phase(item, f"phase {n}.", place, n == len(entry.value)):
                phases.append(phase)
        return phases

    def _phase(self, item: Sequence[Entry], path: str, place: str, is_last: bool) -> Phase | None:
        n_before = len(self.faults)
        given = self.take(item, list(FIELDS), path)
        values: dict[str, Any] = {
            name: self.value(given, name, kind, rule, path) for name, (kind, rule) in FIELDS.items()
        }
        mode = values["mode"]
        if "mode" not in given:
            self.fault(f"{path}mode", f"is missing; write one of {FIELDS['mode'][1].allowed}", place)
        if mode is not None:
            self._check_together(mode, given, path, place, is_last)
        if len(self.faults) > n_before:
            return None
        return Phase(**{name: value for name, value in values.items() if value is not None})

    def _check_together(
        self, mode: str, given: Mapping[str, Entry], path: str, place: str, is_last: bool
    ) -> None:
        """What a phase of ``mode`` must have, and must not."""
        for name in ("valence", "arousal"):
            if mode in HAS_TARGET and name not in given:
                self.fault(f"{path}{name}", f"is missing; {mode} needs a target", place)
            elif mode not in HAS_TARGET and name in given:
                self.fault(f"{path}{name}", f"{mode} has no target; leave it out", given[name].place)
        has_duration, has_rate = "duration_s" in given, "rate_per_min" in given
        if mode != LEAD and has_rate:
            self.fault(
                f"{path}rate_per_min", f"{mode} has no rate; leave it out", given["rate_per_min"].place
            )
        if mode == LEAD and has_duration == has_rate:
            what = "both are" if has_rate else "neither is"
            self.fault(f"{path}duration_s, rate_per_min", f"{what} there; lead needs one of them", place)
        if mode != LEAD and not (has_duration or is_last):
            self.fault(f"{path}duration_s", "is missing; only the last phase may go on without end", place)
