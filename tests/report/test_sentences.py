"""Each sentence of a report is true of the session: of 200 simulated ones whose truth is known."""

from collections import Counter
from functools import cache

import numpy as np
import pytest
from simulated_sessions import Simulated, simulate

from firmware_py.report.course import Course
from firmware_py.report.parties import Parties, meet
from firmware_py.report.sentences import Sentence, tell
from firmware_py.report.together import MEASURES, all_together, together
from firmware_py.report.words import clock, mood_word, span

N_SESSIONS = 200
OF_SOUND = ("tonality", "dissonance")
"""Measures that are not simulated by themselves, but follow from the keys."""


def course_of(session: Simulated) -> Course:
    course = Course()
    for entry in session.entries:
        course.add(entry)
    return course


def told(session: Simulated) -> tuple[Parties, list[Sentence]]:
    course = course_of(session)
    parties = meet(course)
    return parties, tell(parties, course.happenings, all_together(parties))


def check_playing(session: Simulated, sentence: Sentence) -> None:
    assert sentence.facts["session_s"] == pytest.approx(session.n, abs=5.0)
    assert sentence.facts["played_s"] == pytest.approx(session.is_playing.sum(), abs=10.0)
    assert sentence.facts["box_s"] == pytest.approx(session.n, abs=10.0)


def check_loudness(session: Simulated, sentence: Sentence) -> None:
    level_db = session.player["level_db"]
    if "rise_db" not in sentence.facts:
        low, high = np.percentile(level_db[session.is_playing], (10, 90))
        assert high - low <= float(sentence.facts["range_db"]) + 1.0
        assert session.louder_db == 0.0
        return
    at, rise_db = round(float(sentence.facts["at_s"])), float(sentence.facts["rise_db"])
    first, last = (level_db[part][session.is_playing[part]] for part in (slice(0, at), slice(at, None)))
    assert rise_db == pytest.approx(last.mean() - first.mean(), abs=1.5)
    assert ("louder" in sentence.text) == (last.mean() > first.mean())
    if session.louder_db:
        # A pause may lie there.
        assert at == pytest.approx(session.louder_at, abs=45)


def check_mood(session: Simulated, sentence: Sentence) -> None:
    assert (sentence.facts["first"], sentence.facts["last"]) == session.moods


def check_led(session: Simulated, sentence: Sentence) -> None:
    assert sentence.facts["led"] == (session.leads_from < session.n)
    if sentence.facts["led"]:
        assert sentence.facts["from_s"] == pytest.approx(session.leads_from, abs=3.0)
        (v, a), (to_v, to_a) = session.asked
        words = ["more pleasant" if to_v > v else "less pleasant"] if abs(to_v - v) > 0.2 else []
        words += ["livelier" if to_a > a else "calmer"] if abs(to_a - a) > 0.2 else []
        assert sentence.facts["towards"] == " ".join(words)
        if not words:
            assert f"held {session.towards} music" in sentence.text


def check_followed(session: Simulated, sentence: Sentence) -> None:
    assert session.leads_from < session.n
    for name in str(sentence.facts["measure"]).split():
        goes = session.key_goes if name == "key" else session.goes[name]
        if not sentence.facts["followed"]:
            assert goes != "follows"
            continue
        assert goes == "follows"
        if name != "key":
            assert session.lag_s[name] <= float(sentence.facts["within_s"])


def check_key(session: Simulated, sentence: Sentence) -> None:
    player, box = (keys[session.is_playing] for keys in session.keys)
    assert sentence.facts["share"] == pytest.approx(np.mean(player == box), abs=0.05)
    assert np.mean(player == sentence.facts["key"]) >= 0.45


def check_alike(session: Simulated, sentence: Sentence) -> None:
    name = str(sentence.facts["measure"])
    if session.leads_from < session.n:
        assert (session.key_goes if name in OF_SOUND else session.goes[name]) == "follows"
        assert float(sentence.facts["lag_s"]) > -5.0
    else:
        assert name in session.coupled
        assert -float(sentence.facts["lag_s"]) == pytest.approx(session.lag_s[name], abs=5.0)


def check_faults(session: Simulated, sentence: Sentence) -> None:
    assert sentence.facts["n"] == session.n_faults
    assert ("no dropout" in sentence.text) == (session.n_faults == 0)


CHECKS = {
    "playing": check_playing,
    "loudness": check_loudness,
    "mood": check_mood,
    "led": check_led,
    "followed": check_followed,
    "key": check_key,
    "alike": check_alike,
    "faults": check_faults,
}


