"""Throw damaged manifests, indexes and layers at the verifier: one clear line each, and nothing written.

    python -m deploy.fuzz [N] [SEED]

A manifest with a good signature can only come from a trusted key, so most of what a box meets dies at the
signature. Here the parsers behind it are tried without that shield, and whole bundles with it.
"""

import hashlib
import json
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final

from deploy.box import store
from deploy.box.faults import ReleaseError
from deploy.box.layout import Layout
from deploy.box.manifest import Layer, parse_index, parse_manifest
from deploy.box.tree import TREE, layer_files
from deploy.layers import Member, make_layer, pack_index
from kelly_edge.shared.command_line import Parser, command

ODD: Final[tuple[Any, ...]] = (
    None, True, -1, 0, 2**64, 1.5, float("nan"), "", "x" * 300, "../../etc/passwd", "a\nb",
    "\x00", [], {}, [[]], "é",
)  # fmt: skip


N_CASES: Final = 100_000
"""Cases of a run. Chosen: some minutes."""


def sample_layer() -> tuple[Layer, bytes]:
    """A small layer and its archive."""
    members = {f"folder/file{i}.txt": Member(bytes([i]) * (100 + i)) for i in range(5)}
    return make_layer("sample", "1.0", "system", "hash", members, "0" * 64)


def sample_manifest(layer: Layer) -> dict[str, Any]:
    """A right manifest with that layer, as JSON holds it."""
    return {
        "format": 1, "product": "kelly-edge", "release": "1.0-1-abc", "version": "1.0", "counter": 1,
        "machine": "aarch64", "python": "3.11", "source_date": 0, 
        "layers": [vars(layer), {**vars(layer), "name": "b"}],
    }  # fmt: skip


def damaged_bytes(content: bytes, rng: random.Random) -> bytes:
    """``content`` with bits flipped, cut, doubled or mixed."""
    changed = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 2, 8))):
        at = rng.randrange(len(changed) + 1)
        kind = rng.randrange(5)
        if kind == 0 and at < len(changed):
            changed[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            del changed[at:]
        elif kind == 2:
            changed[at:at] = rng.randbytes(rng.randrange(1, 9))
        elif kind == 3:
            changed[at:at] = changed[: rng.randrange(64)]
        else:
            del changed[at : at + rng.randrange(1, 30)]
    return bytes(changed)


def damaged_json(manifest: dict[str, Any], rng: random.Random) -> bytes:
    """A manifest with a value, a key or a layer changed, still JSON."""
    copy = json.loads(json.dumps(manifest))
    target = rng.choice((copy, *copy["layers"]))
    key = rng.choice(sorted(target))
    kind = rng.randrange(4)
    if kind == 0:
        target[key] = rng.choice(ODD)
    elif kind == 1:
        del target[key]
    elif kind == 2:
        target[f"{key}x"] = rng.choice(ODD)
    else:
        copy["layers"] = rng.choice(
            (ODD[rng.randrange(len(ODD))], [copy["layers"][0]] * 2, [rng.choice(ODD)])
        )
    return json.dumps(copy).encode()


def _try(work: Callable[[], object], what: str) -> int:
    """1 where it was refused with one clear line, 0 where it was taken.

    Raises
    ------
    AssertionError: anything else.
    """
    try:
        work()
    except ReleaseError as error:
        text = str(error)
        assert text and text.isprintable() and len(text) < 400, f"{what}: {text!r}"
        return 1
    return 0


def run(n: int, seed: int, folder: Path) -> dict[str, int]:
    """``n`` cases; how many of each kind were refused, and how many were taken though changed.

    Raises
    ------
    AssertionError: a case was not refused as it should be, or something was written.
    """
    rng = random.Random(seed)
    layer, archive = sample_layer()
    manifest = sample_manifest(layer)
    content, index = json.dumps(manifest).encode(), pack_index(archive)
    box = Layout(folder)
    box.layers.mkdir(parents=True)
    place = folder / "archive"
    counts = {"manifest bytes": 0, "manifest values": 0, "index": 0, "archive": 0, "taken, and harmless": 0}
    kinds = ("manifest bytes", "manifest values", "manifest values", "index", "archive")
    for number in range(n):
        kind = kinds[number % len(kinds)]
        if kind == "index":
            bad = damaged_bytes(index, rng)
            # As if its hash were right: what a careless builder could sign.
            case = replace(layer, index_sha256=_sha(bad))
            refused = _try(partial(_index_case, bad, case), kind)
        elif kind == "archive":
            place.write_bytes(damaged_bytes(archive, rng))
            refused = _try(lambda: store.unpack(box, [(layer, place)]), kind)
            if not refused:
                # Damage that changes nothing unpacked, such as behind the end.
                assert store.present_layers(box) == {layer.sha256}
                _same(box, layer)
            _empty(box)
        else:
            bad = damaged_bytes(content, rng) if kind == "manifest bytes" else damaged_json(manifest, rng)
            refused = _try(partial(_manifest_case, bad), kind)
        counts[kind if refused else "taken, and harmless"] += 1
    place.unlink(missing_ok=True)
    left = [p for p in folder.rglob("*") if p.is_file()]
    assert not left, f"something was written: {left[:3]}"
    return counts


def _sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _manifest_case(content: bytes) -> None:
    manifest = parse_manifest(content)
    # An accepted member cannot lead out of its folder or make a path of control characters.
    for text in (manifest.release, *(layer.name for layer in manifest.layers)):
        assert "/" not in text and text.isprintable() and not text.startswith(".")


def _index_case(content: bytes, layer: Layer) -> None:
    for file in parse_index(content, layer):
        parts = file.path.split("/")
        assert ".." not in parts and not file.path.startswith("/") and file.path.isprintable()


def _same(box: Layout, layer: Layer) -> None:
    for file in layer_files(box, layer):
        path = box.layers / layer.sha256 / TREE / file.path
        assert _sha(path.read_bytes()) == file.sha256


def _empty(box: Layout) -> None:
    for path in box.layers.iterdir():
        assert path.name == path.name.removeprefix(store.NEW), "a half-made layer was left"
        shutil.rmtree(path)


@command("deploy.fuzz")
def main(arguments: Sequence[str]) -> int:
    """Run and print the counts."""
    parser = Parser(prog="python -m deploy.fuzz", description=__doc__)
    parser.add_argument("n", type=int, nargs="?", default=N_CASES, help="cases (default: %(default)s)")
    parser.add_argument("seed", type=int, nargs="?", default=1, help="default: %(default)s")
    args = parser.parse_args(arguments)
    n, seed = args.n, args.seed
    started_s = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        counts = run(n, seed, Path(folder))
    for kind, count in counts.items():
        print(f"{kind:<22}{count:>8}")
    print(
        f"{n} cases in {time.monotonic() - started_s:.0f} s, seed {seed}: each refused with one line "
        "or harmless, nothing written"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
