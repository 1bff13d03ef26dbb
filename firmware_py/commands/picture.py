"""The picture of a session: the emotion heard and aimed at, over the piano roll."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from firmware_py.devices.files.output import OutputFolder
from firmware_py.devices.session.reader import PLAYED, find_session
from firmware_py.report import Written
from firmware_py.report.course import Course, read_course, remark_on
from kelly_edge.contract import Rung
from kelly_edge.errors import OutputError

RUNG_COLOURS: Final = {
    Rung.FULL: "#30507a",
    Rung.SHORT_CONTEXT: "#6b8f3a",
    Rung.CONTINUATION: "#b07020",
    Rung.REST: "#999999",
}
CURVES: Final = (("valence", "#c0392b"), ("arousal", "#2471a3"))


def draw_session(session: Path, folder: Path | None = None) -> Written:
    """Draw a session of ``play`` or a live one (see ``find_session``).

    Parameters
    ----------
    folder: where to write ``session.png`` (of ``play``) or ``SESSION.png``. None: beside the log that
        ``play`` wrote; for a live session, the current folder.

    Raises
    ------
    SessionError: there is no session.
    OutputError: the picture cannot be written or drawn.
    """
    files = find_session(session)
    course, reader = read_course(files)
    log = files.parts[0]
    if folder is None:
        folder = log.parent if log.name == PLAYED else Path()
    name = f"{files.name}.png"
    figure = _figure(course)
    with OutputFolder(folder, [name], files.parts) as output:
        figure.savefig(output.path(name), dpi=110)
    return Written(folder / name, remark_on(course, reader, files))


def can_draw() -> bool:
    """Whether matplotlib is there: it is neither on the box nor in a plain installation."""
    return find_spec("matplotlib") is not None


def _figure(course: Course) -> Any:
    if not can_draw():
        raise OutputError("cannot draw a session: matplotlib is missing; install kelly-edge[report]")
    # It takes a second to import: only the command that draws does so.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.collections import PolyCollection
    from matplotlib.colors import to_rgba
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 6), layout="constrained")
    FigureCanvasAgg(figure)
    moods, roll = figure.subplots(2, 1, sharex=True, height_ratios=(2, 3))
    emotions = course.rows("emotions")
    if len(emotions):
        # The last state holds to the end.
        emotions = np.vstack([emotions, [max(course.end_s, emotions[-1, 0]), *emotions[-1, 1:]]])
    for column, (name, colour) in enumerate(CURVES, 1):
        for offset, what, alpha in ((0, "heard", 0.45), (len(CURVES), "aimed at", 1.0)):
            # A live log holds changes alone: each value stands until the next.
            moods.plot(
                emotions[:, 0],
                emotions[:, column + offset],
                color=colour,
                alpha=alpha,
                label=f"{name} {what}",
                drawstyle="steps-post",
            )
    moods.axhline(0.0, color="#bbbbbb", linewidth=0.6)
    moods.set(ylim=(-1.05, 1.05), ylabel="valence, arousal")
    moods.legend(ncols=4, fontsize="small", frameon=False)
    notes = course.rows("notes")
    colours = np.array([to_rgba(colour) for colour in RUNG_COLOURS.values()])[notes[:, 4].astype(int)]
    colours[:, 3] = 0.3 + 0.7 * notes[:, 3] / 127.0
    roll.add_collection(PolyCollection(list(_boxes(notes)), facecolors=colours))
    roll.autoscale_view()
    roll.set(ylabel="MIDI note", xlabel="time (s)")
    return figure


def _boxes(notes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Corners of each note's box in the piano roll: [n, 4, 2], seconds and MIDI note."""
    left, right = notes[:, 0], notes[:, 0] + notes[:, 1]
    low, high = notes[:, 2] - 0.4, notes[:, 2] + 0.4
    corners = ((left, low), (right, low), (right, high), (left, high))
    return np.stack([np.stack(corner, axis=1) for corner in corners], axis=1)
