"""What ``with`` passes, held against parameters: names, literals at load, computed values at the node."""

from __future__ import annotations

import datetime
import gc
import typing
import uuid
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum, IntEnum
from functools import partial, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, NewType, Protocol, TypedDict, TypeVar

import msgspec
import pytest
from conftest import named

import flow
from flow.errors import ArgumentInvalid
from flow.spec import actions
from flow.spec.called.arguments import UNKNOWN, Arguments, arguments_of

if TYPE_CHECKING:
    from nowhere import Unknown  # type: ignore[import-not-found]

T = TypeVar("T")


def check_call(fn: Callable[..., Any], given: Mapping[str, Any], name: str = "") -> list[str]:
    return [fault for _, fault in arguments_of(fn, name).faults(given)]


def converter(
    fn: Callable[..., Any], names: Iterable[str] | None = None, *, name: str = "", node: str = ""
) -> Callable[[dict[str, Any]], dict[str, Any]] | None:
    return arguments_of(fn, name).converter(None if names is None else list(names), node)


class Size(msgspec.Struct):
    width: int


class Color(Enum):
    RED = "red"
    GREEN = "green"


class Level(IntEnum):
    LOW = 1


@dataclass
class Box:
    size: Size
    label: str = ""

    def __post_init__(self) -> None:
        if self.label == "bad":
            raise ValueError("label is hunter2")


class Row(TypedDict):
    n: int


class Pair(NamedTuple):
    a: int


class Own: ...


class Able(Protocol):
    def able(self) -> bool: ...


Id = NewType("Id", int)


def ship(region: str, hosts: list[str], count: int = 1, note: str = None) -> None: ...  # type: ignore[assignment]


async def with_context(ctx: flow.Context, region: str, *, more: int = 0) -> None: ...


def rest(first: int, *others: int, **named: int) -> None: ...


def nothing() -> None: ...


def positional(x: int, /, y: int) -> None: ...


def postponed(known: int, unknown: Unknown, later: datetime.date) -> None: ...


def traced(fn: Any) -> Any:
    @wraps(fn)
    def call(*args: Any, **kwargs: Any) -> Any:
        return fn(*args, **kwargs)

    return call


class Callee:
    def __call__(self, when: datetime.date, n: int = 0) -> None: ...

    def method(self, when: datetime.date) -> None: ...


BY_POSITION = "d:f: parameter 'x' has no name for callers (it is by position alone): call it in a function of yours"
NO_DATE = "d:f: parameter 'when' takes date, and got a str (invalid RFC3339 encoded date)"
LEVELS = "'debug', 'info', 'warning', 'error', 'critical'"


