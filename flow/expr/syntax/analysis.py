"""Checks the syntax tree of an expression against the allow-list, and writes the code that evaluates it.

What is not on the list is refused. The code is Python's, and holds three kinds of text alone: fragments that stand in
this folder, names of functions and parameters that are registered, and ``repr`` of constants that are exactly str, int
or float. So nothing that an author writes becomes code. Each access to a value, and each operator, tests for the
common types at its place, and else calls :mod:`flow.expr.reading` or :mod:`flow.expr.operations`.

Closures would do without ``compile``, and were measured: they are slower.

Whatever can fail stands on a line of its own. So the line of a failure in the code tells its place in the source, and
nothing passes positions around.
"""

from __future__ import annotations

import ast
from typing import Any, Final

from flow.errors import shown
from flow.expr import operations, reading
from flow.expr.faults import Refusal
from flow.expr.functions import Functions
from flow.expr.limits import MAX_CACHED, MAX_CACHED_SOURCE
from flow.expr.syntax import calls, operators, values
from flow.expr.syntax.refusals import Source
from flow.expr.syntax.scan import check
from flow.expr.syntax.shapes import Analysis, Form, Shape, form_of
from flow.expr.syntax.writer import TOO_DEEP, Spot, Writer
from flow.types import MISSING

CODE: Final[dict[str, Any]] = {
    "__builtins__": {},
    "type": type, "str": str, "int": int, "float": float, "bool": bool, "dict": dict, "list": list, "len": len,
    "Exception": Exception, "M": MISSING, "SIMPLE": operations.SIMPLE, "ORDERED": operations.ORDERED,
    "read": reading.read, "soft": reading.read_or_missing, "item": reading.item, "softitem": reading.item_or_missing,
    "part": reading.part, "same": operations.same, "differs": operations.differs, "among": operations.among,
    "notamong": operations.not_among, "equal": operations.equal, "unequal": operations.unequal, "less": operations.less,
    "most": operations.less_or_equal, "more": operations.greater, "least": operations.greater_or_equal,
    "inside": operations.inside, "outside": operations.outside, "add": operations.add,
    "subtract": operations.subtract, "multiply": operations.multiply, "divide": operations.divide,
    "floordivide": operations.floor_divide, "modulo": operations.modulo, "negative": operations.negative,
    "positive": operations.positive, "key": operations.text_key,
}  # fmt: skip
"""What generated code may name, besides the functions: nothing else is there, no builtins either."""

ALLOWED: Final = {**values.VISITS, **operators.VISITS, **calls.VISITS}
"""The allow-list: what writes a node, by its type."""

_HEAD: Final = "def made(failed):\n def evaluate(s,b=None):\n  try:\n   v=("
FIRST: Final = _HEAD.count("\n") + 1
"""The first line that may fail."""

_TAIL: Final = ")\n  except Exception as error:\n   raise failed(error)\n  return v\n return evaluate\n"
"""(With a ``return`` in the ``try``, CPython 3.13.0 lets errors of some conditions on several lines pass it by.)"""


def analysed(source: str, functions: Functions) -> Analysis:
    """Check a source, and tell what is known of it: its names, its calls, and its code. O(length).

    :raises Refusal: if it is not an expression of the allow-list.
    """
    form = form_of(source, functions) if len(source) <= MAX_CACHED_SOURCE else None
    if form is None:
        return _written(source, functions).filled()
    if form.key not in functions.shapes:
        if len(functions.shapes) >= MAX_CACHED:
            functions.shapes.clear()
        functions.shapes[form.key] = _shape(form, functions)
    shape = functions.shapes[form.key]
    return _written(source, functions).filled() if shape is None else shape.filled(form.tokens)


def _shape(form: Form, functions: Functions) -> Shape | None:
    """Return what is known of a form; None if its sources are analysed one by one, or are refused."""
    marked = form.marked
    try:
        return _written(marked, functions, marked) if marked else None
    except Refusal:
        return None


def _written(source: str, functions: Functions, marked: str = "") -> Shape:
    """Check a source, and write its code."""
    writer = Writer(Source(source), functions, ALLOWED)
    writer.visit(_tree(source), 1)
    code = f"{_HEAD}{''.join(writer.out)}{_TAIL}"
    return Shape(writer.uses, writer.calls, code, [Spot(*spot) for spot in writer.spots], marked)


def _tree(source: str) -> ast.expr:
    """Parse a source. :raises Refusal: if it is no expression of Python, or one too large to be read."""
    check(source)
    try:
        return ast.parse(f"({source}\n)", "<expression>", "eval").body
    except SyntaxError as error:
        raise _syntax(error, source) from None
    except (RecursionError, MemoryError):
        raise Refusal(TOO_DEEP, 1, 1) from None
    except ValueError:  # characters that the scan refuses before
        raise Refusal("the expression cannot be read", 1, 1) from None


_SAID: Final = {
    "forgot a comma": "two values follow each other: an operator, a comma or a bracket is missing",
    "expected 'else'": "'if' needs an 'else': write a if test else b",
    "digits": "the number is too large",
    "leading zeros": "a number does not begin with 0",
    "cannot assign": "'=' is not allowed: an expression assigns nothing; write '==' to compare",
    "starred": "'*' before a value is not allowed; write a + b to put lists together",
    "unpacking": "'*' before a value is not allowed; write a + b to put lists together",
    "positional argument": "an argument without a name stands before those with one",
    "keyword argument repeated": "an argument is given twice",
}
"""What is said of the parser's messages that hold these words."""


def _syntax(error: SyntaxError, source: str) -> Refusal:
    line, column = error.lineno or 1, error.offset or 1
    lines = source.split("\n")
    if line > len(lines):
        line, column = len(lines), len(lines[-1]) + 1
    elif line == 1:
        column -= 1
    column = min(max(column, 1), len(lines[line - 1]) + 1)
    for words, said in _SAID.items():
        if words in str(error.msg):
            return Refusal(said, line, column)
    token = lines[line - 1][column - 1 : column + 10].strip().partition(" ")[0]
    return Refusal(
        f"this is no expression: something is wrong {f'at {shown(token)}' if token else 'at its end'}", line, column
    )
