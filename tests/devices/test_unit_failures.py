"""Failures of units, read from a real journal.

``failures.journal.xz`` was written by systemd-journal-remote. Its first start holds one failure of ``dsp``;
its second one: a start of ``audio``, a failure of ssh, one of ``dsp``, one that ``midi`` claims by itself
(as process 777), and one of ``composer``.
"""

import lzma
import sys
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pytest

from firmware_py.devices.systemd.unit_failures import NoJournalError, UnitFailure, unit_failures

FIRST, SECOND = UUID("11111111111141118111111111111111"), UUID("22222222222242228222222222222222")
NEVER = UUID("33333333333343338333333333333333")
DSP, COMPOSER = "kelly-edge@dsp.service", "kelly-edge@composer.service"
NOON = datetime(2025, 11, 23, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def journal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("systemd.journal", reason="systemd-python is not installed (the extra box)")
    folder = tmp_path_factory.mktemp("journal")
    packed = Path(__file__).with_name("failures.journal.xz").read_bytes()
    (folder / "system.journal").write_bytes(lzma.decompress(packed))
    return folder


def test_failures_of_our_units_since_a_start_are_found_in_order(journal: Path) -> None:
    assert unit_failures(journal, FIRST) == [UnitFailure(DSP, "signal", NOON.replace(minute=15))]
    assert unit_failures(journal, SECOND) == [
        UnitFailure(DSP, "signal", NOON.replace(minute=17)),
        UnitFailure(COMPOSER, "watchdog", NOON.replace(minute=17, second=10)),
    ]


def test_a_journal_without_a_word_of_the_service_manager_is_not_taken_for_a_good_one(
    journal: Path, tmp_path: Path
) -> None:
    for folder, boot in ((journal, NEVER), (tmp_path, FIRST), (tmp_path / "none", FIRST)):
        with pytest.raises(NoJournalError, match="no journal"):
            unit_failures(folder, boot)


def test_without_systemd_python_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "systemd", None)
    with pytest.raises(NoJournalError, match="systemd-python is not installed"):
        unit_failures()
