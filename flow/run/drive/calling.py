"""How a driver calls a function with values at slots: by arity, as ``fn(*[...])`` costs half as much again.

The inline driver's loop has :func:`isolated` written out: the call itself would be a tenth of what a node costs there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextvars import Context
from typing import Any


def called(fn: Callable[..., Any], values: Sequence[Any], slots: Sequence[int]) -> Any:
    """Return ``fn(*[values[slot] for slot in slots])``."""
    count = len(slots)
    if count == 1:
        return fn(values[slots[0]])
    if count == 2:
        a, b = slots
        return fn(values[a], values[b])
    if count == 3:
        a, b, c = slots
        return fn(values[a], values[b], values[c])
    if not count:
        return fn()
    return fn(*[values[slot] for slot in slots])


def isolated(
    copy: Callable[[], Context], fn: Callable[..., Any], values: Sequence[Any], slots: Sequence[int]
) -> Any:
    """As :func:`called`, in contextvars of its own."""
    count = len(slots)
    if count == 1:
        return copy().run(fn, values[slots[0]])
    if count == 2:
        a, b = slots
        return copy().run(fn, values[a], values[b])
    if count == 3:
        a, b, c = slots
        return copy().run(fn, values[a], values[b], values[c])
    if not count:
        return copy().run(fn)
    return copy().run(fn, *[values[slot] for slot in slots])
