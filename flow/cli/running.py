"""The command ``flow run``, and what the commands that go on with a stored run have in common with it."""

from __future__ import annotations

import contextlib
import html
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

import flow
from flow import files
from flow.blame import where
from flow.cli import durable, log, replay, report, show
from flow.cli import options as given
from flow.cli.durable import Kept
from flow.cli.target import is_trace, load, load_trace
from flow.cli.terminal import columns, say, say_json, tell
from flow.cli.workflow import allow_option
from flow.config import Config
from flow.errors import RunError, described
from flow.graph.dag import Dag
from flow.plan.plan import Plan
from flow.run.result import Result

if TYPE_CHECKING:
    from flow.store import Store

F = TypeVar("F", bound=Callable[..., Any])
DEFAULT_SCALE: Final = 1e-4
"""Replays of sleep and cpu work run 10,000 times faster than what was measured."""
FACTOR: Final = "Factor on a trace's runtimes."


def run_options(command: F) -> F:
    """Add what all commands have that run a Dag once: inputs, settings, what is printed."""
    options = (
        given.input_options,
        click.option(
            "--target", "targets", multiple=True, metavar="NODE",
            help="Run only this and what it needs. Repeatable.",
        ),
        given.config_option,
        click.option(
            "--mode", type=click.Choice(["auto", "inline", "tasks", "workers"]), default="auto", show_default=True
        ),
        click.option(
            "--limit", type=given.LimitType(min=1), metavar="N|auto", help="Most in flight.  [default: unbounded]"
        ),
        click.option(
            "--on-error", type=click.Choice(["fail_fast", "collect"]), default="fail_fast", show_default=True
        ),
        click.option(
            "--timeout", type=click.FloatRange(min=0, min_open=True), metavar="S", help="Seconds for the whole run."
        ),
        click.option(
            "--backend", type=click.Choice(["asyncio", "uvloop", "trio"]), default="asyncio", show_default=True
        ),
        click.option(
            "--order", type=click.Choice(["definition", "critical_path"]), default="definition", show_default=True
        ),
        click.option(
            "--executor", type=click.Choice(["inline", "thread"]), default="inline", show_default=True,
            help="Where sync nodes run.",
        ),
        click.option(
            "--timeline", type=click.Path(path_type=Path, readable=False), callback=given.timeline_path, metavar="FILE",
            help="Draw when each node ran: .svg, .html, or as Mermaid text .mmd, .md.",
        ),
        click.option("--json", "as_json", is_flag=True, help="Print the result as JSON, and nothing else, on stdout."),
        click.option("--all", "everything", is_flag=True, help="Do not cut the list of outputs."),
        click.option(
            "--progress/--no-progress", default=None, help="[default: on a terminal, except for noop replays]"
        ),
        click.option(
            "--log", type=click.Choice(log.LEVELS, case_sensitive=False), metavar="[LEVEL]",
            help="Print what happens on stderr: debug, info or warning.  [LEVEL: info]",
        ),
    )  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command


@click.command(cls=log.Logged)
@click.argument("target")
@run_options
@click.option("--work", type=click.Choice(["noop", "sleep", "cpu"]), help="What a trace's nodes do.  [default: noop]")
@click.option("--scale", type=click.FloatRange(min=0), metavar="S", help=f"{FACTOR}  [default: 1e-4]")
@durable.durable_options
@allow_option
@given.debug_option
@click.pass_context
def run(ctx: click.Context, /, target: str, as_json: bool, **options: Any) -> None:
    """Run TARGET to its end.

    A trace's replay also prints how close it came to the least possible time. With --store FILE the run is durable: the
    same command with the same --run-id goes on where it was, and `flow runs` lists and mends what is stored.
    """
    kept = durable.kept_from(target, options)
    if not is_trace(target):
        if options["work"] is not None or options["scale"] is not None:
            raise click.UsageError("--work and --scale are for traces only (.json, .json.gz)")
        run_plan(ctx, target, as_json, options, kept)
        return
    if kept is not None:
        raise click.UsageError("--store is not for traces: their nodes return nothing that could be stored")
    work: replay.Work = options["work"] or "noop"
    scale = DEFAULT_SCALE if options["scale"] is None else options["scale"]
    with only_ours_on_stdout(as_json):
        inputs = given.inputs_from(options["inputs"], options["inputs_file"])
        graph = load_trace(target, work, scale, options["allow"])
        config = _config(ctx, options, graph, quiet=work == "noop")
        if work == "sleep":
            replay.warm_up(config)
        result, error = _run(ctx, graph, inputs, options, config)
    _finish(ctx, result, error, as_json, options, lambda: replay.figures(result, work, scale, config))


