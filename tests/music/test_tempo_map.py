"""The measures of performance.mid are the bars that were committed, to a tick."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import mido
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_py.board.map import BAR_DTYPE
from firmware_py.devices.files.config_file import load_settings
from firmware_py.devices.files.output import KEY_SIGNATURES, OutputFolder, write_midi
from firmware_py.settings import Settings
from firmware_py.wiring.offline import Models, Offline, Performance
from kelly_edge.contract import NOTE_DTYPE, SAMPLE_RATE_HZ
from kelly_edge.music.tempo_map import TICKS_PER_BEAT, TempoMap


def bars_of(*rows: tuple[float, float, int]) -> np.ndarray:
    """Bars from start (s), tempo (bpm) and beats."""
    bars = [(start_s, 60.0 / bpm, n_beats, i, 0, -1, -1) for i, (start_s, bpm, n_beats) in enumerate(rows)]
    return np.array(bars, BAR_DTYPE)


def bar_lines_s(path: Path) -> list[float]:
    """When the bar lines of the file fall, as a sequencer finds them from its tempi and time signatures."""
    file = mido.MidiFile(path)
    assert file.type == 0
    tempi, signatures, now, end = [(0, 500_000)], [(0, 4)], 0, 0
    for message in file.tracks[0]:
        now += message.time
        if message.type == "set_tempo":
            tempi.append((now, message.tempo))
        elif message.type == "time_signature":
            assert message.denominator == 4
            signatures.append((now, message.numerator))
        end = now

    def seconds(tick: int) -> float:
        total, before, tempo = 0.0, 0, 500_000
        for at, new in tempi:
            if at > tick:
                break
            total, before, tempo = total + (at - before) * tempo, at, new
        return (total + (tick - before) * tempo) / file.ticks_per_beat / 1e6

    lines, tick = [], 0
    while tick <= end:
        lines.append(seconds(tick))
        tick += [n for at, n in signatures if at <= tick][-1] * file.ticks_per_beat
    return lines


def written(tmp_path: Path, bars: np.ndarray, notes: np.ndarray | None = None) -> Path:
    """The file of ``bars``, with a note to the end of the last one where none are given."""
    if notes is None:
        end_s = float(bars[-1]["start_s"] + bars[-1]["n_beats"] * bars[-1]["beat_s"])
        notes = np.array([(0.0, 0.0, end_s, 60, 64, 0, 0, 0)], NOTE_DTYPE)
    with OutputFolder(tmp_path) as output:
        write_midi(output, "a.mid", notes, 5, bars)
    return tmp_path / "a.mid"


def distance_s(lines: list[float], time_s: float) -> float:
    return min(abs(line - time_s) for line in lines)


rows = st.lists(st.tuples(st.floats(20.0, 300.0), st.sampled_from([1, 4])), min_size=1, max_size=60)


@given(rows, st.floats(0.0, 3.0))
def test_every_bar_begins_on_a_bar_line(some: list[tuple[float, int]], begin_s: float) -> None:
    bars, start_s = [], begin_s
    for bpm, n_beats in some:
        bars.append((start_s, bpm, n_beats))
        start_s += n_beats * 60.0 / bpm
    tempi = TempoMap(bars_of(*bars))
    lines = {measure.tick: measure for measure in tempi.measures}
    for start_s, bpm, _ in bars:
        tick = tempi.tick(start_s)
        assert min(abs(tick - line) for line in lines) <= 1
        measure = lines[min(lines, key=lambda line: abs(line - tick))]
        assert abs(measure.time_us / 1e6 - start_s) <= 60.0 / bpm / TICKS_PER_BEAT


def test_hours_of_bars_do_not_drift() -> None:
    bpm = 97.3
    tempi = TempoMap(bars_of(*((0.3 + i * 240.0 / bpm, bpm, 4) for i in range(6_000))))
    assert abs(tempi.measures[-1].time_us / 1e6 - (0.3 + 5_999 * 240.0 / bpm)) < 2e-4
    assert tempi.measures[-1].n_beats == 4


def test_a_rest_cut_short_leaves_no_fraction_of_a_beat(tmp_path: Path) -> None:
    bars = bars_of((0.4, 90.0, 1), (0.4 + 60 / 90, 90.0, 1), (1.3, 120.0, 4), (3.3, 132.0, 4))
    lines = bar_lines_s(written(tmp_path, bars))
    for start_s in (0.4, 1.3, 3.3):
        assert distance_s(lines, start_s) < 1e-3
    assert all(later - line > 0.3 for line, later in pairwise(lines))


def test_bars_that_a_later_one_replaces_are_not_written(tmp_path: Path) -> None:
    bars = bars_of((0.5, 60.0, 1), (1.5, 60.0, 1), (2.5, 60.0, 1), (1.6, 100.0, 4))
    lines = bar_lines_s(written(tmp_path, bars))
    assert distance_s(lines, 1.6) < 1e-3 and distance_s(lines, 2.5) > 0.1


def test_a_time_without_bars_is_counted_in_whole_beats(tmp_path: Path) -> None:
    lines = bar_lines_s(written(tmp_path, bars_of((0.0, 120.0, 4), (13.1, 120.0, 4))))
    assert distance_s(lines, 2.0) < 1e-3 and distance_s(lines, 13.1) < 1e-3
    assert len(lines) < 10


@pytest.mark.parametrize("mode", [0, 1])
@pytest.mark.parametrize("tonic", range(12))
def test_the_key_is_written_where_it_is_known(tmp_path: Path, tonic: int, mode: int) -> None:
    bars = bars_of((0.0, 120.0, 4), (2.0, 120.0, 4), (4.0, 120.0, 4))
    bars["tonic"][1:], bars["mode"][1:] = tonic, mode
    messages, now, found = mido.MidiFile(written(tmp_path, bars)).tracks[0], 0, []
    for message in messages:
        now += message.time
        if message.type == "key_signature":
            found.append((now, message.key))
    assert found == [(4 * TICKS_PER_BEAT, KEY_SIGNATURES[mode][tonic])]


def test_the_names_of_the_keys_are_of_their_tonics() -> None:
    letters = dict(zip("CDEFGAB", (0, 2, 4, 5, 7, 9, 11), strict=True))
    for mode, names in enumerate(KEY_SIGNATURES):
        for tonic, name in enumerate(names):
            plain = name.removesuffix("m")
            assert name.endswith("m") == (mode == 0)
            assert (letters[plain[0]] + plain.count("#") - plain.count("b")) % 12 == tonic


def test_the_track_has_a_name_and_its_program(tmp_path: Path) -> None:
    (track,) = mido.MidiFile(written(tmp_path, bars_of((0.0, 120.0, 4)))).tracks
    assert track.name == "Kelly Edge"
    assert [m.program for m in track if m.type == "program_change"] == [5]


def test_play_at_changing_tempi_falls_on_the_files_own_grid(
    tmp_path: Path, demo_performance: Performance
) -> None:
    bars, notes = demo_performance.bars, demo_performance.notes
    path = written(tmp_path, bars, notes)
    lines = bar_lines_s(path)
    played = bars[bars["n_beats"] == 4]
    played = played[played["start_s"] < float(notes["onset_s"].max())]
    assert len(set(np.round(played["beat_s"], 4))) > 2
    for bar in played:
        assert distance_s(lines, float(bar["start_s"])) <= float(bar["beat_s"]) / TICKS_PER_BEAT
    now_s, struck = 0.0, []
    for message in mido.MidiFile(path):
        now_s += message.time
        if message.type == "note_on":
            struck.append(now_s)
    np.testing.assert_allclose(struck, np.sort(notes["onset_s"]), atol=2e-3)


def test_the_same_performance_is_the_same_bytes(tmp_path: Path, demo_performance: Performance) -> None:
    one = written(tmp_path / "one", demo_performance.bars, demo_performance.notes).read_bytes()
    assert one == written(tmp_path / "two", demo_performance.bars, demo_performance.notes).read_bytes()


@pytest.fixture
def short(models: Models, demo_samples: np.ndarray) -> Callable[..., Performance]:
    """What is made of ten seconds of the demo that end in the middle of the music."""

    def play(*overrides: str) -> Performance:
        part = demo_samples[20 * SAMPLE_RATE_HZ : 30 * SAMPLE_RATE_HZ]
        return Offline(load_settings(None, overrides), models, part).run()

    return play


def test_the_last_notes_end_as_they_would(short: Callable[..., Performance]) -> None:
    performance = short()
    planned = {
        (round(e["onset_s"], 3), e["pitch"]): e["duration_s"]
        for e in performance.session
        if e["kind"] == "note"
    }
    notes = performance.notes
    last = notes[notes["onset_s"] + notes["duration_s"] > 10.0]
    assert len(last) > 0
    for note in last:
        wanted_s = planned[round(float(note["onset_s"]), 3), int(note["pitch"])]
        assert float(note["duration_s"]) == pytest.approx(wanted_s, abs=1e-3)
    assert float((notes["onset_s"] + notes["duration_s"]).max()) < 10.0 + 16.0
    (midi,) = (e for e in performance.session if e["kind"] == "counters" and e["process"] == "midi")
    assert midi["n_note_ons"] == midi["n_note_offs"] == len(notes)


def test_the_latency_of_an_instrument_does_not_move_the_music_of_the_file(
    short: Callable[..., Performance],
) -> None:
    """Sent half a second sooner, the same notes lie on the same bars; none is late."""
    late = short("midi.latency_ms=500")
    (midi,) = (e for e in late.session if e["kind"] == "counters" and e["process"] == "midi")
    assert midi["n_late"] == midi["n_stale"] == 0
    starts_s = late.bars["start_s"]
    for bar in late.bars[late.bars["n_beats"] == 4][:-1]:
        end_s = bar["start_s"] + 4 * bar["beat_s"]
        assert np.abs(starts_s - end_s).min() < 1e-6
    assert Settings().midi.latency_ms == 0.0
    np.testing.assert_allclose(late.notes["onset_s"] - late.notes["due_s"], 0.5, atol=1e-9)
