"""The functions that every expression may call."""

from __future__ import annotations

from typing import Final

from flow.expr.functions import Functions
from flow.expr.library import lists, numbers, patterns, text

STANDARD: Final = Functions(*lists.FUNCTIONS, *text.FUNCTIONS, *numbers.FUNCTIONS, *patterns.FUNCTIONS)
"""The functions that every expression may call."""
