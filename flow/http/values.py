"""The inputs of a workflow as they come over HTTP, and their types and those of its outputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from flow.errors import MAX_FAULTS_SHOWN, Hints, shown
from flow.http.problems import MAX_TEXT, Fault, Problem, without_paths
from flow.plan.declared import is_instance, path_of, type_text
from flow.plan.interface import Input, inputs_of
from flow.plan.plan import Plan

_PLAIN: Final = (str, int, float, bool)


class Inputs:
    """The inputs of one workflow.

    :ivar anything: a run may be given others as well.
    """

    __slots__ = ("_required", "_types", "all", "anything")

    def __init__(self, plan: Plan) -> None:
        declared = plan._nodes.declared
        self.all: Mapping[str, Input] = inputs_of(plan)
        self.anything = declared is not None and declared.anything
        self._types = {name: one.type for name, one in self.all.items()}
        self._required = [name for name, one in self.all.items() if one.required]

    def read(self, given: Any) -> dict[str, Any]:
        """Return what a request gives as the types of the inputs. O(inputs).

        :raises Problem: 422, with all faults.
        """
        if type(given) is not dict:
            what = f"inputs are an object by name, not {_kind(given)}"
            raise Problem(422, _UNFIT, faults=[Fault("/inputs", what)])
        types, faults, unknown = self._types, list[Fault](), list[str]()
        read = given
        for name, value in given.items():
            kind = types.get(name, _UNKNOWN)
            if kind is Any or type(value) is kind:
                continue
            if kind is _UNKNOWN:
                if not self.anything:
                    unknown.append(name)
                continue
            if read is given:
                read = dict(given)
            read[name], fault = converted(value, kind)
            if fault is not None:
                place, what = ("", _SECRET) if self.all[name].secret else fault
                faults.append(Fault(pointer("inputs", name) + place, what))
        if unknown:
            faults += self._unknown(unknown)
        for name in self._required:
            if name not in given:
                faults.append(Fault(pointer("inputs", name), f"the input {shown(name)} is missing"))
        if faults:
            raise Problem(422, _UNFIT, faults=faults)
        return read

    def _unknown(self, names: Sequence[str]) -> list[Fault]:
        """Return the faults of inputs that there are not: of the first ones, as a body may hold very many."""
        known, hints = tuple(self.all), Hints()
        takes = f"; the workflow takes: {', '.join(known) or 'none'}"
        found = [
            Fault(pointer("inputs", name), f"there is no such input{hints.nearest(name, known) or takes}")
            for name in names[:MAX_FAULTS_SHOWN]
        ]
        if len(names) > MAX_FAULTS_SHOWN:
            found.append(Fault("/inputs", f"and {len(names) - MAX_FAULTS_SHOWN:,} more that there are not"))
        return found


_UNKNOWN: Final = object()
_UNFIT: Final = "The inputs do not fit the workflow"
_SECRET: Final = "it does not fit the type of this input, whose value is secret"
"""What is said of a secret input: a message of a type may repeat the value."""


def converted(value: Any, kind: Any) -> tuple[Any, tuple[str, str] | None]:
    """Return a value of JSON as a type, and its fault: where in the value, as a JSON pointer, and what."""
    try:
        return msgspec.convert(value, kind, str_keys=True, dec_hook=path_of), None
    except msgspec.ValidationError as error:
        text, at, place = str(error).partition(" - at `$")
        text = without_paths(text[: 4 * MAX_TEXT])[:MAX_TEXT]  # a class of the user's may have said it
        return value, (_pointer_of(place.rstrip("`")) if at else "", text)
    except Exception:  # a class that no JSON makes: the nodes see what came
        if is_instance(value, kind) is False:
            return value, ("", f"it must be of the type {type_text(kind)}, which no JSON makes")
        return value, None


def _pointer_of(place: str) -> str:
    """Return a place as msgspec writes it (``.a[3].b``) as a JSON pointer."""
    parts = place.replace("[", ".").replace("]", "").split(".")
    return "".join(f"/{_escaped(part)}" for part in parts if part)


def pointer(*parts: str) -> str:
    """Return a JSON pointer (RFC 6901)."""
    return "".join(f"/{_escaped(part)}" for part in parts)


def _escaped(part: str) -> str:
    return part.replace("~", "~0").replace("/", "~1")


def _kind(value: Any) -> str:
    kinds = {dict: "an object", list: "an array", str: "a string", bool: "a boolean", type(None): "null"}
    return kinds.get(type(value), "a number")


__all__ = ["Inputs", "converted", "pointer"]
