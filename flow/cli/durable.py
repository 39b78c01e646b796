"""Durable runs on the command line: their options, their store, and how such a run goes on."""

from __future__ import annotations

import contextlib
import os
import shlex
import warnings
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar

import click
import msgspec

from flow.cli.target import TargetError
from flow.cli.terminal import tell
from flow.errors import nearest

if TYPE_CHECKING:
    from flow.store import Store

F = TypeVar("F", bound=Callable[..., Any])
VARIABLE: Final = "FLOW_STORE"
"""The environment's variable for ``--store``."""

_FLAGS: Final = {
    "run_id": "--run-id", "on_conflict": "--on-conflict", "on_change": "--on-change", "on_wait": "--on-wait",
    "durability": "--durability",
}  # fmt: skip


class Kept(msgspec.Struct, frozen=True):
    """What a command says of a durable run. None is the default of :func:`flow.run`.

    :ivar id: of the run; None makes one. :ivar said: TARGET, for messages.
    """

    store: str
    said: str
    id: str | None = None
    on_conflict: Literal["attach", "retry", "fail", "restart"] | None = None
    on_change: Literal["fail", "rerun"] = "fail"
    on_wait: Literal["block", "return"] = "block"
    durability: Literal["sync", "async", "exit"] = "async"

    def keywords(self, store: Store) -> dict[str, Any]:
        """Return what :func:`flow.run` is told."""
        return {
            "store": store, "run_id": self.id, "on_conflict": self.on_conflict, "on_change": self.on_change,
            "on_wait": self.on_wait,
        }  # fmt: skip


# -- options ---------------------------------------------------------------------------------


def _added(command: F, *options: Callable[[F], F]) -> F:
    for option in reversed(options):
        command = option(command)
    return command


def going_on_options(command: F) -> F:
    """Add ``--on-change``, ``--on-wait`` and ``--durability``."""
    return _added(
        command,
        click.option(
            "--on-change", type=click.Choice(["fail", "rerun"]),
            help="If the code of completed nodes has changed: keep their outputs, or run them again.  [default: fail]",
        ),
        click.option(
            "--on-wait", type=click.Choice(["block", "return"]),
            help="Where only signals let the run go on: wait for them, or end the command.  [default: block]",
        ),
        click.option(
            "--durability", type=click.Choice(["sync", "async", "exit"]),
            help="Store each outcome before what needs it starts, behind the run, or at its end.  [default: async]",
        ),
    )  # fmt: skip


def durable_options(command: F) -> F:
    """Add ``--store``, ``--run-id`` and all that goes with them."""
    return _added(
        command,
        click.option("--store", metavar="FILE", help="Make the run durable: what nodes return is stored in this file."),
        click.option("--run-id", metavar="ID", help="The run to go on with, or to begin, in --store or FLOW_STORE."),
        click.option(
            "--on-conflict", type=click.Choice(["attach", "retry", "fail", "restart"]),
            help="If there is a run of this id: go on with it, run again what failed, refuse, begin anew."
            "  [default: attach]",
        ),
        going_on_options,
    )  # fmt: skip


def store_option(command: F) -> F:
    """Add ``--store``, which must be given or stand in the environment."""
    return click.option(
        "--store", required=True, envvar=VARIABLE, show_envvar=True, metavar="FILE", help="The file of durable runs."
    )(command)


def kept_from(target: str, options: dict[str, Any]) -> Kept | None:
    """Return what the options of ``flow run`` say of a durable run; None if the run is not durable.

    The environment names the store of runs that are meant to be durable, and makes no other run so.

    :raises click.UsageError: for options that need a store, if there is none.
    """
    given = [flag for name, flag in _FLAGS.items() if options[name] is not None]
    store = options["store"] or (os.environ.get(VARIABLE) if given else None)
    if store:
        return kept_of(store, target, options["run_id"], options, options["on_conflict"])
    if given:
        which = f"{', '.join(given)} {'is' if len(given) == 1 else 'are'}"
        raise click.UsageError(f"{which} for durable runs: say --store FILE, or set {VARIABLE} in the environment")
    return None


