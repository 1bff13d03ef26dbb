"""The plug is pulled at random moments, while the box plays, learns a controller and writes its settings."""

import os
import random
from pathlib import Path

import pytest
from box_instrument import BOOT, PLAY_ON, PLAYING, Instrument
from box_machine import Machine

N_CUTS = int(os.environ.get("KELLY_POWER_CUTS", "2"))
LONGEST_S = 12.0
CONFIG = "/etc/kelly-edge/config.yaml"
CONTROLS = "/var/lib/kelly-edge/controls.json"
PYTHON = "/opt/kelly-edge/current/venv/bin/python3"
SEEDS = range(N_CUTS)

WRITE = f"""
import itertools, pathlib
from firmware_py.devices.files.kept import replace_file
path = pathlib.Path("{CONFIG}")
old = path.read_text()
for n in itertools.count():
    content = old + f"# setting {{n}}\\n" + "# filled\\n" * (n % 2000)
    replace_file(path, content.encode(), mode=0o644)
"""
LEARN = f"""
import itertools, pathlib
from firmware_py.devices.files.learned_controls import store_controls, with_control
from firmware_py.ports.learned import Learned
path, controls = pathlib.Path("{CONTROLS}"), ()
for n in itertools.count():
    new = Learned(("valence", "arousal", "density")[n % 3], f"f_midi {{n}}", n % 16, n % 120)
    controls = with_control(controls, new)
    store_controls(path, controls)
"""


@pytest.mark.parametrize("seed", SEEDS)
def test_a_power_cut_leaves_a_box_that_plays(disk_to_spoil: Path, box: Path, seed: int) -> None:
    wait_s = random.Random(seed).uniform(0.5, LONGEST_S)
    with Machine(box, disk_to_spoil, load=PLAYING) as machine:
        machine.wait_for_ssh()
        before = machine.ssh(f"cat {CONFIG}")
        machine.ssh("cat > /root/write.py", stdin=WRITE)
        machine.ssh("cat > /var/lib/kelly-edge/learn.py; chmod 644 /var/lib/kelly-edge/learn.py", stdin=LEARN)
        machine.ssh(
            f"systemd-run -q --unit=bench-write {PYTHON} /root/write.py; "
            f"systemd-run -q --unit=bench-learn -p User=kelly-edge {PYTHON} /var/lib/kelly-edge/learn.py"
        )
        machine.wait_until(f"grep -q '# setting' {CONFIG} && [ -s {CONTROLS} ]", 120)
        machine.ssh(f"sleep {wait_s:.2f}")
    with Machine(box, disk_to_spoil) as machine:
        machine.wait_for_ssh()
        instrument = Instrument(machine)
        settings = machine.ssh(f"cat {CONFIG}")
        assert settings.startswith(before)
        rest = settings.removeprefix(before).splitlines()
        if rest:
            number = int(rest[0].removeprefix("# setting "))
            assert rest[1:] == ["# filled"] * (number % 2000)
        controls = machine.ssh(f"cat {CONTROLS} 2>/dev/null || true")
        if controls:
            machine.ssh(f'python3 -c \'import json; json.load(open("{CONTROLS}"))["controls"]\'')
        instrument.wait_until_ready()
        assert " is sound" in instrument.journal(BOOT)
        machine.ssh(PLAY_ON)
        instrument.wait_for_music(0.0)
        print(f"cut after {wait_s:.1f} s: setting {rest[:1]}, {len(controls)} bytes of controls")
