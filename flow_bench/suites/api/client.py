"""Sends one request again and again over many connections, and tells what came back: a process of its own.

It is what drives the servers where wrk is not installed, and what keeps a rate, which wrk does not: a request is due by
the clock, and its latency is counted from then on, however late it is sent.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import json
import sys
from array import array
from collections import deque
from collections.abc import Mapping
from time import perf_counter
from typing import Any, cast

import httptools

from flow_bench.harness.rows import percentile

_FIRST = 10.0
"""Seconds after which nobody waits any more for the first answer."""


class Client:
    """All connections, and what they saw.

    :param job: :class:`flow_bench.suites.api.load.Job`, as a mapping.
    """

    def __init__(self, job: Mapping[str, Any]) -> None:
        self.job = job
        self.request = request_of(job)
        self.took = array("d")
        self.refused = self.lost = 0
        self.ends = False
        self.first = asyncio.Event()
        self.idle: deque[Connection] = deque()
        self.due: deque[float] = deque()
        self.tasks: set[asyncio.Task[None]] = set()

    async def run(self, seconds: float) -> dict[str, float]:
        """Send for so long; return what :class:`flow_bench.suites.api.load.Seen` tells."""
        for _ in range(self.job["connections"]):
            await self.open()
        began = perf_counter()
        if self.job["rate"]:
            await self._keep_rate(began, seconds)
        else:
            while self.idle:
                self.idle.popleft().send(perf_counter())
            await asyncio.sleep(seconds)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.first.wait(), _FIRST)  # a busy machine, and a short time
        self.ends = True
        elapsed = perf_counter() - began
        if not self.took:
            raise SystemExit("no request was answered")
        found = {f"p{percent}": percentile(self.took, percent) for percent in (50, 95, 99)}
        return found | {"requests": len(self.took), "seconds": elapsed, "refused": self.refused, "lost": self.lost}

    async def open(self) -> None:
        """Open one more connection."""
        loop = asyncio.get_running_loop()
        await loop.create_connection(lambda: Connection(self), "127.0.0.1", self.job["port"])

    def open_another(self) -> None:
        """Open a connection in place of one that was closed."""
        if not self.ends:
            task = asyncio.get_running_loop().create_task(self.open())
            self.tasks.add(task)
            task.add_done_callback(self._opened)

    def _opened(self, task: asyncio.Task[None]) -> None:
        self.tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self.lost += 1

    def ready(self, connection: Connection) -> None:
        """A connection may send."""
        if self.ends:
            return
        if self.due:
            connection.send(self.due.popleft())
        elif self.job["rate"] or not self.took:
            self.idle.append(connection)
        else:
            connection.send(perf_counter())

    async def _keep_rate(self, began: float, seconds: float) -> None:
        rate = self.job["rate"]
        for number in range(round(rate * seconds)):
            due = began + number / rate
            wait = due - perf_counter()
            if wait > 0:
                await asyncio.sleep(wait)
            if self.idle:
                self.idle.popleft().send(due)
            else:
                self.due.append(due)


class Connection(asyncio.Protocol):
    """One connection, with one request at a time."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.began = 0.0
        self.busy = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.parser = httptools.HttpResponseParser(self)
        self.client.ready(self)

    def send(self, due: float) -> None:
        """Send the request. :param due: when it should have been."""
        self.began, self.busy = due, True
        self.transport.write(self.client.request)

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_message_complete(self) -> None:
        """An answer has come whole; httptools calls it."""
        client = self.client
        self.busy = False
        if not client.ends:
            client.took.append(perf_counter() - self.began)
            if len(client.took) == 1:
                client.first.set()
            client.refused += self.parser.get_status_code() >= 400
        if self.parser.should_keep_alive():
            client.ready(self)
        else:
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        client = self.client
        if self.busy and not client.ends:
            client.lost += 1
        if self in client.idle:
            client.idle.remove(self)
        client.open_another()


def request_of(job: Mapping[str, Any]) -> bytes:
    """Return the request as it is sent."""
    body: bytes = job["body"].encode()
    headers = {"Host": f"127.0.0.1:{job['port']}", **job["headers"], "Content-Length": str(len(body))}
    lines = [f"POST {job['path']} HTTP/1.1", *[f"{name}: {text}" for name, text in headers.items()], "", ""]
    return "\r\n".join(lines).encode() + body


def main() -> None:
    """Read the job from the standard input and print what was seen."""
    given = json.load(sys.stdin)
    factory: Any = None
    if importlib.util.find_spec("uvloop") is not None:
        import uvloop

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        print(json.dumps(runner.run(Client(given["job"]).run(given["seconds"]))))


if __name__ == "__main__":
    main()
