"""Keys: old, then both, then new, while the box plays on; a revocation is signed, and kept."""

import json
from pathlib import Path

import pytest
from deploy_box import AT_ONCE, ask, call, install
from deploy_programs import FakePrograms
from deploy_standin import build_standin, signing_key

from deploy.box import switch
from deploy.box.faults import ReleaseError
from deploy.box.keys import accept
from deploy.box.layout import Layout, read_state
from deploy.box.trust import read_keys, seal, unseal, verify_bundle
from deploy.bundle import Bundle, sign, sign_again
from deploy.errors import DeployError
from deploy.keyring import change_keys, key_lists, merged_signers, public_key


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A key of this test alone, with room for lists beside it."""
    return signing_key(_folder(tmp_path / "laptop"))


@pytest.fixture
def new(old: Path) -> Path:
    path = old.with_name("new")
    return signing_key_at(path)


def signing_key_at(path: Path) -> Path:
    from deploy.bundle import make_keys

    make_keys(path)
    return path


def _folder(path: Path) -> Path:
    path.mkdir(parents=True)
    return path


@pytest.fixture
def playing(box: Layout, old: Path, tmp_path: Path) -> str:
    """A box that trusts the old key and plays its release."""
    box.allowed_signers.write_bytes(Path(f"{old}.allowed_signers").read_bytes())
    release = install(box, build_standin(_folder(tmp_path / "a"), old, counter=5))
    switch.switch(box, FakePrograms(box), release, AT_ONCE)
    return release


def pub(key: Path) -> Path:
    return key.with_name(f"{key.name}.pub")


def give(box: Layout, path: Path) -> bool:
    return accept(box.allowed_signers, path.read_bytes())


def test_old_then_both_then_new_while_the_box_plays_on(
    box: Layout, old: Path, new: Path, playing: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    programs = FakePrograms(box)
    both = change_keys(old, [pub(new)], [], [])
    assert give(box, both)
    assert not give(box, both), "a second time changes nothing"
    assert set(read_keys(box.allowed_signers).keys) == {public_key(old), public_key(new)}
    assert ask(box, capsys, "status", "--json")["is_healthy"]
    assert give(box, change_keys(new, [], [pub(old)], []))
    assert ask(box, capsys, "status", "--json")["is_healthy"], "what a retired key signed plays on"
    assert "is sound" in switch.at_boot(box, programs)
    with pytest.raises(ReleaseError, match="by a retired key"):
        install(box, build_standin(tmp_path / "a", old, counter=6, note="x"))
    # The first release under the new key keeps its fallback.
    bad = install(box, build_standin(_folder(tmp_path / "b"), new, "no-ready", counter=7))
    with pytest.raises(ReleaseError, match=f"back on {playing}"):
        switch.switch(box, programs, bad, AT_ONCE)
    good = install(box, build_standin(tmp_path / "b", new, counter=8))
    switch.switch(box, programs, good, AT_ONCE)
    switch.rollback(box, programs, "", AT_ONCE)
    assert box.current_release() == playing


def test_a_revoked_key_brings_nothing_in_and_silences_no_box(
    box: Layout, old: Path, new: Path, playing: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    programs = FakePrograms(box)
    waiting = install(box, build_standin(tmp_path / "a", old, counter=6, note="waits"))
    give(box, change_keys(old, [pub(new)], [], []))
    give(box, change_keys(new, [], [], [pub(old)]))
    with pytest.raises(ReleaseError, match="by a revoked key"):
        install(box, build_standin(tmp_path / "a", old, counter=7, note="x"))
    with pytest.raises(ReleaseError, match="by a revoked key"):
        switch.switch(box, programs, waiting, AT_ONCE)
    assert "is sound" in switch.at_boot(box, programs), "what plays, plays on"
    facts = ask(box, capsys, "status", "--json")
    assert not facts["is_healthy"]
    assert "by a revoked key" in facts["fault"]
    bad = install(box, build_standin(_folder(tmp_path / "b"), new, "no-ready", counter=8))
    with pytest.raises(ReleaseError, match=f"back on {playing}"):
        switch.switch(box, programs, bad, AT_ONCE)
    good = install(box, build_standin(tmp_path / "b", new, counter=9))
    switch.switch(box, programs, good, AT_ONCE)
    assert playing not in box.installed(), "nothing by a revoked key is kept once another is good"
    with pytest.raises(ReleaseError, match="no earlier good release"):
        switch.rollback(box, programs, "", AT_ONCE)
    assert box.current_release() == good


def test_the_same_release_signed_anew_makes_the_box_healthy(
    box: Layout, old: Path, new: Path, playing: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    give(box, change_keys(old, [pub(new)], [], []))
    give(box, change_keys(new, [], [], [pub(old)]))
    bundle = build_standin(_folder(tmp_path / "c"), old, counter=5)
    assert bundle.manifest.release == playing
    sign_again(bundle, new)
    assert install(box, bundle) == playing
    assert ask(box, capsys, "status", "--json")["is_healthy"]


def test_a_box_that_was_off_takes_one_list_after_the_other(
    box: Layout, old: Path, new: Path, playing: str
) -> None:
    third = signing_key_at(old.with_name("third"))
    change_keys(old, [pub(new)], [], [])
    change_keys(new, [], [], [pub(old)])
    change_keys(new, [pub(third)], [], [])
    change_keys(third, [], [pub(new)], [])
    lists = key_lists(old)
    assert [path.name for path in lists] == ["1.json", "2.json", "3.json", "4.json"]
    with pytest.raises(ReleaseError, match=r"keys\.json 4 is not signed by a key that this box trusts"):
        give(box, lists[-1])
    assert [give(box, path) for path in lists] == [True] * 4
    assert not give(box, lists[0]), "an old list changes nothing"
    known = read_keys(box.allowed_signers)
    assert (known.serial, known.keys) == (4, (public_key(third),))
    assert known.revoked == (public_key(old),)


def _signed(key: Path, content: dict[str, object], folder: Path) -> bytes:
    import subprocess

    text = json.dumps(content).encode()
    words = ["ssh-keygen", "-q", "-Y", "sign", "-f", str(key), "-n", "kelly-edge-keys"]
    done = subprocess.run(words, input=text, capture_output=True, check=True)
    return seal(text, done.stdout)


def test_no_list_lets_its_signer_in_brings_a_revoked_key_back_or_drops_one_without_a_word(
    box: Layout, old: Path, new: Path, playing: str, tmp_path: Path
) -> None:
    stranger, o, n = signing_key_at(tmp_path / "stranger"), public_key(old), public_key(new)
    s = public_key(stranger)
    before = box.allowed_signers.read_bytes()

    def refused(key: Path, why: str, **content: object) -> None:
        listed = {"serial": 9, "keys": [], "retired": [], "revoked": [], **content}
        kept = box.allowed_signers.read_bytes()
        with pytest.raises(ReleaseError, match=why):
            accept(box.allowed_signers, _signed(key, listed, tmp_path))
        assert box.allowed_signers.read_bytes() == kept

    refused(stranger, "not signed by a key", keys=[o, s])
    refused(old, "not signed by a key", keys=[n], revoked=[o])
    refused(old, "no key is left", revoked=[o])
    refused(old, "twice", keys=[o, n], revoked=[n])
    refused(old, "serial", keys=[o], serial=True)
    refused(old, "not an Ed25519 key", keys=["ssh-rsa AAAA"])
    assert box.allowed_signers.read_bytes() == before
    give(box, change_keys(old, [pub(new)], [], []))
    give(box, change_keys(new, [], [], [pub(old)]))
    refused(new, "was revoked and stays so", keys=[n, o])
    refused(new, "was revoked and stays so", keys=[n])
    refused(new, "is another than the one", serial=2, keys=[n, s], revoked=[o])
    with pytest.raises(DeployError, match="was revoked and stays so"):
        change_keys(new, [pub(old)], [], [])
    with pytest.raises(DeployError, match="not trusted both before and after"):
        change_keys(old, [pub(stranger)], [], [])


@pytest.mark.parametrize("how", ["gone", "damaged", "older", "a link"])
def test_a_box_that_lost_its_list_plays_on_and_takes_nothing_until_it_has_it_again(
    box: Layout, old: Path, new: Path, playing: str, tmp_path: Path, how: str
) -> None:
    change_keys(old, [pub(new)], [], [])
    change_keys(new, [], [pub(old)], [])
    lists = key_lists(old)
    for path in lists:
        give(box, path)
    release = build_standin(_folder(tmp_path / "b"), new, counter=8)
    there = box.allowed_signers.with_name("keys.json")
    sealed = there.read_bytes()
    if how == "damaged":
        text, signature = unseal(sealed, "")
        there.write_bytes(seal(text.replace(b"retired", b"rotired"), signature))
    elif how == "older":
        there.write_bytes(lists[0].read_bytes())
    else:
        there.unlink()
        if how == "a link":
            there.symlink_to("/dev/zero")
    with pytest.raises(ReleaseError, match=r"keys\.json.* (again|damaged|file itself)"):
        install(box, release)
    if how == "a link":
        there.unlink()
    for path in lists:
        give(box, path)
    assert there.read_bytes() == sealed
    install(box, release)


def test_a_manifests_signature_is_none_of_a_list_nor_the_other_way(
    box: Layout, old: Path, playing: str, tmp_path: Path
) -> None:
    text = json.dumps({"serial": 1, "keys": [public_key(old)], "retired": [], "revoked": []}).encode()
    path = tmp_path / "manifest.json"
    path.write_bytes(text)
    sign(path, old)
    with pytest.raises(ReleaseError, match="not signed by a key"):
        accept(box.allowed_signers, seal(text, path.with_name("manifest.json.sig").read_bytes()))


def test_provisioning_adds_a_key_and_takes_none_away(
    box: Layout, bundle: Bundle, old: Path, new: Path, playing: str
) -> None:
    ours = Path(f"{new}.allowed_signers").read_text()
    there = box.allowed_signers.read_text()
    merged = merged_signers(there, "", ours)
    assert merged.decode() == there + ours
    assert merged_signers(merged.decode(), "", ours) == merged, "a second run changes nothing"
    assert merged_signers("", "", ours) == ours.encode()
    box.allowed_signers.write_bytes(merged)
    switch.trusted(box, playing)
    give(box, change_keys(old, [pub(new)], [], []))
    give(box, change_keys(new, [], [], [pub(old)]))
    sealed = box.allowed_signers.with_name("keys.json").read_text()
    with pytest.raises(DeployError, match="retired or revoked your key"):
        merged_signers(box.allowed_signers.read_text(), sealed, Path(f"{old}.allowed_signers").read_text())


def test_provisioning_in_old_style_does_not_bring_a_revoked_key_back(
    box: Layout, old: Path, new: Path, playing: str, tmp_path: Path
) -> None:
    give(box, change_keys(old, [pub(new)], [], []))
    give(box, change_keys(new, [], [], [pub(old)]))
    box.allowed_signers.write_bytes(
        box.allowed_signers.read_bytes() + Path(f"{old}.allowed_signers").read_bytes()
    )
    with pytest.raises(ReleaseError, match="by a revoked key"):
        verify_bundle(build_standin(_folder(tmp_path / "z"), old, counter=9).folder, box.allowed_signers)


def test_the_command_refuses_with_one_line_and_changes_nothing(
    box: Layout, playing: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {p: p.read_bytes() for p in box.allowed_signers.parent.iterdir()}
    for content in (b"", b"[]", b"{}", b'{"signed": 1, "signature": 2}', b"\xff", b"[" * 100_000):
        (tmp_path / "list").write_bytes(content)
        assert call(box, "keys", tmp_path / "list") == 2
        assert len(capsys.readouterr().err.splitlines()) == 1
    assert call(box, "keys", "/dev/zero") == 2
    assert {p: p.read_bytes() for p in box.allowed_signers.parent.iterdir()} == before
    assert read_state(box).good == (playing,)
