"""Entries of a settings file and overrides of the command line, checked against the table of ``config``.

Every fault is found before any is reported; each is one line that says the fault and the place.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, cast

from firmware_py.settings import Settings, rules
from kelly_edge.config_rules import Value, shown
from kelly_edge.config_values import did_you_mean, read_value, refuse
from kelly_edge.contract import Listen
from kelly_edge.shared.entries import Entry
from kelly_edge.shared.printed import printed


@dataclass(frozen=True)
class Override:
    """One ``section.name=value`` of the command line.

    ``text`` is what stands behind the ``=`` (None without one), ``value`` what it is in a settings file,
    ``fault`` why it is nothing there.
    """

    path: str
    text: str | None
    value: Any
    fault: str
    place: str


def settings_from(
    entries: Sequence[Entry] = (),
    overrides: Sequence[Override] = (),
    programmes_in: Callable[[str], Sequence[str]] | None = None,
) -> Settings:
    """Settings from a file's sections, then overrides (the last one counts).

    Parameters
    ----------
    programmes_in: names of the programmes there are, given the folder of the user's own; None: not looked at.

    Raises
    ------
    ConfigError: every fault, one per line.
    """
    checker = _Checker()
    for entry in entries:
        checker.take_section(entry)
    for override in overrides:
        checker.take_override(override)
    settings = checker.settings()
    checker.check_together(settings)
    if programmes_in is not None:
        checker.check_programmes(settings, programmes_in(settings.emotion.programmes_dir))
    refuse(checker.faults)
    return settings


class _Checker:
    """Collects values and faults."""

    def __init__(self) -> None:
        self.faults: list[str] = []
        self._rules = {(section, name): (rule, default) for section, name, rule, default in rules()}
        self._values: dict[tuple[str, str], Value] = {}
        self._places: dict[str, str] = {}

    def take_section(self, entry: Entry) -> None:
        """One section of a file."""
        name = entry.key
        known = [f.name for f in fields(Settings)]
        if name not in known:
            self._fault(printed(name), f"unknown section{did_you_mean(name, known)}", entry.place)
        elif name in self._places:
            self._fault(name, f"is there twice, first in {self._places[name]}", entry.place)
        elif entry.value is None:
            self._places[name] = entry.place
        elif not isinstance(entry.value, tuple):
            self._fault(name, f"{shown(entry.value)} is not a section of settings", entry.place)
        else:
            self._places[name] = entry.place
            for setting in entry.value:
                self._take_setting(name, setting)

    def take_override(self, override: Override) -> None:
        """One ``section.name=value``."""
        path, place = override.path, override.place
        section, dot, name = path.partition(".")
        if override.text is None or not dot:
            self._fault(printed(path), "is not SECTION.NAME=VALUE", place)
        elif section not in {s for s, _ in self._rules}:
            known = [f.name for f in fields(Settings)]
            self._fault(printed(path), f"unknown section{did_you_mean(section, known)}", place)
        elif self._is_known(section, name, place):
            kind = type(self._rules[section, name][1])
            if kind is str:
                self._check(section, name, _text_of(override), place)
            elif kind is tuple and not override.text.startswith("["):
                # A list of one, or of several with commas: no shell likes brackets and quotes.
                self._check(section, name, _texts_of(override), place)
            elif override.fault:
                self._fault(path, override.fault, place)
            else:
                self._check(section, name, override.value, place)

    def settings(self) -> Settings:
        """The values that are right, defaults for the rest."""
        sections = {}
        for f in fields(Settings):
            of_section = {name: v for (section, name), v in self._values.items() if section == f.name}
            sections[f.name] = replace(cast(Any, f.default), **of_section)
        return Settings(**cast(Any, sections))

    def check_together(self, settings: Settings) -> None:
        """Limits that tie two settings."""
        voice, envelope = settings.voice, settings.envelope
        if voice.selected not in voice.names:
            known = f"{', '.join(voice.names)}{did_you_mean(voice.selected, voice.names)}"
            self._fault_of("voice.selected", "voice.names", f"{shown(voice.selected)} is not one of {known}")
        if envelope.pitch_max < envelope.pitch_min + 12:
            text = f"{envelope.pitch_max} is not an octave above pitch_min {envelope.pitch_min}"
            self._fault_of("envelope.pitch_max", "envelope.pitch_min", text)
        if envelope.tempo_max_bpm <= envelope.tempo_min_bpm:
            text = f"{envelope.tempo_max_bpm:g} is not above tempo_min_bpm {envelope.tempo_min_bpm:g}"
            self._fault_of("envelope.tempo_max_bpm", "envelope.tempo_min_bpm", text)
        if settings.midi.follow_clock and settings.midi.follow_link:
            text = "follows Link while midi.follow_clock follows MIDI clock; choose one"
            self._fault_of("midi.follow_link", "midi.follow_clock", text)
        if settings.ears.listen != Listen.MICROPHONE and not settings.midi.inputs:
            text = f"{settings.ears.listen} needs a port in midi.inputs, which is empty"
            self._fault_of("ears.listen", "midi.inputs", text)
        if settings.ears.listen == Listen.KEYBOARD and settings.runtime.models == "free":
            text = "keyboard reads the mood by weights fitted to EMOPIA, which free keeps off; listen to both"
            self._fault_of("ears.listen", "runtime.models", text)
        if conflict := settings.panel.conflict():
            given = [path for path in self._places if path.startswith("panel.")]
            self._fault_of("panel", given[-1] if given else "panel", conflict)

    def check_programmes(self, settings: Settings, known: Sequence[str]) -> None:
        """Whether the programmes named are known."""
        emotion = settings.emotion
        for path, names in (("programme", (emotion.programme,)), ("programmes", emotion.programmes)):
            for name in names:
                if name not in known:
                    text = f"{shown(name)} is not one of {', '.join(known)}{did_you_mean(name, known)}"
                    self._fault_of(f"emotion.{path}", "emotion.programmes_dir", text)

    def _take_setting(self, section: str, entry: Entry) -> None:
        path = f"{section}.{entry.key}"
        if path in self._places:
            self._fault(path, f"is there twice, first in {self._places[path]}", entry.place)
        elif self._is_known(section, entry.key, entry.place):
            self._check(section, entry.key, entry.value, entry.place)

    def _is_known(self, section: str, name: str, place: str) -> bool:
        if (section, name) in self._rules:
            return True
        names = [n for s, n in self._rules if s == section]
        self._fault(f"{section}.{printed(name)}", f"unknown setting{did_you_mean(name, names)}", place)
        return False

    def _check(self, section: str, name: str, raw: object, place: str) -> None:
        rule, default = self._rules[section, name]
        path = f"{section}.{name}"
        self._places[path] = place
        value, fault = read_value(rule, type(default), raw)
        if value is None:
            self._fault(path, fault, place)
        else:
            self._values[section, name] = value

    def _fault(self, path: str, text: str, place: str) -> None:
        self.faults.append(f"{path}: {text} ({place})")

    def _fault_of(self, path: str, other: str, text: str) -> None:
        # Where a default and a given value disagree, the given one has the place.
        self._fault(path, text, self._places.get(path) or self._places.get(other) or "built-in default")


# --- what a command line need not quote ---------------------------------------------------
def _is_quoted(override: Override) -> bool:
    return (override.text or "")[:1] in ("'", '"') and isinstance(override.value, str)


def _text_of(override: Override) -> str:
    """A text as it stands, whatever a file would take it for: 2024, ``on``, ``*`` or ``a: b``."""
    return str(override.value) if _is_quoted(override) else override.text or ""


def _texts_of(override: Override) -> list[str]:
    if not override.text or _is_quoted(override):
        return [_text_of(override)] if override.text else []
    return [part.strip() for part in override.text.split(",")]
