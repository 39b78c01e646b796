"""From a file name on the command line to the workflow that the file holds."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from typing import Any, Final

import click
import msgspec

from flow import files
from flow.cli.modelnames import models_beside
from flow.graph.dag import Dag
from flow.spec.text.limits import MAX_BYTES

ENDINGS: Final = (".yaml", ".yml")
"""Endings of files that are workflows. A file that ends in ``.json`` may be one: :func:`is_workflow` looks into it."""

_LIKE: Final = re.compile(rb'\s*\{.*?"flow"\s*:', re.DOTALL)
"""The beginning of a workflow with a slip in it: so the fault that is told is that of a workflow."""


class _Head(msgspec.Struct):
    flow: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


def is_workflow(target: str) -> bool:
    """Tell whether ``target`` is to be read as a workflow: by its ending, and JSON by its key ``flow``. O(size)."""
    lower = target.lower()
    if lower.endswith(ENDINGS):
        return True
    if not lower.endswith(".json"):
        return False
    try:
        text = files.read(target, MAX_BYTES)
    except (OSError, ValueError):  # too large, or not there: whoever reads it as a trace says so
        return False
    try:
        return msgspec.json.decode(text, type=_Head).flow is not msgspec.UNSET
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return _LIKE.match(text[:4_096]) is not None


def load_workflow(target: str, allow: Sequence[str], imports: bool = True) -> Dag:
    """Read a workflow file as a Dag. Names of models are those that the settings beside it say.

    :param allow: what it may name; if empty, what the settings beside it allow.
    :param imports: import what it calls. Its folder and the current one are looked in first, if anything is allowed.
    :raises SpecError: listing its faults. :raises UsageError, ConfigError: for patterns that are none.
    """
    from flow.spec.called.allow import Allow
    from flow.spec.called.beside import allowed_beside
    from flow.spec.loading import Session

    allowed = Allow(allow) if allow else allowed_beside(target)
    if imports and any(":" in pattern for pattern in allowed.patterns):
        see(os.getcwd())
        see(os.path.dirname(os.path.abspath(target)))
    with models_beside(target):
        return Session(allowed, imports).load(target)


def see(folder: str) -> None:
    """Let modules of ``folder`` be imported, before those of the same name elsewhere."""
    if folder not in sys.path:
        sys.path.insert(0, folder)


def allow_option(command: Any) -> Any:
    """Add ``--allow``."""
    return click.option(
        "--allow", multiple=True, metavar="PATTERN",
        help="What a workflow file may call: module:function, module:*.  [default: flow.toml beside it]",
    )(command)  # fmt: skip


__all__ = ["ENDINGS", "allow_option", "is_workflow", "load_workflow", "see"]
