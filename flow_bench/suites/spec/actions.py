"""What the workflow files of this suite call: the functions of ``docs/examples``, without their waits."""

from __future__ import annotations

from typing import Any

import flow
from flow_bench.suites.engine.examples import check, entries, report

__all__ = ["check", "entries", "parse", "passed", "report", "send", "send_batch", "slowest", "step"]


def step(a: int = 0, b: str = "", c: bool = True) -> int:
    """A node that does nothing."""
    return a


def passed(x: Any) -> Any:
    """Return the item."""
    return x


async def send(user: str, index: int, ctx: flow.Context) -> bool:
    """Notify a user; one call in ten is repeated."""
    if index % 10 == 3 and ctx.attempt == 1:
        raise ConnectionError("the mail service is busy")
    return True


async def send_batch(batch: list[str], index: int, ctx: flow.Context) -> list[bool]:
    """As :func:`send`, a hundred at once."""
    if index // 100 % 10 == 3 and ctx.attempt == 1:
        raise ConnectionError("the mail service is busy")
    return [True] * len(batch)


def parse(entry: str) -> tuple[str, int] | None:
    """Return the service and the milliseconds of a failure, or None."""
    service, status, milliseconds, _ = entry.split(" ", 3)
    return (service, int(milliseconds)) if status == "500" else None


def slowest(parsed: list[tuple[str, int] | None]) -> dict[str, int]:
    """Return the slowest failure of each service."""
    found: dict[str, int] = {}
    for one in parsed:
        if one is not None:
            found[one[0]] = max(one[1], found.get(one[0], 0))
    return found
