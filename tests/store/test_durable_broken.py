"""What people who wanted to break durable runs have found, each in its shortest form."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime
import os
import signal
import sqlite3
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import msgspec
import pytest

import flow
from flow.errors import DamagedRow, Fenced, RunOwned, StoreError, UsageError
from flow.store.in_memory import MemoryBackend
from flow.store.store import Store


@dataclasses.dataclass
class Order:
    n: int


def stopping(dag: flow.Dag, name: str, value: Any = 1, **options: Any) -> list[str]:
    """Add a node that ends its process at the first call; return a list of its calls."""
    calls: list[str] = []

    def stops() -> Any:
        calls.append(name)
        if len(calls) == 1:
            raise KeyboardInterrupt
        return value

    dag.add(name, stops, **options)
    return calls


def interrupted(dag: flow.Dag, *args: Any, **how: Any) -> None:
    with pytest.raises(KeyboardInterrupt):
        flow.run(dag, *args, **how)


class TestOwning:
    def test_what_refuses_a_run_before_it_begins_does_not_own_it(self) -> None:
        store, dag = flow.store.memory(), flow.Dag("d")

        @dag.node
        async def a() -> int:
            return 1

        async def wrong() -> Any:
            with pytest.raises(UsageError, match="already runs one"):
                flow.run(dag, run_id="r", store=store)
            return (await flow.execute(dag, run_id="r", store=store))["a"]

        assert asyncio.run(wrong()) == 1
        with pytest.raises(UsageError, match=r"Config\.keep"):
            flow.run(dag, run_id="s", store=store, config=flow.Config(keep=["nope"]))
        with pytest.raises(ZeroDivisionError):
            flow.run(dag, run_id="s", store=store, config=flow.Config(on_outcome=lambda: 1 / 0))  # type: ignore
        assert flow.run(dag, run_id="s", store=store)["a"] == 1

    async def test_a_stream_that_nobody_reads_owns_nothing(self, anyio_backend: object) -> None:
        store, dag = flow.store.memory(), flow.Dag("d")
        dag.add("a", lambda: 1)
        flow.stream(dag, run_id="r", store=store)
        assert (await flow.execute(dag, run_id="r", store=store))["a"] == 1

    async def test_a_handle_says_at_once_that_another_one_drives_it(self, anyio_backend: object) -> None:
        store, dag = flow.store.memory(), flow.Dag("d")
        dag.signal("a")
        async with flow.start(dag, run_id="r", store=store) as run:
            with pytest.raises(RunOwned, match="is being driven in this process"):
                async with flow.start(dag, run_id="r", store=store):
                    raise AssertionError
            run.send("a")

    def test_the_owner_of_a_deleted_run_writes_to_none_of_its_id(self) -> None:
        backend, dag = MemoryBackend(), flow.Dag("d")

        @dag.node
        def a(x: int) -> int:
            if x == 1:  # the process stands still; its lease passes, and an operator begins the run anew
                backend.delete(["r"])
                assert flow.run(dag, {"x": 2}, run_id="r", store=Store(backend, "sync"))["b"] == 21
            return x * 10

        dag.add("b", lambda a: a + 1)
        with pytest.raises(Fenced, match="refuses what run 'r' writes|has no run 'r': somebody has deleted it"):
            flow.run(dag, {"x": 1}, run_id="r", store=Store(backend, "sync"))
        assert dict(flow.run(dag, run_id="r", store=Store(backend))) == {"a": 20, "b": 21}

    def test_two_stores_of_one_file_in_one_process(self, tmp_path: Path) -> None:
        stores = [flow.store.open(tmp_path / "runs.db") for _ in range(2)]
        dag, calls, ends = flow.Dag("d"), list[int](), list[str]()
        both = threading.Barrier(2)

        @dag.node
        def a() -> int:
            calls.append(1)
            time.sleep(0.01)
            return 1

        def go(store: Store, run_id: str) -> None:
            both.wait()
            try:
                flow.run(dag, run_id=run_id, store=store)
                ends.append("ok")
            except RunOwned:
                ends.append("owned")

        for k in range(40):
            calls.clear()
            ends.clear()
            threads = [threading.Thread(target=go, args=(store, f"r{k}")) for store in stores]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert len(calls) == 1
            assert "ok" in ends
        for store in stores:
            store.close()

    def test_a_cancellation_just_before_the_claim(self, monkeypatch: pytest.MonkeyPatch) -> None:
        store, dag = flow.store.memory(), flow.Dag("d")
        calls = stopping(dag, "a")
        interrupted(dag, run_id="r", store=store)
        claim = store.backend.claim

        def cancels(*args: Any) -> Any:
            monkeypatch.undo()
            assert store.cancel("r").status == "cancelled"
            return claim(*args)

        monkeypatch.setattr(store.backend, "claim", cancels)
        with pytest.raises(RunOwned, match="was claimed by another process just now"):
            flow.run(dag, run_id="r", store=store)
        assert calls == ["a"]
        assert store.run("r").status == "cancelled"

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
    @pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
    def test_a_store_in_memory_is_not_for_a_fork(self) -> None:
        store, dag = flow.store.memory("sync"), flow.Dag("d")
        dag.add("a", lambda: 1)
        flow.run(dag, run_id="r", store=store)
        child = os.fork()
        if not child:
            try:
                flow.run(dag, run_id="s", store=store)
            except StoreError as error:
                os._exit(7 if "was opened before this process was forked" in str(error) else 1)
            except BaseException:
                os._exit(2)
            os._exit(3)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


@pytest.mark.parametrize("mode", ["sync", "async", "exit"])
def test_a_store_that_is_closed_ends_its_runs(mode: Any) -> None:
    store, dag = flow.store.memory(mode), flow.Dag("d")

    @dag.node
    async def closes() -> int:
        await asyncio.to_thread(store.close)
        return 1

    @dag.node
    async def after(closes: int) -> None:
        await asyncio.sleep(0 if mode == "exit" else 60)

    with pytest.raises(StoreError, match="closed"):
        flow.run(dag, run_id="r", store=store)


class TestValues:
    def test_inputs_come_back_as_the_parameters_say(self) -> None:
        store, dag, seen = flow.store.memory(), flow.Dag("d"), list[Any]()

        @dag.node
        def a(day: datetime.date, order: Order, pair: tuple[int, int], tags: set[str]) -> int:
            seen.append((day, order, pair, tags))
            if len(seen) == 1:
                raise KeyboardInterrupt
            return 1

        inputs = {"day": datetime.date(2026, 1, 1), "order": Order(1), "pair": (1, 2), "tags": {"x"}}
        interrupted(dag, inputs, run_id="r", store=store)
        assert flow.recover(store, [dag])["r"]["a"] == 1  # type: ignore[index]
        assert seen[0] == seen[1]

    @pytest.mark.parametrize("is_async", [False, True])
    def test_the_users_error_is_never_masked(self, is_async: bool) -> None:
        class Mute(Exception):
            def __str__(self) -> str:
                raise ValueError

        class Hostile(Exception):
            @property
            def __notes__(self) -> Any:  # type: ignore[override]
                raise RuntimeError

        for k, error in enumerate([Mute(), ValueError("a\udcffb"), ValueError("a\0b"), Hostile("h"), KeyError("k")]):
            store, dag = flow.store.memory(), flow.Dag("d")

            def fails(error: Exception = error) -> Any:
                raise error

            async def fails_on_a_loop(error: Exception = error) -> Any:
                raise error

            dag.add("a", fails_on_a_loop if is_async else fails)
            for _ in range(2):
                with pytest.raises(flow.RunError) as caught:
                    flow.run(dag, run_id=f"r{k}", store=store)
                kind = type(caught.value.exceptions[0])
                assert kind in (type(error), flow.errors.StoredError)
            assert type(error).__name__ in store.run(f"r{k}").error

    def test_runs_that_a_node_starts_are_known_by_what_they_are_given(self) -> None:
        store, dag, sub, crash = flow.store.memory(), flow.Dag("d"), flow.Dag("sub"), [True]
        sub.add("work", lambda x: x * 10)

        @dag.node
        async def a(ctx: flow.Context) -> list[int]:
            async def one(x: int, turns: int) -> int:
                for _ in range(turns):
                    await asyncio.sleep(0)
                return int((await ctx.execute(sub, {"x": x}))["work"])

            turns = (0, 9) if crash else (9, 0)
            found = await asyncio.gather(one(1, turns[0]), one(2, turns[1]))
            if crash:
                crash.clear()
                raise KeyboardInterrupt
            return list(found)

        interrupted(dag, run_id="r", store=store)
        assert flow.run(dag, run_id="r", store=store)["a"] == [10, 20]

    @pytest.mark.parametrize("source", [list, lambda keys: {key: key for key in keys}], ids=["key", "mapping"])
    def test_items_with_keys_in_another_order(self, source: Callable[[Any], Any]) -> None:
        store, dag, calls, order = flow.store.memory(), flow.Dag("d"), list[str](), ["a", "b", "c"]
        dag.add("src", lambda: source(order), store=False)

        def f(x: str) -> str:
            calls.append(x)
            if calls == ["a", "b", "c"]:
                raise KeyboardInterrupt
            return x.upper()

        dag.map("m", f, over="src", **({"key": str} if source is list else {}))
        interrupted(dag, run_id="r", store=store)
        order[:] = ["b", "a", "c"]
        assert flow.run(dag, run_id="r", store=store)["m"] == {"b": "B", "a": "A", "c": "C"}
        assert calls == ["a", "b", "c", "c"]

    @pytest.mark.parametrize("name", ["b", "a#1", "a+2", "a.b"])
    def test_a_retry_forgets_nothing_of_a_node_whose_name_looks_like_a_part_of_another(self, name: str) -> None:
        store, dag, ran = flow.store.memory(), flow.Dag("d"), list[str]()
        one, two = flow.Dag("one"), flow.Dag("two")
        one.add("n1", lambda: ran.append("n1"))

        @two.node
        def fails(ctx: flow.Context) -> int:
            ran.append("fails")
            if ran.count("fails") == 1:
                raise OSError
            return 1

        dag.add(name, one)
        dag.add("a", two, retry=flow.Retry(3, delay=0.0), after=name)
        calls = stopping(dag, "last", after="a")
        interrupted(dag, run_id="r", store=store)
        store.reset("r", dag, "last")
        flow.run(dag, run_id="r", store=store)
        assert ran == ["n1", "fails", "fails"]
        assert calls == ["last", "last"]

    def test_what_is_known_of_an_attempt_is_not_taken_for_the_next(self) -> None:
        """The next attempt of a node begins anew, although its run was stored in part."""
        store, dag, inner, ran = flow.store.memory(), flow.Dag("d"), flow.Dag("inner"), list[str]()
        inner.add("done", lambda: ran.append("done"))

        @inner.node
        def fails(done: None) -> int:
            ran.append("fails")
            if ran.count("fails") == 1:
                raise KeyboardInterrupt
            if ran.count("fails") == 2:
                raise OSError
            return 1

        dag.add("inner", inner, retry=flow.Retry(2, delay=0.0))
        interrupted(dag, run_id="r", store=store)
        assert flow.run(dag, run_id="r", store=store)["inner"]["fails"] == 1
        assert ran == ["done", "fails", "fails", "done", "fails"]


def test_roundtrip_leaves_out_what_waits_and_what_is_not_stored() -> None:
    dag = flow.Dag("d")
    dag.add("pair", lambda: (1, 2))
    dag.add("connection", lambda: open, store=False)
    dag.signal("approve", after="pair")
    dag.add("after", lambda approve: (3, 4))
    assert [str(one) for one in flow.testing.roundtrip(dag)] == ["pair: value: tuple comes back as list"]


def test_counts_of_a_run_that_runs_again_are_none() -> None:
    store, dag = flow.store.memory(), flow.Dag("d")
    dag.add("a", lambda: 1)
    flow.run(dag, run_id="r", store=store)
    assert store.run("r").counts
    store.reset("r", dag, "a")
    assert store.run("r").counts == b""


def test_a_dry_run_deletes_nothing() -> None:
    store, dag = flow.store.memory(), flow.Dag("d")
    dag.add("a", lambda: 1)
    flow.run(dag, run_id="r", store=store)
    assert store.gc(-1, dry_run=True) == 1
    assert store.gc(-1) == 1
    assert store.gc(-1) == 0


class TestCleanup:
    @pytest.mark.parametrize("stops", [KeyboardInterrupt, ValueError])
    def test_a_setup_that_was_torn_down_is_set_up_again(self, stops: type[BaseException]) -> None:
        store, dag, ran, open_ = flow.store.memory(), flow.Dag("d"), list[str](), [False]

        @dag.node
        def connect() -> int:
            ran.append("connect")
            open_[0] = True
            return 1

        @dag.node
        def query(connect: int) -> bool:
            ran.append("query")
            if ran.count("query") == 1:
                raise stops
            return open_[0]

        def close(connect: int) -> None:
            ran.append("close")
            open_[0] = False

        dag.teardown("close", close, of="connect")
        dag.add("last", lambda: ran.append("last"), cleanup=True)
        with pytest.raises((KeyboardInterrupt, flow.RunError)):
            flow.run(dag, run_id="r", store=store)
        assert flow.run(dag, run_id="r", store=store, on_conflict="retry")["query"] is True
        assert ran == ["connect", "query", "close", "last"] * 2
        flow.run(dag, run_id="r", store=store)
        assert len(ran) == 8

    @pytest.mark.parametrize("mode", ["sync", "async"])
    @pytest.mark.parametrize("is_async", [False, True])
    def test_cleanup_runs_if_the_store_cannot_write(self, mode: Any, is_async: bool) -> None:
        backend, dag, ran = MemoryBackend(), flow.Dag("d"), list[str]()
        store = Store(backend, mode)

        def full(*args: Any, **how: Any) -> None:
            raise StoreError("store 'memory' cannot write: it is full")

        def fills() -> None:
            backend.write = full  # type: ignore[method-assign]

        async def awaiting() -> None:
            fills()
            await asyncio.sleep(0)

        dag.add("open", lambda: 1)
        dag.teardown("close", lambda open: ran.append("close"), of="open")
        dag.add("fills", awaiting if is_async else fills, after="open")
        dag.add("after", lambda: ran.append("after"), after="fills")
        dag.add("last", lambda: ran.append("last"), cleanup=True)
        with pytest.raises(StoreError, match="it is full"):
            flow.run(dag, run_id="r", store=store)
        assert ran[-2:] == ["close", "last"] or mode == "async"
        assert "after" not in ran or mode == "async"


class TestExits:
    @pytest.mark.parametrize("mode", ["sync", "async", "exit"])
    @pytest.mark.parametrize("stops", [KeyboardInterrupt, SystemExit])
    @pytest.mark.parametrize("event", ["NodeStarted", "NodeFinished"])
    @pytest.mark.parametrize("is_async", [False, True])
    def test_an_exit_within_a_node_leaves_nothing_out(
        self, mode: Any, stops: type[BaseException], event: str, is_async: bool
    ) -> None:
        store, dag, seen = flow.store.memory(mode), flow.Dag("d"), list[Any]()

        def observe(one: Any) -> None:
            if type(one).__name__ == event and one.node == "b" and not seen:
                seen.append(one)
                raise stops

        def adds(x: int) -> int:
            return x + 1

        async def awaits(x: int) -> int:
            return x + 1

        dag.add("a", lambda: 1)
        dag.add("b", awaits if is_async else adds, needs=["a"])
        dag.add("c", awaits if is_async else adds, needs=["b"])
        with pytest.raises(stops):
            flow.run(dag, run_id="r", store=store, config=flow.Config(observers=(observe,)))
        assert dict(flow.run(dag, run_id="r", store=store)) == {"a": 1, "b": 2, "c": 3}
        assert store.run("r").status == "completed"


class TestItems:
    @pytest.mark.parametrize("key", [None, str], ids=["index", "key"])
    def test_dags_as_items_are_known_by_what_they_are_given(self, key: Any) -> None:
        store, dag, sub, crash, order = flow.store.memory(), flow.Dag("d"), flow.Dag("sub"), [True], ["a", "b"]

        @sub.node
        def up(x: str) -> str:
            return x.upper()

        @sub.node
        def twice(up: str) -> str:
            if crash:
                crash.clear()
                raise KeyboardInterrupt
            return up * 2

        dag.add("src", lambda: list(order), store=False)
        dag.map("m", sub, over="src", **({} if key is None else {"key": key}))
        interrupted(dag, run_id="r", store=store)
        order.reverse()
        found = flow.run(dag, run_id="r", store=store)["m"]
        assert [one["twice"] for one in (found if key is None else found.values())] == ["BB", "AA"]

    def test_items_that_cannot_be_stored_run_again(self) -> None:
        store, dag, calls = flow.store.memory(), flow.Dag("d"), list[int]()
        dag.add("src", lambda: [lambda: 1, lambda: 2], store=False)

        def call(item: Callable[[], int]) -> int:
            calls.append(item())
            if len(calls) == 2:
                raise KeyboardInterrupt
            return calls[-1]

        dag.map("m", call, over="src")
        interrupted(dag, run_id="r", store=store)
        assert flow.run(dag, run_id="r", store=store)["m"] == [1, 2]
        assert calls == [1, 2, 1, 2]


def test_no_secret_is_stored_wherever_it_stands(tmp_path: Path) -> None:
    secret = "SECRETSECRET42"
    inputs = msgspec.defstruct("Inputs", [("token", Annotated[str, flow.Secret])])
    dag = flow.Dag("d", inputs=inputs)

    @dag.node
    def writes(token: str, ctx: flow.Context) -> int:
        ctx.data["t"] = "x" + token
        ctx.data["fine"] = 1
        return 1

    dag.add("keys", lambda token: {token: 1})
    dag.map("by_key", lambda item: item, over="keys")
    dag.add("xs", lambda: [1])

    def item(x: int, ctx: flow.Context, token: str) -> int:
        ctx.publish("k", token + "!", "append")
        return 1

    dag.map("publishes", item, over="xs")
    dag.add("bytes", lambda token: token.encode())
    dag.add("fails", lambda token: int(token))
    with flow.store.open(tmp_path / "runs.db") as store:
        config = flow.Config(on_error="collect")
        first = flow.run(dag, {"token": secret}, run_id="r", store=store, config=config)
        assert first.data["fine"] == 1
        assert flow.run(dag, run_id="r", store=store, config=config).data["fine"] == 1
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or secret.encode() not in path.read_bytes()


def test_a_result_without_an_output_that_was_not_stored_can_be_gone_over() -> None:
    store, dag = flow.store.memory(), flow.Dag("d")
    dag.add("src", lambda: [1], store=False)
    dag.add("m", lambda src: src)
    stopping(dag, "last", after="m")
    interrupted(dag, run_id="r", store=store)
    assert dict(flow.run(dag, run_id="r", store=store)) == {"m": [1], "last": 1}


@pytest.mark.parametrize("mode", ["sync", "async", "exit"])
def test_a_node_that_cancels_its_own_run(mode: Any) -> None:
    store, dag, ran = flow.store.memory(mode), flow.Dag("d"), list[str]()

    def cancels() -> None:
        store.cancel("r")
        while not all(journal.cancel_asked for journal in list(store.writer._journals)):  # type: ignore[attr-defined]
            time.sleep(0.01)

    dag.add("a", cancels)
    dag.add("b", lambda a: ran.append("b"))
    with pytest.raises(flow.RunError, match="was cancelled"):
        flow.run(dag, run_id="r", store=store)
    assert ran == []
    assert store.run("r").status == "cancelled"


def test_parts_of_a_dag_one_after_another() -> None:
    store, dag, ran = flow.store.memory(), flow.Dag("d"), list[str]()
    for name in ("a", "b"):
        dag.add(name, lambda name=name: ran.append(name))
    dag.add("c", lambda a, b: ran.append("c"))
    for targets in (["a"], ["b"], None):
        flow.run(dag, run_id="r", store=store, targets=targets)
    assert ran == ["a", "b", "c"]


# -- what several of them have found later ----------------------------------------------------


def test_a_run_does_not_end_well_while_another_thread_cannot_write_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The write behind fails between the last node and the last write."""
    begins = threading.Event()

    class Full(MemoryBackend):
        def write(self, *args: Any, **how: Any) -> None:
            if threading.current_thread() is not threading.main_thread():
                begins.wait(20)
                raise StoreError("the disk is full")
            super().write(*args, **how)

    from flow.store.journal import RunJournal

    real = RunJournal._last

    def last(self: RunJournal, *args: Any) -> Any:
        begins.set()
        end = time.monotonic() + 20
        while self.broken is None and time.monotonic() < end:
            time.sleep(0.001)
        return real(self, *args)

    monkeypatch.setattr(RunJournal, "_last", last)
    dag = flow.Dag("d")
    dag.add("a", lambda: 1)
    with Store(Full()) as store:
        with pytest.raises(StoreError, match="the disk is full"):
            flow.run(dag, run_id="r", store=store)
        assert store.run("r").status == "running"


