"""Whether what is called on the event loop may hold it: :class:`Pace`."""

from __future__ import annotations

from typing import Final

QUICK: Final = 1e-3
"""Seconds that a call may hold the event loop as a rule."""

SLOW: Final = 20e-3
"""Seconds that no call may hold it. What lies between is often the machine's doing: another process has the core."""

_STRIKES: Final = 32
_STRIKE: Final = 8
_MOST: Final = 4_096
"""Quick calls that are asked for in threads, at the most, before a call is made on the event loop again."""


class Pace:
    """Decides from what calls took whether the next one is made on the event loop, or in a thread.

    It begins in threads. After one quick call (below 1 ms) it is the event loop's. It is a thread's again after one
    call of 20 ms, and when more than every ninth takes over 1 ms. Each such change makes the way back eight times as
    long, up to 4,096 quick calls: what is slow at times is slow at once, and nobody can tell when. Many quick calls on
    the event loop shorten it again.

    :param most: seconds that a quick call takes; 0 keeps all calls in threads.
    :ivar quick: the next call may be made on the event loop.
    """

    __slots__ = ("_left", "_most", "_strikes", "_wanted", "quick")

    def __init__(self, most: float = QUICK) -> None:
        self._most = most
        self.quick = False
        self._wanted = self._left = 1
        self._strikes = 0

    def took(self, seconds: float) -> None:
        """Note what a call took. O(1)."""
        if self.quick:
            self._took_here(seconds)
        elif seconds < self._most:
            self._left -= 1
            if self._left <= 0:
                self.quick, self._strikes, self._left = True, 0, 8 * self._wanted
        elif seconds >= SLOW:
            self._left = self._wanted

    def _took_here(self, seconds: float) -> None:
        if seconds < self._most:
            if self._strikes:
                self._strikes -= 1
            self._left -= 1
            if self._left <= 0:
                self._wanted = max(1, self._wanted // 2)
                self._left = 8 * self._wanted
            return
        self._strikes += _STRIKE
        if seconds >= SLOW or self._strikes > _STRIKES:
            self.quick = False
            self._wanted = self._left = min(_MOST, self._wanted * 8)


__all__ = ["QUICK", "SLOW", "Pace"]
