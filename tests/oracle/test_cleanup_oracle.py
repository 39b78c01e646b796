"""Random Dags with cleanup and teardowns, ended at random moments, against the rule written out by brute force.

Whatever ends a run (a failure, a cancellation, an exit): each node that cleans up is decided once, after all ordinary
nodes have ended; a teardown runs if its setup completed and only then, after all ordinary descendants of that.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from typing import Any

import anyio
import pytest
import trio

import flow
from flow.types import Status

pytestmark = pytest.mark.filterwarnings("ignore::flow.errors.BlockingNodeWarning")


class Node:
    """One random node. ``setup`` is that of a teardown; ``cleans`` is any that cleans up."""

    def __init__(self, rng: random.Random, name: str, before: Sequence[str], setup: str = "") -> None:
        self.name = name
        self.setup = setup
        self.cleans = not name.startswith("n")
        self.before = rng.sample(before, min(len(before), rng.choice((0, 1, 1, 2, 3))))
        self.reads = [other for other in self.before if self.cleans and rng.random() < 0.4]
        self.takes = [other for other in self.before if not self.cleans and rng.random() < 0.3]
        self.fails = rng.random() < (0.3 if self.cleans else 0.1)
        self.tolerated = not self.cleans and rng.random() < 0.5
        self.exits = False
        self.ticks = rng.choice((0, 0, 1, 2, 5))
        self.flaky = rng.random() < 0.2
        self.threaded = rng.random() < 0.1


def random_nodes(rng: random.Random) -> list[Node]:
    names = [f"n{i}" for i in range(rng.randint(1, 14))]
    ordinary = [Node(rng, name, names[:i]) for i, name in enumerate(names)]
    teardowns: list[Node] = []
    for i in range(rng.randint(0, 4)):
        setup = rng.choice(names)
        earlier = [*names, *[node.name for node in teardowns]]
        teardowns.append(Node(rng, f"t{i}", earlier, setup))
    cleanup: list[Node] = []
    for i in range(rng.randint(0 if teardowns else 1, 4)):
        earlier = [*names, *[node.name for node in (*teardowns, *cleanup)]]
        cleanup.append(Node(rng, f"c{i}", earlier))
    return [*ordinary, *teardowns, *cleanup]


def dag_of(nodes: Sequence[Node], rng: random.Random, log: list[Any], kind: str) -> flow.Dag:
    dag = flow.Dag("random")
    for node in rng.sample(nodes, len(nodes)):
        options: dict[str, Any] = {"after": [name for name in node.before if name not in (*node.reads, *node.takes)]}
        if node.tolerated:
            options["continue_on_error"] = True
        if node.flaky:
            options["retry"] = flow.Retry(2, delay=0.0)
        if node.threaded and kind == "async":
            options["thread"] = True
        options["needs"] = {name: name for name in (*node.takes, *node.reads)}
        if node.setup:
            options["needs"]["it"] = node.setup
        fn = _function(node, log, kind == "async" and "thread" not in options)
        if node.setup:
            dag.teardown(node.name, fn, of=node.setup, **options)
        else:
            dag.add(node.name, fn, cleanup=node.cleans, **options)
    return dag


def _function(node: Node, log: list[Any], is_async: bool) -> Any:
    """A function with a parameter for each reading."""
    parameters = [*(["it"] if node.setup else []), *node.takes, *[f"{name}: Outcome = None" for name in node.reads]]
    source = f"""
{'async ' if is_async else ''}def fn({', '.join(parameters)}):
    begin([{', '.join(node.reads)}])
    try:
        for _ in range(ticks):
            {'await sleep(0)' if is_async else 'pass'}
        return end()
    finally:
        log.append(("end", name))
