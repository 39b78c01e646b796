"""Connections of a server: slow, idle, oversized, pipelined and unread ones; by httptools and by h11."""

from __future__ import annotations

import contextlib
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("uvicorn")

from served import connected, eventually, got, read_to, stub, until_closed

SHORT = {"head_seconds": 0.4, "keep_alive": 0.8, "body_seconds": 0.4}
HEAD = b"GET /live HTTP/1.1\r\nhost: x\r\n"
POST = b"POST /echo HTTP/1.1\r\nhost: x\r\n"
CHUNKED = POST + b"transfer-encoding: chunked\r\n\r\n"


@pytest.fixture(scope="module", params=["httptools", "h11"])
def short(request: Any) -> Iterator[int]:
    """The port of a server with short limits."""
    with stub(limits=SHORT, without="" if request.param == "httptools" else "httptools") as (_, port, _):
        yield port


@pytest.fixture(scope="module")
def long() -> Iterator[int]:
    """The port of a server with the default limits: what is closed there is closed for another reason."""
    with stub() as (_, port, _):
        yield port


def dribbled(connection: socket.socket, text: bytes) -> bytes:
    """Send a little each 50 ms until the connection is closed; return what came."""
    connection.settimeout(0.05)
    found = b""
    for _ in range(200):
        try:
            part = connection.recv(2**16)
        except TimeoutError:
            with contextlib.suppress(OSError):
                connection.sendall(text)
            continue
        except ConnectionResetError:
            return found
        if not part:
            return found
        found += part
    raise AssertionError("the connection goes on for ever")


def test_a_head_that_does_not_end_closes_the_connection(short: int) -> None:
    with connected(short) as slow:
        slow.sendall(HEAD)
        assert dribbled(slow, b"a") == b""


def test_a_head_after_an_answer_must_end_as_well(short: int) -> None:
    with connected(short) as slow:
        slow.sendall(HEAD + b"\r\n")
        read_to(slow, b"}")
        slow.sendall(b"GET /")
        assert dribbled(slow, b"a") == b""


def test_a_connection_that_sends_nothing_is_closed(short: int) -> None:
    with connected(short) as idle:
        assert until_closed(idle) == b""


def test_a_connection_is_kept_between_requests_and_closed_when_none_comes(short: int) -> None:
    with connected(short) as kept:
        for _ in range(3):
            kept.sendall(HEAD + b"\r\n")
            read_to(kept, b"}")
        assert until_closed(kept) == b""


def test_empty_lines_keep_no_connection(short: int) -> None:
    with connected(short) as kept:
        kept.sendall(HEAD + b"\r\n")
        read_to(kept, b"}")
        dribbled(kept, b"\r\n")


def test_the_rest_of_a_body_that_nobody_reads_must_come_soon(short: int) -> None:
    with connected(short) as slow:
        slow.sendall(b"POST /early HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\n")
        assert b" 413 " in dribbled(slow, b"a")


def test_an_answer_that_is_not_read_is_cut_off(short: int) -> None:
    with connected(short) as unread:
        unread.sendall(b"GET /large HTTP/1.1\r\nhost: x\r\n\r\n")
        eventually(lambda: got(short, "/live")[1]["connections"] == 1)
        assert len(until_closed(unread)) < 8 * 2**20


def test_what_is_no_http_is_refused_as_a_problem(short: int) -> None:
    with connected(short) as wrong:
        wrong.sendall(b"\x16\x03\x01 no http\r\n\r\n")
        answer = until_closed(wrong)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"application/problem+json" in answer


def test_a_head_that_is_too_large_is_refused(short: int) -> None:
    with connected(short) as large:
        with contextlib.suppress(OSError):
            large.sendall(HEAD + b"".join(b"x-%d: %s\r\n" % (i, b"a" * 100) for i in range(10_000)))
        answer = until_closed(large)
    assert answer[:13] in (b"HTTP/1.1 431 ", b"HTTP/1.1 400 ", b"")  # nothing, where the system resets it first


