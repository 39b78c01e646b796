"""The first phase on an event loop: one after another, nothing counted, until something suspends or fails.

Both functions return as :meth:`flow.run.tasks.Tasks._host` does: True if a fresh context must take over.
"""

from __future__ import annotations

from contextvars import Context
from time import perf_counter
from typing import TYPE_CHECKING

from flow.config import YIELD_EVERY
from flow.run.feed import Feed
from flow.run.hot import generated_heads, run_stretch

if TYPE_CHECKING:
    from flow.run.tasks import Host, Tasks


async def first_nodes(tasks: Tasks, host: Host, context: Context) -> bool:
    """Run nodes in the plan's order."""
    run = tasks.run
    values, fns, kinds, arguments, base = run.values, run.fns, run.kinds, run.arguments, tasks.base
    heads = generated_heads(tasks, host)
    before = host.resumed
    late = tasks.burst + YIELD_EVERY
    i = -1
    try:
        for i in tasks.todo:
            if heads is not None and i in heads:
                i = run_stretch(tasks, heads[i], context, late)
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
