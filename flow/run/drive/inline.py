"""The driver for plans of sync functions: no event loop, and no counting while all goes well.

Any topological order will do, and the plan has one: a loop over it at first, generated code once the plan is
hot (:mod:`flow.run.codegen.stretches`). When a node raises, the Resolver takes over from
exactly that state; a run counts from its start if it has a time limit or hooks, frees outputs or knows outcomes.

The time limit is looked at between calls: of nodes, of a map's items, of the nodes of a Dag within a Dag. Where it
has passed within a node, :class:`OutOfTime` leads out of that.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import copy_context
from heapq import heappop, heappush
from types import CoroutineType
from typing import TYPE_CHECKING, Any, Final

from flow.plan.kept import HOT_AFTER
from flow.run import events
from flow.run.around import kept
from flow.run.calls import Calls, OutOfTime
from flow.run.codegen.stretches import Straight, warm
from flow.run.drive.calling import isolated
from flow.run.journal import WINDOW
from flow.run.state import PlanRun
from flow.run.unawaited import never_awaited
from flow.run.watched import raised, takes_times, tried, watched

if TYPE_CHECKING:
    from flow.run.journal import Journal
    from flow.run.queue import ItemResolver

WORTH: Final = 20e-6
"""Seconds per node of a run above which generated code would gain less than a hundredth."""


def run_inline(run: PlanRun) -> None:
    """Call every node of a plan without async nodes, in the plan's order, on this thread."""
    extras = run._extras
    if run.resolver is not None:  # it frees outputs, knows outcomes, or has hooks
        count_down(run, run.resolver)
    elif run.deadline is not None:
        count_down(run, run.resolve())
    elif extras is not None and extras.journal is not None and run.fns is run.nodes.fns:
        _run_kept(run, extras.journal)
    elif run.started is not None and takes_times(run):
        _run_timed(run)
    else:
        _run_plain(run)


def _run_plain(run: PlanRun) -> None:
    """Call the nodes one after the other, with nothing around the calls."""
    values, fns, arguments, order, code = run.values, run.fns, run.arguments, run.order, run.plan._kept.inline
    straight, optimize = code.made, run.config.optimize
    if straight is not None or optimize is not True:
        straight = _straight(run)
    stretch, i = None, -1
    copy = copy_context().copy  # each node has contextvars of its own
    try:
        if straight is not None:
            for stretch in straight.calls:
                stretch(values, fns, copy)
            order = straight.rest
        for i in order:  # flow.run.drive.calling.isolated, written out
            slots = arguments[i]
            count = len(slots)
            if count == 1:
                value = copy().run(fns[i], values[slots[0]])
            elif count == 2:
                a, b = slots
                value = copy().run(fns[i], values[a], values[b])
            elif count == 3:
                a, b, c = slots
                value = copy().run(fns[i], values[a], values[b], values[c])
            elif not count:
                value = copy().run(fns[i])
            else:
                value = copy().run(fns[i], *[values[slot] for slot in slots])
            if type(value) is CoroutineType:
                raise never_awaited(run, i, value)
            values[i] = value
    except Exception as error:
        raised = error
        done = run.order.index(i) if i >= 0 else -1 if straight is None else straight.done(stretch)
        if done < 0:  # a signal's handler raised it, between two nodes
            done = min(run.completed_ahead(), run.nodes.count - 1)
    except BaseException:
        run.count_after(run.completed_ahead())
        raise
    else:
        runs_left = code.runs_left
        if runs_left and optimize:
            code.runs_left = runs_left - 1  # of two threads that read the same, neither leads past 0
            if runs_left == 1:
                _warm(run)
        return
    # Out of the except block: what fails from here on has nothing to do with this error.
    try:
        _count_on(run, done, raised)
    finally:
        del raised  # its traceback holds this frame: no cycle


def _count_on(run: PlanRun, done: int, raised: Exception) -> None:
    """Count from here on: so many nodes of the order have completed, and the next has raised."""
    resolver = run.count_after(done)
    i = resolver.take()  # the best ready node, as the order had it: the one that raised
    delayed: list[tuple[float, int]] = []
    over = _failed(run, resolver, i, raised, delayed)
    del raised  # as above
    if not over:
        count_down(run, resolver, delayed)


def _run_kept(run: PlanRun, journal: Journal) -> None:
    """As :func:`run_inline` without code, for a durable run: each output goes to the journal before anybody gets it."""
    values, fns, arguments, order = run.values, run.fns, run.arguments, run.order
    keep, idle, step, i = journal.entries.append, journal.idle, 1 if journal.commits else WINDOW, -1
    encode, (plain, pack, tag) = journal.encode, journal.plain
    copy = copy_context().copy
    try:
        for start in range(0, len(order), step):
            for i in order[start : start + step]:
                slots = arguments[i]
                count = len(slots)
                if count == 1:
                    value = copy().run(fns[i], values[slots[0]])
                elif not count:
                    value = copy().run(fns[i])
                else:
                    value = copy().run(fns[i], *[values[slot] for slot in slots])
                if type(value) is CoroutineType:
                    raise never_awaited(run, i, value)
                if type(value) in plain:  # journal.encode, written out
                    try:
                        keep(tag + pack(value))
                    except Exception:
                        keep(encode(value))
                else:
                    keep(encode(value))
                values[i] = value
                if idle:
                    journal.wake()
            journal.window()
        return
    except Exception as error:
        raised = error
        done = run.order.index(i) if i >= 0 else 0
    except BaseException:
        run.count_after(run.completed_ahead())
        raise
    run.fns = [kept(run, i, call, False) for i, call in enumerate(fns)]
    try:
        _count_on(run, done, raised)
    finally:
        del raised  # as above