"""
    attempts: list[int] = []

    def begin(outcomes: list[Any]) -> None:
        attempts.append(1)
        log.append(("start", node.name, [outcome.status for outcome in outcomes]))

    def end() -> str:
        if node.exits:
            raise KeyboardInterrupt
        if node.fails or (node.flaky and len(attempts) == 1):
            raise ValueError(node.name)
        return node.name

    namespace: dict[str, Any] = {
        "begin": begin, "end": end, "log": log, "name": node.name, "sleep": anyio.sleep, "Outcome": flow.Outcome,
        "ticks": node.ticks,
    }  # fmt: skip
    exec(source, namespace)
    return namespace["fn"]


def descendants(nodes: Sequence[Node], of: str) -> set[str]:
    """The ordinary nodes that depend on ``of``, directly or not."""
    found = {of}
    for node in nodes:
        if not node.cleans and not found.isdisjoint(node.before):
            found.add(node.name)
    return found - {of}


def check(nodes: Sequence[Node], log: Sequence[Any], status: Any, exact: bool) -> None:
    """Check one run: what cleans up was called as the rule says, and when.

    :param exact: no exit has reached what cleans up.
    """
    last = {entry[1]: at for at, entry in enumerate(log)}
    first: dict[str, int] = {}
    for at, entry in enumerate(log):
        first.setdefault(entry[1], at)
    calls = {node.name: sum(entry[:2] == ("start", node.name) for entry in log) for node in nodes}
    for node in (node for node in nodes if node.cleans):
        name = node.name
        runs = not node.setup or status[node.setup] is Status.COMPLETED
        want = "bypassed" if not runs else "failed" if node.fails else "completed"
        if exact:
            assert status[name] == want, name
            assert calls[name] == (0 if not runs else 1 + node.flaky), name
        if name not in first:
            continue
        others = descendants(nodes, node.setup) | {node.setup} if node.setup else {
            other.name for other in nodes if not other.cleans or other.setup
        }  # fmt: skip
        late = [other for other in (*others, *node.before) if last.get(other, -1) > first[name]]
        assert not late, (name, late)
        for entry in log:
            if entry[:2] == ("start", name):
                assert entry[2] == [status[other] for other in node.reads]
    assert not any(str(status[node.name]) in ("pending", "ready", "running", "waiting") for node in nodes)


def expected(nodes: Sequence[Node]) -> dict[str, str]:
    """The statuses of the ordinary nodes, if nothing ends the run early."""
    status: dict[str, str] = {}
    bad: dict[str, str] = {}  # why others may be skipped: "hard", or "soft" where it is tolerated
    for node in nodes:
        if not node.cleans:
            hard = any(bad.get(name) == "hard" for name in node.before)
            needed = [name for name in node.before if name in node.takes or status[name] == "skipped"]
            soft = any(bad.get(name) == "soft" for name in needed)
            status[node.name] = "skipped" if hard or soft else "failed" if node.fails else "completed"
            if status[node.name] == "skipped":
                bad[node.name] = "hard" if hard else "soft"
            elif node.fails:
                bad[node.name] = "soft" if node.tolerated else "hard"
    return status


@pytest.mark.parametrize("seed", range(90))
def test_inline(seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(10):
        nodes, log = random_nodes(rng), list[Any]()
        if rng.random() < 0.3:
            rng.choice([node for node in nodes if not node.cleans]).exits = True
        dag = dag_of(nodes, rng, log, "sync")
        on_error = rng.choice(("collect", "fail_fast"))
        try:
            result = flow.run(dag, config=flow.Config(on_error=on_error, keep=rng.choice(("all", "targets"))))
        except (flow.RunError, KeyboardInterrupt) as error:
            result = error.result  # type: ignore[union-attr]
        found = {name: str(status) for name, status in result.status.items() if name.startswith("n")}
        if on_error == "collect" and "cancelled" not in found.values() and not any(node.exits for node in nodes):
            assert found == expected(nodes)
        check(nodes, log, result.status, exact=True)


@pytest.mark.parametrize("backend", ["asyncio", "uvloop", "trio"])
@pytest.mark.parametrize("seed", range(24))
def test_on_a_loop(seed: int, backend: Any) -> None:
    rng = random.Random(seed)
    for _ in range(5):
        nodes, log = random_nodes(rng), list[Any]()
        dag = dag_of(nodes, rng, log, "async")
        config = flow.Config(
            on_error=rng.choice(("collect", "fail_fast")), backend=backend, limit=rng.choice((None, None, 1, 2))
        )
        try:
            result = flow.run(dag, config=config)
        except flow.RunError as error:
            result = error.result
        found = {name: str(status) for name, status in result.status.items() if name.startswith("n")}
        if config.on_error == "collect":
            assert found == expected(nodes)
        check(nodes, log, result.status, exact=True)


@pytest.mark.parametrize("loop", ["asyncio", "trio"])
@pytest.mark.parametrize("seed", range(60))
def test_cancelled_from_outside(seed: int, loop: str) -> None:
    """At any moment, and again a few moments later."""
    rng = random.Random(seed)
    for _ in range(5):
        nodes, log, seen = random_nodes(rng), list[Any](), dict[str, Status]()
        dag = dag_of(nodes, rng, log, "async")
        dag.add("hangs", _hangs)
        config = flow.Config(observers=(_recorder(seen),), limit=rng.choice((None, 2)))
        moments = [rng.randint(0, 12), rng.randint(1, 6)]
        if loop == "trio":
            trio.run(_cancelled_on_trio, dag, config, moments)
        else:
            asyncio.run(_cancelled_on_asyncio(dag, config, moments))
        if seen:  # else it was cancelled before it began
            check(nodes, log, {name: seen.get(name, Status.CANCELLED) for name in dag}, exact=True)


async def _hangs() -> None:
    await anyio.sleep_forever()


def _recorder(seen: dict[str, Status]) -> Any:
    from flow.run import events

    ends = {
        events.NodeFinished: Status.COMPLETED, events.NodeFailed: Status.FAILED, events.NodeSkipped: Status.SKIPPED,
        events.NodeBypassed: Status.BYPASSED, events.NodeCancelled: Status.CANCELLED,
    }  # fmt: skip

    def observe(event: Any) -> None:
        if type(event) in ends:
            assert event.node not in seen, "decided twice"
            seen[event.node] = ends[type(event)]

    return observe


async def _cancelled_on_asyncio(dag: flow.Dag, config: flow.Config, moments: Sequence[int]) -> None:
    task = asyncio.create_task(flow.execute(dag, config=config))
    for moment in moments:
        for _ in range(moment):
            await asyncio.sleep(0)
        task.cancel()
    with pytest.raises((asyncio.CancelledError, flow.RunError)):
        await task


async def _cancelled_on_trio(dag: flow.Dag, config: flow.Config, moments: Sequence[int]) -> None:
    async with trio.open_nursery() as nursery:

        async def execute() -> None:
            try:
                await flow.execute(dag, config=config)
            except flow.RunError:
                pass

        nursery.start_soon(execute)
        for _ in range(moments[0]):
            await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()
