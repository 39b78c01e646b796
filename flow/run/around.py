"""Wrappers of a call, for the hooks and the journal of a run and the admission of a node.

O(1) per call; other calls have none.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextvars import copy_context
from types import CoroutineType
from typing import Any

from flow.awaits import discard
from flow.data.context import Context
from flow.errors import UsageError, a_kind
from flow.logs import log_broken
from flow.policy.admission import Admission, Gates, NotBegun
from flow.policy.middleware import is_awaitable
from flow.run.calls import Calls
from flow.run.journal import WINDOW, Answer, Journal
from flow.run.unawaited import never_awaited, refuse_unless_async
from flow.types import Status

Call = Callable[..., Any]


def asked(run: Calls, i: int, call: Call, is_async: bool) -> Call:
    """Ask the run's call hook, if it has one, before ``call``: what that answers takes the call's place."""
    hooks = run.hooks
    if hooks is None or hooks.asks is None:
        return call

    def asking(*values: Any) -> Any:
        answer = hooks.ask(run.call_of(i, values))
        return call(*values) if answer is None else run.answered(i, answer)

    async def asking_awaiting(*values: Any) -> Any:
        answer = await hooks.ask_awaiting(run.call_of(i, values))
        return await call(*values) if answer is None else run.answered(i, answer)

    return asking_awaiting if is_async else asking


def told(run: Calls, i: int, call: Call, is_async: bool) -> Call:
    """Tell the run's outcome hook, if it has one, the output of ``call`` before any dependant gets it.

    The code that decides what its exceptions mean reports them (:meth:`flow.run.calls.Calls.retry_delay`, ``fail``).
    """
    hooks = run.hooks
    if hooks is None or not hooks.tells:
        return call

    def telling(*values: Any) -> Any:
        value = call(*values)
        if type(value) is CoroutineType:
            raise never_awaited(run, i, value)
        hooks.tell(run.outcome_of(i, Status.COMPLETED, run.output_of(i, value), run.fallback_of(i)))
        return value

    async def telling_awaiting(*values: Any) -> Any:
        value = await call(*values)
        if type(value) is CoroutineType:
            refuse_unless_async(run, i, value)
        await hooks.tell_awaiting(run.outcome_of(i, Status.COMPLETED, run.output_of(i, value), run.fallback_of(i)))
        return value

    return telling_awaiting if is_async else telling


def kept(run: Calls, i: int, call: Call, is_async: bool) -> Call:
    """Let the run's journal, if it has one, keep the output of ``call`` before any dependant gets it."""
    journal = run.journal
    if journal is None:
        return call
    commits = journal.commits
    begins, completed, lasts = journal.begins, journal.completed, run.outlasts(i)

    def keeping(*values: Any) -> Any:
        begun = begins(run, i)
        if type(begun) is Answer:
            return run.answered(i, begun.outcome)
        value = call(*values)
        if type(value) is CoroutineType:
            raise never_awaited(run, i, value)
        completed(run, i, run.output_of(i, value), run.fallback_of(i), begun)
        if commits and not (lasts and journal.broken is not None):
            journal.commit()
        return value

    async def keeping_awaiting(*values: Any) -> Any:
        begun = begins(run, i)
        if type(begun) is Answer:
            return run.answered(i, begun.outcome)
        value = await call(*values)
        if type(value) is CoroutineType:
            refuse_unless_async(run, i, value)
        completed(run, i, run.output_of(i, value), run.fallback_of(i), begun)
        if commits and not (lasts and journal.broken is not None):
            await journal.committed()
        return value

    return keeping_awaiting if is_async else keeping


def plain_keepers(run: Any, journal: Journal) -> tuple[Call, Call]:
    """Return what keeps nothing of a node but its output and its times, for a sync and for an async call.

    They are made once per run, and called with the node and its call before the values.
    """
    entries, idle, wake, now = journal.entries, journal.idle, journal.wake, run.clock.now
    keep, encode, (plain, pack, tag) = entries.append, journal.encode, journal.plain

    def keeping(i: int, call: Call, *values: Any) -> Any:
        began = now()
        value = call(*values)
        if type(value) is CoroutineType:
            raise never_awaited(run, i, value)
        try:  # journal.encode, written out
            data = tag + pack(value) if type(value) in plain else encode(value)
        except Exception:
            data = encode(value)
        keep((run, i, run.attempts.get(i, 1), data, began, now()))
        if idle or not len(entries) % WINDOW:
            wake()
        return value

    async def keeping_awaiting(i: int, call: Call, *values: Any) -> Any:
        began = now()
        value = await call(*values)
        if type(value) is CoroutineType:
            refuse_unless_async(run, i, value)
        try:
            data = tag + pack(value) if type(value) in plain else encode(value)
        except Exception:
            data = encode(value)
        keep((run, i, run.attempts.get(i, 1), data, began, now()))
        if idle or not len(entries) % WINDOW:
            wake()
        return value

    return keeping, keeping_awaiting


