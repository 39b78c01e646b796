"""What a durable run means: its identity, what is stored, and how it goes on."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from conftest import loops

import flow
from flow.errors import (
    ConfigError,
    DagChanged,
    DamagedRow,
    InputError,
    NotStorable,
    RunConflict,
    RunOwned,
    StoredError,
    StoreError,
    UnknownRun,
    UsageError,
)
from flow.store.in_memory import MemoryBackend
from flow.store.records import opened, sealed
from flow.store.store import Store

MODES = ("sync", "async", "exit")


class Point(msgspec.Struct):
    x: int


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    made = flow.store.memory() if request.param == "memory" else flow.store.open(tmp_path / "runs.db")
    with made:
        yield made


class Steps:
    """A dag of three nodes whose last one fails as long as it is told to; it notes its calls."""

    def __init__(self, name: str = "steps") -> None:
        self.calls: list[str] = []
        self.fails = True
        self.dag = dag = flow.Dag(name)

        @dag.node
        def first(x: int) -> int:
            self.calls.append("first")
            return x

        @dag.node
        def second(first: int) -> tuple[int, int]:
            self.calls.append("second")
            return first, first + 1

        @dag.node
        def third(second: tuple[int, int]) -> int:
            self.calls.append("third")
            if self.fails:
                raise ValueError("not yet")
            return sum(second)

        dag.add("after", lambda third: third + 1)

    def run(self, store: Store, **how: Any) -> flow.Result:
        self.calls.clear()
        how = {"inputs": {"x": 1}, "run_id": "r", **how}
        return flow.run(self.dag, how.pop("inputs"), store=store, **how)

    def failed(self, store: Store, **how: Any) -> flow.RunError:
        with pytest.raises(flow.RunError) as caught:
            self.run(store, **how)
        return caught.value


class TestIdentity:
    def test_the_same_call_returns_the_stored_result(self, store: Store) -> None:
        steps = Steps()
        steps.fails = False
        first = steps.run(store)
        again = steps.run(store)
        assert steps.calls == []
        assert dict(again) == dict(first) == {"first": 1, "second": (1, 2), "third": 3, "after": 4}
        assert again.status == first.status
        assert again.ok
        assert (again.run_id, again.attempts) == ("r", dict.fromkeys(first, 1))

    def test_a_failed_run_raises_what_it_raised_and_says_how_to_go_on(self, store: Store) -> None:
        steps = Steps()
        original = steps.failed(store)
        stored = steps.failed(store)
        assert steps.calls == []
        assert str(stored) == str(original)
        error = stored.exceptions[0]
        assert isinstance(error, StoredError)
        assert (error.type, error.text) == ("ValueError", "not yet")
        assert "test_durable.py" in error.traceback
        assert any("on_conflict='retry'" in text for text in error.__notes__)
        assert any("on_conflict='retry'" in text for text in original.exceptions[0].__notes__)
        assert stored.result.status == original.result.status
        assert stored.result.why("after") == original.result.why("after")

    def test_collected_failures_come_back_in_the_result(self, store: Store) -> None:
        steps = Steps()
        config = flow.Config(on_error="collect")
        first, again = steps.run(store, config=config), steps.run(store, config=config)
        assert not again.ok
        assert steps.calls == []
        assert again.counts == first.counts
        assert str(again.errors["third"]) == "ValueError: not yet"

    def test_retry_runs_what_failed_and_what_was_skipped_for_it(self, store: Store) -> None:
        steps = Steps()
        steps.failed(store)
        steps.failed(store, on_conflict="retry")
        assert steps.calls == ["third"]
        steps.fails = False
        assert steps.run(store, on_conflict="retry")["after"] == 4
        assert steps.calls == ["third"]
        assert steps.run(store, on_conflict="retry")["after"] == 4
        assert steps.calls == []

    def test_restart_forgets_the_run(self, store: Store) -> None:
        steps = Steps()
        steps.failed(store)
        steps.fails = False
        assert steps.run(store, inputs={"x": 5}, on_conflict="restart")["first"] == 5
        assert steps.calls == ["first", "second", "third"]
        assert steps.run(store, inputs={"x": 5})["first"] == 5

    def test_fail_refuses(self, store: Store) -> None:
        steps = Steps()
        steps.failed(store, on_conflict="fail")
        with pytest.raises(RunConflict, match="has a run 'r', and on_conflict='fail' refuses that"):
            steps.run(store, on_conflict="fail")
        assert steps.calls == []

    def test_other_inputs_and_other_dags_are_refused_and_change_nothing(self, store: Store) -> None:
        steps, other = Steps(), Steps("other")
        steps.failed(store)
        before = store.load("r")
        with pytest.raises(RunConflict, match="has other inputs: input 'x' is another value"):
            steps.run(store, inputs={"x": 2})
        with pytest.raises(RunConflict, match="other inputs: input 'y' is none that it was given"):
            steps.run(store, inputs={"x": 1, "y": 2})
        with pytest.raises(RunConflict, match="is one of dag 'steps', not of 'other'"):
            other.run(store)
        assert store.load("r") == before
        assert steps.calls == other.calls == []

    def test_inputs_that_are_left_out_are_the_stored_ones(self, store: Store) -> None:
        steps = Steps()
        steps.failed(store)
        steps.fails = False
        assert steps.run(store, inputs=None, on_conflict="retry")["after"] == 4

    def test_inputs_that_cannot_be_stored_are_given_again(self, store: Store) -> None:
        dag = flow.Dag("d")
        fails = [True]

        @dag.node
        def use(connection: Any) -> str:
            if fails[0]:
                raise OSError("gone")
            return type(connection).__name__

        with pytest.raises(flow.RunError):
            flow.run(dag, {"connection": lambda: 1}, run_id="r", store=store)
        fails[0] = False
        with pytest.raises(InputError, match="input 'connection' of run 'r' is missing: secret inputs and those that"):
            flow.run(dag, run_id="r", store=store, on_conflict="retry")
        result = flow.run(dag, {"connection": lambda: 2}, run_id="r", store=store, on_conflict="retry")
        assert result["use"] == "function"
        assert flow.run(dag, run_id="r", store=store)["use"] == "function"  # nothing runs with it

    def test_a_run_without_an_id_gets_one_that_sorts_by_time(self, store: Store) -> None:
        steps = Steps()
        steps.fails = False
        ids = [steps.run(store, run_id=None).run_id for _ in range(3)]
        assert len(set(ids)) == 3
        assert sorted(id[:13] for id in ids) == [id[:13] for id in ids]
        assert {row.id for row in store.runs()} == set(ids)
        assert all(id[14] == "7" for id in ids)

    @pytest.mark.parametrize("id", ["../x", "a/b", "a\0b", "%2e%2e", 'a"b', "a'b", "a\nb", "x" * 10_000, "", ".."])
    def test_hostile_ids_are_refused_and_nothing_is_stored(self, store: Store, id: str) -> None:
        steps = Steps()
        with pytest.raises(ConfigError, match="run id is not valid"):
            steps.run(store, run_id=id)
        with pytest.raises(UnknownRun, match="has no run"):
            store.load(id)
        with pytest.raises(ConfigError, match="run id is not valid"):
            steps.failed(store), store.fork("r", id)
        assert [row.id for row in store.runs()] == ["r"]

    def test_wrong_settings_are_refused_all_at_once(self, store: Store) -> None:
        steps = Steps()
        with pytest.raises(
            UsageError, match="3 faults(.|\n)*did you mean 'attach'(.|\n)*on_change is(.|\n)*on_wait is"
        ):
            steps.run(store, on_conflict="atach", on_change="keep", on_wait=True)
        with pytest.raises(UsageError, match="store is a store of durable runs, not a str: flow.store.open"):
            steps.run("runs.db")  # type: ignore[arg-type]
        with pytest.raises(UsageError, match="on_conflict is for durable runs: give store="):
            flow.run(steps.dag, {"x": 1}, on_conflict="retry")
        with pytest.raises(UsageError, match="known= and store= exclude each other"):
            steps.run(store, known={"first": 1})
        assert steps.calls == []
        assert not store.runs()

    def test_what_is_refused_before_a_run_leaves_nothing(self, store: Store) -> None:
        steps = Steps()
        with pytest.raises(InputError):
            steps.run(store, inputs={"z": 1})
        assert not store.runs()
        steps.failed(store)

    def test_one_process_drives_a_run_once_at_a_time(self, store: Store) -> None:
        dag = flow.Dag("d")
        caught: list[BaseException] = []

        @dag.node
        def within() -> int:
            try:
                flow.run(dag, run_id="r", store=store)
            except RunOwned as error:
                caught.append(error)
            return 1

        flow.run(dag, run_id="r", store=store)
        assert "is being driven in this process" in str(caught[0])

    def test_the_key_of_a_call_is_the_same_in_every_attempt_and_after_a_resume(self, store: Store) -> None:
        keys: dict[str, set[str]] = {}
        fails = [True]
        inner, dag = flow.Dag("inner"), flow.Dag("d")

        def note(name: str, ctx: flow.Context) -> None:
            keys.setdefault(name, set()).add(ctx.idempotency_key)

        @inner.node(retry=flow.Retry(3, delay=0.0))
        def deep(x: int, ctx: flow.Context) -> int:
            note("deep", ctx)
            if ctx.attempt == 1 or fails[0]:
                raise OSError
            return x

        def item(x: int, ctx: flow.Context) -> int:
            note(f"item{x}", ctx)
            return x

        dag.add("xs", lambda: [1, 2])
        dag.map("items", item, over="xs")
        dag.add("inner", inner, needs={"x": "items"})
        with pytest.raises(flow.RunError):
            flow.run(dag, run_id="r", store=store)
        fails[0] = False
        flow.run(dag, run_id="r", store=store, on_conflict="retry")
        assert all(len(found) == 1 for found in keys.values())
        assert len(set().union(*keys.values())) == 3
        others = flow.run(dag, run_id="another", store=store)
        assert others.ok
        assert all(len(found) == 2 for found in keys.values())


class TestStored:
    def test_annotated_outputs_come_back_as_their_type(self, store: Store) -> None:
        dag = flow.Dag("d")

        @dag.node
        def typed() -> dict[str, Point]:
            return {"a": Point(1)}

        dag.add("untyped", lambda: (1, {2}))
        dag.map("points", lambda x: x, over="numbers")
        dag.add("numbers", lambda: [1, 2])
        first = flow.run(dag, run_id="r", store=store)
        again = flow.run(dag, run_id="r", store=store)
        assert again["typed"] == first["typed"] == {"a": Point(1)}
        assert again["untyped"] == [1, [2]]
        assert [str(one) for one in flow.testing.roundtrip(dag)] == ["untyped: value: tuple comes back as list"]

    def test_what_cannot_be_stored_fails_its_node_and_says_where(self, store: Store) -> None:
        dag = flow.Dag("d")
        calls: list[int] = []

        @dag.node(retry=flow.Retry(5, delay=0.0))
        def opens() -> dict[str, Any]:
            calls.append(1)
            return {"list": [1, lambda: 2]}

        dag.add("other", lambda: 1)
        with pytest.raises(flow.RunError) as caught:
            flow.run(dag, run_id="r", store=store)
        error = caught.value.exceptions[0]
        assert isinstance(error, NotStorable)
        assert "['list'][1]" in str(error)
        assert "store=False" in str(error)
        assert len(calls) == 1

    def test_what_is_not_stored_runs_again_if_something_needs_it(self, store: Store) -> None:
        calls: list[str] = []
        fails = [True]
        dag = flow.Dag("d")

        def note(name: str, value: Any) -> Any:
            calls.append(name)
            return value

        dag.add("where", lambda: note("where", "here"), store=False)
        dag.add("connect", lambda where: note("connect", lambda: where), store=False)
        dag.add("unused", lambda: note("unused", lambda: 1), store=False)
        dag.add("read", lambda connect: note("read", connect()))
        dag.add("write", lambda connect, read: note("write", 1 / 0 if fails[0] else connect() + read))
        with pytest.raises(flow.RunError):
            flow.run(dag, run_id="r", store=store)
        fails[0] = False
        calls.clear()
        result = flow.run(dag, run_id="r", store=store, on_conflict="retry")
        assert calls == ["where", "connect", "write"]
        assert result["write"] == "herehere"
        assert result.status["unused"] == "completed"
        calls.clear()
        stored = flow.run(dag, run_id="r", store=store)
        assert calls == []
        with pytest.raises(KeyError, match="its output is not stored"):
            stored["connect"]

    def test_a_generator_node_may_say_so(self, store: Store) -> None:
        dag = flow.Dag("d")
        dag.add("numbers", lambda: iter([1, 2]), store=False)
        dag.add("total", lambda numbers: sum(numbers))
        assert flow.run(dag, run_id="r", store=store)["total"] == 3
        assert flow.run(dag, run_id="r", store=store)["total"] == 3

    def test_a_socket_and_a_recursive_list_are_named(self, store: Store) -> None:
        endless: list[Any] = []
        endless.append(endless)
        dag = flow.Dag("d")
        with socket.socket() as made:
            dag.add("sock", lambda: made)
            dag.add("endless", lambda: endless)
            dag.add("fine", lambda: float("nan"))
            result = flow.run(dag, run_id="r", store=store, config=flow.Config(on_error="collect"))
        assert set(result.errors) == {"sock", "endless"}
        assert all(isinstance(error, NotStorable) for error in result.errors.values())
        assert result["fine"] != result["fine"]

    def test_large_values_lie_in_files_and_go_with_their_run(self, tmp_path: Path) -> None:
        with flow.store.open(tmp_path / "runs.db") as store:
            dag = flow.Dag("d")
            dag.add("large", lambda: "x" * 300_000)
            dag.add("same", lambda: "x" * 300_000)
            flow.run(dag, run_id="r", store=store)
            files = [path for path in (tmp_path / "runs.db.files").rglob("*") if path.is_file()]
            assert len(files) == 1
            assert flow.run(dag, run_id="r", store=store)["same"] == "x" * 300_000
            files[0].write_bytes(b"other")
            with pytest.raises(DamagedRow, match=files[0].name[:20]):
                flow.run(dag, run_id="r", store=store)
            store.delete(["r"])
            assert not [path for path in (tmp_path / "runs.db.files").rglob("*") if path.is_file()]

    def test_a_damaged_row_is_named_and_no_wrong_value(self, store: Store) -> None:
        steps = Steps()
        steps.failed(store)
        row, backend = store.run("r"), store.backend
        segment = bytearray(store.load("r").journal[0])
        segment[-3] ^= 1
        token = backend.claim("r", row.token, "", 0.0, 0.0)
        assert token is not None
        from flow.store.backend import Change

        backend.write("r", token, Change(0.0, 0.0, status="failed", released=True), bytes(segment))
        with pytest.raises(DamagedRow, match=r"row \d of the journal of run 'r' is damaged: its checksum does not fit"):
            steps.run(store)
        assert steps.calls == []

    def test_every_flipped_bit_is_seen(self) -> None:
        good = sealed(1.0, [])
        for at in range(len(good) * 8):
            bad = bytearray(good)
            bad[at // 8] ^= 1 << at % 8
            with pytest.raises(DamagedRow):
                opened("r", 1, bytes(bad), "s")

    def test_nothing_is_pickled(self, tmp_path: Path) -> None:
        with flow.store.open(tmp_path / "runs.db") as store:
            dag = flow.Dag("d")
            dag.add("all", lambda: [1, "a", 2.5, None, {"k": (1, 2)}, b"bytes", {1, 2}])
            dag.add("bad", lambda: 1 / 0)
            flow.run(dag, {}, run_id="r", store=store, config=flow.Config(on_error="collect"))
            segments = store.load("r").journal
        for data in (*segments, *[path.read_bytes() for path in tmp_path.iterdir() if path.is_file()]):
            for protocol in range(2, 6):
                assert bytes([0x80, protocol, 0x95]) not in data
            assert b"cbuiltins\n" not in data
            assert b"pickle" not in data


class TestData:
    def test_writes_travel_with_the_completion_of_their_node(self, store: Store) -> None:
        fails = [True]
        dag = flow.Dag("d")

        @dag.node
        def writes(ctx: flow.Context) -> None:
            ctx.data.set("kept", {"a": 1})
            ctx.data.set("gone", 1)
            ctx.data.delete("gone")
            ctx.data.increment("count", 2)
            ctx.publish("list", 1, "append")

        @dag.node
        def fails_once(writes: None, ctx: flow.Context) -> int:
            ctx.data.set("kept", "by the failed attempt")
            ctx.data.set("new", 1)
            if fails[0]:
                raise OSError
            ctx.data.set("kept", "again")
            return ctx.data["count"]

        with pytest.raises(flow.RunError) as caught:
            flow.run(dag, run_id="r", store=store)
        assert dict(caught.value.result.data.items()) == {"kept": {"a": 1}, "count": 2, "list": [1]}
        fails[0] = False
        result = flow.run(dag, run_id="r", store=store, on_conflict="retry")
        assert result["fails_once"] == 2
        expected = {"kept": "again", "new": 1, "count": 2, "list": [1]}
        assert dict(result.data.items()) == expected
        assert dict(flow.run(dag, run_id="r", store=store).data.items()) == expected

    def test_what_items_publish_is_there_again(self, store: Store) -> None:
        fails, calls = [True], list[int]()
        dag = flow.Dag("d")

        def item(x: int, ctx: flow.Context) -> int:
            calls.append(x)
            ctx.publish("seen", x, "append")
            if x == 2 and fails[0]:
                raise OSError
            return x

        dag.add("xs", lambda: [0, 1, 2, 3])
        dag.map("items", item, over="xs", concurrency=1)
        with pytest.raises(flow.RunError):
            flow.run(dag, run_id="r", store=store)
        fails[0] = False
        calls.clear()
        result = flow.run(dag, run_id="r", store=store, on_conflict="retry")
        assert calls == [2, 3]
        assert result.data["seen"] == [0, 1, 2, 3]

    def test_a_function_cannot_be_stored_as_a_rule(self, store: Store) -> None:
        dag = flow.Dag("d")
        dag.add("xs", lambda: [1])

        def item(x: int, ctx: flow.Context) -> None:
            ctx.publish("sum", x, lambda a, b: a + b)

        dag.map("items", item, over="xs")
        with pytest.raises(flow.RunError) as caught:
            flow.run(dag, run_id="r", store=store)
        assert "merge='last' or 'append', not a function" in str(caught.value.exceptions[0])


class TestMaps:
    def test_items_that_changed_run_again_and_it_is_said(self, store: Store, caplog: pytest.LogCaptureFixture) -> None:
        calls: list[int] = []
        numbers, fails = [0, 1, 2], [True]
        dag = flow.Dag("d")

        def item(x: int) -> int:
            calls.append(x)
            if x == 2 and fails[0]:
                raise OSError
            return x * 10

        dag.map("items", item, over="lazy", concurrency=1)
        dag.add("lazy", lambda: iter(numbers), store=False)
        with pytest.raises(flow.RunError):
            flow.run(dag, run_id="r", store=store)
        numbers[0], fails[0] = 7, False
        calls.clear()
        with caplog.at_level("WARNING", "flow"):
            result = flow.run(dag, run_id="r", store=store, on_conflict="retry")
        assert result["items"] == [70, 10, 20]
        assert calls == [7, 2]
        assert "item 0 of map 'items' is not the one that was stored: it runs again" in caplog.text

    def test_items_with_keys_are_known_by_them(self, store: Store) -> None:
        calls: list[Any] = []
        rows, fails = [{"id": "a", "v": 1}, {"id": "b", "v": 2}], [True]
        dag = flow.Dag("d")

        def item(row: dict[str, Any]) -> int:
            calls.append(row["id"])
            if row["id"] == "b" and fails[0]:
                raise OSError
            return int(row["v"])

        dag.add("rows", lambda: [dict(row) for row in rows], store=False)
        dag.map("items", item, over="rows", key=lambda row: row["id"], concurrency=1)
        with pytest.raises(flow.RunError):
            flow.run(dag, run_id="r", store=store)
        rows[0]["v"], fails[0] = 100, False
        calls.clear()
        assert flow.run(dag, run_id="r", store=store, on_conflict="retry")["items"] == {"a": 1, "b": 2}
        assert calls == ["b"]

    @pytest.mark.parametrize(("kind", "options"), [
        *[(kind, options) for kind in ("map", "filter", "flat_map") for options in ({"batch_size": 2}, {"take": 3})],
        ("map", {"on_error": "collect"}), ("map", {"key": str}),
    ], ids=str)  # fmt: skip
    def test_every_kind_comes_back(self, store: Store, kind: str, options: dict[str, Any]) -> None:
        fails, calls = [True], list[Any]()
        dag = flow.Dag("d")

        def one(x: int) -> Any:
            return [x, x] if kind == "flat_map" else x % 2 == 0 if kind == "filter" else (x, x)

        def item(x: Any) -> Any:
            calls.append(x)
            return [one(each) for each in x] if "batch_size" in options else one(x)

        dag.add("xs", lambda: [1, 2, 3, 4])
        getattr(dag, kind)("items", item, over="xs", **options)
        dag.add("last", lambda items: 1 / 0 if fails[0] else 1)
        with pytest.raises(flow.RunError) as caught:
            flow.run(dag, run_id="r", store=store)
        fails[0] = False
        calls.clear()
        result = flow.run(dag, run_id="r", store=store, on_conflict="retry")
        assert calls == []
        before = caught.value.result["items"]
        after = result["items"]
        listed = lambda value: msgspec.msgpack.decode(
            msgspec.msgpack.encode(getattr(value, "to_dict", lambda: value)())
        )  # noqa: E731
        assert type(after) is type(before)
        assert listed(after) == listed(before)

    def test_ten_thousand_items_and_a_failure_at_the_end(self, store: Store) -> None:
        calls, fails = [0], [True]
        dag = flow.Dag("d")

        def item(x: int) -> int:
            calls[0] += 1
            if x == 9_999 and fails[0]:
                raise OSError
            return x

        dag.add("xs", lambda: list(range(10_000)))
        dag.map("items", item, over="xs")
        with pytest.raises(flow.RunError):
            flow.run(dag, run_id="r", store=store)
        fails[0], calls[0] = False, 0
        assert sum(flow.run(dag, run_id="r", store=store, on_conflict="retry")["items"]) == sum(range(10_000))
        assert calls == [1]


class TestChanges:
    def changed(self, store: Store, make: Callable[[flow.Dag], object], **how: Any) -> flow.Result:
        dag = flow.Dag("d")
        make(dag)
        return flow.run(dag, run_id="r", store=store, on_conflict="retry", **how)

    def begin(self, store: Store) -> None:
        dag = flow.Dag("d")
        dag.add("a", lambda: 1)
        dag.add("b", lambda a: 1 / 0)
        with pytest.raises(flow.RunError):
            flow.run(dag, run_id="r", store=store)

    def test_a_completed_node_that_is_gone_or_wired_otherwise_is_named(self, store: Store) -> None:
        self.begin(store)

        def gone(dag: flow.Dag) -> None:
            dag.add("b", lambda: 1)

        def wired(dag: flow.Dag) -> None:
            dag.add("z", lambda: 1)
            dag.add("a", lambda z: z)
            dag.add("b", lambda a: a)

        before = store.load("r")
        with pytest.raises(DagChanged, match="node 'a' has completed, and is gone"):
            self.changed(store, gone)
        with pytest.raises(
            DagChanged, match="'a' has completed, and is wired otherwise now: it took nothing, and takes"
        ):
            self.changed(store, wired)
        assert store.load("r") == before

    def test_what_has_not_completed_may_differ(self, store: Store) -> None:
        self.begin(store)

        def other(dag: flow.Dag) -> None:
            dag.add("a", lambda: 1)
            dag.add("new", lambda a: a + 5)
            dag.add("b", lambda new: new + 1)

        assert dict(self.changed(store, other)) == {"a": 1, "new": 6, "b": 7}

    def test_changed_code_keeps_its_result_with_a_warning_at_the_users_line(self, store: Store) -> None:
        self.begin(store)

        def recoded(dag: flow.Dag) -> None:
            dag.add("a", lambda: 2)
            dag.add("b", lambda a: a)

        with pytest.warns(RuntimeWarning, match=r"the code of completed nodes has changed \(a\)") as caught:
            assert dict(self.changed(store, recoded)) == {"a": 1, "b": 1}
        assert caught[0].filename == __file__
        assert dict(self.changed(store, recoded, on_change="rerun")) == {"a": 2, "b": 2}

    def test_nodes_within_nodes_are_compared_too(self, store: Store) -> None:
        fails = [True]

        def outer(first: Callable[..., int]) -> flow.Dag:
            inner = flow.Dag("inner")
            inner.add("one", first)
            inner.add("two", lambda one: 1 / 0 if fails[0] else one)
            dag = flow.Dag("d")
            dag.add("inner", inner)
            return dag

        with pytest.raises(flow.RunError):
            flow.run(outer(lambda: 1), run_id="r", store=store)
        fails[0] = False
        with pytest.raises(DagChanged, match="node 'inner/one' has completed, and is wired otherwise"):
            flow.run(outer(lambda x=3: x), run_id="r", store=store, on_conflict="retry")
        with pytest.warns(RuntimeWarning, match="inner/one"):
            result = flow.run(outer(lambda: 2), run_id="r", store=store, on_conflict="retry")
        assert result["inner"]["two"] == 1

    def test_a_run_of_a_part_goes_on_with_the_whole(self, store: Store) -> None:
        calls: list[str] = []
        dag = flow.Dag("d")
        dag.add("a", lambda: calls.append("a"))
        dag.add("b", lambda a: calls.append("b"))
        flow.run(dag, run_id="r", store=store, targets="a")
        assert set(flow.run(dag, run_id="r", store=store)) == {"a", "b"}
        assert calls == ["a", "b"]


class TestMending:
    def test_a_node_and_what_depends_on_it_runs_again(self, store: Store) -> None:
        steps = Steps()
        steps.fails = False
        steps.run(store)
        assert store.reset("r", steps.dag.compile(), "second") == 3
        steps.run(store)
        assert steps.calls == ["second", "third"]
        with pytest.raises(StoreError, match="run 'r' has no node 'secnd'.*did you mean 'second'"):
            store.reset("r", steps.dag.compile(), "secnd")

    def test_bypassed_nodes_are_decided_again(self, store: Store) -> None:
        holds, calls = [False], list[str]()
        dag = flow.Dag("d")
        dag.add("a", lambda: calls.append("a"))

        def when(a: None) -> bool:
            calls.append("when")
            return holds[0]

        dag.add("b", lambda: calls.append("b"), when=when)
        assert flow.run(dag, run_id="r", store=store).status["b"] == "bypassed"
        holds[0] = True
        assert flow.run(dag, run_id="r", store=store).status["b"] == "bypassed"
        store.reset("r", dag.compile(), "a")
        calls.clear()
        assert flow.run(dag, run_id="r", store=store).status["b"] == "completed"
        assert calls == ["a", "when", "b"]

    def test_a_fork_goes_on_under_its_own_id(self, store: Store) -> None:
        steps = Steps()
        steps.failed(store)
        store.fork("r", "other")
        with pytest.raises(RunConflict, match="has a run 'other' already"):
            store.fork("r", "other")
        steps.fails = False
        assert steps.run(store, run_id="other", on_conflict="retry")["after"] == 4
        assert steps.calls == ["third"]
        assert (store.run("r").status, store.run("other").status) == ("failed", "completed")

    def test_delete_and_gc(self, store: Store) -> None:
        steps = Steps()
        steps.failed(store)
        steps.fails = False
        steps.run(store, run_id="done")
        assert store.gc(3600) == 0
        assert store.gc(-1, ["completed"]) == 1
        assert [row.id for row in store.runs()] == ["r"]
        assert store.delete(["r", "none"]) == 1
        with pytest.raises(UnknownRun, match="has no run 'r'"):
            store.run("r")

    def test_unknown_runs_make_no_row(self, store: Store) -> None:
        for call in (
            store.run,
            store.load,
            store.cancel,
            lambda id: store.send(id, "a"),
            lambda id: store.fork(id, "b"),
        ):
            with pytest.raises(UnknownRun, match="has no run 'nope'"):
                call("nope")  # type: ignore[operator]
        assert not store.runs()


class TestEnds:
    def test_an_interrupted_run_goes_on(self, store: Store) -> None:
        calls: list[str] = []
        dag = flow.Dag("d")
        dag.add("a", lambda: calls.append("a"))

        @dag.node
        def b(a: None) -> int:
            calls.append("b")
            if len(calls) == 2:
                raise KeyboardInterrupt
            return 1

        with pytest.raises(KeyboardInterrupt):
            flow.run(dag, run_id="r", store=store)
        assert (store.run("r").status, store.run("r").owner) == ("running", "")
        assert flow.run(dag, run_id="r", store=store)["b"] == 1
        assert calls == ["a", "b", "b"]

    def test_a_run_that_a_hook_ends_goes_on(self, store: Store) -> None:
        steps = Steps()
        steps.fails = False

        def hook(record: Any) -> None:
            if record.node == "second":
                raise OSError("full")

        with pytest.raises(OSError, match="full"):
            steps.run(store, config=flow.Config(on_outcome=lambda: hook))
        assert steps.run(store)["after"] == 4

    def test_the_time_limit_counts_the_time_that_the_run_was_owned(self, store: Store) -> None:
        clock = flow.testing.FakeClock()
        dag = flow.Dag("d")
        stops = [True]

        @dag.node
        def slow() -> int:
            clock.sleep(6.0)
            if stops[0]:
                raise KeyboardInterrupt
            return 1

        dag.add("next", lambda slow: slow)
        config = flow.Config(clock=clock, timeout=10.0)
        with pytest.raises(KeyboardInterrupt):
            flow.run(dag, run_id="r", store=store, config=config)
        stops[0] = False
        with pytest.raises(flow.RunError, match="exceeded its limit of 10 s") as caught:
            flow.run(dag, run_id="r", store=store, config=config)
        assert caught.value.timed_out
        with pytest.raises(flow.RunError) as caught:
            flow.run(dag, run_id="r", store=store, config=config)
        assert caught.value.timed_out

    def test_attempts_survive(self, store: Store) -> None:
        attempts: list[int] = []
        dag = flow.Dag("d")

        @dag.node(retry=flow.Retry(3, delay=0.0))
        def flaky(ctx: flow.Context) -> int:
            attempts.append(ctx.attempt)
            if len(attempts) == 2:
                raise KeyboardInterrupt
            raise OSError

        with pytest.raises(KeyboardInterrupt):
            flow.run(dag, run_id="r", store=store)
        with pytest.raises(flow.RunError):
            flow.run(dag, run_id="r", store=store)
        assert attempts == [1, 2, 2, 3]
        with pytest.raises(flow.RunError) as caught:
            flow.run(dag, run_id="r", store=store)
        assert attempts == [1, 2, 2, 3]
        assert caught.value.result.attempts == {"flaky": 3}

    def test_a_cancelled_run_runs_its_cleanup_and_is_cancelled(self, store: Store) -> None:
        dag, done = flow.Dag("d"), list[str]()

        @dag.node
        async def asks() -> None:
            await asyncio.to_thread(store.cancel, "r")
            await asyncio.sleep(30)

        dag.add("close", lambda: done.append("close"), cleanup=True)
        with pytest.raises(flow.RunError, match="was cancelled"):
            flow.run(dag, run_id="r", store=store)
        assert done == ["close"]
        assert store.run("r").status == "cancelled"
        with pytest.raises(flow.RunError, match="was cancelled") as caught:
            flow.run(dag, run_id="r", store=store)
        assert caught.value.result.status == {"asks": "cancelled", "close": "completed"}

    def test_cleanup_that_has_completed_does_not_run_again(self, store: Store) -> None:
        calls: list[str] = []
        dag = flow.Dag("d")
        dag.add("a", lambda: calls.append("a"))
        dag.add("close", lambda: calls.append("close"), cleanup=True)

        @dag.node(cleanup=True, after="close")
        def last() -> None:
            calls.append("last")
            if len(calls) == 3:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            flow.run(dag, run_id="r", store=store)
        flow.run(dag, run_id="r", store=store)
        assert calls == ["a", "close", "last", "last"]

    @pytest.mark.parametrize("mode", MODES)
    def test_a_chain_of_ten_thousand(self, mode: Any) -> None:
        store = flow.store.memory(mode)
        fails = [True]
        dag = flow.Dag("d")
        dag.add("n0", lambda: 0)
        for k in range(1, 10_000):
            dag.add(f"n{k}", lambda x: x + 1, needs=[f"n{k - 1}"])
        dag.add("last", lambda x: 1 / 0 if fails[0] else x, needs=["n9999"])
        plan = dag.compile()
        with pytest.raises(flow.RunError):
            flow.run(plan, run_id="r", store=store)
        fails[0] = False
        assert flow.run(plan, run_id="r", store=store, on_conflict="retry")["last"] == 9_999
        assert len(flow.run(plan, run_id="r", store=store)) == 10_001
        assert store.reset("r", plan, "n0") == 10_001
        assert store.delete(["r"]) == 1


class TestWaiting:
    def approval(self) -> flow.Dag:
        dag = flow.Dag("d")
        dag.add("ask", lambda: "please")
        dag.signal("approve", type=int, after="ask")
        dag.add("pay", lambda approve: approve + 1)
        return dag

    @pytest.mark.parametrize("backend", loops())
    @pytest.mark.parametrize("nested", [False, True])
    def test_a_run_that_only_waits_returns_and_goes_on(self, store: Store, backend: str, nested: bool) -> None:
        calls: list[str] = []
        dag = self.approval()
        address = "approve"
        if nested:
            inner, dag, address = dag, flow.Dag("outer"), "inner.approve"
            dag.add("inner", inner)
        dag.add("beside", lambda: calls.append("beside"))
        dag.add("close", lambda: calls.append("close"), cleanup=True)
        how: dict[str, Any] = {"store": store, "run_id": "r", "config": flow.Config(backend=backend)}
        result = flow.run(dag, on_wait="return", **how)
        assert result.waiting == (address,)
        assert not result.ok
        assert result.status["inner" if nested else "approve"] == "waiting"
        assert store.run("r").status == "waiting"
        assert calls == ["beside"]
        again = flow.run(dag, on_wait="return", **how)
        assert again.waiting == (address,)
        assert store.send("r", address, 4)
        assert not store.send("r", address, 5)
        result = flow.run(dag, on_wait="return", **how)
        assert (result["inner"] if nested else result)["pay"] == 5
        assert result.ok
        assert result.waiting == ()
        assert calls == ["beside", "close"]
        assert store.run("r").status == "completed"
        with pytest.raises(StoreError, match=r"run 'r' has ended \(completed\)"):
            store.send("r", address, 4)

    def test_what_is_not_of_its_type_is_not_taken(self, store: Store, caplog: pytest.LogCaptureFixture) -> None:
        dag = self.approval()
        flow.run(dag, run_id="r", store=store, on_wait="return")
        store.send("r", "approve", "no number")
        with caplog.at_level("WARNING", "flow"):
            assert flow.run(dag, run_id="r", store=store, on_wait="return").waiting == ("approve",)
        assert "is not of its type int" in caplog.text
        assert store.send("r", "approve", 1)
        assert flow.run(dag, run_id="r", store=store, on_wait="return")["pay"] == 2

    async def test_what_a_handle_sends_is_stored_first(self, store: Store, anyio_backend: object) -> None:
        dag = self.approval()
        dag.signal("never", after="pay")
        async with flow.start(dag, run_id="r", store=store) as run:
            run.send("approve", 7)
            while run.status("pay") != "completed":
                await asyncio_or_trio_sleep()
            run.cancel()
        assert [signal.address for signal in store.load("r").signals] == ["approve"]
        assert store.run("r").status == "cancelled"

    def test_a_deadline_goes_by_the_wall_clock(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        import time

        dag = flow.Dag("d")
        dag.signal("approve", timeout=3600.0)
        result = flow.run(dag, run_id="r", store=store, on_wait="return")
        assert result.waiting == ("approve",)
        now = time.time
        monkeypatch.setattr(time, "time", lambda: now() + 3601)
        with pytest.raises(flow.RunError) as caught:
            flow.run(dag, run_id="r", store=store)
        assert isinstance(caught.value.exceptions[0], flow.NodeTimeout)

    def test_recover_goes_on_with_what_is_left_alone(self, store: Store) -> None:
        dag, steps = self.approval(), Steps()
        flow.run(dag, run_id="waits", store=store, on_wait="return")
        flow.run(dag, run_id="sent", store=store, on_wait="return")
        store.send("sent", "approve", 1)
        steps.fails = False
        stop = flow.Config(on_outcome=lambda: lambda record: 1 / 0 if record.node == "second" else None)
        with pytest.raises(ZeroDivisionError):
            steps.run(store, run_id="left", config=stop)
        found = flow.recover(store, [dag, steps.dag])
        assert set(found) == {"sent", "left"}
        assert found["sent"]["pay"] == 2  # type: ignore[index]
        assert store.run("waits").status == "waiting"
        with pytest.raises(UsageError, match="two dags are called 'd'"):
            flow.recover(store, [dag, dag])


async def asyncio_or_trio_sleep() -> None:
    import anyio

    await anyio.sleep(0.001)


class TestLoops:
    def test_rounds_and_decisions_are_not_taken_again(self, store: Store) -> None:
        calls: list[str] = []
        body, dag = flow.Dag("body"), flow.Dag("d")

        @body.node
        def more(n: int) -> int:
            calls.append(f"more{n}")
            if n == 2 and calls.count("more2") == 1:
                raise KeyboardInterrupt
            return n + 1

        def until(more: int) -> bool:
            calls.append(f"until{more}")
            return more >= 3

        dag.loop("polish", body, until=until, carry={"n": "more"}, max_iterations=9)
        with pytest.raises(KeyboardInterrupt):
            flow.run(dag, {"n": 0}, run_id="r", store=store)
        assert flow.run(dag, {"n": 0}, run_id="r", store=store)["polish"]["more"] == 3
        assert calls == ["more0", "until1", "more1", "until2", "more2", "more2", "until3"]

    def test_a_node_that_is_tried_again_begins_its_runs_anew(self, store: Store) -> None:
        calls: list[str] = []
        inner, dag = flow.Dag("inner"), flow.Dag("d")
        inner.add("one", lambda: calls.append("one"))

        @inner.node
        def two(one: None) -> int:
            calls.append("two")
            if len(calls) == 2:
                raise OSError
            if len(calls) == 4:
                raise KeyboardInterrupt
            return 1

        dag.add("inner", inner, retry=flow.Retry(2, delay=0.0))
        with pytest.raises(KeyboardInterrupt):
            flow.run(dag, run_id="r", store=store)
        assert flow.run(dag, run_id="r", store=store)["inner"]["two"] == 1
        assert calls == ["one", "two", "one", "two", "two"]

    def test_runs_that_nodes_start_are_stored(self, store: Store) -> None:
        calls: list[str] = []
        other, dag = flow.Dag("other"), flow.Dag("d")
        other.add("deep", lambda: calls.append("deep") or 5)

        @dag.node
        def starts(ctx: flow.Context) -> int:
            found = ctx.run(other)["deep"]
            calls.append("after")
            if calls.count("after") == 1:
                raise KeyboardInterrupt
            return int(found)

        with pytest.raises(KeyboardInterrupt):
            flow.run(dag, run_id="r", store=store)
        assert flow.run(dag, run_id="r", store=store)["starts"] == 5
        assert calls == ["deep", "after", "after"]


@pytest.mark.parametrize("mode", MODES)
def test_the_modes_and_their_events(mode: Any) -> None:
    seen: list[str] = []
    store = Store(MemoryBackend(), mode)
    dag = flow.Dag("d")
    dag.add("a", lambda: 1)
    dag.add("b", lambda a: a)

    def observe(event: Any) -> None:
        stored = store.backend.load("r")
        count = 0 if stored is None else len(store.history_of(stored).outcomes.get((), {}))
        seen.append(f"{type(event).__name__} {getattr(event, 'node', '')} {count}".replace("  ", " "))

    flow.run(dag, run_id="r", store=store, config=flow.Config(observers=(observe,)))
    if mode == "sync":
        assert "NodeFinished a 1" in seen
        assert "NodeFinished b 2" in seen
    assert seen[-1] == "RunFinished 2"
    assert {"NodeStored a 2", "NodeStored b 2"} <= set(seen) or mode == "sync"


def test_the_settings_of_a_store() -> None:
    with pytest.raises(ConfigError, match="durability is 'sync', 'async' or 'exit', not 'full'"):
        flow.store.open("runs.db", durability="full")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="durability is"):
        flow.store.memory("always")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="path is that of a file, not None"):
        flow.store.open(None)  # type: ignore[arg-type]
    assert repr(flow.store.memory()) == "<Store 'memory': durability='async'>"
    assert flow.store.memory() is not flow.store.memory()


def test_no_store_loads_no_store() -> None:
    import subprocess
    import sys

    loaded = "[m for m in sys.modules if m.startswith('flow.store') or m == 'sqlite3']"
    program = f"import flow, sys; d = flow.Dag('d'); d.add('a', lambda: 1); flow.run(d); print({loaded})"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
