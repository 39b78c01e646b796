"""flow.WorkflowData: every operation under every configuration, its errors, what it counts, what goes out as bytes."""

from __future__ import annotations

import copy
import itertools
import pickle
import socket
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from memories import OWN

import flow
from flow.data import kinds, metered
from flow.data.codec import MAX_DEPTH
from flow.data.measures import RECENT, SLOW_KEPT, MeteredLock, Recorder
from flow.data.overlay import Overlay
from flow.data.slots import SlotValues
from flow.data.standard import Store
from flow.data.store import ReadableData

MEMORY: tuple[Any, ...] = ("standard", "slots", "arena", *OWN)
METRICS = ("off", "counting", "sampled", "timing")
INTERNING: tuple[dict[str, Any], ...] = (
    {},
    {"interning": "native", "intern": "both"},
    {"interning": "pool"},
    {"interning": "pool", "intern": "both"},
    {"interning": "arena"},
    {"locked": True},
)


def _named(memory: Any) -> str:
    return memory if isinstance(memory, str) else memory.__name__  # type: ignore[no-any-return]


def _configs() -> list[Any]:
    found = []
    for memory, metrics, more in itertools.product(MEMORY, METRICS, INTERNING):
        try:
            config = flow.DataConfig(memory=memory, metrics=metrics, sample_rate=0.5, **more)
        except flow.errors.ConfigError:
            assert "interning" in more and memory != "standard"
            continue
        combined = metrics in ("sampled", "timing") and more  # each by itself is enough for --fast
        marks = [pytest.mark.slow] if combined else []
        name = "-".join([_named(memory), metrics, *map(str, more.values())])
        found.append(pytest.param(config, marks=marks, id=name))
    found.append(pytest.param(flow.DataConfig.preset("read_optimized"), id="direct"))
    found.append(pytest.param(flow.DataConfig.preset("read_optimized").replace(locked=True), id="direct-locked"))
    return found


@pytest.fixture(params=_configs())
def config(request: pytest.FixtureRequest) -> flow.DataConfig:
    return request.param  # type: ignore[no-any-return]


CHILDREN = [
    pytest.param((flow.DataConfig(memory=memory), depth), id=f"{name}-{_named(memory)}")
    for memory in MEMORY
    for name, depth in (("child", 1), ("grandchild", 2))
]


@pytest.fixture(params=[*_configs(), *CHILDREN])
def make(request: pytest.FixtureRequest) -> Callable[[], flow.WorkflowData]:
    """Make an empty store: of its own, or a child of one."""
    config, depth = request.param if isinstance(request.param, tuple) else (request.param, 0)

    def go() -> flow.WorkflowData:
        data = flow.WorkflowData(config)
        for _ in range(depth):
            data = data.child()
        return data

    return go


