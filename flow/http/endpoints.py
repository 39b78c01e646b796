"""The app of Starlette that answers all but requests for runs: :func:`app_of`."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import TYPE_CHECKING, Any, Final

from flow.errors import FlowError
from flow.http import page
from flow.http.entrance import Scope
from flow.http.problems import Problem, message_of
from flow.http.reading import Gone
from flow.http.replies import HTML, SECURITY, Header, Reply, Send, of_problem, send_reply
from flow.http.routes import PAGES, Entry, Request, Streamed, table
from flow.logs import log_broken

if TYPE_CHECKING:
    from flow.http.parts import Parts


_LONGEST: Final = 32
"""Characters of a method that an answer repeats."""


def app_of(parts: Parts) -> Any:
    """Return the app of Starlette that answers all but requests for runs."""
    from starlette.applications import Starlette
    from starlette.routing import Route

    entries = table()
    routes = [Route(one.path, _Endpoint(parts, one), methods=[one.method]) for one in entries]
    for one, route in zip(entries, routes, strict=True):
        if not one.head and route.methods is not None:
            route.methods.discard("HEAD")  # which Route adds to GET
    app = Starlette(routes=routes, exception_handlers={404: _missing(parts), 405: _missing(parts)})
    app.router.redirect_slashes = False
    return app


class _Endpoint:
    """Answers the requests of one route (ASGI)."""

    def __init__(self, parts: Parts, entry: Entry) -> None:
        self.parts = parts
        self.entry = entry
        self.counts = parts.counts.route(entry.path, entry.method)

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Send) -> None:
        began = time.perf_counter()
        parts = self.parts
        headers: dict[bytes, bytes] = dict(scope["headers"])
        request_id = parts.request_id(headers)
        parts.counts.active += 1
        status, told = 500, list[Header]()
        try:
            try:
                reply = await self._answer(scope, headers, receive, told)
            except Gone:
                raise
            except Exception as error:
                reply = self._refusal(scope, headers, error, request_id.decode())
            bare = scope["method"] == "HEAD"
            if isinstance(reply, Streamed):
                status = 200
                if bare:
                    await reply.stream.send_head(send, request_id)
                else:
                    await self._stream(reply, receive, send, request_id)
            else:
                status = reply.status
                if told:
                    reply.headers = [*reply.headers, *told]
                await send_reply(send, reply, request_id, headers, bare)
        except Gone:
            status = 499
        finally:
            parts.counts.active -= 1
            self.counts.done(status, time.perf_counter() - began)

    def _refusal(self, scope: Any, headers: Mapping[bytes, bytes], error: Exception, request_id: str) -> Reply:
        """Return the answer where an exception has ended the handler: for browsers a page."""
        if isinstance(error, Problem):
            problem = error
        else:
            entry = self.entry
            log_broken("request %s: %s %s could not be answered", request_id, entry.method, entry.path, error=error)
            problem = Problem(503, detail=message_of(error)) if isinstance(error, FlowError) else Problem(500)
        if self.entry.path in PAGES and b"text/html" in headers.get(b"accept", b""):
            return Reply(problem.status, page.refused(problem, scope.get("root_path", "")), HTML, list(problem.headers))
        return of_problem(problem, request_id)

    async def _answer(
        self, scope: Any, headers: Mapping[bytes, bytes], receive: Any, told: list[Header]
    ) -> Reply | Streamed:
        """:param told: gets the headers that the answer has for who asks."""
        parts, entry, caller = self.parts, self.entry, ""
        if entry.needs is not None:
            admitted = parts.entrance.admit(scope, headers, _needed(entry), entry.counted)
            caller = admitted.id
            told += admitted.headers
        body = await parts.body(headers, receive) if entry.method == "POST" else None
        root = scope.get("root_path", "")
        return await entry.handler(parts, Request(scope, headers, scope["path_params"], body, root, caller))

    async def _stream(self, reply: Streamed, receive: Any, send: Send, request_id: bytes) -> None:
        parts = self.parts
        parts.streams += 1
        try:
            await reply.stream.send(receive, send, request_id, reply.wake)
        finally:
            parts.streams -= 1


def _needed(entry: Entry) -> Scope:
    assert entry.needs is not None
    return entry.needs


def _missing(parts: Parts) -> Callable[..., Awaitable[Any]]:
    """Return what answers where there is no route, or none of this method."""
    from starlette.responses import Response

    counts = parts.counts.route("other", "any")

    async def answer(request: Any, error: Any) -> Response:
        allowed = (error.headers or {}).get("Allow") or (error.headers or {}).get("allow")
        detail = "there is nothing at this path: /openapi.json says what there is"
        if allowed:
            taken = sorted(allowed.split(", "))
            detail = f"{request.scope['method'][:_LONGEST]} is not taken here: use {' or '.join(taken)}"
        problem = Problem(error.status_code, detail=detail)
        counts.done(error.status_code, 0.0)
        request_id = parts.request_id(dict(request.scope["headers"]))
        headers = {name.decode(): value.decode() for name, value in (*SECURITY, (b"x-request-id", request_id))}
        if allowed:
            headers["allow"] = allowed
        body = problem.body(request_id.decode())
        return Response(body, error.status_code, headers, "application/problem+json")

    return answer


__all__ = ["app_of"]
