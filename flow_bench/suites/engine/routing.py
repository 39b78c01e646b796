"""What routing costs: a plan that routes, and leaves nothing out, beside the same plan that only counts.

The baseline is a plan whose first node alone has a join: the run counts, and no other node has anything to decide.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any
from warnings import catch_warnings, simplefilter

import flow
from flow_bench.harness.contender import Contender, Operation
from flow_bench.harness.interleave import interleave, repeat_of
from flow_bench.harness.loops import LOOP, counter_loop, on_graph
from flow_bench.harness.rows import JUDGED, Row, Target
from flow_bench.harness.work import Work, noop

SECTION = "routing, per node"
BY_HAND, COUNTING = "counters and ready list, by hand", "flow counts, one node has a join"
WHEN, WHEN_READS = "a when on every node", "a when that reads on every node"
JOIN, CONDITIONS, ROUTERS = "a join on every node", "a condition on every edge", "a router every 10 nodes"
HANDLER = "a handler of each node, bypassed"
TARGETS: Mapping[str, Target] = {label: Target(1.3, 1.2) for label in (WHEN, JOIN, CONDITIONS)}


@dataclass(frozen=True)
class Effort:
    """How much to measure."""
    rounds: int = 41
    nodes: int = JUDGED


QUICK = Effort(rounds=9)


def run(effort: Effort) -> Iterator[list[Row]]:
    """Yield a table per graph: edges that pass data, then edges of pure order."""
    made, nodes = flow.topologies, effort.nodes
    graphs = {"chain": made.linear(nodes), "random": made.sparse_random(nodes, max_in_degree=3, seed=1)}
    targets = TARGETS if nodes == JUDGED else {}
    for topology, dag in graphs.items():
        work = Work.of(dag)
        rows = []
        for prefix, contenders in (("data edges: ", _data()), ("order edges: ", _order())):
            samples = interleave(contenders, effort.rounds, work, repeat=5 * repeat_of(nodes))
            more: dict[str, Any] = {"prefix": prefix, "nodes": nodes, "topology": topology, "targets": targets}
            rows += samples.rows(SECTION, "us", COUNTING, per=nodes, **more)
        yield rows


def agrees() -> bool:
    """Let every node run."""
    return True


def _data() -> list[Contender]:
    return [
        on_graph(BY_HAND, counter_loop),
        _contender(COUNTING, _counted),
        _contender(WHEN, _when),
        _contender(WHEN_READS, partial(_when, reads=True)),
    ]


def _order() -> list[Contender]:
    return [
        _contender(COUNTING, partial(_ordered, first="done")),
        _contender(JOIN, partial(_ordered, join="none_failed")),
        _contender(CONDITIONS, partial(_ordered, condition="done")),
        _contender(ROUTERS, _routers),
        _contender(HANDLER, _handlers, bypassed=True),
    ]


def _contender(label: str, plan_of: Callable[[Work], flow.Plan], *, bypassed: bool = False) -> Contender:
    """A run of a plan made once, all nodes of which complete, or half of them."""
    plan_once = cache(plan_of)

    def make(work: Work) -> Operation:
        return partial(flow.run, plan_once(work), config=LOOP)

    def check(result: flow.Result, work: Work) -> str | None:
        wanted = {flow.Status.COMPLETED: len(work.names)}
        if bypassed:
            wanted[flow.Status.BYPASSED] = len(work.names)
        return None if result.counts == wanted else f"a run left {dict(result.counts)}"

    return Contender(label, make, check)


def _counted(work: Work) -> flow.Plan:
    dag = work.dag("sync")
    dag.add(work.names[0], work.kinds["sync"][0], join="done", replace=True)
    return dag.compile()


def _when(work: Work, *, reads: bool = False) -> flow.Plan:
    """:param reads: each condition has a parameter, which is the first node before."""
    dag = flow.Dag("when")
    for name, fn, needs in zip(work.names, work.kinds["sync"], work.needs, strict=True):
        dag.add(name, fn, needs=needs, when=_reading(needs[0]) if reads and needs else agrees)
    return dag.compile()


def _reading(name: str) -> Callable[..., bool]:
    reads: Callable[..., bool] = eval(f"lambda {name}: True")
    return reads


def _ordered(work: Work, join: Any = "all", condition: Any = "completed", first: Any = "") -> flow.Plan:
    """:param first: the join of the first node."""
    dag = flow.Dag("ordered")
    for name, fn, needs in zip(work.names, work.kinds["sync"], work.needs, strict=True):
        dag.add(name, fn, after=dict.fromkeys(needs, condition), join=first or join)
        first = ""
    return dag.compile()


def _routers(work: Work) -> flow.Plan:
    """Every tenth node with others after it is a router that chooses all of these."""
    dag = flow.Dag("routers")
    for i, (name, fn, needs, after) in enumerate(
        zip(work.names, work.kinds["sync"], work.needs, work.successors, strict=True)
    ):
        if i % 10 or not after:
            dag.add(name, fn, after=needs)
        else:
            targets = [work.names[s] for s in after]
            dag.route(name, _choosing(targets), to=dict(zip(targets, targets, strict=True)), after=needs)
    with catch_warnings():
        simplefilter("ignore", flow.DefinitionWarning)  # all routers choose all
        return dag.compile()


def _choosing(targets: Sequence[str]) -> Callable[[], Sequence[str]]:
    return lambda: targets


def _handlers(work: Work) -> flow.Plan:
    """After each node one that runs only if that fails: the figure is per node that is handled."""
    dag = flow.Dag("handlers")
    for name, fn, needs in zip(work.names, work.kinds["sync"], work.needs, strict=True):
        dag.add(name, fn, after=needs)
        dag.add(f"{name}-handler", noop, after={name: "failed"})
    return dag.compile()
