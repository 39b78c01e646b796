"""The commands: parse, dispatch, print."""

from __future__ import annotations

import contextlib
import html
import io
import platform
import re
import sys
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NoReturn

import click

import flow
from flow import files
from flow.blame import where
from flow.cli import log, replay, report, show
from flow.cli import options as given
from flow.cli.target import is_trace, load, load_trace
from flow.cli.terminal import columns, ended, say, say_json, tell, unwritable
from flow.cli.tune import tune
from flow.config import Config
from flow.errors import DefinitionError, FlowError, RunError, TraceError, described
from flow.graph.dag import Dag
from flow.plan.plan import Plan
from flow.reprs import counted
from flow.run.result import Result

DEFAULT_SCALE = 1e-4
"""Replays of sleep and cpu work run 10,000 times faster than what was measured."""
PYTHON = f"{platform.python_implementation()} {platform.python_version()}"
FACTOR = "Factor on a trace's runtimes."


class Guard(click.Group):
    """Turns the errors a user can make into one message and an exit code; ``--debug`` adds the traceback."""

    def main(self, args: Sequence[str] | None = None, *others: Any, **extra: Any) -> Any:
        """Run the command line and exit."""
        extra["standalone_mode"] = False
        try:
            code = super().main(args, *others, **extra)
        except click.ClickException as error:
            text = io.StringIO()
            (_with_what_serves(error) if isinstance(error, click.NoSuchOption) else error).show(text)
            tell(text.getvalue().rstrip("\n"))
            code = error.exit_code
        except click.Abort:
            tell("interrupted")
            code = 130
        except OSError as error:  # click writes the help by itself
            tell(f"Error: {unwritable(error).message}")
            code = 1
        sys.exit(ended(code if isinstance(code, int) else 0))

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command named on the command line."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            tell("interrupted")
            ctx.exit(130)
        except (click.ClickException, click.exceptions.Exit, BrokenPipeError) as error:
            _trace(ctx, error.__cause__)
            raise
        except Exception as error:
            _trace(ctx, error)
            _fail(ctx, error)


def _with_what_serves(error: click.NoSuchOption) -> click.UsageError:
    """Return the error with the options that do what a word of other tools asks for; not those spelled alike."""
    from flow.keywords import settings_for  # here: only needed once an option is wrong

    options = [] if error.ctx is None else [option for one in error.ctx.command.params for option in one.opts]
    word = error.option_name.lstrip("-").replace("-", "_")
    wanted = dict.fromkeys(f"--{name.replace('_', '-')}" for name in settings_for(word))
    serving = [repr(option) for option in wanted if option in options]
    if not serving:
        return error
    meant = f"No such option '{error.option_name}'. Did you mean {' or '.join(serving)}?"
    return click.UsageError(meant, ctx=error.ctx)


def _trace(ctx: click.Context, error: BaseException | None) -> None:
    if error is None or not ctx.meta.get(given.DEBUG):
        return
    try:
        tell("".join(traceback.format_exception(error)).rstrip("\n"))
    except Exception:  # an exception of the user's can be such that it cannot even be formatted
        tell(described(error))


_IN_PYTHON: Final = re.compile(r"pass inputs=\{'(\w+)': \.\.\.\}")
"""What errors say to do in a program."""


def _here(found: re.Match[str]) -> str:
    return f"pass --input {found[1]}=..."


def _fail(ctx: click.Context, error: Exception) -> NoReturn:
    if isinstance(error, FlowError):
        tell(f"Error: {_IN_PYTHON.sub(_here, str(error))}")
        ctx.exit(1 if isinstance(error, (DefinitionError, TraceError)) else 2)
    place = where(error)  # an object of the user's that does what none of its kind does
    tell(f"Error: {described(error)}{f' ({place})' if place else ''}; --debug shows more")
    ctx.exit(1)


