"""What systemd and the kernel say of the box: its units, its ports, its users."""

import pytest
from box_instrument import GADGET, PROCESSES, SAFE, UNITS, Instrument

MOST_EXPOSED = 2.0
OURS = (*UNITS, SAFE, GADGET)
BENCH_PORTS = ("22", "68")
"""The bench's own way in: ssh and the address it is given."""


def test_systemd_finds_no_fault_in_the_units(playing: Instrument) -> None:
    said = playing.machine.ssh(
        f"systemd-analyze verify kelly-edge.target {' '.join(OURS)} 2>&1 | grep kelly-edge || true",
    )
    assert said == ""


@pytest.mark.parametrize("units", [UNITS, (SAFE,), (GADGET,)], ids=["processes", "safe", "gadget"])
def test_no_unit_is_more_exposed_than_allowed(playing: Instrument, units: tuple[str, ...]) -> None:
    text = playing.machine.ssh(
        "; ".join(f"systemd-analyze security --no-pager {unit} | tail -1" for unit in units)
    )
    exposure = [float(line.split(":")[1].split()[0]) for line in text.strip().splitlines()]
    print(dict(zip(units, exposure, strict=True)))
    assert max(exposure) <= MOST_EXPOSED


def test_nothing_listens_but_the_bench(playing: Instrument) -> None:
    lines = playing.machine.ssh("ss -Hlntu").splitlines()
    ports = {line.split()[4].rsplit(":", 1)[1] for line in lines}
    assert ports <= set(BENCH_PORTS)


def test_no_process_of_the_box_is_roots(playing: Instrument) -> None:
    pids = [playing.show(f"kelly-edge@{process}.service", "MainPID") for process in PROCESSES]
    users = playing.machine.ssh(f"ps -o user:20= -p {','.join(pids)}").split()
    assert users == ["kelly-edge"] * len(PROCESSES)
    assert playing.show(GADGET, "MainPID") == "0"


def test_real_time_is_taken_by_those_whose_deadline_asks_for_it(playing: Instrument) -> None:
    taken = {}
    for process in PROCESSES:
        pid = playing.show(f"kelly-edge@{process}.service", "MainPID")
        taken[process] = playing.machine.ssh(f"chrt -p {pid} | sed 's/.*: //' | paste -sd ' '").strip()
    assert taken["audio"].startswith("SCHED_FIFO") and taken["audio"].endswith(" 80")
    assert taken["midi"].startswith("SCHED_FIFO") and taken["midi"].endswith(" 70")
    assert taken["dsp"].startswith("SCHED_FIFO") and taken["dsp"].endswith(" 60")
    assert taken["composer"].startswith("SCHED_OTHER")
    assert taken["control"].startswith("SCHED_OTHER")


def test_nobody_has_a_password(playing: Instrument) -> None:
    hashes = [line.split(":")[1] for line in playing.machine.ssh("cat /etc/shadow").splitlines()]
    assert all(value.startswith(("*", "!")) for value in hashes)
