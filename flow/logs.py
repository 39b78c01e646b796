"""The logger ``flow`` of this package, and the fields of its records: see :mod:`flow.run.log`."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any, Final

from flow.errors import described, printable

NAME: Final = "flow"
"""The name of the logger."""

ACTIONS: Final = "flow.actions"
"""The name of the logger of the action ``log``."""

SILENT: Final = ContextVar("flow_silent", default=False)
"""True where runs log no failures: in trials, of which there are many."""


def fields(
    event: str | None = None,
    run: str | None = None,
    node: str | None = None,
    item: int | None = None,
    attempt: int | None = None,
) -> dict[str, Any]:
    """Return the ``extra`` of a record. Every record has all fields, so that any format may name them.

    (No attribute of a LogRecord begins with ``flow_``.)
    """
    return {"flow_event": event, "flow_run": run, "flow_node": node, "flow_item": item, "flow_attempt": attempt}


def place_of(node: str, item: int | None, path: tuple[str, ...] = ()) -> str:
    """Name a node or an item for a message: ``outer/node[3]``."""
    return "/".join((*path, node)) + ("" if item is None else f"[{item}]")


def reason_of(error: BaseException) -> str:
    """Describe an exception in one line of printable characters."""
    return printable(described(error))


def log_broken(
    text: str, *arguments: object, error: BaseException | bool = True, run: str | None = None, node: str | None = None
) -> None:
    """Log an exception that fails nothing (of an observer, for example) at ERROR, with its traceback.

    :param error: the exception; by default the one that is being handled.
    """
    import logging  # here: no cost where nothing fails

    logging.getLogger(NAME).error(text, *arguments, exc_info=error, extra=fields(None, run, node))
