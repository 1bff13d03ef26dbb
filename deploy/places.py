"""Where the courier puts things on a box. Of its own, as importing its users patches sockets."""

from pathlib import Path
from typing import Final

from deploy.bundle import TOOL

HOME: Final = "/opt/kelly-edge"
PROGRAM: Final = f"{HOME}/bin/{TOOL}"
FILES: Final = Path(__file__).resolve().parent / "files"
VERIFIED: Final = (
    "kelly-edge@", "kelly-edge-board", "kelly-edge-gadget", "kelly-edge-compile", "kelly-edge-bench",
    "kelly-edge-safe", "kelly-edge-page", "kelly-edge-wireless",
)  # fmt: skip
"""Every unit that a release brings."""
COPIED: Final = (
    ("kelly-edge-boot.service", "/etc/systemd/system/kelly-edge-boot.service"),
    ("kelly-edge-confirm.service", "/etc/systemd/system/kelly-edge-confirm.service"),
    ("kelly-edge-inspect.service", "/etc/systemd/system/kelly-edge-inspect.service"),
    ("kelly-edge-inspect.timer", "/etc/systemd/system/kelly-edge-inspect.timer"),
    ("kelly-edge-verify.service", "/etc/systemd/system/kelly-edge-verify.service"),
    *(("verified.conf", f"/etc/systemd/system/{unit}.service.d/10-verified.conf") for unit in VERIFIED),
    ("limits.conf", "/etc/security/limits.d/kelly-edge.conf"),
    ("governor.conf", "/etc/tmpfiles.d/kelly-edge-governor.conf"),
    ("journald.conf", "/etc/systemd/journald.conf.d/kelly-edge.conf"),
    ("sshd.conf", "/etc/ssh/sshd_config.d/kelly-edge.conf"),
)
ENABLED: Final = ("kelly-edge-boot.service", "kelly-edge-confirm.service", "kelly-edge-inspect.timer")
