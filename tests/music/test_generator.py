"""The generator with a small network that depends on its whole cache: legality, rewinding, bounds."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from small_network import CONTEXT, SmallNetwork

from kelly_edge.music import compound_word as cw
from kelly_edge.music import expression
from kelly_edge.music.form import Place, Written, lay_out
from kelly_edge.music.generator import Generator
from kelly_edge.music.known_runs import KnownRuns, interval_hashes
from kelly_edge.music.notes import Bar
from kelly_edge.music.sampling import CHORD_BRIGHTNESS, Floats, Mask, Sampler, SamplingSettings
from kelly_edge.music.target import Target, graded_level

FULL, SHORT, CONTINUATION, REST = range(4)
SCALE = {1: {0, 2, 4, 5, 7, 9, 11}, 0: {0, 2, 3, 5, 7, 8, 10, 11}}


def new_generator(seed: int = 1) -> Generator:
    return Generator(SmallNetwork(), SamplingSettings(), seed)


def compose(generator: Generator, n: int, target: Target, rung: int = FULL) -> list[Bar]:
    return [generator.compose_bar(target, rung) for _ in range(n)]


def last_heard(bars: list[Bar]) -> Bar:
    return [bar for bar in bars if bar.notes][-1]


TARGET = Target(0.5, 0.5, tonic=2, mode=1, tempo_bpm=100.0)


def test_the_same_seed_gives_the_same_notes() -> None:
    assert compose(new_generator(), 12, TARGET) == compose(new_generator(), 12, TARGET)


def test_another_seed_gives_other_notes() -> None:
    assert compose(new_generator(1), 4, TARGET) != compose(new_generator(2), 4, TARGET)


@pytest.mark.parametrize("n_back", [1, 5, 16])
def test_rewinding_with_the_same_target_composes_the_same_bars_again(n_back: int) -> None:
    generator = new_generator()
    bars = compose(generator, 40, TARGET)
    generator.rewind(40 - n_back)
    assert generator.next_bar == 40 - n_back
    assert compose(generator, n_back, TARGET) == bars[-n_back:]


def test_rewinding_twice_and_going_on_is_as_if_it_never_happened() -> None:
    straight = compose(new_generator(), 30, TARGET)
    generator = new_generator()
    compose(generator, 20, TARGET)
    generator.rewind(12)
    compose(generator, 6, Target(-0.9, -0.9, tonic=2, mode=0))
    generator.rewind(12)
    assert compose(generator, 18, TARGET) == straight[12:]


def composed_pitches(bars: list[Bar]) -> np.ndarray:
    """In the order of rows: as the notes lie, played without unevenness."""
    return np.array([note.pitch for bar in bars for note in bar.notes])


def test_no_run_of_notes_that_it_learned_from_is_played() -> None:
    exact = SamplingSettings(unevenness=0.0)
    target = Target(0.5, 0.5, tonic=0, mode=1, tempo_bpm=100.0)
    learned = compose(Generator(SmallNetwork(), exact, 1), 60, target)
    network = SmallNetwork()
    network.known_runs = KnownRuns.of(interval_hashes(composed_pitches(learned)), 1 << 12)
    bars = compose(Generator(network, exact, 1), 60, target)
    assert bars[:2] == learned[:2]
    assert len(composed_pitches(bars)) > 100
    assert not network.known_runs.has(interval_hashes(composed_pitches(bars))).any()


def test_a_rewound_bar_follows_the_new_target() -> None:
    generator = new_generator()
    bars = compose(generator, 10, TARGET)
    generator.rewind(8)
    other = compose(generator, 2, Target(-1.0, -1.0, tonic=2, mode=0, tempo_bpm=100.0))
    assert [bar.number for bar in other] == [8, 9]
    assert other != bars[8:]


def test_long_play_takes_no_memory_and_keeps_a_look_ahead_of_full_bars() -> None:
    network = SmallNetwork()
    generator = Generator(network, SamplingSettings(), seed=1)
    n_caches = network.n_caches
    for rung in (FULL, SHORT, CONTINUATION, FULL):
        compose(generator, 40, TARGET, rung)
        generator.rewind(generator.next_bar - 8)
    assert network.n_caches == n_caches


def test_rewinding_to_the_next_bar_changes_nothing() -> None:
    generator = new_generator()
    compose(generator, 3, TARGET)
    generator.rewind(3)
    assert generator.next_bar == 3


@pytest.mark.parametrize("bar", [-1, 4, 99])
def test_rewinding_to_a_bar_that_is_not_kept_is_refused(bar: int) -> None:
    generator = new_generator()
    compose(generator, 3, TARGET)
    with pytest.raises(ValueError, match="no snapshot of bar"):
        generator.rewind(bar)


@given(
    st.builds(
        Target,
        valence=st.floats(),
        arousal=st.floats(),
        density=st.floats(),
        tonic=st.integers(-3, 14),
        mode=st.integers(-3, 3),
        tempo_bpm=st.floats(),
    ),
    st.integers(0, 3),
)
@example(Target(0.0, 0.0, tempo_bpm=5e-324), FULL)
@settings(max_examples=60, deadline=None)
def test_every_bar_is_legal_whatever_the_target(target: Target, rung: int) -> None:
    generator = new_generator()
    for bar in (generator.compose_bar(target), generator.compose_bar(target, rung)):
        assert math.isfinite(bar.tempo_bpm)
        assert bar.tempo_bpm > 0.0
        onsets = [(note.onset_beats, note.pitch) for note in bar.notes]
        assert onsets == sorted(set(onsets))
        for note in bar.notes:
            assert 0.0 <= note.onset_beats < bar.n_beats
            assert note.duration_beats > 0.0
            assert 21 <= note.pitch <= 108
            assert 1 <= note.velocity <= 127


@pytest.mark.parametrize(("tonic", "mode"), [(0, 1), (2, 1), (6, 0), (7, 0), (11, 1)])
def test_key_lock_keeps_every_note_in_the_key(tonic: int, mode: int) -> None:
    bars = compose(new_generator(), 16, Target(0.3, 0.3, tonic=tonic, mode=mode))
    classes = {(note.pitch - tonic) % 12 for bar in bars for note in bar.notes}
    assert len(classes) >= 5
    assert classes <= SCALE[mode]


def test_without_a_tonic_chromatic_notes_may_sound() -> None:
    bars = compose(new_generator(), 16, Target(0.3, 0.3))
    assert len({note.pitch % 12 for bar in bars for note in bar.notes}) > 8


def test_a_pitch_ends_before_it_is_struck_again_in_its_bar() -> None:
    for bar in compose(new_generator(), 30, TARGET):
        for first, second in itertools.combinations(bar.notes, 2):
            if first.pitch == second.pitch:
                assert first.onset_beats + first.duration_beats <= second.onset_beats


def test_a_pitch_that_still_sounds_is_struck_again_less_often(monkeypatch: pytest.MonkeyPatch) -> None:
    def count(nats: float) -> int:
        monkeypatch.setattr("kelly_edge.music.drawing.RESTRUCK", nats)
        ends: dict[int, float] = {}
        n_again = 0
        # As written: who plays unevenly holds some notes beyond the next.
        generator = Generator(SmallNetwork(), SamplingSettings(unevenness=0.0), 1)
        for number, bar in enumerate(compose(generator, 200, TARGET)):
            for note in bar.notes:
                onset = number * bar.n_beats + note.onset_beats
                n_again += ends.get(note.pitch, 0.0) > onset
                ends[note.pitch] = onset + note.duration_beats
        return n_again

    # Bars that return are not drawn, so they strike what their model struck.
    assert count(8.0) < count(0.0) / 2


def test_notes_are_a_little_late_and_the_melody_leads() -> None:
    straight, uneven = (
        compose(Generator(SmallNetwork(), SamplingSettings(unevenness=share), 1), 30, TARGET)
        for share in (0.0, 1.0)
    )
    delays, n_chords = [], 0
    for on_grid, played in zip(straight, uneven, strict=True):
        place = {}
        for note in on_grid.notes:
            assert (note.onset_beats * cw.STEPS_PER_BEAT).is_integer()
            place.setdefault(note.pitch, []).append(note.onset_beats)
        chords: dict[float, list[tuple[float, int]]] = {}
        for note in played.notes:
            grid = max(onset for onset in place[note.pitch] if onset <= note.onset_beats + 1e-6)
            delays.append((note.onset_beats - grid) * 60.0 / played.tempo_bpm)
            chords.setdefault(grid, []).append((note.onset_beats, note.pitch))
        for chord in chords.values():
            n_chords += len(chord) > 1
            assert [pitch for _, pitch in sorted(chord, key=lambda n: n[0])] == sorted(
                (pitch for _, pitch in chord), reverse=True
            )
    assert n_chords > 5
    assert min(delays) >= 0.0
    assert max(delays) < 0.06
    assert 0.004 < np.mean(delays) < 0.016


def test_the_tempo_given_is_the_tempo_played() -> None:
    assert {bar.tempo_bpm for bar in compose(new_generator(), 3, Target(0, 0, tempo_bpm=87.3))} == {87.3}


def test_a_free_tempo_moves_by_small_steps() -> None:
    tempi = [bar.tempo_bpm for bar in compose(new_generator(), 20, Target(0, 0))]
    assert all(abs(math.log(b / a)) < 0.07 for a, b in itertools.pairwise(tempi))


def test_a_continuation_repeats_the_last_bar_without_the_network() -> None:
    network = SmallNetwork()
    generator = Generator(network, SamplingSettings(unevenness=0.0), 1)
    last = last_heard(compose(generator, 3, TARGET))
    n_steps = network.n_steps
    again = generator.compose_bar(TARGET, CONTINUATION)
    assert again.notes == last.notes
    assert (again.number, again.rung) == (3, CONTINUATION)
    assert network.n_steps == n_steps


def test_a_continuation_moves_to_the_new_tonic() -> None:
    generator = new_generator()
    last = last_heard(compose(generator, 3, TARGET))
    again = generator.compose_bar(Target(0.5, 0.5, tonic=4, mode=1), CONTINUATION)
    assert [note.pitch for note in again.notes] == [note.pitch + 2 for note in last.notes]


@pytest.mark.parametrize("mode", [0, 1])
def test_a_continuation_in_another_mode_is_in_its_key(mode: int) -> None:
    generator = new_generator()
    compose(generator, 3, Target(0.5, 0.5, tonic=2, mode=1 - mode))
    again = generator.compose_bar(Target(0.5, 0.5, tonic=2, mode=mode), CONTINUATION)
    assert again.notes
    natural = SCALE[1] if mode else SCALE[0] - {11}
    assert {(note.pitch - 2) % 12 for note in again.notes} <= natural


def test_a_continuation_of_nothing_and_a_rest_are_empty() -> None:
    generator = new_generator()
    assert generator.compose_bar(TARGET, CONTINUATION).notes == ()
    assert generator.compose_bar(TARGET, REST).notes == ()
    assert generator.next_bar == 2


def test_play_goes_on_after_a_rest() -> None:
    generator = new_generator()
    compose(generator, 2, TARGET)
    compose(generator, 40, TARGET, REST)
    assert any(bar.notes for bar in compose(generator, 8, TARGET))


def test_the_work_of_a_bar_is_bounded() -> None:
    network = SmallNetwork()
    generator = Generator(network, SamplingSettings(max_rows_per_bar=20), 1)
    for _ in range(120):
        before = network.n_steps
        bar = generator.compose_bar(TARGET)
        assert len(bar.notes) <= 20
        assert network.n_steps - before <= 21 + CONTEXT // 2


def test_a_short_context_costs_less() -> None:
    network = SmallNetwork()
    generator = Generator(network, SamplingSettings(), 1)
    worst = 0
    for _ in range(60):
        before = network.n_steps
        assert len(generator.compose_bar(TARGET, SHORT).notes) <= 24
        worst = max(worst, network.n_steps - before)
    assert worst <= 25 + 64


PERIOD = lay_out("A A", "a b c d")
"""Bars 4, 5 and 6 return to 0, 1 and 2."""


def with_form(places: tuple[Place, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    """Every form is this one."""
    monkeypatch.setattr("kelly_edge.music.generator.draw_places", lambda rng: places)


def struck(bar: Bar) -> list[tuple[int, int]]:
    """(step, pitch) of its notes."""
    return sorted((int(n.onset_beats * cw.STEPS_PER_BEAT + 1e-3), n.pitch) for n in bar.notes)


def test_a_bar_that_returns_sounds_like_its_model(monkeypatch: pytest.MonkeyPatch) -> None:
    with_form(PERIOD, monkeypatch)
    # A bar that shall be much denser than its model is composed anew.
    monkeypatch.setattr("kelly_edge.music.manner.BAR_DENSITY_SD", 0.0)
    n_free = 0
    for seed in range(6):
        bars = [struck(bar) for bar in compose(new_generator(seed), 16, TARGET)]
        for first in (0, 8):
            for i in (0, 1, 2):
                model, again = bars[first + i], bars[first + i + 4]
                # What has no notes has nothing to bring back.
                assert again == model or not model
            n_free += bars[first + 3] != bars[first + 7]
            n_free += bars[0] != bars[8]
    assert n_free >= 16


def test_what_is_free_is_composed_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    with_form(lay_out("A B C", "a b c d"), monkeypatch)
    bars = [struck(bar) for bar in compose(new_generator(), 24, TARGET)]
    played = [tuple(bar) for bar in bars if len(bar) > 2]
    assert len(set(played)) == len(played) > 3


def test_a_returning_bar_is_read_by_the_network_and_costs_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    with_form(PERIOD, monkeypatch)
    network = SmallNetwork()
    generator = Generator(network, SamplingSettings(), 1)
    for _ in range(64):
        before = network.n_steps
        bar = generator.compose_bar(TARGET)
        spent = network.n_steps - before
        assert len(bar.notes) + 1 <= spent <= len(bar.notes) + 1 + CONTEXT // 2


@pytest.mark.parametrize("n_back", range(1, 9))
def test_rewinding_inside_a_phrase_leads_to_the_same_bars(
    n_back: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_form(PERIOD, monkeypatch)
    generator = new_generator()
    bars = compose(generator, 16, TARGET)
    generator.rewind(15 - n_back)
    compose(generator, 2, Target(-0.9, -0.9, tonic=2, mode=0))
    generator.rewind(15 - n_back)
    assert compose(generator, n_back + 1, TARGET) == bars[15 - n_back :]


def test_the_look_ahead_changes_nothing() -> None:
    """Bars composed ahead for a target that was given up leave no trace in the form."""
    path = [TARGET] * 5 + [replace(TARGET, valence=0.1)] * 9 + [replace(TARGET, arousal=-0.6)] * 10
    straight = [bar for generator in [new_generator(2)] for bar in map(generator.compose_bar, path)]
    for n_ahead in (1, 3, 8):
        generator, bars = new_generator(2), []
        for target in path:
            ahead = compose(generator, n_ahead, target)
            bars.append(ahead[0])
            generator.rewind(len(bars))
        assert bars == straight


def test_a_far_target_begins_a_new_phrase_at_the_next_bar_and_a_near_one_does_not() -> None:
    generator = new_generator()
    compose(generator, 6, TARGET)
    near, far = replace(TARGET, valence=0.3), replace(TARGET, valence=-0.3)
    began = generator._moments.now.score.began
    assert generator._score(near).began == began
    assert generator._score(far).began == 6


def test_a_phrase_keeps_its_density_and_its_tempo(monkeypatch: pytest.MonkeyPatch) -> None:
    with_form(lay_out("A B A B", "a b c d e f g h"), monkeypatch)
    drawn = []
    for seed in range(30):
        generator = new_generator(seed)
        bars = []
        for _ in range(32):
            bars.append(generator.compose_bar(Target(0.2, 0.2)))
        assert len({bar.tempo_bpm for bar in bars}) == 1
        density = [bar.density for bar in generator._moments.now.score.written]
        drawn.append([np.mean(density[i : i + 7]) for i in (0, 8, 16, 24)])
        assert np.std(density[:7]) < 1.0
    first, second, third, fourth = np.array(drawn).T
    assert np.mean(abs(first - third)) + np.mean(abs(second - fourth)) < np.mean(abs(first - second))


@pytest.mark.parametrize("n_before", range(1, 12))
@pytest.mark.parametrize("n_bars", [1, 2])
@pytest.mark.parametrize("rung", [FULL, SHORT])
def test_an_ending_takes_the_bars_it_was_given(n_before: int, n_bars: int, rung: int) -> None:
    generator = new_generator()
    compose(generator, n_before, TARGET)
    bars = compose(generator, n_bars + 3, replace(TARGET, ending=n_bars), rung)
    last = bars[n_bars - 1]
    assert {note.pitch % 12 for note in last.notes} <= {2, 6, 9}
    assert min(note.pitch for note in last.notes) % 12 == 2
    assert max(note.onset_beats for note in last.notes) < 0.25
    assert min(note.duration_beats for note in last.notes) >= 4.0
    assert {bar.tempo_bpm for bar in bars} == {100.0}
    assert not any(bar.notes for bar in bars[n_bars:])
    assert [bar.number for bar in bars] == list(range(n_before, n_before + n_bars + 3))


def test_the_tempo_of_an_ending_is_the_one_it_has() -> None:
    generator = new_generator()
    before = compose(generator, 5, Target(0.3, 0.0))[-1]
    assert {b.tempo_bpm for b in compose(generator, 2, Target(0.3, 0.0, ending=2))} == {before.tempo_bpm}


def test_a_late_ending_ends_too() -> None:
    """Where there is no time to compose, the last chord comes all the same, without the network."""
    generator = new_generator()
    compose(generator, 4, TARGET)
    bars = compose(generator, 3, replace(TARGET, ending=2), CONTINUATION)
    assert {note.pitch % 12 for note in bars[1].notes} <= {2, 6, 9}
    assert bars[1].notes
    assert not bars[2].notes


def test_an_ending_of_nothing_is_silent_and_music_comes_back_after_one() -> None:
    ending = replace(TARGET, ending=2)
    generator = new_generator()
    assert not any(bar.notes for bar in compose(generator, 3, ending))
    assert any(bar.notes for bar in compose(generator, 6, TARGET))
    compose(generator, 4, ending)
    assert not any(bar.notes for bar in compose(generator, 2, TARGET, REST))
    assert any(bar.notes for bar in compose(generator, 6, TARGET))


def test_an_ending_taken_back_leaves_no_trace() -> None:
    straight = compose(new_generator(), 12, TARGET)
    generator = new_generator()
    compose(generator, 5, TARGET)
    compose(generator, 4, replace(TARGET, ending=2))
    generator.rewind(5)
    assert compose(generator, 7, TARGET) == straight[5:]


def test_melodies_move_by_step_where_the_network_leaves_it_open(monkeypatch: pytest.MonkeyPatch) -> None:
    def steps(nats: float) -> float:
        monkeypatch.setattr("kelly_edge.music.expression.STEPWISE", nats)
        tops = []
        for bar in compose(new_generator(), 80, Target(0.0, 0.0)):
            beats: dict[int, int] = {}
            for note in bar.notes:
                beats[int(note.onset_beats)] = max(note.pitch, beats.get(int(note.onset_beats), 0))
            tops += [beats[beat] for beat in sorted(beats)]
        return float(np.mean(np.abs(np.diff(tops)) <= 2))

    assert steps(3.0) > steps(0.0) + 0.03


def test_music_comes_back_to_the_loudness_of_its_arousal(monkeypatch: pytest.MonkeyPatch) -> None:
    """The network here knows nothing of loudness."""
    monkeypatch.setattr("kelly_edge.music.expression.LOUDER", 1.0)
    # The loudness that it draws follows the pitch, so only one of the two is led here.
    monkeypatch.setattr("kelly_edge.music.expression.DEEPER", 0.0)

    def loudness(arousal: float) -> float:
        # Dense, since the loop corrects by the notes it hears, and leading music is thin.
        target = replace(TARGET, arousal=arousal, density=1.0, leads=True)
        runs = [compose(new_generator(seed), 40, target)[8:] for seed in range(6)]
        return float(np.mean([n.velocity for run in runs for bar in run for n in bar.notes]))

    calm, even, tense = (loudness(arousal) for arousal in (-1.0, 0.0, 1.0))
    assert calm == pytest.approx(45.0, abs=8.0)
    assert even == pytest.approx(66.0, abs=8.0)
    assert tense == pytest.approx(87.0, abs=8.0)


def test_music_comes_back_to_the_register_of_its_emotion(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kelly_edge.music.expression.HIGHER", 0.5)

    def register(valence: float, arousal: float, tonic: int) -> float:
        target = Target(valence, arousal, tonic=tonic, mode=1, tempo_bpm=100.0, leads=True)
        runs = [compose(new_generator(seed), 40, target)[8:] for seed in range(4)]
        return float(np.mean([n.pitch for run in runs for bar in run for n in bar.notes]))

    for tonic in (0, 6, 7):
        assert register(0.0, 0.0, tonic) == pytest.approx(62.0, abs=5.0)
    assert register(-1.0, 1.0, 0) < register(1.0, 1.0, 0)


def test_bars_that_are_alike_are_not_repeated_for_ever() -> None:
    """A network that always says the same: the repetition control breaks the third copy."""
    network = SmallNetwork()
    network.mixing[:] = 0.0
    tamed = SamplingSettings(temperature=0.01, repetition=50.0)
    bars = [
        [(n.onset_beats, n.pitch) for n in b.notes] for b in compose(Generator(network, tamed, 3), 40, TARGET)
    ]
    runs = [len(list(group)) for key, group in itertools.groupby(bars) if key]
    assert max(runs) <= 2


@pytest.mark.parametrize("dither", [0.0, 0.3, 0.99])
def test_levels_rise_with_the_value_and_stay_in_range(dither: float) -> None:
    levels = [graded_level(value, dither) for value in np.linspace(-1, 1, 41)]
    assert levels == sorted(levels)
    assert levels[0] == 1
    assert levels[-1] == cw.N_LEVELS


def test_the_mean_level_is_continuous_in_the_value() -> None:
    dithers = np.linspace(0, 0.999, 200)
    means = [np.mean([graded_level(value, d) for d in dithers]) for value in np.linspace(-0.8, 0.8, 33)]
    assert np.all(np.diff(means) > 0.1)


LEADING = Target(0.6, -0.2, 0.0, 9, 1, 88.0, leads=True)


def chords_drawn(target: Target, monkeypatch: pytest.MonkeyPatch, n_bars: int = 60) -> list[int]:
    """Chord tokens of the bars composed for ``target``."""
    drawn: list[int] = []
    decide = Sampler.decide

    def noted(
        self: Sampler, contexts: Floats, row: cw.Rows, column: int, legal: Mask, bias: Floats | None = None
    ) -> None:
        decide(self, contexts, row, column, legal, bias)
        if column == cw.CHORD:
            drawn.append(int(row[cw.CHORD]))

    with monkeypatch.context() as patch:
        patch.setattr(Sampler, "decide", noted)
        generator = new_generator()
        for _ in range(n_bars):
            generator.compose_bar(target)
    return drawn


def test_music_that_leads_has_the_harmony_of_its_valence(monkeypatch: pytest.MonkeyPatch) -> None:
    def brightness(target: Target) -> float:
        return float(np.mean(CHORD_BRIGHTNESS[chords_drawn(target, monkeypatch)]))

    pleasant, neutral, unpleasant = (brightness(replace(LEADING, valence=v)) for v in (0.8, 0.0, -0.8))
    assert unpleasant + 0.3 < neutral < pleasant - 0.2


@pytest.mark.parametrize("leads", [True, False])
def test_a_slow_tempo_has_fewer_notes_a_second_only_where_it_was_chosen(leads: bool) -> None:
    def levels(bpm: float) -> float:
        target = replace(LEADING, tempo_bpm=bpm, leads=leads)
        generators = (new_generator(seed) for seed in range(40))
        return float(np.mean([g._manner.condition(target, g._score(target), 0).density for g in generators]))

    # Levels count notes per bar.
    assert levels(64.0) - levels(128.0) == pytest.approx(0.0 if leads else 2.0, abs=0.4)


def test_music_that_leads_is_as_dense_as_its_arousal_says_whatever_the_seed() -> None:
    def spread(target: Target) -> float:
        generators = [new_generator(seed) for seed in range(60)]
        return float(np.std([g._manner.condition(target, g._score(target), 0).density for g in generators]))

    assert spread(LEADING) < 0.6
    assert spread(replace(LEADING, leads=False)) > 1.0


def test_music_that_leads_grows_denser_with_its_arousal_step_by_step() -> None:
    def density(arousal: float) -> float:
        target = replace(LEADING, arousal=arousal)
        generators = [new_generator(seed) for seed in range(40)]
        return float(np.mean([g._manner.condition(target, g._score(target), 0).density for g in generators]))

    steps = np.diff([density(arousal) for arousal in np.linspace(-0.8, 0.8, 9)])
    assert (steps > 0.0).all()
    assert steps.sum() > 2.5


@pytest.mark.parametrize(
    ("leads", "level", "n_fewer"), [(True, 6, 0.7), (True, 4, 1.0), (True, 8, -0.7), (False, 4, 0.0)]
)
def test_after_bars_denser_than_asked_music_that_leads_is_asked_to_be_thinner(
    leads: bool, level: int, n_fewer: float
) -> None:
    target = replace(LEADING, leads=leads)
    generators = [new_generator(seed) for seed in range(40)]

    def density(was_asked: int) -> float:
        """Level asked for after three bars of twenty notes (level 7), which were to have ``was_asked``."""
        notes = tuple(cw.GridNote(n % 16, 60 + n, 2, 64) for n in range(20))
        before = (Written(notes, 1, was_asked),) * 3
        return float(
            np.mean(
                [
                    g._manner.condition(target, replace(g._score(target), written=before), 3).density
                    for g in generators
                ]
            )
        )

    assert density(7) - density(level) == pytest.approx(n_fewer, abs=0.3)


def test_music_that_leads_goes_no_deeper_than_its_arousal() -> None:
    def deep(arousal: float, pitch: int, leads: bool = True, shift: int = 0) -> float:
        weights = expression.deep(shift, replace(LEADING, arousal=arousal, leads=leads))
        return float(weights[pitch - shift - cw.PITCH_LOW + 1])

    assert deep(-0.5, 49) == pytest.approx(0.0, abs=0.2)
    assert deep(-1.0, 40) < deep(0.0, 40) < deep(1.0, 40) + 0.2 <= 0.2
    assert deep(-0.5, 37) == pytest.approx(deep(-0.5, 37, shift=5))
    assert deep(-0.5, 30) < deep(-0.5, 37) < -3.0
    assert deep(-1.0, 30, leads=False) == 0.0
