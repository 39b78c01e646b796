"""What the tests of maps share: functions, sources, and a Dag of one map."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import anyio
import anyio.lowlevel
from conftest import error_of

import flow
from flow import Config


def double(x: int) -> int:
    return 2 * x


async def adouble(x: int) -> int:
    return 2 * x


async def slow_double(x: int) -> int:
    await anyio.lowlevel.checkpoint()
    return 2 * x


async def sometimes(x: int) -> int:
    if x % 2:
        await anyio.lowlevel.checkpoint()
    return 2 * x


FUNCTIONS = [double, adouble, slow_double, sometimes]


async def stream(count: int) -> AsyncIterator[int]:
    for k in range(count):
        if k % 3 == 0:
            await anyio.lowlevel.checkpoint()
        yield k


class Stream:
    """An asynchronous iterator that is no generator."""

    def __init__(self, count: int) -> None:
        self.left = list(range(count))

    def __aiter__(self) -> Stream:
        return self

    async def __anext__(self) -> int:
        if not self.left:
            raise StopAsyncIteration
        return self.left.pop(0)


SOURCES: dict[str, Callable[[int], Any]] = {
    "list": lambda n: list(range(n)),
    "tuple": lambda n: tuple(range(n)),
    "range": range,
    "generator": lambda n: (k for k in range(n)),
    "iterator": lambda n: iter(range(n)),
    "map": lambda n: map(int, range(n)),
    "dict keys": lambda n: dict.fromkeys(range(n)).keys(),
    "async generator": stream,
    "async iterator": Stream,
}


def mapped(fn: Any, source: Any, *more: Any, **options: Any) -> flow.Dag:
    """A Dag of one map ``m`` over a node that returns ``source`` (or calls it, if it is a function)."""
    dag = flow.Dag("d")
    for k, one in enumerate((source, *more)):
        dag.add("xs" if not k else f"xs{k}", one if callable(one) else lambda one=one, /: one)
    dag.map("m", fn, ["xs", *[f"xs{k}" for k in range(1, len(more) + 1)]] if more else "xs", **options)
    return dag


def go(fn: Any, source: Any, *more: Any, config: Config | None = None, inputs: Any = None, **options: Any) -> Any:
    """The output of a map run alone."""
    return flow.run(mapped(fn, source, *more, **options), inputs, config=config)["m"]


def failure_of(fn: Any, source: Any, *more: Any, settings: Any = None, **options: Any) -> Exception:
    """The one exception that the map's node raises."""
    error = error_of(mapped(fn, source, *more, **options), **(settings or {}))
    assert error.nodes == ("m",)
    (only,) = error.exceptions
    return only
