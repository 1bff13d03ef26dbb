"""``kelly-edge check``: the settings, the computed latency and where each model was found."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from firmware_py.devices.files.config_file import load_settings
from firmware_py.runtimes import artefacts
from firmware_py.settings import Settings, describe
from firmware_py.wiring.dsp_models import new_voice
from firmware_py.wiring.offline import open_models
from kelly_edge.contract import SAMPLE_RATE_HZ
from kelly_edge.errors import KellyError
from kelly_edge.latency import algorithmic_latency, card_latency, pitch_latency, rate_latency, total_samples
from kelly_edge.signal.pitch import QUICK_FROM_HZ, PitchTracker

PIPED_WIDTH = 180
"""Columns where there is no terminal to ask. Chosen: no row of the table wraps."""


def model_names(settings: Settings) -> list[str]:
    """The models the settings ask for, by the names of the training guide."""
    return ["emotion_model", "transformer_model", *(f"ddsp_{name}" for name in settings.voice.names)]


def _find_models(settings: Settings) -> tuple[list[dict[str, str]], list[str]]:
    rows, faults = [], []
    for name in model_names(settings):
        try:
            artefact = artefacts.load(name, *settings.runtime.model_set)
            rows.append({"model": name, "found in": artefact.origin, "file": str(artefact.path)})
        except KellyError as error:
            faults.append(str(error))
    return rows, faults


def check(settings_file: Path | None, overrides: Sequence[str], as_json: bool) -> int:
    """Print the settings and models that would run; 0 when every model is found and proved, 1 otherwise."""
    settings = load_settings(settings_file, overrides)
    models, faults = _find_models(settings)
    latency: list[dict[str, Any]] = []
    if not faults:
        try:
            voice = new_voice(settings, open_models(settings).decoders)
            parts = algorithmic_latency(voice.delay_samples)
            whole = (*parts, *rate_latency(settings.audio), card_latency(settings.audio))
            latency = [{"part": p.part, "samples": p.samples, "ms": round(p.ms, 2)} for p in whole]
            pitch = pitch_latency(PitchTracker.delay_samples)
            quick = pitch_latency(PitchTracker.quick_delay_samples)
            sums = (
                ("algorithmic", parts),
                ("with the card's buffer", whole),
                (f"a change of pitch, from {QUICK_FROM_HZ:.0f} Hz", quick),
                ("a change of pitch", pitch),
            )
            for name, some in sums:
                n = total_samples(some)
                latency.append({"part": name, "samples": n, "ms": round(1_000 * n / SAMPLE_RATE_HZ, 2)})
        except KellyError as error:
            faults.append(str(error))
    rows = [
        {"setting": path, "value": value, "unit": unit, "meaning": doc}
        for path, value, unit, doc in describe(settings)
    ]
    if as_json:
        found = {"settings": {r["setting"]: r["value"] for r in rows}, "models": models}
        print(json.dumps({**found, "latency": latency, "faults": faults}, indent=2, default=list))
    else:
        console = Console()
        if not console.is_terminal:
            console.width = PIPED_WIDTH
        for title, table_rows in (("Settings", rows), ("Models", models), ("Latency of the voice", latency)):
            _print_table(console, title, table_rows)
        for fault in faults:
            console.print(f"fault: {fault}", markup=False, highlight=False)
    return 1 if faults else 0


def _print_table(console: Console, title: str, rows: Sequence[dict[str, Any]]) -> None:
    if not rows:
        return
    table = Table(title=title, title_justify="left", show_lines=False)
    for name in rows[0]:
        table.add_column(name, overflow="fold")
    for row in rows:
        # Text, for a setting's meaning may hold what rich would take for markup.
        table.add_row(*(Text(str(value)) for value in row.values()))
    console.print(table)


def run(args: argparse.Namespace) -> int:
    """The sub-command."""
    return check(args.settings_file, args.set, args.json)
