"""What a reader of a run's events finds, whatever its pace: :class:`flow.run.unread.Unread`."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from conftest import examples
from hypothesis import given
from hypothesis import strategies as st

from flow.run import unread as module
from flow.run.events import (
    Event,
    ItemFinished,
    NodeEmitted,
    NodeFinished,
    NodeStarted,
    RunFinished,
    RunStarted,
)
from flow.run.unread import Unread


def emit(
    key: str, value: Any, append: bool = False, offset: int = 0, *, node: str = "n", index: int | None = None
) -> NodeEmitted:
    return NodeEmitted("r", node, key, value, append, offset, 0.0, index)


def started(run_id: str = "r") -> RunStarted:
    return RunStarted(run_id, "dag", 1, 0.0)


def finished(run_id: str = "r") -> RunFinished:
    return RunFinished(run_id, "dag", True, {}, 0.0, 0.0)


def drained(unread: Unread) -> list[Event]:
    found = []
    while (event := unread.take()) is not None:
        found.append(event)
    return found


def after(*events: Event) -> list[Event]:
    """What is unread after these events."""
    unread = Unread()
    for event in events:
        unread.put(event)
    return drained(unread)


class TestEvents:
    def test_in_order(self) -> None:
        events = [started(), NodeStarted("r", "a", 1, 0.1), NodeFinished("r", "a", 1, 0.1, 0.2), finished()]
        assert after(*events) == events

    def test_the_newest_at_the_place_of_the_first(self) -> None:
        first, second = NodeStarted("r", "a", 1, 0.1), NodeStarted("r", "a", 2, 0.5)
        other = NodeStarted("r", "b", 1, 0.2)
        assert after(first, other, second) == [second, other]

    def test_one_that_was_read_keeps_no_place(self) -> None:
        unread = Unread()
        first, other, second = (NodeStarted("r", name, 1, 0.1) for name in "aba")
        unread.put(first)
        assert unread.take() == first
        unread.put(other)
        unread.put(second)
        assert drained(unread) == [other, second]
        assert (unread.arrived, unread.read, len(unread)) == (3, 3, 0)

    def test_items_of_a_map_are_one(self) -> None:
        events = [ItemFinished("r", "m", k, 0.0) for k in range(1_000)]
        assert after(*events) == events[-1:]

    def test_nothing_comes_after_the_end_of_the_run(self) -> None:
        late = NodeStarted("inner", "a", 1, 9.0)
        assert after(started(), finished(), late) == [started(), finished()]


class TestEmitted:
    def test_the_newest_value_of_each_key(self) -> None:
        assert after(emit("a", 1), emit("b", 1), emit("a", 2), emit("a", 3, node="m")) == [
            emit("a", 2), emit("b", 1), emit("a", 3, node="m"),
        ]  # fmt: skip

    def test_texts_are_joined_with_the_offset_of_the_first(self) -> None:
        unread = Unread()
        unread.put(emit("t", "ab", True, 0))
        assert unread.take() == emit("t", "ab", True, 0)
        for offset, letter in enumerate("cde", 2):
            unread.put(emit("t", letter, True, offset))
        assert drained(unread) == [emit("t", "cde", True, 2)]

    def test_the_time_is_that_of_the_last(self) -> None:
        (event,) = after(NodeEmitted("r", "n", "t", "a", True, 0, 1.0), NodeEmitted("r", "n", "t", "b", True, 1, 2.0))
        assert event == NodeEmitted("r", "n", "t", "ab", True, 0, 2.0)

    def test_a_text_goes_on_from_a_value(self) -> None:
        assert after(emit("t", "ab"), emit("t", "c", True, 2)) == [emit("t", "abc")]

    def test_a_value_takes_the_place_of_a_text(self) -> None:
        assert after(emit("t", "ab", True, 0), emit("t", 5)) == [emit("t", 5)]
        assert after(emit("t", 5), emit("t", "ab", True, 0)) == [emit("t", "ab", True, 0)]

    def test_a_text_that_begins_anew(self) -> None:
        assert after(emit("t", "ab", True, 3), emit("t", "xy", True, 0)) == [emit("t", "xy", True, 0)]
        assert after(emit("t", "abcd", True, 3), emit("t", "xy", True, 5)) == [emit("t", "abxy", True, 3)]

    def test_texts_of_items_are_apart_and_their_values_are_not(self) -> None:
        events = [emit("t", "a", True, 0, index=0), emit("t", "b", True, 0, index=1), emit("t", "c", True, 1, index=0)]
        assert after(*events) == [emit("t", "ac", True, 0, index=0), emit("t", "b", True, 0, index=1)]
        assert after(*[emit("v", k, index=k) for k in range(100)]) == [emit("v", 99, index=99)]

    def test_values_and_texts_of_one_item(self) -> None:
        assert after(emit("t", "a", True, 0, index=0), emit("t", "new", index=0)) == [emit("t", "new", index=0)]
        assert after(emit("t", "new", index=0), emit("t", "er", True, 3, index=0)) == [emit("t", "newer", index=0)]
        events = [emit("t", "new", index=0), emit("t", "x", True, 0, index=1)]
        assert after(*events) == events


class Model:
    """What a reader makes of the events that it gets: each key's present value."""

    def __init__(self) -> None:
        self.values: dict[tuple[str, int | None], Any] = {}

    def take_in(self, event: Event | None) -> None:
        if isinstance(event, NodeEmitted):
            place = (event.key, event.index)
            before = self.values.get(place)
            text = before if isinstance(before, str) else ""
            assert not event.append or event.offset <= len(text)
            self.values[place] = text[: event.offset] + event.value if event.append else event.value


