"""What the models of a run took, summed from its reports."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import anyio
import pytest
from ai_cases import used

import flow
from flow import ai
from flow.usage import NO_USAGE, Usage, outermost


def reporting(*values: dict[str, Any]) -> Callable[[flow.Context], None]:
    def node(ctx: flow.Context) -> None:
        for value in values:
            ctx.report("usage", value)

    return node


ONE = Usage(1, 10, 5, 0, 0, Decimal("0.000020"), Decimal("0.000020"))
UNKNOWN = Usage(1, 10, 5, 0, 0, None, Decimal(0))


class TestSums:
    def test_by_node_and_by_model(self) -> None:
        dag = flow.Dag("d")
        dag.add("a", reporting(used(), used(model="n", cached_tokens=3, reasoning_tokens=2)))
        dag.add("b", reporting(used(cost=None, estimated=True)), after="a")
        dag.add("c", reporting(used(requests=0, input_tokens=0, output_tokens=0, cost="0", cached=True)), after="b")
        report = ai.usage(flow.run(dag))
        n = Usage(1, 10, 5, 3, 2, Decimal("0.000020"), Decimal("0.000020"))
        hit = Usage(cache_hits=1)
        unknown = Usage(1, 10, 5, 0, 0, None, Decimal(0), True)
        assert report.by_node == {"a": ONE + n, "b": unknown, "c": hit}
        assert list(report.by_node) == ["a", "b", "c"]
        assert report.by_model == {"scripted:m": ONE + unknown + hit, "scripted:n": n}
        assert report.total == Usage(3, 30, 15, 3, 2, None, Decimal("0.000040"), True, 1)
        assert report.total.total_tokens == 45

    def test_a_sum_with_an_unknown_cost_is_unknown_and_says_what_is_known(self) -> None:
        total = ONE + UNKNOWN + ONE
        assert (total.cost, total.known_cost) == (None, Decimal("0.000040"))
        assert NO_USAGE.cost == 0 and (NO_USAGE + ONE) == ONE

    def test_costs_are_summed_exactly(self) -> None:
        dag = flow.Dag("d")
        dag.add("a", reporting(*[used(cost="0.1")] * 3, used(cost="0.000000000001")))
        assert ai.usage(flow.run(dag)).total.cost == Decimal("0.300000000001")

    def test_what_is_no_usage_is_left_out(self) -> None:
        dag = flow.Dag("d")
        dag.add("a", lambda ctx: None)

        @dag.node
        def odd(ctx: flow.Context) -> None:
            ctx.report("other", used())
            ctx.report("usage", "a text")
            ctx.report("usage", {"provider": "p", "model": "m", "requests": "many", "cost": "dear"})
            ctx.report("usage", {"requests": True, "cost": "NaN"})

        assert ai.usage(flow.run(dag, {"ctx": 1})).by_model == {
            "p:m": Usage(cost=None), "None": Usage(cost=None),
        }  # fmt: skip


class TestPlaces:
    @pytest.mark.parametrize(
        ("path", "node", "expected"),
        [
            ((), "a", "a"),
            (("pages[7]",), "a", "pages"),
            (("polish#2", "inner"), "a", "polish"),
            (("ask[3]+2",), "a", "ask"),
            (("inner.ask+2", "x[1]"), "a", "inner.ask"),
            (("a#b",), "x", "a#b"),
        ],
    )
    def test_the_outermost_node(self, path: tuple[str, ...], node: str, expected: str) -> None:
        assert outermost(path, node) == expected

    def test_all_that_happens_in_a_node_counts_to_it(self) -> None:
        inner = flow.Dag("inner")
        inner.add("asks", reporting(used()))
        inner.add("item_of", lambda item=0: item)
        each = flow.Dag("each")
        each.add("item_of", lambda item: item)
        each.add("inner", inner, after="item_of")
        dag = flow.Dag("d")
        dag.add("dag", inner)
        dag.map("map", each, over="items")
        dag.loop("loop", inner, until=lambda asks: asks is not None, max_iterations=2, on_limit="return")

        @dag.node
        def starts(ctx: flow.Context) -> None:
            ctx.run(inner)
            ctx.run(inner)

        report = ai.usage(flow.run(dag, {"items": [1, 2, 3]}))
        assert {name: one.requests for name, one in report.by_node.items()} == {
            "dag": 1, "map": 3, "loop": 2, "starts": 2,
        }  # fmt: skip


class TestWhatItTakes:
    def test_a_failed_run(self) -> None:
        dag = flow.Dag("d")

        @dag.node(retry=flow.Retry(2, delay=0.0))
        def fails(ctx: flow.Context) -> None:
            ctx.report("usage", used())
            raise OSError

        with pytest.raises(flow.RunError) as caught:
            flow.run(dag)
        assert ai.usage(caught.value).total == ONE + ONE == ai.usage(caught.value.result).total

    def test_a_run_that_goes_on_and_has_ended(self, on_loop: Callable[..., Any]) -> None:
        dag = flow.Dag("d")
        dag.add("a", reporting(used()))
        dag.signal("wait", after="a")
        dag.add("b", reporting(used()), after="wait")

        async def main() -> None:
            async with flow.start(dag) as run:
                await run.next_waiting()
                assert ai.usage(run).total == ONE
                run.send("wait")
                await run.result()
                assert ai.usage(run).total == ONE + ONE

        on_loop(main)

    def test_a_run_that_was_cancelled(self, on_loop: Callable[..., Any]) -> None:
        dag = flow.Dag("d")

        @dag.node
        async def ask(ctx: flow.Context) -> None:
            ctx.report("usage", used())
            await anyio.sleep_forever()

        async def main() -> None:
            async with flow.start(dag) as run:
                while not ai.usage(run).total.requests:
                    await anyio.sleep(0)
                run.cancel()
                with pytest.raises(flow.RunError) as caught:
                    await run.result()
                assert ai.usage(caught.value).total == ONE

        on_loop(main)

    @pytest.mark.parametrize("wrong", [None, 3, {}, flow.Result, flow.Dag("d")])
    def test_anything_else_is_refused(self, wrong: Any) -> None:
        with pytest.raises(flow.UsageError, match="ai.usage takes a flow.Result, a flow.RunError or a flow.RunHandle"):
            ai.usage(wrong)


def test_it_says_what_it_holds() -> None:
    dag = flow.Dag("d")
    dag.add("a", reporting(*[used(input_tokens=1_200)] * 2))
    dag.add("b", reporting(used(cost=None, estimated=True), used(requests=0, cost="0", cached=True)), after="a")
    assert repr(ai.usage(flow.run(dag))).splitlines() == [
        "total: 3 requests, 2,420 tokens in, 20 out, 1 cache hit, cost not known (known: 0.00004 USD) (estimated)",
        "  a: 2 requests, 2,400 tokens in, 10 out, 0.00004 USD",
        "  b: 1 request, 20 tokens in, 10 out, 1 cache hit, cost not known (known: 0 USD) (estimated)",
        "  scripted:m: 3 requests, 2,420 tokens in, 20 out, 1 cache hit, cost not known (known: 0.00004 USD) "
        "(estimated)",
    ]
    assert repr(ai.usage(flow.run(flow.topologies.linear(1)))) == "total: 0 requests, 0 tokens in, 0 out, 0 USD"
