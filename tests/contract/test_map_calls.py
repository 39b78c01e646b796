"""What a map passes to its function, its options, what it refuses, and how it is typed."""

from __future__ import annotations

import functools
import operator
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from conftest import ROOT
from map_cases import FUNCTIONS, adouble, double, failure_of, go, mapped

import flow
from flow import Config, Context
from flow.types import NodeRef


def xs() -> list[int]:
    return [1, 2]


class Holder:
    def items(self) -> list[int]:
        return [3, 4]


HOLDER = Holder()


class TestParameters:
    """Which parameter gets what."""

    def extended(self, fn: Any, **options: Any) -> Any:
        dag = flow.Dag("d")
        dag.add("xs", lambda: [10, 20])
        dag.add("scale", lambda: 3)
        dag.map("m", fn, over="xs", **options)
        return flow.run(dag, {"base": 100} if options.get("needs") is None else None)["m"]

    def test_any_order(self) -> None:
        def one(index: int, scale: int, item: int, base: int, ctx: Context, more: int = 7) -> Any:
            return (index, scale, item, base, ctx.index, ctx.item, more)

        def two(x: int, *, base: int, index: int, ctx: Context, scale: int = 9, more: int = 7) -> Any:
            return (index, scale, x, base, ctx.index, ctx.item, more)

        def three(ctx: Context, x: int, base: int, scale: int, *, index: int) -> Any:
            return (index, scale, x, base, ctx.index, ctx.item, 7)

        expected = [(0, 3, 10, 100, 0, 10, 7), (1, 3, 20, 100, 1, 20, 7)]
        for fn in (one, two, three):
            assert self.extended(fn) == expected

    def test_key_is_the_index_where_there_are_no_keys(self) -> None:
        assert go(lambda x, key: (key, x), ["a", "b"]) == [(0, "a"), (1, "b")]
        assert go(lambda x, key: (key, x), ["a", "b"], key=str.upper) == {"A": ("A", "a"), "B": ("B", "b")}

    def test_needs_rename(self) -> None:
        assert self.extended(lambda x, factor: x * factor, needs={"factor": "scale"}) == [30, 60]

    def test_the_whole_source_under_its_own_name(self) -> None:
        assert go(lambda item, xs: (item, len(xs)), [5, 6]) == [(5, 2), (6, 2)]
        assert go(lambda xs: xs + 1, [5, 6]) == [6, 7]  # the first parameter gets the item, whatever its name

    def test_star_args_and_keyword_only(self) -> None:
        def fn(*parts: int, index: int, scale: int = 3, ctx: Context) -> Any:
            return parts, index, scale, ctx.index

        assert go(fn, [1, 2]) == [((1,), 0, 3, 0), ((2,), 1, 3, 1)]
        assert go(fn, [1, 2], [3, 4]) == [((1, 3), 0, 3, 0), ((2, 4), 1, 3, 1)]
        assert go(lambda *, item: item, [1]) == [1]

    def test_positional_only_and_defaults(self) -> None:
        def fn(x: int, y: int = 5, /, z: int = 6) -> tuple[int, int, int]:
            return x, y, z

        assert go(fn, [1]) == [(1, 5, 6)]
        assert go(fn, [1], inputs={"z": 0}) == [(1, 5, 0)]
        assert go(fn, [1], [2]) == [(1, 2, 6)]

    def test_builtins_methods_partials_callables(self, backend: str) -> None:
        class Scale:
            def __init__(self, by: int) -> None:
                self.by = by

            def times(self, x: int) -> int:
                return self.by * x

            async def atimes(self, x: int) -> int:
                return self.by * x

            def __call__(self, x: int) -> int:
                return self.by * x

        config = Config(backend=backend)  # type: ignore[arg-type]
        five = Scale(5)
        plain: list[Any] = [five.times, five.atimes, five, partial(operator.mul, 5), partial(five.times)]
        for fn in plain:
            assert go(fn, [1, 2], config=config) == [5, 10], fn
        assert go(len, ["a", "bcd"], config=config) == [1, 3]
        assert go(str, [1, None], config=config) == ["1", "None"]
        assert go(int, ["7"], config=config) == [7]
        assert go(str.upper, ["a"], config=config) == ["A"]
        assert go(partial(pow, exp=2), [3], config=config) == [9]

    def test_a_wrapper_of_an_async_function(self) -> None:

        @functools.wraps(adouble)
        def wrapped(x: int) -> Any:
            return adouble(x)

        assert go(wrapped, [1, 2]) == [2, 4]

    def test_no_parameter_for_the_item(self) -> None:
        def nothing() -> None: ...
        def one(x: int) -> None: ...

        for fn, sources, what in (
            (nothing, [[1]], "no parameter for its item: call one 'item', or let the first one be it"),
            (
                one,
                [[1], [2]],
                "no parameter for the 2 parts of its item: call one 'item', or let the first 2 be them",
            ),
            (lambda index: 0, [[1]], "no parameter for its item"),
            (7, [[1]], "7 is not callable: give the function that is called with each item"),
        ):
            with pytest.raises(flow.DefinitionError, match=what):
                mapped(fn, *sources).compile()
        dag = flow.Dag("d")
        dag.reduce("r", 7, over="xs", start=0)  # type: ignore[arg-type]
        dag.reduce("two", operator.add, over=["xs", "ys"], start=0)  # type: ignore[arg-type]
        with pytest.raises(flow.DefinitionError) as caught:
            dag.compile()
        assert "reduce goes over one source, not 2" in str(caught.value)
        assert "7 is not callable: give a function of what was folded so far and an item" in str(caught.value)


