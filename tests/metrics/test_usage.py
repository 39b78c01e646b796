"""What nodes report of language models is counted, by provider and model, exactly and within bounds."""

from __future__ import annotations

from decimal import Decimal, Inexact, localcontext
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import flow
from flow.http.spent import packed, unpacked
from flow.metrics import Counts, names
from flow.metrics.unobserved import Unobserved
from flow.metrics.usage import MOST_MODELS, Sums
from flow.usage import Usage
from flow.usage import read as usage_of


def told(x: int, ctx: flow.Context) -> None:
    ctx.report("usage", usage(input_tokens=x))


KEY = ("ask", "openai", "mini")


def usage(**changes: Any) -> dict[str, Any]:
    return {
        "provider": "openai", "model": "mini", "requests": 1, "input_tokens": 100, "output_tokens": 20,
        "cached_tokens": 30, "reasoning_tokens": 5, "cost": "0.1", "estimated": False, "cached": False, "seconds": 0.7,
        **changes,
    }  # fmt: skip


def counted(*values: Any, kind: str = "usage", name: str = "ask") -> Counts:
    counts = Counts()
    dag = flow.Dag(name)

    @dag.node
    def node(ctx: flow.Context) -> None:
        for value in values:
            ctx.report(kind, value)

    flow.run(dag, config=flow.Config(observers=(counts.observe,)))
    return counts


def test_requests_tokens_cost_and_seconds() -> None:
    found = counted(usage(), usage(cost="0.2"), usage(requests=0, cached=True, cost="0", seconds=0.0)).snapshot()
    values = found.values
    assert values[names.MODEL_REQUESTS] == {KEY: 2}
    assert values[names.MODEL_HITS] == {KEY: 1}
    assert values[names.MODEL_UNKNOWN] == {KEY: 0}
    assert values[names.MODEL_COST] == {KEY: 0.3}  # as decimals add up, not as floats
    assert values[names.MODEL_TOKENS] == {
        (*KEY, "input"): 300, (*KEY, "output"): 60, (*KEY, "cached"): 90, (*KEY, "reasoning"): 15,
    }  # fmt: skip
    row = found.rows[names.MODEL_SECONDS][KEY]
    assert sum(row[:-1]) == 2 and row[-1] == 1.4  # the answer from the cache was no request


def test_a_cost_that_is_not_known_is_not_0() -> None:
    counts = counted(usage(cost=None), usage(cost="much"), usage(cost="-1"), usage(cost="NaN"))
    values = counts.snapshot().values
    assert values[names.MODEL_UNKNOWN] == {KEY: 4} and values[names.MODEL_COST] == {}
    text = counts.exposition()[0].decode()
    assert 'workflow_ai_unknown_cost_requests_total{workflow="ask",provider="openai",model="mini"} 4' in text
    assert "\nworkflow_ai_cost_usd_total" not in text


def test_other_kinds_are_not_counted() -> None:
    counts = counted(usage(), kind="score")
    assert not any(counts.snapshot().values[one] for one in (names.MODEL_REQUESTS, names.MODEL_TOKENS))
    assert not counts._came


def test_what_fails_has_been_paid_for() -> None:
    counts = Counts()
    dag = flow.Dag("ask")

    @dag.node(retry=flow.Retry(2, delay=0))
    def node(ctx: flow.Context) -> None:
        ctx.report("usage", usage())
        raise OSError("no")

    with pytest.raises(flow.RunError):
        flow.run(dag, config=flow.Config(observers=(counts.observe,)))
    assert counts.snapshot().values[names.MODEL_REQUESTS] == {KEY: 2}


def test_items_and_runs_within_are_counted_once_by_the_outermost_workflow() -> None:
    counts, inner, dag = Counts(), flow.Dag("inner"), flow.Dag("outer")

    @inner.node
    def one(ctx: flow.Context, x: int) -> int:
        ctx.report("usage", usage(input_tokens=x))
        return x

    dag.map("nested", inner, over="xs")
    dag.map("each", told, over="xs")
    flow.run(dag, {"xs": [1, 2, 3]}, config=flow.Config(observers=(counts.observe,)))
    tokens = counts.snapshot().values[names.MODEL_TOKENS]
    assert {key: n for key, n in tokens.items() if n and "input" in key} == {("outer", "openai", "mini", "input"): 12}


def test_many_models_become_other() -> None:
    values = counted(*[usage(model=f"m{k}") for k in range(60)]).snapshot().values
    requests = values[names.MODEL_REQUESTS]
    assert len(requests) == MOST_MODELS + 1 and sum(requests.values()) == 60
    assert requests["ask", "other", "other"] == 60 - MOST_MODELS
    assert values[names.SERIES][()] >= 24 * MOST_MODELS


