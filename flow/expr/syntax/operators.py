"""Writes operators: for the types that are common a test and the operator itself, for all else a function.

A bracket of the source becomes two at most: Python's parser takes 200.
"""

from __future__ import annotations

import ast
from typing import Any, Final

from flow.expr import operations
from flow.expr.limits import FREE
from flow.expr.syntax import refusals
from flow.expr.syntax.values import constant_of
from flow.expr.syntax.writer import STEPS, Visit, Writer

_COMPARE: Final[dict[type, tuple[str, str]]] = {
    ast.Eq: ("==", "equal"), ast.NotEq: ("!=", "unequal"), ast.Lt: ("<", "less"), ast.LtE: ("<=", "most"),
    ast.Gt: (">", "more"), ast.GtE: (">=", "least"), ast.In: (" in ", "inside"), ast.NotIn: (" not in ", "outside"),
}  # fmt: skip
_FIXED: Final = {"equal": "same", "unequal": "differs", "inside": "among", "outside": "notamong"}
"""What stands for these where one side is constant: it takes no steps."""

_COUNTING: Final = frozenset({"equal", "unequal", "inside", "outside", "add"})
"""Functions that take steps."""

_BINARY: Final[dict[type, tuple[str, str]]] = {
    ast.Add: ("+", "add"), ast.Sub: ("-", "subtract"), ast.Mult: ("*", "multiply"), ast.Div: ("/", "divide"),
    ast.FloorDiv: ("//", "floordivide"), ast.Mod: ("%", "modulo"),
}  # fmt: skip


_SMALL: Final = 2**31
"""Ints below this have a product that is small too."""

_LARGE: Final = 1e200
"""Floats below this, times such a number, are no larger than floats get."""


def _slow(name: str) -> str:
    return f"{name}({STEPS if name in _COUNTING else ''}"


# -- logic -------------------------------------------------------------------------------------


def _logic(writer: Writer, node: ast.BoolOp, depth: int) -> None:
    word = " and " if isinstance(node.op, ast.And) else " or "
    for n, value in enumerate(node.values):
        writer.out.append(word if n else "(")
        writer.line(value, "")
        writer.visit(value, depth)
    writer.out.append(")")


def _choice(writer: Writer, node: ast.IfExp, depth: int) -> None:
    writer.out.append("(")
    writer.visit(node.body, depth)
    writer.out.append(" if ")
    writer.line(node.test, "")
    writer.visit(node.test, depth)
    writer.out.append(" else ")
    writer.visit(node.orelse, depth)
    writer.out.append(")")


def _unary(writer: Writer, node: ast.UnaryOp, depth: int) -> None:
    op = type(node.op)
    if op is ast.Not:
        writer.line(node, "(not ")
    elif op is ast.Invert:
        raise writer.refused(node, refusals.instead(node, writer.source))
    elif op is ast.USub and isinstance(node.operand, ast.Constant) and type(node.operand.value) in (int, float):
        writer.out.append("(-")
    else:
        writer.line(node, "negative(" if op is ast.USub else "positive(")
    writer.visit(node.operand, depth)
    writer.out.append(")")


# -- comparisons -------------------------------------------------------------------------------


def _compare(writer: Writer, node: ast.Compare, depth: int) -> None:
    chained = len(node.ops) > 1
    if chained:
        writer.out.append("(")
    left: Any = node.left
    for n, (op, right) in enumerate(zip(node.ops, node.comparators, strict=True)):
        if type(op) not in _COMPARE:
            raise writer.refused(node, refusals.instead(node, writer.source))
        if n:
            writer.out.append(" and ")
        sign, name = _COMPARE[type(op)]
        if not chained and _with_constant(writer, node, sign, name, depth):
            return
        one = left if isinstance(left, str) else writer.new()
        two = writer.new()
        if name in ("inside", "outside"):
            writer.line(node, _slow(name))
            writer.hold(one, left, depth)
            writer.out.append(",")
            writer.hold(two, right, depth)
            writer.out.append(")")
        else:
            writer.out.append(f"({one}{sign}{two} if type(")
            writer.hold(one, left, depth)
            writer.out.append(") is type(")
            writer.hold(two, right, depth)
            group = "SIMPLE" if sign in ("==", "!=") else "ORDERED"
            writer.out.append(f") and type({two}) in {group} else")
            writer.line(node, f"{_slow(name)}{one},{two}))")
        left = two
    if chained:
        writer.out.append(")")


def _with_constant(writer: Writer, node: ast.Compare, sign: str, name: str, depth: int) -> bool:
    """Write the one comparison of a node if one side is a constant that makes it short. Tell whether it was."""
    left, right = node.left, node.comparators[0]
    fixed = constant_of(right)
    if name in ("inside", "outside"):
        return _in_constants(writer, node, sign, name, depth) or _constant_in(writer, node, sign, name, depth)
    if fixed is None:
        return False
    value, is_equality = fixed[0], sign in ("==", "!=")
    if value is None and is_equality:
        writer.out.append("((")
        writer.hold(writer.new(), left, depth)
        writer.out.append(f") is {'not ' if sign == '!=' else ''}None)")
        return True
    if type(value) not in operations.ORDERED and not is_equality:
        return False
    one = writer.new()
    writer.check_constant(right, depth)
    writer.out.append(f"({one}{sign}{value!r} if type(")
    writer.hold(one, left, depth)
    either = f" or type({one}) is float" if type(value) is int else ""
    writer.out.append(f") is {type(value).__name__}{either} else")
    writer.line(node, f"{_FIXED.get(name, name)}({one},{value!r}))")
    return True


