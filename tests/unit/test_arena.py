"""Arena and ArenaDict: the same answers as a list of bytes and as a dict, in few objects."""

from __future__ import annotations

import gc
import sys
from array import array
from threading import Thread
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from flow.data.arena import Arena, ArenaStatistics
from flow.data.arena_store import ArenaDict
from flow.errors import ConfigError, DataError, UsageError
from flow.types import MISSING


@pytest.fixture
def switching() -> Any:
    """Let threads take turns as often as can be."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


def in_threads(count: int, work: Any) -> None:
    """Run ``work(i)`` in ``count`` threads at once and raise what one of them raises."""
    errors: list[BaseException] = []

    def guarded(i: int) -> None:
        try:
            work(i)
        except BaseException as error:
            errors.append(error)

    threads = [Thread(target=guarded, args=(i,)) for i in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


class TestArena:
    def test_what_is_added_is_viewed(self) -> None:
        arena = Arena(64)
        records = [bytes([i]) * (i * 7 % 130) for i in range(100)]  # empty ones and larger than a block among them
        handles = [arena.add(record) for record in records]
        assert [bytes(arena.view(handle)) for handle in handles] == records
        assert len(arena) == 100
        assert len(set(handles)) == 100

    @pytest.mark.parametrize("data", [bytearray(b"abc"), memoryview(b"abc"), memoryview(b"a_b_c_")[::2]])
    def test_anything_with_bytes(self, data: Any) -> None:
        arena = Arena()
        assert bytes(arena.view(arena.add(data))) == b"abc"

    def test_items_wider_than_a_byte(self) -> None:
        arena = Arena()
        numbers = array("Q", [1, 2, 3])
        assert bytes(arena.view(arena.add(memoryview(numbers)))) == numbers.tobytes()

    @pytest.mark.parametrize("data", ["text", 5, None, [1]])
    def test_what_is_no_bytes_is_refused(self, data: Any) -> None:
        with pytest.raises(UsageError, match="an Arena keeps bytes, not"):
            Arena().add(data)

    def test_views_are_read_only(self) -> None:
        arena = Arena()
        view = arena.view(arena.add(b"abc"))
        assert view.readonly
        with pytest.raises(TypeError):
            view[0] = 1

    @pytest.mark.parametrize("size", [0, 63, 2**31, -1, 1.5, True, "64", None])
    def test_block_size_out_of_range(self, size: Any) -> None:
        with pytest.raises(ConfigError, match=r"block_size must be an integer from 64 to 1,073,741,824 bytes, not"):
            Arena(size)

    @pytest.mark.parametrize("handle", [-1, 1 << 60, 1.5, None, "0", True, (1 << 32) | 90])
    def test_a_handle_it_never_gave(self, handle: Any) -> None:
        arena = Arena(64)
        if handle == (1 << 32) | 90:
            arena.add(b"x" * 60)  # a size that runs over the block's end
        with pytest.raises(UsageError, match="is no handle of this Arena"):
            arena.view(handle)

    def test_statistics(self) -> None:
        arena = Arena(64)
        assert arena.statistics() == ArenaStatistics(0, 64, 0, 0, 0, 0)
        arena.add(b"x" * 40)
        arena.add(b"y" * 30)  # does not fit: the first block's last 24 bytes stay unused
        arena.add(b"z" * 100)  # a block of its own
        arena.add(b"v" * 34)  # still fills the second
        assert arena.statistics() == ArenaStatistics(3, 64, 228, 204, 24, 4)

    def test_reset_keeps_blocks_and_forgets_contents(self) -> None:
        arena = Arena(64)
        handles = [arena.add(bytes([i]) * 40) for i in range(5)]
        arena.add(b"z" * 100)
        arena.reset()
        assert arena.statistics() == ArenaStatistics(5, 64, 320, 0, 0, 0)
        with pytest.raises(UsageError, match="before a reset"):
            arena.view(handles[0])
        again = [arena.add(bytes([9 - i]) * 40) for i in range(3)]
        large = arena.add(b"w" * 99)  # among blocks that are kept
        again += [arena.add(bytes([9 - i]) * 40) for i in range(3, 6)]
        assert [bytes(arena.view(handle)) for handle in again] == [bytes([9 - i]) * 40 for i in range(6)]
        assert bytes(arena.view(large)) == b"w" * 99
        assert arena.statistics().blocks == 7

    def test_a_held_view_shows_what_is_written_after_a_reset(self) -> None:
        arena = Arena()
        view = arena.view(arena.add(b"old"))
        arena.reset()
        arena.add(b"new")
        assert bytes(view) == b"new"

    def test_threads(self, switching: None) -> None:
        arena = Arena(256)
        found: list[list[tuple[int, bytes]]] = [[] for _ in range(8)]

        def work(i: int) -> None:
            for n in range(500):
                record = f"{i}:{n}".encode() * (n % 5)
                found[i].append((arena.add(record), record))

        in_threads(8, work)
        assert all(bytes(arena.view(handle)) == record for pairs in found for handle, record in pairs)
        assert arena.statistics().records == 4000
        assert arena.statistics().used == sum(len(record) for pairs in found for _, record in pairs)

    def test_repr(self) -> None:
        arena = Arena(64)
        arena.add(b"x")
        assert repr(arena) == "Arena(1 records, 1 blocks of 64 bytes)"


KEYS = st.one_of(st.sampled_from(["a", "b", "", "\0", "é", "日本", "k" * 31, "k" * 32, "k" * 300]), st.text(max_size=4))
VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**63), 2**64 - 1), st.floats(allow_nan=False), st.text(max_size=80),
    st.binary(max_size=200), st.lists(st.integers(0, 300), max_size=20),
    st.dictionaries(st.text(max_size=3), st.text()),
)  # fmt: skip


class DictModel(RuleBasedStateMachine):
    """An ArenaDict in tiny blocks beside a dict; now and then both are replaced by their copies."""

    def __init__(self) -> None:
        super().__init__()
        self.data = ArenaDict(64)
        self.model: dict[str, Any] = {}
        self.kept: list[tuple[ArenaDict, dict[str, Any]]] = []

    @rule(key=KEYS, value=VALUES)
    def set(self, key: str, value: Any) -> None:
        self.data[key] = self.model[key] = value

    @rule(pairs=st.dictionaries(KEYS, VALUES, max_size=12))
    def update(self, pairs: dict[str, Any]) -> None:
        self.data.update(pairs)
        self.model.update(pairs)

    @rule(key=KEYS)
    def get(self, key: str) -> None:
        assert self.data.get(key, "absent") == self.model.get(key, "absent")
        assert (key in self.data) == (key in self.model)

    @rule(key=KEYS)
    def view(self, key: str) -> None:
        if key in self.model:
            assert msgspec.msgpack.decode(self.data.view(key)) == self.model[key]
        else:
            with pytest.raises(KeyError):
                self.data.view(key)

    @rule(key=KEYS)
    def delete(self, key: str) -> None:
        if key in self.model:
            del self.data[key], self.model[key]
        else:
            with pytest.raises(KeyError):
                del self.data[key]

    @rule(pick=st.integers(0, 100))
    def delete_one_that_is_there(self, pick: int) -> None:
        if self.model:
            self.delete(list(self.model)[pick % len(self.model)])

    @rule(key=KEYS)
    def pop(self, key: str) -> None:
        assert self.data.pop(key, "absent") == self.model.pop(key, "absent")

    @rule(key=KEYS, value=VALUES)
    def setdefault(self, key: str, value: Any) -> None:
        assert self.data.setdefault(key, value) == self.model.setdefault(key, value)

    @rule()
    def popitem(self) -> None:
        if self.model:
            assert self.data.popitem() == self.model.popitem()

    @rule()
    def clear(self) -> None:
        blocks = self.data.statistics().blocks
        self.data.clear()
        self.model.clear()
        assert self.data.statistics().blocks <= blocks

    @rule()
    def copy(self) -> None:
        self.kept = self.kept[-2:] + [(self.data, self.model)]
        self.data, self.model = self.data.copy(), self.model.copy()

    @invariant()
    def agree(self) -> None:
        for data, model in [(self.data, self.model), *self.kept]:
            assert list(data) == list(model)
            assert list(data.items()) == list(model.items())
            assert len(data) == len(model)
            statistics = data.statistics()
            assert statistics.records == len(model)
            expected = sum(len(msgspec.msgpack.encode(pair)) for pair in model.items())
            assert statistics.used == expected
            assert statistics.used + statistics.wasted <= statistics.capacity


TestDictModel = DictModel.TestCase
TestDictModel.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)


class Name(str):
    """As flow.Key is: a str by inheritance."""


class Meddling(array):  # type: ignore[type-arg]
    """Sizes that do something the first time one is read."""

    then: Any = None

    def __getitem__(self, number: Any) -> Any:
        then, Meddling.then = Meddling.then, None
        if then is not None:
            then()
        return super().__getitem__(number)


class Point(msgspec.Struct, frozen=True):
    x: int


class TestArenaDict:
    def test_a_fresh_value_each_time(self) -> None:
        data = ArenaDict()
        given = {"a": [1]}
        data["k"] = given
        given["a"].append(2)
        data["k"]["a"].append(3)
        assert data["k"] == {"a": [1]}

    @pytest.mark.parametrize("count", [0, 1, 3, 4, 5, 1000])
    def test_growing(self, count: int) -> None:
        data = ArenaDict(256)
        data.update((f"k{i}", i) for i in range(count))
        assert dict(data) == {f"k{i}": i for i in range(count)}
        assert "k" not in data

    def test_keys_that_share_their_hash(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("flow.data.arena_store.HASH", 0)
        data, model = ArenaDict(64), {}
        for i in range(40):
            data[f"k{i % 25}"] = model[f"k{i % 25}"] = "v" * i
        for i in range(0, 25, 3):
            del data[f"k{i}"], model[f"k{i}"]
        assert list(data.items()) == list(model.items())
        assert "k0" not in data
        assert data.get("other") is None

    @pytest.mark.parametrize("length", [0, 1, 31, 32, 255, 256, 65_535, 65_536])
    def test_keys_of_every_length(self, length: int) -> None:
        data = ArenaDict()
        data["é" * (length // 2) + "k" * (length % 2)] = length
        assert list(data.items()) == [("é" * (length // 2) + "k" * (length % 2), length)]

    def test_a_key_that_begins_another(self) -> None:
        data = ArenaDict()
        data["ab"], data["a"], data["abc"] = 1, 2, 3
        assert (data["a"], data["ab"], data["abc"]) == (2, 1, 3)

    def test_str_subclasses_are_their_text(self) -> None:
        data = ArenaDict()
        data[Name("n")] = 1
        assert data["n"] == data[Name("n")] == 1
        assert Name("n") in data
        assert [type(key) for key in data] == [str]
        del data[Name("n")]
        assert not data

    @pytest.mark.parametrize("key", [5, None, ["a"], b"a", "\ud800", 1.5])
    def test_looking_up_what_cannot_be_a_key(self, key: Any) -> None:
        data = ArenaDict()
        data["a"] = 1
        assert key not in data
        assert data.get(key) is None
        with pytest.raises(KeyError):
            del data[key]

    @pytest.mark.parametrize("key", [5, None, b"a", ["a"]])
    def test_a_key_that_is_no_str_is_refused(self, key: Any) -> None:
        with pytest.raises(DataError, match=r"a key is a str, not .* \(a "):
            ArenaDict()[key] = 1

    def test_values_that_msgpack_cannot_keep(self) -> None:
        loop: list[Any] = []
        loop.append(loop)
        data = ArenaDict()
        for value in (2**64, lambda: 0, loop, "\ud800", object(), {1j: 2}):
            with pytest.raises(DataError, match="key 'total': a .* that msgpack cannot keep: ") as caught:
                data["total"] = value
            assert type(value).__name__ in caught.value.faults[0]
        with pytest.raises(DataError, match="key '.ud800'"):
            data["\ud800"] = 1
        assert not data
        assert data.statistics().used == 0

    def test_same_size_is_replaced_in_place(self) -> None:
        data = ArenaDict()
        data["n"] = 5
        used = data.statistics()
        view = data.view("n")
        data["n"] = 6
        assert data.statistics() == used
        assert view.tobytes() == b"\x06"
        assert view.readonly
        data["n"] = 1000
        assert data.statistics().wasted == 1 + 2 + 1
        assert data["n"] == 1000

    def test_compacts_once_more_than_half_is_dead(self) -> None:
        data = ArenaDict(1024)
        for i in range(300):
            data[f"k{i}"] = "v" * 50
        full = data.statistics()
        view = data.view("k299")
        for i in range(280):
            del data[f"k{i}"]
        after = data.statistics()
        assert after.capacity < full.capacity / 2
        assert after.wasted <= after.capacity / 2 + 1024
        assert list(data.items()) == [(f"k{i}", "v" * 50) for i in range(280, 300)]
        assert msgspec.msgpack.decode(view) == "v" * 50  # the old blocks live as long as a view of them

    def test_replacing_over_and_over_stays_small(self) -> None:
        data = ArenaDict(1024)
        for i in range(5000):
            data["a"] = "v" * (i % 97)
            data[f"t{i}"] = i
            del data[f"t{i}"]
        assert data.statistics().capacity <= 4096
        assert dict(data) == {"a": "v" * (4999 % 97)}

    def test_a_value_larger_than_a_block(self) -> None:
        data = ArenaDict(64)
        data["small"], data["large"], data["other"] = 1, b"x" * 1_000_000, 2
        assert data["large"] == b"x" * 1_000_000
        assert len(data.view("large")) == 1_000_005
        data["large"] = 3
        assert dict(data) == {"small": 1, "large": 3, "other": 2}
        assert data.statistics().capacity < 1_000

    def test_clear_keeps_blocks_and_copies_are_apart(self) -> None:
        data = ArenaDict(64)
        data.update((f"k{i}", "v" * 20) for i in range(10))
        apart, blocks = data.copy(), data.statistics().blocks
        data.reset()
        assert (len(data), data.statistics().blocks, data.statistics().used) == (0, blocks, 0)
        data["k0"] = "other"
        assert apart["k0"] == "v" * 20
        assert apart == {f"k{i}": "v" * 20 for i in range(10)}
        assert apart != data
        assert apart != 5

    def test_changing_while_iterating(self) -> None:
        data = ArenaDict()
        data.update(dict.fromkeys("abc", 1))
        for key in data:
            data[key] = "a longer value"  # no key comes or goes
        assert dict(data) == dict.fromkeys("abc", "a longer value")
        with pytest.raises(RuntimeError, match="changed during iteration"):
            for key in data:
                data[key + key] = 1
        with pytest.raises(RuntimeError, match="changed during iteration"):
            for key in data:
                data.clear()
                data.update(dict.fromkeys("uvwxyz", 1))

    def test_the_mapping_methods(self) -> None:
        data = ArenaDict()
        assert data.setdefault("a", [1]) == [1]
        assert data.setdefault("a", [2]) == [1]
        assert data.pop("a") == [1]
        assert data.pop("a", None) is None
        assert data.pop("a", MISSING) is MISSING
        assert data.pop(["a"], 5) == 5  # type: ignore[arg-type]
        with pytest.raises(KeyError, match="'a'"):
            data.pop("a")
        data["b"], data["c"], data["d"] = 1, 2, 3
        del data["d"]
        assert [data.popitem(), data.popitem()] == [("c", 2), ("b", 1)]
        with pytest.raises(KeyError, match="empty"):
            data.popitem()
        with pytest.raises(TypeError, match="unhashable"):
            hash(data)
        assert repr(data).startswith("ArenaDict(0 keys, ")

    @given(st.dictionaries(st.text(), VALUES))
    def test_equal_to_the_dict(self, given: dict[str, Any]) -> None:
        data = ArenaDict(128)
        data.update(given)
        assert data == given

    @pytest.mark.slow
    def test_the_collector_sees_few_objects(self) -> None:
        gc.collect()
        before = len(gc.get_objects())
        data = ArenaDict()
        for i in range(20_000):
            data[f"user:{i}"] = {"id": i, "name": f"user {i}"}
        gc.collect()
        assert len(gc.get_objects()) - before < 100
        assert data["user:19999"] == {"id": 19_999, "name": "user 19999"}

    @pytest.mark.parametrize("size", [1, 30, 90])
    def test_a_write_in_the_midst_of_a_read(self, size: int) -> None:
        """The reader has the old position and the new size: it must notice and read again."""
        data = ArenaDict(256)
        data["before"], data["k"], data["after"] = 1, "old" * 10, [1] * 90
        data._index = (*data._index[:4], Meddling("I", data._index[4]), *data._index[5:])
        Meddling.then = lambda: data.__setitem__("k", "n" * size)
        assert data["k"] == "n" * size
        assert dict(data) == {"before": 1, "k": "n" * size, "after": [1] * 90}

    def test_a_clear_in_the_midst_of_a_read(self) -> None:
        data = ArenaDict(256)
        data["k"] = "old"

        def then() -> None:
            data.clear()
            data.update(j=1, k="new")

        data._index = (*data._index[:4], Meddling("I", data._index[4]), *data._index[5:])
        Meddling.then = then
        assert data["k"] == "new"

    def test_what_never_decodes_does_not_hang(self) -> None:
        data = ArenaDict()
        data["k"] = {Point(1): 2}
        with pytest.raises(msgspec.DecodeError):
            data["k"]

    def test_readers_meet_only_whole_values(self, switching: None) -> None:
        """Writers replace, delete, compact and clear; whatever is read was written under that key."""
        data = ArenaDict(256)
        done: list[int] = []

        def write(i: int) -> None:
            for n in range(1500):
                key = f"k{(n * 7 + i) % 10}"
                data[key] = [key] * (n % 9)
                if n % 50 == 0:
                    data.pop(key, None)
                if n % 200 == 199:
                    data.clear()

        def read() -> None:
            while len(done) < 3:
                for k in range(10):
                    found = data.get(f"k{k}", [])
                    assert found == [f"k{k}"] * len(found)

        def work(i: int) -> None:
            if i >= 3:
                read()
                return
            try:
                write(i)
            finally:
                done.append(i)  # whatever happens, readers must end

        in_threads(6, work)

    def test_each_pair_is_popped_once(self, switching: None) -> None:
        data = ArenaDict(256)
        data.update((f"k{i}", i) for i in range(400))
        popped: list[int] = []

        def work(i: int) -> None:
            for n in range(400):
                if (found := data.pop(f"k{n}", None)) is not None:
                    popped.append(found)

        in_threads(6, work)
        assert sorted(popped) == list(range(400))
        assert not data

    def test_writers_lose_nothing(self, switching: None) -> None:
        data = ArenaDict(256)

        def work(i: int) -> None:
            for n in range(400):
                data[f"{i}:{n % 40}"] = "v" * n

        in_threads(8, work)
        assert dict(data) == {f"{i}:{n}": "v" * (360 + n) for i in range(8) for n in range(40)}
