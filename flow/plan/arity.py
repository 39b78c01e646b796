"""Plain functions, of which compiling needs only the number of parameters: most functions."""

from __future__ import annotations

from types import FunctionType
from typing import Any

from flow.annotations import PLAIN, Names, annotations_of, means_context, means_outcome
from flow.awaits import ASYNC_GENERATOR, COROUTINE, GENERATOR, TELLING
from flow.signature import VARARGS


class Usual:
    """Finds functions of the usual kind: nothing but positional parameters, none of them a Context.

    Wiring asks no more of such a function than how many there are, so no :class:`Shape` is made of it. What has been
    read is remembered, also which annotations mean no Context: use one instance per compile.

    :ivar generators: the generator functions among those it was asked for, by id.
    """

    __slots__ = ("_arities", "_plain", "_plain_in", "_scope", "generators")

    def __init__(self) -> None:
        self.generators: set[int] = set()  # generator functions met, by id
        self._arities: dict[FunctionType, int] = {}
        self._scope: Any = None  # the globals of the function whose annotations were read as text last
        self._plain: set[str] = set()  # annotations that mean no Context there
        self._plain_in: dict[int, set[str]] = {}  # by id of the scope: the same text may mean something else

    def arity(self, fn: FunctionType) -> int:
        """Return n if ``fn`` is sync and takes n values, -2 - n if it is async, -1 if it is not of the usual kind."""
        found = self._arities.get(fn)
        if found is not None:
            return found
        code = fn.__code__
        flags, count = code.co_flags, code.co_argcount
        found = -2 - count if flags & COROUTINE else count
        if flags & VARARGS or code.co_kwonlyargcount or (fn.__dict__ and not TELLING.isdisjoint(fn.__dict__)):
            found = -1
        elif count:
            try:
                for annotation in annotations_of(fn).values():
                    if type(annotation) not in PLAIN and self._means_ours(annotation, fn):
                        found = -1
                        break
            except Exception:  # an object whose attributes raise: reading the Shape will say so
                found = -1
        if flags & (GENERATOR | ASYNC_GENERATOR):
            self.generators.add(id(fn))
        self._arities[fn] = found
        return found

    def _means_ours(self, annotation: Any, fn: FunctionType) -> bool:
        """Tell whether it means a Context or an Outcome, which is more than a value that is passed on."""
        names, scope = Names(fn), fn.__globals__
        if means_outcome(annotation, fn):
            return True
        if type(annotation) is not str or fn.__closure__:
            return means_context(annotation, names)
        if scope is not self._scope:
            self._scope = scope
            self._plain = self._plain_in.setdefault(id(scope), set())
        if annotation in self._plain:
            return False
        found = means_context(annotation, names)
        if not found and not names.placed:
            self._plain.add(annotation)
        return found