def _in_constants(writer: Writer, node: ast.Compare, sign: str, name: str, depth: int) -> bool:
    """``x in ['a', 'b']``."""
    right = node.comparators[0]
    if not isinstance(right, ast.List) or not right.elts:
        return False
    values = [constant_of(one) for one in right.elts]
    if None in values:
        return False
    one = writer.new()
    writer.check_constant(right, depth)
    words = "".join(f"{value[0]!r}," for value in values if value is not None)
    writer.out.append(f"({one}{sign}({words}) if type(")
    writer.hold(one, node.left, depth)
    writer.out.append(") in SIMPLE else")
    writer.line(node, f"{_FIXED[name]}({one},[{words}]))")
    return True


def _constant_in(writer: Writer, node: ast.Compare, sign: str, name: str, depth: int) -> bool:
    """``'a' in x``, where x is most often a dict."""
    fixed = constant_of(node.left)
    if fixed is None or type(fixed[0]) is not str:
        return False
    two = writer.new()
    writer.check_constant(node.left, depth)
    writer.out.append("(")
    writer.line(node, f"{fixed[0]!r}{sign}{two} if type(")
    writer.hold(two, node.comparators[0], depth)
    writer.out.append(f") is dict or type({two}) is list and len({two})<={FREE} else")
    writer.line(node, f"{_slow(name)}{fixed[0]!r},{two}))")
    return True


# -- arithmetic --------------------------------------------------------------------------------


def _arithmetic(writer: Writer, node: ast.BinOp, depth: int) -> None:
    found = _BINARY.get(type(node.op))
    if found is None:
        raise writer.refused(node, refusals.instead(node, writer.source))
    sign, name = found
    _check_operands(writer, node, sign)
    fixed = constant_of(node.right)
    value = fixed[0] if fixed is not None and type(fixed[0]) is int else 0
    if sign in "+-*" and _with_fixed(writer, node, sign, name, depth):
        return
    one, two = writer.new(), writer.new()
    if sign in ("+", "-", "*"):
        writer.out.append(f"({one}{sign}{two} if type(")
        writer.hold(one, node.left, depth)
        writer.out.append(") is type(")
        writer.hold(two, node.right, depth)
        # Two ints make no sum that is much larger than they are.
        small = f" and -{_SMALL}<{one}<{_SMALL} and -{_SMALL}<{two}<{_SMALL}" if sign == "*" else ""
        writer.out.append(f") is int{small} else")
        writer.line(node, f"{_slow(name)}{one},{two}))")
    elif sign in ("%", "//") and value > 0:
        writer.check_constant(node.right, depth)
        writer.out.append(f"({one}{sign}{value!r} if type(")
        writer.hold(one, node.left, depth)
        writer.out.append(") is int else")
        writer.line(node, f"{_slow(name)}{one},{value!r}))")
    else:
        writer.line(node, _slow(name))
        writer.visit(node.left, depth)
        writer.out.append(",")
        writer.visit(node.right, depth)
        writer.out.append(")")


def _with_fixed(writer: Writer, node: ast.BinOp, sign: str, name: str, depth: int) -> bool:
    """Write an operation with one operand that is a constant. Tell whether it was."""
    for fixed, other, is_left in ((node.left, node.right, True), (node.right, node.left, False)):
        found = constant_of(fixed)
        value: Any = found[0] if found is not None else None
        kind = type(value)
        if kind not in operations.ORDERED or (kind is not str and not -_SMALL < value < _SMALL):
            continue
        one = writer.new()
        writer.check_constant(fixed, depth)
        left, right = (repr(value), one) if is_left else (one, repr(value))
        limits = {
            str: f" and len({one})<={FREE}",
            int: f" and -{_SMALL}<{one}<{_SMALL}" if sign == "*" else "",
            float: f" and -{_LARGE}<{one}<{_LARGE}",
        }
        writer.out.append(f"({left}{sign}{right} if type(")
        writer.hold(one, other, depth)
        writer.out.append(f") is {kind.__name__}{limits[kind]} else")
        writer.line(node, f"{_slow(name)}{left},{right}))")
        return True
    return False


def _check_operands(writer: Writer, node: ast.BinOp, sign: str) -> None:
    """Refuse what cannot work with any values: an operator on text, a list or a dict that stands there."""
    for operand in (node.left, node.right):
        what = {ast.List: "a list", ast.Dict: "a dict"}.get(type(operand), "")
        if isinstance(operand, ast.Constant) and type(operand.value) is str:
            what = "text"
        if what and (sign != "+" or what == "a dict"):
            hint = "write merge(a, b)" if sign == "+" else operations.INSTEAD.get(sign, "")
            raise writer.refused(operand, f"'{sign}' takes numbers, not {what}" + (f"; {hint}" if hint else ""))


VISITS: Final[dict[type, Visit]] = {
    ast.BoolOp: _logic,
    ast.IfExp: _choice,
    ast.UnaryOp: _unary,
    ast.Compare: _compare,
    ast.BinOp: _arithmetic,
}
