"""How a server is served in a process of its own, and what it tells: its port first, then a line for each it reads.

All servers have the same event loop (uvloop where it is installed), the same parser (httptools) and the same settings:
one process, no access log, no headers of a proxy, no lifespan.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import importlib.util
import json
import os
import secrets
import socket
import sys
import time
from collections.abc import Callable
from hashlib import sha256
from threading import Thread
from typing import Any

import uvicorn

LOOP = "uvloop" if importlib.util.find_spec("uvloop") is not None else "asyncio"
BACKLOG = 2_048


class Opened:
    """How many connections were opened."""

    count = 0


class Secret:
    """A key that clients send as ``Authorization: Bearer``; only its hash is kept, as a good user would."""

    def __init__(self) -> None:
        self.text = secrets.token_urlsafe(32)
        self._hash = sha256(self.text.encode()).digest()

    def is_it(self, text: str) -> bool:
        """Tell whether this is the key, in a time that tells nothing of it."""
        return hmac.compare_digest(sha256(text.encode()).digest(), self._hash)


def options() -> dict[str, Any]:
    """What the parent asks for: the program's argument."""
    found: dict[str, Any] = json.loads(sys.argv[1]) if len(sys.argv) > 1 else {}
    return found


def listening() -> socket.socket:
    """Listen on a port of the loopback."""
    return socket.create_server(("127.0.0.1", 0), backlog=BACKLOG)


def tell(listens: socket.socket, key: str = "") -> None:
    """Say the port, and answer the parent from now on: a line for a line. The process ends with its parent's pipe."""
    print(json.dumps({"port": listens.getsockname()[1], "key": key}), flush=True)
    Thread(target=_answer, daemon=True).start()


def _answer() -> None:
    for _ in sys.stdin:
        print(json.dumps({"cpu": time.process_time(), "opened": Opened.count}), flush=True)
    os._exit(0)


def counted(protocol: Any) -> Any:
    """Return a class of connections that counts how many are opened."""

    class Counted(protocol):  # type: ignore[misc]
        def connection_made(self, transport: Any) -> None:
            Opened.count += 1
            super().connection_made(transport)

    return Counted


def serve(app: Any, key: str = "") -> None:
    """Serve an ASGI app by uvicorn until the process is killed."""
    config = uvicorn.Config(
        app, loop=LOOP, http="httptools", ws="none", lifespan="off", interface="asgi3", log_level="error",
        access_log=False, proxy_headers=False, server_header=False, backlog=BACKLOG,
    )  # fmt: skip
    config.load()
    run(uvicorn.Server(config), key)


def run(server: Any, key: str = "") -> None:
    """Run a server of uvicorn, whose settings are loaded."""
    server.config.http_protocol_class = counted(server.config.http_protocol_class)
    listens = listening()
    tell(listens, key)
    server.run([listens])


def serve_protocol(make: Callable[[], asyncio.Protocol]) -> None:
    """Serve a bare protocol until the process is killed."""

    async def forever() -> None:
        listens = listening()
        server = await asyncio.get_running_loop().create_server(counted(make), sock=listens, backlog=BACKLOG)
        tell(listens)
        with contextlib.suppress(asyncio.CancelledError):
            await server.serve_forever()

    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(forever())


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    if LOOP != "uvloop":
        return None
    import uvloop

    return uvloop.new_event_loop
