"""What the options of ``flow run`` mean: inputs, the Config, the observers."""

from __future__ import annotations

import importlib.util
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

import click
import msgspec
from click.core import ParameterSource

from flow import files
from flow.cli.terminal import tell
from flow.config import Config
from flow.errors import described
from flow.plan.plan import Plan

F = TypeVar("F", bound=Callable[..., Any])
DEBUG = "flow.debug"
TIMELINES = (".svg", ".html", ".mmd", ".md")
"""Endings of files that a timeline is drawn into: an SVG, a page with it, Mermaid text, Markdown with that."""
MAX_INPUTS = 512 * 2**20
"""Largest file of inputs that is read."""


def debug_option(command: F) -> F:
    """Add ``--debug``, which :class:`flow.cli.commands.Guard` looks up."""

    def remember(ctx: click.Context, _: click.Parameter, value: bool) -> None:
        ctx.meta[DEBUG] = value

    return click.option(
        "--debug", is_flag=True, expose_value=False, is_eager=True, callback=remember, help="Show tracebacks."
    )(command)


def traced(ctx: click.Context, error: BaseException | None) -> None:
    """Print the traceback of an error, if ``--debug`` is given."""
    if error is None or not ctx.meta.get(DEBUG):
        return
    try:
        tell("".join(traceback.format_exception(error)).rstrip("\n"))
    except Exception:  # an exception of the user's can be such that it cannot even be formatted
        tell(described(error))


def input_options(command: F) -> F:
    """Add ``--input``, ``--input-env``, and ``--inputs``, which is ``--input-file`` as well."""

    def from_environment(ctx: click.Context, param: click.Parameter, value: Sequence[str]) -> None:
        ctx.meta[_FROM_ENVIRONMENT] = [_of_environment(item, ctx, param) for item in value]

    def joined(ctx: click.Context, _: click.Parameter, value: Sequence[str]) -> list[str]:
        return [*ctx.meta.get(_FROM_ENVIRONMENT, ()), *value]

    options = (
        click.option(
            "--input", "inputs", multiple=True, metavar="NAME=VALUE", callback=joined,
            help="A run input: JSON, else text. Repeatable.",
        ),
        click.option(
            "--input-env", multiple=True, metavar="NAME=VARIABLE", callback=from_environment, is_eager=True,
            expose_value=False, help="A run input from the environment, for what no shell should keep. Repeatable.",
        ),
        click.option(
            "--inputs", "--input-file", "inputs_file", type=click.Path(path_type=Path),
            metavar="FILE.json", help="Run inputs as a JSON object; --input goes over it.",
        ),
    )  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command


_FROM_ENVIRONMENT: Final = "flow.inputs"


def _of_environment(item: str, ctx: click.Context, param: click.Parameter) -> str:
    """Return ``NAME=VALUE`` of ``NAME=VARIABLE``."""
    name, equals, variable = item.partition("=")
    if not equals or not name or not variable:
        raise click.BadParameter(f"{item!r} is not NAME=VARIABLE", ctx, param)
    value = os.environ.get(variable)
    if value is None:
        raise click.BadParameter(f"there is no environment variable {variable!r}", ctx, param)
    return f"{name}={value}"


def config_option(command: F) -> F:
    """Add ``--config``."""
    return click.option(
        "--config", "config_file", type=click.Path(path_type=Path), metavar="FILE.toml",
        help="Settings to start from, not the Dag's own: the table [flow] of a TOML file.",
    )(command)  # fmt: skip


def timeline_path(_: click.Context, __: click.Parameter, value: Path | None) -> Path | None:
    """Refuse, before anything runs, a file that could not be written in the end."""
    if value is None:
        return None
    if value.suffix.lower() not in TIMELINES:
        raise click.BadParameter(f"{str(value)!r} must end in {', '.join(TIMELINES[:-1])} or {TIMELINES[-1]}")
    return writable(value)


