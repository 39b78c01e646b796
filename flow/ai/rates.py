"""How many requests and tokens a provider is sent per minute, and how many at once: :class:`RateLimiter`."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from math import inf, isfinite
from threading import Lock
from typing import Final

import msgspec

from flow.ai.errors import LimitExceeded
from flow.ai.meter import Meter, Slot
from flow.ai.turns import Waiter
from flow.clock import SYSTEM_CLOCK, Clock
from flow.config.fields import is_int, is_number
from flow.data.context import Context
from flow.errors import ConfigError, UsageError, shown
from flow.types import NAME_RULE, is_name

RETRY_AFTER: Final = 1.0
"""Seconds for which nobody is let in after a refusal that does not say how long."""


MOST_MINUTES: Final = 5
"""Minutes' limits of tokens that one call counts at most: what a provider says of it may be wrong."""


LOOK_SECONDS: Final = 1.0
"""How often those who wait behind another event loop look whether it is still there: it may end without a word."""


class RateStatistics(msgspec.Struct, frozen=True):
    """What a :class:`RateLimiter` has let in.

    :ivar waiting: calls that wait to be let in. :ivar in_flight: that are in. :ivar let_in: all so far.
    :ivar refused: how often the provider has said that it was too much all the same.
    :ivar requests: in the last minute. :ivar tokens: likewise, as estimated, or as the provider has said.
    :ivar held_for: seconds for which nobody is let in, as the provider has asked for.
    """

    waiting: int
    in_flight: int
    let_in: int
    refused: int
    requests: float
    tokens: float
    held_for: float


