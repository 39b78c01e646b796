"""The core suite: what running a graph costs per node, beside the loops one would write by hand.

Sections of interleaved contenders over five topologies (here), and single figures (:mod:`.singles`).
"""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from graphlib import TopologicalSorter
from typing import Any, Literal

import flow
from flow_bench.harness import loops
from flow_bench.harness.checks import check_async, check_sync
from flow_bench.harness.contender import Contender, Operation
from flow_bench.harness.interleave import Samples, interleave, interleave_on_loop, repeat_of
from flow_bench.harness.loops import EAGER, flow_execute, on_graph, outputs_of
from flow_bench.harness.rows import JUDGED, US, Row, Target, chosen, ratios
from flow_bench.harness.work import Work, noop
from flow_bench.suites.engine import hot, looping, routing, seams, singles

COUNTERS, EAGERLY = "counters and ready list", "eager task per node"
PER_NODE, NURSERY = "task per node (create_task)", "nursery task per node"
BASELINES = {"sync": COUNTERS, "async": EAGERLY if EAGER else PER_NODE, "trio": NURSERY, "uvloop": PER_NODE}
LIMITED = flow.Config(limit=8)
UNBOUNDED, BOUNDED = "flow.execute, warm plan", "flow.execute(limit=8), warm plan"
ASYNC_TARGET = Target(0.8, 0.6) if EAGER else Target(0.3, binding=True)
TARGETS: Mapping[str, Mapping[str, Target]] = {
    "sync": {
        "flow.run, fresh plan": Target(0.9, 0.6),
        "flow.run, warm plan": Target(0.9, 0.6),
        "flow.run, hot plan": Target(0.25, 0.15),
    },
    "async": {"flow.execute, fresh plan": ASYNC_TARGET, UNBOUNDED: ASYNC_TARGET},
    "trio": {"flow.execute, fresh plan": Target(0.3), UNBOUNDED: Target(0.3)},
    "uvloop": {},
}

SYNC = [
    loops.calls_only("bare loop (calls only)", loops.bare_loop),
    on_graph("loop in a known order", loops.ordered_loop),
    on_graph(COUNTERS, loops.counter_loop),
    on_graph("graphlib, prepared outside", partial(loops.graphlib_drive, build=False)),
    on_graph("graphlib, add + prepare + run", partial(loops.graphlib_drive, build=True)),
    on_graph("flow.run, fresh plan", partial(loops.flow_run, fresh=True), outputs_of),
    on_graph("flow.run, warm plan", loops.flow_run, outputs_of),
    on_graph("flow.run, hot plan", partial(loops.flow_run, config=loops.HOT), outputs_of),
]
EXECUTE = [
    on_graph("flow.execute, fresh plan", partial(flow_execute, fresh=True), outputs_of),
    on_graph(UNBOUNDED, flow_execute, outputs_of),
]
TASKS = [*([on_graph(EAGERLY, loops.eager_tasks)] if EAGER else []), on_graph(PER_NODE, loops.task_per_node)]
ASYNC = [
    loops.calls_only("bare await loop (calls only)", loops.bare_await_loop),
    *TASKS,
    on_graph("anyio start_soon per node", loops.start_soon_per_node),
    *EXECUTE,
    on_graph(BOUNDED, partial(flow_execute, config=LIMITED), outputs_of),
    on_graph("flow.execute of the sync plan", partial(flow_execute, kind="sync"), outputs_of),
    on_graph("flow.execute, 1st node suspends once", partial(flow_execute, kind="suspending"), outputs_of),
    on_graph("eager task, 1st node suspends once", partial(loops.eager_tasks, kind="suspending"))
    if EAGER
    else on_graph("task per node, 1st node suspends once", partial(loops.task_per_node, kind="suspending")),
]


RUNS = 5
"""Runs in a sample of sync contenders: a hot plan is one that is run again and again."""


