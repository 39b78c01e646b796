"""A value that is given once and handed out many times: each taker gets a copy of its own."""

from __future__ import annotations

from copy import deepcopy
from typing import Any, TypeVar

T = TypeVar("T")


def fresh(value: T) -> T:
    """Return a deep copy of ``value``: what one run does to a list or dict is not there in the next.

    What cannot change comes back as it is, a bare ``object()`` too: such a marker is told by its identity.
    """
    return value if type(value) is object else deepcopy(value)


def fresh_faults(what: str, value: Any) -> list[str]:
    """Say why ``value``, given as ``what``, cannot be handed out; nothing if it can."""
    from flow.errors import described, shown

    try:
        fresh(value)
    except Exception as error:
        return [f"{what} is copied each time it is used, and {shown(value)} cannot be ({described(error)})"]
    return []
