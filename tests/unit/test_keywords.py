"""A keyword that a call does not take is named with what was meant by it."""

from __future__ import annotations

import asyncio
import inspect
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Unpack

import pytest
from conftest import ROOT

import flow
from flow.graph.options import FoldOptions, ItemOptions, NodeOptions
from flow.keywords import PLACES, Wrong
from flow.types import Nothing

Adds = Callable[..., Any]


def _dag() -> flow.Dag:
    dag = flow.Dag("shop")
    dag.add("total", lambda customers: len(customers))
    return dag


def run(**wrong: Any) -> None:
    dag = _dag()
    flow.run(dag, {"customers": [1]}, **wrong)


def execute(**wrong: Any) -> None:
    dag = _dag()
    asyncio.run(flow.execute(dag, {"customers": [1]}, **wrong))


def start(**wrong: Any) -> None:
    async def main(dag: flow.Dag) -> None:
        async with flow.start(dag, {"customers": [1]}, **wrong):
            raise AssertionError

    dag = _dag()
    asyncio.run(main(dag))


def awaits(**wrong: Any) -> None:
    flow.Dag().signal("n", **wrong)


def pauses(**wrong: Any) -> None:
    flow.Dag().timer("n", **wrong)


def add(**wrong: Any) -> None:
    flow.Dag().add("n", len, **wrong)


def node(**wrong: Any) -> None:
    flow.Dag().node(name="n", **wrong)(len)


def over(**wrong: Any) -> None:
    flow.Dag().map("n", len, "items", **wrong)


def flat(**wrong: Any) -> None:
    flow.Dag().flat_map("n", len, "items", **wrong)


def filtered(**wrong: Any) -> None:
    flow.Dag().filter("n", len, "items", **wrong)


def reduce(**wrong: Any) -> None:
    flow.Dag().reduce("n", lambda so_far, item: so_far, "items", start=0, **wrong)


def message(call: Callable[..., Any], **wrong: Any) -> str:
    with pytest.raises((flow.UsageError, flow.errors.ConfigError)) as caught:
        call(**wrong)
    return str(caught.value)


RETRY = "retry=flow.Retry(attempts=4)"


