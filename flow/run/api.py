"""The two ways in: :func:`run` for sync code, :func:`execute` inside an event loop."""

from __future__ import annotations

import contextvars
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from flow.clock import on_asyncio
from flow.config import DEFAULT_CONFIG, Config
from flow.data.store import WorkflowData
from flow.errors import ConfigError, Hints, InputError, UsageError, shower, shown
from flow.graph.dag import Dag, Ref
from flow.plan.plan import Plan
from flow.policy.mapping import Over
from flow.run.inline import OutOfTime, run_inline
from flow.run.release import Releasing, kept_nodes
from flow.run.result import Result
from flow.run.state import RunState, is_sync_run
from flow.signature import location_of
from flow.types import NAME_RULE, is_name, references

if TYPE_CHECKING:
    from flow.run.tasks import Tasks


def run(
    target: Dag | Plan,
    inputs: Mapping[str, Any] | None = None,
    *,
    targets: Ref | Iterable[Ref] | None = None,
    config: Config | None = None,
    run_id: str | None = None,
    data: WorkflowData | None = None,
) -> Result:
    """Run a Dag or Plan to its end and return the :class:`Result`.

    A plan of sync functions runs on this thread without an event loop; any other starts one
    (``config.backend``). The caller's contextvars are seen by every node and changed by none.

    :param inputs: values for the parameters that no node provides, by name.
    :param targets: run only these nodes and what they need.
    :param run_id: your id for this run (see :data:`flow.types.NAME_PATTERN`).
    :param data: the store that nodes see as ``ctx.data``; by default each run makes its own (``config.data``).
    :raises ConfigError: for a run id that does not match it.
    :raises DefinitionError: if the Dag cannot be compiled; nothing has run then.
    :raises InputError: listing every missing and unknown input; nothing has run then.
    :raises RunError: if a node failed under ``on_error="fail_fast"`` and has no ``continue_on_error``, or the run's
        time limit passed.
    :raises UsageError: if an event loop is needed and this thread already runs one; for targets, or nodes in
        ``config.keep``, that do not exist.
    """
    config = DEFAULT_CONFIG if config is None else config
    state = _start(target, inputs, targets, config, run_id, data)
    if is_sync_run(state.plan, config):
        contextvars.copy_context().run(_drive_inline, state)
    else:
        _run_on_a_loop(state)
    return _finish(state)


async def execute(
    target: Dag | Plan,
    inputs: Mapping[str, Any] | None = None,
    *,
    targets: Ref | Iterable[Ref] | None = None,
    config: Config | None = None,
    run_id: str | None = None,
    data: WorkflowData | None = None,
) -> Result:
    """Run a Dag or Plan on the running event loop (asyncio, uvloop or trio). As :func:`run` otherwise.

    All tasks it starts have ended when it returns or raises; cancelling it cancels the run.
    """
    state = _start(target, inputs, targets, DEFAULT_CONFIG if config is None else config, run_id, data)
    tasks = _tasks_of(state)
    try:  # not through _drive_async: every frame that lives as long as the run is paid by thousands of runs at once
        try:
            state.prepare()
            await tasks.drive()
        finally:
            state.end()
    except BaseException:
        state.forget()
        raise
    return _finish(state)


def _start(
    target: Dag | Plan,
    inputs: Mapping[str, Any] | None,
    targets: Ref | Iterable[Ref] | None,
    config: Config,
    run_id: str | None,
    data: WorkflowData | None,
) -> RunState:
    if isinstance(target, Dag):
        plan = target.compile()
    elif isinstance(target, Plan):
        plan = target
    else:
        raise UsageError(f"run takes a flow.Dag or a flow.Plan, not {shown(target)} (a {type(target).__name__})")
    if not isinstance(config, Config):
        raise UsageError(f"config must be a flow.Config, not {shown(config)} (a {type(config).__name__})")
    if run_id is not None and not is_name(run_id):
        raise ConfigError("run id", [f"{shown(run_id)} is refused: {NAME_RULE}"])
    if data is not None and not isinstance(data, WorkflowData):
        raise UsageError(f"data must be a flow.WorkflowData, not {shown(data)} (a {type(data).__name__})")
    whole = plan
    if targets is not None:
        targets = references(targets)
        plan = plan.part(targets)
    if inputs is not None or plan.required_inputs:
        _check_inputs(plan, {} if inputs is None else inputs, config)
    state = RunState(plan, inputs, config, run_id, data)
    if config.keep != "all":
        state.resolver = Releasing(plan, state.ranks, state.values, kept_nodes(whole, plan, config.keep, targets))
    return state


def _check_inputs(plan: Plan, inputs: Mapping[str, Any], config: Config) -> None:
    if not isinstance(inputs, Mapping):
        raise InputError(plan.name, [f"inputs must be a mapping by parameter name, not {shower(config)(inputs)}"])
    missing = [name for name in plan.required_inputs if name not in inputs]
    unknown = [name for name in inputs if not _is_input(plan, name)]
    if missing or unknown:
        hints = Hints()  # one for both: what is missing and what is too much is often one name
        faults = [*_missing_inputs(plan, missing, hints), *_unknown_inputs(plan, unknown, inputs, hints)]
        if faults:
            raise InputError(plan.name, faults)


def _is_input(plan: Plan, name: object) -> bool:
    return isinstance(name, str) and name in plan.inputs


