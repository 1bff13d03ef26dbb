"""What systemd says of a unit, as the health check reads it."""

import pytest

from deploy.box.programs import unit_from

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
}
JOB = {**SERVICE, "Id": "kelly-edge-bench.service", "Type": "oneshot", "SubState": "dead"}
SETUP = {**JOB, "Id": "kelly-edge-gadget.service", "RemainAfterExit": "yes"}


@pytest.mark.parametrize("state", ["activating", "inactive"])
def test_a_job_of_the_first_boot_is_not_waited_for(state: str) -> None:
    assert unit_from({**JOB, "ActiveState": state}).is_ready


def test_a_job_that_failed_is_a_fault() -> None:
    assert unit_from({**JOB, "ActiveState": "failed"}).has_failed


@pytest.mark.parametrize("unit", [SERVICE, SETUP], ids=["service", "set-up"])
@pytest.mark.parametrize("state", ["activating", "inactive", "failed"])
def test_what_stays_is_ready_only_when_it_is_up(unit: dict[str, str], state: str) -> None:
    assert unit_from({**unit, "ActiveState": "active"}).is_ready
    assert not unit_from({**unit, "ActiveState": state}).is_ready


def test_what_is_masked_or_has_no_hardware_is_not_waited_for() -> None:
    left_out = {**SETUP, "ActiveState": "inactive", "ConditionResult": "no"}
    assert unit_from(left_out).is_ready
    assert unit_from({**SERVICE, "ActiveState": "inactive", "LoadState": "masked"}).is_ready
