"""Settings from the courier: checked on the box, put in place whole, proved, and taken back."""

import importlib.util
import os
import stat
from pathlib import Path

import pytest
from deploy_box import AT_ONCE, ask, call, install
from deploy_programs import FakePrograms
from deploy_standin import build_standin
from test_push import end, start

from deploy.box import settings, switch
from deploy.box.faults import ReleaseError
from deploy.box.layout import Layout, read_state, write_state
from deploy.bundle import Bundle
from deploy.errors import DeployError
from deploy.inventory import find_hosts

OLD = "audio: {}\n"
NEW = "# a ward\naudio: {n_periods: 4}\n"
FAULTY = "audio: {}\n\nnewer: {}\n"
ILL = "audio: {card: gone}\n"


@pytest.fixture
def playing(box: Layout, bundle: Bundle, programs: FakePrograms) -> Layout:
    """A box with a good release and a sound card."""
    switch.switch(box, programs, install(box, bundle), AT_ONCE)
    programs.told.clear()
    return box


def pushed(box: Layout, programs: FakePrograms, tmp_path: Path, text: str, name: str = "ward-2.yaml") -> str:
    path = tmp_path / name
    path.write_text(text)
    return settings.change(box, programs, path, AT_ONCE)


def test_good_settings_take_the_place_of_those_before(
    playing: Layout, programs: FakePrograms, tmp_path: Path
) -> None:
    said = pushed(playing, programs, tmp_path, NEW)
    assert "are good" in said
    assert playing.config.read_text() == NEW
    assert settings.before_of(playing).read_text() == OLD
    assert stat.S_IMODE(playing.config.stat().st_mode) == 0o644
    assert programs.told.count(f"restart {playing.current_release()}") == 1
    assert settings.read_trial(playing) == settings.Trial(last=said)


def test_the_same_settings_again_restart_nothing(
    playing: Layout, programs: FakePrograms, tmp_path: Path
) -> None:
    assert "in place already" in pushed(playing, programs, tmp_path, OLD)
    assert not programs.told
    assert not settings.before_of(playing).exists()


def test_a_fault_is_told_with_line_and_remedy_and_nothing_is_touched(
    playing: Layout, programs: FakePrograms, tmp_path: Path
) -> None:
    with pytest.raises(
        ReleaseError, match=r"newer: .*\(ward-2.yaml line 3\); take it out; those before stay"
    ):
        pushed(playing, programs, tmp_path, FAULTY)
    assert playing.config.read_text() == OLD
    assert not programs.told, "what plays was not touched"
    assert not settings.before_of(playing).exists()
    assert not list((playing.home / settings.CANDIDATE).iterdir())


@pytest.mark.parametrize("name", ["..yaml", "a b.yaml", "-rf", "x" * 200 + ".yaml"])
def test_an_odd_name_is_not_taken_to_the_box(
    playing: Layout, programs: FakePrograms, tmp_path: Path, name: str
) -> None:
    with pytest.raises(ReleaseError, match=r"\(config.yaml line 3\)"):
        pushed(playing, programs, tmp_path, FAULTY, name)


def test_a_box_that_falls_ill_has_its_settings_again(
    playing: Layout, programs: FakePrograms, tmp_path: Path
) -> None:
    with pytest.raises(
        ReleaseError, match=r"sound card that this box had is not there.*those before are back"
    ):
        pushed(playing, programs, tmp_path, ILL)
    assert playing.config.read_text() == OLD
    assert programs.told.count(f"restart {playing.current_release()}") == 2
    assert settings.read_trial(playing).trial == ""
    assert "those before are back" in settings.read_trial(playing).last


