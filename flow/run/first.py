"""The first phase on an event loop: one after another, nothing counted, until something suspends or fails.

Both functions end as :meth:`flow.run.tasks.Tasks.work` does: where another worker must take over.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain
from types import CoroutineType
from typing import TYPE_CHECKING, Any, Final

from flow.run.calling import called, isolated
from flow.run.feed import Feed
from flow.run.hot import generated_heads, run_stretch
from flow.run.outputs import never_awaited, refuse_unless_async

NO_CODE: Final[Mapping[int, Any]] = {}
"""A run that uses no generated code."""

if TYPE_CHECKING:
    from flow.run.tasks import Tasks, Worker


async def first_nodes(tasks: Tasks, me: Worker) -> None:
    """Run nodes in the plan's order."""
    run = tasks.run
    values, fns, kinds, arguments = run.values, run.fns, run.kinds, run.arguments
    copy, clock, until, before = tasks.base.copy, tasks.pace.clock, tasks.pace.until, me.resumed
    heads = tasks.heads
    if heads is None:
        heads = tasks.heads = generated_heads(tasks, me) or NO_CODE
    handed, tasks.handed = tasks.handed, -1
    look, cancelling, task, clean, changed = tasks.look, tasks.cancelling, me.task, me.clean, tasks.changed
    ran, failed = False, None
    for i in tasks.todo if handed < 0 else chain((handed,), tasks.todo):
        try:
            if kinds[i]:
                if ran and (look(task) != clean or cancelling(task) or changed(me)):
                    tasks.handed = i
                    return
                value = await called(fns[i], values, arguments[i])
                if type(value) is CoroutineType:
                    refuse_unless_async(run, i, value)
                values[i] = value
            elif heads and i in heads:
                i = run_stretch(tasks, heads[i], until)
            else:
                value = isolated(copy, fns[i], values, arguments[i])
                if type(value) is CoroutineType:
                    raise never_awaited(run, i, value)
                values[i] = value
            value = None  # it may be let go before the next one comes
            now = clock()
        except BaseException as error:
            failed = error
        if failed is not None or me.suspended or now > until:
            if failed is not None and run.resolver is None:
                i = tasks.start_counting()  # in a stretch, not its first node
            try:
                tasks.leave(me, i, failed, before)
            finally:
                failed = None  # its traceback holds this frame: no cycle
            return
        before, ran = now, True
    tasks.serial = False


async def first_items(tasks: Tasks, me: Worker, feed: Feed) -> None:
    """Call a map's function with its items, appending the results."""
    run, fn, values, is_async = tasks.run, feed.fn, feed.values, feed.kind[0]
    copy, clock, until, before = tasks.base.copy, tasks.pace.clock, tasks.pace.until, me.resumed
    look, cancelling, task, clean, changed = tasks.look, tasks.cancelling, me.task, me.clean, tasks.changed
    pulled = len(values)
    failed = None
    try:
        for item in feed.source:
            pulled += 1
            feed.at_hand = item
            try:
                value = await fn(item) if is_async else copy().run(fn, item)
            except BaseException as error:
                failed = error
                break
            if me.suspended:
                values[me.node] = value
                break
            values.append(value)
            value = None  # it may be let go before the next one comes
            if (now := clock()) > until or (is_async and (look(task) != clean or cancelling(task) or changed(me))):
                break
            before = now
        else:
            feed.pulled, feed.ended = pulled, True
            tasks.serial = False
            return
    except BaseException as error:  # the source's own
        feed.pulled = pulled
        tasks.serial = False
        feed.break_off(error)
        return
    if failed is not None and run.resolver is None:
        me.node = tasks.start_counting()
    try:
        tasks.leave(me, pulled - 1 if run.resolver is None else me.node, failed, before)
    finally:
        failed = None  # as above