def kept_of(store: str, target: str, run_id: str | None, options: dict[str, Any], on_conflict: Any = None) -> Kept:
    """Return what a command says of a run that is in a store."""
    return Kept(
        store, target, run_id, on_conflict, options["on_change"] or "fail", options["on_wait"] or "block",
        options["durability"] or "async",
    )  # fmt: skip


# -- the store -------------------------------------------------------------------------------


def opened(path: str, durability: Literal["sync", "async", "exit"] = "async") -> Store:
    """Open a store; its file is made if it is not there. :raises StoreError: if that cannot be done."""
    from flow.store import open

    return open(path, durability)


def existing(path: str) -> Store:
    """Open a store that is there. :raises TargetError: if there is none: a command that looks makes no file."""
    if os.path.isdir(path):
        raise TargetError(f"{path!r} is a folder: --store is the file of durable runs")
    if not os.path.isfile(path):
        folder, name = os.path.split(path)
        raise TargetError(f"there is no store {path!r}{nearest(name, _files_in(folder))}")
    if not os.path.getsize(path) and not os.path.exists(f"{path}-wal"):
        raise TargetError(f"{path!r} is an empty file: --store is the file of durable runs")
    return opened(path)


def _files_in(folder: str) -> list[str]:
    try:
        return [name for name in os.listdir(folder or ".") if not name.endswith(("-wal", "-shm", ".lock", ".files"))]
    except (OSError, ValueError):
        return []


# -- what is said ----------------------------------------------------------------------------


@contextlib.contextmanager
def warnings_told() -> Iterator[None]:
    """Print what the engine warns of as other messages: in one line, without a place in it."""
    before = warnings.showwarning

    def show(message: Warning | str, category: type[Warning], *rest: Any) -> None:
        text = str(message)
        if category is RuntimeWarning and text.startswith("run "):
            tell(f"Warning: {here(text)}")
        else:
            before(message, category, *rest)

    warnings.showwarning = show  # type: ignore[assignment]
    try:
        yield
    finally:
        warnings.showwarning = before


def here(text: str) -> str:
    """Return what the engine says of durable runs, with what to do on the command line."""
    text = text.replace("must be given again", "must be given again, by --input or --input-env")
    for name, flag in _FLAGS.items():
        text = text.replace(f"another {name}", f"another {flag}")
        for value in ("attach", "retry", "fail", "restart", "rerun", "return", "block"):
            text = text.replace(f"{name}={value!r}", f"{flag} {value}")
    return text


def how_to_go_on(kept: Kept, run_id: str, status: str, waiting: tuple[str, ...] = ()) -> list[str]:
    """Say how a stored run goes on, in lines; nothing if it is complete and its id is known."""
    store, target = shlex.quote(kept.store), shlex.quote(kept.said)
    resume = f"flow runs resume {run_id} {target} --store {store}"
    if status == "waiting" or waiting:
        few = ", ".join(waiting[:5]) + (f" and {len(waiting) - 5} more" if len(waiting) > 5 else "")
        node = shlex.quote(waiting[0]) if len(waiting) == 1 else "NODE"
        return [
            f"run {run_id} waits for {few or 'signals'}: flow runs send {run_id} {node} PAYLOAD --store {store}",
            f"it goes on by: {resume}",
        ]
    if status in ("failed", "cancelled"):
        what = "what failed runs again" if status == "failed" else "it was cancelled, and goes on"
        return [f"run {run_id} is stored: {what} by: flow runs retry {run_id} {target} --store {store}"]
    if status == "completed":
        return [] if kept.id is not None else [f"run {run_id} is stored in {kept.store}"]
    return [f"run {run_id} is stored, and goes on by: {resume}"]


def status_of(store: Store, run_id: str) -> str:
    """Return the status of a stored run; nothing if the store cannot tell."""
    from flow.errors import StoreError

    try:
        return store.run(run_id).status
    except StoreError:
        return ""


__all__ = [
    "VARIABLE", "Kept", "durable_options", "existing", "going_on_options", "here", "how_to_go_on",
    "kept_from", "kept_of", "opened", "status_of", "store_option", "warnings_told",
]  # fmt: skip
