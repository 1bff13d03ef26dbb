"""What the page answers: looking and a panic are free, all else needs the PIN; strangers get nothing."""

import json
import re
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("starlette", reason="starlette is not installed")

from page_client import HOST, Client
from simulated_sessions import simulate
from small_box import SmallBox, state_of

from firmware_py.commands.page.app import KINDS, Page
from firmware_py.commands.page.guard import LARGEST
from firmware_py.commands.page.keys import FREE_TRIES, LONGEST_PAUSE_S, Keys
from firmware_py.commands.page.watching import Watcher
from kelly_edge.contract import SessionState

WORDS: dict[str, Any] = {
    "resume": {},
    "start": {"programme": "calm-in-15", "name": "M7", "note": "second visit"},
    "stop": {},
    "mark": {"text": "she began to sing"},
    "programme": {"programme": "lift-in-10"},
    "turn": {"knob": "volume_db", "value": -6.0},
}
CLOSED = ("sessions", "sessions/x/report", "sessions/x/export")


class Shown:
    """A page of a small box, and a browser that has not typed the PIN."""

    def __init__(self, folder: Path) -> None:
        self.box = SmallBox(folder)
        self.now_s = 0.0
        self.keys = Keys(lambda: self.now_s)
        self.page = Page(self.box.wires, self.keys, Watcher(self.box.wires).look, [HOST])
        self.browser = Client(self.page.app)

    def close(self) -> None:
        self.browser.close()
        self.box.close()

    def unlock(self) -> None:
        assert self.browser.post("/pin", {"pin": self.keys.pin}).status == 204

    def event(self) -> dict[str, Any]:
        """What the page tells now: the second event has two looks behind it."""
        told = self.browser.ask("GET", "/events", b"", {}, n_events=2)
        seen: dict[str, Any] = json.loads(told.body.split(b"\n\n")[1].removeprefix(b"data: "))
        return seen


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shown]:
    """For tests that change nothing."""
    shown = Shown(tmp_path_factory.mktemp("page"))
    yield shown
    shown.close()


@pytest.fixture
def shown(tmp_path: Path) -> Iterator[Shown]:
    shown = Shown(tmp_path)
    yield shown
    shown.close()


def test_without_the_pin_nothing_changes_but_a_panic(shown: Shown) -> None:
    before = state_of(shown.box)
    for word, values in WORDS.items():
        assert shown.browser.post(f"/{word}", values).status == 401
    for path in CLOSED:
        assert shown.browser.get(f"/{path}").status == 401
    shown.browser.cookie = "kelly-edge=" + "a" * 43
    assert shown.browser.post("/stop").status == 401
    time.sleep(0.1)
    assert state_of(shown.box) == before
    assert shown.browser.post("/panic").status == 200
    assert shown.box.read("panic")["is_on"]
    # Going on is no safety stop.
    assert shown.browser.post("/resume").status == 401
    assert shown.box.read("panic")["is_on"]


def test_with_the_pin_every_word_reaches_the_box(shown: Shown) -> None:
    box, names = shown.box, shown.box.wires.programmes
    shown.unlock()
    assert shown.browser.post("/start", WORDS["start"]).json["session"] == "number 1 begins"
    assert box.read("session")["name"] == b"M7"
    assert names[int(box.read("knobs")["programme"])] == "calm-in-15"
    assert shown.browser.post("/programme", WORDS["programme"]).status == 200
    box.until(lambda: names[int(box.read("knobs")["programme"])] == "lift-in-10")
    assert int(box.read("session")["number"]) == 1
    for knob, value in (("volume_db", -6.0), ("mute", 1.0), ("loudest", 60.0), ("valence", -0.5)):
        assert shown.browser.post("/turn", {"knob": knob, "value": value}).status == 200
        box.until(lambda knob=knob, value=value: float(box.read("knobs")[knob]) == value)
    box.until(lambda: box.state.joinpath("sessions").exists())
    assert shown.browser.post("/mark", WORDS["mark"]).status == 200
    shown.browser.post("/panic")
    assert shown.browser.post("/resume").status == 200
    assert not box.read("panic")["is_on"]
    assert shown.browser.post("/stop").status == 200
    assert int(box.read("knobs")["session"]) == SessionState.ENDED
    assert shown.browser.post("/leave").status == 204
    assert shown.browser.post("/stop").status == 401
    box.until(lambda: not box.read("session")["log"])
    logs = "".join(path.read_text() for path in (box.state / "sessions").glob("*.jsonl"))
    assert "she began to sing" in logs


