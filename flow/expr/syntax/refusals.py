"""What to write instead of the syntax that expressions do not have."""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Any, Final

from flow.errors import nearest, shown
from flow.expr.functions import Functions

_LONGEST: Final = 40
"""Characters of a part of the source that a message repeats."""

OTHER_NAMES: Final = {
    "length": "len(x)", "count": "len(x)", "size": "len(x)", "string": "str(x)", "number": "float(x)",
    "type_of": "type(x)", "flat": "flatten(x)", "reversed": "reverse(x)", "starts_with": "startswith(x, 'a')",
    "ends_with": "endswith(x, 'a')", "match": "matches(x, 'pattern')", "search": "matches(x, 'pattern')",
    "regex_match": "matches(x, 'pattern')", "to_json": "json(x)", "tojson": "json(x)", "from_json": "parse_json(x)",
    "fromjson": "parse_json(x)", "from_json_string": "parse_json(x)", "sorted": "sort(x)", "uniq": "unique(x)",
    "distinct": "unique(x)", "set": "unique(x)", "concat": "a + b", "lowercase": "lower(x)", "uppercase": "upper(x)",
    "strip": "trim(x)", "lstrip": "trim(x)", "rstrip": "trim(x)", "coalesce": "default(x, other)",
    "d": "default(x, other)", "map": "pluck(x, 'key')", "selectattr": "where(x, 'key', '==', y)",
    "filter": "where(x, 'key', '==', y)", "rejectattr": "where(x, 'key', '!=', y)", "list": "the list itself",
    "dict": "{'a': x}", "tuple": "[a, b]", "getattr": "x.key", "attr": "x.key", "hasattr": "get(x, 'key')",
    "has": "'key' in x", "has_key": "'key' in x", "exists": "default(x, null) != null", "index": "x[0]",
    "slice": "x[1:3]", "enumerate": "zip(range(len(x)), x)", "isinstance": "type(x) == 'str'", "print": "",
    "repr": "json(x)", "pow": "x * x", "ternary": "a if test else b", "iif": "a if test else b", "append": "x + [y]",
    "extend": "x + y", "update": "merge(x, y)", "removeprefix": "replace(x, 'a', '')", "avg": "sum(x) / len(x)",
    "mean": "sum(x) / len(x)", "average": "sum(x) / len(x)", "is_null": "x == null", "isnull": "x == null",
    "is_defined": "default(x, null) != null", "in": "x in y", "to_json_string": "json(x)", "toJson": "json(x)",
    "toJSON": "json(x)", "fromJson": "parse_json(x)", "fromJSON": "parse_json(x)", "use_none": "default(x, null)",
    "regex_replace": "replace(x, 'a', 'b')", "regex_search": "matches(x, 'pattern')",
    "ctx": "inputs.x, vars.x or data.x", "task": "the name of the node, which is its output",
    "item": "item", "result": "result, in 'publish'",
    "always": "after: {NODE: done} and join: done", "completed": "succeeded(x) or failed(x)", "success": "succeeded(x)",
    "failure": "failed(x)", "switch": "a if test else b", "toUpper": "upper(x)", "toLower": "lower(x)",
    "orderBy": "sort(x, 'key')", "select": "pluck(x, 'key')", "toList": "the list itself",
}  # fmt: skip
"""By a name that Python or another engine has, what is written here."""


class Source:
    """The text of an expression as Python parsed it: ``(``, the source, a line break and ``)``."""

    __slots__ = ("ascii", "source")

    def __init__(self, source: str) -> None:
        self.source = source
        self.ascii = source.isascii()

    def at(self, line: int, offset: int) -> tuple[int, int]:
        """Return line and column, from 1 and in characters, of an offset in bytes of the parsed text."""
        column = max(offset + (line > 1), 1)
        if not self.ascii:
            lines = self.source.split("\n")
            if line <= len(lines):
                column = len(lines[line - 1].encode()[: max(column - 1, 0)].decode(errors="replace")) + 1
        return line, column

    def of(self, node: ast.expr) -> str:
        """Return the text of ``node``, shortened."""
        text = ast.get_source_segment(f"({self.source}\n)", node) or ""
        text = " ".join(text.split())
        return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def instead(node: Any, source: Source) -> str:
    """Say what a node is that is not allowed, and what to write instead."""
    say = _SAID.get(type(node))
    return say(node, source) if say else f"{type(node).__name__} is not allowed in an expression"