class TestOneKey:
    def test_set_get_delete(self, make: Callable[[], flow.WorkflowData]) -> None:
        data = make()
        data.set("a", "text")
        data["b"] = [1, {"k": None}]
        assert (data.get("a"), data["b"], data.get("c"), data.get("c", 5)) == ("text", [1, {"k": None}], None, 5)
        assert (data.has("a"), "b" in data, "c" in data, data.has("c")) == (True, True, False, False)
        data["a"] = "other"
        assert (data["a"], len(data), bool(data), sorted(data)) == ("other", 2, True, ["a", "b"])
        assert (data.delete("a"), data.delete("a"), data.has("a"), data.get("a")) == (True, False, False, None)
        del data["b"]
        assert (len(data), data.keys(), data.items(), bool(data)) == (0, [], [], True)
        data["b"] = "again"
        assert data.items() == [("b", "again")]

    def test_absent_keys_are_named_with_the_nearest(self, make: Callable[[], flow.WorkflowData]) -> None:
        data = make()
        data["users"] = 1
        asked: list[Callable[[], Any]] = [
            lambda: data["user"],
            lambda: data.__delitem__("user"),
            lambda: data.get_int("user"),
            lambda: data.update("user", lambda v: v),
        ]
        for ask in asked:
            with pytest.raises(flow.errors.MissingKey) as caught:
                ask()
            assert str(caught.value) == "no data is stored under 'user' (did you mean 'users'?)"
            assert isinstance(caught.value, KeyError)

    @pytest.mark.parametrize("key", [1, None, b"a", ("a",)])
    def test_keys_that_are_no_strings(self, make: Callable[[], flow.WorkflowData], key: Any) -> None:
        data = make()
        for write in (lambda: data.set(key, 1), lambda: data.increment(key), lambda: data.update(key, str, 1)):
            with pytest.raises(flow.errors.DataError, match="a key must be a string, not"):
                write()
        assert (data.get(key), data.has(key), data.delete(key), len(data)) == (None, False, False, 0)
        with pytest.raises(flow.errors.MissingKey):
            data[key]

    def test_a_key_is_a_string(self, make: Callable[[], flow.WorkflowData]) -> None:
        data, total = make(), flow.Key[int]("total")
        data[total] = 1
        assert (data["total"], data[total], data.get(total), total in data) == (1, 1, 1, True)
        assert (data.increment(total), data.update(total, lambda v: v * 5), data.get_int(total)) == (2, 10, 10)
        assert [type(key) for key in data] == [str]
        assert (data.delete(total), pickle.loads(pickle.dumps(total)), isinstance(total, str)) == (True, "total", True)

    def test_typed(self, make: Callable[[], flow.WorkflowData]) -> None:
        data = make()
        for key, value in {"int": 3, "float": 0.5, "str": "x", "bool": True, "none": None}.items():
            data[key] = value
        assert (data.get_int("int"), data.get_float("float"), data.get_str("str"), data.get_bool("bool")) == (
            3, 0.5, "x", True,
        )  # fmt: skip
        assert (data.get_float("int"), type(data.get_float("int"))) == (3.0, float)
        assert (data.get_int("no", 1), data.get_float("no", None), data.get_str("no", "y")) == (1, None, "y")
        wrong: list[tuple[Callable[..., Any], str, str]] = [
            (data.get_int, "bool", "key 'bool' holds a bool (True), not an int"),
            (data.get_int, "float", "key 'float' holds a float (0.5), not an int"),
            (data.get_int, "str", "key 'str' holds a str ('x'), not an int"),
            (data.get_float, "bool", "key 'bool' holds a bool (True), not a float"),
            (data.get_float, "str", "key 'str' holds a str ('x'), not a float"),
            (data.get_str, "int", "key 'int' holds an int (3), not a str"),
            (data.get_bool, "int", "key 'int' holds an int (3), not a bool"),
            (data.get_bool, "none", "key 'none' holds a NoneType (None), not a bool"),
        ]
        for getter, key, message in wrong:
            with pytest.raises(flow.errors.WrongType) as caught:
                getter(key)
            assert str(caught.value) == message
            with pytest.raises(flow.errors.WrongType):
                getter(key, 1)  # a default is for what is absent

    def test_increment_and_update(self, make: Callable[[], flow.WorkflowData]) -> None:
        data = make()
        assert [data.increment("n"), data.increment("n", 2), data.increment("n", -0.5)] == [1, 3, 2.5]
        assert data.update("list", lambda v: [*v, 1], []) == [1]
        assert data.update("list", lambda v: [*v, 2]) == [1, 2]
        assert data.update("text", lambda v: v + "b", "a") == "ab"
        assert dict(data.items()) == {"n": 2.5, "list": [1, 2], "text": "ab"}
        data["set"] = True
        with pytest.raises(flow.errors.WrongType, match="it holds a bool"):
            data.increment("set")
        del data["set"]
        for key, by, message in (
            ("text", 1, "key 'text' cannot be incremented: it holds a str ('ab'), not an int or a float"),
            ("n", True, "key 'n' cannot be incremented: by is a bool (True), not an int or a float"),
            ("new", "1", "key 'new' cannot be incremented: by is a str ('1'), not an int or a float"),
        ):
            with pytest.raises(flow.errors.WrongType) as caught:
                data.increment(key, by)  # type: ignore[arg-type]
            assert str(caught.value) == message
        with pytest.raises(ZeroDivisionError):
            data.update("n", lambda v: v / 0)
        assert (data["n"], "new" in data) == (2.5, False)

    def test_an_update_that_uses_the_store(self, make: Callable[[], flow.WorkflowData]) -> None:
        data = make()
        data["a"] = 1
        taken = []

        def fn(value: int) -> int:
            taken.append(data.snapshot())
            data["b"] = data.increment("c")
            return value + 1

        assert data.update("a", fn) == 2
        assert (dict(data.items()), dict(taken[0])) == ({"a": 2, "b": data["c"], "c": len(taken)}, {"a": 1})

    def test_an_update_whose_function_sets_the_same_key(self) -> None:
        data = flow.WorkflowData()
        data["a"] = 1
        calls = []

        def fn(value: int) -> int:
            calls.append(value)
            if len(calls) == 1:
                data["a"] = 10  # as another thread might
            return value + 1

        assert (data.update("a", fn), calls, data["a"]) == (11, [1, 10], 11)


