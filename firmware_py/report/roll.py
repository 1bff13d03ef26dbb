"""The piano roll: the box's notes, the player's register among them, and the pitch classes heard below."""

from html import escape
from typing import Final

import numpy as np
from numpy.typing import NDArray

from firmware_py.report.charts import figure
from firmware_py.report.course import SOUND_COLUMNS, Course
from firmware_py.report.parties import Parties
from firmware_py.report.svg import LEFT, RIGHT, TOP, WIDTH, binned, drawn, svg, time_axis
from firmware_py.report.words import clock
from kelly_edge.contract import N_PITCH_CLASSES
from kelly_edge.units import PITCH_CLASS_NAMES

Float64 = NDArray[np.float64]
# Lengths of a panel, and most panels. Chosen: a quarter of an hour shows every note.
PANELS_S: Final = (30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 14400.0, 86400.0)
MOST_PANELS: Final = 13
CELL: Final = 0.5
"""Units of the picture that a note takes at least. Chosen by hand."""
N_LEVELS: Final = 3
"""Of loudness. Chosen: more greys cannot be told apart in print."""
ROW: Final = 3.0
"""Height of a semitone. Chosen by hand."""
# Columns of pitch classes in a panel, and height of a row. Chosen: 5 units wide, one letter high.
N_CHROMA_COLUMNS: Final = 60
CHROMA_ROW: Final = 6.0
CHROMA_LEVELS: Final = (0.1, 0.2, 0.35)
"""Shares from which a pitch class is drawn, and darker. Chosen: a twelfth is the share of each if all
sound alike."""


def rolls(parties: Parties, course: Course) -> str:
    """Panels of equal length, each wide enough to see notes."""
    length_s = next(
        (s for s in PANELS_S if parties.end_s / s <= MOST_PANELS - 1), parties.end_s / (MOST_PANELS - 1)
    )
    length_s = min(length_s, max(parties.end_s, 1.0))
    notes, sounds = parties.notes, course.rows("sounds")
    sounds[:, 0] -= parties.start_s
    pitches = np.concatenate([notes[:, 2], parties.player.register[np.isfinite(parties.player.register)]])
    low, high = (int(v) for v in np.percentile(pitches, (0.1, 99.9))) if len(pitches) else (48, 72)
    low, high = min(low - 2, 58), max(high + 2, 62)
    html = ""
    for n in range(int(np.ceil(parties.end_s / length_s - 1e-6))):
        from_s = n * length_s
        to_s = from_s + length_s
        title = f"{clock(from_s)} to {clock(min(to_s, parties.end_s))}"
        here = notes[(notes[:, 0] < to_s) & (notes[:, 0] + notes[:, 1] > from_s)]
        heard = sounds[(sounds[:, 0] >= from_s) & (sounds[:, 0] < to_s)]
        text = f"{len(here)} notes of the box; the player's mean pitch dashed, their pitch classes below."
        picture = _panel(parties, here, heard, (from_s, to_s), (low, high))
        html += figure(title, (), svg(f"Piano roll, {title}", text, *picture), text)
    return html


