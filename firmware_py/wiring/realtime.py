"""A process becomes real-time last: load, compile and run once as an ordinary one, then lock and rise.

A right that is refused costs one warning that names the remedy; the process goes on without it.
Priorities follow the deadlines (docs/architecture.md): a period before a note before a hop.
"""

import contextlib
import ctypes
import gc
import os
import resource
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

# Linux: flags of mlockall(2), the value of sched_rt_runtime_us that means no limit; glibc: parameters of
# mallopt(3).
MCL_CURRENT, MCL_FUTURE, MCL_ONFAULT = 1, 2, 4
NO_LIMIT_US: Final = -1
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4
HEAP_STAYS: Final = ((M_TRIM_THRESHOLD, 1 << 30), (M_TOP_PAD, 1 << 20), (M_MMAP_MAX, 0))
"""glibc's malloc: gives nothing back, grows a megabyte at a time, maps nothing for a large block."""


@dataclass(frozen=True)
class Policy:
    """How a process is scheduled.

    ``priority``: SCHED_FIFO's 1..99, 0 for an ordinary process; ``nice`` counts for the ordinary ones.
    ``own_core``: kept alone on the last core, where the machine has at least four.
    """

    priority: int = 0
    nice: int = 0
    locked: bool = False
    own_core: bool = False


POLICIES: Final[Mapping[str, Policy]] = {
    "audio": Policy(priority=80, locked=True, own_core=True),
    "midi": Policy(priority=70, locked=True),
    "dsp": Policy(priority=60, locked=True),
    "guardian": Policy(priority=50, locked=True),
    "composer": Policy(nice=5),
    "control": Policy(),
}
# Chosen: with fewer, a core kept for ``audio`` alone leaves too little for the rest; a niceness that is half
# of what POSIX allows.
ENOUGH_CORES: Final = 4
HURRIED_NICE: Final = -10


def _freeze(_: Policy) -> None:
    # What is loaded now stays: the collector would stop the loop to walk it.
    gc.collect()
    gc.freeze()
    gc.disable()
    # What loading left in the heap goes back before memory is locked; from then on it keeps what it has.
    libc = ctypes.CDLL(None)
    libc.malloc_trim(0)
    for option, value in HEAP_STAYS:
        libc.mallopt(option, value)


def _lock(policy: Policy) -> None:
    if not policy.locked:
        return
    libc = ctypes.CDLL(None, use_errno=True)
    # On fault: the pages the warm-up touched stay; those of libraries that nobody runs cost no memory.
    if libc.mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def cores(policy: Policy, available: frozenset[int]) -> frozenset[int]:
    """The cores a process may use: the last one belongs to the process with ``own_core``."""
    if len(available) < ENOUGH_CORES:
        return available
    last = frozenset({max(available)})
    return last if policy.own_core else available - last


def _pin(policy: Policy) -> None:
    os.sched_setaffinity(0, cores(policy, frozenset(os.sched_getaffinity(0))))


def _rise(policy: Policy) -> None:
    if policy.priority:
        # A child of a real-time process would otherwise be one too.
        os.sched_setscheduler(0, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(policy.priority))
    else:
        _be_nice(os.getpid(), policy.nice)


def _be_nice(pid: int, nice: int) -> None:
    os.setpriority(os.PRIO_PROCESS, pid, nice)
    # Among sessions the kernel weighs these, not the processes in them.
    with contextlib.suppress(OSError):
        Path(f"/proc/{pid}/autogroup").write_text(str(nice))


def hurry(pid: int) -> None:
    """Let a process start faster than ordinary work, where that is granted: until it runs, all is mute."""
    with contextlib.suppress(OSError):
        _be_nice(pid, HURRIED_NICE)


@dataclass(frozen=True)
class Step:
    """A step on the way, and what to do where it is refused."""

    take: Callable[[Policy], None]
    remedy: str


STEPS: Final = (
    Step(_freeze, ""),
    Step(
        _lock, "memory is not locked; grant LimitMEMLOCK=infinity or CAP_IPC_LOCK, or add the user to @audio"
    ),
    Step(_pin, "no core of its own; allow sched_setaffinity"),
    Step(_rise, "no real-time priority; grant LimitRTPRIO=95 or CAP_SYS_NICE, or add the user to @audio"),
)


def become_realtime(process: str, warn: Callable[[str], None]) -> bool:
    """Take the steps of ``process`` in order; False when one was refused (and warned of)."""
    policy, granted = POLICIES[process], True
    for step in STEPS:
        try:
            step.take(policy)
        except OSError as error:
            granted = False
            warn(f"{process}: {error.strerror}: {step.remedy}")
    return granted


def throttling(proc: Path = Path("/proc/sys/kernel")) -> str:
    """What the kernel takes from real-time processes: a warning's text, or nothing."""
    try:
        runtime_us = int((proc / "sched_rt_runtime_us").read_text())
        period_us = int((proc / "sched_rt_period_us").read_text())
    except (OSError, ValueError):
        return ""
    if runtime_us == NO_LIMIT_US or runtime_us >= period_us:
        return ""
    share = 100 * runtime_us // period_us
    return f"the kernel stops real-time work at {share} % of a core; kernel.sched_rt_runtime_us=-1 lifts it"


def may_rise() -> bool:
    """Whether this process would be granted a real-time priority."""
    soft, _ = resource.getrlimit(resource.RLIMIT_RTPRIO)
    if soft != 0:
        return True
    cap_sys_nice = 1 << 23
    status = Path("/proc/self/status").read_text()
    effective = next(line for line in status.splitlines() if line.startswith("CapEff"))
    return bool(int(effective.split()[1], 16) & cap_sys_nice)
