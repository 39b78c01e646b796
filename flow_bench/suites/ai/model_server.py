"""The model of :mod:`flow_bench.harness.rules` as a server: a process of its own, which says its port first.

For each line that it reads it tells what it has been asked so far. It ends with its parent's pipe.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from threading import Thread
from typing import cast

import msgspec

from flow_bench.harness.rules import reply_to

PATH = "/v1/chat/completions"
HEADERS = "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
_LENGTH = b"content-length:"


class Served:
    """How much was asked, over how many connections."""

    requests = input_tokens = output_tokens = connections = 0


def _encode(value: object) -> str:
    return msgspec.json.encode(value).decode()


def answered(body: bytes) -> bytes:
    """Answer one request."""
    reply = reply_to(msgspec.json.decode(body), Served.requests, _encode)
    Served.requests += 1
    Served.input_tokens += reply["usage"]["prompt_tokens"]
    Served.output_tokens += reply["usage"]["completion_tokens"]
    return msgspec.json.encode(reply)


class Connection(asyncio.Protocol):
    """One connection, with one request at a time. What it is sent is trusted to be HTTP/1.1 with a length."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.waiting = b""
        Served.connections += 1

    def data_received(self, data: bytes) -> None:
        self.waiting += data
        while (end := self.waiting.find(b"\r\n\r\n")) >= 0:
            head = self.waiting[:end].lower()
            at = head.find(_LENGTH)
            length = int(head[at + len(_LENGTH) :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            if len(self.waiting) < end + 4 + length:
                return
            body, self.waiting = self.waiting[end + 4 : end + 4 + length], self.waiting[end + 4 + length :]
            known = head.startswith(b"post " + PATH.encode())
            sent = answered(body) if known else b'{"error": {"message": "no such path"}}'
            status = "200 OK" if known else "404 Not Found"
            self.transport.write(HEADERS.format(status=status, length=len(sent)).encode() + sent)


def _tell() -> None:
    for _ in sys.stdin:
        print(json.dumps({name: getattr(Served, name) for name in vars(Served) if name[0] != "_"}), flush=True)
    os._exit(0)


async def serve() -> None:
    """Serve until the process ends."""
    server = await asyncio.get_running_loop().create_server(Connection, "127.0.0.1", 0, backlog=2_048)
    print(json.dumps({"port": server.sockets[0].getsockname()[1]}), flush=True)
    Thread(target=_tell, daemon=True).start()
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve())
