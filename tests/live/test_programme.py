"""A programme goes on where it stood when the composer (the shipped one) dies and is started again."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("alsaaudio", reason="pyalsaaudio is not installed")

from rig import PATIENCE_S, Box

from firmware_py.board.map import COMPOSING_DTYPE
from firmware_py.board.pipes import CellView
from firmware_py.rehearsal.server import DummyServer
from kelly_edge.config import EmotionSettings
from kelly_edge.contract import EMOTION_RATE_HZ

EMOTION = EmotionSettings(iso_match_s=8.0, iso_rate_per_min=2.0, goal_valence=0.6, goal_arousal=-0.2)
STEP = EMOTION.slew_per_s / EMOTION_RATE_HZ
LOOK_EVERY_S = 0.02

SETTINGS = (
    "emotion.programme=iso",
    *(
        f"emotion.{name}={getattr(EMOTION, name)}"
        for name in ("iso_match_s", "iso_rate_per_min", "goal_valence", "goal_arousal", "slew_per_s")
    ),
)


class Watched:
    """The ``composing`` cell: every record seen follows the one before, whoever wrote it."""

    def __init__(self, run_dir: Path) -> None:
        self._cell = CellView(run_dir / "composing.cell", COMPOSING_DTYPE)
        self._record = np.zeros((), COMPOSING_DTYPE)
        self.now: dict[str, float] = {}

    def look(self) -> None:
        """Once; what programme and target did since the last time is no more than the turns taken allow."""
        if not self._cell.read(self._record):
            return
        before, self.now = self.now, {name: float(self._record[name]) for name in NAMES}
        if not before:
            return
        assert 0.0 <= self.now["phase"] - before["phase"] <= 1.0, (before, self.now)
        gone_s = self.now["phase_s"] - before["phase_s"]
        if self.now["phase"] != before["phase"]:
            gone_s += EMOTION.iso_match_s
        assert gone_s >= -1e-3, (before, self.now)
        n_turns = gone_s * EMOTION_RATE_HZ + 1.0
        for name in ("valence", "arousal"):
            assert abs(self.now[name] - before[name]) <= STEP * n_turns + 1e-6, (before, self.now)

    def until(self, is_so: Callable[[dict[str, float]], bool]) -> dict[str, float]:
        """What stands there as soon as ``is_so``."""
        end_s = time.monotonic() + PATIENCE_S
        while not (self.now and is_so(self.now)):
            assert time.monotonic() < end_s, self.now
            self.look()
            time.sleep(LOOK_EVERY_S)
        return self.now


NAMES = ("valence", "arousal", "phase", "phase_s", "led")


@pytest.fixture
def box(server: DummyServer, tmp_path: Path) -> Iterator[Box]:
    """With the shipped composer, which is told that somebody sad plays."""
    a_box = Box(tmp_path, {**server.env, "KELLY_TEST_HEARD": "1"}, settings=SETTINGS)
    yield a_box
    a_box.close()


def test_the_clock_of_iso_goes_on_and_no_target_jumps_when_the_composer_is_killed(box: Box) -> None:
    box.plays(PATIENCE_S)
    programme = Watched(box.run_dir)
    # Once while it matches the player, once while it leads.
    for is_there in (
        lambda now: now["phase_s"] > 2.0 and now["valence"] == pytest.approx(-0.6, abs=0.1),
        lambda now: now["led"] > 0.1,
    ):
        programme.until(is_there)
        pid = box.pid("composer")
        os.kill(pid, signal.SIGKILL)
        stood = (programme.now["phase"], programme.now["phase_s"] + 1.0 / EMOTION_RATE_HZ)
        while box.pid("composer") == pid:
            time.sleep(LOOK_EVERY_S)
        # The next one takes turns: what follows is its own.
        programme.until(lambda now: (now["phase"], now["phase_s"]) > stood)  # noqa: B023
        box.plays(PATIENCE_S)
        programme.look()
    assert programme.now["valence"] > -0.6 + 0.05
    assert box.stop() == 0
    targets = [entry["target"] for entry in box.session() if "target" in entry]
    assert targets[-1]["valence"] > -0.6 + 0.05
