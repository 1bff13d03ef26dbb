"""A browser without a browser: asks an ASGI application within the process."""

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any

HOST = "127.0.0.1:8080"


@dataclass
class Answer:
    """Status, headers and body."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Client:
    """Keeps its cookie; ``host`` and ``origin`` are what it says of itself."""

    def __init__(self, app: Any, host: str = HOST) -> None:
        self._app = app
        self._host = host
        self._runner = asyncio.Runner()
        self.cookie = ""

    def close(self) -> None:
        self._runner.close()

    def get(self, path: str, **headers: str) -> Answer:
        return self.ask("GET", path, b"", headers)

    def post(self, path: str, values: Any = None, **headers: str) -> Answer:
        body = values if isinstance(values, bytes) else json.dumps({} if values is None else values).encode()
        own = {"origin": f"http://{self._host}", "content_type": "application/json"}
        return self.ask("POST", path, body, {**own, **headers})

    def ask(self, method: str, path: str, body: bytes, headers: dict[str, str], n_events: int = 0) -> Answer:
        """The answer; of a stream its first ``n_events``, then the browser leaves."""
        return self._runner.run(self._ask(method, path, body, headers, n_events))

    async def _ask(
        self, method: str, path: str, body: bytes, headers: dict[str, str], n_events: int
    ) -> Answer:
        answer, is_gone = Answer(), asyncio.Event()
        given = {"host": self._host, "content-length": str(len(body)), **headers}
        if self.cookie:
            given["cookie"] = self.cookie
        sent = [(n.replace("_", "-").encode(), v.encode("latin-1")) for n, v in given.items() if v]
        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method,
            "path": path, "raw_path": path.encode(), "query_string": b"", "root_path": "", "scheme": "http",
            "headers": sent, "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 8080),
        }  # fmt: skip
        is_asked = False

        async def receive() -> dict[str, Any]:
            nonlocal is_asked
            if not is_asked:
                is_asked = True
                return {"type": "http.request", "body": body, "more_body": False}
            await is_gone.wait()
            return {"type": "http.disconnect"}

        async def send(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start":
                answer.status = message["status"]
                answer.headers = {n.decode(): v.decode() for n, v in message["headers"]}
            else:
                answer.body += message.get("body", b"")
                if n_events and answer.body.count(b"\n\n") >= n_events:
                    is_gone.set()

        await self._app(scope, receive, send)
        if "set-cookie" in answer.headers:
            self.cookie = answer.headers["set-cookie"].partition(";")[0]
        return answer
