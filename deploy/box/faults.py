"""The box's one error, and how text from outside is shown in it."""

from kelly_edge.shared.printed import printed

__all__ = ["ReleaseError", "printed"]


class ReleaseError(Exception):
    """A fault a person can act on: one line that says the fault, the place and the remedy."""
