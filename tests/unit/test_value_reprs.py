"""A value that a message repeats: it looks like its repr, and costs what is shown of it, however large it is."""

from __future__ import annotations

import functools
import sys
import time
import tracemalloc
from array import array
from collections import Counter, OrderedDict, defaultdict, deque
from dataclasses import dataclass, field
from enum import Enum, IntEnum
from fractions import Fraction
from types import MappingProxyType
from typing import Any, NamedTuple

import msgspec
import pytest
from conftest import error_of
from hypothesis import given
from hypothesis import strategies as st

import flow
from flow.errors import MAX_VALUE_SHOWN, described, shown
from flow.reprs import beginning


@dataclass
class Pair:
    left: Any
    right: Any = None
    secret: str = field(default="s", repr=False)


@dataclass
class OwnRepr:
    left: Any

    def __repr__(self) -> str:
        return "own"


class Point(NamedTuple):
    x: Any
    y: Any


class Record(msgspec.Struct):
    name: str
    values: Any = ()


class Terse(msgspec.Struct, repr_omit_defaults=True):
    name: str
    more: int = 1


class Color(Enum):
    RED = 1


class Level(IntEnum):
    LOW = 1


class Numbers(list):  # type: ignore[type-arg]
    pass


class Names(dict):  # type: ignore[type-arg]
    pass


class Loud(dict):  # type: ignore[type-arg]
    def __repr__(self) -> str:
        return "Loud!"


class Unhashable:
    __repr__ = None  # type: ignore[assignment]


class Fails:
    def __repr__(self) -> str:
        raise OSError


def cyclic(kind: str) -> Any:
    if kind == "list":
        values: list[Any] = [1]
        values.append(values)
        return values
    if kind == "tuple":
        inner: list[Any] = []
        whole = (inner,)
        inner.append(whole)
        return whole
    if kind == "dataclass":
        pair = Pair(1)
        pair.right = pair
        return pair
    named: dict[str, Any] = {}
    named["again"] = named
    return named


SMALL = [
    None, True, 0, -17, 2.5, float("nan"), 3j, "", "it's", "\"it's\"", "\n\x00é", b"", b"it's", bytearray(b"x"),
    [], [1], (), (1,), (1, 2), {}, {"a": 1}, {1: [2, {3}]}, set(), {1}, frozenset(), frozenset({1}), range(3),
    deque(), deque([1, 2]), deque([1], maxlen=3), array("i"), array("i", [1, 2]), array("d", [1.5]),
    OrderedDict(), OrderedDict(a=1), defaultdict(int), defaultdict(list, a=[1]), Counter(), Counter("abca"),
    MappingProxyType({}), MappingProxyType({"a": (1,)}), {"a": 1}.keys(), {"a": 1}.values(), {"a": 1}.items(),
    functools.partial(int), functools.partial(print, 1, sep=""), [1].append, "x".join, Pair(1).__eq__, len, int, flow,
    ValueError(), ValueError("x"), KeyError("a", 1), OSError(2, "gone"), Pair(1, [2]), OwnRepr(1), Point(1, "y"),
    Record("a", [1]), Terse("a"), Terse("a", 2), Color.RED, Level.LOW, [Level.LOW, Color.RED],
    Numbers([1, 2]), Names(a=1), Loud(a=1), [Loud()], Fraction(1, 3), slice(1, 2), memoryview(b"x").nbytes,
    cyclic("list"), cyclic("tuple"), cyclic("dict"), cyclic("dataclass"), type("Sub", (set,), {})({1}),
    [[[[[[[[[[[1]]]]]]]]]]], NotImplemented, ...,
]  # fmt: skip


@pytest.mark.parametrize("value", SMALL, ids=lambda value: type(value).__name__)
def test_small_values_look_like_their_repr(value: Any) -> None:
    text = repr(value)
    assert beginning(value, len(text) + 10) == text
    if len(text) <= MAX_VALUE_SHOWN:
        assert shown(value) == text


