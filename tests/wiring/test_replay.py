"""A session is composed again from its log alone: the same notes, whatever happened in it."""

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from simulated_player import Box, Player

from firmware_py.board.map import CELLS, CLOCK_DTYPE, CUT_SHORT
from firmware_py.board.turns import unpack_turns
from firmware_py.devices.files.programmes import open_programmes
from firmware_py.devices.offline import ListJournal, VirtualClock
from firmware_py.devices.session.format import header
from firmware_py.devices.session.log import SessionLog
from firmware_py.devices.session.programmes import kept_programmes
from firmware_py.devices.session.reader import SessionReader, find_session
from firmware_py.processes.sessions import SessionStage
from firmware_py.settings import SessionSettings, Settings
from firmware_py.wiring.about import about_session
from firmware_py.wiring.offline import Models
from firmware_py.wiring.replay import Replay, Replayed, turns_of
from kelly_edge.contract import ATTENDED_DTYPE, GROUP_S, HEARD_DTYPE, PROGRAMMES, Role, Rung
from kelly_edge.music.attention import attend, recall
from kelly_edge.music.compound_word import Rows
from kelly_edge.music.draws import Draws
from kelly_edge.music.sampling import ComposerNetwork, Floats, KvCache

Entries = list[dict[str, Any]]
HOUR_S = 3_600.0
MOST_BYTES_AN_HOUR = 20e6


class SlowNetwork:
    """The shipped network, on a machine where a row takes ``row_s``."""

    def __init__(self, network: ComposerNetwork, clock: VirtualClock, row_s: float) -> None:
        self.context, self.tables, self.known_runs = network.context, network.tables, network.known_runs
        self.new_cache: Callable[[], KvCache] = network.new_cache
        self._network, self._clock, self._row_s = network, clock, row_s

    def step(self, row: Rows, cache: KvCache, n_rows: int, contexts: Floats) -> None:
        self._network.step(row, cache, n_rows, contexts)
        self._clock.time_s += self._row_s


class OtherMachine(SlowNetwork):
    """The shipped network on a processor that rounds its sums otherwise, as ARM does beside x86."""

    def step(self, row: Rows, cache: KvCache, n_rows: int, contexts: Floats) -> None:
        super().step(row, cache, n_rows, contexts)
        contexts += np.random.default_rng(n_rows).normal(0.0, 0.02, contexts.shape).astype(np.float32)


def box_of(models: Models, settings: Settings, row_s: float = 0.0) -> Box:
    return Box(settings, lambda clock: SlowNetwork(models.composer, clock, row_s), ListJournal())


def entries_of(box: Box) -> Entries:
    """The log, as it is read."""
    box.close()
    assert isinstance(box.journal, ListJournal)
    read: Entries = json.loads(json.dumps(box.journal.entries))
    return read


def replayed(entries: Entries, models: Models, settings: Settings, **otherwise: Any) -> Replayed:
    result = Replayed()
    network = otherwise.get("network", models.composer)
    programmes = otherwise.get("programmes", ())
    replay = Replay(settings, network, otherwise.get("settles_draws", True), programmes)
    replay.run(turns_of(entries, result), result)
    return result


@pytest.fixture(scope="module")
def plain(models: Models, settings: Settings) -> Entries:
    """Ten seconds of playing."""
    box = box_of(models, settings)
    box.run(10.0)
    return entries_of(box)


def test_every_note_of_a_plain_session_is_composed_again(
    plain: Entries, models: Models, settings: Settings
) -> None:
    result = replayed(plain, models, settings, settles_draws=False)
    n_notes = sum(entry["kind"] == "note" for entry in plain)
    assert result.is_identical and not result.ended and result.first is None
    assert result.n_notes >= n_notes > 10
    assert result.n_draws > 0


