"""The two entry points and their checks: :func:`run` for sync code, :func:`execute` inside an event loop."""

from __future__ import annotations

import contextvars
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Unpack

from flow.config import Config, DataConfig
from flow.config.run import DEFAULT_CONFIG
from flow.data.store import WorkflowData
from flow.errors import ConfigError, Hints, InputError, UsageError, a_kind, shower, shown
from flow.graph.dag import Dag, Ref
from flow.plan.plan import Plan
from flow.policy.mapping import Over
from flow.run.hooks import HookFailed, hooks_of
from flow.run.journal import (
    Durability,
    Durable,
    Journal,
    OnChange,
    OnConflict,
    OnWait,
    ends_quietly,
)  # fmt: skip
from flow.run.launch import begin, drive_alone, drive_inline, driver_for, driving, mailbox_for
from flow.run.result import Result, raise_failure, result_so_far
from flow.run.state import PlanRun, is_sync_run, settled
from flow.signature import location_of
from flow.tracebacks import OUR_ERRORS, OURS, end_at_user, package_of
from flow.types import NAME_RULE, Nothing, is_name, references


def run(
    target: Dag | Plan,
    inputs: Mapping[str, Any] | None = None,
    *,
    targets: Ref | Iterable[Ref] | None = None,
    known: Mapping[Any, Any] | Result | None = None,
    config: Config | None = None,
    run_id: str | None = None,
    data: WorkflowData | None = None,
    store: Durable | None = None,
    on_conflict: OnConflict | None = None,
    on_change: OnChange = "fail",
    on_wait: OnWait = "block",
    **wrong: Unpack[Nothing],
) -> Result:
    """Run a Dag or Plan to its end and return the :class:`Result`.

    A plan of sync functions runs on this thread without an event loop; any other plan starts a loop
    (``config.backend``). Every node sees the caller's contextvars, and no node changes them.

    :param inputs: values for the parameters that no node provides, by name.
    :param targets: run only these nodes and their dependencies.
    :param known: known outcomes by node: outputs, or a :class:`flow.Outcome`; or the Result of an earlier run, for its
        completed nodes (without iterators). Known nodes are not called, and nodes that only known nodes need are no
        part of the run.
    :param config: None takes that of the Dag (``flow.Dag(config=...)``), or the default.
    :param run_id: your id for this run (see :data:`flow.types.NAME_PATTERN`).
    :param data: the store that nodes see as ``ctx.data``; by default each run makes its own (``config.data``).
    :param store: makes the run durable (:func:`flow.store.open`): what its nodes return is stored, and the same call
        with the same ``run_id`` goes on where the run was, in whatever process. Inputs that are not given are the
        stored ones.
    :param on_conflict: what to do if the store holds a run of this id: ``"attach"`` (the default with a ``run_id``)
        goes on with it, or returns its Result, or raises its RunError; ``"retry"`` runs again what failed or was
        cancelled, and what was skipped for that; ``"restart"`` forgets it and begins anew; ``"fail"`` refuses.
    :param on_change: what to do if the code of a completed node has changed: ``"fail"`` keeps its output, with a
        warning, and refuses another wiring; ``"rerun"`` runs such nodes and all that depends on them again.
    :param on_wait: ``"return"``: once the run only waits for signals, return a Result that says so
        (:attr:`flow.Result.waiting`); a later call goes on.
    :raises StoreError: if the store cannot write; the run has ended then, and a later call goes on.
    :raises RunConflict: if the id is that of another dag, or of other inputs. :raises RunOwned: if another process is
        driving the run. :raises DagChanged: listing the nodes that no longer fit.
    :raises ConfigError: for a run id that does not match it; if a rule in ``config.data`` gives no DataConfig.
    :raises DefinitionError: if the Dag cannot be compiled; no node has run then.
    :raises InputError: listing every missing and unknown input; no node has run then.
    :raises RunError: if a node failed under ``on_error="fail_fast"`` and has no ``continue_on_error``, or the run's
        time limit passed.
    :raises UsageError: if an event loop is needed and this thread already runs one; for targets, known nodes, or nodes
        in ``config.keep``, that do not exist; for nodes that cannot run in their executor.
    :raises KeyboardInterrupt: on Ctrl-C. Its attribute ``result`` is the Result so far, without the nodes' errors.
    """
    try:
        if wrong:
            raise _refusal("flow.run", target, wrong)
        durable = None
        if store is not None or on_conflict or on_change != "fail" or on_wait != "block":
            durable = durability(store, on_conflict, on_change, on_wait)
        state = _start(target, inputs, targets, known, config, run_id, data, durable=durable)
        config = state.config
        try:
            if state._extras is not None and has_ended(state):
                pass
            elif is_sync_run(state.plan, config):
                if config.on_outcome is not None or config.before_call is not None:
                    _hook(state, on_loop=False)
                contextvars.copy_context().run(drive_inline, state)
            else:
                _run_on_a_loop(state, target)
        except HookFailed as error:
            failed = error.let_go()
            if ends_quietly(failed):
                return _finished(state)
        except KeyboardInterrupt as error:
            error.result = result_so_far(state)  # type: ignore[attr-defined]
            raise
        else:
            return finished(state) if state._extras is None else _finished(state)
    except OUR_ERRORS as error:
        end_at_user(error)
        raise
    try:
        raise failed  # as in execute
    except OUR_ERRORS as error:
        end_at_user(error)
        raise
    finally:
        del failed


