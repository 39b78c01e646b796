"""Work that Ctrl-C does not break: it comes after it."""

from __future__ import annotations

import threading
from importlib import import_module
from types import FrameType
from typing import Any, Self

_signal: Any = import_module("_signal")  # signal makes enums of what these functions take and return: 8 us more
_main = threading.main_thread()


class Unbroken:
    """A ``with`` block in which Ctrl-C waits until its end. Some microseconds, in the main thread alone.

    A transaction that is broken between two lines of ours would leave its lock taken, or its run owned by nobody.
    """

    __slots__ = ("_came", "_handler")

    def __enter__(self) -> Self:
        self._came: tuple[int, FrameType | None] | None = None
        self._handler: Any = None
        if threading.current_thread() is _main:
            handler = _signal.getsignal(_signal.SIGINT)
            if callable(handler) and not isinstance(getattr(handler, "__self__", None), Unbroken):  # not within another
                try:
                    _signal.signal(_signal.SIGINT, self._take)
                    self._handler = handler
                except ValueError:  # in a sub-interpreter, which no signal comes to
                    pass
        return self

    def _take(self, number: int, frame: FrameType | None) -> None:
        self._came = (number, frame)

    def __exit__(self, *error: object) -> None:
        handler = self._handler
        if handler is not None:
            _signal.signal(_signal.SIGINT, handler)
            if self._came is not None:
                handler(*self._came)


__all__ = ["Unbroken"]
