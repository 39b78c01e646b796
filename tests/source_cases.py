"""What the tests of sources share: generators that tell when they are closed, and functions that leave them halfway."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any

import anyio
from conftest import configs

VAR: ContextVar[Any] = ContextVar("VAR", default="unset")
CONFIGS = configs(on_error="collect")


class Closed(Exception):
    pass


def made(closed: list[str], error: Exception | None = None) -> Any:
    def numbers() -> Any:
        try:
            yield from range(100)
        finally:
            closed.append("sync")
            if error is not None:
                raise error

    return numbers


def amade(closed: list[str], error: Exception | None = None) -> Any:
    async def numbers() -> Any:
        try:
            for number in range(100):
                yield number
        finally:
            await anyio.sleep(0)
            closed.append("async")
            if error is not None:
                raise error

    return numbers


def fails(item: int) -> int:
    if item == 3:
        raise ValueError("item 3")
    return item


async def afails(item: int) -> int:
    await anyio.sleep(0)
    return fails(item)
