"""One process of a service: uvicorn's server, which begins to drain at the first signal."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import importlib.util
import logging
import math
import os
import signal
import socket
import sys
import time
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from types import FrameType
from typing import Any, Final, Protocol, TypeAlias

import msgspec
import uvicorn

from flow.http.limits import Limits
from flow.http.server.listening import BACKLOG, allow_many_connections
from flow.http.server.protocols import protocol
from flow.http.server.watched import period_of

Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]

LINGER: Final = 5.0
"""Seconds that clients have, once all runs have ended, to read their answers."""

SWITCH: Final = 0.5e-3
"""Seconds for which a thread that computes may keep the others waiting, that of the event loop among them. By CPython's
5 ms eight nodes that compute would hold each answer for 100 ms and more."""

MAX_HEAD: Final = 32 * 2**10
"""Bytes of a head that h11 takes; httptools: see :mod:`flow.http.server.by_httptools`."""


class App(Protocol):
    """What is served: :class:`flow.http.service.Service`.

    :ivar draining: the service takes no new runs, and ``/ready`` says so.
    :ivar connections: returns how many connections there are; the server sets it.
    """

    draining: bool
    connections: Callable[[], int]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""

    async def start(self) -> None:
        """Begin, on the loop that serves."""

    async def drain(self, grace: float) -> None:
        """End streams at once, and runs within ``grace`` seconds."""


class Serving(msgspec.Struct, frozen=True, kw_only=True):
    """How a service is served.

    :ivar limits: of the service; those of connections hold here.
    :ivar grace: seconds that runs have to end, once the service is to end.
    :ivar notice: seconds in which ``/ready`` says so before connections are refused, for load balancers.
    """

    limits: Limits = Limits()
    grace: float = 30.0
    notice: float = 0.0


class Server(uvicorn.Server):
    """Serves an app until a signal comes; then it drains, and a second signal ends the process at once.

    The first SIGTERM or SIGINT sets ``draining``; ``notice`` seconds later no connection is accepted any more, and the
    app ends its streams and runs. Then connections are closed, and the process ends with 0.

    :param metrics: a socket that serves ``/metrics`` and nothing else.
    :param told_by_signals: False for a worker: its parent tells it when to end (:meth:`end`), so that a signal which
        comes to all processes at once is no second one. SIGTERM ends it as well, once or often.
    :param ready: is called once connections are accepted.
    """

    def __init__(
        self,
        app: App,
        serving: Serving,
        *,
        metrics: socket.socket | None = None,
        told_by_signals: bool = True,
        ready: Callable[[], object] | None = None,
    ) -> None:
        super().__init__(_config(app, serving.limits))
        self._app = app
        self._serving = serving
        self._metrics = metrics
        self._told_by_signals = told_by_signals
        self._ready = ready
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ending = asyncio.Event()
        self._ticks: asyncio.Task[None] | None = None

    def end(self) -> None:
        """Begin to drain. May be called from any thread, and by a handler of signals."""
        self.should_exit = True
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # it is closed: the end has come
                self._loop.call_soon_threadsafe(self._ending.set)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Take a signal. uvicorn would keep it, and raise it again at the end."""
        if not self._told_by_signals:
            if sig != signal.SIGINT:  # from a terminal it comes to the parent as well
                self.end()
        elif self.should_exit:
            end_now(sig)
        else:
            self.end()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start the app, then accept connections."""
        sys.setswitchinterval(min(SWITCH, sys.getswitchinterval()))
        self._loop = asyncio.get_running_loop()
        self._app.connections = lambda: len(self.server_state.connections)
        await self._app.start()
        await self.on_tick(0)  # headers of all answers
        gc.collect()
        gc.freeze()  # what lives as long as the process is not looked through again and again: 20 ms each time
        await super().startup(sockets)
        if self._metrics is not None:
            self.servers.append(await self._loop.create_server(self._metrics_connection, sock=self._metrics))
        self._ticks = asyncio.create_task(self._tick())
        if self.should_exit:
            self._ending.set()
        elif self._ready is not None:
            self._ready()

    def _metrics_connection(self) -> asyncio.Protocol:
        config = _config(_OnlyMetrics(self._app), self._serving.limits)
        made: Any = protocol()
        connection: asyncio.Protocol = made(config=config, server_state=self.server_state, app_state={})
        return connection

    async def main_loop(self) -> None:
        """Wait for the end."""
        await self._ending.wait()

    async def _tick(self) -> None:
        """Make the Date of answers anew, and look at connections: O(connections) a second, 0.4 us each."""
        limits = self._serving.limits
        period = period_of(limits)
        while True:
            await self.on_tick(0)
            now = time.monotonic()
            for connection in list(self.server_state.connections):
                connection.look(now, limits)  # type: ignore[union-attr]  # all are Watched
            await asyncio.sleep(period)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Drain, and close all connections."""
        self._app.draining = True
        if self._serving.notice:
            await asyncio.sleep(self._serving.notice)
        for server in self.servers:
            server.close()
        for one in sockets or ():
            one.close()
        try:
            await self._app.drain(self._serving.grace)
        finally:
            await self._close_connections()
            if self._ticks is not None:
                self._ticks.cancel()
            await self._end_tasks()

    async def _end_tasks(self) -> None:
        """End what is left on the loop: runs that the app has left behind.

        The end of the loop would wait for them. A run that waits for a thread which never returns has no end, and no
        exception ends it: the process ends here then.
        """
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        if left and (await asyncio.wait(left, timeout=1.0))[1]:
            with contextlib.suppress(Exception):
                print("ended without waiting for nodes that do not end", file=sys.stderr, flush=True)
                sys.stdout.flush()
                logging.shutdown()
            os._exit(0)

    async def _close_connections(self) -> None:
        """Close connections once their answers are written; those that are not read are cut off."""
        state = self.server_state
        until = time.monotonic() + LINGER
        while (state.connections or state.tasks) and time.monotonic() < until:
            for connection in list(state.connections):
                connection.shutdown()
            await asyncio.sleep(0.01)
        for connection in list(state.connections):
            connection.transport.abort()
        await asyncio.sleep(0)  # requests whose handlers ask for it are told that their client has gone
        if state.tasks:
            logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)  # it would log each of these with a traceback
            for task in list(state.tasks):
                task.cancel()
            await asyncio.wait(list(state.tasks), timeout=1.0)


