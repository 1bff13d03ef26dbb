"""One rotten byte is found before it is needed, and a push mends it, in every release that shares it."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from deploy_box import AT_ONCE, ask, call, flip_byte, install
from deploy_programs import FakePrograms
from deploy_standin import build_standin

from deploy.box import store, switch
from deploy.box.faults import ReleaseError
from deploy.box.inspection import read_inspection
from deploy.box.layout import Layout, read_state
from deploy.bundle import Bundle

LIBRARY = "venv/lib/python3.11/site-packages/library/data.bin"
OURS = "venv/lib/python3.11/site-packages/kelly_edge/__init__.py"


def send(box: Layout, bundle: Bundle, copy_of: Callable[[Bundle], Path], layers: list[str]) -> Path:
    """What a push uploads: the manifest and the layers that were asked for."""
    folder = copy_of(bundle)
    for path in (folder / "objects").iterdir():
        if path.name not in layers:
            path.unlink()
    return folder


def test_a_push_of_the_same_release_mends_it_and_what_shares_it(
    box: Layout,
    newer: Bundle,
    programs: FakePrograms,
    both: tuple[str, str],
    copy_of: Callable[[Bundle], Path],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(store, "MARGIN_BYTES", 0)
    first, second = both
    flip_byte(box.releases / second / LIBRARY)
    for release in both:
        with pytest.raises(ReleaseError, match=r"data\.bin is damaged"):
            switch.trusted(box, release, deep=True)
    wanted = [layer.sha256 for layer in store.wanting_layers(box, newer.manifest)]
    assert wanted == [la.sha256 for la in newer.manifest.layers if la.name == "library"]
    folder = send(box, newer, copy_of, wanted)
    assert call(box, "install", folder) == 0
    assert "was mended" in capsys.readouterr().out
    for release in both:
        switch.trusted(box, release, deep=True)
    assert (box.releases / first / LIBRARY).samefile(box.releases / second / LIBRARY)
    # What plays has loaded the rotten byte: the box is not healthy until it was started anew.
    facts = ask(box, capsys, "status", "--json")
    assert not facts["is_healthy"]
    assert "mended while it ran" in facts["fault"]
    programs.told.clear()
    assert "is good" in switch.switch(box, programs, second, AT_ONCE)
    assert f"restart {second}" in programs.told
    assert ask(box, capsys, "status", "--json")["is_healthy"]


def test_a_new_release_mends_the_library_it_reuses_and_keeps_its_fallback(
    box: Layout,
    work: Path,
    key: Path,
    programs: FakePrograms,
    both: tuple[str, str],
) -> None:
    _, second = both
    flip_byte(box.releases / second / LIBRARY)
    bad = install(box, build_standin(work, key, "no-ready", counter=9))
    with pytest.raises(ReleaseError, match=f"back on {second}"):
        switch.switch(box, programs, bad, AT_ONCE)
    switch.trusted(box, second, deep=True)


def test_the_daily_inspection_finds_it_before_a_push_or_a_rollback_does(
    box: Layout,
    both: tuple[str, str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert call(box, "inspect") == 0
    assert ask(box, capsys, "status", "--json")["is_healthy"]
    flip_byte(box.releases / both[1] / LIBRARY)
    assert ask(box, capsys, "status", "--json")["is_healthy"], "its size is right"
    assert call(box, "inspect") == 1
    facts = ask(box, capsys, "status", "--json")
    assert not facts["is_healthy"]
    assert "data.bin is damaged" in facts["fault"]
    assert "data.bin is damaged" in facts["earlier_fault"]


def test_an_inspection_beside_a_change_of_releases_writes_nothing(
    box: Layout, both: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    before = read_inspection(box)
    with switch.only_one(box):
        assert call(box, "inspect") == 1
    assert "another change" in capsys.readouterr().err
    assert read_inspection(box) == before


def test_a_rollback_goes_to_a_release_whose_every_byte_was_read(
    box: Layout, work: Path, key: Path, programs: FakePrograms, both: tuple[str, str]
) -> None:
    first, second = both
    path = box.releases / first / OURS
    flip_byte(path)
    with pytest.raises(ReleaseError, match="is damaged"):
        switch.rollback(box, programs, "", AT_ONCE)
    assert box.current_release() == programs.running == second


def test_a_bad_release_never_falls_back_on_a_rotten_one(
    box: Layout, work: Path, key: Path, programs: FakePrograms, both: tuple[str, str]
) -> None:
    _, second = both
    bad = install(box, build_standin(work, key, "no-ready", counter=9))
    flip_byte(box.releases / second / OURS)
    with pytest.raises(ReleaseError, match=f"back on {both[0]}"):
        switch.switch(box, programs, bad, AT_ONCE)


def test_a_box_with_no_other_sound_release_mends_itself_from_its_store(
    box: Layout, bundle: Bundle, programs: FakePrograms
) -> None:
    only = install(box, bundle)
    switch.switch(box, programs, only, AT_ONCE)
    (box.releases / only / "venv/bin/kelly-edge").write_text("")
    (box.releases / only / OURS).unlink()
    assert f"back on {only}" in switch.at_boot(box, programs)
    switch.trusted(box, only, deep=True)


def test_nothing_sound_is_said_and_remembered(box: Layout, bundle: Bundle, programs: FakePrograms) -> None:
    only = install(box, bundle)
    switch.switch(box, programs, only, AT_ONCE)
    flip_byte(box.releases / only / OURS)
    with pytest.raises(ReleaseError, match="no other release on this box is sound"):
        switch.at_boot(box, programs)
    assert "no other release" in read_state(box).last


def test_a_power_cut_while_a_layer_is_mended_leaves_the_box_no_worse(
    box: Layout, newer: Bundle, programs: FakePrograms, both: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    flip_byte(box.releases / both[1] / LIBRARY)
    replace = Path.replace

    def cut_after(n: int) -> Callable[[Path, Path], Path]:
        left = iter(range(n))

        def cut(path: Path, target: Path) -> Path:
            if next(left, None) is None:
                raise KeyboardInterrupt
            return replace(path, target)

        return cut

    for n in range(4):
        monkeypatch.setattr(Path, "replace", cut_after(n))
        with suppress(KeyboardInterrupt):
            install(box, newer)
        monkeypatch.setattr(Path, "replace", replace)
        assert "is sound" in switch.at_boot(box, programs)
    install(box, newer)
    for release in both:
        switch.trusted(box, release, deep=True)
