"""Import the modules that a run needs before its clock starts: else the first node would seem to take that time."""

from __future__ import annotations

import sys
from typing import Any

from flow.plan.plan import Plan
from flow.policy.looping import Looped
from flow.policy.mapping import Mapped, Over
from flow.signature import Nested


def load(plan: Plan, driver: object, threads: bool) -> bool:
    """Import what ``plan`` needs to be driven by ``driver`` (None: no event loop); tell whether any of it was new.

    O(nodes with policies), and O(1) once that has been done for this plan.

    :param threads: sync functions run elsewhere.
    """
    case, kept = (type(driver), threads), plan._kept
    if case in kept.loaded:
        return False
    known = len(sys.modules)
    fns = _functions(plan)
    maps = [fn.options for fn in fns if isinstance(fn, Mapped)]
    if maps:
        import flow.run.items.pipeline
        import flow.run.items.run
    if any(isinstance(fn, Looped) for fn in fns):
        import flow.run.rounds
    if any(options.pipelined and options.batch_size is not None for options in maps):
        import flow.run.items.batched
    if any(at._nodes.cleans for at in (plan, *_plans(fns))):
        import flow.run.cleanup  # noqa: F401
    timed = any(options.batch_wait is not None for options in maps)
    if driver is not None and (threads or timed or _waits(plan, fns)):
        import anyio

        anyio.get_cancelled_exc_class()  # anyio imports what is for this event loop only when that is asked for
    kept.loaded = (*kept.loaded, case)
    return len(sys.modules) != known


def _functions(plan: Plan) -> list[Any]:
    """The functions with policies, those of nested plans, maps and loops as well."""
    found = []
    todo = [binder.fn for binder in plan._nodes.binders.values()]
    while todo:
        fn = todo.pop()
        found.append(fn)
        if isinstance(fn, Over):
            todo.append(fn.fn)
        elif isinstance(fn, Looped) and fn.body is not None:
            todo.append(fn.body)
        elif isinstance(fn, Nested):
            todo += [binder.fn for binder in fn.plan._nodes.binders.values()]
    return found


def _plans(fns: list[Any]) -> list[Plan]:
    return [fn.plan for fn in fns if isinstance(fn, Nested)]


def _waits(plan: Plan, fns: list[Any]) -> bool:
    """Tell whether a node has a time limit, or runs in a thread: both need anyio."""
    plans = [plan, *_plans(fns)]
    policies: list[Any] = [binder for p in plans for binder in p._nodes.binders.values()]
    policies += [fn for fn in fns if isinstance(fn, Mapped)]
    return any(one.executor not in (None, "inline") or one.timeout is not None for one in policies)
