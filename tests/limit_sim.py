"""Limits that adapt, on a simulated backend: no clock, no event loop, the same figures each time.

``python tests/limit_sim.py [CALLS]`` prints what each algorithm takes beside the best fixed limit. A backend's law is
the factor by which calls take longer with so many in flight; it holds either from a call's start (``start``) or at
each moment, as where a processor is shared (``shared``).
"""

from __future__ import annotations

import heapq
import math
import sys
from collections import deque
from collections.abc import Callable, Sequence
from random import Random
from typing import Any, NamedTuple, Protocol

from flow.run.adaptive import LimitSearch

Law = Callable[[int], float]


class Limit(Protocol):
    """What decides how many calls may be in flight."""

    limit: int

    def began(self, in_flight: int, now: float) -> Any:
        """A call begins."""

    def ended(self, call: Any, kind: Any, now: float) -> None:
        """It has come back."""


class Fixed:
    """The same at all times."""

    def __init__(self, limit: int) -> None:
        self.limit = limit

    def began(self, in_flight: int, now: float) -> Any:
        return None

    def ended(self, call: Any, kind: Any, now: float) -> None:
        pass


class Sampled(Fixed):
    """What steers by each sample: the seconds it took, beside the least for its kind."""

    def __init__(self) -> None:
        super().__init__(16)
        self.exact = 16.0
        self.least: dict[Any, float] = {}

    def began(self, in_flight: int, now: float) -> Any:
        return in_flight, now

    def ended(self, call: Any, kind: Any, now: float) -> None:
        in_flight, since = call
        took = now - since
        self.least[kind] = min(took, self.least.get(kind, took))
        self.sample(kind, took, self.least[kind], in_flight >= 0.8 * self.limit)
        self.limit = max(1, int(self.exact))

    def sample(self, kind: Any, took: float, least: float, crowded: bool) -> None:
        raise NotImplementedError


class Aimd(Sampled):
    """Up by a step per round trip; down by a twentieth for each sample of twice the least latency."""

    def sample(self, kind: Any, took: float, least: float, crowded: bool) -> None:
        if took > 2 * least:
            self.exact = max(1.0, self.exact * 0.95)
        elif crowded:
            self.exact += 4 / self.exact


class Vegas(Sampled):
    """TCP Vegas as Netflix's VegasLimit has it: by the estimated queue, ``limit * (1 - least / took)``."""

    def sample(self, kind: Any, took: float, least: float, crowded: bool) -> None:
        if not crowded:
            return
        unit = max(1.0, math.log10(self.limit))
        queue = self.limit * (1 - least / took)
        step = 12 if queue <= unit else 1 if queue < 3 * unit else -2 if queue > 6 * unit else 0
        self.exact = max(1.0, self.exact + step * unit / self.limit)


class Gradient2(Sampled):
    """Netflix's Gradient2Limit: long-term over short-term latency, plus room for a queue of 4, smoothed."""

    def __init__(self) -> None:
        super().__init__()
        self.long: dict[Any, float] = {}
        self.window: dict[Any, list[float]] = {}

    def sample(self, kind: Any, took: float, least: float, crowded: bool) -> None:
        self.window.setdefault(kind, []).append(took)
        if sum(map(len, self.window.values())) < max(10, self.limit / 2):
            return
        expected = short = 0.0
        for each, seconds in self.window.items():
            mean = sum(seconds) / len(seconds)
            before = self.long.get(each, mean)
            self.long[each] = before + (mean - before) * 0.05
            expected += len(seconds) * self.long[each]
            short += len(seconds) * mean
        self.window.clear()
        if crowded:
            gradient = max(0.5, min(1.0, 1.5 * expected / short))
            self.exact = max(1.0, 0.8 * self.exact + 0.2 * (self.exact * gradient + 4))


class World(NamedTuple):
    """Chains of calls, each a kind; the kinds' seconds; the backend.

    :ivar jitter: fraction by which a call's seconds vary; above 1, they are exponentially distributed.
    """

    chains: Sequence[Sequence[int]]
    law: Law
    seconds: Sequence[float] = (0.01,)
    jitter: float = 0.3
    shared: bool = False


