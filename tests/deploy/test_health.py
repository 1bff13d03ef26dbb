"""When a release is healthy: systemd's own state machine on a clock of its own, and what the box plays."""

import random
import shutil
from pathlib import Path
from typing import Any

import pytest
from deploy_box import install
from deploy_programs import FakePrograms, reading_at
from deploy_standin import build_standin
from deploy_systemd import PROCESSES, FakeUnit, PlayedPrograms, box_units

from deploy.box import switch
from deploy.box.faults import ReleaseError
from deploy.box.health import Patience, listen
from deploy.box.layout import Layout, read_state
from deploy.box.limits import Limits, limits_of
from deploy.bundle import Bundle

LIMITS = Limits(notes=1, voice_s=1.0, voice_peak_dbfs=-60.0, share_of_periods=0.9, hops_per_s=150.0, xruns=0)
AUDIO = PROCESSES.index("kelly-edge@audio.service")


@pytest.mark.parametrize("seed", range(20))
def test_a_first_push_is_good_however_long_its_units_take(box: Layout, bundle: Bundle, seed: int) -> None:
    """0 to 20 s each, both ends among them, on a board that begins at once or after 2 s."""
    rng = random.Random(seed)
    ready_s: list[float | None] = [rng.choice([0.0, 20.0, rng.uniform(0.0, 20.0)]) for _ in PROCESSES]
    programs = PlayedPrograms(box, box_units(ready_s, has_gadget=bool(seed % 2)), rng.uniform(0.0, 2.0))
    release = install(box, bundle)
    assert "is good" in switch.switch(box, programs, release, Patience())
    assert programs.systemd.n_starts == 1
    assert read_state(box).good == (release,)


def test_nothing_is_judged_before_it_was_started(box: Layout, bundle: Bundle) -> None:
    """The job waits in the queue for 10 s: units that were never started are no READY units."""
    programs = PlayedPrograms(box, box_units([0.0] * 6), queue_s=10.0)
    programs.restart()
    assert not any(unit.is_ready or unit.has_failed for unit in programs.units())
    programs.wait(9.99)
    assert not any(unit.is_ready for unit in programs.units())
    programs.wait(0.5)
    assert all(unit.is_ready for unit in programs.units())


def test_six_dead_processes_are_not_healthy(box: Layout, bundle: Bundle) -> None:
    """Never started at all: what ``systemctl show`` says then looks like units left out on purpose."""
    programs = PlayedPrograms(box, box_units([0.0] * 6), queue_s=1e9)
    with pytest.raises(ReleaseError, match="is not READY after 35 s"):
        switch.switch(box, programs, install(box, bundle), Patience())


def test_units_of_the_release_before_do_not_count_as_ready(
    box: Layout, bundle: Bundle, newer: Bundle
) -> None:
    programs = PlayedPrograms(box, box_units([1.0] * 6, has_gadget=True))
    first = install(box, bundle)
    switch.switch(box, programs, first, Patience())
    programs.systemd.units["kelly-edge@dsp.service"].ready_s = None
    with pytest.raises(ReleaseError, match=f"dsp.service is not READY.*back on {first}"):
        switch.switch(box, programs, install(box, newer), Patience())


def test_a_skip_of_the_start_before_does_not_count(box: Layout) -> None:
    programs = PlayedPrograms(box, box_units([0.0] * 6))
    programs.restart()
    programs.wait(5.0)
    assert all(unit.is_ready for unit in programs.units())
    programs.systemd.queue_s = 10.0
    programs.restart()
    assert not any(unit.is_ready for unit in programs.units())


@pytest.mark.parametrize("process", PROCESSES)
def test_a_process_that_gets_no_ready_is_named(box: Layout, bundle: Bundle, process: str) -> None:
    ready_s: list[float | None] = [3.0] * 6
    ready_s[PROCESSES.index(process)] = None
    with pytest.raises(ReleaseError, match=f"{process} is not READY after 35 s"):
        switch.switch(box, PlayedPrograms(box, box_units(ready_s)), install(box, bundle), Patience())


def test_a_process_that_fails_is_found_at_once(box: Layout, bundle: Bundle) -> None:
    units = box_units([3.0] * 6)
    units[AUDIO] = FakeUnit(PROCESSES[AUDIO], 1.0, crashes=True)
    programs = PlayedPrograms(box, units)
    begin_s = programs.now_s()
    with pytest.raises(ReleaseError, match=r"audio\.service failed"):
        switch.switch(box, programs, install(box, bundle), Patience())
    assert programs.now_s() - begin_s < 5.0


def test_a_process_that_starts_again_while_watched_is_not_healthy(box: Layout, bundle: Bundle) -> None:
    programs = PlayedPrograms(box, box_units([0.0] * 6))
    ask, looks = programs.systemd.ask, 0

    def restarting(words: Any) -> Any:
        nonlocal looks
        looks += 1
        if looks == 20:
            programs.systemd.units[PROCESSES[AUDIO]].state["NRestarts"] = "1"
        return ask(words)

    programs._ask = restarting
    with pytest.raises(ReleaseError, match=r"audio\.service does not stay up .*1 restarts"):
        switch.switch(box, programs, install(box, bundle), Patience())


# --- what is heard and played -----------------------------------------------------------


def risen(before: dict[str, Any], after: dict[str, Any], *path: str, by: float) -> None:
    """Let the number at ``path`` rise by ``by`` between the two readings."""
    *way, last = path
    for name in way:
        before, after = before[name], after[name]
    after[last] = before[last] + by


def test_a_box_on_which_everything_counts_plays() -> None:
    has_card, line = listen(reading_at(100.0), reading_at(130.0), LIMITS, had_card=True)
    assert has_card
    assert "periods captured and played, 0 xruns" in line


