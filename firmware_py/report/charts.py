"""The report's charts, each with its legend, its sentence and its numbers as a table."""

from collections.abc import Sequence
from html import escape
from typing import Final

import numpy as np
from numpy.typing import NDArray

from firmware_py.report.parties import Parties
from firmware_py.report.svg import Curve, Frame, binned, legend, mark, over_time, svg
from firmware_py.report.together import CLEAR_R, MEASURES, SAME_TIME_S, Measure, Together
from firmware_py.report.words import clock

Float64 = NDArray[np.float64]
N_ROWS: Final = 12
"""Of the table under a chart. Chosen: a screen of a telephone."""
N_PATH: Final = 16
"""Points of a path through the circumplex. Chosen: arrows stay apart."""
MOOD: Final = ("heard", "asked", "played")


def figure(title: str, keys: Sequence[str], picture: str, caption: str, below: str = "") -> str:
    """A chart as the page shows it."""
    return (
        f"<figure><h3>{escape(title)}</h3>{legend(keys) if keys else ''}{picture}"
        f"<figcaption>{escape(caption)}</figcaption>{below}</figure>"
    )


def as_table(frame: Frame, curves: Sequence[Curve], digits: int = 2) -> str:
    """The curves' means over a dozen equal parts of the session."""
    times = binned(frame.time_s, N_ROWS)
    columns = [binned(curve.values, N_ROWS) for curve in curves]
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in ("time", *(c.name for c in curves)))
    rows = "".join(
        f'<tr><th scope="row">{clock(time_s)}</th>'
        + "".join(f"<td>{'–' if not np.isfinite(v) else f'{v:.{digits}f}'}</td>" for v in values)
        + "</tr>"
        for time_s, *values in zip(times.tolist(), *(c.tolist() for c in columns), strict=True)
    )
    return f"<details><summary>As numbers</summary><table><tr>{head}</tr>{rows}</table></details>"


def mood_charts(frame: Frame, parties: Parties, played: Float64) -> str:
    """Valence and arousal heard, asked and played over time."""
    html = ""
    for column, (name, ends) in enumerate(
        (("Valence", "−1 unpleasant to 1 pleasant"), ("Arousal", "−1 calm to 1 excited"))
    ):
        curves = [
            Curve(what, values[:, column])
            for what, values in zip(MOOD, (_heard(parties), parties.asked, played), strict=True)
        ]
        text = f"{name} heard in the playing, asked of the box, and played by the box, over time."
        body = over_time(frame, curves, (-1.0, 1.0), f"{name.lower()}, {ends}")
        html += figure(name, MOOD, svg(name, text, body), text, as_table(frame, curves))
    return html


def _heard(parties: Parties) -> Float64:
    return np.where(parties.is_playing[:, None], parties.heard, np.nan)


def circumplex(parties: Parties, played: Float64) -> str:
    """The way through valence and arousal, from a ring to a large mark."""
    size, low, high = 330.0, 40.0, 320.0

    def place(values: Float64) -> Float64:
        return low + (values + 1.0) / 2.0 * (high - low)

    middle = (low + high) / 2.0
    parts = [
        f'<rect class="ax" x="{low:g}" y="10" width="{high - low:g}" height="{high - low:g}"/>',
        f'<path class="gr" d="M{middle:g} 10v{high - low:g}M{low:g} {middle - 30:g}h{high - low:g}"/>',
        f'<text x="{middle:g}" y="{high + 2:g}" text-anchor="middle">valence: −1 unpleasant to 1 pleasant'
        "</text>",
        f'<text transform="translate(14 {middle - 30:g}) rotate(-90)" text-anchor="middle">'
        "arousal: −1 calm to 1 excited</text>",
    ]
    for x, y, anchor, word in (
        (low + 6, 26, "start", "tense"), (high - 6, 26, "end", "happy"), (low + 6, high - 38, "start", "sad"),
        (high - 6, high - 38, "end", "calm"),
    ):  # fmt: skip
        parts.append(f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}">{word}</text>')
    for number, values in enumerate((_heard(parties), parties.asked, played)):
        path = binned(values, N_PATH)
        path = path[np.isfinite(path).all(1)]
        if not len(path):
            continue
        xs, ys = place(path[:, 0]), place(-path[:, 1]) - 30.0
        line = "L".join(f"{x:.1f} {y:.1f}" for x, y in zip(xs.tolist(), ys.tolist(), strict=True))
        parts.append(f'<path class="c{number}" d="M{line}"/>')
        parts.append(f'<circle class="c{number}" cx="{xs[0]:.1f}" cy="{ys[0]:.1f}" r="6"/>')
        parts.append(mark(number, float(xs[-1]), float(ys[-1]), 6.0))
    text = "The way through valence and arousal: it begins at the ring and ends at the large mark."
    return figure("Circumplex", MOOD, svg("Circumplex", text, "".join(parts), size, size), text)