class RateLimiter:
    """Lets calls to a provider in at a rate. Make one for each key of a provider, and share it.

    >>> limiter = flow.ai.RateLimiter(requests_per_minute=500, tokens_per_minute=200_000, concurrency=20)

    No minute, wherever it begins, has more requests or tokens in it. After a pause a sixth of a minute's share goes at
    once, the rest evenly. Who comes first goes first: a large request does not wait behind small ones for ever. Who
    waits holds no slot of its run.

    Tokens are those that are estimated before a call; they are corrected by what it has taken, and by what the provider
    says is left. After a refusal (429) nobody is let in until the time that it names. Any number of runs, threads and
    event loops may share a limiter; processes do not.

    :param requests_per_minute: None is as many as come; ``tokens_per_minute`` likewise.
    :param concurrency: calls at once; None is as many as come. :param name: for messages.
    :raises ConfigError: listing every setting that is out of range.
    """

    def __init__(
        self,
        requests_per_minute: int | None = None,
        tokens_per_minute: int | None = None,
        concurrency: int | None = None,
        name: str | None = None,
    ) -> None:
        given = {
            "requests_per_minute": requests_per_minute,
            "tokens_per_minute": tokens_per_minute,
            "concurrency": concurrency,
        }
        faults = [
            f"{setting} must be an integer of at least 1, or None, not {shown(value)}"
            for setting, value in given.items()
            if value is not None and (not is_int(value) or value < 1)
        ]
        if all(value is None for value in given.values()):
            faults.append(f"it limits nothing: give {', '.join(given)}, or some of these")
        if name is not None and not is_name(name):
            faults.append(f"name {shown(name)} is refused: {NAME_RULE}")
        if faults:
            raise ConfigError("RateLimiter", faults)
        self.name = name
        self._requests = None if requests_per_minute is None else Meter(requests_per_minute)
        self._tokens = None if tokens_per_minute is None else Meter(tokens_per_minute)
        self._given = (requests_per_minute, tokens_per_minute)
        self._concurrency = concurrency
        self._lock = Lock()
        self._queue: deque[Waiter] = deque()
        self._clock: Clock | None = None
        self._not_before = -inf
        self._in_flight = self._let_in = self._refused = 0

    def statistics(self) -> RateStatistics:
        """Return what it has let in, and who waits."""
        with self._lock:
            now = 0.0 if self._clock is None else self._clock.now()
            sums = []
            for meter in (self._requests, self._tokens):
                if meter is not None:
                    meter.forget(now)
                sums.append(0.0 if meter is None else meter.total)
            held = max(0.0, self._not_before - now)
            return RateStatistics(
                len(self._queue), self._in_flight, self._let_in, self._refused, sums[0], sums[1], held
            )

    @property
    def tokens_per_minute(self) -> int | None:
        """The most tokens of a minute, as given."""
        return self._given[1]

    # -- what :func:`enter` asks -------------------------------------------------------------

    async def enter(self, ctx: Context, tokens: int) -> Entered:
        """Wait until a call of so many tokens is let in. :meth:`leave` follows. (:func:`enter` does both.)"""
        most = self._given[1]
        if most is not None and tokens > most:
            called = "the rate limiter" if self.name is None else f"rate limiter {self.name!r}"
            raise LimitExceeded(
                f"a request of node {ctx.node!r} may take {tokens:,} tokens, and {called} lets in {most:,} per minute: "
                "it would never be let in. Lower max_output_tokens, shorten the request, or raise tokens_per_minute"
            )
        clock = ctx._scope.shared.clock
        with self._lock:
            now = self._now(clock)
            self._forget_the_gone()
            if not self._queue and self._seconds(tokens, now) <= 0.0:
                return self._take(tokens, now)
            waiter = Waiter(tokens)
            waiter.prepare()
            self._queue.append(waiter)
        try:
            async with ctx.released():
                await self._turn(waiter, clock)
        except BaseException:
            self._give_up(waiter)
            raise
        entered: Entered = waiter.entered
        return entered

    async def _turn(self, waiter: Waiter, clock: Clock) -> None:
        """Wait for one's turn, and take it. The first in the queue waits for its time, the others for theirs."""
        while True:
            with self._lock:
                waiter.prepare()
                self._forget_the_gone()
                seconds: float | None = None
                by = clock
                if self._queue[0].loop is not waiter.loop:
                    seconds, by = LOOK_SECONDS, SYSTEM_CLOCK
                elif self._queue[0] is waiter:
                    now = self._now(clock)
                    seconds = self._seconds(waiter.tokens, now)
                    if seconds <= 0.0:
                        self._queue.popleft()
                        waiter.entered = self._take(waiter.tokens, now)
                        self._call_next()
                        return
            await waiter.wait(None if seconds == inf else seconds, by)

    def _give_up(self, waiter: Waiter) -> None:
        if waiter.entered is not None:  # it has been let in, and makes no call
            self.leave(waiter.entered)
            return
        with self._lock:
            if waiter in self._queue:
                self._queue.remove(waiter)
            self._call_next()

    def _seconds(self, tokens: int, now: float) -> float:
        """In how many seconds the next call may be let in; infinite if another one has to leave first."""
        if self._concurrency is not None and self._in_flight >= self._concurrency:
            return inf
        found = max(0.0, self._not_before - now)
        if self._requests is not None:
            found = max(found, self._requests.wait(1, now))
        if self._tokens is not None and tokens:
            found = max(found, self._tokens.wait(tokens, now))
        return found

    def _take(self, tokens: int, now: float) -> Entered:
        self._in_flight += 1
        self._let_in += 1
        request = None if self._requests is None else self._requests.take(1, now)
        return Entered(self, tokens, request, None if self._tokens is None else self._tokens.take(tokens, now))

    def _call_next(self) -> None:
        """Let the first in the queue look again. Those whose event loop has ended are forgotten."""
        while self._queue and not self._queue[0].wake():
            self._queue.popleft()

    def _forget_the_gone(self) -> None:
        """Forget who is first in the queue if its event loop has ended, and let the next one look."""
        if self._queue and self._queue[0].is_gone:
            self._queue.popleft()
            self._call_next()

    def _now(self, clock: Clock) -> float:
        """The time by this clock. Another one than before goes on where that one is."""
        now = clock.now()
        if clock is not self._clock:
            by = 0.0 if self._clock is None else now - self._clock.now()
            self._clock = clock
            self._not_before += by
            for meter in (self._requests, self._tokens):
                if meter is not None:
                    meter.shift(by)
        return now

    # -- what :class:`Entered` says ----------------------------------------------------------

    def leave(self, entered: Entered) -> None:
        """A call has ended. One that was not settled was not made: it takes nothing."""
        with self._lock:
            self._in_flight -= 1
            if not entered.settled:
                self._correct(entered, -1, -entered.tokens)
            self._call_next()

    def settle(self, entered: Entered, tokens: int, headroom: Mapping[str, float] | None) -> None:
        """A call has taken so many tokens, and the provider has said how much it takes now."""
        with self._lock:
            most = tokens if self._given[1] is None else MOST_MINUTES * self._given[1]
            self._correct(entered, 0, max(0, min(tokens, most)) - entered.tokens)
            if headroom and self._clock is not None:
                now = self._clock.now()
                for kind, meter, given in zip(
                    ("requests", "tokens"), (self._requests, self._tokens), self._given, strict=True
                ):
                    if meter is not None and given is not None:
                        _hear(meter, given, headroom.get(f"{kind}_limit"), headroom.get(kind), now)
            self._call_next()

    def refuse(self, entered: Entered, retry_after: float | None) -> None:
        """The provider has refused a call: nobody is let in for a while, and then evenly."""
        seconds = RETRY_AFTER if retry_after is None or not isfinite(retry_after) else max(0.0, retry_after)
        with self._lock:
            self._refused += 1
            assert self._clock is not None
            until = self._clock.now() + seconds
            self._not_before = max(self._not_before, until)
            if self._requests is not None:
                self._requests.cap(1, until)
            if self._tokens is not None:
                self._tokens.cap(entered.tokens, until)

    def _correct(self, entered: Entered, requests: int, tokens: int) -> None:
        if self._requests is not None and entered.request is not None and requests:
            self._requests.correct(entered.request, requests)
        if self._tokens is not None and entered.slot is not None and tokens:
            self._tokens.correct(entered.slot, tokens)

    def __repr__(self) -> str:
        given = {"name": self.name, "concurrency": self._concurrency}
        given["requests_per_minute"], given["tokens_per_minute"] = self._given
        return f"RateLimiter({', '.join(f'{name}={value!r}' for name, value in given.items() if value is not None)})"


