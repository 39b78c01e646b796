"""Commands that go on with stored runs: ``flow runs resume``, ``flow runs retry``, ``flow runs recover``."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from flow.blame import where
from flow.cli import log, report
from flow.cli import options as given
from flow.cli.durable import existing, going_on_options, here, kept_of, store_option, warnings_told
from flow.cli.running import only_ours_on_stdout, run_options, run_plan
from flow.cli.target import TargetError, is_trace, load
from flow.cli.terminal import columns, say, say_json, tell
from flow.cli.workflow import allow_option
from flow.errors import described
from flow.plan.plan import Plan
from flow.reprs import counted
from flow.store.told import said

if TYPE_CHECKING:
    from flow.run.result import Result
    from flow.store import Store


@click.command(cls=log.Logged)
@click.argument("run_id", metavar="ID")
@click.argument("target")
@store_option
@run_options
@going_on_options
@allow_option
@given.debug_option
@click.pass_context
def resume(ctx: click.Context, /, run_id: str, target: str, store: str, as_json: bool, **options: Any) -> None:
    """Go on with a stored run of TARGET where it was. What has completed does not run again.

    Inputs are the stored ones; those that are not stored, as secrets, must be given again. A run that has ended gives
    its result once more.
    """
    _check(run_id, target, store)
    run_plan(ctx, target, as_json, options, kept_of(store, target, run_id, options))


@click.command(cls=log.Logged)
@click.argument("run_id", metavar="ID")
@click.argument("target")
@click.option("--from", "node", metavar="NODE", help="Run this node again, and all that depends on it.")
@click.option("--fork", metavar="NEW_ID", help="Leave the run as it is, and do so with a copy of this id.")
@click.option("--no-run", is_flag=True, help="Only prepare it: `flow runs resume` runs it.")
@store_option
@run_options
@going_on_options
@allow_option
@given.debug_option
@click.pass_context
def retry(ctx: click.Context, /, run_id: str, target: str, store: str, as_json: bool, **options: Any) -> None:
    """Run again what has failed in a stored run of TARGET, and what was skipped or cancelled for that.

    With --from NODE, that node and all that depends on it, whether something has failed or not.
    """
    node, fork = options["node"], options["fork"]
    _check(run_id, target, store)
    at = fork or run_id

    def prepare(opened: Store, plan: Plan) -> int:
        row = opened.run(run_id)
        if row.dag != plan.name:
            raise click.UsageError(f"run {run_id} is one of dag {row.dag!r}, not of {plan.name!r}")
        if node is not None and node not in plan:
            from flow.store.resume import unknown_node

            raise click.UsageError(str(unknown_node(plan.names, node, run_id)))
        if fork is not None:
            opened.fork(run_id, fork)
        return opened.reset(at, plan, node) if node is not None or options["no_run"] else 0

    if options["no_run"]:
        with only_ours_on_stdout(True):
            plan = load(target, options["allow"])
        with existing(store) as opened:
            count = prepare(opened, plan)
        say(f"{at}: {counted(count, 'node')} to run again")
        return
    kept = kept_of(store, target, at, options, "attach" if node is not None else "retry")
    run_plan(ctx, target, as_json, options, kept, prepare)


def _check(run_id: str, target: str, store: str) -> None:
    """Refuse, before TARGET is loaded, a run that is not there."""
    if is_trace(target):
        raise TargetError(f"{target!r} is a trace, and runs of traces are not stored")
    with existing(store) as opened:
        opened.run(run_id)


@click.command()
@click.argument("targets", metavar="TARGET...", nargs=-1, required=True)
@store_option
@given.input_options
@given.config_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON, and nothing else, on stdout.")
@allow_option
@given.debug_option
@click.pass_context
def recover(
    ctx: click.Context, /, targets: tuple[str, ...], store: str, inputs: list[str], inputs_file: Path | None,
    config_file: Path | None, as_json: bool, allow: tuple[str, ...],
) -> None:  # fmt: skip
    """Go on with all runs of these TARGETs that no process drives, one after the other.

    Runs that wait for signals are gone on with if something has been sent to them. --input gives inputs that are not
    stored, as secrets.
    """
    import flow

    values = given.inputs_from(inputs, inputs_file)
    found: dict[str, Result | Exception] = {}
    dags: dict[str, str] = {}
    with existing(store) as opened, only_ours_on_stdout(as_json), warnings_told():
        plans = _plans(targets, allow)
        for plan in plans:
            typed, config = given.typed(values, inputs, plan), None
            if config_file is not None:
                config = given.base_config(config_file, plan)
            try:
                with log.reported():
                    ended = flow.recover(opened, [plan], inputs=typed, config=config)
            except (SystemExit, GeneratorExit) as error:  # a node's
                tell(f"Error: a node ended the command: {described(error)} ({where(error)})")
                ctx.exit(1)
            found |= ended
            dags |= dict.fromkeys(ended, plan.name)
        statuses = {run_id: opened.run(run_id).status for run_id in found}
    for result in found.values():
        given.traced(ctx, result if isinstance(result, Exception) else None)
    _print(found, dags, statuses, as_json)
    if any(isinstance(one, Exception) or not (one.ok or one.waiting) for one in found.values()):
        ctx.exit(1)


def _plans(targets: tuple[str, ...], allow: tuple[str, ...]) -> list[Plan]:
    """Compile all targets. :raises TargetError: if two have one name: a stored run could be of either."""
    plans: dict[str, Plan] = {}
    for target in targets:
        if is_trace(target):
            raise TargetError(f"{target!r} is a trace, and runs of traces are not stored")
        plan = load(target, allow)
        if plan.name in plans:
            raise TargetError(f"{target!r} is called {plan.name!r}, as another TARGET is")
        plans[plan.name] = plan
    return list(plans.values())


def _print(
    found: Mapping[str, Result | Exception], dags: Mapping[str, str], statuses: Mapping[str, str], as_json: bool
) -> None:
    errors = {run_id: _error(one) for run_id, one in found.items()}
    if as_json:
        rows = [
            {"id": run_id, "dag": dags[run_id], "status": statuses[run_id], "error": errors[run_id] or None}
            for run_id in found
        ]
        say_json(msgspec.json.format(msgspec.json.encode({"runs": rows}), indent=2))
    elif not found:
        tell("there is nothing to go on with")
    else:
        width = columns(sys.stdout) or report.MAX_LINE
        table = [[run_id, dags[run_id], statuses[run_id], errors[run_id][:width]] for run_id in found]
        say(*report.table([["run", "dag", "status", "error"], *table]))


def _error(one: Result | Exception) -> str:
    return here(said(one)) if isinstance(one, Exception) else ""


__all__ = ["recover", "resume", "retry"]
