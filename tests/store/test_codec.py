"""The codec of stored values: what comes back as what, what is refused, and what damage does."""

from __future__ import annotations

import collections
import dataclasses
import datetime as dt
import enum
import math
import pickle
import socket
import sys
import threading
import types
import uuid
from decimal import Decimal
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, NamedTuple, TypedDict

import msgspec
import pytest
from conftest import named

from flow.data.mapresult import MapResult
from flow.errors import ConfigError, DamagedRow, MapError, NotStorable, RunError, StoredError, StoreError
from flow.store.codec import Codec, Codecs
from flow.types import ABSENT, MISSING

CODECS = Codecs()


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1


class Weight(enum.Enum):
    HALF = 0.5
    PAIR = (1, 2)


class Rights(enum.Flag):
    READ = 1
    WRITE = 2


@dataclasses.dataclass
class Point:
    x: int
    at: dt.date = dt.date(2020, 1, 1)


class Record(msgspec.Struct, tag=True):
    number: int
    text: str = ""
    inner: Point | None = None


class Pair(NamedTuple):
    a: int
    b: tuple[int, ...]


class Options(TypedDict, total=False):
    when: dt.datetime
    size: int


class Name(str):
    pass


class Numbers(list[int]):
    pass


def back(value: Any, hint: Any = Any, codecs: Codecs = CODECS) -> Any:
    return codecs.decode(codecs.encode(value), hint)


ZONE = dt.timezone(dt.timedelta(hours=2))
ANYWAY = [
    None, True, 0, -1, 2**63, 2**64 - 1, 2**64, -(2**63) - 1, 1 << 5000, 0.0, math.inf, "", "x", "\ud800", b"", b"\0",
    [],
    [1, [2]], {}, {"a": {"b": [1]}}, {(1, (2, 3)): 4},
    {1: 2, None: 3, 1.5: 4, b"x": 5, False: 6}, 1j, [complex(1, -0.0)],
    Path("a/b"), Path("/x\udcff"), {Path("a"): Path("b")}, PurePosixPath("/a"), PureWindowsPath("c:\\a"),
    collections.deque([1, [2]], 3), range(1, 10, 2), {2**70: -(2**70)}, {"\ud800": ["\udfff"]}, [2**64, {"a": 2**65}],
    collections.deque([2**70, "\ud800"]), [{(2**70, "a"): 1j}], MISSING, [ABSENT, MISSING],
    MapResult("m", [1, MISSING, "x"], {}, ["a", 2, (3, 4)]),
    MapResult("m", [MapResult("n", [2**70], {}, None)], {}, None),
    dt.datetime(2020, 1, 1, 1, 2, 3, 4, dt.UTC), dt.datetime(2020, 1, 1, tzinfo=ZONE),
]  # fmt: skip


@pytest.mark.parametrize("value", ANYWAY, ids=lambda v: named(ascii(v))[:40])
def test_comes_back_equal_without_an_annotation(value: Any) -> None:
    found = back(value)
    assert type(found) is type(value)
    assert found == value
    assert back({"a": [value]}) == {"a": [value]}


def test_marks_and_unset_stay_themselves() -> None:
    assert back(MISSING) is MISSING
    assert back([ABSENT])[0] is ABSENT
    assert back(msgspec.UNSET) is msgspec.UNSET


def test_nan_is_nan() -> None:
    assert math.isnan(back(math.nan))
    assert math.isnan(back([math.nan], list[float])[0])


