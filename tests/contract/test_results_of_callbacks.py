"""What functions around nodes may return and publish, and how often a generator may be read."""

from __future__ import annotations

import asyncio
import itertools
from functools import partial
from typing import Any
from unittest import mock

import pytest
from conftest import modes

import flow
from flow import Config, Context, Retry

COLLECT = Config(on_error="collect")


async def no(*values: Any) -> bool:
    return False


def errors(dag: flow.Dag, **inputs: Any) -> dict[str, BaseException]:
    return flow.run(dag, inputs, config=COLLECT).errors


def test_coroutines_of_a_fallback_a_predicate_and_a_key() -> None:
    dag = flow.Dag("d")
    dag.add("fallback", lambda: 1 / 0, fallback=lambda error: no(error))
    dag.add("retry", lambda: 1 / 0, retry=Retry(3, delay=0, retry_if=lambda error: no(error)))
    dag.map("key", lambda x: x, over="xs", key=lambda x: no(x))
    found = errors(dag, xs=[5, 5])
    assert "its fallback" in str(found["fallback"].__notes__)
    assert "is async, and nothing awaits" in str(found["fallback"].__notes__)
    assert "retry_if raised UsageError" in str(found["retry"].__notes__)
    assert "key: its function is async" in str(found["key"])


@pytest.mark.parametrize("kind", [asyncio.CancelledError, GeneratorExit])
@pytest.mark.parametrize("where", ["fallback", "retry_if"])
def test_a_callback_that_raises_what_ends_tasks(kind: type[BaseException], where: str) -> None:
    def stop(error: BaseException) -> Any:
        raise kind

    async def fails(item: int = 1) -> int:
        if item == 1:
            raise ValueError("mine")
        return item * 10

    options: Any = {"fallback": stop} if where == "fallback" else {"retry": Retry(2, delay=0, retry_if=stop)}
    dag = flow.Dag("d")
    dag.map("m", fails, over="xs", **options)
    dag.add("n", fails, needs={}, **options)
    dag.add("after", lambda: 1, after=["n"])
    dag.add("other", lambda: 1, thread=True)
    result = flow.run(dag, {"xs": [0, 1, 2]}, config=COLLECT)
    assert {name: str(error) for name, error in result.errors.items()} == {"m": "mine", "n": "mine"}
    assert (str(result.status["after"]), result["other"]) == ("skipped", 1)


def test_a_filters_verdict_is_no_coroutine_and_no_generator() -> None:
    def generator(x: int) -> Any:
        yield False

    async def stream(x: int) -> Any:
        yield False

    dag = flow.Dag("d")
    for name, fn in (("generator", generator), ("stream", stream)):
        dag.filter(name, fn, over="xs")
    dag.filter("batch", lambda batch: [no(x) for x in batch], over="xs", batch_size=1)
    found = errors(dag, xs=[0])
    assert len(found) == 3
    assert all("a filter needs a verdict" in str(error) for error in found.values())


def test_a_batch_function_that_never_ends() -> None:
    dag = flow.Dag("d")
    dag.map("m", lambda batch: itertools.repeat(0), over="xs", batch_size=2)
    assert "more than 2 came for so many" in str(errors(dag, xs=[1, 2])["m"])


def test_an_autospecced_async_function() -> None:
    async def fetch(url: str, timeout: int = 30) -> str:
        return "real"

    dag = flow.Dag("page")
    dag.add("page", mock.create_autospec(fetch, return_value="page"))
    assert flow.run(dag, {"url": "x"})["page"] == "page"


@pytest.mark.parametrize("mode", modes("auto", "tasks"))
@pytest.mark.parametrize("thread", [False, True])
def test_a_stop_iteration_is_the_users(mode: Any, thread: bool) -> None:
    dag = flow.Dag("d")
    dag.add("n", lambda: next(iter([])), thread=thread, retry=Retry(3, delay=0, retry_if=StopIteration))
    result = flow.run(dag, config=Config(on_error="collect", **mode))
    assert (result.attempts["n"], type(result.errors["n"])) == (3, StopIteration)