def _operator(node: ast.BinOp, source: Source) -> str:
    if isinstance(node.op, ast.BitOr):
        return f"'|' is not allowed: filters are functions; write {_filter(node, source)}"
    signs = {ast.Pow: "**", ast.LShift: "<<", ast.RShift: ">>", ast.BitXor: "^", ast.BitAnd: "&", ast.MatMult: "@"}
    return f"'{signs.get(type(node.op), '?')}' is not allowed"


def _filter(node: ast.BinOp, source: Source) -> str:
    """``x | join(', ')`` as ``join(x, ', ')``."""
    is_filter = isinstance(node.left, ast.BinOp) and isinstance(node.left.op, ast.BitOr)
    left, right = _filter(node.left, source) if is_filter else source.of(node.left), node.right  # type: ignore[arg-type]
    name = right.id if isinstance(right, ast.Name) else ""
    rest: list[str] = []
    if isinstance(right, ast.Call) and isinstance(right.func, ast.Name):
        name = right.func.id
        rest = [source.of(one) for one in right.args]
        rest += [f"{one.arg}={source.of(one.value)}" for one in right.keywords if one.arg]
    if name == "map" and isinstance(right, ast.Call) and right.keywords and right.keywords[0].arg == "attribute":
        return f"pluck({left}, {source.of(right.keywords[0].value)})"
    if name == "selectattr" and len(rest) in (1, 3):
        test = [repr(_TESTS.get(rest[1].strip("'\""), "=="))] if rest[1:] else []
        return f"where({', '.join([left, rest[0], *test, *rest[2:]])})"
    if name in ("first", "last") and not rest:
        return f"{name}({left})"
    if name in ("list", ""):
        return left if name else "a function, as in upper(x)"
    if name in OTHER_NAMES:
        return _named(OTHER_NAMES[name], left)
    return f"{name}({', '.join([left, *rest])})"


_TESTS: Final = {"equalto": "==", "eq": "==", "ne": "!=", "gt": ">", "ge": ">=", "lt": "<", "le": "<=", "in": "in"}
"""Tests of Jinja, as ``where`` writes them."""


def _named(pattern: str, x: str) -> str:
    """Put ``x`` in the place of x in a pattern."""
    return pattern.replace("(x", f"({x}", 1) if "(x" in pattern else pattern


def _comprehension(node: Any, source: Source) -> str:
    first = node.generators[0]
    items, name = source.of(first.iter), first.target.id if isinstance(first.target, ast.Name) else "x"
    written = []
    if first.ifs:
        test = first.ifs[0]
        items = f"where({items}, {_test(test, name, source)})"
        written = [items]
    element = getattr(node, "elt", None)
    if isinstance(element, ast.Compare):
        written = [f"where({items}, {_test(element, name, source)})"]
    if isinstance(element, ast.Attribute) and isinstance(element.value, ast.Name) and element.value.id == name:
        written = [f"pluck({items}, {element.attr!r})"]
    said = (
        written[0]
        if written
        else "pluck(users, 'name'), where(users, 'age', '>', 17), or do it in a map or a function of a node"
    )
    return f"'for' is not allowed; write {said}"


