"""Bind a run and drive it, outermost or as a node of another run: the one place where runs nest."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from flow.clock import on_asyncio
from flow.config import Config
from flow.errors import InputError, a_kind, shower, shown
from flow.plan.plan import Plan
from flow.policy.bind import with_defaults
from flow.policy.looping import Looped
from flow.policy.mapping import Folded, Mapped
from flow.run import events
from flow.run.binding import bind
from flow.run.calls import Calls, OutOfTime
from flow.run.drive.inline import run_inline
from flow.run.journal import ends_quietly
from flow.run.pacing import Pace, pause
from flow.run.result import Result, raise_failure
from flow.run.state import PlanRun, settled
from flow.run.unawaited import looked_at
from flow.signature import Around, Composite, Nested, is_async_callable
from flow.types import ABSENT, Status

if TYPE_CHECKING:
    from flow.run.items.pipeline import PipelineRun
    from flow.run.items.run import MapRun
    from flow.run.journal import Journal
    from flow.run.mailbox import Mailbox

T = TypeVar("T")


def begin(run: PlanRun) -> None:
    """Start the clock, and bind what needs this run. A plan and config without specials skip all of that.

    The clock starts here, once the event loop runs and what drives the run is imported.
    """
    run.started_at = run.clock.now()
    nodes = run.nodes
    if nodes.secret:
        from flow.run.secrets import hide

        hide(run)
    config, extras = run.config, run._extras
    if extras is not None and extras.journal is not None and extras.outer is None:
        extras.journal.start(run)
    hooked = extras is not None and (extras.hooks is not None or (extras.journal is not None and not _is_plain(run)))
    if nodes.binders or nodes.routes is not None or config.observers or config.timing or hooked or (
        config.executor != "inline"
    ):
        bind(run, partial(expanded, run))
        if run.nodes.cleans:
            from flow.run.cleanup import bind_cleanup

            bind_cleanup(run)
        if config.observers:
            run.emit(events.RunStarted(run.run_id, run.plan.name, nodes.count, run.started_at, run.path))


def _is_plain(run: PlanRun) -> bool:
    """Tell whether nodes are called as they stand, in the plan's order, and a journal keeps nothing but their outputs.

    (:func:`flow.run.drive.inline.run_inline` then hands it all outputs itself.)
    """
    config, nodes, journal = run.config, run.nodes, run.journal
    assert journal is not None
    if run.on_loop or run.outer is not None or run.resolver is not None or run.hooks is not None:
        return False
    if nodes.binders or config.observers or config.timing or config.timeout is not None:
        return False
    return journal.stores_plainly(run)


def _enter(run: PlanRun) -> None:
    """Take what is known, and let nodes wait. Hooks and conditions are called here: what they raise ends the run."""
    extras, nodes = run._extras, run.nodes
    if extras is not None and (
        extras.known or (extras.journal is not None and extras.outer is None and extras.journal.known is not None)
    ):
        from flow.run.known import take_known

        take_known(run)
    if nodes.routes is not None and nodes.routes.waits:
        from flow.run.waiting import begin_waits

        begin_waits(run)


def drive_inline(run: PlanRun) -> None:
    """Drive ``run`` to its end on this thread."""
    try:
        try:
            begin(run)
            if run.nodes.cleans:
                from flow.run.cleanup import run_and_clean_up

                run_and_clean_up(run, _enter)
            else:
                _enter(run)
                run_inline(run)
        finally:
            run.end()
    except BaseException as error:
        run.conceal(error)
        if run.outer is not None or not ends_quietly(error):  # else its Result shows what it has
            run.forget()
        raise


def driver_for(run: Calls, outer: Any = None) -> Any:
    """Make what drives ``run`` on the running event loop.

    :param outer: what drives the run around it.
    """
    if outer is not None:
        driver = type(outer)(run, outer)
    elif on_asyncio():
        from flow.run.drive.asyncio import AsyncioDriver

        driver = AsyncioDriver(run)
    else:
        from flow.run.drive.trio import TrioDriver

        driver = TrioDriver(run)
    if run.journal is not None:
        run.journal.drives(driver)
    return driver


def driving(run: PlanRun, driver: Any) -> Awaitable[None]:
    """Return what drives ``run`` to its end, and its cleanup. (To be awaited where the run is: it adds no frame.)"""
    if run.nodes.cleans:
        from flow.run.cleanup import drive_and_clean_up

        return drive_and_clean_up(run, driver, _enter)
    _enter(run)
    drives: Awaitable[None] = driver.drive()
    return drives


def mailbox_for(run: PlanRun, driver: Any, mailbox: Mailbox | None = None) -> Mailbox | None:
    """Let signals reach an outermost run: by ``mailbox``, or if it is durable by one of its own."""
    if mailbox is None and run.journal is not None and run.nodes.waits:
        from flow.run.mailbox import Mailbox

        mailbox = Mailbox(run)
    if mailbox is not None:
        driver.mailbox = mailbox
    return mailbox


async def drive_alone(run: PlanRun, owns_loop: bool = True, mailbox: Mailbox | None = None) -> None:
    """Drive an outermost ``run`` to its end on an event loop.

    :param owns_loop: the loop is there for this run alone. :param mailbox: takes what is sent to its signals.
    """
    driver = driver_for(run)
    driver.owns_loop = owns_loop
    mailbox = mailbox_for(run, driver, mailbox)
    try:
        begin(run)
        await driving(run, driver)
    finally:
        run.end()
        if mailbox is not None:
            mailbox.end()


# -- a run as a node of another -------------------------------------------------------------


def expanded(run: PlanRun, fn: Composite, i: int, executor: str, at: str) -> tuple[Callable[..., Any], bool]:
    """Return what runs a Dag, a map, a fold or a loop as node ``i`` of ``run``, and whether it is awaited.

    :param executor: where sync functions run there; a name holds for those of a Dag, too.
    :param at: the place in ``run`` that the nodes of a Dag are said to be at.
    """
    call, awaited = _expanded(run, fn, i, executor, at)
    return (call if fn.around is None else _with(fn.around, call, awaited)), awaited


def _with(around: Around, call: Callable[..., Any], awaited: bool) -> Callable[..., Any]:
    """Return ``call`` with what is done before and after it."""

    async def called_async(*values: Any) -> Any:
        return around.output(await call(*around.given(values)), values)

    return called_async if awaited else lambda *values: around.output(call(*around.given(values)), values)


def _expanded(run: PlanRun, fn: Composite, i: int, executor: str, at: str) -> tuple[Callable[..., Any], bool]:
    if isinstance(fn, Mapped):
        return partial(map_on_loop if run.on_loop else map_inline, run, i, fn), run.on_loop
    if isinstance(fn, Folded):
        return _folding(run, fn, i), fn.is_async
    if isinstance(fn, Looped):
        return _looping(run, fn, i, executor, at)
    assert isinstance(fn, Nested)
    named = executor not in ("inline", "thread")
    turns = named or (fn.turns and executor == "inline")
    awaited = fn.is_async or (run.on_loop and (turns or run.lifts))
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
    config = config_inline(outer.config)
    run = PlanRun(plan, _declared(plan, inputs, config), config, None, outer=outer, at=at)
    extras: Any = run._extras
    if extras.journal is not None:
        _know_by(run, extras.journal, inputs, at)
    return _outputs_of(drive_inline_within(run))


def _know_by(run: PlanRun, journal: Journal, inputs: Mapping[str, Any], at: str) -> None:
    """Let the run of an item of a durable run be known again by what it is given."""
    if at.endswith("]"):
        journal.begins_run(run, inputs)


def config_inline(config: Config) -> Config:
    """Return the config of a run without an event loop within a run that has this one."""
    return config._changed(mode="auto", executor="inline", timeout=None, limit=None, keep="all")


def drive_inline_within(run: PlanRun) -> PlanRun:
    """Drive ``run``, which is a part of another, to its end on this thread.

    :raises OutOfTime: if the time limit of a run around it passes.
    """
    _count_if_hooked(run)
    drive_inline(run)
    if run.timed_out:
        run.forget()
        raise OutOfTime
    return run


def execute_nested(
    plan: Plan, inputs: Mapping[str, Any], outer: PlanRun, at: str, executor: str
) -> Coroutine[Any, Any, Mapping[str, Any]]:
    """Run a plan as a node of another run. It has the outer limit for itself, so nesting cannot deadlock."""
    config = config_within(outer.config, executor)
    run = PlanRun(plan, _declared(plan, inputs, config), config, None, outer=outer, at=at)
    extras: Any = run._extras
    if extras.journal is not None:
        _know_by(run, extras.journal, inputs, at)
    return drive_within(run, _outputs_of)


def config_within(config: Config, executor: str = "inline") -> Config:
    """Return the config of a run within a run that has this one, on its event loop.

    :param executor: where sync functions run there, if that is a name.
    """
    if executor != config.executor and executor not in ("inline", "thread"):
        return config._changed(timeout=None, keep="all", executor=executor)
    return config._changed(timeout=None, keep="all")


async def drive_within(run: PlanRun, then: Callable[[PlanRun], T]) -> T:
    """Drive ``run``, which is a part of another, to its end on the event loop of that.

    :param then: what this returns, made of the run. (Not by the caller: each frame that lives as long as a run is paid
        by thousands of runs at once.)
    """
    _count_if_hooked(run)
    driver = driver_for(run, run.outer.driver)
    try:
        try:
            begin(run)
            await driving(run, driver)
        finally:
            run.end()
    except BaseException:
        run.forget()
        raise
    return then(run)


def _declared(plan: Plan, inputs: Mapping[str, Any], config: Config) -> Mapping[str, Any]:
    """Return a nested run's inputs with what its Dag declares. :raises InputError: listing what does not fit."""
    declared = plan._nodes.declared
    if declared is None:
        return inputs
    values, faults = declared.filled(inputs, shower(config))
    if faults:
        raise InputError(plan.name, faults)
    return values


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


