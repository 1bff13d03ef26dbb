"""What the box remembers: written under the lock alone, whole, and made again from what is signed."""

import dataclasses
import json
import os
from pathlib import Path

import pytest
from deploy_box import AT_ONCE, ask, call, install
from deploy_programs import FakePrograms
from deploy_standin import build_standin

from deploy.box import layout as layout_module
from deploy.box import store, switch
from deploy.box.faults import ReleaseError
from deploy.box.layout import Layout, State, flip, read_state, write_state
from deploy.bundle import Bundle

HOUR_S = 3600.0


def _put_on_trial(box: Layout, both: tuple[str, str]) -> None:
    first, second = both
    state = dataclasses.replace(read_state(box), good=(first,), trial=second, fallback=first)
    write_state(box, state)


REFUSED = (
    ("switch", "not-installed"),
    ("rollback", "not-installed"),
    ("install", "/nowhere"),
    ("missing", "/nowhere"),
    ("keys", "/nowhere"),
    ("verify", "/nowhere"),
)


@pytest.mark.parametrize(
    "words", [*REFUSED, ("confirm",), ("boot",), ("prune",), ("rollback",), ("inspect",)]
)
def test_a_command_refused_beside_another_leaves_the_state_byte_for_byte(
    box: Layout, both: tuple[str, str], words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    _put_on_trial(box, both)
    before = (box.home / "state.json").read_bytes()
    with switch.only_one(box):
        assert call(box, *words) in (1, 2)
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert (box.home / "state.json").read_bytes() == before
    assert not list(box.home.glob(".state*"))


@pytest.mark.parametrize("words", REFUSED)
def test_a_refused_command_leaves_the_state_byte_for_byte(
    box: Layout, both: tuple[str, str], words: tuple[str, ...]
) -> None:
    _put_on_trial(box, both)
    before = (box.home / "state.json").read_bytes()
    assert call(box, *words) in (1, 2)
    assert (box.home / "state.json").read_bytes() == before


def test_every_write_of_the_state_happens_under_the_lock(
    box: Layout, bundle: Bundle, newer: Bundle, programs: FakePrograms, monkeypatch: pytest.MonkeyPatch
) -> None:
    n_locked, n_written = [0], [0]
    write = layout_module.write_whole

    def watched(path: Path, content: bytes, mode: int = 0o644) -> None:
        if path.parent == box.home:
            n_written[0] += 1
            with pytest.raises(ReleaseError, match="another change"), switch.only_one(box):
                n_locked[0] += 1
        write(path, content, mode)

    for module in (layout_module, switch, store):
        monkeypatch.setattr(module, "write_whole", watched)
    from deploy.box import __main__ as program
    from deploy.box import inspection

    monkeypatch.setattr(inspection, "write_whole", watched)
    monkeypatch.setattr(program, "SystemPrograms", lambda layout: programs)
    monkeypatch.setattr(program, "_patience", lambda layout: AT_ONCE)
    monkeypatch.setattr(store, "MARGIN_BYTES", 0)
    for one in (bundle, newer):
        assert call(box, "install", one.folder) == 0
        assert call(box, "switch", one.manifest.release) == 0
    assert call(box, "rollback") == 0
    for words in (("boot",), ("confirm",), ("inspect",), ("status",), ("check",), ("prune",)):
        assert call(box, *words) == 0
    assert n_written[0] > 6
    assert n_locked[0] == 0


DAMAGED = {
    "empty": b"",
    "cut short": b'{"good": ["a"], "flo',
    "not JSON": b"\x00" * 300,
    "another kind": b"[]",
    "a floor that is text": b'{"good": [], "floor": "9"}',
    "a floor that is no number": b'{"good": [], "floor": NaN}',
    "a floor below zero": b'{"good": [], "floor": -1}',
    "a floor that is true": b'{"good": [], "floor": true}',
    "good that is text": b'{"good": "abc", "floor": 1}',
    "a trial that is none": b'{"good": [], "floor": 1, "trial": null}',
    "a name that leads elsewhere": b'{"good": ["../../tmp/evil"], "floor": 1}',
    "an unknown key": b'{"good": [], "floor": 1, "more": 1}',
    "nested deeply": b"[" * 200_000,
}


@pytest.mark.parametrize("how", [*DAMAGED, "gone", "a FIFO", "an endless file"])
def test_an_unreadable_state_keeps_the_floor_and_the_ways_back(
    box: Layout, bundle: Bundle, newer: Bundle, programs: FakePrograms, both: tuple[str, str], how: str
) -> None:
    first, second = both
    path = box.home / "state.json"
    if how in DAMAGED:
        path.write_bytes(DAMAGED[how])
    else:
        path.unlink()
        if how == "a FIFO":
            os.mkfifo(path)
        elif how == "an endless file":
            path.symlink_to("/dev/zero")
    state = read_state(box)
    assert (state.floor, state.good, state.trial, state.fallback) == (6, (first,), second, first)
    with pytest.raises(ReleaseError, match="counter 5 and this box had 6"):
        switch.check_counter(state, bundle.manifest, allow_older=False)
    assert switch.at_boot(box, programs) == f"{second} is sound, on trial"
    assert read_state(box).floor == 6, "it is written down again"
    assert json.loads(path.read_text())["floor"] == 6
    programs.restart()
    assert "is good" in switch.confirm(box, programs, AT_ONCE)
    assert read_state(box).good == both


@pytest.mark.parametrize("behaviour", ["no-ready", "broken"])
@pytest.mark.parametrize("counter", [4, 7])
@pytest.mark.parametrize("runs", [True, False])
def test_a_release_that_fails_is_not_good_though_the_state_was_made_again(
    box: Layout,
    work: Path,
    key: Path,
    programs: FakePrograms,
    both: tuple[str, str],
    behaviour: str,
    counter: int,
    runs: bool,
) -> None:
    first, _ = both
    (box.home / "state.json").unlink()
    if not runs:
        box.current.unlink()
    fails = install(box, build_standin(work, key, behaviour, counter))
    # Neither is one that was installed and never switched to.
    waits = install(box, build_standin(work, key, counter=8))
    with pytest.raises(ReleaseError, match=f"{fails} (is not healthy|failed its rehearsal)"):
        switch.switch(box, programs, fails, AT_ONCE)
    good = read_state(box).good
    assert fails not in good
    assert waits not in good
    assert first in good


def test_the_floor_outlives_the_release_that_raised_it(
    box: Layout, work: Path, key: Path, bundle: Bundle, newer: Bundle, programs: FakePrograms
) -> None:
    for one in (build_standin(work, key, counter=9), bundle, newer):
        switch.switch(box, programs, install(box, one), AT_ONCE)
    assert len(box.installed()) == 2, "the release with counter 9 is gone"
    (box.home / "state.json").write_bytes(b"?")
    assert read_state(box).floor == 9
    (box.home / "highest.json").write_bytes(b"?")
    assert read_state(box).floor == 6, "without it, what is installed says so"


def test_a_release_that_never_proved_itself_raises_no_floor(
    box: Layout, work: Path, key: Path, programs: FakePrograms, both: tuple[str, str]
) -> None:
    install(box, build_standin(work, key, counter=50, note="waits"))
    (box.home / "state.json").write_bytes(b"?")
    assert read_state(box).floor == 6


def test_a_fresh_box_has_a_fresh_state(box: Layout, bundle: Bundle) -> None:
    assert read_state(box) == State()
    install(box, bundle)
    assert read_state(box) == State(), "nothing ran yet"


def _age(box: Layout, release: str, hours: float) -> None:
    path = box.releases / release
    then_s = path.stat().st_mtime - hours * HOUR_S
    os.utime(path, (then_s, then_s))


def test_releases_that_never_ran_are_pruned_but_the_newest_and_those_of_this_hour(
    box: Layout,
    work: Path,
    key: Path,
    programs: FakePrograms,
    both: tuple[str, str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    waiting = [install(box, build_standin(work, key, counter=10 + n, note=f"w{n}")) for n in range(4)]
    assert call(box, "prune") == 0
    assert set(waiting) < set(box.installed()), "somebody may be about to switch to them"
    for n, release in enumerate(waiting):
        _age(box, release, 30 - n)
    capsys.readouterr()
    assert call(box, "prune") == 0
    assert "removed " in capsys.readouterr().out
    assert set(box.installed()) == {*both, waiting[-1]}
    switch.trusted(box, waiting[-1], deep=True)
    assert call(box, "prune") == 0
    assert capsys.readouterr().out.strip() == "nothing to remove"


def test_a_good_release_leaves_the_upload_of_another_push_alone(
    box: Layout, work: Path, key: Path, newer: Bundle, programs: FakePrograms, both: tuple[str, str]
) -> None:
    other = build_standin(work, key, counter=30, note="other")
    mine, stale = box.incoming / f"{other.manifest.release}.0a", box.incoming / "old.ff"
    for folder in (mine, stale):
        (folder / "objects").mkdir(parents=True)
        (folder / "objects/x.part").write_bytes(b"on its way")
    for path in (stale, *stale.rglob("*")):
        os.utime(path, (1e9, 1e9))
    waits = install(box, build_standin(work, key, counter=31, note="waits"))
    switch.switch(box, programs, install(box, build_standin(work, key, counter=32)), AT_ONCE)
    assert (mine / "objects/x.part").is_file()
    assert not stale.exists()
    assert waits in box.installed(), "the other push is about to switch to it"


def test_layers_that_an_upload_counts_on_stay(
    box: Layout, work: Path, key: Path, bundle: Bundle, programs: FakePrograms
) -> None:
    install(box, bundle)
    other = build_standin(work, key, counter=30, note="other")
    upload = box.incoming / "other.01"
    upload.mkdir(parents=True)
    for name in ("manifest.json", "manifest.json.sig"):
        (upload / name).write_bytes((other.folder / name).read_bytes())
    shared = set(bundle.manifest.objects) & set(other.manifest.objects)
    _age(box, bundle.manifest.release, 9)
    store.remove_all_but(box, set(), None)
    switch.tidy(box)
    assert store.present_layers(box) == shared


def test_a_kept_release_whose_manifest_rots_keeps_its_layers(
    box: Layout, newer: Bundle, programs: FakePrograms, both: tuple[str, str]
) -> None:
    layers = store.present_layers(box)
    (box.releases / both[1] / "manifest.json").write_bytes(b"?")
    switch.tidy(box)
    assert store.present_layers(box) == layers
    install(box, newer)
    switch.trusted(box, both[1], deep=True)


@pytest.mark.parametrize(
    "text",
    [
        '{"ready_s": NaN}', '{"ready_s": Infinity}', '{"ready_s": -Infinity}', '{"ready_s": 0}',
        '{"steady_s": 0.0}', '{"steady_s": -1}', '{"look_every_s": 1e999}', '{"ready_s": 1e300}',
        '{"ready_s": 601}', '{"ready_s": "25"}', '{"ready_s": true}', '{"ready_s": null}', '{"other": 1}',
        "[]", "5", "", "{", "\x00", "[" * 100_000, " " * 100_000,
    ],
)  # fmt: skip
def test_patience_is_a_finite_number_of_seconds_above_zero(
    box: Layout, both: tuple[str, str], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (box.root / "etc/kelly-edge/health.json").write_text(text)
    before = (box.home / "state.json").read_bytes()
    assert call(box, "switch", both[0]) == 1
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1
    assert "health.json" in error
    assert (box.home / "state.json").read_bytes() == before


@pytest.mark.parametrize("text", ['{"ready_s": 600, "steady_s": 0.5}', "{}", '{"look_every_s": 1}'])
def test_patience_within_its_limits_is_taken(box: Layout, text: str) -> None:
    from deploy.box import __main__ as program

    (box.root / "etc/kelly-edge/health.json").write_text(text)
    given = json.loads(text)
    taken = dataclasses.asdict(program._patience(box))
    assert {name: taken[name] for name in given} == given


def test_settings_of_any_bytes_are_kept_and_put_back(
    box: Layout, work: Path, key: Path, programs: FakePrograms, both: tuple[str, str]
) -> None:
    content = b"audio: {}\n# caf\xe9\n"
    box.config.write_bytes(content)
    state = dataclasses.replace(
        read_state(box), trial=both[1], fallback=both[0], config_before=switch._settings(box)
    )
    write_state(box, state)
    assert read_state(box) == state
    box.config.write_text("newer: {}\n")
    switch.go_back(box, programs, both[0], "test")
    assert box.config.read_bytes() == content


def test_links_are_on_the_disk_when_a_change_of_releases_returns(
    box: Layout, bundle: Bundle, newer: Bundle, programs: FakePrograms, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every rename and every link is followed by a sync of its folder, before what relies on it begins."""
    unsynced: set[Path] = set()
    fsync, replace, rename, unlink = os.fsync, Path.replace, Path.rename, Path.unlink

    def synced(fd: int) -> None:
        unsynced.discard(Path(os.readlink(f"/proc/self/fd/{fd}")))
        fsync(fd)

    def moved(path: Path, target: Path) -> Path:
        unsynced.add(Path(target).parent)
        return replace(path, target)

    def renamed(path: Path, target: Path) -> Path:
        unsynced.add(Path(target).parent)
        return rename(path, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Path, "replace", moved)
    monkeypatch.setattr(Path, "rename", renamed)
    monkeypatch.setattr(Path, "unlink", unlink)
    monkeypatch.setattr(store, "sync", unsynced.clear)
    restarted: list[set[Path]] = []
    restart = programs.restart
    monkeypatch.setattr(programs, "restart", lambda: (restarted.append(set(unsynced)), restart()))
    for one in (bundle, newer):
        release = install(box, one)
        assert unsynced == set()
        switch.switch(box, programs, release, AT_ONCE)
        assert unsynced == set()
    flip(box, bundle.manifest.release)
    assert unsynced == set()
    assert restarted == [set(), set()]


def test_status_says_which_release_before_is_damaged(
    box: Layout, both: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    (box.releases / both[0] / "venv/bin/kelly-edge").write_text("")
    assert call(box, "inspect") == 1
    facts = ask(box, capsys, "status", "--json")
    assert facts["is_healthy"], "what runs is right"
    assert both[0] in facts["earlier_fault"]
