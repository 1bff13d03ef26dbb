"""The page in Chromium against the live processes on JACK's dummy driver: every button, and what it costs."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("alsaaudio", reason="pyalsaaudio is not installed")
pytest.importorskip("starlette", reason="starlette is not installed")

from browser import Browser, Tab
from rig import PATIENCE_S, ROOT, Box, wait_until

from firmware_py.board.telemetry import FAULTS
from firmware_py.commands.demo import demo_recording
from firmware_py.devices.files.audio_file import read_audio
from firmware_py.rehearsal.server import DummyServer, Tape, absent
from firmware_py.report.printing import find_browser

PROGRAM = find_browser()
pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(PROGRAM is None, reason="Chromium is not there; apt-get install chromium"),
]
WATCHES_S = 20.0
SETTLES_S = 4.0
N_PAIRS = 6
N_BROWSERS = 3
REAL_TIME = ("audio", "dsp", "midi")
MISSED = "deadlines missed"
WORSE = 0.02
"""Six pairs that are all worse come by chance in 1 of 64."""
PICTURES = os.environ.get("KELLY_PAGE_PICTURES", "")
"""A folder for pictures of the page, for the docs."""


def free_port() -> int:
    with socket.socket() as line:
        line.bind(("127.0.0.1", 0))
        return int(line.getsockname()[1])


class Live:
    """The live box with its page, a player, and a browser."""

    def __init__(self, server: DummyServer, folder: Path) -> None:
        self.url = f"127.0.0.1:{free_port()}"
        samples = np.tile(read_audio(demo_recording()).samples, 12).astype(np.float32)
        settings = (f"page.bind={self.url}", "panel.chip=none", "session.begin=hand")
        self.box = Box(folder, server.env, stand_ins=False, settings=settings)
        try:
            # Its functions are compiled where that was not done yet.
            wait_until(lambda: "ready after" in self.box.errors.read_text(), 4 * PATIENCE_S)
            wait_until(lambda: "the page is at" in self.box.errors.read_text(), PATIENCE_S)
            self.tape = Tape(server, folder, samples)
            self.tape.play()
        except BaseException:
            self.box.close()
            raise
        assert PROGRAM is not None
        self.browser = Browser(PROGRAM, folder / "profile")

    def said(self, *words: str) -> dict[str, Any]:
        """What the command line says of the box."""
        where = f"runtime.run_dir={self.box.run_dir}"
        done = subprocess.run(
            [sys.executable, "-m", "firmware_py", *words, "--json", f"--set={where}"],
            env={**self.box.env, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=True,
        )  # fmt: skip
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def page(self, width_px: int = 1_000) -> Tab:
        """The page, as soon as it shows the box."""
        tab = self.browser.tab(f"http://{self.url}/", width_px)
        tab.until(
            "window.document.readyState === 'complete' && typeof seen === 'object' && seen.box === 'on'"
        )
        return tab

    def close(self) -> None:
        self.browser.close()
        self.tape.close()
        self.box.close()


@pytest.fixture
def live(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Live]:
    if why := absent():
        pytest.skip(why)
    server = DummyServer(tmp_path)
    for name, value in server.env.items():
        monkeypatch.setenv(name, value)
    server.start()
    try:
        a_live = Live(server, tmp_path)
        try:
            yield a_live
        finally:
            a_live.close()
    finally:
        server.stop()


def test_every_button_works_and_no_request_leaves_the_machine(live: Live) -> None:
    tab, pin = live.page(), live.said("page", "pin")["pin"]
    # Looking is free, changing is not.
    assert tab.value("document.querySelector('#start').matches(':disabled')")
    assert not tab.value("document.querySelector('#panic').disabled")
    tab.type("#pin", "no" + pin)
    tab.click("#enter")
    tab.until("$('said').textContent.includes('4 more tries')")
    tab.type("#pin", pin)
    tab.click("#enter")
    tab.until("may")
    # Begin, with a programme and a code.
    tab.value("$('programme').value = 'calm-in-15'")
    tab.type("#name", "M7")
    tab.click("#start")
    tab.until("seen.session.number === 1 && seen.session.name === 'M7'")
    assert live.said("session", "status")["programme"] == "calm-in-15"
    live.box.plays(PATIENCE_S)
    # Change the programme, set a marker, turn knobs.
    tab.value("$('programme').value = 'mirror'")
    tab.click("#choose")
    tab.until("seen.session.programme === 'mirror'")
    tab.type("#mark-text", "she began to sing")
    tab.click("#mark")
    tab.until("$('said').textContent === 'Marked.'")
    tab.click("#knob-volume_db")
    tab.until("seen.knobs.volume_db === -20")
    tab.value(
        "(() => { const k = $('knob-volume_db'); k.value = 0; k.dispatchEvent(new Event('input')); })()"
    )
    tab.until("seen.knobs.volume_db === 0")
    tab.click("#mute")
    tab.until("seen.knobs.mute === 1")
    tab.until("seen.notes.sounding.length === 0")
    tab.click("#mute")
    tab.until("seen.knobs.mute === 0")
    live.box.plays(PATIENCE_S)
    tab.until("past.length > 3 && past.some(p => p.played)")
    if PICTURES:
        time.sleep(90.0)
        for name, width_px in (("page-desk", 1_000), ("page-telephone", 360)):
            tab.resize(width_px, 900)
            tab.value("new Promise(done => setTimeout(done, 800))")
            tab.screenshot(Path(PICTURES, f"{name}.png"))
        tab.resize(1_000, 900)
    # Silence, and on.
    tab.click("#panic")
    tab.until("seen.panic")
    wait_until(lambda: not live.box.receiver.sounding, PATIENCE_S)
    tab.until("$('panic').textContent === 'Go on'")
    tab.click("#panic")
    tab.until("!seen.panic")
    live.box.plays(PATIENCE_S)
    # The end, and its report.
    tab.click("#stop")
    tab.until("seen.session.number === undefined")
    tab.click("#list")
    tab.until("document.querySelector('#sessions tbody tr')")
    href = tab.value("document.querySelector('#sessions tbody a').href")
    told = tab.value(f"fetch({json.dumps(href)}).then(answer => answer.text())")
    assert "she began to sing" in told and "<h1>Session" in told
    packed = tab.value("fetch(document.querySelectorAll('#sessions tbody a')[1].href).then(a => a.status)")
    assert packed == 200
    report = live.browser.tab("about:blank")
    assert report.value("1") == 1
    tab.click("#sessions tbody a")
    tab.click("#leave")
    tab.until("!may && $('start').matches(':disabled')")
    # Nothing but the page itself was asked for, and nothing in it failed but the wrong PIN.
    asked = {url for url in live.browser.requests if not url.startswith(("data:", "about:"))}
    assert asked and all(url.startswith(f"http://{live.url}/") for url in asked)
    assert [error for error in live.browser.errors if "403" not in error] == []
    assert live.box.popen.poll() is None and "Traceback" not in live.box.errors.read_text()


@pytest.mark.parametrize("width_px", [360, 1_000])
def test_the_page_fits_its_window(live: Live, width_px: int) -> None:
    tab = live.page(width_px)
    assert tab.value("document.documentElement.scrollWidth") <= width_px
    small = "[...document.querySelectorAll('button,select,input:not([type=checkbox]):not([type=range])')]"
    heights = tab.value(f"{small}.map(e => e.getBoundingClientRect().height).filter(h => h > 0)")
    # As high as a finger needs.
    assert heights and min(heights) >= 40
    letters = "[...document.querySelectorAll('p,label,button,h2,td,figcaption')]"
    assert min(tab.value(f"{letters}.map(e => parseFloat(getComputedStyle(e).fontSize))")) >= 13


def faults_of(live: Live) -> dict[str, int]:
    """The counters of the real-time processes that shall stay at 0, and steps that missed their deadline."""
    processes = live.said("monitor", "--once")["processes"]
    found = {f"{p} {n}": processes[p]["counters"].get(n, 0) for p in REAL_TIME for n in FAULTS[p]}
    return {**found, **{f"{p} {MISSED}": processes[p].get("n_missed", 0) for p in REAL_TIME}}


def page_cpu_s(live: Live) -> float:
    """Processor time that the page's process has taken."""
    pid = json.loads((live.box.run_dir / "page.json").read_text())["pid"]
    user, system = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def scheduling(live: Live) -> dict[str, str]:
    """How each real-time process is scheduled."""
    pids = {name: live.box.pid(name) for name in REAL_TIME}
    names = {os.SCHED_FIFO: "FIFO", os.SCHED_OTHER: "ordinary"}
    policies = {name: os.sched_getscheduler(pid) & ~os.SCHED_RESET_ON_FORK for name, pid in pids.items()}
    return {name: names.get(policy, str(policy)) for name, policy in policies.items()}


