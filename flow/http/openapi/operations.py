"""What each route takes and answers, but for the runs of a workflow: :data:`OPERATIONS`."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from flow.http.answers import STATUSES
from flow.http.openapi.schemas import NAME

REFUSALS: Final = {
    400: "The request is none that is understood: its JSON, its query, or the name of a run",
    401: "A key is missing, or is not known",
    403: "The key does not allow this, or a page of another site asks",
    404: "There is no such thing",
    408: "The body came too slowly",
    409: "That cannot be as the run is",
    413: "The body is too large",
    415: "The body is no application/json",
    421: "The service does not answer under this name of a host",
    422: "The body does not fit: all faults are listed",
    429: "Too many requests",
    500: "The service is broken",
    503: "The service is full, is shutting down, or its store does not work",
}
"""What each status says. All are answered by a problem (RFC 9457)."""

ALWAYS: Final = (400, 403, 421, 429, 500, 503)
POSTED: Final = (408, 413, 415, 422)


class Operation(msgspec.Struct, frozen=True):
    """One route.

    :ivar id: its operationId. :ivar tag: under which it stands. :ivar summary: what it does.
    :ivar answers: by status, the media type and the schema of what is answered. An empty type is no body; a schema of
        None is one that there is not.
    :ivar refusals: statuses of problems, beside those that all have. :ivar needs: what a key must allow.
    :ivar parameters: of the query and headers. :ivar body: the schema of what is posted.
    """

    id: str
    tag: str
    summary: str
    answers: dict[int, tuple[str, Any]]
    needs: str | None = "read"
    refusals: tuple[int, ...] = ()
    parameters: tuple[dict[str, Any], ...] = ()
    body: dict[str, Any] | None = None


JSON: Final = "application/json"
_RUN_STATUS: Final = {"type": "string", "enum": list(STATUSES)}
_HTML: Final = "text/html"
_SVG: Final = "image/svg+xml"


def ref(name: str) -> dict[str, str]:
    """Return a reference to a schema among the components."""
    return {"$ref": f"#/components/schemas/{name}"}


def _header(name: str, said: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "header", "description": said, "schema": schema}


def _query(name: str, said: str, schema: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"name": name, "in": "query", "description": said, "schema": schema, **more}


WAIT: Final = _query(
    "wait", "Seconds that the request waits for the end of the run; 202 is answered then.",
    {"type": "string", "pattern": r"^[0-9]{1,9}(\.[0-9]{1,9})?$"},
)  # fmt: skip
PREFER: Final = _header(
    "Prefer", "`respond-async`, or `wait=5` in seconds: as the parameter `wait`.", {"type": "string"}
)
IDEMPOTENCY: Final = _header(
    "Idempotency-Key", "Names the request: if it comes again, the same run is answered, and nothing runs twice.",
    {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]([ -~]*[!-~])?$"},
)  # fmt: skip
_LISTED: Final = (
    _query(
        "status",
        "Only runs of these.",
        {"type": "array", "items": _RUN_STATUS, "minItems": 1},
        style="form",
        explode=False,
    ),
    _query("workflow", "Only runs of this one.", {"type": "string"}),
    _query("limit", "Runs on a page.", {"type": "integer", "minimum": 1, "maximum": 500, "default": 50}),
    _query("cursor", "Where the page begins: `next` of the page before.", {"type": "string", "minLength": 1}),
)
_LAST: Final = _header("Last-Event-ID", "What comes after the event of this id.", {"type": "string"})
_RUNS: Final = {
    "type": "object", "required": ["runs", "next"],
    "properties": {"runs": {"type": "array", "items": ref("Row")}, "next": {"type": ["string", "null"]}},
}  # fmt: skip
_WORKFLOWS: Final = {
    "type": "object", "required": ["workflows"],
    "properties": {"workflows": {"type": "array", "items": ref("Workflow")}},
}  # fmt: skip
_ACTED: Final = {
    "type": "object",
    "required": ["id", "status"],
    "properties": {"id": NAME, "status": {"enum": list(STATUSES)}},
}
_SENT: Final = {"type": "object", "required": ["id", "sent"], "properties": {"id": NAME, "sent": {"type": "string"}}}
_ANY: Final = {"description": "It is not looked at: send `{}`."}
_PAYLOAD: Final = {
    "type": "object", "required": ["payload"], "properties": {"payload": {}}, "additionalProperties": False,
}  # fmt: skip


def _status(*values: str) -> dict[str, Any]:
    return {"type": "object", "required": ["status"], "properties": {"status": {"enum": list(values)}}}


_ANSWERS: Final = {200: (JSON, ref("Answer")), 202: (JSON, ref("Answer"))}
_API: Final = "/api/v1"
OPERATIONS: Final[dict[tuple[str, str], Operation]] = {
    ("GET", f"{_API}/runs"): Operation(
        "listRuns", "runs", "The latest runs", {200: (JSON, _RUNS)}, refusals=(404,), parameters=_LISTED
    ),
    ("GET", f"{_API}/runs/{{id}}"): Operation("getRun", "runs", "One run", {200: (JSON, ref("View"))}, refusals=(404,)),
    ("POST", f"{_API}/runs/{{id}}/cancel"): Operation(
        "cancelRun", "runs", "End a run early", {202: (JSON, _ACTED)}, "run", (404, 409), body=_ANY
    ),
    ("POST", f"{_API}/runs/{{id}}/retry"): Operation(
        "retryRun", "runs", "Let what failed in a run, or was cancelled, run again", _ANSWERS, "run", (404, 409),
        body=_ANY,
    ),
    ("POST", f"{_API}/runs/{{id}}/signals/{{address}}"): Operation(
        "sendSignal", "runs", "Send something to a node of a run that waits for it", {202: (JSON, _SENT)}, "run",
        (404, 409), body=_PAYLOAD,
    ),
    ("GET", f"{_API}/runs/{{id}}/events"): Operation(
        "watchRun", "runs", "What happens in a run, as server-sent events: `node`, `text`, `waiting`, `run`, `end`",
        {200: ("text/event-stream", None), 204: ("", None)}, refusals=(404,), parameters=(_LAST,),
    ),
    ("GET", f"{_API}/workflows"): Operation(
        "listWorkflows", "workflows", "The workflows that are served", {200: (JSON, _WORKFLOWS)}
    ),
    ("GET", f"{_API}/workflows/{{name}}"): Operation(
        "getWorkflow", "workflows", "One workflow", {200: (JSON, ref("Workflow"))}, refusals=(404,)
    ),
    ("GET", f"{_API}/workflows/{{name}}/graph.svg"): Operation(
        "drawWorkflow", "workflows", "The graph of a workflow", {200: (_SVG, {"type": "string"})}, refusals=(404,)
    ),
    ("POST", f"{_API}/workflows/trigger"): Operation(
        "trigger", "as the AI Workflow Engine", "Run a workflow that the body names", _ANSWERS, "run", (404, 409),
        (WAIT, PREFER, IDEMPOTENCY), ref("Trigger"),
    ),
    ("GET", f"{_API}/workflows/status/{{id}}"): Operation(
        "statusOfRun", "as the AI Workflow Engine", "One run", {200: (JSON, ref("View"))}, refusals=(404,)
    ),
    ("GET", f"{_API}/workflows/instances"): Operation(
        "listInstances", "as the AI Workflow Engine", "The latest runs", {200: (JSON, _RUNS)}, refusals=(404,),
        parameters=_LISTED,
    ),
    ("GET", f"{_API}/workflows/available"): Operation(
        "listAvailable", "as the AI Workflow Engine", "The workflows that are served", {200: (JSON, _WORKFLOWS)}
    ),
    ("GET", "/openapi.json"): Operation("getOpenapi", "service", "This document", {200: (JSON, {"type": "object"})}),
    ("GET", "/live"): Operation(
        "isAlive", "service", "Answers while the process lives", {200: (JSON, _status("alive"))}, None
    ),
    ("GET", "/ready"): Operation(
        "isReady", "service", "Whether it takes runs now",
        {200: (JSON, _status("ready")), 503: (JSON, _status("starting", "draining"))}, None,
    ),
    ("GET", "/health"): Operation("getHealth", "service", "How it is", {200: (JSON, _status("ok", "draining"))}),
    ("GET", "/health/detailed"): Operation(
        "getHealthDetailed", "service", "How it is, in detail",
        {200: (JSON, _status("ok", "degraded", "draining"))}, "admin",
    ),
    ("GET", "/metrics"): Operation(
        "getMetrics", "service", "Metrics, as Prometheus reads them",
        {200: ("text/plain", {"type": "string"})},
    ),
    ("GET", "/login"): Operation(
        "login", "page", "Exchange a one-time link for a session of the page", {303: ("", None)}, None,
        parameters=(_query("token", "Of the link.", {"type": "string"}),),
    ),
    ("GET", "/"): Operation(
        "showRuns", "page", "The latest runs, for people", {200: (_HTML, {"type": "string"})}, refusals=(404,),
        parameters=_LISTED,
    ),
    ("GET", "/runs/{id}"): Operation(
        "showRun", "page", "One run, for people", {200: (_HTML, {"type": "string"})}, refusals=(404,)
    ),
}  # fmt: skip

__all__ = ["ALWAYS", "IDEMPOTENCY", "JSON", "OPERATIONS", "POSTED", "PREFER", "REFUSALS", "WAIT", "Operation", "ref"]
