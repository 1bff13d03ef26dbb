"""What a release says of its licences, and a wheel that is the same bytes wherever it is built."""

import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import tomllib
import zipfile
from email.message import Message
from email.parser import Parser
from pathlib import Path
from typing import Any

import pytest
import yaml
from deploy_standin import write_project

from deploy.box.faults import ReleaseError
from deploy.box.manifest import MANIFEST, parse_manifest
from deploy.bundle import SBOM, Bundle, describe
from deploy.errors import DeployError
from deploy.interpreter import here
from deploy.layers import Member, make_layer
from deploy.licences import Part, licence_of, parts_of
from deploy.project import Project
from deploy.sbom import bill_of_materials
from deploy.target import TARGETS
from deploy.wheel import make_wheel
from deploy.wheelhouse import UNUSED, Wheel, read_lock

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = ROOT / "models/shipped"
TO_SPDX = {
    "CC BY-NC-SA 4.0": "CC-BY-NC-SA-4.0",
    "CC BY-SA 3.0": "CC-BY-SA-3.0",
    "CC BY 4.0": "CC-BY-4.0",
    "CC0": "CC0-1.0",
    "MIT": "MIT",
}
"""As the models' descriptions say it → as SPDX does."""
IN_THE_WHEEL = (
    "kelly_edge", "firmware_py", "models", "pyproject.toml", "README.md", "LICENSE", "LICENSE-MODELS",
)  # fmt: skip
DATE = "1763900000 +0000"


def metadata(**fields: str | list[str]) -> Message:
    lines = []
    for name, value in fields.items():
        for one in [value] if isinstance(value, str) else value:
            lines.append(f"{name.replace('_', '-')}: {one}")
    return Parser().parsestr("\n".join(lines) + "\n\n")


def descriptions() -> dict[str, dict[str, object]]:
    found = {path.stem: yaml.safe_load(path.read_text(encoding="utf-8")) for path in SHIPPED.glob("*.yaml")}
    return {name: content for name, content in found.items() if "file" in content}


@pytest.mark.parametrize(
    ("name", "said", "expression"),
    [
        ("a", metadata(License_Expression="MIT OR Apache-2.0"), "MIT OR Apache-2.0"),
        ("a", metadata(License="mit"), "MIT"),
        ("a", metadata(License="Apache 2.0"), "Apache-2.0"),
        ("a", metadata(Classifier=["Topic :: X", "License :: OSI Approved :: MIT License"]), "MIT"),
        ("a", metadata(License="MPL-2.0 AND MIT"), "MPL-2.0 AND MIT"),
        ("numpy", metadata(License="Copyright (c) 2005-2023, NumPy Developers."), "BSD-3-Clause"),
        ("numpy", metadata(License_Expression="BSD-3-Clause AND 0BSD"), "BSD-3-Clause AND 0BSD"),
        ("lgpio", metadata(License="unlicense.org"), "Unlicense"),
    ],
)
def test_a_licence_is_read_from_what_a_package_says(name: str, said: Message, expression: str) -> None:
    assert licence_of(name, said) == expression


@pytest.mark.parametrize("said", [metadata(), metadata(License="BSD"), metadata(License="see file")])
def test_a_licence_that_nobody_can_tell_stops_the_build(said: Message) -> None:
    with pytest.raises(DeployError, match=r"^a: its licence is not known; read it and add it to"):
        licence_of("a", said)


def test_every_package_of_a_box_that_is_installed_here_has_a_licence() -> None:
    names = {name for target in TARGETS.values() for name in read_lock(ROOT / target.lock)} - set(UNUSED)
    box = read_lock(ROOT / "requirements-3.13.lock").keys() - set(UNUSED)
    found = {}
    for name in sorted(names & box):
        try:
            metadata: Any = importlib.metadata.distribution(name).metadata
        except importlib.metadata.PackageNotFoundError:
            continue
        found[name] = licence_of(name, metadata)
    print(found)
    assert len(found) > 20
    assert found["soxr"].startswith("LGPL")


