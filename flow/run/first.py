"""The first phase on an event loop: one after another, nothing counted, until something suspends or fails.

Both functions return as :meth:`flow.run.tasks.Tasks._host` does: True if a fresh context must take over.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import Context
from itertools import islice
from time import perf_counter
from typing import TYPE_CHECKING

from flow.config import YIELD_EVERY
from flow.plan.straight import Guarded, guard
from flow.run.feed import Feed
from flow.run.state import RunState

if TYPE_CHECKING:
    from flow.run.tasks import Host, Tasks


async def first_nodes(tasks: Tasks, host: Host, context: Context) -> bool:
    """Run nodes in the plan's order."""
    run = tasks.run
    values, fns, kinds, arguments, base = run.values, run.fns, run.kinds, run.arguments, tasks.base
    heads = _heads(tasks, host)
    before = host.resumed
    late = tasks.burst + YIELD_EVERY
    i = -1
    try:
        for i in tasks.todo:
            if heads is not None and i in heads:
                i = _straight_on(tasks, heads[i], context, late)
            elif kinds[i]:
                values[i] = await fns[i](*[values[slot] for slot in arguments[i]])
                if run.resolver is not None:  # it suspended: other hosts are about
                    run.resolver.done(i)
                    break
            else:
                values[i] = fns[i](*[values[slot] for slot in arguments[i]])
            now = perf_counter()
            if now > late:
                await tasks.long_burst(host, i, before, now)
                now = perf_counter()
                late = tasks.burst + YIELD_EVERY
            before = now
            try:
                changed = context != base
            except Exception:  # a value that cannot be compared: not the one it was
                changed = True
            if changed:
                return True
        else:
            return False
    except BaseException as error:
        if host.pausing:  # cancelled between two nodes
            raise
        if run.resolver is None:
            i = tasks.start_counting()  # in a stretch, not its first node
        tasks.node_raised(i, error)
        return True
    await tasks.long_burst(host, i, before, perf_counter())
    return True  # counting begins, in a fresh context


def _heads(tasks: Tasks, host: Host) -> Mapping[int, Guarded] | None:
    """Return the plan's generated code, if there is any that this run may use."""
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
    if run.started is not None or run.order is not plan.order or run.config.sync == "thread":
        return None  # every call is watched; in another order; in threads
    return (plan.heads or None) if tasks.blocking_after > 10 * YIELD_EVERY else None


def _straight_on(tasks: Tasks, stretch: Guarded, context: Context, late: float) -> int:
    """Run a stretch, of which ``todo`` has given the first node; return the last node it came to.

    Before a node's exception leaves here, ``todo`` has given that node, and none after it.
    """
    values, todo = tasks.run.values, tasks.todo
    done = 1
    try:
        done = stretch.call(values, tasks.run.fns, context, tasks.base, perf_counter, late)
    except BaseException as error:
        ended, by_node = stretch.done()
        done = max(1, ended + by_node)
        if by_node or not isinstance(error, Exception) or _comparable(context, tasks.base):
            raise  # a node's, or a signal handler's
        # Contextvars that cannot be compared: the caller will find that too.
    finally:
        next(islice(todo, done - 1, done - 1), None)
    return stretch.part[done - 1]


def _comparable(context: Context, base: Context) -> bool:
    try:
        return context == base or True
    except Exception:
        return False


async def first_items(tasks: Tasks, host: Host, context: Context, feed: Feed) -> bool:
    """Call a map's function with its items, appending the results."""
    run, base = tasks.run, tasks.base
    fn, values, source, is_async = feed.fn, feed.values, feed.source, feed.kind[0]
    before = host.resumed
    late = tasks.burst + YIELD_EVERY
    pulled = len(values)
    try:
        for item in source:
            pulled += 1
            feed.at_hand = item
            if is_async:
                value = await fn(item)
                if run.resolver is not None:  # it suspended: other hosts are about
                    values[host.node] = value
                    run.resolver.done(host.node)
                    break
                values.append(value)
            else:
                values.append(fn(item))
            now = perf_counter()
            if now > late:
                await tasks.long_burst(host, pulled - 1, before, now)
                now = perf_counter()
                late = tasks.burst + YIELD_EVERY
            before = now
            try:
                changed = context != base
            except Exception:  # a value that cannot be compared: not the one it was
                changed = True
            if changed:
                return True
        else:
            feed.pulled, feed.ended = pulled, True
            return False
    except BaseException as error:
        if host.pausing:  # cancelled between two items
            raise
        if run.resolver is None:
            if len(values) == pulled:  # it was the source
                feed.pulled = pulled
                feed.break_off(error)
                return False
            host.node = tasks.start_counting()
        tasks.node_raised(host.node, error)
        return True
    await tasks.long_burst(host, host.node, before, perf_counter())
    return True
