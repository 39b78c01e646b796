"""Terms of YAQL and Jinja as expressions of ours."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from keyword import iskeyword
from typing import Any, Final, Protocol

from flow.spec.converting.terms import Term, Unconvertible, conjuncts, const

LOOSE: Final = {
    "if": 1, "or": 2, "and": 3, "not": 4, "==": 5, "!=": 5, "<": 5, "<=": 5, ">": 5, ">=": 5, "in": 5, "not in": 5,
    "+": 6, "-": 6, "*": 7, "/": 7, "//": 7, "%": 7,
}  # fmt: skip
TIGHT: Final = 10
_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]*")


class Site(Protocol):
    """The place of an expression: what its names mean there. Each method returns an expression."""

    def variable(self, name: str) -> str: ...
    def parameter(self, name: str) -> str: ...
    def raw(self, text: str) -> str: ...
    def result(self) -> str: ...
    def status(self, word: str, task: str | None) -> str: ...
    def item(self, name: str | None) -> str: ...
    def task(self, name: str, field: str, path: Sequence[str]) -> str: ...
    def system(self, path: Sequence[str]) -> str: ...
    def outside(self, path: str) -> str: ...


def quoted(value: Any) -> str:
    """Return a constant as our expressions write it."""
    if isinstance(value, str):
        if "'" not in value and "\\" not in value and value.isprintable():
            return f"'{value}'"
        return json.dumps(value, ensure_ascii=False)
    return (
        {None: "null", True: "true", False: "false"}[value]
        if value is None or value is True or value is False
        else repr(value)
    )


def key_of(text: str, key: str) -> str:
    """Return the expression of a key of what ``text`` is."""
    return f"{text}.{key}" if is_plain(key) else f"{text}[{quoted(key)}]"


def is_plain(key: str) -> bool:
    """Tell whether a key or a name may stand as it is."""
    return _NAME.fullmatch(key) is not None and not iskeyword(key) and key not in _LITERALS


_LITERALS: Final = {"null": None, "true": True, "false": False}


def templated(text: str) -> Any:
    """Return an expression as a value of a file: a constant as it is."""
    return _LITERALS[text] if text in _LITERALS else "{{ " + text + " }}"


class Translator:
    """Makes the text of one expression. :param yaql: its language, else Jinja as Orquesta or Attune has it."""

    def __init__(self, site: Site, *, yaql: bool, attune: bool = False) -> None:
        self.site = site
        self.yaql = yaql
        self.attune = attune
        self.said: list[str] = []  # what is only nearly the same

    def text(self, term: Term, level: int = 0) -> str:
        """Return a term as text that may stand among operators of this level."""
        made, own = self._made(term)
        return f"({made})" if own < level else made

    def _made(self, term: Term) -> tuple[str, int]:
        return getattr(self, f"_{term.kind}")(term)  # type: ignore[no-any-return]

    def _raw(self, term: Term) -> tuple[str, int]:
        return self.site.raw(term.value), TIGHT

    def _const(self, term: Term) -> tuple[str, int]:
        return quoted(term.value), TIGHT

    def _name(self, term: Term) -> tuple[str, int]:
        name = term.value
        if name.startswith("$"):
            raise Unconvertible("'$' has a counterpart only in where($.key ...), select($.key) and orderBy($.key)")
        if self.yaql:
            return quoted(name), TIGHT  # a word is a text
        if name == "item":
            return self.site.item(None), TIGHT
        if name in ("index", "key"):
            self.site.item(None)
            return name, TIGHT
        if self.attune or name != "ctx":
            return self._chain(term, name, [])
        raise Unconvertible(f"{name!r} is not known")

    def _attr(self, term: Term) -> tuple[str, int]:
        path, base = list[str](), term
        while base.kind == "attr":
            path.insert(0, base.value)
            base = base.parts[0]
        if base.kind == "call" and base.value == "ctx" and not base.on and not base.parts:
            return self._keys(self.site.variable(path[0]), path[1:])
        if base.kind == "call" and base.value == "task" and not base.on and len(base.parts) == 1:
            return self.site.task(_word(base.parts[0]), path[0], path[1:]), TIGHT
        if base.kind == "name" and not self.yaql and base.value not in ("item", "index", "key"):
            return self._chain(base, base.value, path)
        if self.yaql and base.kind == "name" and not base.value.startswith("$"):
            return self.site.outside(".".join((base.value, *path))), TIGHT
        return self._keys(self.text(base, TIGHT), path)

    def _keys(self, text: str, path: Sequence[str]) -> tuple[str, int]:
        if path and text.startswith("errors("):
            raise Unconvertible("after a failure there is the text of the error only, which has no keys")
        for key in path:
            text = key_of(text, key)
        return text, TIGHT

    def _chain(self, base: Term, root: str, path: list[str]) -> tuple[str, int]:
        """A name of Jinja with its keys."""
        if root == "parameters" and path:
            return self._keys(self.site.parameter(path[0]), path[1:])
        if root in ("workflow", "vars", "variables") and path:
            return self._keys(self.site.variable(path[0]), path[1:])
        if root in ("task", "tasks") and path:
            field = path[1] if len(path) > 1 else ""
            return self.site.task(path[0], field, path[2:]), TIGHT
        if root == "system" and path:
            return self.site.system(path), TIGHT
        if root == "result":
            return self._keys(self.site.result(), path)
        if not path and self.attune:
            return self.site.variable(root), TIGHT
        return self.site.outside(".".join((root, *path))), TIGHT

    def _index(self, term: Term) -> tuple[str, int]:
        base, index = term.parts
        if base.kind == "call" and base.value == "ctx" and not base.on and not base.parts and index.kind == "const":
            return self.site.variable(str(index.value)), TIGHT
        if base.kind == "name" and base.value in ("task", "tasks", "workflow", "vars", "parameters") and not self.yaql:
            return self._chain(base, base.value, [_word(index)])
        if index.kind == "const" and isinstance(index.value, str):
            return key_of(self.text(base, TIGHT), index.value), TIGHT
        return f"{self.text(base, TIGHT)}[{self.text(index)}]", TIGHT

    def _slice(self, term: Term) -> tuple[str, int]:
        base, start, end = term.parts
        shown = ["" if part == const(None) else self.text(part, 2) for part in (start, end)]
        return f"{self.text(base, TIGHT)}[{shown[0]}:{shown[1]}]", TIGHT

    def _op(self, term: Term) -> tuple[str, int]:
        sign, (left, right) = term.value, term.parts
        if sign in ("==", "!="):
            asked = self._status_asked(left, right) or self._status_asked(right, left)
            if asked:
                return (asked, TIGHT) if sign == "==" else (f"not {asked}", LOOSE["not"])
        if sign == "~":
            return f"{self._as_text(left)} + {self._as_text(right)}", LOOSE["+"]
        if sign == "**":
            raise Unconvertible("'**' has no counterpart: compute it in a function")
        if sign == "%" and left.kind == "const" and isinstance(left.value, str):
            raise Unconvertible("'%' puts values into text: write a template, or format()")
        if (
            self.yaql
            and sign == "/"
            and all(isinstance(one.value, int) for one in (left, right) if one.kind == "const")
        ):
            sign = "//" if left.kind == right.kind == "const" else "/"
        if sign == "+" and any(one.kind == "dict" or one.value in ("dict", "set") for one in term.parts):
            return f"merge({self.text(left)}, {self.text(right)})", TIGHT
        if self.yaql and sign == "/" and not any(isinstance(one.value, float) for one in term.parts):
            self.said.append("'/' of whole numbers gives a whole one in YAQL, and not here: write '//' for that")
        level = LOOSE[sign]
        return f"{self.text(left, level)} {sign} {self.text(right, level + 1)}", level

    def _status_asked(self, call: Term, word: Term) -> str:
        """``task_status(a) = succeeded``."""
        if call.kind != "call" or call.value != "task_status" or not call.parts or word.kind not in ("const", "name"):
            return ""
        return self.site.status(str(word.value), _word(call.parts[0]))

    def _as_text(self, term: Term) -> str:
        if (term.kind == "const" and isinstance(term.value, str)) or (term.kind == "op" and term.value == "~"):
            return self.text(term)
        return f"str({self.text(term)})"

    def _not(self, term: Term) -> tuple[str, int]:
        inner = term.parts[0]
        if inner.kind == "call" and inner.value == "is none":
            return f"{self.text(inner.parts[0], 6)} != null", LOOSE["!="]
        if inner.kind == "op" and inner.value in ("in", "=="):
            return self._op(Term("op", {"in": "not in", "==": "!="}[inner.value], inner.parts))
        return f"not {self.text(inner, LOOSE['not'])}", LOOSE["not"]

    def _neg(self, term: Term) -> tuple[str, int]:
        return f"-{self.text(term.parts[0], 8)}", 8

    def _if(self, term: Term) -> tuple[str, int]:
        yes, test, no = term.parts
        return f"{self.text(yes, 2)} if {self.text(test, 2)} else {self.text(no, 1)}", LOOSE["if"]

    def _list(self, term: Term) -> tuple[str, int]:
        return f"[{', '.join(map(self.text, term.parts))}]", TIGHT

    def _dict(self, term: Term) -> tuple[str, int]:
        return "{" + ", ".join(f"{quoted(key)}: {self.text(one)}" for key, one in term.named) + "}", TIGHT

    # -- calls

    def _call(self, term: Term) -> tuple[str, int]:
        name, parts, named = term.value, term.parts, dict(term.named)
        if not term.on:
            own = self._own(name, parts)
            if own is not None:
                return own, TIGHT
        if name.startswith("is "):
            return self._tested(name[3:], parts)
        if name in _WITH_LAMBDA and self.yaql and len(parts) > 1:
            return self._with_lambda(name, parts), TIGHT
        if name == "any" and self.yaql and parts:
            return f"len({self.text(parts[0])}) > 0", LOOSE[">"]
        made = _SPECIAL.get(name)
        if made is not None:
            return made(self, _enough(name, parts), named)
        ours = _SAME.get(name)
        if ours is None:
            raise Unconvertible(f"the function {name!r} has no counterpart: compute it in a function of a node")
        if named:
            raise Unconvertible(f"{name}() has no arguments by name here: compute it in a function of a node")
        return f"{ours}({', '.join(map(self.text, parts))})", TIGHT

    def _own(self, name: str, parts: Sequence[Term]) -> str | None:
        """A function of the workflow language itself."""
        site = self.site
        if name == "ctx":
            if parts:
                return site.variable(_word(parts[0]))
            raise Unconvertible("ctx() as a whole has no counterpart: name the variables")
        if name == "result" and not parts:
            return site.result()
        if name in ("succeeded", "failed", "completed", "timed_out") and len(parts) < 2:
            return site.status(name, _word(parts[0]) if parts else None)
        if name == "item":
            return site.item(_word(parts[0]) if parts else None)
        if name in ("task", "task_status"):
            raise Unconvertible(f"{name}() is understood in task(a).result and task_status(a) = succeeded only")
        if name in ("st2kv", "config_context"):
            return site.outside(name)
        if name in ("uuid", "random"):
            self.said.append(
                f"{name}() is the id of the run here, a text that no other run has: else let an action make it"
            )
            return "system.run_id"
        return None

    def _tested(self, test: str, parts: Sequence[Term]) -> tuple[str, int]:
        text = self.text(parts[0], 6)
        if test in ("defined", "undefined"):
            sign = "!=" if test == "defined" else "=="
            return f"default({self.text(parts[0])}, null) {sign} null", LOOSE["=="]
        if test in ("none", "null"):
            return f"{text} == null", LOOSE["=="]
        if test in ("true", "false"):
            return f"{text} == {test}", LOOSE["=="]
        if test in _TESTS and len(parts) == 2:
            return f"{text} {_TESTS[test]} {self.text(parts[1], 6)}", LOOSE["=="]
        if test in _TYPES:
            return f"type({self.text(parts[0])}) == '{_TYPES[test]}'", LOOSE["=="]
        if test in ("odd", "even"):
            return f"{self.text(parts[0], 8)} % 2 == {int(test == 'odd')}", LOOSE["=="]
        raise Unconvertible(f"the test 'is {test}' has no counterpart: compute it in a function of a node")

    def _with_lambda(self, name: str, parts: Sequence[Term]) -> str:
        """``where($.a > 1)``, ``select($.name)`` and the like."""
        items, body = self.text(parts[0]), parts[1]
        if name == "select":
            if body == Term("name", "$"):
                return items
            return f"pluck({items}, {self._current_key(body, name)})"
        if name in ("orderBy", "orderByDescending"):
            by = "" if body == Term("name", "$") else f", by={self._current_key(body, name)}"
            return f"sort({items}{by}{', reverse=true' if name == 'orderByDescending' else ''})"
        found = items
        for term in conjuncts(body):
            found = f"where({found}, {self._condition(term, name)})"
        if name == "where":
            return found
        if name == "any":
            return f"(len({found}) > 0)"
        return f"(len({found}) == len({items}))"

    def _condition(self, term: Term, name: str) -> str:
        if term.kind == "not":
            return f"{self._current_key(term.parts[0], name)}, '==', false"
        if term.kind == "op" and term.value in ("==", "!=", "<", "<=", ">", ">=", "in", "not in"):
            key = self._current_key(term.parts[0], name)
            value = self.text(term.parts[1])
            return f"{key}, {value}" if term.value == "==" else f"{key}, '{term.value}', {value}"
        return self._current_key(term, name)

    def _current_key(self, term: Term, name: str) -> str:
        if term.kind == "attr" and term.parts[0] == Term("name", "$"):
            return quoted(term.value)
        is_key = term.kind == "index" or (term.kind == "call" and term.value == "get")
        current, *keys = term.parts or (const(None),)
        if is_key and current == Term("name", "$") and keys and not isinstance(keys[0].value, int):
            return quoted(_word(keys[0]))
        raise Unconvertible(f"{name}(...) has a counterpart for $.key and comparisons of it only: filter in a function")


def _word(term: Term) -> str:
    if term.kind in ("const", "name"):
        return str(term.value)
    raise Unconvertible("a name that is computed has no counterpart: write it out")


Made = tuple[str, int]
Special = Callable[[Translator, Sequence[Term], dict[str, Term]], Made]

_TESTS: Final = {
    "equalto": "==", "eq": "==", "==": "==", "ne": "!=", "gt": ">", "ge": ">=", "lt": "<", "le": "<=", "in": "in",
}  # fmt: skip
_TYPES: Final = {
    "string": "str", "mapping": "dict", "sequence": "list", "integer": "int", "float": "float", "boolean": "bool",
}  # fmt: skip
_WITH_LAMBDA: Final = frozenset(("where", "filter", "select", "orderBy", "orderByDescending", "any", "all"))
_SAME: Final = {
    "len": "len", "count": "len", "length": "len", "toUpper": "upper", "upper": "upper", "toLower": "lower",
    "lower": "lower", "trim": "trim", "strip": "trim", "split": "split", "replace": "replace",
    "startsWith": "startswith", "startswith": "startswith", "endsWith": "endswith", "endswith": "endswith",
    "keys": "keys", "values": "values", "items": "items", "dictsort": "items", "get": "get", "first": "first",
    "last": "last", "distinct": "unique", "unique": "unique", "flatten": "flatten", "sum": "sum", "min": "min",
    "max": "max", "reverse": "reverse", "contains": "contains", "containsKey": "contains", "str": "str",
    "string": "str", "int": "int", "float": "float", "bool": "bool", "zip": "zip", "range": "range", "abs": "abs",
    "round": "round", "floor": "floor", "ceil": "ceil", "json_dump": "json", "to_json_string": "json",
    "tojson": "json", "to_json": "json", "json_stringify": "json", "json_parse": "parse_json",
    "from_json_string": "parse_json", "fromjson": "parse_json", "from_json": "parse_json", "mergeWith": "merge",
    "combine": "merge", "merge": "merge", "any": "any", "all": "all", "matches": "matches", "regex_match": "matches",
    "regex_search": "matches", "json": "json", "pluck": "pluck", "where": "where", "parse_json": "parse_json",
    "ceiling": "ceil",
}  # fmt: skip


def _default(made: Translator, parts: Sequence[Term], named: dict[str, Term]) -> Made:
    texts = [made.text(one) for one in parts if one.value is not True or one is parts[0]]
    if not texts:
        raise Unconvertible("default(...) is given nothing")
    if len(texts) == 1:
        texts.append("''")
    text = texts[-1]
    for one in reversed(texts[:-1]):
        text = f"default({one}, {text})"
    return text, TIGHT


def _itself(made: Translator, parts: Sequence[Term], named: dict[str, Term]) -> Made:
    """``list`` of Jinja and ``toList`` of YAQL; ``list(a, b)`` of YAQL."""
    if not parts or (made.yaql and not (len(parts) == 1 and parts[0].kind == "call")):
        return f"[{', '.join(map(made.text, parts))}]", TIGHT
    return made.text(parts[0], TIGHT), TIGHT


def _map(made: Translator, parts: Sequence[Term], named: dict[str, Term]) -> Made:
    if "attribute" not in named:
        raise Unconvertible("map(...) has a counterpart with attribute= only: do it in a function of a node")
    more = f", {made.text(named['default'])}" if "default" in named else ""
    return f"pluck({made.text(parts[0])}, {made.text(named['attribute'])}{more})", TIGHT


def _selected(made: Translator, parts: Sequence[Term], named: dict[str, Term], negated: bool = False) -> Made:
    if len(parts) < 2:
        raise Unconvertible("selectattr(...) has a counterpart with the name of an attribute only")
    key = made.text(parts[1])
    opposite = {"==": "!=", "!=": "==", ">": "<=", ">=": "<", "<": ">=", "<=": ">", "in": "not in"}
    if len(parts) == 2:
        return f"where({made.text(parts[0])}, {key}{', false' if negated else ''})", TIGHT
    sign = _TESTS.get(str(parts[2].value))
    if sign is None or len(parts) != 4:
        raise Unconvertible(f"the test {parts[2].value!r} has no counterpart: filter in a function of a node")
    sign = opposite[sign] if negated else sign
    return f"where({made.text(parts[0])}, {key}, '{sign}', {made.text(parts[3])})", TIGHT


def _rejected(made: Translator, parts: Sequence[Term], named: dict[str, Term]) -> Made:
    return _selected(made, parts, named, negated=True)


def _sorted(made: Translator, parts: Sequence[Term], named: dict[str, Term]) -> Made:
    by = f", by={made.text(named['attribute'])}" if "attribute" in named else ""
    reverse = ", reverse=true" if named.get("reverse") == const(True) else ""
    return f"sort({made.text(parts[0])}{by}{reverse})", TIGHT


def _part(made: Translator, parts: Sequence[Term], named: dict[str, Term]) -> Made:
    """``substring(start, length)``, ``skip(n)``, ``limit(n)``, ``slice(start=, end=)``."""
    text = made.text(parts[0], TIGHT)
    start = named.get("start", parts[1] if len(parts) > 1 else const(0))
    end = named.get("end", named.get("stop"))
    if len(parts) > 2 and isinstance(start.value, int) and isinstance(parts[2].value, int):
        end = const(start.value + parts[2].value)
    elif len(parts) > 2:
        raise Unconvertible("a length that is computed has no counterpart: write x[start:end]")
    first = "" if start == const(0) else made.text(start, 2)
    return f"{text}[{first}:{'' if end is None else made.text(end, 2)}]", TIGHT


def _limit(made: Translator, parts: Sequence[Term], named: dict[str, Term]) -> Made:
    return f"{made.text(parts[0], TIGHT)}[:{made.text(parts[1], 2)}]", TIGHT


def _dict(made: Translator, parts: Sequence[Term], named: dict[str, Term]) -> Made:
    if parts and not named:
        raise Unconvertible("dict(...) has a counterpart with 'key => value' only")
    return "{" + ", ".join(f"{quoted(key)}: {made.text(one)}" for key, one in named.items()) + "}", TIGHT


def _set(made: Translator, parts: Sequence[Term], named: dict[str, Term]) -> Made:
    if len(parts) == 3:
        return f"merge({made.text(parts[0])}, {{{quoted(_word(parts[1]))}: {made.text(parts[2])}}})", TIGHT
    if len(parts) == 1 and named:
        return f"merge({made.text(parts[0])}, {_dict(made, (), named)[0]})", TIGHT
    raise Unconvertible("set(...) has a counterpart as set(key, value) only")


def _empty(made: Translator, parts: Sequence[Term], named: dict[str, Term]) -> Made:
    return f"len({made.text(parts[0])}) == 0", LOOSE["=="]


def _joined(made: Translator, parts: Sequence[Term], named: dict[str, Term]) -> Made:
    """``items.join(', ')``; in YAQL and Python also ``', '.join(items)``."""
    if len(parts) == 1:
        return f"join({made.text(parts[0])})", TIGHT
    items, separator = (parts[1], parts[0]) if parts[0].kind == "const" else (parts[0], parts[1])
    return f"join({made.text(items)}, {made.text(separator)})", TIGHT


def _concat(made: Translator, parts: Sequence[Term], named: dict[str, Term]) -> Made:
    return " + ".join(made.text(one, 7) for one in parts), LOOSE["+"]


def _formatted(made: Translator, parts: Sequence[Term], named: dict[str, Term]) -> Made:
    if named or parts[0].kind != "const" or "%" in str(parts[0].value):
        raise Unconvertible("format(...) has a counterpart for a text with '{0}' or '{}' in it only: write a template")
    return f"format({', '.join(map(made.text, parts))})", TIGHT


def _switch(made: Translator, parts: Sequence[Term], named: dict[str, Term]) -> Made:
    raise Unconvertible("switch(...) has no counterpart: write 'a if test else b'")


def _append(made: Translator, parts: Sequence[Term], named: dict[str, Term]) -> Made:
    more = ", ".join(map(made.text, parts[1:]))
    return f"{made.text(parts[0], 6)} + [{more}]", LOOSE["+"]


def _now(made: Translator, parts: Sequence[Term], named: dict[str, Term]) -> Made:
    return "now()", TIGHT


_SPECIAL: Final[dict[str, Special]] = {
    "default": _default, "d": _default, "coalesce": _default, "list": _itself, "toList": _itself, "map": _map,
    "selectattr": _selected, "rejectattr": _rejected, "sort": _sorted, "orderBy": _sorted, "substring": _part,
    "skip": _part, "slice": _part, "limit": _limit, "take": _limit, "dict": _dict, "set": _set, "isEmpty": _empty,
    "join": _joined, "concat": _concat, "switch": _switch, "append": _append, "now": _now, "format": _formatted,
    "safe": _itself,
}  # fmt: skip

_LEAST: Final = dict.fromkeys(_SPECIAL, 1) | {"limit": 2, "take": 2, "dict": 0, "now": 0, "switch": 0, "list": 0}


def _enough(name: str, parts: Sequence[Term]) -> Sequence[Term]:
    if len(parts) < _LEAST[name]:
        raise Unconvertible(f"{name}(...) is given too little")
    return parts


__all__ = ["LOOSE", "Site", "Translator", "is_plain", "key_of", "quoted", "templated"]
