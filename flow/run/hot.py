"""Generated code on an event loop: stretches of the first phase, and blocks once nodes are counted."""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import Context
from itertools import islice
from time import perf_counter
from typing import TYPE_CHECKING

from flow.config import YIELD_EVERY
from flow.plan.blocks import Block, Blocks
from flow.plan.straight import LEAST, Guarded, guard
from flow.run.state import RunState

if TYPE_CHECKING:
    from flow.run.tasks import Host, Tasks


def generated_heads(tasks: Tasks, host: Host) -> Mapping[int, Guarded] | None:
    """Return the code of the plan's stretches, if there is any that this run may use."""
    run = tasks.run
    if not isinstance(run, RunState):
        return None  # a map
    plan, optimize = run.plan, run.config.optimize
    warmth = plan.warmth
    if not optimize or not (warmth or plan.heads):
        return None
    if warmth:
        at_once = optimize == "at_once"
        plan.warmth = 0 if at_once else warmth - 1
        if at_once or warmth == 1:
            guard(plan, all_of_it=at_once)
            host.resumed = perf_counter()  # no node held the loop meanwhile
    return (plan.heads or None) if _allowed(tasks, run) else None


def generated_blocks(tasks: Tasks) -> Blocks | None:
    """Return the plan's blocks, if this run may use them."""
    run = tasks.run
    if not isinstance(run, RunState):
        return None  # a map
    plan, optimize = run.plan, run.config.optimize
    blocks = plan.blocks
    if not optimize or plan.warmth or not _allowed(tasks, run) or tasks.limit == 1:  # which keeps the plan's order
        return None
    if blocks is None:
        if plan.kinds.count(0) < LEAST:
            return None
        blocks = plan.blocks = Blocks(plan, run.kinds)
    if blocks.wait:
        blocks.wait -= 1
    elif blocks.parts:
        blocks.generate(plan, all_of_them=optimize == "at_once")
    return blocks if blocks.by_head else None


def _allowed(tasks: Tasks, run: RunState) -> bool:
    """Tell if it may use any: not if every call is watched, or in another order, or in threads."""
    if run.started is not None or run.order is not run.plan.order or run.config.sync == "thread":
        return False
    return tasks.blocking_after > 10 * YIELD_EVERY


def run_stretch(tasks: Tasks, stretch: Guarded, context: Context, late: float) -> int:
    """Run a stretch, of which ``todo`` has given the first node; return the last node it came to.

    Before a node's exception leaves here, ``todo`` has given that node, and none after it.
    """
    values, todo = tasks.run.values, tasks.todo
    done = 1
    try:
        done = stretch.call(values, tasks.run.fns, context, tasks.base, perf_counter, late)
    except BaseException as error:
        done = _reached(tasks, stretch, context, error)
        if done < 0:
            done = -done
            raise
    finally:
        next(islice(todo, done - 1, done - 1), None)
    return stretch.part[done - 1]


def run_block(tasks: Tasks, host: Host, block: Block, context: Context) -> int:
    """Run a block whose head has been taken; return the last node it came to, which is then the one taken.

    Before a node's exception leaves here, the Resolver knows of all that ended before, and that node is taken.
    """
    values, resolver, part = tasks.run.values, tasks.run.resolver, block.part
    tasks.block = part
    done = 1
    try:
        done = block.call(values, tasks.run.fns, context, tasks.base, perf_counter, tasks.burst + YIELD_EVERY)
    except BaseException as error:
        done = _reached(tasks, block, context, error)
        if done < 0:
            done = -done
            raise
    finally:
        last = host.node = part[done - 1]
        passed = part[: done - 1]
        if passed:
            successors = resolver.successors
            whole = done == len(part)
            resolver.passed(passed, last, block.outside if whole else [s for i in passed for s in successors[i]])
        tasks.block = ()  # after that: another thread that looks meanwhile sees the one or the other
    return last


def _reached(tasks: Tasks, stretch: Guarded, context: Context, error: BaseException) -> int:
    """Return how many nodes the code came to before ``error`` left it; negative if that is for the driver to see."""
    ended, by_node = stretch.done()
    done = max(1, ended + by_node)
    if by_node or not isinstance(error, Exception) or _comparable(context, tasks.base):
        return -done  # a node's, or a signal handler's
    return done  # contextvars that cannot be compared: the caller will find that too


def _comparable(context: Context, base: Context) -> bool:
    try:
        return context == base or True
    except Exception:
        return False
