"""Whatever dies, stalls or is pulled out: it comes back, the music returns and no note stays."""

import json
import subprocess
import sys
from pathlib import Path, PurePosixPath

import pytest
from box_instrument import (
    ENCODERS,
    GADGET,
    PLAY_ON,
    PROCESSES,
    SAFE,
    SESSIONS,
    STOP,
    TARGET,
    Instrument,
    sounding,
)

HOLD_PIN = 7
LONGEST_NOTE_S = 24.0
"""Two bars of the slowest tempo."""
STARVED = ("25%", "18%", "13%", "10%", "8%")
"""Of this core, until a bar takes longer to compose than is left."""
KNOB = f"{ENCODERS['valence'][0]} {ENCODERS['valence'][1]}"
LOWER_RUNGS = ("n_short_context", "n_continuation", "n_rest")
LADDER = ("n_full", *LOWER_RUNGS, "n_late_bars", "n_silent_bars")


@pytest.fixture(scope="module")
def instrument(playing: Instrument) -> Instrument:
    """One box for all tests here, with somebody playing to it."""
    playing.machine.ssh(PLAY_ON)
    return playing


def restarts(instrument: Instrument) -> dict[str, str]:
    return {name: instrument.show(f"kelly-edge@{name}.service", "NRestarts") for name in PROCESSES}


def main_pids(instrument: Instrument) -> dict[str, str]:
    return {name: instrument.show(f"kelly-edge@{name}.service", "MainPID") for name in PROCESSES}


def hanging(instrument: Instrument, before_s: float) -> set[tuple[int, int]]:
    """What was struck before ``before_s`` and has not been released since."""
    heard = instrument.heard()
    old = sounding(event for event in heard if event.time_s < before_s)
    later = [event for event in heard if event.time_s >= before_s and event.velocity == 0]
    return {
        (channel, pitch)
        for channel, pitch in old
        if not any(event.channel == channel and (event.silences or event.pitch == pitch) for event in later)
    }


def assert_nothing_hangs(instrument: Instrument, before_s: float) -> None:
    """What sounded before ``before_s`` is released, at the latest when a long note would end."""
    end_s = before_s + LONGEST_NOTE_S
    while (held := hanging(instrument, before_s)) and instrument.now_s() < end_s:
        instrument.machine.ssh("sleep 2")
    assert held == set(), "notes hang"


@pytest.mark.parametrize("process", PROCESSES)
def test_a_killed_process_is_started_again_and_the_music_returns(
    instrument: Instrument, process: str
) -> None:
    unit = f"kelly-edge@{process}.service"
    killed, before = instrument.show(unit, "MainPID"), restarts(instrument)
    since_s = instrument.now_s()
    instrument.machine.ssh(f"kill -9 {killed}")
    instrument.wait_until_ready()
    assert instrument.show(unit, "MainPID") not in ("0", killed)
    after = restarts(instrument)
    assert int(after[process]) == int(before[process]) + 1
    assert {n: c for n, c in after.items() if n != process} == {
        n: c for n, c in before.items() if n != process
    }
    instrument.wait_for_music(instrument.now_s())
    assert_nothing_hangs(instrument, since_s)


@pytest.mark.parametrize("process", ["midi", "composer"])
def test_a_process_that_stands_still_is_started_again_by_its_watchdog(
    instrument: Instrument, process: str
) -> None:
    unit = f"kelly-edge@{process}.service"
    stalled = instrument.show(unit, "MainPID")
    since_s = instrument.now_s()
    instrument.machine.ssh(f"kill -STOP {stalled}")
    instrument.machine.wait_until(f'[ "$(systemctl show -P MainPID {unit})" != {stalled} ]', 240)
    instrument.wait_until_ready()
    assert (
        "watchdog" in instrument.machine.ssh(f"journalctl -b --no-pager -u {unit} | grep -i watchdog").lower()
    )
    instrument.wait_for_music(instrument.now_s())
    assert_nothing_hangs(instrument, since_s)


def test_a_starved_composer_steps_down_the_ladder_and_comes_back(instrument: Instrument) -> None:
    machine, n_restarts = instrument.machine, restarts(instrument)

    def risen(quota: str, turns: str) -> dict[str, int]:
        """What the composer counted under ``quota`` while its target was turned so."""
        machine.ssh(f"systemctl set-property --runtime kelly-edge@composer.service CPUQuota={quota}")
        before = instrument.counters("composer")
        machine.ssh(f"for n in {turns}; do bench-turn {KNOB} $n 20; sleep 2; done")
        after = instrument.counters("composer")
        return {name: after[name] - before[name] for name in LADDER}

    # A bar taken back has what is left until the next bar line to be composed again.
    for quota in STARVED:
        starved = risen(quota, "10 -10 10 -10 10 -10")
        print(quota, starved)
        if down := sum(starved[name] for name in LOWER_RUNGS):
            break
    fed, later = risen("", "0 0 0 0 0 0"), risen("", "0 0 0 0 0 0")
    print("fed", fed, "later", later)
    assert down > 0
    assert sum(later[name] for name in LOWER_RUNGS) == 0
    assert later["n_full"] > 0
    assert restarts(instrument) == n_restarts
    since_s = instrument.now_s()
    instrument.wait_for_music(since_s)
    assert_nothing_hangs(instrument, since_s)


