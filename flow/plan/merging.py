"""What a merge calls: the output of the one node that ran (:meth:`flow.Dag.merge`)."""

from __future__ import annotations

from typing import Any

from flow.errors import RouteError, shown
from flow.signature import Placed
from flow.types import MISSING


class Merge(Placed):
    """Returns the one value that is there; of several the first, if ``first``.

    :ivar names: those of the nodes that the values are of. :ivar location: the user's line that has made it.
    """

    __slots__ = ("first", "location", "names")

    def __init__(self, names: tuple[str, ...], first: bool, location: str) -> None:
        self.names = names
        self.first = first
        self.location = location

    def __call__(self, *values: Any) -> Any:
        there = [k for k, value in enumerate(values) if value is not MISSING]
        if len(there) > 1 and not self.first:
            names = ", ".join([shown(self.names[k]) for k in there])
            raise RouteError(f"{len(there)} nodes of the merge ran ({names}), and it takes one: or say pick='first'")
        return values[there[0]] if there else None

    def __repr__(self) -> str:
        return f"<merge of {', '.join(self.names[:5])}{', ...' if len(self.names) > 5 else ''}>"


__all__ = ["Merge"]
