"""The page of a report: whole, escaped, small and quick, whatever became of the log."""

import json
import re
import time
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from simulated_sessions import simulate

from firmware_py.__main__ import main
from firmware_py.devices.session.log import SessionLog
from firmware_py.report import write_report
from firmware_py.report.course import Course
from firmware_py.report.page import page
from firmware_py.report.svg import binned, ticks
from kelly_edge.errors import OutputError, SessionError

HOUR_S = 3_600
MOODS_A_SECOND = 8
LONGEST_CPU_S = 5.0
LARGEST = 2_000_000
VOID = {"meta", "rect", "circle", "path", "br"}
TITLES = (
    "Valence", "Arousal", "Circumplex", "Dynamics", "Register", "Density", "Pulse", "Tonality", "Dissonance",
)  # fmt: skip
FIND = (Phase.explicit, Phase.generate)
"""A page takes a tenth of a second: what is found is not made smaller."""
NASTY = "</title><script>alert(1)</script>&\"'\u202e\x00"


class Checker(HTMLParser):
    """Every element is closed in order; which there are, and what they name."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.names: list[str] = []
        self.values: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)
        self.values += [
            value for name, value in attrs if value and name in ("src", "href", "style", "onload")
        ]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def checked(html: str) -> Checker:
    checker = Checker()
    checker.feed(html)
    checker.close()
    assert checker.open == []
    # Nothing is fetched and nothing runs.
    assert checker.values == []
    assert (
        "http" not in re.sub('http-equiv="Content', "", html) and "url(" not in html and "@import" not in html
    )
    assert not {"script", "img", "link", "iframe", "object", "a", "form", "base"} & set(checker.names)
    assert not re.search(r'="[^"]*\b(nan|inf)\b', html)
    return checker


def course_of(entries: list[dict[str, Any]]) -> Course:
    course = Course()
    for entry in entries:
        course.add(entry)
    return course


def test_a_whole_session_has_all_charts_with_text_and_tables() -> None:
    html = page(course_of(simulate(4).entries), "20261130-120000-7")
    checker = checked(html)
    for title in TITLES:
        assert f"<h3>{title}</h3>" in html
    assert html.count('role="img"') == html.count("<desc>") >= len(TITLES) + 5
    assert html.count("<details>") == len(TITLES) - 1
    # Led by a programme: said, and grey in the charts.
    assert 'class="ld"' in html and "led" in html
    assert checker.names.count("h2") == 5


@pytest.mark.parametrize("entries", [[], [{"kind": "session", "schema": 3}], simulate(1).entries[:2]])
def test_a_session_without_anything_is_a_page(entries: list[dict[str, Any]]) -> None:
    html = page(course_of(entries), "x")
    checked(html)
    assert "nobody was heard playing" in html


@pytest.mark.parametrize("kind", ["emotion", "note", "sound", "plan"])
def test_whatever_a_log_lacks_the_rest_is_shown(kind: str) -> None:
    checked(page(course_of([e for e in simulate(2).entries if e["kind"] != kind]), "x"))


def test_a_log_of_schema_2_is_told_without_what_it_lacks(tmp_path: Path) -> None:
    older = [e for e in simulate(2).entries if e["kind"] not in ("sound", "plan")]
    older[0] = {"kind": "session", "schema": 2}
    (tmp_path / "session.jsonl").write_text("".join(json.dumps(e) + "\n" for e in older))
    written = write_report(tmp_path, tmp_path / "a.html")
    html = written.path.read_text()
    assert written.remark == "" and "The box heard" in html
    assert "did not lead" not in html and "followed in" not in html


def test_what_comes_from_the_log_is_escaped(tmp_path: Path) -> None:
    entries = [
        {"kind": "session", "schema": 3, NASTY: NASTY, "note": NASTY},
        {"kind": "knobs", "time_s": 1.0, "programme": NASTY, "valence": 0.0},
        {"kind": "marker", "time_s": 2.0, "text": NASTY},
        {"kind": "panic", "time_s": 3.0, "is_on": True},
        {
            "kind": "times",
            "time_s": 3.0,
            "of": NASTY,
            "p50_ms": 1,
            "p99_ms": 2,
            "longest_ms": 3,
            "n_missed": 0,
        },
        *simulate(3).entries[1:],
    ]
    (tmp_path / "x.jsonl").write_text("".join(json.dumps(e) + "\n" for e in entries))
    html = write_report(tmp_path / "x.jsonl", tmp_path / "a.html").path.read_text()
    checked(html)
    assert html.count("&lt;script&gt;") >= 4
    assert "marker" in html and "panic" in html


FULL = b"".join(json.dumps(e).encode() + b"\n" for e in simulate(5).entries[:400])


@settings(max_examples=40, phases=FIND)
@given(data=st.data())
def test_a_damaged_log_is_a_page_or_refused(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    damaged = bytearray(FULL)
    for _ in range(data.draw(st.integers(1, 20))):
        damaged[data.draw(st.integers(0, len(FULL) - 1))] = data.draw(st.sampled_from(b'0-9eE"[]{},:.\n\xff'))
    del damaged[data.draw(st.integers(0, len(FULL))) :]
    folder = tmp_path_factory.getbasetemp()
    (folder / "session.jsonl").write_bytes(damaged)
    try:
        written = write_report(folder, folder / "a.html")
    except SessionError as error:
        assert "\n" not in str(error)
    else:
        checked(written.path.read_text())


NUMBERS = st.one_of(
    st.floats(), st.integers(), st.sampled_from([1e9, -1e9, 1e308, 127, -1, 0, True, None, "x", [1], {}])
)


@pytest.mark.parametrize("time_s", [-1e9, 1e5, 1e7, 1e9])
@pytest.mark.parametrize("kind", ["note", "emotion", "sound", "plan"])
def test_a_time_far_away_makes_a_page(kind: str, time_s: float) -> None:
    entries = simulate(6).entries
    far = next(dict(e) for e in reversed(entries) if e["kind"] == kind)
    far["onset_s" if kind == "note" else "time_s"] = time_s
    html = page(course_of([*entries[::7], far]), "x")
    checked(html)
    assert len(html) < LARGEST


@settings(max_examples=40, phases=FIND)
@given(data=st.data())
def test_hostile_numbers_make_a_page(data: st.DataObject) -> None:
    entries = [dict(e) for e in simulate(6).entries[:60]] + [dict(e) for e in simulate(6).entries[-60:]]
    course = Course()
    for entry in entries:
        if data.draw(st.integers(0, 5)) == 0:
            name = data.draw(st.sampled_from([name for name in entry if name != "kind"] or ["time_s"]))
            entry[name] = data.draw(NUMBERS)
        try:
            course.add(entry)
        except (KeyError, TypeError, ValueError, OverflowError):
            continue
    html = page(course, "x")
    checked(html)
    assert len(html) < LARGEST


def hour(folder: Path) -> SessionLog:
    """A session of an hour, written by the box's writer at the pace of a lively player."""
    session, log, rng = simulate(4, HOUR_S), SessionLog(folder), np.random.default_rng(0)
    for n, entry in enumerate(session.entries):
        if entry["kind"] == "emotion":
            for part in range(1, MOODS_A_SECOND):
                valence = float(np.clip(entry["valence"] + rng.normal(0.0, 0.05), -1.0, 1.0))
                log.record(
                    {**entry, "time_s": entry["time_s"] - 0.2 + part / MOODS_A_SECOND, "valence": valence}
                )
        log.record(entry)
        if n % 400 == 0:
            assert log.flush(60.0)
    log.close()
    return log