@pytest.mark.parametrize("executor", ["inline", "thread"])
@pytest.mark.parametrize("is_stored", [True, False], ids=["stored", "known"])
def test_what_is_known_does_not_run_again_as_what_it_depends_on_does(is_stored: bool, executor: str) -> None:
    """In a plan that routes: its countdown comes to nodes that are done."""
    calls, dag = list[str](), flow.Dag("d")
    config = flow.Config(executor=executor)

    def noted(name: str, value: Any) -> Any:
        calls.append(name)
        return value

    dag.add("conn", lambda: noted("conn", 1), store=False)
    dag.add("pay", lambda conn: noted("pay", 20))
    dag.add("big", lambda pay: noted("big", "big"), when=lambda pay: pay > 10)
    if is_stored:
        stopping(dag, "last", after=["conn", "big"])
        dag.add("end", lambda conn, last: noted("end", conn))
        store = flow.store.memory()
        interrupted(dag, run_id="r", store=store, config=config)
        result = flow.run(dag, run_id="r", store=store, config=config)
        assert sorted(calls) == ["big", "conn", "conn", "end", "pay"]
    else:
        dag.add("end", lambda conn, pay: noted("end", conn))
        result = flow.run(dag, known={"pay": 20}, config=config)
        assert sorted(calls) == ["big", "conn", "end"]
    assert result.ok and result["pay"] == 20


