"""Checks of the installation: settings, models, packages, folders."""

import importlib.metadata
import os
import stat
from pathlib import Path
from typing import Final

from firmware_py.commands.doctor.machine import FAULT, MB, NOTE, OK, WARNING, Check, Finding, Machine, verdict
from firmware_py.devices.files.kept import state_root
from firmware_py.devices.files.release import COMPILED, MADE_FOR, release_name
from firmware_py.devices.files.run_dir import default_run_dir
from firmware_py.devices.systemd.unit_failures import NoJournalError
from firmware_py.wiring.offline import open_models
from kelly_edge.errors import KellyError

OLDEST_PYTHON: Final = (3, 11)
"""Chosen: that of Debian 12; the tests run on it."""
PACKAGES: Final = {"numpy": (1, 26), "numba": (0, 62), "onnxruntime": (1, 20), "pyyaml": (6,), "soxr": (0, 5)}
"""Packages the live box cannot do without, and the oldest version that works. Chosen: the lower bounds in
pyproject.toml."""
TFLITE_RUNTIMES: Final = ("ai-edge-litert", "tflite-runtime")
DEVICE_PACKAGES: Final = {
    "pyalsaaudio": "the sound card",
    "python-rtmidi": "MIDI ports",
    "gpiozero": "knobs and lamp",
    "lgpio": "knobs and lamp",
    "systemd-python": "failures of units",
}
# Chosen: an hour of session log takes about 10 MB (docs/report.md): twenty hours, and two.
ENOUGH_SPACE: Final = 200 * MB
LEAST_SPACE: Final = 20 * MB
IN_MEMORY: Final = ("tmpfs", "ramfs")


def _settings(machine: Machine) -> Finding:
    first, _, rest = machine.config_faults.partition("\n")
    n_more = len(rest.splitlines())
    text = f"{first}{f' (and {n_more} more)' if n_more else ''}"
    return verdict(not first, text or "every setting is right", FAULT)


def _models(machine: Machine) -> Finding:
    try:
        open_models(machine.settings)
    except KellyError as error:
        return Finding(FAULT, str(error))
    return verdict(True, "every model computes its golden vectors")


def _python(machine: Machine) -> Finding:
    return verdict(machine.python >= OLDEST_PYTHON, "Python {}.{}".format(*machine.python), FAULT)


def _versions(machine: Machine) -> dict[str, str]:
    """Installed packages, by name, with their versions; the first found counts, as in an import."""
    found: dict[str, str] = {}
    for distribution in importlib.metadata.distributions(path=list(machine.site_packages)):
        name = str(distribution.metadata["Name"] or "").lower().replace("_", "-")
        found.setdefault(name, distribution.version)
    return found


def _numbers(version: str) -> tuple[int, ...]:
    parts = []
    for part in version.split("."):
        if not part.isdigit():
            break
        parts.append(int(part))
    return tuple(parts)


def _packages(machine: Machine) -> Finding:
    there = _versions(machine)
    faults = [
        f"{name} {there[name]} is older than {'.'.join(map(str, oldest))}" if name in there else f"no {name}"
        for name, oldest in PACKAGES.items()
        if _numbers(there.get(name, "")) < oldest
    ]
    runtimes = [name for name in TFLITE_RUNTIMES if name in there]
    if not runtimes:
        faults.append("neither ai-edge-litert nor tflite-runtime")
    if "tflite-runtime" in runtimes and _numbers(there.get("numpy", "")) >= (2,):
        faults.append("tflite-runtime fails with numpy 2")
    shown = ", ".join(
        f"{name} {there[name]}" for name in ("numpy", "onnxruntime", *runtimes) if name in there
    )
    return verdict(not faults, "; ".join(faults) or shown, FAULT)


def _device_packages(machine: Machine) -> Finding:
    there = _versions(machine)
    missing = [f"{name} ({what})" for name, what in DEVICE_PACKAGES.items() if name not in there]
    return verdict(not missing, f"missing: {', '.join(missing)}" if missing else ", ".join(DEVICE_PACKAGES))


def _fences(machine: Machine) -> Finding:
    found = machine.glob("/usr/lib/**/libatomic.so.1") or machine.glob("/lib/**/libatomic.so.1")
    return verdict(bool(found), "libatomic.so.1" if found else "no libatomic.so.1: no cells", FAULT)


def _flush_to_zero(machine: Machine) -> Finding:
    is_flushing = machine.is_flushing()
    text = "flushed to zero: results may differ from the golden vectors" if is_flushing else "kept"
    return verdict(not is_flushing, f"the smallest numbers are {text}")


