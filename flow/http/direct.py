"""Requests for quick runs, answered as soon as they have come whole: :class:`Direct`.

ASGI costs a task, an event and three calls per request: about as much as all that a quick run needs. A server that
has a request whole in its hands may ask here first; what is not answered here goes the way of ASGI.
"""

from __future__ import annotations

import gzip
import time
from collections.abc import Callable, Mapping, MutableMapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from flow.http.problems import Problem
from flow.http.reading import decoded
from flow.http.replies import JSON, LEAST_ZIPPED, MOST_AT_ONCE, SECURITY, Header, Reply, of_problem, takes_gzip
from flow.logs import log_broken

if TYPE_CHECKING:
    from flow.http.entrance import Entrance
    from flow.http.limits import Limits
    from flow.http.triggering import Trigger
    from flow.http.workflow import Workflow
    from flow.metrics.tallies import RouteCounts

MOST: Final = 16 * 1_024
"""Bytes of the largest body that is taken here."""

CALLER: Final = "flow.caller"
BODY: Final = "flow.body"
"""Where in the scope of a request stands what has been found out about it: who asks, and its JSON."""

_NOTHING: Final[list[Header]] = []
_LINES: Final = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus}
_SECURITY: Final = b"".join([b"%s: %s\r\n" % header for header in SECURITY])
_OK: Final = _LINES[200] + _SECURITY + b"content-type: " + JSON + b"\r\n"


class Direct:
    """Answers what can be answered without waiting.

    :param workflows: by the path of requests for their runs.
    :param request_id: makes the id of a request. :param is_open: tells whether runs are taken.
    """

    __slots__ = ("_entrance", "_is_open", "_limits", "_request_id", "_route", "_trigger", "_workflows")

    def __init__(
        self,
        workflows: Mapping[str, Workflow],
        entrance: Entrance,
        trigger: Trigger,
        limits: Limits,
        route: RouteCounts,
        request_id: Callable[[Mapping[bytes, bytes]], bytes],
        is_open: Callable[[], bool],
    ) -> None:
        self._workflows = {path.encode(): workflow for path, workflow in workflows.items()}
        self._entrance = entrance
        self._trigger = trigger
        self._limits = limits
        self._route = route
        self._request_id = request_id
        self._is_open = is_open

    def workflow(self, url: bytes, headers: Mapping[bytes, bytes]) -> Workflow | None:
        """Return the workflow that a POST asks for whose head has come; None if it is not to be answered here. O(1)."""
        workflow = self._workflows.get(url)
        if workflow is None or not self._trigger.calls(workflow, headers):
            return None
        length = headers.get(b"content-length", b"")
        if not (length.isdigit() and len(length) < 6 and int(length) <= min(MOST, self._limits.body)):
            return None
        if b"transfer-encoding" in headers or b"content-encoding" in headers or b"expect" in headers:
            return None
        return workflow if headers.get(b"content-type") == b"application/json" and self._is_open() else None

    def answer(
        self, workflow: Workflow, scope: MutableMapping[str, Any], headers: Mapping[bytes, bytes], body: bytes
    ) -> tuple[bytes, bytes] | None:
        """Answer a request: return the head of the answer without its end, and the body.

        :param scope: of the request. If the answer is None, it holds what has been found out (:data:`CALLER`).
        """
        began = time.perf_counter()
        request_id, told = self._request_id(headers), _NOTHING
        try:
            caller = scope[CALLER] = self._entrance.admit(scope, headers, "run")
            told = caller.headers
            value = scope[BODY] = decoded(body, self._limits.depth) if body else None
            reply = self._trigger.now(workflow, value)
            if reply is None:
                return None
        except Problem as problem:
            reply = of_problem(problem, request_id.decode())
        except Exception as error:
            log_broken("request %s for a run could not be answered", request_id.decode(), error=error)
            reply = of_problem(Problem(500), request_id.decode())
        sent = _written(reply, told, request_id, headers)
        self._route.done(reply.status, time.perf_counter() - began)
        return sent


def _written(
    reply: Reply, told: list[tuple[bytes, bytes]], request_id: bytes, asked: Mapping[bytes, bytes]
) -> tuple[bytes, bytes]:
    body, more = reply.body, b""
    if len(body) >= LEAST_ZIPPED:
        more = b"vary: accept-encoding\r\n"
        if len(body) <= MOST_AT_ONCE and takes_gzip(asked.get(b"accept-encoding", b"")):
            body = gzip.compress(body, 1, mtime=0)
            more += b"content-encoding: gzip\r\n"
    for header in (*told, *reply.headers):
        more += b"%s: %s\r\n" % header
    if reply.status == 200:
        return b"%scontent-length: %d\r\nx-request-id: %s\r\n%s" % (_OK, len(body), request_id, more), body
    line = _LINES[reply.status] + _SECURITY
    head = b"%scontent-type: %s\r\ncontent-length: %d\r\nx-request-id: %s\r\n%s"
    return head % (line, reply.media, len(body), request_id, more), body


__all__ = ["BODY", "CALLER", "MOST", "Direct"]
