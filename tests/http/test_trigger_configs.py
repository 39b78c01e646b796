"""What a service is made of: workflows by name, and the Config of their runs."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from client import API, serving
from workflows import one, quick

import flow
import flow.store
from flow.errors import UsageError
from flow.http import Limits, Service


class TestMade:
    @pytest.mark.parametrize("workflows", [{}, [], None, "quick", quick(), [("quick", quick())]])
    def test_workflows_are_a_mapping(self, workflows: Any) -> None:
        with pytest.raises(UsageError, match="a service takes a mapping of names to workflows"):
            Service(workflows)

    def test_names_that_paths_have_already_and_names_that_are_none(self) -> None:
        names = ["trigger", "instances", "available", "status", "a/b", "..", "", "a b", 5]
        with pytest.raises(UsageError) as caught:
            Service({name: quick() for name in names})  # type: ignore[dict-item]
        for name in names:
            assert repr(name) in str(caught.value)

    @pytest.mark.parametrize("target", [5, None, "module:dag", print, flow.Config()])
    def test_what_is_no_workflow(self, target: Any) -> None:
        with pytest.raises(UsageError, match=r"a service takes flow.Dag and flow.Plan, and 'x' is"):
            Service({"x": target})

    def test_a_dag_that_does_not_compile(self) -> None:
        dag = flow.Dag("d")
        dag.add("a", lambda b: 1)
        dag.add("b", lambda a: 1)
        with pytest.raises(flow.DefinitionError, match="cycle"):
            Service({"d": dag})

    def test_a_plan(self) -> None:
        with serving({"p": quick().compile()}) as client:
            assert client.start("p").json["outputs"] == {"third": {"x": 7}}

    def test_a_dag_that_is_changed_later_is_served_as_it_was(self) -> None:
        dag = quick()
        with serving({"quick": dag}) as client:
            dag.add("fourth", lambda third: 1)
            assert client.start("quick").json["outputs"] == {"third": {"x": 7}}

    def test_in_a_store_two_of_one_dag_cannot_be_told_apart(self, tmp_path: Path) -> None:
        with flow.store.open(tmp_path / "runs.db") as store:
            with pytest.raises(UsageError, match=r"workflows 'a' and 'b' are both of a dag called 'quick'"):
                Service({"a": quick(), "b": quick()}, store=store)
            Service({"a": quick(), "b": quick("other")}, store=store)
        Service({"a": quick(), "b": quick()})

    def test_its_repr(self) -> None:
        service = Service({"a": quick(), "b": quick()})
        assert repr(service) == "<Service of a, b: starting>"

    @pytest.mark.parametrize("name", ["naïve", "a.b:c@d#e+f-g"])
    def test_any_name_is_found(self, name: str) -> None:
        from urllib.parse import quote

        with serving({name: quick()}) as client:
            assert client.start(quote(name, safe="")).status == 200
            assert client.get(f"{API}/workflows/{quote(name, safe='')}").json["name"] == name
            assert client.get(f"{API}/runs?workflow={quote(name, safe='')}").json["runs"][0]["workflow"] == name


class TestConfigs:
    def test_of_each_dag_and_of_the_service(self) -> None:
        def dag(**settings: Any) -> flow.Dag:
            made = flow.Dag("d", config=flow.Config(**settings))
            made.add("a", lambda: 1 / 0)
            made.add("b", lambda: 2)
            return made

        workflows = {"fails": dag(), "collects": dag(on_error="collect")}
        with serving(workflows) as client:
            found = [client.start(name).json["counts"] for name in workflows]
            assert found == [{"failed": 1, "cancelled": 1}, {"failed": 1, "completed": 1}]
        with serving(workflows, config=flow.Config(on_error="collect")) as client:
            assert {tuple(client.start(name).json["counts"]) for name in workflows} == {("completed", "failed")}

    def test_its_observers_see_all_runs(self) -> None:
        seen = list[str]()
        config = flow.Config(observers=[lambda event: seen.append(type(event).__name__)])
        with serving({"quick": quick()}, config=config) as client:
            for _ in range(2):  # in a thread, and here
                seen.clear()
                client.start("quick")
                assert seen.count("NodeFinished") == 3

    @pytest.mark.parametrize("is_async", [False, True])
    @pytest.mark.parametrize("kind", ["sync", "loop"])
    def test_its_call_hook_is_asked_before_each_call(self, kind: str, is_async: bool) -> None:
        calls = list[str]()

        def ask(call: Any) -> None:
            calls.append(call.node)

        async def ask_later(call: Any) -> None:
            calls.append(call.node)

        async def second(first: int) -> int:
            return first + 1

        dag = quick()
        if kind == "loop":
            dag.add("second", second, replace=True)
        config = flow.Config(before_call=lambda: ask_later if is_async else ask)
        with serving({"quick": dag}, config=config) as client:
            for _ in range(3):
                calls.clear()
                assert client.start("quick").json["outputs"] == {"third": {"x": 7}}
                assert calls == ["first", "second", "third"]

    def test_a_call_hook_that_takes_no_part_in_this_run(self) -> None:
        with serving({"quick": quick()}, config=flow.Config(before_call=lambda: None)) as client:
            assert [client.start("quick").json["status"] for _ in range(2)] == ["completed"] * 2

    def test_hooks_that_break_end_their_run_alone(self) -> None:
        def broken() -> Any:
            raise RuntimeError("/srv/private/x")

        for setting in ("before_call", "on_outcome"):
            with serving({"quick": quick()}, config=flow.Config(**{setting: broken})) as client:
                for _ in range(3):
                    got = client.start("quick")
                    assert got.status in (200, 500)
                    assert "private" not in got.text
                assert client.get("/health").status == 200

    def test_an_executor_of_its_own(self) -> None:
        from concurrent.futures import ThreadPoolExecutor

        names = list[str]()
        with ThreadPoolExecutor(1, "mine") as pool:
            dag = one(lambda: names.append(threading.current_thread().name), executor="pool")
            with serving({"one": dag}, config=flow.Config(executors={"pool": pool})) as client:
                assert [client.start("one").json["status"] for _ in range(2)] == ["completed"] * 2
        assert [name.startswith("mine") for name in names] == [True, True]

    def test_runs_on_a_loop_that_the_config_asks_for(self) -> None:
        names = list[str]()
        with serving({"one": one(lambda: names.append("x"))}, config=flow.Config(mode="tasks")) as client:
            assert [client.start("one").json["status"] for _ in range(2)] == ["completed"] * 2
        assert names == ["x", "x"]

    def test_outputs_that_are_freed(self) -> None:
        with serving({"quick": quick()}, config=flow.Config(keep="targets")) as client:
            for body in ({}, {}, {"targets": ["second"]}):
                got = client.start("quick", body).json
                assert got["status"] == "completed"
                assert got["outputs"] in ({"third": {"x": 7}}, {"second": 7})


def test_limits_are_settings() -> None:
    with pytest.raises(flow.errors.ConfigError) as caught:
        Limits(body=0, queue=-1, wait=0, rate=5, runs=True)  # type: ignore[arg-type]
    assert len(caught.value.faults) == 5
