"""What goes wrong inside an expression, before it is known where; and words for values."""

from __future__ import annotations

from flow.errors import a_kind
from flow.expr.limits import FREE, MAX_STEPS

Steps = list[int]
"""The steps that an evaluation has left, in a list of one: what counts takes from it."""


class Fault(Exception):
    """An operation or a function cannot do what it is asked to do. The expression adds its place."""


class Refusal(Exception):
    """A text is refused.

    :ivar problem: what is wrong, and what to write instead. :ivar line: from 1. :ivar column: from 1.
    """

    def __init__(self, problem: str, line: int, column: int) -> None:
        super().__init__(problem)
        self.problem = problem
        self.line = line
        self.column = column


def kind(value: object) -> str:
    """Say what a value is, never the value itself: ``a list``."""
    return "null" if value is None else a_kind(value)


def spend(steps: Steps, count: int) -> None:
    """Count ``count`` items or characters. :raises Fault: if the evaluation has used up its steps."""
    if count > FREE:
        take(steps, count)


def take(steps: Steps, count: int) -> None:
    """As :func:`spend`, and few count too: for what is done once for each of many."""
    steps[0] -= count
    if steps[0] < 0:
        raise Fault(
            f"this takes more than {MAX_STEPS:,} steps (one for each item or character): do it in a function of a node"
        )