def test_units_that_cannot_be_restarted_bring_the_settings_back_too(
    playing: Layout, programs: FakePrograms, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    restart, n = programs.restart, iter(range(9))

    def fail_once() -> None:
        if next(n) == 0:
            raise ReleaseError("systemctl start failed")
        restart()

    monkeypatch.setattr(programs, "restart", fail_once)
    with pytest.raises(ReleaseError, match="systemctl start failed; those before are back"):
        pushed(playing, programs, tmp_path, NEW)
    assert playing.config.read_text() == OLD


@pytest.mark.parametrize(("text", "ends_with"), [(NEW, NEW), (ILL, OLD)])
def test_settings_that_a_power_cut_left_on_trial_are_judged_after_the_boot(
    playing: Layout,
    programs: FakePrograms,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    text: str,
    ends_with: str,
) -> None:
    def power_cut() -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(programs, "restart", power_cut)
        with pytest.raises(KeyboardInterrupt):
            pushed(playing, programs, tmp_path, text)
    assert playing.config.read_text() == text
    try:
        assert "are good" in settings.confirm(playing, programs, AT_ONCE)
    except ReleaseError as error:
        assert "those before are back" in str(error)
    assert playing.config.read_text() == ends_with
    assert settings.confirm(playing, programs, AT_ONCE) == ""


def test_a_power_cut_before_the_file_was_in_place_leaves_the_one_before(
    playing: Layout, programs: FakePrograms, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = settings.write_whole

    def cut(path: Path, content: bytes) -> None:
        if path == playing.config:
            raise KeyboardInterrupt
        write(path, content)

    monkeypatch.setattr(settings, "write_whole", cut)
    with pytest.raises(KeyboardInterrupt):
        pushed(playing, programs, tmp_path, NEW)
    assert "a power cut came first" in settings.confirm(playing, programs, AT_ONCE)
    assert playing.config.read_text() == OLD
    assert settings.read_trial(playing).trial == ""


def test_a_full_disk_leaves_the_settings_before(
    playing: Layout, programs: FakePrograms, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = settings.write_whole

    def full(path: Path, content: bytes) -> None:
        if path == playing.config:
            raise ReleaseError(f"cannot write {path} (No space left on device); make room on the box")
        write(path, content)

    monkeypatch.setattr(settings, "write_whole", full)
    with pytest.raises(ReleaseError, match="make room"):
        pushed(playing, programs, tmp_path, NEW)
    assert playing.config.read_text() == OLD
    assert not programs.told
    assert settings.read_trial(playing).trial == ""


def test_the_way_back_of_an_older_push_is_not_taken_for_files_that_were_removed(
    playing: Layout, programs: FakePrograms, tmp_path: Path
) -> None:
    pushed(playing, programs, tmp_path, NEW)
    playing.config.unlink()
    with pytest.raises(ReleaseError, match="there are none to go back to"):
        pushed(playing, programs, tmp_path, ILL)
    assert playing.config.read_text() == ILL


def test_a_link_a_release_on_trial_and_a_file_that_is_none_are_refused(
    playing: Layout, programs: FakePrograms, tmp_path: Path
) -> None:
    for path, why in ((tmp_path / "none.yaml", "cannot read"), (tmp_path, "is not a regular file")):
        with pytest.raises(ReleaseError, match=why):
            settings.change(playing, programs, path, AT_ONCE)
    (tmp_path / "big.yaml").write_text("#" * (settings.MAX_BYTES + 1))
    with pytest.raises(ReleaseError, match="is larger than"):
        settings.change(playing, programs, tmp_path / "big.yaml", AT_ONCE)
    state = read_state(playing)
    write_state(playing, type(state)(good=state.good, floor=state.floor, trial=playing.current_release()))
    with pytest.raises(ReleaseError, match="is on trial; wait for its verdict"):
        pushed(playing, programs, tmp_path, NEW)
    write_state(playing, state)
    (tmp_path / "elsewhere.yaml").write_text(OLD)
    playing.config.unlink()
    playing.config.symlink_to(tmp_path / "elsewhere.yaml")
    with pytest.raises(ReleaseError, match="is a link; put the file itself there"):
        pushed(playing, programs, tmp_path, NEW)


def test_a_box_without_a_release_is_told_to_be_given_one(
    box: Layout, programs: FakePrograms, tmp_path: Path
) -> None:
    with pytest.raises(ReleaseError, match="no release runs here; push one"):
        pushed(box, programs, tmp_path, NEW)


@pytest.mark.parametrize("text", ["", "[]", '{"trial": 1, "last": ""}', '{"trial": ""}', "\xff", "[" * 9_000])
def test_a_damaged_note_is_none(box: Layout, text: str) -> None:
    (box.home / settings.STATE).write_text(text)
    assert settings.read_trial(box) == settings.Trial()


def test_status_says_which_settings_are_in_place(playing: Layout, capsys: pytest.CaptureFixture[str]) -> None:
    facts = ask(playing, capsys, "status", "--json")
    assert facts["settings"] == {"sha256": settings.digest(playing), "trial": "", "last": ""}
    assert len(facts["settings"]["sha256"]) == 64
    assert call(playing, "settings", playing.root / "none.yaml") == 1


# --- the inventory --------------------------------------------------------------------------
INVENTORY = """
hosts:
  a: {address: 10.0.0.1}
  b: {address: 10.0.0.2, settings: own/b.yaml}
  c: {address: 10.0.0.3}
  d: {address: 10.0.0.4}
groups:
  ward: [a, b]
  hall: [c]
settings:
  ward: ward.yaml
"""


def test_a_host_has_its_own_settings_or_its_groups(tmp_path: Path) -> None:
    path = tmp_path / "hosts.yaml"
    path.write_text(INVENTORY)
    found = {host.name: host.settings for host in find_hosts(["a", "b", "c", "d"], path)}
    assert found == {
        "a": str(tmp_path / "ward.yaml"),
        "b": str(tmp_path / "own/b.yaml"),
        "c": "",
        "d": "",
    }


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("settings: {wards: x.yaml}", "settings of wards, which is no group .*did you mean ward?"),
        ("settings: {ward: [x]}", "settings of ward are a list"),
        ("settings: {ward: }", "settings of ward are nothing"),
        ("settings: x.yaml", "settings are not given by name"),
        ("settings: {ward: x.yaml, hall: y.yaml}", "a gets settings from ward and hall; give it its own"),
        ("settings: {ward: ~nobody-here/x.yaml}", "has no home folder"),
    ],
)
def test_settings_that_the_inventory_gives_wrongly_are_one_line(tmp_path: Path, text: str, why: str) -> None:
    path = tmp_path / "hosts.yaml"
    path.write_text(f"hosts: {{a: {{address: x}}}}\ngroups: {{ward: [a], hall: [a]}}\n{text}\n")
    with pytest.raises(DeployError, match=why):
        find_hosts(["a"], path)


# --- the courier, against boxes that are folders ----------------------------------------------
needs_pyinfra = pytest.mark.skipif(
    importlib.util.find_spec("pyinfra") is None, reason="pyinfra is not installed"
)


@needs_pyinfra
def test_of_three_boxes_one_with_a_fault_in_its_file_two_change_and_all_play(
    tmp_path: Path, work: Path, key: Path
) -> None:
    """Must show 6, on folders; ``test_boxes_settings.py`` does it on boxes that boot."""
    release = build_standin(work, key, counter=30)
    boxes = []
    for name, text in (("one", NEW), ("two", FAULTY), ("three", "audio: {period: 64}\n")):
        box = Layout(tmp_path / name)
        box.home.mkdir(parents=True)
        box.allowed_signers.parent.mkdir(parents=True)
        box.allowed_signers.write_bytes(Path(f"{key}.allowed_signers").read_bytes())
        box.config.write_text(OLD)
        assert end(start("push", box, key, release.folder))["is_good"]
        file = tmp_path / f"{name}.yaml"
        file.write_text(text)
        boxes.append((box, file, text))
    told = [end(start("settings", box, key, file)) for box, file, _ in boxes]
    assert [facts["is_good"] for facts in told] == [True, False, True], told
    assert [facts["changed"] for facts in told] == [1, 0, 1]
    assert "newer: unknown section (two.yaml line 3); take it out; those before stay" in told[1]["text"]
    assert [box.config.read_text() for box, *_ in boxes] == [NEW, OLD, boxes[2][2]]
    assert all(facts["facts"]["is_healthy"] for facts in told), "all play"
    assert all(not list(box.incoming.iterdir()) for box, *_ in boxes), "nothing is left of an upload"
    again = end(start("settings", boxes[0][0], key, boxes[0][1]))
    assert (again["is_good"], again["changed"]) == (True, 0)


@needs_pyinfra
def test_the_difference_is_shown_and_an_ill_box_says_why(
    box: Layout, tmp_path: Path, key: Path, bundle: Bundle
) -> None:
    assert end(start("push", box, key, bundle.folder))["is_good"]
    file = tmp_path / "ill.yaml"
    file.write_text(ILL)
    process = start("settings", box, key, file)
    output, shown = process.communicate(timeout=300)
    assert "-audio: {}" in shown
    assert "+audio: {card: gone}" in shown
    assert "sound card that this box had is not there" in output
    assert "those before are back" in output
    assert box.config.read_text() == OLD


@needs_pyinfra
def test_a_box_that_the_inventory_gives_no_settings_is_one_line(box: Layout, key: Path) -> None:
    assert "the inventory gives it no settings" in end(start("settings", box, key, ""))["text"]
    assert "cannot read" in end(start("settings", box, key, "/nowhere/x.yaml"))["text"]


@needs_pyinfra
def test_a_doctor_is_one_row(box: Layout, tmp_path: Path, key: Path, bundle: Bundle) -> None:
    assert end(start("push", box, key, bundle.folder))["is_good"]
    told = end(start("doctor", box, key))
    assert (told["is_good"], told["text"]) == (True, "1 checks, faults 0, warnings 0")
    box.config.write_text(ILL)
    told = end(start("doctor", box, key))
    assert (told["is_good"], told["changed"]) == (False, 0)
    assert told["text"] == "2 checks, faults 1, warnings 0; sound card: none (plug one in)"
    assert os.listdir(box.root / "opt/kelly-edge/incoming") == []