@pytest.mark.parametrize("routes", [False, True], ids=["plain", "routes"])
@pytest.mark.parametrize("is_stored", [True, False], ids=["stored", "known"])
def test_what_has_failed_stays_failed_as_what_it_depends_on_runs_again(is_stored: bool, routes: bool) -> None:
    calls, dag = list[str](), flow.Dag("d")
    dag.add("conn", lambda: calls.append("conn"), store=False)

    @dag.node(continue_on_error=True)
    def optional(conn: None) -> None:
        calls.append("optional")
        raise ValueError("tolerated")

    if routes:
        dag.add("never", lambda: 1, when=lambda: False)
    if is_stored:
        store = flow.store.memory()
        stopping(dag, "last", after=["conn", "optional"])
        dag.add("end", lambda conn, last: calls.append("end"))
        interrupted(dag, run_id="r", store=store)
        result = flow.run(dag, run_id="r", store=store)
        assert calls == ["conn", "optional", "conn", "end"]
    else:
        dag.add("end", lambda conn: calls.append("end"))
        known = {"optional": flow.Outcome("failed", error=ValueError("tolerated"))}
        result = flow.run(dag, known=known)
        assert calls == ["conn", "end"]
    assert result.ok and "tolerated" in str(result.errors["optional"])


@pytest.mark.parametrize("limit", [None, 1, 2, 5])
@pytest.mark.parametrize("concurrency", [None, 1, 2])
@pytest.mark.parametrize("count", [1, 3])
def test_a_map_over_a_dag_that_waits_rests(count: int, concurrency: int | None, limit: int | None) -> None:
    inner = flow.Dag("inner")
    inner.signal("ok")
    inner.add("got", lambda item, ok: [item, ok])
    dag = flow.Dag("d")
    dag.add("items", lambda: list(range(count)))
    dag.map("each", inner, over="items", concurrency=concurrency)
    store, config = flow.store.memory(), flow.Config(limit=limit)
    seen = list[str]()
    for _ in range(count + 1):
        result = flow.run(dag, run_id="r", store=store, on_wait="return", config=config)
        assert len(result.waiting) == min(concurrency or count, limit or count, count - len(seen))
        for address in result.waiting:
            store.send("r", address, address)
        seen += result.waiting
        if not result.waiting:
            break
    assert seen == [f"each#{i}.ok" for i in range(count)]
    assert [one["got"] for one in result["each"]] == [[i, f"each#{i}.ok"] for i in range(count)]