async def execute(
    target: Dag | Plan,
    inputs: Mapping[str, Any] | None = None,
    *,
    targets: Ref | Iterable[Ref] | None = None,
    known: Mapping[Any, Any] | Result | None = None,
    config: Config | None = None,
    run_id: str | None = None,
    data: WorkflowData | None = None,
    store: Durable | None = None,
    on_conflict: OnConflict | None = None,
    on_change: OnChange = "fail",
    on_wait: OnWait = "block",
    **wrong: Unpack[Nothing],
) -> Result:
    """Run a Dag or Plan on the running event loop (asyncio, uvloop or trio). As :func:`run` otherwise.

    All tasks of the run have ended when this function returns or raises. Its cancellation cancels the run.
    """
    try:
        durable = durability(store, on_conflict, on_change, on_wait)
        state = state_on_loop(
            "flow.execute", target, inputs, targets, known, config, run_id, data, wrong, durable=durable
        )
        if has_ended(state):
            return finished(state)
        driver = driver_for(state)
        mailbox_for(state, driver)
        try:  # not through a function: every frame that lives as long as the run is paid by thousands of runs at once
            try:
                begin(state)
                await driving(state, driver)
            finally:
                state.end()
        except HookFailed as error:
            failed = error.let_go()
            if ends_quietly(failed):
                return finished(state)
        except BaseException:
            state.forget()
            raise
        else:
            return finished(state)
    except OUR_ERRORS as error:
        end_at_user(error)
        raise
    state.forget()
    try:
        raise failed  # not within the handler: that would become the context of what the hook has raised
    except OUR_ERRORS as error:
        end_at_user(error)
        raise
    finally:
        del failed  # its traceback holds this frame: no cycle


def state_on_loop(
    call: str,
    target: Any,
    inputs: Any,
    targets: Any,
    known: Any,
    config: Config | None,
    run_id: str | None,
    data: WorkflowData | None,
    wrong: Mapping[str, object],
    sends: bool = False,
    durable: Durability | None = None,
    observer: Callable[[Any], object] | None = None,
) -> PlanRun:
    """Make the state of a run that an event loop will drive, and all checks that are made before it begins.

    :param call: the user's call, with the keywords ``wrong`` besides. :param sends: signals can be sent to the run.
    :raises FlowError: as :func:`run`.
    """
    if wrong:
        raise _refusal(call, target, wrong)
    state = _start(target, inputs, targets, known, config, run_id, data, sends, observer, durable)
    config = state.config
    if config.on_outcome is not None or config.before_call is not None:
        _hook(state, on_loop=True)
    return state