def _panel(
    parties: Parties, notes: Float64, sounds: Float64, times: tuple[float, float], pitches: tuple[int, int]
) -> tuple[str, float, float]:
    """Body, width and height of one panel."""
    (from_s, to_s), (low, high) = times, pitches
    right, bottom = WIDTH - RIGHT, TOP + ROW * (high - low)
    per_s = (right - LEFT) / (to_s - from_s)
    parts = ['<text x="2" y="12">MIDI note</text>']
    for c in range(-(-low // 12) * 12, high, 12):
        y = bottom - ROW * (c - low)
        parts.append(f'<path class="gr" d="M{LEFT:g} {y:g}H{right:g}"/>')
        parts.append(f'<text x="{LEFT - 4:g}" y="{y + 4:g}" text-anchor="end">{c} C{c // 12 - 1}</text>')
    for level, path in enumerate(_note_paths(notes, times, pitches, per_s)):
        if path:
            parts.append(f'<path class="n{level}" stroke-width="{ROW - 0.4:g}" d="{path}"/>')
    here = (parties.time_s >= from_s) & (parties.time_s < to_s)
    register = binned(parties.player.register[here], 150)
    at = LEFT + (binned(parties.time_s[here], 150) - from_s) * per_s
    parts += drawn(1, at, bottom - ROW * (np.clip(register, low, high) - low), 0.0)
    if len(sounds):
        top = bottom + 6.0
        parts += _chroma(sounds, times, top, right)
        bottom = top + CHROMA_ROW * N_PITCH_CLASSES
    parts += time_axis(to_s, bottom, right, from_s)
    return "".join(parts), WIDTH, bottom + 36.0


def _note_paths(
    notes: Float64, times: tuple[float, float], pitches: tuple[int, int], per_s: float
) -> list[str]:
    """A path of strokes for soft, middling and loud notes.

    Notes that would overlap in the picture are one stroke, so that no session makes a page too large to open.
    """
    (from_s, to_s), (low, high) = times, pitches
    n_cells = int(np.ceil((to_s - from_s) * per_s / CELL))
    grid = np.zeros((high - low + 1, n_cells + 1), np.int8)
    begin = np.clip(((notes[:, 0] - from_s) * per_s / CELL).astype(int), 0, n_cells - 1)
    end = np.clip(((notes[:, 0] + notes[:, 1] - from_s) * per_s / CELL).astype(int), begin + 1, n_cells)
    level = np.digitize(notes[:, 3], (50.0, 80.0)) + 1
    row = np.clip(notes[:, 2].astype(int), low, high) - low
    for r, a, b, how in zip(row.tolist(), begin.tolist(), end.tolist(), level.tolist(), strict=True):
        # A note struck again shows where the one before ended.
        grid[r, a:b] = how
        if a > 0 and b - a > 1:
            grid[r, a - 1] = 0
    paths = []
    for how in range(1, N_LEVELS + 1):
        is_on = np.zeros((grid.shape[0], n_cells + 2), bool)
        is_on[:, 1:-1] = grid[:, :-1] == how
        rows, edges = np.nonzero(is_on[:, 1:] != is_on[:, :-1])
        strokes = zip(rows[::2].tolist(), edges[::2].tolist(), edges[1::2].tolist(), strict=True)
        paths.append(
            "".join(
                f"M{LEFT + CELL * a:g} {TOP + ROW * (high - low - r):g}h{CELL * (b - a):g}"
                for r, a, b in strokes
            )
        )
    return paths


def _chroma(sounds: Float64, times: tuple[float, float], top: float, right: float) -> list[str]:
    """The pitch classes heard: twelve rows, C lowest, darker where more of one sounds."""
    from_s, to_s = times
    n = min(N_CHROMA_COLUMNS, max(1, int(to_s - from_s)))
    at = np.clip(((sounds[:, 0] - from_s) / (to_s - from_s) * n).astype(int), 0, n - 1)
    chroma = sounds[:, len(SOUND_COLUMNS) - N_PITCH_CLASSES :] / 100.0
    sums = np.stack([np.bincount(at, chroma[:, c], n) for c in range(N_PITCH_CLASSES)], 1)
    shares = sums / np.maximum(np.bincount(at, minlength=n), 1)[:, None]
    width = (right - LEFT) / n
    parts = [
        f'<text x="{LEFT - 4:g}" y="{top + CHROMA_ROW * (N_PITCH_CLASSES - c) + 1:g}" text-anchor="end">'
        f"{escape(PITCH_CLASS_NAMES[c])}</text>"
        for c in (0, 4, 7)
    ]
    levels = np.digitize(shares, CHROMA_LEVELS)
    for level in range(1, len(CHROMA_LEVELS) + 1):
        cells = "".join(
            f"M{LEFT + width * i:.1f} {top + CHROMA_ROW * (N_PITCH_CLASSES - 1 - c):g}"
            f"h{width:.1f}v{CHROMA_ROW - 1:g}h{-width:.1f}z"
            for i, c in zip(*(axis.tolist() for axis in np.nonzero(levels == level)), strict=True)
        )
        if cells:
            parts.append(f'<path class="pc" fill-opacity="{(0.25, 0.55, 1.0)[level - 1]}" d="{cells}"/>')
    return parts
