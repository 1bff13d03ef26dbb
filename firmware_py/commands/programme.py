"""``kelly-edge programme list|show|check``: the programmes there are, one of them, a file of one's own."""

import argparse
import json
import math
import textwrap
from dataclasses import asdict
from typing import Any, Final

from firmware_py.commands.common import settings_of
from firmware_py.devices.files.programmes import open_programme, programme_names, read_programme
from firmware_py.settings import Settings
from kelly_edge.emotion.programme import (
    HAS_TARGET,
    LEAD,
    LOUDEST_VELOCITY,
    MATCH,
    Phase,
    Programme,
)
from kelly_edge.errors import ConfigError

WIDTH: Final = 100
"""Columns of a sentence. Chosen by hand."""


def run(args: argparse.Namespace) -> int:
    """The sub-command."""
    settings = settings_of(args)
    if args.what == "list":
        programmes = [
            open_programme(name, settings) for name in programme_names(settings.emotion.programmes_dir)
        ]
    elif args.what == "show":
        programmes = [open_programme(args.name, settings)]
    else:
        programmes = [_checked(args, settings)]
    if args.json:
        print(json.dumps([as_data(programme) for programme in programmes], indent=2))
    else:
        for programme in programmes:
            print("\n".join(_line(programme) if args.what == "list" else _lines(programme)))
    return 0


def _checked(args: argparse.Namespace, settings: Settings) -> Programme:
    """The programme of a file, whose voices the settings must load."""
    programme = read_programme(args.file)
    names = settings.voice.names
    for n, phase in enumerate(programme.phases, 1):
        if phase.voice and phase.voice not in names:
            known = ", ".join(names)
            raise ConfigError(
                f"phase {n}.voice: {phase.voice} is not one of voice.names, {known}; name one of these"
            )
    return programme


def as_data(programme: Programme) -> dict[str, Any]:
    """A programme as JSON has it: what has no end or is not set is None."""
    data = asdict(programme)
    for phase in data["phases"]:
        if phase["mode"] not in HAS_TARGET:
            phase["valence"] = phase["arousal"] = None
        if not math.isfinite(phase["duration_s"]):
            phase["duration_s"] = None
        phase["rate_per_min"] = phase["rate_per_min"] or None
    return data


def _line(programme: Programme) -> list[str]:
    return textwrap.wrap(
        f"{programme.name:<18} {programme.when}", WIDTH, subsequent_indent=" " * 19, break_on_hyphens=False
    )


def _lines(programme: Programme) -> list[str]:
    texts = [
        programme.name,
        *(textwrap.fill(text, WIDTH, break_on_hyphens=False) for text in (programme.when, programme.source)),
    ]
    return [*texts, *(f"{n}. {said(phase)}" for n, phase in enumerate(programme.phases, 1))]


def said(phase: Phase) -> str:
    """A phase in a few words."""
    words = [phase.mode]
    if phase.mode in HAS_TARGET:
        word = "to" if phase.mode == LEAD else "at"
        words.append(f"{word} valence {phase.valence:+.2f}, arousal {phase.arousal:+.2f}")
    if phase.rate_per_min:
        words.append(f"by at most {phase.rate_per_min:g} per minute")
    elif math.isfinite(phase.duration_s):
        words.append(f"for {phase.duration_s:g} s" + (" of music" if phase.mode == MATCH else ""))
    if phase.voice:
        words.append(f"voice {phase.voice}")
    if phase.velocity_max != LOUDEST_VELOCITY:
        words.append(f"no note above velocity {phase.velocity_max}")
    if phase.role:
        words.append(f"role {phase.role}")
    return ", ".join(words)
