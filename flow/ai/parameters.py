"""The parameters of a tool, as a model is told of them and as what it writes is read: :class:`Parameters`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from inspect import Parameter as Kind
from inspect import getdoc, signature, unwrap
from types import MethodType
from typing import Annotated, Any, Final, NotRequired, TypedDict, get_args, get_origin, get_type_hints

import msgspec

from flow.ai.docstrings import documented
from flow.ai.forms import UNKNOWN, Form, resolved
from flow.ai.json_text import parsed
from flow.ai.reading import Read, told
from flow.annotations import annotations_of
from flow.errors import described, listing
from flow.plan.interface import inputs_of
from flow.plan.plan import Plan
from flow.signature import shape_of

MAX_ARGUMENTS: Final = 1_000_000
"""Characters of the arguments of one call."""

_ARGUMENTS: Final = "the arguments"


class Parameter(msgspec.Struct, frozen=True):
    """One parameter that a model gives.

    :ivar default: a 1-tuple; () if it has to be given. It is no value where it is not known here.
    """

    name: str
    kind: Any = Any
    default: tuple[Any, ...] = ()
    description: str = ""


class Parameters:
    """What a model gives to a tool.

    :ivar schema: JSON Schema, an object.
    :raises TypeError: if a parameter has a type that no JSON makes; its arguments are the faults, all of them.
    """

    __slots__ = ("_form", "_schema", "schema")

    def __init__(self, parameters: Sequence[Parameter]) -> None:
        kinds = {p.name: p.kind if not p.default else NotRequired[p.kind] for p in parameters}
        faults: list[str] = []
        for p in parameters:
            faults += [f"parameter {p.name + place!r}: {fault}" for place, fault in _unfit(p.kind)]
        if faults:
            raise TypeError(*faults)
        self._form = Form(TypedDict("Arguments", kinds))  # type: ignore[operator]
        self._schema = resolved(self._form.schema, self._form.defs)
        self.schema: Mapping[str, Any] = self._told(parameters)

    def read(self, text: str) -> dict[str, Any]:
        """Return the arguments that a model has written, each of the type of its parameter. O(length).

        Blank text is no arguments. A value of another type is taken where nothing is lost by it (``"3"`` for 3, 3 for
        ``"3"``, a list as JSON text), and null for a parameter with a default stands for that.

        :raises ValueError: listing all faults, in words that are written for the model.
        """
        if len(text) > MAX_ARGUMENTS:
            raise ValueError(f"the arguments have {len(text):,} characters, and at most {MAX_ARGUMENTS:,} are read")
        value, faults = parsed(text) if text.strip() else ({}, [])
        if faults:
            raise ValueError(listing("the arguments are no JSON", faults))
        reader = Read(self._form.defs, lax=True)
        value = reader.value(self._schema, {} if value is None else value)
        is_plain = isinstance(value, dict) and not reader.gave_up
        made, found = self._form.made(value) if is_plain else ({}, [])
        places = [path for path, _ in reader.faults]
        all_of_them = reader.faults + [one for one in found if not any(at.startswith(one[0]) for at in places)]
        if all_of_them:
            raise ValueError(listing("the arguments do not fit", told(all_of_them, _ARGUMENTS)))
        return dict(made)

    def _told(self, parameters: Sequence[Parameter]) -> dict[str, Any]:
        whole = _tidy(self._schema)
        for p in parameters:
            one = whole["properties"][p.name]
            if p.description and "description" not in one:
                whole["properties"][p.name] = one = {"description": p.description, **one}
            if p.default and p.default[0] is not None:
                try:
                    one["default"] = msgspec.json.decode(msgspec.json.encode(p.default[0]))
                except Exception:  # no JSON: the function has it
                    pass
        properties = {p.name: whole["properties"][p.name] for p in parameters}  # msgspec sorts those of a TypedDict
        found = {"type": "object", "properties": properties, "required": whole.get("required", []),
                 "additionalProperties": False}  # fmt: skip
        defs = {name: _tidy(one) for name, one in self._form.defs.items() if one is not self._schema}
        return {**found, "$defs": defs} if defs else found


def _tidy(schema: Any) -> Any:
    """Return a copy of a schema without titles, and with the part of descriptions that says what things mean."""
    if isinstance(schema, list):
        return [_tidy(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    found: dict[str, Any] = {}
    for key, one in schema.items():
        if key in ("properties", "$defs"):
            found[key] = {name: _tidy(part) for name, part in one.items()}
        elif key == "description":
            found[key] = documented(one)[0]
        elif key in ("enum", "const", "default", "required"):
            found[key] = one
        elif key not in ("title", "discriminator", "examples"):
            found[key] = _tidy(one)
    for name, text in documented(schema.get("description", ""))[1].items():
        if name in found.get("properties", {}):
            found["properties"][name].setdefault("description", text)
    return found


def _unfit(kind: Any) -> Iterator[tuple[str, str]]:
    """Yield what of a type no JSON makes: the place, and why."""
    try:
        form = Form(kind)
    except TypeError as error:
        yield "", str(error)
        return
    for schema in (form.schema, *form.defs.values()):
        for place, text in _unknown(schema):
            yield place, f"no JSON makes a value of the type {text}"


def _unknown(schema: Any, place: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(schema, dict):
        if UNKNOWN in schema:
            yield place, schema[UNKNOWN]
            return
        for key, one in schema.items():
            if key in ("properties", "$defs"):
                for name, part in one.items():
                    yield from _unknown(part, f"{place}.{name}")
            elif key in ("items", "prefixItems", "additionalProperties", "anyOf", "oneOf", "allOf"):
                yield from _unknown(one, f"{place}[]" if key in ("items", "prefixItems") else place)
    elif isinstance(schema, list):
        for one in schema:
            yield from _unknown(one, place)


# -- of functions ----------------------------------------------------------------------------


def target_of(fn: Any) -> Any:
    """Return the function that a callable comes to: behind partials, methods, wrappers and ``__call__``."""
    for _ in range(100):  # a __wrapped__ may lead back to itself
        if isinstance(fn, partial):
            fn = fn.func
        elif isinstance(fn, MethodType):
            fn = fn.__func__
        else:
            break
    fn = unwrap(fn)
    if isinstance(fn, type):
        return vars(fn).get("__init__", fn)
    return fn if hasattr(fn, "__code__") else getattr(type(fn), "__call__", fn)  # noqa: B004


def of_function(fn: Callable[..., Any]) -> tuple[list[Parameter], str, str, list[str]]:
    """Return the parameters of a function, the one that gets the Context, what it says of itself, and its faults."""
    target = target_of(fn)
    description, said = documented(getdoc(target) or getdoc(type(fn) if target is not fn else fn) or "")
    shape = shape_of(fn)
    faults: list[str] = []
    try:
        shown = dict(signature(fn).parameters)
    except (TypeError, ValueError):
        return [], "", description, ["its parameters cannot be read: wrap it in a function of Python"]
    for p in shown.values():
        if p.kind in (Kind.VAR_POSITIONAL, Kind.VAR_KEYWORD):
            stars = "*" if p.kind is Kind.VAR_POSITIONAL else "**"
            faults.append(f"{stars}{p.name} has no names that a model could be told: name its parameters")
        elif p.kind is Kind.POSITIONAL_ONLY:
            faults.append(f"parameter {p.name!r} can be given by position alone, and a model gives names: drop the '/'")
    context = [p.name for p in shape.parameters if p.is_context]
    if len(context) > 1:
        faults.append(f"several parameters are annotated as a flow.Context: {', '.join(context)}")
    found = []
    for one in shape.parameters:
        name = one.name
        if one.is_outcome:
            faults.append(f"parameter {name!r} is annotated as a flow.Outcome, which no model can give")
        if one.is_context or one.is_outcome or name not in shown or one.name in _settled(fn):
            continue
        kind, fault = _hint(target, name)
        faults += [f"parameter {name!r}: {fault}"] if fault else []
        default = () if shown[name].default is Kind.empty else (shown[name].default,)
        found.append(Parameter(name, kind, default, _said(kind) or said.get(name, "")))
    return found, "".join(context[:1]), description, faults


def _settled(fn: Any) -> Mapping[str, Any]:
    return fn.keywords if isinstance(fn, partial) else {}


def _hint(target: Any, name: str) -> tuple[Any, str]:
    """Return the annotation of a parameter, evaluated by itself, and what is wrong with it."""
    annotation = annotations_of(target).get(name, Any) if hasattr(target, "__annotations__") else Any
    scope = getattr(target, "__globals__", None) or vars(sys.modules.get(getattr(target, "__module__", ""), sys))
    holder = type("Holder", (), {"__annotations__": {name: annotation}})
    try:
        found = get_type_hints(holder, globalns=scope, localns=_locals(target), include_extras=True)[name]
    except Exception as error:
        return Any, f"its annotation cannot be evaluated: {described(error)}; what it names must be in the module"
    return found, ""


def _locals(target: Any) -> dict[str, Any]:
    """Return the names of the functions around a function that it uses, with their values."""
    found = {}
    names = getattr(getattr(target, "__code__", None), "co_freevars", ())
    for name, cell in zip(names, getattr(target, "__closure__", None) or (), strict=False):
        try:
            found[name] = cell.cell_contents
        except ValueError:  # not bound yet
            continue
    return found


def _said(kind: Any) -> str:
    """Return what an annotation says in words: ``Annotated[str, "a city"]``, or with a ``Doc`` of PEP 727."""
    for part in get_args(kind)[1:] if get_origin(kind) is Annotated else ():
        text = part if isinstance(part, str) else getattr(part, "documentation", "")
        if isinstance(text, str) and text:
            return text
    return ""


# -- of Dags ---------------------------------------------------------------------------------


def of_plan(plan: Plan) -> tuple[list[Parameter], list[str]]:
    """Return the run inputs of a plan as parameters, and its faults. A secret one is not shown to the model."""
    found, faults = [], []
    for name, one in inputs_of(plan).items():
        if one.secret:
            if one.required:
                faults.append(f"input {name!r} is secret, and a model cannot give it: give it a default")
            continue
        default = () if one.required else (one.default or (None,))
        found.append(Parameter(name, one.type, default))
    return found, faults


__all__ = ["MAX_ARGUMENTS", "Parameter", "Parameters", "of_function", "of_plan", "target_of"]
