"""What stands before the page: who may ask at all, and what a browser may do with the answers.

A request names the page's own address as its host, so that no other name may be pointed at the box (DNS
rebinding); one that changes something comes from the page itself (its ``Origin``), is small and is JSON,
which no form of another site can send.
"""

from collections.abc import Iterable
from typing import Final

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LARGEST: Final = 4_096
"""Bytes of a request's body. Chosen: a session's name and note are a thousand."""
HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src data:; form-action 'none'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}
"""Nothing is loaded but the page's own files, nothing of it is framed, kept or told to others."""


class Guard:
    """Answers what is refused itself, hands the rest on, and puts ``HEADERS`` on every answer.

    Parameters
    ----------
    hosts: names of the page, with port, as a browser sends them.
    """

    def __init__(self, app: ASGIApp, hosts: Iterable[str]) -> None:
        self._app = app
        self._hosts = frozenset(hosts)
        self.n_refused = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """An ASGI application."""
        if scope["type"] != "http":
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                given = {name.lower() for name, _ in message["headers"]}
                message["headers"] = [
                    *message["headers"],
                    *(
                        (name.lower().encode(), value.encode())
                        for name, value in HEADERS.items()
                        if name.lower().encode() not in given
                    ),
                ]
                self.n_refused += 400 <= message["status"] < 500
            await send(message)

        status, fault = self._fault(scope)
        answer: ASGIApp = PlainTextResponse(f"{fault}\n", status) if fault else self._app
        await answer(scope, receive, send_with_headers)

    def _fault(self, scope: Scope) -> tuple[int, str]:
        """Status and text of a refusal, or no text."""

        def given(name: str) -> list[str]:
            key = name.encode()
            return [value.decode("latin-1") for header, value in scope["headers"] if header == key]

        hosts = given("host")
        if len(hosts) != 1 or hosts[0].lower() not in self._hosts:
            return 421, "this is not the address of the page"
        if scope["method"] == "GET":
            return 200, ""
        if scope["method"] != "POST":
            return 405, "neither GET nor POST"
        if [origin.lower() for origin in given("origin")] != [f"http://{hosts[0].lower()}"]:
            return 403, "not asked from the page itself"
        if any(site not in ("same-origin", "none") for site in given("sec-fetch-site")):
            return 403, "not asked from the page itself"
        if [kind.partition(";")[0].strip().lower() for kind in given("content-type")] != ["application/json"]:
            return 415, "not JSON"
        lengths = given("content-length")
        if any(not n.isascii() or not n.isdigit() or len(n) > 9 or int(n) > LARGEST for n in lengths):
            return 413, f"more than {LARGEST} bytes"
        return 200, ""