class TestAllKeys:
    def test_for_each_may_change_the_store(self, make: Callable[[], flow.WorkflowData]) -> None:
        data, seen = make(), {}
        data["a"], data["b"] = 1, 2

        def fn(key: str, value: Any) -> None:
            seen[key] = value
            data[key + key] = value
            del data[key]

        data.for_each(fn)
        assert (seen, dict(data.items())) == ({"a": 1, "b": 2}, {"aa": 1, "bb": 2})

    def test_clear_and_reset(self, make: Callable[[], flow.WorkflowData]) -> None:
        data = make()
        for empty in (data.clear, data.reset, data.clear):
            data["a"] = 1
            before = data.snapshot()
            empty()
            assert (len(data), data.items(), dict(before)) == (0, [], {"a": 1})
            data["b"] = 2
            assert data.items() == [("b", 2)]
            empty()
            assert data.items() == []

    def test_snapshot_and_restore(self, make: Callable[[], flow.WorkflowData]) -> None:
        data = make()
        data["a"], data["b"] = "1", "2"
        first = data.snapshot()
        assert (first, first["a"], len(first), sorted(first), first.get("c")) == (
            {"a": "1", "b": "2"}, "1", 2, ["a", "b"], None,
        )  # fmt: skip
        assert (repr(first), repr(data)) == ("Snapshot(2 keys)", "WorkflowData(2 keys)")
        data["a"] = "3"
        data.delete("b")
        data.increment("n")
        second = data.snapshot()
        assert (dict(first), dict(second)) == ({"a": "1", "b": "2"}, {"a": "3", "n": 1})
        data.restore(first)
        assert dict(data.items()) == {"a": "1", "b": "2"}
        assert (data.delete("nope"), data.delete("a")) == (False, True)
        data.restore(second)
        data.update("n", lambda v: v + 1)
        assert (dict(data.items()), dict(first), dict(second)) == (
            {"a": "3", "n": 2}, {"a": "1", "b": "2"}, {"a": "3", "n": 1},
        )  # fmt: skip
        with pytest.raises(TypeError):
            first["a"] = 1  # type: ignore[index]
        with pytest.raises(flow.UsageError, match=r"restore takes what snapshot\(\) returned, not \{'a': 1\}"):
            data.restore({"a": 1})  # type: ignore[arg-type]

    def test_a_snapshot_fits_any_other_store(self, make: Callable[[], flow.WorkflowData]) -> None:
        source = flow.WorkflowData(flow.DataConfig(memory="arena"))
        source["a"], source["b"] = "x", [1]
        data = make()
        data["c"] = 1
        data.restore(source.snapshot())
        data["d"] = "new"
        assert dict(data.items()) == {"a": "x", "b": [1], "d": "new"}
        for memory in MEMORY:
            other = flow.WorkflowData(flow.DataConfig(memory=memory))
            other.restore(data.snapshot())
            other["e"] = 1
            assert dict(other.items()) == {"a": "x", "b": [1], "d": "new", "e": 1}
        assert (len(data), len(source)) == (3, 2)

    def test_clones(self, make: Callable[[], flow.WorkflowData]) -> None:
        data = make()
        data["a"] = "1"
        twin = data.clone()
        data["a"], twin["b"] = "2", "3"
        assert (dict(data.items()), dict(twin.items())) == ({"a": "2"}, {"a": "1", "b": "3"})
        for copied in (copy.copy(data), copy.deepcopy(data), pickle.loads(pickle.dumps(data))):
            copied["c"] = 1
            assert dict(copied.items()) == {"a": "2", "c": 1}
        assert dict(data.items()) == {"a": "2"}


class TestChildren:
    def test_reads_fall_through_and_writes_stay(self, config: flow.DataConfig) -> None:
        data = flow.WorkflowData(config)
        data["a"], data["b"] = 1, 2
        one, two = data.child(), data.child()
        inner = one.child()
        one["a"] = 10
        one.increment("b", 5)
        two.delete("b")
        inner["c"] = 3
        assert [dict(d.items()) for d in (data, one, two, inner)] == [
            {"a": 1, "b": 2}, {"a": 10, "b": 7}, {"a": 1}, {"a": 10, "b": 7, "c": 3},
        ]  # fmt: skip
        data["new"] = 4
        assert [d.get("new") for d in (one, two, inner)] == [4, 4, 4]
        inner.clear()
        assert (inner.items(), len(one)) == ([], 3)
        data["newer"] = 5
        assert inner.items() == [("newer", 5)]
        inner.reset()
        assert inner["a"] == 10
        inner.restore(two.snapshot())
        assert dict(inner.items()) == {"a": 1, "new": 4, "newer": 5}

    def test_nothing_is_made_before_the_first_write(self) -> None:
        child = flow.WorkflowData().child()
        assert isinstance(child, flow.WorkflowData)
        assert (child.get("a"), child.has("a"), child.delete("a"), len(child)) == (None, False, False, 0)
        assert child._own is None  # type: ignore[attr-defined]

    def test_a_child_keeps_any_object(self) -> None:
        child = flow.WorkflowData(flow.DataConfig(memory="arena")).child()
        child["f"] = print
        assert child["f"] is print

    def test_a_child_is_made_by_its_parent(self) -> None:
        with pytest.raises(flow.UsageError, match=r"made by data.child\(\)"):
            Overlay()


