"""What is answered as soon as it has come whole is answered as ASGI answers it: the same requests, both ways."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("starlette")
pytest.importorskip("httptools")

import flow
from flow.http.pace import Pace
from flow.http.server.listening import listen
from flow.http.server.server import Server, Serving

PATH = "/api/v1/workflows/sum/runs"


class Served:
    """A service on a port of the loopback, in a thread.

    :ivar direct: how many requests were answered directly.
    """

    def __init__(self, service: flow.http.Service, offers: bool = True) -> None:
        self.service = service
        self.direct = 0
        if offers:
            answer = service.direct.answer

            class Counting:
                workflow = service.direct.workflow

                def answer(_, *values: Any) -> Any:  # noqa: N805
                    sent = answer(*values)
                    self.direct += sent is not None
                    return sent

            service.direct = Counting()  # type: ignore[assignment]
        else:
            service.direct = None  # type: ignore[assignment]
        (self.socket,) = listen("127.0.0.1", [0])
        self.port = self.socket.getsockname()[1]
        self.ready = threading.Event()
        self.server = Server(service, Serving(limits=service.limits, grace=0.1), told_by_signals=False,
                             ready=self.ready.set)  # fmt: skip
        self.thread = threading.Thread(target=lambda: asyncio.run(self.server._serve([self.socket])))
        self.thread.start()
        assert self.ready.wait(30)

    def close(self) -> None:
        self.server.end()
        self.thread.join(30)


class Quick(Pace):
    def __init__(self) -> None:
        super().__init__()
        self.quick = True

    def took(self, seconds: float) -> None:
        """Nothing is slow."""


def make(**options: Any) -> flow.http.Service:
    dag = flow.Dag("sum")

    @dag.node
    def twice(x: int, pad: str = "") -> int:
        return 2 * x

    @dag.node
    def total(twice: int) -> dict[str, Any]:
        if twice == 26:
            raise ValueError("no luck in /srv/secret/file.txt")
        return {"twice": twice, "long": "y" * 2_000 if twice == 8 else ""}

    service = flow.http.Service({"sum": dag}, **options)
    service.workflows["sum"].pace = Quick()  # whatever the machine does
    return service


KEYS = flow.http.Keys.memory()
KEY = KEYS.add("k", "run")
READS = KEYS.add("r", "read")


@pytest.fixture(scope="module")
def both() -> Iterator[tuple[Served, Served]]:
    servers = [Served(make(auth=KEYS), offers) for offers in (True, False)]
    yield servers[0], servers[1]
    for one in servers:
        one.close()


async def talking(port: int, parts: list[bytes], count: int) -> list[tuple[bytes, dict[bytes, bytes], bytes]]:
    """Send ``parts`` one after the other, and return the answers: their lines, headers and bodies."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for part in parts:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(0.02 if len(parts) > 1 else 0)
        found = []
        for _ in range(count):
            head = await reader.readuntil(b"\r\n\r\n")
            if head.startswith(b"HTTP/1.1 100"):
                head = await reader.readuntil(b"\r\n\r\n")
            line, *lines = head[:-4].split(b"\r\n")
            headers = dict((one.split(b": ", 1)[0].lower(), one.split(b": ", 1)[1]) for one in lines)
            assert len(headers) == len(lines)  # none twice
            found.append((line, headers, await reader.readexactly(int(headers[b"content-length"]))))
        if found[-1][1].get(b"connection") == b"close":
            assert await reader.read() == b""
        return found
    finally:
        writer.close()


def talk(port: int, parts: list[bytes], count: int) -> list[tuple[bytes, dict[bytes, bytes], bytes]]:
    return asyncio.run(talking(port, parts, count))


