"""Exceptions that a store has kept, in words."""

from __future__ import annotations

import re
from typing import Final

from flow.blame import shortened
from flow.errors import StoredError, described, leaves


def said(error: BaseException) -> str:
    """As :func:`flow.errors.described`; of what a store has kept, what it was."""
    return described(error).replace(f"{StoredError.__name__}: ", "")


_FRAME: Final = re.compile(r'^  File "(.+)", line (\d+), in ', re.MULTILINE)


def stored_place(error: BaseException) -> str:
    """Return where an exception was raised that a store has kept, as far as its traceback says."""
    traceback = next((one.traceback for one in leaves(error) if isinstance(one, StoredError)), "")
    places = _FRAME.findall(traceback)
    return shortened(":".join(places[-1])) if places else ""


__all__ = ["said", "stored_place"]
