"""The command ``flow check``: all that is wrong with a target, or with the workflow files of a folder."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

import click

from flow.cli import options as given
from flow.cli import show
from flow.cli.target import TargetError, is_trace, load, load_trace
from flow.cli.terminal import say, tell
from flow.cli.workflow import ENDINGS, allow_option, is_workflow
from flow.errors import ConfigError, DefinitionError, SpecError
from flow.plan.plan import Plan
from flow.reprs import counted


@click.command()
@click.argument("target")
@click.option("--strict", is_flag=True, help="Exit with 1 if there are warnings.")
@click.option("--imports", is_flag=True, help="Import what workflow files call, and check their arguments by that.")
@allow_option
@given.debug_option
@click.pass_context
def check(ctx: click.Context, target: str, strict: bool, imports: bool, allow: tuple[str, ...]) -> None:
    """Validate TARGET without running it; list all its faults, and what is most likely wrong.

    TARGET may be a folder, too: all workflow files in it. What workflow files call is not imported without --imports.
    """
    targets = list(_files_in(target)) if os.path.isdir(target) else [target]
    if imports and not any(is_workflow(one) for one in targets):
        raise click.UsageError("--imports is for workflow files: all other targets are imported anyway")
    good = [_checked(ctx, one, strict, imports, allow) for one in targets]
    if not all(good):
        ctx.exit(1)


def _files_in(folder: str) -> Iterator[str]:
    """Yield the workflow files of a folder, by name. :raises TargetError: if there is none."""
    try:
        names = sorted(os.listdir(folder))
    except OSError as error:
        raise TargetError(f"{folder!r} cannot be read: {error.strerror}") from error
    paths = [os.path.normpath(os.path.join(folder, name)) for name in names]
    found = [path for path in paths if is_workflow(path) and not os.path.isdir(path)]
    if not found:
        endings = f"{', '.join(ENDINGS)}, or .json with the key 'flow'"
        raise TargetError(f"there is no workflow file in folder {folder!r}: {endings}")
    yield from found


def _checked(ctx: click.Context, target: str, strict: bool, imports: bool, allow: Sequence[str]) -> bool:
    """Check one target, and print what is found; tell whether it is good."""
    try:
        plan = compiled(target, 1.0, allow, imports)
    except SpecError as error:
        given.traced(ctx, error)
        tell(*error.faults, f"{target}: {counted(len(error.faults), 'fault')}")
        return False
    except DefinitionError as error:
        given.traced(ctx, error)
        tell(f"{error.dag}: {counted(len(error.faults), 'fault')}", *(f"  - {fault}" for fault in error.faults))
        return False
    except ConfigError as error:  # what a file beside it allows
        if not is_workflow(target):
            raise
        given.traced(ctx, error)
        tell(f"{target}: {error}")
        return False
    needed = f"; needs inputs: {', '.join(plan.required_inputs)}" if plan.required_inputs else ""
    warnings = show.warned(plan)
    tell(*warnings)
    refused = strict and bool(warnings)
    verdict = f"{counted(len(warnings), 'warning')}, refused by --strict" if refused else "ok"
    name = target if is_workflow(target) else plan.name
    (tell if refused else say)(f"{name}: {verdict}: {show.size(plan)}{needed}")
    return not refused


def compiled(target: str, scale: float, allow: Sequence[str] = (), imports: bool = True) -> Plan:
    """Return the plan of any target. :param scale: factor on a trace's runtimes."""
    if is_trace(target):
        return load_trace(target, "noop", scale, allow).compile()
    return load(target, allow, imports)


__all__ = ["check", "compiled"]
