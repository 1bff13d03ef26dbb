"""Only regular files are opened, and none is read further than it may be: no hang, no memory filled."""

import hashlib
import io
import json
import lzma
import os
import random
import resource
import subprocess
import sys
import tarfile
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from deploy_box import call

from deploy.box import store
from deploy.box.disk import read_bounded, sha256_of
from deploy.box.faults import ReleaseError
from deploy.box.layout import Layout
from deploy.box.manifest import Layer
from deploy.bundle import Bundle, open_bundle
from deploy.layers import Member, make_layer

ROOT = Path(__file__).resolve().parents[2]
MEMORY_BYTES = 400 << 20
"""Python itself takes some 30 MiB of it."""


def _fifo(path: Path) -> None:
    os.mkfifo(path)


def _endless(path: Path) -> None:
    path.symlink_to("/dev/zero")


def _device(path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("a device needs root")
    try:
        os.mknod(path, 0o20666, os.makedev(1, 5))
    except OSError:
        pytest.skip("this machine allows no device")


def _long(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(8 << 30)


def _kernel(path: Path) -> None:
    path.symlink_to("/proc/self/pagemap")


def _folder(path: Path) -> None:
    path.mkdir()


ODD: dict[str, Callable[[Path], None]] = {
    "a FIFO": _fifo,
    "a link to an endless file": _endless,
    "an endless device": _device,
    "8 GiB of holes": _long,
    "a link to a file of the kernel": _kernel,
    "a folder": _folder,
}


@pytest.mark.parametrize("what", ODD)
@pytest.mark.parametrize("name", ["manifest.json", "manifest.json.sig", "objects"])
def test_an_odd_file_in_a_bundle_is_one_line_at_once(
    bundle: Bundle, box: Layout, copy_of: Callable[[Bundle], Path], what: str, name: str
) -> None:
    folder = copy_of(bundle)
    path = folder / name if name != "objects" else next((folder / name).iterdir())
    path.unlink()
    ODD[what](path)
    for command in ("install",) if name == "objects" else ("missing",):
        words = [sys.executable, "-m", "deploy.box", "--root", str(box.root), command, str(folder)]
        done = subprocess.run(
            words,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES,) * 2),
        )
        assert done.returncode == 2, done
        assert len(done.stderr.splitlines()) == 1, done.stderr
    assert not box.releases.exists() or not box.installed()


@pytest.mark.parametrize("what", ODD)
@pytest.mark.parametrize("name", ["allowed_signers", "keys.json", "health.json"])
def test_an_odd_file_of_the_box_is_one_line_at_once(
    bundle: Bundle, box: Layout, what: str, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = box.allowed_signers.with_name(name)
    path.unlink(missing_ok=True)
    ODD[what](path)
    words = ("verify", bundle.folder) if name != "health.json" else ("switch", bundle.manifest.release)
    assert call(box, *words) in (1, 2)
    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize("what", ODD)
def test_an_odd_manifest_on_the_laptop_is_one_fault(
    bundle: Bundle, copy_of: Callable[[Bundle], Path], what: str
) -> None:
    folder = copy_of(bundle)
    (folder / "manifest.json").unlink()
    ODD[what](folder / "manifest.json")
    with pytest.raises((ReleaseError, OSError)):
        open_bundle(folder)


def test_a_file_of_exactly_the_longest_is_read(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * 100)
    assert read_bounded(path, 100) == b"x" * 100
    assert sha256_of(path) == hashlib.sha256(b"x" * 100).hexdigest()
    with pytest.raises(ReleaseError, match="larger than 99 bytes"):
        read_bounded(path, 99)


def _bomb(make: Callable[[tarfile.TarFile, Layer], None], layer: Layer, index: bytes) -> bytes:
    packed = io.BytesIO()
    with lzma.open(packed, "wb", preset=1) as out, tarfile.open(fileobj=out, mode="w|") as tar:
        info = tarfile.TarInfo("INDEX")
        info.size = len(index)
        tar.addfile(info, io.BytesIO(index))
        make(tar, layer)
    return packed.getvalue()


class Zeros(io.RawIOBase):
    """As many as are asked for."""

    def read(self, size: int = -1) -> bytes:
        return bytes(size)


def _raw(tar: tarfile.TarFile, kind: bytes, size: int) -> None:
    info = tarfile.TarInfo("x")
    info.type, info.size = kind, size
    stream = tar.fileobj
    assert stream is not None
    stream.write(info.tobuf(tarfile.USTAR_FORMAT))
    for _ in range(size >> 20):
        stream.write(bytes(1 << 20))


BOMBS: dict[str, Callable[[tarfile.TarFile, Layer], None]] = {
    "a pax header of 600 MiB": lambda tar, _: _raw(tar, tarfile.XHDTYPE, 600 << 20),
    "a global pax header of 16 MiB": lambda tar, _: _raw(tar, tarfile.XGLTYPE, 16 << 20),
    "a long name of 16 MiB": lambda tar, _: _raw(tar, tarfile.GNUTYPE_LONGNAME, 16 << 20),
    "a long link of 16 MiB": lambda tar, _: _raw(tar, tarfile.GNUTYPE_LONGLINK, 16 << 20),
    "a file of 16 MiB": lambda tar, _: _raw(tar, tarfile.REGTYPE, 16 << 20),
    "5,000 headers in a row": lambda tar, _: [_raw(tar, tarfile.XHDTYPE, 0) for _ in range(5_000)] and None,
}


@pytest.mark.parametrize("what", BOMBS)
def test_an_archive_that_unpacks_without_end_fills_no_memory(box: Layout, what: str) -> None:
    layer, archive = make_layer("bomb", "1", "system", "hash", {"ok.txt": Member(b"ok")}, "0" * 64)
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        first = tar.extractfile("INDEX")
        assert first is not None
        index = first.read()
    place = box.home / "archive"
    place.write_bytes(_bomb(BOMBS[what], layer, index))
    code = (
        "import sys; from pathlib import Path; from deploy.box import store;"
        "from deploy.box.faults import ReleaseError; from deploy.box.layout import Layout;"
        "from deploy.box.manifest import Layer; import json;"
        "box, layer = Layout(Path(sys.argv[1])), Layer(**json.loads(sys.argv[2]))\n"
        "try: store.unpack(box, [(layer, Path(sys.argv[3]))])\n"
        "except ReleaseError as error: print(error); sys.exit(7)\n"
    )
    words = [sys.executable, "-c", code, str(box.root), json.dumps(vars(layer)), str(place)]
    done = subprocess.run(
        words,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES,) * 2),
    )
    assert done.returncode == 7, done.stderr[-500:]
    assert len(done.stdout.splitlines()) == 1
    assert store.present_layers(box) == frozenset()
    assert not list(box.layers.iterdir())


