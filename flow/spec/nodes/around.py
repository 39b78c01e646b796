"""What is done around the maps, loops and files of a workflow file: what they are given, and what they give."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, TypeAlias

from flow.policy.scope import Evaluated as Evaluable
from flow.policy.scope import Reads
from flow.signature import Around, Parameter, Shape
from flow.spec.nodes.steps import SHARED, Publishing
from flow.types import ABSENT

Given: TypeAlias = Sequence[Evaluable | None]
"""What a composite is called with, in the order of its parameters; None leaves one out."""


def _evaluated(given: Given, scope: Mapping[str, Any]) -> list[Any]:
    return [ABSENT if one is None else one.evaluate(scope) for one in given]


class FileItems(Around):
    """Renders what a file is run with for an item, and gives what is in its ``outputs``.

    :param given: the values of its inputs, in order.
    :param names: ``item``, and those of ``index`` and ``key`` that the values read.
    :param finish: makes the result of an item of what the file has made; None if that is it.
    """

    __slots__ = ("_finish", "_given", "_names", "location")

    def __init__(
        self,
        given: Given,
        names: Sequence[str],
        location: str,
        finish: Callable[[Any], Any] | None,
    ) -> None:
        self._given = given
        self._names = tuple(names)
        self.location = location
        self._finish = finish

    def shape(self) -> Shape:
        return Shape(tuple(map(Parameter, (*self._names, SHARED))), False, False, False)

    def given(self, values: Sequence[Any]) -> Sequence[Any]:
        return _evaluated(self._given, {**values[-1], **dict(zip(self._names, values, strict=False))})

    def output(self, made: Any, values: Sequence[Any]) -> Any:
        return made if self._finish is None else self._finish(made)


class Prepared(Around):
    """Renders what a map, a loop or a file is called with, and publishes from its output.

    :param given: what the composite is called with.
    :param finish: makes the node's output of what the composite has made; None if that is it.
    """

    __slots__ = ("_finish", "_given", "_scope", "location", "publishing", "reads", "secret", "sources")

    def __init__(
        self,
        given: Given,
        reads: Reads,
        location: str,
        publishing: Publishing | None = None,
        finish: Callable[[Any], Any] | None = None,
        sources: Sequence[str] = (),
        secret: Collection[str] = (),
    ) -> None:
        self.reads = reads
        self.location = location
        self.publishing = publishing
        self.sources = sources
        self.secret = secret
        self._given = given
        self._finish = finish
        self._scope = reads.maker()

    def shape(self) -> Shape:
        return Shape(self.reads.parameters, False, False, False)

    def given(self, values: Sequence[Any]) -> Sequence[Any]:
        return _evaluated(self._given, self._scope(values))

    def output(self, made: Any, values: Sequence[Any]) -> Any:
        result = made if self._finish is None else self._finish(made)
        if self.publishing is not None:
            self.publishing.publish(self._scope(values), result)
        return result

    def __reduce__(self) -> tuple[Any, ...]:
        parts = (self._given, self.reads, self.location, self.publishing, self._finish, self.sources, self.secret)
        return type(self), parts
