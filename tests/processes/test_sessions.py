"""control: sessions begin and end by hand and by themselves; the log, the voice and the lamp go with them."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from firmware_py.board.map import COMMAND_DTYPE, COMMANDS, NAME_BYTES, TARGET_DTYPE, memory_board
from firmware_py.board.telemetry import COUNTERS, TIMES_DTYPE, new_counters
from firmware_py.commands.status import read_session
from firmware_py.devices.offline import VirtualClock
from firmware_py.processes.commands import CommandStage
from firmware_py.processes.control import ControlStage
from firmware_py.processes.lamp import LampStage
from firmware_py.processes.sessions import BEGINS_S, LAST_CHORD_S, SessionStage, as_bytes
from firmware_py.report.happenings import Happenings
from firmware_py.settings import SessionSettings, Settings
from kelly_edge.config import EmotionSettings
from kelly_edge.contract import HEARD_DTYPE, NOTE_DTYPE, SessionState
from kelly_edge.emotion.programme import Phase, Programme, built_in

PLANNED = Programme(
    "planned",
    "w",
    "s",
    (
        Phase("match", duration_s=60.0),
        Phase("rest", duration_s=900.0),
        Phase("hold", 0.1, 0.1, voice="cello"),
    ),
)
PROGRAMMES = (*built_in(EmotionSettings()), PLANNED)
NAMES = [programme.name for programme in PROGRAMMES]


class Log:
    """A journal that keeps the sessions apart."""

    def __init__(self) -> None:
        self.sessions: list[tuple[Mapping[str, Any], list[dict[str, Any]]]] = []
        self.continued: list[str] = []
        self.is_on = False
        self.path = ""

    def begin(self, about: Mapping[str, Any]) -> None:
        self.sessions.append((about, []))
        self.is_on, self.path = True, f"/sessions/{len(self.sessions)}"

    def go_on(self, about: Mapping[str, Any], path: str) -> int:
        self.continued.append(path)
        self.begin(about)
        return -1

    def end(self) -> None:
        self.is_on, self.path = False, ""

    def record(self, entry: dict[str, Any]) -> None:
        if self.is_on:
            self.sessions[-1][1].append(entry)


class Rig:
    """The parts of ``control`` that make sessions, in a room that a test fills with sound."""

    def __init__(self, **session: Any) -> None:
        self.settings = Settings(session=SessionSettings(**session))
        self.board, self.clock, self.log = memory_board(), VirtualClock(), Log()
        self.heard = np.zeros((), HEARD_DTYPE)
        self.target = np.zeros((), TARGET_DTYPE)
        self.start()

    def start(self) -> None:
        """``control`` starts, or starts again."""
        ends = self.board.ends("control")
        self.control = ControlStage(ends, self.settings, self.log, programmes=NAMES)
        self.sessions = SessionStage(
            ends,
            self.settings.session,
            self.control,
            self.log,
            PROGRAMMES,
            self.settings.voice.names,
            self.clock,
        )
        self.commands = CommandStage(ends, self.control, self.clock, self.sessions.name_next, len(NAMES))

    def run(self, seconds: float, presence: float = 0.0) -> None:
        for _ in range(round(seconds * 10)):
            self.clock.time_s += 0.1
            self.heard["group"] = int(self.heard["group"]) + 1
            self.heard["time_s"], self.heard["presence"] = self.clock.time_s, presence
            self.board.cells["heard"].write(self.heard)
            self.board.cells["target"].write(self.target)
            self.commands.step()
            self.sessions.step()
            self.control.step()

    def say(self, word: str, programme: int = -1, name: str = "", note: str = "") -> None:
        command = np.zeros((), COMMAND_DTYPE)
        command["what"], command["programme"] = COMMANDS.index(word), programme
        command["name"], command["note"] = name.encode(), note.encode()
        self.board.rings["commands"].write(command)

    def play_note(self) -> None:
        note = np.zeros((), NOTE_DTYPE)
        note["due_s"] = self.clock.time_s
        self.board.rings["played"].write(note)

    @property
    def state(self) -> int:
        return int(self.control.knobs["session"])

    def status(self) -> dict[str, Any]:
        return read_session(self.board.cells, PROGRAMMES)


def kinds(entries: list[dict[str, Any]]) -> set[str]:
    return {entry["kind"] for entry in entries}


def test_between_sessions_the_box_listens_and_logs_nothing_and_somebody_who_plays_begins_one() -> None:
    rig = Rig()
    rig.run(60.0, presence=0.1)
    assert not rig.sessions.is_on and not rig.log.sessions and rig.state == SessionState.WAITING
    # A cough is no music.
    rig.run(0.5, presence=0.9)
    rig.run(5.0)
    assert not rig.sessions.is_on
    rig.run(BEGINS_S + 0.3, presence=0.9)
    assert rig.sessions.is_on and rig.state == SessionState.ON
    ((about, entries),) = rig.log.sessions
    assert about == {"number": 1, "programme": "mirror"}
    assert entries[0]["kind"] == "knobs" and "emotion" in kinds(entries)
    # The composer begins anew with it.
    assert int(rig.control.knobs["n_sessions"]) == 1


@pytest.mark.parametrize("minutes", [0.5, 10.0, 30.0])
def test_a_session_ends_itself_after_the_silence_of_the_settings(minutes: float) -> None:
    rig = Rig(end_after_min=minutes)
    rig.run(5.0, presence=0.9)
    rig.run(60.0 * minutes - 2.0)
    assert rig.sessions.is_on
    rig.run(3.0)
    assert not rig.sessions.is_on and rig.state == SessionState.WAITING
    rig.run(5.0, presence=0.9)
    assert rig.sessions.is_on and rig.status()["number"] == 2


def test_without_an_end_by_itself_it_goes_on() -> None:
    rig = Rig(end_after_min=0.0)
    rig.run(5.0, presence=0.9)
    rig.run(1_000.0)
    assert rig.sessions.is_on


def test_a_rest_of_the_programme_is_no_end() -> None:
    rig = Rig(end_after_min=1.0)
    rig.say("session", programme=3)
    rig.run(1.0)
    rig.target["programme"], rig.target["phase"] = 3, 1
    rig.run(900.0)
    assert rig.sessions.is_on
    rig.target["phase"] = 2
    rig.run(61.0)
    assert not rig.sessions.is_on


def test_where_the_start_of_the_box_begins_one_the_next_begins_itself() -> None:
    rig = Rig(begin="start", end_after_min=1.0)
    assert rig.sessions.is_on and rig.log.is_on
    rig.run(62.0)
    assert not rig.sessions.is_on
    rig.run(3.0, presence=0.9)
    assert rig.status()["number"] == 2


def test_where_a_hand_begins_nobody_who_plays_does() -> None:
    rig = Rig(begin="hand")
    rig.run(60.0, presence=0.9)
    assert not rig.sessions.is_on and rig.state == SessionState.ENDED
    rig.say("session", programme=3, name="M7", note="second visit, naïve")
    rig.run(1.0)
    assert rig.sessions.is_on and rig.state == SessionState.ON
    assert rig.log.sessions[0][0] == {
        "number": 1,
        "programme": "planned",
        "name": "M7",
        "note": "second visit, naïve",
    }
    # Those of the last session are not the next one's.
    rig.say("session")
    rig.run(1.0)
    assert rig.log.sessions[1][0] == {"number": 2, "programme": "planned"}


def test_stop_keeps_the_log_until_the_last_chord_has_gone_and_then_nothing_begins_by_itself() -> None:
    rig = Rig()
    rig.run(5.0, presence=0.9)
    rig.say("stop")
    for _ in range(6):
        rig.run(1.0, presence=0.9)
        rig.play_note()
    assert not rig.sessions.is_on and rig.log.is_on and rig.state == SessionState.ENDED
    rig.run(LAST_CHORD_S + 0.5, presence=0.9)
    assert not rig.log.is_on
    ((_, entries),) = rig.log.sessions
    assert sum(entry["kind"] == "note" for entry in entries) == 6
    assert [entry["kind"] for entry in entries[-len(COUNTERS) :]] == ["counters"] * len(COUNTERS)
    rig.run(60.0, presence=0.9)
    assert not rig.sessions.is_on and len(rig.log.sessions) == 1


def test_each_session_counts_its_own_faults() -> None:
    rig = Rig()
    audio = new_counters("audio")
    audio["n_capture_xruns"] = 7
    rig.board.cells["telemetry_audio"].write(audio)
    rig.run(3.0, presence=0.9)
    base = [entry for entry in rig.log.sessions[0][1] if entry["kind"] == "counters"]
    assert all(entry["is_base"] for entry in base)
    audio["n_capture_xruns"] = 9
    rig.board.cells["telemetry_audio"].write(audio)
    rig.say("stop")
    rig.run(10.0)
    told = Happenings()
    for entry in rig.log.sessions[0][1]:
        if entry["kind"] == "counters":
            told.add(entry, 0.0)
    assert told.counters["audio"]["n_capture_xruns"] == 2


def test_a_control_that_starts_again_goes_on_with_the_session_in_another_file() -> None:
    rig = Rig()
    rig.say("session", name="M7")
    rig.run(5.0, presence=0.9)
    rig.start()
    rig.run(1.0)
    assert rig.sessions.is_on and [about["number"] for about, _ in rig.log.sessions] == [1, 1]
    assert rig.log.sessions[1][0]["name"] == "M7" and rig.log.continued == ["/sessions/1"]
    # Faults of the others are this session's, whoever counted them down.
    assert not any(entry.get("is_base") for entry in rig.log.sessions[1][1])
    rig.say("stop")
    rig.run(10.0)
    rig.start()
    rig.run(20.0, presence=0.9)
    assert not rig.sessions.is_on and rig.state == SessionState.ENDED
    assert len(rig.log.continued) == 1


def test_a_control_that_starts_again_during_the_last_chord_logs_it_to_its_end() -> None:
    rig = Rig()
    rig.run(5.0, presence=0.9)
    rig.say("stop")
    rig.run(1.0)
    rig.start()
    rig.play_note()
    rig.run(1.0)
    assert not rig.sessions.is_on and rig.log.is_on and rig.log.continued == ["/sessions/1"]
    assert any(entry["kind"] == "note" for entry in rig.log.sessions[1][1])
    rig.run(LAST_CHORD_S + 0.5)
    assert not rig.log.is_on


def test_in_a_new_run_directory_a_session_goes_on_and_one_that_a_hand_ended_stays_ended() -> None:
    rig = Rig(end_after_min=1.0)
    rig.say("session")
    rig.run(500.0, presence=0.9)
    # What the supervisor carries over; the stream begins anew.
    rig.clock.time_s = 0.0
    rig.start()
    rig.run(5.0, presence=0.9)
    assert rig.sessions.is_on
    rig.run(62.0)
    assert not rig.sessions.is_on
    rig.say("stop")
    rig.run(10.0)
    rig.clock.time_s = 0.0
    rig.start()
    rig.run(10.0, presence=0.9)
    assert not rig.sessions.is_on and rig.state == SessionState.ENDED


def test_a_phase_changes_the_voice_once_and_a_hand_may_change_it_again() -> None:
    rig = Rig()
    rig.say("session", programme=3)
    rig.run(1.0)
    rig.target["programme"], rig.target["phase"] = 3, 2
    rig.run(1.0)
    assert rig.settings.voice.names[int(rig.control.knobs["voice"])] == "cello"
    rig.control.turn(rig.clock.time_s, voice=0)
    rig.run(5.0)
    assert int(rig.control.knobs["voice"]) == 0


def test_status_says_name_programme_phase_time_left_and_log() -> None:
    rig = Rig()
    assert rig.status() == {
        "session": "none; the next one begins when somebody plays",
        "programme": "mirror",
    }
    rig.say("session", programme=3, name="M7", note="quiet")
    rig.target["programme"], rig.target["phase"] = 3, 1
    rig.target["phase_left_s"], rig.target["programme_left_s"] = 880.0, np.inf
    rig.run(1.0)
    assert rig.status() == {
        "session": "on",
        "number": 1,
        "name": "M7",
        "note": "quiet",
        "programme": "planned",
        "phase": "2 of 3, rest",
        "phase_left_s": 880,
        "log": "/sessions/1",
    }
    rig.say("stop")
    rig.run(20.0)
    assert rig.status() == {"session": "none; silent until one begins", "programme": "planned"}


def test_an_unknown_word_or_programme_changes_nothing() -> None:
    rig = Rig(begin="hand")
    command = np.zeros((), COMMAND_DTYPE)
    command["what"] = 99
    rig.board.rings["commands"].write(command)
    rig.run(1.0)
    assert not rig.sessions.is_on
    rig.say("session", programme=100)
    rig.run(1.0)
    assert rig.sessions.is_on and int(rig.control.knobs["programme"]) == 0


def test_a_text_is_cut_at_a_whole_character() -> None:
    assert as_bytes("é" * NAME_BYTES, NAME_BYTES - 1) == ("é" * (NAME_BYTES // 2 - 1)).encode()


class Lamp:
    """The lamp of a box whose processes all step."""

    def __init__(self) -> None:
        self.rig = Rig()
        self.shown: list[tuple[bool, bool, bool]] = []
        self.stage = LampStage(self.rig.board.ends("control"), self.show, self.rig.clock, [0, 1, 3])
        self.now = (False, False, False)
        self.n = 0

    def show(self, *colour: bool) -> None:
        self.now = (colour[0], colour[1], colour[2])

    def run(self, seconds: float) -> list[str]:
        """A letter for each tenth of a second: white, green, dark."""
        letters = {(True, True, True): "w", (False, True, False): "g", (False, False, False): "d"}
        told = []
        for _ in range(round(seconds * 10)):
            self.n += 1
            times = np.zeros((), TIMES_DTYPE)
            times["n_times"] = self.n
            for process in COUNTERS:
                self.rig.board.cells[f"times_{process}"].write(times)
            self.rig.run(0.1)
            self.stage.step()
            told.append(letters[self.now])
        return told


def runs(letters: list[str], letter: str) -> int:
    """How often the lamp goes to ``letter``."""
    return sum(b == letter != a for a, b in zip(["", *letters], letters, strict=False))


def test_the_lamp_blinks_as_often_as_the_phase_every_five_seconds_while_a_session_is_on() -> None:
    lamp = Lamp()
    assert set(lamp.run(10.0)) == {"g"}
    lamp.rig.say("session", programme=3)
    lamp.run(5.0)
    lamp.rig.target["programme"] = 3
    for phase in (0, 1, 2):
        lamp.rig.target["phase"] = phase
        lamp.run(5.0)
        # Over whole periods, wherever they begin.
        assert runs(lamp.run(20.0), "d") in (4 * (phase + 1), 4 * (phase + 1) + 1)
    lamp.rig.say("stop")
    lamp.run(1.0)
    assert set(lamp.run(10.0)) == {"g"}


@pytest.mark.parametrize(("programme", "n_flashes"), [(1, 2), (3, 3)])
def test_the_lamp_flashes_white_as_often_as_the_place_of_the_programme_chosen(
    programme: int, n_flashes: int
) -> None:
    lamp = Lamp()
    lamp.run(3.0)
    lamp.rig.control.turn(lamp.rig.clock.time_s, programme=programme)
    assert runs(lamp.run(4.0), "w") == n_flashes