def lifted(run: Calls, i: int, call: Call) -> Callable[..., Awaitable[Any]]:
    """Let a sync ``call`` be awaited, in contextvars of its own: around it there is something to await."""

    async def awaited(*values: Any) -> Any:
        value = copy_context().run(call, *values)
        if type(value) is CoroutineType:
            raise never_awaited(run, i, value)
        return value

    return awaited


def admitted(run: Calls, i: int, call: Call, is_async: bool, gates: Gates, make: Callable[[], Context]) -> Call:
    """Let ``call`` begin once all ``gates`` let it in. While one is awaited, the node holds no slot.

    What a store knows already is not called, so nothing is asked.

    :param make: makes the Context that the admissions are given.
    """
    journal, inner = run.journal, call
    gated = _settled if gates.settles or len(gates.each) > 1 else _asked_once
    let_in = gated(run, i, call, is_async, gates, make)
    if journal is None or journal.known is None:
        return let_in

    async def known_or_let_in(*values: Any) -> Any:
        return await (inner if journal.has_answer(run, i) else let_in)(*values)

    def known_or_let_in_at_once(*values: Any) -> Any:
        return (inner if journal.has_answer(run, i) else let_in)(*values)

    return known_or_let_in if is_async else known_or_let_in_at_once


def _asked_once(run: Calls, i: int, call: Call, is_async: bool, gates: Gates, make: Callable[[], Context]) -> Call:
    """As :func:`admitted`, for one admission that is told nothing."""
    (admission,) = gates.each

    async def let_in(*values: Any) -> Any:
        made: Any = admission(make())
        if is_awaitable(made):
            async with run.released():
                await made
        return await call(*values)

    def let_in_at_once(*values: Any) -> Any:
        _refuse_awaitable(run, i, admission(make()))
        return call(*values)

    return let_in if is_async else let_in_at_once


def _settled(run: Calls, i: int, call: Call, is_async: bool, gates: Gates, make: Callable[[], Context]) -> Call:
    """As :func:`admitted`; those that have let the call in are told how it ended."""

    async def let_in(*values: Any) -> Any:
        ctx, passed, begun = make(), list[Admission](), False
        try:
            await _pass(run, gates, ctx, passed)
            begun = True
            value = await call(*values)
        except BaseException as error:
            _settle(run, i, passed, ctx, error if begun else NotBegun(error))
            raise
        _settle(run, i, passed, ctx, None)
        return value

    def let_in_at_once(*values: Any) -> Any:
        ctx, passed, begun = make(), list[Admission](), False
        try:
            for gate in gates.each:
                _refuse_awaitable(run, i, gate(ctx))
                passed.append(gate)
            begun = True
            value = call(*values)
        except BaseException as error:
            _settle(run, i, passed, ctx, error if begun else NotBegun(error))
            raise
        _settle(run, i, passed, ctx, None)
        return value

    return let_in if is_async else let_in_at_once


async def _pass(run: Calls, gates: Gates, ctx: Context, passed: list[Admission]) -> None:
    """Ask one admission after the other, without a slot from the first on that is awaited.

    :param passed: gets each that has let the call in, at once: a cancellation may come with the next step.
    """
    made: Any
    left = iter(gates.each)
    for gate in left:
        made = gate(ctx)
        if not is_awaitable(made):
            passed.append(gate)
            continue
        async with run.released():
            await made
            passed.append(gate)
            for later in left:
                made = later(ctx)
                if is_awaitable(made):
                    await made
                passed.append(later)


def _refuse_awaitable(run: Calls, i: int, made: Any) -> None:
    if is_awaitable(made):
        discard(made)
        raise UsageError(f"the admission of node {run.name_of(i)!r} returned something to await: make it async")


def _settle(run: Calls, i: int, passed: list[Admission], ctx: Context, error: BaseException | None) -> None:
    """Tell the admissions that have let a call in how it ended, the last one first. What they raise is logged."""
    if error is not None:
        run.conceal(error)  # they may show it, and in other runs
    while passed:  # emptied: an error holds the frame that holds the list
        gate: Any = passed.pop()
        settled = getattr(gate, "settled", None)
        if settled is not None:
            try:
                settled(ctx, error)
            except Exception:
                text = "the admission %s of node %r raised in settled"
                log_broken(text, a_kind(gate), run.name_of(i), run=run.run_id, node=ctx.node)
