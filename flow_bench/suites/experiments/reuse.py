"""Experiment: the state of a run used again by the next run of the same plan, instead of made anew.

The state is modelled by a class of as many fields, and what a run must do to it when it starts. A recycled one
must be cleared, and its outputs copied for the Result, which otherwise reads the state itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from time import thread_time
from typing import Any

import flow
from flow_bench.harness.contender import again, ready
from flow_bench.harness.interleave import interleave
from flow_bench.harness.rows import US, Row, ratios
from flow_bench.harness.work import DONE, Work

SIZES = (1, 10, 100, 1_000)
_MISSING = object()
_OF_THE_PLAN: Any = ()
"""What a run takes from its plan as it stands."""


class State:
    """As many fields as a run's state has, set to what a run starts with."""

    __slots__ = (
        "attempts", "clock", "config", "deadlines", "errors", "finished", "fns", "given_id", "inputs", "kinds", "more",
        "order", "plan", "ranks", "resolver", "started", "started_at", "tasks", "timed_out", "values", "wall_time",
    )  # fmt: skip

    def __init__(self, plan: flow.Plan, config: flow.Config) -> None:
        self.config = config
        self.clock = config.clock
        self.resolver = None
        self.errors: dict[int, BaseException] = {}
        self.attempts: dict[int, int] = {}
        self.timed_out = False
        self.tasks = None
        self.deadlines: dict[int, float] = {}
        self.plan = plan
        self.inputs: dict[str, Any] = {}
        self.values: list[Any] = [_MISSING] * len(plan)
        self.fns = self.kinds = self.order = _OF_THE_PLAN
        self.ranks = None
        self.started = None
        self.finished = None
        self.wall_time = 0.0
        self.given_id = None
        self.more = None
        self.started_at = self.clock.now()

    def recycled(self, blank: list[Any]) -> list[Any]:
        """Make it as new; return the outputs of the run before, for its Result."""
        outputs = self.values.copy()
        self.values[:] = blank
        self.errors.clear()
        self.attempts.clear()
        self.deadlines.clear()
        self.inputs.clear()
        self.resolver = self.ranks = self.started = self.finished = self.given_id = self.more = None
        self.timed_out = False
        self.wall_time = 0.0
        self.started_at = self.clock.now()
        return outputs


def run(rounds: int) -> Iterator[list[Row]]:
    """Yield one table: per size, the run now, the state made anew and recycled, and what the run could be at best."""
    rows: list[Row] = []
    for nodes in SIZES:
        rows += _rows(nodes, rounds)
    yield rows


def _rows(nodes: int, rounds: int) -> Iterator[Row]:
    plan = Work.of(flow.topologies.linear(nodes)).plan("sync")
    config, blank = flow.Config(), [_MISSING] * nodes
    state = State(plan, config)
    times = max(10, 2_000 // nodes)
    ways = [
        ready("now: flow.run", again(partial(flow.run, plan), times), partial(_ran, nodes), times),
        ready(
            "a model of its state, made anew", again(partial(State, plan, config), times), partial(_made, nodes), times
        ),
        ready("the model, recycled", again(partial(state.recycled, blank), times), partial(_kept, nodes), times),
    ]
    samples = interleave(ways, rounds, clock=thread_time)
    now, anew, recycled = samples.values()
    best = [whole - made + again_ for whole, made, again_ in zip(now, anew, recycled, strict=True)]
    for label, seconds in {**samples, "flow.run less the one, plus the other": best}.items():
        rest = [s * US for s in seconds]
        yield Row(
            "reuse: states of runs, us",
            f"{nodes:,} {'node' if nodes == 1 else 'nodes'}: {label}",
            "us",
            rest,
            ratios=ratios(seconds, now),
        )


def _ran(nodes: int, results: list[flow.Result]) -> bool:
    return all(list(result.outputs.values()) == [DONE] * nodes for result in results)


def _made(nodes: int, states: list[State]) -> bool:
    return len({id(state) for state in states}) == len(states) and len(states[-1].values) == nodes


def _kept(nodes: int, outputs: list[list[Any]]) -> bool:
    return len({id(one) for one in outputs}) == len(outputs) and len(outputs[-1]) == nodes