def _start(
    target: Dag | Plan,
    inputs: Mapping[str, Any] | None,
    targets: Ref | Iterable[Ref] | None,
    known: Any,
    config: Config | None,
    run_id: str | None,
    data: WorkflowData | None,
    sends: bool = False,
    observer: Callable[[Any], object] | None = None,
    durable: Durability | None = None,
) -> PlanRun:
    """Make the state of a run that is to begin.

    :param observer: gets its events besides those of its Config.
    """
    plan = target.compile() if isinstance(target, Dag) else target
    if not isinstance(plan, Plan):
        raise UsageError(f"run takes a flow.Dag or a flow.Plan, not {shown(target)} (a {type(target).__name__})")
    if config is None:
        config = plan._nodes.config or DEFAULT_CONFIG
    if run_id is not None or data is not None or not isinstance(config, Config):
        _check_given(config, run_id, data)
    if observer is not None:
        config = config.replace(observers=(*config.observers, observer))
    whole, outcomes = plan, None
    if targets is not None:
        targets = references(targets)
    if known is not None:
        from flow.run.known import known_outcomes, part_with

        outcomes = known_outcomes(plan, known, config)
        plan = part_with(plan, outcomes, targets)
    elif targets is not None:
        plan = plan.subgraph(*targets)
    nodes, journal = plan._nodes, None
    if durable is not None:
        journal = _begun(durable, plan, whole, inputs, run_id, config, known)
        inputs, config, run_id, sends = journal.inputs, journal.config, journal.run_id, True
    ended = journal is not None and journal.ended
    if not ended and (inputs is not None or nodes.required_inputs or nodes.declared is not None):
        inputs = _checked_inputs(plan, {} if inputs is None else inputs, config)
    if nodes.holders or (nodes.routes is not None and nodes.routes.waits):  # nodes.waits, without the call
        from flow.run.signals import check_waits

        check_waits(plan, config, sends)
    if config.data is not None and data is None and not isinstance(config.data, DataConfig):
        from flow.run.stores import ruled

        config = ruled(config, whole)
    state = PlanRun(plan, inputs, config, run_id, data)
    if config.keep != "all":
        _free(state, whole, targets, outcomes is None)
    if outcomes is not None:
        from flow.run.known import give

        give(state, outcomes)
    if journal is not None:
        from flow.run.known import prime

        prime(state, journal)
    return state


def _check_given(config: Any, run_id: Any, data: Any) -> None:
    """:raises UsageError: if one of them is none of what it is to be. :raises ConfigError: for what is no run id."""
    if not isinstance(config, Config):
        raise UsageError(f"config must be a flow.Config, not {shown(config)} (a {type(config).__name__})")
    if run_id is not None and not is_name(run_id):
        raise ConfigError("run id", [f"{shown(run_id)} is refused: {NAME_RULE}"])
    if data is not None and not isinstance(data, WorkflowData):
        raise UsageError(f"data must be a flow.WorkflowData, not {shown(data)} (a {type(data).__name__})")


def durability(
    store: Durable | None, on_conflict: str | None, on_change: str, on_wait: str
) -> Durability | None:
    """Return what a call says of a durable run; None if there is no store.

    :raises UsageError: listing what does not fit.
    """
    if store is None and on_conflict is None and on_change == "fail" and on_wait == "block":
        return None
    from flow.run.durable import checked

    return checked(store, on_conflict, on_change, on_wait)


def _begun(
    durable: Durability, plan: Plan, whole: Plan, inputs: Any, run_id: str | None, config: Config, known: Any
) -> Journal:
    """Open the journal of a durable run; nothing is claimed yet."""
    if known is not None:
        raise UsageError("known= and store= exclude each other: a durable run knows what is stored of it")
    if inputs is not None and not isinstance(inputs, Mapping):
        raise InputError(plan.name, [_no_mapping(plan, inputs, config)])
    return durable.store.begin(plan, inputs, run_id, config, durable, whole)


def has_ended(state: PlanRun) -> bool:
    """Tell whether a durable run had ended before this call; its state is made then, without driving anything."""
    journal = state.journal
    if journal is None or not journal.ended:
        return False
    from flow.run.known import replay

    replay(state)
    return True


def _free(state: PlanRun, whole: Plan, targets: Any, counts: bool) -> None:
    """Let ``state`` free outputs that are not kept. :param counts: it is to count from now on."""
    from flow.run.release import Freeing, kept_nodes

    kept = kept_nodes(whole, state.plan, state.config.keep, targets)
    state.extras.steps = (Freeing(state.nodes, state.values, kept).ended,)
    if counts:
        state.resolve()


