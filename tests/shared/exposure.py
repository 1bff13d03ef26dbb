"""How far units may be exposed (``systemd-analyze security``): those in files, and those on a booted box."""

MOST_EXPOSED = 1.2
ROOTS_EXPOSED = 3.0
CHANGE_RELEASES = {"kelly-edge-boot.service", "kelly-edge-confirm.service"}
"""Root: they link units and give systemd orders."""


def most_exposed(unit: str) -> float:
    """The highest level that ``unit`` may have."""
    return ROOTS_EXPOSED if unit in CHANGE_RELEASES else MOST_EXPOSED
