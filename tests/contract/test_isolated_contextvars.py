"""A contextvar that a node sets is seen by no other node, in every mode: the same Dag gives the same outputs."""

from __future__ import annotations

import decimal
from contextvars import ContextVar
from typing import Any

import anyio
import pytest
from conftest import MODES, configs, loops

import flow
from flow import Config

VAR: ContextVar[Any] = ContextVar("VAR", default="unset")

CONFIGS = [
    *configs(),
    *configs(optimize="at_once"),
    pytest.param(Config(timeout=60.0), id="timeout"),
    pytest.param(Config(**MODES["timed"], keep="all"), id="timed"),
    pytest.param(Config(**MODES["threads"]), id="threads"),
]


def setter(*values: Any) -> Any:
    seen = VAR.get()
    VAR.set("node's")
    return seen


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("given", ["unset", "caller's"])
def test_nodes_see_the_callers_value(config: Config, given: str) -> None:
    dag = flow.Dag("sync")
    for i in range(8):
        dag.add(f"n{i}", setter, needs=[f"n{i - 1}"] if i else [])
    token = VAR.set(given)
    try:
        assert set(flow.run(dag, config=config).values()) == {given}
        assert VAR.get() == given
    finally:
        VAR.reset(token)


@pytest.mark.parametrize("config", CONFIGS)
def test_an_equal_value_is_another_one(config: Config) -> None:
    mine: list[int] = []

    def replaces() -> None:
        VAR.set([])

    def looks(*values: Any) -> bool:
        return VAR.get() is mine

    dag = flow.Dag("equal")
    dag.add("a", replaces)
    for i in range(6):
        dag.add(f"n{i}", looks, after=["a"])
    token = VAR.set(mine)
    try:
        result = flow.run(dag, config=config)
    finally:
        VAR.reset(token)
    assert all(result[f"n{i}"] for i in range(6))


@pytest.mark.parametrize("config", CONFIGS)
def test_items_are_isolated_too(config: Config) -> None:
    dag = flow.Dag("items")
    dag.map("m", setter, over="xs")
    dag.map("counted", setter, over="xs", retry=flow.Retry(2))
    result = flow.run(dag, {"xs": range(4)}, config=config)
    assert result["m"] == result["counted"] == ["unset"] * 4


@pytest.mark.parametrize("config", CONFIGS)
def test_so_are_the_nodes_of_a_dag_within(config: Config) -> None:
    inner = flow.Dag("inner")
    inner.add("a", setter)
    inner.add("b", setter, needs=["a"])
    dag = flow.Dag("outer")
    dag.add("inner", inner)
    dag.add("after", setter, after=["inner"])
    result = flow.run(dag, config=config)
    assert (dict(result["inner"]), result["after"]) == ({"a": "unset", "b": "unset"}, "unset")


@pytest.mark.parametrize("backend", loops())
def test_async_nodes_beside_sync_ones(backend: str) -> None:
    async def waits(*values: Any) -> Any:
        seen = VAR.get()
        VAR.set("async node's")
        await anyio.sleep(0)
        assert VAR.get() == "async node's"
        return seen

    async def at_once(*values: Any) -> Any:
        return setter()

    dag = flow.Dag("mixed")
    fns = [setter, at_once, waits]
    for i in range(12):
        dag.add(f"n{i}", fns[i % 3], needs=[f"n{i - 1}"] if i else [])
    assert set(flow.run(dag, config=Config(backend=backend)).values()) == {"unset"}  # type: ignore[arg-type]


def test_a_decimal_context_is_a_nodes_own() -> None:
    def coarse() -> None:
        decimal.setcontext(decimal.Context(prec=3))

    dag = flow.Dag("decimal")
    dag.add("coarse", coarse)
    dag.add("fine", lambda: decimal.getcontext().prec, after=["coarse"])
    before = decimal.getcontext().prec
    assert flow.run(dag)["fine"] == before


def test_retries_begin_with_the_callers_value_again() -> None:
    seen: list[Any] = []

    def flaky() -> None:
        seen.append(VAR.get())
        VAR.set("attempt's")
        if len(seen) < 3:
            raise ValueError

    dag = flow.Dag("retries")
    dag.add("flaky", flaky, retry=flow.Retry(3, delay=0))
    flow.run(dag)
    assert seen == ["unset"] * 3
