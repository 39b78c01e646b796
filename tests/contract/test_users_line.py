"""An error of definition or of usage ends at the user's line that made the mistake: no frame of ours is in it."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import traceback
import warnings
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import flow


def frames(error: BaseException) -> list[str]:
    return [frame.name for frame in traceback.extract_tb(error.__traceback__)]


def user(call: Callable[[], Any]) -> Any:
    return call()


def _faulty() -> flow.Dag:
    dag = flow.Dag("d")
    dag.add("x", lambda: 1, after="nope")
    return dag


def _circle() -> flow.Dag:
    dag = flow.Dag("d")
    dag.add("x", lambda y: 1)
    dag.add("y", lambda x: 1)
    return dag


def _needy() -> flow.Dag:
    dag = flow.Dag("d")
    dag.add("x", lambda customers: 1)
    return dag


def _failing() -> flow.Dag:
    dag = flow.Dag("d")
    dag.add("x", lambda: 1 / 0)
    return dag


def _collected() -> flow.Result:
    return flow.run(_failing(), config=flow.Config(on_error="collect"))


def _mapped(*, after: bool = False) -> Any:
    dag = flow.Dag("d")
    dag.map("m", lambda item: 1 // item, over="xs", on_error="collect")
    dag.map("later", lambda item: item, over="m", on_error="collect", pipelined=True)
    result = flow.run(dag, {"xs": [1, 0, 0]})
    return result["later" if after else "m"]


async def _later(name: str) -> float:
    return 1.0


def mistakes() -> dict[str, tuple[type[Exception], Callable[[], Any]]]:
    wrong: Any = {"limit": 3}
    return {
        "compile": (flow.DefinitionError, lambda: _faulty().compile()),
        "compile a circle": (flow.errors.CycleError, lambda: _circle().compile()),
        "run": (flow.DefinitionError, lambda: flow.run(_faulty())),
        "run without inputs": (flow.InputError, lambda: flow.run(_needy())),
        "run with inputs too many": (flow.InputError, lambda: flow.run(_needy(), {"customers": 1, "b": 2})),
        "run of a wrong keyword": (flow.UsageError, lambda: flow.run(_needy(), **wrong)),
        "run of a wrong target": (flow.UsageError, lambda: flow.run(_failing(), targets="nope")),
        "run of a wrong known": (flow.UsageError, lambda: flow.run(_failing(), known={"nope": 1})),
        "run of no dag": (flow.UsageError, lambda: flow.run(wrong)),
        "run of a wrong id": (flow.errors.ConfigError, lambda: flow.run(_failing(), run_id="a b")),
        "run that fails": (flow.RunError, lambda: flow.run(_failing())),
        "run on a loop that fails": (flow.RunError, lambda: flow.run(_failing(), config=flow.Config(mode="tasks"))),
        "add": (flow.UsageError, lambda: flow.Dag().add("x", len, **wrong)),
        "add of a faulty dag": (flow.DefinitionError, lambda: flow.Dag().add("x", _faulty())),
        "node": (flow.UsageError, lambda: flow.Dag().node(5)),  # type: ignore[call-overload]
        "node of a wrong option": (flow.UsageError, lambda: flow.Dag().node(**wrong)(len)),
        "map": (flow.UsageError, lambda: flow.Dag().map("x", len, "y", **wrong)),
        "flat_map": (flow.UsageError, lambda: flow.Dag().flat_map("x", len, "y", **wrong)),
        "filter": (flow.UsageError, lambda: flow.Dag().filter("x", len, "y", **wrong)),
        "reduce": (flow.UsageError, lambda: flow.Dag().reduce("x", len, "y", start=0, **wrong)),
        "loop": (flow.UsageError, lambda: flow.Dag().loop("x", len, until=bool, max_iterations=1, **wrong)),
        "loop of a faulty dag": (
            flow.DefinitionError, lambda: flow.Dag().loop("x", _faulty(), until=bool, max_iterations=1)
        ),
        "include": (flow.UsageError, lambda: flow.Dag().include(5, prefix="p")),  # type: ignore[arg-type]
        "include of a faulty dag": (flow.DefinitionError, lambda: flow.Dag().include(_faulty(), prefix="p")),
        "subgraph": (flow.UsageError, lambda: _failing().subgraph("nope")),
        "Config": (flow.errors.ConfigError, lambda: flow.Config(limit=0)),
        "Config of a wrong name": (flow.errors.ConfigError, lambda: flow.Config(limt=0)),  # type: ignore[call-arg]
        "replace": (flow.errors.ConfigError, lambda: flow.Config().replace(limit=0)),
        "replace of a wrong name": (flow.errors.ConfigError, lambda: flow.Config().replace(limt=0)),
        "load": (flow.errors.ConfigError, lambda: flow.Config.load("/there is no such file")),
        "DataConfig": (flow.errors.ConfigError, lambda: flow.DataConfig(memory="x")),  # type: ignore[arg-type]
        "Retry": (flow.errors.ConfigError, lambda: flow.Retry(retries=3)),  # type: ignore[call-arg]
        "Timeout": (flow.errors.ConfigError, lambda: flow.Timeout(seconds=3)),  # type: ignore[call-arg]
        "tune": (flow.errors.ConfigError, lambda: flow.tune(_failing(), budget=-1)),
        "preset": (flow.errors.ConfigError, lambda: flow.DataConfig.preset("nope")),
        "Outcome": (flow.UsageError, lambda: flow.Outcome("nope")),  # type: ignore[arg-type]
        "an output": (flow.errors.MissingOutput, lambda: _collected()["nope"]),
        "the output of a failure": (flow.errors.MissingOutput, lambda: _collected()["x"]),
        "raise_for_errors": (flow.RunError, lambda: _collected().raise_for_errors()),
        "durations": (flow.UsageError, lambda: _collected().durations),
        "spans": (flow.UsageError, lambda: _collected().spans()),
        "timeline": (flow.UsageError, lambda: _collected().timeline()),
        "graph": (flow.UsageError, lambda: _collected().graph("nope")),  # type: ignore[arg-type]
        "find": (flow.UsageError, lambda: _failing().compile().find("nope")),
        "part of a plan": (flow.UsageError, lambda: _failing().compile().subgraph("nope")),
        "ancestors": (flow.UsageError, lambda: _failing().compile().ancestors("nope")),
        "descendants": (flow.UsageError, lambda: _failing().compile().descendants(len)),
        "critical_path": (flow.UsageError, lambda: _failing().compile().critical_path(_later)),  # type: ignore[arg-type]
        "serial_time": (flow.UsageError, lambda: _failing().compile().serial_time(_later)),  # type: ignore[arg-type]
        "to_svg": (flow.UsageError, lambda: flow.render.to_svg(wrong)),
        "to_mermaid": (flow.UsageError, lambda: flow.render.to_mermaid(wrong)),
        "to_dot": (flow.UsageError, lambda: flow.render.to_dot(wrong)),
        "from_networkx": (flow.UsageError, lambda: flow.interop.from_networkx(wrong)),
        "to_networkx": (flow.UsageError, lambda: flow.interop.to_networkx(wrong)),
        "linear": (flow.errors.ConfigError, lambda: flow.topologies.linear(-1)),
        "diamond": (flow.errors.ConfigError, lambda: flow.topologies.diamond(-1)),
        "tree": (flow.errors.ConfigError, lambda: flow.topologies.tree(-1)),
        "layered": (flow.errors.ConfigError, lambda: flow.topologies.layered(-1, 1, 1)),
        "random_dag": (flow.errors.ConfigError, lambda: flow.topologies.random_dag(-1, p=0.5)),
        "sparse_random": (flow.errors.ConfigError, lambda: flow.topologies.sparse_random(-1)),
        "a trace": (flow.errors.TraceError, lambda: flow.traces.load("/there is no such file")),
        "timed": (flow.UsageError, lambda: flow.middleware.timed(wrong)),
        "logging": (flow.UsageError, lambda: flow.observe.logging(level="nope")),
        "an item": (flow.UsageError, lambda: _mapped()[9]),
        "an item that never came": (flow.UsageError, lambda: _mapped(after=True)[1]),
        "the errors of items": (flow.errors.MapError, lambda: _mapped().raise_for_errors()),
    }


@pytest.mark.parametrize("where", mistakes())
def test_the_last_frame_is_the_users(where: str) -> None:
    kind, call = mistakes()[where]
    with pytest.raises(kind) as caught:
        user(call)
    assert frames(caught.value) == ["test_the_last_frame_is_the_users", "user", "<lambda>"]
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


@pytest.mark.parametrize("where", ["inputs", "definition", "keyword", "failure"])
def test_on_an_event_loop(where: str, backend: str) -> None:
    dag = {"inputs": _needy, "definition": _faulty, "keyword": _needy, "failure": _failing}[where]()
    wrong: Any = {"limit": 3} if where == "keyword" else {}

    async def asks() -> None:
        await flow.execute(dag, **wrong)

    async def main() -> list[str]:
        try:
            await asks()
        except flow.FlowError as error:
            return frames(error)
        return []

    import anyio

    assert anyio.run(main, backend="trio" if backend == "trio" else "asyncio") == ["main", "asks"]


def test_frames_of_the_users_that_ours_have_called_stay() -> None:
    def factory() -> Any:
        flow.Config(limit=0)

    dag = flow.Dag("d")
    dag.add("x", lambda: 1)
    with pytest.raises(flow.errors.ConfigError) as caught:
        flow.run(dag, config=flow.Config(on_outcome=factory))
    assert frames(caught.value) == ["test_frames_of_the_users_that_ours_have_called_stay", "factory"]


def test_a_run_within_a_node_ends_there() -> None:
    def outer() -> None:
        flow.run(_needy())

    dag = flow.Dag("d")
    dag.add("outer", outer)
    with pytest.raises(flow.RunError) as caught:
        flow.run(dag)
    (error,) = caught.value.exceptions
    assert (type(error), frames(error)) == (flow.InputError, ["outer"])


def test_errors_that_are_not_ours_keep_their_frames() -> None:
    """A fault of flow's own, or of an object that misbehaves, is not hidden."""

    class Odd(dict):  # type: ignore[type-arg]
        def __contains__(self, name: object) -> bool:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError) as caught:
        flow.run(_needy(), Odd(customers=1))
    assert frames(caught.value)[0] == "test_errors_that_are_not_ours_keep_their_frames"
    assert "run" in frames(caught.value)


