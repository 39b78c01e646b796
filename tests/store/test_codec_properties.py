"""Properties of the codec of stored values, over values and annotations that hypothesis makes up."""

from __future__ import annotations

import collections
import dataclasses
import datetime as dt
import enum
import random
import uuid
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple, Union

import msgspec
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from flow.data.mapresult import MapResult
from flow.errors import NotStorable, StoreError
from flow.store.codec import Codecs
from flow.store.codec.fidelity import differences
from flow.types import MISSING

CODECS = Codecs()


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Number(enum.IntEnum):
    ONE = 1


@dataclasses.dataclass(frozen=True)
class Point:
    x: int
    name: str


class Record(msgspec.Struct, frozen=True):
    number: int
    point: Point | None = None
    text: str = ""


class Pair(NamedTuple):
    a: int
    b: tuple[str, ...]


TEXT = st.text(st.characters(codec=None, exclude_categories=()))
POINTS = st.builds(Point, st.integers(), TEXT)
ZONES = st.none() | st.just(dt.UTC)

LEAVES: list[tuple[Any, st.SearchStrategy[Any]]] = [
    (int, st.integers()), (str, TEXT), (float, st.floats(allow_nan=False)), (bytes, st.binary()), (bool, st.booleans()),
    (None, st.none()), (dt.date, st.dates()), (dt.timedelta, st.timedeltas()), (uuid.UUID, st.uuids()),
    (dt.datetime, st.datetimes(timezones=ZONES)), (dt.time, st.times()),
    (Decimal, st.decimals(allow_nan=False)), (complex, st.complex_numbers(allow_nan=False)),
    (Color, st.sampled_from(Color)),
    (Number, st.just(Number.ONE)), (Point, POINTS), (Record, st.builds(Record, st.integers(),
    st.none() | POINTS, TEXT)),
    (Pair, st.builds(Pair, st.integers(), st.lists(TEXT, max_size=2).map(tuple))),
    (Path, st.text(st.characters(exclude_characters="\0"), max_size=5).map(Path)),
    (range, st.builds(range, st.integers())),
]  # fmt: skip

HASHABLE = [(hint, values) for hint, values in LEAVES if hint is not complex]
KEYS = [(hint, values) for hint, values in HASHABLE if hint not in (Point, Record)]  # of those another test


def typed() -> st.SearchStrategy[tuple[Any, st.SearchStrategy[Any]]]:
    """Annotations, each with the strategy of its values."""

    def around(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
        some = {"max_size": 3}
        return st.one_of(
            inner.map(lambda t: (list[t[0]], st.lists(t[1], **some))),
            inner.map(lambda t: (tuple[t[0], ...], st.lists(t[1], **some).map(tuple))),
            st.tuples(inner, inner).map(lambda t: (tuple[t[0][0], t[1][0]], st.tuples(t[0][1], t[1][1]))),
            st.tuples(st.sampled_from(KEYS), inner).map(
                lambda t: (dict[t[0][0], t[1][0]], st.dictionaries(t[0][1], t[1][1], **some))
            ),
            st.sampled_from(HASHABLE).map(lambda t: (set[t[0]], st.sets(t[1], **some))),
            st.sampled_from(HASHABLE).map(lambda t: (frozenset[t[0]], st.frozensets(t[1], **some))),
            inner.map(lambda t: (collections.deque[t[0]], st.lists(t[1], **some).map(collections.deque))),
            inner.map(lambda t: (Union[t[0], None], st.none() | t[1])),  # noqa: UP007
        )

    return st.recursive(st.sampled_from(LEAVES), around, max_leaves=4)


@st.composite
def typed_values(draw: Any) -> tuple[Any, Any]:
    hint, values = draw(typed())
    return hint, draw(values)


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT | st.binary() | st.just(MISSING)
    | st.complex_numbers() | st.builds(range, st.integers(-9, 9)),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT | st.integers(), inner, max_size=4)
    | st.lists(inner, max_size=3).map(collections.deque)
    | st.lists(inner, max_size=3).map(lambda values: MapResult("m", values, {}, None)),
    max_leaves=12,
)  # fmt: skip


@settings(deadline=None)
@given(typed_values())
def test_all_comes_back_under_its_annotation(case: tuple[Any, Any]) -> None:
    hint, value = case
    found = CODECS.decode(CODECS.encode(value), hint)
    assert found == value
    assert not list(differences(value, found, CODECS))


@settings(deadline=None)
@given(PLAIN)
def test_plain_data_comes_back_without_an_annotation(value: Any) -> None:
    found = CODECS.decode(CODECS.encode(value))
    assert not list(differences(value, found, CODECS))


@settings(deadline=None)
@given(PLAIN, typed())
def test_a_wrong_annotation_never_fails(value: Any, case: tuple[Any, Any]) -> None:
    CODECS.decode(CODECS.encode(value), case[0])


@settings(deadline=None)
@given(PLAIN, st.integers(0, 5))
def test_what_is_refused_is_named(value: Any, depth: int) -> None:
    bad: Any = object()
    for i in range(depth):
        bad = [value, bad] if i % 2 else {"k": bad}
    with pytest.raises(NotStorable, match="an object, which no codec is for") as refused:
        CODECS.encode(bad)
    place = str(refused.value).partition(":")[0]
    at = bad
    for step in place.removeprefix("value").replace("]", "").split("[")[1:]:
        at = at[int(step)] if step.isdigit() else at[step.strip("'")]
    assert type(at) is object


@settings(deadline=None, max_examples=500)
@given(st.binary(max_size=60), typed())
def test_random_bytes_raise_nothing_but_store_errors(data: bytes, case: tuple[Any, Any]) -> None:
    for prefix in (b"", b"m", b"c", b"p"):
        try:
            CODECS.decode(prefix + data, case[0])
        except StoreError:
            pass


@settings(deadline=None)
@given(PLAIN, st.data())
def test_cut_values_raise_nothing_but_store_errors(value: Any, data: Any) -> None:
    written = CODECS.encode(value)
    assume(len(written) > 2)
    cut = written[: data.draw(st.integers(0, len(written) - 1))]
    if written[:1] == b"b":
        return  # bytes have no end of their own: the row's checksum tells
    with pytest.raises(StoreError):
        CODECS.decode(cut)


@pytest.mark.slow
def test_many_random_bytes() -> None:
    numbers = random.Random(1)
    for _ in range(200_000):
        data = b"m" + numbers.randbytes(numbers.randint(0, 30))
        try:
            CODECS.decode(data)
        except StoreError:
            pass
    for code in range(105, 125):  # each of our extensions
        for size in range(200):
            body = numbers.randbytes(size)
            try:
                CODECS.decode(b"m\xc7" + bytes([size, code]) + body)
            except StoreError:
                pass