class _OnlyMetrics:
    """The part of an app that is ``/metrics``."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/metrics":
            await self._app(scope, receive, send)
            return
        body = b'{"type":"about:blank","title":"Not Found","status":404,"detail":"here is /metrics alone"}'
        headers = [(b"content-type", b"application/problem+json"), (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 404, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def _config(app: Any, limits: Limits) -> uvicorn.Config:
    """Return uvicorn's settings: nothing of its own in answers, no lifespan, no web sockets, no trust in a proxy."""
    config = uvicorn.Config(
        app,
        loop="uvloop" if importlib.util.find_spec("uvloop") is not None else "asyncio",
        http=protocol(),
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        log_level="error",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        backlog=BACKLOG,
        timeout_keep_alive=math.ceil(limits.keep_alive),
        h11_max_incomplete_event_size=MAX_HEAD,
    )
    config.load()
    return config


def end_now(sig: int) -> None:
    """End the process without its cleanup, by the exit code of a process that the signal ends."""
    with contextlib.suppress(Exception):
        print("ended at once, by a second signal", file=sys.stderr, flush=True)
    os._exit(128 + sig)


def serve(app: App, sockets: Sequence[socket.socket], serving: Serving, metrics: socket.socket | None = None) -> None:
    """Serve ``app`` in this process until SIGTERM or SIGINT comes and all has ended: see :class:`Server`.

    :param sockets: listen already, and are closed at the end. :raises Exception: what the app's ``start`` raises.
    """
    allow_many_connections()
    Server(app, serving, metrics=metrics).run(list(sockets))


__all__ = ["App", "Receive", "Scope", "Send", "Server", "Serving", "end_now", "serve"]
