"""What the writers of an expression's code share: the code so far, the place of each line, the names in use."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple, TypeAlias

from flow.expr.faults import Refusal
from flow.expr.functions import Functions
from flow.expr.limits import MAX_DEPTH, MAX_STEPS
from flow.expr.syntax import refusals

NAME, KEY, INDEX, OTHER = range(4)

STEPS: Final = f"b or(b:=[{MAX_STEPS}]),"
"""The argument that holds the steps that are left: what never counts does not make it."""

TOO_DEEP: Final = f"the expression nests more than {MAX_DEPTH} deep"


class Use(NamedTuple):
    """A name that an expression uses.

    :ivar name: the name.
    :ivar key: the first key read of it, if that is a constant: ``x`` in ``a.x.y`` and ``a["x"].y``.
    :ivar guarded: it stands in ``default(...)``, which takes care of its being missing.
    :ivar by: the function that is given the name itself, not its value: ``succeeded`` in ``succeeded(validate)``.
    :ivar line: where it stands, from 1. :ivar column: from 1.
    """

    name: str
    key: str | None
    guarded: bool
    by: str
    line: int
    column: int

    @property
    def node(self) -> str:
        """The node that it names, if it names one: ``x`` in ``x`` and in ``nodes["x"]``."""
        return str(self.key) if self.name == "nodes" else self.name


class Spot(NamedTuple):
    """A line of the code: the place in the source that it comes from, and what may fail there.

    :ivar line: of the parsed text. :ivar offset: in its bytes.
    :ivar kind: NAME of a value, KEY of an exact dict, INDEX of an exact list, or OTHER.
    :ivar held: the variable that holds that dict or list. :ivar key: the name or the key.
    """

    line: int
    offset: int
    kind: int = OTHER
    held: str = ""
    key: str = ""


class Writer:
    """Visits a tree in the order of its code, which it writes on the way.

    :param visits: what writes a node, by its type. What is not there is refused.
    """

    __slots__ = ("calls", "functions", "out", "source", "spots", "temporaries", "uses", "visits")

    def __init__(self, source: refusals.Source, functions: Functions, visits: Mapping[type, Visit]) -> None:
        self.source = source
        self.functions = functions
        self.visits = visits
        self.out: list[str] = []
        self.spots: list[tuple[int, int, int, str, str]] = [Spot(1, 1)]
        self.uses: list[Use] = []
        self.calls: set[str] = set()
        self.temporaries = 0

    def visit(self, node: Any, depth: int) -> None:
        """Write a node. :raises Refusal: if it is not allowed, or ``depth`` is too large."""
        visit = self.visits.get(type(node))
        if visit is None:
            raise self.refused(node, refusals.instead(node, self.source))
        self.descend(node, depth)
        visit(self, node, depth + 1)

    def descend(self, node: Any, depth: int) -> None:
        """Check how deep a node stands."""
        if depth > MAX_DEPTH:
            raise self.refused(node, TOO_DEEP)

    def refused(self, node: Any, problem: str, at: int = -1) -> Refusal:
        """Make the Refusal of a node, or of the byte ``at`` of its line."""
        return Refusal(problem, *self.source.at(node.lineno, node.col_offset if at < 0 else at))

    def line(self, node: Any, code: str, kind: int = OTHER, held: str = "", key: str = "", at: int = -1) -> None:
        """Begin a line. What fails on it comes from ``node``, or from the byte ``at`` of the node's line."""
        self.spots.append(
            (node.lineno, node.col_offset if at < 0 else at, kind, held, key)
        )  # a Spot: few are looked at
        self.out.append(f"\n{code}")

    def new(self) -> str:
        """Return the name of a new variable of the code."""
        self.temporaries += 1
        return f"_{self.temporaries}"

    def hold(self, name: str, node: Any, depth: int) -> None:
        """Write a node and keep its value in a variable; of a variable, its name alone."""
        if isinstance(node, str):
            self.out.append(name)
        else:
            self.out.append(f"{name}:=")
            self.visit(node, depth)

    def check_constant(self, node: ast.expr, depth: int) -> None:
        """Check a constant, or a list of them, that is written elsewhere."""
        at = len(self.out)
        self.visit(node, depth)
        del self.out[at:]


Visit: TypeAlias = Callable[[Writer, Any, int], None]
