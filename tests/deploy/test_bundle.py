"""A bundle is the same bytes each time, and any other byte is refused with one line."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest
from deploy_standin import build_standin, signing_key

from deploy.box import store, switch
from deploy.box.faults import ReleaseError
from deploy.box.layout import Layout, State, read_state, write_state
from deploy.box.manifest import MANIFEST, OBJECTS, SIGNATURE
from deploy.box.trust import verify_bundle
from deploy.bundle import Bundle


def _tree(folder: Path) -> dict[str, bytes]:
    return {
        p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()
    }


def test_two_builds_are_bit_identical(work: Path, key: Path, bundle: Bundle, tmp_path: Path) -> None:
    again = build_standin(tmp_path, key, counter=5)
    assert again.manifest.release == bundle.manifest.release
    assert _tree(again.folder) == _tree(bundle.folder)


def test_a_code_change_is_a_small_delta(bundle: Bundle, newer: Bundle) -> None:
    new = newer.manifest.objects.keys() - bundle.manifest.objects.keys()
    assert [layer.name for layer in newer.manifest.layers if layer.sha256 in new] == ["kelly-edge"]
    assert sum(newer.manifest.objects[sha] for sha in new) < 2_000_000


def test_a_whole_bundle_is_verified(bundle: Bundle, box: Layout) -> None:
    assert verify_bundle(bundle.folder, box.allowed_signers) == bundle.manifest


def test_another_key_is_refused(bundle: Bundle, tmp_path: Path) -> None:
    other = signing_key(tmp_path)
    with pytest.raises(ReleaseError, match=r"manifest\.json\.sig is no signature .* sign with the right key"):
        verify_bundle(bundle.folder, Path(f"{other}.allowed_signers"))


def test_a_signature_for_something_else_is_refused(
    bundle: Bundle, newer: Bundle, box: Layout, copy_of: Callable[[Bundle], Path]
) -> None:
    folder = copy_of(bundle)
    (folder / SIGNATURE).write_bytes((newer.folder / SIGNATURE).read_bytes())
    with pytest.raises(ReleaseError, match="is no signature"):
        verify_bundle(folder, box.allowed_signers)


def test_a_flipped_bit_in_any_file_is_refused_and_nothing_is_written(
    bundle: Bundle, box: Layout, copy_of: Callable[[Bundle], Path]
) -> None:
    folder = copy_of(bundle)
    rng = random.Random(1)
    files = [folder / MANIFEST, folder / SIGNATURE, *sorted((folder / OBJECTS).iterdir())]
    before = _tree(box.root)
    for path in files:
        whole = path.read_bytes()
        for _ in range(4):
            damaged = bytearray(whole)
            damaged[rng.randrange(len(whole))] ^= 1 << rng.randrange(8)
            if path.name == SIGNATURE and bytes(damaged).split() == whole.split():
                continue  # only its line breaks differ
            path.write_bytes(damaged)
            with pytest.raises(ReleaseError) as caught:
                verify_bundle(folder, box.allowed_signers)
            assert "\n" not in str(caught.value)
        path.write_bytes(whole)
    assert verify_bundle(folder, box.allowed_signers)
    assert _tree(box.root) == before


def test_a_missing_or_short_object_is_refused(
    bundle: Bundle, box: Layout, copy_of: Callable[[Bundle], Path]
) -> None:
    folder = copy_of(bundle)
    path = next((folder / OBJECTS).iterdir())
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ReleaseError, match="bytes instead of"):
        verify_bundle(folder, box.allowed_signers)
    path.unlink()
    with pytest.raises(ReleaseError, match="cannot read"):
        verify_bundle(folder, box.allowed_signers)


def test_an_older_counter_is_refused_unless_asked_for(bundle: Bundle, box: Layout) -> None:
    state = State(good=("x",), floor=9)
    with pytest.raises(ReleaseError, match=r"counter 5 and this box had 9; .* --allow-older"):
        switch.check_counter(state, bundle.manifest, allow_older=False)
    switch.check_counter(state, bundle.manifest, allow_older=True)


def test_a_layer_that_lies_about_its_files_writes_nothing_but_what_its_index_names(
    work: Path, key: Path, box: Layout
) -> None:
    import dataclasses
    import hashlib
    import io
    import lzma
    import tarfile

    index = f"{hashlib.sha256(b'ok').hexdigest()} 644 2 ok.txt\n".encode()
    packed = io.BytesIO()
    with lzma.open(packed, "wb") as out, tarfile.open(fileobj=out, mode="w|") as tar:
        for name, content in (("INDEX", index), ("../../evil.txt", b"no")):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    archive = box.home / "archive"
    archive.write_bytes(packed.getvalue())
    from deploy.box.manifest import Layer

    layer = Layer(
        "liar", "1", "system", "hash", "a" * 64, 1, hashlib.sha256(index).hexdigest(), 2, 1, "0" * 64
    )
    with pytest.raises(ReleaseError, match=r"ok\.txt is not where its index says"):
        store.unpack(box, [(layer, archive)])
    outside = dataclasses.replace(
        layer, index_sha256=hashlib.sha256(index.replace(b"ok.txt", b"../x.t")).hexdigest()
    )
    from deploy.box.manifest import parse_index

    with pytest.raises(ReleaseError, match="leads out of the release"):
        parse_index(index.replace(b"ok.txt", b"../x.t"), outside)
    archive.unlink()
    assert not list(box.root.rglob("evil*"))
    assert store.present_layers(box) == frozenset()


def test_the_state_survives_being_read_back(box: Layout) -> None:
    state = State(good=("a", "b"), floor=3, trial="b", fallback="a", last="text")
    write_state(box, state)
    assert read_state(box) == state
    (box.home / "state.json").write_text('{"good": 5')
    assert read_state(box) == State()
