"""How late the event loop is: :class:`Lag`."""

from __future__ import annotations

import asyncio
from typing import Final

EVERY: Final = 0.25
"""Seconds between two looks."""

_KEPT: Final = 60
"""Looks of which the longest delay is told: 15 s, so that a scrape sees what was between two of them."""


class Lag:
    """Measures how much later than asked a timer of the event loop fires.

    :ivar task: what measures; None before the beginning.
    """

    __slots__ = ("_latest", "task")

    def __init__(self) -> None:
        self.task: asyncio.Task[None] | None = None
        self._latest: list[float] = []

    def begin(self) -> None:
        """Measure on the running loop, until the task is cancelled."""
        self.task = asyncio.get_running_loop().create_task(self._measure())

    async def _measure(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + EVERY
            await asyncio.sleep(EVERY)
            self._latest.append(max(0.0, loop.time() - due))
            del self._latest[:-_KEPT]

    @property
    def seconds(self) -> float:
        """The longest delay of the last 15 s."""
        return max(self._latest, default=0.0)


__all__ = ["Lag"]
