"""The least there is: a protocol that parses by httptools and answers a constant, without ASGI."""

from __future__ import annotations

import asyncio
from typing import cast

import httptools

from flow_bench.suites.api import serving
from flow_bench.suites.api.apps.constant import BODY

ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(BODY), BODY)


class Bare(asyncio.Protocol):
    """One connection."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.parser = httptools.HttpRequestParser(self)

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_message_complete(self) -> None:
        """Answer; httptools calls it."""
        self.transport.write(ANSWER)
        if not self.parser.should_keep_alive():
            self.transport.close()


if __name__ == "__main__":
    serving.serve_protocol(Bare)
