"""What language models took in a run: in its JSON, on its page, in its events; live, in memory, and in a store."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from client import API, serving
from running import Reader, eventually, on_loop, served
from test_page import run_page
from workflows import quick

import flow
from flow.http import Limits
from flow.http.board import Board
from flow.http.limits import Limits as Bounds
from flow.http.memory import Runs
from flow.http.spent import RunUsage
from flow.http.workflow import Workflow
from flow.run import events
from flow.usage import Usage


def usage(cost: str | None = "0.1", **changes: Any) -> dict[str, Any]:
    return {
        "provider": "openai", "model": "mini", "requests": 1, "input_tokens": 100, "output_tokens": 20, "cost": cost,
        **changes,
    }  # fmt: skip


def asking(fails: bool = False, is_async: bool = False) -> flow.Dag:
    """A Dag that reports from a node, and from the items of a map; the last node may fail."""
    dag = flow.Dag("asking")

    def plan(ctx: flow.Context) -> list[int]:
        ctx.report("usage", usage())
        ctx.report("score", {"requests": 99})
        return [1, 2, 3]

    async def aplan(ctx: flow.Context) -> list[int]:
        return plan(ctx)

    def each(x: int, ctx: flow.Context) -> int:
        ctx.report("usage", usage("0.2"))
        return x

    def last(each: list[int], ctx: flow.Context) -> int:
        ctx.report("usage", usage("0.4"))
        if fails:
            raise ValueError("no")
        return 1

    dag.add("plan", aplan if is_async else plan)
    dag.map("each", each, over="plan")
    dag.add("last", last)
    return dag


def check(found: Any) -> None:
    costs = {node: one["cost"] for node, one in found["by_node"].items()}
    assert costs == {"plan": "0.1", "each": "0.6", "last": "0.4"}
    assert found["total"] == {
        "requests": 5, "input_tokens": 500, "output_tokens": 100, "cached_tokens": 0, "reasoning_tokens": 0,
        "cost": "1.1", "known_cost": "1.1", "estimated": False, "cache_hits": 0,
    }  # fmt: skip


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("how", ["sync", "async", "store"])
def test_a_run_that_has_ended(how: str, fails: bool) -> None:
    stores: dict[str, Any] = {"store": flow.store.memory()} if how == "store" else {}
    with serving({"asking": asking(fails, how == "async")}, limits=Limits(quick=60.0), **stores) as client:
        for named in ({"run_id": "first"}, {}):  # in a thread, and, if it may be, in the handler
            got = client.start("asking", named)
            assert got.status == 200 and got.json["status"] == ("failed" if fails else "completed")
            run_id = got.json["id"]
            assert "usage" not in got.json, "the answer of a run stays as it is"
            check(client.get(f"{API}/runs/{run_id}").json["usage"])
            assert "Language models" in client.get(f"/runs/{run_id}").text


def test_a_run_without_has_none() -> None:
    with serving({"quick": quick()}) as client:
        client.start("quick", {"run_id": "a"})
        assert "usage" not in client.get(f"{API}/runs/a").json
        assert "Language models" not in client.get("/runs/a").text


def test_its_schema_says_what_it_is() -> None:
    with serving({"quick": quick()}) as client:
        schemas = client.get("/openapi.json").json["components"]["schemas"]
    assert set(schemas["RunUsage"]["properties"]) == {"total", "by_node"}
    assert "usage" not in schemas["View"]["required"] and "usage" not in schemas["Answer"]["properties"]
    assert set(schemas["Usage"]["properties"]) == set(Usage.__struct_fields__)


@pytest.mark.parametrize("durable", [False, True])
@on_loop
async def test_a_run_that_goes_on(durable: bool) -> None:
    dag, opened = flow.Dag("asking"), asyncio.Event()
    fails = [True]

    @dag.node
    async def ask(ctx: flow.Context) -> int:
        ctx.report("usage", usage())
        await opened.wait()
        if durable and fails:
            fails.clear()
            raise OSError("down")
        return 1

    stores = {"store": flow.store.memory()} if durable else {}
    async with served(dag, **stores) as door:
        run = await door.run_of("asking")
        view = await eventually(lambda: with_usage(door, run))
        assert view["status"] == "running" and view["usage"]["total"]["cost"] == "0.1"
        if durable:
            opened.set()
            await door.until(run, "failed")
            opened.clear()
            assert (await door.retry(run)).status == 202
            costs = set[str]()
            while "0.2" not in costs:  # what was paid before the retry is told, too, and each is told once
                costs.add((await eventually(lambda: with_usage(door, run)))["usage"]["total"]["cost"])
            assert costs <= {"0.1", "0.2"}
        opened.set()
        view = await door.until(run, "completed")
        assert view["usage"]["by_node"]["ask"]["requests"] == 1 + durable
        (end,) = (await Reader(door, run).ended()).of("end")
        assert end["usage"] == view["usage"]


async def with_usage(door: Any, run: str) -> Any:
    view = await door.view(run)
    return view if "usage" in view else None


def test_memory_counts_the_bytes_of_it() -> None:
    workflow = Workflow("quick", quick(), None)
    runs = Runs([workflow], Bounds())
    packed = msgspec.msgpack.encode(RunUsage(Usage(3), {"a": Usage(3)}))
    for run_id, codes in (("a", b""), ("b", b"\1\2\3")):
        runs.end(run_id, workflow, "completed", 1.0, 7, codes, b"{}", packed)
        runs.end(f"bare-{run_id}", workflow, "completed", 1.0, 7, codes, b"{}")
        found, bare = runs.ended(run_id), runs.ended(f"bare-{run_id}")
        assert found is not None and bare is not None
        assert found.usage == RunUsage(Usage(3), {"a": Usage(3)}) and bare.usage is None
        assert found.answer == bare.answer == b"{}" and found.statuses == bare.statuses
    whole = runs.statistics["bytes"]
    runs._forget("a")
    before = runs.statistics["bytes"]
    runs._forget("bare-a")
    assert whole - before == before - runs.statistics["bytes"] + len(packed)


# -- the page ---------------------------------------------------------------------------------


def page_of(total: Usage, **nodes: Usage) -> str:
    text = run_page(usage=RunUsage(total, nodes)).text
    return text[text.index("Language models") :]


def test_the_page_has_a_line_for_each_node_and_one_for_all() -> None:
    cheap = Usage(1, 1_000, 20, cost=Decimal("0.00012"), known_cost=Decimal("0.00012"), estimated=True)
    dear = Usage(2, 4_000, 300, 1_500, 250, Decimal("1.5"), Decimal("1.5"), cache_hits=7)
    text = page_of(Usage(3, cost=Decimal("1.50012"), known_cost=Decimal("1.50012")), cheap=cheap, dear=dear)
    assert "dear 2 7 4,000 (1,500 cached) 300 (250 reasoning) 1.50 " in text
    assert "cheap 1 about 1,000 about 20 about 0.000120 all 3" in text
    assert text.index("dear") < text.index("cheap")


def test_the_page_says_what_is_not_known() -> None:
    text = page_of(Usage(), none=Usage(1, cost=None), some=Usage(2, cost=None, known_cost=Decimal("0.5")))
    assert "0.500 and more" in text and "none 1 0 0 not known" in text


def test_the_page_of_one_node_has_no_sum() -> None:
    assert " all " not in page_of(Usage(1), ask=Usage(1, cost=Decimal(0)))


def test_the_page_of_many_nodes_is_bounded() -> None:
    text = page_of(Usage(), **{f"n{k}": Usage(k) for k in range(150)})
    assert "and 50 more nodes, which cost less" in text


# -- what a board keeps ------------------------------------------------------------------------


def test_a_board_adds_what_was_before_once() -> None:
    board = Board(["a"], lambda: None)
    board(events.RunStarted("r", "d", 1, 0.0))
    board(events.NodeReported("r", "a", "usage", usage(), 0.0))
    board(events.NodeReported("inner", "x", "usage", usage(), 0.0, ("a[3]",)))
    board(events.NodeReported("r", "a", "score", usage(), 0.0))
    before = {"a": Usage(5), "gone": Usage(1)}
    for _ in range(2):
        board.recall([], before)
    found = board.usage()
    assert {node: one.requests for node, one in found.items()} == {"a": 7, "gone": 1}
    assert before["a"].requests == 5 and board.usage()["a"].requests == 7
