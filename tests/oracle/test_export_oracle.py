"""Any plain context comes back from its bytes as it was, and what encoders write; damage raises one kind of error."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any, NamedTuple

import msgspec
from conftest import examples
from hypothesis import given
from hypothesis import strategies as st

import flow
from flow import Context
from flow.data import ContextExport
from flow.errors import DataError
from flow.testing import FakeClock, context


class Pair(NamedTuple):
    one: Any
    two: Any


ENCODE: dict[Any, Any] = {
    Pair: list, tuple: list, frozenset: list, complex: lambda given: [given.real, given.imag], bytes: bytes.hex,
}  # fmt: skip
DECODE: dict[Any, Any] = {
    Pair: lambda found: Pair(*found), tuple: tuple, frozenset: frozenset, complex: lambda found: complex(*found),
    bytes: bytes.fromhex,
}  # fmt: skip

TEXT = st.text(st.characters(codec="utf-8"), max_size=8)
FINITE = st.floats(allow_nan=False, allow_infinity=False)
PLAIN = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | FINITE | TEXT
DATES = st.datetimes(datetime(1900, 1, 1), datetime(2900, 1, 1))


def nested(scalars: st.SearchStrategy[Any], *more: Any) -> st.SearchStrategy[Any]:
    def within(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
        lists = st.lists(inner, max_size=3)
        return st.one_of(lists, st.dictionaries(TEXT, inner, max_size=3), *[make(inner, lists) for make in more])

    return st.recursive(scalars, within, max_leaves=12)


VALUES = nested(PLAIN)
ANY = nested(
    PLAIN | st.binary(max_size=4) | st.complex_numbers(allow_nan=False, allow_infinity=False),
    lambda inner, lists: st.builds(Pair, inner, inner),
    lambda inner, lists: lists.map(tuple),
    lambda inner, lists: st.frozensets(TEXT, max_size=3),
)


def exports(values: st.SearchStrategy[Any]) -> st.SearchStrategy[ContextExport]:
    """Those of nodes, of items, and of children of items, with what they wrote and deleted over what was there."""

    @st.composite
    def made(draw: st.DrawFn) -> ContextExport:
        keys = st.dictionaries(TEXT, values, max_size=3)
        clock = FakeClock(epoch=draw(DATES).replace(tzinfo=UTC).timestamp())
        ctx = context(inputs=draw(keys), attempt=draw(st.integers(1, 9)), clock=clock)
        for level in range(draw(st.integers(0, 2)) + 1):
            if level:
                ctx = ctx.child(draw(values), draw(st.none() | st.integers(0, 9)))
            for key in draw(st.sets(st.sampled_from(ctx.data.keys()))) if len(ctx.data) else ():
                del ctx.data[key]
            for key, value in draw(keys).items():
                ctx.data[key] = value
        clock.sleep(draw(st.floats(0, 1e6)))
        return msgspec.structs.replace(ctx.export(), outputs=draw(keys))

    return made()


def same(one: Any, other: Any) -> bool:
    """Equal, and of the same types, all the way down."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, float):
        return one == other and math.copysign(1, one) == math.copysign(1, other)
    return bool(one == other)


def fields(export: ContextExport) -> dict[str, Any]:
    return msgspec.structs.asdict(export)


@examples(150)
@given(exports(VALUES))
def test_plain_contexts_come_back(export: ContextExport) -> None:
    for read in (ContextExport.from_json(export.to_json()), ContextExport.from_msgpack(export.to_msgpack())):
        assert same(fields(read), fields(export))
        imported = Context.from_export(read)
        assert same(fields(imported.export()), fields(export))
        assert dict(imported.inputs) == export.inputs
        assert dict(imported.data.outputs) == export.outputs
        assert dict(imported.data.items()) == export.data
        assert (imported.item, imported.attempt, imported.system) == (export.item, export.system.attempt, export.system)


@examples(150)
@given(exports(ANY))
def test_what_encoders_write_comes_back(export: ContextExport) -> None:
    read = ContextExport.from_json(export.to_json(encode=ENCODE), decode=DECODE)
    assert same(fields(read), fields(export))
    read = ContextExport.from_msgpack(export.to_msgpack(encode=ENCODE), decode=DECODE)
    assert same(fields(read), fields(export))


@examples(300)
@given(exports(ANY), st.data())
def test_damage_raises_one_error_or_is_a_context(export: ContextExport, data: st.DataObject) -> None:
    """A letter of a value may become another letter, and a damaged place lead elsewhere; nothing else is raised."""
    form = data.draw(st.sampled_from(["json", "msgpack"]))
    raw = bytearray(getattr(export, f"to_{form}")(encode=ENCODE))
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        read = getattr(ContextExport, f"from_{form}")(bytes(raw), decode=dict.fromkeys(DECODE, lambda found: found))
    except DataError as error:
        assert str(error).startswith("no context can be read from this ")
    else:
        assert isinstance(flow.Context.from_export(read).export(), ContextExport)


@examples(100)
@given(st.binary(max_size=40))
def test_foreign_bytes_raise_one_error(raw: bytes) -> None:
    for read in (ContextExport.from_json, ContextExport.from_msgpack):
        try:
            read(raw)
        except DataError:
            continue
        raise AssertionError(raw)
