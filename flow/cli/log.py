"""The option ``--log``: the events of a run on standard error. Without it, failures stand only in the report."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import click

import flow
from flow.cli.terminal import tell
from flow.logs import ACTIONS, NAME, place_of
from flow.run.events import RunFinished, RunStarted

LEVELS: Final = ("debug", "info", "warning")
DEFAULT: Final = "info"


class Logged(click.Command):
    """A command whose option ``--log`` may stand without a level, at any place."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Give ``--log`` its level where none follows."""
        words = list(args)
        ends = words.index("--") if "--" in words else len(words)
        for at in range(ends):
            if words[at] == "--log" and (at + 1 == ends or words[at + 1].lower() not in LEVELS):
                words[at] = f"--log={DEFAULT}"
        return super().parse_args(ctx, words)


class _Lines(logging.Handler):
    """Prints each record as one line."""

    def emit(self, record: logging.LogRecord) -> None:
        tell(self.format(record))


class _Said(logging.Formatter):
    """Writes what the action ``log`` says as the other lines: with its run and node."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        """Put run and node before the message."""
        run, node, item = (getattr(record, f"flow_{name}", None) for name in ("run", "node", "item"))
        if record.name == ACTIONS and run is not None and node is not None:
            record.message = f"run {run}: {place_of(node, item)}: {record.message}"
        return super().formatMessage(record)


def _lines(kind: type[logging.Formatter] = logging.Formatter) -> logging.Handler:
    lines = _Lines()
    lines.setFormatter(kind("{asctime}.{msecs:03.0f} {levelname:<7} {message}", "%H:%M:%S", style="{"))
    return lines


def observers_of(level: str | None) -> Sequence[Callable[[Any], object]]:
    """Return the observer that ``--log`` asks for. Its logger is its own: the user's logging is not changed."""
    if level is None:
        return ()
    logger = logging.Logger(NAME, level.upper())
    logger.addHandler(_lines())
    return (flow.observe.logging(logger),)


@contextmanager
def reported(level: str | None = None) -> Iterator[None]:
    """Leave out warnings of failures, which the report repeats, unless the user's code has configured logging.

    :param level: of ``--log``. What the action ``log`` says is printed then, from this level on.
    """
    logger, said = logging.getLogger(NAME), logging.getLogger(ACTIONS)
    before = said.level

    def wanted(record: logging.LogRecord) -> bool:
        return record.levelno >= logging.ERROR or logger.hasHandlers()

    lines = None if level is None else _lines(_Said)
    if lines is not None and level is not None:
        lines.setLevel(level.upper())
        said.addHandler(lines)
        said.setLevel(min(lines.level, said.getEffectiveLevel()))
    logger.addFilter(wanted)
    try:
        yield
    finally:
        logger.removeFilter(wanted)
        if lines is not None:
            said.removeHandler(lines)
            said.setLevel(before)


def observers_of_service(level: str | None) -> Sequence[Callable[[Any], object]]:
    """Return the observers of the runs of a service: at ``info`` their begins and ends, at ``debug`` all events.

    They log to the logger ``flow``: see :func:`served`.
    """
    if level not in ("info", "debug"):
        return ()
    every = flow.observe.logging()
    if level == "debug":
        return (every,)
    return (lambda event: every(event) if isinstance(event, (RunStarted, RunFinished)) else None,)


@contextmanager
def served(level: str | None) -> Iterator[None]:
    """Print what a service logs, with times: warnings and errors, and from the level of ``--log`` on what it says.

    Where the user's code has configured logging, its handlers get that instead.
    """
    logger = logging.getLogger(NAME)
    before, lines = logger.level, _lines(_Said)
    lines.setLevel(logging.WARNING if level is None else level.upper())
    lines.addFilter(lambda _: not logging.getLogger().handlers and logger.handlers == [lines])
    logger.addHandler(lines)
    if level is not None:
        logger.setLevel(min(lines.level, logger.getEffectiveLevel()))
    try:
        yield
    finally:
        logger.removeHandler(lines)
        logger.setLevel(before)
