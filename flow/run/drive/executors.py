"""Sync functions in executors of the user's: any ``concurrent.futures.Executor``, processes included.

What is sent is ``(fn, args, kwargs)``, and nothing of the run. A call that has begun cannot be interrupted: a
cancelled node waits for it, as for a call in a thread.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import copy_context
from typing import Any

from flow.run.drive.threads import Pool
from flow.run.pickling import pickles


def submitted(executor: Any, fn: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    """Have ``fn`` called, in a copy of the contextvars if it stays in this process; return the future."""
    if pickles(executor):
        return executor.submit(fn, *args, **kwargs)
    return executor.submit(copy_context().run, fn, *args, **kwargs)


def waiting_for(executor: Any, fn: Callable[..., Any]) -> Callable[..., Any]:
    """Return a sync callable that has ``fn`` called and waits for it."""

    def waiting(*args: Any, **kwargs: Any) -> Any:
        return submitted(executor, fn, args, kwargs).result()

    return waiting


def in_executor(threads: Callable[[], Pool], executor: Any, fn: Callable[..., Any]) -> Callable[..., Any]:
    """Return an async callable that has ``fn`` called by ``executor``.

    Cancelled, a call that has not begun is withdrawn; for one that has, it waits.

    :param threads: gives those of the outermost run, which know how the event loop is woken.
    """

    async def called(*args: Any, **kwargs: Any) -> Any:
        pool = threads()
        future = submitted(executor, fn, args, kwargs)
        try:
            await _ended(pool, future)
        except BaseException:
            if not future.cancel():
                await _ended_whatever_comes(pool, future)
            raise
        return future.result()

    return called


async def _ended(pool: Pool, future: Any) -> None:
    """Wait for ``future``."""
    if future.done():
        return
    waiter = pool.new_waiter()

    def wake() -> None:
        if not waiter.done():
            waiter.set_result(None)

    future.add_done_callback(lambda _: pool.tell(wake))
    await waiter


async def _ended_whatever_comes(pool: Pool, future: Any) -> None:
    """Wait for ``future``, which has begun, whatever is thrown at this task meanwhile."""
    from anyio import CancelScope, get_cancelled_exc_class

    cancelled = get_cancelled_exc_class()
    with CancelScope(shield=True):
        while not future.done():
            try:
                await _ended(pool, future)
            except cancelled:
                continue