def test_pipelined_maps_over_dags_that_wait_rest() -> None:
    inner = flow.Dag("inner")
    inner.signal("ok")
    inner.add("got", lambda item, ok: item + ok)
    dag = flow.Dag("d")
    dag.add("items", lambda: [1, 2])
    dag.map("first", lambda item: 10 * item, over="items")
    dag.map("each", inner, over="first", pipelined=True)
    store = flow.store.memory()
    result = flow.run(dag, run_id="r", store=store, on_wait="return")
    assert result.waiting == ("each#0.ok", "each#1.ok")
    for address in result.waiting:
        store.send("r", address, 1)
    result = flow.run(dag, run_id="r", store=store, on_wait="return")
    assert [one["got"] for one in result["each"]] == [11, 21]


def test_a_node_called_like_a_round_is_refused_before_anything_runs() -> None:
    calls, inner, outer = list[str](), flow.Dag("inner"), flow.Dag("d")
    inner.add("x#2", lambda: calls.append("x#2"))
    inner.loop("x", lambda n: n + 1, until=lambda n: n > 3, max_iterations=9, carry="n")
    inner.add("y#2", lambda: 1)  # no loop is called y
    outer.add("n", lambda: 1)
    outer.add("all", inner)
    outer.loop("n#1", lambda n: n + 1, until=lambda n: n > 3, max_iterations=9, carry="n")
    text = r"dag 'd' cannot be stored: node 'x#2' is called like a round of the loop 'x': rename one of them"
    with pytest.raises(UsageError, match=text):
        flow.run(outer, run_id="r", store=flow.store.memory())
    assert calls == []
    assert flow.run(outer).ok


