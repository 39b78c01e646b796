"""``executor=``: sync functions in the threads of the run, or in any ``concurrent.futures.Executor``."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextvars import ContextVar
from multiprocessing import get_context
from typing import Any

import anyio
import pool_functions as there
import pytest
from conftest import loops

import flow
from flow import Config, Context, Retry

VAR: ContextVar[str] = ContextVar("VAR", default="unset")


@pytest.fixture(scope="module")
def processes() -> Iterator[ProcessPoolExecutor]:
    """Two processes for all tests here."""
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        yield pool


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    """A pool of threads of the user's."""
    with ThreadPoolExecutor(2, thread_name_prefix="mine") as pool:
        yield pool


def run(dag: flow.Dag, pool: Executor, inputs: Any = None, **settings: Any) -> flow.Result:
    return flow.run(dag, inputs, config=Config(executors={"pool": pool}, **settings))


@pytest.mark.parametrize("backend", loops())
class TestProcesses:
    def test_functions_run_there_with_their_arguments(self, backend: str, processes: ProcessPoolExecutor) -> None:
        dag = flow.Dag("processes")
        dag.add("n", lambda: 7)
        dag.add("where", there.process, executor="pool")
        dag.add("square", there.square, needs={"x": "n"}, executor="pool")
        dag.add("named", there.named, needs=["n", "n"], executor="pool")
        dag.add("left_out", there.default, needs={"x": "n"}, executor="pool")
        result = run(dag, processes, {"y": 1}, backend=backend)
        assert result["where"] != os.getpid() and result["square"] == 49
        assert (result["named"], result["left_out"]) == ((7, (7,), 3), 8)

    def test_items_and_batches_of_maps(self, backend: str, processes: ProcessPoolExecutor) -> None:
        dag = flow.Dag("maps")
        dag.map("squares", there.square, over="xs", executor="pool")
        dag.map("pairs", there.pair, over="xs", key=str, executor="pool")
        dag.map("doubled", there.doubled, over="xs", batch_size=2, executor="pool")
        result = run(dag, processes, {"xs": [1, 2, 3]}, backend=backend)
        assert result["squares"] == [1, 4, 9] and result["doubled"] == [2, 4, 6]
        assert result["pairs"] == {"1": (1, 0, "1"), "2": (2, 1, "2"), "3": (3, 2, "3")}

    def test_failures_are_the_nodes(self, backend: str, processes: ProcessPoolExecutor) -> None:
        dag = flow.Dag("failing")
        dag.add("bad", there.fails, executor="pool", retry=Retry(2, delay=0))
        with pytest.raises(flow.RunError) as caught:
            run(dag, processes, {"x": 3}, backend=backend)
        (error,) = caught.value.exceptions
        assert str(error) == "no 3" and error.__notes__[-1].endswith("attempt 2")

    def test_plain_middleware_waits_in_a_thread(self, backend: str, processes: ProcessPoolExecutor) -> None:
        seen: list[Any] = []

        def plain(next: Any, ctx: Context) -> Any:
            value = next()
            seen.append((value, threading.current_thread() is threading.main_thread()))
            return value

        async def later(next: Any, ctx: Context) -> Any:
            seen.append("async")
            return await next()

        dag = flow.Dag("layers")
        dag.add("square", there.square, executor="pool", middleware=[later, plain])
        assert run(dag, processes, {"x": 4}, backend=backend)["square"] == 16
        assert seen == ["async", (16, False)]

    def test_all_that_cannot_go_there_is_refused_before_anything_runs(
        self, backend: str, processes: ProcessPoolExecutor
    ) -> None:
        ran: list[int] = []

        def wants(ctx: Context) -> None: ...

        dag = flow.Dag("refused")
        dag.add("first", lambda: ran.append(1))
        dag.add("lambda", lambda: 1, executor="pool")
        dag.add("context", wants, executor="pool")
        dag.map("items", lambda x: x, over="xs", executor="pool")
        dag.add("typo", there.process, executor="pol")
        with pytest.raises(flow.UsageError) as caught:
            run(dag, processes, {"xs": [1]}, backend=backend)
        text = str(caught.value)
        for part in (
            "node 'lambda' (", "node 'context' (", "takes the Context, which cannot leave this process",
            "node 'items' (", "cannot be pickled", "define it at the top of a module",
            "node 'typo' (", "has executor='pol'", "did you mean 'pool'?",
        ):  # fmt: skip
            assert part in text
        assert ran == []


