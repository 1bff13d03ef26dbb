"""What is fetched from a box: its session logs and its journal, whatever the box puts into them."""

import importlib.util
import io
import lzma
import os
import random
import stat
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from test_push import end, start

from deploy.box import parcels, sandbox
from deploy.box.faults import ReleaseError
from deploy.box.layout import Layout

NAMES = ["20261130-120000-7-0001.jsonl", "20261130-130000-7-0001.jsonl"]


@pytest.fixture
def sessions(box: Layout) -> Path:
    """A folder with two logs, and what a service may put beside them."""
    folder = box.root / parcels.SESSIONS
    folder.mkdir(parents=True)
    for number, name in enumerate(NAMES):
        (folder / name).write_text(f'{{"kind": "session", "number": {number}}}\n')
        os.utime(folder / name, (1e9 + number, 1e9 + number))
    secret = box.root / "secret"
    secret.write_text("of root's")
    (folder / "link.jsonl").symlink_to(secret)
    os.mkfifo(folder / "fifo.jsonl")
    (folder / "folder.jsonl").mkdir()
    (folder / ".hidden.jsonl").write_text("x")
    (folder / "line\nbreak.jsonl").write_text("x")
    return folder


def packed(folder: Path, most_bytes: int = parcels.MAX_PARCEL_BYTES) -> list[tuple[str, bytes]]:
    out = io.BytesIO()
    parcels.pack(folder, out, most_bytes)
    with tarfile.open(fileobj=io.BytesIO(out.getvalue()), mode="r:xz") as tar:
        members = [(member.name, tar.extractfile(member)) for member in tar]
        return [(name, file.read() if file else b"") for name, file in members]


def test_regular_files_with_plain_names_are_packed_the_newest_first(sessions: Path) -> None:
    assert [name for name, _ in packed(sessions)] == NAMES[::-1]
    assert packed(sessions)[1][1] == (sessions / NAMES[0]).read_bytes()


def test_what_does_not_fit_is_left_out_and_the_newest_is_kept(sessions: Path) -> None:
    size = (sessions / NAMES[1]).stat().st_size
    assert [name for name, _ in packed(sessions, size)] == NAMES[1:]
    assert packed(sessions, size - 1) == []


def test_a_box_without_sessions_packs_none(tmp_path: Path) -> None:
    assert packed(tmp_path / "none") == []


def test_the_sessions_are_packed_by_the_services_user_in_its_sandbox(
    box: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[str]] = []
    monkeypatch.setattr(parcels, "keep_output", lambda words, path, most_bytes: seen.append(list(words)))
    parcels.fetch_sessions(box, box.root / "parcel")
    (words,) = seen
    assert words[0] == "systemd-run"
    assert f"--property=User={sandbox.USER}" in words
    assert words[words.index("--") + 1 :] == parcels.session_words(box)


def run(tmp_path: Path, code: str, most_bytes: int, is_tail: bool = False) -> Path:
    path = tmp_path / "parcel"
    parcels.keep_output([sys.executable, "-c", code], path, most_bytes, is_tail)
    return path


def test_output_is_kept_for_root_alone_and_bounded(tmp_path: Path) -> None:
    path = run(tmp_path, "print('x' * 99)", 100)
    assert path.read_text() == "x" * 99 + "\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.unlink()
    with pytest.raises(ReleaseError, match="brings more than 99 bytes"):
        run(tmp_path, "print('x' * 99)", 99)


def test_of_a_long_journal_the_end_is_kept(tmp_path: Path) -> None:
    code = f"import sys\nfor n in range(9): sys.stdout.write(str(n) * {parcels.PIECE_BYTES})"
    text = run(tmp_path, code, 3 * parcels.PIECE_BYTES, is_tail=True).read_text()
    assert text == "".join(str(n) * parcels.PIECE_BYTES for n in (6, 7, 8))


def test_a_program_that_fails_or_is_not_there_and_a_place_that_is_taken_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(ReleaseError, match=r"failed .no journal"):
        run(tmp_path, "import sys; print('no journal', file=sys.stderr); sys.exit(1)", 9)
    with pytest.raises(FileExistsError):
        run(tmp_path, "", 9)
    with pytest.raises(ReleaseError, match="cannot run nothing-of-this-name"):
        parcels.keep_output(["nothing-of-this-name"], tmp_path / "other", 9)


# --- the courier; its modules patch sockets, so they run in a process of their own ---------------
needs_pyinfra = pytest.mark.skipif(
    importlib.util.find_spec("pyinfra") is None, reason="pyinfra is not installed"
)


