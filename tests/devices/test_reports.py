"""Reports in log, journal and metrics file say what was counted; a full disk costs reports, no music."""

import errno
import json
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from firmware_py.board.map import memory_board
from firmware_py.board.telemetry import COUNTERS, Report, Times, new_counters
from firmware_py.devices.files.prometheus import PrometheusFile, as_text
from firmware_py.devices.offline import ListJournal, VirtualClock
from firmware_py.devices.session.log import LoggedReports, SessionLog
from firmware_py.devices.systemd.journal import JournalReports, is_listening
from firmware_py.processes.reports import ReportStage

DEADLINE_S = 2e-3
LINE = re.compile(
    r"# (HELP|TYPE) [a-zA-Z_:][a-zA-Z0-9_:]* .+|"
    r'([a-zA-Z_:][a-zA-Z0-9_:]*)(\{[a-z_]+="[^"\\\n]*"(,[a-z_]+="[^"\\\n]*")*\})? (\S+)'
)
"""The text exposition format, as far as it is used."""


def a_report(is_up: bool = True) -> Report:
    times = Times(DEADLINE_S)
    for n in range(1_000):
        times.add(1e-3 if n % 100 else 5e-3)
    return Report(12.5, {"audio": {"n_capture_xruns": 3}}, {"times_audio": times.record}, is_up)


class Outlet:
    """Keeps what it is told."""

    n_lost = 0

    def __init__(self) -> None:
        self.reports: list[Report] = []

    def publish(self, report: Report) -> None:
        self.reports.append(report)


# --- the stage -----------------------------------------------------------------------------


def test_each_outlet_is_told_at_its_own_pace_and_at_the_end() -> None:
    board, clock, often, seldom = memory_board(), VirtualClock(5.0), Outlet(), Outlet()
    stage = ReportStage(board.ends("control"), clock, ((often, 1.0), (seldom, 10.0)))
    for n in range(301):
        clock.time_s = 5.0 + n / 10
        stage.step()
    assert (len(often.reports), len(seldom.reports)) == (30, 3)
    stage.close()
    assert not often.reports[-1].is_up
    assert not seldom.reports[-1].is_up


def test_a_report_holds_exactly_what_was_counted() -> None:
    board, clock = memory_board(), VirtualClock()
    outlet = Outlet()
    stage = ReportStage(board.ends("control"), clock, ((outlet, 1.0),))
    for process in COUNTERS:
        counters = new_counters(process)
        for n, name in enumerate(counters.dtype.names or ()):
            counters[name] = n + 7
        board.cells[f"telemetry_{process}"].write(counters)
    times = Times(DEADLINE_S)
    times.add(1.0)
    board.cells["times_dsp"].write(times.record)
    report = stage.report(3.0)
    for process, names in COUNTERS.items():
        assert report.counters[process] == {name: n + 7 for n, name in enumerate(names)}
    assert set(report.times) == {"times_dsp"}
    assert report.times["times_dsp"]["n_missed"] == 1


def test_what_was_counted_is_in_the_log_though_the_box_dies() -> None:
    journal = ListJournal()
    LoggedReports(journal).publish(a_report())
    assert journal.entries == [
        {"kind": "counters", "time_s": 12.5, "process": "audio", "n_capture_xruns": 3},
    ]


# --- the metrics file ----------------------------------------------------------------------