def _hear(meter: Meter, given: int, limit: float | None, left: float | None, now: float) -> None:
    """Take what a provider says of one rate. It may lower ours, and does not raise it."""
    if is_number(limit) and limit is not None and limit >= 1:
        most = min(float(given), limit)
        if most != meter.limit:
            meter.change(most, now)
    if is_number(left) and left is not None:
        meter.cap(left, now)


class Entered:
    """A call that was let in.

    :ivar tokens: that it was let in with. :ivar settled: it was made. :ivar request: where it is counted, and its
        tokens' ``slot``.
    """

    __slots__ = ("_limiter", "request", "settled", "slot", "tokens")

    def __init__(self, limiter: RateLimiter | None, tokens: int, request: Slot | None, slot: Slot | None) -> None:
        self._limiter = limiter
        self.tokens = tokens
        self.request = request
        self.slot = slot
        self.settled = False

    def settle(self, tokens_used: int, headroom: Mapping[str, float] | None = None) -> None:
        """Say what the call has taken, and what the provider says is left (:meth:`flow.ai.Provider.headroom`).

        :raises UsageError: if it was said before.
        """
        if self.settled:
            raise UsageError("a call is settled once: this one has been")
        self.settled = True
        if self._limiter is not None:
            self._limiter.settle(self, tokens_used, headroom)

    def refused(self, retry_after: float | None = None) -> None:
        """Say that the provider has refused the call for its rate: nobody is let in for so many seconds."""
        if self._limiter is not None:
            self._limiter.refuse(self, retry_after)


@asynccontextmanager
async def enter(ctx: Context, limiter: RateLimiter | None, tokens: int) -> AsyncIterator[Entered]:
    """Wait until a call is let in, and let it be there for the time of a block. While it waits it holds no slot.

    The call is made in the block, and settled in it: ``entered.settle(tokens_used, headroom)``. A block that ends
    without that, in any way, has certainly made no call.

    :param limiter: None lets in at once. :param tokens: that the call may take at most.
    :raises LimitExceeded: if that is more than the limiter ever lets in.
    """
    if limiter is None:
        yield Entered(None, tokens, None, None)
        return
    entered = await limiter.enter(ctx, tokens)
    try:
        yield entered
    finally:
        limiter.leave(entered)


__all__ = ["Entered", "RateLimiter", "RateStatistics", "enter"]
