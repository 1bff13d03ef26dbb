"""composer: what a programme promises, whatever is tapped, ended or restarted. Its bars are empty here."""

import functools
import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from firmware_py.board.channels import MemoryCell
from firmware_py.board.map import COMPOSING_DTYPE, TARGET_DTYPE, memory_board
from firmware_py.board.pipes import FileCell
from firmware_py.devices.offline import VirtualClock
from firmware_py.processes.composer import ComposerStage
from firmware_py.processes.composing import Composing, fill_record, read_composing
from firmware_py.settings import Settings
from kelly_edge.config import EmotionSettings
from kelly_edge.contract import (
    GROUP_S,
    HEARD_DTYPE,
    KNOBS_DTYPE,
    NOTE_DTYPE,
    PROGRAMMES,
    Rung,
    SessionState,
)
from kelly_edge.emotion.leading import tempo_at
from kelly_edge.emotion.programme import Phase, Programme, built_in
from kelly_edge.emotion.steering import SteeringState
from kelly_edge.errors import OutputError
from kelly_edge.harmony.chords import MINOR as MINOR_TRIAD
from kelly_edge.harmony.chords import chord_of
from kelly_edge.music.draws import Draws
from kelly_edge.music.fitting import EVERY_CLASS
from kelly_edge.music.following import Following
from kelly_edge.music.notes import Bar, BarNote
from kelly_edge.music.target import Target

MINOR, MAJOR, A = 0, 1, 9
BUILT_IN = built_in(EmotionSettings())
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

    generator: Any = Quiet

    def __init__(self, programmes: tuple[Programme, ...] = (), **emotion: float | str) -> None:
        settings = Settings()
        self.programmes = programmes
        self.settings = replace(settings, emotion=replace(settings.emotion, **emotion))  # type: ignore[arg-type]
        self.board, self.clock = memory_board(), VirtualClock()
        self.heard, self.knobs = np.zeros((), HEARD_DTYPE), np.zeros((), KNOBS_DTYPE)
        self.heard["presence"] = self.heard["confidence"] = 1.0
        for name, value in SLOW_PIECE.items():
            self.heard[name] = value
        self.mood = (-0.6, -0.5)
        self.n_groups = 0
        self.targets: list[np.ndarray] = []
        names = [programme.name for programme in programmes or built_in(self.settings.emotion)]
        self.turn(programme=names.index(self.settings.emotion.programme))
        self.restart()

    def restart(self) -> None:
        """The composer dies and another one starts."""
        self.stage = ComposerStage(
            self.board.ends("composer"),
            self.settings,
            self.generator(),
            self.clock,
            programmes=self.programmes,
        )

    def turn(self, **values: float) -> None:
        for name, value in values.items():
            self.knobs[name] = value
        self.board.cells["knobs"].write(self.knobs)

    def choose(self, programme: str) -> None:
        self.turn(programme=PROGRAMMES.index(programme))

    def begin_session(self) -> None:
        self.turn(n_sessions=int(self.knobs["n_sessions"]) + 1, session=SessionState.ON)

    def notes(self) -> list[np.ndarray]:
        """Those sent since the last call."""
        note, notes = np.zeros((), NOTE_DTYPE), []
        while self.board.rings["notes"].read(note):
            notes.append(note.copy())
        return notes

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


def test_a_major_piece_is_held_and_turned_to_minor_as_a_minor_one_to_major() -> None:
    therapy = Therapy(programme="mirror", hold_valence=-0.5, hold_arousal=-0.3)
    therapy.mood, therapy.heard["mode"] = (0.6, 0.3), MAJOR
    assert therapy.run(10.0)["mode"] == MAJOR
    therapy.turn(valence=-1.0)
    target = therapy.group()
    assert (target["tonic"], target["mode"]) == (A, MINOR)
    therapy.turn(valence=0.0)
    assert therapy.group()["mode"] == MAJOR
    therapy.choose("hold")
    target = therapy.run(5.0)
    assert (target["tonic"], target["mode"]) == (A, MINOR)
    assert target["tempo_bpm"] == pytest.approx(tempo_at(-0.3), abs=0.1)


