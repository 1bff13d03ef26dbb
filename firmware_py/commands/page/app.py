"""The page: what is asked, and what is done for it. Looking is free; a panic too; all else needs the PIN."""

import math
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, Final

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from firmware_py.board.map import LONGEST_MARK, NAME_BYTES, NOTE_BYTES
from firmware_py.commands.page.asked import NotAsked, asked
from firmware_py.commands.page.broadcast import Broadcast
from firmware_py.commands.page.guard import Guard
from firmware_py.commands.page.keys import KEEPS_S, Keys
from firmware_py.commands.page.papers import Papers
from firmware_py.commands.page.wires import Wires
from firmware_py.devices.session.sessions import glances
from firmware_py.report.page import POLICY
from kelly_edge.contract import KNOB_RANGES
from kelly_edge.errors import KellyError

ASSETS: Final = Path(__file__).with_name("assets")
KINDS: Final = {"page.html": "text/html", "page.js": "text/javascript", "page.css": "text/css"}
COOKIE: Final = "kelly-edge"
Handler = Callable[[Request], Awaitable[Response]]


class Page:
    """The page's application (``app``), and what it counts.

    Parameters
    ----------
    hosts: names of the page, with port. look: what is seen of the box.
    """

    def __init__(
        self, wires: Wires, keys: Keys, look: Callable[[], dict[str, Any]], hosts: Iterable[str]
    ) -> None:
        self._wires = wires
        self._keys = keys
        self._papers = Papers(wires)
        self.broadcast = Broadcast(look, self._counts)
        words: Mapping[str, tuple[dict[str, type], Callable[..., Any]]] = {
            "resume": ({}, wires.resume),
            "start": ({"programme": str, "name": str, "note": str}, wires.start),
            "stop": ({}, wires.stop),
            "mark": ({"text": str}, wires.mark),
            "programme": ({"programme": str}, wires.choose),
            "turn": ({"knob": str, "value": float}, self._turn),
        }
        routes = [
            *(Route(f"/{name}", partial(_file, name)) for name in KINDS if name != "page.html"),
            Route("/", partial(_file, "page.html")),
            Route("/box", self._box),
            Route("/events", self._events),
            Route("/pin", self._pin, methods=["POST"]),
            Route("/leave", self._leave, methods=["POST"]),
            Route("/panic", self._panic, methods=["POST"]),
            *(
                Route(f"/{word}", self._behind_pin(partial(self._word, *what)), methods=["POST"])
                for word, what in words.items()
            ),
            Route("/sessions", self._behind_pin(self._sessions)),
            Route("/sessions/{name}/report", self._behind_pin(self._report)),
            Route("/sessions/{name}/export", self._behind_pin(self._export)),
        ]
        self.app = Guard(
            Starlette(routes=routes, exception_handlers={NotAsked: _not_asked, KellyError: _refused}), hosts
        )

    def _counts(self) -> dict[str, Any]:
        counted = {"refused": self.app.n_refused, "wrong_pins": self._keys.n_wrong}
        return {"page": {"watching": self.broadcast.n_watching, **counted}}

    def _is_known(self, request: Request) -> bool:
        return self._keys.is_known(request.cookies.get(COOKIE, ""))

    def _behind_pin(self, handler: Handler) -> Handler:
        async def guarded(request: Request) -> Response:
            if not self._is_known(request):
                return JSONResponse({"fault": "type the PIN first: the box shows it"}, 401)
            return await handler(request)

        return guarded

    async def _box(self, request: Request) -> Response:
        """What does not change while the box runs."""
        lengths = {"name": NAME_BYTES, "note": NOTE_BYTES, "text": LONGEST_MARK}
        voices = self._wires.settings.voice.names
        return JSONResponse(
            {"programmes": self._wires.programmes, "knobs": KNOB_RANGES, "voices": voices, "lengths": lengths}
        )

    async def _events(self, request: Request) -> Response:
        if self.broadcast.is_full:
            return JSONResponse({"fault": "too many browsers watch; close one"}, 503)
        events = self.broadcast.events(lambda: self._is_known(request))
        return StreamingResponse(events, media_type="text/event-stream")

    async def _pin(self, request: Request) -> Response:
        values = await asked(request, {"pin": str})
        answer = self._keys.try_pin(values["pin"])
        if not answer.token:
            wait_s = math.ceil(answer.wait_s)
            headers = {"Retry-After": str(wait_s)} if wait_s else {}
            return JSONResponse({"wait_s": wait_s, "n_left": answer.n_left}, 429 if wait_s else 403, headers)
        response = Response(status_code=204)
        response.set_cookie(COOKIE, answer.token, max_age=int(KEEPS_S), httponly=True, samesite="strict")
        return response

    async def _leave(self, request: Request) -> Response:
        await asked(request, {})
        self._keys.forget(request.cookies.get(COOKIE, ""))
        response = Response(status_code=204)
        response.delete_cookie(COOKIE, httponly=True, samesite="strict")
        return response

    async def _panic(self, request: Request) -> Response:
        """Without a PIN: silence is what anybody may ask for. To go on needs it."""
        await asked(request, {})
        # Said before anything may have to wait.
        self._wires.hush()
        return JSONResponse(await run_in_threadpool(self._wires.panic))

    async def _word(self, fields: dict[str, type], word: Callable[..., Any], request: Request) -> Response:
        values = await asked(request, fields)
        return JSONResponse(await run_in_threadpool(partial(word, **values)) or {})

    def _turn(self, knob: str, value: float) -> None:
        if knob not in KNOB_RANGES:
            raise NotAsked("there is no such knob")
        low, high = KNOB_RANGES[knob]
        if not low <= value <= high:
            raise NotAsked(f"{knob} is not within {low:g}..{high:g}")
        self._wires.turn(knob, value)

    async def _sessions(self, request: Request) -> Response:
        found = await run_in_threadpool(glances, self._wires.sessions)
        return JSONResponse([asdict(glance) for glance in reversed(found)])

    async def _report(self, request: Request) -> Response:
        html = await self._papers.report(request.path_params["name"])
        headers = {"Content-Security-Policy": f"{POLICY}; sandbox; frame-ancestors 'none'"}
        return Response(html, media_type="text/html; charset=utf-8", headers=headers)

    async def _export(self, request: Request) -> Response:
        name = request.path_params["name"]
        packed = await self._papers.export(name)
        headers = {"Content-Disposition": f'attachment; filename="{name}.zip"'}
        return Response(packed, media_type="application/zip", headers=headers)


async def _file(name: str, request: Request) -> Response:
    return Response((ASSETS / name).read_bytes(), media_type=f"{KINDS[name]}; charset=utf-8")


async def _not_asked(request: Request, error: Exception) -> Response:
    return JSONResponse({"fault": str(error)}, 400)


async def _refused(request: Request, error: Exception) -> Response:
    return JSONResponse({"fault": str(error)}, 409)
