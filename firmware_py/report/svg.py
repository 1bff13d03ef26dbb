"""Pictures as inline SVG: text of the page, so that they are sharp on paper and need no library or file.

Their classes are styled by ``style.CSS``.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]
WIDTH, HEIGHT = 360.0, 210.0
"""In units of about a pixel on the page, so that letters stay readable on a telephone. Chosen: the
width of a small telephone in CSS pixels."""
LEFT, RIGHT, TOP, BOTTOM = 42.0, 18.0, 24.0, 36.0
"""Margins, in the same units. Chosen: room for the numbers of the axes."""
N_POINTS: Final = 300
"""Of a curve: one a unit, or nearly. Chosen: as many as the width between the margins."""
N_MARKS: Final = 6
"""Of an axis, at most. Chosen: their labels do not touch."""
TIME_STEPS_S: Final = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400)
"""Chosen: the round numbers of a clock."""


@dataclass(frozen=True)
class Curve:
    """A name for the legend, and values [n] over the chart's times; NaN makes a gap."""

    name: str
    values: Float64


@dataclass(frozen=True)
class Frame:
    """The parts of the session that all charts over time show: its times [n], times the programme led, and
    events."""

    time_s: Float64
    end_s: float
    led: Sequence[tuple[float, float]] = ()
    events: Sequence[tuple[float, str]] = ()


def svg(title: str, text: str, body: str, width: float = WIDTH, height: float = HEIGHT) -> str:
    """A picture with its description for screen readers."""
    return (
        f'<svg viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{escape(f"{title}. {text}")}">'
        f"<title>{escape(title)}</title><desc>{escape(text)}</desc>{body}</svg>"
    )


