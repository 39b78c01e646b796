"""Keys that remember the type of their value."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

from flow.errors import DataError, shown

T = TypeVar("T")


class Key(str, Generic[T]):
    """A key that tells a type checker what stands under it; at run time a plain string.

    ``TOTAL = flow.Key[int]("total")`` works wherever a key does; ``data[TOTAL]`` and ``data.get(TOTAL)``
    are then typed ``int``. Nothing is checked at run time; for that see :meth:`flow.WorkflowData.get_int`.
    """

    __slots__ = ()


def plain_key(key: Any) -> str:
    """Return ``key`` as an exact ``str``, as stores keep it.

    :raises DataError: if it is no string.
    """
    if not isinstance(key, str):
        raise DataError("data cannot be stored", [f"a key must be a string, not {shown(key)}"])
    return str.__str__(key)


def unusable(key: object) -> DataError:
    """Return the error for a key that no dict can look up, as a list."""
    return DataError("no data can be stored there", [f"a key must be a string, not {shown(key)}"])
