"""The one kind of contender: a way of doing something, and the check that it was done."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import FunctionType
from typing import Any

Operation = Callable[[], Any]
"""What is timed; on an event loop it returns an awaitable."""


class Refused(Exception):
    """A contender that did not do the work it is timed for."""

    def __init__(self, label: str, faults: Sequence[str]) -> None:
        super().__init__(f"contender {label!r} is refused: " + "; ".join(faults[:5]))
        self.faults = list(faults)


def require(true: bool, label: str, fault: str) -> None:
    """:raises Refused: unless it is true."""
    if not true:
        raise Refused(label, [fault])


@dataclass(frozen=True)
class Contender:
    """One way of doing something.

    What the contenders of a table share (a graph, a number of tasks) is their *subject*: ``make`` and ``check`` are
    given it. Contenders that need none are made with :func:`ready`, or with functions that take nothing.
    """

    label: str
    make: Callable[..., Operation]  # prepares, untimed, and returns the operation: ``make(*subject)``
    check: Callable[..., object]  # says what is wrong with what that returned, if anything: ``check(raw, *subject)``
    per: int = 1  # of how many things one operation is the cost: nodes, items, calls. The figure is per one of them
    is_async: bool = False  # the operation is an async function

    @property
    def title(self) -> str:
        return self.label

    def refuse_unless_done(self, raw: Any, *subject: Any) -> None:
        """:raises Refused: saying what the operation left undone; or that its run is an earlier one's."""
        fault = self.check(raw, *subject) or stale(raw)
        if fault:
            raise Refused(self.title, [str(fault)])

    def once(self, *subject: Any) -> Contender:
        """The same contender with its operation made now, for all samples."""
        operation = self.make(*subject)
        return Contender(self.label, lambda: operation, lambda raw: self.check(raw, *subject), self.per, self.is_async)


SEEN: set[str] = set()
"""Ids of the runs whose results have been checked."""


def stale(raw: Any) -> str | None:
    """Say if a result, or one of several, is that of a run which has been checked before.

    Nodes that do nothing all return the same: by its outputs a result kept from an earlier run is as good as a new one.
    """
    flow = sys.modules.get("flow")  # not imported here: the process that counts flow's locks imports this before it
    if flow is None:
        return None
    results = [one for one in (raw if isinstance(raw, (list, tuple)) else [raw]) if isinstance(one, flow.Result)]
    ids = [result.run_id for result in results]
    old = len(ids) - len(set(ids) - SEEN)
    SEEN.update(ids)
    return f"{old} of {len(ids)} results are those of earlier runs" if old else None


@dataclass(frozen=True)
class Floor(Contender):
    """A contender that only calls, and passes nothing on: less than the others do, on purpose."""


def ready(
    label: str,
    operation: Operation,
    done: Callable[[Any], bool],
    per: int = 1,
    before: Callable[[], object] | None = None,
) -> Contender:
    """Return a contender whose operation exists already.

    :param done: tells, from what the operation returned, whether all the work was done.
    :param before: called before every sample.
    """

    def make() -> Operation:
        if before is not None:
            before()
        return operation

    return Contender(label, make, lambda raw: None if done(raw) else "a timed run did not do its work", per)


def expect(wanted: Any, of: Callable[[Any], Any] = lambda raw: raw) -> Callable[[Any], str | None]:
    """Return a check that what was returned (or what ``of`` makes of it) equals ``wanted``."""

    def check(raw: Any) -> str | None:
        found = of(raw)
        return None if found == wanted else f"it left {_short(found)} where {_short(wanted)} was to be"

    return check


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def again(run: Callable[[], Any], times: int, *, on_loop: bool = False) -> Callable[[], Any]:
    """Return a function that calls ``run`` so often, or awaits it."""

    async def runs() -> list[Any]:
        return [await run() for _ in range(times)]

    return runs if on_loop else lambda: [run() for _ in range(times)]


def repeated(
    label: str,
    run: Callable[[], Any],
    times: int,
    done: Callable[[Any], bool],
    per: int = 1,
    before: Callable[[], object] | None = None,
    *,
    on_loop: bool = False,
) -> Contender:
    """As :func:`ready`, of a function that is called so often and does its work each time; ``per`` is of one call."""

    def all_done(found: list[Any]) -> bool:
        return len(found) == times and all(map(done, found))

    return ready(label, again(run, times, on_loop=on_loop), all_done, times * per, before)


def fresh(function: Any) -> Any:
    """Return a copy of a function with code of its own.

    The interpreter adapts code to the types it meets: a loop shared by two contenders would serve neither.
    """
    code = function.__code__.replace(co_name=function.__name__)
    return FunctionType(code, function.__globals__, function.__name__, function.__defaults__, function.__closure__)
