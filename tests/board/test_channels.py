"""Rings and cells: one contract, in memory and between processes."""

import multiprocessing
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_py.board.channels import Cell, MemoryCell, MemoryRing, Ring
from firmware_py.board.map import CELLS, RINGS, file_board
from firmware_py.board.pipes import HEADER, FileCell, PipeRing, record_kind
from kelly_edge.contract import HEARD_DTYPE, NOTE_DTYPE
from kelly_edge.errors import OutputError

CAPACITY = 200
WIDE = np.dtype([("n", "<i8"), ("body", "<i8", (400,))])
NewRing = Callable[[], Ring]
NewCell = Callable[[], Cell]


@pytest.fixture(params=["memory", "pipe"])
def ring(request: pytest.FixtureRequest, tmp_path: Path) -> Ring:
    if request.param == "memory":
        return MemoryRing(CAPACITY)
    return PipeRing(tmp_path / "ring", NOTE_DTYPE, (), CAPACITY)


@pytest.fixture(params=["memory", "file"])
def cell(request: pytest.FixtureRequest, tmp_path: Path) -> Cell:
    return MemoryCell(HEARD_DTYPE) if request.param == "memory" else FileCell(tmp_path / "cell", HEARD_DTYPE)


def note(bar: int) -> np.ndarray:
    record = np.zeros((), NOTE_DTYPE)
    record["bar"], record["onset_s"] = bar, bar / 7
    return record


def read_bars(ring: Ring) -> list[int]:
    out, bars = note(0), []
    while ring.read(out):
        bars.append(int(out["bar"]))
    return bars


def test_an_empty_ring_leaves_the_reader_s_record_alone(ring: Ring) -> None:
    out = note(7)
    assert not ring.read(out)
    assert out == note(7)


def test_a_full_ring_drops_the_new_record_and_counts_it(ring: Ring) -> None:
    written = [ring.write(note(bar)) for bar in range(CAPACITY + 3)]
    assert written == [True] * CAPACITY + [False] * 3
    assert ring.n_dropped == 3
    assert ring.n_waiting() == CAPACITY
    assert read_bars(ring) == list(range(CAPACITY))


def test_a_record_written_is_a_copy(ring: Ring) -> None:
    record = note(1)
    ring.write(record)
    record["bar"] = 2
    assert read_bars(ring) == [1]


def interleave(ring: Ring, turns: list[tuple[int, int]]) -> None:
    n_in, expected, got, out = 0, [], [], note(0)
    for n_writes, n_reads in turns:
        for _ in range(n_writes):
            if ring.write(note(n_in)):
                expected.append(n_in)
            n_in += 1
        for _ in range(n_reads):
            if ring.read(out):
                got.append(int(out["bar"]))
        assert ring.n_waiting() == len(expected) - len(got) <= CAPACITY
    assert got + read_bars(ring) == expected
    assert ring.n_dropped == n_in - len(expected)


turns = st.lists(st.tuples(st.integers(0, 150), st.integers(0, 150)), max_size=12)


@given(turns)
@settings(max_examples=50, deadline=None)
def test_a_ring_keeps_order_and_capacity(
    tmp_path_factory: pytest.TempPathFactory, some: list[tuple[int, int]]
) -> None:
    interleave(MemoryRing(CAPACITY), some)
    pipe = PipeRing(tmp_path_factory.mktemp("ring") / "ring", NOTE_DTYPE, (), CAPACITY)
    interleave(pipe, some)
    pipe.close()


def test_a_cell_never_written_leaves_the_reader_s_record_alone(cell: Cell) -> None:
    out = np.zeros((), HEARD_DTYPE)
    out["valence"] = 0.25
    assert not cell.read(out)
    assert out["valence"] == np.float32(0.25)


def test_a_cell_holds_a_copy_of_the_latest_value(cell: Cell) -> None:
    record, out = np.zeros((), HEARD_DTYPE), np.zeros((), HEARD_DTYPE)
    for valence in (0.5, -0.5, 0.125):
        record["valence"] = valence
        cell.write(record)
    record["valence"] = 9.0
    assert cell.read(out)
    assert out["valence"] == np.float32(0.125)


# --- between processes -------------------------------------------------------------------


def _write_cell(path: Path, n_writes: int) -> None:
    cell, record = FileCell(path, WIDE), np.zeros((), WIDE)
    for n in range(1, n_writes + 1):
        record["n"] = n
        record["body"] = n
        cell.write(record)


def _write_ring(path: Path, n_writes: int) -> None:
    ring, block = PipeRing(path, np.dtype("<f4"), (256,), 64), np.zeros(256, np.float32)
    n = 0
    while n < n_writes:
        block[:] = n
        n += ring.write(block)


