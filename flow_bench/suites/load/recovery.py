"""How long a workflow takes from a failure until it is past it.

A workflow has three nodes; the second raises in its first attempt. Recovery is the time from there until the third
node begins: by the second attempt's output, or by the fallback that stands in. It is taken alone, and in a hundred
workflows on one loop that all fail: a second attempt is made when the loop comes back to it, after the others' first.
The collector is off, as it is in single operations. The line that a failure logs is made, and written nowhere.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from time import perf_counter
from typing import Any

import flow
from flow_bench.harness.contender import Contender
from flow_bench.harness.interleave import schedule
from flow_bench.harness.logs import unwritten
from flow_bench.harness.rows import UNITS, Row, of_calls

SECTION = "recovery"
TOGETHER = 100
VALUE, STAND_IN = 1, -1
RETRY = flow.Retry(2, delay=0)


class Lost(Exception):
    """What the second node raises."""


@dataclass
class Trial:
    """One workflow, as its nodes saw it."""

    failures: int = 1
    failed: list[float] = field(default_factory=list)  # when each attempt of the second node raised
    past: float = 0.0  # when the third node began; 0 if it never did
    given: int = 0  # what the third node was given

    def attempt(self) -> int:
        """The second node's work: raises in as many attempts as ``failures`` says."""
        if len(self.failed) < self.failures:
            self.failed.append(perf_counter())
            raise Lost(f"attempt {len(self.failed)}")
        return VALUE

    def end(self, given: int) -> Trial:
        self.past, self.given = perf_counter(), given
        return self

    @property
    def seconds(self) -> float:
        return self.past - self.failed[0]


Workflow = Callable[[], Any]
"""Runs one new workflow and returns its trial; on a loop, an awaitable of that."""


def with_flow(failures: int = 1, *, is_async: bool = False, **policy: Any) -> Workflow:
    """Runs of a plan of three nodes, the second of which has the policy."""
    dag = flow.Dag("recovery")

    async def attempt(first: Trial) -> int:
        return first.attempt()

    async def end(first: Trial, second: int) -> Trial:
        return first.end(second)

    dag.add("first", lambda trial: trial)
    dag.add("second", attempt if is_async else Trial.attempt, needs=["first"], **policy)
    dag.add("third", end if is_async else Trial.end, needs=["first", "second"])
    made = dag.compile()

    def run() -> Trial:
        trial: Trial = flow.run(made, {"trial": Trial(failures)})["third"]
        return trial

    async def execute() -> Trial:
        trial: Trial = (await flow.execute(made, {"trial": Trial(failures)}))["third"]
        return trial

    return execute if is_async else run


def by_hand() -> Trial:
    """The three calls, the second again if it raises."""
    trial = Trial()
    try:
        given = trial.attempt()
    except Lost:
        given = trial.attempt()
    return trial.end(given)


def recovered(failures: int, given: int, trials: Sequence[Trial]) -> str | None:
    """Say which workflow did not recover as it was to."""
    for number, trial in enumerate(trials):
        if len(trial.failed) != failures:
            return f"workflow {number} failed {len(trial.failed)} times where it was to fail {failures} times"
        if not trial.past or trial.given != given:
            return f"workflow {number} went on with {trial.given} where {given} was to stand"
    return None if trials else "no workflow was run"


@dataclass(frozen=True)
class Way(Contender):
    """One way to recover. :ivar at_once: workflows on the loop at once."""
    at_once: int = 1

    async def trials(self, count: int) -> list[Trial]:
        """Run at least ``count`` workflows."""
        workflow = self.make()
        found: list[Trial] = []
        while len(found) < count:
            if not self.is_async:
                found.append(workflow())
            elif self.at_once == 1:
                found.append(await workflow())
            else:
                found += await asyncio.gather(*[workflow() for _ in range(self.at_once)])
        self.refuse_unless_done(found)
        return found


def _ways() -> Iterable[Way]:
    retried, fell_back = partial(recovered, 1, VALUE), partial(recovered, 1, STAND_IN)
    yield Way("retry, sync, by hand", lambda: by_hand, retried)
    yield Way("retry, sync", partial(with_flow, retry=RETRY), retried)
    yield Way("fallback, sync", partial(with_flow, fallback=STAND_IN), fell_back)
    both = partial(with_flow, 2, retry=RETRY, fallback=STAND_IN)
    yield Way("retry, then fallback, sync", both, partial(recovered, 2, STAND_IN))
    on_loop = partial(with_flow, is_async=True)
    for at_once, what in ((1, "async"), (TOGETHER, f"async, {TOGETHER} at once")):
        yield Way(f"retry, {what}", partial(on_loop, retry=RETRY), retried, 1, True, at_once)
        yield Way(f"fallback, {what}", partial(on_loop, fallback=STAND_IN), fell_back, 1, True, at_once)


WAYS = tuple(_ways())


@dataclass(frozen=True)
class Effort:
    """How much to measure: workflows of each way in a round, and rounds."""
    rounds: int = 20
    workflows: int = 100


QUICK = Effort(rounds=4)


async def rows_of(ways: Sequence[Way], effort: Effort) -> list[Row]:
    """The ways in turn, round after round; every workflow is a sample."""
    seconds: dict[str, list[float]] = {way.label: [] for way in ways}
    for turn, which in schedule(len(ways), effort.rounds):
        found = await ways[which].trials(effort.workflows)
        if turn >= 0:
            seconds[ways[which].label] += [trial.seconds for trial in found]
    rows = []
    for label, mine in seconds.items():
        samples = [one * UNITS["us"] for one in mine]
        rows.append(Row(SECTION, label, "us", samples, each=True, figures=of_calls(mine, samples)))
    return rows


def run(effort: Effort) -> list[Row]:
    """Return the rows."""
    with unwritten():
        return asyncio.run(rows_of(WAYS, effort))
