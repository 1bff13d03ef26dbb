"""The directive ``{heard}``: players of the examples that ``make site`` rendered, or a line that says how to.

Sounds that other models or other code made are not shown: a site is never stale.
"""

from html import escape
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

from models.site.render import AFTER, BEFORE, PICTURE, REPORT, digest, rendered

FOLDER = Path(__file__).resolve().parents[1] / "out" / "hear"
MISSING = "This copy of the site was built without its sounds; <code>make site</code> renders them."
SMALLEST = 0.005
"""A mood this near to 0 is said without its sign. Follows from the two digits that are shown."""


def examples() -> list[dict[str, Any]]:
    """What is known of the rendered examples; none where they are stale or not there."""
    return rendered(FOLDER, digest())


def moods(heard: list[dict[str, Any]]) -> str:
    """In words: what the box heard, part by part."""
    return "; ".join(
        f"{mood['from_s']:.0f} to {mood['to_s']:.0f} s: valence {_signed(mood['valence'])}, "
        f"arousal {_signed(mood['arousal'])}"
        for mood in heard
    )


def _signed(value: float) -> str:
    return f"{0.0 if abs(value) < SMALLEST else value:+.2f}".replace("-", "−")


def player(example: dict[str, Any], version: str) -> str:
    """One example as HTML."""
    at = f"hear/{example['name']}"
    return f"""<section class="heard" id="{example["name"]}" data-version="{version}">
<h2>{escape(example["title"])}</h2>
<p>{escape(example["about"])}</p>
<p>Before: the recording.<br><audio controls preload="metadata" src="{at}/{BEFORE}"></audio></p>
<p>After: the recording, the box's answer on a piano, and its voice.<br>
<audio controls preload="metadata" src="{at}/{AFTER}"></audio></p>
<p><img src="{at}/{PICTURE}" alt="The emotion heard and aimed at, over the notes that the box played"></p>
<p>Heard, {moods(example["heard"])}. {example["n_notes"]} notes were played;
<a href="{at}/{REPORT}">the session's report</a> tells more.
Typed: <code>{escape(example["typed"])}</code></p>
</section>"""


class Heard(SphinxDirective):
    """See this module."""

    def run(self) -> list[nodes.Node]:
        """The players."""
        self.env.note_reread()
        version = digest()
        html = "\n".join(player(example, version) for example in examples()) or f"<p>{MISSING}</p>"
        return [nodes.raw("", html, format="html")]
