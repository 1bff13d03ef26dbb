"""The site's examples: their pieces, and how it is known that their sounds are stale."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import mido
import pytest

import firmware_py
import kelly_edge
import models
from firmware_py.devices.files.config_file import load_settings
from models.site import pieces, render
from models.site.pieces import PIECES
from models.site.render import EXAMPLES, LIST, digest, rendered


@pytest.mark.parametrize("piece", PIECES.values(), ids=PIECES)
def test_a_piece_is_as_long_as_an_example_and_leaves_no_note(piece: Callable[[], mido.MidiFile]) -> None:
    file = piece()
    assert 30.0 < file.length < 100.0
    sounding: Counter[int] = Counter()
    for message in file:
        if message.type == "note_on":
            sounding[message.note] += 1 if message.velocity else -1
            assert 28 <= message.note <= 96 and sounding[message.note] >= 0
    assert not +sounding


@pytest.mark.parametrize(
    ("melody", "beats"), [(pieces.NEW_BRITAIN, 48), (pieces.MOUNTAIN_KING, 16), (pieces.LULLABY, 48)]
)
def test_a_melody_fills_its_bars(melody: pieces.Melody, beats: float) -> None:
    assert sum(length for _, length in melody) == beats


def test_there_are_five_examples_and_their_settings_are_taken() -> None:
    assert len({example.name for example in EXAMPLES}) == 5
    assert {example.name for example in EXAMPLES} > set(PIECES)
    voices = {load_settings(None, list(example.settings)).voice.selected for example in EXAMPLES}
    assert len(voices) == 5


def test_sounds_of_other_models_or_code_are_stale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = {kelly_edge: "music/form.py", firmware_py: "demo/a.flac", models: "shipped/a.tflite"}
    for package, name in names.items():
        file = tmp_path / package.__name__ / name
        file.parent.mkdir(parents=True)
        file.write_bytes(b"one")
        monkeypatch.setattr(package, "__file__", str(tmp_path / package.__name__ / "__init__.py"))
    font = tmp_path / "font.sf2"
    font.write_bytes(b"font")
    seen = [digest(font)]
    for file in [*(tmp_path / package.__name__ / name for package, name in names.items()), font]:
        file.write_bytes(b"another")
        seen.append(digest(font))
    assert len(set(seen)) == 5
    (tmp_path / "models/train.py").write_text("what trains is not heard")
    assert digest(font) == seen[-1]


def test_no_sound_is_shown_that_is_stale_or_not_there(tmp_path: Path) -> None:
    assert rendered(tmp_path, "now") == []
    for text in ("", "[]", "{}", '{"digest": "now"}', '{"digest": "before", "examples": [{"name": "a"}]}'):
        (tmp_path / LIST).write_text(text)
        assert rendered(tmp_path, "now") == []
    (tmp_path / LIST).write_text(json.dumps({"digest": "now", "examples": [{"name": "a"}]}))
    assert rendered(tmp_path, "now") == [{"name": "a"}]


def test_without_a_font_one_line_says_what_to_install(tmp_path: Path) -> None:
    with pytest.raises(render.DataError, match="apt-get install fluidsynth"):
        render.render_all(tmp_path / "hear", tmp_path / "no font")
    assert not (tmp_path / "hear").exists()