@pytest.mark.parametrize(
    ("files", "names"),
    [
        (["numpy.libs/libscipy_openblas64_-1b71.so"], ["OpenBLAS", "LAPACK", "libgfortran"]),
        (
            [
                "numpy.libs/libopenblas64_p-r0.so",
                "numpy.libs/libgfortran-04.so.5.0.0",
                "numpy.libs/libquadmath-9.so.0",
            ],
            ["OpenBLAS", "LAPACK", "libgfortran", "libquadmath"],
        ),
        (["python_rtmidi./libjack-e686.so.0.1.0", "rtmidi/_rtmidi.so"], ["libjack"]),
        (["onnxruntime/capi/libonnxruntime.so.1", "a/_core.cpython-313-aarch64-linux-gnu.so"], []),
    ],
)
def test_libraries_that_a_wheel_brings_along_are_named(
    tmp_path: Path, files: list[str], names: list[str]
) -> None:
    with zipfile.ZipFile(tmp_path / "a.whl", "w") as archive:
        for file in files:
            archive.writestr(file, b"")
    assert [part.name for part in parts_of("a", tmp_path / "a.whl")] == names


def test_a_library_that_nobody_knows_stops_the_build(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.whl", "w") as archive:
        archive.writestr("a.libs/libnew-1.so.2", b"")
    with pytest.raises(DeployError, match=r"^a: what libnew-1\.so\.2 is under is not known; read it"):
        parts_of("a", tmp_path / "a.whl")


def test_the_bill_names_every_part_the_models_licences_and_their_data() -> None:
    layers = [layer for layer, _ in Project(ROOT).layers(here())]
    library = make_layer("numpy", "1", "site-packages", "size", {"numpy/x.py": Member(b"")}, "0" * 64)[0]
    wheel = Wheel(
        "numpy", "1", Path("numpy.whl"), "0" * 64, "BSD-3-Clause", (Part("OpenBLAS", "BSD-3-Clause"),)
    )
    bill = bill_of_materials([library, *layers], "0.1", [wheel], SHIPPED)
    parts = {part["name"]: part for part in bill["components"]}
    assert set(parts) == {"numpy", *(layer.name for layer in layers)}
    assert parts["numpy"]["licenses"] == [{"expression": "BSD-3-Clause"}]
    assert parts["numpy"]["components"] == [
        {"type": "library", "name": "OpenBLAS", "licenses": [{"expression": "BSD-3-Clause"}]}
    ]
    assert parts["kelly-edge"]["licenses"] == [{"expression": "MIT"}]
    assert all(part["licenses"] for part in parts.values())
    for name, model in descriptions().items():
        part = parts[f"model-{name.replace('_', '-')}"]
        assert part["type"] == "machine-learning-model"
        assert part["licenses"] == [{"license": {"name": model["licence"]}}]
        assert [row["name"] for row in part["modelCard"]["modelParameters"]["datasets"]] == model["data"]
        commercial = {row["name"]: row["value"] for row in part["properties"]}["kelly-edge:commercial-use"]
        assert commercial == ("no" if "EMOPIA" in str(model["data"]) else "yes")
    # The free set's layers bear the name of its folder.
    for name in ("emotion-model", "emotion-model-float32", "transformer-model", "transformer-model-full"):
        said = {row["name"]: row["value"] for row in parts[f"model-free-{name}"]["properties"]}
        assert said["kelly-edge:commercial-use"] == "yes"


def test_a_model_without_licence_or_data_is_not_shipped(tmp_path: Path) -> None:
    (tmp_path / "one.yaml").write_text("file: one.tflite\ndata: [x]\n")
    with pytest.raises(DeployError, match="says neither licence nor data"):
        bill_of_materials([], "1", [], tmp_path)


def test_the_bill_stands_in_the_signed_manifest_and_beside_it(bundle: Bundle) -> None:
    manifest = json.loads((bundle.folder / MANIFEST).read_text())
    assert manifest["sbom"] == json.loads((bundle.folder / SBOM).read_text())
    assert {part["name"] for part in manifest["sbom"]["components"]} == {
        layer.name for layer in bundle.manifest.layers
    }


def test_a_manifest_of_before_the_bill_is_still_read_and_one_with_nonsense_is_not(tmp_path: Path) -> None:
    project = write_project(tmp_path)
    layer = make_layer("a", "1", "site-packages", "hash", {"a.py": Member(b"")}, "0" * 64)[0]
    content = json.loads(describe([layer], project, 1, 0, "aarch64", "3.13"))
    bill = content.pop("sbom")
    assert bill["components"]
    before = parse_manifest(json.dumps(content).encode())
    assert before == parse_manifest(json.dumps({**content, "sbom": bill}).encode())
    with pytest.raises(ReleaseError, match="sbom is"):
        parse_manifest(json.dumps({**content, "sbom": "MIT"}).encode())


# --- the wheel -----------------------------------------------------------------------------


def licence_expression() -> str:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert set(project["license-files"]) == {"LICENSE", "LICENSE-MODELS"}
    return str(project["license"])


def test_the_licence_expression_and_its_file_hold_every_models_licence() -> None:
    parts = set(licence_expression().split(" AND "))
    text = (ROOT / "LICENSE-MODELS").read_text(encoding="utf-8")
    for name, model in descriptions().items():
        said = {
            spdx
            for words, spdx in TO_SPDX.items()
            if re.search(rf"\b{re.escape(words)}", str(model["licence"]))
        }
        assert said, name
        assert said <= parts, name
        assert re.search(rf"\b{name}\b", text), name
    assert parts <= set(TO_SPDX.values()) and "MIT" in parts


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two wheels of one commit: another folder, umask and time zone, and files left from an earlier build."""
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    made = []
    for number, (umask, zone) in enumerate(((0o022, "UTC"), (0o077, "Asia/Tokyo"))):
        folder = tmp_path_factory.mktemp(f"checkout{number}")
        old = os.umask(umask)
        try:
            # The working tree as it would be committed: a change is tested before it is one.
            words = ["git", "ls-files", "-co", "--exclude-standard", "-z", *IN_THE_WHEEL]
            listed = subprocess.run(words, cwd=ROOT, capture_output=True, check=False)
            if listed.returncode:
                pytest.skip("this is no checkout")
            for name in filter(None, listed.stdout.decode().split("\0")):
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(ROOT / name, folder / name)
            identity = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
            dated = {**os.environ, **dict.fromkeys(("GIT_AUTHOR_DATE", "GIT_COMMITTER_DATE"), DATE)}
            for words in (["init", "-q"], ["add", "-A"], [*identity, "commit", "-qm", "x"]):
                subprocess.run(["git", *words], cwd=folder, env=dated, check=True)
            if number:
                stale = folder / "build/lib/kelly_edge/gone.py"
                stale.parent.mkdir(parents=True)
                stale.write_text("")
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("TZ", zone)
                patch.delenv("SOURCE_DATE_EPOCH", raising=False)
                made.append(make_wheel(Project(folder), folder / "out", []))
        finally:
            os.umask(old)
    return made


def test_two_wheels_of_one_commit_are_the_same_bytes(wheels: list[Path]) -> None:
    first, second = wheels
    assert first.name == second.name
    assert first.read_bytes() == second.read_bytes()


def test_the_wheel_says_both_licences_and_holds_models_boards_and_licence_files(wheels: list[Path]) -> None:
    with zipfile.ZipFile(wheels[1]) as archive:
        names = set(archive.namelist())
        [info] = [name for name in names if name.endswith(".dist-info/METADATA")]
        said = Parser().parsestr(archive.read(info).decode())
    assert said["License-Expression"] == licence_expression()
    assert set(said.get_all("License-File", [])) == {"LICENSE", "LICENSE-MODELS"}
    assert {"kelly_edge/shared/boards.yaml", "models/shipped/emotion_model.tflite"} <= names
    assert any(name.endswith("licenses/LICENSE-MODELS") for name in names)
    assert "kelly_edge/gone.py" not in names
