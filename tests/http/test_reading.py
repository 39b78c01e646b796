"""Bodies of requests: limits, times and coding of what is read; and JSON that is taken, or refused with its place."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest
from conftest import examples
from hypothesis import given
from hypothesis import strategies as st

from flow.http import reading
from flow.http.problems import Problem
from flow.http.reading import FEW, MAX_NAMED, Gone, body_of, decoded

Message = dict[str, Any]
GONE: Message = {"type": "http.disconnect"}


def chunk(body: bytes, more: bool = False) -> Message:
    return {"type": "http.request", "body": body, "more_body": more}


class Sender:
    """The receiving side of ASGI: hands messages over; from ``waits`` on, each only after a turn of the loop."""

    def __init__(self, *messages: Message, waits: int = 10**9) -> None:
        self.messages = list(messages)
        self.waits = waits
        self.read = 0

    async def __call__(self) -> Message:
        if self.read >= self.waits:
            await asyncio.sleep(0)
        if self.read == len(self.messages):
            await asyncio.Event().wait()  # a client that sends no more
        self.read += 1
        return self.messages[self.read - 1]


def read(
    sender: Callable[[], Awaitable[Message]], *headers: tuple[bytes, bytes], limit: int = 10, s: float = 60
) -> bytes:
    return asyncio.run(body_of(sender, dict(headers), limit, s))


def refused(sender: Sender, *headers: tuple[bytes, bytes], s: float = 60) -> Problem:
    with pytest.raises(Problem) as caught:
        read(sender, *headers, s=s)
    return caught.value


class TestBody:
    @pytest.mark.parametrize("waits", [0, 1, 10**9])
    def test_whole_in_chunks_and_empty(self, waits: int) -> None:
        assert read(Sender(chunk(b"0123456789"), waits=waits), (b"content-length", b"10")) == b"0123456789"
        parts = [chunk(b"ab", True), chunk(b"", True), {"type": "http.request", "more_body": True}, chunk(b"cd")]
        assert read(Sender(*parts, waits=waits)) == b"abcd"
        assert read(Sender({"type": "http.request"}, waits=waits)) == b""

    def test_what_is_there_takes_one_await_and_no_timer(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(reading.asyncio, "timeout", None)
        sender = Sender(chunk(b"x"), chunk(b"not read"))
        assert read(sender) == b"x"
        assert sender.read == 1

    @pytest.mark.parametrize("length", [b"11", b"1048577", b"9" * 30, b"9" * 5_000])
    def test_too_long_by_its_header_is_not_read(self, length: bytes) -> None:
        sender = Sender(chunk(b"x" * 11))
        problem = refused(sender, (b"content-length", length))
        assert (problem.status, sender.read) == (413, 0)
        assert "larger than 10 bytes" in problem.detail
        assert (b"connection", b"close") in problem.headers

    @pytest.mark.parametrize("waits", [0, 10**9])
    def test_too_long_without_length_ends_at_that_chunk(self, waits: int) -> None:
        sender = Sender(
            chunk(b"01234", True), chunk(b"56789", True), chunk(b"x", True), chunk(b"never", True), waits=waits
        )
        problem = refused(sender)
        assert (problem.status, sender.read) == (413, 3)
        assert "larger than 10 bytes" in problem.detail
        assert refused(Sender(chunk(b"x" * 11, True), waits=waits)).status == 413

    @pytest.mark.parametrize("length", [b"", b"-1", b"1.0", b"ten", b"+5", b" 5", b"0x10", "\u0665".encode()])
    def test_a_length_that_is_no_number(self, length: bytes) -> None:
        sender = Sender(chunk(b"x"))
        assert (refused(sender, (b"content-length", length)).status, sender.read) == (400, 0)

    @pytest.mark.parametrize("coding", [b"gzip", b"br", b"identity, gzip", b"x"])
    def test_compressed(self, coding: bytes) -> None:
        sender = Sender(chunk(b"x"))
        problem = refused(sender, (b"content-encoding", coding))
        assert (problem.status, sender.read) == (415, 0)
        assert (b"accept-encoding", b"identity") in problem.headers

    def test_not_compressed(self) -> None:
        assert read(Sender(chunk(b"x")), (b"content-encoding", b" Identity"), (b"host", b"h")) == b"x"

    @pytest.mark.parametrize("begun", [[], [chunk(b"x", True)], [chunk(b"x", True), chunk(b"y", True)]])
    def test_a_slow_client(self, begun: list[Message]) -> None:
        problem = refused(Sender(*begun), s=0.01)
        assert problem.status == 408
        assert (b"connection", b"close") in problem.headers

    @pytest.mark.parametrize("waits", [0, 10**9])
    @pytest.mark.parametrize("messages", [[GONE], [chunk(b"x", True), GONE]])
    def test_a_client_that_has_gone(self, messages: list[Message], waits: int) -> None:
        with pytest.raises(Gone):
            read(Sender(*messages, waits=waits))

    def test_cancelling_reaches_what_is_waited_for(self) -> None:
        seen = []

        async def receive() -> Message:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                seen.append("cancelled")
                raise
            return GONE

        async def main() -> None:
            task = asyncio.create_task(body_of(receive, {}, 10, 60))
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

        asyncio.run(main())
        assert seen == ["cancelled"]


def cause(body: bytes, depth: int = 64) -> str:
    with pytest.raises(Problem) as caught:
        decoded(body, depth)
    assert caught.value.status == 400
    return caught.value.detail.removeprefix("the body is not valid JSON: ")


BAD = [
    (b"", "it is empty"),
    (b" \n", "it is empty"),
    (b'"\xff"', "it is not UTF-8 (byte 1)"),
    (b'{"a\xc3": 1}', "it is not UTF-8 (byte 3)"),
    (b'"\xed\xa0\x80"', "it is not UTF-8 (byte 1)"),
    (b'"\xc0\xaf"', "it is not UTF-8 (byte 1)"),
    (b"\xef\xbb\xbf{}", "it begins with a byte order mark (byte 0)"),
    (b'{"a": NaN}', "NaN and Infinity are no JSON (byte 6)"),
    (b"[Infinity]", "NaN and Infinity are no JSON (byte 1)"),
    (b"-Infinity", "NaN and Infinity are no JSON (byte 1)"),
    (b"{} x", "trailing characters (byte 4)"),
    (b"{}{}", "trailing characters (byte 3)"),
    (b"[1,]", "trailing comma in array (byte 3)"),
    (b"01", "invalid number (byte 1)"),
    (b"{'a': 1}", "object keys must be strings (byte 1)"),
    (b'{"a": ', "it ends within a value (byte 6)"),
    (b'["x', "it ends within a value (byte 3)"),
    (b'{"a": 1e999}', "a number beyond every float (byte 6)"),
    (b'["1e999", -1e999]', "a number beyond every float (byte 10)"),
    (b'[1e5, "\\"2e999", 0.' + b"0" * 99_000 + b", -1.5E+400]", "a number beyond every float (byte 99021)"),
    (b"[" + b"9" * 400 + b".5]", "a number beyond every float (byte 1)"),
    (b"[" + b"9" * 4_301 + b"]", "an integer of 4301 digits; 4300 are taken (byte 1)"),
    (b'"\\ud800"', "half of a surrogate pair (byte 1)"),
    (b'["\\\\ud800", "\\udc00\\ud800"]', "half of a surrogate pair (byte 13)"),
    (b'{"\\ud83d\\ude00\\ud83d": 1}', "half of a surrogate pair (byte 14)"),
]


class TestJson:
    @pytest.mark.parametrize(("body", "said"), BAD, ids=range(len(BAD)))
    def test_what_is_refused_and_where(self, body: bytes, said: str) -> None:
        assert cause(body) == said

    def test_no_value_is_repeated(self) -> None:
        assert "secret" not in cause(b'{"a": secret}') + cause(b'{"password": "secret", }')

    def test_large_integers(self) -> None:
        digits = b"9" * 4_300
        assert decoded(digits, 1) == int(digits)
        assert decoded(b"-18446744073709551617", 1) == -(2**64) - 1

    @pytest.mark.parametrize("depth", [1, 2, 64])
    @pytest.mark.parametrize("before", ['"[[[", "\\\\", "\\"{[", ', "[], " * (FEW // 2), '[], "{\\"", ' * (FEW // 2)])
    def test_depth(self, depth: int, before: str) -> None:
        inner = "[" * (depth - 1) + "]" * (depth - 1)
        fits = f"[{before}{inner}]" if inner else f"[{before.replace('[]', '0')}0]"
        assert decoded(fits.encode(), depth) == json.loads(fits)
        assert cause(f"[{fits}]".encode(), depth) == f"lists and objects are nested more than {depth} deep"

    @pytest.mark.parametrize("opening", [b"[", b'{"a":', b'["[",', b'{"\\"":['])
    def test_very_deep(self, opening: bytes) -> None:
        assert "nested more than 64 deep" in cause(opening * 20_000)
        assert "nested" in cause(opening * 20_000, 10**9) or sys.version_info >= (3, 12)
        assert "nested more than 64 deep" in cause(b"[" + b"[]," * FEW + opening * 20_000)

    DUPLICATES = [
        (b'{"a": 1, "a": 2}', [("/a", 2)]),
        (b'{"a": 1, "\\u0061": 1, "a": 1, "b": ":"}', [("/a", 3)]),
        (b'{"x": [1, {"a/b~": 1, "a/b~": 1}], "y": {"": 0, "": 0}}', [("/y/", 2), ("/x/1/a~1b~0", 2)]),
        (b'[{"a": {"b": 1, "b": 1}}, {"a": 1, "a": {"c": 1, "c": ":"}}]', [("/1/a", 2), ("/0/a/b", 2), ("/1/a/c", 2)]),
    ]  # fmt: skip

    @pytest.mark.parametrize(("body", "found"), DUPLICATES, ids=range(len(DUPLICATES)))
    def test_all_duplicates_are_named(self, body: bytes, found: list[tuple[str, int]]) -> None:
        with pytest.raises(Problem) as caught:
            decoded(body, 64)
        problem = caught.value
        assert (problem.status, problem.detail) == (400, "the body has objects with several members of one name")
        assert [fault.pointer for fault in problem.faults] == [pointer for pointer, _ in found]
        assert [fault.detail.split()[3] for fault in problem.faults] == [str(times) for _, times in found]

    def test_very_many_duplicates_and_long_names(self) -> None:
        objects = b",".join([b'{"a":1,"a":1}'] * 4_000)
        body = b'{"' + b"n" * 50_000 + b'": [' + objects + b"]}"
        with pytest.raises(Problem) as caught:
            decoded(body, 64)
        assert len(caught.value.faults) == 50
        assert len(caught.value.body("r")) < 50_000
        with pytest.raises(Problem, match="only those of smaller bodies") as caught:
            decoded(body + b" " * MAX_NAMED, 64)
        assert (caught.value.status, caught.value.faults) == (400, ())

    @pytest.mark.parametrize(
        "body", [b'{"a": ":", "b:": "\\":"}', b'[":", {"a": {}}]', b'{"a": [{"a": 1}, {"a": 1}]}', b"1"]
    )
    def test_colons_in_strings_are_no_members(self, body: bytes) -> None:
        assert decoded(body, 64) == json.loads(body)


names = st.sampled_from(["a", "b", ":", '"', "\\", "{", "[", "]"])
scalars = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), names)
Pairs = list[tuple[str, Any]]


def written(value: Any) -> str:
    if isinstance(value, tuple):
        return "{" + ", ".join(f"{json.dumps(name)}: {written(one)}" for name, one in value) + "}"
    return "[" + ", ".join(map(written, value)) + "]" if isinstance(value, list) else json.dumps(value)


def deepest(value: Any) -> int:
    inner = [one for _, one in value] if isinstance(value, tuple) else value
    return 1 + max(map(deepest, inner), default=0) if isinstance(value, (tuple, list)) else 0


trees = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.lists(st.tuples(names, inner), max_size=4).map(tuple),
    max_leaves=30,
)


class TestAgainstTheStandardLibrary:
    @given(tree=trees, depth=st.integers(1, 5))
    @examples(400)
    def test_trees_with_duplicates(self, tree: Any, depth: int) -> None:
        body = written(tree).encode()
        twice = False

        def hook(pairs: Pairs) -> dict[str, Any]:
            nonlocal twice
            twice = twice or len(dict(pairs)) < len(pairs)
            return dict(pairs)

        value = json.loads(body, object_pairs_hook=hook)
        try:
            found = decoded(body, depth)
        except Problem as problem:
            assert bool(problem.faults) == (twice and deepest(tree) <= depth)
            assert problem.faults or deepest(tree) > depth
        else:
            assert (found, twice) == (value, False)
            assert deepest(tree) <= depth

    @given(body=st.binary(max_size=40) | st.text('{}[]":,\\u0dD8e1-. ', max_size=30).map(str.encode))
    @examples(400)
    def test_any_bytes(self, body: bytes) -> None:
        try:
            found = decoded(body, 4)
        except Problem as problem:
            assert problem.status == 400
            msgspec.json.decode(problem.body("r"))
        else:
            assert found == json.loads(body)


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "body",
    [
        b'"' + b'\\"' * 500_000 + b"[" * 70,
        b'"' + b'\\"[' * 300_000,
        b"[" + b"9" * 10_001 + b'.5,"' + b'\\"' * 500_000,
        b'{"a":"' + b"\\\\" * 500_000,
        b'["' + b"x" * 1_000_000 + b"\\",
        b'"' * 1_000_001,
        b'{"a":"b"' * 120_000,
        b"[" * 1_000_000,
        b'[{"a":' * 150_000,
    ],
    ids=range(9),
)
def test_a_megabyte_of_the_worst_is_refused_in_linear_time(body: bytes) -> None:
    """Patterns that begin anew at each quote of a string without an end would take half an hour."""
    with pytest.raises(Problem) as refused:
        decoded(body, 64)
    assert refused.value.status == 400