class TestValues:
    @pytest.mark.parametrize("memory", ["standard", "slots", *OWN])
    def test_any_object_is_kept_by_reference(self, memory: Any) -> None:
        class Hostile:
            def __reduce__(self) -> Any:
                raise RuntimeError("no")

            __repr__ = __hash__ = __reduce__  # type: ignore[assignment]

            def __eq__(self, other: object) -> bool:
                raise RuntimeError("no")

        data = flow.WorkflowData(flow.DataConfig(memory=memory))
        loop: list[Any] = []
        loop.append(loop)
        with socket.socket() as sock:
            for value in (lambda: 1, sock, Hostile(), loop, float("nan"), b"x", bytes(1_000)):
                data["v"] = value
                assert data["v"] is value
                assert data.snapshot()["v"] is value
                assert data.clone()["v"] is value
                assert (data.update("v", lambda v: v) is value, len(data)) == (True, 1)
        data["hostile"] = Hostile()
        for write in (data.to_json, data.to_msgpack):
            with pytest.raises(flow.errors.DataError, match="key 'hostile': a Hostile is no plain data"):
                write()
        with pytest.raises(flow.errors.WrongType, match="holds a Hostile .* without a usable repr"):
            data.get_int("hostile")

    def test_what_an_arena_refuses(self) -> None:
        data = flow.WorkflowData(flow.DataConfig(memory="arena"))
        loop: list[Any] = []
        loop.append(loop)
        deep: Any = 1
        for _ in range(100_000):
            deep = [deep]
        refused: list[tuple[Any, str]] = [
            ({"tags": (1,)}, "a tuple at ['tags'] would come back as a list: store list(...)"),
            ([{"a": {1}}], "a set at [0]['a'] would come back as a list: store sorted(...) or list(...)"),
            (bytearray(b"x"), "a bytearray would come back as bytes: store bytes(...)"),
            (print, "a builtin_function_or_method is no plain data (None, bool, int, float, str, bytes, list, dict)"),
            (
                {"x": [0, object()]},
                "an object at ['x'][1] is no plain data (None, bool, int, float, str, bytes, list, dict)",
            ),
            ({"x": {1: 2}}, "a dict at ['x'] has the key 1: keys must be str"),
            (loop, f"a list holds more than {MAX_DEPTH} levels, or itself"),
            (deep, f"a list holds more than {MAX_DEPTH} levels, or itself"),
            (flow.Key("subclass"), "a Key is no plain data (None, bool, int, float, str, bytes, list, dict)"),
        ]
        for value, message in refused:
            for write in (lambda v=value: data.set("user", v), lambda v=value: data.update("user", lambda _: v, 0)):
                with pytest.raises(flow.errors.DataError) as caught:
                    write()
                assert caught.value.faults == (f"key 'user': {message}",)
                assert str(caught.value) == f"data cannot be kept in an arena: key 'user': {message}"
        for value in (2**64, -(2**63) - 1, "\ud800", {"\ud800": 1}):
            with pytest.raises(flow.errors.DataError, match="'user'"):
                data.set("user", value)
        with pytest.raises(flow.errors.DataError):
            data.set("\ud800", 1)
        assert len(data) == 0

    def test_what_an_arena_keeps(self) -> None:
        data = flow.WorkflowData(flow.DataConfig(memory="arena"))
        deep: Any = 1
        for _ in range(MAX_DEPTH):
            deep = [deep]
        for value in (None, True, -(2**63), 2**64 - 1, 0.1, float("inf"), "é\x00", b"\xff", [], {}, deep, bytes(10**6)):
            data["v"] = value
            assert (data["v"], type(data["v"])) == (value, type(value))
        given = {"a": [1]}
        data["v"] = given
        given["a"].append(2)
        data["v"]["a"].append(3)
        assert data["v"] == {"a": [1]}  # bytes: nobody else can change them

    def test_restoring_what_an_arena_refuses_changes_nothing(self) -> None:
        source, data = flow.WorkflowData(), flow.WorkflowData(flow.DataConfig(memory="arena"))
        source["a"], source["b"], source["c"] = 1, (1,), [{2}]
        data["old"] = 1
        with pytest.raises(flow.errors.DataError) as caught:
            data.restore(source.snapshot())
        assert [fault.split(":")[0] for fault in caught.value.faults] == ["key 'b'", "key 'c'"]
        assert data.items() == [("old", 1)]


plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=5), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip
plain_dicts = st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=8), plain, max_size=5)


