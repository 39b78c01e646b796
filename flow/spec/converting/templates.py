"""Texts with expressions in ``<% %>`` or ``{{ }}``, as parts; and values with such texts, as values of ours."""

from __future__ import annotations

import re
from typing import Any, Final

from flow.errors import ExpressionError
from flow.expr import compile as compile_expression
from flow.policy.scope import ALL
from flow.spec.converting.reading import Notes
from flow.spec.converting.terms import Parser, Term, Unconvertible
from flow.spec.converting.translating import Site, Translator
from flow.spec.text.foreign import is_foreign

_PART: Final = re.compile(  # what is not closed ends where the next begins: else very many take quadratic time
    r"<%(?P<yaql>(?:(?!<%).)*?)%>|\{\{(?P<jinja>(?:(?!\{\{).)*?)\}\}"
    r"|(?P<block>\{%(?:(?!\{%).)*?%\}|\{\#(?:(?!\{\#).)*?\#\})",
    re.DOTALL,
)
_STATEMENT: Final = "what Jinja writes in {% %} or {# #} has no counterpart: write {{ a if b else c }}, or a function"
_BRACES: Final = re.compile(r"(\\*)\{\{")


class Converter:
    """Converts the expressions of one file.

    :param attune: its Jinja is that of Attune. :param checks: what is made is compiled, as it may be refused.
    :ivar todo: what could not be converted, by the input that stands for it.
    """

    def __init__(self, notes: Notes, *, attune: bool, checks: bool = True) -> None:
        self.notes = notes
        self.attune = attune
        self.checks = checks
        self.todo: dict[str, str] = {}
        self._stood_in: dict[str, str] = {}  # the input by the expression

    def parse(self, text: str) -> tuple[Term, bool]:
        """Return the term of a text that is one expression, and whether it is YAQL."""
        source = text.strip()
        match = _PART.fullmatch(source)
        yaql = match is not None and match["yaql"] is not None
        body = (match["yaql"] if yaql else match["jinja"]) if match is not None else source
        try:
            if body is None:
                raise Unconvertible("statements have no counterpart")
            return Parser(body, yaql=yaql).read(), yaql
        except Unconvertible as error:
            return Term("raw", f"not not {self.stand_in(text, body or source, str(error))}"), yaql

    def expression(self, term: Term, yaql: bool, site: Site, at: Any, source: str = "") -> str:
        """Return the expression of a term; that of an input that stands for it if there is none."""
        translator = Translator(site, yaql=yaql, attune=self.attune)
        try:
            text = translator.text(term)
            if self.checks:
                compile_expression(text, functions=ALL)
        except (Unconvertible, ExpressionError) as error:
            return self.stand_in(at, source, str(error))
        for said in translator.said:
            self.notes.add(at, said)
        return text

    def condition(self, term: Term, site: Site, at: Any) -> str:
        """As :meth:`expression`, of a condition, which may know its language and text."""
        return self.expression(term, getattr(term, "yaql", False), site, at, getattr(term, "source", ""))

    def stand_in(self, at: Any, source: str, why: str) -> str:
        """Note why there is no counterpart, and return the input that stands for it."""
        source = source.strip()
        what = f"the expression {source!r}" if source else "an expression"
        name = f"todo_{len(self.todo) + 1}"
        if source:
            name = self._stood_in.setdefault(source, name)
        self.todo[name] = source
        self.notes.add(at, f"{what} is not converted: {why}. The input {name!r} stands for it")
        return f"inputs.{name}"

    def value(self, value: Any, site: Site, at: Any = None) -> Any:
        """Return a value with its expressions converted."""
        if isinstance(value, str):
            return self.template(value, site, at if at is not None and not hasattr(value, "at") else value)
        if isinstance(value, dict):
            marks = getattr(value, "marks", {})
            return {str(key): self.value(one, site, marks.get(key, at)) for key, one in value.items()}
        if isinstance(value, list):
            return [self.value(one, site, at) for one in value]
        return value

    def template(self, text: str, site: Site, at: Any) -> Any:
        """Return a text with its expressions converted."""
        parts, end = list[str](), 0
        for match in _PART.finditer(text):
            before = _escaped(text[end : match.start()])
            slashes = len(before) - len(before.rstrip("\\"))
            parts.append(before + before[len(before) - slashes :])
            end = match.end()
            if match["block"] is not None:
                parts.append("{{ " + self.stand_in(at, match["block"], _STATEMENT) + " }}")
                continue
            yaql = match["yaql"] is not None
            source = match["yaql"] if yaql else match["jinja"]
            try:
                made = self.expression(Parser(source, yaql=yaql).read(), yaql, site, at, source)
            except Unconvertible as error:
                made = self.stand_in(at, source, str(error))
            parts.append("{{ " + made + " }}")
        parts.append(_escaped(text[end:]))
        made = "".join(parts)
        alone = made.strip()
        if end and len([part for part in parts if part.strip()]) == 1 and alone.startswith("{{"):
            return alone
        return f"{{{{ '$' }}}}{made[1:]}" if is_foreign(made) and made[0] == "$" else made


def _escaped(text: str) -> str:
    """Return text in which two braces stand for themselves."""
    return _BRACES.sub(lambda found: found[1] * 2 + "\\{{", text)


__all__ = ["Converter"]
