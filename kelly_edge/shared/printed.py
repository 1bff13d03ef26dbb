"""Text from outside (names of files and ports, output of other programs) as a part of a line of ours."""

from typing import Final

LONGEST_LINE: Final = 1_000
"""Characters of a message that are shown. Chosen: longer ones hide what follows in a journal."""


def printed(text: str, longest: int = 60) -> str:
    """``text`` on one line, without control characters, at most ``longest`` characters and an ellipsis.

    Text that holds anything unprintable (line breaks, terminal colours, bidirectional overrides) is shown
    with Python's escapes, so that it can neither begin a line of its own nor change how others look.
    """
    plain = text if text.isprintable() else repr(text)[1:-1]
    return plain if len(plain) <= longest else f"{plain[:longest]}…"
