"""The document of the service (OpenAPI 3.1), with a path of its own for each workflow: :func:`document`."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from flow.http.answers import STATUSES, Answer, NodeError
from flow.http.board import NodeState
from flow.http.looking import View
from flow.http.memory import Row
from flow.http.openapi.operations import (
    ALWAYS,
    IDEMPOTENCY,
    JSON,
    OPERATIONS,
    POSTED,
    PREFER,
    REFUSALS,
    WAIT,
    Operation,
    ref,
)
from flow.http.openapi.schemas import (
    NAME,
    Schemas,
    description_of,
    first_line,
    inputs_of,
    outputs_of,
    targets_of,
    types_of,
)
from flow.http.problems import Fault
from flow.http.workflow import Workflow

_OURS: Final = (Answer, View, Row, NodeError, NodeState, Fault)
_TEMPLATE: Final = "#/components/schemas/{name}"
_PARAMETERS: Final = re.compile(r"\{(\w+)\}")
_SECURITY: Final = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "A key: flow_..."},
    "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    "session": {"type": "apiKey", "in": "cookie", "name": "flow_session", "description": "Of the page: GET alone."},
}
_TAGS: Final = (
    ("runs", "Run workflows, watch, cancel and retry their runs."), ("workflows", "What can be run."),
    ("service", "The service itself."), ("page", "For people."),
    ("as the AI Workflow Engine", "The paths that its clients know."),
)  # fmt: skip
_PROBLEM: Final = {
    "type": "object",
    "description": "What is wrong (RFC 9457).",
    "required": ["type", "title", "status", "detail", "request_id"],
    "properties": {
        "type": {"type": "string"}, "title": {"type": "string"}, "status": {"type": "integer"},
        "detail": {"type": "string"}, "request_id": {"type": "string"},
        "errors": {"type": "array", "items": ref("Fault"), "description": "All that is wrong with the request."},
    },
}  # fmt: skip
_WORKFLOW: Final = {
    "type": "object",
    "description": "A workflow that is served.",
    "required": ["name", "description", "nodes", "inputs", "outputs", "signals", "links"],
    "properties": {
        "name": NAME, "description": {"type": "string"}, "nodes": {"type": "integer", "minimum": 0},
        "inputs": {"type": "object", "description": "The JSON Schema of its inputs."},
        "outputs": {"type": "object", "description": "The JSON Schema of its outputs."},
        "signals": {
            "type": "object", "additionalProperties": {"type": "object"},
            "description": "The JSON Schema of the payload that each signal takes, by address. N stands for a number.",
        },
        "links": {"type": "object", "additionalProperties": {"type": "string"}},
    },
}  # fmt: skip


def document(workflows: Mapping[str, Workflow], *, keys: bool, root: str, stored: bool | None = None) -> bytes:
    """Return the document. O(workflows, with their inputs and outputs).

    :param keys: requests need a key. :param root: the path before the service. :param stored: the service has a store;
        None if that is not known.
    """
    ours = _components()
    schemas = Schemas([kind for one in workflows.values() for kind in types_of(one)], _TEMPLATE, {*ours, "Trigger"})
    components = {**schemas.components, **ours}
    paths: dict[str, dict[str, Any]] = {}
    for name, workflow in workflows.items():
        _add(components, _names(name), workflow, schemas, bool(stored))
        paths[f"/api/v1/workflows/{name}/runs"] = {"post": _run(workflow, keys)}
    components["Trigger"] = {"anyOf": [_trigger(workflow, bool(stored)) for workflow in workflows.values()]}
    for (method, path), operation in OPERATIONS.items():
        paths.setdefault(path, {})[method.lower()] = _operation(path, operation, keys)
    return msgspec.json.encode({
        "openapi": "3.1.0",
        "info": {
            "title": "flow", "version": sys.modules["flow"].__version__,
            "description": "Runs of workflows. A run that fails is an answer (200), and not an error of the service.",
        },
        "servers": [{"url": root or "/"}],
        "tags": [{"name": name, "description": said} for name, said in _TAGS],
        "paths": paths,
        "components": {"schemas": components} | ({"securitySchemes": _SECURITY} if keys else {}),
    })  # fmt: skip


def _components() -> dict[str, Any]:
    """Return the schemas that all documents have."""
    _, ours = msgspec.json.schema_components(_OURS, ref_template=_TEMPLATE, schema_hook=lambda _: {})
    found = {name: first_line(schema) for name, schema in ours.items()}
    for name in ("Answer", "View", "Row"):
        found[name]["properties"]["status"] = {"enum": list(STATUSES)}
    found["View"]["properties"]["outputs"] = {"type": "object"}
    return {**found, "Problem": _PROBLEM, "Workflow": _WORKFLOW}


def _names(name: str) -> str:
    """Return the name of a workflow as components may be named, which no other workflow's name becomes.

    What is named by it has a ``-`` as well, which no name of a class has.
    """
    return re.sub(r"[^A-Za-z0-9.-]", lambda found: f"_{ord(found[0]):x}_", name)


def _add(components: dict[str, Any], name: str, workflow: Workflow, schemas: Schemas, stored: bool) -> None:
    """Add what one workflow takes and answers."""
    components[f"{name}-inputs"] = inputs_of(workflow, schemas)
    components[f"{name}-outputs"] = outputs_of(workflow, schemas)
    components[f"{name}-request"] = _request(name, workflow, stored)
    components[f"{name}-answer"] = {
        "allOf": [ref("Answer"), {"type": "object", "properties": {"outputs": ref(f"{name}-outputs")}}]
    }


def _request(name: str, workflow: Workflow, stored: bool) -> dict[str, Any]:
    properties: dict[str, Any] = {
        "inputs": ref(f"{name}-inputs"),
        "run_id": NAME
        | {
            "type": ["string", "null"],
            "description": "Of the new run. A run of this id and of the same inputs is not run again.",
        },
    }
    if not stored:
        properties["targets"] = {
            "type": ["array", "null"], "items": targets_of(workflow), "minItems": 1,
            "description": "Only these nodes, and those that they need. Not for services with a store.",
        }  # fmt: skip
    found = {"type": ["object", "null"], "properties": properties, "additionalProperties": False}
    return found | ({"type": "object", "required": ["inputs"]} if _needs_inputs(workflow) else {})


def _needs_inputs(workflow: Workflow) -> bool:
    return any(one.required for one in workflow.inputs.all.values())


def _trigger(workflow: Workflow, stored: bool) -> dict[str, Any]:
    """Return what runs a workflow by its name."""
    found = _request(_names(workflow.name), workflow, stored)
    found["properties"]["workflow"] = {"const": workflow.name}
    found |= {"type": "object", "required": ["workflow", *found.get("required", ())]}
    return found


def _run(workflow: Workflow, keys: bool) -> dict[str, Any]:
    """Return the operation that runs a workflow."""
    name = _names(workflow.name)
    answer = (JSON, ref(f"{name}-answer"))
    operation = Operation(
        f"run-{name}", "runs", f"Run {workflow.name}", {200: answer, 202: answer}, "run", (404, 409),
        (WAIT, PREFER, IDEMPOTENCY), ref(f"{name}-request"),
    )  # fmt: skip
    found = _operation("", operation, keys)
    found["description"] = description_of(workflow)
    return found


def _operation(path: str, operation: Operation, keys: bool) -> dict[str, Any]:
    responses: dict[str, Any] = {}
    for status, (media, schema) in operation.answers.items():
        responses[str(status)] = _response(status, media, schema)
    for status in sorted({*operation.refusals, *_refusals(operation, keys)}):
        responses.setdefault(
            str(status), _response(status, "application/problem+json", ref("Problem"), REFUSALS[status])
        )
    found: dict[str, Any] = {
        "operationId": operation.id, "tags": [operation.tag], "summary": operation.summary,
        "parameters": [*_path(path), *operation.parameters], "responses": responses,
    }  # fmt: skip
    if operation.body is not None:
        found["requestBody"] = {"required": True, "content": {JSON: {"schema": operation.body}}}
    if keys and operation.needs is not None:
        by = ["bearer", "key", *(["session"] if operation.needs == "read" else [])]
        found["security"] = [{one: []} for one in by]
        found["description"] = f"The key needs the scope `{operation.needs}`."
    return found


def _refusals(operation: Operation, keys: bool) -> Iterable[int]:
    if operation.needs is None:
        return (400, 403, 500) if operation.parameters else (500,)
    posted = () if operation.body is None else POSTED
    return (*ALWAYS, *posted, *((401,) if keys else ()))


def _path(path: str) -> list[dict[str, Any]]:
    return [{"name": name, "in": "path", "required": True, "schema": NAME} for name in _PARAMETERS.findall(path)]


def _response(status: int, media: str, schema: Any, said: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {"description": said or _SAID.get(status, "It is answered")}
    headers = {"X-Request-Id": {"schema": {"type": "string"}}}
    if status in (202, 303):
        headers["Location"] = {"schema": {"type": "string"}}
    if status in (429, 503):
        headers["Retry-After"] = {"schema": {"type": "string"}}
    if status == 401:
        headers["WWW-Authenticate"] = {"schema": {"type": "string"}}
    found["headers"] = headers
    if media:
        found["content"] = {media: {} if schema is None else {"schema": schema}}
    return found


_SAID: Final = {
    202: "It is taken, and has not ended", 204: "There is no more of it", 303: "The page is there", 503: "Not now",
}  # fmt: skip

__all__ = ["document"]