def test_a_fault_of_a_word_is_told_in_a_line(shown: Shown) -> None:
    shown.unlock()
    for word, values, fault in (
        ("start", {"programme": "calm-in-16", "name": "", "note": ""}, "did you mean calm-in-15"),
        ("start", {"programme": "", "name": "x" * 500, "note": ""}, "one line"),
        ("programme", {"programme": "nothing"}, "is not one of"),
        ("mark", {"text": "nobody"}, "no session is on"),
        ("mark", {"text": "\ud800"}, "no text"),
        ("mark", {"text": "a\nb"}, "control character"),
    ):
        answer = shown.browser.post(f"/{word}", values)
        assert answer.status == 409 and fault in answer.json["fault"]
        assert "\n" not in answer.json["fault"]


def test_the_pin_is_asked_five_times_then_ever_more_seldom(shared: Shown) -> None:
    now_s = 0.0
    keys = Keys(lambda: now_s)
    wrong = str((int(keys.pin) + 1) % 10**6).zfill(6)
    assert [keys.try_pin(wrong).n_left for _ in range(FREE_TRIES)] == [4, 3, 2, 1, 0]
    pauses = [keys.try_pin(wrong).wait_s]
    for _ in range(8):
        # In a pause the right one is not taken either, and no try counts.
        now_s += pauses[-1] - 0.5
        assert not keys.try_pin(keys.pin).token and not keys.try_pin(wrong).token
        now_s += 0.5
        pauses.append(keys.try_pin(wrong).wait_s)
    assert pauses[0] == pytest.approx(60.0)
    assert all(a < b or b == LONGEST_PAUSE_S for a, b in pairwise(pauses))
    now_s += LONGEST_PAUSE_S + 1.0
    assert keys.is_known(keys.try_pin(keys.pin).token)
    assert keys.n_wrong == 0
    # A day later it is asked again.
    token = keys.try_pin(keys.pin).token
    now_s += 24 * 3_600.0
    assert not keys.is_known(token)


def test_a_pause_is_told_and_the_cookie_is_for_the_page_alone(shown: Shown) -> None:
    for _ in range(FREE_TRIES - 1):
        assert shown.browser.post("/pin", {"pin": "no"}).status == 403
    answer = shown.browser.post("/pin", {"pin": "no"})
    assert answer.status == 429 and answer.json["wait_s"] == 60 and answer.headers["retry-after"] == "60"
    assert shown.browser.post("/pin", {"pin": shown.keys.pin}).status == 429
    assert shown.browser.post("/panic").status == 200
    shown.now_s = 61.0
    cookie = shown.browser.post("/pin", {"pin": shown.keys.pin}).headers["set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=strict" in cookie and shown.keys.pin not in cookie
    assert len({Keys(time.monotonic).pin for _ in range(20)}) > 15


def test_what_is_told_holds_no_name_before_the_pin(shown: Shown) -> None:
    shown.unlock()
    shown.browser.post("/start", WORDS["start"])
    cookie, shown.browser.cookie = shown.browser.cookie, ""
    seen = shown.event()
    assert seen["heard"]["valence"] == -0.25 and seen["may"] is False and seen["box"] == "on"
    assert seen["session"]["number"] == 1 and not {"name", "note", "log"} & set(seen["session"])
    shown.browser.cookie = cookie
    seen = shown.event()
    assert seen["session"]["name"] == "M7" and seen["may"] is True
    assert shown.page.broadcast.n_watching == 0


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"host": "evil.example"}, 421),
        ({"host": "evil.example:8080"}, 421),
        ({"host": ""}, 421),
        ({"origin": ""}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": f"https://{HOST}"}, 403),
        ({"sec_fetch_site": "cross-site"}, 403),
        ({"content_type": "text/plain"}, 415),
        ({"content_type": "application/x-www-form-urlencoded"}, 415),
        ({"content_length": str(LARGEST + 1)}, 413),
        ({"content_length": "-1"}, 413),
    ],
)
def test_a_stranger_is_refused_a_panic_too(shared: Shown, headers: dict[str, str], status: int) -> None:
    before = state_of(shared.box)
    assert shared.browser.post("/panic", **headers).status == status
    assert state_of(shared.box) == before
    if "host" in headers:
        assert shared.browser.get("/", **headers).status == status


