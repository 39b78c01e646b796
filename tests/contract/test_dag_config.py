"""flow.Dag(config=...): the Config of runs that are given none."""

from __future__ import annotations

import asyncio
import copy
import pickle
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import flow
from flow.cli import commands
from flow.config.run import DEFAULT_CONFIG

SOFT = flow.Config(on_error="collect", timing=True, limit=8)


def broken() -> int:
    raise ValueError("no")


async def thread_of() -> int:
    return threading.get_ident()


def dag_of(config: Any = SOFT, **nodes: Any) -> flow.Dag:
    dag = flow.Dag("d", config=config)
    for name, fn in (nodes or {"a": broken, "b": lambda: 2}).items():
        dag.add(name, fn)
    return dag


async def executed(target: Any, **options: Any) -> flow.Result:
    return await flow.execute(target, **options)


async def started(target: Any, **options: Any) -> flow.Result:
    async with flow.start(target, **options) as run:
        return await run.result()


async def streamed(target: Any, **options: Any) -> flow.Result:
    last: Any = None
    async for last in flow.stream(target, **options):
        pass
    assert isinstance(last, flow.Result)
    return last


WAYS: dict[str, Callable[..., flow.Result]] = {
    "run": flow.run,
    "execute": lambda *given, **options: asyncio.run(executed(*given, **options)),
    "start": lambda *given, **options: asyncio.run(started(*given, **options)),
    "stream": lambda *given, **options: asyncio.run(streamed(*given, **options)),
}


@pytest.mark.parametrize("way", WAYS)
class TestEveryEntry:
    def test_runs_that_are_given_none_have_it(self, way: str) -> None:
        for target in (dag_of(), dag_of().compile()):
            result = WAYS[way](target)
            assert (result["b"], list(result.errors)) == (2, ["a"])
            assert result._run.config.limit == 8
            assert set(result.spans()) == {"a", "b"}

    def test_a_config_that_is_given_holds_instead(self, way: str) -> None:
        with pytest.raises(flow.RunError) as caught:
            WAYS[way](dag_of(), config=flow.Config())
        assert caught.value.result._run.config.limit is None

    def test_without_one_the_default_holds(self, way: str) -> None:
        with pytest.raises(flow.RunError):
            WAYS[way](dag_of(None))

    def test_hooks_and_observers_of_it_are_called(self, way: str) -> None:
        seen: list[Any] = []
        config = flow.Config(
            on_outcome=lambda: lambda outcome: seen.append(outcome.node),
            observers=[lambda event: seen.append(type(event).__name__)],
        )
        WAYS[way](dag_of(config, b=lambda: 2))
        assert "b" in seen and "RunFinished" in seen


def test_the_event_loop_and_the_place_are_its(backend: str) -> None:
    import sniffio

    async def library() -> str:
        return sniffio.current_async_library()

    found = flow.run(dag_of(flow.Config(backend=backend), a=library))["a"]  # type: ignore[arg-type]
    assert found == ("trio" if backend == "trio" else "asyncio")
    dag = dag_of(flow.Config(executor="thread"), a=threading.get_ident)
    assert flow.run(dag)["a"] != threading.get_ident()


class TestKept:
    def test_by_the_plan_and_its_parts(self) -> None:
        dag = dag_of()
        assert dag.compile().config is SOFT
        assert dag.compile().subgraph("a").config is SOFT
        assert dag.subgraph("a").compile().config is SOFT
        assert flow.run(dag, targets="a").ok is False
        assert flow.run(dag, known={"b": 1}).ok is False
        assert dag_of(None).compile().config is None

    def test_when_the_dag_grows(self) -> None:
        dag = dag_of()
        dag.compile()
        dag.add("c", lambda: 3)
        assert dag.compile().config is SOFT

    def test_by_copies(self) -> None:
        plan = flow.Dag("d", config=flow.Config(limit=8))
        plan.add("a", list)
        for other in (pickle.loads(pickle.dumps(plan.compile())), copy.deepcopy(plan.compile())):
            assert other.config.limit == 8


