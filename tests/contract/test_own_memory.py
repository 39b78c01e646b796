"""DataConfig(memory=...) with a callable: what is asked of its mappings, and what is refused. See also test_data.py."""

from __future__ import annotations

import copy
import pickle
import threading
from abc import abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from conftest import named
from memories import Copied, Pickled, Values

import flow
from flow.config.writing import to_toml
from flow.tuning.candidates import factors


def store(memory: Any = Values, **settings: Any) -> flow.WorkflowData:
    return flow.WorkflowData(flow.DataConfig(memory=memory, **settings))


def counted(cls: type[Any]) -> tuple[Callable[[], Any], list[Any]]:
    """Return what makes instances of ``cls``, and the list of those made."""
    made: list[Any] = []

    def make() -> Any:
        made.append(cls())
        return made[-1]

    return make, made


class TestUse:
    def test_a_run_keeps_its_data_there(self) -> None:
        dag = flow.Dag("d")

        @dag.node
        def count(ctx: flow.Context) -> int:
            ctx.data["rows"] = [1]
            return int(ctx.data.increment("n", 2))

        make, made = counted(Values)
        result = flow.run(dag, config=flow.Config(data=flow.DataConfig(memory=make)))
        assert (result["count"], result.data.items()) == (2, [("rows", [1]), ("n", 2)])
        assert [one.kept for one in made] == [{"rows": [1], "n": 2}]

    @pytest.mark.parametrize("memory", [dict, OrderedDict, partial(Values), lambda: Values()], ids=named)
    def test_any_callable_makes_it(self, memory: Any) -> None:
        data = store(memory)
        data["a"] = 1
        shot = data.snapshot()
        assert (data.increment("a"), dict(shot), data.clone().items()) == (2, {"a": 1}, [("a", 2)])

    def test_statistics_name_it(self) -> None:
        assert [store(memory).statistics().memory for memory in (Values, partial(Values))] == ["Values", "partial"]
        assert store(lambda: Values()).statistics().memory.endswith("<lambda>")

    def test_what_a_read_returns_need_not_be_what_was_stored(self) -> None:
        """Values are told apart by identity elsewhere: such a store would call the function again and again."""
        data, calls = store(Pickled, locked=False), []
        data["a"] = [1]

        def more(value: list[int]) -> list[int]:
            calls.append(value)
            return [*value, 2]

        assert (data.update("a", more), calls, data["a"]) == ([1, 2], [[1]], [1, 2])
        assert [data.increment("n"), data.increment("n", 0.5)] == [1, 1.5]

    def test_what_it_raises_comes_as_it_is(self) -> None:
        class Refusing(Values):
            def refuse(self, *_: object) -> Any:
                raise TypeError("mine")

            __getitem__ = __setitem__ = __delitem__ = __contains__ = refuse

        for metrics in ("off", "counting", "sampled", "timing"):
            data = store(Refusing, metrics=metrics, sample_rate=0.5)
            child = data.child()
            for _ in range(2):
                for ask in (
                    lambda: data.get("a"), lambda: data["a"], lambda: data.set("a", 1), lambda: data.delete("a"),
                    lambda: data.has("a"), lambda: data.increment("a"), lambda: data.update("a", str, 1),
                    lambda: child.get("a"), lambda: child.has("a"), lambda: child["a"],
                ):  # fmt: skip
                    with pytest.raises(TypeError, match="^mine$") as caught:
                        ask()
                    assert not isinstance(caught.value, flow.FlowError)
                data.snapshot()  # and once it is shared

    def test_a_key_that_cannot_be_looked_up(self) -> None:
        data = store()
        for ask in (data.get, data.has, data.delete, data.__getitem__, data.child().get, data.child().has):
            with pytest.raises(flow.errors.DataError, match=r"a key must be a string, not \[1\]"):
                ask([1])  # type: ignore[operator]

    def test_copies_and_pickles(self) -> None:
        data = store(Copied)
        data["a"] = [1]
        for other in (copy.copy(data), copy.deepcopy(data), pickle.loads(pickle.dumps(data))):
            other["b"] = 2
            assert (type(other), other.statistics().memory, dict(other.items())) == (
                type(data), "Copied", {"a": [1], "b": 2},
            )  # fmt: skip
        assert pickle.loads(pickle.dumps(data.snapshot())) == {"a": [1]} == dict(data.items())


