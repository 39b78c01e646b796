"""Keys that remember the type of their value."""

from __future__ import annotations

from typing import Any, Generic, NoReturn, TypeVar

from flow.errors import DataError, shown

T = TypeVar("T")


class Key(str, Generic[T]):
    """A key that tells a type checker the type of its value; at run time a plain string.

    ``TOTAL = flow.Key[int]("total")`` works wherever a key does; ``data[TOTAL]`` and ``data.get(TOTAL)``
    are then typed ``int``. The store checks nothing at run time; for checks see :meth:`flow.WorkflowData.get_int`.
    """

    __slots__ = ()


def plain_key(key: Any) -> str:
    """Return ``key`` as an exact ``str``, as stores keep it.

    :raises DataError: if it is no string.
    """
    if not isinstance(key, str):
        raise DataError("data cannot be stored", [f"a key must be a string, not {shown(key)}"])
    return str.__str__(key)


def asked(key: Any) -> str | None:
    """Return ``key`` as an exact ``str``; None for what is no string, so that nothing is stored there.

    :raises DataError: if no dict can look it up.
    """
    if isinstance(key, str):
        return str.__str__(key)
    try:
        hash(key)
    except TypeError:
        refuse(key)
    return None


def refuse(key: object) -> NoReturn:
    """Raise the right error for a TypeError that a mapping raised for ``key``, while it is being handled.

    :raises DataError: if no dict can look ``key`` up, such as a list.
    :raises TypeError: the same one, if the key is fine: then it comes from the user's own mapping.
    """
    try:
        hash(key)
    except TypeError:
        fault = f"a key must be a string, not {shown(key)}"
        raise DataError("no data can be stored there", [fault]) from None
    raise  # what the caller handles
