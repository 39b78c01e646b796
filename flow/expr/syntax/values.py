"""Writes names, constants, displays, and what is read by key, index or slice."""

from __future__ import annotations

import ast
import math
from typing import Any, Final

from flow.errors import shown
from flow.expr.library.lists import default
from flow.expr.limits import MAX_BITS
from flow.expr.operations import SIMPLE
from flow.expr.syntax.writer import INDEX, KEY, NAME, STEPS, Use, Visit, Writer

CONSTANTS: Final[dict[str, Any]] = {"true": True, "false": False, "null": None}
"""Names of constants, besides Python's own."""


def constant_of(node: Any) -> tuple[Any] | None:
    """Return the value of a constant as a tuple of one, or None."""
    if isinstance(node, ast.Constant) and type(node.value) in SIMPLE:
        return (node.value,)
    if isinstance(node, ast.Name) and node.id in CONSTANTS:
        return (CONSTANTS[node.id],)
    return None


def _constant(writer: Writer, node: ast.Constant, depth: int) -> None:
    value = node.value
    if type(value) not in SIMPLE:
        what = "bytes" if type(value) is bytes else "a complex number" if type(value) is complex else "'...'"
        raise writer.refused(node, f"{what} is not allowed")
    if type(value) is int and value.bit_length() > MAX_BITS:
        raise writer.refused(node, f"the number is too large: ints have at most {MAX_BITS:,} bits")
    if type(value) is float and not math.isfinite(value):
        raise writer.refused(node, "the number is too large for a float")
    if type(value) is str and not value.isascii() and any("\ud800" <= c <= "\udfff" for c in value):
        raise writer.refused(node, "the text holds half of a surrogate pair, which is no character")
    writer.out.append(repr(value))


def _name(writer: Writer, node: ast.Name, depth: int) -> None:
    write_name(writer, node)


def write_name(writer: Writer, node: ast.Name, key: str | None = None, soft: bool = False) -> None:
    """Write a name. ``key`` is what is read of it; ``soft`` if it may be missing."""
    name = node.id
    if name in CONSTANTS:
        writer.out.append(repr(CONSTANTS[name]))
        return
    check_name(writer, node)
    line, column = writer.source.at(node.lineno, node.col_offset)
    writer.uses.append(Use(name, key, soft, "", line, column))
    writer.line(node, f"s.get({name!r},M)" if soft else f"s[{name!r}]", NAME, key=name)


def check_name(writer: Writer, node: ast.Name) -> None:
    """Refuse names that no value has."""
    if node.id.startswith("_"):
        raise writer.refused(node, f"{shown(node.id)} is not allowed: names do not begin with '_'")
    if node.id in writer.functions:
        signature = writer.functions[node.id].signature
        raise writer.refused(node, f"{node.id} is a function: call it, as in {signature}")


# -- reading -----------------------------------------------------------------------------------


def _attribute(writer: Writer, node: ast.Attribute, depth: int, soft: bool = False) -> None:
    at = -1
    if node.end_lineno == node.lineno:
        at = (node.end_col_offset or 0) - len(node.attr.encode())  # the key, not what it is read of
    if node.attr.startswith("_"):
        hint = f"what begins with '_' is private; of a dict, ['{node.attr}'] reads it"
        raise writer.refused(node, f"'.{node.attr}' is not allowed: {hint}", at)
    _read(writer, node, node.attr, at, depth, soft)


def _subscript(writer: Writer, node: ast.Subscript, depth: int, soft: bool = False) -> None:
    index = node.slice
    if isinstance(index, ast.Constant) and type(index.value) is str:
        writer.check_constant(index, depth)
        _read(writer, node, index.value, index.col_offset if index.lineno == node.lineno else -1, depth, soft)
    elif isinstance(index, ast.Slice):
        writer.line(node, f"part({STEPS}")
        writer.visit(node.value, depth)
        for bound in (index.lower, index.upper, index.step):
            writer.out.append(",")
            if bound is None:
                writer.out.append("None")
            else:
                writer.visit(bound, depth)
        writer.out.append(")")
    elif not soft and isinstance(index, ast.Constant) and type(index.value) is int:
        one = writer.new()
        writer.check_constant(index, depth)
        writer.out.append("(")
        writer.line(node, f"{one}[{index.value!r}] if type(", INDEX, one)
        writer.hold(one, node.value, depth)
        writer.out.append(") is list else")
        writer.line(node, f"item({one},{index.value!r}))")
    else:
        writer.line(node, "softitem(" if soft else "item(")
        if soft:
            soften(writer, node.value, depth)
        else:
            writer.visit(node.value, depth)
        writer.out.append(",")
        writer.visit(index, depth)
        writer.out.append(")")