@dataclass(frozen=True)
class Settings:
    """How much to measure. ``rounds`` is for small and middle graphs; of the large there are ``large_rounds``."""
    nodes: Sequence[int] = (100, 1_000, 10_000)
    rounds: int = 101
    large_rounds: int = 15
    sections: Sequence[str] = ()  # all if empty
    singles: singles.Effort = field(default_factory=singles.Effort)
    hot: hot.Effort = field(default_factory=hot.Effort)
    seams: seams.Effort = field(default_factory=seams.Effort)
    looping: looping.Effort = field(default_factory=looping.Effort)
    routing: routing.Effort = field(default_factory=routing.Effort)

    def rounds_of(self, nodes: int) -> int:
        return self.rounds if nodes <= 1_000 else self.large_rounds

    def judged(self) -> list[int]:
        """The sizes of the sections that measure only one: the one that has targets, or else the first."""
        return [n for n in self.nodes if n == JUDGED] or list(self.nodes[:1])


QUICK = Settings(
    rounds=9, large_rounds=3, singles=singles.QUICK, hot=hot.QUICK, seams=seams.QUICK, looping=looping.QUICK,
    routing=routing.QUICK,
)


def topologies(nodes: int) -> Mapping[str, flow.Dag]:
    """The five graphs; "layered" is about as wide as deep, "random" has 0 to 3 dependencies per node."""
    width = max(w for w in range(1, int(nodes**0.5) + 1) if nodes % w == 0)
    made = flow.topologies
    return {
        "chain": made.linear(nodes),
        "diamond": made.diamond(nodes),
        "tree": made.tree(nodes),
        "layered": made.layered(nodes // width, width, min(3, width), seed=1),
        "random": made.sparse_random(nodes, max_in_degree=3, seed=1),
    }


def each(sizes: Sequence[int], measure: Callable[[Work, str], list[Row]]) -> Iterator[list[Row]]:
    """Yield a table per size, of all graphs."""
    for nodes in sizes:
        yield [row for topology, dag in topologies(nodes).items() for row in measure(Work.of(dag), topology)]


def sync_section(settings: Settings) -> Iterator[list[Row]]:
    """Sync no-op nodes, without any event loop."""

    def measure(work: Work, topology: str) -> list[Row]:
        nodes = len(work.names)
        for contender in SYNC:
            check_sync(contender, work)
        samples = interleave(SYNC, settings.rounds_of(nodes), work, repeat=RUNS * repeat_of(nodes))
        return per_node("sync", topology, nodes, samples)

    return each(settings.nodes, measure)


def async_section(settings: Settings) -> Iterator[list[Row]]:
    """Async no-op nodes on asyncio."""
    for nodes in settings.nodes:
        yield asyncio.run(_async_rows("async", ASYNC, nodes, settings))


def other_section(name: Literal["trio", "uvloop"], settings: Settings) -> Iterator[list[Row]]:
    """The same on another loop."""
    try:
        library = importlib.import_module(name)
    except ImportError:
        yield [Row(name, UNBOUNDED, "us", note=f"n/a: {name} is not installed")]
        return
    for nodes in settings.judged():
        if name == "trio":
            nursery = on_graph(NURSERY, partial(loops.start_soon_per_node, open_group=library.open_nursery))
            yield library.run(_async_rows, name, [nursery, *EXECUTE], nodes, settings)
        else:
            with asyncio.Runner(loop_factory=library.new_event_loop) as runner:
                yield runner.run(_async_rows(name, [*TASKS, *EXECUTE], nodes, settings))


async def _async_rows(section: str, contenders: Sequence[Contender], nodes: int, settings: Settings) -> list[Row]:
    rows = []
    for topology, dag in topologies(nodes).items():
        work = Work.of(dag)
        for contender in contenders:
            await check_async(contender, work)
        samples = await interleave_on_loop(contenders, settings.rounds_of(nodes), work, repeat=repeat_of(nodes))
        rows += per_node(section, topology, nodes, samples)
        if BOUNDED in samples:
            price, target = samples.over(BOUNDED, UNBOUNDED), Target(1.1, of="figure") if nodes == JUDGED else None
            label = "  limit=8 / unbounded"
            rows.append(Row(section, label, "x", price, nodes=nodes, topology=topology, target=target))
    return rows


DICT, BUILD, COMPILE = "dict of lists", "Dag.add of every node", "compile"
WITH_SUCCESSORS, GRAPHLIB, AGAIN = "compile + plan.descendants", "graphlib add + prepare", "recompile after 1 more node"


def build_rows(settings: Settings, work: Work, topology: str) -> list[Row]:
    """Time six ways to define ``work``'s graph: names and lists of needed names exist before."""
    nodes = len(work.names)
    samples = interleave(BUILDING, settings.rounds_of(nodes), work, repeat=repeat_of(nodes))
    targets = {BUILD: Target(1.0, 0.5, of="figure"), COMPILE: Target(1.0, 0.5, of="figure")}
    judged = targets if nodes == JUDGED else {}
    place: dict[str, Any] = {"nodes": nodes, "topology": topology}
    found = samples.rows("build", "us", DICT, per=nodes, targets=judged, **place)
    both = [build + compiled for build, compiled in zip(samples[BUILD], samples[COMPILE], strict=True)]
    found.append(Row("build", "  build + compile / graphlib", "x", ratios(both, samples[GRAPHLIB]), **place))
    found.append(Row("build", "  recompile, us in all", "us", [s * US for s in samples[AGAIN]], **place))
    return found


def _dict_of_lists(work: Work) -> Operation:
    names, needs = work.names, work.needs

    def build() -> dict[str, list[str]]:
        graph = {}
        for name, upstream in zip(names, needs, strict=True):
            graph[name] = list(upstream)
        return graph

    return build


def _sorter(work: Work) -> Operation:
    names, needs = work.names, work.needs

    def build() -> Sequence[str]:
        graph: TopologicalSorter[str] = TopologicalSorter()
        for name, upstream in zip(names, needs, strict=True):
            graph.add(name, *upstream)
        graph.prepare()
        return names

    return build


def _with_successors(work: Work) -> Operation:
    dag = work.dag("sync")

    def compiled() -> flow.Plan:
        plan = dag.compile()
        assert not plan.descendants(work.names[-1])  # finding who waits for whom is most of it
        return plan

    return compiled


def _one_more(work: Work) -> Operation:
    dag = work.dag("sync")
    dag.compile()
    dag.add("one-more", noop, needs=[work.names[-1]])
    return dag.compile


def _has_all(more: int, made: Any, work: Work) -> str | None:
    count = len(work.names) + more
    return None if len(made) == count else f"it made {len(made)} nodes, not {count}"


BUILDING = (
    Contender(DICT, _dict_of_lists, partial(_has_all, 0)),
    Contender(GRAPHLIB, _sorter, partial(_has_all, 0)),
    Contender(BUILD, lambda work: partial(work.dag, "sync"), partial(_has_all, 0)),
    Contender(COMPILE, lambda work: work.dag("sync").compile, partial(_has_all, 0)),
    Contender(WITH_SUCCESSORS, _with_successors, partial(_has_all, 0)),
    Contender(AGAIN, _one_more, partial(_has_all, 1)),
)


def per_node(section: str, topology: str, nodes: int, samples: Samples) -> list[Row]:
    """Rows in microseconds per node, with ratios to the section's baseline."""
    targets = TARGETS[section] if nodes == JUDGED else {}
    base = BASELINES[section]
    return samples.rows(section, "us", base, per=nodes, nodes=nodes, topology=topology, targets=targets)


SECTIONS: Mapping[str, Callable[[Settings], Iterator[list[Row]]]] = {
    "sync": sync_section,
    "async": async_section,
    "trio": partial(other_section, "trio"),
    "uvloop": partial(other_section, "uvloop"),
    "build": lambda settings: each(settings.nodes, partial(build_rows, settings)),
    "single": lambda settings: singles.run(settings.singles),
    "hot": lambda settings: hot.run(settings.hot),
    "seams": lambda settings: seams.run(settings.seams),
    "loops": lambda settings: looping.run(settings.looping),
    "routing": lambda settings: routing.run(settings.routing),
}
run = partial(chosen, SECTIONS)