class TestBytes:
    @settings(max_examples=60, deadline=None)
    @given(values=plain_dicts, memory=st.sampled_from(MEMORY))
    def test_round_trips(self, values: dict[str, Any], memory: Any) -> None:
        config = flow.DataConfig(memory=memory, metrics="counting")
        data = flow.WorkflowData(config)
        for key, value in values.items():
            data[key] = value
        same = (
            flow.WorkflowData.from_json(data.to_json(), config),
            flow.WorkflowData.from_msgpack(data.to_msgpack(), config),
        )
        for back in same:
            assert dict(back.items()) == values
            assert repr(sorted(back.items())) == repr(sorted(values.items()))  # -0.0, 1 and True are told apart
            assert back.statistics().operations == {}

    def test_what_only_one_format_holds(self) -> None:
        data = flow.WorkflowData()
        for key, value in {"b": b"x", "nan": [float("nan")], "inf": float("-inf"), "big": 10**30, "ok": 1}.items():
            data[key] = value
        with pytest.raises(flow.errors.DataError) as caught:
            data.to_json()
        assert str(caught.value).splitlines() == [
            "data cannot be written as JSON: 3 faults",
            "  - key 'b': a bytes would come back as a str: use msgpack, or store its text",
            "  - key 'nan': the float nan at [0] would come back as null: JSON has no such number",
            "  - key 'inf': the float -inf would come back as null: JSON has no such number",
        ]
        with pytest.raises(flow.errors.DataError) as caught:
            data.to_msgpack()
        assert caught.value.faults == ("key 'big': an int of 100 bits is too large for msgpack: store it as a str",)
        assert pickle.loads(pickle.dumps(caught.value)).faults == caught.value.faults
        del data["big"]
        back = flow.WorkflowData.from_msgpack(data.to_msgpack())
        assert (back["b"], back["inf"], str(back["nan"])) == (b"x", float("-inf"), "[nan]")
        big = flow.WorkflowData()
        big["big"] = -(10**4_000)
        assert flow.WorkflowData.from_json(big.to_json())["big"] == -(10**4_000)

    def test_all_faults_at_once(self) -> None:
        data = flow.WorkflowData()
        data["text"], data["ok"], data["\ud800"] = ["\ud800"], "fine", 1
        data["keys"] = {"a": [{"\ud800": 1}]}
        for write, form in ((data.to_json, "JSON"), (data.to_msgpack, "msgpack")):
            with pytest.raises(flow.errors.DataError) as caught:
                write()
            assert caught.value.what == f"data cannot be written as {form}"
            assert caught.value.faults == (
                "key 'text': a str at [0] holds a lone surrogate, which UTF-8 has no bytes for",
                "key '\\ud800': holds a lone surrogate, which UTF-8 has no bytes for",
                "key 'keys': a key of the dict at ['a'][0] holds a lone surrogate, which UTF-8 has no bytes for",
            )
        data.clear()
        data["huge"], data["wide"] = 10**5_000, {"x": [2**64] * 3}
        with pytest.raises(flow.errors.DataError) as caught:
            data.to_json()
        assert caught.value.faults == ("key 'huge': an int of 16610 bits is too large for JSON: store it as a str",)
        with pytest.raises(flow.errors.DataError) as caught:
            data.to_msgpack()
        assert (
            caught.value.faults[1]
            == "key 'wide': an int at ['x'][0] of 65 bits is too large for msgpack: store it as a str"
        )

    @pytest.mark.parametrize("data", [b"", b"[1]", b"{", b'{"a": }', b"\xff", None, b"[" * 20_000])
    def test_what_is_no_store(self, data: Any) -> None:
        with pytest.raises(flow.errors.DataError, match="data cannot be read as JSON: it must be one object"):
            flow.WorkflowData.from_json(data)
        with pytest.raises(flow.errors.DataError, match="data cannot be read as msgpack"):
            flow.WorkflowData.from_msgpack(data)
        with pytest.raises(flow.errors.DataError):
            flow.WorkflowData.from_msgpack(msgspec.msgpack.encode({1: 2}))


