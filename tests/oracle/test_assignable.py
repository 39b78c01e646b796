"""Types that exclude each other, against values: what a value of one type can be must not be said to contradict."""

from __future__ import annotations

import sys
import typing
from collections import abc
from typing import Annotated, Any, Literal, NewType, TypeVar

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flow.plan.assignable import contradict, item_of, union
from tests.conftest import examples

T = TypeVar("T")
UserId = NewType("UserId", int)


class Animal: ...


class Dog(Animal): ...


class Chair: ...


class Both(Dog, Chair): ...


class Stone: ...


class Point(msgspec.Struct):
    x: int


class Keys(typing.TypedDict):
    a: int


class Quacks(typing.Protocol):
    def quack(self) -> None: ...


LEAVES: dict[Any, list[Any]] = {
    int: [0, 7, True], bool: [True, False], float: [1.5, 2, True], str: ["", "a"], bytes: [b"x", bytearray(b"y")],
    None: [None], Animal: [Animal(), Dog(), Both()], Dog: [Dog(), Both()], Chair: [Chair(), Both()],
    Stone: [Stone()], Point: [Point(1)], Keys: [{"a": 1}], UserId: [3], Literal["a", 1]: ["a", 1],
    Literal[True]: [True], Any: [1, "a", None], object: [1, "a"], T: [1], Annotated[str, "meta"]: ["m"],
    complex: [1j, 2.5, 3],
}  # fmt: skip
"""Types, and some values of each as type checkers see them."""


