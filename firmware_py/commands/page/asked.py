"""What a request asks for: a small JSON object with exactly the fields that are expected, of their types."""

import json
import math
from collections.abc import Mapping
from typing import Any

from starlette.requests import Request

from firmware_py.commands.page.guard import LARGEST


class NotAsked(Exception):
    """A request that is not what it must be; its text is for the browser."""


async def asked(request: Request, fields: Mapping[str, type]) -> dict[str, Any]:
    """The values of ``fields``: texts, or finite numbers.

    Raises
    ------
    NotAsked: too large, no JSON object, a field too many or too few, a wrong type.
    """
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > LARGEST:
            raise NotAsked(f"more than {LARGEST} bytes")
    try:
        found = json.loads(body, parse_constant=_no_number)
    except (ValueError, RecursionError):
        raise NotAsked("this is no JSON") from None
    if not isinstance(found, dict) or set(found) != set(fields):
        raise NotAsked(f"these are not the fields {', '.join(fields) or '(none)'}")
    return {name: _typed(name, found[name], kind) for name, kind in fields.items()}


def _no_number(text: str) -> None:
    raise ValueError(text)


def _typed(name: str, value: object, kind: type) -> Any:
    if kind is str and isinstance(value, str):
        return value
    if kind is float and isinstance(value, int | float) and not isinstance(value, bool):
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if math.isfinite(number):
            return number
    raise NotAsked(f"{name} is not a {'text' if kind is str else 'finite number'}")
