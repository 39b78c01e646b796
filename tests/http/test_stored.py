"""Runs as they are looked at: out of memory and out of a store they look the same."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from running import API, Calls, Door, asking, breaking, chain, eventually, on_loop, served

import flow
from flow.http import Limits
from flow.store.store import Store

both = pytest.mark.parametrize("durable", [False, True], ids=["memory", "store"])


def stores(durable: bool) -> dict[str, Any]:
    return {"store": flow.store.memory()} if durable else {}


def shaped() -> flow.Dag:
    """A run with every way for a node to end, as its input says."""
    dag = flow.Dag("shaped")

    @dag.node(retry=flow.Retry(2, delay=0))
    def first(how: str) -> str:
        if how == "bad":
            raise ValueError("it is bad: /home/ann/secret.txt")
        return how

    @dag.node(when=lambda first: first == "never")
    def maybe(first: str) -> str:
        return first

    @dag.node
    def last(first: str) -> dict[str, Any]:
        return {"of": first, "n": [1, 2.5, None]}

    dag.add("beside", lambda: 7)
    return dag


def alike(one: Any, other: Any) -> None:
    """Compare two views of what is the same run, but for its times and attempts."""
    for view in (one, other):
        for name in ("id", "created", "ended", "seconds"):
            assert view.pop(name), name
        for node in view["nodes"]:
            node.pop("attempt", None)
            node.pop("seconds", None)
    assert one == other


async def run_twice(dag: flow.Dag, body: Any) -> tuple[Any, Any, Any, Any]:
    """Return the answer and the view of a run without a store, and the same with one."""
    found = []
    for durable in (False, True):
        async with served(dag, **stores(durable)) as door:
            answer = (await door.sent(f"{API}/workflows/{dag.name}/runs", body)).json
            found += [answer, await door.view(answer["id"])]
    return found[0], found[1], found[2], found[3]


class TestOneRun:
    @pytest.mark.parametrize("how", ["good", "bad", "never"])
    @on_loop
    async def test_field_by_field(self, how: str) -> None:
        answer, view, stored_answer, stored = await run_twice(shaped(), {"inputs": {"how": how}})
        for said, seen in ((answer, view), (stored_answer, stored)):
            for name in ("id", "status", "outputs", "errors", "counts"):
                assert said[name] == seen[name], name
            assert said.get("detail") == seen.get("detail")
        assert "/home" not in str(stored) and "/home" not in str(view)
        assert [node["node"] for node in stored["nodes"]] == ["first", "maybe", "last", "beside"]
        alike(view, stored)

    @on_loop
    async def test_what_a_time_limit_ended(self) -> None:
        dag = flow.Dag("slow", config=flow.Config(timeout=0.02))

        @dag.node
        async def waits() -> None:
            await asyncio.Event().wait()

        answer, view, _, stored = await run_twice(dag, {})
        assert answer["status"] == "failed"
        assert "exceeded" in view.pop("detail") and "exceeded" in stored.pop("detail")
        alike(view, stored)

    @on_loop
    async def test_what_was_tolerated(self) -> None:
        dag = flow.Dag("tolerant")
        dag.add("down", lambda: 1 / 0, continue_on_error=True)
        dag.add("up", lambda: 1)
        answer, view, _, stored = await run_twice(dag, {})
        assert answer["errors"]["down"]["type"] == "ZeroDivisionError"
        alike(view, stored)

    @on_loop
    async def test_a_workflow_file_that_lists_its_outputs(self) -> None:
        text = "flow: 1\nname: listed\nnodes:\n  one: {set: {n: 1}}\noutputs: {n: '{{ one.n + 1 }}'}\n"
        dag = flow.spec.loads(text)
        answer, view, _, stored = await run_twice(dag, {})
        assert answer["outputs"] == {"n": 2}
        alike(view, stored)

    @both
    @on_loop
    async def test_one_that_goes_on(self, durable: bool) -> None:
        calls = Calls()
        async with served(chain(calls), **stores(durable)) as door:
            run = await door.run_of("chain")
            await calls.in_node()
            seen = await door.view(run)
            assert (seen["status"], seen["outputs"], seen["errors"]) == ("running", {}, {})
            assert seen["seconds"] > 0 and "ended" not in seen
            assert [node["status"] for node in seen["nodes"]] == ["completed", "running", "pending", "pending"]
            assert sum(seen["counts"].values()) == 4
            calls.opened.set()
            assert (await door.until(run, "completed"))["ended"] >= seen["created"]

    @on_loop
    async def test_attempts_and_errors_of_one_that_goes_on(self) -> None:
        tried, held = asyncio.Event(), asyncio.Event()
        dag = flow.Dag("trying", config=flow.Config(on_error="collect"))
        tries: list[int] = []

        @dag.node(retry=flow.Retry(3, delay=0))
        async def node() -> str:
            tries.append(1)
            if len(tries) < 3:
                raise OSError("try again")
            tried.set()
            await held.wait()
            return "ok"

        @dag.node
        async def broken() -> None:
            raise KeyError("missing")

        async with served(dag) as door:
            run = await door.run_of("trying")
            await tried.wait()
            seen = await door.view(run)
            node, broken = seen["nodes"]
            assert (node["status"], node["attempt"]) == ("running", 3)
            assert broken["status"] == "failed" and broken["error"]["type"] == "KeyError"
            assert seen["errors"] == {"broken": broken["error"]}
            held.set()
            await door.until(run, "failed")

    @on_loop
    async def test_one_that_another_worker_drives_waits_for_the_same(self) -> None:
        backend = flow.store.memory().backend
        dag = asking()
        dag.timer("nap", seconds=3_600)
        async with served(dag, store=Store(backend)) as driver, served(dag, store=Store(backend)) as door:
            run = await driver.run_of("asking")
            mine = await driver.until(run, "waiting")
            theirs = await eventually(lambda: waiting(door, run))
            assert mine["waiting"] == theirs["waiting"] == ["approve"]
            assert {n["node"]: n["status"] for n in mine["nodes"]} == {n["node"]: n["status"] for n in theirs["nodes"]}

    @both
    @on_loop
    async def test_unknown_ids(self, durable: bool) -> None:
        async with served(asking(), **stores(durable)) as door:
            assert (await door.got(f"{API}/runs/nope")).status == 404
            assert (await door.got(f"{API}/runs/..")).status in (400, 404)


async def waiting(door: Door, run: str) -> Any:
    seen = await door.view(run)
    return seen if seen.get("waiting") else None


class TestLists:
    @both
    @on_loop
    async def test_rows(self, durable: bool) -> None:
        calls = Calls()
        workflows = {"shaped": shaped(), "asking": asking(), "chain": chain(calls)}
        async with served(workflows, **stores(durable)) as door:
            bad = (await door.sent(f"{API}/workflows/shaped/runs", {"inputs": {"how": "bad"}})).json["id"]
            good = (await door.sent(f"{API}/workflows/shaped/runs", {"inputs": {"how": "x"}})).json["id"]
            waits, runs = await door.run_of("asking"), await door.run_of("chain")
            await door.until(waits, "waiting")
            await calls.in_node()
            rows = (await door.got(f"{API}/runs")).json["runs"]
            assert [row["id"] for row in rows] == [runs, waits, good, bad]
            assert [row["workflow"] for row in rows] == ["chain", "asking", "shaped", "shaped"]
            assert [row["status"] for row in rows] == ["running", "waiting", "completed", "failed"]
            assert rows[3]["error"] == "first: ValueError: it is bad: secret.txt"
            for status, ids in {"waiting": [waits], "running": [runs], "failed,waiting": [waits, bad]}.items():
                found = (await door.got(f"{API}/runs?status={status}")).json["runs"]
                assert [row["id"] for row in found] == ids
            assert all(row["created"] and (row["ended"] is None) == (row["id"] in (waits, runs)) for row in rows)
            calls.opened.set()
            await door.until(runs, "completed")

    @both
    @on_loop
    async def test_filters_and_pages(self, durable: bool) -> None:
        async with served({"shaped": shaped(), "asking": asking()}, **stores(durable)) as door:
            ids = []
            for how in ("x", "bad", "x", "bad", "x", "x", "bad"):
                ids += [(await door.sent(f"{API}/workflows/shaped/runs", {"inputs": {"how": how}})).json["id"]]
            failed = (await door.got(f"{API}/runs?status=failed")).json
            assert [row["id"] for row in failed["runs"]] == [ids[6], ids[3], ids[1]] and failed["next"] is None
            mixed = (await door.got(f"{API}/runs?status=failed,completed&workflow=shaped")).json["runs"]
            assert [row["id"] for row in mixed] == ids[::-1]
            assert (await door.got(f"{API}/runs?workflow=asking")).json["runs"] == []
            found, cursor = list[str](), ""
            while True:
                page = (await door.got(f"{API}/runs?limit=3&status=completed,failed{cursor}")).json
                found += [row["id"] for row in page["runs"]]
                if page["next"] is None:
                    break
                cursor = f"&cursor={page['next']}"
                await door.sent(f"{API}/workflows/shaped/runs", {"inputs": {"how": "new"}})  # newer ones change nothing
            assert found == ids[::-1]

    @on_loop
    async def test_runs_of_other_dags_in_the_store(self) -> None:
        store, other = flow.store.memory(), flow.Dag("other")
        other.add("a", lambda: 1)
        for i in range(450):
            flow.run(other, run_id=f"o{i}", store=store)
            if i == 100:
                async with served(shaped(), store=Store(store.backend)) as door:
                    mine = (await door.sent(f"{API}/workflows/shaped/runs", {"inputs": {"how": "x"}})).json["id"]
        asked: list[int] = []
        inner = store.backend.runs

        def counted(statuses: Any, dag: Any, limit: int, before: Any) -> Any:
            asked.append(limit)
            return inner(statuses, dag, limit, before)

        store.backend.runs = counted  # type: ignore[method-assign]
        async with served(shaped(), store=store) as door:
            asked.clear()
            page = (await door.got(f"{API}/runs?limit=1")).json
            assert [row["id"] for row in page["runs"]] == [mine]
            assert len(asked) <= 4, "one query for each run of others"
            assert (await door.got(f"{API}/runs/o7")).status == 404
            assert (await door.got(f"{API}/runs/o7/events")).status == 404

    @on_loop
    async def test_queued_runs_are_listed_out_of_memory(self) -> None:
        calls = Calls()
        async with served(chain(calls), limits=Limits(runs=1)) as door:
            await door.run_of("chain")
            await calls.in_node()
            queued = await door.run_of("chain")
            rows = (await door.got(f"{API}/runs?status=queued")).json["runs"]
            assert [row["id"] for row in rows] == [queued]
            assert (await door.view(queued))["status"] == "queued"
            calls.opened.set()
            await door.until(queued, "completed")

    @on_loop
    async def test_a_store_that_is_broken(self) -> None:
        backend, store = breaking()
        async with served(shaped(), store=store) as door:
            run = (await door.sent(f"{API}/workflows/shaped/runs", {"inputs": {"how": "x"}})).json["id"]
            backend.broken = "disk I/O error"
            for path in (f"{API}/runs", f"{API}/runs/{run}", f"{API}/runs/{run}/events"):
                got = await door.got(path)
                assert got.status == 503 and "/srv" not in got.text and "disk I/O" in got.json["detail"], path
            got = await door.sent(f"{API}/workflows/shaped/runs", {"inputs": {"how": "x"}})
            assert got.status == 503 and "/srv" not in got.text
            assert (await door.got("/health")).json == {"status": "degraded"}
            detailed = (await door.got("/health/detailed")).json
            assert detailed["status"] == "degraded" and "disk I/O error" in detailed["store"]
            assert not door.service.runs.live and door.service.places.taken == 0
            backend.broken = ""
            got = await door.sent(f"{API}/workflows/shaped/runs", {"inputs": {"how": "x"}})
            assert (got.status, got.json["status"]) == (200, "completed")
            assert (await door.got("/health/detailed")).json["status"] == "ok"
            assert (await door.view(run))["status"] == "completed"
