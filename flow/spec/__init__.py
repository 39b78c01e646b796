"""Workflow files: YAML or JSON in, a Dag out (:func:`load`); and what they may call.

Importing it is cheap: a name is imported where a program first uses it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flow.exports import at_first_use, only

if TYPE_CHECKING:
    from flow.spec.called.allow import Allow
    from flow.spec.called.marked import action
    from flow.spec.converting import Conversion, Note, convert
    from flow.spec.dumping.dag import dump
    from flow.spec.json_schema import schema
    from flow.spec.loading import load, loads
else:
    __getattr__ = at_first_use(
        "flow.spec",
        {
            "Allow": "flow.spec.called.allow",
            "Conversion": "flow.spec.converting",
            "Note": "flow.spec.converting",
            "action": "flow.spec.called.marked",
            "convert": "flow.spec.converting",
            "dump": "flow.spec.dumping.dag",
            "load": "flow.spec.loading",
            "loads": "flow.spec.loading",
            "schema": "flow.spec.json_schema",
        },
    )

__all__ = ["Allow", "Conversion", "Note", "action", "convert", "dump", "load", "loads", "schema"]
__dir__ = only(__all__)
