"""The option ``--log``: the events of a run on standard error. Without it, failures stand only in the report."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import click

import flow
from flow.cli.terminal import tell
from flow.logs import NAME

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


def observers_of(level: str | None) -> Sequence[Callable[[Any], object]]:
    """Return the observer that ``--log`` asks for. Its logger is its own: the user's logging is not changed."""
    if level is None:
        return ()
    logger = logging.Logger(NAME, level.upper())
    lines = _Lines()
    lines.setFormatter(logging.Formatter("{asctime}.{msecs:03.0f} {levelname:<7} {message}", "%H:%M:%S", style="{"))
    logger.addHandler(lines)
    return (flow.observe.logging(logger),)


@contextmanager
def reported() -> Iterator[None]:
    """Leave out warnings of failures, which the report repeats, unless the user's code has configured logging."""
    logger = logging.getLogger(NAME)

    def wanted(record: logging.LogRecord) -> bool:
        return record.levelno >= logging.ERROR or logger.hasHandlers()

    logger.addFilter(wanted)
    try:
        yield
    finally:
        logger.removeFilter(wanted)
