"""Counters and step times as a file for node_exporter's textfile collector: fleets watch their boxes with it.

Format: Prometheus' text exposition format 0.0.4. The file is replaced whole, so that a scrape sees the old
or the new. It holds how well the box runs, and nothing that it hears.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from firmware_py.board.telemetry import Report, quantile_s
from firmware_py.devices.files.kept import replace_file

PREFIX: Final = "kelly_edge"
QUANTILES: Final = (0.5, 0.99, 0.999)
"""Chosen: the usual step, and the slowest of a hundred and of a thousand."""
WORLD_READABLE: Final = 0o644
"""POSIX file mode 0644, since Prometheus' node_exporter is another user."""
Sample = tuple[str, float]


def _metric(name: str, kind: str, doc: str, samples: Sequence[Sample]) -> Iterator[str]:
    if not samples:
        return
    yield f"# HELP {PREFIX}_{name} {doc}"
    yield f"# TYPE {PREFIX}_{name} {kind}"
    for labels, value in samples:
        yield f"{PREFIX}_{name}{labels} {value:.9g}"


def _labels(**labels: str) -> str:
    return "{" + ",".join(f'{name}="{value}"' for name, value in labels.items()) + "}"


def as_text(report: Report) -> str:
    """The whole file."""
    lines = list(_metric("up", "gauge", "1 while the box plays.", [("", float(report.is_up))]))
    lines += _metric("stream_seconds", "gauge", "Seconds since the stream began.", [("", report.time_s)])
    for process, counters in report.counters.items():
        for name, value in counters.items():
            metric = f"{process}_{name.removeprefix('n_')}_total"
            doc = f"{name.removeprefix('n_').replace('_', ' ').capitalize()}, counted by {process}."
            lines += _metric(metric, "counter", doc, [("", value)])
    steps: dict[str, list[Sample]] = {name: [] for name in ("quantile", "longest", "deadline", "n", "missed")}
    for cell, times in report.times.items():
        stage = cell.removeprefix("times_")
        labels = _labels(stage=stage)
        for share in QUANTILES:
            steps["quantile"].append((_labels(stage=stage, quantile=f"{share:g}"), quantile_s(times, share)))
        steps["longest"].append((labels, float(times["longest_s"])))
        steps["deadline"].append((labels, float(times["deadline_s"])))
        steps["n"].append((labels, int(times["n_times"])))
        steps["missed"].append((labels, int(times["n_missed"])))
    lines += _metric("step_seconds", "gauge", "Time of a step, by quantile.", steps["quantile"])
    lines += _metric("step_longest_seconds", "gauge", "Longest step.", steps["longest"])
    lines += _metric("step_deadline_seconds", "gauge", "What a step may take.", steps["deadline"])
    lines += _metric("steps_total", "counter", "Steps taken.", steps["n"])
    lines += _metric("steps_missed_total", "counter", "Steps beyond their deadline.", steps["missed"])
    return "\n".join(lines) + "\n"


class PrometheusFile:
    """An ``Outlet`` that replaces the file ``path``.

    Parameters
    ----------
    warn: told once when it cannot be written, and again after it could.
    """

    def __init__(self, path: Path, warn: Callable[[str], None]) -> None:
        self.n_lost = 0
        self._path = path
        self._warn = warn
        self._was_written = True

    def publish(self, report: Report) -> None:
        """See ``Outlet``."""
        try:
            replace_file(self._path, as_text(report).encode(), WORLD_READABLE, is_lasting=False)
            self._was_written = True
        except OSError as error:
            self.n_lost += 1
            if self._was_written:
                self._was_written = False
                self._warn(
                    f"no metrics in {self._path} ({error.strerror}); make room or set session.prometheus"
                )
