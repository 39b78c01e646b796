"""What is answered besides requests for runs: the table of routes, and what each does: :func:`table`."""

from __future__ import annotations

import asyncio
import binascii
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeAlias
from urllib.parse import parse_qs

import msgspec

from flow.errors import MAX_FAULTS_SHOWN, nearest, shown
from flow.http import openapi, page
from flow.http.answers import STATUSES
from flow.http.entrance import Scope
from flow.http.looking import of_stored
from flow.http.problems import Fault, Problem
from flow.http.replies import HTML, SVG, Reply, location_of
from flow.http.stream import INTERVAL, STORED_INTERVAL, Look, Stream, look_at, look_at_ended, look_at_stored

if TYPE_CHECKING:
    from flow.http.parts import Parts
    from flow.http.stored import Seen

API: Final = "/api/v1"
_ASKED: Final = ("status", "workflow", "limit", "cursor")
_PAGE: Final = 50
_MOST: Final = 500


class Request(msgspec.Struct):
    """A request that is let in. :ivar body: of JSON; None if there is none. :ivar root: the path before the service."""

    scope: Any
    headers: Mapping[bytes, bytes]
    parameters: Mapping[str, str]
    body: Any
    root: str
    caller: str

    @property
    def query(self) -> dict[str, list[str]]:
        """Return its query."""
        try:
            text = self.scope["query_string"].decode("latin-1")
            return parse_qs(text, keep_blank_values=True, max_num_fields=20)
        except ValueError:
            raise Problem(400, detail="the query has more than 20 parameters") from None


class Streamed(msgspec.Struct):
    """An answer that is sent as a stream. :ivar wake: is done when there is no more of it."""

    stream: Stream
    wake: Any


Handler: TypeAlias = Callable[["Parts", Request], Awaitable["Reply | Streamed"]]


class Entry(msgspec.Struct, frozen=True):
    """A route.

    :ivar needs: what a key must allow; None is open to all. :ivar counted: it counts against rates.
    :ivar head: a GET may be a HEAD as well.
    """

    method: str
    path: str
    needs: Scope | None
    handler: Handler
    counted: bool = True
    head: bool = True


# -- runs ------------------------------------------------------------------------------------


async def _runs(parts: Parts, request: Request) -> Reply:
    rows, cursor = await rows_of(parts, request)
    return Reply(200, msgspec.json.encode({"runs": rows, "next": cursor}))


async def rows_of(parts: Parts, request: Request) -> tuple[Sequence[Any], str | None]:
    """Return the runs that a query asks for, and where the next page begins."""
    query, faults = request.query, list[Fault]()
    for name in query:
        if name not in _ASKED:
            meant = nearest(name, _ASKED) or f": {', '.join(_ASKED)}"
            faults.append(Fault("", f"there is no parameter {shown(name)}{meant}"))
    statuses = list(dict.fromkeys([one for text in query.get("status", []) for one in text.split(",")]))
    unknown = [one for one in statuses if one not in STATUSES]
    faults += [
        Fault("", f"status is one of {', '.join(STATUSES)}, not {shown(one)}{nearest(one, STATUSES)}")
        for one in unknown[:MAX_FAULTS_SHOWN]
    ]
    limit, before = _PAGE, None
    if "limit" in query:
        text = query["limit"][-1]
        limit = int(text) if text.isascii() and text.isdigit() and len(text) < 6 else 0
        if not 1 <= limit <= _MOST:
            faults.append(Fault("", f"limit is a number from 1 to {_MOST}, not {shown(text)}"))
    if "cursor" in query:
        before = _place_of(query["cursor"][-1])
        if before is None:
            faults.append(Fault("", "the cursor is none that this service has given"))
    if faults:
        raise Problem(400, faults=faults)
    stored = [one for one in statuses if one != "queued"] if parts.store is not None else statuses
    if statuses and not stored:
        return [], None
    rows = await parts.desk.rows(stored, query.get("workflow", [None])[-1], limit, before)
    last = rows[-1] if len(rows) == limit else None
    return rows, None if last is None else _cursor_of(last.created, last.id)


def _cursor_of(created: float, run_id: str) -> str:
    return urlsafe_b64encode(f"{created!r} {run_id}".encode()).decode().rstrip("=")


def _place_of(cursor: str) -> tuple[float, str] | None:
    try:
        text = urlsafe_b64decode(cursor.encode() + b"=" * (-len(cursor) % 4)).decode()
        created, _, run_id = text.partition(" ")
        return float(created), run_id
    except (ValueError, binascii.Error):
        return None