class TestOver:
    """How the sources are named."""

    def faults(self, over: Any, fn: Any = double, **options: Any) -> list[str]:
        """What compiling says of a map ``m`` and a fold ``r`` over ``over``, without the place: the same of both."""
        found = []
        for name in "mr":
            dag = flow.Dag("d")
            dag.add("xs", xs)
            dag.add("other", lambda: [1])
            if name == "m":
                dag.map(name, fn, over=over, **options)
            else:
                dag.reduce(name, operator.mul if fn is double else fn, over=over, start=0)
            with pytest.raises(flow.DefinitionError) as caught:
                dag.compile()
            assert all(fault.startswith(f"node {name!r} (") for fault in caught.value.faults)
            found.append([fault.split("): ", 1)[1] for fault in caught.value.faults])
        assert options or found[0] == found[1]
        return found[0]

    @pytest.mark.parametrize(
        ("over", "label"),
        [
            (["xs", "xs"], "xs"),
            (["numbers", "numbers"], "numbers"),
            (["xs", NodeRef("xs")], "xs"),
            ((NodeRef("xs"), "other", flow.types.NodeRef("xs")), "xs"),
            ([xs, xs], "xs"),
            ([HOLDER.items, "other", HOLDER.items], "items"),
            (["xs", "xs", "xs"], "xs"),
        ],
        ids=["names", "inputs", "a NodeRef", "NodeRefs", "functions", "methods", "three times"],
    )
    def test_a_source_named_twice(self, over: Any, label: str) -> None:
        fault = f"goes over {label!r} twice: name each source once"
        for fn in (double, operator.mul, lambda *parts: 0):
            dag = mapped(double, [1])
            dag.add("users", xs)
            dag.map("again", fn, over=over)
            with pytest.raises(flow.DefinitionError) as caught:
                dag.compile()
            assert [f.split("): ", 1)[1] for f in caught.value.faults if "twice" in f] == [fault]

    def test_it_is_the_one_fault(self) -> None:
        for over in (["xs", "xs"], ["numbers", "numbers"], [NodeRef("xs"), "xs"], [xs, xs]):
            label = "numbers" if over[0] == "numbers" else "xs"
            assert self.faults(over) == [f"goes over {label!r} twice: name each source once"]
        assert self.faults(["xs", "ys", "xs", "ys"], lambda *parts: 0, take=1) == [
            "goes over 'xs' twice: name each source once",
            "goes over 'ys' twice: name each source once",
        ]

    @pytest.mark.parametrize(
        "over",
        [(), [], 5, None, {"xs": 1}, [1, 2, 3], range(3), b"xs", ["xs", 5], [None], [["xs"]], flow.Dag("other"), {}],
        ids=repr,
    )
    def test_what_names_no_source(self, over: Any) -> None:
        assert self.faults(over) == [
            "over must be the node or run input that provides the items (its name, NodeRef or function), or a list of "
            f"several, not {over!r}"
        ]

    def test_a_set_has_no_order(self) -> None:
        for over in ({"xs"}, {"xs", "other"}, frozenset(["xs"]), set()):
            assert self.faults(over) == ["over is a set, which has no order: give a list"]

    def test_with_all_else_that_is_wrong(self) -> None:
        assert self.faults((), concurrency=0, needs={"x": "nope"}, timeout=-1)[1:] == [
            "concurrency must be an integer of at least 1, 'auto', or None, not 0",
            "timeout must be a number of seconds > 0, not -1",
            "needs names 'nope', which is no node of this dag",
            "needs gives parameter 'x', which its function does not have",
        ]

    def test_a_list_of_one_is_that_one(self) -> None:
        dag = flow.Dag("d")
        ref = dag.add("xs", xs)
        for k, over in enumerate((["xs"], ("xs",), [ref], [xs])):
            dag.map(f"m{k}", double, over=over)
            dag.reduce(f"r{k}", operator.add, over=over, start=0)  # type: ignore[arg-type]
        result = flow.run(dag)
        assert [result[f"m{k}"] for k in range(4)] == [[2, 4]] * 4
        assert [result[f"r{k}"] for k in range(4)] == [3] * 4


