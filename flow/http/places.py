"""How many runs go on at once, and how many wait for that: :class:`Places`."""

from __future__ import annotations

import asyncio
from collections import deque

from flow.http.problems import Problem

RETRY_AFTER = b"1"


class Places:
    """``most`` runs go on at once, and up to ``queue`` wait for a place, first come, first served.

    All methods are for the thread of the event loop.

    :ivar taken: places that runs have now; a run that comes back from a rest may have one above the most.
    """

    __slots__ = ("_coming", "_most", "_queue", "_waiting", "taken")

    def __init__(self, most: int, queue: int) -> None:
        self._most = most
        self._queue = queue
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._coming = 0  # runs that have been let in, and whose tasks have not begun yet
        self.taken = 0

    @property
    def queued(self) -> int:
        """Runs that wait for a place."""
        return len(self._waiting)

    @property
    def free(self) -> int:
        """Places that a run would get at once."""
        return max(0, self._most - self.taken - len(self._waiting) - self._coming)

    def check(self) -> None:
        """Let a run in whose task is made at once: it calls :meth:`enter` in its first step.

        :raises Problem: 503 if all places are taken and the queue is full.
        """
        free = max(0, self._most - self.taken)
        if self._coming >= free + self._queue - len(self._waiting):
            detail = f"{self._most:,} runs go on and {self._queue:,} wait: come again later"
            raise Problem(503, "Too many runs", detail, headers=[(b"retry-after", RETRY_AFTER)])
        self._coming += 1
        asyncio.get_running_loop().call_soon(self._come)  # which comes just before the first step of the task

    def _come(self) -> None:
        self._coming -= 1

    async def enter(self) -> None:
        """Take a place, once there is one. A cancellation leaves the queue."""
        if self.taken < self._most and not self._waiting:
            self.taken += 1
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        try:
            await future
        except asyncio.CancelledError:
            if not future.cancelled():  # the place has come meanwhile
                self.leave()
            elif future in self._waiting:  # else who left has passed it over already
                self._waiting.remove(future)
            raise

    def leave(self) -> None:
        """Give a place back."""
        self.taken -= 1
        self._let_in()

    def return_from_rest(self) -> None:
        """Take a place again at once: what has rested is not to wait behind new runs."""
        self.taken += 1

    def _let_in(self) -> None:
        while self._waiting and self.taken < self._most:
            future = self._waiting.popleft()
            if not future.done():
                self.taken += 1
                future.set_result(None)


__all__ = ["Places"]
