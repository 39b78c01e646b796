"""What is wrong with a file, each fault with its place; raised as one error."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final, NoReturn

from flow.errors import ExpressionError, shown
from flow.expr import Place
from flow.expr.syntax.scan import look_alike
from flow.spec.text.limits import MAX_FAULTS, Budget
from flow.spec.text.places import Source


class Broken(Exception):
    """Reading cannot go on. What is wrong has been noted."""


_MAX_TEXT: Final = 900
"""Characters of one fault."""


def _in_a_line(text: str) -> str:
    """Return a text of a fault, without what a terminal acts upon: words of the file may be in it as they stand."""
    if not text.isprintable():
        text = "".join([one if one.isprintable() else repr(one)[1:-1] for one in text[: _MAX_TEXT + 1]])
    return text if len(text) <= _MAX_TEXT else f"{text[:_MAX_TEXT]}..."


class Faults:
    """The faults of one file so far: at most :data:`MAX_FAULTS`.

    :param budget: of the load that this file belongs to; None: of this file alone.
    :ivar source: the file.
    """

    __slots__ = ("_found", "_more", "budget", "source")

    def __init__(self, source: Source, budget: Budget | None = None) -> None:
        self.source = source
        self.budget = budget or Budget()
        self._found: dict[tuple[Place, str], None] = {}
        self._more: list[str] = []

    def __bool__(self) -> bool:
        return bool(self._found)

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self._found)

    def add(self, at: Any, text: str) -> None:
        """Note a fault. :param at: an event of the file, or a Place. :raises Broken: if there are too many."""
        place = at if isinstance(at, Place) else self.source.place(at)
        fault = (place, _in_a_line(text))
        if fault in self._found:
            return
        if len(self._found) >= MAX_FAULTS:
            self._more = [f"{place}: here is another fault, and there may be more: mend those before first"]
            raise Broken
        self._found[fault] = None

    def knows(self, place: Place) -> bool:
        """Tell whether there is a fault at this place. O(faults)."""
        return any(at[:3] == place[:3] for at, _ in self._found)

    def check_letters(self, name: str, at: Any) -> None:
        """Note that a name looks like another one: who reads the file cannot tell them apart."""
        problem, _ = look_alike(name)
        if problem:
            self.add(at, problem)

    def check_identifier(self, name: str, at: Any, problem: str) -> None:
        """Note that a name is none, as ``problem`` says with the name in it; or that it looks like another one."""
        if not name.isidentifier() or name.startswith("_"):
            self.add(at, problem.format(shown(name)))
        else:
            self.check_letters(name, at)

    def nearest(self, name: object, known: Collection[object]) -> str:
        """Return the hint for a wrong name; none, once very many have been looked for."""
        return self.budget.hints.nearest(name, known)

    def add_error(self, error: ExpressionError, at: Place) -> None:
        """Note why an expression is refused. :param at: where its text begins."""
        self.add(at.at(error.line, error.column), error.problem)

    def stop(self, at: Any, text: str) -> NoReturn:
        """Note a fault after which nothing more can be read."""
        self.add(at, text)
        raise Broken

    @property
    def texts(self) -> list[str]:
        """The faults, each ``file:line:column: text``, in the order of the file."""
        ordered = sorted(self._found, key=lambda fault: (fault[0].line, fault[0].column))
        return [f"{place}: {text}" for place, text in ordered] + self._more
