"""The commands: parse, dispatch, print."""

from __future__ import annotations

import io
import platform
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NoReturn

import click
from click.core import ParameterSource

import flow
from flow.blame import where
from flow.cli import durable, show
from flow.cli import options as given
from flow.cli.ai import ai
from flow.cli.authoring import convert, new, schema
from flow.cli.check import check, compiled
from flow.cli.keys import keys
from flow.cli.metrics import metrics
from flow.cli.running import FACTOR, only_ours_on_stdout, run, write_file
from flow.cli.runs import runs
from flow.cli.serve import serve
from flow.cli.target import TargetError, graph_of, is_trace, module_names
from flow.cli.terminal import ended, say, say_json, tell, unwritable
from flow.cli.tune import tune
from flow.cli.workflow import allow_option, is_workflow
from flow.errors import (
    DefinitionError,
    FlowError,
    RunConflict,
    SpecError,
    StoreError,
    TraceError,
    UnknownRun,
    described,
)
from flow.plan.plan import Plan
from flow.reprs import counted

PYTHON = f"{platform.python_implementation()} {platform.python_version()}"


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
            given.traced(ctx, error.__cause__)
            raise
        except Exception as error:
            given.traced(ctx, error)
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


_INPUTS: Final = re.compile(r"pass inputs=\{'(\w+)': \.\.\.\}")
_WAITS: Final = re.compile(r"Run it by 'async with flow\.start\(\.\.\.\) as run', or give the signal a timeout=\.\.\.")
"""What errors say to do in a program."""

_FAILURES: Final = (DefinitionError, TraceError, StoreError)
"""Errors that are no wrong usage."""

_UNSENT: Final = "Give the signal a timeout, or the run --timeout S; to a run with --store FILE, `flow runs send` sends"


def _here(error: FlowError) -> str:
    """Return what an error says, with what to do on the command line."""
    text = _INPUTS.sub(lambda found: f"pass --input {found[1]}=...", str(error))
    return durable.here(_WAITS.sub(lambda _: _UNSENT, text))


def _fail(ctx: click.Context, error: Exception) -> NoReturn:
    if isinstance(error, SpecError):
        tell(*error.faults, f"Error: {error.dag} cannot be loaded: {counted(len(error.faults), 'fault')}")
        ctx.exit(1)
    if isinstance(error, FlowError):
        tell(f"Error: {_here(error)}")
        ctx.exit(1 if isinstance(error, _FAILURES) and not isinstance(error, (UnknownRun, RunConflict)) else 2)
    place = where(error)  # an object of the user's that does what none of its kind does
    tell(f"Error: {described(error)}{f' ({place})' if place else ''}; --debug shows more")
    ctx.exit(1)


@click.group(cls=Guard, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(flow.__version__, message=f"flow %(version)s ({PYTHON})")
def cli() -> None:
    """Run, serve, tune, show and check DAGs of plain functions, workflow files, and traces of real workflows.

    TARGET is module:dag, file.py:dag (a Dag, a Plan, or a function without arguments that returns
    one; ":dag" may be left out), a workflow file (.yaml, .yml, or .json with the key "flow"), or a WfFormat trace
    (.json, .json.gz). What a workflow file calls must be allowed: by --allow, or by flow.toml beside it.

    Exit codes: 0 ok, 1 the run failed, TARGET has faults, or a result could not be written, 2 wrong usage,
    130 interrupted.
    """


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
@click.option("--yaml", "as_yaml", is_flag=True, help="Print a Dag of functions as a workflow file.")
@allow_option
@given.debug_option
@click.pass_context
def show_command(
    ctx: click.Context, target: str, form: str, everything: bool, svg: Path | None, scale: float, as_yaml: bool,
    allow: tuple[str, ...],
) -> None:  # fmt: skip
    """Show TARGET's nodes, levels and critical path, or draw it, or write it as a workflow file."""
    if as_yaml:
        if svg is not None or ctx.get_parameter_source("form") is not ParameterSource.DEFAULT:
            raise click.UsageError("--yaml excludes --format and --svg")
        _show_yaml(target)
        return
    with only_ours_on_stdout(form != "table"):
        plan = compiled(target, scale, allow)
    if svg is not None:
        write_file(svg, flow.render.to_svg(plan))
    if form == "json":
        say_json(show.as_json(plan))
    else:
        tell(*show.warned(plan))
        say(*show.lines(plan, form, everything))


def _show_yaml(target: str) -> None:
    """Print a Dag as a workflow file, and tell what its modules must offer."""
    if is_trace(target) or is_workflow(target):
        what = "a trace" if is_trace(target) else "a workflow file already"
        raise TargetError(f"--yaml writes a Dag of functions, module:dag or file.py:dag, and {target!r} is {what}")
    from flow.spec.dumping.dag import dump, unoffered

    with only_ours_on_stdout(True):
        graph = graph_of(target)
    if isinstance(graph, Plan):
        raise TargetError(f"{target!r} is a Plan: --yaml writes the Dag that it is compiled of")
    modules = module_names(target)
    say(dump(graph, modules=modules).rstrip("\n"))
    tell(*unoffered(graph, modules))


for command in (run, tune, check, schema, new, convert, runs, serve, keys, metrics, ai):
    cli.add_command(command)
