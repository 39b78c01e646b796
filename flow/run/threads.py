"""Sync functions in worker threads. Cancelled, a node that waits for a thread gives up; one that has it is joined."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from flow.run.tasks import Tasks


def on_asyncio(tasks: Tasks, call: Callable[..., Any]) -> Callable[..., Any]:
    """Run ``call`` in a worker thread, with a copy of the contextvars; a cancelled wait still joins it."""
    import asyncio

    from anyio import CancelScope, CapacityLimiter, to_thread

    async def threaded(*values: Any) -> Any:
        if tasks.limiter is None:
            tasks.limiter = CapacityLimiter(tasks.run.config.threads)
        inside = partial(_exit_as_value, call, values)
        slot = object()
        await tasks.limiter.acquire_on_behalf_of(slot)
        work = asyncio.ensure_future(to_thread.run_sync(inside, limiter=CapacityLimiter(1)))
        try:
            result, exit_ = await asyncio.shield(work)
        except asyncio.CancelledError:
            with CancelScope(shield=True):
                while not work.done():
                    try:
                        await asyncio.wait([work])
                    except asyncio.CancelledError:
                        continue
            if not work.cancelled():
                work.exception()  # seen: the cancellation goes on instead
            raise
        finally:
            tasks.limiter.release_on_behalf_of(slot)
        if exit_ is not None:
            raise exit_
        return result

    return threaded


def on_anyio(tasks: Tasks, call: Callable[..., Any]) -> Callable[..., Any]:
    """As :func:`on_asyncio`; anyio itself waits for the thread of a cancelled node."""
    import anyio
    import anyio.lowlevel
    import anyio.to_thread

    async def threaded(*values: Any) -> Any:
        if tasks.limiter is None:
            tasks.limiter = anyio.CapacityLimiter(tasks.run.config.threads)
        work = partial(_exit_as_value, call, values)
        result, exit_ = await anyio.to_thread.run_sync(work, limiter=tasks.limiter)
        if exit_ is not None:
            raise exit_
        await anyio.lowlevel.checkpoint_if_cancelled()  # it was waited for, but its time was up
        return result

    return threaded


def _exit_as_value(call: Callable[..., Any], values: tuple[Any, ...]) -> tuple[Any, BaseException | None]:
    """Call, and return an exit as a value: no thread pool or helper task is to act on it, the run is."""
    try:
        return call(*values), None
    except Exception:
        raise
    except BaseException as error:
        return None, error
