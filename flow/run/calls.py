"""Numbered calls and what their outcomes mean: what a driver drives.

They are the nodes of a run (:mod:`flow.run.state`), the items of a map (:mod:`flow.run.items.run`), or those of several
maps (:mod:`flow.run.items.pipeline`).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol
from warnings import warn_explicit

from flow.config import Config, Retry
from flow.errors import (
    BlockingNodeWarning,
    NodeAborted,
    NodeTimeout,
    NotStorable,
    StoredError,
    UsageError,
    a_kind,
    described,
    ends_tasks,
    note,
    shown,
)
from flow.logs import log_broken
from flow.run import events
from flow.run.again import delay_before_next, refuses
from flow.run.frames import keep_users_frames
from flow.run.log import log_retry
from flow.run.spent import is_advanced
from flow.signature import is_async_callable
from flow.types import Status

if TYPE_CHECKING:
    from flow.masking import Masks
    from flow.policy.bind import ThreadLimit
    from flow.run.adaptive import LimitSearch
    from flow.run.hooks import Hooks, NodeCall, NodeOutcome, Outcome
    from flow.run.journal import Journal
    from flow.run.queue import ItemResolver


_FINAL: Final = (UsageError, NotStorable, StoredError)
"""Errors of ours that may be the same if the node were tried again: they say so (``final``)."""


class OutOfTime(BaseException):
    """The run's time limit has passed between two calls within a node."""


