"""Drawing tokens: legality, nucleus, temperature, key."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kelly_edge.music import compound_word as cw
from kelly_edge.music.sampling import (
    CHORDS_IN_KEY,
    HEAD,
    HeadTables,
    Sampler,
    SamplingSettings,
    chord_classes,
    draw,
    head_logits,
    next_positions,
    pitches_in_key,
    tell_together,
)


def pitch_classes(tokens: np.ndarray) -> set[int]:
    return {(int(t) - 1 + cw.PITCH_LOW) % 12 for t in np.flatnonzero(tokens)}


def small_tables(width: int = 4, seed: int = 0) -> HeadTables:
    rng = np.random.default_rng(seed)
    sizes = [family.size for family in cw.SAMPLED]
    parents = [cw.FAMILIES[cw.COLUMN[p]].size for family in cw.SAMPLED for p in family.parents]
    return HeadTables(
        rng.normal(size=(len(sizes), width)).astype(np.float32),
        tuple(rng.normal(size=(n, width)).astype(np.float32) for n in parents),
        tuple(rng.normal(size=(width, n)).astype(np.float32) for n in sizes),
        tuple(rng.normal(size=n).astype(np.float32) for n in sizes),
        rng.normal(size=(2, width)).astype(np.float32),
    )


@given(
    st.lists(st.floats(-50, 50, width=32), min_size=2, max_size=20),
    st.integers(0, 2**20),
    st.floats(0.05, 3.0),
    st.floats(0.01, 1.0),
    st.integers(0, 1000),
)
def test_only_legal_tokens_are_drawn(
    logits: list[float], legal_bits: int, temperature: float, top_p: float, seed: int
) -> None:
    legal = np.array([bool(legal_bits >> i & 1) for i in range(len(logits))])
    legal[seed % len(logits)] = True
    token = draw(np.array(logits, np.float32), legal, temperature, top_p, np.random.default_rng(seed))
    assert legal[token]


def test_a_small_nucleus_leaves_the_most_likely_token() -> None:
    logits = np.array([0.0, 3.0, 1.0, 2.0], np.float32)
    legal = np.array([True, False, True, True])
    rng = np.random.default_rng(0)
    assert {draw(logits, legal, 1.0, 0.01, rng) for _ in range(50)} == {3}


def test_the_nucleus_cuts_where_its_share_is_reached() -> None:
    probabilities = np.array([0.5, 0.3, 0.15, 0.05])
    legal = np.ones(4, bool)
    rng = np.random.default_rng(0)
    drawn = [draw(np.log(probabilities).astype(np.float32), legal, 1.0, 0.75, rng) for _ in range(4000)]
    counts = np.bincount(drawn, minlength=4) / 4000
    np.testing.assert_allclose(counts, [0.625, 0.375, 0.0, 0.0], atol=0.03)


def test_draws_follow_the_softmax_at_temperature_one() -> None:
    probabilities = np.array([0.1, 0.2, 0.7])
    rng = np.random.default_rng(1)
    drawn = [
        draw(np.log(probabilities).astype(np.float32), np.ones(3, bool), 1.0, 1.0, rng) for _ in range(4000)
    ]
    np.testing.assert_allclose(np.bincount(drawn, minlength=3) / 4000, probabilities, atol=0.03)


def test_a_high_temperature_evens_out() -> None:
    rng = np.random.default_rng(1)
    logits = np.array([0.0, 2.0], np.float32)
    hot = np.mean([draw(logits, np.ones(2, bool), 100.0, 1.0, rng) for _ in range(4000)])
    assert abs(hot - 0.5) < 0.05


def test_heads_add_the_parents_of_their_own_row() -> None:
    tables = small_tables()
    contexts = tables.start
    row = np.zeros(cw.N_FAMILIES, np.int16)
    row[:] = (2, 1, 2, 3, 1, 7, 9, 3, 40, 0, 0)
    slots = [(h, p) for h, f in enumerate(cw.SAMPLED) for p in f.parents]
    head = HEAD[cw.DURATION]
    total = contexts[head].copy()
    for slot, (owner, parent) in enumerate(slots):
        if owner == head:
            total += tables.parents[slot][row[cw.COLUMN[parent]]]
    expected = np.maximum(total, 0) @ tables.weights[head] + tables.biases[head]
    np.testing.assert_allclose(head_logits(tables, contexts, cw.DURATION, row), expected, rtol=1e-5)


@pytest.mark.parametrize("together", [False, True])
def test_only_the_pitch_is_told_what_is_struck_together(together: bool) -> None:
    tables = small_tables()
    contexts = tables.start.copy()
    tell_together(tables, contexts, together)
    told = contexts - tables.start
    np.testing.assert_allclose(told[HEAD[cw.PITCH]], tables.together[int(together)], rtol=1e-5)
    assert np.count_nonzero(told.any(-1)) == 1


def test_c_major_holds_the_white_keys() -> None:
    assert pitch_classes(pitches_in_key(cw.chord_token(0, "maj"), cw.MAJOR)) == {0, 2, 4, 5, 7, 9, 11}


def test_c_minor_has_its_leading_tone_only_over_the_dominant() -> None:
    assert pitch_classes(pitches_in_key(cw.chord_token(0, "min"), cw.MINOR)) == {0, 2, 3, 5, 7, 8, 10}
    assert 11 in pitch_classes(pitches_in_key(cw.chord_token(7, "maj"), cw.MINOR))


def test_chords_in_key_lie_in_the_scale_or_are_the_dominant() -> None:
    in_major = {t for t in range(1, cw.NO_CHORD) if CHORDS_IN_KEY[True][t]}
    assert all(set(chord_classes(t)) <= {0, 2, 4, 5, 7, 9, 11} for t in in_major)
    assert cw.chord_token(9, "min") in in_major
    assert cw.chord_token(2, "maj") not in in_major
    assert CHORDS_IN_KEY[False][cw.chord_token(7, "7")]
    assert CHORDS_IN_KEY[True][cw.NO_CHORD]
    assert not CHORDS_IN_KEY[True][0]


def test_chord_classes_written_by_hand() -> None:
    assert chord_classes(cw.chord_token(9, "min")) == (9, 0, 4)
    assert chord_classes(cw.NO_CHORD) == ()
    assert chord_classes(0) == ()


def test_positions_never_go_back() -> None:
    assert np.flatnonzero(next_positions(5, full=False)).tolist() == list(range(5, 17))
    assert np.flatnonzero(next_positions(5, full=True)).tolist() == list(range(6, 17))
    assert not next_positions(16, full=True).any()
    assert np.flatnonzero(next_positions(0, full=False)).tolist() == list(range(1, 17))


def test_a_token_with_a_negative_bias_becomes_less_likely() -> None:
    tables = small_tables()
    row = np.zeros(cw.N_FAMILIES, np.int16)
    likely = int(head_logits(tables, tables.start, cw.PITCH, row)[1:].argmax()) + 1
    legal = np.ones(cw.FAMILIES[cw.PITCH].size, bool)

    def count(nats: float) -> int:
        sampler = Sampler(tables, SamplingSettings(), np.random.default_rng(0))
        bias = np.zeros(len(legal), np.float32)
        bias[likely] = -nats
        drawn = 0
        for _ in range(300):
            sampler.decide(tables.start, row, cw.PITCH, legal, bias)
            drawn += int(row[cw.PITCH]) == likely
        return drawn

    assert count(4.0) < count(0.0) / 3


def test_guidance_exaggerates_what_the_emotion_changes() -> None:
    tables = small_tables()
    row = np.array([2, 6, 6, 3, 1, 7, 9, 3, 0, 0, 0], np.int16)
    unknown = row.copy()
    unknown[[cw.VALENCE, cw.AROUSAL]] = 0
    asked, neutral = (head_logits(tables, tables.start, cw.PITCH, r) for r in (row, unknown))
    change = asked - neutral
    legal = np.ones(cw.FAMILIES[cw.PITCH].size, bool)

    def mean_change(guidance: float) -> float:
        sampler = Sampler(tables, SamplingSettings(guidance=guidance), np.random.default_rng(0))
        drawn = []
        for _ in range(300):
            sampler.decide(tables.start, row, cw.PITCH, legal)
            drawn.append(change[row[cw.PITCH]])
        return float(np.mean(drawn))

    assert mean_change(3.0) > mean_change(1.0) > mean_change(0.0)


def test_guidance_leaves_heads_without_emotion_as_they_are() -> None:
    tables = small_tables()
    for guidance in (0.0, 3.0):
        row = np.array([2, 6, 6, 3, 1, 7, 9, 3, 40, 0, 0], np.int16)
        sampler = Sampler(tables, SamplingSettings(guidance=guidance), np.random.default_rng(0))
        sampler.decide(tables.start, row, cw.DURATION, np.ones(cw.FAMILIES[cw.DURATION].size, bool))
        if guidance == 0.0:
            plain = int(row[cw.DURATION])
    assert int(row[cw.DURATION]) == plain
