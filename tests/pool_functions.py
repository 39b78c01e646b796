"""Functions that another process can import: what the tests of executors have called there."""

from __future__ import annotations

import os
from typing import Any


def process() -> int:
    """The process that runs this."""
    return os.getpid()


def square(x: int) -> int:
    """``x`` times itself."""
    return x * x


def named(a: int, *rest: int, b: int = 3) -> tuple[Any, ...]:
    """What it was called with."""
    return a, rest, b


def pair(item: int, index: int, key: str) -> tuple[int, int, str]:
    """An item of a map, its index and its key."""
    return item, index, key


def doubled(batch: list[int]) -> list[int]:
    """A batch, twice as large each."""
    return [2 * x for x in batch]


def fails(x: int) -> int:
    """Raise."""
    raise ValueError(f"no {x}")


def default(x: int, y: int = 5) -> int:
    """A sum with a default."""
    return x + y
