"""systemd and a release's command, played: what each release does is read from the release itself."""

import re
from pathlib import Path
from typing import Any

from deploy.box.layout import Layout
from deploy.box.programs import Unit

SITE = "venv/lib/python3.11/site-packages/firmware_py/__main__.py"


class FakePrograms:
    """Obeys systemd's rules as far as a switch sees them; counts what it was told."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.running = ""
        self.told: list[str] = []
        self.n_xruns = 0
        self.xruns_a_look = 0

    def behaviour(self, release: Path) -> str:
        """The word in the stand-in's code."""
        match = re.search(r'BEHAVIOUR = "(.+)"', (release / SITE).read_text())
        assert match is not None
        return match[1]

    def reload(self) -> None:
        self.told.append("reload")

    def restart(self) -> None:
        self.running = self.layout.current_release()
        self.told.append(f"restart {self.running}")

    def units(self) -> list[Unit]:
        behaviour = self.behaviour(self.layout.releases / self.running)
        is_ready = behaviour not in ("no-ready", "crash")
        n = 3 if behaviour == "crash" else 0
        return [Unit("kelly-edge@audio.service", is_ready, behaviour == "crash", n, "as it is")]

    def play_phrase(self, release: Path) -> dict[str, Any]:
        if self.behaviour(release) == "broken":
            from deploy.box.faults import ReleaseError

            raise ReleaseError("the test phrase does not play (a model is damaged)")
        n_notes = 0 if self.behaviour(release) == "silent" else 7
        return {"n_notes": n_notes, "voice_peak_dbfs": -9.0, "bytes": {"voice.wav": 200_000}}

    def check_config(self, release: Path) -> str:
        knows = self.behaviour(release) == "writes"
        return "" if knows or "newer:" not in self.layout.config.read_text() else "newer: unknown section"

    def xruns(self, release: Path) -> int | None:
        self.n_xruns += self.xruns_a_look
        return self.n_xruns
