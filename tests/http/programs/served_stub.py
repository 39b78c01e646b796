"""An app of the same interface as flow.http.Service, in processes of their own: ``python served_stub.py OPTIONS``.

It prints its port (and those of ``/metrics``) once it listens. ``/run`` is answered when the app is drained,
``/stream`` goes on until then, ``/stuck`` ends by no drain, ``/large`` writes 8 MB.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import sys
from collections.abc import Iterator
from typing import Any

import msgspec


class Stub:
    def __init__(self) -> None:
        self.draining = False
        self.connections: Any = None
        self.drained = asyncio.Event()
        self.streams: set[asyncio.Task[Any]] = set()
        self.open = 0
        self.loads = 0

    async def start(self) -> None:
        self.started = True

    async def drain(self, grace: float) -> None:
        for stream in self.streams:
            stream.cancel()
        self.drained.set()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        assert self.started
        path = scope["path"]
        if path == "/run":
            print("run", flush=True)
            await self.drained.wait()
            await answer(send, 200, {"status": "completed"})
        elif path == "/stuck":
            await asyncio.Event().wait()
        elif path == "/stream":
            await self.stream(receive, send)
        elif path == "/large":
            await large(send)
        elif path == "/early":
            await answer(send, 413, {})
        elif path == "/ready":
            await answer(send, 503 if self.draining else 200, {})
        elif path == "/echo":
            message: dict[str, Any] = {"more_body": True}
            body = b""
            while message["more_body"]:
                message = await receive()
                body += message["body"]
            await answer(send, 200, {"size": len(body), "headers": len(scope["headers"])})
        else:
            state = {"pid": os.getpid(), "connections": self.connections(), "open": self.open, "path": path}
            await answer(send, 200, state)

    async def stream(self, receive: Any, send: Any) -> None:
        self.open += 1
        gone = asyncio.ensure_future(gone_of(receive))
        self.streams.add(gone)
        try:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"first", "more_body": True})
            with contextlib.suppress(asyncio.CancelledError):
                await gone
            await send({"type": "http.response.body", "body": b"last", "more_body": False})
        finally:
            self.streams.discard(gone)
            self.open -= 1


async def gone_of(receive: Any) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def large(send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    for _ in range(128):
        await send({"type": "http.response.body", "body": b"x" * 2**16, "more_body": True})
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def answer(send: Any, status: int, value: Any) -> None:
    body = msgspec.json.encode(value)
    headers = [(b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


@contextlib.contextmanager
def made(fails: bool) -> Iterator[Stub]:
    if fails:
        raise SystemExit(7)
    yield Stub()


def main(
    workers: int = 1, port: int = 0, fails: bool = False, metrics: bool = False, linger: float = 5.0, without: str = "",
    **settings: Any,
) -> int:  # fmt: skip
    if without:
        sys.modules[without] = None  # type: ignore[assignment]  # it cannot be imported
    from flow.http.limits import Limits
    from flow.http.server import server
    from flow.http.server.listening import listen
    from flow.http.server.server import Serving, serve
    from flow.http.server.workers import Workers

    server.LINGER = linger  # type: ignore[misc]
    limits = Limits(**settings.pop("limits", {}))
    serving = Serving(limits=limits, **settings)
    sockets = listen("127.0.0.1", [port])
    others = listen("127.0.0.1", [0] * workers if metrics else [])
    print(*(one.getsockname()[1] for one in [*sockets, *others]), flush=True)
    if workers > 1:
        return Workers(functools.partial(made, fails), workers, sockets, serving, others).run()
    with made(fails) as app:
        serve(app, sockets, serving, others[0] if others else None)
    return 0


if __name__ == "__main__":
    sys.exit(main(**msgspec.json.decode(sys.argv[1])))
