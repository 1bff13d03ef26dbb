"""Heat, power and clock of the board, read from sysfs below ``root``; nothing is ever spawned to ask.

Sources: the kernel's ``thermal`` and ``cpufreq`` documentation; ``get_throttled`` of the Raspberry Pi's
firmware driver (a hexadecimal word, low half now, high half since boot); ``rpi_volt`` of the hwmon driver.
"""

from pathlib import Path
from typing import Final

FLAGS: Final = ("under-voltage", "frequency capped", "throttled", "soft temperature limit")
"""Bits 0..3 of ``get_throttled`` now, 16..19 since boot."""
SINCE_BOOT: Final = 16
"""Raspberry Pi documentation of ``vcgencmd get_throttled``."""
HOT_C: Final = 75.0
"""A Raspberry Pi slows down at 80 °C. Chosen: with a margin of 5 °C."""
ROOT: Final = Path("/")


def read_text(path: Path) -> str:
    """The text of a small file, stripped; empty where there is none to read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def temperature_c(root: Path = ROOT) -> float | None:
    """The hottest thermal zone in °C; None where the machine shows none."""
    readings = []
    for zone in sorted(root.glob("sys/class/thermal/thermal_zone*/temp")):
        try:
            readings.append(int(read_text(zone)) / 1_000)
        except ValueError:
            continue
    return max(readings, default=None)


def throttled_flags(root: Path = ROOT) -> list[str] | None:
    """What the board's power and heat cost it, now or since boot; None where it cannot tell."""
    words = list(root.glob("sys/devices/platform/soc*/*firmware/get_throttled"))
    alarms = [
        path.parent / "in0_lcrit_alarm"
        for path in root.glob("sys/class/hwmon/hwmon*/name")
        if read_text(path) == "rpi_volt"
    ]
    if not words and not alarms:
        return None
    flags = ["under-voltage"] if any(read_text(alarm) == "1" for alarm in alarms) else []
    for path in words:
        try:
            word = int(read_text(path), 16)
        except ValueError:
            continue
        flags += [flag for bit, flag in enumerate(FLAGS) if word >> bit & 1 and flag not in flags]
        flags += [f"{flag} since boot" for bit, flag in enumerate(FLAGS) if word >> bit + SINCE_BOOT & 1]
    return flags


def governors(root: Path = ROOT) -> set[str]:
    """The frequency governors of the cores; empty where the frequency is fixed."""
    paths = root.glob("sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_governor")
    return {text for path in paths if (text := read_text(path))}
