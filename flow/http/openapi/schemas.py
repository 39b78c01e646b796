"""JSON Schemas of what a workflow takes and gives: :func:`told`."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import PurePath
from typing import Any, Final

import msgspec

from flow.http.workflow import Workflow
from flow.plan.declared import is_instance, type_text
from flow.plan.interface import Input
from flow.types import NAME_RULE

MAX_NODES: Final = 200
"""Most nodes whose names a schema lists."""

NAME: Final[dict[str, Any]] = {
    "type": "string", "minLength": 1, "maxLength": 255, "pattern": r"^(?!.*\.\.)\w[\w.:+#@-]*$",
    "description": NAME_RULE,
}  # fmt: skip
"""A name of a run or a node."""


_OWN: Final = "#/$defs/"
"""What references to the definitions of a schema of its own begin with."""

_SAMPLES: Final[tuple[Any, ...]] = (None, True, 1, 1.5, "", [], {})
"""One of each kind of JSON."""


class Schemas:
    """Schemas of types, and the components that they refer to.

    :param types: all types that there are, so that two classes of one name are told apart. O(types).
    :param template: of references to components, with ``{name}``. :param taken: names that components may not have.
    """

    __slots__ = ("_known", "components")

    def __init__(self, types: Iterable[Any], template: str, taken: Collection[str] = ()) -> None:
        kinds = [kind for kind in _each_once(types) if _is_known(kind)]
        schemas, components = msgspec.json.schema_components(kinds, schema_hook=_unknown, ref_template=template)
        names = {name: f"{name}-" if name in taken else name for name in components}  # no class is called so
        refs = {template.format(name=old): template.format(name=new) for old, new in names.items() if old != new}
        self.components = {names[name]: _renamed(schema, refs) for name, schema in components.items()}
        self._known = [(kind, _renamed(schema, refs)) for kind, schema in zip(kinds, schemas, strict=True)]

    def of(self, kind: Any) -> dict[str, Any]:
        """Return the schema of a type: a copy. What msgspec does not know may be anything."""
        for known, schema in self._known:
            if known is kind or (type(known) is type(kind) and known == kind):
                return dict(schema)
        return {} if kind is Any else _unknown(kind)


def _renamed(schema: Any, refs: Mapping[str, str]) -> Any:
    """Return a schema with other references."""
    if not refs:
        return schema
    if isinstance(schema, dict):
        return {key: refs.get(part, part) if key == "$ref" else _renamed(part, refs) for key, part in schema.items()}
    return [_renamed(part, refs) for part in schema] if isinstance(schema, list) else schema


def _each_once(types: Iterable[Any]) -> list[Any]:
    found = list[Any]()
    for kind in types:
        if not any(kind is other or (type(kind) is type(other) and kind == other) for other in found):
            found.append(kind)
    return found


def _is_known(kind: Any) -> bool:
    """Tell whether msgspec has a schema for a type: some unions and classes have none."""
    if kind is Any:
        return False
    try:
        msgspec.json.schema_components([kind], schema_hook=_unknown)
    except Exception:  # it looks into classes of others, which may raise anything
        return False
    return True


def _unknown(kind: Any) -> dict[str, Any]:
    """Return the schema of a type that msgspec does not know: nothing fits, if it is of a class that no JSON makes."""
    said = {"description": f"of the type {type_text(kind)}"}
    if isinstance(kind, type):
        if issubclass(kind, PurePath):
            return {"type": "string", **said}
        if all(is_instance(sample, kind) is False for sample in _SAMPLES):
            return {"not": {}, **said}
    return said


def types_of(workflow: Workflow) -> list[Any]:
    """Return the types of the inputs and outputs of a workflow, and of what its signals take."""
    sent = [one.wait.type for one in workflow.signals.signals.values()]
    return [*[one.type for one in workflow.inputs.all.values()], *workflow.output_types().values(), *sent]


def inputs_of(workflow: Workflow, schemas: Schemas) -> dict[str, Any]:
    """Return the schema of the inputs of a workflow. O(inputs)."""
    inputs = workflow.inputs
    found: dict[str, Any] = {
        "type": "object",
        "properties": {name: _input(one, schemas) for name, one in inputs.all.items()},
        "additionalProperties": bool(inputs.anything),
    }
    required = [name for name, one in inputs.all.items() if one.required]
    return found | ({"required": required} if required else {})


def _input(one: Input, schemas: Schemas) -> dict[str, Any]:
    found = schemas.of(one.type)
    if one.secret:
        found["writeOnly"] = True
        if found.get("type") == "string":
            found.setdefault("format", "password")
    elif one.default:
        try:
            found["default"] = msgspec.json.decode(msgspec.json.encode(one.default[0]))
        except Exception:  # no JSON: it stays in Python
            pass
    return found


def outputs_of(workflow: Workflow, schemas: Schemas) -> dict[str, Any]:
    """Return the schema of the outputs of a workflow. A node that has not completed has none. O(outputs)."""
    types = workflow.output_types()
    found = {"type": "object", "properties": {name: schemas.of(kind) for name, kind in types.items()}}
    return found if types else {"type": "object"}


def signals_of(workflow: Workflow, schemas: Schemas) -> dict[str, Any]:
    """Return the schemas of what its signals take, by address: ``pages#N.approve``. O(signals)."""
    return {address: schemas.of(one.wait.type) for address, one in workflow.signals.signals.items()}


