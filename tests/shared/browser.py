"""Chromium without a window, told what to do through a pipe in its own protocol (DevTools)."""

import base64
import json
import os
import subprocess
import time
from pathlib import Path
from typing import Any

from firmware_py.report.printing import command

PATIENCE_S = 300.0
NICE = 19
"""A real one is on another machine, and takes no processor's time from the box."""


class Browser:
    """A browser that is driven; ``requests`` are the addresses that any of its pages asked for."""

    def __init__(self, program: str, profile: Path) -> None:
        theirs, self._to = os.pipe()
        self._from, ours = os.pipe()
        # No other machine is found, whatever is asked for; the last rule counts.
        here = "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1"
        words = command(
            program,
            profile,
            here,
            "--hide-scrollbars",
            "--remote-debugging-pipe",
            "--mute-audio",
            "about:blank",
        )
        # The protocol's descriptors are 3 and 4; dash knows no descriptor of two digits.
        script = f'exec nice -n {NICE} "$@" 3<&{theirs} 4>&{ours}'
        shell = ["bash", "-c", script, "bash", *words]
        self._popen = subprocess.Popen(
            shell, pass_fds=(theirs, ours), stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        os.close(theirs)
        os.close(ours)
        os.set_blocking(self._from, False)
        self._n = 0
        self._rest = b""
        self.requests: list[str] = []
        self.errors: list[str] = []

    def ask(self, method: str, session: str = "", **values: Any) -> dict[str, Any]:
        """The answer to a method of the protocol."""
        self._n += 1
        message: dict[str, Any] = {"id": self._n, "method": method, "params": values}
        if session:
            message["sessionId"] = session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        end_s = time.monotonic() + PATIENCE_S
        while time.monotonic() < end_s:
            for answer in self._read():
                if answer.get("id") == self._n:
                    assert "error" not in answer, answer
                    found: dict[str, Any] = answer["result"]
                    return found
            time.sleep(0.01)
        raise AssertionError(f"the browser does not answer {method}")

    def _read(self) -> list[dict[str, Any]]:
        found = []
        try:
            while data := os.read(self._from, 1 << 16):
                self._rest += data
        except BlockingIOError:
            pass
        *parts, self._rest = self._rest.split(b"\0")
        for part in parts:
            message = json.loads(part)
            if message.get("method") == "Network.requestWillBeSent":
                self.requests.append(message["params"]["request"]["url"])
            elif message.get("method") == "Runtime.exceptionThrown":
                self.errors.append(message["params"]["exceptionDetails"]["text"])
            elif message.get("method") == "Log.entryAdded":
                self.errors.append(message["params"]["entry"]["text"])
            found.append(message)
        return found

    def tab(self, url: str, width_px: int = 1_000, height_px: int = 900) -> "Tab":
        """A page at ``url``."""
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        tab = Tab(self, session, target)
        for name in ("Network", "Page", "Runtime", "Log"):
            self.ask(f"{name}.enable", session)
        tab.resize(width_px, height_px)
        self.ask("Page.navigate", session, url=url)
        return tab

    def close(self) -> None:
        """End it."""
        self._popen.kill()
        self._popen.wait()
        os.close(self._to)
        os.close(self._from)


class Tab:
    """A page."""

    def __init__(self, browser: Browser, session: str, target: str) -> None:
        self._browser = browser
        self._session = session
        self._target = target

    def close(self) -> None:
        """Shut it."""
        self._browser.ask("Target.closeTarget", targetId=self._target)

    def resize(self, width_px: int, height_px: int) -> None:
        """As a window of that size."""
        size = {"width": width_px, "height": height_px, "deviceScaleFactor": 1, "mobile": False}
        self._browser.ask("Emulation.setDeviceMetricsOverride", self._session, **size)

    def value(self, expression: str) -> Any:
        """Of a line of JavaScript; what it promises is waited for."""
        answer = self._browser.ask(
            "Runtime.evaluate", self._session, expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def until(self, expression: str, within_s: float = PATIENCE_S) -> None:
        """Wait until it is true."""
        end_s = time.monotonic() + within_s
        while not self.value(f"Boolean({expression})"):
            assert time.monotonic() < end_s, f"{expression}: {self.value('document.body.innerText')}"
            time.sleep(0.05)

    def click(self, query: str) -> None:
        """As a hand does: where it is, with the button of a mouse."""
        self.until(
            f"document.querySelector('{query}') && !document.querySelector('{query}').matches(':disabled')"
        )
        place = self.value(
            f"(() => {{ const e = document.querySelector('{query}'); e.scrollIntoView({{block: 'center'}});"
            " const r = e.getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2]; })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            values = {"type": kind, "x": place[0], "y": place[1], "button": "left", "clickCount": 1}
            self._browser.ask("Input.dispatchMouseEvent", self._session, **values)

    def type(self, query: str, text: str) -> None:
        """Into a field."""
        self.click(query)
        self._browser.ask("Input.insertText", self._session, text=text)

    def screenshot(self, path: Path) -> None:
        """The whole page."""
        size = self._browser.ask("Page.getLayoutMetrics", self._session)["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
        shot = self._browser.ask(
            "Page.captureScreenshot", self._session, format="png", clip=clip, captureBeyondViewport=True
        )
        path.write_bytes(base64.b64decode(shot["data"]))
