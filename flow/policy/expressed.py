"""Expressions and templates where a Dag takes functions: ``flow.expr``, ``flow.template``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from flow.errors import ExpressionSyntaxError, nearest, shown
from flow.expr import (
    STANDARD,
    Expression,
    Fault,
    Function,
    Functions,
    Place,
    Structure,
    Template,
    Use,
    compile,
    function,
    readable,
    render,
    structure,
)
from flow.expr import template as checked
from flow.policy.scope import ALL, NO_CONDITIONS, SYSTEM, Reads, decided
from flow.signature import Shape, Written
from flow.tracebacks import ends_at_user, users_line


class Expressed(Written):
    """An expression or template that is called as a function. Its parameters are what it reads.

    Equal and pickled by what it was made of. Immutable; threads share it.

    :param made: the expression or template; it calls the functions :data:`flow.policy.scope.ALL`.
    :param location: where it stands, as ``file:line``, for messages.
    :raises ExpressionSyntaxError: if it reads ``nodes`` as a whole, or what ``system`` has not.
    :ivar text: its source.
    """

    __slots__ = ("direct", "location", "made", "reads", "text")

    direct: Any  # (pyright takes a Callable in a slot for a method)

    def __init__(self, made: Expression | Template, location: str) -> None:
        self.made = made
        self.location = location
        self.text = made.source
        _check(made)
        conditions = decided(made) if isinstance(made, Expression) else NO_CONDITIONS
        self.reads = Reads(made.uses, made.calls, conditions=conditions)
        self.direct = self.reads.caller(made)

    def shape(self) -> Shape:
        """What it reads, as parameters."""
        return Shape(self.reads.parameters, False, False, False)

    def __call__(self, /, *values: Any, **names: Any) -> Any:
        """Return its value, given those of its names. (A Dag gives those of its parameters by position.)

        :raises EvaluationError: if it fails with these values.
        """
        return self.direct(*values) if values else self.made.evaluate(names)

    def __eq__(self, other: object) -> bool:
        return self.made == other.made if isinstance(other, Expressed) else NotImplemented

    def __hash__(self) -> int:
        return hash((Expressed, self.made))

    def __repr__(self) -> str:
        return f"flow.{'expr' if isinstance(self.made, Expression) else 'template'}({shown(self.text)})"

    def __reduce__(self) -> tuple[Any, ...]:
        return Expressed, (self.made, self.location)


def _check(made: Expression | Template) -> None:
    """Refuse what no run can give."""
    for one in (made,) if isinstance(made, Expression) else made.expressions:
        for use in one.uses:
            problem = ""
            if use.name == "nodes" and use.key is None:
                problem = "'nodes' is read by the name of a node: nodes['build-image']"
            elif use.name == "system" and use.key is not None and use.key not in SYSTEM:
                problem = f"there is no key {shown(use.key)} in system{nearest(use.key, SYSTEM)}"
            if problem:
                where = one.where
                place = str(where.at(use.line, use.column)) if where is not None and where.file else ""
                raise ExpressionSyntaxError(problem, one.source, use.line, use.column, place)


def expression(source: str) -> Expressed:
    """Check an expression, for ``when=``, ``until=``, ``key=``, or as the function of a node. O(length).

    Its names are outputs of nodes or run inputs, as the names of parameters are. ``inputs.x``, ``data.x`` and
    ``system.x`` read the run; ``succeeded(x)``, ``failed(x)``, ``bypassed(x)``, ``timed_out(x)`` and ``errors(x)`` tell
    how node ``x`` has ended.

    :raises ExpressionSyntaxError: if it is refused.
    """
    return Expressed(compile(source, functions=ALL), users_line())


@ends_at_user
def template(text: str) -> Expressed:
    """Check a text with ``{{ expressions }}``, as the function of a node. O(length).

    What names mean is as in ``flow.expr(...)``.

    :raises ExpressionSyntaxError: if an expression in it is refused.
    """
    return Expressed(checked(text, functions=ALL), users_line())


if TYPE_CHECKING:
    from types import ModuleType

    class Room(ModuleType):
        """What ``flow.expr`` is: the room of expressions, which can be called."""

        STANDARD = STANDARD
        Expression = Expression
        Fault = Fault
        Function = Function
        Functions = Functions
        Place = Place
        Structure = Structure
        Template = Template
        Use = Use
        compile = staticmethod(compile)
        function = staticmethod(function)
        readable = staticmethod(readable)
        render = staticmethod(render)
        structure = staticmethod(structure)
        template = staticmethod(checked)

        def __call__(self, source: str) -> Expressed: ...

    expr: Room
else:
    expr = sys.modules["flow.expr"]


__all__ = ["Expressed", "expr", "expression", "template"]
