"""The nodes of one run that wait for a signal or a time: they hold neither a slot nor a task."""

from __future__ import annotations

from typing import Any, Final

from flow.errors import NodeTimeout
from flow.plan.waits import Timer
from flow.run import events
from flow.run.mailbox import Mailbox
from flow.run.signals import place_of
from flow.types import Status

_EARLY: Final = 1e-3
"""Seconds by which a timer of the event loop may be early. A date may be further off: the machine's clock was set."""


def begin_waits(run: Any) -> None:
    """Let the nodes of ``run`` wait that wait for no other nodes, and let signals reach it."""
    if run.outer is not None:
        mailbox = mailbox_of(run)
        if mailbox is not None:
            mailbox.begin(place_of(run.path), run)
    run.resolver.begin_waits()


def mailbox_of(run: Any) -> Mailbox | None:
    """Return what holds the signals of ``run``: that of the outermost run. None if nothing can be sent to it."""
    driver = run.driver
    found: Mailbox | None = getattr(driver.outermost or driver, "mailbox", None)
    return found


def end_waits(run: Any, waiting: Waiting | None) -> None:
    """End what :func:`begin_waits` has begun."""
    if waiting is not None:
        waiting.cancel()
    mailbox = None if run.outer is None else mailbox_of(run)
    if mailbox is not None:
        mailbox.end(place_of(run.path))


class Waiting:
    """The waiting nodes of one run, each with its timer if it has one. A driver cancels it as it cancels a task.

    :param run: a :class:`flow.run.state.PlanRun` that an event loop drives.
    """

    __slots__ = ("_driver", "_holds", "_mailbox", "_place", "_run", "_timers")

    def __init__(self, run: Any) -> None:
        self._run = run
        self._driver = run.driver
        self._timers: dict[int, Any] = {}
        self._holds = False  # the run goes on for this
        self._mailbox = mailbox_of(run)
        self._place = place_of(run.path)

    def begin(self, i: int) -> None:
        """Node ``i`` begins to wait."""
        run, wait, mailbox = self._run, self._run.nodes.routes.waits[i], self._mailbox
        if not self._holds:
            self._holds = True
            self._driver.hold(self)
        seconds = wait.seconds(run.clock)
        if run.journal is not None:
            seconds = run.journal.waits(run, i, seconds)
        self._timers[i] = None if seconds is None else self._driver.later(seconds, self._due, i)
        if mailbox is not None and not isinstance(wait, Timer):
            mailbox.wait(self._address(i), self, i)
        if run.started is not None:
            now = run.started[i] = run.clock.now()
            if run.config.observers:  # after it can be answered
                run.emit(events.NodeWaiting(run.run_id, run.nodes.names[i], now, self._address(i)))

    def deliver(self, i: int, payload: Any) -> None:
        self._driver.soon(self._deliver, i, payload)

    def cancel(self) -> None:
        """The run ends: nothing waits any more."""
        run, timers, self._timers = self._run, self._timers, {}
        for i, timer in timers.items():
            if timer is not None:
                timer.cancel()
            if run.finished is not None:
                run.finished[i] = run.clock.now()
            if self._mailbox is not None and not isinstance(run.nodes.routes.waits[i], Timer):
                self._mailbox.leave(self._address(i), "the run was ended while it waited")
        self._let_go()

    def _let_go(self) -> None:
        if self._holds:
            self._holds = False
            self._driver.let_go(self)

    def _address(self, i: int) -> str:
        name: str = self._run.nodes.names[i]
        return f"{self._place}.{name}" if self._place else name

    # -- on the thread of the event loop, within no node -------------------------------------

    def _deliver(self, i: int, payload: Any) -> None:
        if i in self._timers and self._mailbox is not None:
            self._mailbox.leave(self._address(i))
            self._end(i, payload)

    def _due(self, i: int) -> None:
        """The time of node ``i`` is up."""
        if i not in self._timers:
            return
        self._timers[i] = None  # it is what calls this
        run, wait = self._run, self._run.nodes.routes.waits[i]
        if isinstance(wait, Timer):
            left = 0.0 if wait.at is None else wait.seconds(run.clock)
            if left > _EARLY:
                self._timers[i] = self._driver.later(left, self._due, i)
            else:
                self._end(i, None)
        elif self._mailbox is None or self._mailbox.expire(self._address(i)):
            name, limit = run.nodes.names[i], wait.timeout
            self._end(i, None, NodeTimeout(f"node {name!r} got no signal within its limit of {limit:g} s"))

    def _end(self, i: int, value: Any, error: NodeTimeout | None = None) -> None:
        """End node ``i`` in a context of its own: observers and hooks may change that."""
        driver = self._driver
        if not driver.stopping:  # else the run is about to cancel it
            driver.base.copy().run(self._end_within, i, value, error)

    def _end_within(self, i: int, value: Any, error: NodeTimeout | None) -> None:
        run, driver, timer = self._run, self._driver, self._timers.pop(i)
        if timer is not None:
            timer.cancel()
        try:
            run.resolver.resume(i)
            if error is None:
                _complete(run, i, value)
            else:
                _fail(run, i, error)
            driver.pump()
        except BaseException as broken:  # a hook's, or an exit within a condition
            driver.broke(broken)
        finally:
            if not self._timers:
                self._let_go()


def _complete(run: Any, i: int, value: Any) -> None:
    if run.started is not None:
        now = run.finished[i] = run.clock.now()
        if run.config.observers:
            run.emit(events.NodeFinished(run.run_id, run.nodes.names[i], 1, now - run.started[i], now))
    run.values[i] = value
    run.tell(i, Status.COMPLETED, value)
    run.resolver.done(i)


def _fail(run: Any, i: int, error: NodeTimeout) -> None:
    if run.started is not None:
        run.finished[i] = run.clock.now()
        if i in run.nodes.fallbacks:
            run.extras.began[i] = run.started[i]
    if run.fail(i, error):
        run.driver.stop()


__all__ = ["Waiting", "begin_waits", "end_waits"]
