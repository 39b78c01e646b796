"""For which errors of a file's nodes another attempt is made: by the names of their classes, so nothing is imported."""

from __future__ import annotations

import builtins

from flow import errors
from flow.errors import ExpressionError, Hints, shown


class Retried:
    """Tells whether a failure is tried again: by the names of its class and of that class's bases.

    An expression that fails is not tried again: it would fail in the same way.
    """

    __slots__ = ("names",)

    def __init__(self, names: tuple[str, ...]) -> None:
        self.names = names

    def __call__(self, error: Exception) -> bool:
        if isinstance(error, ExpressionError):
            return False
        for cls in type(error).__mro__:
            plain = cls.__module__ in ("builtins", "flow.errors")
            if f"{cls.__module__}:{cls.__qualname__}" in self.names or (plain and cls.__name__ in self.names):
                return True
        return False

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Retried) and self.names == other.names

    def __hash__(self) -> int:
        return hash(self.names)

    def __repr__(self) -> str:
        return ", ".join(self.names)


def exception_fault(name: str, hints: Hints) -> str:
    """Say why a text names no class of exceptions; nothing if it does."""
    if ":" in name:
        parts = name.replace(":", ".").split(".")
        return "" if all(part.isidentifier() for part in parts) else f"{shown(name)} is no module:Class"
    found = getattr(builtins, name, None) or getattr(errors, name, None)
    if isinstance(found, type) and issubclass(found, Exception):
        return ""
    if isinstance(found, type) and issubclass(found, BaseException):
        return f"{shown(name)} ends the run and is never tried again: name classes of Exception"
    known = [one for one, cls in vars(builtins).items() if isinstance(cls, type) and issubclass(cls, Exception)]
    module, _, last = name.rpartition(".")
    another = f"{module}:{last}" if module and last.isidentifier() else "module:Class"
    return f"{shown(name)} is no built-in exception{hints.nearest(name, known)}; another one is {another}"
