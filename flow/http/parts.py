"""What a service consists of, and how it is: :class:`Parts`."""

from __future__ import annotations

import asyncio
import os
import platform
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import count
from typing import TYPE_CHECKING, Any

from flow.config import Config
from flow.errors import FlowError, UsageError, nearest, shown
from flow.graph.dag import Dag
from flow.http.driving import Drives
from flow.http.entrance import Entrance
from flow.http.lag import Lag
from flow.http.limits import Limits
from flow.http.looking import Desk
from flow.http.memory import Runs
from flow.http.places import Places
from flow.http.problems import Problem, message_of
from flow.http.reading import body_of, decoded
from flow.http.replies import Reply
from flow.http.stored import StoredRuns
from flow.http.threads import Threads
from flow.http.triggering import Trigger
from flow.http.workflow import Workflow
from flow.metrics import names
from flow.metrics.counts import Counts
from flow.plan.plan import Plan
from flow.types import NAME_RULE, is_name

if TYPE_CHECKING:
    from flow.http.keys import Keys
    from flow.store import Store


class Parts:
    """All that the routes of one service work with. The parameters are those of :class:`flow.http.Service`.

    :ivar connections: returns how many connections there are; the server sets it.
    :ivar draining: it takes no new runs. :ivar streams: of events that are read now.
    """

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
        _check(workflows)
        self.limits = limits = Limits() if limits is None else limits
        self.counts = counts = Counts() if counts is None else counts
        self.store = store
        self.workflows = {
            name: Workflow(name, target, config, counts, limits.quick) for name, target in workflows.items()
        }
        _check_names(self.workflows, store)
        for workflow in self.workflows.values():
            counts.expect(workflow.plan)
        kept = limits if store is None else limits.replace(finished=0)
        self.threads, self.places = Threads(limits.threads), Places(limits.runs, limits.queue)
        self.runs = Runs(list(self.workflows.values()), kept)
        self.drives = Drives(self.runs, self.places, self.threads, store, counts)
        self.looks = Threads(2)
        stored = None if store is None else StoredRuns(store, self.workflows, self.looks)
        self.desk = Desk(self.drives, stored, self.workflows)
        self.trigger = Trigger(self.drives, limits.wait, self.desk.recall)
        self.entrance = Entrance(auth, limits, hosts)
        self.connections: Callable[[], int] = lambda: 0
        self.draining = False
        self.streams = 0
        self.lag = Lag()
        self._started: asyncio.Task[None] | None = None
        self._closing: asyncio.Future[None] | None = None
        self._begun = time.time()
        self._requests, self._prefix = count(1), f"{os.getpid():x}-{int(self._begun * 1000):x}"
        self._read()

    async def run(
        self, workflow: Workflow, body: Any, headers: Mapping[bytes, bytes], query: bytes, caller: str, root: str
    ) -> Reply:
        """Run a workflow as a request asks. :raises Problem: if it is refused."""
        self.check_open()
        return await self.trigger.run(workflow, {} if body is None else body, headers, query, caller, root)

    def check_open(self) -> None:
        """:raises Problem: 503 once the service drains."""
        if self.draining:
            raise Problem(503, detail="the service is shutting down", headers=[(b"retry-after", b"1")])

    async def body(self, headers: Mapping[bytes, bytes], receive: Any) -> Any:
        """Return the JSON of a request's body; None if it is empty.

        :raises Problem: if it is too large, comes too slowly, or is no JSON. :raises Gone: if the client has gone.
        """
        media = headers.get(b"content-type", b"")
        if media != b"application/json" and media.partition(b";")[0].strip().lower() != b"application/json":
            raise Problem(415, detail="POST takes JSON alone: send 'Content-Type: application/json'")
        body = await body_of(receive, headers, self.limits.body, self.limits.body_seconds)
        return decoded(body, self.limits.depth) if body else None

    def request_id(self, headers: Mapping[bytes, bytes]) -> bytes:
        """Return the id of a request: the client's own, if it is a name."""
        given = headers.get(b"x-request-id")
        if given is not None and len(given) <= 128 and is_name(given.decode("latin-1")) and given.isascii():
            return given
        return f"{self._prefix}-{next(self._requests)}".encode()

    def workflow(self, name: str) -> Workflow:
        """Return the workflow of a name. :raises Problem: 404 if there is none."""
        found = self.workflows.get(name)
        if found is None:
            raise Problem(404, detail=f"there is no workflow {shown(name)}{nearest(name, tuple(self.workflows))}")
        return found

    # -- how it is ---------------------------------------------------------------------------

    @property
    def closing(self) -> asyncio.Future[None]:
        """Is done once streams must end."""
        if self._closing is None:
            self._closing = asyncio.get_running_loop().create_future()
        return self._closing

    @property
    def readiness(self) -> str:
        """``ready``, ``starting`` or ``draining``."""
        if self.draining:
            return "draining"
        return "ready" if self._started is not None and self._started.done() else "starting"

    def _read(self) -> None:
        """Let the metrics read what is only known here."""
        reads: dict[names.Metric, Callable[[], float]] = {
            names.CONNECTIONS: lambda: self.connections(),
            names.STREAMS: lambda: self.streams,
            names.QUEUE_DEPTH: lambda: self.places.queued,
            names.QUEUE_LIMIT: lambda: self.limits.queue,
            names.RUNS_LIVE: lambda: len(self.runs.live),
            names.LOOP_LAG: lambda: self.lag.seconds,
        }
        for metric, read in reads.items():
            self.counts.gauge(metric.name, metric.help, read)
        self.counts.counter(names.STORE_ERRORS.name, names.STORE_ERRORS.help, lambda: self.drives.store_errors)
        store = self.store
        if store is not None:
            self.counts.counter(names.FLUSHES.name, names.FLUSHES.help, lambda: store.flushes)

    @property
    def facts(self) -> dict[str, Any]:
        """What is said of the service in one line."""
        store = None if self.store is None else self.drives.store_fault or self.store.durability
        return {
            "runs": len(self.runs.live), "queued": self.places.queued, "streams": self.streams,
            "status": self.readiness, "store": store,
        }  # fmt: skip

    async def health(self) -> dict[str, Any]:
        """Return how the service is, in detail."""
        store = "none"
        if self.desk.stored is not None:
            try:
                await self.desk.stored.check()
                store = "ok"
            except FlowError as error:
                store = message_of(error)
        return {
            "status": "draining" if self.draining else "ok" if store in ("none", "ok") else "degraded",
            "version": sys.modules["flow"].__version__, "python": platform.python_version(), "pid": os.getpid(),
            "uptime": round(time.time() - self._begun, 3), "store": store,
            "runs": {"live": len(self.runs.live), "active": self.places.taken, "queued": self.places.queued},
            "kept": self.runs.statistics["ended"], "streams": self.streams, "connections": self.connections(),
            "loop_lag": round(self.lag.seconds, 6), "memory": _memory(), "workflows": list(self.workflows),
        }  # fmt: skip

    async def redeem(self, token: str) -> str:
        """Return the session that a one-time link is exchanged for. :raises Problem: 403 if it is none, or was used."""
        keys = self.entrance.keys
        cookie = None
        if keys is not None:
            cookie = await asyncio.to_thread(keys.redeem, token)
        if cookie is None:
            raise Problem(403, detail="this link has been used, is too old, or is none: make one by 'flow keys link'")
        return cookie


def _check(workflows: Any) -> None:
    """:raises UsageError: for what is no mapping of names to workflows."""
    if not isinstance(workflows, Mapping) or not workflows:
        raise UsageError("a service takes a mapping of names to workflows: flow.http.Service({'report': dag})")
    wrong = [name for name in workflows if not is_name(name) or name in ("trigger", "instances", "available", "status")]
    if wrong:
        raise UsageError(f"{', '.join(map(shown, wrong))} cannot name a workflow that is served: {NAME_RULE}")


def _check_names(workflows: Mapping[str, Workflow], store: Store | None) -> None:
    """:raises UsageError: for two workflows of one Dag's name in a store: their runs could not be told apart."""
    if store is None:
        return
    names: dict[str, str] = {}
    for workflow in workflows.values():
        other = names.setdefault(workflow.plan.name, workflow.name)
        if other != workflow.name:
            raise UsageError(
                f"workflows {other!r} and {workflow.name!r} are both of a dag called {workflow.plan.name!r}: in a "
                "store their runs could not be told apart"
            )


def _memory() -> int | None:
    """Return the resident memory of this process in bytes, where that can be read."""
    if sys.platform != "linux":
        return None
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


__all__ = ["Parts"]
