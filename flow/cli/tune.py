"""The command ``flow tune``: find a config for TARGET by running it under many."""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Iterator
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from flow.blame import notes_of, where
from flow.cli import options as given
from flow.cli import report
from flow.cli.target import is_trace, load, load_trace
from flow.cli.terminal import columns, say, tell
from flow.cli.workflow import allow_option
from flow.config.writing import refuse_loss
from flow.errors import FlowError, RunError, described
from flow.run.result import duration

if TYPE_CHECKING:
    from flow.tuning.report import TuneReport

RUNS = "this runs the nodes of {}, with all that they do, for up to {} (--work runs stand-ins in their place)"
UNITS = {"ms": 1e-3, "s": 1.0, "": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}


def seconds_of(_: click.Context, __: click.Parameter, value: str) -> float:
    """Read ``30s``, ``500ms`` or ``2m``; a bare number is seconds."""
    found = re.fullmatch(r"(\d+(?:\.\d*)?|\.\d+) *(ms|s|m|min|h|)", value.strip())
    seconds = float(found[1]) * UNITS[found[2]] if found else 0.0
    if not 0 < seconds < inf:
        raise click.BadParameter(f"{value!r} is no time: write it as in 30s, 500ms or 2m")
    return seconds


def writable(_: click.Context, __: click.Parameter, value: Path | None) -> Path | None:
    """Refuse, before anything runs, a file that could not or must not be written in the end."""
    if value is None:
        return None
    if value.name == "pyproject.toml":
        raise click.BadParameter("a pyproject.toml is not overwritten: write another file and copy its table")
    if value.suffix.lower() != ".toml":
        raise click.BadParameter(f"{str(value)!r} must end in .toml")
    return given.writable(value)


@click.command()
@click.argument("target")
@given.input_options
@click.option("--target", "targets", multiple=True, metavar="NODE", help="Run only this and what it needs. Repeatable.")
@click.option(
    "--objective", type=click.Choice(["throughput", "latency", "memory"]), default="throughput", show_default=True,
    help="What to improve.",
)  # fmt: skip
@click.option(
    "--budget", default="30s", show_default=True, callback=seconds_of, metavar="TIME", help="Time it may take."
)
@given.config_option
@click.option(
    "--write", type=click.Path(path_type=Path, readable=False), callback=writable, metavar="FILE.toml",
    help="Write the best config, for `flow run --config`.",
)  # fmt: skip
@allow_option
@click.option("--work", type=click.Choice(["noop", "sleep", "cpu"]), help="Run stand-ins in place of the nodes.")
@click.option("--scale", type=click.FloatRange(min=0), metavar="S", help="Factor on the stand-ins' seconds.")
@given.debug_option
@click.pass_context
def tune(ctx: click.Context, /, target: str, **options: Any) -> None:
    """Find a better config for TARGET by running it under many.

    This runs TARGET's nodes, with all that they do, again and again until the budget is used up. With --work,
    stand-ins of the same shape run instead. What nodes print is dropped.
    """
    from flow.tuning.api import tune as tuned

    work, scale = options["work"], options["scale"]
    if scale is not None and work is None:
        raise click.UsageError("--scale is for --work sleep and --work cpu")
    with _silence():
        inputs = given.inputs_from(options["inputs"], options["inputs_file"])
        if is_trace(target):
            graph: Any = load_trace(target, work or "noop", 1e-4 if scale is None else scale, options["allow"])
            work = scale = None
        else:
            graph = load(target, options["allow"])
            inputs = given.typed(inputs, options["inputs"], graph)
        base = given.base_config(options["config_file"], graph)
        if options["write"] is not None:
            refuse_loss(options["write"], base)  # before anything runs
        if work is None and not is_trace(target):
            tell(RUNS.format(graph.name, duration(options["budget"])))
        try:
            found = tuned(
                graph, inputs or None, objective=options["objective"], budget=options["budget"], config=base,
                targets=options["targets"] or None, work=work, scale=1.0 if scale is None else scale,
                say=tell,
            )  # fmt: skip
        except RunError as error:
            _explain(ctx, error)
        except (SystemExit, GeneratorExit) as error:  # a node's
            tell(f"Error: a node ended the tuning: {described(error)} ({where(error)})")
            ctx.exit(1)
    try:
        say(str(found))
    finally:
        _write(found, options["write"])


def _write(found: TuneReport, file: Path | None) -> None:
    if file is None:
        return
    try:
        found.write(file)
    except FlowError as error:  # what could be told before is refused before
        raise click.ClickException(str(error)) from error
    tell(f"written: {file}")


def _explain(ctx: click.Context, error: RunError) -> NoReturn:
    tell("Error: the DAG fails by itself, so there is nothing to tune", *notes_of(error))
    tell(*report.failures(error.result, columns(sys.stderr)))
    ctx.exit(1)


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Drop what nodes print, which would be the same a thousand times over."""
    with open(os.devnull, "w", encoding="utf-8") as nowhere, contextlib.redirect_stdout(nowhere):
        yield
