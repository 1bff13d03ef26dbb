"""composer: what a programme promises, whatever is tapped, ended or restarted. Its bars are empty here."""

import functools
import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from firmware_py.board.channels import MemoryCell
from firmware_py.board.map import COMPOSING_DTYPE, TARGET_DTYPE, memory_board
from firmware_py.board.pipes import FileCell
from firmware_py.devices.offline import VirtualClock
from firmware_py.processes.composer import ComposerStage
from firmware_py.processes.composing import Composing, fill_record, read_composing
from kelly_edge.config import Settings
from kelly_edge.contract import GROUP_S, HEARD_DTYPE, KNOBS_DTYPE, PROGRAMMES
from kelly_edge.emotion.leading import tempo_at
from kelly_edge.emotion.steering import SteeringState
from kelly_edge.errors import OutputError
from kelly_edge.music.draws import Draws
from kelly_edge.music.following import Following
from kelly_edge.music.generator import Bar, Target

MINOR, MAJOR, A = 0, 1, 9
SLOW_PIECE = {"tonic": A, "mode": MINOR, "tempo_bpm": 76.0}


class Quiet:
    """A generator of empty bars at the tempo asked for."""

    def __init__(self) -> None:
        self.draws = Draws()
        self.begin()

    def begin(self) -> None:
        self.number = 0

    def compose_bar(self, target: Target, rung: int) -> Bar:
        self.number += 1
        return Bar(self.number - 1, target.tempo_bpm or 90.0, 4, (), rung)

    def rewind(self, number: int) -> None:
        self.number = number


class Therapy:
    """A composer that hears a minor piece, group by group, under hands that a test moves."""

    def __init__(self, **emotion: float | str) -> None:
        settings = Settings()
        self.settings = replace(settings, emotion=replace(settings.emotion, **emotion))  # type: ignore[arg-type]
        self.board, self.clock = memory_board(), VirtualClock()
        self.heard, self.knobs = np.zeros((), HEARD_DTYPE), np.zeros((), KNOBS_DTYPE)
        self.heard["presence"] = self.heard["confidence"] = 1.0
        for name, value in SLOW_PIECE.items():
            self.heard[name] = value
        self.mood = (-0.6, -0.5)
        self.n_groups = 0
        self.targets: list[np.ndarray] = []
        self.turn(programme=PROGRAMMES.index(self.settings.emotion.programme))
        self.restart()

    def restart(self) -> None:
        """The composer dies and another one starts."""
        self.stage = ComposerStage(self.board.ends("composer"), self.settings, Quiet(), self.clock)  # type: ignore[arg-type]

    def turn(self, **values: float) -> None:
        for name, value in values.items():
            self.knobs[name] = value
        self.board.cells["knobs"].write(self.knobs)

    def choose(self, programme: str) -> None:
        self.turn(programme=PROGRAMMES.index(programme))

    def begin_session(self) -> None:
        self.turn(n_sessions=int(self.knobs["n_sessions"]) + 1)

    def group(self) -> np.ndarray:
        """One hop group; the target after it."""
        self.n_groups += 1
        self.clock.time_s = self.n_groups * GROUP_S
        self.heard["group"], self.heard["time_s"] = self.n_groups, self.clock.time_s
        self.heard["valence"], self.heard["arousal"] = self.mood
        self.board.rings["heard"].write(self.heard)
        self.stage.step()
        target = np.zeros((), TARGET_DTYPE)
        self.board.cells["target"].read(target)
        self.targets.append(target)
        return target

    def run(self, seconds: float) -> np.ndarray:
        for _ in range(round(seconds / GROUP_S)):
            target = self.group()
        return target


def test_the_first_group_after_a_change_of_knobs_uses_it() -> None:
    therapy = Therapy(programme="mirror")
    before = therapy.run(20.0)
    therapy.turn(valence=0.5, density=0.4)
    after = therapy.group()
    assert after["valence"] == pytest.approx(float(before["valence"]) + 0.5, abs=0.01)
    assert after["density"] == pytest.approx(0.4)
    therapy.turn(valence=0.0)
    therapy.choose("hold")
    step = therapy.group()
    assert float(step["valence"]) > float(before["valence"])  # It is on its way from this group on.
    assert step["mode"] == MINOR


def test_a_hand_that_asks_for_pleasant_gets_major_on_the_same_tonic() -> None:
    therapy = Therapy(programme="mirror")
    target = therapy.run(10.0)
    assert (target["tonic"], target["mode"], target["tempo_bpm"]) == (A, MINOR, 76.0)
    therapy.turn(valence=1.0)
    target = therapy.group()
    assert (target["tonic"], target["mode"], target["tempo_bpm"]) == (A, MAJOR, 76.0)
    therapy.turn(valence=0.0)
    assert therapy.group()["mode"] == MINOR


def test_a_hand_that_asks_for_calm_slows_the_music_down_within_its_slew() -> None:
    therapy = Therapy(programme="mirror")
    therapy.run(10.0)
    therapy.turn(arousal=-1.0)
    assert float(therapy.run(1.0)["tempo_bpm"]) < 60.0
    played = []
    for _ in range(300):
        therapy.group()
        played.append(therapy.stage._plan.tempo_bpm)
    assert played[-1] < 60.0
    slew = therapy.settings.envelope.tempo_slew_bpm_per_bar
    assert max(abs(a - b) for a, b in itertools.pairwise(played)) <= slew + 1e-6


def test_the_target_says_who_leads_and_how_fast_the_box_plays() -> None:
    therapy = Therapy(programme="iso", **ISO)
    target = therapy.run(15.0)
    assert not target["leads"]
    assert target["played_tempo_bpm"] == pytest.approx(therapy.stage._plan.tempo_bpm)
    assert therapy.run(10.0)["leads"]
    therapy.choose("mirror")
    assert not therapy.group()["leads"]
    # A hand on a knob is no programme.
    therapy.turn(valence=1.0, arousal=1.0)
    assert not therapy.run(1.0)["leads"]


