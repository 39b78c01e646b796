"""Straight-line code for plans that are run often: one line a node, no loop, no index tuples.

The ordered loop pays for its generality at each node: it looks up the function, and builds a list of
arguments from a tuple of slots. Generated code has both written out::

    def stretch(values, fns):
        v0 = values[0] = f0()  # load
        v1 = values[1] = f1(v0, values[-1])  # clean: takes a run input
        v2 = values[2] = fns[2](v1)  # report: has a policy, so each run binds its own callable

Each output is stored as it comes, so at any moment the list of values tells how far the run is, as
with the loop: whoever looks at the run from within sees the same, and when a node raises, the general driver goes
on from exactly there. The source is in :mod:`linecache`, for tracebacks, debuggers and profilers.

Generating costs about 10 us per node, so a plan must have been run :data:`HOT_AFTER` times, and then one
*stretch* of :data:`STRETCH` nodes is generated after each run until all are: no run waits long, and
in total the loop alone would have taken at least nine tenths of the time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from flow.plan.plan import Plan

HOT_AFTER: Final = 2_000
"""Runs of a plan before code is generated for it."""

STRETCH: Final = 500
"""Most nodes in one generated function: about 5 ms of generating."""

MANY: Final = 50
"""Arguments from which on a line gathers them in a list rather than writing each one out."""

FILE_PREFIX: Final = "<flow plan "
"""How the file names of generated code begin."""

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
        """Generate the next stretch. About 10 us per node."""
        part, rest = self.rest[:STRETCH], self.rest[STRETCH:]
        return Straight((*self.calls, _generated(plan, part)), rest)


def straightened(plan: Plan) -> Straight:
    """Return the code of the whole plan, generating what is missing."""
    found = plan.straight or Straight((), plan.order)
    while found.rest:
        found = found.longer(plan)
    plan.straight, plan.heat = found, 0
    return found


def warm(plan: Plan) -> None:
    """Generate one more stretch of a plan that has been run often enough."""
    found = plan.straight = (plan.straight or Straight((), plan.order)).longer(plan)
    plan.heat = 1 if found.rest else 0


def source_of(plan: Plan, part: Sequence[int]) -> tuple[str, dict[str, Any]]:
    """Return the source of one stretch, and the names it uses."""
    inside = set(part)
    known: dict[int, str] = {}
    # Of our name, as the loop's frame is: filters of warnings and loggers look at the caller's.
    names: dict[str, Any] = {"__name__": __name__, "__builtins__": {}}
    lines = ["def stretch(values, fns):"]
    for i in part:
        if i in plan.binders:
            call = f"fns[{i}]"
        else:
            fn = plan.fns[i]
            call = known.setdefault(id(fn), f"f{i}")
            names[call] = fn
        slots = plan.arguments[i]
        if len(slots) < MANY:
            arguments = ", ".join([f"v{slot}" if slot in inside else f"values[{slot}]" for slot in slots])
        else:
            names[f"a{i}"] = slots
            arguments = f"*[values[slot] for slot in a{i}]"
        lines.append(f"    v{i} = values[{i}] = {call}({arguments})  # {plan.names[i]}")
    return "\n".join(lines) + "\n", names


def _generated(plan: Plan, part: Sequence[int]) -> Callable[..., Any]:
    import linecache
    from weakref import finalize

    source, names = source_of(plan, part)
    file = f"{FILE_PREFIX}{plan.name!r} #{next(_serials)}>"
    exec(compile(source, file, "exec"), names)
    stretch: Callable[..., Any] = names.pop("stretch")
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    finalize(stretch, linecache.cache.pop, file, None).atexit = False
    return stretch
