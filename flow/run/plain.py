"""Outputs as text and as JSON, whatever they are."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from flow.data.mapresult import MapResult
from flow.errors import printable, shown
from flow.masking import Masks
from flow.reprs import beginning, counted

MAX_OUTPUT: Final = 100
"""Characters of an output that are shown."""


def encoded(value: Any, masks: Masks | None = None) -> msgspec.Raw:
    """A value as JSON; what that cannot hold as a short repr."""

    def hook(part: Any) -> Any:
        return stand_in(part) if masks is None else masks.value(stand_in(part))

    if masks is not None:
        value = masks.value(value)
    try:
        return msgspec.Raw(msgspec.json.encode(value, enc_hook=hook))
    except Exception:  # keys that are no text, cycles, lone surrogates, too deep: each is possible
        return msgspec.Raw(msgspec.json.encode(brief(value) if masks is None else masks.text(brief(value))))


def stand_in(value: Any) -> Any:
    """Return what takes the place of a value that JSON cannot hold: the parts of a MapResult, what a model of pydantic
    dumps, else a short repr."""
    if isinstance(value, MapResult):
        return value.to_dict()
    fields = dumped(value)
    return brief(value) if fields is None else fields


def dumped(value: Any) -> Any:
    """Return as plain data what dumps itself, as the models of pydantic (2) do; None of anything else."""
    dump = None if isinstance(value, type) else getattr(type(value), "model_dump", None)
    try:
        return dump(value, mode="json") if callable(dump) else None
    except Exception:  # a field of it may be what JSON cannot hold
        return None


def brief(value: Any) -> str:
    """``repr(value)`` on one line, shortened and printable."""
    try:
        return printable(_repr(value))
    except Exception:  # its repr, its length or its class can be such
        return f"<{type(value).__name__} without a usable repr>"


def _repr(value: Any) -> str:
    if isinstance(value, MapResult):
        failed = f", {value.failed:,} failed" if value.failed else ""
        return f"{value.completed:,} of {counted(len(value), 'item')} completed{failed}"
    if isinstance(value, (bytes, bytearray, str)) and len(value) > MAX_OUTPUT:
        return shown(value) if isinstance(value, str) else f"<{len(value):,} bytes>"
    text = beginning(value, MAX_OUTPUT + 1)
    return text if len(text) <= MAX_OUTPUT else text[: MAX_OUTPUT - 3] + "..."


__all__ = ["MAX_OUTPUT", "brief", "dumped", "encoded", "stand_in"]
