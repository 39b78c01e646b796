"""Exits that nodes and hooks raise: SystemExit and its like end a run, and never the service."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from running import API, on_loop, served

import flow

EXITS = pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt, GeneratorExit, asyncio.CancelledError])
both = pytest.mark.parametrize("durable", [False, True], ids=["memory", "store"])


def stores(durable: bool) -> dict[str, Any]:
    return {"store": flow.store.memory()} if durable else {}


def raising(kind: str, error: type[BaseException]) -> flow.Dag:
    """A run with a node that raises: the only one, one on the loop, a sync one beside it, or one of a map."""
    dag = flow.Dag("exits")
    if kind == "loop":

        @dag.node
        async def leaves() -> None:
            await asyncio.sleep(0)
            raise error("bye")

        return dag

    def leaves_now(*_: Any) -> None:
        raise error("bye")

    if kind == "map":
        dag.add("items", lambda: [1, 2])
        dag.map("leaves", lambda item: leaves_now(item), over="items")
        return dag
    if kind == "mixed":

        async def before() -> int:
            return 1

        dag.add("before", before)
        dag.add("leaves", leaves_now, after=["before"])
        return dag
    dag.add("leaves", leaves_now)
    return dag


def answering() -> flow.Dag:
    dag = flow.Dag("fine")

    async def fine() -> int:
        return 1

    dag.add("fine", fine)
    return dag


@EXITS
@both
@pytest.mark.parametrize("kind", ["thread", "loop", "mixed", "map"])
@on_loop
async def test_it_is_the_run_that_ends(kind: str, durable: bool, error: type[BaseException]) -> None:
    async with served({"exits": raising(kind, error), "fine": answering()}, **stores(durable)) as door:
        for _ in range(2):
            got = await door.sent(f"{API}/workflows/exits/runs", {})
            assert got.status in (200, 500), got
            if got.status == 200:
                assert got.json["status"] in ("failed", "cancelled"), got
            assert "Traceback" not in got.text
        assert (await door.sent(f"{API}/workflows/fine/runs")).json["status"] == "completed"
        assert not door.service.runs.live and door.service.places.taken == 0
        if durable:
            rows = (await door.got(f"{API}/runs")).json["runs"]
            assert {row["status"] for row in rows if row["workflow"] == "exits"} <= {"failed", "cancelled"}, rows


@EXITS
@on_loop
async def test_in_the_handler_of_the_request(error: type[BaseException]) -> None:
    """A workflow that was quick is called there."""
    fails = [False]

    def node() -> int:
        if fails[0]:
            raise error("bye")
        return 1

    dag = flow.Dag("quick")
    dag.add("node", node)
    async with served(dag) as door:
        workflow = door.service.workflows["quick"]
        workflow.pace.quick = True
        assert (await door.sent(f"{API}/workflows/quick/runs")).json["status"] == "completed"
        fails[0], workflow.pace.quick = True, True
        got = await door.sent(f"{API}/workflows/quick/runs")
        assert got.status == 200 and got.json["status"] == "failed" and error.__name__ in got.json["detail"]
        seen = await door.view(got.json["id"])
        assert (seen["status"], seen["detail"]) == ("failed", got.json["detail"])
        fails[0] = False
        assert (await door.sent(f"{API}/workflows/quick/runs")).json["status"] == "completed"


def hook(error: type[BaseException]) -> Callable[[], Any]:
    def make() -> Any:
        def before(call: Any) -> None:
            raise error("no")

        return before

    return make


@pytest.mark.parametrize("error", [ValueError, StopIteration, SystemExit])
@pytest.mark.parametrize("quick", [False, True])
@on_loop
async def test_a_hook_that_raises(quick: bool, error: type[BaseException]) -> None:
    dag = flow.Dag("hooked", config=flow.Config(before_call=hook(error)))
    dag.add("node", lambda: 1)
    async with served(dag) as door:
        door.service.workflows["hooked"].pace.quick = quick
        got = await door.sent(f"{API}/workflows/hooked/runs")
        assert got.status == 200 and got.json["status"] == "failed", got
        assert got.json["detail"] == f"{error.__name__}: no" or error is StopIteration


@on_loop
async def test_with_a_store_a_run_that_an_exit_ended_is_not_begun_for_ever() -> None:
    """As after Ctrl-C it could go on. The service does not do so by itself: it would exit again."""
    calls = list[int]()
    dag = flow.Dag("exits")

    def node() -> None:
        calls.append(1)
        raise SystemExit(3)

    dag.add("node", node)
    store = flow.store.memory()
    async with served(dag, store=store) as door:
        got = await door.sent(f"{API}/workflows/exits/runs", {"run_id": "r"})
        assert got.json["status"] == "failed" and "SystemExit" in got.json["detail"]
        before = len(calls)
        for _ in range(3):
            await door.service._recover()
            await asyncio.sleep(0.02)
        assert len(calls) == before
        assert (await door.view("r"))["status"] == store.run("r").status == "failed"
        assert "SystemExit" in (await door.got(f"{API}/runs")).json["runs"][0]["error"]
        await door.retry("r")
        await door.until("r", "failed")
        assert len(calls) == before + 1
