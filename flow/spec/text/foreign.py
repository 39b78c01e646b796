"""Words and signs of other engines: what to write for them here."""

from __future__ import annotations

from typing import Final

_SIGNS: Final = (
    (
        "<%", "%>",
        "'<% %>' is of YAQL: write expressions in {{ }}, where ctx(x) is inputs.x, vars.x or data.x; flow convert "
        "converts files of Orquesta; for the sign itself write {{ '<%' }}",
    ),
    (
        "{%", "%}",
        "'{% %}' is of Jinja, and there are no statements here: write {{ a if test else b }}; for the sign itself "
        "write {{ '{%' }}",
    ),
    ("{#", "#}", "'{# #}' is a comment of Jinja: in YAML one begins with '#'; for the sign itself write {{ '{#' }}"),
)  # fmt: skip
"""How expressions begin and end that are none here, and what to say of them."""

_GITHUB: Final = "'${{ }}' is of GitHub Actions: write {{ }}; for a dollar before a value write {{ '$' }}{{ value }}"


_CONTEXT: Final = "inputs.x, vars.x, or data.x for what is published"
_OUTPUT: Final = "the name of the node alone: it is its output"
_SECRET: Final = "inputs.x, and secret: true at the input"

NAMES: Final = {
    "ctx": _CONTEXT, "context": _CONTEXT, "workflow": _CONTEXT, "parameters": "inputs.x", "params": "inputs.x",
    "input": "inputs.x", "github": "inputs.x", "env": "inputs.x", "environ": "inputs.x", "secrets": _SECRET,
    "secret": _SECRET, "keystore": _SECRET, "st2kv": _SECRET, "task": _OUTPUT, "tasks": _OUTPUT, "step": _OUTPUT,
    "steps": _OUTPUT, "needs": _OUTPUT, "jobs": _OUTPUT, "matrix": "item, in a map over the combinations",
    "none": "null", "undefined": "null", "var": "vars.x", "run": "system.run_id",
}  # fmt: skip
"""Names by which expressions of other engines read something, and what to write here."""


def foreign(text: str) -> tuple[int, str] | None:
    """Return where a text has an expression of another engine, and what to write; None if it has none. O(length)."""
    if "%" in text or "{#" in text:
        for begin, end, problem in _SIGNS:
            text = text.replace(f"'{begin}'", "    ")  # the sign itself
            at = text.find(begin)
            if at >= 0 and text.find(end, at) >= 0:
                return at, problem
    if text.startswith("${{") and text.endswith("}}") and text.count("{{") == 1:
        return 0, _GITHUB
    return None


def is_foreign(text: str) -> bool:
    """Tell whether a text has an expression of another engine. O(length)."""
    return foreign(text) is not None


__all__ = ["NAMES", "foreign", "is_foreign"]
