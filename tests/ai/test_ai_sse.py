"""Server-sent events from bytes: against a reading of the whole at once, wherever its chunks begin and end."""

from __future__ import annotations

import pytest
from conftest import examples
from hypothesis import given
from hypothesis import strategies as st

from flow.ai.providers.sse import Event, EventParser, EventTooLarge

BOM = b"\xef\xbb\xbf"
WORDS = [
    b"data", b"data:", b"data: ", b"event: e", b"event:", b"id: 1", b"retry: 5", b":", b" ", b"x", b"\xc3\xa4", b"\xff",
    b"\n", b"\r", b"\r\n", b"\n\n", b"\r\r", b"\x0b", b"\x85", b"\x1c", BOM, b"{}",
]  # fmt: skip


def whole(stream: bytes) -> list[Event]:
    """Read it all at once, as the standard says it."""
    text = stream.replace(b"\r\n", b"\n").replace(b"\r", b"\n").removeprefix(BOM)
    events, name, data = [], "", []
    for line in text.split(b"\n")[:-1]:
        if line == b"":
            if data:
                events.append(Event(name, b"\n".join(data)))
            name, data = "", []
            continue
        field, _, value = line.partition(b":")
        value = value[1:] if value[:1] == b" " else value
        if field == b"data":
            data.append(value)
        elif field == b"event":
            name = value.decode("utf-8", "replace")
    return events


@examples(150)
@given(st.lists(st.sampled_from(WORDS), max_size=40).map(b"".join), st.data())
def test_chunks_may_begin_anywhere(stream: bytes, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=12)))
    parser = EventParser()
    found = [
        event
        for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)
        for event in parser.feed(stream[start:end])
    ]
    assert found == whole(stream)


@examples(50)
@given(st.lists(st.tuples(st.sampled_from(["", "e", "ä"]), st.lists(st.text(max_size=5), min_size=1, max_size=3))))
def test_what_is_written_is_read(events: list[tuple[str, list[str]]]) -> None:
    def line(text: str) -> str:
        return text.replace("\r", "").replace("\n", "")

    wire, expected = "", []
    for name, lines in events:
        wire += f"event: {name}\n" if name else ""
        wire += "".join(f"data: {line(text)}\n" for text in lines) + ": a comment\n\n"
        expected.append(Event(name, "\n".join(map(line, lines)).encode("utf-8", "surrogatepass")))
    data = wire.encode("utf-8", "surrogatepass")
    parser = EventParser()
    assert [event for at in range(len(data)) for event in parser.feed(data[at : at + 1])] == expected


def test_an_event_that_the_stream_does_not_end_is_none() -> None:
    assert EventParser().feed(b"data: a\n\ndata: b\n") == [Event("", b"a")]


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"])
def test_lines_end_in_three_ways_wherever_chunks_end(end: bytes) -> None:
    stream = BOM + end.join([b"event: e", b"data: a", b"data: b", b"", b"data: c", b"", b""])
    for size in range(1, len(stream) + 1):
        parser = EventParser()
        chunks = [stream[at : at + size] for at in range(0, len(stream), size)]
        assert [event for chunk in chunks for event in parser.feed(chunk)] == [Event("e", b"a\nb"), Event("", b"c")]


def test_a_mark_of_the_byte_order_is_no_part_of_the_first_line() -> None:
    parser = EventParser()
    assert parser.feed(BOM[:2]) + parser.feed(BOM[2:] + b"data: a\n\n" + BOM + b"data: b\n\n") == [Event("", b"a")]


class TestBounds:
    def test_a_line_without_an_end(self) -> None:
        parser = EventParser(1_000)
        with pytest.raises(EventTooLarge, match="1,000 bytes"):
            for _ in range(2_000):
                parser.feed(b"x")

    def test_an_event_without_an_end(self) -> None:
        parser = EventParser(1_000)
        with pytest.raises(EventTooLarge):
            for _ in range(300):
                parser.feed(b"data\n")

    def test_each_event_is_measured_alone(self) -> None:
        parser = EventParser(20)
        assert len(parser.feed(b"data: 0123456789\n\n" * 1_000)) == 1_000
        assert sum(len(parser.feed(b"data: 01234")) + len(parser.feed(b"56789\n\n")) for _ in range(100)) == 100
