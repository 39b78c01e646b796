"""A run as a stream of its events, with its Result at the end: :func:`stream`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from functools import partial
from types import TracebackType
from typing import Any, Final, Self, TypeAlias, Unpack

import msgspec

from flow.clock import on_asyncio
from flow.config import Config
from flow.data.store import WorkflowData
from flow.errors import UsageError
from flow.exports import only
from flow.graph.dag import Dag, Ref
from flow.plan.plan import Plan
from flow.run.api import _hook, _refusal, _start, durability, finished, has_ended
from flow.run.background import Background, in_background
from flow.run.drive.threads import TrioWaiter
from flow.run.events import Event
from flow.run.hooks import HookFailed
from flow.run.journal import Durable, OnChange, OnConflict, OnWait, ends_quietly
from flow.run.launch import drive_alone
from flow.run.mailbox import Mailbox
from flow.run.result import Result
from flow.run.state import PlanRun
from flow.run.unread import Unread
from flow.tracebacks import OUR_ERRORS, end_at_user, ends_at_user
from flow.types import NodeRef, Nothing

Item: TypeAlias = Event | Result
"""What a stream yields: events, and the Result as the last."""

IN_A_ROW: Final = 100
"""Events that a reader gets before the event loop turns, if it awaits nothing else."""

_LEFT: Final[dict[Unread, Background]] = {}
"""Runs whose streams were let go before their end: an event loop alone would not hold them."""


class StreamStatistics(msgspec.Struct, frozen=True):
    """What has come to a :class:`Stream` so far.

    :ivar read: events that the reader has got.
    :ivar unread: events that wait for it.
    :ivar coalesced: events that others have taken the place of, or that were joined with others, before they were read.
    """

    read: int
    unread: int
    coalesced: int


class Stream(AsyncIterator[Item]):
    """The events of a run as they come, then its :class:`flow.Result`. (:func:`flow.stream` makes it.)

    The run begins with the first event asked for. One task may read at a time.

    :ivar run_id: the id of the run.
    """

    __slots__ = (
        "__weakref__", "_background", "_body", "_in_a_row", "_mailbox", "_over", "_reading", "_unread", "_wake",
        "run_id",
    )  # fmt: skip

    def __init__(self, run_id: str, body: Callable[[], Any], unread: Unread, mailbox: Mailbox) -> None:
        self.run_id = run_id
        self._body: Callable[[], Any] | None = body
        self._mailbox = mailbox
        self._unread = unread
        self._background: Background | None = None
        self._wake: Any = None
        self._over = self._reading = False
        self._in_a_row = 0

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Item:
        """Return the next event that has not been read, or the Result. O(1).

        :raises RunError: after the last event, as :func:`flow.execute` does.
        :raises UsageError: if another task is reading.
        """
        try:
            return await self._next()
        except OUR_ERRORS as error:
            end_at_user(error)
            raise

    async def _next(self) -> Item:
        if self._reading:
            raise UsageError("a stream of a run is read by one task at a time, and another waits for its next event")
        if self._over:
            raise StopAsyncIteration
        self._reading = True
        try:
            background = self._background or self._begin()
            event = await self._event(background)
        except GeneratorExit:  # closed from outside: waiting is no longer possible
            self._let_go()
            raise
        except BaseException:  # the reader is cancelled, and so is the run
            await self.aclose()
            raise
        finally:
            self._reading = False
        if self._over:  # another task has closed it meanwhile
            raise StopAsyncIteration
        return self._outcome(background) if event is None else event

    async def _event(self, background: Background) -> Event | None:
        """Wait for the next event; None if there will be none, and the run has ended."""
        unread = self._unread
        while True:
            event = unread.take()
            if event is not None:
                await self._give_way()
                return event
            self._in_a_row = 0
            waiter = unread.wait()
            if waiter is not None:
                await waiter
            elif unread.ended:
                await background.wait()
                return None

    def _begin(self) -> Background:
        """Start the run, on the running event loop."""
        new_waiter: Callable[[], Any] = TrioWaiter
        if on_asyncio():
            from asyncio import get_running_loop

            loop = get_running_loop()
            new_waiter, self._wake = loop.create_future, loop.call_soon_threadsafe
        else:
            from trio.lowlevel import current_trio_token

            self._wake = current_trio_token().run_sync_soon
        self._unread.read_by(new_waiter, self._wake)
        body, self._body = self._body, None
        assert body is not None
        self._background = background = in_background(body)
        return background

    async def _give_way(self) -> None:
        """Let the event loop turn now and then: a reader that awaits nothing else would hold it."""
        self._in_a_row += 1
        if self._in_a_row >= IN_A_ROW:
            from anyio.lowlevel import checkpoint

            self._in_a_row = 0
            await checkpoint()

    def _outcome(self, background: Background) -> Result:
        self._over, self._background = True, None
        if background.error is not None:
            _raise_error_of(background)
        if background.cancelled:
            raise UsageError("the run of this stream has no Result: its task was cancelled, and not by the stream")
        result: Result = background.value
        return result

    async def aclose(self) -> None:
        """End the run if it goes on, and wait for its end. Closing again does nothing.

        :raises RunError: if nodes fail while they are cancelled.
        """
        self._over, background = True, self._background
        self._background = self._body = None
        if background is None or background.ended:
            return
        try:
            try:
                await background.end()
            finally:
                _raise_error_of(background)
        except OUR_ERRORS as error:
            end_at_user(error)
            raise

    def _let_go(self) -> None:
        """End the run if it goes on, without waiting for its end."""
        self._over, background = True, self._background
        self._background = self._body = None
        if background is None or background.ended:
            return
        _LEFT[self._unread] = background
        try:
            self._wake(_cancel, self._unread)
        except RuntimeError:  # the event loop has ended, and with it the run
            _LEFT.pop(self._unread, None)

    def __del__(self) -> None:
        if self._background is not None:
            self._let_go()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            await self.aclose()
        except OUR_ERRORS as raised:
            end_at_user(raised)
            raise

    @ends_at_user
    def send(self, address: str | NodeRef[Any], payload: Any = None) -> None:
        """Send ``payload`` to a signal of the run, as :meth:`flow.RunHandle.send` does. Any thread may call this.

        :raises SignalError: if the run does not take it.
        """
        self._mailbox.send(address, payload)

    @property
    def waiting(self) -> tuple[str, ...]:
        """The addresses of the signals that nodes wait for now, in the order in which they began to."""
        return self._mailbox.waiting()

    def statistics(self) -> StreamStatistics:
        """Return how many events were read, wait to be read, and were coalesced. O(1)."""
        unread = self._unread
        waiting = len(unread)
        return StreamStatistics(unread.read, waiting, unread.arrived - unread.read - waiting)


def stream(
    target: Dag | Plan,
    inputs: Mapping[str, Any] | None = None,
    *,
    targets: Ref | Iterable[Ref] | None = None,
    known: Mapping[Any, Any] | Result | None = None,
    config: Config | None = None,
    run_id: str | None = None,
    data: WorkflowData | None = None,
    store: Durable | None = None,
    on_conflict: OnConflict | None = None,
    on_change: OnChange = "fail",
    on_wait: OnWait = "block",
    **wrong: Unpack[Nothing],
) -> Stream:
    """Run a Dag or Plan on the running event loop, and iterate over its events as they come, then its Result.

    >>> async for event in flow.stream(dag):
    ...     match event:
    ...         case flow.events.NodeEmitted(key="text", value=text):
    ...             print(text, end="")
    ...         case flow.Result():
    ...             print(event["answer"])

    Events are those of ``Config.observers``, which go on to be called too. The reader never holds the run up: of events
    that it has not read, only the newest of each kind, node and run is kept, and of what a node emits the newest value
    of each key. Texts that were emitted with ``append=True`` are joined. The memory is O(nodes + keys), and the text.

    The arguments, and the errors, are those of :func:`flow.execute`. Wrong arguments are refused at once; the run
    begins with the first event asked for. :meth:`Stream.send` sends to its signals.

    Leaving the loop cancels the run: a cancelled reader waits for its end, as do ``aclose()`` and the end of ``async
    with flow.stream(...) as events``. After a bare ``break`` the run ends in the background.

    :raises RunError: from the loop, after the last event.
    """
    try:
        if wrong:
            raise _refusal("flow.stream", target, wrong)
        unread = Unread()
        durable = durability(store, on_conflict, on_change, on_wait)
        state = _start(target, inputs, targets, known, config, run_id, data, True, unread.put, durable)
        mailbox = Mailbox(state)
        return Stream(state.run_id, partial(_run, state, unread, mailbox), unread, mailbox)
    except OUR_ERRORS as error:
        end_at_user(error)
        raise


async def _run(state: PlanRun, unread: Unread, mailbox: Mailbox) -> Result:
    """Run to the end, as :func:`flow.execute` does."""
    config = state.config
    try:
        if has_ended(state):
            return finished(state)
        if config.on_outcome is not None or config.before_call is not None:
            _hook(state, on_loop=True)
        try:
            await drive_alone(state, owns_loop=False, mailbox=mailbox)
        except HookFailed as error:
            failed = error.let_go()
            if ends_quietly(failed):
                return finished(state)
        except BaseException:
            state.forget()
            raise
        else:
            return finished(state)
        state.forget()
        try:
            raise failed
        finally:
            del failed  # its traceback holds this frame: no cycle
    finally:
        unread.end()
        _LEFT.pop(unread, None)


def _cancel(unread: Unread) -> None:
    background = _LEFT.get(unread)
    if background is not None:  # else it has ended meanwhile
        background.cancel()  # after its first step: what has begun takes itself out of there


def _raise_error_of(background: Background) -> None:
    error, background.error = background.error, None
    try:
        if error is not None:
            raise error
    finally:
        del error  # its traceback holds this frame: no cycle


__all__ = ["Stream", "StreamStatistics", "stream"]
__dir__ = only(__all__)