class TestStatistics:
    def work(self, data: flow.WorkflowData) -> None:
        data["a"] = 1
        data.set("b", "text")
        data.get("a")
        data["a"]
        data.get("nope")
        with pytest.raises(KeyError):
            data["nope"]
        "a" in data  # noqa: B015
        data.has("b")
        data.increment("a")
        data.update("b", str.upper)
        data.delete("b")

    DONE = {"set": 2, "get": 4, "has": 2, "increment": 1, "update": 1, "delete": 1}

    @pytest.mark.parametrize("memory", MEMORY)
    @pytest.mark.parametrize("metrics", ["counting", "timing"])
    def test_everything_is_counted(self, memory: Any, metrics: Any) -> None:
        data = flow.WorkflowData(flow.DataConfig(memory=memory, metrics=metrics))
        self.work(data)
        counted = data.child().statistics()
        assert (counted.operations, counted.hits, counted.misses, counted.keys) == (self.DONE, 2, 2, 1)
        assert (counted.memory, counted.metrics) == (_named(memory), metrics)
        assert (counted.slow, counted.slow_operations) == (0, ())
        assert ((counted.arena is not None), counted.interning) == (memory == "arena", None)
        assert counted.table_bytes > 0
        if metrics == "timing":
            for operation, latency in counted.latency.items():
                assert latency.timed == self.DONE[operation]
                assert 0 < latency.p50 <= latency.p99 <= latency.max
                assert 0 < latency.mean <= latency.max
        assert data.clone().statistics().operations == {}
        data.reset()
        fresh = data.statistics()
        assert (fresh.operations, fresh.hits, fresh.misses, fresh.latency, fresh.keys) == ({}, 0, 0, {}, 0)
        with pytest.raises(AttributeError):
            fresh.hits = 1  # type: ignore[misc]

    def test_off_counts_nothing(self) -> None:
        data = flow.WorkflowData(flow.DataConfig.preset("metrics_disabled"))
        self.work(data)
        assert (data.statistics().operations, data.statistics().keys) == ({}, 1)

    def test_a_sample_is_of_the_right_size_and_mixture(self) -> None:
        data = flow.WorkflowData(flow.DataConfig(metrics="sampled", sample_rate=0.01))
        for _ in range(20_000):  # in turn: every hundredth operation would always be a get
            data.set("a", 1)
            data.get("a")
            data.get("b")
            data.has("a")
        found = data.statistics()
        assert {name: round(count, -3) for name, count in found.operations.items()} == pytest.approx(
            {"set": 20_000, "get": 40_000, "has": 20_000}, rel=0.15
        )
        assert sum(latency.timed for latency in found.latency.values()) == pytest.approx(800, rel=0.1)
        assert (found.misses, found.hits) == (pytest.approx(20_000, rel=0.2), pytest.approx(20_000, rel=0.2))

    @pytest.mark.parametrize("rate", [0.3, 0.03, 0.002])  # a gap is less than a row of ticks, about one, several
    def test_a_sample_is_of_the_right_size_at_any_rate(self, rate: float) -> None:
        data = flow.WorkflowData(flow.DataConfig(metrics="sampled", sample_rate=rate))
        for i in range(50_000):
            data.set("a", i)
            assert data.get("a") == i
        found = data.statistics()
        assert sum(latency.timed for latency in found.latency.values()) == pytest.approx(100_000 * rate, rel=0.15)
        assert found.operations == {name: pytest.approx(50_000, rel=0.2) for name in ("set", "get")}

    @pytest.mark.parametrize("memory", MEMORY)
    def test_snapshots_and_restores_do_not_change_the_sample(self, memory: Any) -> None:
        """They take the ticks away, which know where the values are; the countdown goes on where it was."""
        data = flow.WorkflowData(flow.DataConfig(memory=memory, metrics="sampled", sample_rate=0.01))
        for i in range(4_000):
            data.set("a", i)
            before = data.snapshot()
            data.set("a", -1)
            data.set("b", i)
            assert (before["a"], "b" in before, data.get("a")) == (i, False, -1)
            data.restore(before)
            assert (data.get("a"), data.get("b")) == (i, None)
            data.clear() if i % 2 else data.delete("a")  # of shared values
        found = data.statistics()
        assert sum(latency.timed for latency in found.latency.values()) == pytest.approx(260, rel=0.1)
        assert (found.operations["set"], found.operations["get"]) == pytest.approx((12_000, 12_000), rel=0.25)

    def test_a_sample_of_everything_is_everything(self) -> None:
        data = flow.WorkflowData(flow.DataConfig(metrics="sampled", sample_rate=1.0))
        self.work(data)
        assert (data.statistics().operations, data.statistics().misses) == (self.DONE, 2)

    def test_what_is_not_sampled_works_alike(self) -> None:
        data = flow.WorkflowData(flow.DataConfig(metrics="sampled", sample_rate=1e-9))
        self.work(data)
        data.snapshot()
        data[flow.Key("c")] = 1
        assert (dict(data.items()), data.statistics().operations) == ({"a": 2, "c": 1}, {})

    def test_slow_operations(self, monkeypatch: pytest.MonkeyPatch) -> None:
        now = itertools.count()
        monkeypatch.setattr(metered, "perf_counter", lambda: next(now) ** 2)  # each takes longer than the last
        data = flow.WorkflowData(flow.DataConfig(metrics="timing", slow_after=40.0))
        for i in range(10 + SLOW_KEPT + 5):
            data[f"k{i}"] = i  # from (2i)**2 to (2i+1)**2
        found = data.statistics()
        assert (found.slow, len(found.slow_operations)) == (21, SLOW_KEPT)
        last = found.slow_operations[-1]
        assert (last.operation, last.key, last.seconds) == ("set", "k30", 121)
        assert found.latency["set"].max == 121

    def test_percentiles_are_of_the_recent(self) -> None:
        recorder = Recorder()
        for seconds in [1e9, *range(1, RECENT + 1)]:
            recorder.add(seconds)
        found = recorder.latency()
        assert (found.timed, found.max, found.p50, found.p99) == (RECENT + 1, 1e9, 513, 1014)
        assert found.mean == (1e9 + RECENT * (RECENT + 1) / 2) / (RECENT + 1)

    def test_interning(self) -> None:
        data = flow.WorkflowData(flow.DataConfig.preset("production"))
        for i in range(100):
            data[f"k{i % 10}"] = f"value {i % 2}"
        found = data.statistics().interning
        assert (found.size, found.misses, found.hits) == (2, 2, 98)
        assert data["k0"] is data["k2"]
        assert data.clone().statistics().interning.size == 2  # shared

    def test_native_interning_keeps_one_object(self) -> None:
        import sys

        data = flow.WorkflowData(flow.DataConfig(interning="native", intern="both"))
        data["".join(["a", "b"])] = "".join(["c", "d e"])
        data.update("ef", lambda v: v + " f", "".join(["c", "d e"]))
        assert (data.keys()[0] is sys.intern("ab"), data["ab"] is sys.intern("cd e")) == (True, True)
        assert data["ef"] is sys.intern("cd e f")

    def test_texts_in_an_arena_are_bounded(self) -> None:
        config = flow.DataConfig(interning="arena", intern_capacity=2, intern_max_length=5)
        data = flow.WorkflowData(config)
        for i, text in enumerate(["aa", "bb", "aa", "cc", "too long", "bb"]):
            data[str(i)] = text
        assert [value for _, value in data.items()] == ["aa", "bb", "aa", "cc", "too long", "bb"]
        assert data.statistics().interning.records == 2

    def test_waiting_for_the_lock_is_counted(self) -> None:
        import threading

        lock, held, wants = MeteredLock(), threading.Event(), threading.Event()

        def other() -> None:
            with lock:
                held.set()
                wants.wait(10)

        thread = threading.Thread(target=other)
        thread.start()
        held.wait(10)
        threading.Timer(0.01, wants.set).start()
        with lock, lock:
            pass
        thread.join()
        assert (lock.waits, lock.seconds > 0) == (1, True)