def _refusal(call: str, target: object, wrong: Mapping[str, object]) -> UsageError:
    """Make the error that lists unknown keywords, with suggestions; run inputs among them."""
    from flow.keywords import Wrong  # here: only needed once something is wrong

    plan = target.compile() if isinstance(target, Dag) else target
    names = ("inputs", "targets", "known", "config", "run_id", "data", "store", "on_conflict", "on_change", "on_wait")
    keywords = Wrong("run", names)
    if isinstance(plan, Plan):
        name = _name_of(target)
        keywords.inputs = plan.inputs
        keywords.as_inputs = f"{call}({name}, {{{{{{}}}}}})"
    return UsageError(keywords.refusal(call, "keyword", wrong))


def _name_of(target: object) -> str:
    """Return the caller's variable that holds ``target``; "dag" if there is none."""
    frame = sys._getframe()
    while frame is not None and package_of(frame) == OURS:
        frame = frame.f_back  # type: ignore[assignment]
    for names in () if frame is None else (frame.f_locals, frame.f_globals):
        for name, value in list(names.items()):
            if value is target and name.isidentifier() and not name.startswith("_"):
                return name
    return "dag"


def _hook(state: PlanRun, on_loop: bool) -> None:
    """Make the hooks of a run that has some; it counts from its start."""
    hooks = hooks_of(state.config, lambda: state.run_id, on_loop)
    if hooks is not None:
        state.extras.hooks = hooks
        if state.resolver is None:
            state.resolve()


def _checked_inputs(plan: Plan, inputs: Mapping[str, Any], config: Config) -> Mapping[str, Any]:
    """Return the inputs of a run: those given, and the declared defaults. :raises InputError: listing what is wrong."""
    if not isinstance(inputs, Mapping):
        raise InputError(plan.name, [_no_mapping(plan, inputs, config)])
    declared, known = plan._nodes.declared, plan._nodes.inputs
    if declared is None and type(inputs) is dict and inputs.keys() == known.keys():
        return inputs
    missing = [name for name in plan._nodes.required_inputs if name not in inputs]
    unknown = [name for name in inputs if not isinstance(name, str) or name not in known]
    faults: list[str] = []
    if missing or unknown:
        hints = Hints()  # one for both: what is missing and what is too much is often one name
        faults += [*_missing_inputs(plan, missing, hints), *_unknown_inputs(plan, unknown, inputs, hints)]
    if declared is not None:
        inputs, unfit = declared.filled(inputs, shower(config))
        faults += unfit
    if faults:
        raise InputError(plan.name, faults)
    return inputs


def _no_mapping(plan: Plan, inputs: object, config: Config) -> str:
    """Say that ``inputs`` is no mapping, and what was meant by it, if that is known."""
    declared, meant = plan._nodes.declared, ""
    source = None if declared is None else declared.source
    if isinstance(inputs, Config):
        meant = " (did you mean config=...?)"
    elif isinstance(source, type) and type(inputs) is source:
        fields = "msgspec.structs.asdict" if hasattr(source, "__struct_fields__") else "dataclasses.asdict"
        meant = f" (its fields are one: {fields}(...))"
    show = a_kind if plan._nodes.secret else shower(config)
    return f"inputs must be a mapping by parameter name, not {show(inputs)}{meant}"


def _missing_inputs(plan: Plan, missing: list[str], hints: Hints) -> Iterator[str]:
    """Say which node wants each of the missing inputs. O(nodes + arguments)."""
    name_of = {slot: name for name in missing for slot in plan._nodes.inputs[name]}
    takers: dict[str, int] = {}
    for i, slots in enumerate(plan._nodes.reads if missing else ()):
        for slot in slots:
            if slot in name_of:
                takers.setdefault(name_of[slot], i)
    for name in missing:
        if plan._nodes.declared is not None and name in plan._nodes.declared.names:
            yield f"input {name!r} is missing: the dag declares it, without a default; {_advice(name)}"
            continue
        taker = takers[name]
        fn = plan._nodes.fns[taker]
        where = f"node {plan.names[taker]!r} ({location_of(fn)})"
        over = isinstance(fn, Over) and name in fn.sources
        why = "goes over that" if over else "has a parameter of that name"
        default = "" if over else " and has no default"
        meant = hints.nearest(name, plan.names)
        yield f"input {name!r} is missing: {where} {why}, which is no node{meant}{default}; {_advice(name)}"