def test_whatever_happens_in_a_session_it_is_composed_again(models: Models, settings: Settings) -> None:
    box = box_of(models, settings, row_s=0.02)
    box.run(6.0)
    box.control.turn(box.clock.time_s, valence=0.123456, arousal=-0.7)
    box.run(4.0)
    # A new session, in the middle of the music.
    box.control.begin_session(box.clock.time_s)
    box.run(6.0)
    # dsp is away, a programme is chosen meanwhile, and another dsp counts from 0.
    box.is_deaf = True
    box.run(1.0)
    box.control.turn(box.clock.time_s, programme=PROGRAMMES.index("hold"))
    box.run(2.0)
    box.is_deaf, box.n_before = False, box.n_groups
    box.run(4.0)
    # The composer dies, and another one goes on.
    box.start_composer()
    box.run(5.0)
    # The machine stands still for a moment, and is late.
    box.clock.time_s += 3.0
    box.run(6.0)
    box.player.is_playing = False
    box.run(6.0)
    entries = entries_of(box)
    result = replayed(entries, models, settings)
    assert result.first is None and not result.ended
    assert result.is_identical and result.n_draws_otherwise == 0
    assert sum(entry["kind"] == "composer" for entry in entries) == 3
    made = {(round(float(n["onset_s"]), 6), int(n["pitch"]), int(n["velocity"])) for n in result.notes}
    played = [(e["onset_s"], e["pitch"], e["velocity"]) for e in entries if e["kind"] == "note"]
    assert len(played) > 30 and set(played) <= made


def test_an_answer_that_is_taken_back_is_composed_again(models: Models, settings: Settings) -> None:
    settings = replace(settings, composer=replace(settings.composer, role=Role.ANSWER.value))
    box = box_of(models, settings)
    counters, n_cut = box.midi.counters, 0
    for pause_s in (1.6, 2.0, 1.8):
        box.run(5.0)
        box.player.is_playing = False
        box.run(pause_s)
        n_cut += int(counters["n_note_ons"] - counters["n_note_offs"])
        box.player.is_playing = True
        box.run(4 * GROUP_S)
        assert counters["n_note_ons"] == counters["n_note_offs"]
    assert n_cut > 0
    entries = entries_of(box)
    result = replayed(entries, models, settings)
    assert result.is_identical and not result.ended
    assert result.n_notes == len(result.notes) and all(note["velocity"] for note in result.notes)


def test_the_rungs_of_a_slow_machine_are_followed_on_a_fast_one(models: Models, settings: Settings) -> None:
    box = box_of(models, settings, row_s=0.15)
    box.run(30.0)
    result = replayed(entries_of(box), models, settings)
    assert result.is_identical
    rungs = {int(note["rung"]) for note in result.notes}
    assert rungs & {Rung.SHORT_CONTEXT, Rung.CONTINUATION}


def test_a_session_replays_from_a_log_that_begins_with_it(models: Models, settings: Settings) -> None:
    box = box_of(models, settings)
    box.run(6.0)
    box.control.begin_session(box.clock.time_s)
    box.run(8.0)
    entries = entries_of(box)
    second = [n for n, entry in enumerate(entries) if entry["kind"] == "composer"][1]
    result = replayed(entries[second:], models, settings)
    assert result.is_identical and not result.ended and result.n_notes > 5
    assert np.isfinite(result.start_s)


def test_a_session_that_begins_while_nothing_is_heard_is_replayed(models: Models, settings: Settings) -> None:
    box = box_of(models, settings)
    box.run(6.0)
    box.is_deaf = True
    box.run(1.0)
    box.control.begin_session(box.clock.time_s)
    box.run(1.0)
    box.is_deaf = False
    box.run(6.0)
    entries = entries_of(box)
    second = [n for n, entry in enumerate(entries) if entry["kind"] == "composer"][1]
    first = next(turns_of(entries[second:], Replayed()))
    assert not first.turn["is_heard"]
    result = replayed(entries[second:], models, settings)
    assert result.is_identical and not result.ended and result.n_notes > 5


class Sessions:
    """A journal that keeps the sessions apart, as the session log does."""

    path = ""

    def __init__(self) -> None:
        self.logs: list[Entries] = []
        self._is_on = False

    def begin(self, about: Mapping[str, Any]) -> None:
        self.logs.append([])
        self._is_on = True

    def go_on(self, about: Mapping[str, Any], path: str) -> int:
        raise AssertionError("nothing was started again")

    def end(self) -> None:
        self._is_on = False

    def record(self, entry: dict[str, Any]) -> None:
        if self._is_on:
            self.logs[-1].append(json.loads(json.dumps(entry)))