@pytest.mark.parametrize("method", ["HEAD", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH", "get"])
def test_only_get_and_post_are_known(shared: Shown, method: str) -> None:
    assert shared.browser.ask(method, "/events", b"", {}).status == 405


BODIES = (
    b"", b"{", b"null", b"[]", b"1", b'"x"', b"\xff", b"{}" * 9, b"[" * 4_000, b'{"knob":"volume_db"}',
    b'{"knob":"volume_db","value":NaN}', b'{"knob":"volume_db","value":-Infinity}',
    b'{"knob":"volume_db","value":1e999}', b'{"knob":"volume_db","value":' + b"9" * 4_000 + b"}",
    b'{"knob":"volume_db","value":true}', b'{"knob":"volume_db","value":"-6"}', b'{"knob":1,"value":1}',
    b'{"knob":"volume_db","value":1}', b'{"knob":"n_panics","value":1}', b'{"knob":"session","value":1}',
    b'{"knob":"__class__","value":1}', b'{"knob":"volume_db","value":-6,"more":1}', b" " * (LARGEST + 1),
)  # fmt: skip


@pytest.mark.parametrize("body", BODIES, ids=range(len(BODIES)))
def test_a_body_that_is_not_what_is_asked_for_turns_nothing(shared: Shown, body: bytes) -> None:
    shared.unlock()
    before = state_of(shared.box)
    # A length that is not told is counted.
    for length in (str(len(body)), ""):
        answer = shared.browser.post("/turn", body, content_length=length)
        assert answer.status in (400, 413)
    assert state_of(shared.box) == before
    shared.browser.cookie = ""


def test_every_answer_lets_the_browser_load_nothing_else(shared: Shown) -> None:
    for path in ("/", "/page.js", "/page.css", "/box", "/nothing", "/sessions", "/../app.py"):
        answer = shared.browser.get(path)
        assert answer.headers["content-security-policy"].startswith("default-src 'none'; script-src 'self'")
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"
        assert answer.status == {"/nothing": 404, "/sessions": 401, "/../app.py": 404}.get(path, 200)


def test_the_page_names_no_other_machine_and_has_no_script_within(shared: Shown) -> None:
    files = {
        name: shared.browser.get("/" if name == "page.html" else f"/{name}").body.decode() for name in KINDS
    }
    assert all("://" not in text and "url(" not in text and "@import" not in text for text in files.values())
    html = files["page.html"]
    assert re.findall(r"<script[^>]*>", html) == ['<script src="page.js" defer>']
    assert not re.search(r"\son\w+=|\sstyle=|<style", html)
    assert "innerHTML" not in files["page.js"] and "eval(" not in files["page.js"]


@pytest.mark.slow
def test_a_kept_session_is_listed_told_and_packed(shown: Shown) -> None:
    folder = shown.box.state / "sessions"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "20261130-120000-7-0001.jsonl").write_text(
        "".join(json.dumps(entry) + "\n" for entry in simulate(4).entries)
    )
    shown.unlock()
    (kept,) = shown.browser.get("/sessions").json
    assert kept["name"] == "20261130-120000-7" and kept["begin"] == "2026-11-30 12:00"
    report = shown.browser.get(f"/sessions/{kept['name']}/report")
    assert report.status == 200 and b"<h1>Session 20261130-120000-7</h1>" in report.body
    assert "sandbox" in report.headers["content-security-policy"]
    packed = shown.browser.get(f"/sessions/{kept['name']}/export")
    assert packed.body.startswith(b"PK") and b"performance.mid" in packed.body
    for name in ("..", "x", "20261130-120000-7-0001.jsonl", "%2e%2e"):
        assert shown.browser.get(f"/sessions/{name}/report").status in (404, 409)
