"""How large an expression, its work and what it makes may be. All are counts, none is a time: a run repeats exactly."""

from __future__ import annotations

from typing import Final

MAX_SOURCE: Final = 4_096
"""Characters of one expression."""

MAX_DEPTH: Final = 50
"""How deep expressions may nest; lists and dicts of templates too."""

MAX_STEPS: Final = 1_000_000
"""Steps of one evaluation: one for each item or character that a function or an operator looks at or makes."""

FREE: Final = 256
"""Items or characters that one operation gets for nothing: counting them would take longer than the operation.

An expression has fewer than :data:`MAX_SOURCE` operations, so this adds about a million steps at most.
"""

MAX_BITS: Final = 1_024
"""Bits of an int that an expression holds or makes: as large as floats get."""

MAX_RANGE: Final = 100_000
"""Numbers that ``range`` makes."""

MAX_TEXT: Final = 1_000_000
"""Characters of one template."""

MAX_EXPRESSIONS: Final = 200
"""Expressions of one template."""

MAX_EXPRESSION_TEXT: Final = 16_384
"""Characters of all expressions of one template."""

MAX_VALUES: Final = 100_000
"""Values in a nested list or dict of templates."""

MAX_WIDTH: Final = 100
"""Characters that ``format`` pads a value to, and digits after the point."""

MAX_PATTERN: Final = 1_000
"""Characters of a regular expression."""

MAX_CACHED: Final = 512
"""Checked sources that are kept for the next one that is equal."""

MAX_CACHED_SOURCE: Final = 200
"""Characters of a source that is kept."""
