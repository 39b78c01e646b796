"""For tests of code that uses `flow`: time that passes without waiting."""

from __future__ import annotations

from heapq import heapify, heappush


class FakeClock:
    """A :class:`flow.Clock` whose sleeping returns at once and moves its own time instead.

    >>> clock = FakeClock()
    >>> config = flow.Config(clock=clock)           # retry delays cost nothing now
    >>> flow.run(dag, config=config); clock.slept   # the delays, in order
    [0.1, 0.2]

    On an event loop, sleepers wake in the order of their due times, once nothing else has been
    runnable for some turns of the loop. Time limits there are the event loop's own and stay real;
    those of runs without a loop go by this clock.

    :ivar slept: every delay asked for, in seconds, in order.
    """

    IDLE_TURNS = 8
    """Turns of the event loop a sleeper waits for others to start sleeping before time moves."""

    def __init__(self, start: float = 0.0) -> None:
        self.time = start
        self.slept: list[float] = []
        self._due: list[tuple[float, int]] = []

    def now(self) -> float:
        """Return the present fake time."""
        return self.time

    def sleep(self, seconds: float) -> None:
        """Move time by ``seconds``."""
        self.slept.append(seconds)
        self.time += seconds

    async def wait(self, seconds: float) -> None:
        """Suspend until fake time has moved by ``seconds``."""
        from anyio.lowlevel import checkpoint

        self.slept.append(seconds)
        mine = (self.time + seconds, len(self.slept))
        heappush(self._due, mine)
        try:
            while True:
                for _ in range(self.IDLE_TURNS):
                    await checkpoint()
                if self._due[0] == mine:
                    self.time = max(self.time, mine[0])
                    return
        finally:
            self._due.remove(mine)
            heapify(self._due)
