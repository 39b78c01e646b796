"""Generator functions as nodes: gone over once, and run where they are gone over."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from functools import partial
from typing import Any

import pytest

import flow


def rows() -> Iterator[int]:
    yield from (1, 2, 3)


async def stream() -> AsyncIterator[int]:
    for n in (1, 2, 3):
        yield n


class Source:
    def rows(self) -> Iterator[int]:
        yield 1

    def __call__(self) -> Iterator[int]:
        yield 1


def sized(n: int) -> Iterator[int]:
    yield from range(n)


GENERATORS: dict[str, Any] = {
    "sync": rows, "async": stream, "method": Source().rows, "object": Source(), "partial": partial(sized, 3),
}  # fmt: skip


def faults_of(dag: flow.Dag) -> tuple[str, ...]:
    with pytest.raises(flow.DefinitionError) as caught:
        dag.compile()
    return caught.value.faults


def total(rows: Any) -> int:
    return sum(rows)


class TestReadTwice:
    @pytest.mark.parametrize("kind", GENERATORS)
    def test_by_two_nodes(self, kind: str) -> None:
        dag = flow.Dag()
        dag.add("rows", GENERATORS[kind])
        dag.add("total", lambda rows: None)
        dag.add("count", lambda values: None, needs=["rows"])
        (fault,) = faults_of(dag)
        assert "node 'rows'" in fault
        assert "nodes 'total' and 'count' read it" in fault
        assert "list(...)" in fault

    @pytest.mark.parametrize("how", ["map", "reduce", "flat_map", "filter"])
    def test_by_what_goes_over_it_and_another(self, how: str) -> None:
        dag = flow.Dag()
        dag.add("rows", rows)
        options = {"start": 0} if how == "reduce" else {}
        fn = (lambda so_far, item: item) if how == "reduce" else (lambda item: item)
        getattr(dag, how)("over", fn, over="rows", **options)
        dag.add("total", total)
        (fault,) = faults_of(dag)
        assert "'over' and 'total'" in fault

    def test_by_many_by_keyword_and_by_a_dag(self) -> None:
        inner = flow.Dag("inner")
        inner.add("it", total)
        dag = flow.Dag()
        dag.add("inner", inner)
        dag.add("keyword", lambda *, rows: None)
        dag.add("mapping", lambda x: None, needs={"x": "rows"})
        dag.add("rows", rows)
        for i in range(3):
            dag.add(f"n{i}", total)
        (fault,) = faults_of(dag)
        assert "'inner' and 'keyword' and 'mapping' and 3 more" in fault

    def test_by_a_node_added_later(self) -> None:
        dag = flow.Dag()
        dag.add("rows", rows)
        dag.add("first", total)
        dag.compile()
        dag.add("second", total)
        assert "'first' and 'second'" in faults_of(dag)[0]

    def test_of_a_function_that_an_earlier_compile_has_read(self) -> None:
        dag = flow.Dag()
        source = Source()
        dag.add("before", source)
        dag.compile()
        dag.add("rows", source)
        dag.add("first", total)
        dag.add("second", total)
        assert "'first' and 'second'" in faults_of(dag)[0]

    def test_order_and_the_user_are_no_readers(self) -> None:
        dag = flow.Dag()
        dag.add("rows", rows)
        dag.add("total", total)
        dag.add("after", lambda: None, after="rows")
        dag.add("other", lambda: None)
        dag.edge("rows", "other")
        assert flow.run(dag)["total"] == 6
        dag.add("unread", rows)
        assert list(flow.run(dag)["unread"]) == [1, 2, 3]

    def test_one_node_may_have_it_twice(self) -> None:
        dag = flow.Dag()
        dag.add("rows", rows)
        dag.add("pairs", lambda a, b: list(zip(a, b, strict=False)), needs=["rows", "rows"])
        assert flow.run(dag)["pairs"] == [(1, 2)]

    def test_lists_and_what_middleware_makes_of_it_may_be_read_again(self) -> None:
        def listed(next: Any, ctx: flow.Context) -> list[Any]:
            return list(next())

        dag = flow.Dag()
        dag.add("rows", rows, middleware=[listed])
        dag.add("a", total)
        dag.add("b", total)
        assert flow.run(dag).outputs == {"rows": [1, 2, 3], "a": 6, "b": 6}
        dag = flow.Dag(middleware=[lambda next, ctx: next()])
        dag.add("rows", lambda: [1])
        dag.add("a", total)
        dag.add("b", total)
        assert flow.run(dag)["b"] == 1

    def test_two_nodes_of_one_function_are_two_generators(self) -> None:
        dag = flow.Dag()
        dag.add("a", rows)
        dag.add("b", rows)
        dag.add("total", lambda a, b: sum(a) + sum(b))
        assert flow.run(dag)["total"] == 12


class TestOptionsThatWouldDoNothing:
    @pytest.mark.parametrize("kind", GENERATORS)
    @pytest.mark.parametrize(
        "options",
        [{"retry": flow.Retry(3)}, {"timeout": 1}, {"timeout": flow.Timeout(node=1)}, {"thread": True}],
        ids=str,
    )
    def test_they_are_refused(self, kind: str, options: dict[str, Any]) -> None:
        dag = flow.Dag()
        dag.add("rows", GENERATORS[kind], **options)
        (fault,) = faults_of(dag)
        assert f"node 'rows' ({flow.signature.location_of(GENERATORS[kind])})" in fault
        assert f"{next(iter(options))} would do nothing on a generator function" in fault
        assert "put it on the node that goes over its items" in fault

    def test_in_one_fault_beside_others(self) -> None:
        dag = flow.Dag()
        dag.add("rows", rows, retry=flow.Retry(0), timeout=3, thread=True, priority="x")  # type: ignore[arg-type]
        faults = faults_of(dag)
        assert len(faults) == 3
        assert "retry and timeout and thread would do nothing" in faults[2]

    def test_those_that_do_something_are_not(self) -> None:
        dag = flow.Dag()
        dag.add("rows", rows, continue_on_error=True, priority=1, cost=2, timeout=flow.Timeout(), retry=None)
        dag.map("each", lambda item: item, over="rows", retry=flow.Retry(3), timeout=3)
        assert flow.run(dag)["each"] == [1, 2, 3]

    def test_nor_with_middleware_that_goes_over_it(self) -> None:
        left = [1]

        def failing() -> Iterator[int]:
            yield 1
            if left:
                left.pop()
                raise ValueError

        dag = flow.Dag()
        dag.add("rows", failing, retry=flow.Retry(2, delay=0), middleware=[lambda next, ctx: list(next())])
        assert flow.run(dag)["rows"] == [1]

    def test_a_maps_function(self) -> None:
        def parts(item: int) -> Iterator[int]:
            if not tried:
                tried.append(item)
                raise ValueError
            yield from (item, item)

        dag = flow.Dag()
        dag.map("each", parts, over="items", retry=flow.Retry(2))
        (fault,) = faults_of(dag)
        assert "retry would do nothing" in fault
        assert "let it return a list" in fault
        tried: list[int] = []
        dag = flow.Dag()
        dag.flat_map("each", parts, over="items", retry=flow.Retry(2, delay=0))  # goes over it within the item
        assert flow.run(dag, {"items": [1]})["each"] == [1, 1]