async def _run(parts: Parts, request: Request) -> Reply:
    return Reply(200, msgspec.json.encode(await parts.desk.view(request.parameters["id"])))


async def _cancel(parts: Parts, request: Request) -> Reply:
    run_id = request.parameters["id"]
    told = {"id": run_id, "status": await parts.desk.cancel(run_id)}
    return Reply(202, msgspec.json.encode(told), headers=[location_of(request.root, run_id)])


async def _retry(parts: Parts, request: Request) -> Reply:
    parts.check_open()
    live = await parts.desk.retry(request.parameters["id"])
    return await parts.trigger.answer(live, 0.0, request.root)


async def _signal(parts: Parts, request: Request) -> Reply:
    body = request.body
    if type(body) is not dict or set(body) != {"payload"}:
        raise Problem(422, faults=[Fault("", 'the body is {"payload": ...}: what is sent')])
    await parts.desk.signal(request.parameters["id"], request.parameters["address"], body["payload"])
    return Reply(202, msgspec.json.encode({"id": request.parameters["id"], "sent": request.parameters["address"]}))


async def _events(parts: Parts, request: Request) -> Reply | Streamed:
    run_id = request.parameters["id"]
    last = request.headers.get(b"last-event-id", b"").decode("latin-1")
    if last.endswith(".end"):
        return Reply(204, b"")  # an EventSource asks no more after that
    live = parts.desk.live(run_id)
    if parts.streams >= parts.limits.streams:
        detail = f"{parts.limits.streams:,} streams are read already: come again later, or ask for the run itself"
        raise Problem(503, "Too many streams", detail, headers=[(b"retry-after", b"5")])
    if live is not None:
        await parts.desk.recall(live)
        look: Look = look_at(live)
        return Streamed(Stream(look, f"{int(live.created * 1e6):x}", last, parts.closing, INTERVAL), live.done)
    if parts.desk.stored is None:
        view = await parts.desk.view(run_id)
        look = look_at_ended(view.nodes, view.status, msgspec.json.encode(view))
        return Streamed(Stream(look, f"{int(view.created * 1e6):x}", last, parts.closing, INTERVAL), None)
    stored = parts.desk.stored
    seen = await stored.seen(run_id)
    if seen is None:
        raise Problem(404, detail=f"there is no run {shown(run_id)}")

    async def again() -> Seen | None:
        return await stored.seen(run_id)

    look = look_at_stored(again, lambda one: msgspec.json.encode(of_stored(one)))
    return Streamed(Stream(look, f"s{int(seen.created * 1e6):x}", "", parts.closing, STORED_INTERVAL), None)


# -- workflows -------------------------------------------------------------------------------


async def _workflows(parts: Parts, request: Request) -> Reply:
    listed = [openapi.told(workflow, request.root + API) for workflow in parts.workflows.values()]
    return Reply(200, msgspec.json.encode({"workflows": listed}))


async def _workflow(parts: Parts, request: Request) -> Reply:
    workflow = parts.workflow(request.parameters["name"])
    return Reply(200, msgspec.json.encode(openapi.told(workflow, request.root + API)))


async def _graph(parts: Parts, request: Request) -> Reply:
    workflow = parts.workflow(request.parameters["name"])
    return Reply(200, await asyncio.to_thread(page.graph, workflow), SVG)


async def _start(parts: Parts, request: Request) -> Reply:
    """Run a workflow. Those that there are have a shorter way: this is for those that there are not."""
    workflow = parts.workflow(request.parameters["name"])
    return await parts.run(
        workflow, request.body, request.headers, request.scope["query_string"], request.caller, request.root
    )


_NAMES: Final = ("workflow", "workflow_name", "workflow_id", "name")
_INPUTS: Final = ("inputs", "input", "data", "payload")


async def _trigger(parts: Parts, request: Request) -> Reply:
    """Run a workflow that the body names: as the AI Workflow Engine is asked."""
    body = request.body
    if type(body) is not dict:
        raise Problem(422, faults=[Fault("", 'the body is an object: {"workflow": "...", "inputs": {...}}')])
    asked = dict(body)
    names = [asked.pop(name) for name in _NAMES if name in asked]
    if len(names) != 1 or not isinstance(names[0], str):
        known = ", ".join(parts.workflows)
        raise Problem(422, faults=[Fault("/workflow", f"name the workflow: it is one of {known}")])
    for name in _INPUTS[1:]:
        if name in asked and "inputs" not in asked:
            asked["inputs"] = asked.pop(name)
    workflow = parts.workflow(names[0])
    query = request.scope["query_string"]
    return await parts.run(workflow, asked, request.headers, query, request.caller, request.root)


