"""Names, statuses and the typed reference to a node, for all rooms."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any, Final, Generic, TypedDict, TypeVar

import msgspec

from flow.exports import only

T_co = TypeVar("T_co", covariant=True)
V_co = TypeVar("V_co", covariant=True)


class Status(StrEnum):
    """The state of a node in one run. Members compare equal to their plain strings."""

    PENDING = "pending"  # waits for dependencies
    READY = "ready"  # could start; waits for its turn, a slot, or a retry's delay
    RUNNING = "running"
    WAITING = "waiting"  # for a signal or a time; holds no slot
    COMPLETED = "completed"
    FAILED = "failed"
    SKIPPED = "skipped"  # a dependency failed or was skipped
    BYPASSED = "bypassed"  # a condition or a choice left it out; nothing failed
    CANCELLED = "cancelled"  # the run ended first


TERMINAL: Final = frozenset({Status.COMPLETED, Status.FAILED, Status.SKIPPED, Status.BYPASSED, Status.CANCELLED})
"""Statuses a node never leaves."""

MAX_NAME: Final = 255
"""Longest node name or run id, in characters."""

NAME_CHARACTERS: Final = rf"\w[\w.:+#@-]{{0,{MAX_NAME - 1}}}+"
"""What :data:`NAME_PATTERN` allows, two dots in a row aside."""

NAME_PATTERN: Final = re.compile(rf"(?!.*\.\.){NAME_CHARACTERS}")
"""The one pattern for names from outside (node names, run ids).

It must match the whole string: a letter, digit or underscore first, then letters, digits and
``_ . : + # @ -``, at most 255 characters, never two dots in a row. So no name can be a path
(``/``, ``..``), an escape (``%2e``), or break a line, a quote or a query.
"""

NAME_RULE: Final = (
    f"a name is 1 to {MAX_NAME} characters: a letter, digit or '_' first, then letters, digits "
    "and any of '_.:+#@-', without '..'"
)


def is_name(name: object) -> bool:
    """Tell whether ``name`` may name a node or a run (see :data:`NAME_PATTERN`)."""
    return isinstance(name, str) and NAME_PATTERN.fullmatch(name) is not None


class NodeRef(msgspec.Struct, Generic[T_co], frozen=True, gc=False):
    """The return value of :meth:`flow.Dag.add`: the name of a node, with the type of its output.

    Use it wherever a name is taken (``after``, ``needs``, ``edge``) and as a typed key of a
    :class:`flow.Result`. It holds one string and no reference to the Dag.
    """

    name: str

    def __str__(self) -> str:
        return self.name


class View(Mapping[str, V_co]):
    """A read-only mapping that is computed on access. It equals the dict of its items, and is written as that dict."""

    __slots__ = ()


class Nothing(TypedDict):
    """No keyword: with ``**wrong: Unpack[Nothing]`` type checkers refuse a keyword that the call itself explains."""


def references(refs: Any) -> tuple[Any, ...]:
    """Return one reference to a node (name, :class:`NodeRef`, function) or an iterable of them as a tuple."""
    if callable(refs) or isinstance(refs, (str, NodeRef)) or not isinstance(refs, Iterable):
        return (refs,)
    return tuple(refs)


class _Mark:
    """Type of :data:`MISSING` and :data:`ABSENT`, which have a readable repr and stay themselves when copied."""

    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return f"<{self._name.lower()}>"

    def __reduce__(self) -> str:
        return self._name


MISSING: Final[Any] = _Mark("MISSING")
"""Stands in a run's value list where no output (or no input) is yet."""

ABSENT: Final[Any] = _Mark("ABSENT")
"""Stands in a run's value list for an optional input that is not given: its parameter is left out of the call."""


__all__ = ["NAME_PATTERN", "NodeRef", "Status"]
__dir__ = only(__all__)
