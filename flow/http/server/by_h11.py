"""Connections by uvicorn and h11, where httptools is not installed. h11 bounds heads and trailers by itself."""

from __future__ import annotations

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from flow.http.server.watched import BUSY, HEAD, IDLE, REST, Watched, refusal


class H11Connection(Watched, H11Protocol):
    """A connection to a client."""

    def doing(self) -> tuple[str, object]:
        """See :meth:`Watched.doing`."""
        cycle = self.cycle
        if cycle is None:
            return HEAD, self.transport
        if not cycle.response_complete:
            return BUSY, cycle
        if self.conn.their_state is h11.SEND_BODY:
            return REST, cycle
        return (HEAD if self.conn.trailing_data[0] else IDLE), cycle

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP, and heads that are too large."""
        if self.cycle is None or self.cycle.response_complete:
            detail = "this is no valid HTTP request, or its head is too large"
            self.transport.write(refusal(400, detail, self.server_state.default_headers))
        self.transport.close()


__all__ = ["H11Connection"]
