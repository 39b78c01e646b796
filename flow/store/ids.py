"""Ids of runs that were given none: UUIDs that sort by time (RFC 9562, version 7)."""

from __future__ import annotations

import os
from random import Random
from typing import Final

_RANDOM: Final = Random()
"""Of this process alone: a program that seeds :mod:`random` does not make its ids come again."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_RANDOM.seed)


def new_id(now: float) -> str:
    """Return a UUID of version 7 for the Unix time ``now``."""
    at, bits = int(now * 1000), _RANDOM.getrandbits(74)
    high, low = bits >> 62, bits & 0x3FFF_FFFF_FFFF_FFFF
    head = f"{at >> 16:08x}-{at & 0xFFFF:04x}-7{high:03x}"
    return f"{head}-{low >> 48 | 0x8000:04x}-{low & 0xFFFF_FFFF_FFFF:012x}"


__all__ = ["new_id"]