def test_models_are_within_the_bound_of_all_series() -> None:
    counts = Counts(series=40)
    dag = flow.Dag("ask")

    @dag.node
    def node(ctx: flow.Context) -> None:
        for k in range(9):
            ctx.report("usage", usage(model=f"m{k}"))

    flow.run(dag, config=flow.Config(observers=(counts.observe,)))
    values = counts.snapshot().values
    assert values[names.SERIES][()] <= 40 and set(values[names.MODEL_REQUESTS]) == {("ask", "other", "other")}
    assert sum(values[names.MODEL_REQUESTS].values()) == 9


@pytest.mark.parametrize("value", [
    None, 7, "usage", [], {}, {"requests": "many", "seconds": "nan", "provider": 3, "model": ["m"]},
    {"requests": -1, "input_tokens": -5, "cost": -0.5, "seconds": float("nan")},
    {"requests": 10**400, "seconds": 1e300, "cost": 1e300, "cached": 1, "model": "x" * 10_000},
    {"requests": True, "model": "\ud800", "provider": '"\n\\'},
])  # fmt: skip
def test_a_report_of_any_form_does_no_harm(value: Any) -> None:
    pytest.importorskip("prometheus_client")
    from prometheus_client.parser import text_string_to_metric_families

    counts = counted(value, usage())
    text = counts.exposition()[0].decode()
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    ours = [one.value for one in samples if one.name.startswith("workflow_ai_") and "le" not in one.labels]
    assert all(0 <= one < 1_000 for one in ours)
    assert counts.snapshot().values[names.MODEL_REQUESTS][KEY] == 1
    assert max(len(label) for one in samples for label in one.labels.values()) <= 100


def test_a_plan_that_can_report_is_observed() -> None:
    dag = flow.Dag("d")

    @dag.node
    def node(ctx: flow.Context) -> None:
        ctx.report("usage", usage())

    assert not Unobserved.fits(dag.compile())


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 9), st.none() | st.decimals(0, 9, places=6))))
def test_sums_are_those_of_the_reports(told: list[tuple[str, int, Decimal | None]]) -> None:
    sums = Sums()
    for node, n, cost in told:
        sums.count(usage(input_tokens=n, cost=None if cost is None else str(cost)), node)
    known = [cost for _, _, cost in told if cost is not None]
    total = sums.total
    assert (total.requests, total.input_tokens) == (len(told), sum(n for _, n, _ in told))
    assert total.known_cost == sum(known)
    assert total.cost == (sum(known) if len(known) == len(told) else None)
    for node in "ab":
        assert sums.get(node, Usage()).requests == sum(one == node for one, _, _ in told)


def test_a_report_is_read_as_it_stands() -> None:
    found = usage_of(usage(requests=0, cached=True, cost="0", estimated=True))
    assert found == Usage(0, 100, 20, 30, 5, Decimal(0), Decimal(0), True, 1)
    assert usage_of(usage(cost=0.1)).cost == Decimal("0.1")  # type: ignore[union-attr]


def test_what_is_within_counts_to_the_node_of_the_outermost_run() -> None:
    sums = Sums()
    for path in ((), ("pages[7]",), ("pages#2", "inner"), ("pages+3",), ("pages#2[4]", "x[1]")):
        sums.count(usage(), "pages" if not path else "deep", path)
    assert list(sums) == ["pages"] and sums["pages"].requests == 5


def test_sums_of_costs_are_exact_whatever_the_decimal_context_of_the_thread_is() -> None:
    with localcontext() as context:
        context.prec = 4
        context.traps[Inexact] = True
        counts = counted(*[usage(cost="12.34567"), usage(cost="0.00001")])
        assert counts.snapshot().values[names.MODEL_COST] == {KEY: 12.34568}
    assert (Usage(cost=Decimal("12.34567")) + Usage(cost=Decimal("0.00001"))).cost == Decimal("12.34568")


def test_sums_stay_within_what_others_can_hold() -> None:
    sums = Sums()
    for _ in range(3_000):
        sums.count({"input_tokens": 2**53 - 1, "requests": 1}, "a")
    assert sums.total.input_tokens == 2**63 - 1 and sums.total.requests == 3_000
    assert unpacked(packed(sums)) is not None


@pytest.mark.parametrize(("cost", "read"), [("1E-999999", None), ("1E-99", Decimal("1E-99")), ("1e999999", None)])
def test_a_cost_of_very_many_digits_is_none(cost: str, read: Decimal | None) -> None:
    found = usage_of(usage(cost=cost))
    assert found is not None and found.cost == read