def _with_dictionary(archive: bytes, size_code: int) -> bytes:
    """The archive with another size of dictionary in the header of its first block (.xz format, 3.1)."""
    size = (archive[12] + 1) * 4
    header = bytearray(archive[12 : 12 + size - 4])
    assert header[2] == 0x21, "LZMA2"
    header[4] = size_code
    return archive[:12] + bytes(header) + zlib.crc32(header).to_bytes(4, "little") + archive[12 + size :]


def test_an_archive_that_asks_for_a_large_dictionary_is_refused(box: Layout) -> None:
    layer, archive = make_layer("large", "1", "system", "hash", {"ok.txt": Member(b"ok")}, "0" * 64)
    place = box.home / "archive"
    # 1 GiB, 4 GiB; then 64 MiB, as xz -9 takes.
    for size_code in (36, 40):
        place.write_bytes(_with_dictionary(archive, size_code))
        with pytest.raises(ReleaseError, match="is damaged"):
            store.unpack(box, [(layer, place)])
        assert store.present_layers(box) == frozenset()
    place.write_bytes(_with_dictionary(archive, 28))
    store.unpack(box, [(layer, place)])
    assert store.present_layers(box) == {layer.sha256}


@pytest.mark.parametrize("part", [0.0, 0.02, 0.1, 0.5])
def test_an_archive_cut_short_is_refused(box: Layout, part: float) -> None:
    noise = random.Random(1).randbytes(9_000)
    layer, archive = make_layer("cut", "1", "system", "hash", {"ok.txt": Member(noise)}, "0" * 64)
    place = box.home / "archive"
    place.write_bytes(archive[: int(part * len(archive))])
    with pytest.raises(ReleaseError, match="layer cut "):
        store.unpack(box, [(layer, place)])
    assert store.present_layers(box) == frozenset()


def test_two_layers_that_hold_one_name_are_refused(box: Layout, bundle: Bundle) -> None:
    layers = []
    for name, path in (("a", "x/y"), ("b", "x")):
        layer, archive = make_layer(name, "1", "system", "hash", {path: Member(b"ok")}, "0" * 64)
        place = box.home / name
        place.write_bytes(archive)
        layers.append(layer)
        store.unpack(box, [(layer, place)])
    from deploy.box.tree import entries

    with pytest.raises(ReleaseError, match="a file and a folder"):
        entries(box, replace(bundle.manifest, layers=tuple(layers)))
    with pytest.raises(ReleaseError, match="two layers hold"):
        entries(box, replace(bundle.manifest, layers=(layers[0], replace(layers[0], name="c"))))
