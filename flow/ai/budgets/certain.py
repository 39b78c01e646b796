"""Calls in a thread that are made whole, or not at all, whatever becomes of who awaits them."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock, Thread
from typing import Generic, Literal, TypeVar

T = TypeVar("T")


class _Work(Generic[T]):
    """One call, which is made once at most."""

    __slots__ = ("_fn", "_lock", "_result", "_state", "_undo")

    def __init__(self, fn: Callable[[], T]) -> None:
        self._fn = fn
        self._lock = Lock()
        self._state: Literal["new", "begun", "done", "left"] = "new"
        self._result: list[T] = []
        self._undo: Callable[[T], object] | None = None

    def run(self) -> T | None:
        """Make it, unless somebody has; undo it again if nobody is there for its result any more."""
        with self._lock:
            if self._state != "new":
                return None
            self._state = "begun"
        result = self._fn()
        with self._lock:
            undo = self._undo
            if undo is None:
                self._state = "done"
                self._result.append(result)
        if undo is not None:
            undo(result)
        return result

    def leave(self, undo: Callable[[T], object]) -> None:
        """Nobody is there for its result: what it does, or has done, is undone, in a thread."""
        with self._lock:
            if self._state == "done":
                Thread(target=undo, args=(self._result.pop(),), name="flow-ai-undo").start()
            elif self._state == "begun":
                self._undo = undo
            self._state = "left"


async def taken(fn: Callable[[], T], undo: Callable[[T], object]) -> T:
    """Call ``fn`` in a thread and return its result. If that is cancelled meanwhile, ``undo`` is given the result."""
    from anyio import lowlevel, to_thread  # here: only those need it whose budget has a store

    work = _Work(fn)
    try:
        result = await to_thread.run_sync(work.run)
        await lowlevel.checkpoint_if_cancelled()
    except BaseException:
        work.leave(undo)
        raise
    return result  # type: ignore[return-value]  # it was new


async def surely(fn: Callable[[], object]) -> None:
    """Call ``fn`` in a thread, once, also if this is cancelled: it may go on after this has returned then."""
    from anyio import CancelScope, to_thread

    work = _Work(fn)
    try:
        with CancelScope(shield=True):
            await to_thread.run_sync(work.run)
    except BaseException:
        work.run()  # unless a thread has begun it
        raise


__all__ = ["surely", "taken"]
