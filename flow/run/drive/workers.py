"""A worker after counting has begun: take a ready node, run it, take the next."""

from __future__ import annotations

from types import CoroutineType

from flow.run.drive.calling import called, isolated
from flow.run.drive.loop import LoopDriver, Worker
from flow.run.drive.serial import first_items, first_nodes
from flow.run.unawaited import never_awaited, refuse_unless_async


async def work(driver: LoopDriver, me: Worker) -> None:
    """Run ready nodes, ``me.node`` first if it is one, until one suspends or the burst is over."""
    driver.enter(me)
    run = driver.run
    if not driver.stopping and driver.cancel_requested():
        driver.stop(run.failures)
    if driver.stopping:
        return
    if run.resolver is None:
        feed = run.plain_feed
        await (first_nodes(driver, me) if feed is None else first_items(driver, me, feed))
        return
    resolver, values, fns, is_async, arguments = run.resolver, run.values, run.fns, run.is_async, run.arguments
    copy, clock, until, before = driver.base.copy, driver.pace.clock, driver.pace.until, me.resumed
    i, ran, failed = me.node, False, None
    look, cancelling, task, clean, changed = driver.look, driver.cancelling, me.task, me.clean, driver.changed
    if i < 0 and not driver.untold:
        i = resolver.take()
    while i >= 0:
        me.node = i
        try:
            if is_async[i]:
                if ran and (look(task) != clean or cancelling(task) or changed(me)):
                    resolver.put_back(i)
                    return
                slots = arguments[i]
                call = fns[i](values[slots[0]]) if len(slots) == 1 else called(fns[i], values, slots)
                value = await call
                if type(value) is CoroutineType:
                    refuse_unless_async(run, i, value)
                values[i] = value
            else:
                value = isolated(copy, fns[i], values, arguments[i])
                if type(value) is CoroutineType:
                    raise never_awaited(run, i, value)
                values[i] = value
            value = None  # it may be let go before the next one comes
            now = clock()
        except BaseException as error:
            failed = error
            now = clock()
        if me.suspended or now > until:
            try:
                driver.leave(me, i, failed, before)
            finally:
                failed = None  # its traceback holds this frame: no cycle
            return
        if failed is None:
            i = resolver.advance(i)
        else:
            try:
                driver.node_raised(i, failed)
            finally:
                failed = None  # as above
            i = -1 if driver.untold else resolver.take()
        before, ran = now, True
