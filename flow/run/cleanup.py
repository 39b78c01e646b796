"""Runs with nodes that clean up (``cleanup=True``, teardowns): what is left of these when the run ends early.

As long as all goes well they are nodes like others, which the run's own driver runs last. When a failure, a time limit,
a cancellation or an exit has ended the run, another driver runs those that are left, and then the first exception goes
on. It is not masked: what cleanup raises is among the nodes' errors, or noted on that exception.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flow.errors import described, note
from flow.plan.gates import GatedResolver
from flow.plan.resolver import CANCELLED
from flow.run.drive.inline import count_down
from flow.run.drive.last import drive_last
from flow.run.hooks import HookFailed
from flow.run.state import PlanRun


def bind_cleanup(run: PlanRun) -> None:
    """Let nodes that clean up outlast the run's end. They are bound."""
    assert run.nodes.routes is not None
    driver: Any = run.driver
    gated, limit = run.nodes.routes.gated, run.deadline
    if driver is not None:
        wraps = [i for i in gated if run.is_async[i]]
        make: Any = driver.outlasting
    elif limit is not None:  # what they run looks at the time limit, too
        wraps, ends = [*gated], limit + run.config.cleanup_timeout
        make = lambda call: _with_grace(run, ends, call)  # noqa: E731
    else:
        return
    run.fns = fns = list(run.fns)
    for i in wraps:
        fns[i] = make(fns[i])


def _with_grace(run: PlanRun, ends: float, call: Any) -> Any:
    def called(*values: Any) -> Any:
        extras = run.extras
        before, extras.grace = extras.grace, ends if extras.grace is None else extras.grace
        try:
            return call(*values)
        finally:
            extras.grace = before

    return called


# -- on an event loop -----------------------------------------------------------------------


async def drive_and_clean_up(run: PlanRun, driver: Any, enter: Callable[[PlanRun], None]) -> None:
    """Drive ``run`` to its end, and what cleans up to its own.

    :param enter: what begins it.
    """
    try:
        enter(run)
        await driver.drive()
    except GeneratorExit:  # closed from outside: waiting is no longer possible
        raise
    except BaseException as error:
        await _clean_up(run, driver, error)
        raise
    await _clean_up(run, driver, None)
    _note_timeout(run)


def _note_timeout(run: PlanRun) -> None:
    """A limit that has passed when only cleanup was left, and has cut nothing off, is none that ended the run."""
    assert run.resolver is not None
    run.timed_out = run.timed_out and (CANCELLED in run.resolver.state or run.failures > 0)


async def _clean_up(run: PlanRun, driver: Any, original: BaseException | None) -> None:
    """Run the nodes that are left to clean up.

    :param original: what has ended the run, and goes on.
    :raises BaseException: without an original: what ends cleanup and is no node's failure.
    """
    resolver = run.resolver
    assert isinstance(resolver, GatedResolver)
    if _rests(run):
        return
    until = driver.grace()
    if not resolver.begin_cleanup() or driver.last or driver.now() >= until:
        return
    cut_off, interrupted, ended = run.cut_off, False, original
    goes_on = True
    while goes_on:
        last = type(driver)(run, driver.outer)
        last.owns_loop, last.outermost, last.last = driver.owns_loop, driver.outermost or driver, True
        last.ending_since, goes_on = driver.ending_since, False
        try:
            interrupted = await drive_last(last, until) or interrupted
        except BaseException as error:
            goes_on = _goes_on_after(error, ended) and driver.now() < until and resolver.begin_cleanup()
            ended = _first(ended, error)
        finally:
            run.cut_off = cut_off
    if ended is not None:
        run.attach_errors(_users(ended))
        if ended is not original:
            raise ended
    elif interrupted and driver.outer is None and driver.owns_loop:  # Ctrl-C
        from asyncio import CancelledError

        raise CancelledError
    elif interrupted:  # what has ended the run is raised, as from a TaskGroup, and the caller's next await gets this
        run.cut_off = True
        driver.cancel_again()


def _rests(run: PlanRun) -> bool:
    """Tell whether the outermost run was ended because it only waits for signals: nothing is over then."""
    if run.journal is None:
        return False
    outermost = run
    while outermost.outer is not None:
        outermost = outermost.outer
    return outermost.rests


def _goes_on_after(error: BaseException, ended: BaseException | None) -> bool:
    """Tell whether the other nodes still clean up after ``error``, which is no node's failure: not after a second exit.

    :param ended: what has ended the run, or its cleanup, before.
    """
    is_exit = not isinstance(error, (Exception, HookFailed))
    was_exit = ended is not None and not isinstance(ended, (Exception, HookFailed))
    return not isinstance(error, GeneratorExit) and not (is_exit and was_exit)


def _first(ended: BaseException | None, error: BaseException) -> BaseException:
    """Return what goes on of what ended the run, or its cleanup, and of a later ``error`` that is no node's failure."""
    if ended is None or ended is error:
        return error
    note(_users(ended), f"cleanup ended early: {described(_users(error))}")
    return ended


def _users(error: BaseException) -> BaseException:
    """Return what the caller gets for ``error``."""
    inner = error.error if isinstance(error, HookFailed) else None
    return error if inner is None else inner


# -- without one ----------------------------------------------------------------------------


def run_and_clean_up(run: PlanRun, enter: Callable[[PlanRun], None]) -> None:
    """Call every node of a plan without async nodes on this thread; those that clean up whatever happens."""
    delayed: list[tuple[float, int]] = []
    try:
        enter(run)
        count_down(run, run.resolver, delayed)
    except BaseException as error:
        _clean_up_inline(run, delayed, error)
        raise
    _clean_up_inline(run, delayed, None)
    _note_timeout(run)


def _clean_up_inline(run: PlanRun, delayed: list[tuple[float, int]], original: BaseException | None) -> None:
    resolver, extras = run.resolver, run.extras
    assert isinstance(resolver, GatedResolver)
    if not resolver.begin_cleanup([i for _, i in delayed]):
        return
    timed_out, ends, ended, goes_on = run.timed_out, _ends_of(run, original), original, True
    while goes_on:
        extras.grace, goes_on = ends, False
        try:
            count_down(run, resolver)
        except BaseException as error:
            goes_on = _goes_on_after(error, ended) and run.clock.now() < ends and resolver.begin_cleanup(())
            ended = _first(ended, error)
        finally:
            run.timed_out, extras.grace = timed_out, None
    if ended is not None:
        run.attach_errors(_users(ended))
        if ended is not original:
            raise ended


def _ends_of(run: PlanRun, original: BaseException | None) -> float:
    """When cleanup must have ended: the runs around it that end with it take no longer."""
    since, limit = run.clock.now(), run.config.cleanup_timeout
    around: Any = run
    while around.outer is not None:
        around = around.outer
    top = around
    if run.timed_out and run.deadline is not None:
        since = run.deadline
    if original is not None:  # an exit: all of them end
        if top.extras.ended_at is None:
            top.extras.ended_at = since
        since = min(since, top.extras.ended_at)
    ends, around = since + limit, run.outer
    while around is not None:
        if around._extras is not None and around._extras.grace is not None:
            ends = min(ends, around._extras.grace)
        around = around.outer
    return ends


__all__ = ["bind_cleanup", "drive_and_clean_up", "run_and_clean_up"]
