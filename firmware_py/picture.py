"""The picture of a session: the emotion heard and aimed at, over the piano roll."""

import json
from pathlib import Path
from typing import Any

from firmware_py.devices.output import OutputFolder
from kelly_edge.errors import OutputError

RUNG_COLOURS = {"full": "#30507a", "short_context": "#6b8f3a", "continuation": "#b07020", "rest": "#999999"}
CURVES = (("valence", "#c0392b"), ("arousal", "#2471a3"))


def read_session(folder: Path) -> list[dict[str, Any]]:
    """The entries of ``folder``'s session log."""
    path = folder / "session.jsonl"
    try:
        with path.open(encoding="utf-8") as lines:
            return [json.loads(line) for line in lines]
    except (OSError, ValueError) as error:
        raise OutputError(
            f"cannot read {path} ({type(error).__name__}); give a folder written by kelly-edge play"
        ) from None


def draw_session(folder: Path) -> Path:
    """Draw ``session.png`` in ``folder``; returns its path."""
    session = read_session(folder)
    # matplotlib takes a second to import and is not on the box: only who draws needs it.
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise OutputError(
            "cannot draw session.png: matplotlib is missing; install kelly-edge[report]"
        ) from None
    figure = Figure(figsize=(11, 6), layout="constrained")
    FigureCanvasAgg(figure)
    moods, roll = figure.subplots(2, 1, sharex=True, height_ratios=(2, 3))
    emotions = [e for e in session if e["kind"] == "emotion"]
    time_s = [e["time_s"] for e in emotions]
    for name, colour in CURVES:
        moods.plot(time_s, [e[name] for e in emotions], color=colour, alpha=0.45, label=f"{name} heard")
        moods.plot(time_s, [e["target"][name] for e in emotions], color=colour, label=f"{name} aimed at")
    moods.axhline(0.0, color="#bbbbbb", linewidth=0.6)
    moods.set(ylim=(-1.05, 1.05), ylabel="valence, arousal")
    moods.legend(ncols=4, fontsize="small", frameon=False)
    for note in (e for e in session if e["kind"] == "note"):
        roll.broken_barh(
            [(note["onset_s"], note["duration_s"])],
            (note["pitch"] - 0.4, 0.8),
            color=RUNG_COLOURS[note["rung"]],
            alpha=0.3 + 0.7 * note["velocity"] / 127.0,
        )
    roll.set(ylabel="MIDI note", xlabel="time (s)")
    with OutputFolder(folder) as output:
        figure.savefig(output.path("session.png"), dpi=110)
    return folder / "session.png"