KINDS = ["map", "filter", "flat_map"]


@pytest.mark.parametrize("now", KINDS)
@pytest.mark.parametrize("was", KINDS)
def test_items_of_one_kind_of_map_are_none_of_another(was: str, now: str) -> None:
    crash, values = [True], {"map": [10, 20, 30], "filter": [1, 2, 3], "flat_map": [1, 10, 2, 20, 3, 30]}

    def dag_of(kind: str) -> flow.Dag:
        dag = flow.Dag("d")
        dag.add("items", lambda: [1, 2, 3])

        def each(item: int) -> Any:
            if item == 3 and crash:
                crash.clear()
                raise KeyboardInterrupt
            return [item, 10 * item] if kind == "flat_map" else 10 * item

        getattr(dag, kind)("each", each, over="items")
        return dag

    store = flow.store.memory()
    interrupted(dag_of(was), run_id="r", store=store)
    assert list(flow.run(dag_of(now), run_id="r", store=store)["each"]) == values[now]


def test_ctrl_c_after_the_last_node_lets_go_of_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    store, dag = flow.store.memory(), flow.Dag("d")
    dag.add("a", lambda: 1)

    def finished(state: Any) -> Any:
        monkeypatch.undo()
        raise KeyboardInterrupt

    monkeypatch.setattr(sys.modules["flow.run.api"], "finished", finished)
    interrupted(dag, run_id="r", store=store)
    assert flow.run(dag, run_id="r", store=store)["a"] == 1


