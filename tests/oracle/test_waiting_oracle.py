"""Random Dags that route and wait, against the same rule: waiting changes when a node ends, and not how."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import anyio
import pytest
from test_routing_oracle import Node, _function, _saying, expected, is_ok, random_nodes

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
    waits = {node.name for node in nodes if not node.to and rng.random() < 0.5}
    for node in nodes:
        if node.name in waits:
            node.reads, node.outcomes = [], []
    return nodes, waits


def dag_of(nodes: Sequence[Node], waits: set[str], rng: random.Random, sends: bool) -> tuple[flow.Dag, list[str]]:
    """A node that waits and fails is a signal that is not sent; one that completes is a timer, or a signal that is."""
    dag, sent = flow.Dag("random"), list[str]()
    for node in nodes:
        options: dict[str, Any] = {"after": node.edges, "join": node.join}
        if node.tolerated:
            options["continue_on_error"] = True
        if node.fallback:
            options["fallback"] = node.chosen[0] if node.to else "fallback"
        if node.when is not None:
            options["when"] = _saying(node.when)
        if node.name not in waits:
            options["needs"] = {name: name for name in (*node.reads, *node.outcomes)}
            fn = _function(node, [], rng.random() < 0.3)
            if node.to:
                dag.route(node.name, fn, to={name: name for name in node.to}, **options)
            else:
                dag.add(node.name, fn, **options)
        elif node.fails:
            dag.signal(node.name, timeout=rng.choice((0.5, 1, 2)), **options)
        elif sends and rng.random() < 0.5:
            dag.signal(node.name, **options)
            sent.append(node.name)
        else:
            dag.timer(node.name, seconds=rng.choice((0, 1, 1, 2, 3)), **options)
    return dag, sent


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
        dag, _ = dag_of(nodes, waits, rng, sends=False)
        config = flow.Config(on_error="collect", clock=FakeClock(), **settings)
        check(flow.run(dag, config=config), nodes, (seed, settings))


@pytest.mark.filterwarnings("ignore:.*all of its . routers:flow.DefinitionWarning")
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("seed", range(50))
def test_sent_early_or_late(seed: int, backend: str) -> None:
    rng = random.Random(seed)

    async def one() -> None:
        nodes, waits = waiting_nodes(rng)
        dag, sent = dag_of(nodes, waits, rng, sends=True)
        limit = rng.choice((None, 1, 3))
        async with flow.start(dag, config=flow.Config(on_error="collect", clock=FakeClock(), limit=limit)) as run:
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