class Noting(Quiet):
    """A generator of empty bars that keeps what each was composed for."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[Target] = []

    def compose_bar(self, target: Target, rung: int) -> Bar:
        self.asked.append(target)
        return super().compose_bar(target, rung)


class Noted(Therapy):
    """A minor chord is heard, and the generator keeps the targets."""

    generator = Noting

    def __init__(self, programmes: tuple[Programme, ...] = (), **emotion: float | str) -> None:
        super().__init__(programmes, **emotion)
        self.heard["chroma"][[9, 0, 4]], self.heard["level_db"] = 1.0 / 3.0, -20.0
        self.heard["chord_belief"][chord_of(A, MINOR_TRIAD)] = 1.0


def test_music_led_to_the_other_mode_turns_to_it_before_the_change_by_chords_of_its_own_key() -> None:
    lift = Programme(
        "lift", "w", "s", (Phase("match", duration_s=20.0), Phase("lead", 0.5, 0.1, duration_s=110.0))
    )
    therapy = Noted((*BUILT_IN, lift), programme="lift")
    therapy.run(131.0)
    asked = [target for target in therapy.stage._generator.asked if target.leads]
    theirs = [target for target in asked if target.valence < -0.45]
    turning = [target for target in asked if -0.35 < target.valence < -0.05]
    there = [target for target in asked if target.valence > 0.05]
    assert min(map(len, (theirs, turning, there))) >= 5
    assert all(target.chords and target.turning == 0.0 and target.mode == MINOR for target in theirs)
    assert {target.classes for target in theirs} == {1 << 9 | 1 | 1 << 4}
    assert all(not target.chords and target.mode == MINOR for target in turning)
    assert {target.classes for target in turning} == {EVERY_CLASS}
    nearness = [target.turning for target in turning]
    assert nearness == sorted(nearness) and nearness[0] < 0.3 and nearness[-1] > 0.7
    assert all(target.mode == MAJOR and target.turning == 0.0 for target in there)


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
        ("phase_s", float("inf")),
        ("phase", 99),
        ("led", -1.0),
        ("programme", b"No Name"),
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


# --- sessions, phases, and how loud ---------------------------------------------------------------
LAST = 48


class Playing(Quiet):
    """Four loud notes a bar; of an ending two bars, the last a long chord, then none while it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.endings: dict[int, int] = {}

    def compose_bar(self, target: Target, rung: int) -> Bar:
        done = self.endings.get(self.number, 0)
        self.endings[self.number + 1] = done + 1 if target.ending else 0
        bar = super().compose_bar(target, rung)
        notes = tuple(BarNote(float(beat), 0.5, 60 + beat, 100) for beat in range(4))
        if target.ending and done:
            notes = (BarNote(0.0, 4.0, LAST, 100),) if done == 1 else ()
        return replace(bar, notes=notes if rung != Rung.REST else ())


class Music(Therapy):
    """Somebody plays on and on, and is answered."""

    generator = Playing

    def __init__(self, programmes: tuple[Programme, ...] = (), **emotion: float | str) -> None:
        super().__init__(programmes, **emotion)
        self.heard["chroma"], self.heard["level_db"] = 1.0 / 12.0, -20.0

    def loudest_after(self, seconds: float) -> int:
        """The highest velocity of ten seconds that begin after some."""
        self.run(seconds)
        self.notes()
        self.run(10.0)
        return max((int(note["velocity"]) for note in self.notes()), default=0)


REST_BETWEEN = Programme(
    "rests", "w", "s", (Phase("match", duration_s=20.0), Phase("rest", duration_s=20.0), Phase("match"))
)


def test_a_session_that_a_hand_ends_comes_to_its_last_chord_and_is_silent_until_one_begins() -> None:
    therapy = Music(programme="mirror")
    therapy.run(15.0)
    assert len(therapy.notes()) > 12
    asked_s = therapy.clock.time_s
    therapy.turn(session=SessionState.ENDED)
    therapy.run(20.0)
    last = therapy.notes()[-1]
    assert last["pitch"] == LAST
    # The bar that had begun, one more, and the last chord: at 76 beats a minute.
    assert asked_s < last["onset_s"] < asked_s + 2.5 * 4 * 60.0 / 76.0
    therapy.run(60.0)
    assert not therapy.notes()
    therapy.begin_session()
    therapy.run(10.0)
    assert len(therapy.notes()) > 5


def test_nothing_is_played_before_a_hand_has_begun_a_session() -> None:
    therapy = Music(programme="mirror")
    therapy.turn(session=SessionState.ENDED)
    therapy.run(30.0)
    assert not therapy.notes()