class TestRun:
    def test_a_store_without_a_run(self, make: Callable[[], flow.WorkflowData]) -> None:
        data = make()
        assert (dict(data.outputs), dict(data.statuses)) == ({}, {})
        with pytest.raises(flow.UsageError, match=r"is_runnable\('a'\): this store belongs to no run"):
            data.is_runnable("a")

    def test_a_store_shows_its_run(self, make: Callable[[], flow.WorkflowData]) -> None:
        class View:
            outputs = {"a": 1}
            statuses = {"a": flow.Status.COMPLETED}

            def is_runnable(self, node: str) -> bool:
                return node == "b"

        data, view = make(), View()
        data.attach(view)
        assert data.outputs is view.outputs
        assert data.clone().child().statuses is view.statuses
        assert (data.is_runnable("a"), data.is_runnable("b")) == (False, True)
        data.attach(None)
        assert data.outputs == {}

    def test_reset_lets_go_of_the_run(self) -> None:
        data = flow.WorkflowData()
        data.attach(object())  # type: ignore[arg-type]
        data.reset()
        assert data.outputs == {}


class TestConfig:
    def test_every_fault_is_listed(self) -> None:
        with pytest.raises(flow.errors.ConfigError) as caught:
            flow.DataConfig(
                memory="disk", metrics="some", interning="x", sample_rate=0, slow_after=-1, locked=1,  # type: ignore[arg-type]
                intern=1, intern_capacity=0, intern_max_length=True, block_size=1.5, direct_reads="no",  # type: ignore[arg-type]
            )  # fmt: skip
        named = [fault.split()[0] for fault in caught.value.faults]
        assert set(named) == {
            "memory", "metrics", "interning", "intern_capacity", "intern_max_length", "block_size", "intern",
            "direct_reads", "locked", "sample_rate", "slow_after",
        }  # fmt: skip

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"slow_after": 1.0}, "slow_after needs metrics 'timing' or 'sampled'"),
            ({"direct_reads": True}, "direct_reads needs metrics='off'"),
            ({"direct_reads": True, "metrics": "off", "memory": "slots"}, "direct_reads needs memory='standard'"),
            ({"memory": "arena", "interning": "pool"}, "memory='arena' needs interning='none'"),
            ({"interning": "arena", "intern": "both"}, "interning='arena' is for the string values"),
            ({"interning": "arena", "memory": "slots"}, "memory='standard'"),
            ({"memory": "arena", "locked": False}, "locked=False does not go with an arena"),
            ({"memory": "arena", "block_size": 10}, "block_size must be from 64 to 1,073,741,824 bytes"),
        ],
    )
    def test_pairs_that_make_no_sense(self, settings: dict[str, Any], message: str) -> None:
        with pytest.raises(flow.errors.ConfigError, match=message) as caught:
            flow.DataConfig(**settings)
        assert len(caught.value.faults) == 1

    def test_replace_and_presets(self) -> None:
        config = flow.DataConfig.preset("production")
        assert (config.metrics, config.sample_rate, config.interning, config.intern) == (
            "sampled",
            0.01,
            "pool",
            "values",
        )
        assert config.replace(metrics="timing").metrics == "timing"
        assert flow.DataConfig.preset("default") == flow.DataConfig()
        with pytest.raises(flow.errors.ConfigError, match="no preset is called 'prod'"):
            flow.DataConfig.preset("prod")
        with pytest.raises(flow.errors.ConfigError, match="no preset is called"):
            flow.DataConfig.preset([])  # type: ignore[arg-type]
        with pytest.raises(flow.errors.ConfigError, match="no setting is called 'memry'"):
            config.replace(memry="slots")

    def test_presets_differ(self) -> None:
        from flow.config import DATA_PRESETS

        made = [flow.DataConfig.preset(name) for name in DATA_PRESETS]
        assert all(a != b for a, b in itertools.combinations(made, 2))

    def test_it_maps_to_flat_toml(self) -> None:
        text = msgspec.json.encode(flow.DataConfig.preset("production"))
        assert msgspec.json.decode(text, type=flow.DataConfig) == flow.DataConfig.preset("production")