class TestNames:
    @pytest.mark.parametrize(
        ("fn", "given", "faults"),
        [
            (ship, {"region": "eu", "hosts": ["a"]}, []),
            (ship, {"region": UNKNOWN, "hosts": UNKNOWN, "count": UNKNOWN, "note": None}, []),
            (ship, {}, ["d:f needs 'region', which with does not give", "d:f needs 'hosts', which with does not give"]),
            (
                ship,
                {"region": "eu", "host": ["a"]},
                [
                    "d:f has no parameter 'host' (did you mean 'hosts'?): it takes region, hosts, count, note",
                    "d:f needs 'hosts', which with does not give",
                ],
            ),
            (with_context, {"region": "eu"}, []),
            (with_context, {"region": "eu", "more": 2}, []),
            (
                with_context,
                {"region": "eu", "ctx": 1},
                ["d:f: parameter 'ctx' is the Context, which the engine gives: leave it out"],
            ),
            (rest, {"first": 1, "any": 2}, []),
            (rest, {"first": 1, "any": "x"}, ["d:f: parameter 'any' takes int, and got a str"]),
            (rest, {"any": UNKNOWN}, ["d:f needs 'first', which with does not give"]),
            (nothing, {}, []),
            (nothing, {"x": 1}, ["d:f has no parameter 'x': it takes nothing by name"]),
            (
                positional,
                {"x": 1, "y": 2},
                [BY_POSITION],
            ),
            (
                positional,
                {"y": 2},
                [BY_POSITION],
            ),
            (partial(ship, hosts=[]), {"region": "eu"}, []),
            (partial(ship, hosts=[]), {"region": 5}, ["d:f: parameter 'region' takes str, and got an int"]),
            (traced(ship), {"region": 5, "hosts": []}, ["d:f: parameter 'region' takes str, and got an int"]),
            (
                traced(traced(ship)),
                {"region": "x", "hosts": [], "n": 1},
                ["d:f has no parameter 'n': it takes region, hosts, count, note"],
            ),
            (Callee(), {"when": "2026-01-01"}, []),
            (Callee(), {"when": "soon"}, [NO_DATE]),
            (Callee().method, {"when": "2026-13-01"}, [NO_DATE]),
            (Size, {"width": "x"}, ["d:f: parameter 'width' takes int, and got a str"]),
            (Box, {"size": {"width": 1}, "label": 3}, ["d:f: parameter 'label' takes str, and got an int"]),
            (Pair, {"a": []}, ["d:f: parameter 'a' takes int, and got a list"]),
            (actions.sleep, {"seconds": 5}, []),
            (
                actions.log,
                {"message": "x", "level": "inof"},
                [f"d:f: parameter 'level' takes one of {LEVELS}, and got a str (did you mean 'info'?)"],
            ),
        ],
    )
    def test_all_faults_of_a_call(self, fn: Any, given: dict[str, Any], faults: list[str]) -> None:
        assert check_call(fn, given, "d:f") == faults

    def test_each_fault_has_its_parameter(self) -> None:
        assert [name for name, _ in Arguments(ship).faults({"host": 1, "count": "x"})] == [
            "host",
            "count",
            "region",
            "hosts",
        ]

    def test_builtins_take_what_they_show(self) -> None:
        assert check_call(sorted, {"iterable": [1], "reverse": True}) != []  # by position alone
        assert check_call(print, {"sep": ", "}) == []

    def test_a_signature_of_its_own_has_no_types(self) -> None:
        import inspect

        def fn(*args: Any, **kwargs: Any) -> None: ...

        fn.__signature__ = inspect.signature(ship)  # type: ignore[attr-defined]
        assert check_call(fn, {"region": 5, "hosts": []}) == []
        assert "has no parameter 'x'" in check_call(fn, {"region": 5, "hosts": [], "x": 1})[0]

    def test_what_cannot_be_resolved_is_not_checked_and_the_rest_is(self) -> None:
        given = {"known": "x", "unknown": object(), "later": "2026-01-01"}
        assert check_call(postponed, given, "p") == ["p: parameter 'known' takes int, and got a str"]
        convert = converter(postponed)
        assert convert is not None
        assert convert({"known": 1, "unknown": 5, "later": "2026-01-01"})["later"] == datetime.date(2026, 1, 1)

    def test_functions_are_read_once_and_let_go(self) -> None:
        def fn(x: int) -> None: ...

        assert arguments_of(fn) is arguments_of(fn) and arguments_of(fn, "other") is arguments_of(fn)
        gone = weakref.ref(fn)
        del fn
        gc.collect()
        assert gone() is None


def of(kind: Any, default: Any = ...) -> Callable[..., Any]:
    def fn(x: Any = default) -> None: ...

    fn.__annotations__ = {"x": kind}
    if default is ...:
        fn.__defaults__ = ()
    return fn


def converted(kind: Any, value: Any) -> Any:
    convert = converter(of(kind), node="ship", name="d:f")
    return value if convert is None else convert({"x": value})["x"]


class Sub(dict[str, int]): ...


OWN, SIZE = Own(), Size(1)