PLAIN: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text(), inner)
    | st.builds(Pair, inner) | st.builds(Record, st.text(), inner) | st.builds(ValueError, inner),
)  # fmt: skip


@given(PLAIN, st.integers(1, 120))
@pytest.mark.slow
def test_what_is_written_is_how_the_repr_begins(value: Any, room: int) -> None:
    text, whole = beginning(value, room), repr(value)
    assert len(text) >= min(room, len(whole))
    if not isinstance(value, (str, bytes)) and "'" not in whole and '"' not in whole:  # whose quotes go by all of it
        assert whole.startswith(text[:room])
    if len(whole) <= room:
        assert text == whole


BIG = list(range(300_000))
LARGE = {
    "list": BIG,
    "tuple": tuple(BIG),
    "set": set(BIG),
    "frozenset": frozenset(BIG),
    "dict": dict.fromkeys(BIG),
    "dict of large": {"a": BIG},
    "keys": dict.fromkeys(BIG).keys(),
    "items": dict.fromkeys(BIG).items(),
    "proxy": MappingProxyType(dict.fromkeys(BIG)),
    "ordered": OrderedDict.fromkeys(BIG),
    "defaultdict": defaultdict(int, dict.fromkeys(BIG, 1)),
    "counter": Counter(BIG),
    "deque": deque(BIG),
    "array": array("q", BIG),
    "nested": [[[BIG]]],
    "subclass": Numbers(BIG),
    "dataclass": Pair(BIG),
    "struct": Record("a", BIG),
    "error": ValueError(BIG),
    "error of two": ValueError(BIG, BIG),
    "partial": functools.partial(len, BIG),
    "method of one": Pair(BIG).__eq__,
    "str": "x" * 10_000_000,
    "bytes": b"x" * 10_000_000,
    "bytearray": bytearray(10_000_000),
    "str within": ["x" * 10_000_000],
    "bytes within": ["a", b"x" * 10_000_000],
}


@pytest.mark.parametrize("name", LARGE)
def test_large_values_are_shown_without_all_of_their_repr(name: str) -> None:
    value = LARGE[name]
    shown(value)
    tracemalloc.start()
    text = shown(value)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert "..." in text and len(text) < 110
    assert peak < 100_000, "no more than the beginning is made"


@pytest.mark.parametrize("digits", [5_000, 1_000_000])
def test_huge_integers_are_counted_not_written(digits: int) -> None:
    number = 1 << int(digits / 0.30103)
    before = time.perf_counter()
    assert shown(number) == f"<int of about {int(number.bit_length() * 0.30103) + 1:,} digits>"
    assert shown([number]).startswith("[<int of about")
    assert f"{shown(-number)}".startswith("<int of about")
    assert time.perf_counter() - before < 1.0
    assert shown(10**4000) == "1" + "0" * 59 + "..."


@pytest.mark.slow
def test_deep_nesting_is_no_limit() -> None:
    value: Any = []
    for _ in range(200_000):
        value = [value]
    assert shown(value) == "[" * 60 + "..."
    while value:  # taken apart: freeing it all at once nests too
        value = value[0]


def test_a_repr_that_fails_or_never_ends_in_itself() -> None:
    class Long:
        def __repr__(self) -> str:
            return "x" * 1_000_000

    assert shown(Long()) == "x" * 60 + "..."
    assert shown([Long()]) == "[" + "x" * 59 + "..."
    assert shown(Fails()) == "<Fails without a usable repr>"
    assert shown([Fails()]) == "<list without a usable repr>"
    assert shown(Unhashable()) == "<Unhashable without a usable repr>"
    assert shown("x" * 100) == "'" + "x" * 59 + "... (100 characters)"


def test_str_enums_are_shown_as_their_text() -> None:
    class Mode(str, Enum):  # noqa: UP042
        FAST = "fast"

    assert shown(Mode.FAST) == "'fast'"