def run_plan(
    ctx: click.Context,
    target: str,
    as_json: bool,
    options: dict[str, Any],
    kept: Kept | None,
    before: Callable[[Store, Plan], object] | None = None,
) -> None:
    """Run what is no trace, print how it went, and exit.

    :param kept: makes the run durable. :param before: is called with its store, before the run begins.
    """
    with only_ours_on_stdout(as_json):
        inputs = given.inputs_from(options["inputs"], options["inputs_file"])
        plan = load(target, options["allow"])
        inputs = given.typed(inputs, options["inputs"], plan)
        tell(*show.left_out(plan))
        config = _config(ctx, options, plan)
        if kept is None:
            status = ""
            result, error = _run(ctx, plan, inputs, options, config)
        else:
            with durable.opened(kept.store, kept.durability) as store, durable.warnings_told():
                if before is not None:
                    before(store, plan)
                result, error = _run(ctx, plan, inputs, options, config, kept, store)
                status = durable.status_of(store, result.run_id)
    _finish(ctx, result, error, as_json, options, None, kept, status)


def _config(ctx: click.Context, options: dict[str, Any], graph: Dag | Plan, quiet: bool = False) -> Config:
    quiet = quiet or options["log"] is not None
    observers = [*given.observers_from(options["progress"], quiet), *log.observers_of(options["log"])]
    return given.config_from(ctx, options, observers, graph)


def _finish(
    ctx: click.Context,
    result: Result,
    error: RunError | None,
    as_json: bool,
    options: dict[str, Any],
    replayed: Callable[[], replay.Figures] | None = None,
    kept: Kept | None = None,
    status: str = "",
) -> None:
    """Print how a run went, and exit with 1 if it failed.

    :param replayed: gives the figures of a replay. :param status: of a durable run, as it is stored.
    """
    try:
        figures = replayed() if replayed is not None and result.ok else None
        if as_json:
            more: dict[str, Any] = {} if figures is None else {"replay": figures}
            if kept is not None:
                more["stored"] = {"store": kept.store, "status": status, "waiting": result.waiting}
            say_json(report.as_json(result, **more))
            _explain(ctx, result, error)
        else:
            _explain(ctx, result, error)
            width = columns(sys.stdout)
            outputs = [] if figures else report.sinks(result, options["everything"], width)
            say(*outputs, report.headline(result, width), *(replay.lines(figures) if figures else ()))
    finally:  # a failure of one must not cost the other
        _draw(result, options["timeline"])
    if kept is not None:
        tell(*durable.how_to_go_on(kept, result.run_id, status, result.waiting))
    if not result.ok and not result.waiting:
        ctx.exit(1)


def _run(
    ctx: click.Context,
    graph: Dag | Plan,
    inputs: dict[str, Any],
    options: dict[str, Any],
    config: Config,
    kept: Kept | None = None,
    store: Store | None = None,
) -> tuple[Result, RunError | None]:
    more = {} if kept is None or store is None else kept.keywords(store)
    try:
        with log.reported(options["log"]):
            return flow.run(graph, inputs, targets=options["targets"] or None, config=config, **more), None
    except RunError as error:
        return error.result, error
    except KeyboardInterrupt as error:
        result: Result | None = getattr(error, "result", None)
        tell("interrupted" if result is None else f"interrupted: {report.summary(result)}")
        if result is not None and result._run.started is not None:
            _draw(result, options["timeline"])
        _tell_of_the_rest(kept, None if result is None else result.run_id)
        ctx.exit(130)
    except (SystemExit, GeneratorExit) as error:  # a node's: it ends the run, and there is no Result
        given.traced(ctx, error)
        tell(f"Error: a node ended the run: {described(error)} ({where(error)})")
        _tell_of_the_rest(kept, None)
        ctx.exit(1)


def _tell_of_the_rest(kept: Kept | None, run_id: str | None) -> None:
    """Say how a run goes on that has been ended from outside, if it is stored."""
    run_id = run_id if kept is None or kept.id is None else kept.id
    if kept is not None and run_id is not None:
        tell(*durable.how_to_go_on(kept, run_id, "running"))


def _explain(ctx: click.Context, result: Result, error: RunError | None) -> None:
    """Tell on stderr what failed, and why nodes did not run."""
    if error is not None and error.timed_out:
        tell(f"Error: {error.message}")
    width = columns(sys.stderr)
    tell(*report.failures(result, width), *report.items_lost(result, width), *report.stand_ins(result, width))
    tell(*report.reasons(result, width))
    for failed in [*result.errors.values(), *report.stood_in_for(result)]:
        given.traced(ctx, failed)


def _draw(result: Result, file: Path | None) -> None:
    if file is None:
        return
    suffix = file.suffix.lower()
    text = result.timeline("svg" if suffix in (".svg", ".html") else "mermaid")
    if suffix == ".html":
        head = f'<meta charset="utf-8"><title>{html.escape(result.plan.name)}</title>'
        text = f"<!doctype html>\n<html><head>{head}</head><body>\n{text}</body></html>\n"
    elif suffix == ".md":
        text = f"```mermaid\n{text}```\n"
    write_file(file, text)


def write_file(file: Path, text: str) -> None:
    """Write a file whole or not at all. :raises click.ClickException: if it cannot be written."""
    try:
        files.write(str(file), text)
    except OSError as error:
        raise click.ClickException(f"{str(file)!r} cannot be written: {error.strerror or error}") from error


@contextlib.contextmanager
def only_ours_on_stdout(wanted: bool) -> Iterator[None]:
    """Send what the user's code prints to stderr, so that stdout is one JSON document."""
    if not wanted:
        yield
        return
    with contextlib.redirect_stdout(sys.stderr):
        yield