def test_the_metrics_are_in_prometheus_text_format() -> None:
    text = as_text(a_report())
    assert text.endswith("\n")
    matches = [LINE.fullmatch(line) for line in text.splitlines()]
    assert all(matches), [line for line in text.splitlines() if not LINE.fullmatch(line)]
    samples = {m[2] + (m[3] or ""): float(m[5]) for m in matches if m is not None and m[2]}
    assert samples["kelly_edge_up"] == 1
    assert samples["kelly_edge_audio_capture_xruns_total"] == 3
    assert samples['kelly_edge_step_deadline_seconds{stage="audio"}'] == DEADLINE_S
    assert samples['kelly_edge_step_seconds{stage="audio",quantile="0.5"}'] == pytest.approx(1e-3, rel=0.2)
    assert samples['kelly_edge_step_seconds{stage="audio",quantile="0.999"}'] == 5e-3
    assert samples['kelly_edge_step_longest_seconds{stage="audio"}'] == 5e-3
    assert samples['kelly_edge_steps_missed_total{stage="audio"}'] == 10
    # Each metric is typed once, before its samples.
    typed = [line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")]
    assert len(typed) == len(set(typed))


def test_the_metrics_say_nothing_of_what_is_heard() -> None:
    assert not re.search("valence|arousal|emotion_confidence|f0", as_text(a_report()))


def test_the_metrics_file_is_replaced_whole_and_readable_by_the_collector(tmp_path: Path) -> None:
    path, warnings = tmp_path / "kelly.prom", []
    file = PrometheusFile(path, warnings.append)
    file.publish(a_report())
    file.publish(a_report(is_up=False))
    assert "kelly_edge_up 0\n" in path.read_text()
    assert path.stat().st_mode & 0o777 == 0o644
    assert [p.name for p in tmp_path.iterdir()] == ["kelly.prom"]
    assert warnings == []


def test_a_full_disk_costs_metrics_counted_and_said_once_and_again_after_it_was_mended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    warnings: list[str] = []
    file = PrometheusFile(tmp_path / "kelly.prom", warnings.append)
    file.publish(a_report())
    old = (tmp_path / "kelly.prom").read_text()

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    for n_faults in (3, 2):
        with monkeypatch.context() as patch:
            patch.setattr("firmware_py.devices.files.kept.os.write", full)
            for _ in range(n_faults):
                file.publish(a_report())
        assert (tmp_path / "kelly.prom").read_text() == old
        file.publish(a_report())
    assert file.n_lost == 5
    assert len(warnings) == 2
    assert "session.prometheus" in warnings[0]


# --- systemd's journal ---------------------------------------------------------------------


def test_the_journal_gets_an_entry_a_process_with_its_fields(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journald:
        journald.bind(str(path))
        assert is_listening({"JOURNAL_STREAM": "8:1"}, path)
        assert not is_listening({}, path)
        outlet = JournalReports(path)
        outlet.publish(a_report())
        fields = dict(line.split("=", 1) for line in journald.recv(65_536).decode().splitlines())
        outlet.close()
    assert fields["SYSLOG_IDENTIFIER"] == "kelly-edge"
    assert fields["KELLY_PROCESS"] == "audio"
    assert fields["KELLY_N_CAPTURE_XRUNS"] == "3"
    assert fields["KELLY_LONGEST_MS"] == "5.0"
    assert fields["MESSAGE"].startswith("audio: p99 ")
    assert all(re.fullmatch("[A-Z][A-Z0-9_]*", name) for name in fields)


def test_a_journal_that_nobody_reads_is_never_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journald:
        journald.bind(str(path))
        outlet, report = JournalReports(path), a_report()
        for _ in range(500):
            outlet.publish(report)
        assert outlet.n_lost > 100
        outlet.close()


def test_an_absent_journal_is_counted(tmp_path: Path) -> None:
    outlet = JournalReports(tmp_path / "nobody")
    outlet.publish(a_report())
    assert outlet.n_lost == 1
    outlet.close()


# --- the session log -----------------------------------------------------------------------

FULL_DISK = """
import resource, sys
from pathlib import Path
from firmware_py.devices.session.log import SessionLog
log = SessionLog(Path(sys.argv[1]))
log.record({"kind": "first"})
log.flush(60)
resource.setrlimit(resource.RLIMIT_FSIZE, (220, resource.RLIM_INFINITY))
for n in range(5):
    log.record({"kind": "long", "text": "x" * 60})
log.flush(60)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
log.record({"kind": "last"})
log.close()
print(log.n_lost)
"""


def test_a_full_disk_costs_whole_entries_counted_and_the_rest_stays_readable(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    (path,) = tmp_path.iterdir()
    kinds = [json.loads(line)["kind"] for line in path.read_text().splitlines()]
    assert kinds[:2] == ["session", "first"]
    assert kinds[-1] == "last"
    assert int(done.stdout) == 5 - kinds.count("long") > 0
    assert done.stderr.count("loses entries") == 1


def test_a_log_that_is_off_writes_nothing(tmp_path: Path) -> None:
    log = SessionLog(None)
    log.record({"kind": "note"})
    log.close()
    assert list(tmp_path.iterdir()) == []
    assert log.n_lost == 0