# -- the service itself ----------------------------------------------------------------------


async def _openapi(parts: Parts, request: Request) -> Reply:
    keys, stored = parts.entrance.keys is not None, parts.store is not None
    return Reply(200, openapi.document(parts.workflows, keys=keys, root=request.root, stored=stored))


async def _live(parts: Parts, request: Request) -> Reply:
    return Reply(200, b'{"status":"alive"}')


async def _ready(parts: Parts, request: Request) -> Reply:
    status = parts.readiness
    return Reply(200 if status == "ready" else 503, msgspec.json.encode({"status": status}))


async def _health(parts: Parts, request: Request) -> Reply:
    status = "draining" if parts.draining else "degraded" if parts.drives.store_fault else "ok"
    return Reply(200, msgspec.json.encode({"status": status}))


async def _health_detailed(parts: Parts, request: Request) -> Reply:
    return Reply(200, msgspec.json.encode(await parts.health()))


async def _metrics(parts: Parts, request: Request) -> Reply:
    accept = request.headers.get(b"accept", b"").decode("latin-1")
    body, media = parts.counts.exposition(accept)
    return Reply(200, body, media.encode())


async def _login(parts: Parts, request: Request) -> Reply:
    token = request.query.get("token", [""])[-1]
    cookie = await parts.redeem(token)
    behind = request.headers.get(b"x-forwarded-proto", b"")  # who makes it up only keeps the cookie to himself
    secure = "; Secure" if b"https" in (behind, request.scope.get("scheme", "").encode()) else ""
    path = request.root or "/"
    header = f"flow_session={cookie}; HttpOnly; SameSite=Strict; Path={path}; Max-Age=43200{secure}"
    return Reply(303, b"", HTML, [(b"location", f"{request.root}/".encode()), (b"set-cookie", header.encode())])


async def _index(parts: Parts, request: Request) -> Reply:
    rows, cursor = await rows_of(parts, request)
    return Reply(200, page.index(parts.workflows, rows, parts.facts, request.query, cursor, request.root), HTML)


async def _run_page(parts: Parts, request: Request) -> Reply:
    view = await parts.desk.view(request.parameters["id"])
    workflow = parts.workflows[view.workflow]
    host = request.headers.get(b"host", b"").decode("latin-1")
    base = f"{request.scope.get('scheme', 'http')}://{host}" if host else ""
    stored, keys = parts.store is not None, parts.entrance.keys is not None
    body = await asyncio.to_thread(page.run, view, workflow, request.root, base=base, stored=stored, keys=keys)
    return Reply(200, body, HTML)


PAGES: Final = ("/", "/runs/{id}", "/login")
"""What browsers ask for."""


def table() -> list[Entry]:
    """Return all routes but those of :class:`flow.http.triggering.Trigger`."""
    get, post = "GET", "POST"
    return [
        Entry(get, f"{API}/runs", "read", _runs),
        Entry(get, f"{API}/runs/{{id}}", "read", _run),
        Entry(post, f"{API}/runs/{{id}}/cancel", "run", _cancel),
        Entry(post, f"{API}/runs/{{id}}/retry", "run", _retry),
        Entry(post, f"{API}/runs/{{id}}/signals/{{address}}", "run", _signal),
        Entry(get, f"{API}/runs/{{id}}/events", "read", _events),
        Entry(get, f"{API}/workflows", "read", _workflows),
        Entry(post, f"{API}/workflows/trigger", "run", _trigger),
        Entry(get, f"{API}/workflows/status/{{id}}", "read", _run),
        Entry(get, f"{API}/workflows/instances", "read", _runs),
        Entry(get, f"{API}/workflows/available", "read", _workflows),
        Entry(get, f"{API}/workflows/{{name}}", "read", _workflow),
        Entry(post, f"{API}/workflows/{{name}}/runs", "run", _start),
        Entry(get, f"{API}/workflows/{{name}}/graph.svg", "read", _graph),
        Entry(get, "/openapi.json", "read", _openapi),
        Entry(get, "/live", None, _live, False),
        Entry(get, "/ready", None, _ready, False),
        Entry(get, "/health", "read", _health, False),
        Entry(get, "/health/detailed", "admin", _health_detailed),
        Entry(get, "/metrics", "read", _metrics, False),
        Entry(get, "/login", None, _login, head=False),  # a preview of the link in a chat is not to use it up
        Entry(get, "/", "read", _index),
        Entry(get, "/runs/{id}", "read", _run_page),
    ]


__all__ = ["API", "PAGES", "Entry", "Handler", "Request", "Streamed", "rows_of", "table"]
