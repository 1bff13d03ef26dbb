"""composer: down the ladder when it is late and up again, each rung counted; alive while it works."""

from collections.abc import Callable

import numpy as np
import pytest

from firmware_py.board.map import ALIVE_DTYPE, Board, memory_board
from firmware_py.devices.offline import RecordingMidi, VirtualClock
from firmware_py.processes.composer import ComposerStage
from firmware_py.processes.midi import COMPOSER_STALLED_S, MidiStage
from firmware_py.settings import Settings
from firmware_py.wiring.composer_models import BeatingNetwork, new_generator
from firmware_py.wiring.offline import Models
from kelly_edge.contract import GROUP_S, HEARD_DTYPE, RUNGS
from kelly_edge.music.compound_word import Rows
from kelly_edge.music.sampling import ComposerNetwork, Floats, KvCache

STEP_S = 0.02


class SlowNetwork:
    """The shipped network, on a machine where a row takes ``row_s``."""

    def __init__(self, network: ComposerNetwork, clock: VirtualClock) -> None:
        self.context, self.tables = network.context, network.tables
        self.known_runs = network.known_runs
        self.row_s = 0.0
        self._network, self._clock = network, clock

    def new_cache(self) -> KvCache:
        return self._network.new_cache()

    def step(self, row: Rows, cache: KvCache, n_rows: int, contexts: Floats) -> None:
        self._network.step(row, cache, n_rows, contexts)
        self._clock.time_s += self.row_s


class Rig:
    """A composer that hears somebody play, and the midi it sends to."""

    def __init__(self, models: Models) -> None:
        self.board: Board = memory_board()
        self.clock, self.out = VirtualClock(), RecordingMidi()
        self.network = SlowNetwork(models.composer, self.clock)
        settings = Settings()
        beating = BeatingNetwork(self.network)
        self.stage = ComposerStage(
            self.board.ends("composer"), settings, new_generator(settings, beating), self.clock
        )
        beating.beat = self.stage.beat
        self.midi = MidiStage(self.board.ends("midi"), self.out, self.clock)
        self.heard = np.zeros((), HEARD_DTYPE)
        self.heard["presence"] = self.heard["confidence"] = 1.0
        self.heard["tonic"] = self.heard["mode"] = -1
        self.n_groups = self.n_before = 0
        """Hop groups heard, and those of a dsp that is gone."""
        self.late_s: Callable[[], float] = lambda: 0.0
        self.mood: Callable[[int], tuple[float, float]] = lambda _: (0.0, 0.0)

    def hear(self) -> None:
        """Every hop group up to now."""
        heard = self.heard
        while (self.n_groups + 1) * GROUP_S <= self.clock.time_s:
            heard["group"] = self.n_groups - self.n_before
            heard["time_s"] = (self.n_groups + 1) * GROUP_S + self.late_s()
            heard["valence"], heard["arousal"] = self.mood(self.n_groups)
            self.n_groups += 1
            self.board.rings["heard"].write(heard)

    def run(self, seconds: float, step_s: Callable[[], float] = lambda: STEP_S) -> list[str]:
        """The rungs that bars were made on meanwhile, one per step that composed."""
        rungs = []
        end_s = self.clock.time_s + seconds
        while self.clock.time_s < end_s:
            self.clock.time_s += step_s()
            self.hear()
            before = self.counts()
            self.stage.step()
            self.midi.step()
            rungs += [name for name, n in self.counts().items() if n > before[name]]
        return rungs

    def counts(self) -> dict[str, int]:
        return {name: int(self.stage.counters[f"n_{name}"]) for name in RUNGS}


@pytest.fixture
def rig(models: Models) -> Rig:
    return Rig(models)


def test_in_time_every_bar_is_full(rig: Rig) -> None:
    rig.run(12.0)
    counts = rig.counts()
    assert counts["full"] > 3
    assert counts["short_context"] == counts["continuation"] == counts["rest"] == 0
    assert rig.midi.counters["n_note_ons"] > 5


def test_it_steps_down_when_it_is_slow_and_up_again_and_counts_each_rung(rig: Rig) -> None:
    rig.run(8.0)
    rig.network.row_s = 0.25  # Some bars take longer than they last.
    slow = rig.run(60.0)
    rig.network.row_s = 0.0
    rig.run(60.0)
    again = rig.run(10.0)
    assert {"short_context", "continuation"} <= set(slow)
    assert set(again) == {"full"}
    counts = rig.counts()
    assert sum(counts.values()) + int(rig.stage.counters["n_silent_bars"]) == rig.stage.counters["n_bars"]
    assert min(counts["full"], counts["short_context"], counts["continuation"]) > 0


