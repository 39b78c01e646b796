"""Import what a run's nodes will need before its clock starts: the first one would be blamed for the time it takes."""

from __future__ import annotations

import sys
from typing import Any

from flow.plan.plan import Plan
from flow.policy.mapping import Mapped, Over
from flow.signature import Nested


def load(plan: Plan, tasks: object, threads: bool) -> bool:
    """Import what ``plan`` needs to be driven by ``tasks`` (None: no event loop); tell whether any of it was new.

    O(nodes with policies), and O(1) once that has been done for this plan.

    :param threads: sync functions run in threads.
    """
    case = (type(tasks), threads)
    if case in plan.loaded:
        return False
    known = len(sys.modules)
    fns = _functions(plan)
    if any(isinstance(fn, Mapped) for fn in fns):
        import flow.run.chain
        import flow.run.items  # noqa: F401
    if tasks is not None and (threads or _waits(plan, fns)):
        import anyio

        anyio.get_cancelled_exc_class()  # anyio imports what is for this event loop only when that is asked for
    plan.loaded = (*plan.loaded, case)
    return len(sys.modules) != known


def _functions(plan: Plan) -> list[Any]:
    """The functions with policies, those of nested plans and maps as well."""
    found = []
    todo = [binder.fn for binder in plan.binders.values()]
    while todo:
        fn = todo.pop()
        found.append(fn)
        if isinstance(fn, Over):
            todo.append(fn.fn)
        elif isinstance(fn, Nested):
            todo += [binder.fn for binder in fn.plan.binders.values()]
    return found


def _waits(plan: Plan, fns: list[Any]) -> bool:
    """Tell whether a node has a time limit or a thread: both are anyio's."""
    plans = [plan, *(fn.plan for fn in fns if isinstance(fn, Nested))]
    return any(b.thread or b.timeout is not None for p in plans for b in p.binders.values()) or any(
        fn.thread or fn.timeout is not None for fn in fns if isinstance(fn, Mapped)
    )
