"""What bodies are taken (A15): each that is not is refused with what is wrong, and is read no further than needed."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from client import API, Got, serving
from workflows import one, quick

from flow.http import Limits

PATHS = [f"{API}/workflows/quick/runs", f"{API}/workflows/trigger", f"{API}/runs/a/cancel", f"{API}/workflows/no/runs"]
LIMIT = 1_000


def problem(got: Got, status: int) -> dict[str, Any]:
    assert got.status == status, got
    assert got.headers["content-type"] == "application/problem+json"
    told: dict[str, Any] = got.json
    assert told["status"] == status
    return told


def padded(size: int) -> bytes:
    """A request of so many bytes."""
    body = json.dumps({"inputs": {"x": ""}}).encode()
    return body.replace(b'""', b'"' + b"y" * (size - len(body)) + b'"')


class TestSizes:
    def test_the_limit_is_exact(self) -> None:
        with serving({"quick": one(lambda x: len(x))}, limits=Limits(body=LIMIT)) as client:
            assert client.start("quick", padded(LIMIT)).status == 200
            for body in (padded(LIMIT + 1), padded(100 * LIMIT)):
                told = problem(client.start("quick", body), 413)
                assert told["detail"] == "the body is larger than 1000 bytes, the most that is taken"
            for chunks in ([padded(LIMIT)], [padded(LIMIT)[:400], padded(LIMIT)[400:]], [padded(LIMIT), b""]):
                assert client.start("quick", chunks=chunks).status == 200
            for chunks in ([padded(LIMIT + 1)], [padded(LIMIT), b"x"], [b" " * LIMIT, b" "]):
                assert client.start("quick", chunks=chunks).status == 413

    @pytest.mark.parametrize("path", PATHS)
    def test_one_that_says_it_is_too_large_is_not_read(self, path: str) -> None:
        async def never() -> bytes:
            raise AssertionError("it was read")

        with serving({"quick": quick()}, limits=Limits(body=LIMIT)) as client:
            for length in (LIMIT + 1, 10**12, "9" * 100):
                headers = {"content-length": str(length)}
                got = client.post(path, chunks=[], more=never, headers=headers)
                problem(got, 413)
                assert got.headers["connection"] == "close"

    @pytest.mark.parametrize("path", PATHS)
    def test_one_that_does_not_say_is_read_to_the_limit_and_no_further(self, path: str) -> None:
        read = 0

        async def more() -> bytes:
            nonlocal read
            read += 100
            return b"[" * 100

        with serving({"quick": quick()}, limits=Limits(body=LIMIT)) as client:
            problem(client.post(path, chunks=[], more=more), 413)
            assert LIMIT < read <= LIMIT + 100

    @pytest.mark.parametrize("length", ["-1", "1.5", "0x10", " ", "ten", "1,1", "+1", "\xb2"])
    def test_lengths_that_are_none(self, length: str) -> None:
        with serving({"quick": quick()}) as client:
            got = client.post(PATHS[0], {}, headers={"content-length": length})
            assert problem(got, 400)["detail"] == "Content-Length must be a number of bytes"

    def test_a_body_that_does_not_come_whole(self) -> None:
        async def silent() -> bytes:
            await asyncio.Event().wait()
            return b""

        with serving({"quick": quick()}, limits=Limits(body_seconds=0.02)) as client:
            told = problem(client.post(PATHS[0], chunks=[b"{"], more=silent), 408)
            assert told["detail"] == "the body has not come whole within 0.02 s"
            assert client.start("quick").status == 200

    def test_a_client_that_goes_within_its_body_is_answered_nothing(self) -> None:
        sent = list[Any]()

        async def receive() -> dict[str, Any]:
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            sent.append(message)

        with serving({"quick": quick()}) as client:
            for path in PATHS:
                scope = client._scope("POST", path, {}, None)
                client.run(lambda scope=scope: client.app(scope, receive, send))
            assert sent == []
            assert client.app.counts.active == 0

    def test_a_compressed_one(self) -> None:
        with serving({"quick": quick()}) as client:
            got = client.post(PATHS[0], b"x", headers={"content-encoding": "gzip"})
            problem(got, 415)
            assert got.headers["accept-encoding"] == "identity"


class TestJson:
    @pytest.mark.parametrize("path", PATHS)
    @pytest.mark.parametrize(
        ("body", "said"),
        [
            (b"[" * 20_000 + b"]" * 20_000, "nested more than 64 deep"),
            (b'{"inputs":' * 20_000 + b"1" + b"}" * 20_000, "nested more than 64 deep"),
            (b'{"inputs":' + b"[" * 64 + b"]" * 64 + b"}", "nested more than 64 deep"),
            (b'{"inputs":{"x":"\xff"}}', "not UTF-8 (byte 16)"),
            (b'{"inputs":{"x":NaN}}', "NaN and Infinity are no JSON (byte 15)"),
            (b'{"inputs":{"x":-Infinity}}', "NaN and Infinity are no JSON"),
            (b'{"inputs":{"x":1e999}}', "beyond every float"),
            (b'{"inputs":{"x":' + b"9" * 5_000 + b"}}", "an integer of 5000 digits"),
            (b'{"inputs":{"x":"\\ud800"}}', "half of a surrogate pair (byte 16)"),
            (b'{"inputs":{}} x', "trailing characters"),
            (b"{'inputs': {}}", "byte 1"),
            (b'{"inputs":', "ends within a value"),
            (b"\xef\xbb\xbf{}", "byte order mark"),
            (b" \n", "it is empty"),
            (b"x" * 100_000, "byte 0"),
        ],
    )
    def test_what_is_refused(self, path: str, body: bytes, said: str) -> None:
        with serving({"quick": quick()}) as client:
            for options in ({}, {"chunks": [body[:7], body[7:]]}):
                got = client.post(path, body, **options)
                told = problem(got, 400)
                assert said in told["detail"]
                assert len(got.body) < 1_000

    @pytest.mark.parametrize("path", PATHS)
    def test_members_that_are_there_twice_are_named(self, path: str) -> None:
        with serving({"quick": quick()}) as client:
            body = b'{"inputs":{"x":1,"x":2,"y":[{"a":1,"\\u0061":2}]},"run_id":"a","run_id":"b"}'
            told = problem(client.post(path, body), 400)
            assert [fault["pointer"] for fault in told["errors"]] == ["/run_id", "/inputs/x", "/inputs/y/0/a"]

    def test_just_as_deep_as_may_be(self) -> None:
        with serving({"quick": one(lambda x: 0)}, limits=Limits(depth=10)) as client:
            for depth, status in ((8, 200), (9, 400)):
                assert client.start("quick", b'{"inputs":{"x":%s%s}}' % (b"[" * depth, b"]" * depth)).status == status

    def test_brackets_and_colons_in_texts_are_none(self) -> None:
        with serving({"quick": one(lambda x: x)}) as client:
            text = '[{":"]' * 1_000
            assert client.start("quick", {"inputs": {"x": text}}).json["outputs"] == {"node": text}

    def test_no_body_is_an_empty_one(self) -> None:
        with serving({"quick": quick()}) as client:
            for options in ({}, {"chunks": [b""]}, {"chunks": [b"", b""]}):
                assert client.start("quick", b"", **options).json["status"] == "completed"