def _read(writer: Writer, node: Any, key: str, at: int, depth: int, soft: bool) -> None:
    """Write what reads a key: of an exact dict at once, of anything else by a function."""
    held, value = writer.new(), node.value
    writer.out.append("(")
    code = f"{held}.get({key!r},M)" if soft else f"{held}[{key!r}]"
    writer.line(node, f"{code} if type({held}:=", KEY, held, key, at)
    if isinstance(value, ast.Name):
        writer.descend(value, depth)
        write_name(writer, value, key, soft)
    elif soft:
        soften(writer, value, depth)
    else:
        writer.visit(value, depth)
    writer.out.append(") is dict else")
    writer.line(node, f"{'soft' if soft else 'read'}({held},{key!r}))", at=at)


def soften(writer: Writer, node: Any, depth: int) -> None:
    """Write what stands in ``default``: a name, key or item that is missing is MISSING."""
    soft = _SOFT.get(type(node))
    if soft is None or (isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Slice)):
        writer.visit(node, depth)
        return
    writer.descend(node, depth)
    soft(writer, node, depth + 1)


def write_default(writer: Writer, node: ast.Call, depth: int, soft: bool = False) -> None:
    """Write ``default(x, other)``, by position or by name.

    :param soft: ``other`` may be missing too: it stands in another one.
    """
    one, by_name = writer.new(), {word.arg: word.value for word in node.keywords}
    x, other = [*node.args, *(by_name[name] for name in ("x", "other")[len(node.args) :])]
    writer.out.append(f"({one} if ({one}:=")
    soften(writer, x, depth)
    writer.out.append(f") is not None and {one} is not M else ")
    (soften if soft else Writer.visit)(writer, other, depth)
    writer.out.append(")")


def _soft_call(writer: Writer, node: ast.Call, depth: int) -> None:
    function = writer.functions.get(node.func.id) if isinstance(node.func, ast.Name) else None
    words = tuple(one.arg or "" for one in node.keywords)
    if function is not None and function.call is default and not function.fault(len(node.args), words):
        writer.calls.add(function.name)
        write_default(writer, node, depth, soft=True)
    else:
        writer.visit(node, depth - 1)


# -- displays ----------------------------------------------------------------------------------


def _list(writer: Writer, node: ast.List, depth: int) -> None:
    writer.out.append("[")
    for value in node.elts:
        writer.visit(value, depth)
        writer.out.append(",")
    writer.out.append("]")


def _dict(writer: Writer, node: ast.Dict, depth: int) -> None:
    writer.out.append("{")
    for key, value in zip(node.keys, node.values, strict=True):
        if key is None:
            raise writer.refused(value, "'**' before a value is not allowed; write merge(a, b)")
        if isinstance(key, ast.Constant):
            if type(key.value) is not str:
                raise writer.refused(key, f"the keys of a dict are text; write '{writer.source.of(key)}'")
            writer.visit(key, depth)
        else:
            writer.line(key, "key(")
            writer.visit(key, depth)
            writer.out.append(")")
        writer.out.append(":")
        writer.visit(value, depth)
        writer.out.append(",")
    writer.out.append("}")


VISITS: Final[dict[type, Visit]] = {
    ast.Constant: _constant,
    ast.Name: _name,
    ast.Attribute: _attribute,
    ast.Subscript: _subscript,
    ast.List: _list,
    ast.Dict: _dict,
}
_SOFT: Final[dict[type, Any]] = {
    ast.Name: lambda writer, node, depth: write_name(writer, node, soft=True),
    ast.Attribute: lambda writer, node, depth: _attribute(writer, node, depth, soft=True),
    ast.Subscript: lambda writer, node, depth: _subscript(writer, node, depth, soft=True),
    ast.Call: _soft_call,
}