class TestOptions:
    def test_all_faults_at_once(self) -> None:
        options: dict[str, Any] = {
            "concurrency": 0, "batch_size": True, "take": -1, "on_error": "raise", "key": 3, "pipelined": 1, "retry": 4,
        }  # fmt: skip
        with pytest.raises(flow.DefinitionError) as caught:
            mapped(double, [1], **options).compile()
        assert [fault.split(": ", 1)[1] for fault in caught.value.faults] == [
            "concurrency must be an integer of at least 1, 'auto', or None, not 0",
            "batch_size must be an integer of at least 1, or None, not True",
            "take must be an integer of at least 0, or None for all items, not -1",
            "on_error must be one of 'fail', 'collect', 'skip', not 'raise'",
            "key must be a function of the item, or None, not 3",
            "pipelined must be True or False, not 1",
            "key and pipelined exclude each other: give key to the first map",
            "pipelined goes over one other map; 'xs' is none",
            "retry must be a flow.Retry or None, not 4",
        ]

    def test_collect_is_for_map(self) -> None:
        dag = flow.Dag("d")
        dag.filter("f", bool, over="xs", on_error="collect")  # type: ignore[arg-type]
        with pytest.raises(flow.DefinitionError, match="on_error='collect' is for map: a filter or flat_map has no"):
            dag.compile()

    def test_an_unknown_option(self) -> None:
        with pytest.raises(flow.UsageError) as caught:
            mapped(double, [1], concurency=4)
        assert str(caught.value) == "node 'm' takes no option 'concurency' (did you mean 'concurrency'?)"
        with pytest.raises(flow.UsageError, match="node 'r' takes no option 'concurrency'"):
            flow.Dag("d").reduce("r", operator.mul, "xs", start=1, concurrency=4)

    @pytest.mark.parametrize("needs", [["rate"], "rate", ("xs",)])
    def test_needs_by_position_are_refused(self, needs: Any) -> None:
        dag = mapped(double, [1], needs=needs)
        with pytest.raises(flow.DefinitionError, match=r"node 'm' .*: needs is a mapping here, from parameters"):
            dag.compile()

    @pytest.mark.parametrize("fn", [lambda x: x, lambda a, b, rate: a, lambda: 0, lambda a, *, b: a])
    def test_what_cannot_fold(self, fn: Any) -> None:
        dag = flow.Dag("d")
        dag.reduce("r", fn, "xs", start=0)
        with pytest.raises(flow.DefinitionError, match="the function of reduce takes two values"):
            dag.compile()
        for good in (lambda a, b: a, lambda a, b, c=1: a, lambda *both: 0, operator.add):
            dag = flow.Dag("d")
            dag.reduce("r", good, "xs", start=0)
            dag.compile()

    def test_thread_is_for_sync_functions(self) -> None:
        with pytest.raises(flow.DefinitionError, match="thread=True is for sync functions"):
            mapped(adouble, [1], thread=True).compile()

    def test_key(self, mode: dict[str, Any], backend: str) -> None:
        config = Config(backend=backend, **mode)  # type: ignore[arg-type]
        for fn in FUNCTIONS:
            assert go(fn, [1, 2, 3], key=str, config=config) == {"1": 2, "2": 4, "3": 6}
        assert go(double, {"a": 1}, key=str, config=config) == {"1": 2}  # instead of the mapping's own

    def test_keys_must_differ_and_be_hashable(self) -> None:
        error = failure_of(double, [1, 2, 11], key=lambda x: x % 10)
        assert isinstance(error, flow.UsageError)
        assert str(error) == "map 'm': items 0 and 2 (11) have the same key 1: keys must differ"
        assert isinstance(failure_of(double, [1], key=lambda x: [x]), TypeError)
        error = failure_of(double, [1, 0], key=lambda x: 1 // x)
        assert isinstance(error, ZeroDivisionError)
        assert error.__notes__[0] == "from the map's key= for item 1 (0)"

    def test_batches(self, mode: dict[str, Any], backend: str) -> None:
        config = Config(backend=backend, **mode)  # type: ignore[arg-type]
        seen: list[tuple[int, list[int]]] = []

        def batch(items: list[int], index: int) -> Iterator[int]:
            seen.append((index, items))
            return (10 * x for x in items)

        async def abatch(items: list[int]) -> tuple[int, ...]:
            await anyio.lowlevel.checkpoint()
            return tuple(10 * x for x in items)

        assert go(batch, range(5), batch_size=2, config=config) == [0, 10, 20, 30, 40]
        assert sorted(seen) == [(0, [0, 1]), (2, [2, 3]), (4, [4])]
        assert go(abatch, (k for k in range(5)), batch_size=2, config=config) == [0, 10, 20, 30, 40]
        assert go(abatch, range(4), batch_size=4, config=config) == [0, 10, 20, 30]
        assert go(abatch, range(4), batch_size=3, take=2, config=config) == [0, 10]
        assert go(abatch, [], batch_size=3, config=config) == []
        assert go(abatch, {"a": 1, "b": 2, "c": 3}, batch_size=2, config=config) == {"a": 10, "b": 20, "c": 30}
        dag = flow.Dag("d")
        dag.filter("f", lambda items: [x % 2 == 0 for x in items], over="xs", batch_size=2)
        dag.flat_map("g", lambda items: [[x, x] for x in items], over="xs", batch_size=2)
        result = flow.run(dag, {"xs": [1, 2, 3, 4, 6]}, config=config)
        assert (result["f"], result["g"]) == ([2, 4, 6], [1, 1, 2, 2, 3, 3, 4, 4, 6, 6])

    def test_a_wrong_number_of_results(self) -> None:
        error = failure_of(lambda batch: batch[:1], [1, 2, 3], batch_size=2)
        assert isinstance(error, flow.UsageError)
        assert str(error) == "a map with batch_size needs one result per item: 1 came for 2 items"
        assert error.__notes__[0] == "in the batch from item 0 ([1, 2]) of map 'm'"
        error = failure_of(len, [1, 2, 3], batch_size=2)
        assert str(error) == "a map with batch_size needs one result per item: got 2"
        assert isinstance(error.__cause__, TypeError)

    def test_take(self, mode: dict[str, Any], backend: str) -> None:
        config = Config(backend=backend, **mode)  # type: ignore[arg-type]
        pulled: list[int] = []

        def endless() -> Iterator[int]:
            k = 0
            while True:
                pulled.append(k)
                yield k
                k += 1

        for fn in FUNCTIONS:
            pulled.clear()
            assert go(fn, endless, take=5, config=config) == [0, 2, 4, 6, 8]
            assert pulled == [0, 1, 2, 3, 4]
        pulled.clear()
        assert go(double, endless, take=0, config=config) == []
        assert pulled == []
        assert go(double, [1, 2], take=9, config=config) == [2, 4]


TYPED = """
from __future__ import annotations
import operator
from typing import Any, assert_type
import flow
from flow.types import NodeRef

dag = flow.Dag("d")
def size(x: str) -> int: return len(x)
async def asize(x: str) -> int: return len(x)
def count(so_far: dict[str, int], word: str) -> dict[str, int]: return so_far | {word: 1}
async def acount(so_far: dict[str, int], word: str) -> dict[str, int]: return count(so_far, word)
def loses(so_far: int, x: int) -> str: return str(so_far + x)
def longest(so_far: str | None, word: str) -> str: return max(so_far or "", word, key=len)
async def total(so_far: int, x: int) -> int: return so_far + x

assert_type(dag.map("a", size, over="xs"), NodeRef[list[int]])
assert_type(dag.map("b", asize, over="xs"), NodeRef[list[int]])
def batch(words: list[str]) -> list[int]: return [len(word) for word in words]
async def abatch(words: list[str]) -> tuple[int, ...]: return tuple(batch(words))
assert_type(dag.map("b1", batch, over="xs", batch_size=10), NodeRef[list[int]])
assert_type(dag.map("b2", abatch, over="xs", batch_size=10), NodeRef[list[int]])
assert_type(dag.map("b3", abatch, over="xs", batch_size=10, on_error="collect"), NodeRef[flow.MapResult[int]])
assert_type(dag.map("c", size, over="xs", on_error="skip", concurrency=3), NodeRef[list[int]])
assert_type(dag.map("d", size, over="xs", on_error="collect"), NodeRef[flow.MapResult[int]])
e = dag.map("e", asize, over="xs", on_error="collect", retry=flow.Retry(2))
assert_type(e, NodeRef[flow.MapResult[int]])
assert_type(dag.reduce("f", lambda a, b: a + 1, over=e, start=0), NodeRef[int])
assert_type(dag.reduce("i", count, over="xs", start={}), NodeRef[dict[str, int]])
assert_type(dag.reduce("j", acount, over="xs", start={}), NodeRef[dict[str, int]])
assert_type(dag.reduce("k", total, over=e, start=0), NodeRef[int])
assert_type(dag.reduce("l", operator.add, over=e, start=0, priority=1), NodeRef[int])
assert_type(dag.reduce("m", lambda a, b: a | {b: 1}, over="xs", start=dict[str, int]()), NodeRef[dict[str, int]])
assert_type(dag.reduce("n", longest, over="xs", start=None), NodeRef[str | None])
dag.reduce("o", count, over="xs", start=[])  # type: ignore[arg-type]
dag.reduce("p", count, over="xs", start={1: 2})  # type: ignore[arg-type]
dag.reduce("q", loses, over="xs", start=0)  # type: ignore[arg-type]
assert_type(dag.flat_map("g", size, over=["xs", e]), NodeRef[list[Any]])
assert_type(dag.filter("h", size, over=e), NodeRef[list[Any]])
result = flow.run(dag)
assert_type(result[e], flow.MapResult[int])
assert_type(result[e].values, list[int])
assert_type(result[e][0], int)
"""


@pytest.mark.slow
def test_types(tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    file = tmp_path / "typed.py"
    file.write_text(TYPED, "utf-8")
    ran = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent", str(file)],
        cwd=ROOT, capture_output=True, text=True, timeout=280,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout + ran.stderr
