"""Generated code on an event loop: stretches of the first phase."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from typing import TYPE_CHECKING

from flow.config import YIELD_EVERY
from flow.plan.straight import Guarded, guard
from flow.run.state import RunState

if TYPE_CHECKING:
    from flow.run.tasks import Tasks, Worker


def generated_heads(tasks: Tasks, me: Worker) -> Mapping[int, Guarded] | None:
    """Return the code of the plan's stretches, if there is any that this run may use. Asked once per run."""
    run = tasks.run
    if not isinstance(run, RunState):
        return None  # a map
    plan, optimize = run.plan, run.config.optimize
    warmth = plan.warmth
    if not optimize or not (warmth or plan.heads):
        return None
    if warmth:
        at_once = optimize == "at_once"
        clock = tasks.pace.clock
        if at_once or warmth > 1 or clock() < tasks.pace.until:  # of many runs at once, not every one generates
            plan.warmth = 0 if at_once else warmth - 1
            if at_once or warmth == 1:
                guard(plan, all_of_it=at_once)
                me.resumed = clock()  # no node held the loop meanwhile
    return (plan.heads or None) if _allowed(tasks, run) else None


def _allowed(tasks: Tasks, run: RunState) -> bool:
    """Tell if it may use any: not if every call is watched, or in another order, or in threads."""
    if run.started is not None or run.order is not run.plan.order or run.config.executor == "thread":
        return False
    return tasks.blocking_after > 10 * YIELD_EVERY


def run_stretch(tasks: Tasks, stretch: Guarded, until: float) -> int:
    """Run a stretch, of which ``todo`` has given the first node; return the last node it came to.

    Before a node's exception leaves here, ``todo`` has given that node, and none after it.
    """
    done = 1
    try:
        done = stretch.call(tasks.run.values, tasks.run.fns, tasks.base.copy, tasks.pace.clock, until)
    except BaseException:
        ended, by_node = stretch.done()
        done = max(1, ended + by_node)
        raise
    finally:
        next(islice(tasks.todo, done - 1, done - 1), None)
    return stretch.part[done - 1]
