"""The dashboard in ``deploy/files`` asks for what a box writes, and for nothing else."""

import json
import re
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from firmware_py.board.map import CELLS
from firmware_py.board.telemetry import COUNTERS, TIMES_DTYPE, Report, Times, as_dict, new_counters
from firmware_py.devices.files.prometheus import as_text

DASHBOARD = Path(__file__).parents[2] / "deploy/files/grafana-dashboard.json"
METRIC = re.compile(r"kelly_edge_\w+")
OF_THE_SCRAPE = {"instance"}
"""Labels that Prometheus adds."""


@pytest.fixture(scope="module")
def dashboard() -> dict[str, Any]:
    found = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    assert isinstance(found, dict)
    return found


@pytest.fixture(scope="module")
def page() -> str:
    """The page of a box on which everything counts."""
    counters = {process: as_dict(new_counters(process)) for process in COUNTERS}
    times = {name: Times(1.0).record for name, cell in CELLS.items() if cell.dtype == TIMES_DTYPE}
    return as_text(Report(1.0, counters, times))


def queries(dashboard: dict[str, Any]) -> list[str]:
    exprs = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    return [*exprs, *(v["query"] for v in dashboard["templating"]["list"] if v["type"] == "query")]


def test_every_metric_that_is_asked_for_is_written(dashboard: dict[str, Any], page: str) -> None:
    written = {line.split()[2] for line in page.splitlines() if line.startswith("# TYPE")}
    asked = {name for query in queries(dashboard) for name in METRIC.findall(query)}
    assert len(asked) > 10
    assert asked <= written, sorted(asked - written)


def test_what_only_rises_is_shown_as_a_rate(dashboard: dict[str, Any], page: str) -> None:
    counters = {line.split()[2] for line in page.splitlines() if line.endswith(" counter")}
    for query in queries(dashboard):
        for name in METRIC.findall(query):
            assert (name in counters) == bool(re.search(rf"(increase|rate)\({name}\b", query)), query


def test_every_label_and_value_of_a_query_is_written(dashboard: dict[str, Any], page: str) -> None:
    labels = set(re.findall(r'(\w+)="', page)) | OF_THE_SCRAPE
    for query in queries(dashboard):
        assert set(re.findall(r"(\w+)=~?\"", query)) <= labels, query
        for quantile in re.findall(r'quantile="([^"]+)"', query):
            assert f'quantile="{quantile}"' in page
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            assert set(re.findall(r"{{(\w+)}}", target["legendFormat"])) <= labels


def test_panels_lie_beside_each_other(dashboard: dict[str, Any]) -> None:
    places = [panel["gridPos"] for panel in dashboard["panels"]]
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(places)
    assert all(place["x"] + place["w"] <= 24 for place in places)
    for a, b in combinations(places, 2):
        is_apart = any(
            one[axis] + one[size] <= other[axis]
            for one, other in ((a, b), (b, a))
            for axis, size in (("x", "w"), ("y", "h"))
        )
        assert is_apart, (a, b)