def test_ctrl_c_comes_after_a_transaction(tmp_path: Path) -> None:
    dag = flow.Dag("d")
    dag.add("a", lambda: 1)
    with flow.store.open(tmp_path / "runs.db") as store:
        database: Any = store.backend
        with pytest.raises(KeyboardInterrupt), database._database.writing() as sql:
            signal.raise_signal(signal.SIGINT)
            assert sql.in_transaction
        assert flow.run(dag, run_id="r", store=store)["a"] == 1
        with pytest.raises(ZeroDivisionError), database._database.writing():
            1 / 0  # noqa: B018
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


class TestDamage:
    """Of what is beside the journal."""

    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        dag = self.dag()
        with flow.store.open(tmp_path / "runs.db") as store:
            flow.run(dag, {"n": 7}, run_id="r", store=store)
            flow.run(self.wider("other"), {"n": 7}, run_id="other", store=store)
        return tmp_path / "runs.db"

    def dag(self, name: str = "d") -> flow.Dag:
        dag = flow.Dag(name)
        dag.add("a", lambda n: n)
        return dag

    def damaged(self, path: Path, statement: str, *values: Any) -> None:
        sql = sqlite3.connect(path)
        with sql:
            assert sql.execute(statement, values).rowcount == 1
        sql.close()

    def refused(self, path: Path, match: str, **how: Any) -> None:
        with flow.store.open(path) as store:
            for dag in (self.dag(), self.wider()):
                with pytest.raises(DamagedRow, match=match) as caught:
                    flow.run(dag, run_id="r", store=store, **how)
                assert str(path) in str(caught.value)
            assert flow.run(self.wider("other"), run_id="other", store=store).ok

    def wider(self, name: str = "d") -> flow.Dag:
        dag = self.dag(name)
        dag.add("b", lambda a: a)
        return dag

    def test_inputs(self, path: Path) -> None:
        sql = sqlite3.connect(path)
        ((data, key),) = sql.execute("SELECT data, run FROM input WHERE run = (SELECT key FROM run WHERE id = 'r')")
        sql.close()
        for k in range(len(data)):
            flipped = bytearray(data)
            flipped[k] ^= 4
            self.damaged(path, "UPDATE input SET data = ? WHERE run = ?", bytes(flipped), key)
            self.refused(path, "the row of the inputs of run 'r' (is damaged|was written by a newer flow)")

    def test_structure(self, path: Path) -> None:
        with flow.store.open(path) as store:
            digest = store.run("r").shape
        self.damaged(path, "UPDATE shape SET data = CAST(data || x'00' AS BLOB) WHERE digest = ?", digest)
        self.refused(path, f"the structure {digest.hex()} of a dag is gone, or damaged")
        self.damaged(path, "DELETE FROM shape WHERE digest = ?", digest)
        self.refused(path, f"the structure {digest.hex()} of a dag is gone, or damaged")

    def test_status(self, path: Path) -> None:
        self.damaged(path, "UPDATE run SET status = 'done' WHERE id = 'r'")
        self.refused(path, "run 'r' has the status 'done'")


