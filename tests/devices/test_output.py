"""Results appear complete or not at all."""

import shutil
import subprocess
from pathlib import Path

import mido
import numpy as np
import pytest
import soundfile

from firmware_py.devices.output import OutputFolder, write_json_lines, write_midi, write_npz, write_wav
from kelly_edge.contract import NOTE_DTYPE
from kelly_edge.errors import OutputError


def some_notes() -> np.ndarray:
    rows = [
        (0.5, 0.5, 0.5, 60, 80, 0, 0, 0),
        (1.0, 1.0, 0.25, 60, 90, 0, 0, 0),
        (1.0, 1.0, 2.0, 67, 70, 3, 0, 1),
    ]
    return np.array(rows, NOTE_DTYPE)


def write_all(output: OutputFolder) -> None:
    write_midi(output, "a.mid", some_notes(), 4)
    write_wav(output, "a.wav", np.linspace(-0.5, 0.5, 48_000, dtype=np.float32), 48_000)
    write_json_lines(output, "a.jsonl", [{"kind": "knobs"}, {"kind": "note"}])
    write_npz(output, "a.npz", {"x": np.arange(3)})


def test_all_files_appear_at_the_end(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "out"
    with OutputFolder(folder) as output:
        write_all(output)
        assert not (folder / "a.mid").exists()
    assert sorted(p.name for p in folder.iterdir()) == ["a.jsonl", "a.mid", "a.npz", "a.wav"]


def test_the_same_results_are_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        with OutputFolder(tmp_path / name) as output:
            write_all(output)
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()


def test_a_failure_leaves_the_old_results_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "a.mid").write_text("old")
    with pytest.raises(ValueError), OutputFolder(tmp_path) as output:
        write_all(output)
        raise ValueError
    assert [p.name for p in tmp_path.iterdir()] == ["a.mid"]
    assert (tmp_path / "a.mid").read_text() == "old"


def test_a_failure_removes_the_folders_it_made(tmp_path: Path) -> None:
    with pytest.raises(ValueError), OutputFolder(tmp_path / "x" / "y"):
        raise ValueError
    assert not (tmp_path / "x").exists()


def test_a_file_where_the_folder_should_be(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    with pytest.raises(OutputError, match="cannot write to"), OutputFolder(tmp_path / "out"):
        pytest.fail("entered")
    assert (tmp_path / "out").read_text() == "mine"


def test_a_folder_where_a_file_should_be(tmp_path: Path) -> None:
    (tmp_path / "a.mid").mkdir()
    with pytest.raises(OutputError, match=r"a\.mid is a folder"), OutputFolder(tmp_path) as output:
        write_all(output)
    assert [p.name for p in tmp_path.iterdir()] == ["a.mid"]


def test_a_full_disk(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = shutil.which("mount")
    if (
        not mount
        or subprocess.run(
            [mount, "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)], capture_output=True, check=False
        ).returncode
    ):
        pytest.skip("mounting a small disk needs root")
    try:
        with pytest.raises(OutputError) as caught, OutputFolder(disk / "out") as output:
            write_all(output)
        assert "\n" not in str(caught.value)
        assert list(disk.iterdir()) == []
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_midi_holds_the_notes_at_their_times(tmp_path: Path) -> None:
    with OutputFolder(tmp_path) as output:
        write_midi(output, "a.mid", some_notes(), 4)
    time_s, seen = 0.0, []
    for message in mido.MidiFile(tmp_path / "a.mid"):
        time_s += message.time
        if message.type in ("note_on", "note_off"):
            seen.append((round(time_s, 3), message.type, message.channel, message.note, message.velocity))
    assert seen == [
        (0.5, "note_on", 0, 60, 80),
        (1.0, "note_off", 0, 60, 0),
        (1.0, "note_on", 0, 60, 90),
        (1.0, "note_on", 3, 67, 70),
        (1.25, "note_off", 0, 60, 0),
        (3.0, "note_off", 3, 67, 0),
    ]


def test_the_wav_holds_the_samples(tmp_path: Path) -> None:
    samples = np.linspace(-0.5, 0.5, 4_800, dtype=np.float32)
    with OutputFolder(tmp_path) as output:
        write_wav(output, "a.wav", samples, 48_000)
    read, rate_hz = soundfile.read(tmp_path / "a.wav", dtype="float32")
    assert rate_hz == 48_000
    np.testing.assert_allclose(read, samples, atol=2e-7)
