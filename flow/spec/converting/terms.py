"""Expressions of YAQL and Jinja as terms: one parser reads both, as they differ in few signs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

MAX_DEPTH: Final = 50


class Unconvertible(Exception):
    """An expression, or a part of it, has no counterpart. The text says what, and what to do."""


@dataclass(frozen=True)
class Term:
    """A part of an expression.

    :ivar kind: "const", "name", "attr", "index", "slice", "call", "op", "not", "neg", "if", "list", "dict"; and "raw",
        an expression of ours, in which ``{node}`` is the node.
    :ivar value: the constant, name, key, function or operator.
    :ivar parts: the terms in it. A call of a method or a filter has what it is called on first, if ``on`` is True.
    """

    kind: str
    value: Any = None
    parts: tuple[Term, ...] = ()
    named: tuple[tuple[str, Term], ...] = ()
    on: bool = False


def const(value: Any) -> Term:
    """Return the term of a constant."""
    return Term("const", value)


_TOKEN: Final = re.compile(
    r"""\s*(?:
    (?P<number>\d+\.\d+|\d+)
  | (?P<text>'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|`[^`]*`)
  | (?P<name>\$?[A-Za-z_][A-Za-z0-9_]*|\$)
  | (?P<sign>=>|->|==|!=|<=|>=|=~|!~|\?\.|//|\*\*|&&|\|\||[-+*/%~|.,:?()\[\]{}<>=!])
    )""",
    re.VERBOSE,
)
_ESCAPES: Final = {"n": "\n", "t": "\t", "r": "\r"}
_COMPARE: Final = {"==", "!=", "<", "<=", ">", ">="}


_MAX_DIGITS: Final = 300
"""Characters of a number."""

_MAX_TERMS: Final = 150
"""How deep terms may lie in each other: those of ``a + b + c`` do, too."""


def _check_depth(term: Term) -> None:
    """Refuse terms that lie too deep in each other. Without recursion."""
    level, depth = [term], 0
    while level:
        depth += 1
        if depth > _MAX_TERMS:
            raise Unconvertible(f"more than {_MAX_TERMS} operations follow each other in it")
        level = [part for one in level for part in (*one.parts, *(value for _, value in one.named))]


class Parser:
    """Reads one expression. :param yaql: YAQL, else Jinja."""

    def __init__(self, source: str, *, yaql: bool) -> None:
        self.yaql = yaql
        self.tokens = _tokens(source)
        self.at = 0
        self.depth = 0

    def read(self) -> Term:
        term = self._choice()
        if self.at < len(self.tokens):
            raise Unconvertible(f"{self.tokens[self.at][1]!r} is not understood here")
        _check_depth(term)
        return term

    # -- tokens

    def _peek(self) -> str:
        return self.tokens[self.at][1] if self.at < len(self.tokens) and self.tokens[self.at][0] != "text" else ""

    def _take(self, *signs: str) -> str:
        if self._peek() in signs:
            self.at += 1
            return self.tokens[self.at - 1][1]
        return ""

    def _need(self, sign: str) -> None:
        if not self._take(sign):
            found = self.tokens[self.at][1] if self.at < len(self.tokens) else "the end"
            raise Unconvertible(f"{sign!r} is missing before {found!r}")

    # -- levels, from the loosest

    @contextmanager
    def _deeper(self) -> Iterator[None]:
        """Count a level."""
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise Unconvertible(f"it nests more than {MAX_DEPTH} deep")
        yield
        self.depth -= 1

    def _choice(self) -> Term:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise Unconvertible(f"it nests more than {MAX_DEPTH} deep")
        term = self._or()
        if not self.yaql and self._take("if"):
            test = self._or()
            other = self._choice() if self._take("else") else const("")
            term = Term("if", None, (term, test, other))
        elif not self.yaql and self._take("?"):
            yes = self._choice()
            self._need(":")
            term = Term("if", None, (yes, term, self._choice()))
        self.depth -= 1
        return term

    def _or(self) -> Term:
        term = self._and()
        while self._take("or", "||"):
            term = Term("op", "or", (term, self._and()))
        return term

    def _and(self) -> Term:
        term = self._not()
        while self._take("and", "&&"):
            term = Term("op", "and", (term, self._not()))
        return term

    def _not(self) -> Term:
        if self._take("not", "!"):
            with self._deeper():
                return Term("not", None, (self._not(),))
        return self._compare()

    def _compare(self) -> Term:
        term = self._sum()
        while True:
            sign = self._peek()
            if sign == "=" and self.yaql:
                sign = "=="
            if sign in _COMPARE:
                self.at += 1
                term = Term("op", sign, (term, self._sum()))
            elif sign == "in":
                self.at += 1
                term = Term("op", "in", (term, self._sum()))
            elif sign == "not" and self.at + 1 < len(self.tokens) and self.tokens[self.at + 1][1] == "in":
                self.at += 2
                term = Term("op", "not in", (term, self._sum()))
            elif sign == "is" and not self.yaql:
                self.at += 1
                term = self._test(term)
            elif sign in ("=~", "!~"):
                self.at += 1
                found = Term("call", "matches", (term, self._sum()))
                term = found if sign == "=~" else Term("not", None, (found,))
            else:
                return term

    def _test(self, term: Term) -> Term:
        negated = bool(self._take("not"))
        name = self._name()
        parts, named = self._arguments() if self._take("(") else ((), ())
        if not parts and self.at < len(self.tokens) and self.tokens[self.at][0] in ("text", "number"):
            parts = (self._primary(),)
        test = Term("call", f"is {name}", (term, *parts), named)
        return Term("not", None, (test,)) if negated else test

    def _sum(self) -> Term:
        term = self._product()
        while sign := self._take("+", "-", "~"):
            term = Term("op", sign, (term, self._product()))
        return term

    def _product(self) -> Term:
        term = self._unary()
        while sign := self._take("*", "/", "//", "%", "mod", "**"):
            term = Term("op", "%" if sign == "mod" else sign, (term, self._unary()))
        return term

    def _unary(self, *, with_filters: bool = True) -> Term:
        if sign := self._take("-", "+"):
            with self._deeper():
                term = self._unary(with_filters=False)  # of Jinja, which negates first
            term = Term("neg", None, (term,)) if sign == "-" else term
        else:
            term = self._postfix()
        while with_filters and not self.yaql and self._take("|"):
            name = self._name()
            parts, named = self._arguments() if self._take("(") else ((), ())
            term = Term("call", name, (term, *parts), named, on=True)
            term = self._rest(term)
        return term

    def _postfix(self) -> Term:
        return self._rest(self._primary())

    def _rest(self, term: Term) -> Term:
        while True:
            if self._take(".", "?."):
                if self.at < len(self.tokens) and self.tokens[self.at][0] == "number":
                    if len(self.tokens[self.at][1]) > _MAX_DIGITS:
                        raise Unconvertible("a number in it is too long")
                    self.at += 1
                    term = Term("index", None, (term, const(int(float(self.tokens[self.at - 1][1])))))
                    continue
                name = self._name()
                if self._take("("):
                    parts, named = self._arguments()
                    term = Term("call", name, (term, *parts), named, on=True)
                else:
                    term = Term("attr", name, (term,))
            elif self._take("["):
                term = self._index(term)
            else:
                return term

    def _index(self, term: Term) -> Term:
        start = const(None) if self._peek() == ":" else self._choice()
        if not self.yaql and self._take(":"):
            end = const(None) if self._peek() == "]" else self._choice()
            self._need("]")
            return Term("slice", None, (term, start, end))
        self._need("]")
        return Term("index", None, (term, start))

    def _name(self) -> str:
        if self.at < len(self.tokens) and self.tokens[self.at][0] == "name":
            self.at += 1
            return self.tokens[self.at - 1][1]
        raise Unconvertible("a name is missing")

    def _arguments(self) -> tuple[tuple[Term, ...], tuple[tuple[str, Term], ...]]:
        """Read the arguments of a call, behind its parenthesis."""
        parts, named = list[Term](), list[tuple[str, Term]]()
        while not self._take(")"):
            term = self._choice()
            if self._take("=>") or (not self.yaql and self._take("=")):
                named.append((str(term.value), self._choice()))
                if term.kind not in ("name", "const"):
                    raise Unconvertible("a key that is computed has no counterpart: write it out")
            else:
                parts.append(term)
            if not self._take(","):
                self._need(")")
                break
        return tuple(parts), tuple(named)

    def _primary(self) -> Term:
        if self.at >= len(self.tokens):
            raise Unconvertible("it ends too early")
        kind, text = self.tokens[self.at]
        self.at += 1
        if kind == "number":
            if len(text) > _MAX_DIGITS:
                raise Unconvertible("a number in it is too long")
            return const(float(text) if "." in text else int(text))
        if kind == "text":
            return const(_text(text))
        if kind == "name":
            return self._word(text)
        if text == "(":
            term = self._choice()
            self._need(")")
            return term
        if text == "[":
            return Term("list", None, self._items("]"))
        if text == "{":
            return self._dict()
        raise Unconvertible(f"{text!r} is not understood here")

    def _word(self, text: str) -> Term:
        known = {"true": True, "false": False, "null": None, "none": None}
        if (text.lower() if not self.yaql else text) in known:
            return const(known[text.lower()])
        if self._take("("):
            parts, named = self._arguments()
            return Term("call", text, parts, named)
        return Term("name", text)

    def _items(self, end: str) -> tuple[Term, ...]:
        items = list[Term]()
        while not self._take(end):
            items.append(self._choice())
            if not self._take(","):
                self._need(end)
                break
        return tuple(items)

    def _dict(self) -> Term:
        pairs = list[tuple[str, Term]]()
        while not self._take("}"):
            key = self._or()
            if key.kind not in ("const", "name"):
                raise Unconvertible("a key that is computed has no counterpart: write it out")
            if not self._take(":", "=>"):
                self._need("=>" if self.yaql else ":")
            pairs.append((str(key.value), self._choice()))
            if not self._take(","):
                self._need("}")
                break
        return Term("dict", None, (), tuple(pairs))


def _tokens(source: str) -> list[tuple[str, str]]:
    found, at = list[tuple[str, str]](), 0
    end = len(source.rstrip())
    while at < end:
        match = _TOKEN.match(source, at, end)
        if match is None:
            raise Unconvertible(f"{source[at:].lstrip()[:10]!r} is not understood")
        kind = str(match.lastgroup)
        found.append((kind, match[kind]))
        at = match.end()
    return found


def _text(source: str) -> str:
    return re.sub(r"\\(.)", lambda found: _ESCAPES.get(found[1], found[1]), source[1:-1], flags=re.DOTALL)


def conjuncts(term: Term) -> list[Term]:
    """Return what ``and`` puts together at the top of a term."""
    found, todo = list[Term](), [term]
    while todo:
        one = todo.pop()
        if one.kind == "op" and one.value == "and":
            todo += [one.parts[1], one.parts[0]]
        else:
            found.append(one)
    return found


__all__ = ["Parser", "Term", "Unconvertible", "conjuncts", "const"]