@pytest.mark.parametrize(
    ("call", "word", "value", "meant"),
    [
        (run, "limit", 3, "a setting of the run: config=flow.Config(limit=3)"),
        (run, "max_workers", 8, "a setting of the run: config=flow.Config(limit=8)"),
        (run, "timeout_seconds", 2.5, "a setting of the run: config=flow.Config(timeout=2.5)"),
        (run, "on_error", "collect", "a setting of the run: config=flow.Config(on_error='collect')"),
        (run, "on_eror", "collect", "did you mean 'on_error', a setting of the run?"),
        (run, "retry", flow.Retry(2), "an option of a node: dag.node(retry=flow.Retry(attempts=3))"),
        (run, "retries", 3, f"an option of a node: dag.node({RETRY}); attempts count the first call too"),
        (run, "outputs", "total", "did you mean targets=...?"),
        (run, "knwon", {}, "did you mean 'known'?"),
        (run, "customers", [1], "run inputs are one mapping: flow.run(dag, {'customers': ...})"),
        (run, "custmers", [1], "did you mean 'customers'? run inputs are one mapping: flow.run(dag, {...})"),
        (run, "xyzzy", [1], "if it is to be a run input: flow.run(dag, {'xyzzy': ...})"),
        (execute, "customers", [1], "run inputs are one mapping: flow.execute(dag, {'customers': ...})"),
        (execute, "limit", 3, "a setting of the run: config=flow.Config(limit=3)"),
        (start, "limit", 3, "a setting of the run: config=flow.Config(limit=3)"),
        (awaits, "payload_type", int, "did you mean type=...?"),
        (awaits, "timeout_seconds", 3, "did you mean timeout=3?"),
        (awaits, "afer", "a", "did you mean 'after'?"),
        (pauses, "sleep", 2.5, "did you mean seconds=2.5?"),
        (pauses, "eta", 2.5, "did you mean at=...?"),
        (add, "retries", 3, f"did you mean {RETRY}? attempts count the first call too"),
        (add, "retrys", 3, "did you mean 'retry'?"),
        (add, "depends_on", ["a"], "did you mean after=...?"),
        (add, "upstream", ["a"], "did you mean after=...?"),
        (add, "inputs", ["a"], "did you mean needs=...?"),
        (add, "retry_delay", 2, "a setting of flow.Retry: retry=flow.Retry(delay=2)"),
        (add, "retry_if", ValueError, "a setting of flow.Retry: retry=flow.Retry(retry_if=ConnectionError)"),
        (add, "timeout_seconds", 3, "did you mean timeout=3?"),
        (add, "concurrency_limit", 3, "an option of a map: dag.map(..., concurrency=3)"),
        (add, "limit", 3, "a setting of the run: config=flow.Config(limit=3)"),
        (add, "on_error", "skip", "did you mean continue_on_error=True?"),
        (add, "persist", False, "did you mean store=False?"),
        (add, "cache", True, "did you mean store=True?"),
        (add, "durable", True, "did you mean store=True?"),
        (add, "checkpoint", 5, "did you mean store=...?"),
        (add, "stores", False, "did you mean 'store'?"),
        (add, "pickle", True, "write store='pickle': it is stored by pickle, if nothing else can encode it"),
        (add, "pickle", False, "write store=True: this is the default"),
        (add, "ignore_result", True, "write store=False: its output is not stored, and it runs again when something "
            "needs it after a resume"),
        (over, "save", False, "did you mean store=False?"),
        (reduce, "persist_result", False, "did you mean store=False?"),
        (run, "durable", True, "did you mean store=...?"),
        (flow.Config, "store", ..., "given to flow.run: flow.run(dag, store=...); it makes the run durable"),
        (flow.Dag, "checkpoint", False, "given to flow.run: flow.run(dag, store=...); it makes the run durable"),
        (flow.Config, "cache", True, "flow.run(dag, known=...); outcomes that are there, of nodes that need not run"),
        (node, "retries", 3, f"did you mean {RETRY}? attempts count the first call too"),
        (node, "wait_for", [], "did you mean after=...?"),
        (over, "limit", 3, "did you mean concurrency=3?"),
        (over, "workers", 3, "did you mean concurrency=3?"),
        (over, "max_concurrency", 3, "did you mean concurrency=3?"),
        (over, "chunksize", 10, "did you mean batch_size=10?"),
        (over, "batch_timeout", 0.5, "did you mean batch_size=..., batch_wait=0.5?"),
        (over, "batch_wiat", 0.5, "did you mean 'batch_wait' or 'batch_size'?"),
        (add, "batch_wait", 0.5, "an option of a map: dag.map(..., batch_size=..., batch_wait=0.5)"),
        (over, "initial", 10, "an option of a fold: dag.reduce(..., start=...)"),
        (flat, "limit", 3, "did you mean concurrency=3?"),
        (filtered, "limit", 3, "did you mean concurrency=3?"),
        (reduce, "concurrency", 3, "an option of a map: dag.map(..., concurrency=3)"),
        (reduce, "retries", 3, f"did you mean {RETRY}? attempts count the first call too"),
        (flow.Config, "max_workers", 4, "did you mean limit=4?"),
        (flow.Config, "concurrency", 4, "did you mean limit=4?"),
        (flow.Config, "retries", 3, f"an option of a node: dag.node({RETRY}); attempts count the first call too"),
        (flow.Config, "memory", "slots", "flow.DataConfig: config=flow.Config(data=flow.DataConfig(memory='slots'))"),
        (flow.Config, "targets", ["a"], "given to flow.run: flow.run(dag, targets=...)"),
        (flow.Config().replace, "workers", 4, "did you mean limit=4?"),
        (flow.DataConfig, "limit", 4, "a setting of the run: config=flow.Config(limit=4)"),
        (flow.DataConfig, "thread_safe", True, "did you mean locked=...?"),
        (flow.Retry, "retries", 3, "did you mean attempts=4? attempts count the first call too"),
        (flow.Retry, "max_attempts", 3, "did you mean attempts=3?"),
        (flow.Retry, "delay_seconds", 2, "did you mean delay=2?"),
        (flow.Retry, "on", ValueError, "did you mean retry_if=ConnectionError?"),
        (flow.Retry, "timeout", 2, "an option of a node: dag.node(timeout=2)"),
        (flow.Timeout, "seconds", 2, "did you mean attempt=2?"),
        (flow.Timeout, "total", 2, "did you mean node=2?"),
        (flow.Timeout, "atempt", 2, "did you mean 'attempt'?"),
    ],
)
def test_what_was_meant(call: Adds, word: str, value: Any, meant: str) -> None:
    said = message(call, **{word: value})
    assert f"'{word}' (" in said
    assert f"{meant})" in said


