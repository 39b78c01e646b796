"""The commands ``flow runs ...``: look at stored runs, and mend them. (Those that run nodes are in resuming.py.)"""

from __future__ import annotations

import re
import sys
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
import msgspec

from flow.cli import options as given
from flow.cli.durable import existing, store_option
from flow.cli.resuming import recover, resume, retry
from flow.cli.running import write_file
from flow.cli.terminal import columns, say, say_json, tell
from flow.errors import nearest, shown
from flow.reprs import counted

if TYPE_CHECKING:
    from flow.store import Store
    from flow.store.backend import Stored
    from flow.store.story import Story

STATUSES: Final = ("running", "waiting", "completed", "failed", "cancelled")
"""As flow.store.backend.STATUSES, which takes a store to import."""

_UNITS: Final = {"s": 1.0, "m": 60.0, "min": 60.0, "h": 3_600.0, "d": 86_400.0, "w": 604_800.0}


@click.group()
def runs() -> None:
    """List durable runs, go on with them, and mend them.

    A run is durable by `flow run TARGET --store FILE --run-id ID`. All these commands take the file as --store, or from
    the environment variable FLOW_STORE.
    """


run_argument = click.argument("run_id", metavar="ID")
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, and nothing else, on stdout.")
status_option = click.option(
    "--status", "statuses", type=click.Choice(STATUSES), multiple=True, help="Only these runs. Repeatable."
)


def age_of(_: click.Context, __: click.Parameter, value: str) -> float:
    """Read ``30d``, ``12h`` or ``2w``, as seconds."""
    found = re.fullmatch(r"(\d+(?:\.\d*)?|\.\d+) *(s|m|min|h|d|w)", value.strip())
    seconds = float(found[1]) * _UNITS[found[2]] if found else inf
    if not seconds < inf:
        raise click.BadParameter(f"{value!r} is no time: write it as in 30d, 12h or 2w")
    return seconds


@runs.command(name="list")
@store_option
@status_option
@click.option("--dag", metavar="NAME", help="Only runs of this Dag.")
@click.option("--limit", type=click.IntRange(min=1), default=100, show_default=True, metavar="N", help="Most to list.")
@json_option
@given.debug_option
def list_runs(store: str, statuses: tuple[str, ...], dag: str | None, limit: int, as_json: bool) -> None:
    """List stored runs, the latest first."""
    with existing(store) as opened:
        from flow.cli import stored

        rows = opened.runs(statuses, dag, limit + 1)
        if as_json:
            say_json(stored.list_as_json(opened.name, rows[:limit]))
            return
        if not rows:
            tell(f"there is no such run in {store}" if statuses or dag else f"there is no run in {store}")
            return
        say(*stored.table_of(rows[:limit], columns(sys.stdout)))
        if len(rows) > limit:
            say("  ... and older ones (--limit N lists more)")


@runs.command(name="show")
@run_argument
@store_option
@click.option("--values", is_flag=True, help="Print inputs and outputs, too.")
@click.option("--all", "everything", is_flag=True, help="Do not cut long tables; list all items of maps.")
@json_option
@click.option(
    "--svg", type=click.Path(path_type=Path, readable=False), callback=given.svg_path, metavar="FILE",
    help="Draw the graph with the statuses, too.",
)  # fmt: skip
@given.debug_option
def show_run(run_id: str, store: str, values: bool, everything: bool, as_json: bool, svg: Path | None) -> None:
    """Show a stored run: its nodes in the order of their ends, errors, what it waits for, and what happened when.

    If nodes have asked language models, it shows what that took: requests, tokens and cost.
    """
    with existing(store) as opened:
        from flow.cli import stored as printed
        from flow.store.story import story_of

        stored = opened.load(run_id)
        story = story_of(opened, stored)
        if as_json:
            say_json(printed.as_json(opened, stored, story, values))
        else:
            say(*printed.lines_of(opened, stored, story, everything, values))
    if svg is not None:
        _draw(svg, stored, story)


def _draw(svg: Path, stored: Stored, story: Story) -> None:
    if story.structure is None:
        raise click.ClickException(f"{str(svg)!r} is not drawn: the store has no structure of this run's Dag")
    from flow.store.picture import picture

    write_file(svg, picture(stored.row, story, story.structure))