@pytest.mark.parametrize("begin", ["itself", "start", "hand"])
def test_the_log_of_each_session_holds_it_from_its_first_turn_on(
    models: Models, settings: Settings, begin: str
) -> None:
    log = Sessions()
    box = Box(settings, lambda clock: models.composer, log)
    ends, kept = box.board.ends("control"), SessionSettings(begin=begin)
    box.sessions = SessionStage(ends, kept, box.control, log, box.programmes, settings.voice.names, box.clock)
    box.run(6.0)
    # While another one is on; then after its end, and one that a composer was replaced in.
    box.control.begin_session(box.clock.time_s)
    box.run(6.0)
    box.control.begin_session(box.clock.time_s)
    box.run(6.0)
    box.control.end_session(box.clock.time_s)
    box.run(14.0)
    box.control.begin_session(box.clock.time_s)
    box.run(4.0)
    box.start_composer()
    box.run(4.0)
    box.close()
    assert len(log.logs) == (3 if begin == "hand" else 4)
    n_turns = 0
    for number, entries in enumerate(log.logs):
        result = replayed(entries, models, settings)
        assert result.is_identical and not result.ended and result.n_notes > 5
        played = [(e["onset_s"], e["pitch"]) for e in entries if e["kind"] == "note"]
        made = {(round(float(n["onset_s"]), 6), int(n["pitch"])) for n in result.notes}
        # The last notes of the session before are played in this one.
        assert {note for note in played if note[0] >= result.start_s} <= made
        if begin != "itself" or number > 0:
            first = next(e for e in entries if e["kind"] in ("turns", "composer"))
            assert first["kind"] == "composer"
        n_turns += result.n_turns
    # Between two sessions that follow each other no turn is lost.
    assert n_turns >= 12.0 / GROUP_S


def start_control(box: Box, folder: Path) -> SessionLog:
    """A control process, the first or one more, with a log in ``folder``."""
    log = SessionLog(folder, about=about_session(box.settings), is_on=False)
    box.journal = log
    box.start_control()
    ends, kept, names = box.board.ends("control"), SessionSettings(begin="start"), box.settings.voice.names
    box.sessions = SessionStage(ends, kept, box.control, log, box.programmes, names, box.clock)
    return log


@pytest.mark.parametrize("n_unwritten", [0, 1, 12])
def test_a_session_in_which_control_was_killed_is_replayed_whole(
    models: Models, settings: Settings, tmp_path: Path, n_unwritten: int
) -> None:
    box = box_of(models, settings)
    log = start_control(box, tmp_path)
    box.run(6.35)
    box.control.turn(box.clock.time_s, valence=0.4)
    for seconds in (4.1, 3.2):
        # Killed, and away for a while. What it had taken, and what waited for the card, is not in the file.
        assert log.flush(60.0)
        part = max(tmp_path.iterdir())
        whole = part.read_bytes().splitlines(keepends=True)
        part.write_bytes(b"".join(whole[: len(whole) - n_unwritten]))
        control, sessions = box.control, box.sessions
        box.control = box.sessions = None  # type: ignore[assignment]
        box.run(1.0)
        assert control is not None and sessions is not None
        if n_unwritten == 12:
            # The composer too, meanwhile.
            box.start_composer()
        log = start_control(box, tmp_path)
        box.run(seconds)
    box.control.end_session(box.clock.time_s)
    box.run(12.0)
    box.close()
    log.close()
    parts = sorted(path.name for path in tmp_path.iterdir())
    assert len(parts) == 3 and len({name.rpartition("-")[0] for name in parts}) == 1
    entries, n_damaged = read(tmp_path)
    result = replayed(entries, models, settings)
    assert n_damaged == 0 and result.is_identical and not result.ended
    assert result.n_turns > box.n_groups - round(12.0 / GROUP_S)
    made = {(round(float(n["onset_s"]), 6), int(n["pitch"])) for n in result.notes}
    played = [(e["onset_s"], e["pitch"]) for e in entries if e["kind"] == "note"]
    assert len(played) > 20 and set(played) <= made
    # No turn and no bar line is told twice.
    rows = [r for e in entries if e["kind"] == "turns" for r in turns_in(e)]
    numbers = [int(row.turn["number"]) for row in rows]
    assert numbers == sorted(set(numbers))
    lines = [(e["number"], e["time_s"]) for e in entries if e["kind"] == "bar"]
    assert len(lines) == len(set(lines)) > 3