FITS: list[tuple[Any, Any, Any]] = [
    (str, "a", "a"),
    (int, 5, 5),
    (float, 5, 5.0),
    (float, 2.5, 2.5),
    (bool, True, True),
    (None, None, None),
    (Any, OWN, OWN),
    (object, 5, 5),
    (T, 5, 5),
    ("nowhere.Unknown", 5, 5),
    (int | None, None, None),
    (Annotated[str, "note"], "a", "a"),
    (int | str, "a", "a"),
    (datetime.datetime, "2026-01-01T00:00:00Z", datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)),
    (datetime.date, "2026-01-01", datetime.date(2026, 1, 1)),
    (datetime.timedelta, "PT5S", datetime.timedelta(seconds=5)),
    (uuid.UUID, "12345678123456781234567812345678", uuid.UUID(int=0x12345678123456781234567812345678)),
    (Decimal, "1.50", Decimal("1.50")),
    (Path, "a/b", Path("a/b")),
    (Path | None, None, None),
    (bytes, b"a", b"a"),
    (Size, {"width": 3}, Size(3)),
    (Size, SIZE, SIZE),
    (Size | None, {"width": 3}, Size(3)),
    (Box, {"size": {"width": 1}}, Box(Size(1))),
    (Color, "red", Color.RED),
    (Color, Color.RED, Color.RED),
    (Level, 1, Level.LOW),
    (int, Level.LOW, Level.LOW),
    (Row, {"n": 1}, {"n": 1}),
    (Pair, [1], Pair(1)),
    (list, [1], [1]),
    (list[int], [1], [1]),
    (list[Any], [OWN], [OWN]),
    (list[Size], [{"width": 1}, SIZE], [SIZE, SIZE]),
    (tuple[int, ...], [1], (1,)),
    (tuple[Any, ...], (OWN,), (OWN,)),
    (tuple[int, str], [1, "a"], (1, "a")),
    (set[str], ["a"], {"a"}),
    (dict[str, int], {"a": 1}, {"a": 1}),
    (dict[str, Any], {"a": OWN}, {"a": OWN}),
    (Mapping, {"a": 1}, {"a": 1}),
    (Mapping[str, int], {"a": 1}, {"a": 1}),
    (Sequence[int], [1], [1]),
    (Iterable[int], [1], [1]),
    (dict, OrderedDict(a=1), OrderedDict(a=1)),
    (Literal["a", "b"], "a", "a"),
    (Annotated[int, msgspec.Meta(ge=1)], 1, 1),
    (Id, 5, 5),
    (Own, OWN, OWN),
    (Able, OWN, OWN),
    (Callable[[int], int], len, len),
    (Own | None, OWN, OWN),
    (int | None, Level.LOW, Level.LOW),
    (dict | None, OrderedDict(a=1), OrderedDict(a=1)),
    (Box | Size, SIZE, SIZE),
    (type[int], int, int),
]

REFUSED: list[tuple[Any, Any, str]] = [
    (str, 5, "takes str, and got an int"),
    (int, "5", "takes int, and got a str"),
    (int, True, "takes int, and got a bool"),
    (float, True, "takes float, and got a bool"),
    (int, 1.0, "takes int, and got a float"),
    (int | None, "x", "takes int | None, and got a str"),
    (int | str, True, "takes int | str, and got a bool"),
    (bytes, "YWJj", "takes bytes, and got a str"),
    (str, None, "takes str, and got null"),
    (list[str], ["a", 5], "takes list[str], and got a list (expected `str`, got `int` at `[1]`)"),
    (list[str], {"a": 1}, "takes list[str], and got a dict"),
    (Annotated[int, msgspec.Meta(ge=3)] | None, 1, "and got an int (expected `int` >= 3)"),
    (list[Size], [{"width": None}], "and got a list (expected `int`, got null at `[0].width`)"),
    (dict[str, int], {1: 2}, "takes dict[str, int], and got a dict (expected `str`, got `int` in a key)"),
    (Size, {}, "takes Size, and got a dict (object missing required field `width`)"),
    (Size, 5, "takes Size, and got an int"),
    (Size, Box(SIZE), "takes Size, and got a Box"),
    (Color, "rad", "takes one of 'red', 'green', and got a str"),
    (Literal["a", "b"], "hunter2", "takes one of 'a', 'b', and got a str"),
    (Level, 7, "takes one of 1, and got an int"),
    (Annotated[int, msgspec.Meta(ge=3)], 1, "and got an int (expected `int` >= 3)"),
    (Own, 5, "takes Own, and got an int"),
    (Callable, 5, "and got an int"),
    (Box, {"size": {"width": 1}, "label": "bad"}, "takes Box, and got a dict"),
    (Box | Size, 5, "and got an int"),
    (uuid.UUID, "hunter2", "takes UUID, and got a str"),
    (Decimal, "hunter2", "takes Decimal, and got a str"),
    (datetime.timedelta, "hunter2", "takes timedelta, and got a str"),
    (datetime.datetime, "hunter2", "takes datetime, and got a str"),
    (list[Color], ["hunter2"], "and got a list"),
    (dict[str, Literal["a"]], {"hunter2": "hunter2"}, "and got a dict"),
]


