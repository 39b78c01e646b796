"""Regular expressions, where RE2's engine is installed: Python's own can take exponential time."""

from __future__ import annotations

from contextlib import suppress
from functools import lru_cache
from importlib import import_module
from typing import Any, Final

from flow.expr.faults import Fault, Steps, spend
from flow.expr.functions import STEPS, Function, collector
from flow.expr.library.arguments import as_text
from flow.expr.limits import MAX_PATTERN

re2: Any = None
with suppress(ImportError):
    re2 = import_module("re2")

_KEPT: Final = 64
"""Patterns that are kept compiled."""

FUNCTIONS: list[Function] = []
_listed = collector(FUNCTIONS)


@_listed(STEPS)
def matches(steps: Steps, text: Any, pattern: Any) -> bool:
    """True if a part of a text matches a regular expression (of RE2: needs the package google-re2)."""
    value, expression = as_text("matches", "text", text), as_text("matches", "pattern", pattern)
    if re2 is None:
        raise Fault("matches: needs the package google-re2; startswith, endswith and 'in' do without")
    if len(expression) > MAX_PATTERN:
        raise Fault(f"matches: pattern must have at most {MAX_PATTERN:,} characters")
    spend(steps, len(value))
    try:
        return _compiled(expression).search(value) is not None
    except re2.error:
        raise Fault("matches: pattern is no regular expression of RE2") from None


@lru_cache(_KEPT)
def _compiled(pattern: str) -> Any:
    options = re2.Options()
    options.log_errors = False
    return re2.compile(pattern, options)