def test_the_cable_pulled_and_put_back_needs_no_restart(instrument: Instrument) -> None:
    before = main_pids(instrument)
    udc = "/sys/kernel/config/usb_gadget/kelly-edge/UDC"
    controller = instrument.machine.ssh(f"cat {udc}").strip()
    instrument.machine.ssh(f"echo > {udc}")
    instrument.machine.wait_until("! aconnect -l | grep -q \"'Kelly Edge'\"", 60)
    instrument.machine.ssh(f"echo {controller} > {udc}")
    instrument.machine.wait_until("aconnect -l | grep -q \"'Kelly Edge'\"", 60)
    instrument.wait_for_music(instrument.now_s())
    assert main_pids(instrument) == before


def test_the_controller_gone_and_back_is_bound_again(instrument: Instrument) -> None:
    before = main_pids(instrument)
    driver = "/sys/bus/platform/drivers/dummy_udc"
    instrument.machine.ssh(f"echo dummy_udc.0 > {driver}/unbind; sleep 1; echo dummy_udc.0 > {driver}/bind")
    instrument.machine.wait_until("aconnect -l | grep -q \"'Kelly Edge'\"", 180)
    instrument.wait_for_music(instrument.now_s())
    instrument.wait_until_ready((GADGET,), 60)
    assert main_pids(instrument) == before


def test_the_sound_card_gone_and_back_needs_no_restart(instrument: Instrument) -> None:
    before = main_pids(instrument)
    driver = "/sys/bus/platform/drivers/snd_aloop"
    instrument.machine.ssh("systemctl stop bench-music")
    instrument.machine.ssh(f"timeout 60 sh -c 'echo snd_aloop.0 > {driver}/unbind'")
    instrument.machine.wait_until("journalctl -b -u kelly-edge@audio | grep -q 'is not there'", 60)
    assert "Loopback" not in instrument.machine.ssh("cat /proc/asound/cards")
    instrument.machine.ssh(f"echo snd_aloop.0 > {driver}/bind; {PLAY_ON}")
    instrument.machine.wait_until("grep -q RUNNING /proc/asound/Loopback/pcm1c/sub0/status", 60)
    instrument.wait_for_music(instrument.now_s())
    assert main_pids(instrument) == before


def test_the_session_through_all_that_is_composed_again_on_another_machine(
    instrument: Instrument, tmp_path: Path
) -> None:
    names = instrument.machine.ssh(f"ls -t {SESSIONS}/*.jsonl").split()
    newest = PurePosixPath(names[0]).name.rpartition("-")[0]
    parts = [name for name in names if PurePosixPath(name).name.startswith(newest)]
    for name in parts:
        (tmp_path / PurePosixPath(name).name).write_text(instrument.machine.ssh(f"cat {name}"))
    command = [sys.executable, "-m", "firmware_py", "replay", str(tmp_path), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    print(len(parts), "parts", done.stdout, done.stderr)
    # The process that writes the log was killed as well.
    assert len(parts) > 1 and done.returncode == 0
    assert json.loads(done.stdout)["is_identical"]


def test_a_crash_loop_ends_in_safe_mode_and_the_hold_button_in_music(instrument: Instrument) -> None:
    since_s = instrument.now_s()
    # Six starts within a minute, each of about two seconds of this box's, and several looks at each.
    instrument.machine.ssh(
        "for i in $(seq 60); do systemctl kill -s KILL kelly-edge@dsp 2>/dev/null; sleep 0.5; "
        "[ $(systemctl is-failed kelly-edge@dsp) = failed ] && break; done; true",
    )
    instrument.wait_until_ready((SAFE,))
    assert set(instrument.states((TARGET,)).values()) == {"inactive"}
    assert instrument.lamp() == {"red"}
    assert sounding(event for event in instrument.heard()) == set()
    instrument.machine.ssh(f"bench-press {HOLD_PIN} 4")
    instrument.wait_until_ready()
    assert instrument.states((SAFE,))[SAFE] == "inactive"
    instrument.wait_for_music(instrument.now_s())
    assert_nothing_hangs(instrument, since_s)


def test_after_all_that_the_end_releases_every_note(instrument: Instrument) -> None:
    instrument.machine.ssh(STOP)
    heard = instrument.heard()
    assert sounding(heard) == set()
    assert instrument.lamp() == set()