def said(measure: Measure, t: Together) -> str:
    """How the two move together in a measure, for its caption."""
    if not np.isfinite(t.r):
        return "Too little of both is known to compare them."
    if not t.is_clear:
        if t.r < CLEAR_R:
            return f"No clear relation (r = {t.r:.2f} at best)."
        return f"They moved alike (r = {t.r:.2f}), but so slowly or so seldom that it may be chance."
    if abs(t.lag_s) < SAME_TIME_S:
        return f"They move together (r = {t.r:.2f}), at the same time."
    first = "the box first" if t.lag_s > 0.0 else "the player first"
    return f"They move together (r = {t.r:.2f}), {first}, by {abs(t.lag_s):.0f} s."


def interaction_charts(frame: Frame, parties: Parties, alike: dict[str, Together]) -> str:
    """Player and box in each measure."""
    html = ""
    for measure in MEASURES:
        values = [getattr(party, measure.name) for party in (parties.player, parties.box)]
        if measure.name == "level_db":
            # A microphone's level and a velocity have no common zero.
            values = [v - np.nanmedian(v) if np.isfinite(v).any() else v for v in values]
        curves = [Curve(name, v) for name, v in zip(("player", "box"), values, strict=True)]
        body = over_time(frame, curves, _limits(values, measure.step), measure.unit)
        caption = said(measure, alike[measure.name])
        html += figure(
            measure.title, ("player", "box"), svg(measure.title, f"{measure.unit}. {caption}", body), caption,
            as_table(frame, curves),
        )  # fmt: skip
    return html


def _limits(values: Sequence[Float64], step: float) -> tuple[float, float]:
    known = np.concatenate([v[np.isfinite(v)] for v in values])
    if not len(known):
        return 0.0, 1.0
    low, high = np.percentile(known, (0.5, 99.5))
    margin = max(0.05 * (high - low), step / 2.0)
    return float(low - margin), float(high + margin)


def interaction_table(alike: dict[str, Together]) -> str:
    """All measures in the words of the Improvisation Assessment Profiles."""
    rows = ""
    for measure in MEASURES:
        t = alike[measure.name]
        spread = [f"{v:.2g}" if np.isfinite(v) else "–" for v in t.variability]
        r = f"{t.r:.2f}" if np.isfinite(t.r) else "–"
        first = "–"
        if t.is_clear:
            first = "together" if abs(t.lag_s) < SAME_TIME_S else ("box" if t.lag_s > 0.0 else "player")
            first += "" if first == "together" else f", by {abs(t.lag_s):.0f} s"
        cells = "".join(f"<td>{escape(cell)}</td>" for cell in (*spread, r, first))
        rows += f'<tr><th scope="row">{escape(measure.title)}</th>{cells}</tr>'
    head = "".join(
        f'<th scope="col">{name}</th>'
        for name in ("", "variability, player", "variability, box", "integration (r)", "who goes first")
    )
    return f'<table class="whole"><tr>{head}</tr>{rows}</table>'
