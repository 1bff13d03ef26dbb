"""What of the tests did not run, of which kind, and what would run it: printed at the end of a run."""

import os
import re
from collections import Counter
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest

TESTS: Final = Path(__file__).parents[1]
MUST_RUN: Final = bool(os.environ.get("KELLY_MUST_RUN"))
"""Set by the targets that install what their tests need: a test that skips for want of it is a failure."""


MARKS: Final = {"faults": "make faults", "browser": "make page-test"}
"""What a mark leaves out of ``make test``, and what runs it."""


class Skip(NamedTuple):
    """A kind of skipped test: a pattern of its reasons, a name, what runs it, and whether that is no fault
    although the target was asked for by name."""

    reasons: str
    name: str
    remedy: str
    is_allowed: bool = False


SKIPS: Final = (
    Skip("torch|onnx|scikit-learn|librosa", "the workshop's packages", "make test-workshop"),
    Skip(
        "libraries of this environment",
        "a tree with this Python",
        "make deploy-test SUITE=bookworm",
        is_allowed=True,
    ),
    Skip(
        "booting boxes|systemd-nspawn|aarch64|no tree|ssh|mmdebstrap|pyinfra",
        "booted trees",
        "make deploy-test",
    ),
    Skip("pymidi|npm", "other programs that speak RTP-MIDI", "make wireless-test"),
    Skip("the site", "the documentation site", "make site-test"),
    Skip("Chromium", "a browser", "make report-test, make page-test"),
    Skip("starlette|python-osc", "the page's packages", "pip install '.[page]'"),
    Skip("virtual box", "the emulated box", "make appliance"),
    Skip("recordings|KELLY_DATA", "recordings", "the data sets (docs/training.md)", is_allowed=True),
    Skip("wheel|litert|tflite|runtime", "a runtime for another Python", "Python 3.11", is_allowed=True),
    Skip("gpio-sim", "simulated pins", "a kernel with gpio-sim; make appliance boots one", is_allowed=True),
    Skip("has a gadget", "a machine without a USB gadget", "another machine", is_allowed=True),
    Skip("xrun|may not look", "looks that disturb what they look at", "an idle machine", is_allowed=True),
    Skip("root|SCHED_FIFO|tmpfs|rights", "rights", "root, with CAP_SYS_NICE and mount"),
    Skip("font", "sound fonts", "make test-workshop"),
    Skip("systemd", "systemd's programs", "apt-get install systemd"),
    Skip("gcc|stress-ng|strace", "tools of the fault tests", "make faults"),
    Skip(
        "JACK|jackd|jack_|sound server|PortAudio|alsa|rtmidi|libasound|plugin",
        "a sound server",
        "apt-get install jackd2 libasound2-plugins libportaudio2, from Debian 13 on jack-example-tools; "
        "python-rtmidi with JACK",
    ),
    Skip("kelly-edge is not installed|oracle|not installed|matplotlib", "packages", "make test"),
    Skip("no checkout", "a checkout", "a clone with its history", is_allowed=True),
    Skip("shows no device|allows no device", "a machine with devices", "another machine", is_allowed=True),
    Skip("", "other", "see the reason above"),
)


def kind_of_skip(reason: str) -> Skip:
    """The first kind that the reason matches."""
    return next(skip for skip in SKIPS if re.search(skip.reasons, reason))


def reason_of(report: pytest.CollectReport | pytest.TestReport) -> str:
    """Why it was skipped."""
    return str(report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr)


def not_collected() -> int:
    """Tests of the emulated box that this run left out."""
    if os.environ.get("KELLY_APPLIANCE"):
        return 0
    files = (TESTS / "appliance").glob("test_*.py")
    return sum(len(re.findall(r"^def test_", file.read_text(), re.MULTILINE)) for file in files)


class Left:
    """Counts what did not run.

    Where tests run side by side (pytest-xdist) each worker collects all of them and the controller none: it
    takes what was left out in collecting from a worker.
    """

    def __init__(self, is_whole: bool) -> None:
        self.is_whole = is_whole
        self.skipped: Counter[Skip] = Counter()
        self.skipped_modules: dict[str, str] = {}
        self.deselected: dict[str, int] = {}
        self.n_passed = 0

    def pytest_deselected(self, items: list[pytest.Item]) -> None:
        """Marked for a target of their own, which this run is not."""
        if "not faults" in items[0].config.option.markexpr:
            self.deselected = dict(Counter(m for item in items for m in MARKS if item.get_closest_marker(m)))

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """A module that skips itself counts once."""
        if report.skipped:
            self.skipped_modules[report.nodeid] = reason_of(report)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """A test."""
        if report.skipped and not hasattr(report, "wasxfail"):
            self.skipped[kind_of_skip(reason_of(report))] += 1
        self.n_passed += report.when == "call" and report.passed

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """A worker of pytest-xdist has ended; one that crashed tells nothing."""
        told = getattr(node, "workeroutput", {})
        self.skipped_modules.update(told.get("skipped_modules", {}))
        self.deselected.update(told.get("deselected", {}))

    def _all_skipped(self) -> Counter[Skip]:
        return self.skipped + Counter(map(kind_of_skip, self.skipped_modules.values()))

    def lines(self) -> list[str]:
        """What to print."""
        lines = [f"{n} skipped: {skip.name}; {skip.remedy}" for skip, n in self._all_skipped().items()]
        lines += [f"{n} left out: marked {mark}; {MARKS[mark]}" for mark, n in self.deselected.items()]
        if self.is_whole and (n := not_collected()):
            lines.append(f"{n} left out: the emulated box; make appliance")
        return lines

    def wanting(self) -> str:
        """Why a target that must run did not, or nothing."""
        n_wanting = sum(n for skip, n in self._all_skipped().items() if not skip.is_allowed)
        if n_wanting:
            return f"{n_wanting} tests did not run for want of what this target needs"
        return "" if self.n_passed else "no test ran"

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Tell the controller, or fail a target that did not do what it is for."""
        if hasattr(session.config, "workeroutput"):
            told = {"skipped_modules": self.skipped_modules, "deselected": self.deselected}
            session.config.workeroutput.update(told)
        elif MUST_RUN and session.exitstatus == pytest.ExitCode.OK and self.wanting():
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Say it."""
        lines = self.lines()
        if MUST_RUN and self.wanting():
            lines.append(f"FAILED: {self.wanting()}")
        if lines:
            terminalreporter.section("what did not run, and what runs it")
            for line in lines:
                terminalreporter.line(line)