class Opaque:
    def __init__(self, text: str) -> None:
        self.text = text


class OpaqueError(Exception):
    def __init__(self, opaque: Opaque) -> None:
        self.opaque = opaque

    def __str__(self) -> str:
        return f"refused: {self.opaque.text}"


@pytest.mark.parametrize("form", ["utf-8", "utf-16-le", "utf-32-le"])
def test_no_secret_is_stored_in_any_form(tmp_path: Path, form: str) -> None:
    inputs = msgspec.defstruct("Inputs", [("token", Annotated[str, flow.Secret])])
    secret, dag = "correct-horse-battery", flow.Dag("d", inputs=inputs)
    dag.add("form", lambda token: token.encode(form))
    dag.add("plain", lambda: "stored")

    @dag.node(continue_on_error=True)
    def fails(token: str) -> None:
        raise OpaqueError(Opaque(token))

    with flow.store.open(tmp_path / "runs.db") as store:
        flow.run(dag, {"token": secret}, run_id="r", store=store)
        held = b"".join(store.load("r").journal)
    assert b"stored" in held and b"refused: " in held
    assert secret.encode(form) not in held and secret.encode() not in held


def test_a_retry_runs_again_what_was_tolerated_if_the_run_failed_for_it() -> None:
    calls, dag = list[str](), flow.Dag("d")

    @dag.node(continue_on_error=True)
    def tolerated() -> int:
        calls.append("tolerated")
        if len(calls) == 1:
            raise ValueError("once")
        return 1

    dag.add("needs_it", lambda tolerated: calls.append("needs_it"))
    store, config = flow.store.memory(), flow.Config(on_error="collect")
    assert not flow.run(dag, run_id="r", store=store, config=config).ok
    assert flow.run(dag, run_id="r", store=store, config=config, on_conflict="retry").ok
    assert calls == ["tolerated", "tolerated", "needs_it"]


