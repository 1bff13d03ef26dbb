"""A person's hands on the simulated pins: knobs, panic and the lamp."""

from importlib.metadata import distribution
from pathlib import Path

import pytest
from box_instrument import PANIC_PIN, PLAY_ON, STOP, Instrument, sounding, struck

STEP = 0.04
"""A detent of valence and arousal, as config.yaml has it."""
SETTLED_S = 3.0
SILENT_WITHIN_S = 0.25
"""Of the box's own clock, which does not depend on this host's speed."""
PROJECT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def instrument(playing: Instrument) -> Instrument:
    """One box for all tests here; nobody plays to it, so that only the knobs move the target."""
    playing.machine.ssh("pkill -x aplay; sleep 20")
    return playing


@pytest.mark.parametrize(("knob", "detents"), [("valence", 5), ("arousal", -8)])
def test_a_knob_moves_the_target_by_its_detents(instrument: Instrument, knob: str, detents: int) -> None:
    before_target, before_knob = instrument.target()[knob], instrument.knobs()[knob]
    instrument.turn(knob, detents)
    instrument.machine.ssh(f"sleep {SETTLED_S}")
    assert instrument.knobs()[knob] - before_knob == pytest.approx(STEP * detents, abs=1e-3)
    assert instrument.target()[knob] - before_target == pytest.approx(STEP * detents, abs=0.02)


def test_200_detents_forth_and_back_end_at_zero(instrument: Instrument) -> None:
    before = instrument.knobs()["density"]
    assert before == 0.0
    for _ in range(10):
        instrument.turn("density", 20, per_second=10.0)
        instrument.turn("density", -20, per_second=10.0)
    instrument.machine.ssh(f"sleep {SETTLED_S}")
    moved = [entry["density"] for entry in instrument.session("knobs")]
    assert max(moved) > 0.5
    assert moved[-1] == pytest.approx(0.0, abs=1e-6)


def test_panic_silences_the_host_side(instrument: Instrument) -> None:
    machine = instrument.machine
    before, begin_s = instrument.counters("midi")["n_panics"], instrument.now_s()
    machine.ssh(PLAY_ON)
    instrument.wait_for_music(begin_s, n_notes=5)
    pressed_s = instrument.press(PANIC_PIN)
    machine.ssh("systemctl stop bench-music; sleep 1")
    heard = instrument.heard()
    silences = [event for event in heard if event.silences and event.time_s >= pressed_s]
    assert [event.channel for event in silences] == list(range(16))
    silent_s = silences[-1].time_s
    print(f"{len(struck(heard))} notes, silent {1e3 * (silent_s - pressed_s):.0f} ms after the press")
    assert silent_s - pressed_s < SILENT_WITHIN_S
    assert sounding(event for event in heard if event.time_s <= silent_s) == set()
    assert instrument.counters("midi")["n_panics"] == before + 1


def test_the_lamp_shows_a_forced_xrun(instrument: Instrument) -> None:
    audio = instrument.show("kelly-edge@audio.service", "MainPID")
    instrument.machine.ssh(f"kill -STOP {audio}; sleep 1; kill -CONT {audio}")
    seen = instrument.machine.ssh(
        "for i in $(seq 40); do cat /run/bench-gpio/sim_gpio9/value /run/bench-gpio/sim_gpio10/value "
        "/run/bench-gpio/sim_gpio11/value | tr -d '\\n'; echo; sleep 0.1; done"
    ).split()
    assert "110" in seen
    assert instrument.show("kelly-edge@audio.service", "NRestarts") == "0"


def test_the_contract_of_the_panel_holds_on_the_real_kernels_gpio(instrument: Instrument) -> None:
    machine = instrument.machine
    machine.ssh(STOP)
    machine.ssh("mkdir -p /root/contract/site /root/contract/tests")
    files = [file for name in ("pytest", "pluggy", "iniconfig") for file in distribution(name).files or ()]
    for top in {file.parts[0] for file in files if not {"..", "__pycache__"} & set(file.parts)}:
        machine.put(Path(pytest.__file__).parents[1] / top, "/root/contract/site/", "--exclude=__pycache__")
    machine.put(PROJECT / "tests/devices/test_gpio.py", "/root/contract/tests/")
    text = machine.ssh(
        "cd /root/contract && PYTHONPATH=site /opt/kelly-edge/current/venv/bin/python3 -m pytest "
        "-q -rs -k TestOnGpioSim tests 2>&1 | tail -25",
        check=False,
        timeout_s=3600,
    )
    print(text)
    assert " passed" in text
    assert "failed" not in text
    assert "skipped" not in text
