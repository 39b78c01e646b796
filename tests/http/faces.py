"""Workflows that the tests of the service's faces share, and a real server in a thread."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Iterator
from datetime import date
from enum import Enum
from typing import Annotated, Any, Literal

import msgspec
import uvicorn

import flow
from flow.http import Service


class Size(Enum):
    SMALL = "small"
    LARGE = "large"


class Place(msgspec.Struct):
    """Where something goes."""

    street: Annotated[str, msgspec.Meta(min_length=1, max_length=40)]
    code: int | None = None


class Order(msgspec.Struct):
    """What somebody wants."""

    item: str
    to: Place
    size: Size = Size.SMALL
    count: Annotated[int, msgspec.Meta(ge=1, le=99)] = 1


class Strange:
    """No JSON makes it."""


class Given(msgspec.Struct):
    """What :func:`odd` takes."""

    token: Annotated[str, flow.Secret]
    anything: Any = None
    strange: Strange | None = None


def orders() -> flow.Dag:
    """Sync, of Structs, enums and dates."""
    dag = flow.Dag("orders")

    @dag.node
    def priced(order: Order, day: date, kind: Literal["a", "b"] = "a", note: str | None = None) -> float:
        return order.count * (2.0 if kind == "a" else 3.0)

    @dag.node
    def told(priced: float, order: Order) -> dict[str, Any]:
        return {"price": priced, "to": order.to}

    return dag


def later() -> flow.Dag:
    """Async."""
    dag = flow.Dag("later")

    @dag.node
    async def first(numbers: tuple[int, ...] = (1, 2)) -> int:
        await asyncio.sleep(0)
        return len(numbers)

    @dag.node
    async def second(first: int, factor: float = 2.0) -> float:
        return max(-1e300, min(1e300, first * factor))  # JSON has no number for an infinity

    return dag


def broken(message: str = 'it is <b>broken</b> & "quoted"\nsecond line') -> flow.Dag:
    """Fails in the middle."""
    dag = flow.Dag("broken")

    @dag.node
    def load(size: int = 1) -> int:
        return 1

    @dag.node
    def parse(load: int) -> int:
        raise ValueError(message)

    @dag.node
    def kept(parse: int) -> int:
        return parse

    return dag


def asking() -> flow.Dag:
    """Waits for a signal, but not for long."""
    dag = flow.Dag("asking", config=flow.Config(timeout=0.5))

    @dag.node
    def draft(text: str = "hello") -> str:
        return text

    dag.signal("approve", type=bool, after=["draft"])

    @dag.node
    def publish(draft: str, approve: bool) -> str:
        return draft if approve else ""

    return dag


def odd() -> flow.Dag:
    """Takes what no JSON makes, anything, and a secret."""
    dag = flow.Dag("odd", inputs=Given)

    @dag.node
    def take(token: str, anything: Any, strange: Strange | None) -> Strange:
        return Strange()

    @dag.node
    def leaks(token: str, take: Strange) -> str:
        return f"it is {token}"

    return dag


def flows() -> dict[str, flow.Dag]:
    return {"orders": orders(), "later": later(), "broken": broken(), "asking": asking(), "odd": odd()}


@contextlib.contextmanager
def listening(service: Service) -> Iterator[str]:
    """Serve in a thread; yield the address."""
    door = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(service, log_level="warning", timeout_graceful_shutdown=1, lifespan="on"))
    thread = threading.Thread(target=lambda: asyncio.run(server.serve([door])))
    thread.start()
    try:
        yield f"http://127.0.0.1:{door.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(20)
        door.close()
