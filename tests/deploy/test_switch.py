"""A box goes from one good release to the next, and back by itself from one that is not."""

import os
from pathlib import Path

import pytest
from deploy_box import AT_ONCE, install
from deploy_programs import FakePrograms
from deploy_standin import build_standin

from deploy.box import store, switch
from deploy.box.faults import ReleaseError
from deploy.box.layout import Layout, flip, read_state, write_state
from deploy.bundle import Bundle


@pytest.fixture
def on_first(box: Layout, bundle: Bundle, programs: FakePrograms) -> str:
    """A box on which the first release is good."""
    release = install(box, bundle)
    switch.switch(box, programs, release, AT_ONCE)
    return release


def test_a_good_release_becomes_the_one_that_runs(box: Layout, programs: FakePrograms, on_first: str) -> None:
    assert box.current_release() == programs.running == on_first
    state = read_state(box)
    assert (state.good, state.floor, state.trial) == ((on_first,), 5, "")


def test_the_release_holds_every_file_and_the_command(box: Layout, on_first: str) -> None:
    release = box.releases / on_first
    assert (release / "models/manifest.yaml").read_text() == "models: [one]\n"
    assert (release / "system/config.yaml").is_file()
    command = release / "venv/bin/kelly-edge"
    assert os.access(command, os.X_OK)
    assert f"releases/{on_first}/venv/bin/python3" in command.read_text()
    assert list((release / "venv/lib/python3.11/site-packages/kelly_edge/__pycache__").glob("*.pyc"))


def test_units_are_linked_through_current_and_old_ones_go(
    box: Layout, programs: FakePrograms, on_first: str
) -> None:
    unit = box.units / "kelly-edge@.service"
    assert os.readlink(unit) == "/opt/kelly-edge/current/system/systemd/system/kelly-edge@.service"
    assert (box.units / "multi-user.target.wants/kelly-edge.target").is_symlink()
    stale = box.units / "kelly-edge-old.service"
    stale.symlink_to("/opt/kelly-edge/current/system/systemd/system/kelly-edge-old.service")
    assert switch.link_units(box)
    assert not stale.is_symlink()
    assert not switch.link_units(box), "a second time changes nothing"


def test_the_next_release_shares_what_did_not_change(
    box: Layout, newer: Bundle, programs: FakePrograms, on_first: str
) -> None:
    second = install(box, newer)
    name = "venv/lib/python3.11/site-packages/library/data.bin"
    assert (box.releases / on_first / name).samefile(box.releases / second / name)
    switch.switch(box, programs, second, AT_ONCE)
    assert read_state(box).good == (on_first, second)


def test_a_source_changed_at_equal_length_has_another_time(
    box: Layout, work: Path, key: Path, programs: FakePrograms
) -> None:
    one, other = (install(box, build_standin(work, key, counter=8, note=note)) for note in ("aaaa", "bbbb"))
    name = "venv/lib/python3.11/site-packages/kelly_edge/__init__.py"
    first, second = ((box.releases / r / name).stat() for r in (one, other))
    assert first.st_size == second.st_size
    assert first.st_mtime != second.st_mtime


@pytest.mark.parametrize(
    ("behaviour", "why"),
    [
        ("no-ready", "kelly-edge@audio.service is not READY"),
        ("crash", "kelly-edge@audio.service failed"),
    ],
)
def test_a_release_whose_units_do_not_come_up_is_taken_back(
    box: Layout, work: Path, key: Path, programs: FakePrograms, on_first: str, behaviour: str, why: str
) -> None:
    bad = install(box, build_standin(work, key, behaviour, counter=7))
    with pytest.raises(ReleaseError, match=f"{why}.*back on {on_first}"):
        switch.switch(box, programs, bad, AT_ONCE)
    assert box.current_release() == programs.running == on_first
    state = read_state(box)
    assert (state.trial, state.floor) == ("", 5)
    assert "back on" in state.last


@pytest.mark.parametrize(
    ("behaviour", "why"), [("silent", "0 notes reach midi"), ("broken", "a model is damaged")]
)
def test_a_release_that_plays_nothing_never_takes_over(
    box: Layout, work: Path, key: Path, programs: FakePrograms, on_first: str, behaviour: str, why: str
) -> None:
    bad = install(box, build_standin(work, key, behaviour, counter=7))
    programs.told.clear()
    with pytest.raises(ReleaseError, match=f"failed its rehearsal: .*{why}.*; {on_first} stays"):
        switch.switch(box, programs, bad, AT_ONCE)
    assert programs.told == [f"compile {bad}"], "what ran was not touched"


def test_new_xruns_take_a_release_back(
    box: Layout, newer: Bundle, programs: FakePrograms, on_first: str
) -> None:
    second = install(box, newer)
    programs.xruns_a_look = 2
    with pytest.raises(ReleaseError, match=f"2 xruns in .*back on {on_first}"):
        switch.switch(box, programs, second, AT_ONCE)


