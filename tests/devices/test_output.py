"""Results appear complete or not at all."""

import errno
import gc
import os
import resource
import shutil
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path

import mido
import numpy as np
import pytest
import soundfile

from firmware_py.devices.files.output import JsonLines, OutputFolder, WavWriter, write_midi, write_npz
from kelly_edge.contract import NOTE_DTYPE
from kelly_edge.errors import OutputError


def some_notes() -> np.ndarray:
    rows = [
        (0.5, 0.5, 0.5, 60, 80, 0, 0, 0),
        (1.0, 1.0, 0.25, 60, 90, 0, 0, 0),
        (1.0, 1.0, 2.0, 67, 70, 3, 0, 1),
    ]
    return np.array(rows, NOTE_DTYPE)


def write_wav(output: OutputFolder, name: str, samples: np.ndarray, rate_hz: int) -> None:
    with WavWriter(output, name, rate_hz) as file:
        file.write(samples)


def write_json_lines(output: OutputFolder, name: str, entries: list[dict[str, str]]) -> None:
    with JsonLines(output, name) as file:
        for entry in entries:
            file.record(entry)


RAMP = np.linspace(-0.5, 0.5, 70_000, dtype=np.float32)
WRITERS: dict[str, Callable[[OutputFolder], None]] = {
    "a.mid": lambda output: write_midi(output, "a.mid", some_notes(), 4),
    "a.wav": lambda output: write_wav(
        output, "a.wav", np.linspace(-0.5, 0.5, 48_000, dtype=np.float32), 48_000
    ),
    "a.jsonl": lambda output: write_json_lines(output, "a.jsonl", [{"kind": "knobs"}, {"kind": "note"}]),
    "a.npz": lambda output: write_npz(output, "a.npz", {"x": np.arange(3)}),
}
SESSION = '{"kind": "knobs"}\n{"kind": "note"}\n'
NOBODY = 65_534


def write_all(output: OutputFolder) -> None:
    for write in WRITERS.values():
        write(output)


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


@pytest.mark.parametrize("is_announced", [True, False])
@pytest.mark.parametrize("kind", ["pipe", "link to a device"])
def test_what_is_no_file_is_not_replaced(tmp_path: Path, kind: str, is_announced: bool) -> None:
    """As root, ``--out /dev/null`` would put a file in the place of the device."""
    place = tmp_path / "a.mid"
    os.mkfifo(place) if kind == "pipe" else place.symlink_to("/dev/null")
    before = place.lstat()
    names = ["a.mid"] if is_announced else []
    with (
        pytest.raises(OutputError, match=r"a\.mid is a device or a pipe") as caught,
        OutputFolder(tmp_path, names) as output,
    ):
        write_all(output)
    assert "\n" not in str(caught.value)
    assert [p.name for p in tmp_path.iterdir()] == ["a.mid"]
    assert (place.lstat().st_ino, place.lstat().st_mode) == (before.st_ino, before.st_mode)


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


@pytest.mark.parametrize("name", ["a.jsonl", "a.mid", "a.npz", "a.wav"])
@pytest.mark.parametrize("share", [0.0, 0.5, 0.999])
def test_a_file_the_disk_takes_only_a_part_of(
    tmp_path: Path, name: str, share: float, capfd: pytest.CaptureFixture[str]
) -> None:
    with OutputFolder(tmp_path / "whole") as output:
        write_all(output)
    size = (tmp_path / "whole" / name).stat().st_size
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(share * size), hard))
    try:
        with pytest.raises(OutputError) as caught, OutputFolder(tmp_path / "out") as output:
            WRITERS[name](output)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "\n" not in str(caught.value) and "make room" in str(caught.value)
    assert not (tmp_path / "out").exists()
    gc.collect()
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("linkable", [True, False])
def test_a_rename_that_fails_halfway_puts_the_old_results_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, linkable: bool
) -> None:
    (tmp_path / "a.jsonl").write_text("old")
    rename, seen = Path.replace, []

    def replace(self: Path, target: Path) -> Path:
        seen.append(target.name)
        if seen == ["a.jsonl", "a.mid", "a.npz"]:
            raise PermissionError(errno.EPERM, "Operation not permitted")
        return rename(self, target)

    def no_link(*_: object, **__: object) -> None:
        raise PermissionError(errno.EPERM, "no links here")

    monkeypatch.setattr(Path, "replace", replace)
    if not linkable:
        monkeypatch.setattr(os, "link", no_link)
    with pytest.raises(OutputError, match="not permitted"), OutputFolder(tmp_path) as output:
        write_all(output)
    # Without links the old result is gone, but what stands there is whole.
    assert [p.name for p in tmp_path.iterdir()] == ["a.jsonl"]
    assert (tmp_path / "a.jsonl").read_text() == ("old" if linkable else SESSION)


def test_old_results_are_replaced(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("old")
    with OutputFolder(tmp_path) as output:
        write_all(output)
    assert (tmp_path / "a.jsonl").read_text() == SESSION


def test_no_permission(tmp_path: Path) -> None:
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o500)
    was = os.geteuid()
    if was == 0:
        os.seteuid(NOBODY)  # root may write everywhere
    try:
        with pytest.raises(OutputError, match="Permission denied"), OutputFolder(folder / "out"):
            pytest.fail("entered")
    finally:
        os.seteuid(was)


def test_npz_has_no_date_of_today_and_reads_back(tmp_path: Path) -> None:
    arrays = {"x": np.arange(6.0).reshape(2, 3), "empty": np.zeros((0, 4), np.float32), "n": np.int64(7)}
    with OutputFolder(tmp_path) as output:
        write_npz(output, "a.npz", arrays)
    with zipfile.ZipFile(tmp_path / "a.npz") as archive:
        assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
    with np.load(tmp_path / "a.npz") as read:
        assert set(read) == set(arrays)
        for name, values in arrays.items():
            np.testing.assert_array_equal(read[name], values)


def test_a_peak_at_the_ceiling_is_not_rounded_above_it(tmp_path: Path) -> None:
    ceiling = 10.0 ** (-1.0 / 20.0)
    samples = np.full(100, ceiling, np.float32)
    samples[::2] *= -1.0
    with OutputFolder(tmp_path) as output:
        write_wav(output, "a.wav", samples, 48_000)
    read, _ = soundfile.read(tmp_path / "a.wav", dtype="float64")
    assert 0.0 <= ceiling - np.max(np.abs(read)) < 2e-7


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
