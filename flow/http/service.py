"""A service of workflows over HTTP, as an ASGI app: :class:`Service`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from flow.config import Config
from flow.graph.dag import Dag
from flow.http.direct import BODY, CALLER, Direct
from flow.http.endpoints import app_of
from flow.http.limits import Limits
from flow.http.parts import Parts
from flow.http.problems import Problem
from flow.http.reading import Gone, Receive
from flow.http.replies import Header, Send, of_problem, send_reply
from flow.http.routes import API
from flow.http.workflow import Workflow
from flow.logs import log_broken
from flow.metrics.counts import Counts
from flow.plan.plan import Plan
from flow.tracebacks import ends_at_user

if TYPE_CHECKING:
    from flow.http.keys import Keys
    from flow.store import Store

RECOVERY: Final = 5.0
"""Seconds between two looks for runs in the store that nobody drives: those of a worker that was killed."""

_RUNS: Final = f"{API}/workflows/{{name}}/runs"
_NOTHING: Final[list[Header]] = []


class Service(Parts):
    """Workflows as an ASGI app: run them, watch them, cancel and retry their runs.

    >>> service = flow.http.Service({"report": dag})  # uvicorn module:service

    It can be mounted in an app of Starlette or FastAPI. It runs on asyncio (or uvloop).

    :param workflows: by the name under which each is served: a Dag or a Plan; of a workflow file
        :func:`flow.spec.load` makes a Dag. :param store: makes the runs durable; without one they are gone with the
        process, and the latest that have ended are kept in memory (``limits.finished``).
    :param auth: the keys that are let in. None lets everyone in who asks by a name in ``hosts``.
    :param limits: what it takes at once, and what it keeps.
    :param config: of the runs; None is that of each Dag. :param hosts: names that it answers to (of the header
        ``Host``); None is ``localhost``, ``127.0.0.1`` and ``[::1]`` without keys, and any with keys; ``["*"]`` is any.
    :param counts: counts what happens, for ``/metrics``; None makes new ones.
    :raises UsageError: listing what is no workflow. :raises DefinitionError: for a Dag that cannot be compiled.
    """

    @ends_at_user
    def __init__(
        self,
        workflows: Mapping[str, Dag | Plan],
        *,
        store: Store | None = None,
        auth: Keys | None = None,
        limits: Limits | None = None,
        config: Config | None = None,
        hosts: Sequence[str] | None = None,
        counts: Counts | None = None,
    ) -> None:
        super().__init__(workflows, store=store, auth=auth, limits=limits, config=config, hosts=hosts, counts=counts)
        self._hot = {f"{API}/workflows/{name}/runs": workflow for name, workflow in self.workflows.items()}
        self._hot_counts = self.counts.route(_RUNS, "POST")
        self.direct = Direct(
            self._hot, self.entrance, self.trigger, self.limits, self._hot_counts, self.request_id,
            lambda: not self.draining,
        )  # fmt: skip
        self._app = app_of(self)
        self._recovering: asyncio.Task[None] | None = None

    # -- requests ----------------------------------------------------------------------------

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer a request (ASGI 3)."""
        kind = scope["type"]
        if kind == "http":
            if self._started is None:
                self._begin()
            path, root = scope["path"], scope.get("root_path", "")
            if root and path.startswith(root):
                path = path[len(root) :]
            workflow = self._hot.get(path)
            if workflow is not None and scope["method"] == "POST":
                await self._run(workflow, scope, receive, send, root)
            else:
                await self._app(scope, receive, send)
        elif kind == "lifespan":
            await self._lifespan(receive, send)
        else:
            await send({"type": "websocket.close", "code": 1000})

    async def _run(
        self, workflow: Workflow, scope: MutableMapping[str, Any], receive: Any, send: Send, root: str
    ) -> None:
        """Answer a request for a run: the way of most."""
        began = time.perf_counter()
        counts = self.counts
        counts.active += 1
        headers: dict[bytes, bytes] = dict(scope["headers"])
        request_id = self.request_id(headers)
        status, told = 500, _NOTHING
        try:
            try:
                caller = scope.get(CALLER) or self.entrance.admit(scope, headers, "run")
                told = caller.headers
                body = scope[BODY] if BODY in scope else await self.body(headers, receive)
                reply = await self.run(workflow, body, headers, scope["query_string"], caller.id, root)
            except Problem as problem:
                reply = of_problem(problem, request_id.decode())
            except Gone:
                raise
            except Exception as error:
                log_broken("request %s for a run could not be answered", request_id.decode(), error=error)
                reply = of_problem(Problem(500), request_id.decode())
            status = reply.status
            if told:
                reply.headers = [*reply.headers, *told]
            await send_reply(send, reply, request_id, headers, False)
        except Gone:
            status = 499
        finally:
            counts.active -= 1
            self._hot_counts.done(status, time.perf_counter() - began)

    # -- its life ----------------------------------------------------------------------------

    def _begin(self) -> None:
        self._started = asyncio.get_running_loop().create_task(self._start())

    async def start(self) -> None:
        """Begin on the running event loop: go on with the runs in the store that nobody drives.

        The first request does so too, and so does the server's lifespan.
        """
        if self._started is None:
            self._begin()
        assert self._started is not None
        await asyncio.shield(self._started)

    async def _start(self) -> None:
        self.lag.begin()
        if self.desk.stored is not None:
            await self._recover()
            self._recovering = asyncio.get_running_loop().create_task(self._recover_again())

    async def _recover_again(self) -> None:
        while not self.draining:
            await asyncio.sleep(RECOVERY)
            await self._recover()

    async def _recover(self) -> None:
        """Go on with runs that nobody drives, as far as there are places for them."""
        stored = self.desk.stored
        assert stored is not None
        try:
            found = await stored.left_alone()
            if not self.draining:
                self.drives.recover(found)
        except Exception as error:  # it is tried again: nothing else goes on with these runs
            log_broken("the runs of store %r could not be looked at", stored.store.name, error=error)

    async def _lifespan(self, receive: Callable[[], Awaitable[Any]], send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                await self.start()
                await send({"type": "lifespan.startup.complete"})
            else:
                await self.drain(0.0)
                await send({"type": "lifespan.shutdown.complete"})
                return

    async def drain(self, grace: float = 30.0) -> None:
        """End the service: streams at once, runs within ``grace`` seconds. Return when all have ended.

        ``/ready`` and requests for runs are answered 503 from now on. Runs that have not ended by then are cancelled,
        with their cleanup; with a store they are let go of, and the next process goes on with them.

        :param grace: seconds.
        """
        self.draining = True
        if not self.closing.done():
            self.closing.set_result(None)
        for task in (self._recovering, self.lag.task):
            if task is not None:
                task.cancel()
        await self.drives.end_all(grace)
        self.threads.close()
        self.looks.close()

    def __repr__(self) -> str:
        return f"<Service of {', '.join(self.workflows)}: {self.readiness}>"


__all__ = ["Service"]
