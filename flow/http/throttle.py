"""How many requests one client may send: GCRA, by which a client costs one number.

The algorithm is the virtual scheduling form of the Generic Cell Rate Algorithm (ITU-T I.371, annex A; ATM Forum
Traffic Management 4.0, section 4.4.2; for requests: Brandur Leach, "Rate Limiting, Cells, and GCRA"). A client has a
theoretical arrival time. Each request that is let in moves it on by one interval; one that would move it further ahead
of now than the burst allows is refused, and moves nothing. It lets in exactly what a token bucket of ``burst`` tokens
lets in, which is filled up by one token per interval.

The header fields are those of draft-ietf-httpapi-ratelimit-headers.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from functools import lru_cache
from ipaddress import IPv6Address
from math import ceil
from typing import Any, Final

from flow.http.limits import Rate

SLACK: Final = 0.001
"""Part of an interval by which a request may come early: times of floats are not exact, and clients wait as told."""


class Throttle:
    """Lets each client send requests at a rate.

    :param clock: seconds, as :func:`time.monotonic`.
    :param most: clients that are known at once, at least 1; one of them takes about 200 bytes. When all are in use, the
        one whose last request is the longest ago is forgotten, which lets it have its burst once more.
    """

    __slots__ = ("_ahead", "_arrivals", "_burst", "_clock", "_interval", "_most", "_policy", "_slack")

    def __init__(self, rate: Rate, clock: Callable[[], float] = time.monotonic, most: int = 100_000) -> None:
        self._burst = rate.count if rate.burst is None else rate.burst
        self._interval = rate.seconds / rate.count
        self._slack = self._interval * SLACK
        self._ahead = (self._burst - 1) * self._interval + self._slack
        self._clock = clock
        self._most = max(1, most)
        self._policy = f'"default";q={rate.count};w={ceil(rate.seconds)}'.encode()
        self._arrivals: OrderedDict[str, float] = OrderedDict()
        """By client, its theoretical arrival time; the one let in last is the last."""

    def __len__(self) -> int:
        return len(self._arrivals)

    def take(self, who: str) -> float:
        """Count a request of ``who``, and return 0.0 if it is let in, else the seconds until it would be. O(1)."""
        now = self._clock()
        arrivals = self._arrivals
        arrival = arrivals.get(who)
        if arrival is None:
            self._make_room(now)
            arrivals[who] = now + self._interval
            return 0.0
        ahead = arrival - now
        if ahead > self._ahead:
            return ahead - self._ahead + self._slack
        arrivals[who] = (arrival if ahead > 0.0 else now) + self._interval
        arrivals.move_to_end(who)
        return 0.0

    def _make_room(self, now: float) -> None:
        """Forget up to two of the oldest whose time has passed, and one more if there is no room. O(1)."""
        arrivals = self._arrivals
        for _ in range(2):
            if not arrivals or arrivals[next(iter(arrivals))] > now:
                break
            arrivals.popitem(last=False)
        if len(arrivals) >= self._most:
            arrivals.popitem(last=False)

    def headers(self, who: str, wait: float = 0.0) -> list[tuple[bytes, bytes]]:
        """Return the header fields that tell ``who`` what is left: requests, and seconds until there is one more. O(1).

        :param wait: what :meth:`take` has returned; if that is not 0.0, ``Retry-After`` says it in whole seconds.
        """
        ahead = max(0.0, self._arrivals.get(who, 0.0) - self._clock())
        used = ceil((ahead - self._slack) / self._interval)
        more = ceil(ahead - (used - 1) * self._interval - self._slack) if used > 0 else 0
        left = f'"default";r={max(0, self._burst - used)};t={more}'
        found = [(b"ratelimit-policy", self._policy), (b"ratelimit", left.encode())]
        if wait > 0.0:
            found.append((b"retry-after", b"%d" % max(1, ceil(wait - self._slack))))
        return found


def address_of(scope: Mapping[str, Any]) -> str:
    """Return by what a client without a key is told from others: its address; of IPv6 the /64 that one site has.

    Empty if there is none, as on a Unix socket. It is the address of the peer: no header that a client can write.
    """
    client = scope.get("client")
    host = client[0] if client else None
    if not isinstance(host, str):
        return ""
    return _network_of(host) if ":" in host else host


@lru_cache(4096)
def _network_of(host: str) -> str:
    try:
        address = IPv6Address(host.partition("%")[0])
    except ValueError:
        return host
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return f"{IPv6Address(int(address) >> 64 << 64)}/64"


__all__ = ["Throttle", "address_of"]