ANNOTATED = [
    ((1, 2), tuple[int, int]), ({1, 2}, set[int]), (frozenset({"a"}), frozenset[str]), (bytearray(b"x"), bytearray),
    (Color.RED, Color), (Level.LOW, Level), (Weight.HALF, Weight), (Weight.PAIR, Weight), (Rights.READ, Rights),
    (Rights.READ | Rights.WRITE, Rights), (dt.datetime(2020, 1, 1, 1, 2, 3, 4), dt.datetime),
    (dt.date(1, 1, 1), dt.date), (dt.time(1, 2, 3, 4), dt.time), (dt.time(1, tzinfo=ZONE), dt.time),
    (dt.timedelta(-3, 1, 5), dt.timedelta), (Decimal("1.10"), Decimal), (uuid.UUID(int=7), uuid.UUID),
    (Point(1), Point), (Point(2**70), Point), (Record(1, "a", Point(2)), Record), (Record(2**70, "\ud800"), Record),
    ([Record(2**70, inner=Point(3))], list[Record]), (Pair(1, (2, 3)), Pair), ([Pair(2**80, ())], list[Pair]),
    ({"when": dt.datetime(2020, 1, 1), "size": 3}, Options), ({"when": dt.datetime(2020, 1, 1),
    "size": 2**70}, Options),
    ({(1, 2): Point(1)}, dict[tuple[int, int], Point]), ({dt.date(2020, 1, 1): 1}, dict[dt.date, int]),
    (collections.deque([Point(1)], 5), collections.deque[Point]), (collections.Counter("aab"),
    collections.Counter[str]),
    (collections.OrderedDict(a=Point(1)), collections.OrderedDict[str, Point]),
    (collections.defaultdict(list, a=[1]), collections.defaultdict[str, list[int]]), (Name("x"), Name),
    (Numbers([1, 2]), Numbers), (Path("a"), Path | None), (None, Path | None), ([Path("a")], list[Path]),
    ((Path("a"), 1j), tuple[Path, complex]), (MapResult("m", [Point(1), MISSING], {}, None), MapResult[Point]),
    ((1, [(2,)]), tuple[int, list[tuple[int, ...]]]), (3, float | int), ("x", str | None),
]  # fmt: skip


@pytest.mark.parametrize(("value", "hint"), ANNOTATED, ids=lambda v: named(ascii(v))[:40])
def test_comes_back_equal_and_of_its_type_under_its_annotation(value: Any, hint: Any) -> None:
    found = back(value, hint)
    assert type(found) is type(value)
    assert found == value
    assert back([value], list[hint])[0] == value or isinstance(value, enum.Enum)


PLAINLY = [
    ((1, (2,)), [1, [2]]), (Point(1), {"x": 1, "at": "2020-01-01"}), (Pair(1, ()), [1, []]), (Color.RED, "red"),
    (Level.LOW, 1), (Weight.PAIR, [1, 2]), (dt.date(2020, 1, 1), "2020-01-01"), (Decimal("1.0"), "1.0"),
    (Name("x"), "x"), (bytearray(b"x"), b"x"), ({1}, [1]), (types.MappingProxyType({"a": 1}), {"a": 1}),
    (collections.Counter("a"), {"a": 1}), (dt.datetime(2020, 1, 1), "2020-01-01T00:00:00"),
    (memoryview(b"x"), b"x"), (Record(1), {"type": "Record", "number": 1, "text": "", "inner": None}),
]  # fmt: skip


@pytest.mark.parametrize(("value", "plain"), PLAINLY, ids=lambda v: named(ascii(v))[:40])
def test_comes_back_as_plain_data_without_an_annotation(value: Any, plain: Any) -> None:
    assert back(value) == plain
    assert type(back(value)) is type(plain)


@dataclasses.dataclass(frozen=True)
class Key:
    x: int
    parts: tuple[int, ...] = ()


def test_records_as_keys() -> None:
    value = {Key(1, (2, 3)): "a", Key(2): "b"}
    plain = {(("x", 1), ("parts", (2, 3))): "a", (("x", 2), ("parts", ())): "b"}
    assert back(value, dict[Key, str]) == value
    assert back(value) == plain
    assert back([{"a": value}, 1]) == [{"a": plain}, 1]
    assert back(collections.deque([value])) == collections.deque([plain])
    many = {Key(i): i for i in range(70_000)}
    assert len(back(many)) == 70_000
    assert back({Key(i): i for i in range(20)})[("x", 19), ("parts", ())] == 19
    with pytest.raises(NotStorable, match="it has records as keys of a dict, and an int beyond 64 bits"):
        CODECS.encode({Key(2**70): 1})


