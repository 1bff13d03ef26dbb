"""The state of the box to every browser that watches: server-sent events, read once for all of them."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any, Final

from starlette.concurrency import run_in_threadpool

from firmware_py.commands.page.watching import public

EVERY_S: Final = 0.25
"""Chosen: as the monitor's; a curve of half an hour has more points than a screen."""
MOST_WATCHING: Final = 12
"""Browsers that watch at a time. Chosen: a box on a cable has one or two."""


class Broadcast:
    """Looks while somebody watches.

    Parameters
    ----------
    look: what is seen now. more: what each event tells besides.
    """

    def __init__(self, look: Callable[[], dict[str, Any]], more: Callable[[], dict[str, Any]]) -> None:
        self._look = look
        self._more = more
        self._news = asyncio.Condition()
        self._n_looks = 0
        self._seen = (b"", b"")
        self._looking: asyncio.Task[None] | None = None
        self._is_over = False
        self.n_watching = 0

    @property
    def is_full(self) -> bool:
        """Whether no further browser may watch."""
        return self.n_watching >= MOST_WATCHING

    async def events(self, is_known: Callable[[], bool]) -> AsyncIterator[bytes]:
        """An event after each look, until the browser leaves.

        Parameters
        ----------
        is_known: whether it has typed the PIN by now.
        """
        self.n_watching += 1
        try:
            if self._looking is None or self._looking.done():
                self._looking = asyncio.create_task(self._look_on())
            n_looks = -1
            while not self._is_over:
                async with self._news:
                    await self._news.wait_for(partial(self._is_new, n_looks))
                    n_looks = self._n_looks
                if self._seen[0]:
                    yield self._seen[is_known()]
        finally:
            self.n_watching -= 1

    def _is_new(self, n_looks: int) -> bool:
        return self._is_over or n_looks != self._n_looks

    async def close(self) -> None:
        """End every stream."""
        self._is_over = True
        async with self._news:
            self._news.notify_all()

    async def _look_on(self) -> None:
        while self.n_watching and not self._is_over:
            seen = {**await run_in_threadpool(self._look), **self._more()}
            self._seen = (_event({**public(seen), "may": False}), _event({**seen, "may": True}))
            async with self._news:
                self._n_looks += 1
                self._news.notify_all()
            await asyncio.sleep(EVERY_S)
        self._looking = None


def _event(seen: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(seen, separators=(",", ":"), allow_nan=False).encode() + b"\n\n"
