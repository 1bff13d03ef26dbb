"""systemd as ``systemctl show`` tells of it, on a clock of its own: jobs, conditions and times of their own.

Unlike a list of states it knows when things happened: a unit that was never started has no times, and says
``ConditionResult=no`` all the same, as the real one does.
"""

import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from deploy_programs import FakeCommand

from deploy.box.layout import Layout
from deploy.box.programs import TARGET, SystemPrograms

PROCESSES = tuple(
    f"kelly-edge@{name}.service" for name in ("guardian", "control", "midi", "audio", "dsp", "composer")
)


@dataclass
class FakeUnit:
    """``ready_s``: from its start job to READY; None: never. ``is_skipped``: its condition does not hold."""

    name: str
    ready_s: float | None = 0.0
    is_skipped: bool = False
    type: str = "notify"
    remains: str = "no"
    crashes: bool = False
    state: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.state = {
            "Id": self.name, "LoadState": "loaded", "ActiveState": "inactive", "SubState": "dead",
            "Result": "success", "NRestarts": "0", "ConditionResult": "no", "Type": self.type,
            "RemainAfterExit": self.remains, "ActiveEnterTimestampMonotonic": "0",
            "InactiveExitTimestampMonotonic": "0", "InactiveEnterTimestampMonotonic": "0",
            "ConditionTimestampMonotonic": "0",
        }  # fmt: skip


class FakeSystemd:
    """``queue_s``: from the order to start to the first start job, as on a busy board."""

    def __init__(self, units: Sequence[FakeUnit], queue_s: float, now_s: Callable[[], float]) -> None:
        self.units = {unit.name: unit for unit in (FakeUnit(TARGET, type="", remains=""), *units)}
        self.queue_s = queue_s
        self.now_s = now_s
        self._jobs: list[tuple[float, Callable[[float], None]]] = []
        self.n_starts = 0

    def ask(self, words: Sequence[str]) -> subprocess.CompletedProcess[bytes]:
        self._run_jobs()
        text = ""
        if words[0] == "show":
            keys, names = words[2].split(","), words[3:]
            text = "\n\n".join(self._show(name, keys) for name in names)
        elif words[0] == "stop":
            self._stop()
        elif words[0] == "start":
            assert words[1:] == ("--no-block", TARGET)
            self._start()
        return subprocess.CompletedProcess(list(words), 0, text.encode(), b"")

    def _show(self, name: str, keys: Sequence[str]) -> str:
        if keys == ["Wants"]:
            return f"Wants={' '.join(n for n in self.units if n != TARGET)}"
        # systemd leaves out what a unit of its kind does not have.
        return "\n".join(
            f"{key}={self.units[name].state[key]}" for key in keys if self.units[name].state[key]
        )

    def _run_jobs(self) -> None:
        self._jobs.sort(key=lambda job: job[0])
        while self._jobs and self._jobs[0][0] <= self.now_s():
            at_s, job = self._jobs.pop(0)
            job(at_s)
            self._jobs.sort(key=lambda job: job[0])

    def _stop(self) -> None:
        self._jobs.clear()
        for unit in self.units.values():
            if unit.state["ActiveState"] not in ("inactive", "failed"):
                unit.state.update(ActiveState="inactive", SubState="dead")
                unit.state["InactiveEnterTimestampMonotonic"] = self._us(self.now_s())

    def _start(self) -> None:
        self.n_starts += 1
        begin_s = self.now_s() + self.queue_s
        ends = []
        for unit in self.units.values():
            if unit.name == TARGET:
                continue
            self._jobs.append((begin_s, lambda at_s, unit=unit: self._begin(unit, at_s)))  # type: ignore[misc]
            if unit.ready_s is not None and not unit.is_skipped:
                self._jobs.append((begin_s + unit.ready_s, lambda at_s, unit=unit: self._ready(unit, at_s)))  # type: ignore[misc]
            ends.append(unit.ready_s)
        if None not in ends:
            target, end_s = self.units[TARGET], begin_s + max(end or 0.0 for end in ends)
            # After all of its units.
            self._jobs.append((end_s + 1e-4, lambda at_s: self._enter(target, "active", "active", at_s)))

    def _begin(self, unit: FakeUnit, at_s: float) -> None:
        unit.state["ConditionTimestampMonotonic"] = self._us(at_s)
        unit.state["ConditionResult"] = "no" if unit.is_skipped else "yes"
        if not unit.is_skipped:
            unit.state.update(ActiveState="activating", SubState="start")
            unit.state["InactiveExitTimestampMonotonic"] = self._us(at_s)

    def _ready(self, unit: FakeUnit, at_s: float) -> None:
        if unit.crashes:
            unit.state.update(ActiveState="failed", SubState="failed", Result="exit-code")
        elif unit.type == "oneshot" and unit.remains == "no":
            unit.state.update(ActiveState="inactive", SubState="dead")
            unit.state["InactiveEnterTimestampMonotonic"] = self._us(at_s)
        else:
            self._enter(unit, "active", "running", at_s)

    def _enter(self, unit: FakeUnit, state: str, sub: str, at_s: float) -> None:
        unit.state.update(ActiveState=state, SubState=sub)
        unit.state["ActiveEnterTimestampMonotonic"] = self._us(at_s)

    @staticmethod
    def _us(at_s: float) -> str:
        return str(int(1e6 * at_s))


class PlayedPrograms(FakeCommand, SystemPrograms):
    """The real reading of systemd's answers, with ``FakeSystemd`` to answer and a clock of its own."""

    def __init__(self, layout: Layout, units: Sequence[FakeUnit], queue_s: float = 1e-3) -> None:
        FakeCommand.__init__(self, layout)
        self.systemd = FakeSystemd(units, queue_s, self.now_s)
        SystemPrograms.__init__(self, layout, self.systemd.ask)

    def reload(self) -> None:
        self.told.append("reload")


def box_units(ready_s: Sequence[float | None], has_gadget: bool = False) -> list[FakeUnit]:
    """What the real target wants; ``ready_s`` of the six processes."""
    processes = [FakeUnit(name, ready) for name, ready in zip(PROCESSES, ready_s, strict=True)]
    gadget = FakeUnit("kelly-edge-gadget.service", 0.3, not has_gadget, "oneshot", "yes")
    return [*processes, gadget]
