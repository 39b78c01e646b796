"""Requests that are sent twice: ``Idempotency-Key``. And requests as the AI Workflow Engine takes them."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from client import API, Client, serving
from workflows import Gate, one, quick

import flow.store
from flow.http import Keys, Limits


def start(client: Client, key: str, body: Any = None, name: str = "quick", **headers: str) -> Any:
    return client.start(name, body, headers={"idempotency-key": key, **headers})


class TestIdempotencyKey:
    def test_the_same_request_is_answered_as_before_and_runs_once(self) -> None:
        calls = list[int]()
        with serving({"one": one(lambda x=0: calls.append(x))}) as client:
            client.start("one")  # from now on it is quick
            told = [start(client, "k", {"inputs": {"x": 1}}, "one").body for _ in range(3)]
            assert told == told[:1] * 3
            assert calls == [0, 1]
            assert start(client, "other", {"inputs": {"x": 1}}, "one").body != told[0]

    def test_with_another_body_it_is_refused(self) -> None:
        with serving({"quick": quick(), "other": quick()}) as client:
            start(client, "k", {"inputs": {"x": 1}})
            for got in (start(client, "k", {"inputs": {"x": 2}}), start(client, "k"), start(client, "k", name="other")):
                assert got.status == 422
                assert got.json["detail"] == "this Idempotency-Key was used with another request"

    def test_while_the_request_goes_on(self) -> None:
        gate = Gate()
        with serving({"held": gate.loop}) as client:
            body = {"inputs": {"x": 3}}
            first = client.start("held", body, "?wait=0", headers={"idempotency-key": "k"})
            assert first.status == 202
            got = start(client, "k", body, "held")
            said = "the run of this Idempotency-Key goes on: its Location says how"
            assert (got.status, got.json["detail"]) == (409, said)
            assert got.headers["location"] == first.headers["location"]
            assert client.get(got.headers["location"]).json["status"] == "running"
            assert start(client, "k", {"inputs": {"x": 4}}, "held").status == 422
            gate.open()
            client.run(lambda: asyncio.wait_for(asyncio.shield(_end_of(client, first.json["id"])), 5))
            assert start(client, "k", body, "held").json["outputs"] == {"held": 3}

    def test_of_two_at_once_one_runs(self) -> None:
        calls = list[int]()
        with serving({"one": one(lambda: calls.append(1))}) as client:

            async def go() -> list[int]:
                url, headers = f"{API}/workflows/one/runs", {"idempotency-key": "k"}
                both = [client.asked("POST", url, {}, headers=headers) for _ in range(2)]
                return sorted([got.status for got in await asyncio.gather(*both)])

            assert client.run(go) == [200, 409]
            assert calls == [1]

    def test_it_is_scoped_by_who_asks(self) -> None:
        with serving({"quick": quick()}) as client:
            ids = {start(one, "k").json["id"] for one in (client, client.like("10.0.0.1"), client.like("10.0.0.2"))}
            assert len(ids) == 3
            assert start(client.like("10.0.0.1"), "k", {"inputs": {"x": 1}}).status == 422

    def test_it_is_scoped_by_key(self) -> None:
        keys = Keys.memory()
        names = [keys.add(name) for name in ("a", "b")]
        with serving({"quick": quick()}, auth=keys) as client:
            first, second = (client.like(authorization=f"Bearer {key}") for key in names)
            assert start(first, "k", {"inputs": {"x": 1}}).status == start(second, "k").status == 200
            assert start(first.like("10.0.0.1"), "k", {"inputs": {"x": 1}}).status == 200
            assert start(first, "k").status == 422

    def test_its_runs_have_ids_that_no_client_takes(self) -> None:
        with serving({"quick": quick()}) as client:
            run_id = start(client, "k").json["id"]
            assert run_id.startswith("key:") and client.get(f"{API}/runs/{run_id}").json["id"] == run_id
            for name in (run_id, "key:", "key:x"):
                got = client.start("quick", {"run_id": name})
                assert (got.status, got.json["errors"][0]["pointer"]) == (400, "/run_id"), name
            assert client.start("quick", {"run_id": "key-x"}).status == 200

    @pytest.mark.parametrize("key", ["x" * 256, "é", "\x80"])
    def test_bad_ones(self, key: str) -> None:
        with serving({"quick": quick()}) as client:
            got = start(client, key)
            assert (got.status, got.json["detail"]) == (400, "Idempotency-Key is up to 255 characters of ASCII")

    @pytest.mark.parametrize("key", ["x" * 255, "/../%2e\"' {}", "8e03978e-40d5-43dd-bc93-6894a57f9324", "k"])
    def test_good_ones(self, key: str) -> None:
        with serving({"quick": quick()}) as client:
            told = {start(client, key).body for _ in range(2)}
            assert len(told) == 1

    def test_a_run_has_one_name(self) -> None:
        with serving({"quick": quick()}) as client:
            got = start(client, "k", {"run_id": "a"})
            assert got.status == 400
            assert got.json["detail"] == "give either a run_id or an Idempotency-Key: both name the run"

    def test_a_refused_request_does_not_use_it_up(self) -> None:
        gate = Gate()
        with serving({"held": gate.loop, "quick": quick()}, limits=Limits(runs=1, queue=0)) as client:
            client.start("held", {}, "?wait=0")
            assert start(client, "k").status == 503
            assert start(client, "k", {"inputs": {"y": 1}}).status == 422
            gate.open()
            client.run(lambda: asyncio.wait_for(_idle(client), 5))
            assert start(client, "k").status == 200

    def test_a_failed_run_is_replayed_as_it_was(self) -> None:
        calls = list[int]()

        def node() -> None:
            calls.append(1)
            raise ValueError(f"call {len(calls)}")

        with serving({"one": one(node)}) as client:
            told = {start(client, "k", name="one").body for _ in range(3)}
            assert len(told) == 1
            assert calls == [1]

    def test_in_a_store(self, tmp_path: Path) -> None:
        calls = list[int]()
        dag = one(lambda x=0: calls.append(x) or x)
        for _ in range(2):  # the second service is another process as far as memory goes
            with flow.store.open(tmp_path / "runs.db") as store, serving({"one": dag}, store=store) as client:
                assert start(client, "k", {"inputs": {"x": 3}}, "one").json["outputs"] == {"node": 3}
                assert start(client, "k", {"inputs": {"x": 4}}, "one").status == 422
                assert client.start("one", {"run_id": "a", "inputs": {"x": 5}}).json["outputs"] == {"node": 5}
                assert client.start("one", {"run_id": "a", "inputs": {"x": 6}}).status == 409
        assert calls == [3, 5]


async def _end_of(client: Client, run_id: str) -> None:
    live = client.app.runs.live.get(run_id)
    if live is not None:
        await live.done


async def _idle(client: Client) -> None:
    while client.app.places.taken:
        await asyncio.sleep(0)


class TestOriginalsPaths:
    @pytest.mark.parametrize("name", ["workflow", "workflow_name", "workflow_id", "name"])
    @pytest.mark.parametrize("inputs", ["inputs", "input", "data", "payload"])
    def test_a_body_that_names_the_workflow(self, name: str, inputs: str) -> None:
        with serving({"quick": quick()}) as client:
            got = client.post(f"{API}/workflows/trigger", {name: "quick", inputs: {"x": 1}, "run_id": "a"})
            assert (got.status, got.json["id"], got.json["outputs"]) == (200, "a", {"third": {"x": 3}})

    def test_faults(self) -> None:
        with serving({"quick": quick(), "other": quick()}) as client:

            def asked(body: Any) -> tuple[int, Any]:
                got = client.post(f"{API}/workflows/trigger", body)
                return got.status, got.json.get("errors") or got.json["detail"]

            named = [{"pointer": "/workflow", "detail": "name the workflow: it is one of quick, other"}]
            assert asked({}) == asked({"workflow": 5}) == asked({"workflow": "quick", "name": "other"}) == (422, named)
            assert asked({"workflow": "quik"}) == (404, "there is no workflow 'quik' (did you mean 'quick'?)")
            assert asked([])[0] == 422
            status, errors = asked({"workflow": "quick", "input": {"y": 1}, "data": {}, "runid": "a"})
            assert (status, [one["pointer"] for one in errors]) == (422, ["/data", "/runid", "/inputs/y"])

    def test_the_others(self) -> None:
        with serving({"quick": quick(), "other": quick()}) as client:
            client.start("quick", {"run_id": "a"})
            assert client.get(f"{API}/workflows/status/a").body == client.get(f"{API}/runs/a").body
            assert client.get(f"{API}/workflows/status/b").status == 404
            assert client.get(f"{API}/workflows/instances").body == client.get(f"{API}/runs").body
            available = client.get(f"{API}/workflows/available").json["workflows"]
            assert [one["name"] for one in available] == ["quick", "other"]
            got = client.post(f"{API}/workflows/trigger", {"workflow": "quick"}, headers={"idempotency-key": "k"})
            assert client.start("quick", {}, headers={"idempotency-key": "k"}).body == got.body
