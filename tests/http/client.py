"""A client in the process of the service: it speaks ASGI to an app, without sockets. :func:`serving` has one."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar
from urllib.parse import unquote

import pytest

pytest.importorskip("starlette")

from flow.http import Service

T = TypeVar("T")
API = "/api/v1"
PATIENCE = 20.0
"""Seconds after which what a test waits for will not come."""


class Got:
    """An answer. :ivar all: its headers, in their order. :ivar parts: of its body, as they came."""

    def __init__(self) -> None:
        self.status = 0
        self.all: list[tuple[str, str]] = []
        self.parts: list[bytes] = []

    @property
    def headers(self) -> dict[str, str]:
        return dict(self.all)

    @property
    def body(self) -> bytes:
        """The body, unpacked."""
        body = b"".join(self.parts)
        return gzip.decompress(body) if self.headers.get("content-encoding") == "gzip" else body

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def text(self) -> str:
        return self.body.decode()

    def __repr__(self) -> str:
        return f"<{self.status} {self.body[:2_000]!r}>"


class Client:
    """Asks an app.

    ``get``, ``post`` and ``ask`` are for tests without an event loop; ``asked`` is for those in one.

    :param headers: of all requests. :param address: who asks. :param root: ``root_path``, as a server sets it.
    """

    def __init__(
        self,
        app: Callable[..., Awaitable[None]],
        runner: asyncio.Runner,
        headers: Mapping[str, str] | None = None,
        address: str = "127.0.0.1",
        root: str = "",
    ) -> None:
        self.app = app
        self.runner = runner
        self.headers = {"host": "localhost:8080", **(headers or {})}
        self.address = address
        self.root = root

    def like(self, address: str | None = None, **headers: str) -> Client:
        """Return a client with other headers (``_`` is ``-``), or of another address."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return Client(self.app, self.runner, {**self.headers, **named}, address or self.address, self.root)

    def run(self, function: Callable[[], Awaitable[T]]) -> T:
        """Run an async function on the event loop of the service."""

        async def within() -> T:
            async with asyncio.timeout(PATIENCE):
                return await function()

        return self.runner.run(within())

    def ask(self, method: str, url: str, body: Any = None, **options: Any) -> Got:
        return self.run(lambda: self.asked(method, url, body, **options))

    def get(self, url: str, **options: Any) -> Got:
        return self.ask("GET", url, **options)

    def post(self, url: str, body: Any = None, **options: Any) -> Got:
        return self.ask("POST", url, {} if body is None else body, **options)

    def start(self, name: str, body: Any = None, query: str = "", **options: Any) -> Got:
        """Ask for a run of a workflow."""
        return self.post(f"{API}/workflows/{name}/runs{query}", body, **options)

    async def asked(
        self,
        method: str,
        url: str,
        body: Any = None,
        *,
        headers: Mapping[str, str] | Sequence[tuple[str, str]] = (),
        chunks: Sequence[bytes] | None = None,
        more: Callable[[], Awaitable[bytes]] | None = None,
    ) -> Got:
        """Ask, and wait for the whole answer.

        :param body: JSON, or bytes as they are. :param headers: besides those of the client; "" leaves one out.
        :param chunks: the body in parts, without its length. :param more: gives further chunks, until an empty one.
        """
        got, gone = Got(), asyncio.Event()
        sent = chunks if chunks is not None else [_bytes(body)]
        todo = [{"type": "http.request", "body": part, "more_body": True} for part in sent]
        if more is None:
            todo[-1]["more_body"] = False

        async def receive() -> dict[str, Any]:
            if todo:
                return todo.pop(0)
            if more is not None and not gone.is_set():
                part = await more()
                return {"type": "http.request", "body": part, "more_body": bool(part)}
            await gone.wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                assert not got.status, "two answers"
                got.status = message["status"]
                got.all = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in message["headers"]]
            else:
                got.parts.append(message.get("body", b""))

        try:
            scope = self._scope(method, url, headers, None if chunks is not None or more else len(sent[0]))
            await self.app(scope, receive, send)
        finally:
            gone.set()
        assert got.status, "no answer"
        return got

    def _scope(self, method: str, url: str, headers: Any, length: int | None) -> dict[str, Any]:
        path, _, query = url.partition("?")
        named = dict(self.headers)
        if method == "POST":
            named["content-type"] = "application/json"
            if length is not None:
                named["content-length"] = str(length)
        named.update(headers)
        return {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "scheme": "http",
            "path": self.root + unquote(path), "raw_path": (self.root + path).encode(), "root_path": self.root,
            "query_string": query.encode(), "server": ("127.0.0.1", 8080), "client": (self.address, 50_000),
            "headers": [(name.encode(), value.encode("latin-1")) for name, value in named.items() if value],
        }  # fmt: skip


def _bytes(body: Any) -> bytes:
    return body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()


@contextlib.contextmanager
def serving(workflows: Any, **settings: Any) -> Iterator[Client]:
    """Serve workflows; yield a client of the service, which is its ``app``. At the end the service is drained."""
    service = Service(workflows, **settings)
    with asyncio.Runner() as runner:
        client = Client(service, runner)
        try:
            yield client
        finally:
            client.run(lambda: service.drain(0.0))
