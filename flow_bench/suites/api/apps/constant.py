"""A bare ASGI app: it reads the body and answers a constant, as many bytes as the others do."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from flow_bench.suites.api import serving

BODY = (
    b'{"id":"019a0e5c5a5d7cc4b2a4a5a5a5a5a5a5","status":"completed","outputs":{"receipt":{"total":108.9,'
    b'"discount":12.100000000000001,"note":462}},"errors":{},"counts":{"completed":3},"seconds":0.000052}'
)
HEADERS = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(BODY))]


async def app(scope: Any, receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]) -> None:
    """Answer any request."""
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
    await send({"type": "http.response.body", "body": BODY})


if __name__ == "__main__":
    serving.serve(app)