class TestSharing:
    def test_nothing_is_copied_before_a_write(self) -> None:
        copies = []

        class Counted(Copied):
            def copy(self) -> Counted:
                copies.append(self)
                return super().copy()  # type: ignore[return-value]

        data = store(Counted)
        data["a"] = 1
        shot, twin = data.snapshot(), data.clone()
        data.restore(shot)
        assert (data["a"], twin["a"], copies) == (1, 1, [])
        data["a"] = 2
        assert (data["a"], twin["a"], shot["a"], len(copies)) == (2, 1, 1, 1)
        data["a"] = 3
        assert len(copies) == 1

    def test_without_copy_a_new_one_is_filled(self) -> None:
        make, made = counted(Values)
        data = store(make)
        data["a"], data["b"] = 1, 2
        shot = data.snapshot()
        assert len(made) == 1
        data["a"] = 3
        assert [one.kept for one in made] == [{"a": 1, "b": 2}, {"a": 3, "b": 2}]
        assert dict(shot) == {"a": 1, "b": 2}

    def test_a_copy_of_another_type_is_none(self) -> None:
        class Upper(dict[str, Any]):
            """Its ``copy`` is a dict's, and makes a plain one."""

            def __getitem__(self, key: str) -> Any:
                return str(super().__getitem__(key)).upper()

        data = store(Upper)
        data["a"] = "x"
        data.snapshot()
        data["b"] = "y"
        assert (data["a"], data["b"]) == ("X", "Y")

    def test_a_copy_that_is_the_mapping_itself_is_none(self) -> None:
        class Same(Values):
            def copy(self) -> Same:
                return self

        data = store(Same)
        data["a"] = 1
        shot = data.snapshot()
        data["a"] = 2
        assert (shot["a"], data["a"]) == (1, 2)

    def test_another_callables_mapping_is_not_shared(self) -> None:
        class Bounded(Values):
            most = 1

            def __setitem__(self, key: str, value: Any) -> None:
                if len(self) >= self.most and key not in self:
                    raise OverflowError(key)
                super().__setitem__(key, value)

        def wide() -> Bounded:
            values = Bounded()
            values.most = 3
            return values

        small, large = store(Bounded), store(wide)
        small["a"] = 1
        large.restore(small.snapshot())
        large["b"], large["c"] = 2, 3
        with pytest.raises(OverflowError):
            small.restore(large.snapshot())  # which holds more than it can
        assert (small.items(), len(large)) == ([("a", 1)], 3)

    def test_a_recycled_store_keeps_its_mapping(self) -> None:
        make, made = counted(Values)
        pool = flow.WorkflowData.pool(flow.DataConfig(memory=make))
        for _ in range(3):
            with pool.acquire() as data:
                data["a"] = 1
        assert (len(made), made[0].kept) == (1, {})


class TestLock:
    @staticmethod
    def held(**settings: Any) -> dict[str, bool]:
        """Tell during which operations another thread finds the store's lock taken."""
        found: dict[str, bool] = {}
        now = ""

        def look() -> None:
            free = data._lock.acquire(blocking=False)
            if free:
                data._lock.release()
            found[now] = found.get(now, False) or not free

        class Looking(Values):
            def __getitem__(self, key: str) -> Any:
                in_a_thread()
                return super().__getitem__(key)

            def __iter__(self) -> Iterator[str]:
                in_a_thread()
                return super().__iter__()

            def __setitem__(self, key: str, value: Any) -> None:
                in_a_thread()
                super().__setitem__(key, value)

        def in_a_thread() -> None:
            thread = threading.Thread(target=look)
            thread.start()
            thread.join(30)

        data = store(Looking, metrics="off", **settings)
        for now, work in {
            "set": lambda: data.set("a", 1), "get": lambda: data.get("a"), "[]": lambda: data["a"],
            "has": lambda: data.has("a"), "increment": lambda: data.increment("a"),
            "update": lambda: data.update("a", str), "keys": data.keys, "items": data.items,
        }.items():  # fmt: skip
            work()
        return found

    def test_every_operation_takes_it(self) -> None:
        assert (len(self.held()), set(self.held().values())) == (8, {True})
        assert self.held() == self.held(locked=True)

    def test_unlocked_only_what_reads_and_writes_does(self) -> None:
        assert {name for name, taken in self.held(locked=False).items() if taken} == {"increment", "update"}


class Unfinished(Values):
    @abstractmethod
    def copy(self) -> Values: ...


class ReadOnly(Mapping[str, Any]):
    def __getitem__(self, key: str) -> Any: ...
    def __iter__(self) -> Iterator[str]: ...  # type: ignore[empty-body]
    def __len__(self) -> int: ...  # type: ignore[empty-body]


def needs(path: str, *, size: int) -> Values:
    return Values()


async def asynchronous() -> Values:
    return Values()


