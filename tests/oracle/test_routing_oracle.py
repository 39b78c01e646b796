"""Random Dags that route, against the token rule written out by brute force: an edge at a time, over and over.

The oracle knows nothing of counters, of an order or of a loop: it looks at all edges of a node whose nodes have ended,
and says what the table in docs/routing.md says. So it agrees with a run only if the order of the run does not matter.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import anyio
import pytest
from conftest import MODES, loops, share

import flow
from flow.types import Status

LIVE, BYPASSED, FAILED, SOFT = "live", "bypassed", "failed", "failed, tolerated"
JOINS: Sequence[Any] = ("all", "all", "all", "some", "none_failed", "done", "failed", 1, 2)
CONDITIONS = ("completed", "completed", "failed", "done")
TEXTS: Mapping[str, tuple[str, Sequence[str]]] = {
    "failed({0})": ("failed", ["failed"]),
    "true and failed({0}) and len(errors({0})) == 1": ("failed", ["failed"]),
    "failed({0}) or timed_out({0})": ("handled", ["failed"]),
    "true and (failed({0}, {0}))": ("handled", ["failed"]),
    "succeeded({0})": ("completed", ["completed"]),
    "not failed({0})": ("done", ["completed", "bypassed", "skipped"]),
    "bypassed({0}) or succeeded({0})": ("done", ["completed", "bypassed"]),
    "not (succeeded({0}) and true)": ("done", ["failed", "bypassed", "skipped"]),
}
"""Expressions: the condition that they give to the edge, and the statuses of the node for which they are true."""


class Node:
    """One random node: what it waits for and how, and how it will end if it runs.

    :ivar edges: the nodes before it, and how each must end; ``after`` are those of them that are said to be.
    :ivar reads: those whose output is a parameter, with a default but for what is ``required``.
    :ivar asks: those whose output its condition reads.
    :ivar told: those whose Outcome its condition takes. :ivar saw: what it was given of them.
    :ivar text: the expression that its condition is, about the one node in ``told``; empty if it is a function.
    """

    def __init__(self, rng: random.Random, i: int) -> None:
        self.name = f"n{i}"
        before = rng.sample(range(i), min(i, rng.choice((0, 1, 1, 2, 2, 3, 5))))
        self.edges = {f"n{d}": rng.choice(CONDITIONS) for d in before}
        plain = [name for name, condition in self.edges.items() if condition == "completed"]
        self.reads = [name for name in plain if rng.random() < 0.4]
        self.is_map = rng.random() < 0.15
        free = [name for name in self.edges if name not in self.reads and not self.is_map]
        self.is_loop = not self.is_map and rng.random() < 0.15  # of two rounds
        self.outcomes = [name for name in free if not self.is_loop and rng.random() < 0.15]
        self.join = rng.choice(JOINS)
        if not self.edges and self.join in ("some", "failed"):
            self.join = "all"
        if type(self.join) is int:
            self.join = min(self.join, len(self.edges)) or "all"
        strict = self.join == "all"
        self.required = {name for name in self.reads if strict and rng.random() < 0.3}
        self.fails = rng.random() < 0.25
        self.tolerated = self.fails and rng.random() < 0.4
        self.over = rng.choice([*self.reads, "rows"]) if self.is_map and strict else "rows"
        if self.over in self.reads:
            self.reads.remove(self.over)
            self.required.add(self.over)
        self.fallback = self.fails and not self.tolerated and not self.is_map and rng.random() < 0.3
        self.flaky = rng.random() < 0.1
        self.when = rng.choice((None, None, None, None, True, True, False, "raises"))
        free = [name for name in plain if name not in self.outcomes]
        self.asks = [name for name in free if self.when is not None and rng.random() < 0.3]
        self.insists = {name for name in self.asks if strict and rng.random() < 0.5}
        self.saw: dict[str, str] = {}
        self.told, self.text = self._asking(rng)
        read = {*self.reads, *self.asks, *self.told, self.over}
        self.after = {
            name: how
            for name, how in self.edges.items()
            if name not in read or how != "completed" or rng.random() < 0.5
        }
        self.pauses = rng.choice((0, 0, 1, 1, 2, 4))
        self.to: list[str] = []
        self.chosen: list[str] = []

    def _asking(self, rng: random.Random) -> tuple[list[str], str]:
        """Choose what the condition is told of nodes. (Such an edge may be dead: what else reads it has a default.)"""
        firm = {*self.required, *self.asks, self.over}
        free = [name for name in self.edges if name not in firm]
        if not free or rng.random() < 0.8:
            return [], ""
        if self.when is None and not self.counts:
            self.when = "text"
            return [rng.choice(free)], rng.choice(list(TEXTS))
        return [name for name in free if self.when is not None and rng.random() < 0.5], ""

    def condition(self, other: str) -> str:
        """How ``other`` must end, so that its edge to this node is live."""
        how = self.edges.get(other, "completed")
        if how == "completed" and other in self.told:
            said = TEXTS[self.text][0] if self.text else "done"
            return "done" if said == "handled" else said
        return "done" if how == "completed" and other in self.outcomes else how

    @property
    def counts(self) -> bool:
        return type(self.join) is int

    @property
    def ends_badly(self) -> bool:
        """It fails for good, once its join has let it start."""
        return self.when == "raises" or (self.fails and not self.fallback)


def dag_of(
    nodes: Sequence[Node], rng: random.Random, kind: str, other: Callable[..., bool] | None = None
) -> tuple[flow.Dag, list[str]]:
    """Make a Dag of them; ``other`` adds those that are no functions, and says so."""
    dag, called = flow.Dag("random"), list[str]()
    for node in nodes:
        options: dict[str, Any] = {"after": node.after, "join": node.join}
        if node.tolerated:
            options["continue_on_error"] = True
        if node.fallback:
            options["fallback"] = node.chosen[0] if node.to else ("fallback", [])
        if node.when is not None:
            options["when"] = _saying(node)
        if other is not None and other(dag, node, options):
            continue
        if node.flaky or rng.random() < 0.1:
            options["retry"] = flow.Retry(2, delay=0.0)
        if kind == "thread" and rng.random() < 0.3:
            options["thread"] = True
        fn = _function(node, called, kind == "async" and rng.random() < 0.7 and "thread" not in options)
        options["needs"] = {f"p{k}": name for k, name in enumerate((*node.reads, *node.outcomes))}
        if node.to:
            dag.route(node.name, fn, to={name: name for name in node.to}, **options)
        elif node.is_map:
            dag.map(node.name, fn, over=node.over, **options)
        elif node.is_loop:
            dag.loop(node.name, fn, until=_every_other_time(), max_iterations=2, **options)
        else:
            dag.add(node.name, fn, **options)
    return dag, called


def inputs_of(nodes: Sequence[Node]) -> dict[str, Any]:
    return {"rows": (1, 2)} if any(node.is_map and node.over == "rows" for node in nodes) else {}


def _every_other_time() -> Any:
    asked: list[object] = []

    def until(output: object) -> bool:
        asked.append(output)
        return len(asked) % 2 == 0

    return until


def _saying(node: Node) -> Any:
    """A condition, whose parameters are the nodes that it reads."""
    if node.text:
        return flow.expr(node.text.format(*node.told))
    parameters = [name if name in node.insists else f"{name}=None" for name in node.asks]
    parameters += [f"{name}: Outcome{'=None' if node.counts else ''}" for name in node.told]

    def said(*told: Any) -> bool:
        node.saw = {name: str(one.status) for name, one in zip(node.told, told, strict=True) if one is not None}
        if node.when == "raises":
            raise LookupError(node.name)
        return bool(node.when)

    parameters.sort(key=lambda text: "=" in text)
    namespace: dict[str, Any] = {"said": said, "Outcome": flow.Outcome}
    exec(f"def when({', '.join(parameters)}): return said({', '.join(node.told)})", namespace)
    return namespace["when"]


@cache
def _code(item: bool, defaults: Sequence[bool], outcomes: int, is_async: bool) -> Any:
    """The code of a function that is given so many values, and gives them to ``ended``."""
    read = [f"p{k}" for k in range(len(defaults) + outcomes)]
    parameters = [f"{name}='default'" if has else name for name, has in zip(read, defaults, strict=False)]
    parameters += [f"{name}: Outcome = None" for name in read[len(defaults) :]]
    begin, star = ("item, " if item else ""), "*, " if parameters else ""
    source = f"""
{'async ' if is_async else ''}def fn({begin}{star}{', '.join(parameters)}):
    {'for _ in range(pauses): await sleep(0)' if is_async else 'pass'}
    return ended([{', '.join(read)}])
