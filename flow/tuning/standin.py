"""A Dag of the same shape whose nodes have no side effects, to be tuned in place of the user's own."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any, Literal, TypeAlias

from flow.config.fields import is_number, is_one_of
from flow.errors import UsageError, shown
from flow.graph.dag import Dag
from flow.plan.plan import Plan
from flow.signature import Composite

Work: TypeAlias = Literal["noop", "sleep", "cpu"]


def stand_in(plan: Plan, work: Work, scale: float = 1.0) -> Plan:
    """Return a plan of the same names, dependencies, priorities and kinds of nodes, that does ``work``. O(n + e).

    :param work: ``noop`` returns at once; ``sleep`` waits for the node's ``cost`` in seconds (a sync node blocks its
        thread); ``cpu`` computes for as long.
    :param scale: factor on all costs.
    :raises UsageError: for ``sleep`` and ``cpu``, if no node has a cost.
    """
    if work != "noop" and not plan.costs:
        raise UsageError(
            f"no node of dag {plan.name!r} has a cost, so a stand-in knows no seconds to {work}: give cost=seconds to "
            "the nodes, or take work='noop'"
        )
    dag, dependencies = Dag(plan.name), plan.dependencies
    for i in plan._nodes.order:
        binder = plan._nodes.binders.get(i)
        composite = isinstance(plan._nodes.fns[i] if binder is None else binder.fn, Composite)
        thread = binder is not None and binder.executor == "thread" and not composite
        cost = plan._nodes.costs.get(i)
        dag.add(
            plan.names[i],
            _function(work, (cost or 0.0) * scale, bool(plan._nodes.is_async[i]) and not thread),
            needs=list(dependencies[plan.names[i]]),
            priority=plan._nodes.priorities.get(i, 0),
            thread=thread,
            cost=None if cost is None else cost * scale,
        )
    return dag.compile()


def faults_of_work(work: object, scale: object) -> Iterator[str]:
    """Yield what is wrong with the arguments of :func:`stand_in`; ``work`` is None where none are wanted."""
    if work is not None and not is_one_of(work, ("noop", "sleep", "cpu")):
        yield f"work must be one of 'noop', 'sleep', 'cpu', or None for your own nodes, not {shown(work)}"
    if not is_number(scale) or scale < 0:  # type: ignore[operator]
        yield f"scale must be a number >= 0, not {shown(scale)}"
    elif work is None and scale != 1:
        yield f"scale={shown(scale)} is a factor on the stand-ins' seconds: give work too, 'sleep' or 'cpu'"


def _function(work: Work, seconds: float, is_async: bool) -> Callable[..., Any]:
    if is_async:
        return _awaiting(work, seconds)
    if work == "sleep":
        return lambda *_: time.sleep(seconds)
    return lambda *_: _compute(seconds if work == "cpu" else 0.0)


def _awaiting(work: Work, seconds: float) -> Callable[..., Any]:
    async def node(*_: object) -> None:
        if work == "sleep":
            from anyio import sleep

            await sleep(seconds)
        elif work == "cpu":
            _compute(seconds)

    return node


def _compute(seconds: float) -> None:
    end = time.thread_time() + seconds
    while seconds and time.thread_time() < end:
        pass
