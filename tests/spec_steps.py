"""What the workflow files of the tests call."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import msgspec

import flow

__all__ = [
    "Approval", "add", "add_async", "boom", "context", "counted", "inc", "item_context", "needs_two", "numbers", "pair",
    "rows", "shout", "stream",
]  # fmt: skip


class Approval(msgspec.Struct):
    """What is sent to a signal."""

    by: str
    ok: bool = True


def add(a: Any, b: Any = 1) -> Any:
    return a + b


async def add_async(a: Any, b: Any = 1) -> Any:
    await asyncio.sleep(0) if _on_asyncio() else None
    return a + b


def _on_asyncio() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def shout(text: str) -> str:
    return text.upper()


def boom(text: str = "no") -> Any:
    raise ValueError(text)


calls: list[Any] = []


def counted(text: Any = None) -> Any:
    """Fails at its first two calls."""
    calls.append(text)
    if len(calls) % 3:
        raise ConnectionError(f"call {len(calls)}")
    return len(calls)


def inc(n: int) -> int:
    return n + 1


def rows() -> list[dict[str, Any]]:
    return [{"name": "ada", "n": 1}, {"name": "bob", "n": 2}]


def numbers(n: int) -> Iterator[int]:
    yield from range(n)


async def stream(n: int) -> AsyncIterator[int]:
    for i in range(n):
        yield i


def context(x: Any, ctx: flow.Context) -> tuple[Any, str, int]:
    return x, ctx.node, ctx.attempt


def item_context(x: Any, ctx: flow.Context) -> tuple[Any, int | None]:
    return x, ctx.index


def needs_two(item: Any, other: Any) -> Any:
    return item, other


def pair(item: Any) -> list[Any]:
    return [item, item]


def hidden() -> int:
    return 1
