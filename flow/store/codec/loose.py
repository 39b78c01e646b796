"""Plain decoding where a dict has records as keys: without their class these would be dicts, which have no hash."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

_LIST: Final = msgspec.msgpack.Decoder(list[msgspec.Raw]).decode


def loosely(body: Any, unpack: Callable[[Any], Any]) -> Any:
    """Decode msgpack; a key that would be a dict or a list comes back as a tuple, of pairs or of items. O(size).

    :param unpack: decodes what is no container. :raises Exception: if it is damaged.
    """
    head = bytes(body[:5])
    first = head[0] if head else 0
    if first & 0xF0 == 0x90 or first in (0xDC, 0xDD):
        return [loosely(memoryview(part), unpack) for part in _LIST(body)]
    found = _pairs(head)
    if found is None:
        return unpack(body)
    size, count = found
    # A map is laid out as an array of twice as many: keys and values in turns.
    parts = _LIST(b"\xdd" + (2 * count).to_bytes(4, "big") + bytes(body[size:]))
    values = [loosely(memoryview(part), unpack) for part in parts]
    return dict(zip(map(_hashable, values[::2]), values[1::2], strict=True))


def _pairs(head: bytes) -> tuple[int, int] | None:
    """Return the size of the head of a map, and how many pairs follow; None if this is no map."""
    first = head[0] if head else 0
    if first & 0xF0 == 0x80:
        return 1, first & 0x0F
    size = {0xDE: 3, 0xDF: 5}.get(first)
    return None if size is None else (size, int.from_bytes(head[1:size], "big"))


def _hashable(value: Any) -> Any:
    if isinstance(value, dict):
        return tuple([(key, _hashable(inner)) for key, inner in value.items()])
    return tuple(map(_hashable, value)) if isinstance(value, list) else value


__all__ = ["loosely"]
