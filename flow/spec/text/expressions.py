"""Expressions and templates of a file, each checked once, with its place."""

from __future__ import annotations

import re
from typing import Any, Final

from flow.errors import ExpressionError, shown
from flow.expr import Expression, Place, Template, compile, structure, template
from flow.expr.places import end_of
from flow.policy.scope import ALL
from flow.spec.text.faults import Faults
from flow.spec.text.foreign import foreign
from flow.spec.text.places import Row, Table
from flow.spec.text.values import Made, copied

_ALONE: Final = re.compile(r"""\{\{( *)([^{}'"\s](?:[^{}'"\n]*[^{}'"\s])?) *\}\}""")
"""A text that is an expression, and as simple as most are."""


def value_of(value: Any, event: Any, faults: Faults, literal: bool = False) -> Made:
    """Return a value in which expressions may stand. Of one that is refused, a constant stands in.

    :param literal: it is one where expressions are not read, so those of other engines are text.
    """
    if isinstance(value, str):
        if "{{" not in value:
            if not literal:
                _check_ours(value, event, faults)
            return Made(value, None)
        alone = _ALONE.fullmatch(value)
        if alone is not None:  # the usual one: without the work of a template
            begin = faults.source.place_of_text(event, value).at(1, 3 + len(alone[1]))
            return Made(value, _compiled(alone[2], begin, faults))
        made = _template(value, event, faults, literal)
        if made is not None and made.is_text:  # its braces are literal
            return Made(made.evaluate({}), None)
        return Made(value, made)
    if isinstance(value, (Table, Row)):
        if not value.templated:
            return Made(copied(value), None)
        try:
            whole = structure(_templates(value, faults, literal))
        except ExpressionError as error:
            faults.add(value.at, error.problem)
            return Made(None, None)
        return Made(whole.source, whole) if whole.expressions else Made(whole.evaluate({}), None)
    return Made(value, None)


def named(name: str, is_node: bool, where: Place) -> Made:
    """Return the output of the node, or the run input, of a name."""
    return Made(name, compile(name if is_node else f"inputs.{name}", where=where))


def expression_of(text: str, event: Any, faults: Faults, what: str) -> Expression | None:
    """Return a bare expression; None, with a fault, if it is refused."""
    if not _check_ours(text, event, faults):
        return None
    begin = faults.source.place_of_text(event, text)
    if _is_in_braces(text):
        faults.add(begin, f"{what} is an expression by itself: write it without {{{{ }}}}")
        return None
    return _compiled(text, begin, faults)


def _is_in_braces(text: str) -> bool:
    stripped = text.strip()
    return stripped.startswith("{{") and stripped.endswith("}}")


def choice_of(text: str, event: Any, faults: Faults, what: str) -> Made | None:
    """Return an expression, bare or alone in ``{{ }}``."""
    if not _check_ours(text, event, faults):
        return None
    begin = faults.source.place_of_text(event, text)
    if _is_in_braces(text):
        made = _template(text, event, faults)
        if made is not None and made.is_alone:
            return Made(text, made)
        if made is not None:
            faults.add(begin, f"{what} is one expression, without text around it")
        return None
    if "{{" in text and "}}" in text:
        faults.add(begin, f"{what} is one expression, without text around it")
        return None
    found = _compiled(text, begin, faults)
    return None if found is None else Made(text, found)


def _compiled(text: str, begin: Place, faults: Faults) -> Expression | None:
    try:
        return compile(text, where=begin, functions=ALL)
    except ExpressionError as error:
        faults.add_error(error, begin)
        return None


def _template(text: str, event: Any, faults: Faults, literal: bool = False) -> Template | None:
    begin = faults.source.place_of_text(event, text)
    if not literal and not _check_ours(text, event, faults):
        return None
    try:
        return template(text, where=begin, functions=ALL)
    except ExpressionError as error:
        at = _place_in(error.place, begin)
        faults.add(begin.at(error.line, error.column) if at is None else at, error.problem)
        return None


def _check_ours(text: str, event: Any, faults: Faults) -> bool:
    """Note that a text has expressions of another engine, which would stay in it as they are. O(length)."""
    found = foreign(text)
    if found is None:
        return True
    at, problem = found
    faults.add(faults.source.place_of_text(event, text).at(*end_of(text, at)), problem)
    return False


def _place_in(text: str, begin: Place) -> Place | None:
    """Return the place that an error of an inner expression names: ``file:line:column``."""
    head, _, column = text.rpartition(":")
    file, _, line = head.rpartition(":")
    return Place(int(line), int(column), begin.file) if file and line.isdigit() and column.isdigit() else None


def _templates(value: Any, faults: Faults, literal: bool) -> Any:
    """Return a nested value with templates in place of the texts that hold expressions."""
    if isinstance(value, Table):
        made: dict[str, Any] = {}
        for key, one in value.items():
            if "{{" in key:
                faults.add(value.marks[key][0], f"a key is no template: {shown(key)}; the values of a mapping are")
            else:
                made[key] = _part(one, value.marks[key][1], faults, literal)
        return made
    return [_part(one, event, faults, literal) for one, event in zip(value, value.marks, strict=True)]


def _part(value: Any, event: Any, faults: Faults, literal: bool) -> Any:
    if isinstance(value, str):
        if "{{" in value:
            return _template(value, event, faults, literal) or ""
        return value if literal or _check_ours(value, event, faults) else ""
    if isinstance(value, (Table, Row)):
        return _templates(value, faults, literal) if value.templated else copied(value)
    return value
