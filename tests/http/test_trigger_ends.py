"""How runs end that somebody waits for: cancelled, refused, let go. And what keeps a run from its beginning."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated, Any, TypedDict

import pytest
from client import API, Client, Got, serving
from workflows import Gate, one, quick

import flow
import flow.store
from flow.errors import ConfigError, InputError, RunConflict, RunOwned, StoreError, UnknownRun, UsageError
from flow.http.live import LetGo
from flow.http.problems import Fault, Problem
from flow.http.triggering import problem_of


def while_it_runs(client: Client, gate: Gate, name: str, act: Any, run_id: str = "a") -> Got:
    """Ask for a run; call ``act`` once its node waits; return the answer."""

    async def go() -> Got:
        asked = asyncio.create_task(client.asked("POST", f"{API}/workflows/{name}/runs", {"run_id": run_id}))
        while not gate.entered.is_set():
            await asyncio.sleep(0.001)
        await act()
        return await asked

    return client.run(go)


class TestCancelled:
    @pytest.mark.parametrize(("name", "stored"), [("loop", False), ("loop", True), ("sync", False)])
    def test_who_waits_is_told(self, name: str, stored: bool, tmp_path: Path) -> None:
        gate = Gate()
        dag: flow.Dag = getattr(gate, name)
        dag.add("after", lambda held: held)
        settings = {"store": flow.store.open(tmp_path / "runs.db")} if stored else {}
        with serving({"held": dag}, **settings) as client:

            async def cancel() -> None:
                assert (await client.asked("POST", f"{API}/runs/a/cancel", {})).status == 202
                if name == "sync":  # what is being called is not interrupted
                    gate.open()

            got = while_it_runs(client, gate, "held", cancel)
            assert (got.status, got.json["status"]) == (200, "cancelled")
            assert "after" not in got.json["outputs"]
            assert client.get(f"{API}/runs/a").json["status"] == "cancelled"
            assert client.post(f"{API}/runs/a/cancel").status == 409
        if stored:
            settings["store"].close()

    def test_cleanup_runs(self) -> None:
        gate, cleaned = Gate(), list[int]()
        gate.loop.add("clean", lambda: cleaned.append(1), cleanup=True)
        with serving({"held": gate.loop}) as client:

            async def cancel() -> None:
                await client.asked("POST", f"{API}/runs/a/cancel", {})

            assert while_it_runs(client, gate, "held", cancel).json["status"] == "cancelled"
            assert cleaned == [1]

    def test_a_drain_without_a_store(self) -> None:
        gate = Gate()
        with serving({"held": gate.loop, "quick": quick()}) as client:

            async def drain() -> None:
                await client.app.drain(0.0)

            assert while_it_runs(client, gate, "held", drain).json["status"] == "cancelled"
            for url in (f"{API}/workflows/quick/runs", f"{API}/workflows/trigger"):
                got = client.post(url, {"workflow": "quick"} if url.endswith("trigger") else {})
                assert (got.status, got.json["detail"]) == (503, "the service is shutting down")
                assert got.headers["retry-after"] == "1"
            assert client.get(f"{API}/runs/a").status == 200


class TestStored:
    def test_the_same_answers_as_from_memory(self, tmp_path: Path) -> None:
        def failing() -> None:
            raise ValueError("cannot read /srv/private/a.txt")

        class Own(Exception): ...

        def own() -> None:
            raise Own("no")

        workflows = {"quick": quick(), "bad": one(failing), "own": flow.Dag("own")}
        workflows["own"].add("node", own)
        told = list[Any]()
        for settings in ({}, {"store": flow.store.open(tmp_path / "runs.db")}):
            with serving(workflows, **settings) as client:
                answers = [client.start(name, {"run_id": name}).json for name in ("quick", "bad", "own") * 2]
                answers += [client.get(f"{API}/runs/{name}").json for name in ("quick", "bad", "own")]
                for answer in answers:
                    for name in ("seconds", "created", "ended"):
                        answer.pop(name, None)
                    for node in answer.get("nodes", ()):  # of which a store knows more
                        for name in ("seconds", "attempt"):
                            node.pop(name, None)
                told.append(answers)
        assert told[0] == told[1]
        settings["store"].close()

    def test_what_is_accepted_is_stored(self, tmp_path: Path) -> None:
        gate = Gate()
        with flow.store.open(tmp_path / "runs.db") as store, serving({"held": gate.loop}, store=store) as client:
            got = client.start("held", {"run_id": "a"}, "?wait=0")
            assert got.status == 202
            with flow.store.open(tmp_path / "runs.db") as other:
                assert other.backend.row("a") is not None
            gate.open()
            assert client.start("held", {"run_id": "a"}).json["status"] == "completed"

    def test_targets_are_for_services_without_one(self, tmp_path: Path) -> None:
        with flow.store.open(tmp_path / "runs.db") as store, serving({"quick": quick()}, store=store) as client:
            got = client.start("quick", {"targets": ["first"]})
            assert got.status == 422
            assert got.json["errors"][0]["pointer"] == "/targets"
            assert "a service with a store runs whole workflows" in got.json["errors"][0]["detail"]


class Secrets(TypedDict):
    token: Annotated[str, flow.Secret]


class TestSecrets:
    @pytest.mark.parametrize("stored", [False, True])
    def test_a_run_that_goes_on_and_one_in_a_store_show_none(self, stored: bool, tmp_path: Path) -> None:
        async def failing(token: str) -> None:
            raise ValueError(f"bad {token}")

        dag = flow.Dag("secrets", inputs=Secrets)
        dag.add("out", lambda token: {"token": token})
        dag.add("failing", failing)
        dag.signal("never", after={"failing": "failed"})
        settings = {"store": flow.store.open(tmp_path / "runs.db")} if stored else {}
        with serving({"secrets": dag}, **settings) as client:
            body = {"run_id": "a", "inputs": {"token": "/s3cr3t/hunter2"}}
            got = client.start("secrets", body, "?wait=0.05")
            assert (got.status, got.json["status"]) == (202, "waiting")
            seen = [client.get(url) for url in (f"{API}/runs/a", f"{API}/runs", "/runs/a", "/")]
            client.post(f"{API}/runs/a/cancel")
            seen += [client.start("secrets", body)]
            seen += [client.get(url) for url in (f"{API}/runs/a", f"{API}/runs/a/events", "/runs/a")]
            for one in (got, *seen):
                assert one.status in (200, 202), one
                assert "hunter2" not in one.text
                assert "s3cr3t" not in one.text
            assert seen[0].json["errors"]["failing"]["message"] == "bad ***"
        if stored:
            settings["store"].close()


class TestProblems:
    @pytest.mark.parametrize(
        ("error", "status", "said"),
        [
            (RunConflict("a", "d"), 409, "there is a run 'a' of another workflow, or of other inputs"),
            (RunOwned("a", "x"), 409, "run 'a' goes on in another process"),
            (UnknownRun("a"), 404, "there is no run 'a'"),
            (LetGo(), 503, "the service is shutting down"),
            (StoreError("cannot write /srv/private/runs.db"), 503, "cannot write runs.db"),
            (UsageError("no /srv/private/x"), 422, "no x"),
            (ConfigError("Config", ["see /srv/private/x"]), 422, "x"),
            (flow.FlowError("in /srv/private/x"), 500, "in x"),
            (RuntimeError("/srv/private/x"), 500, "the run could not begin: RuntimeError"),
            (KeyboardInterrupt(), 500, "the run could not begin: KeyboardInterrupt"),
        ],
    )
    def test_what_keeps_a_run_from_its_beginning(self, error: BaseException, status: int, said: str) -> None:
        found = problem_of(error, "a")
        assert found.status == status
        assert said in found.detail
        assert "private" not in found.body("r").decode()
        assert (status == 503 and not isinstance(error, StoreError)) == (b"retry-after" in dict(found.headers))

    def test_a_problem_stays(self) -> None:
        problem = Problem(418)
        assert problem_of(problem, "a") is problem

    def test_a_key_used_twice(self) -> None:
        assert problem_of(RunConflict("a", "d"), "a", idempotent=True).status == 422

    def test_inputs(self) -> None:
        error = InputError("d", ["input 'x' (/srv/private/steps.py:12) must be an int", "another"])
        found = problem_of(error, "a")
        assert (found.status, found.title) == (422, "The inputs do not fit the workflow")
        assert found.faults == (Fault("/inputs", "input 'x' must be an int"), Fault("/inputs", "another"))