@pytest.mark.parametrize(
    ("value", "hint"),
    [
        ("x", int), (1, str), ([1, "a"], list[int]), ({"a": 1}, Point), (None, Record), ("red!", Color), (1.5, int),
        (True, int), ([1], dict), ({"a": [1]}, dict[str, str]), (1, Point | Record | Pair), (1, "no such"), (1, 7),
        (1, ...), (1, list["nowhere"]),  # noqa: F821
        ("x", Path), (1, socket.socket), ({"x": "y"}, set[int]), ("x", Weight), ({"a": "b"}, collections.Counter[str]),
        (1, types.GenericAlias(list, (int, int))), ([[1]], set[list[int]]),
    ],
    ids=lambda v: named(ascii(v))[:40],
)  # fmt: skip
def test_what_does_not_fit_its_annotation_comes_back_as_it_was(value: Any, hint: Any) -> None:
    assert back(value, hint) == value


def test_a_class_that_refuses_when_it_is_made_comes_back_as_plain_data() -> None:
    @dataclasses.dataclass
    class Picky:
        a: int
        allowed = False

        def __post_init__(self) -> None:
            if not Picky.allowed:
                raise KeyError("no")

    Picky.allowed = True
    data = CODECS.encode(Picky(1))
    assert CODECS.decode(data, Picky) == Picky(1)
    Picky.allowed = False
    assert CODECS.decode(data, Picky) == {"a": 1}


# -- what is refused ------------------------------------------------------------------------


class Reducing:
    def __reduce__(self) -> Any:
        raise RuntimeError("never")


class Evil:
    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(name)

    @property
    def __class__(self) -> Any:
        raise RuntimeError("class")

    def __repr__(self) -> str:
        raise RuntimeError("repr")


class Meta(type):
    def __getattribute__(cls, name: str) -> Any:
        raise RuntimeError(name)


class EvilMapping(collections.UserDict[str, int]):
    def __iter__(self) -> Any:
        raise RuntimeError("iter")


def recursive_list() -> Any:
    value: list[Any] = [1]
    value.append({"a": (value,)})
    return value


def recursive_dict() -> Any:
    value: dict[str, Any] = {}
    value["me"] = [value]
    return value