def _missing_inputs(plan: Plan, missing: list[str], hints: Hints) -> Iterator[str]:
    """Say which node wants each of the missing inputs. O(nodes + arguments)."""
    name_of = {slot: name for name in missing for slot in plan.inputs[name]}
    takers: dict[str, int] = {}
    for i, slots in enumerate(plan.arguments if missing else ()):
        for slot in slots:
            if slot in name_of:
                takers.setdefault(name_of[slot], i)
    for name in missing:
        taker = takers[name]
        fn = plan.fns[taker]
        where = f"node {plan.names[taker]!r} ({location_of(fn)})"
        over = isinstance(fn, Over) and name in fn.sources
        why = "goes over that" if over else "has a parameter of that name"
        default = "" if over else " and has no default"
        meant = hints.nearest(name, plan.names)
        yield f"input {name!r} is missing: {where} {why}, which is no node{meant}{default}; {_advice(name)}"


def _unknown_inputs(plan: Plan, unknown: list[Any], inputs: Mapping[str, Any], hints: Hints) -> Iterator[str]:
    """Say what is wrong with inputs that no node takes, unless one may read them from its Context."""
    anything_goes = any(b.context != -1 or b.middleware for b in plan.binders.values())
    known = [name for name in plan.inputs if name not in inputs] if unknown else []
    for name in unknown:
        if name in plan:
            yield f"input {shown(name)} is the name of a node, which provides that value itself"
        elif (meant := hints.nearest(name, known)) or not anything_goes:
            yield f"input {shown(name)} is no parameter of any node{meant}"


def _advice(name: str) -> str:
    if name in ("ctx", "context"):
        return "if it is to be the run's Context, annotate it: flow.Context"
    if name in ("self", "cls"):
        return "a method is added bound, as dag.node(object.method)"
    return f"pass inputs={{{name!r}: ...}}"


def _finish(state: RunState) -> Result:
    if state.errors or state._more is not None:
        state = state.settled()
    result = Result(state)
    if state.resolver is not None and (state.timed_out or state.cut_off or state.config.on_error == "fail_fast"):
        error = result.error(tolerated=False)
        try:
            if error is not None:
                raise error
        finally:
            del error  # its traceback holds this frame: no cycle
    return result


def _drive_inline(state: RunState) -> None:
    try:
        try:
            state.prepare()
            run_inline(state)
        finally:
            state.end()
    except BaseException:
        state.forget()
        raise


def _tasks_of(state: RunState, outer: Tasks | None = None) -> Tasks:
    if on_asyncio():
        from flow.run.asyncio import AsyncioTasks

        return AsyncioTasks(state, outer)
    from flow.run.trio import TrioTasks

    return TrioTasks(state, outer)


async def _drive_async(state: RunState, outer: Tasks | None = None) -> None:
    tasks = _tasks_of(state, outer)
    try:
        try:
            state.prepare()
            await tasks.drive()
        finally:
            state.end()
    except BaseException:
        state.forget()
        raise


async def _drive_alone(state: RunState) -> None:
    """As :func:`_drive_async`, on an event loop that is there for this run alone."""
    tasks = _tasks_of(state)
    tasks.owns_loop = True
    try:
        state.prepare()
        await tasks.drive()
    finally:
        state.end()


def _loop_is_running() -> bool:
    """Tell whether this thread runs an event loop, without importing one (as above)."""
    running = getattr(sys.modules.get("asyncio"), "_get_running_loop", None)
    if running is not None and running() is not None:
        return True
    in_trio_run = getattr(getattr(sys.modules.get("trio"), "lowlevel", None), "in_trio_run", None)
    return in_trio_run is not None and bool(in_trio_run())


def _is_installed(backend: str) -> bool:
    from importlib.util import find_spec

    return find_spec(backend) is not None


def _run_on_a_loop(state: RunState) -> None:
    if _loop_is_running():
        raise UsageError(
            f"flow.run needs an event loop for dag {state.plan.name!r}, and this thread already runs one: "
            "use 'await flow.execute(...)' here"
        )
    backend = state.config.backend
    if backend != "asyncio" and not _is_installed(backend):
        raise UsageError(f"backend {backend!r} is not installed: pip install {backend}")
    try:
        if backend == "asyncio":
            from asyncio import Runner

            with Runner() as runner:  # a loop first: without one, a coroutine made for it would never be awaited
                runner.run(_drive_alone(state))
        elif backend == "uvloop":
            import anyio

            anyio.run(_drive_alone, state, backend="asyncio", backend_options={"use_uvloop": True})
        else:
            import trio

            trio.run(_drive_alone, state)
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):  # the event loop's answer to Ctrl-C
            state.attach_errors(error)
        state.forget()
        raise


def run_nested(plan: Plan, inputs: Mapping[str, Any], outer: RunState) -> Mapping[str, Any]:
    """Run a sync plan as a node of another run; a failure of it is that node's."""
    config = outer.config.replace(mode="auto", executor="inline", timeout=None, limit=None, keep="all")
    state = RunState(plan, inputs, config, None, outer=outer)
    _drive_inline(state)
    if state.timed_out:
        state.forget()
        raise OutOfTime
    return _nested_outputs(state)


async def execute_nested(plan: Plan, inputs: Mapping[str, Any], outer: RunState) -> Mapping[str, Any]:
    """Run a plan as a node of another run. It has the outer limit for itself, so nesting cannot deadlock."""
    config = outer.config.replace(timeout=None, keep="all")
    state = RunState(plan, inputs, config, None, outer=outer)
    await _drive_async(state, outer.tasks)
    return _nested_outputs(state)


def _nested_outputs(state: RunState) -> Mapping[str, Any]:
    result = Result(state.settled())
    error = result.error(tolerated=False)
    try:
        if error is not None:
            raise error
    finally:
        del error  # its traceback holds this frame: no cycle
    return result.outputs
