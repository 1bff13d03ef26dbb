"""Checks of the kernel, the processor and what they grant."""

from typing import Final

from firmware_py.board.map import RINGS, SAMPLE_DTYPE
from firmware_py.board.pipes import PAGE
from firmware_py.commands.doctor.machine import FAULT, MB, NOTE, WARNING, Check, Finding, Machine, verdict
from firmware_py.devices.machine.health import HOT_C, governors, temperature_c, throttled_flags
from firmware_py.wiring.realtime import ENOUGH_CORES
from kelly_edge.contract import PERIOD_SIZES

OLDEST_KERNEL: Final = (5, 10)
"""Linux. Chosen: the first with version 2 of the GPIO interface, and that of Debian 11."""
CAP_IPC_LOCK, CAP_SYS_NICE, CAP_SYS_RESOURCE = 14, 23, 24
"""Numbers of Linux capabilities (linux/capability.h)."""
GOOD_CLOCKS: Final = ("tsc", "arch_sys_counter", "kvm-clock", "hyperv_clocksource_tsc_page")
# Chosen: measured, the idle processes hold 321 MB together (docs/live.md); with less than the second they do
# not fit.
ENOUGH_MEMORY: Final = 500 * MB
LEAST_MEMORY: Final = 250 * MB
HIGHEST_PRIORITY: Final = 80
"""Follows from ``wiring.realtime``: that of ``audio``."""


def _kernel(machine: Machine) -> Finding:
    release = machine.text("/proc/sys/kernel/osrelease")
    digits = [part for part in release.replace("-", ".").split(".")[:2] if part.isdigit()]
    version = tuple(int(part) for part in digits)
    return verdict(version >= OLDEST_KERNEL, f"Linux {release or 'of an unknown version'}", FAULT)


def _preemption(machine: Machine) -> Finding:
    version = machine.text("/proc/version")
    if machine.text("/sys/kernel/realtime") == "1" or "PREEMPT_RT" in version:
        return verdict(True, "PREEMPT_RT")
    return verdict("PREEMPT" in version, "PREEMPT" if "PREEMPT" in version else "the kernel does not preempt")


def _interrupts(machine: Machine) -> Finding:
    threaded = (
        machine.text("/sys/kernel/realtime") == "1" or "threadirqs" in machine.text("/proc/cmdline").split()
    )
    return Finding(
        "ok" if threaded else NOTE, f"interrupts are {'' if threaded else 'not '}handled in threads"
    )


def _throttling(machine: Machine) -> Finding:
    runtime, period = (machine.number(f"/proc/sys/kernel/sched_rt_{n}_us") for n in ("runtime", "period"))
    if runtime is None or period is None or runtime < 0 or runtime >= period:
        return verdict(True, "real-time work is not limited")
    return verdict(False, f"real-time work is stopped at {100 * runtime // period} % of a core")


def _governor(machine: Machine) -> Finding:
    found = governors(machine.root)
    text = f"frequency governor {', '.join(sorted(found))}" if found else "the frequency is fixed"
    return verdict(found <= {"performance"}, text)


def _power(machine: Machine) -> Finding:
    flags = throttled_flags(machine.root)
    if flags is None:
        return Finding(NOTE, "this board does not tell about its power supply")
    return verdict(not flags, ", ".join(flags) or "neither under-voltage nor throttling", WARNING)


def _temperature(machine: Machine) -> Finding:
    celsius = temperature_c(machine.root)
    if celsius is None:
        return Finding(NOTE, "this machine shows no temperature")
    return verdict(celsius < HOT_C, f"{celsius:.0f} °C")


def _clock_source(machine: Machine) -> Finding:
    name = machine.text("/sys/devices/system/clocksource/clocksource0/current_clocksource")
    return verdict(name in GOOD_CLOCKS, f"clock source {name or 'unknown'}")


def _cores(machine: Machine) -> Finding:
    n_cores = len(machine.glob("/sys/devices/system/cpu/cpu[0-9]*"))
    level = FAULT if n_cores < 2 else NOTE if n_cores < ENOUGH_CORES else "ok"
    return Finding(level, f"{n_cores} cores" + ("" if level == "ok" else "; audio shares its core"))


def _memory(machine: Machine) -> Finding:
    lines = machine.text("/proc/meminfo").splitlines()
    free = next((int(line.split()[1]) * 1_024 for line in lines if line.startswith("MemAvailable")), 0)
    return verdict(
        free >= ENOUGH_MEMORY, f"{free // MB} MB available", WARNING if free >= LEAST_MEMORY else FAULT
    )


def _swap(machine: Machine) -> Finding:
    areas = [line.split()[0] for line in machine.text("/proc/swaps").splitlines()[1:] if line.strip()]
    slow = [area for area in areas if "zram" not in area]
    return verdict(not slow, f"swaps to {', '.join(slow)}" if slow else "does not swap to a disk")


def _priority(machine: Machine) -> Finding:
    limit = machine.limit("Max realtime priority")
    granted = machine.has_capability(CAP_SYS_NICE) or limit < 0 or limit >= HIGHEST_PRIORITY
    return verdict(granted, f"real-time priority is {'' if granted else 'not '}granted to this user")


def _memory_lock(machine: Machine) -> Finding:
    granted = machine.has_capability(CAP_IPC_LOCK) or machine.limit("Max locked memory") < 0
    return verdict(granted, f"locking memory is {'' if granted else 'not '}granted to this user")


def _pipes(machine: Machine) -> Finding:
    """Unprivileged pipes are bounded; the largest ring must fit."""
    sizes = [PAGE]
    for spec in RINGS.values():
        longest = max(PERIOD_SIZES) if spec.dtype == SAMPLE_DTYPE else 1
        per_page = PAGE // (spec.dtype.itemsize * longest)
        sizes.append((-(-spec.capacity // per_page) + 1) * PAGE)
    needed = 1 << (max(sizes) - 1).bit_length()
    most = machine.number("/proc/sys/fs/pipe-max-size") or 0
    fits = machine.has_capability(CAP_SYS_RESOURCE) or most >= needed
    return verdict(fits, f"pipes of up to {most // 1_024} KB; the rings need {needed // 1_024}", FAULT)


CHECKS: Final = (
    Check("kernel", _kernel, "install a kernel of 5.10 or later"),
    Check("preemption", _preemption, "boot a kernel built with PREEMPT, better PREEMPT_RT"),
    Check("interrupt threads", _interrupts, "add threadirqs to the kernel's command line"),
    Check("real-time throttling", _throttling, "sysctl kernel.sched_rt_runtime_us=-1"),
    Check(
        "frequency governor",
        _governor,
        "echo performance | tee /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor",
    ),
    Check("power supply", _power, "use the board's own power supply and a short cable; see to its cooling"),
    Check("temperature", _temperature, "give the board a heat sink and air"),
    Check("clock source", _clock_source, "choose tsc or the architecture's timer: clocksource= at boot"),
    Check("cores", _cores, "use a board with four cores"),
    Check("memory", _memory, "stop other programs, or use a board with 1 GB or more"),
    Check("swap", _swap, "swapoff -a, or swap to zram"),
    Check(
        "real-time priority",
        _priority,
        "grant LimitRTPRIO=95 or CAP_SYS_NICE (group audio)",
    ),
    Check(
        "locked memory",
        _memory_lock,
        "grant LimitMEMLOCK=infinity or CAP_IPC_LOCK (group audio)",
    ),
    Check("pipes", _pipes, "sysctl fs.pipe-max-size=1048576"),
)
