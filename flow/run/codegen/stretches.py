"""Code for a plan's stretches, generated little by little once the plan is hot.

Without an event loop the code covers the plan's order. On one it is guarded (:mod:`flow.run.codegen.source`). It
covers the stretches of sync functions in that order, and serves until a node suspends or fails: from then on the
Resolver says what is next.

Generating costs about 10 us per node, so a plan must have been run :data:`HOT_AFTER` times, and then one
*stretch* of :data:`STRETCH` nodes is generated after each run until all are: no run waits long, and
in total the loop alone would have taken at least nine tenths of the time.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from flow.plan.kept import HOT_AFTER, LEAST
from flow.plan.nodes import Nodes
from flow.plan.plan import Plan
from flow.policy.mapping import Mapped
from flow.run.codegen.source import generated
from flow.signature import Composite

STRETCH: Final = 1_000
"""Most nodes in one generated function: 10 to 15 ms of generating."""

GUARDED_STRETCH: Final = 250
"""Most nodes in one with guards, which cost as much again: the event loop waits while it is generated."""


class Straight:
    """What has been generated for a plan so far; immutable.

    :ivar calls: the functions, to be called one after the other with a run's values and bound callables.
    :ivar rest: the nodes of the plan's order that they leave.
    """

    __slots__ = ("calls", "rest")

    def __init__(self, calls: tuple[Callable[..., Any], ...], rest: Sequence[int]) -> None:
        self.calls = calls
        self.rest = rest

    def longer(self, plan: Plan) -> Straight:
        """Generate the next stretch, if there is one. About 10 us per node."""
        part, rest = self.rest[:STRETCH], self.rest[STRETCH:]
        return Straight((*self.calls, generated(plan.name, plan._nodes, part)), rest) if part else self

    def done(self, call: Callable[..., Any] | None) -> int:
        """How many nodes of the order had ended when the exception at hand left ``call``; -1 if no node raised it."""
        line = _line_reached(call)
        return self.calls.index(call) * STRETCH + line - 2 if call is not None and line > 1 else -1


def warm(plan: Plan, *, all_of_it: bool) -> None:
    """Generate the next stretch of a plan, or all that is missing; put it off if that cannot be done now."""
    code = plan._kept.inline
    found, runs_left = code.made or Straight((), plan._nodes.order), 0
    try:
        while found.rest and not runs_left:
            found = found.longer(plan)
            runs_left = 1 if found.rest and not all_of_it else 0
    except Exception:  # the end of the stack, or an audit hook that forbids it: no reason for a run to fail
        runs_left = HOT_AFTER
    code.made, code.runs_left = found, runs_left


class Guarded:
    """The guarded code of one stretch.

    :ivar part: its nodes, in the plan's order.
    :ivar call: called with a run's values and bound callables, what copies its context, a clock and when to break off;
        returns how many nodes it has run.
    """

    __slots__ = ("call", "part")

    def __init__(self, call: Callable[..., int], part: Sequence[int]) -> None:
        self.call = call
        self.part = part

    def done(self) -> tuple[int, bool]:
        """Tell how many of its nodes had ended when the exception at hand left it, and if the next one raised that.

        (If not, it was a signal's handler.)
        """
        line = min(_line_reached(self.call), 2 * len(self.part) + 1)  # a debugger may leave it on its last line
        return (line - 1) // 2, line % 2 == 0


def _line_reached(call: Callable[..., Any] | None) -> int:
    """Return the line of ``call`` that the exception at hand has left; 0 if it has not been there."""
    at = sys.exc_info()[2]
    code = getattr(call, "__code__", None)
    while at is not None and at.tb_frame.f_code is not code:
        at = at.tb_next
    return 0 if at is None else at.tb_lineno


def guard(plan: Plan, *, all_of_it: bool) -> None:
    """Generate guarded code for the next stretch of sync functions, or for all; put it off as :func:`warm` does."""
    code, order = plan._kept.on_loop, plan._nodes.order
    heads: dict[int, Guarded] = dict(code.made or {})
    if heads:  # in the plan's order, as they were made
        order = order[order.index(list(heads.values())[-1].part[-1]) + 1 :]
    runs_left = 0
    try:
        for part in sync_stretches(plan._nodes, order):
            if runs_left:
                break
            heads[part[0]] = Guarded(generated(plan.name, plan._nodes, part, guarded=True), part)
            runs_left = 0 if all_of_it else 1
        else:
            runs_left = 0
    except Exception:  # as above
        runs_left = HOT_AFTER
    code.made, code.runs_left = heads, runs_left


Heads = Mapping[int, Guarded]
"""Guarded code by the node that each stretch begins with."""


def sync_stretches(nodes: Nodes, order: Sequence[int]) -> Iterator[list[int]]:
    """Nodes that stand together in the order and are called without awaiting anything, also on a loop."""
    part: list[int] = []
    for i in order:
        if is_plain_sync(nodes, i):
            part.append(i)
        if len(part) == GUARDED_STRETCH or (part and part[-1] != i):
            if len(part) >= LEAST:
                yield part
            part = []
    if len(part) >= LEAST:
        yield part


def is_plain_sync(nodes: Nodes, i: int) -> bool:
    """Tell whether node ``i`` is called without awaiting anything, also on an event loop.

    There maps are awaited, and what has a loop.
    """
    binder = nodes.binders.get(i)
    if nodes.is_async[i] or binder is None:
        return not nodes.is_async[i]
    return not isinstance(binder.fn, Mapped) and not (isinstance(binder.fn, Composite) and binder.fn.turns)
