"""What systemd says of a unit, as the health check reads it."""

from pathlib import Path

import pytest

from deploy.box import sandbox
from deploy.box.programs import unit_from

SINCE_US = 1_000
EARLIER, LATER = "999", "2000"
SERVICE = {
    "Id": "kelly-edge@audio.service",
    "LoadState": "loaded",
    "ActiveState": "active",
    "SubState": "running",
    "Result": "success",
    "NRestarts": "0",
    "ConditionResult": "yes",
    "Type": "notify",
    "RemainAfterExit": "no",
    "ActiveEnterTimestampMonotonic": LATER,
    "InactiveExitTimestampMonotonic": LATER,
    "InactiveEnterTimestampMonotonic": "0",
    "ConditionTimestampMonotonic": LATER,
}
JOB = {**SERVICE, "Id": "kelly-edge-bench.service", "Type": "oneshot", "SubState": "dead"}
SETUP = {**JOB, "Id": "kelly-edge-gadget.service", "RemainAfterExit": "yes"}
NEVER = {
    **SETUP, "ActiveState": "inactive", "ConditionResult": "no", "ActiveEnterTimestampMonotonic": "0",
    "InactiveExitTimestampMonotonic": "0", "ConditionTimestampMonotonic": "0",
}  # fmt: skip
"""As systemd 252 shows a unit that nothing has started since the boot."""


@pytest.mark.parametrize("state", ["activating", "inactive"])
def test_a_job_of_the_first_boot_is_not_waited_for(state: str) -> None:
    assert unit_from({**JOB, "ActiveState": state}, SINCE_US).is_ready


def test_a_job_that_was_not_begun_is_not_ready() -> None:
    begun_before = {**JOB, "ActiveState": "inactive", "InactiveExitTimestampMonotonic": EARLIER}
    assert not unit_from(begun_before, SINCE_US).is_ready


def test_a_job_that_failed_is_a_fault() -> None:
    unit = unit_from({**JOB, "ActiveState": "failed"}, SINCE_US)
    assert unit.has_failed
    assert not unit.is_ready


@pytest.mark.parametrize("unit", [SERVICE, SETUP], ids=["service", "set-up"])
@pytest.mark.parametrize("state", ["activating", "inactive", "deactivating", "failed"])
def test_what_stays_is_ready_only_when_it_is_up(unit: dict[str, str], state: str) -> None:
    assert unit_from({**unit, "ActiveState": "active"}, SINCE_US).is_ready
    assert unit_from({**unit, "ActiveState": "reloading"}, SINCE_US).is_ready
    assert not unit_from({**unit, "ActiveState": state}, SINCE_US).is_ready


@pytest.mark.parametrize("unit", [SERVICE, SETUP], ids=["service", "set-up"])
@pytest.mark.parametrize("entered", [EARLIER, str(SINCE_US), "0", ""])
def test_what_is_up_since_an_earlier_start_is_not_ready(unit: dict[str, str], entered: str) -> None:
    assert not unit_from({**unit, "ActiveEnterTimestampMonotonic": entered}, SINCE_US).is_ready


def test_what_is_masked_or_has_no_hardware_is_not_waited_for() -> None:
    assert unit_from({**NEVER, "ConditionTimestampMonotonic": LATER}, SINCE_US).is_ready
    assert unit_from({**NEVER, "LoadState": "masked"}, SINCE_US).is_ready


@pytest.mark.parametrize("unit", [NEVER, {**NEVER, **{"Id": SERVICE["Id"], "Type": "notify"}}])
@pytest.mark.parametrize(("evaluated", "since_us"), [("0", 0), ("", 0), (EARLIER, SINCE_US)])
def test_a_condition_that_was_not_evaluated_in_this_start_skips_nothing(
    unit: dict[str, str], evaluated: str, since_us: int
) -> None:
    found = unit_from({**unit, "ConditionTimestampMonotonic": evaluated}, since_us)
    assert not found.is_ready
    assert not found.has_failed


def test_a_command_of_a_release_is_run_without_root_and_without_an_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ran: list[list[str]] = []
    monkeypatch.setattr(sandbox.pwd, "getpwnam", lambda user: user)
    monkeypatch.setattr(sandbox.subprocess, "run", lambda words, **_: ran.append(words))
    sandbox.run(Path("/r"), ["play"], 60.0)
    [words] = ran
    assert words[0] == "systemd-run"
    assert {"--property=User=kelly-edge", "--property=NoNewPrivileges=yes"} <= set(words)
    assert [w for w in words if w.startswith("--setenv=HOME")] == ["--setenv=HOME=/nonexistent"]
    assert words[words.index("--") :] == ["--", "/r/venv/bin/kelly-edge", "play"]
    assert "--setenv=KELLY_EDGE_RELEASE=/r" in words, "it would look for models in the current release"
    assert not any("CacheDirectory" in word for word in words), "it only reads compiled functions"


def test_what_compiles_is_another_user_than_what_plays() -> None:
    words = sandbox.words_for(["/r/venv/bin/kelly-edge", "compile"], 60.0, sandbox.TOOLS)
    assert "--property=User=kelly-edge-tools" in words
    assert "--property=CacheDirectory=kelly-edge-compiled" in words
