"""The one logger of this package, ``flow``, and what its records have: see :mod:`flow.run.log`."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any, Final

from flow.errors import described, printable

NAME: Final = "flow"
"""The logger's name."""


SILENT: Final = ContextVar("flow_silent", default=False)
"""True where runs log no failure: they are trials, and many."""


def fields(
    event: str | None = None,
    run: str | None = None,
    node: str | None = None,
    item: int | None = None,
    attempt: int | None = None,
) -> dict[str, Any]:
    """Return a record's ``extra``: all of it for every record, so that a format may name it.

    (No attribute of a LogRecord begins like these.)
    """
    return {"flow_event": event, "flow_run": run, "flow_node": node, "flow_item": item, "flow_attempt": attempt}


def place_of(node: str, item: int | None, path: tuple[str, ...] = ()) -> str:
    """Name a node or an item for a message: ``outer/node[3]``."""
    return "/".join((*path, node)) + ("" if item is None else f"[{item}]")


def reason_of(error: BaseException) -> str:
    """Say in one line of plain characters what was raised."""
    return printable(described(error))


def log_broken(
    text: str, *arguments: object, error: BaseException | bool = True, run: str | None = None, node: str | None = None
) -> None:
    """Log, at ERROR and with its traceback, what was raised where nothing fails for it: by an observer, say.

    :param error: by default, the exception that is being handled.
    """
    import logging  # here: no cost where nothing fails

    logging.getLogger(NAME).error(text, *arguments, exc_info=error, extra=fields(None, run, node))
