"""What a driver drives: the nodes of a run (:mod:`flow.run.state`) or the items of a map (:mod:`flow.run.items`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any
from warnings import warn_explicit

from flow.config import Config, Retry
from flow.errors import (
    BlockingNodeWarning,
    NodeAborted,
    NodeTimeout,
    UsageError,
    a_kind,
    described,
    ends_tasks,
    note,
    shown,
)
from flow.run import events
from flow.run.frames import keep_users_frames
from flow.run.spent import is_advanced
from flow.signature import is_async_callable

if TYPE_CHECKING:
    from flow.policy.bind import ThreadLimit
    from flow.run.adaptive import Climb
    from flow.run.feed import Feed
    from flow.run.tasks import Tasks


class Driven:
    """Numbered calls to be made, and what their outcomes mean. "Node" is an item here, where a map is driven.

    :ivar values: outputs by number (and, at negative slots, a run's inputs).
    :ivar fns: what to call; ``kinds`` says where that gives an awaitable, ``arguments`` with which values.
    :ivar order: the fixed order that a run begins with (a map has none).
    :ivar limit: most calls in flight.
    :ivar cut_off: a cancellation has ended it, and the errors of calls take its place.
    :ivar tasks: what drives it on an event loop; None without one.
    """

    __slots__ = (
        "_deadlines", "attempts", "clock", "config", "cut_off", "errors", "fns", "kinds", "resolver", "tasks",
        "timed_out", "values",
    )  # fmt: skip

    ordered = False
    """It begins with a fixed order, of which what is left can be told."""

    limit: int
    order: Sequence[int]
    arguments: Sequence[tuple[int, ...]]
    values: list[Any]
    fns: Sequence[Callable[..., Any]]
    kinds: Sequence[int]

    def __init__(self, config: Config) -> None:
        self.config = config
        self.clock = config.clock
        self.resolver: Any = None
        self.errors: dict[int, BaseException] = {}
        self.attempts: dict[int, int] = {}  # of nodes tried more than once
        self.timed_out = self.cut_off = False
        self.tasks: Tasks | None = None
        self._deadlines: dict[int, float] = {}

    @property
    def run_id(self) -> str:
        """The run's id."""
        raise NotImplementedError

    @property
    def plain_feed(self) -> Feed | None:
        """The feed of a map whose function takes the item and nothing else, with nothing around it."""
        return None

    def adaptive(self) -> Climb | None:
        """Return what moves the limit while it runs; None if nothing does."""
        return None

    def kind_of(self, i: int) -> Any:
        """Return with which calls node ``i``'s latency may be compared: those of the same kind."""
        return None

    @property
    def deadline(self) -> float | None:
        """When the whole must have ended, by the clock; None if no limit is set."""
        return None

    @property
    def on_loop(self) -> bool:
        """True if an event loop drives it."""
        return self.tasks is not None

    def in_thread(self, call: Callable[..., Any], limit: ThreadLimit | None) -> Callable[..., Any]:
        """Return an async callable that runs ``call`` in a worker thread, with its time limit, if it has one."""
        assert self.tasks is not None, "threads need an event loop"
        return self.tasks.in_thread(call, limit)

    # -- what differs ------------------------------------------------------------------------

    def name_of(self, i: int) -> str:
        """Return node ``i``'s name."""
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

    def first_phase(self) -> Iterator[int]:
        """Return the nodes in the order in which they are run until one suspends or fails; none if all is counted."""
        raise NotImplementedError

    def start_counting(self, left: Iterator[int]) -> int:
        """Make the Resolver when of the first phase all is done but ``left`` and the last one; return (taken) that."""
        raise NotImplementedError

    def fail(self, i: int, error: BaseException) -> bool:
        """Record that node ``i`` failed for good; return True if nothing more is to be started."""
        raise NotImplementedError

    def retried(self, i: int, attempt: int, error: BaseException, delay: float) -> None:
        """Tell observers that attempt number ``attempt`` failed and another follows in ``delay`` seconds."""
        raise NotImplementedError

    def others_ready(self, i: int | None) -> bool:
        """Tell, in the first phase, whether a node could have begun while ``i`` (the one at hand) was running."""
        raise NotImplementedError

    # -- what is shared ----------------------------------------------------------------------

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
        if (isinstance(error, NodeTimeout) and error.overall) or (isinstance(error, UsageError) and error.final):
            return None
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
        delay = retry.delay_after(attempt)
        if i in self._deadlines and self.clock.now() + delay >= self._deadlines[i]:
            note(error, f"not retried: the node's overall limit of {self.node_limit(i):g} s leaves no time")
            return None
        if not self.attempts:
            self.attempts = {}
        self.attempts[i] = attempt + 1
        keep_users_frames(error, self.function(i))  # which may be raised again, and again
        if self.config.observers:
            self.retried(i, attempt, error, delay)
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
        """Note on what has ended the run what nodes have raised meanwhile."""
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
                import logging

                logging.getLogger("flow").exception("observer %s raised on %s", shown(observer), type(event).__name__)

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
