"""The driver for event loops: one machine, unbounded or bounded, on asyncio, uvloop and trio.

*The scheduling moves on, not the node* (Cilk calls it continuation stealing). A worker takes ready nodes and
awaits them one after the other; a node that finishes without suspending never meets the event loop. When a
node does suspend, its worker stays with it, and other workers are started for whatever else is ready: as many tasks
as nodes really wait, and a limit is simply the most workers there may be.

**A task in which a node has suspended runs no other node.** The worker ends with that node, and what the node left
pending on its task (a cancellation, a timer, a callback) hits nothing. A node that has not suspended may leave
the same behind; that is seen on the task before the next async node. So a worker awaits nothing but nodes.

Two phases. Until the first suspension or failure nothing needs counting: nodes are run in the plan's
fixed order. From then on the Resolver says what is ready. (A run that frees outputs has its
Resolver from the start, and so no first phase.)

Each sync node runs in a copy of the caller's contextvars; async ones in that of their worker, which ends when
one of them has changed it.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator, Iterator, Mapping
from contextvars import Context, copy_context
from operator import length_hint
from types import CoroutineType
from typing import TYPE_CHECKING, Any, Final

from flow.errors import BlockingNodeWarning, NodeAborted, NodeCancelled, NodeTimeout
from flow.run.calling import called, isolated
from flow.run.driven import Driven
from flow.run.first import first_items, first_nodes
from flow.run.outputs import never_awaited, refuse_unless_async
from flow.run.pace import IDLE
from flow.types import Status

if TYPE_CHECKING:
    from flow.policy.bind import ThreadLimit
    from flow.run.threads import Pool

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

    def __init__(self, tasks: Tasks, i: int) -> None:
        self.tasks = tasks
        self.context = tasks.base.copy()
        self.node = i
        self.body = tasks.work(self)

    def send(self, value: Any) -> Any:
        """Go on to the node's next suspension. :raises StopIteration: at the end."""
        tasks = self.tasks
        pace = tasks.pace
        signal = _ENDED
        try:
            if value is not None and tasks.is_cancelling(value):
                tasks.interrupted = True
            self.resumed = now = pace.clock()
            if now - pace.left > IDLE:
                pace.renew(now)
            signal = self.body.send(value)
            value = None  # on trio it may hold an error, whose traceback holds this frame: no cycle
            pace.left = now = pace.clock()
            if not self.suspended:
                self.suspended = True
                tasks.waiting += 1
                if tasks.run.resolver is None:
                    self.node = tasks.start_counting()
                if tasks.climb is not None:
                    self.call = tasks.climb.began(tasks.waiting, tasks.run.clock.now())
                if not tasks.pumping:
                    tasks.pump()
            if now - self.resumed > tasks.blocking_after:
                tasks.warn_blocking(self.node, now - self.resumed)
        except StopIteration:
            value = None  # as above
        except BaseException as error:
            value = None  # as above
            if tasks.must_leave(self, error):
                raise
        if signal is _ENDED:  # out of the handler: it is not the context of what other nodes raise
            if not self.suspended:
                pace.left = pace.clock()
            tasks.ended(self)
            raise StopIteration
        return signal

    def throw(self, error: Any, *rest: Any) -> Any:
        """Throw what the event loop says into the node: its cancellation."""
        tasks = self.tasks
        pace = tasks.pace
        tasks.interrupted = True
        signal = _ENDED
        try:
            self.resumed = now = pace.clock()
            if now - pace.left > IDLE:
                pace.renew(now)
            signal = self.body.throw(error)
            pace.left = now = pace.clock()
            if now - self.resumed > tasks.blocking_after:
                tasks.warn_blocking(self.node, now - self.resumed)
        except StopIteration:
            pass
        except BaseException as raised:
            if tasks.must_leave(self, raised):
                raise
        finally:
            del error, rest  # its traceback holds this frame: no cycle
        if signal is _ENDED:
            tasks.ended(self)
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


