"""The two ways in: :func:`run` for sync code, :func:`execute` inside an event loop."""

from __future__ import annotations

import contextvars
import sys
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from flow.config import DEFAULT_CONFIG, Config
from flow.data.store import WorkflowData
from flow.errors import ConfigError, InputError, UsageError, nearest, shower, shown
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
    :raises RunError: if a node failed under ``on_error="fail_fast"``, or the run's time limit passed.
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
    faults = []
    for name in plan.required_inputs:
        if name not in inputs:
            slots = set(plan.inputs[name])
            taker = next(i for i, args in enumerate(plan.arguments) if not slots.isdisjoint(args))
            where = f"node {plan.names[taker]!r} ({location_of(plan.fns[taker])})"
            fn = plan.fns[taker]
            over = isinstance(fn, Over) and name in fn.sources
            why = "goes over that" if over else "has a parameter of that name"
            default = "" if over else " and has no default"
            faults.append(
                f"input {name!r} is missing: {where} {why}, which is no node{nearest(name, plan.names)}{default}; "
                f"{_advice(name)}"
            )
    anything_goes = any(b.context != -1 or b.middleware for b in plan.binders.values())  # ctx.inputs may be read
    for name in inputs:
        if name in plan.inputs:
            continue
        meant = nearest(name, [known for known in plan.inputs if known not in inputs])
        if name in plan:
            faults.append(f"input {shown(name)} is the name of a node, which provides that value itself")
        elif meant or not anything_goes:
            faults.append(f"input {shown(name)} is no parameter of any node{meant}")
    if faults:
        raise InputError(plan.name, faults)


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
    if state.resolver is not None and (state.timed_out or state.config.on_error == "fail_fast"):
        error = result.error()
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
    if _on_asyncio():
        from flow.run.asyncio import AsyncioTasks

        return AsyncioTasks(state, outer)
    from flow.run.trio import AnyioTasks

    return AnyioTasks(state, outer)


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


def _on_asyncio() -> bool:
    """Tell whether this is an asyncio task; without importing asyncio, which another thread may just be doing."""
    current_task = getattr(sys.modules.get("asyncio"), "current_task", None)
    try:
        return current_task is not None and current_task() is not None
    except RuntimeError:  # no running loop: trio
        return False


def _run_on_a_loop(state: RunState) -> None:
    running = getattr(sys.modules.get("asyncio"), "_get_running_loop", None)  # as above
    if running is not None and running() is not None:
        raise UsageError(
            f"flow.run needs an event loop for dag {state.plan.name!r}, and this thread already runs one: "
            "use 'await flow.execute(...)' here"
        )
    backend = state.config.backend
    if backend == "asyncio":
        import asyncio as loop

        loop.run(_drive_async(state))
        return
    from importlib.util import find_spec

    if find_spec(backend) is None:
        raise UsageError(f"backend {backend!r} is not installed: pip install {backend}")
    import anyio

    name, options = ("trio", {}) if backend == "trio" else ("asyncio", {"use_uvloop": True})
    anyio.run(_drive_async, state, backend=name, backend_options=options)


def run_nested(plan: Plan, inputs: Mapping[str, Any], outer: RunState) -> Mapping[str, Any]:
    """Run a sync plan as a node of another run; a failure of it is that node's."""
    config = outer.config.replace(mode="auto", sync="inline", timeout=None, limit=None, keep="all")
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
    result.raise_for_errors()
    return result.outputs