@runs.command()
@click.argument("run_ids", metavar="ID...", nargs=-1, required=True)
@store_option
@given.debug_option
def cancel(run_ids: tuple[str, ...], store: str) -> None:
    """Ask for the end of runs. A process that drives one ends it soon; one that nobody drives has ended at once."""
    with existing(store) as opened:
        for run_id in run_ids:
            before = opened.run(run_id)
            row = opened.cancel(run_id)
            if before.ended:
                say(f"{run_id}: {row.status} already")
            elif row.status == "cancelled":
                say(f"{run_id}: cancelled")
            else:
                say(f"{run_id}: the process that drives it has been asked to end it")


@runs.command()
@run_argument
@click.argument("node")
@click.argument("payload")
@store_option
@given.debug_option
def send(run_id: str, node: str, payload: str, store: str) -> None:
    """Send PAYLOAD to the signal NODE of a run. It is JSON, else text.

    NODE is its address: a name, or the way to it, as in pages#7.approve. If a process drives the run it is taken at
    once, else once the run goes on. What begins with a dash stands after `--`.
    """
    from flow.store.owner import is_driven

    with existing(store) as opened:
        _check_address(opened, run_id, node)
        if not opened.send(run_id, node, value_of(payload)):
            raise click.ClickException(f"{node} of run {run_id} has been sent before, and takes one payload")
        row = opened.run(run_id)
        later = "" if is_driven(row) else f"; the run goes on by: flow runs resume {run_id} TARGET"
        say(f"sent to {node} of run {run_id}{later}")


def value_of(text: str) -> Any:
    """Read a value as ``--input`` does: JSON, else text."""
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return text


def _check_address(store: Store, run_id: str, address: str) -> None:
    """Refuse what is no signal of the Dag of a run.

    :raises click.UsageError: with the name that may be meant. :raises UnknownRun: if there is no such run.
    """
    from flow.store.story import structure_of

    structure = structure_of(store, store.run(run_id).shape)
    if structure is None:
        return
    kinds = {
        ".".join([*filter(None, path.split("/")), name]): wiring.kind
        for path, nodes in structure.nodes.items()
        for name, wiring in nodes.items()
    }
    plain = re.sub(r"#\d+(?=\.)", "", address)
    kind = kinds.get(address, kinds.get(plain))
    if kind is None:
        raise click.UsageError(f"run {run_id} has no node {shown(address)}{nearest(plain, list(kinds))}")
    if kind != "signal":
        signals = ", ".join([name for name, one in kinds.items() if one == "signal"][:10]) or "none"
        raise click.UsageError(f"node {shown(address)} of run {run_id} is no signal: its signals are {signals}")


@runs.command()
@click.argument("run_ids", metavar="ID...", nargs=-1, required=True)
@store_option
@given.debug_option
def delete(run_ids: tuple[str, ...], store: str) -> None:
    """Delete runs with all that is stored of them. If one is being driven, or is not there, none is deleted."""
    with existing(store) as opened:
        for run_id in run_ids:
            opened.run(run_id)
        say(f"deleted: {counted(opened.delete(run_ids), 'run')}")


@runs.command()
@click.option("--older-than", required=True, callback=age_of, metavar="TIME", help="As in 30d, 12h or 2w.")
@click.option(
    "--status", "statuses", type=click.Choice(STATUSES), multiple=True,
    help="Only these runs. Repeatable.  [default: all that have ended]",
)  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Delete nothing: say how many runs that would be.")
@store_option
@given.debug_option
def gc(older_than: float, statuses: tuple[str, ...], dry_run: bool, store: str) -> None:
    """Delete old runs: those that ended so long ago. One that a process drives stays.

    --status running and --status waiting delete runs that could go on, by the time of their last write.
    """
    with existing(store) as opened:
        from flow.store.backend import ENDED

        gone = opened.gc(older_than, statuses or tuple(ENDED), dry_run=dry_run)
        say(f"{'to be deleted' if dry_run else 'deleted'}: {counted(gone, 'run')}")


for command in (resume, retry, recover):
    runs.add_command(command)

__all__ = ["STATUSES", "runs", "value_of"]
