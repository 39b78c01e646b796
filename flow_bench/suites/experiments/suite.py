"""The experiments: changes that might make runs faster, each beside what flow does now.

docs/experiments.md says what each was to find out, and what it found.

All of it is computing, so it is timed by the thread's own clock, which others' work on the machine does not move. A
ratio is seconds over the seconds of what flow does now, in the same round. A change is
kept where it is at most 1 / 1.3 = 0.77 on whole runs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from time import perf_counter, thread_time
from typing import Any

import flow
from flow_bench.harness.contender import again, ready, repeated
from flow_bench.harness.interleave import interleave, interleave_on_loop
from flow_bench.harness.loops import HOT, LOOP
from flow_bench.harness.rows import US, Row, chosen
from flow_bench.harness.work import DONE, Work, noop, noop_async

SIZES = (1, 10, 100, 1_000)
BUSY = (0, 1, 2, 5, 10)
"""Microseconds that each node computes."""
NODES = 300
_MISSING = object()
_OF_THE_PLAN: Any = ()
"""What a run takes from its plan as it stands."""


@dataclass(frozen=True)
class Effort:
    """How much to measure."""
    rounds: int = 41
    sections: Sequence[str] = ()  # all if empty


QUICK = Effort(rounds=9)


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


def reuse(effort: Effort) -> Iterator[list[Row]]:
    """The state of a run made anew, or used again by the next run of the same plan; and what the run could be at best.

    The state is modelled by a class of as many fields, and what a run must do to it when it starts. A recycled one
    must be cleared, and its outputs copied for the Result, which otherwise reads the state itself.
    """
    rows: list[Row] = []
    for nodes in SIZES:
        plan = Work.of(flow.topologies.linear(nodes)).plan("sync")
        config, blank, times = flow.Config(), [_MISSING] * nodes, max(10, 2_000 // nodes)
        state = State(plan, config)
        ways = [
            repeated("now: flow.run", partial(flow.run, plan), times, _all_ran),
            ready("a model of its state, made anew", again(partial(State, plan, config), times),
                  partial(_new_states, nodes), times),
            ready("the model, recycled", again(partial(state.recycled, blank), times),
                  partial(_unlike, nodes=nodes), times),
        ]  # fmt: skip
        samples = interleave(ways, effort.rounds, clock=thread_time, memory=False)
        now, anew, recycled = samples.values()
        samples["flow.run less the one, plus the other"] = [
            whole - made + again_ for whole, made, again_ in zip(now, anew, recycled, strict=True)
        ]
        what = f"{nodes:,} node{'s' * (nodes > 1)}: "
        rows += samples.rows("reuse: states of runs, us", "us", prefix=what)
    yield rows


def _new_states(nodes: int, states: list[State]) -> bool:
    return _unlike([state.values for state in states], nodes)


def _unlike(lists: list[list[Any]], nodes: int) -> bool:
    return len({id(one) for one in lists}) == len(lists) and len(lists[-1]) == nodes


def guarded(effort: Effort) -> Iterator[list[Row]]:
    """Generated code on an event loop, where nodes do something, beside the driver's loop.

    A chain of sync nodes behind one async node that does not suspend. Generated code looks at the clock after each.
    """
    rows: list[Row] = []
    for us in BUSY:
        dag, fn = flow.Dag("guarded"), _busy(us)
        before = dag.add("first", noop_async)
        for k in range(NODES):
            before = dag.add(f"n{k}", fn, needs=[before])
        plan = dag.compile()
        ways = [
            ready(label, partial(flow.execute, plan, config=config), _all_ran, NODES + 1)
            for label, config in (("now: the driver's loop", LOOP), ("generated code", HOT))
        ]
        samples = asyncio.run(interleave_on_loop(ways, effort.rounds, clock=thread_time, memory=False))
        section, what = "guarded: generated code on asyncio, us per node", f"nodes of {us} us: "
        rows += samples.rows(section, "us", prefix=what, nodes=NODES)
    yield rows


def _busy(us: int) -> Callable[..., str]:
    def node(*values: object) -> str:
        until = perf_counter() + us / US
        while perf_counter() < until:
            pass
        return DONE

    return node if us else noop


def _all_ran(result: Any) -> bool:
    return bool(list(result.outputs.values()) == [DONE] * len(result.plan))


SECTIONS = {"reuse": reuse, "guarded": guarded}
run = partial(chosen, SECTIONS)
