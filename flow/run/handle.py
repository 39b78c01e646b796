"""A run in the background of its caller, to which signals are sent: :func:`start`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import partial
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack

from flow.clock import on_asyncio
from flow.config import Config
from flow.data.store import WorkflowData
from flow.errors import UsageError
from flow.graph.dag import Dag
from flow.graph.options import Ref
from flow.plan.plan import Plan
from flow.run.api import durability, has_ended, raises, state_on_loop
from flow.run.background import Background, in_background
from flow.run.hooks import HookFailed
from flow.run.journal import Durable, OnChange, OnConflict, OnWait, ends_quietly
from flow.run.launch import drive_alone
from flow.run.mailbox import Mailbox
from flow.run.result import Result, raise_failure, result_so_far
from flow.run.state import PlanRun, settled
from flow.tracebacks import end_at_user, ends_at_user
from flow.types import NodeRef, Nothing, Status

T = TypeVar("T")


def start(
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
) -> RunHandle:
    """Return a run that goes on in the background of an ``async with`` block, on the running event loop.

    >>> async with flow.start(dag, {"total": 500}) as run:
    ...     run.send("approve", {"by": "Ann"})
    ...     result = await run.result()

    The parameters are those of :func:`flow.run`. Its checks are made when the block is entered, and raise there. The
    end of the block awaits the run, and raises what :func:`flow.execute` would raise. An exception that leaves the
    block, or its cancellation, cancels the run; the block ends when the run has ended, with that same exception.
    """
    how = (store, on_conflict, on_change, on_wait)

    def make() -> PlanRun:
        return state_on_loop(
            "flow.start", target, inputs, targets, known, config, run_id, data, wrong, True, durability(*how)
        )

    return RunHandle(make)


class RunHandle:
    """A run that goes on in the background of a block (:func:`flow.start`).

    Any thread may call :meth:`send` and :meth:`cancel`, and ask for what is waiting; the rest is for that of the run.
    """

    __slots__ = (
        "_background", "_cancelled", "_elsewhere", "_fatal", "_loop", "_mailbox", "_make", "_outlives_exits", "_raised",
        "_result", "_seen", "_state",
    )  # fmt: skip

    def __init__(self, make: Callable[[], PlanRun]) -> None:
        self._make: Callable[[], PlanRun] | None = make
        self._state: PlanRun | None = None
        self._mailbox: Mailbox | None = None
        self._background: Background | None = None
        self._loop: Any = None
        self._result: Result | None = None
        self._fatal: BaseException | None = None
        self._raised = self._cancelled = self._outlives_exits = False
        self._seen: set[str] | None = None  # what next_waiting has returned
        self._elsewhere: Callable[[Callable[[], Any]], Any] | None = None  # has a thread call what asks the store

    async def __aenter__(self) -> Self:
        make, self._make = self._make, None
        try:
            if make is None:
                raise UsageError("a run of flow.start is entered once: call flow.start again for another run")
            state, ended = _begun(make) if self._elsewhere is None else await self._away(partial(_begun, make))
        except Exception as error:
            end_at_user(error)
            raise
        self._state = state
        self._mailbox = Mailbox(state)
        self._loop = _this_loop()
        if ended:
            self._mailbox.end()
            self._background = in_background(_nothing)
        else:
            drive = partial(drive_alone, state, owns_loop=False, mailbox=self._mailbox)
            self._background = in_background(drive, self._outlives_exits)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        state, background = self._entered()
        if error is not None:
            await background.end()
            if self._result is None and self._fatal is None:
                state.attach_errors(error)
                if self._elsewhere is None:
                    state.forget()  # a durable run can go on: it was interrupted
                else:
                    await self._away(state.forget)
            return
        await background.join()
        try:
            if not self._raised:
                self._end(told=not self._cancelled)
        except BaseException as failure:
            end_at_user(failure)
            raise

    async def result(self) -> Result:
        """Wait for the end of the run, and return its Result.

        :raises RunError: as :func:`flow.execute`; and if :meth:`cancel` has ended the run. The end of the block does
            not raise again then.
        """
        _, background = self._entered()
        self._check_loop("result")
        await background.wait()
        try:
            if self._elsewhere is not None:
                return await self._away(partial(self._end, True))
            return self._end(told=True)
        except BaseException as failure:
            self._raised = True
            end_at_user(failure)
            raise

    async def next_waiting(self) -> str | None:
        """Wait until a node waits for a signal, and return its address; each once, in the order in which they began to.

        :return: None once the run has ended.
        """
        _, background = self._entered()
        self._check_loop("next_waiting")
        mailbox, self._seen = self._mailbox, self._seen or set()
        seen = self._seen
        assert mailbox is not None
        while not background.ended:
            change = mailbox.watch()  # before the look, so that none is missed
            for address in mailbox.waiting():
                if address not in seen:
                    seen.add(address)
                    return address
            await _either(change.wait, background.wait)
        return None

    @ends_at_user
    def send(self, address: str | NodeRef[Any], payload: Any = None) -> None:
        """Send ``payload`` to a signal of the run. Any thread may call this.

        It is converted to the type of the signal here. The node completes soon after, on the thread of the event loop.
        What is sent before the node waits is kept for it.

        :param address: the name of the signal, or what :meth:`flow.Dag.signal` returned. Within a Dag that is a node
            ``inner``, it is ``"inner.approve"``; within item 7 of a map (the first is 0), ``"pages#7.approve"``; within
            round 2 of a loop (the first is 1), ``"polish#2.approve"``.
        :raises SignalError: if the run has no such signal, the payload is not of its type, the signal has been sent
            before, or its node or the run has ended. See :attr:`flow.errors.SignalError.reason`.
        """
        self._entered()
        assert self._mailbox is not None
        self._mailbox.send(address, payload)

    @ends_at_user
    def cancel(self) -> None:
        """End the run early, as a cancellation of :func:`flow.execute` does. Any thread may call this.

        Its nodes are cancelled; :meth:`result` raises a RunError that has the partial Result. The end of the block
        raises only what nodes raised meanwhile. Nothing happens if the run has ended.
        """
        _, background = self._entered()
        self._cancelled = True
        try:
            _soon(self._loop, background.cancel)
        except RuntimeError:  # the event loop has ended, and so has the run
            pass

    # -- how it stands -----------------------------------------------------------------------

    @property
    @ends_at_user
    def run_id(self) -> str:
        """The id of the run."""
        return self._entered()[0].run_id

    @property
    @ends_at_user
    def waiting(self) -> tuple[str, ...]:
        """The addresses of the signals that nodes wait for now, in the order in which they began to."""
        self._entered()
        assert self._mailbox is not None
        return self._mailbox.waiting()

    @ends_at_user
    def status(self, ref: Ref) -> Status:
        """Return the present status of a node of the outermost run. O(1), or O(log nodes).

        :raises UsageError: if there is no such node, naming the nearest ones.
        """
        state, _ = self._entered()
        if self._result is not None:
            return self._result.status[state.plan.names[state.plan.find(ref)]]
        return state.status(state.plan.find(ref))

    def __repr__(self) -> str:
        state, background = self._state, self._background
        if state is None or background is None:
            return "<RunHandle of a run that has not begun>"
        how = "ended" if background.ended else "going on"
        return f"<RunHandle of {state.plan.name!r}: {how}, run id {state.run_id!r}>"

    async def _away(self, call: Callable[[], T]) -> T:
        """Call something that asks the store in a thread. A cancellation comes once that has ended."""
        from asyncio import CancelledError, shield, wait

        assert self._elsewhere is not None
        future = self._elsewhere(call)
        try:
            found: T = await shield(future)
            return found
        except CancelledError:
            await wait((future,))
            begun = None if future.cancelled() or future.exception() is not None else future.result()
            if isinstance(begun, tuple):  # it has begun, and is not to go on
                begun[0].forget()
            raise

    def _check_loop(self, method: str) -> None:
        """:raises UsageError: unless the event loop of the run is the one that runs here."""
        if _this_loop() is not self._loop:
            error = UsageError(
                f"await run.{method}() on the event loop of the run: this is another one. From a thread, "
                "asyncio.run_coroutine_threadsafe and anyio.from_thread.run lead there"
            )
            end_at_user(error)
            raise error

    def _entered(self) -> tuple[PlanRun, Background]:
        if self._state is None or self._background is None:
            raise UsageError("this run has not begun: enter it by 'async with flow.start(...) as run'")
        return self._state, self._background

    def _end(self, told: bool) -> Result:
        """Return the Result of the run, which has ended, or raise what it raised.

        :param told: raise that it was cancelled, too.
        """
        state, background = self._entered()
        if self._fatal is None and background.error is not None:
            fatal, background.error = background.error, None
            self._fatal = fatal.let_go() if isinstance(fatal, HookFailed) else fatal
            if ends_quietly(self._fatal):
                self._fatal = None
            else:
                end_at_user(self._fatal)  # frames of ours hold this: no cycle
                state.forget()
        if self._fatal is not None:
            raise self._fatal
        if self._result is None:
            journal = state.journal
            if journal is not None:
                if background.cancelled:
                    journal.cancel_asked = self._cancelled
                if self._cancelled or not background.cancelled:
                    journal.finish(state)
                else:
                    journal.interrupt()
            self._result = _result_of(state)
        result = self._result
        if (told or result._run.cut_off) if background.cancelled else raises(result._run):
            raise_failure(result, tolerated=False)
        return result


def _result_of(state: PlanRun) -> Result:
    if state.wall_time != state.wall_time:  # it was cancelled before it began
        if state.resolver is not None:
            state.resolver.cancel_rest(taken=True)
        return result_so_far(state)
    return Result(settled(state) if state.errors or state._extras is not None else state)


def _begun(make: Callable[[], PlanRun]) -> tuple[PlanRun, bool]:
    """Make the state of a run; tell whether it had ended before.

    A durable run is made this process's own, so that the beginning of the block raises what refuses that.
    """
    state = make()
    ended = has_ended(state)
    if state.journal is not None and not ended:
        state.journal.claim()
    return state, ended


async def _nothing() -> None:
    """What a run does that had ended before."""


async def _either(first: Callable[[], Awaitable[None]], second: Callable[[], Awaitable[None]]) -> None:
    """Wait for one of two."""
    from anyio import create_task_group

    async def wait(of: Callable[[], Awaitable[None]]) -> None:
        await of()
        group.cancel_scope.cancel()

    async with create_task_group() as group:
        group.start_soon(wait, first)
        group.start_soon(wait, second)


def _this_loop() -> Any:
    if on_asyncio():
        from asyncio import get_running_loop

        return get_running_loop()
    from trio.lowlevel import current_trio_token

    return current_trio_token()


def _soon(loop: Any, fn: Callable[[], object]) -> None:
    (getattr(loop, "call_soon_threadsafe", None) or loop.run_sync_soon)(fn)


__all__ = ["RunHandle", "start"]
