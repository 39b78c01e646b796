"""Hooks of the user: one gets each outcome before a dependant starts, the other each call before it is made.

``Config(on_outcome=...)`` and ``Config(before_call=...)`` are factories. A factory is called at the start of each
outermost run and returns a hook for this run and its nested runs, or None. A hook is called with one frozen record. On
an event loop a hook may be async, and is awaited; a run without a loop takes sync hooks only. If a hook raises, the run
ends with this exception, and no dependant of the node starts.

A sync hook is called in the thread in which the node ends. For nodes of a Dag in a worker thread that is this thread.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Mapping
from typing import Any

import msgspec

from flow.awaits import NEVER_AWAITED, discard
from flow.config import Config
from flow.data.outcome import Outcome as Outcome
from flow.errors import UsageError, a_kind, ends_tasks, shown
from flow.policy.middleware import is_awaitable
from flow.run.frames import keep_users_frames, let_go
from flow.signature import is_async_callable
from flow.types import ABSENT, MISSING, Status


class NodeOutcome(msgspec.Struct, frozen=True):
    """The record that an outcome hook gets. A cancelled node has no outcome.

    :ivar run_id: of the outermost run.
    :ivar path: the nodes of the outer runs, outermost first, ``map[index]`` for an item, ``loop#round`` for a round of
        a loop; empty in the outermost run.
    :ivar item: the index of an item of the map ``node`` (with ``batch_size``, of a batch's first); None for a node.
    :ivar round: for a node or an item within the body of a loop, the round, from 1; None elsewhere.
    :ivar status: ``completed``, ``failed``, ``skipped`` or ``bypassed``.
    :ivar output: of a completed node; for an item of a filter, whether the item was kept.
    :ivar error: of a failed node; for a completed node, the exception before its fallback.
    :ivar attempt: 1 for the first attempt; 0 for a skipped or bypassed node.
    :ivar final: False for a failed attempt that another attempt follows.
    """

    run_id: str
    path: tuple[str, ...]
    node: str
    item: int | None
    round: int | None
    status: Status
    output: Any
    error: BaseException | None
    attempt: int
    final: bool


class NodeCall(msgspec.Struct, frozen=True):
    """The record that a call hook gets: the node or item about to be called. Fields as in :class:`NodeOutcome`.

    :ivar fn: the node's function.
    :ivar arguments: by parameter; those of ``*args`` as ``args[0]``, and so on, without those that the call leaves out.
    """

    run_id: str
    path: tuple[str, ...]
    node: str
    item: int | None
    round: int | None
    attempt: int
    fn: Any
    arguments: Mapping[str, Any]


def by_parameter(names: Collection[str], values: Collection[Any]) -> dict[str, Any]:
    """Return the arguments of a call by parameter, for a call hook: without parameters that the call leaves out.

    :param names: of the parameters that the first of the ``values`` are for; the others are of ``*args``.
    """
    more = [f"args[{k}]" for k in range(len(values) - len(names))]
    pairs = zip((*names, *more), values, strict=False)
    return {name: value for name, value in pairs if value is not ABSENT and value is not MISSING}


class HookFailed(BaseException):
    """A hook has raised ``error``: carries it out of the run, past every retry and fallback."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self._error: BaseException | None = error

    @property
    def error(self) -> BaseException | None:
        """What the hook has raised; None once it was let go."""
        return self._error

    def let_go(self) -> BaseException:
        """Return the hook's exception after the end of the run, and drop all references to it here."""
        error, self._error = self._error, None  # an event loop's task may keep this
        self.__traceback__ = self.__context__ = None
        assert error is not None
        let_go(error)
        return error


Hook = Callable[[Any], Any]


class Hooks:
    """The hooks of one outermost run and of all within it.

    :ivar awaits: one of them is async.
    """

    __slots__ = ("_broken", "_on_outcome", "asks", "awaits", "run_id", "tells")

    def __init__(self, run_id: str, on_outcome: Hook | None, before_call: Hook | None) -> None:
        self.run_id = run_id
        self._on_outcome = on_outcome
        self.asks = before_call
        self.tells = on_outcome is not None
        self.awaits = any(hook is not None and is_async_callable(hook) for hook in (on_outcome, before_call))
        self._broken = False

    def tell(self, record: NodeOutcome) -> None:
        """Tell a sync outcome hook."""
        made = self._called(self._on_outcome, record)
        if is_awaitable(made):
            raise self._failed(self._unawaited("on_outcome", made))

    async def tell_awaiting(self, record: NodeOutcome) -> None:
        """Tell an outcome hook on an event loop."""
        await self._awaited(self._on_outcome, record)

    def ask(self, record: NodeCall) -> Outcome | None:
        """Ask a sync call hook."""
        answer = self._called(self.asks, record)
        if is_awaitable(answer):
            raise self._failed(self._unawaited("before_call", answer))
        return self._checked(record, answer)

    async def ask_awaiting(self, record: NodeCall) -> Outcome | None:
        """Ask a call hook on an event loop."""
        return self._checked(record, await self._awaited(self.asks, record))

    def _called(self, hook: Any, record: Any) -> Any:
        if self._broken or hook is None:
            return None
        try:
            return hook(record)
        except BaseException as error:
            self._broken = True  # what else ends meanwhile is not told
            if isinstance(error, (KeyboardInterrupt, SystemExit)):
                raise
            keep_users_frames(error, hook)
            raise self._failed(error) from None

    async def _awaited(self, hook: Any, record: Any) -> Any:
        made = self._called(hook, record)
        if not is_awaitable(made):
            return made
        try:
            return await made
        except BaseException as error:
            if isinstance(error, (KeyboardInterrupt, SystemExit)):
                self._broken = True
                raise
            if ends_tasks(error) and not _is_own_cancellation(error):
                raise
            keep_users_frames(error, hook)
            raise self._failed(error) from None

    def _failed(self, error: BaseException) -> HookFailed:
        self._broken = True
        return HookFailed(error)

    def _unawaited(self, which: str, made: Any) -> UsageError:
        if type(made) in NEVER_AWAITED:
            discard(made)
        return UsageError(f"the hook of {which} returned {a_kind(made)}, and nothing in this run awaits it")

    def _checked(self, record: NodeCall, answer: Any) -> Outcome | None:
        if answer is None:
            return None
        if not isinstance(answer, Outcome):
            why = f"not {a_kind(answer)}"
        elif answer.status in (Status.SKIPPED, Status.BYPASSED):
            why = "and not one that leaves it out"
        else:
            return answer
        raise self._failed(
            UsageError(f"before_call answers None or a flow.Outcome in the place of node {record.node!r}, {why}")
        )


def _is_own_cancellation(error: BaseException) -> bool:
    """Tell whether a hook has raised asyncio's cancellation itself, while the task that awaits it is not cancelled."""
    asyncio = sys.modules.get("asyncio")
    if asyncio is None or not isinstance(error, asyncio.CancelledError):
        return False
    task = asyncio.current_task()
    return task is not None and not task.cancelling()


def hooks_of(config: Config, run_id: Callable[[], str], on_loop: bool) -> Hooks | None:
    """Make the hooks of a run that begins; None if it has none.

    :raises UsageError: if a factory gives no hook, or an async one for a run without an event loop.
    """
    made: list[Hook | None] = []
    for setting in ("on_outcome", "before_call"):
        factory = getattr(config, setting)
        hook = None if factory is None else factory()
        if hook is not None and not callable(hook):
            raise UsageError(f"Config({setting}=...) makes a hook, a function of one record, not {shown(hook)}")
        if hook is not None and not on_loop and is_async_callable(hook):
            raise UsageError(
                f"the hook of {setting} is async, and this run has no event loop: "
                "make it a plain function, or use 'await flow.execute(...)'"
            )
        made.append(hook)
    return None if made == [None, None] else Hooks(run_id(), *made)