@pytest.mark.parametrize(
    "error", [ValueError(BIG), ValueError(1, BIG), KeyError(BIG), ValueError(b"x" * 10**7), ValueError("x" * 10**7)]
)
def test_an_exception_that_holds_something_large_is_described_by_its_beginning(error: Exception) -> None:
    described(error)
    tracemalloc.start()
    text = described(error)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert text == f"{type(error).__name__}: {str(error)[:197]}..."
    assert peak < 100_000


@pytest.mark.parametrize("arguments", [(), ("a",), (b"a",), (1,), ("a", 1), ([1],), (None,), (Color.RED,), ("",)])
@pytest.mark.parametrize("kind", [ValueError, KeyError, LookupError, OSError])
def test_other_exceptions_are_described_by_their_message(kind: type[Exception], arguments: Any) -> None:
    error = kind(*arguments)
    line = str(error)
    assert described(error) == (f"{kind.__name__}: {line}" if line else kind.__name__)


def test_a_failed_item_is_named_without_all_of_its_repr() -> None:
    def bad(item: Any) -> None:
        raise ValueError("x")

    dag = flow.Dag("d")
    dag.add("x", lambda: [BIG])
    dag.map("m", bad, "x")
    error_of(dag)  # imports
    tracemalloc.start()
    with pytest.raises(flow.RunError) as caught:
        flow.run(dag)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    (note,) = [note for note in caught.value.exceptions[0].__notes__ if "item 0" in note]
    assert note.startswith("in item 0 ([0, 1, 2, 3,") and len(note) < 120
    assert peak < 1_000_000


def test_numpy_arrays() -> None:
    numpy = pytest.importorskip("numpy")
    assert shown(numpy.arange(3)) == "array([0, 1, 2])"
    assert len(shown(numpy.zeros((1000, 1000)))) < 100
    assert sys.getsizeof(shown([numpy.zeros(10_000_000)])) < 500


LONG = "x" * 2_000_000


@pytest.mark.parametrize(
    "refused",
    [
        lambda: flow.topologies.linear(BIG),
        lambda: flow.topologies.random_dag(3, p=BIG),
        lambda: flow.topologies.random_dag(3, p=0.5, seed=BIG),
        lambda: flow.topologies.linear(3, fn=BIG),
        lambda: flow.plan.StatusTracker(["a"]).set("a", LONG),
        lambda: flow.plan.StatusTracker(["a"]).set(LONG, "ready"),
        lambda: flow.plan.StatusTracker([LONG]).set(LONG, "completed"),
        lambda: flow.render.to_mermaid(flow.topologies.linear(1), status={"n0": LONG}),
        lambda: flow.render.to_mermaid(BIG),
        lambda: flow.traces.load("x.json", work=LONG),
        lambda: flow.traces.load("x.json", scale=BIG),
        lambda: flow.traces.load(LONG),
        lambda: flow.Config(**{LONG: 1}),
        lambda: flow.Config(limit=BIG),
        lambda: flow.Dag(LONG).compile(),
        lambda: flow.run(flow.Dag("d"), {LONG: 1}),
        lambda: flow.run(flow.Dag("d"), BIG),
        lambda: flow.run(flow.Dag("d"), run_id=LONG),
        lambda: flow.run(flow.Dag("d"), targets=LONG),
        lambda: flow.WorkflowData()[LONG],
    ],
)
def test_no_message_repeats_all_of_what_was_given(refused: Any) -> None:
    with pytest.raises(flow.FlowError) as caught:
        refused()
    assert len(str(caught.value)) < 3_000


def test_a_trace_with_long_ids_is_refused_briefly(tmp_path: Any) -> None:
    task = {"name": "t", "id": LONG, "parents": [LONG, LONG + "y"], "children": [LONG + "z"]}
    trace = {"name": "t", "schemaVersion": "1.5", "workflow": {"specification": {"tasks": [task, task]}}}
    file = tmp_path / "trace.json"
    file.write_bytes(msgspec.json.encode(trace))
    with pytest.raises(flow.errors.TraceError) as caught:
        flow.traces.load(file)
    assert len(str(caught.value)) < 3_000
