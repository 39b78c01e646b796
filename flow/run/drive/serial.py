"""The first phase on an event loop: one after another, nothing counted, until something suspends or fails.

Both functions end as :func:`flow.run.drive.workers.work` does: where another worker must take over.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain
from types import CoroutineType
from typing import TYPE_CHECKING, Any, Final

from flow.run.drive.calling import called, isolated
from flow.run.drive.generated import generated_heads, run_stretch
from flow.run.drive.loop import LoopDriver, Worker
from flow.run.unawaited import never_awaited, refuse_unless_async

if TYPE_CHECKING:
    from flow.run.queue import ItemResolver

NO_CODE: Final[Mapping[int, Any]] = {}
"""A run that uses no generated code."""


async def first_nodes(driver: LoopDriver, me: Worker) -> None:
    """Run nodes in the plan's order."""
    run = driver.run
    values, fns, is_async, arguments = run.values, run.fns, run.is_async, run.arguments
    copy, clock, until, before = driver.base.copy, driver.pace.clock, driver.pace.until, me.resumed
    heads = driver.heads
    if heads is None:
        heads = driver.heads = generated_heads(driver, me) or NO_CODE
    handed, driver.handed = driver.handed, -1
    look, cancelling, task, clean, changed = driver.look, driver.cancelling, me.task, me.clean, driver.changed
    ran, failed, now = False, None, before
    for i in driver.remaining if handed < 0 else chain((handed,), driver.remaining):
        try:
            if is_async[i]:
                if ran and (look(task) != clean or cancelling(task) or changed(me)):
                    driver.handed = i
                    return
                value = await called(fns[i], values, arguments[i])
                if type(value) is CoroutineType:
                    refuse_unless_async(run, i, value)
                values[i] = value
            elif heads and i in heads:
                i = run_stretch(driver, heads[i], until)
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
                i = driver.start_counting()  # in a stretch, not its first node
            try:
                driver.leave(me, i, failed, before)
            finally:
                failed = None  # its traceback holds this frame: no cycle
            return
        before, ran = now, True
    driver.serial = False


async def first_items(driver: LoopDriver, me: Worker, feed: ItemResolver) -> None:
    """Call a map's function with its items, appending the results."""
    run, fn, values, is_async = driver.run, feed.fn, feed.values, feed.awaits[0]
    copy, clock, until, before = driver.base.copy, driver.pace.clock, driver.pace.until, me.resumed
    look, cancelling, task, clean, changed = driver.look, driver.cancelling, me.task, me.clean, driver.changed
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
            driver.serial = False
            return
    except BaseException as error:  # the source's own
        feed.pulled = pulled
        driver.serial = False
        feed.break_off(error)
        return
    if failed is not None and run.resolver is None:
        me.node = driver.start_counting()
    try:
        driver.leave(me, pulled - 1 if run.resolver is None else me.node, failed, before)
    finally:
        failed = None  # as above
