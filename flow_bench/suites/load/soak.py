"""The soak: workflows without a pause, failures among them, and the resident memory over time."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter

import flow
from flow_bench.harness.contender import Refused, require
from flow_bench.harness.processes import resident
from flow_bench.harness.rows import Row

SECTION = "soak"
COLLECT = flow.Config(on_error="collect")
IN_FLIGHT = 50
EVERY = 10
"""One workflow in so many fails."""
WARM = 500
"""Workflows before the first look at the memory."""


class Refusal(Exception):
    """What the failing workflows' third node raises."""


def plan(wait: float = 0.0) -> flow.Plan:
    """Five nodes; the third fails in every tenth workflow, and the two after it are skipped."""
    dag = flow.Dag("soak")

    async def fetched(number: int) -> dict[str, int]:
        await asyncio.sleep(wait)
        return {"number": number}

    def parsed(fetched: dict[str, int]) -> int:
        return fetched["number"]

    async def checked(parsed: int) -> int:
        await asyncio.sleep(0)
        if not parsed % EVERY:
            raise Refusal(f"workflow {parsed}")
        return parsed

    def doubled(checked: int) -> int:
        return 2 * checked

    async def stored(ctx: flow.Context, doubled: int) -> int:
        ctx.data.set("doubled", doubled)
        await asyncio.sleep(0)
        return ctx.data.get_int("doubled")

    for fn in (fetched, parsed, checked, doubled, stored):
        dag.node(fn)
    return dag.compile()


@dataclass
class Soak:
    """What has been run, and how it ended."""
    begun: int = 0
    succeeded: int = 0
    failed: int = 0
    seconds: float = 0.0

    @property
    def ended(self) -> int:
        return self.succeeded + self.failed

    async def stretch(self, plan: flow.Plan, seconds: float, at_least: int = 1) -> float:
        """Keep 50 workflows going for so long; return workflows per second."""
        before, began = self.begun, perf_counter()
        until = began + seconds

        async def worker() -> None:
            while perf_counter() < until or self.begun - before < at_least:
                number = self.begun = self.begun + 1
                self.judge(number, await flow.execute(plan, {"number": number}, config=COLLECT))

        await asyncio.gather(*[worker() for _ in range(IN_FLIGHT)])
        took = perf_counter() - began
        self.seconds += took
        return (self.begun - before) / took

    def judge(self, number: int, result: flow.Result) -> None:
        """Count it, by how it ended. :raises Refused: if that is not how it was to end."""
        counts = result.counts
        if number % EVERY:
            fine = result.ok and result["stored"] == 2 * number
            self.succeeded += 1
        else:
            error, skipped = str(result.errors.get("checked")), counts.get(flow.Status.SKIPPED, 0)
            fine = error == f"workflow {number}" and skipped == 2 and counts.get(flow.Status.COMPLETED, 0) == 2
            self.failed += 1
        if not fine:
            raise Refused(SECTION, [f"workflow {number} ended as {result!r}"])

    def refuse_unless_whole(self) -> None:
        """:raises Refused: unless all that were begun ended, and a tenth of them failed."""
        whole = (self.ended, self.failed) == (self.begun, self.begun // EVERY)
        require(whole, SECTION, f"of {self.begun} workflows {self.succeeded} succeeded and {self.failed} failed")


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Least squares: how much the second grows per one of the first."""
    count = len(points)
    x0, y0 = sum(x for x, _ in points) / count, sum(y for _, y in points) / count
    width = sum((x - x0) ** 2 for x, _ in points)
    return sum((x - x0) * (y - y0) for x, y in points) / width if width else 0.0


def soaked(rounds: int, seconds: float) -> list[Row]:
    """Soak for so many stretches and return its rows."""
    soak, made, rates, seen = Soak(), plan(), [], []
    with asyncio.Runner() as runner:
        runner.run(soak.stretch(made, 0.0, at_least=WARM))
        for _ in range(rounds):
            rates.append(runner.run(soak.stretch(made, seconds)))
            gc.collect()
            seen.append((soak.begun, resident()))
    soak.refuse_unless_whole()
    what = f"{IN_FLIGHT} at a time, every {EVERY}th fails"
    note = f"{soak.begun:,} workflows of 5 nodes in {soak.seconds:.1f} s, {soak.failed:,} failed"
    return [
        Row(SECTION, f"{what}: time per workflow", "us", [1e6 / rate for rate in rates], note=note),
        _memory_row(what, seen),
    ]


def _memory_row(what: str, seen: list[tuple[int, int]]) -> Row:
    label = f"{what}: RSS growth per 1,000 workflows"
    first, last = seen[0][1] / 1e6, seen[-1][1] / 1e6
    note = f"{first:.1f} MB after {seen[0][0]:,} workflows, {last:.1f} MB after {seen[-1][0]:,}"
    return Row(SECTION, label, "bytes", figure=slope(seen) * 1_000, better="zero", note=note, figures={"rss_mb": last})


@dataclass(frozen=True)
class Effort:
    """How long: so many stretches of so many seconds."""
    rounds: int = 100
    seconds: float = 0.2


QUICK = Effort(rounds=10)


def run(effort: Effort) -> list[Row]:
    """Return the rows."""
    return soaked(max(2, effort.rounds), effort.seconds)
