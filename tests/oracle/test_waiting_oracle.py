"""Random Dags that route and wait, against the same rule: waiting changes when a node ends, and not how."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import anyio
import pytest
from test_routing_oracle import Node, dag_of, expected, inputs_of, is_ok, random_nodes

import flow
from flow.testing import FakeClock

MODES: Sequence[dict[str, Any]] = (
    {},
    {"limit": 1},
    {"mode": "workers", "limit": 2},
    {"order": "critical_path"},
    {"keep": "targets"},
    {"backend": "uvloop", "limit": 2},
    {"backend": "trio"},
    {"backend": "trio", "limit": 1},
)


def waiting_nodes(rng: random.Random) -> tuple[list[Node], set[str]]:
    """Random nodes, and the names of those that wait: they read nothing and choose nothing."""
    nodes = random_nodes(rng)
    sources = {node.over for node in nodes if node.is_map}
    waits = {node.name for node in nodes if not node.to and node.name not in sources and rng.random() < 0.5}
    for node in nodes:
        if node.name in waits:
            node.reads, node.outcomes, node.required, node.over, node.after = [], [], set(), "rows", dict(node.edges)
            node.is_map = node.is_loop = node.flaky = False
    return nodes, waits


def waiting_dag(nodes: Sequence[Node], waits: set[str], rng: random.Random, sends: bool) -> tuple[flow.Dag, list[str]]:
    """A node that waits and fails is a signal that is not sent; one that completes is a timer, or a signal that is."""
    sent: list[str] = []

    def other(dag: flow.Dag, node: Node, options: dict[str, Any]) -> bool:
        if node.name not in waits:
            return False
        if node.fails:
            dag.signal(node.name, timeout=rng.choice((0.5, 1, 2)), **options)
        elif sends and rng.random() < 0.5:
            dag.signal(node.name, **options)
            sent.append(node.name)
        else:
            dag.timer(node.name, seconds=rng.choice((0, 1, 1, 2, 3)), **options)
        return True

    return dag_of(nodes, rng, "async", other)[0], sent


def check(result: flow.Result, nodes: Sequence[Node], case: object) -> None:
    want, causes = expected(nodes)
    found = {name: str(status) for name, status in result.status.items()}
    assert found == want, case
    assert result.ok == is_ok(nodes, found, causes), case


@pytest.mark.filterwarnings("ignore:.*all of its . routers:flow.DefinitionWarning")
@pytest.mark.parametrize("seed", range(100))
def test_statuses_are_those_of_the_rule(seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(6):
        nodes, waits = waiting_nodes(rng)
        settings = rng.choice(MODES)
        dag, _ = waiting_dag(nodes, waits, rng, sends=False)
        config = flow.Config(on_error="collect", clock=FakeClock(), **settings)
        check(flow.run(dag, inputs_of(nodes), config=config), nodes, (seed, settings))


@pytest.mark.filterwarnings("ignore:.*all of its . routers:flow.DefinitionWarning")
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("seed", range(50))
def test_sent_early_or_late(seed: int, backend: str) -> None:
    rng = random.Random(seed)

    async def one() -> None:
        nodes, waits = waiting_nodes(rng)
        dag, sent = waiting_dag(nodes, waits, rng, sends=True)
        limit = rng.choice((None, 1, 3))
        config = flow.Config(on_error="collect", clock=FakeClock(), limit=limit)
        async with flow.start(dag, inputs_of(nodes), config=config) as run:
            for name in [name for name in sent if rng.random() < 0.5]:
                run.send(name)
                sent.remove(name)
            for name in sent:
                await anyio.sleep(0)
                try:
                    run.send(name)
                except flow.errors.SignalError as error:
                    assert error.reason == "ended"  # noqa: PT017
            result = await run.result()
        check(result, nodes, (seed, limit))

    async def some() -> None:
        for _ in range(5):
            await one()

    anyio.run(some, backend=backend)