def test_a_phase_of_rest_ends_the_music_and_the_next_one_begins_it_again() -> None:
    therapy = Music((*BUILT_IN, REST_BETWEEN), programme="rests")
    therapy.run(20.5)
    assert therapy.notes()
    therapy.run(10.0)
    assert therapy.notes()[-1]["pitch"] == LAST
    therapy.run(9.0)
    assert not therapy.notes()
    therapy.run(10.0)
    assert len(therapy.notes()) > 5


def test_a_composer_that_starts_again_in_a_rest_stays_silent_and_within_its_phase() -> None:
    therapy = Music((*BUILT_IN, REST_BETWEEN), programme="rests")
    therapy.run(32.0)
    therapy.notes()
    left_s = float(therapy.targets[-1]["phase_left_s"])
    therapy.restart()
    therapy.run(4.0)
    assert not therapy.notes()
    assert float(therapy.targets[-1]["phase_left_s"]) == pytest.approx(left_s - 4.0, abs=0.2)


def test_no_note_is_louder_than_therapist_and_phase_allow_and_the_volume_turns_down() -> None:
    soft = Programme("soft", "w", "s", (Phase("hold", 0.2, 0.0, velocity_max=60),))
    therapy = Music((*BUILT_IN, soft), programme="mirror")
    assert therapy.loudest_after(20.0) > 80
    therapy.turn(loudest=70)
    assert therapy.loudest_after(5.0) == 70
    therapy.turn(programme=3)
    assert therapy.loudest_after(5.0) == 60
    # General MIDI: 40 dB a decade of velocity.
    therapy.turn(volume_db=-12.04)
    assert therapy.loudest_after(5.0) == 30
    therapy.turn(mute=1)
    assert therapy.loudest_after(2.0) == 0


def test_the_clock_of_a_programme_stands_while_no_session_is_on() -> None:
    therapy = Therapy(programme="iso", **ISO)
    therapy.turn(session=SessionState.WAITING)
    assert therapy.run(60.0)["valence"] == pytest.approx(-0.6, abs=0.01)
    therapy.turn(session=SessionState.ON)
    assert not therapy.run(19.0)["leads"]
    assert therapy.run(60.0)["valence"] == pytest.approx(0.6)
    # It ended in silence: the next one does not find the place of the last.
    therapy.turn(session=SessionState.WAITING)
    therapy.run(5.0)
    therapy.begin_session()
    assert therapy.run(10.0)["valence"] == pytest.approx(-0.6, abs=0.02)


def random_phase(rng: np.random.Generator) -> Phase:
    goal, seconds = rng.uniform(-1.0, 1.0, 2), float(rng.uniform(1.0, 12.0))
    kinds = [
        Phase("match", duration_s=seconds),
        Phase("rest", duration_s=seconds),
        Phase("hold", *goal, duration_s=seconds),
        Phase("lead", *goal, duration_s=seconds),
        Phase("lead", *goal, rate_per_min=float(rng.uniform(0.5, 2.0))),
    ]
    return kinds[rng.integers(len(kinds))]


@pytest.mark.parametrize("seed", range(4))
def test_of_random_programmes_no_target_jumps_whatever_is_tapped_ended_or_restarted(seed: int) -> None:
    rng = np.random.default_rng([24, seed])
    own = [Programme(f"own{n}", "w", "s", tuple(random_phase(rng) for _ in range(4))) for n in range(3)]
    therapy = Therapy((*BUILT_IN, *own), programme="own0")
    actions = [
        therapy.begin_session,
        therapy.restart,
        functools.partial(therapy.turn, session=SessionState.ENDED),
        functools.partial(therapy.turn, session=SessionState.WAITING),
        *(functools.partial(therapy.turn, programme=n) for n in range(6)),
    ]
    for _ in range(50):
        actions[rng.integers(len(actions))]()
        therapy.mood = tuple(rng.uniform(-1.0, 1.0, 2))
        therapy.heard["confidence"] = rng.uniform()
        therapy.run(rng.uniform(0.1, 5.0))
    emotions = np.array([(t["valence"], t["arousal"]) for t in therapy.targets])
    fastest = np.abs(np.diff(emotions, axis=0)).max() / GROUP_S
    assert 0.1 < fastest <= therapy.settings.emotion.slew_per_s + 1e-4
