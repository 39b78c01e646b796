"""The marks by which stored values are read: the tag byte that each begins with, and codes of msgpack extensions."""

from __future__ import annotations

from typing import Final

MSGPACK: Final = b"m"
BYTES: Final = b"b"
"""What follows is the value."""
NAMED: Final = b"c"
"""By a codec: one byte with the length of its name, the name, what it has made."""
PICKLE: Final = b"p"

LONGEST: Final = 32
"""Characters in the name of a codec."""

# Codes of extensions. Those from 110 on are ours: what else there is comes back as the msgspec Ext that it was.
INT: Final = 110
"""An int beyond 64 bits."""
TEXT: Final = 111
"""A text with lone surrogates, which UTF-8 has no bytes for."""
COMPLEX: Final = 112
PATH: Final = 113
DEQUE: Final = 114
RANGE: Final = 115
MARK: Final = 116
"""MISSING or ABSENT of :mod:`flow.types`, or UNSET of msgspec, by name."""
ERROR: Final = 117
MAP_RESULT: Final = 118
BY_CODEC: Final = 119
"""As :data:`NAMED`, within another value."""