def test_hold_plays_in_the_mode_and_at_the_tempo_of_what_it_holds() -> None:
    therapy = Therapy(programme="mirror")
    therapy.run(10.0)
    therapy.choose("hold")
    target = therapy.run(5.0)
    assert (target["tonic"], target["mode"]) == (A, MAJOR)
    assert target["tempo_bpm"] == pytest.approx(tempo_at(therapy.settings.emotion.hold_arousal), abs=0.1)


def test_a_box_that_starts_with_hold_starts_there() -> None:
    therapy = Therapy(programme="hold")
    target = therapy.group()
    assert (target["valence"], target["arousal"]) == (pytest.approx(0.4), pytest.approx(-0.2))


ISO = {"iso_match_s": 20.0, "iso_rate_per_min": 2.0, "goal_valence": 0.6, "goal_arousal": -0.2}


def test_iso_begins_when_it_is_chosen_and_anew_with_a_session() -> None:
    therapy = Therapy(programme="mirror", **ISO)
    therapy.run(60.0)
    therapy.choose("iso")
    assert therapy.run(19.0)["valence"] == pytest.approx(-0.6, abs=0.01)
    led = therapy.run(60.0)
    assert (led["valence"], led["mode"]) == (pytest.approx(0.6), MAJOR)
    therapy.begin_session()
    # It finds the second person where he or she is, not at the goal of the first.
    second = therapy.run(19.0)
    assert (second["valence"], second["mode"]) == (pytest.approx(-0.6, abs=0.01), MINOR)


def test_a_restarted_composer_goes_on_where_the_one_before_stood() -> None:
    whole, cut = (Therapy(programme="iso", **ISO) for _ in range(2))
    for seconds in (5.0, 12.0, 8.0, 15.0, 20.0, 8.0):
        whole.run(seconds)
        cut.run(seconds)
        cut.restart()
    names = ["valence", "arousal", "density", "tonic", "mode", "tempo_bpm"]
    for a, b in zip(whole.targets, cut.targets, strict=True):
        assert a[names] == b[names]


def test_a_session_begun_while_no_composer_was_there_is_obeyed() -> None:
    therapy = Therapy(programme="iso", **ISO)
    therapy.run(70.0)
    therapy.begin_session()
    therapy.restart()
    assert therapy.run(19.0)["valence"] == pytest.approx(-0.6, abs=0.01)


def test_a_new_box_begins_anew() -> None:
    therapy = Therapy(programme="iso", **ISO)
    therapy.run(70.0)
    therapy.board = memory_board()
    therapy.turn()
    therapy.restart()
    assert therapy.run(1.0)["valence"] < 0.0


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("version", 77),
        ("valence", float("nan")),
        ("own_arousal", 3.0),
        ("heard_s", float("inf")),
        ("led", -1.0),
        ("programme", 9),
        ("tonic", 12),
        ("tempo_bpm", -5.0),
        ("matched_tempo_bpm", 1e9),
        ("played_tempo_bpm", float("nan")),
        ("presence", 2.0),
    ],
)
def test_a_state_that_cannot_be_trusted_is_not_taken_up(name: str, value: float) -> None:
    cell, record = MemoryCell(COMPOSING_DTYPE), np.zeros((), COMPOSING_DTYPE)
    before = Composing(SteeringState(0.1, 0.2, "iso", 0.3, 0.4, 5.0, 0.6), Following(A, MINOR, 76.0))
    fill_record(record, before)
    cell.write(record)
    assert read_composing(cell) == replace(before, n_sessions=0)
    record[name] = value
    cell.write(record)
    assert read_composing(cell) == Composing()


def test_the_state_survives_in_the_run_directory_and_a_cell_of_another_size_is_refused(
    tmp_path: Path,
) -> None:
    record = np.zeros((), COMPOSING_DTYPE)
    kept = Composing(SteeringState(0.1, 0.2, "iso", 0.3, 0.4, 5.0, 0.6), Following(A, MINOR, 76.0))
    fill_record(record, replace(kept, n_sessions=4))
    FileCell(tmp_path / "composing.cell", COMPOSING_DTYPE).write(record)
    assert read_composing(FileCell(tmp_path / "composing.cell", COMPOSING_DTYPE)) == replace(
        kept, n_sessions=4
    )
    (tmp_path / "composing.cell").write_bytes(b"another version")
    with pytest.raises(OutputError, match="another version"):
        FileCell(tmp_path / "composing.cell", COMPOSING_DTYPE)


@pytest.mark.parametrize("seed", range(8))
def test_whatever_is_tapped_ended_or_restarted_the_target_does_not_jump(seed: int) -> None:
    rng, therapy = np.random.default_rng(seed), Therapy(programme="mirror", **ISO)
    therapy.turn(valence=rng.uniform(-1.0, 1.0), arousal=rng.uniform(-1.0, 1.0))
    actions = [
        therapy.begin_session,
        therapy.restart,
        *(functools.partial(therapy.choose, programme) for programme in PROGRAMMES),
    ]
    for _ in range(60):
        actions[rng.integers(len(actions))]()
        therapy.mood = tuple(rng.uniform(-1.0, 1.0, 2))
        therapy.heard["confidence"] = rng.uniform()
        therapy.run(rng.uniform(0.1, 6.0))
    emotions = np.array([(t["valence"], t["arousal"]) for t in therapy.targets])
    fastest = np.abs(np.diff(emotions, axis=0)).max() / GROUP_S
    assert fastest <= therapy.settings.emotion.slew_per_s + 1e-4
    assert fastest > 0.1