class Killed(Exception):
    """The composer is no more."""


def test_a_composer_killed_within_a_turn_is_replayed_with_the_notes_it_had_sent(
    models: Models, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    box = box_of(models, settings)
    box.run(5.0)
    for _ in range(2):
        turns: Any = box.composer._turns
        close = turns.close

        def end(draws: Draws, turns: Any = turns, close: Callable[[Draws], None] = close) -> None:
            # Its last notes have left.
            if turns._n_notes:
                raise Killed
            close(draws)

        monkeypatch.setattr(turns, "close", end)
        with pytest.raises(Killed):
            box.run(20.0)
        box.start_composer()
        box.run(4.0)
    entries = entries_of(box)
    rows = [r for e in entries if e["kind"] == "turns" for r in turns_in(e)]
    assert sum(int(row.turn["rung"]) == CUT_SHORT for row in rows) == 2
    result = replayed(entries, models, settings)
    assert result.is_identical and not result.ended
    made = {(round(float(n["onset_s"]), 6), int(n["pitch"]), int(n["velocity"])) for n in result.notes}
    played = {(e["onset_s"], e["pitch"], e["velocity"]) for e in entries if e["kind"] == "note"}
    assert len(played) > 10 and played <= made


def test_turns_that_are_missing_before_the_music_begins_anew_are_told(
    models: Models, settings: Settings
) -> None:
    box = box_of(models, settings)
    box.run(6.0)
    box.start_composer()
    box.run(4.0)
    entries = entries_of(box)
    second = [n for n, entry in enumerate(entries) if entry["kind"] == "composer"][1]
    last = max(n for n, entry in enumerate(entries[:second]) if entry["kind"] == "turns")
    result = Replayed()
    n_turns = sum(1 for _ in turns_of(entries[:last] + entries[last + 1 :], result))
    assert n_turns == entries[last]["turn"] and str(entries[last]["turn"]) in result.ended


def clocked(box: Box, beat_s: float) -> None:
    """A sequencer's clock runs, for another five seconds."""
    clock = np.zeros((), CLOCK_DTYPE)
    for number in range(60):
        clock["is_running"], clock["beat_s"], clock["n_beats"] = True, beat_s, 4
        clock["line_s"] = 4.0 * beat_s * np.floor(box.clock.time_s / (4.0 * beat_s))
        clock["pulse_s"] = box.clock.time_s - 0.011 * (number % 3)
        box.board.cells["clock"].write(clock)
        box.run(GROUP_S)


def test_midi_clock_heard_is_replayed(models: Models, settings: Settings) -> None:
    followed = replace(settings, midi=replace(settings.midi, follow_clock=True))
    box = box_of(models, followed)
    box.run(6.0)
    clocked(box, 0.47)
    # Its cable is pulled.
    box.run(5.0)
    entries = entries_of(box)
    result = replayed(entries, models, followed)
    assert result.is_identical and not result.ended and result.n_notes > 20
    # It is the clock that the log holds: without it there would be other music.
    assert not replayed(entries, models, settings).is_identical


def test_a_programme_is_replayed_from_the_header_alone(models: Models, settings: Settings) -> None:
    programmes = open_programmes(settings)
    assert len(programmes) > len(PROGRAMMES)
    box = Box(settings, lambda clock: models.composer, ListJournal(), programmes)
    box.control.turn(0.0, programme=len(programmes) - 1)
    box.run(8.0)
    box.control.turn(box.clock.time_s, programme=len(PROGRAMMES), volume_db=-9.0, loudest=60)
    box.run(6.0)
    box.control.turn(box.clock.time_s, mute=1)
    box.run(3.0)
    entries = entries_of(box)
    about = json.loads(json.dumps(about_session(settings)))
    result = replayed(entries, models, settings, programmes=kept_programmes(about, settings))
    assert result.is_identical and not result.ended and result.n_notes > 10
    # With the built-in programmes alone it is other music.
    assert not replayed(entries, models, settings).is_identical


def test_another_seed_is_said_to_be_other_music_from_its_first_draw_on(
    plain: Entries, models: Models, settings: Settings
) -> None:
    other = replace(settings, composer=replace(settings.composer, seed=settings.composer.seed + 1))
    result = replayed(plain, models, other, settles_draws=False)
    assert not result.is_identical and result.first is not None
    composed = next(r for r in turns_of(plain, Replayed()) if r.draws)
    assert result.first.time_s == pytest.approx(float(composed.turn["now_s"]), abs=1e-5)
    assert "falls otherwise" in str(result.first) or "notes" in str(result.first)


@pytest.mark.parametrize(
    "section",
    [{"composer": {"make_room": False}}, {"envelope": {"pitch_max": 64}}, {"midi": {"latency_ms": 90.0}}],
)
def test_other_settings_are_found_out(
    plain: Entries, models: Models, settings: Settings, section: dict[str, dict[str, Any]]
) -> None:
    (name, values), *_ = section.items()
    other = replace(settings, **{name: replace(getattr(settings, name), **values)})
    result = replayed(plain, models, other)
    assert not result.is_identical and result.first is not None


def test_a_machine_that_rounds_otherwise_composes_the_same_notes_and_says_so(
    plain: Entries, models: Models, settings: Settings
) -> None:
    other = OtherMachine(models.composer, VirtualClock(), 0.0)
    by_itself = replayed(plain, models, settings, network=other, settles_draws=False)
    assert not by_itself.is_identical
    result = replayed(plain, models, settings, network=other)
    assert result.is_identical
    assert result.n_draws_otherwise > 0 and result.first_draw is not None


def test_what_the_log_does_not_hold_the_composer_does_not_attend_to() -> None:
    for number in range(50):
        heard = Player(number).group(number)
        attended, again = np.zeros((), ATTENDED_DTYPE), np.zeros((), ATTENDED_DTYPE)
        attend(heard, attended)
        recalled = np.zeros((), HEARD_DTYPE)
        recall(attended, recalled)
        attend(recalled, again)
        assert attended.tobytes() == again.tobytes()


@pytest.mark.parametrize("presence", np.linspace(0.0199, 0.0201, 21))
def test_attention_is_alike_the_second_time_at_its_threshold(presence: float) -> None:
    heard, attended, again = (
        np.zeros((), HEARD_DTYPE),
        np.zeros((), ATTENDED_DTYPE),
        np.zeros((), ATTENDED_DTYPE),
    )
    heard["presence"], heard["valence"] = presence, 0.5
    attend(heard, attended)
    recall(attended, heard)
    attend(heard, again)
    assert attended.tobytes() == again.tobytes()


def test_a_turn_that_control_missed_ends_the_replay_and_is_said(
    plain: Entries, models: Models, settings: Settings
) -> None:
    which = [n for n, entry in enumerate(plain) if entry["kind"] == "turns"]
    gone = plain[which[3]]
    result = replayed([e for e in plain if e is not gone], models, settings)
    assert result.is_identical and result.n_turns == gone["turn"]
    assert str(gone["turn"]) in result.ended


def test_turns_that_stand_in_a_log_twice_count_once(plain: Entries) -> None:
    twice = [e for entry in plain for e in ([entry, entry] if entry["kind"] == "turns" else [entry])]
    once, result = Replayed(), Replayed()
    numbers = [int(row.turn["number"]) for row in turns_of(twice, result)]
    assert numbers == [int(row.turn["number"]) for row in turns_of(plain, once)]
    assert result.ended == once.ended == ""


def test_a_log_whose_beginning_is_gone_cannot_be_replayed(
    plain: Entries, models: Models, settings: Settings
) -> None:
    result = replayed([e for e in plain if e["kind"] != "composer"], models, settings)
    assert result.n_turns == 0 and "began" in result.ended


@pytest.fixture(scope="module")
def whole(plain: Entries, settings: Settings) -> bytes:
    """The log of ``plain``, as it is written."""
    lines = [header(part=1, **about_session(settings)), *plain]
    return b"".join(json.dumps(line, separators=(",", ":")).encode() + b"\n" for line in lines)


def read(path: Path) -> tuple[Entries, int]:
    reader = SessionReader(find_session(path))
    return list(reader), reader.n_damaged


def test_a_log_cut_at_any_byte_replays_up_to_there(
    whole: bytes, tmp_path: Path, models: Models, settings: Settings
) -> None:
    path = tmp_path / "20261130-120000-77-0001.jsonl"
    # Composing again at every byte takes hours: what is read there is looked at, and some of it is composed.
    n_before = 0
    lines = np.cumsum([len(line) + 1 for line in whole.splitlines()])
    edges = {int(end) + by for end in lines[::5] for by in (-2, -1, 0, 1)}
    for n_bytes in sorted({*range(0, len(whole), 997), *edges} & {*range(len(whole) + 1)}):
        path.write_bytes(whole[:n_bytes])
        entries, n_damaged = read(path)
        assert n_damaged == 0
        result = Replayed()
        n_turns = sum(1 for _ in turns_of(entries, result))
        assert n_turns >= n_before and (not result.ended or n_turns == 0)
        n_before = n_turns
    for share in (0.3, 0.7):
        path.write_bytes(whole[: int(share * len(whole))])
        result = replayed(read(path)[0], models, settings)
        assert result.is_identical and not result.ended


@examples(max_examples=100)
@given(data=st.data())
def test_a_damaged_log_is_replayed_up_to_its_damage(
    data: st.DataObject,
    whole: bytes,
    models: Models,
    settings: Settings,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    damaged = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 8))):
        damaged[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / "session.jsonl"
    path.write_bytes(damaged)
    entries, _ = read(path)
    result = Replayed()
    rows = list(turns_of(entries, result))
    assert "\n" not in result.ended
    # Each number comes from the log as it was, or the log ends before it.
    whole_rows = [r for e in json_lines(whole) if e["kind"] == "turns" for r in turns_in(e)]
    for row, right in zip(rows, whole_rows, strict=False):
        assert row.turn["number"] == right.turn["number"]


def json_lines(content: bytes) -> Entries:
    return [json.loads(line) for line in content.splitlines()]


def turns_in(entry: dict[str, Any]) -> list[Any]:
    return unpack_turns(entry)


def test_silence_costs_next_to_nothing(models: Models, settings: Settings, tmp_path: Path) -> None:
    log = SessionLog(tmp_path, about=about_session(settings))
    box = Box(settings, lambda clock: models.composer, log)
    box.player.is_playing = False
    box.run(120.0)
    box.close()
    log.close()
    n_bytes = sum(path.stat().st_size for path in tmp_path.iterdir())
    assert n_bytes - len(json.dumps(about_session(settings))) < 0.3e6 * 120.0 / HOUR_S + 2_000


@pytest.mark.slow
def test_an_hour_of_busy_playing_is_less_than_20_mb_and_replays_whole(
    models: Models, settings: Settings, tmp_path: Path
) -> None:
    # A minute costs what the others do; KELLY_SESSION_MINUTES=60 plays the whole hour.
    seconds = 60.0 * float(os.environ.get("KELLY_SESSION_MINUTES", "1"))
    log = SessionLog(tmp_path, about=about_session(settings))
    box = Box(settings, lambda clock: models.composer, log)
    for _ in range(round(seconds / 60.0)):
        box.run(60.0)
        assert log.flush(60.0)
    box.close()
    log.close()
    path = min(tmp_path.iterdir())
    assert path.stat().st_mode & 0o777 == 0o600
    assert log.n_lost == 0 and box.composer.counters["n_turns_dropped"] == 0
    n_bytes = sum(part.stat().st_size for part in tmp_path.iterdir())
    assert n_bytes * HOUR_S / seconds < MOST_BYTES_AN_HOUR
    entries, n_damaged = read(path)
    result = replayed(entries, models, settings)
    assert n_damaged == 0 and result.is_identical and not result.ended
    assert result.n_turns == round(60.0 / GROUP_S) * round(seconds / 60.0)


def test_every_knob_is_in_the_log_of_a_turn(plain: Entries) -> None:
    first = next(entry for entry in plain if entry["kind"] == "turns")
    assert set(first["knobs"]) == set(CELLS["knobs"].dtype.names or ())