class Driver(Protocol):
    """What calls may ask of the driver that makes them on an event loop."""

    interrupted: bool
    """A cancellation has reached a call."""

    limit: int
    """Most calls in flight at once; it moves if it follows the latency."""

    def in_thread(self, call: Callable[..., Any], limit: ThreadLimit | None) -> Callable[..., Any]:
        """Return an async callable that runs ``call`` in a worker thread, with its time limit, if it has one."""
        ...

    def in_executor(self, executor: Any, fn: Callable[..., Any]) -> Callable[..., Any]:
        """Return an async callable that has ``fn`` called by a ``concurrent.futures.Executor``."""
        ...

    def waiting_for(self, executor: Any, fn: Callable[..., Any]) -> Callable[..., Any]:
        """Return a sync callable that has ``fn`` called by ``executor``, and waits for it."""
        ...

    def abandoned(self) -> Mapping[Any, str]:
        """Return the calls left behind in threads that have not returned: who made them."""
        ...

    def leave_slot(self) -> None:
        """A call that is going on needs its slot no more for now: another may start."""
        ...

    async def take_slot(self, may: Callable[[], bool], taken: Callable[[], None], waits: bool) -> None:
        """Call ``taken`` once there is a slot again for a call that has left its own, and ``may`` says so.

        :param waits: False: at once, whatever the limit.
        """
        ...

    def tell_later(self, telling: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Have an async hook told, before this driver takes another call."""
        ...


class CallFacts:
    """What is known of numbered calls: each kind of run says it in its own way. "Node" is an item here, of a map."""

    __slots__ = ()

    ordered = False
    """It begins with a fixed order, of which what is left can be told."""

    @property
    def masks(self) -> Masks | None:
        """What must not be shown; None if nothing is secret."""
        return None

    @property
    def hooks(self) -> Hooks | None:
        """What is told outcomes and asked before calls; None if nothing is."""
        return None

    @property
    def journal(self) -> Journal | None:
        """What keeps the outcomes of a durable run; None if nothing does."""
        return None

    @property
    def lifts(self) -> bool:
        """Tell whether on an event loop something is awaited after each call: an async hook, or a commit."""
        hooks, journal = self.hooks, self.journal
        return (hooks is not None and hooks.awaits) or (journal is not None and journal.commits)

    def conceal(self, error: BaseException) -> None:
        """Mask secrets in what a node has raised, before anybody sees it."""
        masks = self.masks
        if masks is not None:
            masks.conceal(error)

    def name_of(self, i: int) -> str:
        """Return node ``i``'s name."""
        raise NotImplementedError

    def outlasts(self, i: int) -> bool:
        """Tell whether node ``i`` is not cancelled with the run: it cleans up."""
        return False

    def place(self, i: int) -> tuple[tuple[str, ...], str, int | None]:
        """Return the path of node ``i`` through the outer runs, the node's name, and the index if it is an item."""
        raise NotImplementedError

    def location(self, i: int) -> str:
        """Return where node ``i``'s function stands, as ``file:line`` if it is known."""
        raise NotImplementedError

    def function(self, i: int) -> Any:
        """Return node ``i``'s function, as the user gave it."""
        raise NotImplementedError

    def retry_of(self, i: int) -> Retry | None:
        """Return how node ``i`` is tried again."""
        raise NotImplementedError

    def received(self, i: int) -> Sequence[Any]:
        """Return what node ``i`` is called with."""
        raise NotImplementedError

    def node_limit(self, i: int) -> float | None:
        """Return node ``i``'s overall limit in seconds."""
        raise NotImplementedError

    def resolve(self, done: Sequence[int] = ()) -> Any:
        """Make the Resolver, of which the nodes ``done`` have ended well."""
        raise NotImplementedError

    def count_after(self, ended: int) -> Any:
        """Make the Resolver when so many nodes of the fixed order have ended, all of them well."""
        raise NotImplementedError

    def first_phase(self) -> Iterator[int]:
        """Return the nodes in the order in which they are run until one suspends or fails; none if all is counted."""
        raise NotImplementedError

    def start_counting(self, left: Iterator[int]) -> int:
        """Make the Resolver when of the first phase all is done but ``left`` and the last one; return (taken) that."""
        raise NotImplementedError

    def fail(self, i: int, error: BaseException) -> bool:
        """Record that node ``i`` failed for good; return True if nothing more is to be started."""
        raise NotImplementedError

    def outcome_of(
        self, i: int, status: Status, output: Any, error: BaseException | None = None, final: bool = True
    ) -> NodeOutcome:
        """Make the record of an outcome of node ``i``."""
        raise NotImplementedError

    def call_of(self, i: int, values: Sequence[Any]) -> NodeCall:
        """Make the record of a call of node ``i`` with ``values``."""
        raise NotImplementedError

    def retried(self, i: int, attempt: int, error: BaseException, delay: float) -> None:
        """Tell observers that attempt number ``attempt`` failed and another follows in ``delay`` seconds."""
        raise NotImplementedError

    def others_ready(self, i: int | None) -> bool:
        """Tell, in the first phase, whether a node could have begun while ``i`` (the one at hand) was running."""
        raise NotImplementedError


class Calls(CallFacts):
    """Numbered calls to be made, and what their outcomes mean. "Node" is an item here, where a map is driven.

    :ivar values: outputs by number (and, at negative slots, a run's inputs).
    :ivar fns: what to call; ``is_async`` says where that gives an awaitable, ``arguments`` with which values.
    :ivar order: the fixed order that a run begins with (a map has none).
    :ivar limit: most calls in flight.
    :ivar cut_off: a cancellation has ended it, and the errors of calls take its place.
    :ivar driver: what drives it on an event loop; None without one.
    """

    __slots__ = (
        "_deadlines", "attempts", "clock", "config", "cut_off", "driver", "errors", "fns", "is_async", "resolver",
        "timed_out", "values",
    )  # fmt: skip

    limit: int
    order: Sequence[int]
    arguments: Sequence[tuple[int, ...]]
    values: list[Any]
    fns: Sequence[Callable[..., Any]]
    is_async: Sequence[int]

    def __init__(self, config: Config) -> None:
        self.config = config
        self.clock = config.clock
        self.resolver: Any = None
        self.errors: dict[int, BaseException] = {}
        self.attempts: dict[int, int] = {}  # of nodes tried more than once
        self.timed_out = self.cut_off = False
        self.driver: Driver | None = None
        self._deadlines: dict[int, float] = {}

    @property
    def run_id(self) -> str:
        """The run's id."""
        raise NotImplementedError

    @property
    def plain_feed(self) -> ItemResolver | None:
        """The feed of a map whose function takes the item and nothing else, with nothing around it."""
        return None

    def adaptive(self) -> LimitSearch | None:
        """Return what moves the limit while it runs; None if nothing does."""
        return None

    def called_elsewhere(self, i: int) -> bool:
        """Tell whether a thread or an executor calls node ``i``'s function, which then holds no event loop."""
        return False

    def call_kind(self, i: int) -> Any:
        """Return with which calls node ``i``'s latency may be compared: those of the same kind."""
        return None

    @property
    def deadline(self) -> float | None:
        """When the whole must have ended, by the clock; None if no limit is set."""
        return None

    @property
    def on_loop(self) -> bool:
        """True if an event loop drives it."""
        return self.driver is not None

    def in_thread(self, call: Callable[..., Any], limit: ThreadLimit | None) -> Callable[..., Any]:
        """Return an async callable that runs ``call`` in a worker thread, with its time limit, if it has one."""
        assert self.driver is not None, "threads need an event loop"
        return self.driver.in_thread(call, limit)

    def in_executor(self, name: str, fn: Callable[..., Any]) -> Callable[..., Any]:
        """Return an async callable that has ``fn`` called by the executor of that name in ``Config.executors``."""
        assert self.driver is not None, "executors need an event loop"
        return self.driver.in_executor(self.config.executors[name], fn)

    def waiting_for(self, name: str, fn: Callable[..., Any]) -> Callable[..., Any]:
        """Return a sync callable that has ``fn`` called by that executor, and waits for it."""
        assert self.driver is not None, "executors need an event loop"
        return self.driver.waiting_for(self.config.executors[name], fn)

    # -- what is shared ----------------------------------------------------------------------

    def answered(self, i: int, answer: Outcome) -> Any:
        """Return node ``i``'s output for the answer of a call hook. :raises Exception: the error of the answer."""
        if answer.status is Status.FAILED:
            assert answer.error is not None
            raise answer.error
        value = self.accepted(i, answer.value)
        if answer.error is not None:
            self.conceal(answer.error)
            self.note_fallback(i, answer.error)
        return value

    def accepted(self, i: int, value: Any) -> Any:
        """Return node ``i``'s output when ``value`` takes the place of its function's return value.

        :raises Exception: if ``value`` does not fit.
        """
        return value

    def fallback_of(self, i: int) -> BaseException | None:
        """The error after which a call hook has answered for node ``i``; None if there is none."""
        raise NotImplementedError

    def note_fallback(self, i: int, error: BaseException) -> None:
        """Note that the output of node ``i`` is that of its fallback after ``error``."""
        raise NotImplementedError

    def output_of(self, i: int, value: Any) -> Any:
        """Return what an outcome hook is told where node ``i`` has given ``value``."""
        return value

    def tell(self, i: int, status: Status, output: Any, error: BaseException | None = None, final: bool = True) -> None:
        """Tell the outcome hook, if there is one: at once, or (an async one) before the driver takes another call."""
        journal, hooks = self.journal, self.hooks
        if journal is not None:
            journal.ended_as(self, i, status, output, error, final)
        if hooks is None or not hooks.tells:
            return
        record = self.outcome_of(i, status, output, error, final)
        if hooks.awaits:
            assert self.driver is not None, "an async hook needs an event loop"
            self.driver.tell_later(partial(hooks.tell_awaiting, record))
        else:
            hooks.tell(record)

    def may_return(self) -> bool:
        """Tell whether a call that has left its slot may have one again, if the driver has one."""
        return True

    def count_slots(self, by: int) -> None:
        """A call has left its slot for now (``by`` is -1), or has one again (1)."""

    @asynccontextmanager
    async def released(self) -> AsyncIterator[None]:
        """Give back the slot of a call that is going on, and take one again at the end.

        :raises UsageError: without an event loop.
        """
        driver = self.driver
        if driver is None:
            raise UsageError(
                "ctx.released() gives back the slot of an async node while it runs: "
                "this run has no event loop, or has ended"
            )
        self.count_slots(-1)
        driver.leave_slot()
        waits = False  # one that is being cancelled goes to its end
        try:
            yield
            waits = True
        except Exception:
            waits = True
            raise
        finally:
            await driver.take_slot(self.may_return, partial(self.count_slots, 1), waits)

    def time_left(self, i: int) -> float | None:
        """Seconds until node ``i``'s overall limit, counted from its first attempt; None without one."""
        limit = self.node_limit(i)
        if limit is None:
            return None
        now = self.clock.now()
        return self._deadlines.setdefault(i, now + limit) - now

    def postpone(self, i: int, seconds: float) -> None:
        """Move node ``i``'s overall limit, if it has one: its first attempt has begun so much later."""
        if i in self._deadlines:
            self._deadlines[i] += seconds

    def retry_delay(self, i: int, error: BaseException) -> float | None:
        """Seconds to wait before node ``i`` is tried again after ``error``; None if it is not to be."""
        retry = self.retry_of(i)
        attempt = self.attempts.get(i, 1)
        if retry is None or attempt >= retry.attempts:
            return None
        if (isinstance(error, NodeTimeout) and error.overall) or (isinstance(error, _FINAL) and error.final):
            return None
        if refuses(error):
            note(error, "not retried: it says that it would be the same again (retryable = False)")
            return None
        self.conceal(error)
        try:
            if not retry.wants(error):
                return None
        except BaseException as broken:  # the user's predicate; the node's own error must not be masked
            if not isinstance(broken, Exception) and not ends_tasks(broken):
                raise
            note(error, f"retry_if raised {described(broken)}; not retried")
            return None
        spent = next((value for value in self.received(i) if is_advanced(value)), None)
        if spent is not None:
            note(
                error,
                f"not retried: {a_kind(spent)} is among what it was called with, and this attempt may have gone over a "
                "part of that; let what provides it return a list",
            )
            return None
        delay = delay_before_next(self, i, retry.delay_after(attempt), error)
        if delay is None:
            return None
        self.tell(i, Status.FAILED, None, error, final=False)
        if not self.attempts:
            self.attempts = {}
        self.attempts[i] = attempt + 1
        keep_users_frames(error, self.function(i))  # which may be raised again, and again
        if self.config.observers:
            self.retried(i, attempt, error, delay)
        log_retry(self, i, attempt, error, delay)
        return delay

    def plain_error(self, i: int, error: BaseException) -> BaseException:
        """Return the StopIteration of a sync function that a coroutine of ours has called, which cannot raise one."""
        cause = error.__cause__
        return error if cause is None or is_async_callable(self.function(i)) else cause

    @property
    def failures(self) -> int:
        """How many have failed for good."""
        return len(self.errors)

    def attach_errors(self, fatal: BaseException) -> None:
        """Note on what has ended the run what nodes have raised meanwhile. Secrets in it are masked."""
        self.conceal(fatal)
        for i, error in self.errors.items():
            text = f"while the run ended, node {self.name_of(i)!r} raised {described(error)}"
            if not isinstance(error, NodeAborted) and text not in getattr(fatal, "__notes__", ()):
                note(fatal, text)

    def emit(self, event: events.Event) -> None:
        """Tell every observer; one that raises is logged and harms nothing."""
        for observer in self.config.observers:
            try:
                observer(event)
            except Exception:
                log_broken("observer %s raised on %s", shown(observer), type(event).__name__, run=event.run_id)

    def warn_of_blocking(self, i: int, seconds: float) -> None:
        """Warn that node ``i`` held the event loop, pointing at its function."""
        file, _, line = self.location(i).rpartition(":")
        where = (file, int(line)) if line.isdigit() else ("<node>", 1)
        warn_explicit(
            f"node {self.name_of(i)!r} held the event loop for {seconds:.3f} s; nothing else could run meanwhile. "
            "Await what it waits for, or run it with thread=True",
            BlockingNodeWarning,
            *where,
        )
