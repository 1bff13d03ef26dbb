"""The courier's own steps, against a box that is a folder: what is sent, mended, and not deleted."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from deploy_box import flip_byte
from deploy_standin import build_standin, signing_key

from deploy.box import switch
from deploy.box.layout import Layout, read_state
from deploy.bundle import Bundle, make_keys
from deploy.keyring import change_keys

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
LIBRARY = "venv/lib/python3.11/site-packages/library/data.bin"
pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("pyinfra") is None,
    reason="pyinfra is not installed",
)


def start(command: str, box: Layout, key: Path, *words: object) -> "subprocess.Popen[str]":
    """A push, or another command, that goes on while the test does something else."""
    line = [sys.executable, str(HERE / "deploy_local.py"), command, str(box.root), str(key), *map(str, words)]
    env = {**os.environ, "PYTHONPATH": f"{ROOT}:{HERE}"}
    return subprocess.Popen(line, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def end(process: "subprocess.Popen[str]") -> dict[str, Any]:
    """What it said."""
    output, error = process.communicate(timeout=300)
    assert output, error
    facts = json.loads(output.splitlines()[-1])
    assert isinstance(facts, dict)
    return facts


def push(box: Layout, key: Path, bundle: Bundle) -> dict[str, Any]:
    return end(start("push", box, key, bundle.folder))


def test_a_rotten_byte_is_mended_by_pushing_what_runs_already(
    box: Layout, key: Path, bundle: Bundle, newer: Bundle
) -> None:
    for one in (bundle, newer):
        assert push(box, key, one)["is_good"]
    again = push(box, key, newer)
    assert (again["changed"], "runs already" in again["text"]) == (0, True)
    release = newer.manifest.release
    flip_byte(box.releases / release / LIBRARY)
    mended = push(box, key, newer)
    assert mended["is_good"], mended
    assert mended["changed"] > 0
    for one in (bundle, newer):
        switch.trusted(box, one.manifest.release, deep=True)
    assert push(box, key, newer)["changed"] == 0
    assert not list(box.incoming.iterdir()), "nothing is left of an upload"


def test_two_pushes_of_one_release_at_once_both_end_well(box: Layout, key: Path, bundle: Bundle) -> None:
    ends = [end(process) for process in [start("push", box, key, bundle.folder) for _ in range(2)]]
    assert [facts["is_good"] for facts in ends] == [True, True], ends
    assert box.current_release() == bundle.manifest.release
    switch.trusted(box, bundle.manifest.release, deep=True)


def test_two_pushes_of_two_releases_at_once_delete_nothing_of_each_other(
    box: Layout, work: Path, key: Path, bundle: Bundle
) -> None:
    assert push(box, key, bundle)["is_good"]
    two = [build_standin(work, key, counter=20, note=note) for note in ("one", "other")]
    ends = [end(process) for process in [start("push", box, key, one.folder) for one in two]]
    assert [facts["is_good"] for facts in ends] == [True, True], ends
    assert set(read_state(box).good) == {one.manifest.release for one in two}


def test_an_interrupted_push_is_taken_up_where_it_ended(box: Layout, key: Path, newer: Bundle) -> None:
    release, objects = newer.manifest.release, sorted(newer.manifest.objects)
    left = box.incoming / f"{release}.00aa/objects"
    left.mkdir(parents=True)
    for sha256 in objects[:2]:
        (left / sha256).write_bytes((newer.folder / "objects" / sha256).read_bytes())
    (left / f"{objects[2]}.part").write_bytes(b"half")
    done = push(box, key, newer)
    assert done["is_good"]
    # Manifest, signature, the other layers, the install and the switch.
    assert done["changed"] == 2 + len(objects) - 2 + 1 + 1


def test_lists_of_keys_go_ahead_of_a_release_under_the_new_key(
    box: Layout, tmp_path: Path, key: Path, bundle: Bundle
) -> None:
    laptop = tmp_path / "laptop"
    laptop.mkdir()
    old, new = signing_key(laptop), laptop / "new"
    make_keys(new)
    box.allowed_signers.write_bytes(Path(f"{old}.allowed_signers").read_bytes())
    first = build_standin(laptop, old, counter=5)
    assert push(box, old, first)["is_good"]
    change_keys(old, [Path(f"{new}.pub")], [], [])
    change_keys(new, [], [], [Path(f"{old}.pub")])
    second = build_standin(laptop, new, counter=6, note="new")
    done = push(box, new, second)
    assert done["is_good"], done
    told = end(start("trust", box, new))
    assert told["text"] == "list 2: 1 trusted, 0 retired, 1 revoked"
    assert told["changed"] == 0
    late = build_standin(laptop, old, counter=7, note="late")
    assert "by a revoked key" in push(box, old, late)["text"]
    box.allowed_signers.with_name("keys.json").unlink()
    assert end(start("trust", box, new))["text"] == "list 2: 1 trusted, 0 retired, 1 revoked"