def deep(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


REFUSED = [
    (lambda: [lambda: 1], "value[0]: a function"), (Reducing, "value: a tests"), (Evil, "Evil"),
    (lambda: {"conn": [1, 2, 3, threading.Lock()]}, "value['conn'][3]: a _thread.lock"),
    (lambda: {"a": {"b": (1, {Reducing()})}}, "value['a']['b'][1] item: a"), (lambda: {Reducing(): 1}, "value key a"),
    (lambda: Record(1, inner=Reducing()), "value.inner: a"), (lambda: [Point(Reducing())],
    "value[0].x: a"),  # type: ignore[arg-type]
    (lambda: Pair(1, (Reducing(),)), "value.b[0]: a"), (lambda: [collections.deque([1, Evil()])], "value[0][1]: a"),
    (lambda: MapResult("m", [1, Reducing()], {}, None), "value[1]: a"),
    (recursive_list, "value[1]['a'][0] holds itself"),
    (recursive_dict, "value['me'][0] holds itself"), (lambda: deep(1_000_000), "nests too deeply"),
    (lambda: (x for x in ()), "a generator"), (lambda: int, "a type"), (lambda: sys, "a module"),
    (lambda: ..., "an ellip"),
    (lambda: [2**70, Reducing()], "value[1]: a"), (lambda: Meta("M", (), {})(), "value: a"), (EvilMapping, "value: a"),
    (lambda: EvilMapping(a=1), "looking at it raised RuntimeError: iter"), (object, "value: an object"),
]  # fmt: skip


@pytest.mark.parametrize(("make", "says"), REFUSED, ids=lambda v: v if isinstance(v, str) else "")
def test_what_cannot_be_stored_is_named_with_its_place(make: Any, says: str) -> None:
    if make is EvilMapping:
        make = lambda: EvilMapping({"a": 1})  # noqa: E731
    value = make()
    with pytest.raises(NotStorable) as refused:
        CODECS.encode(value)
    text = str(refused.value)
    assert says.replace("a tests", "a test_codec") in text
    assert "return what can be stored, give the store a codec for it (codecs=), or say store=False on the node" in text
    assert refused.value.final


def test_a_socket_is_named() -> None:
    with socket.socket() as one, pytest.raises(NotStorable, match=r"value\['conn'\]: a socket\.socket, which no codec"):
        CODECS.encode({"conn": one})


def test_no_value_is_shown() -> None:
    class Secretive(Reducing):
        def __repr__(self) -> str:
            return "hunter2"

    with pytest.raises(NotStorable) as refused:
        CODECS.encode({"a": Secretive()})
    assert "hunter2" not in str(refused.value)


def test_as_deep_as_it_is_written_it_is_read() -> None:
    levels = 1
    while levels < 1_000_000:
        try:
            data = CODECS.encode(deep(levels))
        except NotStorable:
            break
        levels += 1 + levels // 30
    assert levels > 300

    def down(left: int) -> Any:
        return CODECS.decode(data) if not left else down(left - 1)

    depth = sys.getrecursionlimit() - 200
    found = down(depth)
    for _ in range(300):
        found = found[0]


@pytest.mark.slow
def test_a_hundred_megabytes() -> None:
    value = b"x" * 100_000_000
    data = CODECS.encode(value)
    assert len(data) == len(value) + 1
    assert CODECS.decode(data) == value
    assert CODECS.decode(CODECS.encode([value]))[0] == value


# -- exceptions -----------------------------------------------------------------------------


class Custom(Exception):
    def __init__(self, code: int, *, why: str) -> None:
        super().__init__(code)
        self.why = why

    def __str__(self) -> str:
        return f"failed with {self.args[0]}: {self.why}"


class Mute(Exception):
    def __str__(self) -> str:
        raise RuntimeError("mute")

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(name)


@dataclasses.dataclass
class Fields(Exception):
    code: int


def raised(error: BaseException) -> BaseException:
    try:
        raise error
    except BaseException as caught:
        return caught


def test_an_exception_comes_back_with_type_text_and_traceback() -> None:
    found = back(raised(ValueError("bad")))
    assert type(found) is StoredError
    assert (found.type, found.text) == ("ValueError", "bad")
    assert "raised(ValueError" in found.traceback or "raise error" in found.traceback
    custom = back({"e": raised(Custom(3, why="x"))})["e"]
    assert (custom.type, custom.text) == ("test_codec.Custom", "failed with 3: x")


def test_exceptions_that_misbehave() -> None:
    assert back(Mute()).text == "(its message cannot be shown: its __str__ raised RuntimeError)"
    assert back(Mute()).type == "test_codec.Mute"
    assert back(Fields(3)).type == "test_codec.Fields"
    assert back(KeyboardInterrupt()).type == "KeyboardInterrupt"
    assert back(ValueError("\ud800")).text == "\\ud800"
    assert back(KeyError("x")).text == "'x'"
    assert len(back(ValueError("x" * 10**6)).text) < 70_000
    local = type("Local", (Exception,), {"__module__": 3})
    assert back(local("x")).text == "x"


def test_a_long_traceback_is_cut() -> None:
    def down(left: int) -> None:
        if left:
            exec(f"def f{left}(g, n): g(n)\nf{left}(down, {left - 1})", {"down": down})
        raise ValueError("deep")

    try:
        down(100)
    except ValueError as error:
        found = back(error)
    assert 10_000 < len(found.traceback) <= 16_384
    assert found.traceback.startswith("Traceback")
    assert found.traceback.endswith("ValueError: deep\n")


def test_notes_and_a_stored_error_stay() -> None:
    error = ValueError("x")
    error.add_note("in node a")
    found = back(error)
    assert found.__notes__ == ["in node a"]
    again = back(found)
    assert (again.type, again.text, again.traceback, again.__notes__) == (
        "ValueError",
        "x",
        found.traceback,
        ["in node a"],
    )


def test_groups_keep_their_parts() -> None:
    found = back(ExceptionGroup("several", [ValueError("a"), ExceptionGroup("inner", [KeyError("b")])]))
    assert type(found) is ExceptionGroup
    assert found.message == "several"
    assert [e.type for e in (found.exceptions[0], found.exceptions[1].exceptions[0])] == ["ValueError", "KeyError"]
    several = back(MapError("2 items failed", [ValueError("a"), ValueError("b")], [3, 7]))
    assert type(several) is MapError
    assert several.indices == (3, 7)
    run = back(RunError("run failed", [ValueError("a")], None, ["n"], True))
    assert type(run) is RunError
    assert (run.nodes, run.timed_out) == (("n",), True)
    base = back(BaseExceptionGroup("stop", [KeyboardInterrupt()]))
    assert base.exceptions[0].type == "KeyboardInterrupt"


def test_a_group_without_end_is_cut() -> None:
    error: Exception = ValueError("x")
    for _ in range(500):
        error = ExceptionGroup("g", [error])
    assert isinstance(back(error), ExceptionGroup)


def test_errors_of_a_map_result() -> None:
    found = back(MapResult("m", [MISSING, 2], {0: Custom(1, why="w")}, ["a", "b"]))
    assert found.values == [2]
    assert (found.errors[0].type, found.keys) == ("test_codec.Custom", ["a", "b"])


# -- codecs of the user's -------------------------------------------------------------------


class Money:
    def __init__(self, amount: int) -> None:
        self.amount = amount

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Money) and self.amount == other.amount

    __hash__ = None  # type: ignore[assignment]


