"""Run ids: unique in this process by number, across processes by a random prefix."""

from __future__ import annotations

import os
from itertools import count

_prefix = ""
_serials = count(1)


def new_run_id() -> str:
    """``<random per process>-<number>``; cheap, unique across processes and after a fork."""
    global _prefix
    if not _prefix:
        _prefix = os.urandom(6).hex()
    return f"{_prefix}-{next(_serials)}"


def _forget_prefix() -> None:
    global _prefix
    _prefix = ""


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_prefix)