def test_the_error_holds_nothing_of_the_run() -> None:
    class Big:
        pass

    big = Big()
    gone = weakref.ref(big)
    dag = flow.Dag("d")
    dag.add("x", lambda customers, missing: 1)
    gc.disable()
    try:
        with pytest.raises(flow.InputError) as caught:
            flow.run(dag, {"customers": big})
        del big
        assert gone() is None
        assert caught.value.faults
    finally:
        gc.enable()


def test_what_python_prints(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text("import flow\ndag = flow.Dag('d')\ndag.add('x', lambda a: a)\nflow.run(dag, customers=3)\n")
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=False)
    files = [line for line in done.stderr.splitlines() if line.lstrip().startswith("File ")]
    assert files == [f'  File "{script}", line 4, in <module>']
    assert done.stderr.splitlines()[-1].startswith("flow.errors.UsageError: flow.run takes no keyword 'customers'")


# -- a loop that runs already -------------------------------------------------------------------


async def waits() -> int:
    await asyncio.sleep(0)
    return 1


def _told(call: Callable[[], Any]) -> str:
    with pytest.raises(flow.UsageError) as caught:
        call()
    return str(caught.value)


def test_run_within_a_loop_names_the_call_to_make(backend: str) -> None:
    etl = flow.Dag("nightly")
    etl.add("x", waits)

    async def main() -> str:
        return _told(lambda: flow.run(etl))

    import anyio

    assert anyio.run(main, backend="trio" if backend == "trio" else "asyncio") == (
        "flow.run needs an event loop for dag 'nightly', and this thread already runs one: "
        "use 'await flow.execute(etl)' here, with the same arguments, in an async function"
    )