def _built(of: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    pair = st.tuples(of, of)
    return st.one_of(
        of.map(lambda t: (list[t[0]], [[v] for v in t[1][:3]])),
        of.map(lambda t: (abc.Sequence[t[0]], [f([v]) for v in t[1][:3] for f in (list, tuple)])),
        of.map(lambda t: (abc.Iterable[t[0]], [f([v]) for v in t[1][:3] for f in (list, tuple)])),
        of.map(lambda t: (tuple[t[0], ...], [(v,) for v in t[1][:3]] + [tuple(t[1][:2])])),
        of.map(lambda t: (dict[str, t[0]], [{"k": v} for v in t[1][:3]])),
        of.map(lambda t: (abc.Mapping[str, t[0]], [{"k": v} for v in t[1][:3]])),
        pair.map(lambda p: (tuple[p[0][0], p[1][0]], [(a, b) for a in p[0][1][:2] for b in p[1][1][:2]])),
        pair.map(lambda p: (union(p[0][0], p[1][0]), [*p[0][1], *p[1][1]])),
    )


def _typed(leaf: Any) -> tuple[Any, list[Any]]:
    return leaf, LEAVES[leaf]


TYPES = st.recursive(st.sampled_from(list(LEAVES)).map(_typed), _built, max_leaves=4)


def is_a(value: Any, kind: Any) -> bool:
    """Whether a value passes as ``kind``: by brute force, and in doubt it does."""
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any or kind is object or kind is T:
        return True
    if kind is None or kind is type(None):
        return value is None
    if kind is UserId:
        return isinstance(value, int)
    if kind is Keys:
        return isinstance(value, dict)
    if origin is Annotated:
        return is_a(value, args[0])
    if origin is typing.Union or type(kind).__name__ == "UnionType":
        return any(is_a(value, arg) for arg in args)
    if origin is Literal:
        return any(type(value) is type(arg) and value == arg for arg in args)
    if kind is float:
        return isinstance(value, (float, int))
    if kind is complex:
        return isinstance(value, (complex, float, int))
    if kind is bytes:
        return isinstance(value, (bytes, bytearray, memoryview))
    if not isinstance(value, origin or kind):
        return False
    if origin in (dict, abc.Mapping):
        return all(is_a(k, args[0]) and is_a(v, args[1]) for k, v in value.items())
    if origin is tuple and not (len(args) == 2 and args[1] is ...):
        return len(value) == len(args) and all(map(is_a, value, args))
    if origin is not None:
        return isinstance(value, (str, bytes)) or all(is_a(v, args[0]) for v in value)
    return True


@given(TYPES, TYPES)
@examples(2_000)
def test_no_value_of_one_type_is_of_another_that_it_is_said_to_contradict(one: Any, other: Any) -> None:
    (kind, values), (asked, others) = one, other
    if contradict(kind, asked):
        assert not [value for value in values if is_a(value, asked)]
        assert not [value for value in others if is_a(value, kind)]
        assert contradict(asked, kind), "it goes both ways"


@given(TYPES)
@examples(300)
def test_a_type_never_contradicts_itself_and_what_may_be_anything(one: Any) -> None:
    kind, _ = one
    assert not contradict(kind, kind)
    assert not contradict(kind, union(kind, None))
    for anything in (Any, object, T, Quacks):
        assert not contradict(kind, anything)
        assert not contradict(anything, kind)


@pytest.mark.parametrize(
    ("given_", "asked"),
    [
        (str, int), (int, str), (None, int), (list[str], list[int]), (list[str], str), (str, list[str]), (int, list),
        (dict[str, int], dict[str, str]), (tuple[int, str], tuple[int, int]), (tuple[int], tuple[int, int]),
        (tuple[int, ...], list[int]), (abc.Iterator[int], list[int]), (Literal["a"], Literal["b"]), (Literal["a"], int),
        (str | None, int | list[int]), (Dog, Stone), (UserId, str), (int, Keys), (Point, Animal),
        (list[list[str]], list[list[int]]),
        (tuple[str, ...], tuple[int, ...]), (tuple[str, ...], tuple[int, int]), (abc.Sequence[str], tuple[int, int]),
        (int, abc.Mapping),
    ],
)  # fmt: skip
def test_what_contradicts(given_: Any, asked: Any) -> None:
    assert contradict(given_, asked)
    assert contradict(asked, given_)


@pytest.mark.parametrize(
    ("given_", "asked"),
    [
        (int, float), (bool, int), (str | None, str), (np.ndarray, list), (np.float64, float), (np.int64, int),
        (Animal, Chair), (type[int], int), (abc.Callable[..., int], int), (abc.Awaitable[int], str), (dict, Keys),
        (abc.Sequence, str), (abc.Sequence, abc.Mapping), (list[np.ndarray], list[list[int]]), (list, list[int]),
        ("Any", int), (list["Any"], list[int]), (tuple, tuple[int, int]), (abc.Hashable, list),
        (3, int), (int, ...), (tuple[()], tuple[int, ...]),
    ],
)  # fmt: skip
def test_what_does_not_for_certain(given_: Any, asked: Any) -> None:
    assert not contradict(given_, asked)
    assert not contradict(asked, given_)


@pytest.mark.skipif(not hasattr(typing, "TypeAliasType"), reason="Python 3.12")
def test_aliases() -> None:
    alias: Any = typing.TypeAliasType("alias", str)  # type: ignore[attr-defined,unused-ignore]
    assert contradict(alias, int)
    assert not contradict(alias, str)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="Python 3.12")
def test_an_alias_of_what_is_not_there() -> None:
    space: dict[str, Any] = {}
    exec("type Lost = Nowhere", space)
    assert not contradict(space["Lost"], int)


def test_a_metaclass_with_answers_of_its_own() -> None:
    class Meta(type):
        def __instancecheck__(cls, value: object) -> bool:
            return True

    class All(metaclass=Meta): ...

    assert not contradict(int, All)


def test_a_class_that_does_not_answer() -> None:
    class Meta(type):
        def __subclasscheck__(cls, other: type) -> bool:
            raise RuntimeError("no answer")

    class Silent(metaclass=Meta): ...

    assert not contradict(Silent, int)
    assert not contradict(int, Silent)


def test_types_nested_past_all_reason() -> None:
    one: Any = int
    other: Any = str
    for _ in range(200):
        one, other = list[one], list[other]
    assert not contradict(one, other)


def test_items() -> None:
    assert item_of(list[int]) is int
    assert item_of(dict[str, int], values=True) is int
    assert item_of(dict[str, int]) is Any
    assert item_of(tuple[int, str]) == int | str
    assert item_of(list[int] | dict[str, str], values=True) == int | str
    assert item_of(str) is Any
    assert item_of(None) is Any
