"""A MIDI file as somebody at a keyboard: what is read of it, and one line for one that cannot be."""

from pathlib import Path

import mido
import pytest

from firmware_py.devices.files.midi_file import ENDS_AFTER_S, KeyboardPlayer, read_keyboard
from firmware_py.devices.offline import VirtualClock
from kelly_edge.errors import AudioFileError

TRUNCATED = b"MThd\x00\x00\x00\x06\x00\x01\x00\x01\x01\xe0MTrk\x00\x00\x00\x08\x00\x90\x3c"


def written(path: Path, *messages: mido.Message | mido.MetaMessage, kind: int = 1) -> Path:
    midi = mido.MidiFile(type=kind, ticks_per_beat=480)
    midi.tracks.append(mido.MidiTrack(messages))
    midi.save(path)
    return path


def test_notes_and_pedals_come_at_their_times_through_a_change_of_tempo(tmp_path: Path) -> None:
    path = written(
        tmp_path / "a.mid",
        mido.MetaMessage("set_tempo", tempo=1_000_000),
        mido.Message("control_change", control=64, value=127),
        mido.Message("note_on", note=60, velocity=80, time=480),
        mido.MetaMessage("set_tempo", tempo=250_000),
        mido.Message("sysex", data=[1, 2]),
        mido.Message("note_off", note=60, time=480),
    )
    found = read_keyboard(path)
    assert found.messages == (
        (0.0, bytes((0xB0, 64, 127))),
        (1.0, bytes((0x90, 60, 80))),
        (1.25, bytes((0x80, 60, 64))),
    )
    assert (found.n_notes, found.duration_s) == (1, 1.25 + ENDS_AFTER_S)
    played: list[tuple[str, bytes, float]] = []
    clock = VirtualClock()
    player = KeyboardPlayer(found, lambda *message: played.append(message), clock)
    for clock.time_s in (0.0, 1.1, 9.0):
        player.step()
    assert [(m[0], round(age_s, 6)) for _, m, age_s in played] == [(0xB0, 0.0), (0x90, 0.1), (0x80, 7.75)]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "no standard MIDI file"),
        (b"RIFF\x00\x00\x00\x00WAVE", "no standard MIDI file"),
        (
            b"MThd\x00\x00\x00\x06\x00\x01\x00\x01\x01\xe0MTrk\x00\x00\x00\x08\x00\x90\x3c",
            "no standard MIDI file",
        ),
        (None, "cannot be read"),
    ],
)
def test_what_is_no_midi_file_is_one_line(tmp_path: Path, content: bytes | None, says: str) -> None:
    path = tmp_path / "b.mid"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(AudioFileError, match=says):
        read_keyboard(path)


def test_a_file_without_notes_or_of_songs_without_order_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(AudioFileError, match="holds no notes"):
        read_keyboard(written(tmp_path / "c.mid", mido.Message("note_on", note=60, velocity=0)))
    note = mido.Message("note_on", note=60, velocity=80)
    with pytest.raises(AudioFileError, match="no standard MIDI file"):
        read_keyboard(written(tmp_path / "d.mid", note, kind=2))
    with pytest.raises(AudioFileError, match="damaged"):
        read_keyboard(written(tmp_path / "e.mid", note, note.copy(time=2**27)))
