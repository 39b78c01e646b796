"""The JSON Schema of workflow files, for editors and validators: made from :mod:`flow.spec.form.structs`."""

from __future__ import annotations

from types import UnionType
from typing import Any, Final, Union, get_args, get_origin, get_type_hints

import msgspec

from flow.config import Config, DataConfig
from flow.config.files import NONE, NOT_IN_FILES, OPTIONAL
from flow.spec.form.kinds import KINDS
from flow.spec.form.structs import Workflow
from flow.spec.nodes.parts import RESERVED
from flow.types import NAME_PATTERN

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
ID: Final = "urn:flow:workflow:1"
"""The name of the schema. It is no address: the schema is where ``flow schema`` has written it."""

_REF: Final = "#/$defs/{name}"
_IDENTIFIER: Final = r"^(?![_0-9])[^\x00-/:-@\[-^`{-\x7f]+$"
"""Names of inputs, variables and published keys. Beyond ASCII it takes more than :meth:`str.isidentifier`."""

_NAMED: Final = ("inputs", "vars")
_MAY_BE_EMPTY: Final = ("inputs", "vars", "defaults", "outputs")

_ABOUT: Final = {
    "flow": "The version of the format: 1.",
    "name": "The name of the workflow; without it, that of the file.",
    "description": "A text for people.",
    "inputs": "What a run must or may be given, by name.",
    "vars": "Values that are computed once, in order; expressions read them as vars.NAME.",
    "nodes": "The nodes, by name.",
    "config": "The settings of runs that are given none.",
    "defaults": "Options of all nodes that take them and do not say otherwise.",
    "outputs": "What the workflow gives, by name.",
    "type": "The type that the value must have.",
    "items": "What the values of an array must be.",
    "enum": "The values that it may have.",
    "default": "What holds if nothing is given.",
    "required": "false: it may be left out, and is null then.",
    "secret": "Its value is masked wherever it would be shown.",
    "minimum": "The least number.",
    "maximum": "The largest number.",
    "min_length": "The least length.",
    "max_length": "The largest length.",
    "pattern": "A regular expression that begins with ^: it matches at the beginning, and with $ at its end the whole.",
    "after": "Nodes that must end first: a name, a list, or for each the condition completed, failed or done.",
    "join": "Which edges must be live: all, some, none_failed, done, failed, or a number of them.",
    "when": "An expression, without {{ }}: false bypasses the node.",
    "cost": "Expected seconds.",
    "continue_on_error": "A failure does not end the run.",
    "cleanup": "It runs after all other nodes, whatever became of them.",
    "store": "false: a durable run does not store its output, and it runs again when needed; pickle: if nothing else "
    "can encode it, by pickle.",
    "priority": "Of several nodes that are ready, the one with the higher number goes first.",
    "retry": "How often, when and for which errors it is tried again.",
    "timeout": "Seconds that it may take.",
    "fallback": "The output if the last attempt fails.",
    "thread": "A sync function runs in a thread.",
    "executor": "Where a sync function runs: inline, thread, or an executor of the Config by its name.",
    "abandon_on_timeout": "At its limit nobody waits for the thread any more.",
    "map": "The function that is called once per item: module:function, or the name of an action.",
    "concurrency": "Most items in flight; auto follows their latency, null leaves it to the Config.",
    "batch_size": "The function is called with lists of up to so many items.",
    "batch_wait": "Most seconds that a batch is filled.",
    "on_error": "What a failed item does: fail ends the map, collect keeps the error, skip leaves the item out.",
    "key": "An expression of item, without {{ }}, that names it.",
    "take": "Most items.",
    "pipelined": "Start on an item as soon as the map before has its result.",
    "to": "The next node, by key.",
    "merge": "The nodes of which one has run.",
    "pick": "first takes the first of several that ran.",
    "loop": "The function, or the file, that is run in rounds.",
    "max_iterations": "Most rounds.",
    "on_limit": "After the most rounds: fail, or return the last one.",
    "history": "The output is a list of those of all rounds.",
    "signal": "What must be sent, as its type.",
    "timer": "Seconds, or {seconds: 30}, or {at: 2027-01-31T09:00:00Z}.",
    "seconds": "Seconds from when it could begin.",
    "at": "A date and a time, with a time zone.",
    "set": "Values that expressions compute; the output is this mapping.",
    "file": "Another workflow file, beside this one or below.",
    "backoff": "How the delay grows.",
    "multiplier": "The base of exponential growth.",
    "max_delay": "Most seconds between two attempts.",
    "jitter": "The part of a delay that is random, 0 to 1.",
    "attempt": "Seconds for each attempt.",
    "node": "Seconds for all attempts, with the delays between them.",
}  # fmt: skip
"""What editors show of keys that say nothing of their own in :mod:`flow.spec.form.structs`."""


def schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of workflow files, as a new dict of plain data.

    It says which keys, kinds of nodes and literals a file may have, and where. It reads no expressions, and does not
    tell whether the nodes that a file names are there: :func:`flow.spec.load` does both.
    """
    _, parts = msgspec.json.schema_components([Workflow, *KINDS.values()], ref_template=_REF)
    workflow = parts["Workflow"]
    parts["Node"] = {
        "description": "A node is of one kind, and the key of the kind says which.",
        "anyOf": [{"$ref": _REF.format(name=cls.__name__)} for cls in KINDS.values()],
    }
    parts["Config"], parts["DataConfig"] = _settings(Config), _settings(DataConfig)
    properties = workflow["properties"]
    properties["nodes"] = {
        "type": "object",
        "minProperties": 1,
        "propertyNames": {"pattern": f"^{NAME_PATTERN.pattern}$", "not": {"enum": sorted(RESERVED)}},
        "additionalProperties": {"$ref": _REF.format(name="Node")},
    }
    properties["config"] = {"$ref": _REF.format(name="Config")}
    for name in _NAMED:
        properties[name]["propertyNames"] = {"pattern": _IDENTIFIER}
    for name in _MAY_BE_EMPTY:
        properties[name] = {"anyOf": [properties[name], {"type": "null"}]}
    for part in parts.values():
        for name, found in part.get("properties", {}).items():
            if name == "publish":
                found["propertyNames"] = {"pattern": _IDENTIFIER}
            if "description" not in found and name in _ABOUT:
                part["properties"][name] = {"description": _ABOUT[name], **found}
    del parts["Workflow"]
    head = {"$schema": DIALECT, "$id": ID, **workflow, "title": "Workflow of flow"}
    made = {**head, "$defs": dict(sorted(parts.items()))}
    plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(made))  # lists for tuples
    return plain


def _settings(kind: type[Any]) -> dict[str, Any]:
    """Return the schema of the settings that a file can hold."""
    properties: dict[str, Any] = {}
    for name, hint in get_type_hints(kind).items():
        if name not in kind.__struct_fields__ or name in NOT_IN_FILES:
            continue
        if name == "data":
            properties[name] = {"$ref": _REF.format(name="DataConfig")}
            continue
        made: dict[str, Any] = msgspec.json.schema(_plain(hint))
        if name in OPTIONAL:
            made = {"anyOf": [*made.get("anyOf", [made]), {"enum": [NONE]}]}
        properties[name] = made
    if kind is DataConfig:
        properties["preset"] = {"type": "string"}
    return {"title": kind.__name__, "type": "object", "properties": properties, "additionalProperties": False}


def _plain(kind: Any) -> Any:
    """Return a type of settings with names in place of objects."""
    if get_origin(kind) in (Union, UnionType):
        return Union[tuple(map(_plain, get_args(kind)))]  # noqa: UP007
    return list[str] if get_origin(kind) in (tuple, list) else kind


__all__ = ["schema"]