def share_as_large(differences: Sequence[float]) -> float:
    """Of all ways to exchange the two sides of each pair, the share whose sum of ``differences`` is as large:
    the exact one-sided sign-flip test (Fisher 1935)."""
    sums = [
        sum(s * d for s, d in zip(signs, differences, strict=True))
        for signs in product((1, -1), repeat=len(differences))
    ]
    return sum(total >= sum(differences) for total in sums) / len(sums)


def test_the_verdict_tells_a_rise_from_a_noisy_machine() -> None:
    assert share_as_large([3.0, 1.0, 2.0, 5.0, 1.0, 4.0]) == 1 / 64 < WORSE
    assert share_as_large([3.0, -1.0, 2.0, -5.0, 1.0, 4.0]) > WORSE
    assert share_as_large([0.0] * 6) == 1.0


def test_three_browsers_that_watch_move_no_counter(live: Live) -> None:
    print(
        f"\n{json.dumps(scheduling(live))}; {N_PAIRS} pairs of {WATCHES_S:.0f} s, without and with browsers:"
    )
    rows: dict[int, list[dict[str, int]]] = {0: [], N_BROWSERS: []}
    cpu_s = {0: 0.0, N_BROWSERS: 0.0}
    for pair in range(N_PAIRS):
        # Which comes first changes, so that a machine that becomes busier is no verdict.
        for n_browsers in sorted(rows, reverse=pair % 2 == 1):
            tabs = [live.page() for _ in range(n_browsers)]
            time.sleep(SETTLES_S)
            before, begin_s = faults_of(live), page_cpu_s(live)
            time.sleep(WATCHES_S)
            cpu_s[n_browsers] += page_cpu_s(live) - begin_s
            after = faults_of(live)
            rows[n_browsers].append({name: after[name] - before[name] for name in after})
            for tab in tabs:
                assert tab.value("seen.box") == "on"
                tab.close()
    risen = np.zeros(N_PAIRS)
    for name in sorted({name for row in (*rows[0], *rows[N_BROWSERS]) for name, n in row.items() if n}):
        without, watched = ([row[name] for row in rows[k]] for k in rows)
        # Each counter counts alike: late notes come by the dozen, xruns do not.
        risen += np.sign(np.subtract(watched, without))
        print(f"  {name}: {without} {watched}")
    shown = {k: round(v, 2) for k, v in cpu_s.items()}
    print(f"  CPU seconds of the page in {N_PAIRS * WATCHES_S:.0f} s, by browsers: {shown}")
    p = share_as_large(risen.tolist())
    print(f"  counters that rose more with browsers less those that rose less: {risen.tolist()}; p {p:.3f}")
    assert p > WORSE, "watching moves counters beyond what this machine does by itself"
    # How often a step took longer than its deadline is the machine's affair, where browsers run on it too.
    told = {k: sum(n for row in rows[k] for name, n in row.items() if MISSED not in name) for k in rows}
    # On a machine that moves none by itself they move none.
    assert told[0] or not told[N_BROWSERS]