@pytest.mark.parametrize("call", [run, execute, add, node, over, flat, filtered, reduce, flow.Config, flow.Retry])
def test_all_of_a_call_are_named_at_once(call: Adds) -> None:
    said = message(call, retries=3, xyzzy=1, workers=4)
    assert "3 faults" in said
    assert all("\n  - " in said and f"'{word}'" in said for word in ("retries", "xyzzy", "workers"))


def test_nothing_is_run_and_nothing_added() -> None:
    ran: list[int] = []
    dag = flow.Dag()
    dag.add("n", lambda: ran.append(1))
    with pytest.raises(flow.UsageError):
        flow.run(dag, limit=3)  # type: ignore[arg-type]
    with pytest.raises(flow.UsageError):
        dag.map("m", len, "items", limit=3)  # type: ignore[call-overload]
    assert (ran, len(dag)) == ([], 1)


def test_the_callers_own_name_of_the_dag() -> None:
    etl = _dag()
    with pytest.raises(flow.UsageError, match=r"flow\.run\(etl, \{'customers': \.\.\.\}\)"):
        flow.run(etl, customers=[1])  # type: ignore[arg-type]
    with pytest.raises(flow.UsageError, match=r"flow\.run\(dag, \{'customers': \.\.\.\}\)"):
        flow.run([etl][0].compile().subgraph("total"), customers=[1])  # type: ignore[arg-type]


def test_what_is_no_dag_has_no_inputs() -> None:
    assert message(lambda **wrong: flow.run(3, **wrong), xyzzy=1) == "flow.run takes no keyword 'xyzzy'"  # type: ignore[arg-type]


def test_an_input_that_is_called_like_a_setting_is_an_input() -> None:
    dag = flow.Dag()
    dag.add("n", lambda limit: limit)
    with pytest.raises(flow.UsageError, match="run inputs are one mapping"):
        flow.run(dag, limit=3)  # type: ignore[arg-type]


def test_values_of_inputs_are_not_repeated() -> None:
    dag = _dag()
    with pytest.raises(flow.UsageError) as caught:
        flow.run(dag, customers="secret", xyzzy="secret", retrry="secret")  # type: ignore[arg-type]
    assert "secret" not in str(caught.value)


def test_words_that_are_no_words() -> None:
    wrong = Wrong("node", ["retry"])
    assert wrong.meant(5) == ""
    assert wrong.meant("x" * 10_000) == ""
    assert wrong.meant("\x1b[2J") == ""
    assert "\x1b" not in wrong.refusal("node", "option", {"\x1b[2J": 1})


def test_the_tables_are_those_of_the_signatures() -> None:
    assert set(PLACES["Config"]) == set(flow.Config.__struct_fields__)
    assert set(PLACES["DataConfig"]) == set(flow.DataConfig.__struct_fields__)
    assert set(PLACES["Retry"]) == set(flow.Retry.__struct_fields__)
    assert set(PLACES["Timeout"]) == set(flow.Timeout.__struct_fields__)
    assert set(PLACES["node"]) == set(NodeOptions.__annotations__)
    own = {name for name in inspect.signature(flow.Dag.map).parameters if name not in ("self", "fn", "over", "options")}
    assert set(PLACES["map"]) == own - {"name"} | set(ItemOptions.__annotations__) - set(NodeOptions.__annotations__)
    assert set(FoldOptions.__annotations__) == set(NodeOptions.__annotations__)
    looped = set(inspect.signature(flow.Dag.loop).parameters) - {"self", "name", "body", "options"}
    assert set(PLACES["loop"]) == looped
    taken = set(inspect.signature(flow.run).parameters) - {"target", "wrong"}
    assert (
        set(PLACES["run"]) | {"data"} == taken == set(inspect.signature(flow.execute).parameters) - {"target", "wrong"}
    )


def test_other_names_stand_for_names_that_there_are() -> None:
    from flow.keywords import _OTHER_NAMES

    ours = {name for names in PLACES.values() for name in names} | {"name"}
    assert not set(_OTHER_NAMES) - ours
    for word, others in _OTHER_NAMES.items():
        assert word not in others.split(), f"{word} stands for itself"


