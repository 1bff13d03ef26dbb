"""Where a box meets: its run directory, by name; ``kelly-edge panic`` has no time to load more than this."""

import os
from collections.abc import Mapping
from typing import Final

SERVICE_RUN_DIR: Final = "/run/kelly-edge"


def own_run_dir(environment: Mapping[str, str]) -> str:
    """systemd's directory for the service, else the user's, else one of our own in the temporary folder."""
    for name, tail in (("RUNTIME_DIRECTORY", ""), ("XDG_RUNTIME_DIR", "kelly-edge")):
        if environment.get(name):
            return os.path.join(environment[name].split(":")[0], tail).rstrip("/") or "/"
    return temporary_run_dir()


def temporary_run_dir() -> str:
    """A folder of this user's in the temporary one."""
    # Here: it takes as long to load as Python itself, and is needed where nothing else is named.
    import tempfile

    return os.path.join(tempfile.gettempdir(), f"kelly-edge-{os.getuid()}")


def place_of_run_dir(setting: str, environment: Mapping[str, str], service: str = SERVICE_RUN_DIR) -> str:
    """Where a box of these settings would meet: as set, this user's, or the service's where it is alone."""
    if setting:
        return setting
    own = own_run_dir(environment)
    return next((place for place in (own, service) if os.path.isdir(place)), None) or (
        temporary if os.path.isdir(temporary := temporary_run_dir()) else own
    )