@cache
def said_of(seed: int) -> tuple[Simulated, tuple[Sentence, ...]]:
    session = simulate(seed)
    return session, tuple(told(session)[1])


@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, N_SESSIONS, 20))
def test_no_sentence_is_false(first: int) -> None:
    for seed in range(first, first + 20):
        session, sentences = said_of(seed)
        assert {"playing", "led", "mood", "faults"} <= {s.about for s in sentences}
        for sentence in sentences:
            try:
                CHECKS[sentence.about](session, sentence)
            except AssertionError as error:
                pytest.fail(f"session {seed}: {sentence.text!r} is false: {error}")


@pytest.mark.slow
def test_what_is_so_is_mostly_said() -> None:
    """A report that said nothing would never be false."""
    so: Counter[str] = Counter()
    said: Counter[str] = Counter()
    for seed in range(N_SESSIONS):
        session, sentences = said_of(seed)
        facts = [(s.about, s.facts) for s in sentences]
        followed = {str(f["measure"]) for about, f in facts if about == "followed" and f["followed"]}
        stayed = {
            name
            for about, f in facts
            if about == "followed" and not f["followed"]
            for name in str(f["measure"]).split()
        }
        if session.leads_from < session.n:
            for name, goes in session.goes.items():
                what = "followed" if goes == "follows" else "stayed"
                so[what] += 1
                said[what] += name in (followed if goes == "follows" else stayed)
            if session.key_goes != "none":
                so[f"key {session.key_goes}"] += 1
                said[f"key {session.key_goes}"] += "key" in (
                    followed if session.key_goes == "follows" else stayed
                )
        lags = [f["within_s"] for about, f in facts if about == "followed" and "within_s" in f]
        so["lag"] += len(lags)
        said["lag"] += sum(lag <= 120.0 for lag in lags)
        for name in session.coupled:
            so["coupled"] += 1
            said["coupled"] += any(about == "alike" and f["measure"] == name for about, f in facts)
        if session.louder_db:
            so["louder"] += 1
            said["louder"] += any(about == "loudness" and "rise_db" in f for about, f in facts)
    shares = {what: said[what] / n for what, n in so.items()}
    assert min(so.values()) >= 20
    assert min(shares.values()) >= 0.75, shares


def test_one_sentence_in_full() -> None:
    session = simulate(4)
    texts = [s.text for s in told(session)[1]]
    assert any(
        text.startswith("The player followed in tempo within") and " bpm (the box from" in text
        for text in texts
    )
    assert all(text.endswith(".") and "nan" not in text for text in texts)


def test_a_shuffled_partner_is_not_said_to_move_along() -> None:
    """The box of one session beside the player of another, by each measure."""
    claims = 0
    for seed in range(12):
        mine, other = simulate(seed), simulate(seed + 1_000)
        ours = [e for e in mine.entries if e["kind"] not in ("note", "plan")]
        theirs = [e for e in other.entries if e["kind"] in ("note", "plan")]
        course = Course()
        for entry in [*ours, *theirs]:
            course.add(entry)
        claims += sum(t.is_clear for t in all_together(meet(course)).values())
    assert claims == 0


def test_lag_and_correlation_are_found_where_they_are_known() -> None:
    rng = np.random.default_rng(7)
    box = np.convolve(rng.normal(size=700), np.hanning(21), "same")
    player = np.r_[np.full(23, box[0]), box[:-23]] * 2.0 + 5.0
    player[100:160] = np.nan
    course = course_of(simulate(1))
    parties = meet(course)
    found = together(player, box, parties.step_s)
    assert found.is_clear and found.lag_s == 23.0 and found.r > 0.99
    assert not together(rng.permutation(player), box, parties.step_s).is_clear
    assert len(MEASURES) == 6


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.0, "0 seconds"),
        (89.4, "89 seconds"),
        (90.0, "1½ minutes"),
        (119.0, "2 minutes"),
        (3_600.0, "60 minutes"),
    ],
)
def test_spans_in_words(seconds: float, words: str) -> None:
    assert span(seconds) == words


def test_clock_and_moods_in_words() -> None:
    assert (clock(61.9), clock(3_725.0), clock(-1.0)) == ("1:01", "1:02:05", "0:00")
    assert (mood_word(0.5, -0.5), mood_word(0.0, 0.05), mood_word(-1.0, 0.0)) == (
        "calm",
        "neutral",
        "unpleasant",
    )
