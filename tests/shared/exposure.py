"""How far units may be exposed (``systemd-analyze security``): those in files, and those on a booted box."""

MOST_EXPOSED = 1.2
ROOTS_EXPOSED = 3.0
WIRELESS_EXPOSED = 1.3
"""It alone has both a network and MIDI ports."""
CHANGE_RELEASES = {"kelly-edge-boot.service", "kelly-edge-confirm.service"}
"""Root: they link units and give systemd orders."""


def most_exposed(unit: str) -> float:
    """The highest level that ``unit`` may have."""
    if unit == "kelly-edge-wireless.service":
        return WIRELESS_EXPOSED
    return ROOTS_EXPOSED if unit in CHANGE_RELEASES else MOST_EXPOSED
