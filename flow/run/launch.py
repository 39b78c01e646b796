"""Bind a run and drive it, outermost or as a node of another run: the one place where runs nest."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import copy
from functools import partial
from typing import TYPE_CHECKING, Any

from msgspec.structs import force_setattr

from flow.clock import on_asyncio
from flow.config import Config
from flow.errors import InputError, a_kind, shower, shown
from flow.plan.plan import Plan
from flow.policy.bind import with_defaults
from flow.policy.mapping import Folded, Mapped
from flow.run import events
from flow.run.binding import bind
from flow.run.calls import Calls, OutOfTime
from flow.run.cleanup import bind_cleanup, drive_and_clean_up, run_and_clean_up
from flow.run.drive.inline import run_inline
from flow.run.result import Result, raise_failure
from flow.run.state import PlanRun, settled
from flow.run.unawaited import looked_at
from flow.signature import Composite, Nested, is_async_callable
from flow.types import ABSENT, Status

if TYPE_CHECKING:
    from flow.run.items.pipeline import PipelineRun
    from flow.run.items.run import MapRun


def begin(run: PlanRun) -> None:
    """Start the clock, and bind what needs this run. A plan and config without specials skip all of that.

    The clock starts here, once the event loop runs and what drives the run is imported.
    """
    run.started_at = run.clock.now()
    config, extras = run.config, run._extras
    hooked = extras is not None and extras.hooks is not None
    nodes = run.nodes
    if nodes.binders or nodes.routes is not None or config.observers or config.timing or hooked or (
        config.executor != "inline"
    ):
        bind(run, partial(expanded, run))
        if run.nodes.cleans:
            bind_cleanup(run)
        if config.observers:
            run.emit(events.RunStarted(run.run_id, run.plan.name, nodes.count, run.started_at))
    if extras is not None and extras.known:
        from flow.run.known import take_known

        take_known(run)


def drive_inline(run: PlanRun) -> None:
    """Drive ``run`` to its end on this thread."""
    try:
        try:
            begin(run)
            (run_and_clean_up if run.nodes.cleans else run_inline)(run)
        finally:
            run.end()
    except BaseException:
        run.forget()
        raise


def driver_for(run: Calls, outer: Any = None) -> Any:
    """Make what drives ``run`` on the running event loop.

    :param outer: what drives the run around it.
    """
    if outer is not None:
        return type(outer)(run, outer)
    if on_asyncio():
        from flow.run.drive.asyncio import AsyncioDriver

        return AsyncioDriver(run)
    from flow.run.drive.trio import TrioDriver

    return TrioDriver(run)


async def drive_alone(run: PlanRun) -> None:
    """Drive ``run`` to its end on an event loop that is there for this run alone."""
    driver = driver_for(run)
    driver.owns_loop = True
    try:
        begin(run)
        await (drive_and_clean_up(run, driver) if run.nodes.cleans else driver.drive())
    finally:
        run.end()


# -- a run as a node of another -------------------------------------------------------------


def expanded(run: PlanRun, fn: Composite, i: int, executor: str, at: str) -> tuple[Callable[..., Any], bool]:
    """Return what runs a Dag, a map or a fold as node ``i`` of ``run``, and whether it is awaited.

    :param executor: where sync functions run there; a name holds for those of a Dag, too.
    :param at: the place in ``run`` that the nodes of a Dag are said to be at.
    """
    if isinstance(fn, Mapped):
        return partial(map_on_loop if run.on_loop else map_inline, run, i, fn), run.on_loop
    if isinstance(fn, Folded):
        return _folding(run, fn, i), fn.is_async
    assert isinstance(fn, Nested)
    named = executor not in ("inline", "thread")
    awaited = fn.is_async or (run.on_loop and (named or (run.hooks is not None and run.hooks.awaits)))
    nest = partial(execute_nested, executor=executor) if awaited else run_nested

    def call(*values: Any) -> Any:
        inputs = {name: value for name, value in zip(fn.inputs, values, strict=True) if value is not ABSENT}
        return nest(fn.plan, inputs, run, at)

    return call, awaited


def _folding(run: PlanRun, folded: Folded, i: int) -> Callable[..., Any]:
    if run.plan._kept.unchecked and not is_async_callable(folded.fn):
        folded = folded.calling(looked_at(run, i, folded.fn))
    slot, fold = run.nodes.arguments[i][0], folded.fold_awaiting if folded.is_async else folded.fold
    show = shown if run.config.show_values else a_kind
    return lambda items: fold(items, run.made(slot, items), show)


def run_nested(plan: Plan, inputs: Mapping[str, Any], outer: PlanRun, at: str) -> Mapping[str, Any]:
    """Run a sync plan as a node of another run; a failure of it is that node's."""
    config = _changed(outer.config, mode="auto", executor="inline", timeout=None, limit=None, keep="all")
    run = PlanRun(plan, _declared(plan, inputs, config), config, None, outer=outer, at=at)
    _count_if_hooked(run)
    drive_inline(run)
    if run.timed_out:
        run.forget()
        raise OutOfTime
    return _outputs_of(run)


