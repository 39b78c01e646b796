"""A node that may fail (``continue_on_error``): who reads it with a default runs, who cannot do without is skipped."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import anyio.lowlevel
import pytest

import flow
from flow import Config, Status


def failing(**options: Any) -> flow.Dag:
    """A Dag whose node ``ads`` fails, which is tolerated."""
    dag = flow.Dag("page")

    @dag.node(continue_on_error=True, **options)
    def ads() -> list[str]:
        raise OSError("ad server is down")

    return dag


def outcome(dag: flow.Dag, **settings: Any) -> flow.Result:
    return flow.run(dag, config=Config(**settings))


def statuses(result: flow.Result) -> dict[str, str]:
    return {name: str(status) for name, status in result.status.items()}


def test_reader_with_a_default_runs_and_one_without_is_skipped(mode: dict[str, Any], backend: str) -> None:
    dag = failing()

    @dag.node
    def page(ads: list[str] | None = None) -> str:
        return f"page with {ads}"

    @dag.node
    async def waiting(ads: str = "none") -> str:
        await anyio.lowlevel.checkpoint()
        return ads

    @dag.node
    def strict(ads: list[str]) -> str:
        return "never"

    result = outcome(dag, backend=backend, **mode)
    assert (result["page"], result["waiting"]) == ("page with None", "none")
    assert statuses(result) == {"ads": "failed", "page": "completed", "waiting": "completed", "strict": "skipped"}
    assert not result.ok


def keyword(*, ads: Any = "default") -> Any:
    return ads


def with_context(ctx: flow.Context, ads: Any = "default") -> Any:
    assert ctx.node == "page"
    return ads


def several(first: int = 0, ads: Any = "default", *, last: int = 9) -> Any:
    assert (first, last) == (0, 9)
    return ads


class Page:
    def __call__(self, ads: Any = "default") -> Any:
        return ads

    def method(self, ads: Any = "default") -> Any:
        return ads


async def awaited(ads: Any = "default") -> Any:
    return ads


@pytest.mark.parametrize(
    "fn",
    [keyword, with_context, several, Page(), Page().method, awaited, partial(several, 0), partial(several, last=9)],
    ids=["keyword", "context", "among-others", "object", "method", "async", "partial", "partial-keyword"],
)
def test_every_kind_of_function_gets_its_default(fn: Callable[..., Any]) -> None:
    dag = failing()
    dag.add("page", fn)
    dag.add("around", fn if fn is not with_context else awaited, middleware=[lambda next, ctx: next()])
    result = outcome(dag)
    assert (result["page"], result["around"], result.ok) == ("default", "default", True)


def test_the_default_is_the_functions_own_object() -> None:
    marker = object()
    dag = failing()
    dag.add("page", lambda ads=marker: ads)
    assert outcome(dag)["page"] is marker


def test_needs_may_map_a_parameter_with_a_default() -> None:
    dag = failing()
    dag.add("page", lambda banner="none", text="text": (banner, text), needs={"banner": "ads"})
    dag.add("by_place", lambda banner="none": banner, needs=["ads"])
    dag.add("all", lambda *parts: parts, needs=["ads"])
    dag.add("named", lambda **parts: parts, needs={"ads": "ads"})
    result = outcome(dag)
    assert (result["page"], result["by_place"]) == (("none", "text"), "none")
    assert statuses(result)["all"] == statuses(result)["named"] == "skipped"


def test_every_parameter_that_the_failure_feeds_must_have_a_default() -> None:
    dag = failing()
    dag.add("one", lambda a, b=1: "never", needs={"a": "ads", "b": "ads"})
    dag.add("both", lambda a=1, b=2: (a, b), needs={"a": "ads", "b": "ads"})
    result = outcome(dag)
    assert statuses(result)["one"] == "skipped" and result["both"] == (1, 2)


def test_default_serves_a_reader_of_what_was_skipped_and_a_retry() -> None:
    dag = failing()
    dag.add("layout", lambda ads: "never")
    calls: list[Any] = []

    @dag.node(retry=flow.Retry(2, delay=0.0))
    def page(layout: str = "plain") -> str:
        calls.append(layout)
        if len(calls) == 1:
            raise OSError
        return layout

    result = outcome(dag)
    assert (result["page"], calls, statuses(result)["layout"]) == ("plain", ["plain", "plain"], "skipped")
    assert not result.ok


def test_a_value_that_comes_is_taken() -> None:
    dag = flow.Dag("d")
    dag.add("ads", lambda: ["ad"], continue_on_error=True)
    dag.add("page", lambda ads=None: ads)
    result = outcome(dag)
    assert (result["page"], result.ok) == (["ad"], True)


def test_a_default_is_no_excuse_for_a_failure_that_is_not_tolerated() -> None:
    dag = flow.Dag("d")
    dag.add("ads", lambda: 1 / 0)
    dag.add("page", lambda ads=None: ads)
    assert statuses(outcome(dag, on_error="collect")) == {"ads": "failed", "page": "skipped"}


def test_a_dag_as_a_node_has_its_input_left_out() -> None:
    inner = flow.Dag("inner")
    inner.add("shown", lambda ads="inner default": ads)
    strict = flow.Dag("strict")
    strict.add("shown", lambda ads: ads)
    dag = failing()
    dag.add("page", inner)
    dag.add("strict", strict)
    result = outcome(dag)
    assert (result["page"]["shown"], statuses(result)["strict"]) == ("inner default", "skipped")


def test_included_nodes_know_their_defaults() -> None:
    inner = flow.Dag("inner")
    inner.add("shown", lambda ads="default": ads)
    dag = failing()
    dag.include(inner, prefix="p")
    assert outcome(dag)["p.shown"] == "default"


class TestMaps:
    def test_what_a_map_takes_besides_its_items(self, mode: dict[str, Any]) -> None:
        dag = failing()
        dag.add("numbers", lambda: [1, 2])
        dag.map("tagged", lambda item, ads="none": (item, ads), over="numbers")
        dag.map("strict", lambda item, ads: item, over="numbers")
        dag.map("over_it", lambda item: item, over="ads")
        dag.reduce("sum", lambda so_far, item: so_far + item, over="ads", start=0)
        result = outcome(dag, **mode)
        assert result["tagged"] == [(1, "none"), (2, "none")]
        rest = statuses(result)
        assert [rest["strict"], rest["over_it"], rest["sum"]] == ["skipped"] * 3

    @pytest.mark.parametrize("style", ["sync", "async"])
    def test_pipelined_maps(self, style: str) -> None:
        """Neither does a map of which one is pipelined pass missing values on, nor does it wait for them in vain."""
        called: list[str] = []

        def strict(item: int, ads: Any) -> Any:
            called.append("strict")

        async def number(item: int) -> int:
            await anyio.lowlevel.checkpoint()
            return item

        dag = failing()
        dag.add("layout", lambda ads: "never")
        dag.add("numbers", lambda: [1, 2])
        dag.map("first", number if style == "async" else lambda item: item, over="numbers")
        dag.map("tagged", lambda item, ads="none", layout="plain": (item, ads, layout), over="first", pipelined=True)
        dag.map("strict", strict, over="first", pipelined=True)
        dag.map("after_strict", strict, over="strict", pipelined=True)
        dag.map("stricter", lambda item, layout: called.append("stricter"), over="first", pipelined=True)
        result = outcome(dag)
        assert (result["first"], result["tagged"]) == ([1, 2], [(1, "none", "plain"), (2, "none", "plain")])
        rest = statuses(result)
        assert [rest["strict"], rest["after_strict"], rest["stricter"], called] == ["skipped"] * 3 + [[]]

    def test_a_map_that_fails(self) -> None:
        dag = flow.Dag("d")
        dag.add("numbers", lambda: [0])
        dag.map("inverse", lambda item: 1 / item, over="numbers", continue_on_error=True)
        dag.add("total", lambda inverse=(): sum(inverse))
        result = outcome(dag)
        assert (result["total"], result.ok) == (0, True)


class TestOk:
    def test_a_tolerated_failure_that_nobody_needed(self) -> None:
        dag = failing()
        dag.add("page", lambda: "page", after="ads")
        result = outcome(dag)
        assert result.ok and result.error() is None
        result.raise_for_errors()

    @pytest.mark.parametrize("on_error", ["fail_fast", "collect"])
    def test_what_was_skipped_for_it_is_told_by_raise_for_errors_alone(self, on_error: str) -> None:
        dag = failing()
        dag.add("strict", lambda ads: ads)
        result = outcome(dag, on_error=on_error)
        assert not result.ok
        with pytest.raises(flow.RunError) as caught:
            result.raise_for_errors()
        error = caught.value
        assert (error.nodes, error.exceptions) == (("ads",), (result.errors["ads"],))
        assert error.message == "dag 'page': 1 of 2 nodes failed: 'ads', which is tolerated; skipped for that: 'strict'"
        assert result.error(tolerated=False) is None

    def test_run_raises_only_what_is_not_tolerated_and_raise_for_errors_all(self) -> None:
        dag = failing()
        dag.add("strict", lambda ads: ads)
        dag.add("bad", lambda: 1 / 0, after="ads")
        with pytest.raises(flow.RunError) as caught:
            outcome(dag)
        assert caught.value.nodes == ("bad",)
        result = caught.value.result
        with pytest.raises(flow.RunError) as caught:
            result.raise_for_errors()
        assert caught.value.nodes == ("ads", "bad")

    def test_within_a_run(self) -> None:
        """A Dag as a node completes where ``flow.run`` would not raise."""
        inner = failing()
        inner.add("strict", lambda ads: ads)
        inner.add("page", lambda ads="none": ads)
        dag = flow.Dag("outer")
        dag.add("inner", inner)
        result = outcome(dag)
        assert (dict(result["inner"]), result.ok) == ({"page": "none"}, True)

    def test_observers_are_told(self) -> None:
        seen: list[Any] = []
        dag = failing()
        dag.add("strict", lambda ads: ads)
        dag.add("last", lambda strict: strict)
        outcome(dag, observers=[seen.append])
        skipped = [(e.node, e.cause) for e in seen if isinstance(e, flow.events.NodeSkipped)]
        assert skipped == [("strict", "ads"), ("last", "ads")]
        assert [e.ok for e in seen if isinstance(e, flow.events.RunFinished)] == [False]

    def test_tuning_takes_it_for_no_failure(self) -> None:
        dag = failing()
        dag.add("strict", lambda ads: ads)
        assert flow.tune(dag, budget=0.05).best is not None


def test_whether_it_runs_does_not_depend_on_which_failure_comes_first() -> None:
    """``both`` is skipped for a tolerated failure and for one that is not: its reader is skipped."""
    for first in ("ads", "bad"):
        dag = flow.Dag("d")

        async def fails(turns: int) -> None:
            for _ in range(turns):
                await anyio.lowlevel.checkpoint()
            raise OSError

        dag.add("ads", partial(fails, 1 if first == "ads" else 5), needs=[], continue_on_error=True)
        dag.add("bad", partial(fails, 5 if first == "ads" else 1), needs=[])
        dag.add("both", lambda ads, bad: "never")
        dag.add("page", lambda both="default": both)
        result = outcome(dag, on_error="collect")
        assert list(result.errors) == [first, "bad" if first == "ads" else "ads"]
        assert statuses(result)["page"] == "skipped"


def test_freed_outputs_do_not_pass_for_missing_ones() -> None:
    """With ``keep`` an output is taken away once all have read it; a default stands only for what never came."""
    dag = failing()
    dag.add("text", lambda: "text", continue_on_error=True)
    dag.add("page", lambda ads="none", text="default": (ads, text))
    dag.add("again", lambda page, text="default", ads="none": (text, ads))
    result = outcome(dag, keep="targets")
    assert (dict(result), result.status["page"]) == ({"again": ("text", "none")}, Status.COMPLETED)


def test_a_plan_without_tolerated_failures_pays_nothing() -> None:
    dag = flow.Dag("d")
    dag.add("a", lambda: 1)
    dag.add("b", lambda a=None: a)
    plan = dag.compile()
    assert (plan._nodes.spared, plan._nodes.fallbacks, plan._nodes.binders) == ({}, {}, {})
    tolerant = failing()
    tolerant.add("far", lambda: 1)
    tolerant.add("b", lambda far=None: far)
    tolerant.add("c", lambda ads=None: ads)
    plan = tolerant.compile()
    assert (plan._nodes.spared, list(plan._nodes.binders)) == ({3: frozenset([0])}, [3])