def test_a_reader_never_sees_half_of_a_write(tmp_path: Path) -> None:
    n_writes = 60_000
    cell, out = FileCell(tmp_path / "cell", WIDE), np.zeros((), WIDE)
    writer = multiprocessing.get_context("spawn").Process(
        target=_write_cell, args=(tmp_path / "cell", n_writes)
    )
    writer.start()
    seen = set()
    while out["n"] < n_writes:
        before = int(out["n"])
        if cell.read(out):
            assert np.all(out["body"] == out["n"])
            assert out["n"] >= before
            seen.add(int(out["n"]))
        assert writer.is_alive() or cell.read(out)
    writer.join()
    assert len(seen) > 5


def test_blocks_cross_processes_whole_and_in_order(tmp_path: Path) -> None:
    n_writes = 5_000
    ring, block = PipeRing(tmp_path / "ring", np.dtype("<f4"), (256,), 64), np.zeros(256, np.float32)
    writer = multiprocessing.get_context("spawn").Process(
        target=_write_ring, args=(tmp_path / "ring", n_writes)
    )
    writer.start()
    expected = 0
    while expected < n_writes:
        if ring.read(block):
            assert np.all(block == expected)
            expected += 1
    writer.join()


def _die_while_writing(path: Path) -> None:
    cell, record = FileCell(path, WIDE), np.zeros((), WIDE)
    n = 0
    while True:
        n += 1
        record["n"] = n
        record["body"] = n
        cell.write(record)


def test_a_writer_killed_at_any_moment_leaves_a_whole_value(tmp_path: Path) -> None:
    cell, out = FileCell(tmp_path / "cell", WIDE), np.zeros((), WIDE)
    context = multiprocessing.get_context("fork")
    for _ in range(10):
        writer = context.Process(target=_die_while_writing, args=(tmp_path / "cell",))
        writer.start()
        while not (cell.read(out) and out["n"] > 50):
            pass
        writer.kill()
        writer.join()
        assert cell.read(out)
        assert np.all(out["body"] == out["n"])


def test_what_waits_in_a_ring_outlives_its_ends(tmp_path: Path) -> None:
    reader = PipeRing(tmp_path / "ring", NOTE_DTYPE, (), CAPACITY)
    writer = PipeRing(tmp_path / "ring", NOTE_DTYPE, (), CAPACITY)
    writer.write(note(1))
    writer.close()
    writer = PipeRing(tmp_path / "ring", NOTE_DTYPE, (), CAPACITY)
    writer.write(note(2))
    assert read_bars(reader) == [1, 2]


# --- faults ------------------------------------------------------------------------------


def test_a_file_in_the_ring_s_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "ring").write_text("")
    with pytest.raises(OutputError, match="is not a pipe"):
        PipeRing(tmp_path / "ring", NOTE_DTYPE, (), CAPACITY)


def test_a_cell_of_another_version_is_refused(tmp_path: Path) -> None:
    FileCell(tmp_path / "cell", HEARD_DTYPE)
    with pytest.raises(OutputError, match="another version"):
        FileCell(tmp_path / "cell", NOTE_DTYPE)


def test_an_absent_folder_is_one_line(tmp_path: Path) -> None:
    for make in (
        lambda: PipeRing(tmp_path / "no" / "ring", NOTE_DTYPE, (), CAPACITY),
        lambda: FileCell(tmp_path / "no" / "cell", NOTE_DTYPE),
    ):
        with pytest.raises(OutputError, match=r"runtime\.run_dir") as caught:
            make()
        assert "\n" not in str(caught.value)


# --- the board ---------------------------------------------------------------------------


def test_a_file_board_holds_the_whole_map(tmp_path: Path) -> None:
    board = file_board(tmp_path, period=256)
    assert set(board.rings) == set(RINGS)
    assert set(board.cells) == set(CELLS)
    assert len(os.listdir(tmp_path)) == len(RINGS) + len(CELLS)
    block = np.arange(256, dtype=np.float32)
    other, out = file_board(tmp_path, period=256), np.zeros(256, np.float32)
    assert board.rings["capture"].write(block)
    assert other.rings["capture"].read(out)
    np.testing.assert_array_equal(out, block)


# --- what somebody else put there ----------------------------------------------------------


def foreign(path: Path, content: bytes) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
    assert os.write(fd, content) == len(content)
    os.close(fd)


SIZE = HEADER.size + NOTE_DTYPE.itemsize
KIND = record_kind(NOTE_DTYPE, ()).to_bytes(4, "little")