class Tasks:
    """Scheduling, whatever the event loop; a subclass starts, cancels and joins tasks on one.

    :ivar workers: tasks alive that run nodes; ``waiting`` of them are suspended in one. ``companions`` run none.
    :ivar pumping: a loop that starts workers is on.
    :ivar resting: nothing starts until the event loop has turned some times. A companion waits for that.
    :ivar uncounted: failures before a cancellation from outside; 0 if it is a failure that ends the run.
    :ivar serial: the first phase is on.
    :ivar todo: the nodes of the first phase that are left, shared by its successive workers; ``handed`` goes before.
    """

    __slots__ = (  # more names than objects of one class share
        "base", "beside", "blocking_after", "climb", "companions", "fatal", "handed", "heads", "interrupted", "limit",
        "outer", "outermost", "owns_loop", "pace", "pool", "pumping", "resting", "run", "serial", "stopping", "todo",
        "uncounted", "waiting", "workers",
    )  # fmt: skip

    look: Callable[[Any], object]
    """Says what a task is like, so that it can be told whether a node has left something on it."""

    cancelling: Callable[[Any], object]
    """Tells whether somebody has cancelled a task, or left something open in it."""

    polls = False
    """After a node has ended, ask whether the run has been cancelled: nobody says so beforehand."""

    def __init__(self, run: Driven, pace: Any, outer: Tasks | None = None) -> None:
        self.run = run
        run.tasks = self
        self.pace = pace
        self.outer = outer
        self.outermost: Tasks | None = None if outer is None else outer.outermost or outer  # all share its threads
        self.pool: Pool | None = None  # of these threads
        self.owns_loop: bool = outer is not None and outer.owns_loop  # nothing of the caller's runs on it
        self.interrupted = False  # a cancellation has reached a node
        self.blocking_after = run.config.blocking_after or float("inf")
        self.base: Context = copy_context()
        self.todo: Iterator[int] = run.first_phase()
        self.serial = run.resolver is None
        self.handed = -1
        self.heads: Mapping[int, Any] | None = None  # generated code, once the first phase has asked for it
        self.climb = run.adaptive()
        self.limit = run.limit if self.climb is None else self.climb.limit
        self.beside: Callable[[], Coroutine[Any, Any, None]] | None = None  # runs in a task of its own
        self.workers = 0
        self.waiting = 0
        self.companions = 0
        self.stopping = self.pumping = self.resting = False
        self.uncounted = 1 << 62
        self.fatal: BaseException | None = None

    # -- what a subclass does ----------------------------------------------------------------

    async def drive(self) -> None:
        """Run to the end; every task is finished when this returns or raises."""
        raise NotImplementedError

    def pump(self) -> None:
        """Start workers for what is ready."""
        raise NotImplementedError

    def rest(self) -> None:
        """Let the event loop turn, then :meth:`pump`."""
        raise NotImplementedError

    def spawn_delay(self, i: int, seconds: float) -> None:
        """Start a task that runs :meth:`delay`."""
        raise NotImplementedError

    def cancel_all(self) -> None:
        """Cancel every task, letting those that wake in this very turn have their say first."""
        raise NotImplementedError

    def in_thread(self, call: Callable[..., Any], limit: ThreadLimit | None) -> Callable[..., Any]:
        """Return an async callable that runs ``call`` in a worker thread, with its time limit, if it has one."""
        raise NotImplementedError

    def enter(self, me: Worker) -> None:
        """Look at the task that is about to run nodes: whoever leaves something on it is seen by that."""
        raise NotImplementedError

    def changed(self, me: Worker) -> bool:
        """Tell whether a node has changed a contextvar that the next one would see."""
        try:
            return bool(me.context != self.base)
        except Exception:  # a value that cannot be compared: not the one it was
            return True

    def cancel_requested(self) -> bool:
        """Tell whether the run is about to be cancelled, by its own limit or from outside."""
        raise NotImplementedError

    def is_cancellation(self, error: BaseException) -> bool:
        """Tell whether ``error`` is the loop's cancellation."""
        raise NotImplementedError

    def is_cancelling(self, sent: Any) -> bool:
        """Tell whether what the loop sent into a node will raise its cancellation there."""
        return False

    def must_propagate(self, error: BaseException) -> bool:
        """Tell whether the loop insists on getting its cancellation back (trio does)."""
        return False

    # -- running nodes -----------------------------------------------------------------------

    async def work(self, me: Worker) -> None:
        """Run ready nodes, ``me.node`` first if it is one, until one suspends or the burst is over."""
        self.enter(me)
        run = self.run
        if not self.stopping and self.cancel_requested():
            self.stop(run.failures)
        if self.stopping:
            return
        if run.resolver is None:
            feed = run.plain_feed
            await (first_nodes(self, me) if feed is None else first_items(self, me, feed))
            return
        resolver, values, fns, kinds, arguments = run.resolver, run.values, run.fns, run.kinds, run.arguments
        copy, clock, until, before = self.base.copy, self.pace.clock, self.pace.until, me.resumed
        i, ran, failed = me.node, False, None
        look, cancelling, task, clean, changed = self.look, self.cancelling, me.task, me.clean, self.changed
        if i < 0:
            i = resolver.take()
        while i >= 0:
            me.node = i
            try:
                if kinds[i]:
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
                    self.leave(me, i, failed, before)
                finally:
                    failed = None  # its traceback holds this frame: no cycle
                return
            if failed is None:
                i = resolver.advance(i)
            else:
                self.node_raised(i, failed)
                failed = None  # as above
                i = resolver.take()
            before, ran = now, True

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

    def ended(self, me: Worker) -> None:
        """The worker ``me`` has ended: others go on with what is ready."""
        raise NotImplementedError

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
        assert self.climb is not None
        self.climb.ended(call, self.run.kind_of(i), self.run.clock.now())
        self.limit = self.climb.limit

    # -- scheduling --------------------------------------------------------------------------

    def wanted(self) -> int:
        """How many workers to start where a task begins only when the event loop turns.

        Two at most, since each does the same when its node suspends. (Doubling: one per turn of the loop would start
        a thousand waiting nodes late, and one for each ready node would be waste where few of them wait.)
        """
        resolver = self.run.resolver
        if self.stopping:
            return 0
        if resolver is None:
            return int(self.serial and not self.workers)
        ready: int = resolver.ready_count
        return min(2, ready - (self.workers - self.waiting), self.limit - self.workers)

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
            if self.run.resolver is not None:
                self.run.resolver.halt()
            self.cancel_all()

    def start_counting(self) -> int:
        """End the first phase: make the Resolver from what has been done; return the node at hand."""
        todo, self.todo, self.serial = self.todo, _NOTHING, False
        i = self.run.start_counting(todo)
        if self.stopping:
            self.run.resolver.halt()
        return i

    def settle(self) -> None:
        """At the end: if the first phase was left between two nodes, say so to the Resolver."""
        left = length_hint(self.todo) + (self.handed >= 0)
        if left and self.run.resolver is None and self.run.ordered:
            self.run.resolve(self.run.order[: len(self.run.order) - left])

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
        delay = None if self.stopping else run.retry_delay(i, error)
        if delay is not None:
            self.spawn_delay(i, delay)
        elif run.fail(i, error):
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
        """Say which node held the event loop, if anybody else waited for it; a filter's error ends the run."""
        if self.owns_loop and not self.held_up(i):
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
