"""Actions that need nothing but this package: ``json``, ``json.parse``, ``sleep``, ``log``, ``fail``."""

from __future__ import annotations

from typing import Any, Final, Literal, NoReturn

import msgspec

from flow.clock import SYSTEM_CLOCK
from flow.config.fields import is_number
from flow.data.context import Context
from flow.errors import ActionFailed, described, printable, shown
from flow.logs import ACTIONS, fields

LEVELS: Final = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}

Level = Literal["debug", "info", "warning", "error", "critical"]


def json(value: Any, indent: int = 0, sort_keys: bool = False) -> str:
    """Write a value as JSON text.

    Dates, UUIDs, enums, dataclasses, Structs and sets have a form in JSON; NaN and infinity are ``null``. O(size).

    :param indent: blanks per level; 0 writes one line.
    :param sort_keys: the keys of dicts in order, so that equal values have equal texts.
    :raises ActionFailed: for a value that JSON has no form for.
    """
    try:
        text = msgspec.json.encode(value, order="sorted" if sort_keys else None)
        return (msgspec.json.format(text, indent=indent) if indent > 0 else text).decode()
    except Exception as error:  # also of the user's objects, and too deep a nesting
        raise ActionFailed(f"json: the value cannot be written: {described(error)}", "json") from error


def parse_json(text: str | bytes) -> Any:
    """Read JSON text. O(size).

    :raises ActionFailed: if it is no JSON.
    """
    try:
        return msgspec.json.decode(text)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise ActionFailed(f"json.parse: the text is no JSON: {described(error)}", "json.parse") from error


async def sleep(seconds: float, ctx: Context | None = None) -> None:
    """Wait, by the clock of the run. A cancelled run ends it at once.

    The node counts as running, and holds its slot under ``limit``; a ``timer`` node waits without.

    :param seconds: a finite number of at least 0.
    :param ctx: given by the engine; without, the clock of the machine counts.
    :raises ActionFailed: for another number of seconds.
    """
    if not is_number(seconds) or seconds < 0:
        raise ActionFailed("sleep: seconds must be a finite number of at least 0", "sleep")
    clock = SYSTEM_CLOCK if ctx is None else ctx._scope.shared.clock
    await clock.wait(seconds)


def log(message: str, level: Level = "info", data: Any = None, ctx: Context | None = None) -> None:
    """Log a line at the logger ``flow.actions``.

    Control characters in it are escaped: one call is one line. Secret run inputs are masked.

    :param level: ``debug``, ``info``, ``warning``, ``error`` or ``critical``.
    :param data: a value that follows the message as JSON, and is the record's ``flow_data``.
    :param ctx: given by the engine: the record has ``flow_run``, ``flow_node``, ``flow_item`` and ``flow_attempt``.
    :raises ActionFailed: for another level, or for data that JSON has no form for.
    """
    import logging  # here: no cost for programs that log nothing

    if level not in LEVELS:
        raise ActionFailed(f"log: level is one of {', '.join(LEVELS)}, not {shown(level)}", "log")
    extra = fields() if ctx is None else fields(None, ctx.run_id, ctx.node, ctx.index, ctx.attempt)
    masks = None if ctx is None else getattr(ctx._scope.shared, "masks", None)
    if masks is not None:
        message, data = masks.text(message), masks.value(data)
    extra["flow_data"] = data
    text = printable(message) if data is None else f"{printable(message)} {json(data)}"
    logging.getLogger(ACTIONS).log(LEVELS[level], "%s", text, extra=extra)


def fail(message: str, data: Any = None) -> NoReturn:
    """Fail the node.

    :param message: the text of the error. :param data: what the error has as ``.data``.
    :raises ActionFailed: always.
    """
    raise ActionFailed(message, "fail", data)