class Euro(Money):
    pass


class MoneyCodec:
    name = "money"
    types = (Money,)

    def encode(self, value: Any) -> bytes:
        return str(value.amount).encode()

    def decode(self, data: bytes) -> Any:
        return Money(int(data))


class Handling(MoneyCodec):
    types = ()

    def handles(self, value: Any) -> bool:
        return type(value) is Money

    def __bool__(self) -> bool:
        raise RuntimeError


def test_a_codec_writes_its_types_everywhere() -> None:
    for codecs in (Codecs([MoneyCodec()]), Codecs([Handling()])):  # type: ignore[list-item]
        assert back(Money(3), codecs=codecs) == Money(3)
        assert back(Money(3), Money, codecs) == Money(3)
        assert back({"a": [Money(3)]}, dict[str, list[Money]], codecs) == {"a": [Money(3)]}
    assert isinstance(MoneyCodec(), Codec)
    assert back(Euro(4), codecs=Codecs([MoneyCodec()])) == Money(4)


def test_a_codec_that_is_gone_or_fails_says_so() -> None:
    data = Codecs([MoneyCodec()]).encode([Money(1)])
    with pytest.raises(StoreError, match="written by a codec 'money', which this store does not have"):
        CODECS.decode(data)
    bad = CODECS.__class__([MoneyCodec()])
    with pytest.raises(StoreError, match="codec 'money' cannot read what it has written: ValueError"):
        bad.decode(b"c\x05moneyx")

    class Broken(MoneyCodec):
        def encode(self, value: Any) -> Any:
            return value.amount if value.amount else 1 / 0

    codecs = Codecs([Broken()])
    with pytest.raises(NotStorable, match=r"value\[0\]: a test_codec.Money: codec 'money' has returned an int, not b"):
        codecs.encode([Money(1)])
    with pytest.raises(NotStorable, match="cannot write it: ZeroDivisionError") as refused:
        codecs.encode(Money(0))
    assert isinstance(refused.value.__cause__, ZeroDivisionError)


