"""What the options of ``flow run`` mean: inputs, the Config, the observers."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click
import msgspec

from flow.config import Config

F = TypeVar("F", bound=Callable[..., Any])
DEBUG = "flow.debug"


def debug_option(command: F) -> F:
    """Add ``--debug``, which :class:`flow.cli.commands.Guard` looks up."""

    def remember(ctx: click.Context, _: click.Parameter, value: bool) -> None:
        ctx.meta[DEBUG] = value

    return click.option(
        "--debug", is_flag=True, expose_value=False, is_eager=True, callback=remember, help="Show tracebacks."
    )(command)


def timeline_path(_: click.Context, __: click.Parameter, value: Path | None) -> Path | None:
    """Refuse, before anything runs, a file that could not be written in the end."""
    if value is None:
        return None
    if value.suffix.lower() not in (".svg", ".mmd"):
        raise click.BadParameter(f"{str(value)!r} must end in .svg or .mmd")
    if not value.parent.is_dir():
        raise click.BadParameter(f"there is no folder {str(value.parent)!r}")
    return value


def inputs_from(given: Sequence[str], file: Path | None) -> dict[str, Any]:
    """Join ``--inputs`` and each ``--input NAME=VALUE``, which goes over it. A VALUE is JSON, else text."""
    inputs: dict[str, Any] = {}
    if file is not None:
        try:
            inputs = msgspec.json.decode(file.read_bytes(), type=dict[str, Any])
        except (msgspec.DecodeError, UnicodeDecodeError, OSError) as error:
            raise click.BadParameter(f"{str(file)!r} holds no JSON object: {error}", param_hint="--inputs") from error
    for item in given:
        name, equals, value = item.partition("=")
        if not equals or not name:
            raise click.BadParameter(f"{item!r} is not NAME=VALUE", param_hint="--input")
        try:
            inputs[name] = msgspec.json.decode(value)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            inputs[name] = value
    return inputs


def config_from(options: dict[str, Any], observers: Sequence[Any]) -> Config:
    """Build the run's Config of the options that are its fields."""
    fields = ("mode", "limit", "on_error", "timeout", "backend", "order", "sync")
    return Config(
        **{field: options[field] for field in fields},
        timing=options["timeline"] is not None,
        observers=tuple(observers),
    )


def observers_from(progress: bool | None, replays_noops: bool) -> list[Any]:
    """Return the progress display if it is asked for, or by default on a terminal.

    By default not where a replay of no-ops measures what the engine itself costs.
    """
    if progress is None:
        progress = sys.stderr.isatty() and not replays_noops and importlib.util.find_spec("rich") is not None
    if not progress:
        return []
    from flow.observe.progress import Progress

    return [Progress()]
