"""The box's one error."""


class ReleaseError(Exception):
    """A fault a person can act on: one line that says the fault, the place and the remedy."""


def printed(text: str, longest: int = 80) -> str:
    """On one line, printable, not endless."""
    plain = text if text.isprintable() else ascii(text)[1:-1]
    return plain if len(plain) <= longest else f"{plain[:longest]}…"
