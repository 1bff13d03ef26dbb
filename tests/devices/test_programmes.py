"""Programmes in files: what ships is sound, and every fault is told with its line."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from firmware_py.__main__ import main
from firmware_py.devices.files.config_file import load_settings
from firmware_py.devices.files.programmes import (
    SHIPPED,
    names_in,
    numbered,
    open_programmes,
    programme_names,
    read_programme,
)
from firmware_py.settings import Settings
from kelly_edge.config import SHIPPED_PROGRAMMES
from kelly_edge.contract import PROGRAMMES
from kelly_edge.emotion.programme import programme_from
from kelly_edge.errors import ConfigError
from kelly_edge.shared.entries import Entry

HEAD = "name: own\nwhen: Now.\nsource: Us.\nphases:\n"


def written(folder: Path, phases: str, head: str = HEAD) -> Path:
    path = folder / "own.yaml"
    path.write_text(head + phases, encoding="utf-8")
    return path


@pytest.mark.parametrize("name", SHIPPED_PROGRAMMES)
def test_what_ships_is_sound_says_when_to_use_it_and_where_it_comes_from(name: str) -> None:
    programme = read_programme(SHIPPED / f"{name}.yaml")
    assert programme.when.endswith(".") and len(programme.when.split()) > 8
    assert any(author in programme.source for author in ("Bruscia 1987", "Heiderscheit & Madson 2015"))
    assert programme.phases


def test_every_programme_that_ships_is_offered() -> None:
    assert sorted(SHIPPED_PROGRAMMES) == names_in(SHIPPED)
    assert Settings().emotion.programmes == ("mirror", "iso", *SHIPPED_PROGRAMMES)
    names = [programme.name for programme in open_programmes(Settings())]
    assert names == list(numbered(Settings())) and names[:3] == list(PROGRAMMES)
    pages = Path(__file__).parents[2] / "docs" / "session.md"
    assert all(f"| `{name}` |" in pages.read_text(encoding="utf-8") for name in SHIPPED_PROGRAMMES)


def test_the_fifteen_minutes_are_fifteen() -> None:
    calm = read_programme(SHIPPED / "calm-in-15.yaml")
    assert sum(phase.duration_s for phase in calm.phases) == 15 * 60
    assert [phase.rate_per_min for phase in calm.phases] == [0.0, 0.0, 0.0]


def test_one_of_ones_own_is_found_offered_and_comes_before_one_of_the_boxs(tmp_path: Path) -> None:
    written(tmp_path, "  - mode: match\n")
    (tmp_path / "calm-in-15.yaml").write_text(HEAD.replace("own", "calm-in-15") + "  - mode: rest\n")
    (tmp_path / "No.yaml").write_text("")
    (tmp_path / "iso.yaml").write_text("")
    assert programme_names(str(tmp_path))[-1] == "own"
    given = [f"emotion.programmes_dir={tmp_path}", "emotion.programmes=[mirror, own]"]
    settings = load_settings(None, [*given, "emotion.programme=calm-in-15"])
    loaded = open_programmes(settings)
    assert [p.name for p in loaded] == ["mirror", "iso", "hold", "own", "calm-in-15"]
    assert [phase.mode for phase in loaded[-1].phases] == ["rest"]


@pytest.mark.parametrize(
    ("phases", "fault", "line"),
    [
        (
            "  - mode: leed\n",
            "phase 1.mode: leed is not one of match, lead, hold, rest; did you mean lead?",
            5,
        ),
        ("  - valence: 0.5\n", "phase 1.mode: is missing; write one of match, lead, hold, rest", 5),
        (
            "  - mode: lead\n    valence: 0.1\n    duration_s: 5\n",
            "phase 1.arousal: is missing; lead needs a target",
            5,
        ),
        (
            "  - {mode: lead, valence: 0, arousal: 0}\n",
            "phase 1.duration_s, rate_per_min: neither is there; lead needs one of them",
            5,
        ),
        (
            "  - {mode: lead, valence: 0, arousal: 0, duration_s: 5, rate_per_min: 1}\n",
            "phase 1.duration_s, rate_per_min: both are there; lead needs one of them",
            5,
        ),
        (
            "  - {mode: hold, valence: 0, arousal: 0, rate_per_min: 1}\n",
            "phase 1.rate_per_min: hold has no rate; leave it out",
            5,
        ),
        (
            "  - mode: match\n  - mode: rest\n",
            "phase 1.duration_s: is missing; only the last phase may go on without end",
            5,
        ),
        ("  - mode: match\n    arousal: 0.5\n", "phase 1.arousal: match has no target; leave it out", 6),
        ("  - {mode: hold, valence: 1.5, arousal: 0}\n", "phase 1.valence: 1.5 is not within -1..1", 5),
        ("  - mode: rest\n    duration_s: 0\n", "phase 1.duration_s: 0 is not within 1..14400 s", 6),
        (
            "  - mode: rest\n    velocity_max: 128\n",
            "phase 1.velocity_max: 128 is not within 1..127 MIDI velocity",
            6,
        ),
        (
            "  - mode: rest\n    role: led\n",
            "phase 1.role: led is not one of accompany, answer, together, lead; did you mean lead?",
            6,
        ),
        (
            "  - mode: rest\n    velocity_mx: 3\n",
            "phase 1.velocity_mx: unknown entry; did you mean velocity_max?",
            6,
        ),
        ("  - mode: rest\n    mode: rest\n", "phase 1.mode: is there twice, first in own.yaml line 5", 6),
        ("  - 7\n", "phase 1: 7 is not a phase, entries of key: value", 4),
        ("  []\n", "phases: is not a list of 1..20 phases", 4),
    ],
)
def test_a_fault_names_the_phase_and_the_line(tmp_path: Path, phases: str, fault: str, line: int) -> None:
    with pytest.raises(ConfigError) as caught:
        read_programme(written(tmp_path, phases))
    assert str(caught.value).splitlines() == [f"{fault} (own.yaml line {line})"]


@pytest.mark.parametrize(
    ("head", "fault"),
    [
        ("when: Now.\nsource: Us.\nphases:\n", "name: is missing; write it (own.yaml)"),
        (HEAD.replace("own", "other"), "name: other is not the file's name, own (own.yaml line 1)"),
        (HEAD.replace("Now.", "''"), "when: is empty (own.yaml line 2)"),
        ("extra: 1\n" + HEAD, "extra: unknown entry (own.yaml line 1)"),
    ],
)
def test_a_fault_of_the_whole_names_the_line(tmp_path: Path, head: str, fault: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_programme(written(tmp_path, "  - mode: match\n", head))
    assert str(caught.value).splitlines() == [fault]


values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(st.builds(Entry, st.text(max_size=8), inner, st.just("x line 1")), max_size=3).map(tuple),
    ),
    max_leaves=8,
)
keys = st.sampled_from(
    ["name", "when", "source", "phases", "mode", "valence", "arousal", "duration_s", "rate_per_min", "voice"]
)
entry = st.builds(Entry, keys, values, st.just("x line 1"))
phase = st.lists(entry, max_size=5).map(tuple)
plans = st.builds(
    Entry, st.just("phases"), st.lists(st.one_of(phase, values), max_size=4), st.just("x line 2")
)


@given(st.lists(st.one_of(entry, plans), max_size=6))
def test_whatever_a_file_holds_it_is_a_programme_or_lines_with_a_place(entries: list[Entry]) -> None:
    try:
        programme_from(entries, "own", "x")
    except ConfigError as error:
        assert all(line.endswith(")") and "(x" in line for line in str(error).splitlines())


def answer(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = main(list(words))
    said = capsys.readouterr()
    return code, said.out, said.err


def test_the_command_lists_shows_and_checks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = answer(capsys, "programme", "list", "--json")
    assert code == 0
    listed: list[dict[str, Any]] = yaml.safe_load(out)
    assert [programme["name"] for programme in listed] == programme_names()
    code, out, _ = answer(capsys, "programme", "show", "lift-in-10")
    assert code == 0
    assert out.splitlines()[-3:] == [
        "1. match, for 60 s of music",
        "2. lead, to valence +0.50, arousal +0.10, for 600 s",
        "3. hold, at valence +0.50, arousal +0.10",
    ]
    code, _, err = answer(capsys, "programme", "show", "lift-in-11")
    assert code == 2 and "did you mean lift-in-10?" in err and err.count("\n") == 1
    good = written(tmp_path, "  - mode: match\n    voice: cello\n")
    assert answer(capsys, "programme", "check", str(good))[0] == 0
    tuba = written(tmp_path, "  - mode: match\n    voice: tuba\n")
    code, _, err = answer(capsys, "programme", "check", str(tuba))
    assert code == 2 and err.startswith("kelly-edge: phase 1.voice: tuba is not one of voice.names")
    code, _, err = answer(capsys, "programme", "check", str(tmp_path / "none.yaml"))
    assert code == 2 and "cannot read programmes" in err
