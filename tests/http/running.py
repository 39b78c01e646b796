"""A service in the test's own event loop, with what reads its streams: for tests of runs that go on."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import quote

from client import API, PATIENCE, Client, Got

import flow
from flow.errors import StoreError
from flow.http import Service
from flow.store.in_memory import MemoryBackend
from flow.store.store import Store


def on_loop(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Run a test on an event loop of its own."""

    @functools.wraps(test)
    def within(*args: Any, **options: Any) -> None:
        async def bounded() -> None:
            async with asyncio.timeout(2 * PATIENCE):
                await test(*args, **options)

        asyncio.run(bounded())

    return within


class Door(Client):
    """A client on the test's event loop."""

    service: Service

    async def got(self, path: str, **options: Any) -> Got:
        return await self.asked("GET", path, **options)

    async def sent(self, path: str, body: Any = None, **options: Any) -> Got:
        return await self.asked("POST", path, {} if body is None else body, **options)

    async def run_of(self, name: str, inputs: Any = None, query: str = "?wait=0", **body: Any) -> Any:
        """Start a run that is answered 202; return its id."""
        got = await self.sent(f"{API}/workflows/{name}/runs{query}", {"inputs": inputs or {}, **body})
        assert got.status == 202, got
        assert got.headers["location"] == f"{API}/runs/{got.json['id']}"
        return got.json["id"]

    async def view(self, run_id: str) -> Any:
        got = await self.got(f"{API}/runs/{run_id}")
        assert got.status == 200, got
        return got.json

    async def cancel(self, run_id: str) -> Got:
        return await self.sent(f"{API}/runs/{run_id}/cancel")

    async def retry(self, run_id: str) -> Got:
        return await self.sent(f"{API}/runs/{run_id}/retry")

    async def signal(self, run_id: str, address: str, payload: Any) -> Got:
        return await self.sent(f"{API}/runs/{run_id}/signals/{quote(address, safe='')}", {"payload": payload})

    async def until(self, run_id: str, *statuses: str) -> Any:
        """Wait until a run has one of these statuses, and return how it looks then."""
        return await eventually(lambda: self._in(run_id, statuses))

    async def _in(self, run_id: str, statuses: tuple[str, ...]) -> Any:
        got = await self.got(f"{API}/runs/{run_id}")
        return got.json if got.status == 200 and got.json["status"] in statuses else None


async def eventually(wanted: Callable[[], Any]) -> Any:
    """Ask again at each turn of the loop until the answer is true."""
    async with asyncio.timeout(PATIENCE):
        while True:
            found = wanted()
            found = await found if isinstance(found, Awaitable) else found
            if found:
                return found
            await asyncio.sleep(0.005)


@contextlib.asynccontextmanager
async def served(workflows: Mapping[str, Any] | flow.Dag, **settings: Any) -> AsyncIterator[Door]:
    """Serve workflows (a Dag by its name) on the running loop; at the end the service is drained."""
    named = {workflows.name: workflows} if isinstance(workflows, flow.Dag) else workflows
    door = Door(Service(named, **settings), asyncio.Runner())
    door.service = door.app  # type: ignore[assignment]
    await door.service.start()
    try:
        yield door
    finally:
        await door.service.drain(0.0)


class Event:
    """What a stream has sent."""

    def __init__(self, block: str) -> None:
        fields = dict(line.partition(": ")[::2] for line in block.splitlines() if not line.startswith(":"))
        self.comment = block if block.startswith(":") else ""
        self.kind, self.id = fields.get("event", ""), fields.get("id", "")
        self.data = json.loads(fields["data"]) if "data" in fields else None

    def __repr__(self) -> str:
        return f"<{self.kind} {self.id} {self.data}{self.comment}>"


class Reader:
    """One reader of the stream of a run, as a client on a connection is.

    :ivar held: while it is not set, what is sent is not read.
    """

    def __init__(self, door: Door, run_id: str, last: str = "") -> None:
        self.status, self.text, self.pieces, self.body = 0, "", 0, b""
        self.held, self.gone = asyncio.Event(), asyncio.Event()
        self.held.set()
        headers = {"last-event-id": last} if last else {}
        scope = door._scope("GET", f"{API}/runs/{run_id}/events", headers, 0)
        self.task = asyncio.create_task(self._read(door.service, scope))

    async def _read(self, service: Any, scope: Any) -> None:
        await service(scope, self._receive, self._send)

    async def _receive(self) -> Any:
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Any) -> None:
        await self.held.wait()
        if message["type"] == "http.response.start":
            self.status = message["status"]
        else:
            self.pieces += 1
            self.body += message["body"]

    @property
    def events(self) -> list[Event]:
        return [Event(block) for block in self.body.decode().split("\n\n") if block and self.status == 200]

    def of(self, kind: str) -> list[Any]:
        return [event.data for event in self.events if event.kind == kind]

    async def until(self, wanted: Callable[[Reader], Any]) -> Any:
        return await eventually(lambda: wanted(self))

    async def ended(self) -> Reader:
        await asyncio.wait_for(self.task, PATIENCE)
        return self

    async def leave(self) -> Reader:
        """Close the connection."""
        self.gone.set()
        return await self.ended()


class Breaking:
    """A backend in memory that fails while ``broken`` says how."""

    def __init__(self) -> None:
        self.inner, self.broken = MemoryBackend(), ""
        self.name = "/srv/data/runs.db"

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.inner, name)
        if not callable(found):
            return found

        def call(*args: Any, **options: Any) -> Any:
            if self.broken:
                raise StoreError(f"store '{self.name}': {self.broken}")
            return found(*args, **options)

        return call


def breaking() -> tuple[Breaking, Store]:
    """A store that breaks when a test says so."""
    backend = Breaking()
    return backend, Store(backend)  # type: ignore[arg-type]


class Calls:
    """Counts calls of nodes, and lets some wait until the test opens them. Its nodes are functions of any thread."""

    def __init__(self) -> None:
        self.made: list[str] = []
        self.entered, self.opened = threading.Event(), threading.Event()
        self.fails = False

    def node(self, name: str, holds: bool = False) -> Callable[[], str]:
        def call() -> str:
            self.made.append(name)
            if holds:
                self.entered.set()
                assert self.opened.wait(PATIENCE)
            if self.fails and name == "b":
                raise ValueError("b is down")
            return name

        return call

    async def in_node(self) -> None:
        """Wait until a node is being called."""
        await eventually(self.entered.is_set)


def chain(calls: Calls, holds: str = "b", name: str = "chain", **options: Any) -> flow.Dag:
    """Three sync nodes after each other, of which one waits for the test; the last one cleans up."""
    dag = flow.Dag(name, **options)
    dag.add("a", calls.node("a", holds == "a"))
    dag.add("b", calls.node("b", holds == "b"), after=["a"])
    dag.add("c", calls.node("c"), after=["b"])
    dag.add("tidy", calls.node("tidy"), after=["c"], cleanup=True)
    return dag


def asking(name: str = "asking") -> flow.Dag:
    """A run that waits for a signal between two nodes."""
    dag = flow.Dag(name)

    @dag.node
    async def draft(text: str = "x") -> str:
        return text

    dag.signal("approve", after=["draft"], type=int)

    @dag.node
    async def publish(draft: str, approve: int) -> str:
        return draft * approve

    return dag