# -- a loop as a node -----------------------------------------------------------------------


def _looping(run: PlanRun, looped: Looped, i: int, executor: str, at: str) -> tuple[Callable[..., Any], bool]:
    """As :func:`expanded`, of a loop."""
    assert looped.body is not None
    awaits = looped.is_async or run.lifts
    if not run.on_loop or (executor == "thread" and not awaits):
        return partial(loop_inline, run, i, looped, at), False
    if awaits or executor not in ("inline", "thread") or looped.body.turns:
        return partial(loop_on_loop, run, i, looped, at, executor), True
    return partial(loop_by_turns, run, i, looped, at), True


def loop_inline(outer: PlanRun, node: int, looped: Looped, at: str, *values: Any) -> Any:
    """Run the rounds of a loop of sync functions on this thread."""
    from flow.run.rounds import Rounds

    rounds = Rounds(outer, node, looped, at, config_inline(outer.config), values, _declared)
    while True:
        run = rounds.begin()
        try:
            drive_inline_within(run)
            if not rounds.is_last(run):
                continue
        except BaseException as error:
            rounds.broke(error)
            raise
        return rounds.output()


async def loop_by_turns(outer: PlanRun, node: int, looped: Looped, at: str, *values: Any) -> Any:
    """Run the rounds of a loop of sync functions on an event loop, which turns between them."""
    from flow.run.rounds import Rounds

    rounds = Rounds(outer, node, looped, at, config_inline(outer.config), values, _declared)
    driver: Any = outer.driver
    pace: Pace = driver.pace
    while True:
        run = rounds.begin()
        try:
            drive_inline_within(run)
            last = rounds.is_last(run)
        except BaseException as error:
            rounds.broke(error)
            raise
        if last:
            return rounds.output()
        if pace.clock() > pace.until:
            await pause(pace, driver.turn)


async def loop_on_loop(outer: PlanRun, node: int, looped: Looped, at: str, executor: str, *values: Any) -> Any:
    """Run the rounds of a loop on an event loop, one after the other."""
    from flow.run.rounds import Rounds

    rounds = Rounds(outer, node, looped, at, config_within(outer.config, executor), values, _declared)
    while True:
        run = rounds.begin()
        try:
            if not await drive_within(run, rounds.is_last):
                continue
        except BaseException as error:
            rounds.broke(error)
            raise
        return rounds.output()
