"""What a driver needs of an event loop, and of how it runs nodes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Coroutine
from typing import Any

from flow.run.drive.threads import Pool


class EventLoop:
    """What a driver needs of an event loop: to start, cancel and join tasks on it. A subclass is one event loop."""

    __slots__ = ()

    look: Callable[[Any], object]
    """Says what a task is like, so that it can be told whether a node has left something on it."""

    cancelling: Callable[[Any], object]
    """Tells whether somebody has cancelled a task, or left something open in it."""

    turn: Callable[[], Coroutine[Any, Any, None]]
    """Lets the event loop turn once."""

    loop: Any
    """The event loop itself (asyncio), or what stands for it (trio's token)."""

    polls = False
    """After a node has ended, check whether the run has been cancelled: nothing says so before."""

    def is_here(self) -> bool:
        """Tell whether the present thread runs this event loop."""
        return _loop_at_hand() is self.loop

    async def drive(self) -> None:
        """Run to the end; every task is finished when this returns or raises."""
        raise NotImplementedError

    def pump(self) -> None:
        """Start workers for what is ready."""
        raise NotImplementedError

    def pump_soon(self) -> None:
        """Have :meth:`pump` called, not within what is going on now."""
        raise NotImplementedError

    def rest(self) -> None:
        """Let the event loop turn, then :meth:`pump`."""
        raise NotImplementedError

    def spawn_delay(self, i: int, seconds: float) -> None:
        """Start a task that runs :meth:`delay`."""
        raise NotImplementedError

    def soon(self, fn: Callable[..., object], *args: Any) -> None:
        """Have ``fn`` called on the thread of the event loop, not within what is going on now.

        Any thread may call this. :raises RuntimeError: if the event loop has ended.
        """
        raise NotImplementedError

    def later(self, seconds: float, fn: Callable[[int], None], i: int) -> Any:
        """Have ``fn(i)`` called after so many seconds of the run's clock; return what has ``cancel()``."""
        raise NotImplementedError

    def hold(self, waits: Any) -> None:
        """Let the run go on until :meth:`let_go`, though no task runs. Its cancellation calls ``waits.cancel()``."""
        raise NotImplementedError

    def let_go(self, waits: Any) -> None:
        """End :meth:`hold`."""
        raise NotImplementedError

    def cancel_all(self) -> None:
        """Cancel every task, letting those that wake in this very turn have their say first."""
        raise NotImplementedError

    def shield(self, body: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Start a task that runs no node and is not cancelled with the run, which waits for it."""
        raise NotImplementedError

    def now(self) -> float:
        """Return the event loop's time in seconds."""
        raise NotImplementedError

    def outlasting(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """Let the async ``call`` of a node that cleans up go on when the run ends early, for as long as it may."""
        return call

    def new_pool(self, most: int) -> Pool:
        """Make the threads of an outermost run, at most so many."""
        raise NotImplementedError

    def work(self, me: Any, /) -> Coroutine[Any, Any, None]:
        """Run nodes: :func:`flow.run.drive.workers.work`."""
        raise NotImplementedError

    def ended(self, me: Any) -> None:
        """The worker ``me`` has ended: others go on with what is ready."""
        raise NotImplementedError

    def enter(self, me: Any) -> None:
        """Look at the task that is about to run nodes: a later look then shows changes that nodes have left on it."""
        raise NotImplementedError

    def cancel_requested(self) -> bool:
        """Tell whether the run is about to be cancelled, by its own limit or from outside."""
        raise NotImplementedError

    def is_cancelled(self) -> bool:
        """Tell whether the run is being cancelled from outside, though nothing has told this driver so yet."""
        return False

    def is_cancellation(self, error: BaseException) -> bool:
        """Tell whether ``error`` is the loop's cancellation."""
        raise NotImplementedError

    def is_cancelling(self, sent: Any) -> bool:
        """Tell whether what the loop sent into a node will raise its cancellation there."""
        return False

    def must_propagate(self, error: BaseException) -> bool:
        """Tell whether the loop insists on getting its cancellation back (trio does)."""
        return False

    def broke(self, error: BaseException) -> None:
        """End the run with an error that is no node's: a warning made an error by a filter, or a fault of ours."""
        raise NotImplementedError


def _loop_at_hand() -> Any:
    """Return the event loop that the present thread runs, as :attr:`EventLoop.loop`; None if it runs none."""
    asyncio, trio = sys.modules.get("asyncio"), sys.modules.get("trio")
    loop = None if asyncio is None else asyncio._get_running_loop()
    if loop is None and trio is not None and trio.lowlevel.in_trio_run():
        return trio.lowlevel.current_trio_token()
    return loop
