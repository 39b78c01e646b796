"""The driver for event loops: one machine, unbounded or bounded, on asyncio, uvloop and trio.

*The scheduling moves on, not the node* (Cilk calls it continuation stealing). A worker takes ready nodes and
awaits them one after the other; a node that finishes without suspending never meets the event loop. When a
node does suspend, its worker stays with it, and other workers are started for whatever else is ready: as many tasks
as nodes really wait, and a limit is simply the most workers there may be.

**A task in which a node has suspended runs no other node.** The worker ends with that node, and what the node left
pending on its task (a cancellation, a timer, a callback) hits nothing. A node that has not suspended may leave
the same behind; that is seen on the task before the next async node. So a worker awaits nothing but nodes.

Two phases. Until the first suspension or failure nothing needs counting: nodes are run in the plan's
fixed order (:mod:`flow.run.drive.serial`). From then on the Resolver says what is ready
(:mod:`flow.run.drive.workers`). A run that frees outputs, knows outcomes or has hooks counts from its start.

Each sync node runs in a copy of the caller's contextvars; async ones in that of their worker, which ends when
one of them has changed it.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator, Iterator, Mapping
from contextvars import Context, copy_context
from math import inf
from operator import length_hint
from typing import Any, Final

from flow.errors import BlockingNodeWarning, NodeAborted, NodeCancelled, NodeTimeout
from flow.run.calls import Calls
from flow.run.drive.last import Lasting
from flow.run.drive.services import NOBODY
from flow.run.pacing import IDLE
from flow.types import Status

_NOTHING: Iterator[int] = iter(())
_ENDED: Final[Any] = object()


class Worker(Coroutine[Any, Any, None]):
    """The coroutine of one task: steps ``body``, which runs nodes, and looks at the clock around each step.

    :ivar node: the node at hand, once the Resolver is in charge.
    :ivar suspended: it has suspended, and is the last node of this worker.
    :ivar rests: the burst is over: the event loop is to turn before anything else starts.
    :ivar resumed: when this worker last got the thread.
    :ivar task: the event loop's task that steps this.
    :ivar clean: what ``task`` was like before any node was run in it.
    :ivar after: the taken node that is to follow, of those that its own has made ready; -1 if none.
    :ivar call: what a limit that adapts is to be told at the end of the node.
    """

    # Defaults of the class: most workers never set them, and each assignment is part of the price of a run.
    suspended = rests = False
    after = -1
    task: Any = None
    clean: Any = None
    call: Any = None

    def __init__(self, driver: LoopDriver, i: int) -> None:
        self.driver = driver
        self.context = driver.base.copy()
        self.node = i
        self.body = driver.work(self)

    def send(self, value: Any) -> Any:
        """Go on to the node's next suspension. :raises StopIteration: at the end."""
        driver = self.driver
        pace = driver.pace
        signal = _ENDED
        try:
            if value is not None and driver.is_cancelling(value):
                driver.interrupted = True
            self.resumed = now = pace.clock()
            if now - pace.left > IDLE:
                pace.renew(now)
            signal = self.body.send(value)
            value = None  # on trio it may hold an error, whose traceback holds this frame: no cycle
            pace.left = now = pace.clock()
            if not self.suspended:
                self.suspended = True
                driver.waiting += 1
                if driver.run.resolver is None:
                    self.node = driver.start_counting()
                if driver.search is not None:
                    self.call = driver.search.began(driver.waiting, driver.run.clock.now())
                if not driver.pumping:
                    driver.pump()
            if now - self.resumed > driver.blocking_after:
                driver.warn_blocking(self.node, now - self.resumed)
        except StopIteration:
            value = None  # as above
        except BaseException as error:
            value = None  # as above
            if driver.must_leave(self, error):
                raise
        if signal is _ENDED:  # out of the handler: it is not the context of what other nodes raise
            if not self.suspended:
                pace.left = pace.clock()
            driver.ended(self)
            raise StopIteration
        return signal

    def throw(self, error: Any, *rest: Any) -> Any:
        """Throw what the event loop says into the node: its cancellation."""
        driver = self.driver
        pace = driver.pace
        driver.interrupted = True
        signal = _ENDED
        try:
            self.resumed = now = pace.clock()
            if now - pace.left > IDLE:
                pace.renew(now)
            signal = self.body.throw(error)
            pace.left = now = pace.clock()
            if now - self.resumed > driver.blocking_after:
                driver.warn_blocking(self.node, now - self.resumed)
        except StopIteration:
            pass
        except BaseException as raised:
            if driver.must_leave(self, raised):
                raise
        finally:
            del error, rest  # its traceback holds this frame: no cycle
        if signal is _ENDED:
            driver.ended(self)
            raise StopIteration
        return signal

    def close(self) -> None:
        """The event loop is gone."""
        self.body.close()

    def __await__(self) -> Generator[Any, Any, None]:
        return self.body.__await__()

    @property
    def cr_frame(self) -> Any:
        """Where it stands, for debuggers and for trio."""
        return getattr(self.body, "cr_frame", None)

    @property
    def cr_running(self) -> bool:
        """Whether it is being stepped: a lock of trio's asks for the state of the task that takes it."""
        return getattr(self.body, "cr_running", False)

    @property
    def cr_suspended(self) -> bool:
        """Whether it waits for something."""
        return getattr(self.body, "cr_suspended", False)