def _unknown_inputs(plan: Plan, unknown: list[Any], inputs: Mapping[str, Any], hints: Hints) -> Iterator[str]:
    """Say what is wrong with inputs that no node takes, unless the Dag declares that anything goes."""
    declared = plan._nodes.declared
    known = [name for name in plan.inputs if name not in inputs] if unknown else []
    for name in unknown:
        if name in plan:
            yield f"input {shown(name)} is the name of a node, which provides that value itself"
        elif declared is not None and declared.anything and isinstance(name, str):
            continue
        elif declared is not None and not declared.infers:
            yield f"input {shown(name)} is none that the dag declares{hints.nearest(name, known)}"
        else:
            meant = hints.nearest(name, known)
            yield f"input {shown(name)} is no parameter of any node{meant}{'' if meant else _reading(plan)}"


def _reading(plan: Plan) -> str:
    """Say what to do if a node is to read an input that is no parameter."""
    if all(binder.context == -1 and not binder.middleware for binder in plan._nodes.binders.values()):
        return ""
    return "; to let nodes read any input from their Context, declare flow.Dag(..., inputs=...)"


def _advice(name: str) -> str:
    if name in ("ctx", "context"):
        return "if it is to be the run's Context, annotate it: flow.Context"
    if name in ("self", "cls"):
        return "a method is added bound, as dag.node(object.method)"
    return f"pass inputs={{{name!r}: ...}}"


def _finished(state: PlanRun) -> Result:
    """As :func:`finished`, where Ctrl-C may come at any line: nobody owns the run after it."""
    try:
        return finished(state)
    except BaseException:
        if state.journal is not None:
            state.journal.interrupt()
        raise


def finished(state: PlanRun) -> Result:
    """Return the Result of a run that has ended. :raises RunError: if it failed, as its config says."""
    extras, journal = state._extras, None
    if extras is not None:
        journal = extras.journal if extras.outer is None else None
        if journal is not None:
            journal.finish(state)
        state = settled(state)
    elif state.errors:
        state = settled(state)
    result = Result(state)
    if raises(state):
        if journal is not None:
            journal.explain(result)
        raise_failure(result, tolerated=False)
    return result


def raises(state: PlanRun) -> bool:
    """Tell whether the caller of a run that has ended gets what failed as an error."""
    if state.resolver is None or state.rests:
        return False
    return state.timed_out or state.cut_off or state.config.on_error == "fail_fast"


def _loop_is_running() -> bool:
    """Tell whether this thread runs an event loop, without importing one."""
    running = getattr(sys.modules.get("asyncio"), "_get_running_loop", None)
    if running is not None and running() is not None:
        return True
    in_trio_run = getattr(getattr(sys.modules.get("trio"), "lowlevel", None), "in_trio_run", None)
    return in_trio_run is not None and bool(in_trio_run())


def _is_installed(backend: str) -> bool:
    from importlib.util import find_spec

    return find_spec(backend) is not None


def _loop_is_taken(state: PlanRun, target: object) -> UsageError:
    get_ipython = getattr(sys.modules.get("IPython"), "get_ipython", None)
    if get_ipython is not None and get_ipython() is not None:
        how = " (a cell of a notebook may await)"
    else:
        how = ", in an async function"
    return UsageError(
        f"flow.run needs an event loop for dag {state.plan.name!r}, and this thread already runs one: "
        f"use 'await flow.execute({_name_of(target)})' here, with the same arguments{how}"
    )


def _run_on_a_loop(state: PlanRun, target: object) -> None:
    if _loop_is_running():
        raise _loop_is_taken(state, target)
    config = state.config
    backend = config.backend
    if backend != "asyncio" and not _is_installed(backend):
        raise UsageError(f"backend {backend!r} is not installed: pip install 'flow-dag[{backend}]'")
    if config.on_outcome is not None or config.before_call is not None:
        _hook(state, on_loop=True)
    try:
        if backend == "asyncio":
            from asyncio import Runner

            with Runner() as runner:  # a loop first: without one, a coroutine made for it would never be awaited
                runner.run(drive_alone(state))
        elif backend == "uvloop":
            import anyio

            anyio.run(drive_alone, state, backend="asyncio", backend_options={"use_uvloop": True})
        else:
            import trio

            trio.run(drive_alone, state)
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):  # the event loop's answer to Ctrl-C
            state.attach_errors(error)
        if not ends_quietly(error):  # else its Result shows them
            state.forget()
        raise
