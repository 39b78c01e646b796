"""Mappings by node name."""

from __future__ import annotations

from collections.abc import Callable, ItemsView, Iterator, ValuesView
from typing import Any, TypeVar

from flow.errors import UsageError
from flow.plan.plan import Plan
from flow.types import View

V = TypeVar("V")


class ByNode(View[V]):
    """A read-only mapping from node names to something of this run, computed on access."""

    __slots__ = ("_get", "_has", "_plan")

    def __init__(self, plan: Plan, get: Callable[[int], V], has: Callable[[int], bool]) -> None:
        self._plan = plan
        self._get = get
        self._has = has

    def __getitem__(self, ref: Any) -> V:
        try:
            i = self._plan.find(ref)
        except UsageError as error:
            raise KeyError(str(error)) from None
        if not self._has(i):
            raise KeyError(self._plan.names[i])
        return self._get(i)

    def __iter__(self) -> Iterator[str]:
        return (name for i, name in enumerate(self._plan.names) if self._has(i))

    def __len__(self) -> int:
        return sum(map(self._has, range(len(self._plan))))

    def _ipython_key_completions_(self) -> list[str]:
        return list(self)

    def values(self) -> ValuesView[V]:
        return _Values(self)

    def items(self) -> ItemsView[str, V]:
        return _Items(self)

    def pairs(self) -> Iterator[tuple[str, V]]:
        """Names with values in definition order, without looking each name up."""
        get, has = self._get, self._has
        return ((name, get(i)) for i, name in enumerate(self._plan.names) if has(i))

    def __repr__(self) -> str:
        return repr(dict(self))


class _Values(ValuesView[V]):
    _mapping: ByNode[V]

    def __iter__(self) -> Iterator[V]:
        return (value for _, value in self._mapping.pairs())


class _Items(ItemsView[str, V]):
    _mapping: ByNode[V]

    def __iter__(self) -> Iterator[tuple[str, V]]:
        return self._mapping.pairs()


def always(i: int) -> bool:
    """For a :class:`ByNode` that has every node."""
    return True