@pytest.mark.slow
def test_the_report_of_an_hour_is_small_and_quick(tmp_path: Path) -> None:
    assert hour(tmp_path / "sessions").n_lost == 0
    n_bytes = sum(path.stat().st_size for path in (tmp_path / "sessions").iterdir())
    assert 4e6 < n_bytes < 20e6
    begin_s = time.process_time()
    assert main(["report", str(tmp_path / "sessions"), "--out", str(tmp_path / "hour.html")]) == 0
    assert time.process_time() - begin_s < LONGEST_CPU_S
    html = (tmp_path / "hour.html").read_text()
    checked(html)
    assert len(html.encode()) < LARGEST
    assert "In 60 minutes" in html
    assert html.count("Piano roll, ") >= 12


def test_a_page_never_overwrites_the_log_it_tells_of(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "x.html"
    log.write_bytes(FULL)
    assert main(["report", str(log), "--out", str(log)]) == 2
    assert log.read_bytes() == FULL
    assert capsys.readouterr().err.count("\n") == 1


def test_a_pdf_without_a_browser_is_refused_with_a_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "session.jsonl").write_bytes(FULL)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(OutputError, match="Chromium is not installed; give --out"):
        write_report(tmp_path, tmp_path / "a.pdf")
    assert [path.name for path in tmp_path.iterdir()] == ["session.jsonl"]


def test_means_of_bins_and_ticks() -> None:
    values = np.array([1.0, 3.0, np.nan, np.nan, np.nan, 5.0])
    np.testing.assert_array_equal(binned(values, 3), [2.0, np.nan, 5.0])
    assert ticks(-1.0, 1.0) == pytest.approx([-1.0, -0.5, 0.0, 0.5, 1.0])
    assert ticks(61.0, 147.0) == [80.0, 100.0, 120.0, 140.0]
