"""Values of a file: constants, and what expressions in them give."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from flow.expr import Expression, Structure, Template

if TYPE_CHECKING:
    from flow.expr import Use


class Made:
    """A value of a file, with the expressions in it.

    :param value: what stands in the file, with templates in place of texts that hold expressions.
    :ivar expressions: those in it. :ivar uses: of all of them. :ivar calls: the functions that these call.
    :ivar is_constant: it holds no expression. :ivar is_scalar: nor is it a list or a dict.
    """

    __slots__ = ("_evaluate", "calls", "expressions", "is_constant", "is_scalar", "uses", "value")

    def __init__(self, value: Any, made: Structure | Template | Expression | None) -> None:
        self.value = value
        self.is_constant = made is None
        self.is_scalar = made is None and not isinstance(value, (list, dict))
        self.expressions: Sequence[Expression] = ()
        self.uses: Sequence[Use] = ()
        self.calls: Collection[str] = ()
        self._evaluate = made
        if made is None:
            return
        self.expressions = expressions_of(made)
        self.uses, self.calls = made.uses, made.calls
        if isinstance(made, Template) and made.is_alone:
            self._evaluate = made.expressions[0]

    def evaluate(self, scope: Mapping[str, Any]) -> Any:
        """Return its value. Lists and dicts are new each time: who gets them may change them."""
        if self._evaluate is None:
            return self.value if self.is_scalar else copied(self.value)
        return self._evaluate.evaluate(scope)

    @property
    def is_alone(self) -> bool:
        """It is one expression and nothing else, so it may be of any type."""
        return isinstance(self._evaluate, Expression)

    @property
    def evaluator(self) -> Any:
        """What has the method ``evaluate``; None of a constant."""
        return self._evaluate


def copied(value: Any) -> Any:
    """Copy nested lists and dicts."""
    if isinstance(value, dict):
        return {key: copied(one) for key, one in value.items()}
    return [copied(one) for one in value] if isinstance(value, list) else value


def expressions_of(made: Structure | Template | Expression | None) -> Sequence[Expression]:
    """The expressions in a value."""
    return () if made is None else (made,) if isinstance(made, Expression) else made.expressions


def uses_of(*made: Made | None) -> Iterable[Use]:
    """Every use of a name in some values."""
    return [use for one in made if one is not None for use in one.uses]


def calls_of(*made: Made | None) -> set[str]:
    """The functions that the expressions in some values call."""
    return {call for one in made if one is not None for call in one.calls}