async def execute_nested(
    plan: Plan, inputs: Mapping[str, Any], outer: PlanRun, at: str, executor: str
) -> Mapping[str, Any]:
    """Run a plan as a node of another run. It has the outer limit for itself, so nesting cannot deadlock."""
    config = _changed(outer.config, timeout=None, keep="all")
    if executor != config.executor and executor not in ("inline", "thread"):
        config = _changed(config, executor=executor)
    run = PlanRun(plan, _declared(plan, inputs, config), config, None, outer=outer, at=at)
    _count_if_hooked(run)
    driver = driver_for(run, outer.driver)
    try:
        try:
            begin(run)
            await (drive_and_clean_up(run, driver) if run.nodes.cleans else driver.drive())
        finally:
            run.end()
    except BaseException:
        run.forget()
        raise
    return _outputs_of(run)


def _declared(plan: Plan, inputs: Mapping[str, Any], config: Config) -> Mapping[str, Any]:
    """Return a nested run's inputs with what its Dag declares. :raises InputError: listing what does not fit."""
    declared = plan._nodes.declared
    if declared is None:
        return inputs
    values, faults = declared.filled(inputs, shower(config))
    if faults:
        raise InputError(plan.name, faults)
    return values


def _changed(config: Config, **changes: Any) -> Config:
    """As ``config.replace``, without checking what has been checked."""
    made = copy(config)
    for name, value in changes.items():
        force_setattr(made, name, value)
    return made


def _count_if_hooked(run: PlanRun) -> None:
    if run.hooks is not None:
        run.resolve()


def _outputs_of(run: PlanRun) -> Mapping[str, Any]:
    result = Result(settled(run))
    raise_failure(result, tolerated=False)
    return result.outputs


# -- a map as a node ------------------------------------------------------------------------


def map_inline(outer: PlanRun, node: int, mapped: Mapped, *values: Any) -> Any:
    """Run a map as node ``node`` of a run without an event loop."""
    from flow.run.items.run import MapRun

    stage = outer.extras.stages.pop(node, None)
    if stage is not None:  # it ran with the map before it
        return stage.outcome()
    items = MapRun(outer, node, mapped, values, partial(expanded, outer))
    pipeline = _pipeline(items, node)
    if pipeline is None:
        return items.run_inline()
    pipeline.run_inline()
    return items.outcome()


async def map_on_loop(outer: PlanRun, node: int, mapped: Mapped, *values: Any) -> Any:
    """Run a map as node ``node`` of a run on an event loop."""
    from flow.run.items.run import MapRun

    stage = outer.extras.stages.pop(node, None)
    if stage is not None:
        return stage.outcome()
    items = MapRun(outer, node, mapped, values, partial(expanded, outer))
    pipeline = _pipeline(items, node)
    if pipeline is None:
        return await items.run_on_loop(driver_for(items, outer.driver))
    await pipeline.run_on_loop(driver_for(pipeline, outer.driver))
    return items.outcome()


def _pipeline(first: MapRun, node: int) -> PipelineRun | None:
    """The run of this map and those that are pipelined after it; None if there are none."""
    outer, nodes = first.outer, first.outer.nodes
    if node not in nodes.pipelines:
        return None
    from flow.run.items.pipeline import PipelineRun
    from flow.run.items.run import MapRun

    stages, sources, members = [first], [-1], [node]
    for s, at in enumerate(members):  # grows on the way
        for follower in nodes.pipelines.get(at, ()):
            if outer.resolver is not None and outer.resolver.status(follower) is Status.SKIPPED:
                continue  # what it takes besides the items has failed, which is tolerated
            binder = nodes.binders[follower]
            mapped: Any = binder.fn
            values = with_defaults([outer.values[slot] for slot in nodes.arguments[follower]], binder.defaults)
            stage = MapRun(outer, follower, mapped, values, partial(expanded, outer), stages[s])
            outer.extras.stages[follower] = stage
            stages.append(stage)
            sources.append(s)
            members.append(follower)
    if any(stage.mapped.options.batch_size is not None for stage in stages[1:]):
        from flow.run.items.batched import BatchedPipelineRun

        return BatchedPipelineRun(stages, sources)
    return PipelineRun(stages, sources) if len(stages) > 1 else None