@needs_pyinfra
def test_session_logs_come_whole_into_the_folder_of_the_box(
    box: Layout, sessions: Path, tmp_path: Path, key: Path
) -> None:
    noise = random.Random(2).randbytes(3 << 20)
    (sessions / "20261130-140000-7-0001.jsonl").write_bytes(noise)
    out = tmp_path / "out/box"
    told = end(start("fetch", box, key, "sessions", out))
    assert told["is_good"], told
    assert "3 session logs" in told["text"]
    came = sorted((out / "sessions").iterdir())
    assert [path.name for path in came] == [*NAMES, "20261130-140000-7-0001.jsonl"]
    assert [path.read_bytes() for path in came] == [(sessions / path.name).read_bytes() for path in came]
    assert {stat.S_IMODE(path.stat().st_mode) for path in came} == {0o600}
    assert not list(box.incoming.iterdir()), "nothing is left on the box"
    assert end(start("fetch", box, key, "sessions", out))["is_good"], "a second time too"


UNPACK = """
import sys
from pathlib import Path
from deploy.errors import DeployError
from deploy.fetch import unpack

try:
    print(*unpack(Path(sys.argv[1]), Path(sys.argv[2])))
except DeployError as error:
    print("fault:", error)
"""


def unpacked(tmp_path: Path, content: bytes) -> tuple[str, list[str]]:
    """What is said of a parcel, and what lies in the folder afterwards."""
    parcel, folder = tmp_path / "parcel", tmp_path / "sessions"
    parcel.write_bytes(content)
    folder.mkdir(exist_ok=True)
    done = subprocess.run(
        [sys.executable, "-c", UNPACK, parcel, folder],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    return done.stdout.strip(), sorted(path.name for path in tmp_path.rglob("*") if path.is_file())


def tar_of(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:xz") as tar:
        for info, content in members:
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return out.getvalue()


def member(name: str, **values: object) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    for key, value in values.items():
        setattr(info, key, value)
    return info


@needs_pyinfra
def test_names_kinds_and_links_of_a_parcel_are_refused_and_the_rest_is_kept(tmp_path: Path) -> None:
    content = tar_of(
        (member("good.jsonl"), b"{}"),
        (member("../escaped.jsonl"), b"x"),
        (member("/tmp/escaped.jsonl"), b"x"),
        (member("folder/escaped.jsonl"), b"x"),
        (member(".hidden.jsonl"), b"x"),
        (member("line\nbreak.jsonl"), b"x"),
        (member("x" * 200), b"x"),
        (member("link.jsonl", type=tarfile.SYMTYPE, linkname="/etc/passwd"), b""),
        (member("hard.jsonl", type=tarfile.LNKTYPE, linkname="good.jsonl"), b""),
        (member("fifo.jsonl", type=tarfile.FIFOTYPE), b""),
        (member("device.jsonl", type=tarfile.CHRTYPE), b""),
        (member("folder.jsonl", type=tarfile.DIRTYPE), b""),
        (member("last.jsonl", pax_headers={"comment": "x" * 9_000}), b"{}"),
    )
    said, files = unpacked(tmp_path, content)
    assert said == "2 4 11"
    assert files == ["good.jsonl", "last.jsonl", "parcel"]


@needs_pyinfra
def test_a_parcel_is_not_written_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "sessions").mkdir()
    (tmp_path / "mine").write_text("mine")
    (tmp_path / "sessions/good.jsonl").symlink_to(tmp_path / "mine")
    said, _ = unpacked(tmp_path, tar_of((member("good.jsonl"), b"theirs")))
    assert said == "1 6 0"
    assert (tmp_path / "mine").read_text() == "mine"
    assert not (tmp_path / "sessions/good.jsonl").is_symlink()


@needs_pyinfra
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not an archive",
        lzma.compress(b"not a tar" * 1_000),
        tar_of((member("a.jsonl"), random.Random(3).randbytes(5_000)))[:-2_000],
        # A header that asks for more memory than any of ours.
        tar_of((member("a.jsonl", pax_headers={"comment": "x" * 1_000_000}), b"x")),
    ],
    ids=["empty", "no archive", "no tar", "cut", "long header"],
)
def test_a_damaged_parcel_is_one_line(tmp_path: Path, content: bytes) -> None:
    said, files = unpacked(tmp_path, content)
    assert said.startswith("fault: the session logs came damaged")
    assert files == ["parcel"]


@needs_pyinfra
def test_a_link_in_the_place_of_a_folder_and_a_shared_folder_are_refused(
    box: Layout, sessions: Path, tmp_path: Path, key: Path
) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "elsewhere")
    assert (
        "is a link; give another --out" in end(start("fetch", box, key, "sessions", tmp_path / "out"))["text"]
    )
    assert not list((tmp_path / "elsewhere").iterdir())
    code = (
        "from pathlib import Path\nfrom deploy.fetch import folders_of\nfrom deploy.inventory import Host\n"
        "hosts = [Host(name, 'x') for name in ('../../a', 'pi@b:22', '..')]\n"
        "print(*folders_of(hosts, Path('out')).values())\n"
        "folders_of([Host('a b', 'x'), Host('a:b', 'x')], Path('out'))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[2],
    )
    assert done.stdout.split() == ["out/_.._a", "out/pi@b_22", "out/_"]
    assert "two hosts would be written to out/a_b" in done.stderr
