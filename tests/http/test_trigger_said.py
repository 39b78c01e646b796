"""What requests for runs, and signals, are refused for: where, why, and what to do."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest
from client import API, serving
from running import Calls, asking, chain, on_loop, served
from test_runs_recovered import left_alone
from workflows import Gate, quick

import flow
from flow.store.store import Store


class Verdict(msgspec.Struct):
    """What a signal takes."""

    ok: bool
    by: list[str] = []


def deciding() -> flow.Dag:
    dag = flow.Dag("deciding")
    dag.signal("verdict", type=Verdict)
    return dag


class TestQueries:
    @pytest.mark.parametrize(
        ("query", "said"),
        [
            ("?wiat=0", "there is no parameter 'wiat' (did you mean 'wait'?)"),
            ("?timeout=3", "there is no parameter 'timeout': wait"),
            ("?wait=0&limit=3", "there is no parameter 'limit': wait"),
            ("?w%61%69t=1", "there is no parameter"),
        ],
    )
    def test_what_there_is_not(self, query: str, said: str) -> None:
        with serving({"quick": quick()}) as client:
            client.start("quick")
            for body in ({}, {"inputs": {}}, {"run_id": "a"}):
                got = client.start("quick", body, query)
                assert got.status == 400 and got.json["errors"][0]["detail"].startswith(said), got
            assert client.get(f"{API}/runs/a").status == 404

    def test_all_at_once(self) -> None:
        with serving({"quick": quick()}) as client:
            assert len(client.start("quick", {}, "?a=1&b=2&a=3").json["errors"]) == 2

    def test_a_fraction_of_a_second_is_waited_for(self) -> None:
        gate = Gate()
        with serving({"held": gate.loop}) as client:
            trigger = client.app.trigger
            for prefer, seconds in {b"wait=0.2": 0.2, b"respond-async, wait=1.5": 1.5, b"wait=3": 3.0}.items():
                assert trigger._wait({b"prefer": prefer}, b"") == seconds
            assert client.start("held", {}, headers={"prefer": "wait=0.01"}).status == 202
            gate.open()


class TestConflicts:
    def test_of_runs_that_go_on(self) -> None:
        gate = Gate()
        with serving({"held": gate.loop, "other": gate.loop}) as client:
            client.start("held", {"run_id": "a", "inputs": {"x": 1}}, "?wait=0")

            def said(name: str, **body: Any) -> Any:
                got = client.start(name, {"run_id": "a", **body})
                assert got.status == 409
                return got.json["detail"]

            assert said("held") == "run 'a' was given other inputs: give another run_id"
            assert said("held", inputs={"x": 1}, targets=["held"]).startswith("run 'a' was given other targets")
            assert said("other", inputs={"x": 1}).startswith("run 'a' is one of workflow 'held', not of 'other'")
            gate.open()

    @on_loop
    async def test_of_runs_in_a_store(self) -> None:
        named = {"first": flow.Dag("dag1"), "second": flow.Dag("dag2")}
        for dag in named.values():
            dag.add("node", lambda x=0: x)
        async with served(named, store=flow.store.memory()) as door:

            async def said(name: str, x: int) -> Any:
                got = await door.sent(f"{API}/workflows/{name}/runs", {"run_id": "a", "inputs": {"x": x}})
                return got.json.get("detail", got.status)

            assert await said("first", 1) == 200
            assert await said("first", 1) == 200
            assert await said("first", 2) == "run 'a' was given other inputs: give another run_id"
            assert (await said("second", 1)).startswith("run 'a' is one of workflow 'first', not of 'second'")


class TestRunsThatWereBegunBefore:
    """What goes on after a restart is known by what its store says."""

    @on_loop
    async def test_are_asked_for_again_by_who_gives_the_same(self) -> None:
        store, gate = flow.store.memory(), Gate()
        left_alone(store, "r", gate.loop, {"x": 4})
        async with served(gate.loop, store=store) as door:
            await door.until("r", "running")
            path = f"{API}/workflows/held_on_loop/runs"
            other = await door.sent(path, {"run_id": "r", "inputs": {"x": 5}})
            assert (other.status, other.json["detail"]) == (409, "run 'r' was given other inputs: give another run_id")
            assert (await door.sent(f"{path}?wait=0", {"run_id": "r", "inputs": {"x": 4}})).status == 202
            asked = asyncio.create_task(door.sent(path, {"run_id": "r", "inputs": {"x": 4}}))
            gate.open()
            assert (await asked).json["outputs"] == {"held": 4}

    @on_loop
    async def test_are_known_by_their_idempotency_key(self) -> None:
        backend, path, headers = flow.store.memory().backend, f"{API}/workflows/asking/runs", {"idempotency-key": "k"}
        body, other = {"inputs": {"text": "a"}}, {"inputs": {"text": "b"}}
        async with served(asking(), store=Store(backend)) as door:
            first = await door.sent(f"{path}?wait=0", body, headers=headers)
            assert first.status == 202
            await door.until(first.json["id"], "waiting")
        async with served(asking(), store=Store(backend)) as door:
            await door.until(first.json["id"], "waiting")
            again = await door.sent(path, body, headers=headers)
            assert (again.status, again.headers["location"]) == (409, first.headers["location"])
            assert (await door.sent(path, other, headers=headers)).status == 422

    @on_loop
    async def test_and_of_another_process(self) -> None:
        backend, path, headers = flow.store.memory().backend, f"{API}/workflows/chain/runs", {"idempotency-key": "k"}
        calls = Calls()
        async with (
            served(chain(calls), store=Store(backend)) as driver,
            served(chain(calls), store=Store(backend)) as door,
        ):
            first = await driver.sent(f"{path}?wait=0", headers=headers)
            await calls.in_node()
            got = await door.sent(path, headers=headers)
            assert (got.status, got.headers["location"]) == (409, first.headers["location"])
            assert "its Location says how" in got.json["detail"]
            calls.opened.set()
            await driver.until(first.json["id"], "completed")


@pytest.mark.parametrize("durable", [False, True], ids=["memory", "store"])
@on_loop
async def test_a_payload_that_does_not_fit_is_told_where(durable: bool) -> None:
    backend = flow.store.memory().backend
    async with served(deciding(), **({"store": Store(backend)} if durable else {})) as driver:
        run = await driver.run_of("deciding")
        await driver.until(run, "waiting")
        wrong = [
            ({"ok": "yes"}, "/payload/ok", "Expected `bool`, got `str`"),
            ({"ok": True, "by": ["Ann", 5]}, "/payload/by/1", "Expected `str`, got `int`"),
            ({"by": []}, "/payload", "Object missing required field `ok`"),
            (None, "/payload", "Expected `object`, got `null`"),
        ]

        async def refused(door: Any) -> None:
            for payload, place, said in wrong:
                got = await door.signal(run, "verdict", payload)
                assert (got.status, got.json["errors"]) == (422, [{"pointer": place, "detail": said}])
                assert got.json["detail"] == "what was sent to 'verdict' is not of its type Verdict"

        await refused(driver)
        if durable:
            async with served(deciding(), store=Store(backend)) as door:
                await refused(door)
        assert (await driver.signal(run, "verdict", {"ok": True})).status == 202
        assert (await driver.until(run, "completed"))["outputs"] == {"verdict": {"ok": True, "by": []}}