class TestKinds:
    def test_no_operation_is_forgotten(self) -> None:
        inherited = {"child", "for_each", "keys", "outputs", "statuses", "is_runnable"}
        for kind in (Store, Overlay):
            for name, member in [*vars(ReadableData).items(), *vars(flow.WorkflowData).items()]:
                code = getattr(member, "__code__", None)
                if code is not None and "NotImplementedError" in code.co_names and name not in inherited:
                    assert getattr(kind, name) is not member, name

    def test_what_is_off_is_not_there(self) -> None:
        off = flow.WorkflowData(flow.DataConfig.preset("metrics_disabled"))
        assert type(off) in (Store, *[c for c in Store.__subclasses__() if not kinds.GIL])
        assert type(flow.WorkflowData()) is type(flow.WorkflowData())

    def test_on_a_free_threaded_build_stores_lock(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(kinds, "GIL", False)
        assert kinds.Locked in kinds.store_class(flow.DataConfig()).__mro__
        assert kinds.Locked not in kinds.store_class(flow.DataConfig(locked=False)).__mro__

    def test_a_direct_get_is_the_dicts_own(self) -> None:
        data = flow.WorkflowData(flow.DataConfig.preset("read_optimized"))
        get = data.get
        data["a"] = 1
        shot = data.snapshot()
        data["a"] = 2
        assert (get("a"), get.__qualname__) == (2, "dict.get")
        data.restore(shot)
        assert get("a") == 1
        data.reset()
        assert get("a", 0) == 0


class TestRaces:
    """What another thread may do in between, done in between."""

    def test_a_swap_after_another_write(self) -> None:
        data = flow.WorkflowData()
        data["a"] = 1
        swap = data._swap  # type: ignore[attr-defined]
        assert (swap("a", 2**70, 5), swap("a", flow.types.MISSING, 5), swap("b", 1, 5)) == (False, False, False)
        assert data.items() == [("a", 1)]

    def test_an_overlay_snapshot_is_not_its_own_dict(self) -> None:
        child = flow.WorkflowData().child()
        child["a"] = 1
        shot = child.snapshot()
        child["a"] = 2
        assert shot["a"] == 1
        with pytest.raises(flow.UsageError, match="restore takes"):
            child.restore(5)  # type: ignore[arg-type]


class TestLayout:
    def test_stores_share_numbers(self) -> None:
        layout = flow.memory.Layout(["a", flow.Key("b")])
        config = flow.DataConfig(memory="slots")
        one, two = flow.WorkflowData(config, layout), flow.WorkflowData(config, layout)
        one["c"] = 3
        one["a"] = 1
        assert (len(layout), repr(layout), layout.slot("c")) == (3, "Layout(3 keys)", 2)
        assert (one.items(), two.items(), two.get("c"), "c" in two) == ([("a", 1), ("c", 3)], [], None, False)
        assert two.delete("c") is False
        two["c"] = 5
        two.increment("d")
        assert (two.items(), one.get("d")) == ([("c", 5), ("d", 1)], None)
        one.reset()
        assert (len(layout), one.items()) == (4, [])
        with pytest.raises(flow.errors.DataError):
            flow.memory.Layout([1])  # type: ignore[list-item]

    def test_a_swap_of_what_has_changed(self) -> None:
        values = SlotValues(flow.memory.Layout())
        values["a"] = old = object()
        assert (values.swap("a", object(), 1), values.swap("a", old, 1), values["a"]) == (False, True, 1)