READ, RESTART = "read", "restart"
STEPS = st.lists(
    st.one_of(
        st.just(READ),
        st.tuples(st.just(RESTART), st.sampled_from("ab")),
        st.tuples(st.sampled_from("ab"), st.text(max_size=3), st.booleans()),
        st.tuples(st.sampled_from("ab"), st.integers(), st.just(False)),
    ),
    max_size=60,
)


@examples(500)
@given(STEPS)
def test_at_any_pace_a_reader_ends_with_what_was_emitted(steps: list[Any]) -> None:
    unread, reader, truth, length = Unread(), Model(), Model(), {"a": 0, "b": 0}
    for step in steps:
        if step == READ:
            reader.take_in(unread.take())
        elif step[0] == RESTART:  # another attempt
            length[step[1]] = 0
        else:
            key, value, append = step
            event = emit(key, value, append, length[key] if append else 0)
            length[key] = event.offset + len(value) if isinstance(value, str) else 0
            unread.put(event)
            truth.take_in(event)
        assert len(unread) <= 2
    for event in drained(unread):
        reader.take_in(event)
    assert reader.values == truth.values


@examples(300)
@given(st.lists(st.tuples(st.text(max_size=4), st.booleans()), max_size=50))
def test_parts_of_a_text_give_the_whole_in_order(parts: list[tuple[str, bool]]) -> None:
    """Appended alone, the texts that a reader gets are the whole text, each at its offset, without gaps or overlaps."""
    unread, whole, got = Unread(), "", ""
    for text, read in [*parts, ("", True)]:
        unread.put(emit("t", text, True, len(whole)))
        whole += text
        if read:
            (event,) = drained(unread)
            assert isinstance(event, NodeEmitted)
            assert event.offset == len(got)
            got += event.value
    assert got == whole


class TestNestedRuns:
    """Their number has no bound, so those that end before anything of them is read have one."""

    @pytest.fixture(autouse=True)
    def few(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module, "MAX_ENDED", 3)

    def nested(self, k: int, ends: bool = True) -> list[Event]:
        run_id = f"inner{k}"
        return [started(run_id), NodeStarted(run_id, "a", 1, 0.0), *([finished(run_id)] if ends else [])]

    def test_the_oldest_are_left_out_whole(self) -> None:
        runs = [self.nested(k) for k in range(10)]
        assert after(started(), *sum(runs, [])) == [started(), *sum(runs[-3:], [])]

    def test_those_that_go_on_stay(self) -> None:
        going, runs = self.nested(99, ends=False), [self.nested(k) for k in range(10)]
        assert after(started(), *going, *sum(runs, [])) == [started(), *going, *sum(runs[-3:], [])]

    def test_what_has_been_read_in_part_stays(self) -> None:
        unread, first, runs = Unread(), self.nested(99), [self.nested(k) for k in range(10)]
        for event in [started(), *first]:
            unread.put(event)
        assert [unread.take(), unread.take()] == [started(), first[0]]
        for event in sum(runs, []):
            unread.put(event)
        assert drained(unread) == [*first[1:], *sum(runs[-3:], [])]

    def test_memory_is_bounded(self) -> None:
        unread = Unread()
        unread.put(started())
        for k in range(5_000):
            for event in self.nested(k):
                unread.put(event)
            if k % 100 == 0:
                unread.take()
            assert len(unread) <= 20
        assert len(unread._fresh) <= 3
        assert len(unread._over) <= 3


class Waiter:
    def __init__(self) -> None:
        self.over = False

    def done(self) -> bool:
        return self.over

    def set_result(self, result: None) -> None:
        assert not self.over
        self.over = True


class TestWaking:
    def test_only_when_the_reader_waits(self) -> None:
        unread, woken = Unread(), list[Any]()
        unread.read_by(Waiter, lambda *call: woken.append(call))
        waiter = unread.wait()
        unread.put(started())
        assert waiter.over
        assert unread.wait() is None, "there is one to read"
        unread.put(NodeStarted("r", "a", 1, 0.0))
        assert woken == []

    def test_from_another_thread_by_way_of_the_loop(self) -> None:
        unread, woken = Unread(), list[Any]()
        unread.read_by(Waiter, lambda *call: woken.append(call))
        waiter = unread.wait()
        thread = threading.Thread(target=unread.put, args=(started(),))
        thread.start()
        thread.join()
        assert not waiter.over
        ((finish, *arguments),) = woken
        finish(*arguments)
        finish(*arguments)
        assert waiter.over

    def test_a_loop_that_has_ended(self) -> None:
        def wake(*call: Any) -> None:
            raise RuntimeError("the loop is closed")

        unread = Unread()
        unread.read_by(Waiter, wake)
        assert unread.wait() is not None
        thread = threading.Thread(target=unread.put, args=(started(),))
        thread.start()
        thread.join()
        assert len(unread) == 1

    def test_at_the_end(self) -> None:
        unread = Unread()
        unread.end()
        assert unread.wait() is None
        unread = Unread()
        unread.read_by(Waiter, lambda *call: None)
        waiter = unread.wait()
        unread.end()
        assert waiter.over