def test_in_a_notebook_a_cell_may_await(monkeypatch: pytest.MonkeyPatch) -> None:
    import types

    ipython: Any = types.ModuleType("IPython")
    ipython.get_ipython = lambda: object()
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    dag = flow.Dag("nightly")
    dag.add("x", waits)

    async def cell() -> str:
        return _told(lambda: flow.run(dag.compile()))

    told = asyncio.run(cell())
    assert told.endswith("use 'await flow.execute(dag)' here, with the same arguments (a cell of a notebook may await)")


def _doubtful() -> flow.Dag:
    dag = flow.Dag("d", inputs=["customer_id", ...])
    dag.add("x", lambda custmer_id=1: 1)
    return dag


def _typed() -> flow.Dag:
    def x() -> int:
        return 1

    def y(x: str) -> None: ...

    dag = flow.Dag("d")
    dag.add("x", x)
    dag.add("y", y)
    return dag


@pytest.mark.parametrize(
    "call",
    [
        lambda: flow.run(_doubtful(), {"customer_id": 1}),
        lambda: _doubtful().compile(),
        lambda: _typed().compile(check_types=True),
        lambda: flow.Dag().add("inner", _doubtful()),
        lambda: flow.Dag().map("inner", _doubtful(), over="xs"),
        lambda: flow.Dag().loop("inner", _doubtful(), until=lambda x: True, max_iterations=1),
        lambda: flow.Dag().include(_doubtful(), prefix="p"),
        lambda: _doubtful().subgraph("x"),
    ],
)
def test_warnings_that_are_errors(call: Callable[[], Any]) -> None:
    with warnings.catch_warnings(), pytest.raises(flow.DefinitionWarning) as caught:
        warnings.simplefilter("error")
        user(call)
    assert frames(caught.value) == ["test_warnings_that_are_errors", "user", "<lambda>"]
