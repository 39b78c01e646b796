"""Lists what a program does besides computing: imports, files, processes, sockets."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

import flow.errors

_HARMLESS = frozenset({"builtins.id", "compile", "exec"})
_seen: list[tuple[str, str]] | None = None
_left_out: Collection[str] = ()
_is_hooked = False


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if _seen is None or event in _HARMLESS or event in _left_out:
        return
    if event == "object.__getattr__" and arguments[1] == "tb_frame":  # of the generated code: which dict lacks a key
        return
    _seen.append((event, repr(arguments)[:200]))


@contextmanager
def watched(but: Collection[str] = ()) -> Iterator[list[tuple[str, str]]]:
    """List what happens meanwhile, as audit events. :param but: those that are left out."""
    global _seen, _left_out, _is_hooked
    if not _is_hooked:  # a hook stays
        sys.addaudithook(_hook)
        _is_hooked = True
    flow.errors.nearest("scor", ["score"])  # imports difflib at its first use
    _left_out = but
    _seen = found = []
    try:
        yield found
    finally:
        _seen = None
