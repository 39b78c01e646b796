"""What of a run goes on when that ends early: nodes that clean up. They are shielded, and have ``cleanup_timeout``.

Those that run already are not cancelled with the others: on asyncio the driver passes over their tasks, on trio each
call has a scope of its own (:func:`outlasting`). Those that have not begun get another driver (:func:`drive_last`),
once the first has ended.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flow.clock import on_asyncio
from flow.errors import NodeCancelled
from flow.run.drive.services import Services


class Lasting(Services):
    """What a driver knows of the end of its run, and of what goes on after that.

    :ivar last: nothing outlasts it: it drives what is left to clean up, or the time for that is over.
    :ivar ending_since: when the run has begun to end early.
    """

    __slots__ = ("ending_since", "last")

    outer: Any
    stopping: bool
    ending_since: float
    last: bool

    def grace(self) -> float:
        """Return when what cleans up after a run that ends early must have ended, by the event loop's time."""
        now = self.now()
        self.ending_since = since = min(self.ending_since, now)
        around = self.outer
        while around is not None:
            if around.is_cancelled():
                around.ending_since = min(around.ending_since, now)
            since, around = min(since, around.ending_since), around.outer
        return since + self.run.config.cleanup_timeout

    def spares(self, me: Any) -> bool:
        """Tell whether the worker ``me`` is not cancelled with the run."""
        return not self.last and self.run.outlasts(me.node)

    def tries_again(self, i: int) -> bool:
        """Tell whether node ``i`` may be retried. If the run is ending, :func:`drive_last` tries it, at once."""
        return not self.stopping or (not self.last and self.run.outlasts(i))


async def drive_last(driver: Lasting, until: float) -> bool:
    """Drive nodes that clean up, whatever cancels the caller meanwhile. What has not ended at ``until`` is cancelled.

    :return: whether the caller has been cancelled meanwhile. (On trio its next checkpoint says so.)
    """
    return await (_on_asyncio if on_asyncio() else _on_trio)(driver, until)


async def _on_asyncio(driver: Any, until: float) -> bool:
    """A task of its own, which no cancellation of the caller's reaches."""
    import asyncio

    from anyio import CancelScope

    loop, interrupted, failed = driver.loop, False, list[BaseException]()

    async def drive() -> None:
        try:
            await driver.drive()
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # an exit would leave the loop here and now
            failed.append(error)

    task = asyncio.Task(drive(), loop=loop)
    timer = loop.call_at(until, task.cancel)
    with CancelScope(shield=True):  # else a cancelled anyio scope would wake us at every turn
        while not task.done():
            try:
                await asyncio.wait([task])
            except asyncio.CancelledError:
                interrupted = True
    timer.cancel()
    for error in failed:
        try:
            raise error
        finally:
            failed.clear()
            del error  # its traceback holds this frame: no cycle
    return interrupted


async def _on_trio(driver: Any, until: float) -> bool:
    import trio

    with trio.CancelScope(shield=True, deadline=until):
        await driver.drive()
    return False


async def outlasting(driver: Lasting, call: Callable[..., Any], *values: Any) -> Any:
    """Call what cleans up on trio. When the run ends early, this goes on for as long as it may."""
    import trio

    if driver.run.driver is not driver:  # the driver that is there now is shielded itself
        return await call(*values)
    scope = trio.CancelScope(shield=True)
    ended, value, raised = False, None, None

    async def watch() -> None:
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            scope.deadline = driver.grace() if not ended else scope.deadline
            raise

    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch)
            try:
                with scope:
                    value = await call(*values)
                    ended = True
            except BaseException as error:
                raised, ended = error, True
            nursery.cancel_scope.cancel()
    except BaseException as error:
        if not ended or not driver.is_cancellation(error):
            raise
    try:
        if raised is not None:
            raise raised
    finally:
        del raised  # its traceback holds this frame: no cycle
    if not ended:
        await trio.lowlevel.checkpoint()  # raises the cancellation of the run
        raise NodeCancelled("cleanup_timeout has passed")
    return value


__all__ = ["Lasting", "drive_last", "outlasting"]
