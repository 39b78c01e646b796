"""Processes that serve, and plain clients: for the tests of flow.http.server and of ``flow serve``."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

STUB = Path(__file__).parent / "programs" / "served_stub.py"
PATIENCE = 30.0
"""Seconds after which what a test waits for will not come."""


class Served:
    """A process that serves, with all lines that it has printed."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.lines: list[str] = []
        self._news = threading.Condition()
        self._readers = [threading.Thread(target=self._read, args=(it,)) for it in (process.stdout, process.stderr)]
        for reader in self._readers:
            reader.start()

    def _read(self, stream: Any) -> None:
        with stream:
            for line in stream:
                with self._news:
                    self.lines.append(line.rstrip("\n"))
                    self._news.notify_all()
        with self._news:
            self._news.notify_all()

    def line(self, wanted: Callable[[str], object]) -> str:
        """Wait for a line."""
        found: list[str] = []

        def seen() -> bool:
            found[:] = [line for line in self.lines if wanted(line)]
            return bool(found) or self.process.poll() is not None

        with self._news:
            assert self._news.wait_for(seen, PATIENCE), self.text
        assert found, self.text
        return found[0]

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    def send(self, sig: int) -> None:
        self.process.send_signal(sig)

    def ended(self) -> int:
        """Wait for the end, and return the exit code."""
        code = self.process.wait(PATIENCE)
        for reader in self._readers:
            reader.join(PATIENCE)
        return code


@contextlib.contextmanager
def process(arguments: Sequence[str], **options: Any) -> Iterator[Served]:
    """A process of a group of its own, all of which is killed in the end."""
    started = subprocess.Popen(
        arguments, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8",
        start_new_session=True, **options,
    )  # fmt: skip
    served = Served(started)
    try:
        yield served
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(started.pid, signal.SIGKILL)
        served.ended()


@contextlib.contextmanager
def stub(awaited: bool = True, **settings: Any) -> Iterator[tuple[Served, int, list[int]]]:
    """Serve the app of served_stub.py; yield its process, its port, and those of ``/metrics``.

    :param awaited: wait until it answers.
    """
    with process([sys.executable, str(STUB), json.dumps(settings)]) as served:
        port, *others = map(int, served.line(lambda line: line.replace(" ", "").isdigit()).split())
        if awaited:
            assert got(port, "/live")[0] == 200
        yield served, port, others


def got(
    port: int, path: str, method: str = "GET", body: bytes | None = None, headers: Mapping[str, str] | None = None
) -> tuple[int, Any]:
    """Ask once, on a connection of its own; return the status and the JSON that came."""
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)) as connection:
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        text = answer.read()
        return answer.status, json.loads(text) if text.startswith(b"{") else text


def connected(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)


def until_closed(connection: socket.socket) -> bytes:
    """Read all that comes."""
    parts = []
    with contextlib.suppress(ConnectionResetError):
        while part := connection.recv(2**16):
            parts.append(part)
    return b"".join(parts)


def read_to(connection: socket.socket, end: bytes) -> bytes:
    """Read until what has come ends in ``end``."""
    found = b""
    while not found.endswith(end):
        part = connection.recv(2**16)
        assert part, found
        found += part
    return found


def refused(port: int) -> bool:
    """Tell whether nobody listens."""
    try:
        connected(port).close()
    except ConnectionRefusedError:
        return True
    return False


def eventually(wanted: Callable[[], Any]) -> Any:
    """Ask again and again until the answer is true: for what another process does without saying so."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        if found := wanted():
            return found
        time.sleep(0.02)
    raise AssertionError("it has not come")
