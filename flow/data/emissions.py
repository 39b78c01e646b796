"""What nodes emit while they run: the checks of :meth:`Context.emit`, and how long the emitted texts are."""

from __future__ import annotations

from collections.abc import Callable
from threading import RLock
from typing import Any, Final, Protocol

import msgspec

from flow.errors import Show, UsageError
from flow.types import NAME_RULE, is_name

_FIRST: Final = RLock()
"""Held while a text is noted for the first time: threads of one node may both be the first."""


class Emission(msgspec.Struct, frozen=True):
    """One call of :meth:`flow.Context.emit`, as a Context by hand keeps it (:func:`flow.testing.emitted`).

    The fields are those of the event :class:`flow.events.NodeEmitted`.
    """

    node: str
    key: str
    value: Any
    append: bool
    offset: int
    index: int | None


class Emitter(Protocol):
    """The Context of a node or an item, as far as it matters to what they emit."""

    @property
    def node(self) -> str:
        """The node's name."""
        ...

    @property
    def attempt(self) -> int:
        """The number of its attempt."""
        ...

    @property
    def index(self) -> int | None:
        """The index of the item, if it is that of an item."""
        ...

    @property
    def _parent(self) -> Any: ...


class _Text:
    """The text that one node (or item) has emitted under one key so far, in its present attempt."""

    __slots__ = ("attempt", "length", "lock")

    def __init__(self) -> None:
        self.attempt = self.length = 0
        self.lock = RLock()  # an observer is called while it is held


class Texts:
    """The lengths of the emitted texts, by node (of an item's own, "") and key: O(keys that have texts)."""

    __slots__ = ("_texts",)

    def __init__(self) -> None:
        self._texts: dict[tuple[str, str], _Text] = {}

    def told(self, place: tuple[str, str], attempt: int, value: Any, append: bool, tell: Callable[[int], None]) -> None:
        """Call ``tell`` with the offset of ``value``, one call after the other for each place."""
        text = self._texts.get(place)
        if text is None:
            if not isinstance(value, str):
                tell(0)
                return
            with _FIRST:
                text = self._texts.setdefault(place, _Text())
        with text.lock:
            if attempt != text.attempt:  # each attempt begins its texts anew
                text.attempt, text.length = attempt, 0
            offset = text.length if append else 0
            text.length = offset + len(value) if isinstance(value, str) else 0
            tell(offset)


def check_emission(key: Any, value: Any, append: Any, show: Show) -> None:
    """:raises UsageError: if these are no arguments of :meth:`Context.emit`."""
    if not is_name(key):
        raise UsageError(f"emit: key {show(key)} is refused: {NAME_RULE}")
    if not isinstance(append, bool):
        raise UsageError(f"emit({key!r}): append is True or False, not {show(append)}")
    if append and not isinstance(value, str):
        raise UsageError(f"emit({key!r}): append=True goes on with a text, so the value is a str, not {show(value)}")
