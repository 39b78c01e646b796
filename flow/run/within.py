"""Runs that a node starts through its Context: ``ctx.run`` and ``ctx.execute``.

Such a run is a part of the run around it, as a Dag is that stands as a node (:mod:`flow.run.launch`). Its place there
is that of the node, ``node+2`` for the second run of one attempt, and so on.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from threading import Lock
from typing import Any, Final

from flow.data.context import Context, Lease, LeasedContext
from flow.errors import UsageError, a_kind
from flow.graph.dag import Dag
from flow.plan.plan import Plan
from flow.run.api import _checked_inputs, execute, finished, run
from flow.run.calls import OutOfTime
from flow.run.launch import config_inline, config_within, drive_inline_within, drive_within
from flow.run.reports import take_part
from flow.run.result import Result
from flow.run.state import PlanRun
from flow.types import references

_COUNTING: Final = Lock()
"""Held while runs of one node are counted: threads of it may start several."""


class StartedRun(PlanRun):
    """A run that a node has started, which gets its Result: what it collects does not fail the node."""

    __slots__ = ()

    @property
    def is_shown(self) -> bool:
        return True

    def survives(self, i: int) -> bool:
        return super().survives(i) or self.config.on_error == "collect"


def run_within(context: Context, target: Any, inputs: Mapping[str, Any] | None, targets: Any) -> Result:
    """Run a sync plan for a node, in its thread. A Context by hand belongs to no run: there it is a run of its own."""
    plan, outer = _part(_plan(target, "run"), targets), context._scope.shared
    if not plan.all_sync:
        raise _final(
            f"ctx.run runs plain functions in the thread of the node, and dag {plan.name!r} needs an event loop "
            "(async functions, threads or executors): use 'await ctx.execute(...)' in an async node"
        )
    if not isinstance(outer, PlanRun):
        return run(plan, inputs)
    if outer.hooks is not None and outer.hooks.awaits:
        raise _final(
            f"ctx.run: a hook of this run is async, and nothing awaits it here for the nodes of dag {plan.name!r}: "
            "use 'await ctx.execute(...)' in an async node"
        )
    nested = _nested(context, plan, inputs, outer, config_inline(outer.config))
    return _result(drive_inline_within(nested))


async def execute_within(context: Context, target: Any, inputs: Mapping[str, Any] | None, targets: Any) -> Result:
    """Run a plan for an async node, on the event loop of its run. For a Context by hand as :func:`run_within`."""
    plan, outer = _part(_plan(target, "execute"), targets), context._scope.shared
    if not isinstance(outer, PlanRun):
        return await execute(plan, inputs)
    driver: Any = outer.driver
    if driver is None:
        raise _final(
            f"ctx.execute: this run has no event loop, or has ended; dag {plan.name!r} can run in an async node"
            f"{', or by ctx.run in a plain one' if plan.all_sync else ''}"
        )
    if not driver.is_here():
        raise _final(
            "ctx.execute: this thread does not run the event loop of the run: await it in an async node, not in one "
            "that runs in a thread"
        )
    return await drive_within(_nested(context, plan, inputs, outer, config_within(outer.config)), _result)


def _plan(target: Any, method: str) -> Plan:
    if isinstance(target, Dag):
        return target.compile()
    if not isinstance(target, Plan):
        raise _final(f"ctx.{method} takes a flow.Dag or a flow.Plan, not {a_kind(target)}")
    return target


def _part(plan: Plan, targets: Any) -> Plan:
    return plan if targets is None else plan.subgraph(*references(targets))


def _final(text: str) -> UsageError:
    """Make an error that would be the same if the node were tried again."""
    error = UsageError(text)
    error.final = True
    return error


def _nested(context: Context, plan: Plan, inputs: Mapping[str, Any] | None, outer: PlanRun, config: Any) -> PlanRun:
    checked = _checked_inputs(plan, {} if inputs is None else inputs, config)
    if plan._nodes.waits:
        from flow.run.signals import check_waits

        outermost = outer
        while outermost.outer is not None:
            outermost = outermost.outer
        check_waits(plan, outermost.config, sends=False)
    nested = StartedRun(plan, checked, config, None, outer=outer, at=_place(context, outer))
    if nested.journal is not None:
        nested.journal.begins_run(nested, checked)
        take_part(nested)
    if isinstance(context, LeasedContext):
        nested.extras.steps = (partial(_stop_if_left, context._lease),)
        nested.resolve()
    return nested


def _stop_if_left(lease: Lease, i: int) -> None:
    """After node ``i``: end the run if the attempt that has started it was left behind in its thread."""
    if lease.revoked:
        raise OutOfTime


def _place(context: Context, outer: PlanRun) -> str:
    """Return the place of the next run of this call: the node, or ``map[index]``; of a further one ``+2``, and so on.

    Numbers that would make the name of another node are left out.
    """
    call = context._call()
    with _COUNTING:
        if call._parent is not None:  # an item, which has its number for itself
            own = call._written()
            own.runs += 1
            return _numbered(f"{call.node}[{call.index}]", own.runs)
        extras, node = outer.extras, call.node
        counts = extras.nested = {} if extras.nested is None else extras.nested
        attempt, number = counts.get(node, (call.attempt, 0))
        number = number + 1 if attempt == call.attempt else 1
        while number > 1 and _numbered(node, number) in outer.plan:
            number += 1
        counts[node] = (call.attempt, number)
        return _numbered(node, number)


def _numbered(place: str, number: int) -> str:
    return place if number == 1 else f"{place}+{number}"


def _result(nested: PlanRun) -> Result:
    """Return the Result of a run that has ended. It holds nothing of the run around it, whose output it may be.

    :raises RunError: as :func:`flow.run` does.
    """
    extras = nested.extras
    outer = extras.outer
    assert outer is not None
    if extras.data is None and outer._extras is not None and outer._extras.data is not None:
        assert nested.data is not None  # made now, over the store of that run
    extras.outer = extras.journal = None  # which goes on
    return finished(nested)
