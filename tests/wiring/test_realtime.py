"""realtime: last of all, in order, and a refusal costs one warning, not the process."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from firmware_py.wiring import realtime
from firmware_py.wiring.realtime import POLICIES, cores, may_rise, throttling

ROOT = Path(__file__).resolve().parents[2]
RISE = """
import gc, os, sys
from firmware_py.wiring.realtime import become_realtime
process = sys.argv[1]
granted = become_realtime(process, lambda text: print(text, file=sys.stderr))
locked = next(l for l in open("/proc/self/status") if l.startswith("VmLck")).split()[1]
print(granted, os.sched_getscheduler(0) & ~os.SCHED_RESET_ON_FORK, os.sched_getparam(0).sched_priority,
      int(locked) > 0, gc.isenabled(), gc.get_freeze_count() > 0, os.nice(0))
"""
DROP_RIGHTS = ["setpriv", "--bounding-set=-sys_nice,-ipc_lock,-sys_resource", "--inh-caps=-all"]


def rise(process: str, *prefix: str) -> tuple[list[str], list[str]]:
    done = subprocess.run(
        [*prefix, sys.executable, "-c", RISE, process], capture_output=True, text=True, check=True, cwd=ROOT
    )
    return done.stdout.split(), done.stderr.splitlines()


needs_rights = pytest.mark.skipif(not may_rise(), reason="no right to SCHED_FIFO here (CAP_SYS_NICE)")


@needs_rights
@pytest.mark.parametrize("process", ["audio", "midi", "dsp"])
def test_a_sounding_process_is_fifo_locked_and_frozen(process: str) -> None:
    answer, warnings = rise(process)
    fifo = [str(os.SCHED_FIFO), str(POLICIES[process].priority)]
    assert answer == ["True", *fifo, "True", "False", "True", str(os.nice(0))]
    assert warnings == []


def test_the_composer_stays_ordinary_and_yields() -> None:
    answer, _ = rise("composer")
    assert answer == ["True", "0", "0", "False", "False", "True", "5"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can take its own rights away (setpriv)")
def test_refused_rights_are_one_warning_each_that_names_the_remedy() -> None:
    answer, warnings = rise("audio", "prlimit", "--rtprio=0", "--memlock=0", *DROP_RIGHTS)
    assert answer[:4] == ["False", "0", "0", "False"]
    assert len(warnings) == 2
    assert "LimitMEMLOCK" in warnings[0]
    assert "LimitRTPRIO" in warnings[1]


def test_audio_has_a_core_of_its_own_where_there_are_enough() -> None:
    four = frozenset(range(4))
    assert cores(POLICIES["audio"], four) == {3}
    assert cores(POLICIES["dsp"], four) == {0, 1, 2}
    assert cores(POLICIES["audio"], frozenset({0, 1})) == {0, 1}


def test_what_has_less_time_has_more_priority() -> None:
    assert POLICIES["audio"].priority > POLICIES["midi"].priority > POLICIES["dsp"].priority > 0
    assert list(realtime.STEPS)[-1].take is realtime._rise


@pytest.mark.parametrize(
    ("runtime", "expected"), [("950000", "95 %"), ("-1", ""), ("1000000", ""), ("", ""), ("x", "")]
)
def test_kernel_throttling_is_found(tmp_path: Path, runtime: str, expected: str) -> None:
    (tmp_path / "sched_rt_runtime_us").write_text(runtime)
    (tmp_path / "sched_rt_period_us").write_text("1000000")
    assert (expected in throttling(tmp_path)) if expected else throttling(tmp_path) == ""