@pytest.mark.parametrize("process", ["guardian", "control", "midi", "audio", "dsp", "composer"])
def test_a_process_that_stands_still_is_not_healthy(process: str) -> None:
    before, after = reading_at(100.0), reading_at(130.0)
    risen(before, after, "processes", process, "n_times", by=0)
    with pytest.raises(ReleaseError, match=f"{process} took no step in 30 s"):
        listen(before, after, LIMITS, had_card=False)


@pytest.mark.parametrize(
    ("path", "enough", "why"),
    [
        (("processes", "dsp", "counters", "n_hops"), 4_500, "dsp heard .* hops"),
        (("processes", "audio", "counters", "n_periods"), 10_000, "audio moved .* periods"),
    ],
)
def test_the_limits_of_what_is_heard_and_played_hold_on_both_sides(
    path: tuple[str, ...], enough: int, why: str
) -> None:
    before, after = reading_at(100.0), reading_at(130.0)
    risen(before, after, *path, by=enough)
    assert listen(before, after, LIMITS, had_card=True)[0]
    for too_few in (enough - 1, 0, -1):
        risen(before, after, *path, by=too_few)
        with pytest.raises(ReleaseError, match=why):
            listen(before, after, LIMITS, had_card=True)


def test_hops_that_bring_nothing_new_are_not_healthy() -> None:
    before, after = reading_at(100.0), reading_at(130.0)
    after["heard"] = before["heard"]
    with pytest.raises(ReleaseError, match="nothing new was heard"):
        listen(before, after, LIMITS, had_card=False)


@pytest.mark.parametrize("reading", [None, {}, {"time_s": "soon"}, {"time_s": 100.0}])
def test_a_box_that_tells_nothing_is_not_healthy(reading: dict[str, Any] | None) -> None:
    with pytest.raises(ReleaseError):
        listen(reading_at(100.0), reading, LIMITS, had_card=False)
    with pytest.raises(ReleaseError):
        listen(reading, reading_at(100.0), LIMITS, had_card=False)


def test_a_card_that_was_there_is_missed_and_one_that_never_was_is_not() -> None:
    before, after = reading_at(100.0, "no-card"), reading_at(130.0, "no-card")
    has_card, line = listen(before, after, LIMITS, had_card=False)
    assert not has_card
    assert "no sound card yet" in line
    with pytest.raises(ReleaseError, match="sound card that this box had is not there"):
        listen(before, after, LIMITS, had_card=True)


@pytest.mark.parametrize("behaviour", ["deaf", "still"])
def test_a_release_that_gets_ready_and_is_silent_is_taken_back(
    box: Layout, work: Path, key: Path, bundle: Bundle, behaviour: str
) -> None:
    programs = FakePrograms(box)
    first = install(box, bundle)
    switch.switch(box, programs, first, Patience())
    silent = install(box, build_standin(work, key, behaviour, counter=7))
    with pytest.raises(ReleaseError, match=f"back on {first}"):
        switch.switch(box, programs, silent, Patience())
    assert box.current_release() == programs.running == first


def test_a_card_that_is_lost_with_a_release_takes_it_back(
    box: Layout, work: Path, key: Path, bundle: Bundle
) -> None:
    programs = FakePrograms(box)
    first = install(box, bundle)
    switch.switch(box, programs, first, Patience())
    without = install(box, build_standin(work, key, "no-card", counter=7))
    with pytest.raises(ReleaseError, match=f"sound card that this box had is not there.*back on {first}"):
        switch.switch(box, programs, without, Patience())


def test_a_box_without_a_card_takes_its_first_release(box: Layout, work: Path, key: Path) -> None:
    release = install(box, build_standin(work, key, "no-card", counter=7))
    assert "no sound card yet" in switch.switch(box, FakePrograms(box), release, Patience())
    assert not switch.had_card(box)


def test_the_limits_are_stored_with_the_release(box: Layout, bundle: Bundle) -> None:
    release = install(box, bundle)
    assert limits_of(box.releases / release) == LIMITS


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"notes": NaN}', "x" * 5_000])
def test_limits_that_cannot_be_read_are_a_fault(tmp_path: Path, text: str) -> None:
    (tmp_path / "system").mkdir()
    (tmp_path / "system/health.json").write_text(text)
    with pytest.raises(ReleaseError, match="limit"):
        limits_of(tmp_path)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", '"1"', "null", "true"])
def test_a_limit_that_is_no_finite_number_is_a_fault(tmp_path: Path, number: str) -> None:
    (tmp_path / "system").mkdir()
    path = tmp_path / "system/health.json"
    shutil.copyfile(Path(__file__).parents[2] / "deploy/files/health.json", path)
    assert limits_of(tmp_path) == LIMITS
    path.write_text(path.read_text().replace("150.0", number))
    with pytest.raises(ReleaseError, match="limit"):
        limits_of(tmp_path)


@pytest.mark.parametrize(("share", "is_heard"), [(1.0, True), (0.5, True), (0.3, False), (0.0, False)])
def test_a_status_is_a_glance(
    box: Layout, bundle: Bundle, monkeypatch: pytest.MonkeyPatch, share: float, is_heard: bool
) -> None:
    """Short, so that a late period or one xrun is no fault, and a deaf box is one all the same."""
    programs = FakePrograms(box)
    switch.switch(box, programs, install(box, bundle), Patience())
    before, after = reading_at(100.0), reading_at(101.0, n_xruns=1)
    n_hops = round(187.5 * share)
    risen(before, after, "processes", "dsp", "counters", "n_hops", by=n_hops)
    readings = iter((before, after))
    monkeypatch.setattr(programs, "reading", lambda release: next(readings))
    fault = switch.silence(box, programs)
    assert fault == ("" if is_heard else f"dsp heard {n_hops} hops in 1 s")