def test_a_composer_without_any_time_left_rests(rig: Rig) -> None:
    rig.run(8.0)
    # As after SIGSTOP: it comes back behind everything it had planned.
    rig.clock.time_s += 20.0
    rig.stage._ladder.cost_s = dict.fromkeys(rig.stage._ladder.cost_s, 5.0)
    assert rig.run(0.1)[0] in ("continuation", "rest")
    assert rig.stage.counters["n_late_bars"] >= 1


def test_late_notes_do_not_burst(rig: Rig) -> None:
    rig.run(8.0)
    rig.clock.time_s += 5.0
    before = len(rig.out.messages)
    rig.stage.step()
    rig.midi.step()
    assert not [m for m in rig.out.messages[before:] if m[1] & 0xF0 == 0x90]


def test_it_gives_signs_of_life_within_a_long_bar(rig: Rig, models: Models) -> None:
    rig.run(8.0)
    rig.network.row_s = COMPOSER_STALLED_S / 2
    alive, longest_s = np.zeros((), ALIVE_DTYPE), 0.0
    inner = rig.network.step

    def watched(row: Rows, cache: KvCache, n_rows: int, contexts: Floats) -> None:
        nonlocal longest_s
        rig.board.cells["alive"].read(alive)
        longest_s = max(longest_s, rig.clock.time_s - float(alive["time_s"]))
        inner(row, cache, n_rows, contexts)

    rig.network.step = watched  # type: ignore[method-assign]
    rig.run(20.0)
    assert longest_s <= COMPOSER_STALLED_S


def test_the_music_depends_on_what_was_heard_and_not_on_when_the_composer_was_awake(models: Models) -> None:
    def play(seed: int) -> list[tuple[int, ...]]:
        rng, rig = np.random.default_rng(seed), Rig(models)
        rig.late_s = lambda: rng.uniform(0.0, 0.015)
        # Somebody whose mood swings, so that the music is planned again and again.
        rig.mood = lambda n: (np.sin(n / 20.0), np.cos(n / 31.0))
        rig.run(20.0, lambda: rng.uniform(0.001, 0.06))
        assert rig.stage.counters["n_replanned"] > 3
        return [(note, velocity) for _, status, note, velocity in rig.out.messages if status & 0xF0 == 0x90]

    plain = play(0)
    assert len(plain) > 40
    for seed in range(1, 4):
        other = play(seed)
        # The end is cut at another moment.
        n = min(len(plain), len(other))
        assert n > len(plain) - 10
        assert plain[:n] == other[:n]


def test_without_a_dsp_the_music_goes_on(rig: Rig) -> None:
    rig.run(8.0)
    before = int(rig.midi.counters["n_note_ons"])
    rig.hear = lambda: None  # type: ignore[method-assign]
    rig.run(8.0)
    assert rig.midi.counters["n_note_ons"] > before + 5


def test_another_dsp_counts_from_the_beginning_and_the_music_goes_on(rig: Rig) -> None:
    rig.run(8.0)
    before, rig.n_before = int(rig.midi.counters["n_note_ons"]), rig.n_groups
    rig.run(8.0)
    assert rig.midi.counters["n_note_ons"] > before + 5
    assert rig.stage.counters["n_late_bars"] == 0


@pytest.mark.parametrize("ends_s", [20.0, 27.3])
def test_music_that_must_end_ends_in_time_with_a_long_chord(rig: Rig, ends_s: float) -> None:
    rig.stage.ends_s = ends_s
    rig.run(ends_s + 6.0)
    notes = rig.out.notes(0.0)
    onsets = np.array(sorted(note["onset_s"] for note in notes))
    last = [note for note in notes if note["onset_s"] > onsets[-1] - 0.1]
    assert ends_s - 12.0 < onsets[-1] < ends_s
    assert len(last) >= 3
    assert min(note["duration_s"] for note in last) > 1.0
    assert len({note["pitch"] % 12 for note in last}) <= 3


def test_what_has_hardly_begun_is_not_ended(rig: Rig) -> None:
    rig.stage.ends_s = 4.0
    rig.run(4.0)
    assert rig.midi.counters["n_note_ons"] > 0


def test_a_step_ends_though_hop_groups_come_faster_than_turns_are_taken(rig: Rig) -> None:
    """The loop around it tells the watchdog, between steps alone."""
    waiting = rig.board.rings["heard"]
    read, n_read = waiting.read, 0

    def read_and_find_another(out: np.ndarray) -> bool:
        nonlocal n_read
        n_read += 1
        assert n_read < 100, "the step never ends"
        rig.clock.time_s += 2.0 * GROUP_S  # A turn takes as long as two groups.
        rig.hear()
        return read(out)

    waiting.read = read_and_find_another  # type: ignore[method-assign]
    rig.stage.step()
    assert 1 < n_read < 20
    rig.stage.step()
    assert rig.stage.counters["n_bars"] > 0
