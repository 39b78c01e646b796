"""Experiment: results of pure nodes kept by their arguments, by the engine (``cache=True``) or by the user's one line.

What the engine would do is modelled around functions and around ``flow.run``, which is all it could do: at compile
time it can replace a node's function, and at the start of a run it can see the inputs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from functools import cache, lru_cache, partial, wraps
from inspect import iscoroutinefunction
from itertools import count
from time import thread_time
from typing import Any

import flow
from flow_bench.harness.contender import Contender, fresh, ready
from flow_bench.harness.interleave import Samples, interleave, interleave_on_loop
from flow_bench.harness.rows import US, Row, ratios
from flow_bench.harness.work import dependencies_of

SIDE = 10
"""The graph has ten layers of ten nodes; each takes three outputs of the layer before."""

REPEAT = 20
"""Runs per sample."""

Fn = Callable[..., Any]


def mix(*values: int) -> int:
    """A pure function of some microseconds."""
    return sum(i * i for i in range(100)) + sum(values)


async def mix_async(*values: int) -> int:
    """As :func:`mix`."""
    return mix(*values)


def expected(seed: int) -> int:
    """What the last node returns, by a plain loop."""
    plan = graph()
    outputs: list[int] = []
    for needs in dependencies_of(plan):
        outputs.append(mix(*[outputs[d] for d in needs]) if needs else mix(seed))
    return outputs[-1]


@lru_cache
def graph() -> flow.Plan:
    """The shape."""
    return flow.topologies.layered(SIDE, SIDE, 3, seed=1).compile()


def plan_of(fn: Fn, wrap: Callable[[Fn], Fn]) -> flow.Plan:
    """The graph with a function of its own around ``fn`` in each node; the first layer takes the run input ``seed``."""
    shape, dag = graph(), flow.Dag("pure")
    first = _first_async if iscoroutinefunction(fn) else _first
    for name, needs in shape.dependencies.items():
        if needs:
            dag.add(name, wrap(fn), needs=needs)
        else:
            dag.add(name, wrap(first))
    return dag.compile()


def _first(seed: int) -> int:
    return mix(seed)


async def _first_async(seed: int) -> int:
    return mix(seed)


# -- caches ----------------------------------------------------------------------------------


def by_arguments(fn: Fn) -> Fn:
    """What ``cache=True`` on a sync node would compile to."""
    kept: dict[Any, Any] = {}

    def cached(seed: Any, *values: Any) -> Any:
        key = (seed, *values)
        try:
            return kept[key]
        except KeyError:
            result = kept[key] = fn(*key)
            return result

    return fresh(cached)  # type: ignore[no-any-return]


def by_arguments_async(fn: Fn) -> Fn:
    """What ``cache=True`` on an async node would compile to."""
    kept: dict[Any, Any] = {}

    async def cached(seed: Any, *values: Any) -> Any:
        key = (seed, *values)
        try:
            return kept[key]
        except KeyError:
            result = kept[key] = await fn(*key)
            return result

    return fresh(cached)  # type: ignore[no-any-return]


def kept(fn: Fn) -> Fn:
    """What a user writes around an async function."""
    results: dict[Any, Any] = {}

    async def cached(*values: Any) -> Any:
        if values not in results:
            results[values] = await fn(*values)
        return results[values]

    return wraps(fn)(fresh(cached))


def as_tasks(fn: Fn) -> Fn:
    """The same, so that callers at one time wait for one call: a task per distinct argument."""
    tasks: dict[Any, asyncio.Task[Any]] = {}

    async def cached(*values: Any) -> Any:
        if values not in tasks:
            tasks[values] = asyncio.create_task(fn(*values))
        return await tasks[values]

    return wraps(fn)(fresh(cached))


class ByInputs:
    """What ``cache=True`` on all nodes could do at best: nothing of a run whose inputs it has seen."""

    def __init__(self, plan: flow.Plan) -> None:
        self.plan = plan
        self.kept: dict[Any, dict[str, Any]] = {}

    def __call__(self, seed: int) -> dict[str, Any]:
        key = (seed,)
        found = self.kept.get(key)
        if found is None:
            found = self.kept[key] = dict(flow.run(self.plan, {"seed": seed}).outputs)
        return found.copy()  # else the next run's caller would see this one's changes


# -- measured --------------------------------------------------------------------------------

NOW = "now: no cache"
PER_NODE, PER_PLAN = "model of cache=True per node", "model of cache=True for a whole plan"
BY_USER, WHOLE_BY_USER = "one line: lru_cache around each function", "one line: lru_cache around flow.run"
BY_USER_ASYNC = "three lines: results kept by argument"
RIVALS = ((PER_NODE, BY_USER), (PER_NODE, BY_USER_ASYNC), (PER_PLAN, WHOLE_BY_USER))
"""What the engine could do, and what it would have to be faster than."""


def runs() -> dict[str, Callable[[int], Any]]:
    """Each way to run the sync graph for a seed."""
    plain = plan_of(mix, lambda fn: fn)

    @cache
    def whole(seed: int) -> flow.Result:
        return flow.run(plain, {"seed": seed})

    return {
        NOW: partial(_run, plain),
        PER_NODE: partial(_run, plan_of(mix, by_arguments)),
        BY_USER: partial(_run, plan_of(mix, lru_cache(maxsize=None))),
        PER_PLAN: ByInputs(plan_of(mix, lambda fn: fn)),
        WHOLE_BY_USER: whole,
    }


def runs_async() -> dict[str, Callable[[int], Awaitable[Any]]]:
    """Each way to run the async graph for a seed."""
    return {
        NOW: partial(_execute, plan_of(mix_async, lambda fn: fn)),
        PER_NODE: partial(_execute, plan_of(mix_async, by_arguments_async)),
        BY_USER_ASYNC: partial(_execute, plan_of(mix_async, kept)),
        "three lines: a task kept per argument": partial(_execute, plan_of(mix_async, as_tasks)),
    }


def _run(plan: flow.Plan, seed: int) -> flow.Result:
    return flow.run(plan, {"seed": seed})


async def _execute(plan: flow.Plan, seed: int) -> flow.Result:
    return await flow.execute(plan, {"seed": seed})


def run(rounds: int) -> Iterator[list[Row]]:
    """Yield one table per kind of node: inputs all seen before, inputs all new."""
    for kind in ("sync", "async"):
        rows = []
        for seen in (True, False):
            seeds = count() if not seen else None
            made: Any = runs() if kind == "sync" else runs_async()
            ways = [way_of(label, go, kind, seeds) for label, go in made.items()]
            samples = (
                interleave(ways, rounds, clock=thread_time)
                if kind == "sync"
                else asyncio.run(interleave_on_loop(ways, rounds, clock=thread_time))
            )
            rows += rows_of(f"cache: {SIDE * SIDE} pure {kind} nodes", "seen" if seen else "new", samples)
        yield rows


def way_of(label: str, go: Callable[[int], Any], kind: str, seeds: Iterator[int] | None) -> Contender:
    """``REPEAT`` runs with inputs seen before (None), or with the next ones."""

    def all_runs() -> Any:
        chosen = [7] * REPEAT if seeds is None else [next(seeds) for _ in range(REPEAT)]
        return chosen, [go(seed) for seed in chosen]

    async def all_runs_async() -> Any:
        chosen = [7] * REPEAT if seeds is None else [next(seeds) for _ in range(REPEAT)]
        return chosen, [await go(seed) for seed in chosen]

    return ready(label, all_runs if kind == "sync" else all_runs_async, _done, REPEAT)


def _done(raw: tuple[list[int], list[Any]]) -> bool:
    """The last node's output is right, in the first and the last of the runs."""
    seeds, results = raw
    last = graph().names[-1]
    return len(results) == REPEAT and all(results[k][last] == expected(seeds[k]) for k in (0, -1))


def rows_of(section: str, inputs: str, samples: Samples) -> list[Row]:
    """Microseconds per run, with ratios to the first way; and how the models compare with what a user can write."""
    base = next(iter(samples.values()))
    rows = [
        Row(section, f"inputs {inputs}: {label}", "us", [s * US for s in seconds], ratios=ratios(seconds, base))
        for label, seconds in samples.items()
    ]
    for model, rival in RIVALS:
        if model in samples and rival in samples:
            rows.append(
                Row(section, f"inputs {inputs}: {model} / {rival}", "x", ratios(samples[model], samples[rival]))
            )
    return rows
