"""Random Dags that route, against the token rule written out by brute force: an edge at a time, over and over.

The oracle knows nothing of counters, of an order or of a loop: it looks at all edges of a node whose nodes have ended,
and says what the table in docs/routing.md says. So it agrees with a run only if the order of the run does not matter.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import pytest

import flow
from flow.types import Status

LIVE, BYPASSED, FAILED, SOFT = "live", "bypassed", "failed", "failed, tolerated"
JOINS: Sequence[Any] = ("all", "all", "all", "some", "none_failed", "done", "failed", 1, 2)
CONDITIONS = ("completed", "completed", "failed", "done")


class Node:
    """One random node: what it waits for and how, and how it will end if it runs."""

    def __init__(self, rng: random.Random, i: int) -> None:
        self.name = f"n{i}"
        before = rng.sample(range(i), min(i, rng.choice((0, 1, 1, 2, 2, 3))))
        self.edges = {f"n{d}": rng.choice(CONDITIONS) for d in before}
        self.reads = [name for name, condition in self.edges.items() if condition == "completed" and rng.random() < 0.4]
        self.outcomes = [name for name in self.edges if name not in self.reads and rng.random() < 0.15]
        self.join = rng.choice(JOINS)
        if not self.edges and self.join in ("some", "failed"):
            self.join = "all"
        if type(self.join) is int:
            self.join = min(self.join, len(self.edges)) or "all"
        self.fails = rng.random() < 0.25
        self.tolerated = self.fails and rng.random() < 0.4
        self.fallback = self.fails and not self.tolerated and rng.random() < 0.3
        self.flaky = rng.random() < 0.1
        self.when = rng.choice((None, None, None, True, False))
        self.to: list[str] = []
        self.chosen: list[str] = []

    @property
    def counts(self) -> bool:
        return type(self.join) is int


def dag_of(nodes: Sequence[Node], rng: random.Random, kind: str) -> tuple[flow.Dag, list[str]]:
    dag, called = flow.Dag("random"), list[str]()
    for node in nodes:
        options: dict[str, Any] = {"after": node.edges, "join": node.join}
        if node.tolerated:
            options["continue_on_error"] = True
        if node.fallback:
            options["fallback"] = node.chosen[0] if node.to else "fallback"
        if node.flaky or rng.random() < 0.1:
            options["retry"] = flow.Retry(2, delay=0.0)
        if node.when is not None:
            options["when"] = _saying(node.when)
        if kind == "thread" and rng.random() < 0.3:
            options["thread"] = True
        fn = _function(node, called, kind == "async" and rng.random() < 0.7 and "thread" not in options)
        options["needs"] = {name: name for name in (*node.reads, *node.outcomes)}
        if node.to:
            dag.route(node.name, fn, to={name: name for name in node.to}, **options)
        else:
            dag.add(node.name, fn, **options)
    return dag, called


def _saying(said: bool) -> Any:
    return lambda: said


def _function(node: Node, called: list[str], is_async: bool) -> Any:
    """A function with a parameter for each reading, with a default; it notes what it is given."""
    parameters = [f"{name}='default'" for name in node.reads] + [f"{name}: Outcome = None" for name in node.outcomes]
    values = ", ".join([*node.reads, *node.outcomes])
    pause = "await sleep(0)" if is_async else "pass"
    source = f"""
{'async ' if is_async else ''}def fn({', '.join(parameters)}):
    {pause}
    return ended([{values}])
