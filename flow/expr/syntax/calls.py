"""Writes calls of functions."""

from __future__ import annotations

import ast
from typing import Final

from flow.expr.functions import NODES, SCOPE, Function
from flow.expr.functions import STEPS as GIVEN_STEPS
from flow.expr.library.lists import default
from flow.expr.syntax import refusals
from flow.expr.syntax.values import CONSTANTS, check_name, write_default
from flow.expr.syntax.writer import STEPS, Use, Visit, Writer

PREFIX: Final = "f_"
"""What stands before a function's name in the code."""


def _call(writer: Writer, node: ast.Call, depth: int) -> None:
    if isinstance(node.func, ast.Attribute):
        raise writer.refused(node, refusals.method(node, writer.source, writer.functions))
    if not isinstance(node.func, ast.Name):
        raise writer.refused(node, "only functions are called, by their names: as in upper(x)")
    name = node.func.id
    function = writer.functions.get(name)
    if function is None:
        raise writer.refused(node, refusals.unknown_function(name, writer.functions))
    if any(isinstance(one, ast.Starred) for one in node.args) or any(one.arg is None for one in node.keywords):
        raise writer.refused(node, f"'*' before an argument is not allowed; give {name} each by itself")
    if name in ("any", "all", "sum", "sort", "min", "max", "join") and any(
        isinstance(one, ast.GeneratorExp) for one in node.args
    ):
        raise writer.refused(node.args[0], refusals.instead(node.args[0], writer.source))
    keywords = tuple(one.arg or "" for one in node.keywords)
    fault = function.fault(len(node.args), keywords)
    if any(word.startswith("_") for word in keywords):
        fault = f"{name} has no argument that begins with '_'"
    if fault:
        raise writer.refused(node, fault)
    writer.calls.add(name)
    if function.given == NODES:
        _of_nodes(writer, node, name)
    elif function.call is default:
        write_default(writer, node, depth)
    else:
        _of_values(writer, node, function, depth)


def _of_values(writer: Writer, node: ast.Call, function: Function, depth: int) -> None:
    first = STEPS if function.given == GIVEN_STEPS else "s," if function.given == SCOPE else ""
    writer.line(node, f"{PREFIX}{function.name}({first}")
    for one in node.args:
        writer.visit(one, depth)
        writer.out.append(",")
    for word in node.keywords:
        # A name that the function declares stands there as it is; any other as text.
        writer.out.append(f"{word.arg}=" if word.arg in function.parameters else f"**{{{word.arg!r}:")
        writer.visit(word.value, depth)
        writer.out.append("," if word.arg in function.parameters else "},")
    writer.out.append(")")


def _of_nodes(writer: Writer, node: ast.Call, name: str) -> None:
    """Write a call that is given names of nodes, not their values."""
    if node.keywords:
        raise writer.refused(node, f"{name} takes names of nodes alone")
    writer.line(node, f"{PREFIX}{name}(s,")
    for one in node.args:
        line, column = writer.source.at(one.lineno, one.col_offset)
        if isinstance(one, ast.Name) and one.id not in CONSTANTS:
            check_name(writer, one)
            writer.uses.append(Use(one.id, None, True, name, line, column))
            writer.out.append(f"{one.id!r},")
            continue
        is_item = isinstance(one, ast.Subscript) and isinstance(one.value, ast.Name) and one.value.id == "nodes"
        key = one.slice if is_item and isinstance(one, ast.Subscript) else None
        if not (isinstance(key, ast.Constant) and type(key.value) is str):
            raise writer.refused(one, f"{name} takes the name of a node: {name}(build), {name}(nodes['build-image'])")
        writer.check_constant(key, 1)
        writer.uses.append(Use("nodes", key.value, True, name, line, column))
        writer.out.append(f"{key.value!r},")
    writer.out.append(")")


VISITS: Final[dict[type, Visit]] = {ast.Call: _call}