class TestArguments:
    def test_of_delete(self) -> None:
        with pytest.raises(UsageError, match=r"runs are a list of run ids, not a str: \['mon'\]"):
            flow.store.memory().delete("mon")

    @pytest.mark.parametrize("seconds", ["x", None, True, float("nan")])
    def test_of_gc(self, seconds: Any) -> None:
        with pytest.raises(UsageError, match="older_than is a number of seconds, not"):
            flow.store.memory().gc(seconds)

    @pytest.mark.parametrize("statuses", ["completed", ["done"]])
    def test_statuses(self, statuses: Any) -> None:
        store = flow.store.memory()
        for asks in (store.runs, lambda one: store.gc(0, one)):
            with pytest.raises(UsageError, match="statuses are a list of some of running, waiting, completed"):
                asks(statuses)

    def test_of_recover(self) -> None:
        store, dag = flow.store.memory(), flow.Dag("d")
        for args, text in (
            ((store, dag), r"dags are a list of them, not one: \[d\]"),
            (("runs.db", [dag]), r"the first argument is a store \(flow.store.open\), not a str"),
            ((store, ["d"]), "dags are a list of flow.Dag, and a str is none"),
        ):
            with pytest.raises(UsageError, match=text):
                flow.recover(*args)  # type: ignore[arg-type]


@pytest.mark.parametrize("waits", [False, True], ids=["nodes", "signal"])
@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
async def test_a_run_that_was_cancelled_while_nobody_drove_it_calls_nothing(anyio_backend: str, waits: bool) -> None:
    """Also where a task begins at once (CPython 3.12 and newer); and a retry runs all that did not complete."""
    calls, dag = list[str](), flow.Dag("d")
    dag.add("first", lambda: calls.append("first"))
    if waits:
        dag.signal("asked", timeout=3600)

    async def holds(first: None) -> None:
        calls.append("holds")
        if calls.count("holds") == 1:
            raise KeyboardInterrupt

    dag.add("holds", holds)
    dag.add("last", lambda holds: calls.append("last"))
    store, config = flow.store.memory(), flow.Config(on_error="collect")
    with pytest.raises(KeyboardInterrupt):
        await flow.execute(dag, run_id="r", store=store, config=config)
    assert store.cancel("r").status == "cancelled"
    result = await flow.execute(dag, run_id="r", store=store, config=config)
    assert calls == ["first", "holds"] and not result.errors and not result.ok
    if waits:
        store.reset("r", dag)
        store.send("r", "asked", 1)
    assert (await flow.execute(dag, run_id="r", store=store, config=config, on_conflict="retry")).ok
    assert calls == ["first", "holds", "holds", "last"]
