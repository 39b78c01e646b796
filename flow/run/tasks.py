"""The driver for event loops: one machine, unbounded or bounded, on asyncio, uvloop and trio.

*The scheduling moves on, not the node* (Cilk calls it continuation stealing). A host task takes
ready nodes and awaits them one after the other; a node that finishes without suspending never
meets the event loop. When a node does suspend, its host stays with it, and other hosts are
started for whatever else is ready: as many tasks as nodes really wait, and a limit is simply the
most hosts there may be.

Two phases. Until the first suspension or failure nothing needs counting: nodes are run in the
plan's fixed order. From then on the Resolver says what is ready. (A run that frees outputs has its
Resolver from the start, and so no first phase.)

::

    _conduct (generator)      sees every yield of its host: that is a node suspending
      '-- _host (coroutine)   takes, awaits, stores; ends when nothing is ready
            '-- the node

Each host runs in its own copy of the caller's contextvars. A node that changes one keeps that
copy to itself: its host coroutine ends and a fresh one goes on in a fresh copy.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator, Iterator, Mapping, Sequence
from contextvars import Context, copy_context
from operator import length_hint
from time import perf_counter
from types import coroutine
from typing import Any

from flow.config import YIELD_EVERY
from flow.errors import BlockingNodeWarning, NodeAborted, NodeCancelled, NodeTimeout
from flow.plan.blocks import HEAD, Block
from flow.run.driven import Driven
from flow.run.first import first_items, first_nodes
from flow.run.hot import generated_blocks, run_block
from flow.types import Status

_PAUSE: Any = object()
_NOTHING: Iterator[int] = iter(())
IDLE = 0.0005
"""Seconds without any host running after which the event loop has surely had a turn."""

TURNS = 3
"""Turns of the loop in one pause: a sleeper's timer is seen in the first, its task woken in the second,
run in the third; with one turn it would sit through three bursts."""


@coroutine
def _pause() -> Generator[Any, Any, None]:
    """Ask the conductor to let the event loop turn once."""
    yield _PAUSE


class Host:
    """What a conductor and its host coroutine tell each other."""

    __slots__ = ("call", "late", "node", "pausing", "resumed")

    def __init__(self) -> None:
        self.node = -1  # the node at hand, once the Resolver is in charge
        self.resumed = 0.0  # when this host last got the thread
        self.pausing = False  # suspended between two nodes
        self.late = 1.0  # when, between two nodes, there is more to do than take the next; 0.0: at once
        self.call: Any = None  # what a limit that adapts is to be told at the end of the node


class Tasks:
    """Scheduling, whatever the event loop; a subclass starts, cancels and joins tasks on one.

    ``hosts`` is the number of host tasks alive, ``waiting`` of those whose node is suspended and
    ``pausing`` of those that let the loop turn between two nodes: these go on with what is ready.
    """

    __slots__ = (  # more names than objects of one class share
        "base", "beside", "block", "blocking_after", "blocks", "burst", "climb", "fatal", "hosts",
        "interrupted", "kinds", "left", "limit", "limiter", "outermost", "pausing", "run", "stopping",
        "todo", "turn", "waiting",
    )  # fmt: skip

    def __init__(self, run: Driven, outer: Tasks | None = None) -> None:
        self.run = run
        run.tasks = self
        self.outermost: Tasks | None = None if outer is None else outer.outermost or outer  # all share its threads
        self.limiter: Any = None  # of these threads
        self.interrupted = False  # a cancellation has reached a node
        self.blocking_after = run.config.blocking_after or float("inf")
        self.base = copy_context()
        self.kinds: Sequence[int] | None = None  # once nodes are counted: the run's, with the heads of blocks
        self.blocks: Mapping[int, Block] | None = None  # generated code, as long as all goes well
        self.block: Sequence[int] = ()  # nodes that such code is at
        self.todo: Iterator[int] = run.first_phase()  # shared by its successive hosts
        self.climb = run.adaptive()
        self.limit = run.limit if self.climb is None else self.climb.limit
        self.beside: Callable[[], Coroutine[Any, Any, None]] | None = None  # runs in a task of its own
        self.hosts = 0
        self.waiting = 0
        self.pausing = 0
        self.stopping = False
        self.fatal: BaseException | None = None
        self.burst = 0.0  # since when hosts have had the thread without letting the loop turn
        self.left = 0.0  # when a host last gave the thread back
        self.turn = 0  # counts loop turns asked for, so that one reset serves all hosts

    # -- what a subclass does ----------------------------------------------------------------

    async def drive(self) -> None:
        """Run to the end; every task is finished when this returns or raises."""
        raise NotImplementedError

    def spawn(self) -> None:
        """Start one more host task."""
        raise NotImplementedError

    def spawn_delay(self, i: int, seconds: float) -> None:
        """Start a task that runs :meth:`delay`."""
        raise NotImplementedError

    def cancel_all(self) -> None:
        """Cancel every task, letting those that wake in this very turn have their say first."""
        raise NotImplementedError

    def in_thread(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """Return an async callable that runs ``call`` in a worker thread."""
        raise NotImplementedError

    def turn_loop(self) -> Generator[Any, Any, None]:
        """Let the event loop turn once."""
        raise NotImplementedError

    def is_cancellation(self, error: BaseException) -> bool:
        """Tell whether ``error`` is the loop's cancellation."""
        raise NotImplementedError

    def is_cancelling(self, sent: Any) -> bool:
        """Tell whether what the loop sent into a node will raise its cancellation there."""
        return False

    # -- scheduling --------------------------------------------------------------------------

    def spawn_for_ready(self) -> None:
        """Start hosts for ready nodes: two at most, since each does the same when its node suspends.

        (Doubling: one per turn of the loop would start a thousand waiting nodes late, and one for
        each ready node would be waste where few of them wait.)
        """
        resolver = self.run.resolver
        if self.stopping or resolver is None or self.pausing:
            return
        wanted = min(2, resolver.ready_count - (self.hosts - self.waiting), self.limit - self.hosts)
        for _ in range(wanted):
            self.spawn()

    def requeue(self, i: int) -> None:
        """A retry's delay is over: node ``i`` is ready again."""
        if not self.stopping:
            assert self.run.resolver is not None
            self.run.resolver.put_back(i)
            self.spawn_for_ready()

    async def delay(self, i: int, seconds: float) -> None:
        """What the task of a waiting retry runs."""
        await self.run.clock.wait(seconds)
        self.requeue(i)

    def stop(self) -> None:
        """End the run: nothing more starts, everything that waits is cancelled."""
        if not self.stopping:
            self.stopping = True
            if self.run.resolver is not None:
                self.run.resolver.halt()
            self.cancel_all()

    def start_counting(self) -> int:
        """End the first phase: make the Resolver from what has been done; return the node at hand."""
        todo, self.todo = self.todo, _NOTHING
        blocks = generated_blocks(self)
        if blocks is not None:
            self.kinds, self.blocks = blocks.kinds, blocks.by_head
        return self.run.start_counting(todo)

    def settle(self) -> None:
        """At the end: if the first phase was left between two nodes, say so to the Resolver."""
        left = length_hint(self.todo)
        if left and self.run.resolver is None:
            self.run.resolve(self.run.order[: len(self.run.order) - left])

    async def host_task(self) -> None:
        """What a host task runs."""
        try:
            await self.conduct()
        finally:
            self.hosts -= 1
        self.spawn_for_ready()  # something may have become ready since it found nothing

    @coroutine
    def conduct(self) -> Generator[Any, Any, None]:
        """Drive host coroutines, passing everything their nodes yield, receive and throw."""
        host = Host()
        again = True
        while again:
            context = self.base.copy()
            body: Any = self._host(host, context)
            resume: Callable[[Any], Any] = body.send
            value: Any = None
            suspended = 0
            while True:
                try:
                    self.waiting -= suspended
                    suspended = 0
                    host.resumed = now = perf_counter()
                    if now - self.left > IDLE:
                        self.burst = now
                        if host.late:
                            host.late = now + YIELD_EVERY
                    signal = context.run(resume, value)
                    self.left = perf_counter()
                    resume, value = body.send, None
                    if signal is _PAUSE:
                        yield from self._turn()
                        continue
                    if self.run.resolver is None:
                        host.node = self.start_counting()
                    if self.left - host.resumed > self.blocking_after:
                        self.warn_blocking(host.node, self.left - host.resumed)
                    self.waiting += 1
                    suspended = 1
                    if self.climb is not None and host.late:  # its node's first time
                        host.late = 0.0
                        host.call = self.climb.began(self.waiting, self.run.clock.now())
                    self.spawn_for_ready()
                    value = yield signal
                    if value is not None and self.is_cancelling(value):
                        self.interrupted = True
                except StopIteration as end:
                    self.left = perf_counter()
                    again = end.value
                    value = None  # a cancellation's traceback holds this frame: no cycle
                    break
                except BaseException as error:
                    if body.cr_frame is None:  # it has ended, with this
                        value = None  # as above
                        raise
                    # Thrown in by the loop, or an interrupt between two lines of ours: the node's to handle.
                    if host.pausing and not self.stopping and self.forgive(error):
                        continue  # left behind by a node that has ended
                    self.interrupted = True
                    resume, value = body.throw, error

    def _turn(self) -> Generator[Any, Any, None]:
        """Let the event loop turn once; the first host to go on begins a new burst for all."""
        turn = self.turn
        self.pausing += 1
        try:
            for _ in range(TURNS):
                yield from self.turn_loop()
        finally:
            self.pausing -= 1
        if self.turn == turn:
            self.turn += 1
            self.burst = perf_counter()

    def came_back(self, call: Any, i: int) -> None:
        """Node ``i`` has waited, and has ended well or at its time limit: let a limit that adapts look at how long."""
        assert self.climb is not None
        self.climb.ended(call, self.run.kind_of(i), self.run.clock.now())
        self.limit = self.climb.limit

    async def _host(self, host: Host, context: Context) -> bool:
        """Run ready nodes until none is left; return True if a fresh context must take over."""
        run = self.run
        if run.resolver is None:
            feed = run.plain_feed
            phase = first_nodes(self, host, context) if feed is None else first_items(self, host, context, feed)
            if await phase:
                return True
        resolver = run.resolver
        if resolver is None:
            return False
        values, fns, kinds, arguments, base = run.values, run.fns, self.kinds or run.kinds, run.arguments, self.base
        before = host.resumed
        host.late = self.burst + YIELD_EVERY
        host.call = None
        i = resolver.take()
        while i >= 0:
            host.node = at = i
            try:
                if not kinds[i]:
                    values[i] = fns[i](*[values[slot] for slot in arguments[i]])
                elif kinds[i] != HEAD:
                    values[i] = await fns[i](*[values[slot] for slot in arguments[i]])
                elif self.blocks is None:
                    values[i] = fns[i](*[values[slot] for slot in arguments[i]])
                else:
                    at = i = run_block(self, host, self.blocks[i], context)
            except BaseException as error:
                if not isinstance(error, NodeTimeout):
                    host.call = None  # how soon it fails says nothing
                at = host.node  # of a block, the one that raised
                self.node_raised(at, error)
                i = resolver.take()
            else:
                i = resolver.advance(i)
            now = perf_counter()
            if now > host.late:
                if i >= 0:  # nobody keeps a node while others go on: all of a block is to be there when its head is
                    resolver.put_back(i)
                await self.long_burst(host, at, before, now)
                now = perf_counter()
                host.late = self.burst + YIELD_EVERY
                if self.hosts > self.limit:  # which has shrunk
                    return False
                i = resolver.take()
            before = now
            try:
                changed = context != base
            except Exception:  # a value that cannot be compared: not the one it was
                changed = True
            if changed:
                if i >= 0:
                    resolver.put_back(i)
                return True
        return False

    async def long_burst(self, host: Host, i: int, before: float, now: float) -> None:
        """Between nodes, some time after the loop's last turn: warn of node ``i`` if it was that, and yield."""
        if host.call is not None:
            call, host.call = host.call, None
            self.came_back(call, i)
        took = now - max(before, host.resumed)
        if took > self.blocking_after:
            self.warn_blocking(i, took)
        if now - self.burst > YIELD_EVERY:
            host.pausing = True
            await _pause()
            host.pausing = False

    # -- outcomes ----------------------------------------------------------------------------

    def node_raised(self, i: int, error: BaseException) -> None:
        """Decide what a node's exception means: a retry, a failure, a cancellation, the end of everything."""
        run = self.run
        resolver = run.resolver
        self.blocks = None  # they are for runs in which every node ends well
        assert resolver is not None
        if resolver.status(i) is not Status.RUNNING:  # the run is over, and this coroutine is being cleared away
            raise error
        if self.is_cancellation(error):
            if self.stopping or self.must_propagate(error):
                resolver.cancelled(i)
                if self.must_propagate(error):
                    self.stopping = True
                    try:
                        raise error
                    finally:
                        del error  # its traceback holds this frame: no cycle
                return
            self.forgive(error)
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
        if own is None:
            assert self.run.resolver is not None
            self.run.resolver.cancelled(i)
        elif isinstance(own, Exception):
            self.run.fail(i, own)
        else:
            self.fatal = own
        self.stopping = True
        raise ours

    def forgive(self, error: BaseException) -> bool:
        """Take back a cancellation of the present task that the run did not ask for; tell whether it was one."""
        return False

    def broke(self, error: BaseException) -> None:
        """End the run with an error that is no node's: a warning made an error by a filter, or a fault of ours."""
        if self.fatal is None:
            self.fatal = error
        self.stop()

    def raise_fatal(self) -> None:
        """Raise what has ended the run, and let go of it."""
        fatal, self.fatal = self.fatal, None
        assert fatal is not None
        try:
            raise fatal
        finally:
            del fatal  # its traceback holds this frame: no cycle

    def must_propagate(self, error: BaseException) -> bool:
        """Tell whether the loop insists on getting its cancellation back (trio does)."""
        return False

    def warn_blocking(self, i: int, seconds: float) -> None:
        """Say which node held the event loop; where a filter makes that an error, it ends the run."""
        try:
            self.run.warn_of_blocking(i, seconds)
        except BlockingNodeWarning as error:
            self.broke(error)
