"""The site as `make site` built it: every link leads somewhere, and a browser plays every example."""

import json
import subprocess
import threading
from collections.abc import Iterator
from functools import partial
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urldefrag, urlsplit

import pytest

from firmware_py.report.printing import command, find_browser
from models.site.render import EXAMPLES, digest

SITE = Path(__file__).resolve().parents[2] / "out" / "site"
PAGE = SITE / "hear.html"
BROWSER = find_browser()
PATIENCE_S = 300.0
HEARD_S = 0.5
"""An example is heard when it has played for so long."""
N_SOUNDS = 2 * len(EXAMPLES)


def fault() -> str:
    """Why the site cannot be looked at, or nothing."""
    if not PAGE.exists() or "<audio" not in PAGE.read_text():
        return "the site is not built with its sounds"
    return "" if digest() in PAGE.read_text() else "the site was built from other models or other code"


pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(fault()), reason=fault() or "-")]

ASK = """<!DOCTYPE html><meta charset="utf-8"><body style="margin:0">
<iframe id="f" src="hear.html" style="border:0;width:360px;height:700px"></iframe>
<script>
async function heard(audio) {
  audio.muted = true;
  try { await audio.play(); } catch (e) { return {src: audio.src, fault: String(e)}; }
  const end = Date.now() + 20000;
  while (audio.currentTime < HEARD_S && !audio.error && Date.now() < end)
    await new Promise(r => setTimeout(r, 50));
  audio.pause();
  const fault = audio.error && audio.error.message;
  return {src: audio.src, duration: audio.duration, time: audio.currentTime, fault: fault};
}
document.getElementById("f").onload = async function () {
  const w = this.contentWindow, d = w.document, said = [];
  for (const audio of d.querySelectorAll("audio")) said.push(await heard(audio));
  const pictures = Array.from(d.querySelectorAll("section.heard img"));
  await fetch("said", {method: "POST", body: JSON.stringify({
    sounds: said, width: d.documentElement.scrollWidth, shown: d.documentElement.clientWidth,
    pictures: pictures.filter(i => i.complete && i.naturalWidth > 300).length,
    requests: w.performance.getEntriesByType("resource").map(e => e.name)
  })});
};
</script>""".replace("HEARD_S", str(HEARD_S))


class Handler(SimpleHTTPRequestHandler):
    """The site, the page that asks, and where its answer goes."""

    server: "Server"

    def do_GET(self) -> None:
        if self.path != "/ask.html":
            return super().do_GET()
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(ASK.encode())

    def do_POST(self) -> None:
        self.server.said = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(204)
        self.end_headers()
        self.server.is_said.set()

    def log_message(self, format: str, *args: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    """Keeps the answer."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), partial(Handler, directory=str(SITE)))
        self.said: dict[str, Any] = {}
        self.is_said = threading.Event()

    def handle_error(self, *_: object) -> None:
        """A browser that has heard enough of a file hangs up."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.mark.skipif(BROWSER is None, reason="Chromium is not there; apt-get install chromium")
def test_a_browser_plays_every_example(server: Server, tmp_path: Path) -> None:
    assert BROWSER is not None
    here = f"http://127.0.0.1:{server.server_port}/"
    options = [
        "--autoplay-policy=no-user-gesture-required", "--remote-debugging-port=0",
        "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", here + "ask.html",
    ]  # fmt: skip
    words = command(BROWSER, tmp_path / "profile", *options)
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as browser:
        try:
            assert server.is_said.wait(PATIENCE_S)
        finally:
            browser.terminate()
    said = server.said
    for sound in said["sounds"]:
        print(sound)
        assert not sound["fault"], sound
        assert sound["duration"] > 30.0 and sound["time"] >= HEARD_S, sound
    assert len(said["sounds"]) == N_SOUNDS
    assert said["pictures"] == len(EXAMPLES)
    # Nothing is asked of anybody else, and a telephone shows the page.
    assert said["requests"] and all(name.startswith(here) for name in said["requests"])
    assert said["width"] <= said["shown"]


class Links(HTMLParser):
    """The places that a page has, and those that it leads to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.targets: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "id" and value:
                self.ids.add(value)
            elif name in ("href", "src") and value:
                self.targets.append(value)


def test_every_link_within_the_site_leads_somewhere() -> None:
    pages = {path: Links(path.read_text(encoding="utf-8")) for path in SITE.rglob("*.html")}
    dead, n_links = [], 0
    for page, links in pages.items():
        for target in links.targets:
            if urlsplit(target).scheme:
                continue
            place, anchor = urldefrag(target)
            path = (page.parent / unquote(urlsplit(place).path)).resolve() if place else page
            n_links += 1
            known = pages.get(path)
            if not path.exists() or (anchor and known is not None and unquote(anchor) not in known.ids):
                dead.append(f"{page.relative_to(SITE)}: {target}")
    assert len(pages) > 40 and n_links > 1_000
    assert dead == []


def test_a_page_holds_no_sound_that_is_stale() -> None:
    text = PAGE.read_text()
    assert text.count(f'data-version="{digest()}"') == len(EXAMPLES)
    for example in EXAMPLES:
        assert example.name in text
        for file in ("before.mp3", "after.mp3", "session.png", "report.html"):
            assert (SITE / "hear" / example.name / file).stat().st_size > 10_000
