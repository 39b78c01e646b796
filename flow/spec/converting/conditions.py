"""Conditions of transitions: how the task must end, and what must hold besides."""

from __future__ import annotations

from typing import Any

from flow.spec.converting.model import Transition
from flow.spec.converting.templates import Converter
from flow.spec.converting.terms import Term, conjuncts

_STATUS = {"succeeded": "completed", "failed": "failed", "completed": "done"}
_OPPOSITE = {"completed": "failed", "failed": "completed"}


class Condition(Term):
    """A term that knows the language it was written in. :ivar yaql: YAQL, else Jinja. :ivar source: its text."""

    yaql: bool
    source: str


def condition(term: Term, yaql: bool, source: str) -> Condition:
    """Return a term with its language and text."""
    made = Condition(term.kind, term.value, term.parts, term.named, term.on)
    object.__setattr__(made, "yaql", yaql)
    object.__setattr__(made, "source", source)
    return made


def negated(one: Condition) -> Condition:
    """Return the opposite of a condition."""
    if one.kind == "not":
        return condition(one.parts[0], one.yaql, one.source)
    return condition(Term("not", None, (one,)), one.yaql, one.source)


def parsed(text: Any, converter: Converter) -> Condition | None:
    """Return the condition that a text is; None if it is no text, which is noted."""
    if isinstance(text, bool):
        return condition(Term("const", text), False, str(text).lower())
    if not isinstance(text, str):
        converter.notes.add(text, "a condition is an expression: this one is left out")
        return None
    return condition(*converter.parse(text), text)


def put(transition: Transition, whole: Condition | None) -> None:
    """Make a condition that of a transition: what it says of the status, and the rest."""
    if whole is None:
        return
    for term in conjuncts(whole):
        status = _status(term)
        if status is None:
            if term.kind != "const" or term.value is not True:
                transition.conditions.append(condition(term, whole.yaql, whole.source))
        elif transition.status in ("done", status):
            transition.status = status
        elif status != "done":
            transition.status = "never"


def _status(term: Term) -> str | None:
    if term.kind == "not":
        return _OPPOSITE.get(_status(term.parts[0]) or "")
    if term.kind == "call" and not term.on and not term.parts and term.value in _STATUS:
        return _STATUS[term.value]
    return None


__all__ = ["Condition", "condition", "negated", "parsed", "put"]