class TestNotTheirs:
    """A run is one run: what stands in it goes by the Config of the whole."""

    def test_of_a_dag_that_is_a_node(self) -> None:
        outer = flow.Dag("outer")
        outer.add("inner", dag_of())
        with pytest.raises(flow.RunError):
            flow.run(outer)
        assert outer.compile().config is None

    def test_of_a_dag_that_is_included(self) -> None:
        outer = flow.Dag("outer")
        outer.include(dag_of(), prefix="in")
        with pytest.raises(flow.RunError):
            flow.run(outer)

    def test_of_a_dag_of_items(self) -> None:
        outer = flow.Dag("outer", config=flow.Config(limit=3))
        inner = dag_of(SOFT, a=lambda item: item)
        outer.add("items", lambda: [1])
        outer.map("m", inner, over="items")
        result = flow.run(outer)
        assert result["m"] == [{"a": 1}]
        assert result._run.config.limit == 3

    def test_of_runs_that_nodes_start(self) -> None:
        def starts(ctx: flow.Context) -> Any:
            return ctx.run(dag_of())["b"]

        with pytest.raises(flow.RunError):
            flow.run(dag_of(None, a=starts))

    def test_but_those_of_a_context_by_hand_are_runs_of_their_own(self) -> None:
        assert flow.testing.context().run(dag_of())["b"] == 2


class TestRefused:
    @pytest.mark.parametrize("bad", [{"limit": 8}, flow.Config, 0, "fast"])
    def test_what_is_no_config_is_a_fault_like_others(self, bad: Any) -> None:
        dag = flow.Dag("no name!", config=bad)
        dag.add("a", 1)  # type: ignore[call-overload]
        with pytest.raises(flow.DefinitionError) as caught:
            dag.compile()
        assert len(caught.value.faults) == 3
        assert any(fault.startswith("dag config must be a flow.Config, not ") for fault in caught.value.faults)

    def test_settings_that_do_not_fit_the_nodes(self) -> None:
        with pytest.raises(flow.UsageError, match="keep"):
            flow.run(dag_of(flow.Config(keep=["nobody"])))


FILE = """
import flow
seen = []
dag = flow.Dag("d", config=flow.Config(on_error="collect", limit=8, observers=[seen.append]))
dag.add("a", lambda: 1)
@dag.node
def limit() -> object:
    assert seen  # its observers are called
    return "fine"
@dag.node
def broken() -> int:
    raise ValueError("no")
last = dag.add("last", lambda: 2)
"""


class TestCommandLine:
    @pytest.fixture
    def run(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
        (tmp_path / "made.py").write_text(FILE, "utf-8")
        monkeypatch.chdir(tmp_path)
        seen: list[flow.Config] = []
        real = flow.run

        def spied(*given: Any, **options: Any) -> Any:
            seen.append(options["config"])
            return real(*given, **options)

        monkeypatch.setattr(flow, "run", spied)

        def called(*args: str) -> flow.Config:
            with pytest.raises(SystemExit):
                commands.cli.main(["run", "made.py", "--no-progress", *args])
            return seen.pop()

        return called

    def test_options_go_over_it(self, run: Callable[..., Any], capsys: pytest.CaptureFixture[str]) -> None:
        config = run()
        assert (config.on_error, config.limit, len(config.observers)) == ("collect", 8, 1)
        assert "fine" in capsys.readouterr().out
        config = run("--limit", "2")
        assert (config.on_error, config.limit) == ("collect", 2)
        assert run("--on-error", "fail_fast").on_error == "fail_fast"

    def test_a_file_of_settings_takes_its_place(self, run: Callable[..., Any], tmp_path: Path) -> None:
        (tmp_path / "mine.toml").write_text("[flow]\nlimit = 3\n", "utf-8")
        config = run("--config", "mine.toml")
        assert (config.on_error, config.limit) == ("fail_fast", 3)

    def test_tune_starts_from_it(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        given: list[Any] = []

        def tuned(*args: Any, **options: Any) -> Any:
            given.append(options["config"])
            raise flow.UsageError("enough")

        (tmp_path / "made.py").write_text(FILE.replace(", observers=[seen.append]", ""), "utf-8")
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr("flow.tuning.api.tune", tuned)
        with pytest.raises(SystemExit):
            commands.cli.main(["tune", "made.py"])
        assert given[0].limit == 8


def test_tune_starts_from_it() -> None:
    dag = flow.Dag("d", config=flow.Config(limit=8, on_error="collect"))
    dag.add("a", lambda: 1)
    others = [flow.Config()]
    assert flow.tune(dag, budget=0.2, candidates=others).default.limit == 8
    assert flow.tune(dag, budget=0.2, candidates=others, config=flow.Config(limit=2)).default.limit == 2


def test_the_default_is_one_object() -> None:
    assert flow.run(dag_of(None, a=lambda: 1))._run.config is DEFAULT_CONFIG
