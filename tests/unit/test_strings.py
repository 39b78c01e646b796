"""StringPool and ArenaStrings against a dict of the strings."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from threading import Thread
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flow.data.strings import ArenaStrings, StringPool, StringStatistics
from flow.errors import ConfigError, DataError, UsageError


def fresh(text: str) -> str:
    """Return an equal string that is another object."""
    return "".join([text[:1], text[1:]]) if len(text) > 1 else text


class Name(str):
    """As flow.Key is: a str by inheritance."""


class TestStringPool:
    def test_one_object_for_equal_strings(self) -> None:
        pool = StringPool()
        first, second = fresh("some text"), fresh("some text")
        assert first is not second
        assert pool.intern(first) is first
        assert pool.intern(second) is first
        assert pool.statistics() == StringStatistics(hits=1, misses=1, refused=0, size=1, characters=9)

    def test_long_strings_pass_through(self) -> None:
        pool = StringPool(max_length=4)
        text = fresh("12345")
        assert pool.intern(text) is text
        assert text not in pool
        assert pool.intern("1234") == "1234"
        assert pool.statistics() == StringStatistics(0, 1, 1, 1, 4)

    def test_beyond_capacity_strings_pass_through(self) -> None:
        pool = StringPool(capacity=2)
        kept = [pool.intern(text) for text in ("one", "two")]
        late = fresh("three")
        assert pool.intern(late) is late
        assert "three" not in pool
        assert pool.intern(fresh("one")) is kept[0]
        assert len(pool) == 2
        assert repr(pool) == "StringPool(2 of 2 strings)"

    def test_a_batch(self) -> None:
        pool = StringPool(capacity=3)
        texts = [fresh(text) for text in ("aa", "bb", "aa", "cc", "dd", "bb")]
        found = pool.intern_many(iter(texts))
        assert found == texts
        assert found[2] is texts[0]
        assert found[5] is texts[1]
        assert pool.statistics() == StringStatistics(hits=2, misses=3, refused=1, size=3, characters=6)
        again = pool.intern_many([fresh("aa"), fresh("cc")])
        assert [a is b for a, b in zip(again, [texts[0], texts[3]], strict=True)] == [True, True]
        assert pool.statistics().hits == 4
        assert pool.intern_many([]) == []

    def test_a_subclass_is_kept_as_its_text(self) -> None:
        pool = StringPool()
        kept = pool.intern(Name("n"))
        assert type(kept) is str
        assert pool.intern(Name("n")) is kept

    @pytest.mark.parametrize("text", [5, None, b"a", ["a"]])
    def test_what_is_no_string_is_refused(self, text: Any) -> None:
        pool = StringPool()
        with pytest.raises(UsageError, match=r"a StringPool keeps strings, not .* \(a "):
            pool.intern(text)
        with pytest.raises(UsageError, match=r"a StringPool keeps strings, not .* \(a "):
            pool.intern_many(["first", text])
        assert "first" in pool

    def test_clear(self) -> None:
        pool = StringPool(capacity=1)
        pool.intern("a text")
        pool.clear()
        assert pool.statistics() == StringStatistics(0, 0, 0, 0, 0)
        pool.intern("another")
        assert "another" in pool

    def test_settings_out_of_range(self) -> None:
        with pytest.raises(ConfigError) as caught:
            StringPool(capacity=0, max_length="long")  # type: ignore[arg-type]
        assert len(caught.value.faults) == 2
        assert "capacity must be an integer > 0, not 0" in caught.value.faults[0]

    @given(st.lists(st.text(max_size=3)), st.integers(1, 5), st.integers(1, 3))
    def test_as_a_bounded_dict_would(self, texts: list[str], capacity: int, max_length: int) -> None:
        pool = StringPool(capacity, max_length)
        kept: dict[str, str] = {}
        for text in texts:
            if len(text) <= max_length and len(kept) < capacity:
                kept.setdefault(text, text)
            assert pool.intern(text) is kept.get(text, text)
        statistics = pool.statistics()
        assert statistics.hits + statistics.misses + statistics.refused == len(texts)
        assert (statistics.size, statistics.characters) == (len(kept), sum(map(len, kept)))

    def test_threads_all_get_the_same_object(self) -> None:
        pool = StringPool()
        before = sys.getswitchinterval()
        found: list[list[str]] = []

        def work() -> None:
            found.append([pool.intern(f"text {n}") for n in range(300)])
            found.append(pool.intern_many(f"text {n}" for n in range(300)))

        sys.setswitchinterval(1e-5)
        try:
            threads = [Thread(target=work) for _ in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        finally:
            sys.setswitchinterval(before)
        assert len(found) == 16
        assert all(a is b for texts in found for a, b in zip(texts, found[0], strict=True))
        assert pool.statistics().misses == 300


class TestArenaStrings:
    def test_equal_strings_have_equal_handles(self) -> None:
        names = ArenaStrings(64)
        texts = ["ada", "", "grace", "ada", "日本", "x" * 500, "x" * 500, "\0"]
        handles = names.add_many(texts)
        assert [names.get(handle) for handle in handles] == texts
        assert len(set(handles)) == len(set(texts)) == len(names)
        assert names.statistics().records == 6
        assert repr(names).startswith("ArenaStrings(6 strings, ")

    @given(st.lists(st.text(max_size=5)))
    def test_as_a_dict_would(self, texts: list[str]) -> None:
        names = ArenaStrings(64)
        handles: dict[str, int] = {}
        for text in texts:
            assert names.add(text) == handles.setdefault(text, names.add(text))
        assert {text: names.get(handle) for text, handle in handles.items()} == {text: text for text in texts}
        assert len(names) == len(handles)
        assert all(text in names for text in texts)
        assert names.statistics().used == sum(1 + len(msgspec.msgpack.encode(text)) for text in handles)

    def test_many(self) -> None:
        names = ArenaStrings()
        handles = names.add_many(f"user {i % 500}" for i in range(2000))
        assert list(handles) == list(range(1, 501)) * 4
        assert handles.itemsize == 4
        assert names.get(handles[77]) == "user 77"

    @pytest.mark.parametrize("handle", [0, -1, 3, 1.0, True, "1", None])
    def test_a_handle_it_never_gave(self, handle: Any) -> None:
        names = ArenaStrings()
        names.add_many("ab")
        with pytest.raises(UsageError, match="is no handle of these ArenaStrings"):
            names.get(handle)

    def test_reset(self) -> None:
        names = ArenaStrings()
        handle = names.add("ada")
        names.reset()
        with pytest.raises(UsageError, match="before a reset"):
            names.get(handle)
        assert "ada" not in names
        assert names.statistics().blocks == 1
        assert names.get(names.add("grace")) == "grace"

    def test_what_cannot_be_kept(self) -> None:
        names = ArenaStrings()
        with pytest.raises(DataError, match="5 is a int, not a str"):
            names.add(5)  # type: ignore[arg-type]
        with pytest.raises(DataError, match="cannot be encoded: surrogates not allowed"):
            names.add("a\ud800")
        assert "a\ud800" not in names
        assert 5 not in names

    def test_subclasses_are_their_text(self) -> None:
        names = ArenaStrings()
        assert names.add(Name("n")) == names.add("n")
        assert Name("n") in names
        assert type(names.get(1)) is str

    def test_threads(self) -> None:
        names = ArenaStrings(128)
        found: list[Sequence[int]] = []
        before = sys.getswitchinterval()
        sys.setswitchinterval(1e-5)
        try:
            threads = [
                Thread(target=lambda: found.append(names.add_many(f"t{n % 90}" for n in range(400)))) for _ in range(8)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        finally:
            sys.setswitchinterval(before)
        assert len(found) == 8
        assert all(handles == found[0] for handles in found)
        assert len(names) == 90
        assert [names.get(handle) for handle in found[0][:90]] == [f"t{n}" for n in range(90)]
