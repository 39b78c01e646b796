"""Requests for runs: what they may say, and when they are answered."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from urllib.parse import quote

import pytest
from client import API, serving
from workflows import Gate, one, quick

import flow
from flow.http import Limits
from flow.types import NAME_RULE

BAD_NAMES = ["/", "..", "%2e%2e", "a/b", "a\0b", "a\nb", "a'b", 'a"b', "x" * 10_240, "", " a", 5, [], {}, True]


def held(gate: Gate, **settings: Any) -> Any:
    return serving({"held": gate.loop, "sync": gate.sync}, **settings)


class TestAnswer:
    def test_its_form(self) -> None:
        with serving({"quick": quick()}) as client:
            for _ in range(3):
                got = client.start("quick", {"inputs": {"x": 1}})
                told = got.json
                assert got.status == 200
                assert list(told) == ["id", "status", "outputs", "errors", "counts", "seconds"]
                assert (told["status"], told["outputs"], told["counts"]) == (
                    "completed",
                    {"third": {"x": 3}},
                    {"completed": 3},
                )
                assert "location" not in got.headers
                assert got.headers["content-type"] == "application/json"

    @pytest.mark.parametrize("kind", ["sync", "loop"])
    def test_all_ways_say_the_same(self, kind: str) -> None:
        async def second(first: int) -> int:
            return first + 1

        dag = quick()
        if kind == "loop":
            dag.add("second", second, replace=True)
        with serving({"quick": dag}) as client:
            ways = [
                client.start("quick"), client.start("quick"),
                client.start("quick", {"run_id": "named"}), client.start("quick", {"run_id": "named"}),
                client.start("quick", headers={"idempotency-key": "k"}),
                client.post(f"{API}/workflows/trigger", {"workflow": "quick"}),
                client.get(f"{API}/runs/named"), client.get(f"{API}/workflows/status/named"),
            ]  # fmt: skip
            for got in ways:
                assert got.status == 200
                told = got.json
                assert (told["status"], told["outputs"], told["errors"]) == ("completed", {"third": {"x": 7}}, {})
                assert told["counts"] == {"completed": 3}

    def test_targets(self) -> None:
        with serving({"quick": quick()}) as client:
            got = client.start("quick", {"targets": ["first"], "run_id": "part"}).json
            assert (got["outputs"], got["counts"]) == ({"first": 6}, {"completed": 1})
            view = client.get(f"{API}/runs/part").json
            assert [node["status"] for node in view["nodes"]] == ["completed", "pending", "pending"]
            both = client.start("quick", {"targets": ["second", "first"]}).json
            assert both["outputs"] == {"first": 6, "second": 7}

    def test_targets_that_are_named_again_and_again_are_kept_once(self) -> None:
        with serving({"quick": quick()}) as client:
            got = client.start("quick", {"targets": ["first", "second"] * 20_000}).json
            assert got["outputs"] == {"first": 6, "second": 7}
            asked = client.app.trigger._asked(
                client.app.workflows["quick"], {"targets": ["second", "first", "second"]}, {}, b"", ""
            )
            assert asked.targets == ("second", "first")

    @pytest.mark.parametrize("targets", [[], "first", [1], {}, 0, [["first"]]])
    def test_what_targets_are(self, targets: Any) -> None:
        with serving({"quick": quick()}) as client:
            got = client.start("quick", {"targets": targets})
            assert got.status == 422
            assert got.json["errors"] == [{"pointer": "/targets", "detail": "targets are a list of names of nodes"}]

    @pytest.mark.parametrize("body", [[], "x", 5, True, [{}]])
    def test_a_body_is_an_object(self, body: Any) -> None:
        with serving({"quick": quick()}) as client:
            got = client.start("quick", json.dumps(body).encode())
            assert got.status == 422
            assert got.json["errors"] == [{"pointer": "", "detail": 'the body is an object: {"inputs": {...}}'}]

    def test_a_refused_request_runs_nothing(self) -> None:
        calls = list[int]()
        with serving({"one": one(lambda x=0: calls.append(x))}) as client:
            for body in ({"inputs": {"y": 1}}, {"run_id": "/"}, {"targets": ["no"]}, {"other": 1}):
                assert client.start("one", body).status in (400, 422)
            assert client.start("one", {}, "?wait=x").status == 400
            assert calls == []
            assert client.get(f"{API}/runs").json == {"runs": [], "next": None}

    def test_a_workflow_that_there_is_not(self) -> None:
        with serving({"quick": quick()}) as client:
            got = client.start("quik")
            assert got.status == 404
            assert got.json["detail"] == "there is no workflow 'quik' (did you mean 'quick'?)"


class TestWaiting:
    @pytest.mark.parametrize(
        ("query", "prefer"),
        [
            ("?wait=0", ""), ("?wait=0.01", ""), ("?&wait=0.01&", ""), ("", "respond-async"), ("", "Respond-Async"),
            ("", "wait=0"), ("", "return=minimal, wait=0"), ("", "respond-async, wait=0"), ("?wait=0", "wait=9"),
            ("", "wait=0.01"), ("", 'respond-async, wait="0.01"'),
        ],
    )  # fmt: skip
    def test_202_with_the_place_of_the_run(self, query: str, prefer: str) -> None:
        gate = Gate()
        with held(gate) as client:
            for name in ("held", "sync"):
                got = client.start(name, {}, query, headers={"prefer": prefer})
                assert (got.status, got.json["status"], got.json["outputs"]) == (202, "running", {})
                assert got.headers["location"] == f"{API}/runs/{got.json['id']}"
                assert client.get(got.headers["location"]).json["status"] == "running"
            gate.open()
            for row in client.get(f"{API}/runs").json["runs"]:
                assert client.start(row["workflow"], {"run_id": row["id"]}).status == 409  # its inputs were no name

    def test_prefer_that_says_both_waits_and_is_answered_then(self) -> None:
        gate = Gate()
        with held(gate) as client:

            async def go() -> int:
                headers = {"prefer": "respond-async, wait=10"}
                asked = asyncio.create_task(client.asked("POST", f"{API}/workflows/held/runs", {}, headers=headers))
                while not gate.entered.is_set():
                    await asyncio.sleep(0)
                gate.open()
                return (await asked).status

            assert client.run(go) == 200

    @pytest.mark.parametrize("wait", ["", "x", "-1", "1e3", "5.", ".5", "nan", "inf", "1" * 20, "%30", "0x1"])
    def test_what_waits_are(self, wait: str) -> None:
        with serving({"quick": quick()}) as client:
            got = client.start("quick", {}, f"?wait={wait}")
            assert (got.status, got.json["detail"]) == (400, "wait is a number of seconds: ?wait=5")

    def test_nobody_waits_longer_than_the_limit(self) -> None:
        gate = Gate()
        with held(gate, limits=Limits(wait=0.01)) as client:
            for query, prefer in (("", ""), ("?wait=1000", ""), ("", "wait=1000")):
                assert client.start("held", {}, query, headers={"prefer": prefer}).status == 202
            gate.open()

    def test_one_whose_thread_has_not_come_is_answered(self) -> None:
        gate = Gate()
        with held(gate, limits=Limits(threads=1)) as client:
            for _ in range(3):
                got = client.start("sync", {}, "?wait=0")
                assert got.status == 202
                assert client.get(got.headers["location"]).status == 200
            gate.open()

    def test_a_client_that_goes_leaves_the_run(self) -> None:
        gate = Gate()
        with held(gate) as client:

            async def go() -> None:
                asked = asyncio.create_task(client.asked("POST", f"{API}/workflows/held/runs", {"run_id": "left"}))
                while not gate.entered.is_set():
                    await asyncio.sleep(0)
                asked.cancel()
                await asyncio.wait([asked])
                gate.open()

            client.run(go)
            assert client.start("held", {"run_id": "left"}).json["status"] == "completed"


class TestRunIds:
    @pytest.mark.parametrize("name", BAD_NAMES, ids=lambda name: repr(name)[:12])
    def test_bad_ones(self, name: Any) -> None:
        with serving({"quick": quick()}) as client:
            got = client.start("quick", {"run_id": name})
            assert got.status == 400
            assert got.json["errors"] == [{"pointer": "/run_id", "detail": NAME_RULE}]

    @pytest.mark.parametrize("name", ["..", "%2e%2e", "a%00b", "a%0ab", "a%27b", "a%22b", "x" * 10_240, "%20"])
    def test_bad_ones_in_paths(self, name: str) -> None:
        with serving({"quick": quick()}) as client:
            for way in (API, f"{API}/workflows/status", ""):
                url = f"{way}/{name}" if way.endswith("status") else f"{way}/runs/{name}"
                got = client.get(url)
                assert got.status == 400
                assert NAME_RULE in got.json["detail"]
                assert len(got.body) < 1_000
            for action in ("cancel", "retry", "signals/a"):
                assert client.post(f"{API}/runs/{name}/{action}", {"payload": 1}).status == 400
            assert client.get(f"{API}/runs/{name}/events").status == 400

    @pytest.mark.parametrize("name", ["naïve-é", "pages#7.a", "a+b@c:d", "x" * 255])
    def test_good_ones_are_found_where_the_answer_says(self, name: str) -> None:
        gate = Gate()
        with held(gate) as client:
            for got in (
                client.start("held", {"run_id": name}, "?wait=0"),
                client.post(f"{API}/runs/{quote(name)}/cancel"),
            ):
                assert got.status == 202
                assert got.headers["location"].isascii()
                assert "#" not in got.headers["location"]
                assert client.get(got.headers["location"]).json["id"] == name

    def test_a_live_one_is_joined(self) -> None:
        gate = Gate()
        with held(gate) as client:

            async def go() -> list[Any]:
                tasks = [
                    asyncio.create_task(
                        client.asked("POST", f"{API}/workflows/held/runs", {"run_id": "a", "inputs": {"x": 4}})
                    )
                    for _ in range(5)
                ]
                while not gate.entered.is_set():
                    await asyncio.sleep(0)
                gate.open()
                return [(await task).json for task in tasks]

            told = client.run(go)
            assert [one["outputs"] for one in told] == [{"held": 4}] * 5
            assert told == told[:1] * 5
            assert len(client.get(f"{API}/runs").json["runs"]) == 1

    def test_an_ended_one_is_told_again_and_not_run(self) -> None:
        calls = list[int]()
        with serving({"one": one(lambda x=0: calls.append(x))}) as client:
            told = [client.start("one", {"run_id": "a", "inputs": {"x": 1}}).body for _ in range(3)]
            assert told == told[:1] * 3
            assert calls == [1]

    @pytest.mark.parametrize("body", [{"inputs": {"x": 2}}, {"targets": ["third"]}, {}])
    def test_one_of_other_inputs_or_targets(self, body: dict[str, Any]) -> None:
        with serving({"quick": quick()}) as client:
            client.start("quick", {"run_id": "a", "inputs": {"x": 1}})
            got = client.start("quick", {"run_id": "a", **body})
            assert got.status == 409
            assert got.json["detail"] == "run 'a' was given other inputs or targets: give another run_id"

    def test_one_of_another_workflow(self) -> None:
        with serving({"quick": quick(), "other": quick()}) as client:
            client.start("quick", {"run_id": "a"})
            got = client.start("other", {"run_id": "a"})
            said = "run 'a' is one of workflow 'quick', not of 'other': give another run_id"
            assert (got.status, got.json["detail"]) == (409, said)

    def test_the_same_written_in_another_way(self) -> None:
        dag = flow.Dag("d")
        dag.add("node", lambda a=0, b=0: [a, b])
        with serving({"d": dag}) as client:
            client.start("d", {"run_id": "a", "inputs": {"a": 1, "b": 2}})
            for body in (
                b'{"inputs":{"b":2,"a":1},"run_id":"a"}',
                b' { "run_id" : "\\u0061", "inputs":{"a":1,"b": 2}}',
            ):
                assert client.start("d", body).status == 200
            client.start("d", {"run_id": "b"})
            for body in ({"inputs": {}}, {"targets": None}):
                assert client.start("d", {"run_id": "b", **body}).status == 200

    def test_numbers_beyond_64_bits_are_told_apart(self) -> None:
        with serving({"one": one(lambda x: x)}) as client:
            assert client.start("one", {"run_id": "a", "inputs": {"x": 2**200}}).json["outputs"] == {"node": 2**200}
            assert client.start("one", {"run_id": "a", "inputs": {"x": 2**200}}).status == 200
            assert client.start("one", {"run_id": "a", "inputs": {"x": 2**200 + 1}}).status == 409
