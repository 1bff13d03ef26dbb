"""The documentation site: `make docs` builds it into out/site/, and fails on a dead link or docstring.

`make site` builds it with the sounds of hear.md.

Sphinx, since Material for MkDocs reaches its end of life in May 2027 (docs/decisions/0019).
"""

import sys
from pathlib import Path

DOCS = Path(__file__).resolve().parent
sys.path[:0] = [str(DOCS), str(DOCS.parent)]

import hear  # noqa: E402

project = "Kelly Edge"
copyright = "the authors of Kelly Edge"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]
myst_heading_anchors = 3
html_theme = "furo"
html_title = "Kelly Edge"
# Nothing is loaded from elsewhere: the site is read on laptops in wards too.
html_theme_options = {"source_repository": "", "top_of_page_buttons": []}
html_static_path: list[str] = []
# The sounds, where they are those of these models and this code.
html_extra_path = [str(hear.FOLDER)] if hear.examples() else []
autodoc_default_options = {"members": True, "member-order": "bysource", "undoc-members": True}
autodoc_typehints = "signature"
napoleon_google_docstring = False


def keep_colons(app: object, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """Begin a constant's text with an empty comment: napoleon takes a colon in the first line for a type."""
    if what in {"attribute", "data"}:
        lines[:0] = ["..", ""]


def setup(app) -> None:  # type: ignore[no-untyped-def]
    """Called by Sphinx; before napoleon, whose priority is 500."""
    app.add_directive("heard", hear.Heard)
    app.connect("autodoc-process-docstring", keep_colons, priority=400)
