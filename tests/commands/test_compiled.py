"""Compiled functions: written by `compile` alone for a release and a processor, only read by what plays."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from firmware_py import compiled
from firmware_py.devices.files.release import MADE_FOR, release_name, use_compiled
from kelly_edge.errors import OutputError

MODULE = """
from numba import njit

@njit(cache=True)
def {name}(x):
    return x + {add}
"""
CALL = "import sys; sys.path.insert(0, {folder!r}); from {name} import {name}; print({name}({argument}))"


def call(tmp_path: Path, name: str, locator: str, argument: str = "1", add: int = 1) -> str:
    """What a function of a module of its own answers, with ``locator`` and a cache in ``tmp_path``."""
    (tmp_path / f"{name}.py").write_text(MODULE.format(name=name, add=add))
    environment = {
        **os.environ,
        "NUMBA_CACHE_DIR": str(tmp_path / "cache"),
        "NUMBA_CACHE_LOCATOR_CLASSES": f"firmware_py.compiled.{locator}",
    }
    code = CALL.format(folder=str(tmp_path), name=name, argument=argument)
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=root, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def files(tmp_path: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in (tmp_path / "cache").rglob("*") if p.is_file()}


def test_what_plays_reads_compiled_functions_and_writes_none(tmp_path: Path) -> None:
    assert call(tmp_path, "one", "ReleaseCache") == "2"
    before = files(tmp_path)
    assert any(name.endswith(".nbc") for name in before)
    assert all(f"/cache/{release_name()}/" in name for name in before), "apart for each release"
    assert call(tmp_path, "one", "SealedCache") == "2"
    # Another type, and a function that nobody compiled: neither is kept.
    assert call(tmp_path, "one", "SealedCache", "1.5") == "2.5"
    assert call(tmp_path, "two", "SealedCache") == "2"
    assert files(tmp_path) == before


def test_a_sealed_cache_needs_no_folder_that_can_be_made(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("not a folder: nobody can make one here, root neither")
    assert call(tmp_path, "three", "SealedCache") == "2"


@pytest.mark.parametrize("ending", [".nbi", ".nbc"])
@pytest.mark.parametrize("place", [0, 0.5, 0.99])
def test_a_rotten_byte_is_compiled_anew(tmp_path: Path, ending: str, place: float) -> None:
    call(tmp_path, "four", "ReleaseCache")
    release = tmp_path / "cache" / release_name()
    compiled.finish(release)
    assert compiled.is_compiled(release)
    (path,) = release.rglob(f"*{ending}")
    content = bytearray(path.read_bytes())
    content[int(place * len(content))] ^= 0x55
    path.write_bytes(content)
    assert not compiled.is_compiled(release), "the unit compiles again at the next start"
    if ending == ".nbi" or place == 0:
        assert call(tmp_path, "four", "SealedCache") == "2", "and until then the process for itself"


def test_it_is_compiled_for_one_processor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "release"
    folder.mkdir()
    assert not compiled.is_compiled(folder)
    compiled.finish(folder)
    assert compiled.is_compiled(folder)
    monkeypatch.setattr(compiled, "processor", lambda: "another board's")
    assert not compiled.is_compiled(folder)
    (folder / MADE_FOR).write_bytes(b"\xff")
    assert not compiled.is_compiled(folder)


PI4 = "processor\t: {core}\nBogoMIPS\t: {bogo}\nFeatures\t: fp asimd\nCPU part\t: {part}\n\nModel\t: Pi\n"


def test_cores_are_alike_and_boards_are_not(tmp_path: Path) -> None:
    def name(core: int, bogo: str, part: str) -> str:
        path = tmp_path / "cpuinfo"
        path.write_text(PI4.format(core=core, bogo=bogo, part=part))
        return compiled.processor(path)

    assert name(0, "108.00", "0xd08") == name(3, "107.99", "0xd08")
    assert name(0, "108.00", "0xd08") != name(0, "108.00", "0xd0b")


def test_compile_without_its_folder_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled.config, "CACHE_DIR", "")
    with pytest.raises(OutputError, match="systemctl start kelly-edge-compile"):
        compiled.release_folder()


def test_a_command_by_hand_reads_what_its_release_compiled(tmp_path: Path) -> None:
    environment: dict[str, str] = {}
    use_compiled(environment, tmp_path)
    assert environment == {}, "a checkout compiles for itself"
    (tmp_path / release_name()).mkdir()
    (tmp_path / release_name() / MADE_FOR).write_text("x")
    use_compiled(environment, tmp_path)
    assert environment["NUMBA_CACHE_LOCATOR_CLASSES"].endswith(".SealedCache")
    given = {"NUMBA_CACHE_DIR": "/mine"}
    use_compiled(given, tmp_path)
    assert given == {"NUMBA_CACHE_DIR": "/mine"}
