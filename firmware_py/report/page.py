"""The report as one page of HTML: no script, no font, no request; everything from the log is escaped."""

from collections.abc import Iterable, Sequence
from html import escape
from typing import Final

import numpy as np
from numpy.typing import NDArray

from firmware_py.report.charts import circumplex, interaction_charts, interaction_table, mood_charts
from firmware_py.report.course import Course
from firmware_py.report.happenings import Event, Happenings
from firmware_py.report.parties import meet
from firmware_py.report.played_mood import played_mood
from firmware_py.report.roll import rolls
from firmware_py.report.sentences import tell
from firmware_py.report.style import CSS
from firmware_py.report.svg import Frame
from firmware_py.report.together import all_together
from firmware_py.report.words import clock

MOST_LABELS: Final = 9
"""Events that are marked in the charts: marks first, then the others in order. Chosen: they do not overlap at
360 px."""
MOST_MARKS: Final = 30
"""Marks that are, where there are more than ``MOST_LABELS``. Chosen by hand."""
POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'"
"""Whatever a log might smuggle in, nothing is loaded and nothing runs."""
NOT_KEPT: Final = "No sound is kept. This page is computed from the session log alone and needs no network."
PLAYED: Final = (
    "“Heard” is the box's estimate from the player's sound, “asked” the target set by the programme and the "
    "knobs. “Played” is a plain estimate from the box's notes alone: valence from major or minor, then from "
    "height and density; arousal from notes per second and loudness. See how the curves move, not how high "
    "they are."
)
INTERACTION: Final = (
    "Both in the same measures, means over six seconds, as music therapists chart improvisations (Music "
    "Therapy Toolbox, Improvisation Assessment Profiles). That two move together does not say that one "
    "followed the other, and lags below three seconds say nothing."
)
ROLLS: Final = (
    "Notes are the box's, darker where louder. Of the player the log holds no notes, but their mean pitch "
    "(dashed, from the sound) and pitch classes (below, C lowest)."
)


def page(course: Course, name: str, remark: str = "") -> str:
    """The whole page.

    Parameters
    ----------
    name: of the session.
    remark: on the log itself, for example on damage; empty: none.
    """
    parties, happenings = meet(course), course.happenings
    played, alike = played_mood(parties), all_together(parties)
    events = [Event(max(0.0, e.time_s - parties.start_s), e.kind, e.text) for e in happenings.events]
    frame = _frame(parties.time_s, parties.end_s, parties.leads > 0.5, events)
    said = "".join(f"<li>{escape(s.text)}</li>" for s in tell(parties, happenings, alike))
    warning = f"<p><strong>{escape(remark)}.</strong></p>" if remark else ""
    title = f"Session {name}"
    led = " Grey: the programme led." if frame.led else ""
    sections = (
        f'<ul class="said">{said}</ul>{warning}',
        _section("Mood", PLAYED + led, mood_charts(frame, parties, played) + circumplex(parties, played)),
        _section("Player and box", INTERACTION, interaction_charts(frame, parties, alike)),
        interaction_table(alike),
        _section("What was played", ROLLS, rolls(parties, course)),
        f"<h2>Events</h2>{_events(events, happenings.n_more)}",
        f'<div class="last"><h2>The box</h2>{_machine(happenings)}</div>',
    )
    return (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        f"<title>{escape(title)}</title><style>{CSS}</style></head><body><h1>{escape(title)}</h1>"
        f'<p class="small">{NOT_KEPT}</p>{"".join(sections)}</body></html>\n'
    )


def _section(title: str, text: str, figures: str) -> str:
    return f'<h2>{title}</h2><p class="small">{text}</p><div class="grid">{figures}</div>'


def _frame(
    time_s: NDArray[np.float64], end_s: float, is_led: NDArray[np.bool_], events: Sequence[Event]
) -> Frame:
    edges = np.flatnonzero(np.diff(np.r_[0, is_led.astype(np.int8), 0]))
    step_s = end_s / len(time_s)
    led = [(a * step_s, b * step_s) for a, b in edges.reshape(-1, 2).tolist()]
    return Frame(time_s, end_s, led, _labels(events))


def _labels(events: Sequence[Event]) -> list[tuple[float, str]]:
    """Time and number of the events that are marked in the charts."""
    numbered = [(n, e) for n, e in enumerate(events, 1) if e.time_s > 0.0]
    chosen = [n for n, e in numbered if e.kind == "marker"][:MOST_MARKS]
    chosen += [n for n, e in numbered if e.kind != "marker"][: max(0, MOST_LABELS - len(chosen))]
    return [(e.time_s, str(n)) for n, e in numbered if n in chosen]


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    cells = "".join(f'<th scope="col">{escape(name)}</th>' for name in head)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><tr>{cells}</tr>{body}</table>"


def _events(events: Sequence[Event], n_more: int) -> str:
    if not events:
        return "<p>None: no programme, knob, marker or panic is in the log.</p>"
    rows = ((str(n), clock(e.time_s), e.kind, e.text) for n, e in enumerate(events, 1))
    more = f"<p>{n_more} more are left out.</p>" if n_more else ""
    return _table(("", "time", "what", ""), rows) + more


def _machine(happenings: Happenings) -> str:
    """Latencies, counters and the log's header."""
    html = ""
    if happenings.times:
        head = ("time of (ms)", "half within", "99 % within", "longest", "over their limit")
        rows = (
            (of, f"{t['p50_ms']:.3g}", f"{t['p99_ms']:.3g}", f"{t['longest_ms']:.3g}", f"{t['n_missed']:.0f}")
            for of, t in happenings.times.items()
        )
        html += f"<h3>Latencies</h3>{_table(head, rows)}"
    counts = [
        (process, name.removeprefix("n_").replace("_", " "), str(n))
        for process, counters in happenings.counters.items()
        for name, n in counters.items()
        if n or "xruns" in name or "late" in name
    ]
    if counts:
        html += f"<h3>Counters that are not 0</h3>{_table(('process', 'counted', ''), counts)}"
    if happenings.about:
        html += f"<h3>Log</h3>{_table(('', ''), happenings.about.items())}"
    return html or "<p>The log holds no counters.</p>"