def test_rollback_runs_the_good_release_before(
    box: Layout, newer: Bundle, programs: FakePrograms, on_first: str
) -> None:
    second = install(box, newer)
    switch.switch(box, programs, second, AT_ONCE)
    switch.rollback(box, programs, "", AT_ONCE)
    assert box.current_release() == programs.running == on_first
    switch.rollback(box, programs, "", AT_ONCE)
    assert box.current_release() == second


def test_settings_the_older_release_refuses_are_put_back(
    box: Layout, work: Path, key: Path, programs: FakePrograms, on_first: str
) -> None:
    second = install(box, build_standin(work, key, "writes", counter=7))
    state = read_state(box)
    switch.switch(box, programs, second, AT_ONCE)
    # On trial again, as after a cut, with settings that the newer one wrote meanwhile.
    import dataclasses

    write_state(box, dataclasses.replace(state, trial=second, fallback=on_first, config_before="audio: {}\n"))
    box.config.write_text("newer: {}\n")
    switch.go_back(box, programs, on_first, "test")
    assert box.config.read_text() == "audio: {}\n"


def test_a_way_back_that_cannot_be_written_down_is_taken_all_the_same(
    box: Layout,
    work: Path,
    key: Path,
    programs: FakePrograms,
    on_first: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bad = install(box, build_standin(work, key, "no-ready", counter=7))
    kept, restart = switch.write_state, programs.restart

    def full_from_now_on() -> None:
        restart()
        monkeypatch.setattr(switch, "write_state", _no_room)

    monkeypatch.setattr(programs, "restart", full_from_now_on)
    with pytest.raises(ReleaseError, match="no room"):
        switch.switch(box, programs, bad, AT_ONCE)
    assert box.current_release() == programs.running == on_first
    monkeypatch.setattr(switch, "write_state", kept)
    assert switch.at_boot(box, programs) == f"{on_first} is sound"
    assert read_state(box).trial == ""


def _no_room(layout: Layout, state: object) -> None:
    raise ReleaseError("no room")


def test_the_older_release_reads_what_the_newer_one_left(
    box: Layout, newer: Bundle, programs: FakePrograms, on_first: str
) -> None:
    switch.switch(box, programs, install(box, newer), AT_ONCE)
    assert programs.check_config(box.releases / on_first) == ""


def test_a_power_cut_between_note_and_flip_changes_nothing(
    box: Layout, newer: Bundle, programs: FakePrograms, on_first: str
) -> None:
    import dataclasses

    second = install(box, newer)
    write_state(box, dataclasses.replace(read_state(box), trial=second, fallback=on_first))
    assert switch.at_boot(box, programs) == f"{on_first} is sound"
    assert (box.current_release(), read_state(box).trial) == (on_first, "")


def test_quick_power_cycles_never_flip_a_release_on_trial(
    box: Layout, newer: Bundle, programs: FakePrograms, on_first: str
) -> None:
    import dataclasses

    second = install(box, newer)
    write_state(box, dataclasses.replace(read_state(box), trial=second, fallback=on_first))
    flip(box, second)
    for _ in range(10):
        assert switch.at_boot(box, programs) == f"{second} is sound, on trial"
    programs.restart()
    assert "is good" in switch.confirm(box, programs, AT_ONCE)
    assert read_state(box).good == (on_first, second)


def test_a_release_on_trial_that_does_not_come_up_after_a_cut_is_taken_back(
    box: Layout, work: Path, key: Path, programs: FakePrograms, on_first: str
) -> None:
    import dataclasses

    bad = install(box, build_standin(work, key, "no-ready", counter=7))
    write_state(box, dataclasses.replace(read_state(box), trial=bad, fallback=on_first))
    flip(box, bad)
    switch.at_boot(box, programs)
    programs.restart()
    with pytest.raises(ReleaseError, match=f"back on {on_first}"):
        switch.confirm(box, programs, AT_ONCE)
    assert box.current_release() == programs.running == on_first


@pytest.mark.parametrize(
    "name", ["models/one.tflite", "system/config.yaml", "manifest.json", "manifest.json.sig"]
)
def test_a_damaged_release_is_left_for_the_sound_one_at_boot(
    box: Layout, newer: Bundle, programs: FakePrograms, on_first: str, name: str
) -> None:
    second = install(box, newer)
    switch.switch(box, programs, second, AT_ONCE)
    path = box.releases / second / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.unlink()  # files are shared with the store and the other release
    path.write_bytes(content)
    assert f"back on {on_first}" in switch.at_boot(box, programs)
    assert box.current_release() == on_first


def test_a_second_change_at_the_same_time_is_refused(box: Layout) -> None:
    with switch.only_one(box), pytest.raises(ReleaseError, match="another change"), switch.only_one(box):
        pass


def test_old_releases_and_their_layers_go(
    box: Layout, work: Path, key: Path, newer: Bundle, programs: FakePrograms, on_first: str
) -> None:
    second = install(box, newer)
    switch.switch(box, programs, second, AT_ONCE)
    third = install(box, build_standin(work, key, counter=7, note="third"))
    before = store.present_layers(box)
    switch.switch(box, programs, third, AT_ONCE)
    assert box.installed() == sorted([second, third])
    assert store.present_layers(box) < before
    for release in (second, third):
        switch.trusted(box, release, deep=True)