def request(body: bytes, *more: str, key: str = KEY, path: str = PATH, version: str = "1.1") -> bytes:
    lines = [f"POST {path} HTTP/{version}", "Host: localhost", f"Authorization: Bearer {key}", *more]
    if not any(line.lower().startswith("content-type") for line in more):
        lines.append("Content-Type: application/json")
    if not any(line.lower().startswith(("transfer-encoding", "content-length")) for line in more):
        lines.append(f"Content-Length: {len(body)}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


GOOD = b'{"inputs":{"x":4}}'
SAME: dict[str, tuple[list[bytes], int, bool]] = {
    # name: (what is sent, how many answers, whether it is answered directly)
    "good": ([request(b'{"inputs":{"x":1}}')], 1, True),
    "own request id": ([request(GOOD, "X-Request-ID: mine-1")], 1, True),
    "gzip": ([request(GOOD, "Accept-Encoding: gzip")], 1, True),
    "gzip refused": ([request(GOOD, "Accept-Encoding: gzip;q=0")], 1, True),
    "closed": ([request(GOOD, "Connection: close")], 1, True),
    "failed": ([request(b'{"inputs":{"x":13}}')], 1, True),
    "wrong type": ([request(b'{"inputs":{"x":"1"}}')], 1, True),
    "no json": ([request(b'{"inputs":')], 1, True),
    "twice": ([request(b'{"inputs":{"x":1,"x":2}}')], 1, True),
    "no key": ([request(GOOD, key="flow_none_none")], 1, True),
    "key that reads": ([request(GOOD, key=READS)], 1, True),
    "in two parts": ([request(GOOD)[:-5], GOOD[-5:]], 1, True),
    "head in two parts": ([request(GOOD)[:40], request(GOOD)[40:]], 1, True),
    "pipelined": ([request(GOOD) + request(b'{"inputs":{"x":2}}')], 2, True),
    "pipelined behind another way": ([request(GOOD, path=PATH + "?wait=3") + request(GOOD)], 2, False),
    "http 1.0": ([request(GOOD, version="1.0")], 1, False),
    "query": ([request(GOOD, path=PATH + "?wait=1")], 1, False),
    "chunked": ([request(b"12\r\n" + GOOD + b"\r\n0\r\n\r\n", "Transfer-Encoding: chunked")], 1, False),
    "expect": ([request(GOOD, "Expect: 100-continue")], 1, False),
    "run id": ([request(b'{"inputs":{"x":1},"targets":["twice"]}')], 1, False),
    "other media": ([request(GOOD, "Content-Type: text/plain")], 1, False),
    "with charset": ([request(GOOD, "Content-Type: application/json; charset=utf-8")], 1, False),
    "idempotent": ([request(GOOD, "Idempotency-Key: a")], 1, False),
    "large": ([request(b'{"inputs":{"x":1,"pad":"' + b"z" * 20_000 + b'"}}')], 1, False),
    "not an object": ([request(b"[]")], 1, False),
    "empty": ([request(b"")], 1, False),
}  # fmt: skip


def told(answers: list[tuple[bytes, dict[bytes, bytes], bytes]]) -> list[Any]:
    """What must be the same: all but ids and times."""
    found = []
    for line, headers, body in answers:
        if headers.get(b"content-encoding") == b"gzip":
            import gzip

            body = gzip.decompress(body)
        text = re.sub(r'"id":"[^"]+"|"seconds":[\d.e-]+|"request_id":"[^"]+"', "", body.decode())
        kept = {k: v for k, v in headers.items() if k not in (b"date", b"content-length", b"x-request-id")}
        assert (b"mine-1" in headers[b"x-request-id"]) or re.fullmatch(rb"[\w-]+", headers[b"x-request-id"])
        found.append((line.split(b" ")[1], kept, text))
    return found


@pytest.mark.parametrize("name", SAME)
def test_both_ways_answer_the_same(both: tuple[Served, Served], name: str) -> None:
    parts, count, is_direct = SAME[name]
    direct, asgi = both
    before = direct.direct
    first, second = [told(talk(one.port, parts, count)) for one in both]
    assert first == second
    assert (direct.direct - before > 0) is is_direct
    assert direct.direct - before in (0, count)


def test_many_requests_of_one_connection(both: tuple[Served, Served]) -> None:
    direct, _ = both
    before = direct.direct
    answers = talk(direct.port, [b"".join(request(b'{"inputs":{"x":%d}}' % i) for i in range(40))], 40)
    assert [f'"twice":{2 * i},' in answer[2].decode() for i, answer in enumerate(answers)] == [
        i != 13 for i in range(40)
    ]
    assert direct.direct - before == 40


def test_rates_count_both_ways_once() -> None:
    served = Served(make(hosts=["localhost"], limits=flow.http.Limits(rate=flow.http.Rate(4, 60.0))))
    try:
        bodies = [GOOD, b'{"inputs":{"x":1},"targets":["twice"]}', b'{"inputs":{}}', GOOD, GOOD]
        answers = [talk(served.port, [request(body)], 1)[0] for body in bodies]
        assert [answer[0].split(b" ")[1] for answer in answers] == [b"200", b"200", b"422", b"200", b"429"]
        assert b"retry-after" in answers[-1][1] and all(b"ratelimit" in answer[1] for answer in answers)
    finally:
        served.close()


def test_what_is_counted() -> None:
    served = Served(make(hosts=["localhost"]))
    try:
        for body in (GOOD, GOOD, b"[", b'{"inputs":{"x":13}}'):
            talk(served.port, [request(body)], 1)
        text = served.service.counts.exposition()[0].decode()
        found = {
            name: dict(re.findall(rf'^{name}{{.*?status="(\w+)".*}} (\S+)$', text, re.MULTILINE))
            for name in ("workflow_api_requests_total", "workflow_executions_total")
        }
        assert found["workflow_api_requests_total"] == {"200": "3", "400": "1"}
        assert {k: v for k, v in found["workflow_executions_total"].items() if v != "0"} == {
            "completed": "2", "failed": "1",
        }  # fmt: skip
    finally:
        served.close()


def test_a_draining_service_takes_none() -> None:
    served = Served(make(hosts=["localhost"]))
    try:
        served.service.draining = True
        assert talk(served.port, [request(GOOD)], 1)[0][0].split(b" ")[1] == b"503"
        assert served.direct == 0
    finally:
        served.close()


def test_answers_that_are_not_written_yet_are_not_lost(both: tuple[Served, Served]) -> None:
    """Answers are written at the end of a turn: what refuses the next request, or closes, comes behind them."""
    for rest, line in ((b"NO HTTP\r\n\r\n", b"400"), (request(GOOD, "Connection: close"), b"200")):
        answers = talk(both[0].port, [request(b'{"inputs":{"x":1}}') + rest], 2)
        assert [answer[0].split(b" ")[1] for answer in answers] == [b"200", line]
        assert b'"twice":2,' in answers[0][2] and answers[1][1][b"connection"] == b"close"


UPGRADE = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA")


def test_who_asks_for_another_protocol_is_answered_in_this_one(both: tuple[Served, Served]) -> None:
    """As `curl --http2` asks. The parser takes no body of such a request: it would be read as the next request."""
    one, two = b'{"inputs":{"x":1}}', b'{"inputs":{"x":2}}'
    inner = request(two)
    for served in both:
        (answer,) = talk(served.port, [request(one, *UPGRADE)], 1)
        assert answer[0].endswith(b" 200 OK") and b'"twice":2,' in answer[2]
        answers = talk(served.port, [request(one, *UPGRADE) + inner], 2)
        assert [b'"twice":2,' in answers[0][2], b'"twice":4,' in answers[1][2]] == [True, True]
        head, body = request(inner, *UPGRADE)[: -len(inner)], inner  # the body is a request, in a packet of its own
        (answer,) = talk(served.port, [head, body], 1)
        assert b" 400 " in answer[0] and b"not valid JSON" in answer[2]
        (answer,) = talk(served.port, [request(one, "Connection: close, upgrade", "Upgrade: x")], 1)
        assert answer[1][b"connection"] == b"close"
        (answer,) = talk(served.port, [b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n"], 1)
        assert b" 400 " in answer[0]