class LoopDriver(Lasting):
    """Scheduling, whatever the event loop; a subclass starts, cancels and joins tasks on one.

    :ivar waiting: workers that are suspended in a node. ``companions`` are tasks that run none.
    :ivar pumping: a loop that starts workers is on.
    :ivar resting: nothing starts until the event loop has turned some times. A companion waits for that.
    :ivar uncounted: failures before a cancellation from outside; 0 if it is a failure that ends the run.
    :ivar serial: the first phase is on.
    :ivar remaining: the nodes of the first phase that are left, for its successive workers; ``handed`` goes before.
    """

    __slots__ = (  # more names than objects of one class share
        "base", "blocking_after", "companion", "companions", "fatal", "handed", "heads", "outer",
        "owns_loop", "pace", "pumping", "remaining", "resting", "search", "serial", "stopping", "uncounted", "waiting",
    )  # fmt: skip

    waiting: int
    pumping: bool
    pace: Any
    search: Any
    blocking_after: float

    def __init__(self, run: Calls, pace: Any, outer: LoopDriver | None = None) -> None:
        self.run = run
        run.driver = self
        self.outermost = None if outer is None else outer.outermost or outer
        self.pool = None
        self.interrupted = False
        self.workers = self.outside = 0
        self.returning = self.untold = NOBODY
        self.pace = pace
        self.outer = outer
        self.owns_loop: bool = outer is not None and outer.owns_loop  # nothing of the caller's runs on it
        self.blocking_after = run.config.blocking_after or float("inf")
        self.base: Context = copy_context()
        self.remaining: Iterator[int] = run.first_phase()
        self.serial = run.resolver is None
        self.handed = -1
        self.heads: Mapping[int, Any] | None = None  # generated code, once the first phase has asked for it
        self.search = run.adaptive()
        self.limit = run.limit if self.search is None else self.search.limit
        self.companion: Callable[[], Coroutine[Any, Any, None]] | None = None  # runs in a task of its own
        self.waiting = 0
        self.companions = 0
        self.stopping = self.pumping = self.resting = False
        self.last, self.ending_since = False, inf
        self.uncounted = 1 << 62
        self.fatal: BaseException | None = None

    # -- running nodes -----------------------------------------------------------------------

    def changed(self, me: Worker) -> bool:
        """Tell whether a node has changed a contextvar that the next one would see."""
        try:
            return bool(me.context != self.base)
        except Exception:  # a value that cannot be compared: not the one it was
            return True

    def leave(self, me: Worker, i: int, failed: BaseException | None, before: float) -> None:
        """Node ``i`` is the last of ``me``: it has suspended, or the burst is over. It has ended, or raised ``failed``.

        :param before: when the node before it had ended.
        """
        now = self.pace.clock()
        self.pace.left = now
        # Of a node that has waited only a long step: thousands may wake in one turn of the loop, as tasks would.
        me.rests = now > self.pace.until and (not me.suspended or now - me.resumed > IDLE)
        if self.polls and not self.stopping and self.cancel_requested():
            self.stop(self.run.failures)
        took = now - max(before, me.resumed)
        if took > self.blocking_after:
            self.warn_blocking(i, took)
        if me.call is not None and (failed is None or isinstance(failed, NodeTimeout)):  # else how soon says nothing
            self.came_back(me.call, i)
        try:
            if failed is not None:
                self.node_raised(i, failed)
            elif self.run.resolver is not None:
                me.after = self.run.resolver.advance(i)
        finally:
            del failed  # its traceback holds this frame: no cycle

    def must_leave(self, me: Worker, error: BaseException) -> bool:
        """Tell whether ``error``, with which the worker ``me`` ends, is for the event loop; else it ends the run."""
        if not self.is_cancellation(error) and not isinstance(error, GeneratorExit):
            self.broke(error)
            return False
        self.workers -= 1
        self.waiting -= me.suspended
        me.task = None  # as above
        return True

    def came_back(self, call: Any, i: int) -> None:
        """Node ``i`` has waited, and has ended well or at its time limit: let a limit that adapts look at how long."""
        assert self.search is not None
        self.search.ended(call, self.run.call_kind(i), self.run.clock.now())
        self.limit = self.search.limit

    # -- scheduling --------------------------------------------------------------------------

    def wanted(self) -> int:
        """How many workers to start where a task begins only when the event loop turns.

        Two at most, since each does the same when its node suspends. (Doubling: one per turn of the loop would start
        a thousand waiting nodes late, and one for each ready node would be waste where few of them wait.)
        """
        resolver = self.run.resolver
        if self.stopping or self.untold:
            return 0
        if resolver is None:
            return int(self.serial and not self.workers)
        ready: int = resolver.ready_count
        return min(2, ready - (self.workers - self.waiting), self.limit + self.outside - self.workers)

    def requeue(self, i: int) -> None:
        """A retry's delay is over: node ``i`` is ready again."""
        if not self.stopping:
            assert self.run.resolver is not None
            self.run.resolver.put_back(i)
            self.pump()

    async def delay(self, i: int, seconds: float) -> None:
        """What the task of a waiting retry runs."""
        await self.run.clock.wait(seconds)
        self.requeue(i)

    def stop(self, uncounted: int = 0) -> None:
        """End the run: nothing more starts, everything that waits is cancelled."""
        if not self.stopping:
            self.stopping = True
            self.uncounted = uncounted
            self.ending_since = min(self.ending_since, self.now())
            if self.run.resolver is not None:
                self.run.resolver.halt()
            self.cancel_all()

    def start_counting(self) -> int:
        """End the first phase: make the Resolver from what has been done; return the node at hand."""
        left, self.remaining, self.serial = self.remaining, _NOTHING, False
        i = self.run.start_counting(left)
        if self.stopping:
            self.run.resolver.halt()
        return i

    def settle(self) -> None:
        """At the end: if the first phase was left between two nodes, say so to the Resolver."""
        left = length_hint(self.remaining) + (self.handed >= 0)
        if left and self.run.resolver is None and self.run.ordered:
            self.run.count_after(len(self.run.order) - left)

    # -- outcomes ----------------------------------------------------------------------------

    def node_raised(self, i: int, error: BaseException) -> None:
        """Decide what a node's exception means: a retry, a failure, a cancellation, the end of everything."""
        run = self.run
        resolver = run.resolver
        assert resolver is not None
        if resolver.status(i) is not Status.RUNNING:  # the run is over, and this coroutine is being cleared away
            raise error
        if isinstance(error.__cause__, StopIteration) and str(error) == "coroutine raised StopIteration":
            error = self.run.plain_error(i, error)
        if not self.stopping and self.cancel_requested():  # else what its clean-up raises would be tried again
            self.stop(run.failures)
        if self.is_cancellation(error):
            if self.stopping or self.must_propagate(error):
                resolver.cancelled(i)
                if self.must_propagate(error):
                    try:
                        raise error
                    finally:
                        del error  # its traceback holds this frame: no cycle
                return
            cancelled = NodeCancelled(f"node {run.name_of(i)!r} raised {type(error).__name__} by itself")
            cancelled.__cause__ = error
            error = cancelled
        if isinstance(error, BaseExceptionGroup) and self.must_propagate(error):
            self._split_cancellation(i, error)
        if not isinstance(error, Exception):
            self.fatal = error
            aborted = NodeAborted(f"{type(error).__name__} in node {run.name_of(i)!r} ended the run")
            run.fail(i, aborted)
            self.stop()
            return
        delay = run.retry_delay(i, error) if self.tries_again(i) else None
        if delay is not None and not self.stopping:
            self.spawn_delay(i, delay)
        elif delay is None and run.fail(i, error):
            self.stop()

    def _split_cancellation(self, i: int, group: BaseExceptionGroup[Any]) -> None:
        """A task group within node ``i`` was cancelled and failed as well: record the failure, let the rest go on."""
        ours, own = group.split(lambda error: self.is_cancellation(error))
        if ours is None:
            return
        if isinstance(own, Exception):
            self.run.fail(i, own)
        else:
            self.fatal = own
        raise ours

    def broke(self, error: BaseException) -> None:
        """End the run with an error that is no node's: a warning made an error by a filter, or a fault of ours."""
        if self.fatal is None:
            self.fatal = error
        self.stop()

    def cut_off(self) -> bool:
        """A cancellation has ended the run: tell whether errors take its place, as in the loop's own task group.

        They are those of nodes that have failed since, in their clearing up. (Not in a run that owns its loop, where
        it means Ctrl-C: there they are attached to that.)
        """
        run = self.run
        run.cut_off = run.failures > self.uncounted and (self.outer is not None or not self.owns_loop)
        return run.cut_off

    def raise_fatal(self) -> None:
        """Raise what has ended the run, if it is no node's failure."""
        fatal, self.fatal = self.fatal, None
        if fatal is None:
            return
        try:
            self.run.attach_errors(fatal)
            raise fatal
        finally:
            del fatal  # its traceback holds this frame: no cycle

    def warn_blocking(self, i: int, seconds: float) -> None:
        """Say which node held the event loop, if anybody else waited for it; a filter's error ends the run.

        Where threads compute, the loop's waits for them to let go of the interpreter: no node of theirs holds it.
        """
        if self.run.called_elsewhere(i) or (self.owns_loop and not self.held_up(i)):
            return
        try:
            self.run.warn_of_blocking(i, seconds)
        except BlockingNodeWarning as error:
            self.broke(error)

    def held_up(self, i: int | None) -> bool:
        """Tell whether anything of this run, or of those around it, could have gone on but for its node ``i``.

        :param i: None for the one in which the run stands that asks.
        """
        run = self.run
        if self.workers + self.companions - self.resting > 1:
            return True
        if self.limit > 1 and (run.others_ready(i) if run.resolver is None else run.resolver.ready_count):
            return True
        return self.outer is not None and self.outer.held_up(None)