def test_a_file_says_where_a_nodes_option_belongs(tmp_path: Path) -> None:
    path = tmp_path / "flow.toml"
    path.write_text("[flow]\nretry = 3\nmax_workers = 4\n[flow.data]\nlimit = 2\n")
    with pytest.raises(flow.errors.ConfigError) as caught:
        flow.Config.load(path)
    assert caught.value.faults == (
        "line 2: no setting is called 'retry' (an option of a node: dag.node(retry=flow.Retry(attempts=3)))",
        "line 3: no setting is called 'max_workers' (did you mean limit = 4?)",
        "line 5: no setting is called 'limit' (write limit = 2 in [flow])",
    )


WRONG = """\
import flow
dag = flow.Dag("d")
def f(x: int) -> int: return x
async def main() -> None:
    await flow.execute(dag, limit=3)
flow.run(dag, limit=3)
dag.add("a", f, retries=3)
dag.node(retries=3)
dag.map("m", f, "x", limit=3)
dag.flat_map("m", f, "x", limit=3)
dag.filter("m", f, "x", limit=3)
dag.reduce("m", lambda a, b: a, "x", start=0, limit=3)
flow.Config(limt=3)
flow.DataConfig(memry=3)
flow.Retry(retries=3)
flow.Timeout(seconds=3)
def narrow(error: ValueError) -> bool: return True
flow.Retry(retry_if=narrow)
"""
RIGHT = """\
import flow
from typing import assert_type
dag = flow.Dag("d")
def f(x: int) -> int: return x
async def main() -> None:
    assert_type(await flow.execute(dag, {"x": 1}, run_id="r"), flow.Result)
assert_type(flow.run(dag, {"x": 1}, config=flow.Config(limit=3)), flow.Result)
assert_type(dag.reduce("m", lambda a, b: a, "x", start=0, after="a", timeout=3), "flow.types.NodeRef[int]")
def flaky(error: Exception) -> bool: return True
def any_of(error: BaseException) -> bool: return True
flow.Retry(retry_if=flaky)
flow.Retry(retry_if=any_of)
flow.Retry(retry_if=(ValueError, KeyError))
"""


def test_type_checkers_go_on_refusing_them(tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    (tmp_path / "wrong.py").write_text(WRONG)
    (tmp_path / "right.py").write_text(
        RIGHT.replace("flow.types.NodeRef", "flow.types.NodeRef").replace(
            "import flow\n", "import flow\nimport flow.types\n", 1
        )
    )
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(tmp_path / "cache"), "wrong.py", "right.py"]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, env={"MYPYPATH": str(ROOT), "PATH": ""}, check=False
    )
    refused = {
        int(line.split(":")[1])
        for line in done.stdout.splitlines()
        if line.startswith("wrong.py:") and ": error: " in line
    }
    assert refused == {5, *range(6, 17), 18}, done.stdout + done.stderr
    assert "right.py" not in done.stdout


def test_what_a_wrong_keyword_is_declared_as() -> None:
    for function in (flow.run, flow.execute):
        wrong = inspect.signature(function, eval_str=True).parameters["wrong"]
        assert (wrong.kind, wrong.annotation) == (inspect.Parameter.VAR_KEYWORD, Unpack[Nothing])


@pytest.mark.parametrize("maker", [flow.observe.Progress, flow.observe.logging, flow.observe.tracking])
def test_what_makes_an_observer_is_none(maker: Any) -> None:
    """It would be called with each event: its error logged each time, or an observer made and dropped."""
    with pytest.raises(flow.errors.ConfigError, match=f"{maker.__name__} makes an observer: call it"):
        flow.Config(observers=[maker])
    tracker = flow.plan.StatusTracker(["a"])
    flow.Config(observers=[flow.observe.Progress(), flow.observe.logging(), flow.observe.tracking(tracker)])


@pytest.mark.parametrize("maker", [flow.middleware.timed, flow.middleware.logged, flow.middleware.validated])
def test_what_makes_a_middleware_is_none(maker: Any) -> None:
    dag = flow.Dag("d", middleware=[maker])
    dag.add("a", lambda: 1, middleware=[maker])
    with pytest.raises(flow.DefinitionError) as caught:
        dag.compile()
    assert len(caught.value.faults) == 2
    assert all(fault.endswith(f"{maker.__name__} makes a middleware: call it") for fault in caught.value.faults)
    dag = flow.Dag("d", middleware=[flow.middleware.logged()])
    assert flow.run(dag.add("a", lambda: 1) and dag).ok
