"""Straight-line code for plans that are run often: one line a node, no loop, no index tuples.

The ordered loop pays for its generality at each node: it looks up the function, and builds a list of
arguments from a tuple of slots. Generated code has both written out::

    def stretch(values, fns, copy):
        v0 = values[0] = copy().run(f0)  # load
        v1 = values[1] = copy().run(f1, v0, values[-1])  # clean: takes a run input
        v2 = values[2] = copy().run(fns[2], v1)  # report: has a policy, so each run binds its own callable

Each output is stored as it comes, so at any moment the list of values tells how far the run is, as
with the loop: whoever looks at the run from within sees the same, and when a node raises, the general driver goes
on from exactly there. The source is in :mod:`linecache`, for tracebacks, debuggers and profilers.

``copy`` copies the run's contextvars: each node has its own. On an event loop the code is *guarded*: after each node
it looks at the clock, and breaks off when the event loop is to have its turn. It covers the stretches of sync functions
in the plan's order, and serves until a node suspends or fails: from then on the Resolver says what is next.

Generating costs about 10 us per node, so a plan must have been run :data:`HOT_AFTER` times, and then one
*stretch* of :data:`STRETCH` nodes is generated after each run until all are: no run waits long, and
in total the loop alone would have taken at least nine tenths of the time.
"""

from __future__ import annotations

import builtins
import sys
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from typing import TYPE_CHECKING, Any, Final

from flow.policy.mapping import Mapped

if TYPE_CHECKING:
    from flow.plan.plan import Plan

HOT_AFTER: Final = 2_000
"""Runs of a plan before code is generated for it."""

STRETCH: Final = 1_000
"""Most nodes in one generated function: 10 to 15 ms of generating."""

GUARDED_STRETCH: Final = 250
"""Most nodes in one with guards, which cost as much again: the event loop waits while it is generated."""

MANY: Final = 50
"""Arguments from which on a line gathers them rather than writing each one out."""

FILE_PREFIX: Final = "<flow plan "
"""How the file names of generated code begin."""

LEAST: Final = 4
"""Nodes in the shortest stretch of sync functions worth guarded code."""

_serials = count(1)


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
        return Straight((*self.calls, generated(plan, part)), rest) if part else self

    def done(self, call: Callable[..., Any] | None) -> int:
        """How many nodes of the order had ended when the exception at hand left ``call``; -1 if no node raised it."""
        line = _line_reached(call)
        return self.calls.index(call) * STRETCH + line - 2 if call is not None and line > 1 else -1


def warm(plan: Plan, *, all_of_it: bool) -> None:
    """Generate the next stretch of a plan, or all that is missing; put it off if that cannot be done now."""
    found = plan.straight or Straight((), plan.order)
    heat = 0
    try:
        while found.rest and not heat:
            found = found.longer(plan)
            heat = 1 if found.rest and not all_of_it else 0
    except Exception:  # the end of the stack, or an audit hook that forbids it: no reason for a run to fail
        heat = HOT_AFTER
    plan.straight, plan.heat = found, heat


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
    heads = dict(plan.heads)
    order = plan.order
    if heads:  # in the plan's order, as they were made
        order = order[order.index(list(heads.values())[-1].part[-1]) + 1 :]
    warmth = 0
    try:
        for part in sync_stretches(plan, order):
            if warmth:
                break
            heads[part[0]] = Guarded(generated(plan, part, guarded=True), part)
            warmth = 0 if all_of_it else 1
        else:
            warmth = 0
    except Exception:  # as above
        warmth = HOT_AFTER
    plan.heads, plan.warmth = heads, warmth


def sync_stretches(plan: Plan, order: Sequence[int]) -> Iterator[list[int]]:
    """Nodes that stand together in the order and are called without awaiting anything, also on a loop."""
    part: list[int] = []
    for i in order:
        if is_plain_sync(plan, i):
            part.append(i)
        if len(part) == GUARDED_STRETCH or (part and part[-1] != i):
            if len(part) >= LEAST:
                yield part
            part = []
    if len(part) >= LEAST:
        yield part


def is_plain_sync(plan: Plan, i: int) -> bool:
    """Tell whether node ``i`` is called without awaiting anything, also on a loop, where a map is awaited."""
    binder = plan.binders.get(i)
    return not plan.kinds[i] and (binder is None or not isinstance(binder.fn, Mapped))


def source_of(plan: Plan, part: Sequence[int], guarded: bool = False) -> tuple[str, dict[str, Any]]:
    """Return the source of one stretch, and the names it uses."""
    inside = set(part)
    known: dict[int, str] = {}
    # Of our name, as the loop's frame is: filters of warnings and loggers look at the caller's. With all builtins:
    # what is written in C and imports something (datetime.strptime) looks there for how.
    names: dict[str, Any] = {"__name__": __name__, "__builtins__": builtins}
    lines = ["def stretch(values, fns, copy, clock, until):" if guarded else "def stretch(values, fns, copy):"]
    for done, i in enumerate(part, 1):
        if i in plan.binders:
            call = f"fns[{i}]"
        else:
            fn = plan.fns[i]
            call = known.setdefault(id(fn), f"f{i}")
            names[call] = fn
        slots = plan.arguments[i]
        if len(slots) < MANY:
            arguments = "".join([f", v{slot}" if slot in inside else f", values[{slot}]" for slot in slots])
        elif slots[0] >= 0 and slots == tuple(range(slots[0], slots[-1] + 1)):
            arguments = f", *values[{slots[0]}:{slots[-1] + 1}]"
        else:
            names[f"a{i}"] = slots
            arguments = f", *[values[slot] for slot in a{i}]"
        lines.append(f"    v{i} = values[{i}] = copy().run({call}{arguments})  # {plan.names[i]}")
        if guarded:
            lines.append(f"    if clock() > until: return {done}")
    if guarded:
        lines.append(f"    return {len(part)}")
    return "\n".join(lines) + "\n", names


def generated(plan: Plan, part: Sequence[int], guarded: bool = False) -> Callable[..., Any]:
    """Return the function of one stretch, its source in :mod:`linecache` for as long as it lives."""
    import linecache
    from weakref import finalize

    source, names = source_of(plan, part, guarded)
    file = f"{FILE_PREFIX}{plan.name!r} #{next(_serials)}>"
    exec(compile(source, file, "exec"), names)
    stretch: Callable[..., Any] = names.pop("stretch")
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    finalize(stretch, linecache.cache.pop, file, None).atexit = False
    return stretch