def svg_path(_: click.Context, __: click.Parameter, value: Path | None) -> Path | None:
    """Refuse, before anything is loaded, a file that could not be written in the end."""
    if value is not None and value.suffix.lower() != ".svg":
        raise click.BadParameter(f"{str(value)!r} must end in .svg")
    return None if value is None else writable(value)


def writable(file: Path) -> Path:
    """Refuse a file that cannot be written."""
    try:
        files.check_writable(str(file))
    except FileNotFoundError:
        raise click.BadParameter(f"there is no folder {str(file.parent)!r}") from None
    except OSError as error:
        raise click.BadParameter(f"{str(file)!r} cannot be written: {error.strerror}") from error
    return file


class LimitType(click.IntRange):
    """An integer in a range, or ``auto``."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """See :meth:`click.ParamType.convert`."""
        try:
            return value if value == "auto" else super().convert(value, param, ctx)
        except click.BadParameter as error:
            raise click.BadParameter(f"{value!r} is neither an integer of at least 1 nor 'auto'", ctx, param) from error


def inputs_from(given: Sequence[str], file: Path | None) -> dict[str, Any]:
    """Join ``--inputs`` and each ``--input NAME=VALUE``, which goes over it. A VALUE is JSON, else text."""
    inputs: dict[str, Any] = {}
    if file is not None:
        try:
            inputs = msgspec.json.decode(files.read(str(file), MAX_INPUTS), type=dict[str, Any])
        except OSError as error:
            text = f"{str(file)!r} cannot be read: {error.strerror}"
            raise click.BadParameter(text, param_hint="--inputs") from error
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            why = "it is nested too deeply" if isinstance(error, RecursionError) else error
            raise click.BadParameter(f"{str(file)!r} holds no JSON object: {why}", param_hint="--inputs") from error
    for item in given:
        name, equals, value = item.partition("=")
        if not equals or not name:
            raise click.BadParameter(f"{item!r} is not NAME=VALUE", param_hint="--input")
        try:
            inputs[name] = msgspec.json.decode(value)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            inputs[name] = value
    return inputs


def typed(inputs: dict[str, Any], given: Sequence[str], plan: Plan) -> dict[str, Any]:
    """Return the inputs as the types that the Dag declares; those that do not fit as they are, for the run to refuse.

    :param given: ``--input NAME=VALUE``, whose text may also stand for what JSON has no word for: a date, say.
    """
    declared = plan._nodes.declared
    if declared is None:
        return inputs
    texts = {name: text for name, _, text in [item.partition("=") for item in given]}
    return {name: declared.read(name, value, texts.get(name)) for name, value in inputs.items()}


def base_config(file: Path | None, graph: object) -> Config:
    """Return the Config of ``--config``; without that the Dag's own, or the default.

    :raises ConfigError: listing what is wrong with the file.
    """
    if file is not None:
        return Config.load(file)
    return (graph.config if isinstance(graph, Plan) else None) or Config()


def config_from(ctx: click.Context, options: dict[str, Any], observers: Sequence[Any], graph: Any = None) -> Config:
    """Build the run's Config: :func:`base_config`, and over it the options that are given on the command line.

    :raises ConfigError: as :func:`base_config`.
    """
    base = base_config(options["config_file"], graph)
    fields = ("mode", "limit", "on_error", "timeout", "backend", "order", "executor")
    return base.replace(
        **{field: options[field] for field in fields if ctx.get_parameter_source(field) is not ParameterSource.DEFAULT},
        timing=base.timing or options["timeline"] is not None,
        observers=(*base.observers, *observers),
    )


def observers_from(progress: bool | None, quiet: bool) -> list[Any]:
    """Return the progress display if it is asked for, or by default on a terminal.

    :param quiet: not by default: a replay of no-ops measures what the engine itself costs; a log has the terminal.
    """
    if progress is None:
        on_terminal = sys.stderr is not None and sys.stderr.isatty()
        progress = on_terminal and not quiet and importlib.util.find_spec("rich") is not None
    if not progress:
        return []
    from flow.observe.progress import Progress

    return [Progress()]
