"""What a round of a loop costs, beside a run of the loop's body."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import flow
from flow_bench.harness.contender import Contender, ready
from flow_bench.harness.interleave import interleave, interleave_on_loop
from flow_bench.harness.rows import Row, Target

SECTION = "loops, per round of three nodes"
BY_HAND = "a run of the body, given the output of the run before"
RUN = "a run of the body alone"
ROUND = "a round of dag.loop"
ONE_MORE: Final = Target(1.2)


@dataclass(frozen=True)
class Effort:
    """How much to measure."""
    rounds: int = 201
    times: int = 100  # rounds of one loop


QUICK = Effort(rounds=51)


def run(effort: Effort) -> Iterator[list[Row]]:
    """Yield one table: sync functions without an event loop, then async ones on asyncio."""
    samples = interleave(ways(more, _sync_ways(effort.times), effort.times), effort.rounds)
    rows = samples.rows(SECTION, "us", BY_HAND, prefix="sync, no event loop: ", targets={ROUND: ONE_MORE})
    on_loop = ways(more_async, _async_ways(effort.times), effort.times)
    samples = asyncio.run(interleave_on_loop(on_loop, effort.rounds))
    yield rows + samples.rows(SECTION, "us", BY_HAND, prefix="async: ", targets={ROUND: ONE_MORE})


def more(n: int) -> int:
    """One more."""
    return n + 1


async def more_async(n: int) -> int:
    """One more, without suspending."""
    return n + 1


Ways = Mapping[str, Callable[[flow.Plan], Any]]


def ways(fn: Callable[..., Any], run_by: Ways, times: int) -> list[Contender]:
    """The contenders: runs of a chain of three, and one run of a loop that has it as its body."""
    body = flow.Dag("body")
    body.add("a", fn)
    body.add("b", fn, needs=["a"])
    body.add("c", fn, needs=["b"])
    looping = flow.Dag("looping")
    looping.loop("rounds", body, carry={"n": "c"}, until=partial(reached, 3 * times), max_iterations=times)
    plans = {BY_HAND: body.compile(), RUN: body.compile(), ROUND: looping.compile()}
    wanted = {BY_HAND: 3 * times, RUN: 3, ROUND: 3 * times}
    return [ready(way, partial(run_by[way], plan), wanted[way].__eq__, times) for way, plan in plans.items()]


def reached(wanted: int, c: int) -> bool:
    """Tell whether the loop has come to its end."""
    return c == wanted


def _sync_ways(times: int) -> Ways:
    def runs(plan: flow.Plan) -> Any:
        for _ in range(times):
            result = flow.run(plan, {"n": 0})
        return result["c"]

    def by_hand(plan: flow.Plan) -> Any:
        n = 0
        for _ in range(times):
            n = flow.run(plan, {"n": n})["c"]
        return n

    return {BY_HAND: by_hand, RUN: runs, ROUND: lambda plan: flow.run(plan, {"n": 0})["rounds"]["c"]}


def _async_ways(times: int) -> Ways:
    async def runs(plan: flow.Plan) -> Any:
        for _ in range(times):
            result = await flow.execute(plan, {"n": 0})
        return result["c"]

    async def by_hand(plan: flow.Plan) -> Any:
        n = 0
        for _ in range(times):
            n = (await flow.execute(plan, {"n": n}))["c"]
        return n

    async def rounds(plan: flow.Plan) -> Any:
        return (await flow.execute(plan, {"n": 0}))["rounds"]["c"]

    return {BY_HAND: by_hand, RUN: runs, ROUND: rounds}
