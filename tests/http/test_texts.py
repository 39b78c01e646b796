"""Texts that nodes emit as they go on: who looks, whenever and however often, has them, and memory has a bound."""

from __future__ import annotations

import asyncio
import sys

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from running import Reader, eventually, on_loop, served

import flow
from flow.http import texts
from flow.http.board import Board
from flow.http.texts import NewText, Texts
from flow.run import events


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flow.http.routes.INTERVAL", 0.02)


class Seen:
    """What a reader makes of the news: each stands at its place, and what stood there is gone."""

    def __init__(self) -> None:
        self.seq, self.texts = 0, dict[tuple[str, str], str]()

    def take(self, news: list[NewText], number: int) -> None:
        """:param number: that the reader has then."""
        for new in news:
            before = self.texts.get((new.node, new.key), "")
            assert new.at <= len(before), "nothing is missing"
            self.texts[new.node, new.key] = before[: new.at] + new.text
        self.seq = number


STEPS = st.lists(
    st.tuples(st.sampled_from("ab"), st.text(max_size=4), st.booleans(), st.sampled_from(["", "x", "y", "xy", "part"]))
)


@given(STEPS)
@example([("a", "v", False, ""), ("b", "", False, "y"), ("a", "", False, "part")])
def test_whoever_looks_whenever_has_the_texts(steps: list[tuple[str, str, bool, str]]) -> None:
    """Two readers look now and then; one of them may be told a part of the news, and comes again with its number."""
    kept, model, number = Texts(), dict[tuple[str, str], str](), 0
    readers = {"x": Seen(), "y": Seen()}
    for node, value, again, looks in steps:
        before = "" if again else model.get((node, "k"), "")
        number += 1
        kept.put(node, "k", value, len(before), number)
        model[node, "k"] = before + value
        for name, reader in readers.items():
            if name in looks:
                reader.take(kept.since(reader.seq), number)
                assert reader.texts == model
        if looks == "part":
            x = readers["x"]
            x.take(kept.since(x.seq)[:1], x.seq)
    for reader in (*readers.values(), Seen()):
        reader.take(kept.since(reader.seq), number)
        assert reader.texts == model


def test_who_has_seen_a_part_is_told_the_rest() -> None:
    kept = Texts()
    kept.put("a", "k", "one ", 0, 1)
    assert kept.since(0) == [NewText("a", "k", 0, "one ")]
    kept.put("a", "k", "two ", 4, 2)
    kept.put("b", "k", "x", 0, 3)
    assert kept.since(1) == [NewText("a", "k", 4, "two "), NewText("b", "k", 0, "x")]
    assert kept.since(2) == [NewText("b", "k", 0, "x")] and kept.since(3) == []
    kept.put("a", "k", "anew", 0, 4)
    assert kept.since(3) == [NewText("a", "k", 0, "anew")]