"""
    return compile(source, "<random>", "exec")


def _function(node: Node, called: list[str], is_async: bool) -> Any:
    """A function with a parameter for each reading; it notes what it is given."""
    attempts = []

    def ended(values: list[Any]) -> Any:
        attempts.append(values)
        if len(attempts) == 1 and node.flaky:
            raise OSError("once")
        if node.fails:
            raise ValueError(node.name)
        called.append(node.name)
        return node.chosen if node.to else (node.name, values)

    defaults = tuple([name not in node.required for name in node.reads])
    namespace: dict[str, Any] = {
        "ended": ended, "sleep": anyio.sleep, "Outcome": flow.Outcome, "pauses": node.pauses,
    }  # fmt: skip
    exec(_code(node.is_map, defaults, len(node.outcomes), is_async), namespace)
    return namespace["fn"]


def expected(nodes: Sequence[Node]) -> tuple[dict[str, str], dict[str, list[str]]]:
    """The status of each node by the rule alone, and the nodes that have sent it a failed token.

    A node is looked at once all nodes before it are known.
    """
    causes: dict[str, list[str]] = {}
    by_name = {node.name: node for node in nodes}
    routers: dict[str, list[Node]] = {node.name: [] for node in nodes}
    for node in nodes:
        for target in node.to:
            routers[target].append(node)
    status: dict[str, str] = {}
    soft: dict[str, bool] = {}  # of what was skipped: only tolerated failures have led to it

    def token(node: Node, other: str) -> str:
        found, condition = status[other], node.condition(other)
        source = by_name[other]
        if found == "completed" and node.name in source.to and node.name not in source.chosen:
            return BYPASSED
        if condition == "done" or condition == found:
            return LIVE
        if found in ("completed", "bypassed"):
            return BYPASSED
        tolerated = source.tolerated if found == "failed" else soft[other]
        if not tolerated:
            return FAILED
        if condition == "failed" or other in node.required or other in node.insists:
            return SOFT
        if other in (*node.reads, *node.asks, *node.told):
            return LIVE  # a reading with a default, or of a condition that gets an Outcome
        if found == "failed":
            return BYPASSED if node.name in source.to else LIVE  # order; a router that failed chose none
        return SOFT

    for node in nodes:
        others = dict.fromkeys([*node.edges, *[router.name for router in routers[node.name]]])
        tokens = [token(node, other) for other in others]
        causes[node.name] = [name for name, kind in zip(others, tokens, strict=True) if kind in (FAILED, SOFT)]
        failed = bool(causes[node.name])
        live = tokens.count(LIVE)
        runs = {
            "all": live == len(tokens),
            "some": not failed and live > 0,
            "none_failed": not failed,
            "done": True,
            "failed": failed,
        }.get(node.join, node.counts and live >= node.join)
        if not runs:
            skipped = failed and node.join != "failed"
            status[node.name] = "skipped" if skipped else "bypassed"
            soft[node.name] = FAILED not in tokens
        elif node.when is False or (node.text and status[node.told[0]] not in TEXTS[node.text][1]):
            status[node.name] = "bypassed"
        else:
            status[node.name] = "failed" if node.ends_badly else "completed"
    return status, causes


def is_ok(nodes: Sequence[Node], status: dict[str, str], causes: dict[str, list[str]]) -> bool:
    """Tell whether every failure is tolerated or handled, and every skip is for handled failures alone."""

    def handled(node: Node) -> bool:
        return any(
            status[other.name] == "completed"
            and (
                other.condition(node.name) == "failed"
                or (other.join == "failed" and waits_for(other, node))
                or (node.name in other.told and TEXTS.get(other.text, ("",))[0] == "handled")
            )
            for other in nodes
        )

    def waits_for(other: Node, node: Node) -> bool:
        return node.name in other.edges or other.name in node.to

    by_name = {node.name: node for node in nodes}
    failed = [node for node in nodes if status[node.name] == "failed"]
    if not all(node.tolerated or handled(node) for node in failed):
        return False
    excused: dict[str, bool] = {}
    for node in nodes:
        if status[node.name] == "skipped":
            excused[node.name] = all(
                excused[name] if status[name] == "skipped" else handled(by_name[name])
                for name in causes[node.name]
            )
    return all(excused.values())


def random_nodes(rng: random.Random) -> list[Node]:
    nodes = [Node(rng, i) for i in range(rng.choice((rng.randint(2, 12), rng.randint(2, 20), rng.randint(2, 60))))]
    for i, node in enumerate(nodes[:-1]):
        if not (node.is_map or node.is_loop) and rng.random() < 0.25:
            later = nodes[i + 1 :]
            targets = rng.sample(later, min(len(later), rng.randint(1, 3)))
            node.to = [target.name for target in targets]
            node.chosen = rng.sample(node.to, rng.randint(1, len(node.to)))
            if node.fallback:
                node.chosen = node.chosen[:1]
    return nodes


LOOPS: Sequence[tuple[str, dict[str, Any]]] = tuple(
    (kind, {"backend": loop.values[0]} | settings)
    for loop in loops()
    if not any(mark.name == "skip" for mark in loop.marks)
    for kind, settings in (
        ("async", {}),
        ("async", {"limit": 2}),
        ("async", {"mode": "tasks"}),
        ("async", {"mode": "workers", "limit": 3}),
        ("thread", {"limit": 3}),
    )
)
WAYS: Sequence[tuple[str, dict[str, Any]]] = (
    ("sync", MODES["auto"]),
    ("sync", MODES["inline"]),
    ("sync", MODES["workers-2"]),
    ("sync", MODES["tasks-1"]),
    ("sync", MODES["critical"]),
    ("sync", MODES["freeing"]),
    ("sync", MODES["observed"]),
    ("sync", MODES["threads"]),
    ("sync", {"timeout": 3600.0}),
    *LOOPS,
)
"""Kinds of functions, and settings of a Config."""

SEEDS, EACH = max(1, int(160 * share())), len(WAYS)

pytestmark = pytest.mark.filterwarnings("ignore:.*all of its . routers:flow.DefinitionWarning")


@pytest.mark.parametrize("seed", range(SEEDS))
def test_statuses_are_those_of_the_rule(seed: int) -> None:
    """In every way to run, each over another graph."""
    rng = random.Random(seed)
    for kind, settings in WAYS:
        check_run(random_nodes(rng), rng, kind, settings)


@pytest.mark.parametrize("seed", range(max(1, SEEDS // 10)))
def test_one_graph_in_every_way(seed: int) -> None:
    rng = random.Random(10_000 + seed)
    nodes = random_nodes(rng)
    for kind, settings in WAYS:
        check_run(nodes, rng, kind, settings)


def check_run(nodes: Sequence[Node], rng: random.Random, kind: str, settings: dict[str, Any]) -> None:
    dag, called = dag_of(nodes, rng, kind)
    result = flow.run(dag, inputs_of(nodes), config=flow.Config(on_error="collect", **settings))
    want, causes = expected(nodes)
    found = {name: str(status) for name, status in result.status.items()}
    assert found == want, (kind, settings)
    ran = [node for node in nodes if want[node.name] == "completed" and not node.fails]
    for node in nodes:  # (a run of a join of k may ask before all have ended)
        assert {name: want[name] for name in node.saw} == node.saw
        assert node.text or node.counts or node not in ran or [*node.saw] == node.told
    assert {*called} == {node.name for node in ran}
    plain = {node.name for node in nodes if not (node.is_map or node.is_loop)}
    for node in nodes:
        if node.is_loop and node in ran:
            assert called.count(node.name) == 2
    assert len(plain.intersection(called)) == len([name for name in called if name in plain])
    assert result.ok == is_ok(nodes, found, causes), (kind, settings)
    if settings.get("keep") is None:
        for node in ran:
            if not (node.counts or node.to or node.is_map):
                check_values(node, nodes, result)


def check_values(node: Node, nodes: Sequence[Node], result: flow.Result) -> None:
    """What came over live edges, and defaults over dead ones."""
    by_name = {other.name: other for other in nodes}
    _, values = result[node.name]
    for name, value in zip((*node.reads, *node.outcomes), values, strict=True):
        other = by_name[name]
        chosen = node.name not in other.to or node.name in other.chosen
        if name in node.reads:
            live = result.status[name] is Status.COMPLETED and chosen
            assert value == (result[name] if live else "default")
        elif chosen or result.status[name] is not Status.COMPLETED:
            assert value.status is result.status[name]


@pytest.mark.parametrize("seed", range(max(1, SEEDS // 4)))
def test_a_run_that_fails_fast_is_the_beginning_of_that(seed: int) -> None:
    """What has ended has ended as the rule says; the rest is cancelled; and a run that the rule calls ok is not cut."""
    rng = random.Random(1_000 + seed)
    for kind, settings in WAYS:
        nodes = random_nodes(rng)
        for node in nodes:
            node.flaky = False  # an attempt that fails while the run ends is the last one
        dag, _ = dag_of(nodes, rng, kind)
        want, causes = expected(nodes)
        try:
            result = flow.run(dag, inputs_of(nodes), config=flow.Config(**settings))
        except flow.RunError as error:
            result = error.result
            assert not is_ok(nodes, want, causes), (kind, settings)
        found = {name: str(status) for name, status in result.status.items()}
        assert {name: status for name, status in found.items() if status not in (want[name], "cancelled")} == {}
        assert "cancelled" not in found.values() or not result.ok


def test_there_are_five_thousand_examples() -> None:
    assert share() < 1 or (SEEDS + SEEDS // 10 + SEEDS // 4) * EACH >= 5_000
