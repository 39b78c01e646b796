"""Limits that hold: chains of any depth, any ``limit``, and runs within runs that share it."""

from __future__ import annotations

import math
import threading
from typing import Any

import anyio
import pytest
from conftest import collected, error_of

import flow
from flow import Config, Context, Retry, Status

pytestmark = pytest.mark.usefixtures("frozen")

DEEP = 10_000


def chain(count: int, first: Any = None, fn: Any = lambda *values: len(values)) -> flow.Dag:
    dag = flow.Dag("chain")
    dag.add("n0", first or fn)
    for i in range(1, count):
        dag.add(f"n{i}", fn, needs=[f"n{i - 1}"])
    return dag


async def anothing(*values: Any) -> int:
    return len(values)


async def await_once(*values: Any) -> int:
    await anyio.sleep(0)
    return len(values)


@pytest.mark.slow
class TestDeepChains:
    """10,000 nodes in a row at the default recursion limit, through every operation."""

    @pytest.mark.parametrize("fn", [lambda *values: len(values), anothing, await_once])
    @pytest.mark.parametrize("limit", [None, 1, 8])
    def test_runs(self, fn: Any, limit: int | None, backend: str) -> None:
        result = flow.run(chain(DEEP, fn=fn), config=Config(limit=limit, backend=backend))  # type: ignore[arg-type]
        assert result.counts == {Status.COMPLETED: DEEP}
        assert result[f"n{DEEP - 1}"] == 1

    @pytest.mark.parametrize("fn", [lambda *values: len(values), anothing, await_once])
    def test_fails_at_the_first_node(self, fn: Any) -> None:
        dag = chain(DEEP, first=lambda: 1 / 0, fn=fn)
        result = collected(dag)
        assert result.counts == {Status.FAILED: 1, Status.SKIPPED: DEEP - 1}
        assert error_of(dag).result.counts == result.counts

    def test_every_question_a_plan_answers(self) -> None:
        dag = chain(DEEP)
        plan = dag.compile()
        assert (plan.depth, plan.width, plan.critical_path().length) == (DEEP, 1, DEEP)
        assert len(plan.ancestors(f"n{DEEP - 1}")) == len(plan.descendants("n0")) == DEEP - 1
        assert len(plan.levels()) == len(plan.topological_order()) == DEEP
        assert len(dag.subgraph(f"n{DEEP - 1}")) == len(flow.interop.to_networkx(plan)) == DEEP
        assert flow.render.to_mermaid(plan).count("-->") == flow.render.to_dot(plan).count("->") == DEEP - 1
        assert len(flow.run(dag, targets=[f"n{DEEP - 1}"]).to_dict()["nodes"]) == DEEP

    def test_cancel(self, on_loop: Any) -> None:
        started = []

        async def wait(*values: Any) -> None:
            started.append(values)
            await anyio.sleep_forever()

        async def main() -> None:
            with anyio.CancelScope() as scope:
                async with anyio.create_task_group() as group:
                    group.start_soon(flow.execute, chain(DEEP, fn=wait))
                    while not started:
                        await anyio.sleep(0)
                    scope.cancel()
            assert scope.cancelled_caught

        on_loop(main)
        assert started == [()]


class TestLimits:
    """0 and negative are refused; a huge one starts no more than there is to do."""

    @pytest.mark.parametrize("limit", [0, -1, True, False, 1.5, "4", math.inf])
    def test_refused(self, limit: Any) -> None:
        for name in ("limit", "threads"):
            with pytest.raises(flow.errors.ConfigError, match=f"{name} must be an integer of at least 1"):
                Config(**{name: limit})

    def test_huge(self, backend: str) -> None:
        before = threading.active_count()
        config = Config(limit=10**9, threads=10**9, backend=backend)  # type: ignore[arg-type]
        dag = flow.Dag("d")
        for i in range(20):
            dag.add(f"n{i}", threading.active_count, thread=True)
        result = flow.run(dag, config=config)
        assert max(result.values()) <= before + 25
        assert result.counts == {Status.COMPLETED: 20}


class TestNestedAtTheBound:
    """A run inside a node has slots of its own: no deadlock at any bound."""

    def nested(self, depth: int, config: Config) -> flow.Dag:
        async def leaf() -> int:
            await anyio.sleep(0)
            return 1

        async def parent() -> int:
            inner = self.nested(depth - 1, config)
            return sum((await flow.execute(inner, config=config)).values())

        dag = flow.Dag(f"level{depth}")
        for i in range(3):
            dag.add(f"n{i}", parent if depth and not i else leaf)
        return dag

    def test_limit_one_five_levels(self, backend: str) -> None:
        config = Config(limit=1, backend=backend)  # type: ignore[arg-type]
        assert sum(flow.run(self.nested(5, config), config=config).values()) == 5 * 2 + 3

    def test_limit_four_sixteen_parents(self, backend: str) -> None:
        inner_config = Config(limit=1, backend=backend)  # type: ignore[arg-type]

        async def parent() -> int:
            return sum((await flow.execute(self.nested(5, inner_config), config=inner_config)).values())

        dag = flow.Dag("d")
        for i in range(16):
            dag.add(f"p{i}", parent)
        result = flow.run(dag, config=Config(limit=4, backend=backend))  # type: ignore[arg-type]
        assert list(result.values()) == [13] * 16

    def test_dags_as_nodes_five_deep(self, backend: str) -> None:
        dag = flow.Dag("leaf")
        for i in range(3):
            dag.add(f"n{i}", await_once)
        for depth in range(5):
            outer = flow.Dag(f"d{depth}")
            for i in range(3):
                outer.add(f"n{i}", dag)
            dag = outer
        result = flow.run(dag, config=Config(limit=1, backend=backend))  # type: ignore[arg-type]
        value: Any = result
        for _ in range(6):
            value = value["n2"]
        assert value == 0

    def test_waiting_for_a_retry_holds_no_slot(self, virtual: Any) -> None:
        log: list[str] = []

        async def flaky(ctx: Context) -> None:
            log.append(f"flaky {ctx.attempt}")
            if ctx.attempt < 3:
                raise OSError

        async def other() -> None:
            log.append("other")

        dag = flow.Dag("d")
        dag.add("flaky", flaky, retry=Retry(3, delay=5.0, backoff="constant"))
        dag.add("other", other)
        virtual(lambda: flow.execute(dag, config=Config(limit=1)))
        assert log == ["flaky 1", "other", "flaky 2", "flaky 3"]