class TestRefused:
    """As soon as it can be known."""

    @pytest.mark.parametrize(
        ("memory", "message"),
        [
            (5, r"memory must be one of 'standard', 'slots', 'arena', or \(not in a file\) a callable .*, not 5"),
            (Values(), r"memory must be one of .*, not <memories.Values object"),
            (needs, r"memory must be callable without arguments, and <function needs.* is not: missing .*'path'"),
            (partial(needs, "x"), "memory must be callable without arguments, .*'size'"),
            (lambda path: {}, "memory must be callable without arguments, .*'path'"),
            (asynchronous, "memory is async, and nothing awaits what it returns: give a plain function"),
            (list, "memory must make a mutable mapping .*, which <class 'list'> is not"),
            (ReadOnly, "memory must make a mutable mapping .*, which <class '.*ReadOnly'> is not"),
            (Unfinished, "memory must make a mutable mapping, and <class '.*Unfinished'> lacks copy"),
        ],
        ids=named,
    )
    def test_in_the_config(self, memory: Any, message: str) -> None:
        with pytest.raises(flow.errors.ConfigError, match=message) as caught:
            flow.DataConfig(memory=memory)
        assert len(caught.value.faults) == 1
        with pytest.raises(flow.errors.ConfigError) as caught:
            flow.DataConfig(memory=memory, block_size=1)
        assert len(caught.value.faults) == 2

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"direct_reads": True, "metrics": "off"}, "direct_reads needs memory='standard'"),
            ({"interning": "arena"}, "interning='arena' is for the string values of a dict"),
        ],
    )
    def test_what_does_not_go_with_it(self, settings: dict[str, Any], message: str) -> None:
        with pytest.raises(flow.errors.ConfigError, match=message) as caught:
            flow.DataConfig(memory=Values, **settings)
        assert len(caught.value.faults) == 1

    @pytest.mark.parametrize("make", [flow.WorkflowData, flow.WorkflowData.pool])
    def test_a_layout(self, make: Callable[..., object]) -> None:
        message = "layout is for memory='slots', not for the mapping that <class 'memories.Values'> makes"
        with pytest.raises(flow.UsageError, match=message):
            make(flow.DataConfig(memory=Values), flow.memory.Layout())

    @pytest.mark.parametrize(
        ("memory", "message"),
        [
            (lambda: None, "memory must return a mutable mapping .*<lambda>.* returned a NoneType"),
            (lambda: ReadOnly(), "memory must return a mutable mapping .* returned a ReadOnly"),
            (lambda: {"a": 1, "b": 2}, "memory must return an empty mapping, .* returned one of 2 keys"),
            (lambda: asynchronous(), "memory is async, and nothing awaits what it returns"),
        ],
    )
    def test_by_the_store(self, memory: Any, message: str) -> None:
        with pytest.raises(flow.errors.ConfigError, match=message) as caught:
            store(memory)
        assert len(caught.value.faults) == 1

    def test_the_same_mapping_again(self) -> None:
        values = Values()
        config = flow.DataConfig(memory=lambda: values)
        flow.WorkflowData(config)["a"] = 1
        with pytest.raises(flow.errors.ConfigError, match="an empty mapping, a new one at each call"):
            flow.WorkflowData(config)

    def test_what_it_raises_is_noted(self) -> None:
        with pytest.raises(ZeroDivisionError) as caught:
            store(lambda: 1 / 0)
        assert "the memory of a DataConfig, which is called without arguments" in caught.value.__notes__[0]

    def test_in_a_file(self, tmp_path: Path) -> None:
        file = tmp_path / "flow.toml"
        file.write_text('[flow]\n[flow.data]\nmemory = "Values"\n')
        with pytest.raises(
            flow.errors.ConfigError, match=r"line 3: memory must be one of .* \(not in a file\) a callable"
        ):
            flow.Config.load(file)

    def test_it_is_not_written(self, tmp_path: Path) -> None:
        config = flow.Config(limit=3, data=flow.DataConfig(memory=Values, metrics="off"))
        file = tmp_path / "flow.toml"
        file.write_text(to_toml(config))
        assert '[flow.data]\nmetrics = "off"\n# memory: not written, give to flow.DataConfig\n' in file.read_text()
        assert flow.Config.load(file) == flow.Config(limit=3, data=flow.DataConfig(metrics="off"))


def test_tuning_does_not_replace_it() -> None:
    dag = flow.Dag("d")
    dag.add("a", lambda: 1)
    config = flow.Config(data=flow.DataConfig(memory=Values))
    [data] = [factor for factor in factors(dag.compile(), config, "throughput", True) if factor.name == "data"]
    assert {option["data"].memory for option in data.options} == {Values}
