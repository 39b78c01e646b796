"""A sync function that returns a coroutine fails its node on a plan's first run, and later runs do not look."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
from conftest import collected, error_of, named

import flow

pytestmark = pytest.mark.usefixtures("frozen")


@pytest.fixture(autouse=True)
def _no_warning() -> Iterator[None]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
        gc.collect()
    assert [str(w.message) for w in caught if "never awaited" in str(w.message)] == []


async def fetch(*values: Any) -> int:
    return 1


def forgetful(**options: Any) -> flow.Dag:
    dag = flow.Dag()
    dag.add("a", lambda: 1)
    dag.add("page", lambda a: fetch(a), **options)
    dag.add("last", lambda page: ran.append(page))
    return dag


ran: list[Any] = []


def test_its_node_fails_before_others_see_it(mode: dict[str, Any]) -> None:
    ran.clear()
    error = error_of(forgetful(), **mode)
    (found,) = error.exceptions
    assert isinstance(found, flow.UsageError)
    assert str(found).startswith("node 'page' (")
    assert "test_forgotten_await.py:" in str(found)
    assert "did you mean `async def`, or to await it?" in str(found)
    assert error.nodes == ("page",)
    assert error.result.status["last"] == "skipped"
    assert ran == []


def test_on_each_loop(backend: str) -> None:
    dag = forgetful()
    dag.add("waits", fetch)
    result = collected(dag, backend)
    assert isinstance(result.errors["page"], flow.UsageError)
    assert result["waits"] == 1


@pytest.mark.parametrize(
    "options",
    [
        {"retry": flow.Retry(2, delay=0)}, {"timeout": 30}, {"thread": True}, {"thread": True, "timeout": 30},
        {"middleware": [lambda next, ctx: next()]}, {"continue_on_error": True},
    ],
    ids=named,
)  # fmt: skip
def test_with_policies(options: dict[str, Any]) -> None:
    result = collected(forgetful(**options))
    assert isinstance(result.errors["page"], flow.UsageError)


def test_with_an_event_for_observers() -> None:
    seen: list[Any] = []
    collected(forgetful(), observers=[seen.append])
    kinds = [type(event).__name__ for event in seen if getattr(event, "node", "") == "page"]
    assert kinds == ["NodeStarted", "NodeFailed"]


def test_items_of_a_map_and_folds() -> None:
    for thread in (False, True):
        dag = flow.Dag()
        dag.map("each", lambda item: fetch(item), over="items", on_error="collect", thread=thread)
        dag.map("with_index", lambda item, index: fetch(item), over="items")
        dag.reduce("fold", lambda a, b: fetch(a, b), over="items", start=0)
        result = flow.run(dag, {"items": [1, 2]}, config=flow.Config(on_error="collect"))
        assert [type(error) for error in result["each"].errors.values()] == [flow.UsageError] * 2
        assert isinstance(result.errors["with_index"], flow.UsageError)
        assert isinstance(result.errors["fold"], flow.UsageError)
        assert "node 'fold'" in str(result.errors["fold"])


def test_within_a_dag_that_is_a_node() -> None:
    dag = flow.Dag("outer")
    dag.add("inner", forgetful())
    (inner,) = error_of(dag).exceptions
    assert isinstance(inner, flow.RunError)
    (found,) = inner.exceptions
    assert isinstance(found, flow.UsageError)
    assert "node 'page'" in str(found)


@pytest.mark.parametrize("with_async", [False, True])
def test_generated_code_that_is_there_before_the_first_run(with_async: bool) -> None:
    dag = flow.Dag()
    for name in "bcde":
        dag.add(name, lambda: 1)
    dag.add("page", lambda b: fetch(b))
    dag.add("other", lambda c: c)
    if with_async:
        dag.add("waits", fetch)
    clock = flow.testing.FakeClock()  # else a slow machine lets the event loop turn before the last node
    error = error_of(dag, optimize="at_once", clock=clock)
    assert error.nodes == ("page",)
    assert "page" not in error.result.outputs
    assert error.result["other"] == 1
    again = error_of(dag, optimize="at_once")
    assert again.nodes == ("page",)


def test_what_may_be_awaited_is_awaited() -> None:
    class Wrapped:
        __wrapped__ = fetch

        def __call__(self) -> Any:
            return fetch()

    dag = flow.Dag()
    dag.add("it", Wrapped())
    assert flow.run(dag)["it"] == 1


class TestTheNextRuns:
    def test_a_node_that_no_run_has_completed_is_looked_at_by_the_next(self) -> None:
        broken = [1]

        def first() -> None:
            if broken:
                broken.pop()
                raise ValueError

        dag = flow.Dag()
        dag.add("first", first)
        dag.add("page", lambda first: fetch(first))
        dag.add("apart", lambda: 1)
        plan = dag.compile()
        assert list(collected(plan).errors) == ["first"]
        assert [plan.names[i] for i in plan._kept.unchecked] == ["first", "page"]
        assert list(collected(plan).errors) == ["page"]
        assert [plan.names[i] for i in plan._kept.unchecked] == ["page"]
        assert list(collected(plan).errors) == ["page"]  # it never passes for a value

    def test_freed_outputs_have_been_looked_at(self) -> None:
        dag = flow.Dag()
        dag.add("a", lambda: 1)
        dag.add("b", lambda a: a)
        plan = dag.compile()
        flow.run(plan, config=flow.Config(keep="targets"))
        assert len(plan._kept.unchecked) == 0

    def test_a_part_and_a_longer_plan_look_for_themselves(self) -> None:
        dag = flow.Dag()
        dag.add("a", lambda: 1)
        dag.add("b", lambda a: fetch(a))
        assert flow.run(dag, targets="a")["a"] == 1
        assert list(collected(dag).errors) == ["b"]
        dag.add("c", lambda a: fetch(a))
        assert set(collected(dag).errors) == {"b", "c"}
