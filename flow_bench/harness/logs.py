"""Lines that flow logs: made, and written nowhere."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def unwritten() -> Iterator[None]:
    """Let flow's records reach no handler but one that does nothing.

    A failure costs the record that it logs. What a terminal, a file or pytest makes of that is not the engine's.
    """
    logger, nowhere = logging.getLogger("flow"), logging.NullHandler()
    before = logger.propagate
    logger.addHandler(nowhere)
    logger.propagate = False
    try:
        yield
    finally:
        logger.propagate = before
        logger.removeHandler(nowhere)
