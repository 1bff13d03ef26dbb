"""The picture of a session: the emotion heard and aimed at, over the piano roll."""

import json
from array import array
from pathlib import Path
from typing import Any, Final

import numpy as np

from firmware_py.devices.output import OutputFolder
from kelly_edge.errors import OutputError
from kelly_edge_text.printed import printed

RUNG_COLOURS = {"full": "#30507a", "short_context": "#6b8f3a", "continuation": "#b07020", "rest": "#999999"}
CURVES = (("valence", "#c0392b"), ("arousal", "#2471a3"))
NAME: Final = "session.jsonl"
LONGEST_LINE: Final = 100_000


def refuse_without_matplotlib() -> None:
    """Raises OutputError where nothing can be drawn; matplotlib is not on the box."""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise OutputError(
            "cannot draw session.png: matplotlib is missing; install kelly-edge[report]"
        ) from None


class Session:
    """What a picture needs of a session log: numbers alone, so that a long one takes little memory.

    ``emotions``: time, then valence and arousal heard and aimed at. ``notes``: onset, duration, pitch,
    velocity, and the number of the rung. float64 [n, 5] each.
    """

    def __init__(self) -> None:
        self._emotions, self._notes = array("d"), array("d")

    @property
    def emotions(self) -> np.ndarray[Any, np.dtype[np.float64]]:
        """See above."""
        return np.frombuffer(self._emotions).reshape(-1, 5)

    @property
    def notes(self) -> np.ndarray[Any, np.dtype[np.float64]]:
        """See above."""
        return np.frombuffer(self._notes).reshape(-1, 5)

    def take(self, entry: Any) -> None:
        """An entry of the log. Raises KeyError, TypeError or ValueError where it is none."""
        kind = entry["kind"]
        if kind == "emotion":
            heard = [float(entry[name]) for name, _ in CURVES]
            aimed = [float(entry["target"][name]) for name, _ in CURVES]
            self._emotions.extend([float(entry["time_s"]), *heard, *aimed])
        elif kind == "note":
            numbers = [float(entry[name]) for name in ("onset_s", "duration_s", "pitch", "velocity")]
            self._notes.extend([*numbers, float(list(RUNG_COLOURS).index(entry["rung"]))])


def read_session(folder: Path) -> Session:
    """``folder``'s session log."""
    path, session = folder / NAME, Session()
    number = 0
    try:
        with path.open(encoding="utf-8") as lines:
            while line := lines.readline(LONGEST_LINE):
                number += 1
                session.take(json.loads(line))
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "not UTF-8 text"
        raise OutputError(
            f"cannot read {printed(str(path), 300)} ({why}); give a folder written by kelly-edge play"
        ) from None
    except (KeyError, TypeError, ValueError, IndexError, OverflowError, RecursionError):
        raise OutputError(
            f"{printed(str(path), 300)} line {number} is not an entry of a session log; "
            "give a folder written by kelly-edge play"
        ) from None
    return session


def draw_session(folder: Path) -> Path:
    """Draw ``session.png`` in ``folder``; returns its path."""
    refuse_without_matplotlib()
    session = read_session(folder)
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.collections import PolyCollection
    from matplotlib.colors import to_rgba
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 6), layout="constrained")
    FigureCanvasAgg(figure)
    moods, roll = figure.subplots(2, 1, sharex=True, height_ratios=(2, 3))
    emotions, notes = session.emotions, session.notes
    for i, (name, colour) in enumerate(CURVES):
        moods.plot(emotions[:, 0], emotions[:, 1 + i], color=colour, alpha=0.45, label=f"{name} heard")
        moods.plot(emotions[:, 0], emotions[:, 3 + i], color=colour, label=f"{name} aimed at")
    moods.axhline(0.0, color="#bbbbbb", linewidth=0.6)
    moods.set(ylim=(-1.05, 1.05), ylabel="valence, arousal")
    moods.legend(ncols=4, fontsize="small", frameon=False)
    if len(notes):
        onset, end, low, high = notes[:, 0], notes[:, 0] + notes[:, 1], notes[:, 2] - 0.4, notes[:, 2] + 0.4
        corners = np.stack([onset, low, onset, high, end, high, end, low], 1).reshape(-1, 4, 2)
        rgb = np.array([to_rgba(colour) for colour in RUNG_COLOURS.values()])[notes[:, 4].astype(int)]
        rgb[:, 3] = np.clip(0.3 + 0.7 * notes[:, 3] / 127.0, 0.0, 1.0)
        # One collection for all: an artist each would take kilobytes a note.
        roll.add_collection(PolyCollection(corners, facecolors=rgb, edgecolors=rgb), autolim=True)
        roll.autoscale_view()
    roll.set(ylabel="MIDI note", xlabel="time (s)")
    with OutputFolder(folder, ["session.png"], [folder / NAME]) as output:
        figure.savefig(output.path("session.png"), dpi=110)
    return folder / "session.png"