def _run_timed(run: PlanRun) -> None:
    """As :func:`run_inline` without code, for a run that is timed or observed: the times are taken here.

    (See :func:`flow.run.watched.takes_times`.)
    """
    values, fns, arguments, started, finished = run.values, run.fns, run.arguments, run.started, run.finished
    observers, names, now, i, began = run.config.observers, run.nodes.names, run.clock.now, -1, 0.0
    starts, ends = events.is_wanted(events.NodeStarted, observers), events.is_wanted(events.NodeFinished, observers)
    begins, completes, run_id = events.NodeStarted, events.NodeFinished, run.run_id if observers else ""
    retries = run.nodes.retries
    assert started is not None
    assert finished is not None
    copy = copy_context().copy
    try:
        for i in run.order:
            started[i] = began = now()
            if starts:
                run.emit(begins(run_id, names[i], 1, began))
            value = isolated(copy, fns[i], values, arguments[i])
            if type(value) is CoroutineType:
                raise never_awaited(run, i, value)
            finished[i] = ended = now()
            if retries and i in retries:
                tried(run, i, began, ended)
            if ends:
                run.emit(completes(run_id, names[i], 1, ended - began, ended))
            values[i] = value
        return
    except Exception as error:
        failure = error
        done = run.order.index(i) if i >= 0 else 0
    except BaseException as error:
        if i >= 0:
            raised(run, finished, i, began, error)
        run.count_after(run.completed_ahead())
        raise
    raised(run, finished, i, began, failure)
    run.fns = watched(run)
    try:
        _count_on(run, done, failure)
    finally:
        del failure  # as above


def _straight(run: PlanRun) -> Straight | None:
    """Return the plan's generated code, if the run may use it: not where every call is watched, or in another order."""
    code, optimize = run.plan._kept.inline, run.config.optimize
    if not optimize or run.started is not None or run.order is not run.nodes.order:
        return None
    made: Straight | None = code.made
    if optimize == "at_once" and (code.runs_left or made is None):
        warm(run.plan, all_of_it=True)
        made = code.made
    return made


def _warm(run: PlanRun) -> None:
    """Generate code for a plan that has been run often, unless its nodes are slow: they would not gain by it."""
    if run.clock.now() - run.started_at > WORTH * run.nodes.count:
        run.plan._kept.inline.runs_left = HOT_AFTER
    else:
        warm(run.plan, all_of_it=False)


def run_items(run: Calls, feed: ItemResolver, call: Callable[..., Any] | None, numbered: bool) -> None:
    """Call a map's function with every item, on this thread.

    :param call: what to call as long as all goes well (with the item's number first, if ``numbered``); None if
        counting is needed from the start.
    """
    delayed: list[tuple[float, int]] = []
    feed.counting = call is None
    feed.on_broken = delayed.clear
    failed = None if call is None else feed.call_all(call, numbered)
    over = failed is not None and _failed(run, feed, *failed, delayed)
    del failed  # its traceback holds this frame: no cycle
    if not over:
        count_down(run, feed, delayed)


def count_down(run: Calls, resolver: Any, delayed: list[tuple[float, int]] | None = None) -> None:
    """Run what the resolver says is ready until nothing is, or a failure ends the run."""
    values, fns, arguments, clock = run.values, run.fns, run.arguments, run.clock
    copy = copy_context().copy
    delayed = [] if delayed is None else delayed  # heap of (due, node): retries that wait
    deadline = run.deadline
    i = -1
    while True:
        if i < 0:
            while delayed and delayed[0][0] <= clock.now():
                resolver.put_back(heappop(delayed)[1])
            if deadline is not None and clock.now() >= deadline and resolver.unfinished:
                run.timed_out = True
                return
            i = resolver.take()
        if i < 0:
            if not delayed:
                return
            wake = delayed[0][0] if deadline is None else min(delayed[0][0], deadline)
            clock.sleep(max(0.0, wake - clock.now()))
            continue
        failed: Exception | None = None
        try:
            value = isolated(copy, fns[i], values, arguments[i])
            if type(value) is CoroutineType:
                raise never_awaited(run, i, value)
            values[i] = value
            value = None  # it may be let go before the next one comes
        except Exception as error:
            failed = error
        except OutOfTime:
            run.timed_out = True
            return
        if failed is None:
            if delayed or deadline is not None:
                resolver.done(i)
                i = -1
            else:
                i = resolver.advance(i)
            continue
        try:
            over = _failed(run, resolver, i, failed, delayed)
        finally:
            failed = None  # its traceback holds this frame: no cycle
        if over:
            return
        i = -1


def _failed(run: Calls, resolver: Any, i: int, error: Exception, delayed: list[tuple[float, int]]) -> bool:
    """Retry later or fail node ``i``; return True if the run must end."""
    delay = run.retry_delay(i, error)
    if delay is None:
        return run.fail(i, error)
    heappush(delayed, (run.clock.now() + delay, i))
    return False