@pytest.mark.parametrize("size", [100, 7_000])
def test_a_head_that_grows_is_refused_with_431(long: int, size: int) -> None:
    with connected(long) as large:
        large.sendall(HEAD)
        with contextlib.suppress(OSError):  # it is refused before all has been sent
            for i in range(33_000 // size + 1):
                large.sendall(b"x-%d: %s\r\n" % (i, b"a" * (size - 9)))
        assert until_closed(large).startswith(b"HTTP/1.1 431 ")


def test_a_large_head_and_a_large_body_are_taken(long: int) -> None:
    header = b"x: " + b"a" * 15_000 + b"\r\n"
    body = b"b" * 900_000
    with connected(long) as large:
        for _ in range(2):
            large.sendall(POST + header + b"content-length: %d\r\n\r\n" % len(body) + body)
            assert b'"size":900000' in read_to(large, b"}")
            chunks = b"".join(b"%x\r\n%s\r\n" % (9_000, body[:9_000]) for _ in range(100))
            large.sendall(CHUNKED + chunks + b"0\r\n\r\n")
            assert b'"size":900000' in read_to(large, b"}")


def test_trailers_are_bounded_and_no_headers(long: int) -> None:
    with connected(long) as chunked:
        chunked.sendall(CHUNKED + b"1\r\na\r\n0\r\nx: y\r\nz: y\r\n\r\n")
        assert b'{"size":1,"headers":2}' in read_to(chunked, b"}")
        chunked.sendall(CHUNKED + b"1\r\na\r\n0\r\nx: ")
        with contextlib.suppress(OSError):
            for _ in range(100):
                chunked.sendall(b"a" * 1_000)
        assert until_closed(chunked) in (b"", b"HTTP/1.1 431 ")


def test_pipelined_requests_are_answered_in_order(long: int) -> None:
    with connected(long) as piped:
        piped.sendall(b"".join(b"GET /%d HTTP/1.1\r\nhost: x\r\n\r\n" % i for i in range(30)) + b"GET /end")
        found = read_to(piped, b'/29"}')
    assert [found.index(b'"/%d"' % i) for i in range(30)] == sorted(found.index(b'"/%d"' % i) for i in range(30))


def test_pipelined_requests_of_many_reads_are_answered_in_order(long: int) -> None:
    body = b"b" * 10_000
    one = POST + b"content-length: 10000\r\n\r\n" + body
    with connected(long) as piped:
        sending = threading.Thread(target=piped.sendall, args=((one + b"GET / HTTP/1.1\r\n\r\n" * 100) * 30 + HEAD,))
        sending.start()
        found = b""
        while found.count(b"200 OK") < 30 * 101 or not found.endswith(b"}"):
            found += piped.recv(2**16)
        sending.join()
    kinds = re.findall(rb'"(size|path)"', found)
    assert kinds == [b"size", *[b"path"] * 100] * 30


def test_requests_behind_a_stream_do_not_heap_up() -> None:
    with stub() as (_, port, _), connected(port) as piped:
        piped.settimeout(0.5)
        piped.sendall(b"GET /stream HTTP/1.1\r\nhost: x\r\n\r\n")
        read_to(piped, b"first\r\n")
        sent = 0
        with pytest.raises((TimeoutError, ConnectionError)):
            while True:
                sent += piped.send(b"GET / HTTP/1.1\r\n\r\n" * 10_000)
        assert sent < 50 * 2**20  # what the system's own buffers take


def test_a_stream_ends_with_its_client_also_with_requests_behind_it(long: int) -> None:
    with connected(long) as piped:
        piped.sendall(b"GET /stream HTTP/1.1\r\nhost: x\r\n\r\n" + HEAD + b"\r\n")
        read_to(piped, b"first\r\n")
        assert got(long, "/live")[1]["open"] == 1
    eventually(lambda: got(long, "/live")[1]["open"] == 0)


def test_a_thousand_idle_connections_do_not_hold_others() -> None:
    with stub() as (_, port, _), contextlib.ExitStack() as opened:
        raise_files()
        idle = [opened.enter_context(connected(port)) for _ in range(1_000)]
        for one in idle[::2]:
            one.sendall(HEAD)
        eventually(lambda: got(port, "/live")[1]["connections"] == 1_001)


def raise_files() -> None:
    from flow.http.server.listening import allow_many_connections

    allow_many_connections()


def test_the_library_loads_nothing_of_it() -> None:
    code = "import sys, flow; assert not [name for name in sys.modules if name.startswith(('flow.http', 'uvicorn'))]"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
