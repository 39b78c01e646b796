"""The source of straight-line code: one line a node, no loop, no index tuples.

The ordered loop pays for its generality at each node: it looks up the function, and builds a list of
arguments from a tuple of slots. Generated code has both written out::

    def stretch(values, fns, copy):
        v0 = values[0] = copy().run(f0)  # load
        v1 = values[1] = copy().run(f1, v0, values[-1])  # clean: takes a run input
        v2 = values[2] = copy().run(fns[2], v1)  # report: has a policy, so each run binds its own callable

Each output is stored as it comes, so at any moment the list of values tells how far the run is, as
with the loop: views of the run from within show the same, and when a node raises, the general driver goes
on from exactly there. The source is in :mod:`linecache`, for tracebacks, debuggers and profilers.

``copy`` copies the run's contextvars: each node has its own. On an event loop the code is *guarded*: after each node
it looks at the clock, and breaks off when the event loop is to have its turn.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable, Sequence
from itertools import count
from typing import Any, Final

from flow.plan.nodes import Nodes

MANY: Final = 50
"""Arguments from which on a line gathers them rather than writing each one out."""

FILE_PREFIX: Final = "<flow plan "
"""How the file names of generated code begin."""

_serials = count(1)


def source_of(nodes: Nodes, part: Sequence[int], guarded: bool = False) -> tuple[str, dict[str, Any]]:
    """Return the source of one stretch, and the names it uses."""
    inside = set(part)
    known: dict[int, str] = {}
    # Of our name, as the loop's frame is: filters of warnings and loggers look at the caller's. With all builtins:
    # what is written in C and imports something (datetime.strptime) looks there for how.
    names: dict[str, Any] = {"__name__": __name__, "__builtins__": builtins}
    lines = ["def stretch(values, fns, copy, clock, until):" if guarded else "def stretch(values, fns, copy):"]
    for done, i in enumerate(part, 1):
        if i in nodes.binders:
            call = f"fns[{i}]"
        else:
            fn = nodes.fns[i]
            call = known.setdefault(id(fn), f"f{i}")
            names[call] = fn
        slots = nodes.arguments[i]
        if len(slots) < MANY:
            arguments = "".join([f", v{slot}" if slot in inside else f", values[{slot}]" for slot in slots])
        elif slots[0] >= 0 and slots == tuple(range(slots[0], slots[-1] + 1)):
            arguments = f", *values[{slots[0]}:{slots[-1] + 1}]"
        else:
            names[f"a{i}"] = slots
            arguments = f", *[values[slot] for slot in a{i}]"
        lines.append(f"    v{i} = values[{i}] = copy().run({call}{arguments})  # {nodes.names[i]}")
        if guarded:
            lines.append(f"    if clock() > until: return {done}")
    if guarded:
        lines.append(f"    return {len(part)}")
    return "\n".join(lines) + "\n", names


def generated(name: str, nodes: Nodes, part: Sequence[int], guarded: bool = False) -> Callable[..., Any]:
    """Return the function of one stretch, its source in :mod:`linecache` for as long as it lives."""
    import linecache
    from weakref import finalize

    source, names = source_of(nodes, part, guarded)
    file = f"{FILE_PREFIX}{name!r} #{next(_serials)}>"
    exec(compile(source, file, "exec"), names)
    stretch: Callable[..., Any] = names.pop("stretch")
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    finalize(stretch, linecache.cache.pop, file, None).atexit = False
    return stretch