def simulate(limit: Limit, world: World, seed: int = 1) -> float:
    """Return the seconds until all calls have been made, as many at a time as ``limit`` says."""
    random = Random(seed)
    ready = deque((chain, 0) for chain in world.chains)
    calls: list[tuple[float, int, Any]] = []  # heap of (when it ends, number, call); shared: in time without a crowd
    now = alone = 0.0
    number = 0
    while True:
        while ready and len(calls) < limit.limit:
            chain, at = ready.popleft()
            number += 1
            n = len(calls) + 1
            wait = world.seconds[chain[at]]
            jitter = world.jitter
            wait *= random.expovariate(1) if jitter > 1 else 1 + jitter * (2 * random.random() - 1)
            ends = alone + wait if world.shared else now + wait * world.law(n)
            heapq.heappush(calls, (ends, number, (chain, at, limit.began(n, now))))
        if not calls:
            assert number == sum(map(len, world.chains))
            return now
        n = len(calls)
        ends, _, (chain, at, call) = heapq.heappop(calls)
        if world.shared:
            now, alone = now + (ends - alone) * world.law(n), ends
        else:
            now = ends
        if at + 1 < len(chain):
            ready.append((chain, at + 1))
        if call is not None:
            limit.ended(call, chain[at], now)


def power(knee: int, steepness: float) -> Law:
    """No slower up to ``knee`` in flight; past that as a power of how far past."""
    return lambda n: max(1.0, n / knee) ** steepness


def cliff(knee: int) -> Law:
    """At once four times slower past ``knee``."""
    return lambda n: 1.0 if n <= knee else 4.0 * n / knee


def worlds(calls: int) -> dict[str, World]:
    """The backends that algorithms are compared on."""
    one = [[0]] * calls
    found = {}
    for shared in (False, True):
        how = "shared" if shared else "start"
        for knee in (8, 32, 100):
            for name, law in (
                ("queue", power(knee, 1)), ("power 1.5", power(knee, 1.5)), ("square", power(knee, 2)),
                ("cliff", cliff(knee)),
            ):  # fmt: skip
                found[f"{name} past {knee}, {how}"] = World(one, law, shared=shared)
        found[f"square past 32, exact, {how}"] = World(one, power(32, 2), jitter=0.0, shared=shared)
        mixed = [[i % 2] for i in range(calls)]
        found[f"two functions, {how}"] = World(mixed, power(32, 2), (0.01, 0.2), shared=shared)
        found[f"gradual, {how}"] = World(one, lambda n: 1 + n / 32 + (n / 64) ** 2, shared=shared)
    phases = [[i * 4 // calls] for i in range(calls)]
    found["four phases"] = World(phases, power(32, 2), (0.01, 0.1, 0.02, 0.05))
    found["100 chains"] = World([[0, 1, 0, 1, 2] * (calls // 500)] * 100, power(32, 2), (0.01, 0.03, 0.005))
    found["8 chains"] = World([[0] * (calls // 8)] * 8, power(32, 2))
    found["exponential, queue"] = World(one, power(32, 1), jitter=2.0, shared=True)
    return found


def best(world: World) -> float:
    """Seconds with the best fixed limit."""
    limits = (4, 6, 8, 11, 16, 20, 23, 27, 30, 32, 34, 38, 45, 54, 64, 91, 100, 128, 256, 1_000)
    return min(simulate(Fixed(n), world) for n in limits)


ALGORITHMS: dict[str, Callable[[], Limit]] = {
    "LimitSearch": LimitSearch, "Gradient2": Gradient2, "Vegas": Vegas, "AIMD": Aimd,
}  # fmt: skip


def main(calls: int) -> None:
    """Print the table."""
    print(f"{calls} calls: seconds beside the best fixed limit (and the last limit)")
    print(f"{'':30}", *(f"{name:>14}" for name in ALGORITHMS))
    for name, world in worlds(calls).items():
        least = best(world)
        print(f"{name:30}", end="")
        for make in ALGORITHMS.values():
            limit = make()
            print(f"{simulate(limit, world) / least:9.2f} ({limit.limit:>3})", end="")
        print()
    flat = World([[0]] * calls, lambda n: 1.0)
    print(f"{'never slower, round trips':30}", end="")
    for make in ALGORITHMS.values():
        print(f"{simulate(make(), flat) / 0.01:9.1f}      ", end="")
    print()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000)
