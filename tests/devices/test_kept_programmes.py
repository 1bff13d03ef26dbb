"""Programmes in a session log's header: all that the music depends on comes back, and damage is one line."""

import json
from dataclasses import replace
from typing import Any

import pytest

from firmware_py.devices.files.programmes import open_programmes
from firmware_py.devices.session.programmes import as_kept, kept_programmes
from firmware_py.settings import Settings
from kelly_edge.contract import PROGRAMMES
from kelly_edge.emotion.programme import Phase, Programme
from kelly_edge.errors import SessionError

OWN = Programme(
    "own",
    "When Anna comes.",
    "us",
    (
        Phase("match", duration_s=30.0, velocity_max=50),
        Phase("lead", 0.0, 0.0, rate_per_min=0.1),
        Phase("lead", -0.5, 0.25, duration_s=90.0, voice="cello"),
        Phase("rest", duration_s=2.5),
        Phase("hold", 0.0, -1.0),
    ),
)


def settings_with(*names: str) -> Settings:
    settings = Settings()
    return replace(settings, emotion=replace(settings.emotion, programmes=names))


def test_every_shipped_programme_comes_back() -> None:
    settings = Settings()
    programmes = open_programmes(settings)
    about = json.loads(json.dumps({"programmes": as_kept(programmes)}))
    kept = kept_programmes(about, settings)
    assert [(p.name, p.phases, p.interrupts) for p in kept] == [
        (p.name, p.phases, p.interrupts) for p in programmes
    ]


def test_one_of_the_users_own_comes_back_without_its_words() -> None:
    header = json.dumps({"programmes": as_kept([OWN])})
    assert "Anna" not in header
    (*built_in, own) = kept_programmes(json.loads(header), settings_with("own"))
    assert (own.name, own.phases) == (OWN.name, OWN.phases)
    assert [p.name for p in built_in] == list(PROGRAMMES)


@pytest.mark.parametrize(
    "kept",
    [
        None,
        5,
        [],
        ["own"],
        [{"name": "own"}],
        [{"name": "own", "phases": 5}],
        [{"name": "own", "phases": [{"mode": "hold", "valence": 2, "arousal": 0}]}],
        [{"name": "own", "phases": [{"mode": "hold", "valence": None, "arousal": 0}]}],
        [{"name": "own", "phases": [{"mode": {"a": [1]}}]}],
        [{"name": "own", "phases": [["mode"]]}],
    ],
)
def test_a_damaged_header_is_one_line(kept: Any) -> None:
    with pytest.raises(SessionError) as caught:
        kept_programmes({"programmes": kept}, settings_with("own"))
    assert "own" in str(caught.value) and "\n" not in str(caught.value)
