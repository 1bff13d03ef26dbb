"""A therapist's marks are in the report: numbered in the charts whatever else happened, and listed."""

from firmware_py.report.course import Course
from firmware_py.report.happenings import Event
from firmware_py.report.page import MOST_LABELS, MOST_MARKS, _labels, page


def test_marks_come_before_other_events_in_the_charts() -> None:
    knobs = [Event(float(n), "valence knob", "+0.10") for n in range(1, 30)]
    marks = [Event(100.0 + n, "marker", f"mark {n}") for n in range(4)]
    labels = _labels([*knobs, *marks])
    assert [label for _, label in labels if int(label) > 29] == ["30", "31", "32", "33"]
    assert len(labels) == MOST_LABELS and labels == sorted(labels)


def test_of_many_marks_the_first_are_in_the_charts_and_no_other_event() -> None:
    marks = [Event(1.0 + n, "marker", "") for n in range(MOST_MARKS + 10)]
    assert len(_labels([Event(0.5, "programme", "iso"), *marks])) == MOST_MARKS


def test_a_mark_is_listed_with_its_words_and_escaped() -> None:
    course = Course()
    course.add({"kind": "emotion", "time_s": 10.0, "valence": 0.0, "arousal": 0.0,
                "target": {"valence": 0.0, "arousal": 0.0}})  # fmt: skip
    course.add({"kind": "marker", "time_s": 75.0, "text": "she <smiled>"})
    course.add({"kind": "marker", "time_s": 80.0, "text": ""})
    course.add({"kind": "note", "onset_s": 130.0, "duration_s": 1.0, "pitch": 60, "velocity": 60})
    html = page(course, "x")
    assert "she &lt;smiled&gt;" in html and "<smiled>" not in html
    assert html.count("<td>marker</td>") == 2
