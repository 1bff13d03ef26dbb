"""The page as a browser shows it: on a telephone and on paper. Needs Debian's ``chromium``."""

import json
import re
import subprocess
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from simulated_sessions import simulate

from firmware_py.report.course import Course
from firmware_py.report.page import page
from firmware_py.report.printing import command, find_browser, print_page

BROWSER = find_browser()
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(BROWSER is None, reason="Chromium is not there; apt-get install chromium"),
]
PATIENCE_S = 300.0
TELEPHONE_PX, DESK_PX = 360, 1_000
SMALLEST_LETTER_PX = 9.0
# Asks the page from outside, for itself it runs no script: same folder, same origin by the option below.
ASK = """<!DOCTYPE html><meta charset="utf-8"><body style="margin:0">
<iframe id="f" src="report.html" style="border:0;width:%dpx;height:700px"></iframe><pre id="said"></pre>
<script>
document.getElementById("f").onload = function () {
  const w = this.contentWindow, d = w.document, all = q => Array.from(d.querySelectorAll(q));
  const cut = all("figure > svg text").filter(t => {
    const a = t.getBoundingClientRect(), b = t.closest("svg").getBoundingClientRect();
    return a.left < b.left - 1 || a.right > b.right + 1 || a.top < b.top - 1 || a.bottom > b.bottom + 1;
  }).map(t => t.textContent);
  const scale = all("figure > svg").map(s => s.getBoundingClientRect().width / s.viewBox.baseVal.width);
  document.getElementById("said").textContent = JSON.stringify({
    width: d.documentElement.scrollWidth, shown: d.documentElement.clientWidth, cut: cut,
    letter: 12 * Math.min(...scale), requests: w.performance.getEntriesByType("resource").length,
    figures: all("figure > svg").length, drawn: all("figure > svg path[d]").length,
    sentences: all(".said li").map(li => li.textContent), titles: all("h3").map(h => h.textContent),
    dark: all("p,li,td,th,figcaption,svg text").every(e => {
      const s = w.getComputedStyle(e), c = e.tagName == "text" ? s.fill : s.color;
      return Math.max(...c.match(/\\d+/g).slice(0, 3).map(Number)) < 100;
    })
  });
};
</script>"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    course = Course()
    for entry in simulate(4).entries:
        course.add(entry)
    course.add({"kind": "marker", "time_s": 99.0, "text": "a marker " + "x" * 200})
    made = tmp_path_factory.mktemp("browser")
    (made / "report.html").write_text(page(course, "20261130-120000-7"), encoding="utf-8")
    return made


def asked(folder: Path, width_px: int) -> dict[str, Any]:
    """What a browser window of that width shows."""
    assert BROWSER is not None
    (folder / "ask.html").write_text(ASK % width_px)
    options = ("--allow-file-access-from-files", "--virtual-time-budget=20000", "--dump-dom")
    words = command(BROWSER, folder / "profile", *options, (folder / "ask.html").as_uri())
    done = subprocess.run(words, capture_output=True, text=True, timeout=PATIENCE_S, check=True)
    found = re.search(r'<pre id="said">(.+?)</pre>', done.stdout)
    assert found is not None, done.stderr[-1_000:]
    answer: dict[str, Any] = json.loads(unescape(found[1]))
    return answer


@pytest.mark.parametrize("width_px", [TELEPHONE_PX, DESK_PX])
def test_it_fits_and_is_readable(folder: Path, width_px: int) -> None:
    said = asked(folder, width_px)
    assert said["shown"] <= width_px
    assert said["width"] <= said["shown"]
    assert said["cut"] == []
    assert said["letter"] >= SMALLEST_LETTER_PX
    assert said["dark"]
    assert said["requests"] == 0
    assert said["figures"] >= 12 and said["drawn"] > 100
    assert any("led from" in sentence or "held" in sentence for sentence in said["sentences"])
    assert {"Valence", "Circumplex", "Dynamics", "Counters that are not 0"} <= set(said["titles"])


def test_it_prints(folder: Path) -> None:
    print_page((folder / "report.html").read_text(encoding="utf-8"), folder / "report.pdf")
    content = (folder / "report.pdf").read_bytes()
    assert content.startswith(b"%PDF-")
    n_pages = len(re.findall(rb"/Type\s*/Page\b", content))
    assert 3 <= n_pages <= 9
