"""systemd and a release's command, played: what each release does is read from the release itself."""

import re
from pathlib import Path
from typing import Any

from deploy.box.faults import ReleaseError
from deploy.box.layout import Layout
from deploy.box.programs import TARGET, Unit

SITE = "venv/lib/python3.11/site-packages/firmware_py/__main__.py"
PROCESSES = ("guardian", "control", "midi", "audio", "dsp", "composer")
PERIOD_S = 0.0027


class FakeCommand:
    """A release's own command, and time. ``n_xruns`` rises by ``xruns_a_look`` at each reading."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.time_s = 1_000.0
        self.told: list[str] = []
        self.n_xruns = 0
        self.xruns_a_look = 0

    def now_s(self) -> float:
        return self.time_s

    def wait(self, seconds: float) -> None:
        self.time_s += seconds

    def behaviour(self, release: Path) -> str:
        """The word in the stand-in's code."""
        match = re.search(r'BEHAVIOUR = "(.+)"', (release / SITE).read_text())
        assert match is not None
        return match[1]

    def compile(self, release: Path) -> None:
        self.told.append(f"compile {release.name}")

    def play_phrase(self, release: Path) -> dict[str, Any]:
        if self.behaviour(release) == "broken":
            raise ReleaseError("the test phrase does not play (a model is damaged)")
        n_notes = 0 if self.behaviour(release) == "silent" else 7
        return {"n_notes": n_notes, "voice_peak_dbfs": -9.0, "voice_seconds": 4.8}

    def check_config(self, release: Path, config: Path | None = None) -> str:
        path = config or self.layout.config
        lines = [] if self.behaviour(release) == "writes" else path.read_text().splitlines()
        number = next((n for n, line in enumerate(lines, 1) if line.startswith("newer:")), 0)
        return f"newer: unknown section ({path.name} line {number}); take it out" if number else ""

    def doctor(self, release: Path) -> dict[str, Any]:
        card = {"check": "sound card", "level": "fault", "found": "none", "remedy": "plug one in"}
        fine = {"check": "settings", "level": "ok", "found": "every setting is right", "remedy": ""}
        is_away = "card: gone" in self.layout.config.read_text()
        return {"faults": int(is_away), "checks": [fine, card] if is_away else [fine]}

    def reading(self, release: Path) -> dict[str, Any] | None:
        self.time_s += 1.0
        self.n_xruns += self.xruns_a_look
        behaviour = "no-card" if "card: gone" in self.layout.config.read_text() else self.behaviour(release)
        return None if behaviour == "still" else reading_at(self.time_s, behaviour, self.n_xruns)


def reading_at(time_s: float, behaviour: str = "good", n_xruns: int = 0) -> dict[str, Any]:
    """What a monitor prints at ``time_s`` of a box on which everything counts."""
    processes: dict[str, dict[str, Any]] = {
        name: {"n_times": int(10 * time_s), "deadline_ms": 1e3 * PERIOD_S, "counters": {}}
        for name in PROCESSES
    }
    n_periods = int(time_s / PERIOD_S)
    n_absent = n_periods if behaviour == "no-card" else 0
    processes["audio"]["counters"] = {"n_periods": n_periods, "n_absent_periods": n_absent}
    n_hops = 0 if behaviour == "deaf" else int(187.5 * time_s)
    processes["dsp"]["counters"] = {"n_hops": n_hops}
    return {
        "time_s": time_s,
        "processes": processes,
        "heard": {"time_s": n_hops / 187.5},
        "xruns": {"capture": n_xruns, "playback": 0},
    }


class FakePrograms(FakeCommand):
    """Obeys systemd's rules as far as a switch sees them; counts what it was told."""

    def __init__(self, layout: Layout) -> None:
        super().__init__(layout)
        self.running = ""

    def reload(self) -> None:
        self.told.append("reload")

    def restart(self) -> None:
        self.running = self.layout.current_release()
        self.told.append(f"restart {self.running}")

    def units(self) -> list[Unit]:
        behaviour = self.behaviour(self.layout.releases / self.running)
        is_ready = behaviour not in ("no-ready", "crash")
        n = 3 if behaviour == "crash" else 0
        audio = Unit("kelly-edge@audio.service", is_ready, behaviour == "crash", n, "as it is")
        return [Unit(TARGET, is_ready, False, 0, "as it is"), audio]