def _compiled(machine: Machine) -> Finding:
    made = COMPILED / release_name() / MADE_FOR
    if machine.path(str(made)).is_file():
        return Finding(OK, f"functions were compiled ahead, in {made.parent}")
    setting = machine.environment.get("NUMBA_CACHE_DIR", "")
    folder = machine.path(setting) if setting else Path(__file__).parents[3] / "kelly_edge"
    nearest = machine.nearest_folder(setting) if setting else folder
    return verdict(machine.is_writable(nearest), f"compiled functions are kept in {folder}")


def _run_dir_path(machine: Machine) -> str:
    return machine.settings.runtime.run_dir or str(default_run_dir(machine.environment))


def _run_dir(machine: Machine) -> Finding:
    path = machine.path(_run_dir_path(machine))
    if path.is_symlink() or (path.exists() and not stat.S_ISDIR(path.stat().st_mode)):
        return Finding(FAULT, f"{path} is not a folder of its own")
    if not machine.is_writable(machine.nearest_folder(_run_dir_path(machine))):
        return Finding(FAULT, f"{path} cannot be written")
    if path.exists() and stat.S_IMODE(path.stat().st_mode) & 0o022:
        return Finding(WARNING, f"{path} can be written by others")
    return verdict(True, str(path))


def _run_dir_memory(machine: Machine) -> Finding:
    """Cells are mapped files: on a disk the kernel would write them out for ever."""
    target, best, kind = _run_dir_path(machine), "", ""
    for line in machine.text("/proc/mounts").splitlines():
        fields = line.split()
        if len(fields) < 3:
            continue
        place, is_below = fields[1], os.path.commonpath([fields[1], target]) == fields[1]
        if is_below and len(place) >= len(best):
            best, kind = place, fields[2]
    return verdict(kind in IN_MEMORY, f"{target} is on {kind or 'an unknown file system'}")


def _state_dir(machine: Machine) -> Finding:
    path = state_root(machine.settings.runtime.state_dir, machine.environment)
    is_writable = machine.is_writable(machine.nearest_folder(path))
    return verdict(is_writable, f"{machine.path(path)}{'' if is_writable else ' cannot be written'}", FAULT)


def _space(machine: Machine) -> Finding:
    path = state_root(machine.settings.runtime.state_dir, machine.environment)
    free = machine.free_bytes(machine.nearest_folder(path))
    return verdict(free >= ENOUGH_SPACE, f"{free // MB} MB free", WARNING if free >= LEAST_SPACE else FAULT)


def _journal(machine: Machine) -> Finding:
    if machine.path("/run/systemd/journal/socket").exists():
        return verdict(True, "systemd's journal listens")
    return Finding(NOTE, "no systemd journal: warnings go to stderr alone")


def _failures(machine: Machine) -> Finding:
    try:
        failures = machine.unit_failures()
    except NoJournalError as error:
        return Finding(NOTE, f"not known: {error}")
    if not failures:
        return verdict(True, "no unit failed since the machine started")
    last = failures[-1]
    text = f"{len(failures)} since the machine started, the last: {last.unit} ({last.result})"
    return Finding(WARNING, f"{text} at {last.at:%F %T}")


def _metrics(machine: Machine) -> Finding:
    setting = machine.settings.session.prometheus
    if not setting:
        return Finding(NOTE, "session.prometheus is off")
    folder = machine.path(Path(setting).parent)
    is_there = folder.is_dir() and machine.is_writable(folder)
    return verdict(is_there, f"{folder}{'' if is_there else ' cannot be written'}")


CHECKS: Final = (
    Check("settings", _settings, "correct the setting; config.yaml lists them all"),
    Check("models", _models, "install the shipped models again, or set runtime.models_dir"),
    Check("Python", _python, "install Python 3.11 to 3.13"),
    Check("runtimes", _packages, "pip install kelly-edge again, into its own environment"),
    Check("device packages", _device_packages, "pip install 'kelly-edge[box]', with libasound2-dev there"),
    Check("memory fences", _fences, "apt-get install libatomic1"),
    Check("denormals", _flush_to_zero, "set runtime.tflite=ai_edge_litert"),
    Check("compiled code", _compiled, "set NUMBA_CACHE_DIR to a folder of this user"),
    Check("run folder", _run_dir, "set runtime.run_dir to a folder of this user alone"),
    Check("run folder's memory", _run_dir_memory, "set runtime.run_dir to a folder in memory, below /run"),
    Check("state folder", _state_dir, "set runtime.state_dir to a folder of this user"),
    Check("free space", _space, "lower session.keep_mb, or free space otherwise"),
    Check("journal", _journal, "run it under systemd, or keep its stderr"),
    Check("failures of units", _failures, "journalctl -b -u 'kelly-edge*' shows the lines before"),
    Check("metrics file", _metrics, "set session.prometheus below node_exporter's textfile folder"),
)
