"""Functions that workflow files call, and that are known by the name of this module."""

from __future__ import annotations

from typing import Any

import flow

__all__ = [
    "add", "boom", "collect", "context", "count", "generate", "give", "greet", "greeted", "halve", "later", "odd",
    "options", "outcome", "regions", "square", "step", "waits", "words",
]  # fmt: skip


class Odd(Exception):
    """An odd number."""


def give() -> int:
    return 3


def words() -> list[int]:
    return [1, 2, 3]


def add(a: Any, b: Any) -> Any:
    return (a, b) if isinstance(a, tuple) or isinstance(b, tuple) or a is None or b is None else str((a, b))


def collect(a: Any = None, b: Any = None) -> Any:
    return {"a": a, "b": b}


def options(a: Any, factor: int = 2, flag: bool = False) -> str:
    return f"{a}{factor}{flag}"


def halve(value: Any) -> str:
    return f"half of {value}"


async def later(a: Any) -> Any:
    return ["later", a]


def boom(a: Any = None) -> None:
    raise ValueError(f"boom at {a}")


def odd(a: Any = None) -> None:
    raise Odd("odd")


def square(item: int, index: int) -> int:
    return item * item + index


def greet(name: Any, by: Any, key: Any) -> str:
    return f"{name} by {by} at {key}"


def count(data: Any) -> int:
    return 1


def step(state: int = 0, by: int = 1) -> int:
    return state + by


def context(ctx: flow.Context, a: Any) -> str:
    return f"{ctx.node}: {a}"


def outcome(give: flow.Outcome[int]) -> str:
    return give.status.value


def generate(a: Any) -> Any:
    yield a
    yield a


@flow.action(name="pause")
def waits(a: Any = None) -> Any:
    return a


def regions(env: str, count: int, hosts: Any, note: Any, limits: Any, token: Any = 0, level: Any = 0, share: Any = 0,
            anything: Any = 0, flag: Any = 0) -> str:  # fmt: skip
    return f"{env} {count} {hosts} {note} {limits}"


def greeted(flag: bool = True) -> bool:
    return flag


def _give() -> int:
    return 3


def hidden(a: Any = None) -> Any:
    return a


class Holder:
    def method(self, a: Any = None) -> Any:
        return a


def rest(*values: Any) -> Any:
    return values


def only(a: Any, /) -> Any:
    return a
