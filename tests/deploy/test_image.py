"""An SD image is put together without a loop device, and bad keys are refused."""

import shutil
from pathlib import Path

import pytest

from deploy import image
from deploy.errors import DeployError


def test_a_private_key_or_a_text_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda program: program)
    for name, content in (
        ("absent", None),
        ("private", "-----BEGIN OPENSSH PRIVATE KEY-----\n"),
        ("two", "ssh-a\nssh-b"),
    ):
        path = tmp_path / name
        if content is not None:
            path.write_text(content)
        with pytest.raises(DeployError, match=r"public (key|half)|\.pub"):
            image.make_image(tmp_path / "out.img", path, "box", tmp_path, "trixie")
    assert not (tmp_path / "out.img").exists()


def test_genimage_makes_a_boot_and_a_root_partition(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if missing := [program for program in image.PROGRAMS if shutil.which(program) is None]:
        pytest.skip(f"{missing[0]} is not installed")

    def small_tree(work: Path, cache: Path, public: str, hostname: str, suite: str) -> Path:
        tree = work / "tree"
        (tree / "boot/firmware").mkdir(parents=True)
        (tree / "boot/firmware/config.txt").write_text("arm_64bit=1\n")
        (tree / "etc").mkdir()
        (tree / "etc/hostname").write_text(hostname)
        return tree

    monkeypatch.setattr(image, "_tree", small_tree)
    monkeypatch.setattr(image, "SPARE_MIB", 64)
    key = tmp_path / "key.pub"
    key.write_text("ssh-ed25519 AAAA somebody\n")
    out = image.make_image(tmp_path / "out.img", key, "box", tmp_path, "trixie")
    with out.open("rb") as file:
        boot_sector = file.read(512)
        partitions = [boot_sector[446 + 16 * i : 462 + 16 * i] for i in range(2)]
        assert boot_sector[510:] == b"\x55\xaa"
        assert [p[4] for p in partitions] == [0x0C, 0x83]
        start = 512 * int.from_bytes(partitions[1][8:12], "little")
        file.seek(start + 1024 + 56)
        assert file.read(2) == b"\x53\xef", "an ext4 file system"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["key.pub", "out.img"]