def binned(values: Float64, n_bins: int) -> Float64:
    """Means of ``n_bins`` equal parts along axis 0; NaN where a part holds no numbers."""
    if len(values) <= n_bins:
        return values
    edges = np.linspace(0, len(values), n_bins + 1).astype(int)
    known = np.isfinite(values)
    sums = np.add.reduceat(np.where(known, values, 0.0), edges[:-1], axis=0)
    counts = np.add.reduceat(known.astype(float), edges[:-1], axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        means: Float64 = sums / counts
        return np.where(counts > 0.0, means, np.nan)


def ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Round values between ``low`` and ``high``."""
    raw = max(high - low, 1e-9) / most
    size = 10.0 ** math.floor(math.log10(raw))
    step = next(step for step in (size, 2 * size, 5 * size, 10 * size) if step >= raw * 0.999)
    return [n * step for n in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


def time_label(seconds: float, end_s: float) -> str:
    """Minutes and seconds; hours and minutes in a session of hours."""
    whole = round(seconds)
    if end_s >= 7200.0:
        return f"{whole // 3600}:{whole // 60 % 60:02}"
    return f"{whole // 60}:{whole % 60:02}"


def over_time(frame: Frame, curves: Sequence[Curve], limits: tuple[float, float], y_title: str) -> str:
    """Axes and curves; the first is solid with dots, the second dashed with squares, the third dotted."""
    low, high = limits
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
    end_s = max(frame.end_s, 1.0)

    def x(seconds: Float64 | float) -> Float64:
        return LEFT + np.asarray(seconds) / end_s * (right - LEFT)

    def y(value: Float64 | float) -> Float64:
        return bottom - (np.clip(value, low, high) - low) / (high - low) * (bottom - TOP)

    parts = [
        f'<rect class="ld" x="{x(a):.1f}" y="{TOP:g}" width="{max(x(b) - x(a), 0.5):.1f}" '
        f'height="{bottom - TOP:g}"/>'
        for a, b in frame.led
    ]
    for value in ticks(low, high):
        parts.append(f'<path class="gr" d="M{LEFT:g} {y(value):.1f}H{right:g}"/>')
        parts.append(f'<text x="{LEFT - 4:g}" y="{y(value) + 4:.1f}" text-anchor="end">{value:g}</text>')
    parts += time_axis(end_s, bottom, right)
    parts.append(f'<text x="2" y="12">{escape(y_title)}</text>')
    for seconds, label in frame.events:
        parts.append(f'<path class="ev" d="M{x(seconds):.1f} {TOP:g}V{bottom:g}"/>')
        parts.append(
            f'<text x="{x(seconds):.1f}" y="{TOP - 2:g}" text-anchor="middle">{escape(label)}</text>'
        )
    at = x(binned(frame.time_s, N_POINTS))
    for number, curve in enumerate(curves):
        parts += drawn(number, at, y(binned(curve.values, N_POINTS)), number / max(len(curves), 1))
    return "".join(parts)


def time_axis(end_s: float, bottom: float, right: float, start_s: float = 0.0) -> Iterator[str]:
    """Ticks, their labels and the axis's title."""
    length_s = end_s - start_s
    step_s = next((s for s in TIME_STEPS_S if length_s / s <= 6.0), TIME_STEPS_S[-1])
    yield f'<path class="ax" d="M{LEFT:g} {TOP:g}V{bottom:g}H{right:g}"/>'
    for tick in range(
        math.ceil(start_s / step_s), min(math.floor(end_s / step_s), math.ceil(start_s / step_s) + 60) + 1
    ):
        x = LEFT + (tick * step_s - start_s) / length_s * (right - LEFT)
        yield f'<path class="ax" d="M{x:.1f} {bottom:g}v4"/>'
        label = time_label(tick * step_s, end_s)
        yield f'<text x="{x:.1f}" y="{bottom + 16:g}" text-anchor="middle">{label}</text>'
    unit = "hours:minutes" if end_s >= 7200.0 else "minutes:seconds"
    yield f'<text x="{(LEFT + right) / 2:g}" y="{bottom + 31:g}" text-anchor="middle">time ({unit})</text>'


def drawn(number: int, x: Float64, y: Float64, offset: float) -> Iterator[str]:
    """A curve with its marks: dots, squares or triangles."""
    known = np.isfinite(y) & np.isfinite(x)
    if not known.any():
        return
    path = []
    is_pen_down = False
    for px, py, is_known in zip(x.tolist(), y.tolist(), known.tolist(), strict=True):
        if is_known:
            path.append(f"{'L' if is_pen_down else 'M'}{px:.1f} {py:.1f}")
        is_pen_down = is_known
    yield f'<path class="c{number}" d="{"".join(path)}"/>'
    at = np.flatnonzero(known)
    for n in range(N_MARKS):
        i = at[min(len(at) - 1, int((n + 0.2 + 0.6 * offset) / N_MARKS * len(at)))]
        yield mark(number, float(x[i]), float(y[i]))


def mark(number: int, x: float, y: float, size: float = 3.2) -> str:
    """A dot, a square or a triangle."""
    if number == 0:
        return f'<circle class="m0" cx="{x:.1f}" cy="{y:.1f}" r="{size:g}"/>'
    if number == 1:
        side = f"{2 * size:g}"
        return f'<rect class="m1" x="{x - size:.1f}" y="{y - size:.1f}" width="{side}" height="{side}"/>'
    return (
        f'<path class="m2" d="M{x:.1f} {y - size - 1:.1f}l{size + 0.6:g} {2 * size:g}h{-2 * size - 1.2:g}z"/>'
    )


def legend(names: Sequence[str]) -> str:
    """The key to a chart's curves, above it: it wraps on a narrow screen."""
    items = "".join(
        f'<span class="key"><svg viewBox="0 0 34 12" aria-hidden="true"><path class="c{n}" d="M0 6H34"/>'
        f"{mark(n, 17.0, 6.0)}</svg>{escape(name)}</span>"
        for n, name in enumerate(names)
    )
    return f'<p class="keys">{items}</p>'