class TestRulesOfPublishing:
    def publishing(self, make: Any) -> flow.Dag:
        def publish(x: int, ctx: Context) -> None:
            ctx.publish("k", x, merge=make(x))

        dag = flow.Dag("d")
        dag.map("m", publish, over="xs")
        return dag

    @pytest.mark.parametrize(
        "make",
        [
            lambda x: lambda a, b: a + b * x,
            lambda x: lambda a, b, w=x: a + b * w,
            lambda x: partial(max, x),
            lambda x: str(x).__eq__,
        ],
        ids=["closure", "default", "partial", "method"],
    )
    def test_that_differ_are_refused(self, make: Any) -> None:
        assert "say the same everywhere" in str(errors(self.publishing(make), xs=[1, 2])["m"])

    @pytest.mark.parametrize(
        "make", [lambda x: lambda a, b: a + b, lambda x: partial(max, key=abs), lambda x: max, lambda x: "last"]
    )
    def test_that_are_the_same_are_taken(self, make: Any) -> None:
        assert flow.run(self.publishing(make), {"xs": [1, 2]}).data["k"] in (2, 3)

    def test_only_children_are_gathered(self) -> None:
        dag = flow.Dag("d")

        def gathers(ctx: Context) -> None:
            ctx.gather([1])  # type: ignore[list-item]

        def indexes(ctx: Context) -> None:
            ctx.child(1, "b")  # type: ignore[arg-type]

        dag.node(gathers)
        dag.node(indexes)
        assert {type(error) for error in errors(dag).values()} == {flow.UsageError}


class TestGeneratorsReadTwiceByOneNode:
    def rows(self) -> Any:
        yield from [1, 2]

    def refused(self, dag: flow.Dag) -> None:
        with pytest.raises(flow.DefinitionError, match="reads it more than once"):
            dag.compile()

    def test_what_each_item_gets(self) -> None:
        dag = flow.Dag("d")
        dag.add("rows", self.rows)
        dag.map("m", lambda x, rows: [x, *rows], over="xs")
        self.refused(dag)

    def test_the_source_of_a_map_as_what_each_item_gets(self) -> None:
        dag = flow.Dag("d")
        dag.add("rows", self.rows)
        dag.map("m", lambda x, rows: list(rows), over="rows")
        self.refused(dag)

    def test_two_nodes_of_a_dag_within(self) -> None:
        inner = flow.Dag("inner")
        inner.add("a", lambda rows: list(rows))
        inner.add("b", lambda rows: list(rows))
        dag = flow.Dag("d")
        dag.add("rows", self.rows)
        dag.add("inner", inner)
        self.refused(dag)


@pytest.mark.parametrize("how", ["map", "node"])
@pytest.mark.parametrize("name", ["p", "q"])
def test_optional_inputs_beside_an_output_that_may_fail(how: str, name: str) -> None:
    inner = flow.Dag("inner")
    inner.add("o", lambda item, p=1, q=2: (item, p, q))
    dag = flow.Dag("d")
    dag.add(name, lambda: 10, continue_on_error=True)
    if how == "map":
        dag.map("n", inner, over="xs")
    else:
        dag.add("n", inner)
    result = flow.run(dag, {"xs": [0]} if how == "map" else {"item": 0})["n"]
    assert (result[0] if how == "map" else result)["o"] == ((0, 10, 2) if name == "p" else (0, 1, 10))


def test_why_a_node_has_no_output_is_short_and_quick() -> None:
    dag = flow.Dag("wide")
    for i in range(3_000):
        dag.add(f"f{i}", lambda: 1 / 0)
    dag.add("last", lambda *values: 1, needs=[f"f{i}" for i in range(3_000)])
    result = flow.run(dag, config=COLLECT)
    with pytest.raises(flow.errors.MissingOutput, match="and 2995 more failed upstream") as caught:
        result["last"]
    assert len(str(caught.value)) < 300
