"""What the actions of another engine are called here, and a Python module with a function for each."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from keyword import iskeyword
from typing import Final

from flow.errors import printable
from flow.spec.converting.model import Task
from flow.spec.converting.reading import Notes

_KNOWN: Final = {
    "core_noop": "return None",
    "core_echo": "return message",
    "core_pass": "return None",
}

_MAX_NAME: Final = 100
"""Characters of the name of a function."""


class Actions:
    """The actions that a workflow calls.

    ``PACK.ACTION`` is the function ``PACK_ACTION`` of one module: ``core.echo`` is ``actions:core_echo``.
    """

    def __init__(self, module: str, notes: Notes) -> None:
        self.module = module
        self.notes = notes
        self._written: dict[str, str] = {}  # by function, the action
        self._parameters: dict[str, dict[str, None]] = {}

    def callee(self, task: Task) -> str:
        """Return what a task calls."""
        action = task.action
        if "<%" in action or "{{" in action:
            self.notes.add(
                task.at, f"the action of {task.name!r} is computed: name one, or choose by 'route' between nodes"
            )
            action = f"{task.name}.action"
        name = re.sub(r"\W", "_", action, flags=re.ASCII)[:_MAX_NAME]
        name = name.strip("_") or "action"
        name = f"action_{name}" if name[:1].isdigit() or iskeyword(name) else name
        while self._written.get(name, action) != action:
            name += "_"
        if name not in self._written and name not in _KNOWN:
            self.notes.add(
                task.at, f"action {action!r} is the function {name!r} of {self.module}.py, which is to be written"
            )
        self._written[name] = action
        known = self._parameters.setdefault(name, {})
        if isinstance(task.given, Mapping):
            known.update(dict.fromkeys(map(str, task.given)))
        return f"{self.module}:{name}"

    def text(self) -> str:
        """Return the module."""
        lines = ['"""The actions of converted workflows."""', "", "from typing import Any", ""]
        lines.append(f"__all__ = [{', '.join(repr(name) for name in sorted(self._written))}]".replace("'", '"'))
        for name in sorted(self._written):
            lines += ["", "", self._signature(name)]
            action = _within_quotes(self._written[name])
            lines.append(f'    """The action {action}."""')
            lines.append("    " + _KNOWN.get(name, f'raise NotImplementedError("write the action {action}")'))
        return "\n".join(lines) + "\n"

    def _signature(self, name: str) -> str:
        parameters = dict(self._parameters[name])
        if name == "core_echo":
            parameters.setdefault("message")
        plain = [one for one in parameters if one.isascii() and one.isidentifier() and not iskeyword(one)]
        shown = [f"{one}: Any = None" for one in plain]
        if len(plain) < len(parameters):
            shown.append(f"**{'more' if 'more' not in plain else 'more_'}: Any")
        return f"def {name}({', '.join(shown)}) -> Any:"


def _within_quotes(text: str) -> str:
    """Return a text of the file as it stands within double quotes: nothing of it ends them, or becomes code."""
    return json.dumps(printable(text))[1:-1]


__all__ = ["Actions"]
