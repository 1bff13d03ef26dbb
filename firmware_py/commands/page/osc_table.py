"""The addresses of OSC, in and out: the one table that is obeyed, sent, told in docs/page.md and tested."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from kelly_edge.contract import KNOB_RANGES

BUTTON: Final = "button"
"""Kind of an argument: none at all, or one number, and 0 is its release."""


@dataclass(frozen=True)
class Heard:
    """An address that is obeyed.

    ``kinds`` of the arguments: ``BUTTON``, ``number`` or ``text``; those after ``n_needed`` may be left out.
    ``limits`` of a number.
    """

    address: str
    kinds: tuple[str, ...]
    names: tuple[str, ...]
    meaning: str
    n_needed: int = 0
    limits: tuple[float, float] | None = None


@dataclass(frozen=True)
class Sent:
    """An address that is sent: OSC type tags, the names of its values, when, and what they are."""

    address: str
    tags: str
    names: tuple[str, ...]
    when: str
    meaning: str


_KNOBS: Final = {
    "valence": "added to the valence asked",
    "arousal": "added to the arousal asked",
    "density": "fewer or more notes",
    "dry_wet": "the microphone alone to the voice alone",
    "brightness": "of the voice",
    "octave": "of the voice",
    "voice": "by its place in `voice.names`, from 0",
    "volume_db": "of notes and voice",
    "mute": "1: no note and no voice",
    "loudest": "no note has a higher velocity",
}
"""What a knob does. Those of ``KNOB_RANGES``, all of them."""

HEARD: Final = (
    Heard("/kelly/panic", (BUTTON,), ("button",), "silence until somebody resumes"),
    Heard("/kelly/resume", (BUTTON,), ("button",), "end that silence"),
    Heard(
        "/kelly/session/start",
        ("text", "text"),
        ("programme", "code"),
        "begin a session; an empty programme is the one there is",
    ),
    Heard("/kelly/session/stop", (BUTTON,), ("button",), "end the session"),
    Heard("/kelly/session/mark", ("text",), ("text",), "mark this moment in the log"),
    Heard("/kelly/programme", ("text",), ("programme",), "change to a programme", 1),
    *(
        Heard(f"/kelly/knob/{name}", ("number",), ("value",), _KNOBS[name], 1, limits)
        for name, limits in KNOB_RANGES.items()
    ),
)
"""What is obeyed."""

EVERY_GROUP: Final = "12 times a second"
ON_CHANGE: Final = "when it changes"
SENT: Final = (
    Sent("/kelly/heard", "fff", ("valence", "arousal", "confidence"), EVERY_GROUP, "-1..1, -1..1, 0..1"),
    Sent("/kelly/asked", "ff", ("valence", "arousal"), EVERY_GROUP, "-1..1: of the programme and the knobs"),
    Sent("/kelly/level", "ff", ("level_db", "presence"), EVERY_GROUP, "dBFS; 0 no music .. 1 music"),
    Sent(
        "/kelly/beat",
        "ffffi",
        ("beat_phase", "beat_s", "beat_confidence", "bar_phase", "n_beats"),
        EVERY_GROUP,
        "the player's: 0..1 within it, seconds (0: none is believed), 0..1, 0..1 within the bar, its beats",
    ),
    Sent("/kelly/tempo", "f", ("bpm",), ON_CHANGE, "of the box's music"),
    Sent(
        "/kelly/note",
        "iii",
        ("channel", "pitch", "is_on"),
        ON_CHANGE,
        "1..16, MIDI note, 1 struck 0 released",
    ),
    Sent(
        "/kelly/session",
        "iss",
        ("number", "programme", "phase"),
        ON_CHANGE,
        "0 where none is on; `2 of 3, lead`",
    ),
    Sent("/kelly/silent", "i", ("is_panic",), ON_CHANGE, "1 in a panic"),
    Sent(
        "/kelly/counter",
        "ssi",
        ("process", "counter", "n"),
        "each second, where it rose",
        "as in `monitor --json`",
    ),
)
"""What is sent."""


def documentation() -> str:
    """Both tables in Markdown, as docs/page.md has them."""
    heard = [
        (
            f"`{row.address}`",
            ", ".join(f"{name} ({_kind(row, n)})" for n, name in enumerate(row.names)),
            row.meaning,
        )
        for row in HEARD
    ]
    sent = [
        (f"`{row.address}`", f"`{row.tags}`", ", ".join(row.names), row.when, row.meaning) for row in SENT
    ]
    return "\n".join(
        [
            *_table(("obeyed", "arguments", "what it does"), heard),
            "",
            *_table(("sent", "types", "values", "when", "what they are"), sent),
        ]
    )


def _kind(row: Heard, n: int) -> str:
    if row.limits is not None:
        return f"{row.limits[0]:g}..{row.limits[1]:g}"
    if row.kinds[n] == BUTTON:
        return "may be left out; 0 is its release"
    return "text" if n < row.n_needed else "text, may be left out"


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> list[str]:
    head = tuple(head)
    return [f"| {' | '.join(cells)} |" for cells in (head, ("---",) * len(head), *rows)]
