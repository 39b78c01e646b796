"""What is asked of whoever sends something to a signal: reports of the kind :data:`QUESTION`."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any, Final

import msgspec

QUESTION: Final = "question"
"""The kind of a report that says what is asked of a person: a dict with the ``address`` of the signal, and more."""


def questions_of(reported: Iterable[Any], addresses: Collection[str] | None = None) -> dict[str, Any]:
    """Return the newest question of each address, without that. O(reports).

    :param reported: the values of reports of this kind, in their order. One without an address is left out.
    :param addresses: None is all.
    """
    found: dict[str, Any] = {}
    for value in reported:
        address = value.get("address") if type(value) is dict else None
        if type(address) is str and (addresses is None or address in addresses):
            found[address] = _as_json({name: part for name, part in value.items() if name != "address"})
    return found


def _as_json(value: Any) -> Any:
    """Return plain data as JSON can hold it: half surrogate pairs are no text there. O(size)."""
    try:
        msgspec.json.encode(value)
    except (UnicodeError, msgspec.MsgspecError):
        return _whole(value)
    return value


def _whole(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {_whole(name): _whole(part) for name, part in value.items()}
    return [_whole(part) for part in value] if isinstance(value, list) else value


__all__ = ["QUESTION", "questions_of"]
