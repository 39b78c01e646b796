"""How much is let in per minute: :class:`Meter`. Arithmetic alone: no clock, no lock.

Two rules hold at once. GCRA (the virtual scheduling form of ITU-T I.371, annex A) spreads what is let in evenly, after
a burst. And what was let in is kept for a minute, so that no minute, wherever it begins, has more than the limit in it:
GCRA by itself lets in a burst more than that. Amounts of up to 2 % of the limit use all of it but 2 %; where some are
large, a minute has room left that the next one does not fit into.
"""

from __future__ import annotations

from collections import deque
from typing import Final

MINUTE: Final = 60.0

BURST: Final = 10.0
"""Seconds whose share of the limit may be let in at once, after a pause of as long."""

_PARTS: Final = 256  # of a minute: what was let in within one of them is one slot, as of the last of it
_SLACK: Final = 1e-9  # seconds: times of floats are not exact


class Slot:
    """What was let in within a moment. ``over``: a minute ago."""

    __slots__ = ("amount", "at", "began", "over")

    def __init__(self, at: float) -> None:
        self.began = self.at = at
        self.amount = 0.0
        self.over = False


class Meter:
    """Lets in ``limit`` per minute: requests, or tokens. What is more than a burst is let in after a pause.

    Times are in seconds by any clock, and do not go back.
    """

    __slots__ = ("_arrival", "_slots", "limit", "total")

    def __init__(self, limit: float) -> None:
        self.limit = float(limit)
        self.total = 0.0  # of the last minute
        self._arrival = 0.0  # the theoretical arrival time
        self._slots: deque[Slot] = deque()

    @property
    def _interval(self) -> float:
        return MINUTE / self.limit

    @property
    def _burst(self) -> float:
        return max(1.0, self.limit * BURST / MINUTE)

    def wait(self, amount: float, now: float) -> float:
        """Return in how many seconds this amount may be let in; 0.0 is now. O(1), at most 257 steps."""
        self.forget(now)
        ahead = self._arrival - max(0.0, self._burst - amount) * self._interval - now
        surplus = self.total + amount - self.limit
        at = now
        for slot in self._slots if surplus > 0.0 else ():  # more than a whole limit goes alone
            at, surplus = slot.at + MINUTE, surplus - slot.amount
            if surplus <= 0.0:
                break
        found = max(ahead, at - now)
        return found if found > _SLACK else 0.0

    def take(self, amount: float, now: float) -> Slot:
        """Let an amount in. O(1)."""
        self._arrival = max(self._arrival, now) + amount * self._interval
        slots = self._slots
        if not slots or now - slots[-1].began >= MINUTE / _PARTS:
            slots.append(Slot(now))
        slot = slots[-1]
        slot.at = max(slot.at, now)
        self._count(slot, amount)
        return slot

    def correct(self, slot: Slot, by: float) -> None:
        """What was let in was so much more, or less: of its minute too, if that is not over. O(1)."""
        self._arrival += by * self._interval
        if not slot.over:
            self._count(slot, max(by, -slot.amount))

    def _count(self, slot: Slot, amount: float) -> None:
        slot.amount += amount
        self.total += amount

    def forget(self, now: float) -> None:
        """Forget what is a minute old. O(1) amortised."""
        slots = self._slots
        while slots and slots[0].at + MINUTE <= now + _SLACK:
            slot = slots.popleft()
            self.total = self.total - slot.amount if slots else 0.0
            slot.over = True

    def cap(self, left: float, now: float) -> None:
        """Somebody who knows says that no more than ``left`` may be let in now. O(1)."""
        self._arrival = max(self._arrival, now + max(0.0, self._burst - max(0.0, left)) * self._interval)

    def change(self, limit: float, now: float) -> None:
        """Let in this much per minute from now on. O(1)."""
        debt = (self._arrival - now) / self._interval
        self.limit = limit
        self._arrival = now + debt * self._interval

    def shift(self, by: float) -> None:
        """Go on by a clock that shows so much more. O(1), at most 257 steps."""
        self._arrival += by
        for slot in self._slots:
            slot.began += by
            slot.at += by


__all__ = ["BURST", "MINUTE", "Meter", "Slot"]
