"""How root runs a release's own command: as a service user, in the sandbox of the units.

Root itself never runs a release's code, and never opens a file that a service may write.
"""

import pwd
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from deploy.box.faults import ReleaseError

USER: Final = "kelly-edge"
TOOLS: Final = "kelly-edge-tools"
"""Owns the compiled functions, which the services may only read."""
COMPILED: Final = "/var/cache/kelly-edge-compiled"
PROPERTIES: Final = (
    "UMask=0077",
    "LimitCORE=0",
    "TasksMax=64",
    "CapabilityBoundingSet=",
    "AmbientCapabilities=",
    "NoNewPrivileges=yes",
    "PrivateUsers=yes",
    "PrivateNetwork=yes",
    "PrivateTmp=yes",
    "IPAddressDeny=any",
    "RestrictAddressFamilies=AF_UNIX",
    "DevicePolicy=closed",
    "ProtectSystem=strict",
    "ProtectHome=yes",
    "ProtectClock=yes",
    "ProtectHostname=yes",
    "ProtectControlGroups=yes",
    "ProtectKernelLogs=yes",
    "ProtectKernelModules=yes",
    "ProtectKernelTunables=yes",
    "ProtectProc=invisible",
    "RestrictNamespaces=yes",
    "RestrictSUIDSGID=yes",
    "RestrictRealtime=yes",
    "LockPersonality=yes",
    "RemoveIPC=yes",
    "KeyringMode=private",
    "SystemCallArchitectures=native",
    "SystemCallFilter=@system-service",
    "SystemCallFilter=~@privileged",
    "SystemCallErrorNumber=EPERM",
)
"""Those of ``kelly-edge@.service``, which a test compares."""
ENVIRONMENT: Final = (
    "PATH=/usr/bin:/bin",
    "LC_ALL=C.UTF-8",
    "HOME=/nonexistent",
    f"NUMBA_CACHE_DIR={COMPILED}",
)
READS_COMPILED: Final = "NUMBA_CACHE_LOCATOR_CLASSES=firmware_py.compiled.SealedCache"
WRITES_COMPILED: Final = "NUMBA_CACHE_LOCATOR_CLASSES=firmware_py.compiled.ReleaseCache"
DEVICES: Final = (
    "SupplementaryGroups=audio gpio spi",
    "DeviceAllow=char-alsa rw",
    "DeviceAllow=char-gpiochip rw",
    "DeviceAllow=char-spi rw",
    "LimitRTPRIO=95",
    "LimitMEMLOCK=infinity",
    "StateDirectory=kelly-edge",
    "StateDirectoryMode=0700",
    "ReadWritePaths=-/run/kelly-edge",
)
"""What the units grant one process or another, all of it: for a command that judges what they have."""
NO_DEVICES: Final = ("PrivateDevices=yes",)
GRACE_S: Final = 30.0
"""For systemd to end what ran too long. Chosen by hand."""


def words_for(
    command: Sequence[str],
    within_s: float,
    user: str = USER,
    devices: Sequence[str] = NO_DEVICES,
    environment: Sequence[str] = (),
) -> list[str]:
    """The words that run ``command`` apart from root, for ``within_s`` seconds at most."""
    properties = [
        f"User={user}",
        f"Group={user}",
        "Nice=10",
        f"RuntimeMaxSec={within_s:.0f}",
        *PROPERTIES,
        *devices,
    ]
    compiled = READS_COMPILED
    if user == TOOLS:
        # Others read them: the services.
        properties += ["CacheDirectory=kelly-edge-compiled", "CacheDirectoryMode=0755", "UMask=0022"]
        compiled = WRITES_COMPILED
    words = ["systemd-run", "--quiet", "--wait", "--pipe", "--collect", "--service-type=exec"]
    words += ["--working-directory=/", *(f"--property={p}" for p in properties)]
    words += [f"--setenv={e}" for e in (*ENVIRONMENT, compiled, *environment)]
    return [*words, "--", *command]


def run(
    release: Path,
    words: Sequence[str],
    within_s: float,
    user: str = USER,
    devices: Sequence[str] = NO_DEVICES,
) -> subprocess.CompletedProcess[bytes]:
    """What ``kelly-edge WORDS`` of ``release`` answered, run apart from root.

    It takes the models of this release, not those of the current one.

    Parameters
    ----------
    devices: properties that say which it sees.

    Raises
    ------
    ReleaseError: it cannot be run, or does not end within ``within_s``.
    """
    try:
        pwd.getpwnam(user)
    except KeyError:
        raise ReleaseError(f"there is no user {user} on this box; provision it again") from None
    command = [str(release / "venv/bin/kelly-edge"), *words]
    try:
        return subprocess.run(
            words_for(command, within_s, user, devices, (f"KELLY_EDGE_RELEASE={release}",)),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=within_s + GRACE_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ReleaseError(f"kelly-edge {words[0]} does not end within {within_s:.0f} s") from None
    except OSError as error:
        raise ReleaseError(f"cannot run systemd-run ({error.strerror}); install systemd") from None