class TestValues:
    @pytest.mark.parametrize(("kind", "value", "result"), FITS, ids=lambda one: named(one)[:40])
    def test_what_fits_arrives_as_its_type(self, kind: Any, value: Any, result: Any) -> None:
        found = converted(kind, value)
        assert found == result and type(found) is type(result)
        assert check_call(of(kind), {"x": value}) == []

    @pytest.mark.parametrize(("kind", "value", "says"), REFUSED, ids=lambda one: named(one)[:40])
    def test_what_does_not_fit_is_told_without_the_value(self, kind: Any, value: Any, says: str) -> None:
        with pytest.raises(ArgumentInvalid) as caught:
            converted(kind, value)
        text = str(caught.value)
        assert text.startswith("node 'ship': parameter 'x' of d:f takes ") and says in text
        assert "hunter2" not in text and (caught.value.node, caught.value.parameter) == ("ship", "x")
        (fault,) = check_call(of(kind), {"x": value}, "d:f")
        assert fault.startswith("d:f: parameter 'x' takes ") and says in fault

    def test_a_default_of_none_goes_with_any_annotation(self) -> None:
        assert check_call(of(int, None), {"x": None}) == [] and check_call(of(Size, None), {"x": {"width": 1}}) == []
        assert check_call(of(int, None), {"x": "a"}) != []
        assert check_call(of(int, 5), {"x": None}) != []

    def test_what_takes_anything_has_no_converter(self) -> None:
        assert converter(lambda x, y=1: x) is None
        assert converter(ship, ["nope"]) is None and converter(nothing) is None
        assert converter(of(Any)) is None

    def test_values_of_the_very_type_are_passed_as_they_are(self) -> None:
        values = {"hosts": [OWN], "n": 5}
        convert = Arguments(lambda hosts, n: 0).converter()
        assert convert is None

        def fn(hosts: list, n: int, box: Box) -> None: ...  # type: ignore[type-arg]

        convert = Arguments(fn).converter(["hosts", "n"])
        assert convert is not None
        assert convert(values) is values and values["hosts"] == [OWN]
        subclass = Sub(a=1)
        assert converted(dict, subclass) is subclass

    def test_only_the_named_are_converted(self) -> None:
        convert = converter(Callee(), ["when"])
        assert convert is not None
        assert convert({"when": "2026-01-01", "n": "left"}) == {"when": datetime.date(2026, 1, 1), "n": "left"}

    def test_aliases_and_new_types(self) -> None:
        if hasattr(typing, "TypeAliasType"):
            assert check_call(of(typing.TypeAliasType("Alias", int)), {"x": 5}) == []
        assert check_call(of(Id), {"x": "a"}) != []

    def test_the_error_can_be_pickled(self) -> None:
        import pickle

        error = pickle.loads(pickle.dumps(ArgumentInvalid("text", "n", "p")))
        assert (str(error), error.node, error.parameter) == ("text", "n", "p") and isinstance(error, TypeError)