@click.group(cls=Guard, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(flow.__version__, message=f"flow %(version)s ({PYTHON})")
def cli() -> None:
    """Run, tune, show and check DAGs of plain functions, and traces of real workflows.

    TARGET is module:dag, file.py:dag (a Dag, a Plan, or a function without arguments that returns
    one; ":dag" may be left out) or a WfFormat trace (.json, .json.gz).

    Exit codes: 0 ok, 1 the run failed, TARGET has faults, or a result could not be written, 2 wrong usage,
    130 interrupted.
    """


@cli.command(cls=log.Logged)
@click.argument("target")
@given.input_options
@click.option("--target", "targets", multiple=True, metavar="NODE", help="Run only this and what it needs. Repeatable.")
@given.config_option
@click.option("--mode", type=click.Choice(["auto", "inline", "tasks", "workers"]), default="auto", show_default=True)
@click.option("--limit", type=given.LimitType(min=1), metavar="N|auto", help="Most in flight.  [default: unbounded]")
@click.option("--on-error", type=click.Choice(["fail_fast", "collect"]), default="fail_fast", show_default=True)
@click.option("--timeout", type=click.FloatRange(min=0, min_open=True), metavar="S", help="Seconds for the whole run.")
@click.option("--backend", type=click.Choice(["asyncio", "uvloop", "trio"]), default="asyncio", show_default=True)
@click.option("--order", type=click.Choice(["definition", "critical_path"]), default="definition", show_default=True)
@click.option(
    "--executor", type=click.Choice(["inline", "thread"]), default="inline", show_default=True,
    help="Where sync nodes run.",
)  # fmt: skip
@click.option(
    "--timeline", type=click.Path(path_type=Path, readable=False), callback=given.timeline_path, metavar="FILE",
    help="Draw when each node ran: .svg, .html, or as Mermaid text .mmd, .md.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON, and nothing else, on stdout.")
@click.option("--all", "everything", is_flag=True, help="Do not cut the list of outputs.")
@click.option("--progress/--no-progress", default=None, help="[default: on a terminal, except for noop replays]")
@click.option(
    "--log", type=click.Choice(log.LEVELS, case_sensitive=False), metavar="[LEVEL]",
    help="Print what happens on stderr: debug, info or warning.  [LEVEL: info]",
)  # fmt: skip
@click.option("--work", type=click.Choice(["noop", "sleep", "cpu"]), help="What a trace's nodes do.  [default: noop]")
@click.option("--scale", type=click.FloatRange(min=0), metavar="S", help=f"{FACTOR}  [default: 1e-4]")
@given.debug_option
@click.pass_context
def run(ctx: click.Context, /, target: str, as_json: bool, **options: Any) -> None:
    """Run TARGET to its end.

    A trace's replay also prints how close it came to the least possible time.
    """
    trace = is_trace(target)
    if not trace and (options["work"] is not None or options["scale"] is not None):
        raise click.UsageError("--work and --scale are for traces only (.json, .json.gz)")
    work: replay.Work = options["work"] or "noop"
    scale = DEFAULT_SCALE if options["scale"] is None else options["scale"]
    with _only_ours_on_stdout(as_json):
        inputs = given.inputs_from(options["inputs"], options["inputs_file"])
        graph = load_trace(target, work, scale) if trace else load(target)
        if isinstance(graph, Plan):
            inputs = given.typed(inputs, options["inputs"], graph)
            tell(*show.left_out(graph))
        quiet = (trace and work == "noop") or options["log"] is not None
        observers = [*given.observers_from(options["progress"], quiet), *log.observers_of(options["log"])]
        config = given.config_from(ctx, options, observers)
        if work == "sleep":
            replay.warm_up(config)
        result, error = _run(ctx, graph, inputs, options, config)
    try:
        figures = replay.figures(result, work, scale, config) if trace and result.ok else None
        if as_json:
            say_json(report.as_json(result, **({} if figures is None else {"replay": figures})))
            _explain(ctx, result, error)
        else:
            _explain(ctx, result, error)
            width = columns(sys.stdout)
            outputs = [] if figures else report.sinks(result, options["everything"], width)
            say(*outputs, report.headline(result, width), *(replay.lines(figures) if figures else ()))
    finally:  # a failure of one must not cost the other
        _draw(result, options["timeline"])
    if not result.ok:
        ctx.exit(1)


def _run(
    ctx: click.Context, graph: Dag | Plan, inputs: dict[str, Any], options: dict[str, Any], config: Config
) -> tuple[Result, RunError | None]:
    try:
        with log.reported():
            return flow.run(graph, inputs, targets=options["targets"] or None, config=config), None
    except RunError as error:
        return error.result, error
    except KeyboardInterrupt as error:
        result: Result | None = getattr(error, "result", None)
        tell("interrupted" if result is None else f"interrupted: {report.summary(result)}")
        if result is not None and result._run.started is not None:
            _draw(result, options["timeline"])
        ctx.exit(130)
    except (SystemExit, GeneratorExit) as error:  # a node's: it ends the run, and there is no Result
        _trace(ctx, error)
        tell(f"Error: a node ended the run: {described(error)} ({where(error)})")
        ctx.exit(1)


def _explain(ctx: click.Context, result: Result, error: RunError | None) -> None:
    """Tell on stderr what failed, and why nodes did not run."""
    if error is not None and error.timed_out:
        tell(f"Error: {error.message}")
    width = columns(sys.stderr)
    tell(*report.failures(result, width), *report.items_lost(result, width), *report.stand_ins(result, width))
    tell(*report.reasons(result, width))
    for failed in [*result.errors.values(), *report.stood_in_for(result)]:
        _trace(ctx, failed)


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
    _write(file, text)


def _write(file: Path, text: str) -> None:
    try:
        files.write(str(file), text)
    except OSError as error:
        raise click.ClickException(f"{str(file)!r} cannot be written: {error.strerror or error}") from error


@contextlib.contextmanager
def _only_ours_on_stdout(wanted: bool) -> Iterator[None]:
    """Send what the user's code prints to stderr, so that stdout is one JSON document."""
    if not wanted:
        yield
        return
    with contextlib.redirect_stdout(sys.stderr):
        yield


@cli.command(name="show")
@click.argument("target")
@click.option(
    "--format", "form", type=click.Choice(["table", "levels", "mermaid", "dot", "json"]), default="table",
    show_default=True,
)  # fmt: skip
@click.option("--all", "everything", is_flag=True, help="Do not cut long tables.")
@click.option(
    "--svg", type=click.Path(path_type=Path, readable=False), callback=given.svg_path, metavar="FILE",
    help="Draw the graph, too.",
)  # fmt: skip
@click.option("--scale", type=click.FloatRange(min=0), default=1.0, show_default=True, help=FACTOR)
@given.debug_option
def show_command(target: str, form: str, everything: bool, svg: Path | None, scale: float) -> None:
    """Show TARGET's nodes, levels and critical path, or draw it."""
    with _only_ours_on_stdout(form != "table"):
        plan = _compiled(target, scale)
    if svg is not None:
        _write(svg, flow.render.to_svg(plan))
    if form == "json":
        say_json(show.as_json(plan))
    else:
        tell(*show.warned(plan))
        say(*show.lines(plan, form, everything))


@cli.command()
@click.argument("target")
@click.option("--strict", is_flag=True, help="Exit with 1 if there are warnings.")
@given.debug_option
@click.pass_context
def check(ctx: click.Context, target: str, strict: bool) -> None:
    """Validate TARGET without running it; list all its faults, and what is most likely wrong."""
    try:
        plan = _compiled(target, 1.0)
    except DefinitionError as error:
        _trace(ctx, error)
        tell(f"{error.dag}: {counted(len(error.faults), 'fault')}", *(f"  - {fault}" for fault in error.faults))
        ctx.exit(1)
    needed = f"; needs inputs: {', '.join(plan.required_inputs)}" if plan.required_inputs else ""
    warnings = show.warned(plan)
    tell(*warnings)
    refused = strict and bool(warnings)
    verdict = f"{counted(len(warnings), 'warning')}, refused by --strict" if refused else "ok"
    (tell if refused else say)(f"{plan.name}: {verdict}: {show.size(plan)}{needed}")
    if refused:
        ctx.exit(1)


def _compiled(target: str, scale: float) -> Plan:
    return load_trace(target, "noop", scale).compile() if is_trace(target) else load(target)


cli.add_command(tune)
