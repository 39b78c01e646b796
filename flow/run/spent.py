"""Iterators, which a retry cannot go over again: it would get only the rest."""

from __future__ import annotations

from dis import opmap
from types import AsyncGeneratorType, GeneratorType
from typing import Any


def is_advanced(value: Any) -> bool:
    """Tell whether ``value`` is an iterator that a call may have taken something from.

    A generator says if it has begun. Other iterators (a file, a cursor, a ``map``) do not say.
    """
    if isinstance(value, GeneratorType):
        return value.gi_frame is None or value.gi_running or value.gi_suspended
    if isinstance(value, AsyncGeneratorType):
        return value.ag_frame is None or value.ag_running or not _is_new(value)
    return is_iterator(value)


def is_iterator(value: Any) -> bool:
    """Tell whether ``value`` can be gone over only once: a generator, a ``map``, a file, a cursor."""
    kind = type(value)
    return hasattr(kind, "__next__") or hasattr(kind, "__anext__")


def _is_new(generator: AsyncGeneratorType[Any, Any]) -> bool:
    suspended = getattr(generator, "ag_suspended", None)  # 3.12 and newer
    if suspended is not None:
        return not suspended
    # It stands at the instruction that has made it; those before only set up its cells.
    code = generator.ag_code.co_code
    made_at = next((at for at in range(0, len(code), 2) if code[at] == opmap["RETURN_GENERATOR"]), 0)
    frame = generator.ag_frame
    return frame is not None and frame.f_lasti <= made_at