def told(workflow: Workflow, root: str) -> dict[str, Any]:
    """Return what is said of a workflow where workflows are listed.

    :param root: the path of the API: ``/api/v1``.
    """
    schemas = Schemas(types_of(workflow), _OWN + "{name}")
    path = f"{root}/workflows/{workflow.name}"
    return {
        "name": workflow.name,
        "description": description_of(workflow),
        "nodes": len(workflow.plan),
        "inputs": _whole(inputs_of(workflow, schemas), schemas),
        "outputs": _whole(outputs_of(workflow, schemas), schemas),
        "signals": {address: _whole(schema, schemas) for address, schema in signals_of(workflow, schemas).items()},
        "links": {"runs": f"{path}/runs", "graph": f"{path}/graph.svg"},
    }


def _whole(schema: dict[str, Any], schemas: Schemas) -> dict[str, Any]:
    """Return a schema with the definitions that it refers to, and those that they refer to. O(these)."""
    found, left = dict[str, Any](), list(_refs(schema))
    while left:
        name = left.pop()
        if name not in found and name in schemas.components:  # a default may look like a reference
            found[name] = schemas.components[name]
            left += _refs(found[name])
    return schema | ({"$defs": found} if found else {})


def _refs(schema: Any) -> Iterator[str]:
    """Yield the names of the definitions that a schema refers to."""
    parts = schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ()
    for part in parts:
        yield from _refs(part)
    ref = schema.get("$ref") if isinstance(schema, dict) else None
    if isinstance(ref, str) and ref.startswith(_OWN):
        yield ref.removeprefix(_OWN)


def description_of(workflow: Workflow) -> str:
    """Say in one line what a workflow is."""
    plan = workflow.plan
    last = ", ".join(workflow.answered[:5]) + (", ..." if len(workflow.answered) > 5 else "")
    given = "" if workflow.unpacks else f"; answers {last}"
    nodes = "1 node" if len(plan) == 1 else f"{len(plan):,} nodes"
    return f"{plan.name}: {nodes}{given}"


def targets_of(workflow: Workflow) -> dict[str, Any]:
    """Return the schema of the names of its nodes."""
    names = list(workflow.plan.names)
    return {"type": "string", "enum": names} if len(names) <= MAX_NODES else dict(NAME)


def first_line(schema: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    """Return a schema with the first line of its description, as the rest is for readers of the code."""
    said = str(schema.get("description", "")).splitlines()[:1]
    return {**schema, "description": "".join(said), **more}


__all__ = [
    "NAME", "Schemas", "description_of", "first_line", "inputs_of", "outputs_of", "targets_of", "told", "types_of",
]  # fmt: skip