@given(
    st.lists(
        st.one_of(
            st.none(),
            st.binary(min_size=1, max_size=3 * SIZE),
            # The beginning of a frame, and no more of it.
            st.binary(max_size=SIZE).map(lambda rest: KIND + rest),
            st.integers(1, SIZE - 1).map(lambda n: (KIND + bytes(SIZE))[:n]),
        ),
        max_size=24,
    )
)
@settings(max_examples=150, deadline=None)
def test_foreign_bytes_are_passed_over_and_shift_no_record(
    tmp_path_factory: pytest.TempPathFactory, writes: list[bytes | None]
) -> None:
    path = tmp_path_factory.mktemp("ring") / "ring"
    ring, reader = (PipeRing(path, NOTE_DTYPE, (), CAPACITY) for _ in range(2))
    n_written, got = 0, []
    for turn, content in enumerate(writes):
        if content is None:
            ring.write(note(n_written))
            n_written += 1
        else:
            foreign(path, content)
        if turn % 3 == 0:
            got += read_bars(reader)
    # What is cut off in the middle is known as such when the next records have come.
    for _ in range(4):
        ring.write(note(n_written))
        n_written += 1
        got += read_bars(reader)
    assert got == list(range(n_written))
    assert (reader.n_foreign > 0) == any(content is not None for content in writes)
    ring.close()
    reader.close()


def test_a_reader_restarted_in_the_middle_of_foreign_bytes_finds_the_next_record(tmp_path: Path) -> None:
    path = tmp_path / "ring"
    ring, reader = (PipeRing(path, NOTE_DTYPE, (), CAPACITY) for _ in range(2))
    foreign(path, b"x" * 7)
    ring.write(note(1))
    foreign(path, KIND + b"y" * 5)
    assert read_bars(reader) == [1]
    ring.write(note(2))
    ring.write(note(3))
    reader.close()
    assert read_bars(PipeRing(path, NOTE_DTYPE, (), CAPACITY)) == [2, 3]


def test_records_of_another_layout_are_refused_though_their_size_is_the_same(tmp_path: Path) -> None:
    mono, pairs = np.dtype("<f4"), np.dtype("<i4")
    PipeRing(tmp_path / "ring", mono, (8,), 4).write(np.ones(8, np.float32))
    writer = PipeRing(tmp_path / "ring", mono, (8,), 4)
    reader, out = PipeRing(tmp_path / "ring", pairs, (8,), 4), np.zeros(8, np.int32)
    writer.write(np.ones(8, np.float32))
    assert not reader.read(out) and not out.any()


@pytest.mark.parametrize("mode", [0o666, 0o620, 0o602])
def test_a_pipe_or_cell_that_others_may_write_to_is_refused(tmp_path: Path, mode: int) -> None:
    os.mkfifo(tmp_path / "ring")
    (tmp_path / "cell").write_bytes(b"")
    for name in ("ring", "cell"):
        (tmp_path / name).chmod(mode)
    for make in (
        lambda: PipeRing(tmp_path / "ring", NOTE_DTYPE, (), CAPACITY),
        lambda: FileCell(tmp_path / "cell", NOTE_DTYPE),
    ):
        with pytest.raises(OutputError, match=rf"written to by others \(mode {mode:04o}\)"):
            make()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_another_users_pipe_or_cell_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "ring", 0o600)
    (tmp_path / "cell").touch(0o600)
    for name in ("ring", "cell"):
        os.chown(tmp_path / name, 12_345, 12_345)
    for make in (
        lambda: PipeRing(tmp_path / "ring", NOTE_DTYPE, (), CAPACITY),
        lambda: FileCell(tmp_path / "cell", NOTE_DTYPE),
    ):
        with pytest.raises(OutputError, match="belongs to another user"):
            make()


def test_a_pipe_or_a_link_in_a_cells_place_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "cell", 0o600)
    with pytest.raises(OutputError, match="is not a file"):
        FileCell(tmp_path / "cell", NOTE_DTYPE)
    (tmp_path / "link").symlink_to(tmp_path / "cell")
    for make in (
        lambda: PipeRing(tmp_path / "link", NOTE_DTYPE, (), CAPACITY),
        lambda: FileCell(tmp_path / "link", NOTE_DTYPE),
    ):
        with pytest.raises(OutputError, match="cannot open"):
            make()


def test_a_full_disk_is_one_line_and_no_sigbus(tmp_path: Path) -> None:
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(tmp_path)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("only root can make a small file system (mount)")
    try:
        (tmp_path / "ballast").write_bytes(b"x" * shutil.disk_usage(tmp_path).free)
        with pytest.raises(OutputError, match=r"No space left on device; free space") as caught:
            file_board(tmp_path, 128)
        assert "\n" not in str(caught.value)
    finally:
        # The rings that could be made are still open.
        subprocess.run(["umount", "--lazy", str(tmp_path)], check=True)
