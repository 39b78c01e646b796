"""Generated code on an event loop: stretches of the first phase."""

from __future__ import annotations

from itertools import islice

from flow.run.codegen.stretches import Guarded, Heads, guard
from flow.run.drive.loop import LoopDriver, Worker
from flow.run.pacing import YIELD_EVERY
from flow.run.state import PlanRun


def generated_heads(driver: LoopDriver, me: Worker) -> Heads | None:
    """Return the code of the plan's stretches, if there is any that this run may use. Asked once per run."""
    run = driver.run
    if not isinstance(run, PlanRun):
        return None  # a map
    code, optimize = run.plan._kept.on_loop, run.config.optimize
    runs_left = code.runs_left
    if not optimize or not (runs_left or code.made):
        return None
    if runs_left:
        at_once = optimize == "at_once"
        clock = driver.pace.clock
        if at_once or runs_left > 1 or clock() < driver.pace.until:  # of many runs at once, not every one generates
            code.runs_left = 0 if at_once else runs_left - 1
            if at_once or runs_left == 1:
                guard(run.plan, all_of_it=at_once)
                me.resumed = clock()  # no node held the loop meanwhile
    return (code.made or None) if _allowed(driver, run) else None


def _allowed(driver: LoopDriver, run: PlanRun) -> bool:
    """Tell if it may use any: not if every call is watched or kept, or in another order, or elsewhere."""
    if run.started is not None or run.order is not run.nodes.order or run.config.executor != "inline":
        return False
    if run.journal is not None:
        return False  # every output is kept
    return driver.blocking_after > 10 * YIELD_EVERY


def run_stretch(driver: LoopDriver, stretch: Guarded, until: float) -> int:
    """Run a stretch, of which ``remaining`` has given the first node; return the last node it came to.

    Before a node's exception leaves here, ``remaining`` has given that node, and none after it.
    """
    done = 1
    try:
        done = stretch.call(driver.run.values, driver.run.fns, driver.base.copy, driver.pace.clock, until)
    except BaseException:
        ended, by_node = stretch.done()
        done = max(1, ended + by_node)
        raise
    finally:
        next(islice(driver.remaining, done - 1, done - 1), None)
    return stretch.part[done - 1]