def test_codecs_are_checked() -> None:
    class Nameless:
        name = "a/b"
        types = (int,)

    with pytest.raises(ConfigError) as wrong:
        Codecs([MoneyCodec(), MoneyCodec(), Nameless()])  # type: ignore[list-item]
    text = str(wrong.value)
    for says in ("two codecs are called 'money'", "1 to 32 letters", "no method encode", "is for int, which"):
        assert says in text
    for codecs in (3, "x", [type("N", (MoneyCodec,), {"name": "npy"})()], [type("N", (MoneyCodec,), {"types": ()})()]):
        with pytest.raises(ConfigError):
            Codecs(codecs)  # type: ignore[arg-type]


# -- pickle ---------------------------------------------------------------------------------


def test_pickle_is_never_used_unless_it_is_allowed() -> None:
    with pytest.raises(NotStorable):
        CODECS.encode(Money(1))
    written = b"".join(Codecs(pickle=True).encode(value) for value in ANYWAY)
    assert not written.startswith(b"p")
    assert b"\x80\x05" not in written
    data = CODECS.encode(Money(1), pickle=True)
    assert data[:1] == b"p"
    assert data == Codecs(pickle=True).encode(Money(1))


def test_what_is_pickled_is_read_only_where_that_is_allowed() -> None:
    data = CODECS.encode([Money(1)], pickle=True)
    with pytest.raises(StoreError, match="written by pickle, which neither this store nor the node allows"):
        CODECS.decode(data)
    assert CODECS.decode(data, pickle=True) == [Money(1)]
    assert Codecs(pickle=True).decode(data, int) == [Money(1)]
    with pytest.raises(StoreError, match="a pickled value cannot be read"):
        CODECS.decode(b"pxxxx", pickle=True)


class Fickle:
    def __reduce__(self) -> Any:
        return (int, ("x",))


def test_what_pickle_cannot_write_or_read_again_is_refused() -> None:
    for value, says in (
        (lambda: 1, "nor can it be pickled"),
        (Reducing(), "RuntimeError: never"),
        (Fickle(), "ValueError"),
    ):
        with pytest.raises(NotStorable, match=says):
            CODECS.encode(value, pickle=True)


# -- damage ---------------------------------------------------------------------------------


def test_damage_is_an_error_that_says_so() -> None:
    for data in (
        b"",
        b"m",
        b"x1",
        b"\0",
        b"m\xc1",
        b"c",
        b"c\0",
        b"c\x40ab",
        b"m\x92\1",
        b"m\1\1",
        b"m\xdd\xff\xff\xff\xff",
    ):
        with pytest.raises(DamagedRow):
            CODECS.decode(data)
        with pytest.raises(DamagedRow):
            CODECS.decode(memoryview(data), list[int])


def test_foreign_extensions_stay_what_they_are() -> None:
    found = back(msgspec.msgpack.Ext(5, b"x"))
    assert (found.code, bytes(found.data)) == (5, b"x")


def test_many_annotations_do_not_pile_up() -> None:
    codecs = Codecs()
    for i in range(600):
        assert codecs.decode(codecs.encode(i), type(f"T{i}", (), {})) == i
    assert len(codecs._decoders) <= 512


def test_nothing_of_it_is_loaded_by_import_flow() -> None:
    import subprocess

    code = "import sys, flow; assert not any(m.startswith('flow.store') for m in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
    code = "import sys, flow.store.codec; assert not {'pickle', 'numpy', 'pyarrow'} & set(sys.modules), sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert pickle  # of this test
