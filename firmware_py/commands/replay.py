"""``kelly-edge replay``: compose a session again from its log, and say whether it is the same music.

Exit codes: 0 every note is the same, 1 some are not or the log ends early for the replay, else as everywhere.
"""

import argparse
import math
import os
from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise
from typing import Any, Final

from firmware_py.commands.common import Bar, print_summary, settings_of
from firmware_py.devices.files.config_file import read_override, setting_text
from firmware_py.devices.session.programmes import kept_programmes
from firmware_py.devices.session.reader import SessionReader
from firmware_py.devices.session.sessions import find_named
from firmware_py.devices.session.store import sessions_folder
from firmware_py.settings import Settings
from firmware_py.settings_check import settings_from
from firmware_py.wiring.about import about_session, settings_in_force
from firmware_py.wiring.composer_models import open_composer_network
from firmware_py.wiring.replay import Replay, Replayed, turns_of
from kelly_edge.errors import ConfigError, SessionError
from kelly_edge.shared.printed import printed

EXIT_OTHERWISE: Final = 1
"""Chosen: what ``check`` ends with where it found a fault."""
COMPARED: Final = ("release", "code", "model", "config", "libraries", "machine")
"""What of the header is compared with what runs here."""
DIGITS: Final = 6
"""Of the times of notes in a log. Chosen: microseconds, as ``control`` writes them."""
LONGEST_SHOWN: Final = 80
"""Characters of a header's value in a message. Chosen by hand."""
FIRST_ENTRIES: Final = 50
"""Among so many the header must stand. Chosen: it is the first, where nothing before it was damaged."""


def run(args: argparse.Namespace) -> int:
    """The sub-command."""
    here = settings_of(args)
    files = find_named(args.session, sessions_folder(os.environ, here.runtime.state_dir))
    reader = SessionReader(files)
    about = header_of(reader, str(files.parts[0]))
    settings, unknown = settings_of_log(about, here, str(files.parts[0]))
    programmes = kept_programmes(about, settings)
    about_here = about_session(settings, programmes)
    has_model = about.get("model") == about_here["model"]
    result, played = Replayed(), Played()
    with Bar("replaying"):
        replay = Replay(settings, open_composer_network(settings), has_model, programmes)
        replay.run(turns_of(played.noting(reader), result), result)
    if not result.n_turns:
        raise SessionError(f"cannot replay {printed(str(files.parts[0]), 300)}: {result.ended}")
    n_played, n_found = played.found_in(result)
    others = {
        name: f"{printed(str(about.get(name, '')), LONGEST_SHOWN)} in the log, {about_here[name]} here"
        for name in COMPARED
        if about.get(name) != about_here[name]
    }
    is_same = result.is_identical and not result.ended and n_played == n_found
    notices = [f"{name}: {text}" for name, text in others.items()] + played.changes()
    notices += [f"setting {name} of the log is unknown here" for name in unknown]
    if result.ended:
        notices.append(f"the replay ends early: {result.ended}")
    if n_damaged := reader.n_damaged + played.n_damaged:
        place = f", first {reader.first_damaged}" if reader.n_damaged else ""
        notices.append(f"{n_damaged} lines are damaged and left out{place}")
    summary = {
        "session": files.name,
        "seconds": round(result.n_turns * 256 * 16 / 48_000, 1),
        "n_turns": result.n_turns,
        "n_bars": result.n_bars,
        "n_notes": result.n_notes,
        "identical_turns": share(result.n_same_turns, result.n_turns),
        "identical_notes": share(result.n_same_notes, result.n_notes),
        "n_played": n_played,
        "n_played_found": n_found,
        "n_draws": result.n_draws,
        "n_draws_otherwise": result.n_draws_otherwise,
        "first_difference": str(result.first) if result.first else "none",
        "first_draw_otherwise": str(result.first_draw) if result.first_draw else "none",
        "why": "; ".join(notices[: len(others) + len(played.changes())])
        if not is_same or result.first_draw
        else "",
        "is_identical": is_same,
        "notices": notices,
    }
    print_summary({name: value for name, value in summary.items() if value != ""}, args.json)
    return 0 if is_same else EXIT_OTHERWISE


def share(n: int, of: int) -> float:
    """``n`` of ``of``, 1 where there is nothing; never rounded up to the whole."""
    return math.floor(n / of * 1e6) / 1e6 if of else 1.0


def header_of(reader: SessionReader, path: str) -> Mapping[str, Any]:
    """The first header of a session.

    Raises
    ------
    SessionError: it has none that a replay could use.
    """
    for n, entry in enumerate(reader):
        if entry["kind"] == "session":
            if isinstance(entry.get("settings"), dict):
                return entry
            break
        if n == FIRST_ENTRIES:
            break
    raise SessionError(
        f"cannot replay {printed(path, 300)}: its header does not say with which settings it was made "
        "(a log of before format 4, or damage)"
    )


def settings_of_log(about: Mapping[str, Any], here: Settings, path: str) -> tuple[Settings, list[str]]:
    """The settings that the log was made with, with the folders of ``here``; and those unknown by now.

    Raises
    ------
    SessionError: a setting of the log is not allowed.
    """
    known = settings_in_force(here)
    overrides, unknown = [], []
    for name, value in about["settings"].items():
        if name not in known:
            unknown.append(printed(str(name), 40))
            continue
        as_read = tuple(map(str, value)) if isinstance(value, list) else value
        overrides.append(f"{name}={setting_text(as_read)}")
    for name in ("models_dir", "state_dir"):
        overrides.append(f"runtime.{name}={setting_text(getattr(here.runtime, name))}")
    try:
        return settings_from((), [read_override(text) for text in overrides]), unknown
    except ConfigError as error:
        why = str(error).splitlines()[0]
        raise SessionError(f"cannot replay {printed(path, 300)}: of its settings {why}") from None


class Played:
    """The notes that a log says were played, and its parts' headers."""

    def __init__(self) -> None:
        self._notes: list[tuple[float, int, int, int]] = []
        self._headers: list[Mapping[str, Any]] = []
        self.n_damaged = 0

    def noting(self, entries: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """Pass ``entries`` on."""
        for entry in entries:
            if entry["kind"] == "session":
                self._headers.append(entry)
            if entry["kind"] == "note":
                try:
                    self._notes.append(
                        (
                            float(entry["onset_s"]),
                            int(entry["pitch"]),
                            int(entry["velocity"]),
                            int(entry["bar"]),
                        )
                    )
                except (KeyError, TypeError, ValueError, OverflowError):
                    self.n_damaged += 1
            yield entry

    def changes(self) -> list[str]:
        """What of ``COMPARED`` another part says otherwise than the first: its process began with that."""
        return [
            f"{name}: {printed(str(header.get(name, '')), LONGEST_SHOWN)} from part "
            f"{printed(str(header.get('part', '')), LONGEST_SHOWN)} on"
            for before, header in pairwise(self._headers)
            for name in COMPARED
            if header.get(name) != before.get(name)
        ]

    def found_in(self, result: Replayed) -> tuple[int, int]:
        """How many were played of what was composed from the replay's beginning on, and how many of them
        were composed again.

        A log that was cut short, by a power cut or now, may hold notes of turns that it does not hold: those
        after its last turn count where they are found.
        """
        made = {
            (round(float(n["onset_s"]), DIGITS), int(n["pitch"]), int(n["velocity"]), int(n["bar"]))
            for n in result.notes
        }
        notes = [note for note in self._notes if note[0] >= result.start_s]
        played = [note for note in notes if note[0] <= result.end_s or note in made]
        return len(played), sum(note in made for note in played)