def _test(test: ast.expr, name: str, source: Source) -> str:
    """``u.age > 17`` as the arguments of ``where``."""
    left = test.left if isinstance(test, ast.Compare) else test
    if isinstance(left, ast.Attribute) and isinstance(left.value, ast.Name) and left.value.id == name:
        if not isinstance(test, ast.Compare):
            return repr(left.attr)
        sign = SIGNS.get(type(test.ops[0]))
        if sign and len(test.ops) == 1:
            return f"{left.attr!r}, {sign!r}, {source.of(test.comparators[0])}"
    return "'key', '==', value"


SIGNS: Final[dict[type, str]] = {
    ast.Eq: "==", ast.NotEq: "!=", ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.In: "in",
}  # fmt: skip


def method(node: ast.Call, source: Source, functions: Functions) -> str:
    """Say what to write for ``x.upper()``."""
    assert isinstance(node.func, ast.Attribute)
    name, value = node.func.attr, source.of(node.func.value)
    rest = [source.of(one) for one in node.args]
    if name == "get":
        key = node.args[0] if node.args else None
        if isinstance(key, ast.Constant) and isinstance(key.value, str) and key.value.isidentifier():
            return f"methods are not called; write default({value}.{key.value}, {rest[1] if len(rest) > 1 else 'null'})"
    if name == "join":
        return f"methods are not called; write join({', '.join([*rest, value])})"
    if name in functions:
        return f"methods are not called; write {name}({', '.join([value, *rest])})"
    if OTHER_NAMES.get(name):
        return f"methods are not called; write {_named(OTHER_NAMES[name], value)}"
    return f"methods are not called, and there is no function {shown(name)}{nearest(name, list(functions))}"


def unknown_function(name: str, functions: Functions) -> str:
    """Say that there is no such function, and which is near."""
    other = OTHER_NAMES.get(name)
    hint = (
        f"; write {other}" if other else nearest(name, list(functions)) or f"; there are {', '.join(sorted(functions))}"
    )
    return f"there is no function {shown(name)}{hint}"


def _identity(node: ast.Compare, source: Source) -> str:
    negated = any(isinstance(op, ast.IsNot) for op in node.ops)
    sign = "!=" if negated else "=="
    right = source.of(node.comparators[-1])
    if right in ("defined", "undefined"):
        negated ^= right == "undefined"
        return f"'is' is not allowed; write default({source.of(node.left)}, null) {'==' if negated else '!='} null"
    right = "null" if right in ("None", "none") else right
    return f"'is' is not allowed; write {source.of(node.left)} {sign} {right}"


def _tuple(node: ast.Tuple, source: Source) -> str:
    items = ", ".join(map(source.of, node.elts)) if len(node.elts) < 8 else ""
    return f"a tuple is not allowed; write a list: [{items or 'a, b'}]"


def _same(text: str) -> Callable[[Any, Source], str]:
    return lambda node, source: text


_SAID: Final[dict[type, Callable[[Any, Source], str]]] = {
    ast.BinOp: _operator,
    ast.UnaryOp: _same("'~' is not allowed; write a + b to put texts together, or write 'not x'"),
    ast.Compare: _identity,
    ast.Lambda: _same("'lambda' is not allowed: functions are those of the list; write the expression itself"),
    ast.ListComp: _comprehension,
    ast.SetComp: _comprehension,
    ast.GeneratorExp: _comprehension,
    ast.DictComp: _comprehension,
    ast.JoinedStr: _same("text with values in it is not allowed; write format('Hello {}', name)"),
    ast.NamedExpr: _same("':=' is not allowed: an expression assigns nothing"),
    ast.Await: _same("'await' is not allowed: what a node returns is there"),
    ast.Yield: _same("'yield' is not allowed"),
    ast.YieldFrom: _same("'yield' is not allowed"),
    ast.Starred: _same("'*' before a value is not allowed; write a + b to put lists together"),
    ast.Set: _same("a set is not allowed; write a list: [a, b]"),
    ast.Tuple: _tuple,
    ast.Slice: _same("a slice stands alone in its brackets: x[1:3]"),
}