def test_of_a_long_text_the_newest_characters_are_kept() -> None:
    kept, whole = Texts(), ""
    for number in range(1, 3 * texts.LONGEST // 1_000):
        part = f"{number:010}" * 100
        kept.put("a", "k", part, len(whole), number)
        whole += part
    (new,) = kept.since(0)
    assert whole.endswith(new.text) and new.at + len(new.text) == len(whole)
    assert texts.LONGEST // 2 < len(new.text) <= texts.LONGEST


def test_all_texts_together_have_a_bound() -> None:
    kept, number = Texts(), 0
    for k in range(50):
        number += 1
        kept.put(f"n{k}", "k", "x" * texts.LONGEST, 0, number)
    found = kept.since(0)
    assert sum(len(new.text) for new in found) == kept._size <= texts.MOST
    assert found[-1].node == "n49" and found[0].node == f"n{50 - texts.MOST // texts.LONGEST}"
    kept.put("n0", "k", "goes on", texts.LONGEST, number + 1)  # what was before is gone, and this says so
    assert kept.since(number) == [NewText("n0", "k", texts.LONGEST, "goes on")]


def test_very_many_texts_have_a_bound() -> None:
    kept = Texts()
    for k in range(10 * texts.MOST_TEXTS):
        kept.put(f"pages[{k}]", "k", "x", 0, k + 1)
    assert len(kept.since(0)) == len(kept._texts) == texts.MOST_TEXTS == kept._size


def test_a_reader_that_looks_each_time_takes_no_memory() -> None:
    kept, seen = Texts(), Seen()
    for number in range(1, 5_000):
        kept.put("a", "k", "x", number - 1, number)
        seen.take(kept.since(seen.seq), number)
    (text,) = kept._texts.values()
    assert len(text._numbers) <= 64 and seen.texts["a", "k"] == "x" * 4_999
    late = Seen()
    late.seq = 2_500  # it comes again after long: some of it may come once more
    late.texts["a", "k"] = "x" * 2_500
    late.take(kept.since(late.seq), 4_999)
    assert late.texts["a", "k"] == "x" * 4_999
    assert sum(map(sys.getsizeof, (text._parts, text._numbers, text._lengths))) < 10_000


def test_a_board_tells_states_and_texts_in_their_order() -> None:
    board = Board(["a", "b"], lambda: None)
    board(events.RunStarted("r", "d", 2, 0.0))
    board(events.NodeStarted("r", "a", 1, 0.0))
    board(events.NodeEmitted("r", "a", "text", "he", True, 0, 0.0))
    board(events.NodeStarted("r", "b", 1, 0.0))
    board(events.NodeEmitted("r", "a", "text", "llo", True, 2, 0.0))
    board(events.NodeEmitted("r", "a", "progress", 0.5, False, 0, 0.0))
    news = board.news(0)
    assert [number for number, _ in news] == [0, 1, 4], "who is told a part gets texts once more; the last says all"
    assert news[0][1] == NewText("a", "text", 0, "hello")
    assert [number for number, _ in board.since(0)] == [1, 3] and board.news(4) == []


def test_a_text_names_the_way_to_its_node() -> None:
    board = Board(["pages"], lambda: None)
    board(events.RunStarted("r", "d", 1, 0.0))
    board(events.RunStarted("i", "inner", 1, 0.0, ("pages[7]",)))
    board(events.NodeEmitted("i", "fetch", "text", "x", True, 0, 0.0))
    board(events.NodeEmitted("r", "pages", "text", "y", True, 0, 0.0, 3))
    board(events.RunFinished("i", "inner", True, {}, 0.0, 0.0))
    assert [new.node for _, new in board.news(0) if isinstance(new, NewText)] == ["pages[7]/fetch", "pages[3]"]
    assert not board._paths


@on_loop
async def test_a_stream_has_the_text_as_it_comes_and_goes_on_where_it_was() -> None:
    dag, steps, told = flow.Dag("writes"), asyncio.Semaphore(0), asyncio.Event()

    @dag.node
    async def write(ctx: flow.Context) -> str:
        for word in ("one ", "two ", "three"):
            ctx.emit("text", word, append=True)
            told.set()
            await steps.acquire()
        return "one two three"

    def whole(reader: Reader, text: str = "") -> str:
        for data in reader.of("text"):
            assert (data["node"], data["key"]) == ("write", "text") and data["at"] <= len(text)
            text = text[: data["at"]] + data["text"]
        return text

    async with served(dag) as door:
        run = await door.run_of("writes")
        await told.wait()
        reader = Reader(door, run)
        await reader.until(lambda r: whole(r) == "one ")
        last = reader.events[-1].id
        reader.gone.set()
        await reader.ended()
        steps.release()
        again = Reader(door, run, last)
        await again.until(lambda r: whole(r, "one ") == "one two ")
        assert again.of("text")[0]["at"] == 4, "what it has is not sent again"
        steps.release()
        late = Reader(door, run)
        await late.until(lambda r: whole(r) == "one two three")
        steps.release()
        await late.ended()
        assert late.of("end")[0]["outputs"] == {"write": "one two three"}
        assert await eventually(lambda: run not in door.service.runs.live)


@on_loop
async def test_an_attempt_begins_its_text_anew() -> None:
    dag, opened, tries = flow.Dag("writes"), asyncio.Event(), list[int]()

    @dag.node(retry=flow.Retry(2, delay=0))
    async def write(ctx: flow.Context) -> None:
        tries.append(1)
        ctx.emit("text", f"try {len(tries)}", append=True)
        if len(tries) == 1:
            raise OSError("again")
        await opened.wait()

    async with served(dag) as door:
        run = await door.run_of("writes")
        reader = Reader(door, run)
        await reader.until(lambda r: bool(r.of("text")) and r.of("text")[-1]["text"] == "try 2")
        assert reader.of("text")[-1]["at"] == 0
        opened.set()
        await reader.ended()
