"""Expressions and templates: Python's syntax and an allow-list, for workflow files and conditions.

``compile`` checks an expression, ``template`` a text with expressions in it, ``structure`` a nested list or dict of
these. All three have ``names``, ``uses`` and ``evaluate(scope)``. It imports no room but errors, exports, tracebacks
and types. The module itself is called to make a function of an expression: ``flow.expr("a > 3")``.
"""

import sys

from flow.exports import only
from flow.expr.called import Room
from flow.expr.expression import Expression, compile
from flow.expr.faults import Fault
from flow.expr.functions import Function, Functions, function
from flow.expr.library import STANDARD
from flow.expr.places import Place
from flow.expr.reading import readable
from flow.expr.syntax.writer import Use
from flow.expr.template import Structure, Template, render, structure, template

__all__ = [
    "STANDARD",
    "Expression",
    "Fault",
    "Function",
    "Functions",
    "Place",
    "Structure",
    "Template",
    "Use",
    "compile",
    "function",
    "readable",
    "render",
    "structure",
    "template",
]
__dir__ = only(__all__)
sys.modules[__name__].__class__ = Room