@pytest.mark.parametrize("backend", loops())
class TestThreadsOfTheUsers:
    def test_they_may_take_the_context_and_see_contextvars(self, backend: str, threads: ThreadPoolExecutor) -> None:
        dag = flow.Dag("threads")

        def node(ctx: Context) -> tuple[str, str]:
            return VAR.get(), threading.current_thread().name[:4]

        dag.add("node", node, executor="pool")
        token = VAR.set("mine")
        try:
            assert run(dag, threads, backend=backend)["node"] == ("mine", "mine")
        finally:
            VAR.reset(token)

    def test_the_event_loop_turns_meanwhile(self, backend: str, threads: ThreadPoolExecutor) -> None:
        release = threading.Event()
        dag = flow.Dag("meanwhile")
        dag.add("waits", release.wait, executor="pool", needs=[])

        async def lets_go() -> None:
            await anyio.sleep(0)
            release.set()

        dag.add("lets_go", lets_go)
        assert run(dag, threads, {"timeout": 30}, backend=backend)["waits"] is True

    def test_a_time_limit_waits_for_what_has_begun(self, backend: str, threads: ThreadPoolExecutor) -> None:
        release = threading.Event()
        ended: list[int] = []

        def waits() -> None:
            release.wait(0.2)
            ended.append(1)

        dag = flow.Dag("limit")
        dag.add("waits", waits, executor="pool", timeout=0.01)
        with pytest.raises(flow.RunError) as caught:
            run(dag, threads, backend=backend)
        assert "it ran in executor 'pool', which cannot be interrupted, and was waited for" in str(
            caught.value.exceptions[0]
        )
        assert ended == [1]

    def test_what_has_not_begun_is_withdrawn(self, backend: str) -> None:
        release = threading.Event()
        ran: list[str] = []
        with ThreadPoolExecutor(1) as pool:
            pool.submit(release.wait)
            dag = flow.Dag("withdrawn")
            dag.add("queued", lambda: ran.append("queued"), executor="pool")

            async def fails() -> None:
                await anyio.sleep(0)
                raise ValueError

            dag.add("fails", fails)
            with pytest.raises(flow.RunError):
                run(dag, pool, backend=backend)
            release.set()
        assert ran == []

    def test_a_submit_that_raises_is_a_failure_of_the_node(self, backend: str) -> None:
        pool = ThreadPoolExecutor(1)
        pool.shutdown()
        dag = flow.Dag("down")
        dag.add("node", lambda: 1, executor="pool", fallback="stood in")
        assert run(dag, pool, backend=backend)["node"] == "stood in"


class TestWhereByDefault:
    def test_all_sync_functions_go_to_the_named_one(self, threads: ThreadPoolExecutor) -> None:
        def where() -> str:
            return threading.current_thread().name[:4]

        async def awaited() -> str:
            return where()

        inner = flow.Dag("inner")
        inner.add("deep", where)
        dag = flow.Dag("default")
        dag.add("sync", where)
        dag.add("async", awaited)
        dag.add("inline", where, executor="inline")
        dag.add("thread", where, executor="thread")
        dag.add("nest", inner)
        dag.map("items", lambda x: where(), over="xs")
        dag.reduce("folded", lambda a, b: a + b, over="items", start="")
        result = run(dag, threads, {"xs": [1, 2]}, executor="pool")
        names = {name: result[name] for name in ("sync", "async", "inline", "thread", "items", "folded")}
        assert names == {
            "sync": "mine", "async": "Main", "inline": "Main", "thread": "flow", "items": ["mine", "mine"],
            "folded": "minemine",
        }  # fmt: skip
        assert result["nest"]["deep"] == "mine"

    def test_inline_is_inline_where_all_else_runs_in_threads(self) -> None:
        dag = flow.Dag("inline")
        dag.add("here", threading.get_ident, executor="inline")
        dag.add("there", threading.get_ident)
        result = flow.run(dag, config=Config(executor="thread"))
        assert result["here"] == threading.get_ident() != result["there"]

    def test_a_dag_as_a_node_takes_its_functions_there(self, threads: ThreadPoolExecutor) -> None:
        inner = flow.Dag("inner")
        inner.add("deep", lambda: threading.current_thread().name[:4])
        dag = flow.Dag("outer")
        dag.add("nest", inner, executor="pool")
        assert run(dag, threads)["nest"]["deep"] == "mine"

    def test_only_submit_is_asked_for(self) -> None:
        class Mine:
            def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
                future: Future[Any] = Future()
                future.set_result(("mine", fn(*args, **kwargs)))
                return future

        dag = flow.Dag("mine")
        dag.add("node", lambda: 1, executor="pool")
        assert run(dag, Mine())["node"] == ("mine", 1)  # type: ignore[arg-type]


def test_a_place_that_every_run_has_is_meant() -> None:
    dag = flow.Dag("d")
    dag.add("near", lambda: 1, executor="threads")
    with pytest.raises(flow.UsageError, match=r"has executor='threads', .* \(did you mean 'thread'\?\)"):
        flow.run(dag)