"""
    attempts = []

    def ended(values: list[Any]) -> Any:
        attempts.append(values)
        if len(attempts) == 1 and node.flaky:
            raise OSError("once")
        if node.fails:
            raise ValueError(node.name)
        called.append(node.name)
        return node.chosen if node.to else (node.name, values)

    import anyio

    namespace: dict[str, Any] = {"ended": ended, "sleep": anyio.sleep, "Outcome": flow.Outcome}
    exec(source, namespace)
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
        found, condition = status[other], node.edges.get(other, "completed")
        source = by_name[other]
        if other in node.outcomes and condition == "completed":  # else the condition is what counts
            condition = "done"
        if found == "completed" and node.name in source.to and node.name not in source.chosen:
            return BYPASSED
        if condition == "done" or condition == found:
            return LIVE
        if found in ("completed", "bypassed"):
            return BYPASSED
        tolerated = source.tolerated if found == "failed" else soft[other]
        if not tolerated:
            return FAILED
        if condition == "failed":
            return SOFT
        return LIVE  # readings have a default

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
        elif node.when is False:
            status[node.name] = "bypassed"
        else:
            status[node.name] = "failed" if fails_for_good(node) else "completed"
    return status, causes


def is_ok(nodes: Sequence[Node], status: dict[str, str], causes: dict[str, list[str]]) -> bool:
    """Tell whether every failure is tolerated or handled, and every skip is for handled failures alone."""

    def handled(node: Node) -> bool:
        return any(
            status[other.name] == "completed"
            and (other.edges.get(node.name) == "failed" or (other.join == "failed" and waits_for(other, node)))
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


def fails_for_good(node: Node) -> bool:
    return node.fails and not node.fallback


def random_nodes(rng: random.Random) -> list[Node]:
    nodes = [Node(rng, i) for i in range(rng.randint(2, 18))]
    for i, node in enumerate(nodes[:-1]):
        if rng.random() < 0.25:
            later = nodes[i + 1 :]
            targets = rng.sample(later, min(len(later), rng.randint(1, 3)))
            node.to = [target.name for target in targets]
            node.chosen = rng.sample(node.to, rng.randint(1, len(node.to)))
            if node.fallback:
                node.chosen = node.chosen[:1]
    for node in nodes:  # a flaky node without a retry would fail
        node.flaky = False
    return nodes


MODES: Sequence[tuple[str, dict[str, Any]]] = (
    ("sync", {}),
    ("sync", {"mode": "workers", "limit": 2}),
    ("sync", {"order": "critical_path"}),
    ("async", {}),
    ("async", {"limit": 2}),
    ("async", {"backend": "trio"}),
    ("async", {"backend": "uvloop", "mode": "workers"}),
    ("thread", {"limit": 3}),
    ("sync", {"keep": "targets"}),
)


@pytest.mark.filterwarnings("ignore:.*all of its . routers:flow.DefinitionWarning")
@pytest.mark.parametrize("seed", range(500))
def test_statuses_are_those_of_the_rule(seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(10):
        nodes = random_nodes(rng)
        kind, settings = rng.choice(MODES[:3] if seed % 10 else MODES)
        dag, called = dag_of(nodes, rng, kind)
        result = flow.run(dag, config=flow.Config(on_error="collect", **settings))
        want, causes = expected(nodes)
        found = {name: str(status) for name, status in result.status.items()}
        assert found == want, (seed, kind, settings)
        assert sorted(called) == sorted(
            node.name for node in nodes if want[node.name] == "completed" and not node.fails
        )
        assert result.ok == is_ok(nodes, found, causes), (seed, kind, settings)
        if settings.get("keep") is None:
            for node in nodes:
                if not node.counts and found[node.name] == "completed" and not node.to and not node.fallback:
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


@pytest.mark.filterwarnings("ignore:.*all of its . routers:flow.DefinitionWarning")
@pytest.mark.parametrize("seed", range(100))
def test_a_run_that_fails_fast_is_the_beginning_of_that(seed: int) -> None:
    """What has ended has ended as the rule says; the rest is cancelled; and a run that the rule calls ok is not cut."""
    rng = random.Random(1_000 + seed)
    for _ in range(10):
        nodes = random_nodes(rng)
        kind, settings = rng.choice(MODES[:5])
        dag, _ = dag_of(nodes, rng, kind)
        want, causes = expected(nodes)
        try:
            result = flow.run(dag, config=flow.Config(**settings))
        except flow.RunError as error:
            result = error.result
            assert not is_ok(nodes, want, causes), (seed, kind, settings)
        found = {name: str(status) for name, status in result.status.items()}
        assert {name: status for name, status in found.items() if status not in (want[name], "cancelled")} == {}
        assert "cancelled" not in found.values() or not result.ok
