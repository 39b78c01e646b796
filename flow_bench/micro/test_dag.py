"""The dag suite: building and compiling graphs, asking what may run, following statuses. No node is called.

Graphs are those of :mod:`flow.topologies`. Resolution is that of a plan which has run before: it knows each node's
successors, as it does from its first run on; "a plan's first" says what finding them costs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, partial
from itertools import product
from types import FunctionType
from typing import Any

import flow
from flow_bench.harness.contender import Operation, expect
from flow_bench.harness.work import Work, noop
from flow_bench.micro.case import Case, table

SIZES = (10, 100, 1_000)
LARGE = 10_000
JUDGED = 100
"""Nodes of the graphs whose topologies are compared."""

RANDOM = "random p=0.3"


SHAPES: Mapping[str, Callable[[int], flow.Dag]] = {
    "linear": flow.topologies.linear,
    "diamond": flow.topologies.diamond,
    "tree": flow.topologies.tree,
    RANDOM: partial(flow.topologies.random_dag, p=0.3, seed=1),
    "sparse random": partial(flow.topologies.sparse_random, seed=1),
}
"""The topologies, by the name of their column."""


@cache
def graph(shape: str, nodes: int) -> Work:
    """The graph that all rows of this shape and size share. Its nodes stand in topological order."""
    return Work.of(SHAPES[shape](nodes))


def edges(work: Work) -> int:
    """How many dependencies there are."""
    return sum(work.in_degrees)


# -- building and compiling ------------------------------------------------------------------

BUILD, COMPILE, BOTH = "Dag.add of every node", "compile", "Dag.add of every node, then compile"
MAKES: dict[str, Callable[[Work], Operation]] = {
    BUILD: lambda work: partial(work.dag, "sync"),
    COMPILE: lambda work: work.dag("sync").compile,
    BOTH: lambda work: partial(work.plan, "sync", fresh=True),
}
"""By label: what makes the operation. A Dag keeps its plan, so each compile needs a Dag of its own."""


def as_in(work: Work) -> Callable[[Any], str | None]:
    """Check that a Dag or a plan has the nodes and dependencies of ``work``."""

    def check(made: Any) -> str | None:
        plan = made.compile() if isinstance(made, flow.Dag) else made
        if list(plan) != work.names:
            return f"it made {len(plan)} nodes, or under other names, where {len(work.names)} were to be"
        pairs = zip(plan.dependencies.items(), work.dependencies, strict=True)
        wrong = [name for (name, needs), deps in pairs if needs != tuple([work.names[d] for d in deps])]
        return f"{len(wrong)} nodes have other dependencies, {wrong[0]} for one" if wrong else None

    return check


def _definition(section: str, label: str, suffix: str, shape: str, nodes: int, per: int, note: str = "") -> Case:
    work = graph(shape, nodes)
    more: dict[str, Any] = {"fresh": label == COMPILE, "per": per, "size": nodes, "series": shape, "note": note}
    return Case(f"{label}{suffix}", partial(MAKES[label], work), as_in(work), section=section, **more)


@table
def test_definition(quick: bool) -> Iterator[Case]:
    """Build and compile graphs of 10 to 10,000 nodes."""
    for label in MAKES:
        for shape in ("linear",) if label == BOTH else ("linear", "sparse random"):
            for nodes in (*SIZES, LARGE):
                yield _definition("definition, per node", label, "", shape, nodes, nodes)


SPELLINGS = ("needs=, one function", "after=, one function", "by parameter names, own functions")


@table
def test_spellings(quick: bool) -> Iterator[Case]:
    """Build and compile the same chain as it may be written: what ``needs=`` and one function cost, is the least."""
    for spelling in SPELLINGS:
        yield Case(
            "Dag.add of every node, then compile", partial(partial, _spelled, spelling, _own(JUDGED)), as_in(CHAIN()),
            section="a chain by its spelling, per node", per=JUDGED, size=JUDGED, series=spelling,
        )  # fmt: skip


CHAIN = partial(graph, "linear", JUDGED)


def _own(nodes: int) -> list[Callable[..., Any]]:
    """A function for each node of a chain, whose parameter is the node before."""

    def first() -> None:
        """Begin."""

    def next_one(before: object) -> None:
        """Go on."""

    codes = [next_one.__code__.replace(co_varnames=(f"n{k - 1}",)) for k in range(1, nodes)]
    return [first, *(FunctionType(code, {}) for code in codes)]


def _spelled(spelling: str, own: Sequence[Callable[..., Any]]) -> flow.Plan:
    dag = flow.Dag("chain")
    for k, fn in enumerate(own):
        before = [f"n{k - 1}"] if k else []
        if spelling == SPELLINGS[0]:
            dag.add(f"n{k}", noop, needs=before)
        elif spelling == SPELLINGS[1]:
            dag.add(f"n{k}", own[0], after=before)
        else:
            dag.add(f"n{k}", fn)
    return dag.compile()


@table
def test_topologies(quick: bool) -> Iterator[Case]:
    """Build and compile graphs of several shapes."""
    for label in MAKES:
        for shape in ("linear", "diamond", "tree", RANDOM):
            count = edges(graph(shape, JUDGED))
            for what, per in (("node", JUDGED), ("edge", count))[: 1 if label == BOTH else 2]:
                note = f"{JUDGED} nodes, {count:,} edges"
                yield _definition("topologies", label, f", per {what}", shape, JUDGED, per, note)


@table
def test_compiling_again(quick: bool) -> Iterator[Case]:
    """Compile a Dag that has grown, or has not."""
    section = "compiling again"
    for nodes in (*SIZES[1:], LARGE):
        make = partial(_one_more, graph("sparse random", nodes))
        yield Case("after one more node", make, expect(nodes + 1, len), section=section, fresh=True, size=nodes)
    dag, unchanged = graph("sparse random", 1_000).dag("sync"), "an unchanged Dag"
    yield Case(unchanged, lambda: dag.compile, lambda plan: plan is not dag.compile(), section=section, size=1_000)


def _one_more(work: Work) -> Operation:
    dag = work.dag("sync")
    dag.compile()
    dag.add("one-more", noop, needs=[work.names[-1]])
    return dag.compile


# -- resolution ------------------------------------------------------------------------------

RESOLVED = ("linear", "diamond", RANDOM)


def resolve(plan: flow.Plan) -> list[bool]:
    """Complete a third of the nodes, then ask of every node whether it may run."""
    resolver = a_third_done(plan)
    return [resolver.is_runnable(i) for i in range(len(plan))]


def a_third_done(plan: flow.Plan) -> flow.plan.Resolver:
    """Return a Resolver of the plan, a third of the nodes taken and done."""
    resolver = flow.plan.Resolver(plan)
    for _ in range(len(plan) // 3):
        if (i := resolver.take()) < 0:
            break  # it has lost a node, which the check will see
        resolver.done(i)
    return resolver


def runnable(dependencies: Sequence[tuple[int, ...]], done: int) -> list[bool]:
    """Say by brute force which nodes may run once the first ``done`` of a topological order are done."""
    return [i >= done and all(d < done for d in deps) for i, deps in enumerate(dependencies)]


def _resolved(shape: str, nodes: int) -> Callable[[Any], str | None]:
    wanted = runnable(graph(shape, nodes).dependencies, nodes // 3)

    def check(found: list[bool]) -> str | None:
        return None if found == wanted else f"it calls {sum(found)} nodes runnable where {sum(wanted)} are, or others"

    return check


@table
def test_asked(quick: bool) -> Iterator[Case]:
    """Ask of every node whether it may run."""
    for shape, nodes in product(RESOLVED, SIZES):
        yield Case(
            "is_runnable of every node, a third done", partial(_asking, graph(shape, nodes)), _resolved(shape, nodes),
            section="resolution, per node asked", per=nodes, size=nodes, series=shape, unit="ns",
        )  # fmt: skip


def _asking(work: Work) -> Operation:
    resolver, nodes = a_third_done(work.plan("sync")), range(len(work.names))
    return lambda: [resolver.is_runnable(i) for i in nodes]


@table
def test_resolution(quick: bool) -> Iterator[Case]:
    """Linear in the edges: from ten nodes to a thousand, the time per edge must not grow."""
    for first, shape, nodes in product((False, True), RESOLVED, SIZES):
        work, label = graph(shape, nodes), "Resolver, a third done, every node asked"
        yield Case(
            f"{label}: a plan's first" if first else label, partial(_resolving, work, first), _resolved(shape, nodes),
            section="resolution, per edge", fresh=first, per=edges(work), size=nodes, series=shape,
            note=f"{edges(work):,} edges", unit="ns",
        )  # fmt: skip


def _resolving(work: Work, first: bool) -> Operation:
    return partial(resolve, work.plan("sync", fresh=first))


# -- incremental resolution ------------------------------------------------------------------

INCREMENTAL = "incremental resolution, per node"


def count_down(plan: flow.Plan) -> list[int]:
    """Complete node after node, asking after each which is next, to the end; return the order."""
    resolver = flow.plan.Resolver(plan)
    order, i = [], resolver.take()
    while i >= 0:
        order.append(i)
        i = resolver.advance(i)
    return order


@table
def test_incremental_resolution(quick: bool) -> Iterator[Case]:
    """Complete node after node."""
    for shape, nodes in product(RESOLVED, SIZES):
        plan, label = graph(shape, nodes).plan("sync"), "each completed, and the next one asked for"
        yield Case(
            label, partial(partial, count_down, plan), expect(list(range(nodes))), section=INCREMENTAL,
            per=nodes, size=nodes, series=shape, note=f"{plan.edge_count:,} edges",
        )  # fmt: skip


def grow(plan: flow.Plan) -> Any:
    """Complete every node of the plan, each adding one that waits for it; return the statistics at the end."""
    resolver = flow.plan.Resolver(plan)
    for _ in range(len(plan)):
        i = resolver.take()
        resolver.add((i,))
        resolver.done(i)
    return resolver.statistics()


@table
def test_growing(quick: bool) -> Iterator[Case]:
    """Add a node for every one that is done."""
    for nodes in SIZES:
        grown = expect((nodes, nodes), lambda found: (found.done, found.ready))
        yield Case(
            "each taken, adds a node that waits for it, is done",
            partial(partial, grow, graph("linear", nodes).plan("sync")), grown, section=INCREMENTAL,
            per=nodes, size=nodes, series="linear",
        )  # fmt: skip


# -- statuses --------------------------------------------------------------------------------

STEPS = (flow.Status.READY, flow.Status.RUNNING, flow.Status.COMPLETED)


def follow(tracker: flow.plan.StatusTracker, names: Sequence[str]) -> flow.plan.StatusTracker:
    """Move every node to ready, then to running, then to completed."""
    for status in STEPS:
        for name in names:
            tracker.set(name, status)
    return tracker


@table
def test_status_tracking(quick: bool) -> Iterator[Case]:
    """Set statuses."""
    kinds: dict[str, Callable[[Sequence[str]], flow.plan.StatusTracker]] = {
        "statuses": flow.plan.StatusTracker,
        "and times": partial(flow.plan.StatusTracker, timestamps=True),
        "and a subscriber": _subscribed,
    }
    for (kind, make), nodes in product(kinds.items(), SIZES):
        yield Case(
            "StatusTracker.set, per change", partial(_following, make, graph("linear", nodes).names), _all_completed,
            section="status tracking", fresh=True, per=len(STEPS) * nodes, size=nodes, series=kind, unit="ns",
        )  # fmt: skip


def _subscribed(names: Sequence[str]) -> flow.plan.StatusTracker:
    tracker = flow.plan.StatusTracker(names)
    tracker.subscribe(id)
    return tracker


def _following(make: Callable[[Sequence[str]], flow.plan.StatusTracker], names: Sequence[str]) -> Operation:
    return partial(follow, make(names), names)


def _all_completed(tracker: flow.plan.StatusTracker) -> str | None:
    counted, wanted = tracker.statistics(), {flow.Status.COMPLETED}
    if set(tracker.values()) == wanted and counted.completed == counted.total and counted.done:
        return None
    left = [name for name, status in tracker.items() if status not in wanted]
    return f"it left {len(left)} nodes in another status than completed, and counts {counted.completed} completed"


@table
def test_status_reading(quick: bool) -> Iterator[Case]:
    """Read statuses."""
    for nodes in SIZES:
        names = graph("linear", nodes).names
        tracker = follow(flow.plan.StatusTracker(names), names)
        looked, completed = expect([flow.Status.COMPLETED] * nodes), expect(nodes, lambda found: found.completed)
        shape: dict[str, Any] = {"section": "status tracking", "size": nodes, "series": "statuses", "unit": "ns"}
        yield Case("tracker[name], per node", partial(partial, _look, tracker, names), looked, per=nodes, **shape)
        yield Case("statistics()", partial(getattr, tracker, "statistics"), completed, **shape)


def _look(tracker: flow.plan.StatusTracker, names: Sequence[str]) -> list[flow.Status]:
    return [tracker[name] for name in names]
