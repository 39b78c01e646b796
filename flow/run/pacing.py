"""How runs share the thread of an event loop: bursts of 5 ms for all of them together."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from itertools import count
from threading import local
from time import perf_counter
from typing import Any, Final
from weakref import ref

from flow.clock import SYSTEM_CLOCK, Clock

YIELD_EVERY: Final = 0.005
"""Seconds after which a run of nodes that never suspend lets the event loop turn once."""

IDLE: Final = 0.0005
"""Seconds without any worker running after which the event loop has surely had a turn."""

TURNS: Final = 3
"""Turns of the loop in one pause: a sleeper's timer is seen in the first, its task woken in the second,
run in the third; with one turn it would sit through three bursts."""

SHORTEST: Final = 0.00002
"""Seconds of the shortest slice: below that, starting a task anew for each slice would cost more than the nodes."""

LOOKS: Final = 200
"""Looks at the clock, about one per node, in a burst of a run whose clock is not the system's."""


class Pace:
    """When the workers on one event loop must let that turn.

    One burst is shared by all runs on the loop: a hundred runs hold it no longer than one does. While runs
    rest between two bursts, each gets its part of one (processor sharing), so that a short run is not
    queued behind the bursts of long ones.

    :ivar clock: gives seconds; of a run with a clock of its own it counts looks, so that what that run does does not
        depend on the speed of the machine.
    :ivar left: when a worker last gave the thread back.
    :ivar until: when the present burst ends.
    :ivar resting: runs that wait for their next slice.
    """

    __slots__ = ("_loop", "clock", "left", "resting", "until")

    def __init__(self, loop: Any = None, clock: Callable[[], float] | None = None) -> None:
        self._loop = None if loop is None else ref(loop)
        self.clock: Callable[[], float] = perf_counter if clock is None else clock
        self.left = self.until = 0.0
        self.resting = 0

    def renew(self, now: float) -> None:
        """Begin a burst, or a slice of one if other runs wait for theirs."""
        self.until = now + (max(SHORTEST, YIELD_EVERY / (1 + self.resting)) if self.resting else YIELD_EVERY)


async def pause(pace: Pace, turn: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Let the event loop turn within a call that would hold it, once the burst is over.

    :param turn: lets it turn once.
    """
    pace.resting += 1
    try:
        for _ in range(TURNS):
            await turn()
    finally:
        pace.resting -= 1
    pace.renew(pace.clock())


_of_thread = local()


def pace_of(loop: Any, clock: Clock) -> Pace:
    """Return the pace of the event loop that this thread runs.

    :param clock: the run's; one that is not the system's has a pace of its own, which goes by count.
    """
    if clock is not SYSTEM_CLOCK:
        return Pace(clock=count(1.0, YIELD_EVERY / LOOKS).__next__)
    pace: Pace | None = getattr(_of_thread, "pace", None)
    if pace is None or pace._loop is None or pace._loop() is not loop:
        pace = _of_thread.pace = Pace(loop)
    return pace
