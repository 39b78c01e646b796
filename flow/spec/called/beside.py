"""What files beside a workflow file allow it to name: :func:`allowed_beside`."""

from __future__ import annotations

import os
from typing import Any, Final

from flow.config import files
from flow.errors import ConfigError, UsageError, nearest, shown
from flow.spec.called.allow import Allow

PLACES: Final = (("flow.toml", ("spec",)), ("pyproject.toml", ("tool", "flow", "spec")))
"""The files that are looked for, the first that has such a table counts; and the table of each."""

KEYS: Final = ("allow",)


def allowed_beside(path: str | os.PathLike[str]) -> Allow:
    """Read what the workflow file ``path`` may name: from ``flow.toml``, or else ``pyproject.toml``, in its folder.

    ::

        [spec]                      # in pyproject.toml: [tool.flow.spec]
        allow = ["deploy.steps:*"]

    The first of the two files with this table counts. Without one, nothing is allowed. The workflow file itself is not
    read: it does not say what it may do.

    :raises ConfigError: listing every fault of that file, with its line.
    """
    folder = os.path.dirname(files.name_of(path))
    for file, place in PLACES:
        name = os.path.join(folder, file)
        if os.path.lexists(name):
            found = _read(name, place)
            if found is not None:
                return found
    return Allow()


def _read(name: str, place: files.Keys) -> Allow | None:
    """Return what the table at ``place`` allows; None if there is none."""
    what = f"config file {shown(name)}"
    text = files.text_of(name, what)
    lines = files.lines_of(text)
    table: Any = files.parsed(text, what)
    for key in place:
        if not isinstance(table, dict) or key not in table:
            return None
        table = table[key]
    title = ".".join(place)
    faults: list[tuple[files.Keys, str]] = []
    allow = Allow()
    if not isinstance(table, dict):
        faults.append((place, f"{title} must be a table [{title}], not {shown(table)}"))
        table = {}
    for key, value in table.items():
        if key in KEYS:
            continue
        meant = f": write allow = [...] for {shown(value)}" if key in ("allowed", "allows") else nearest(key, KEYS)
        faults.append(((*place, key), f"[{title}] has no setting {shown(key)}{meant}; it has allow"))
    if "allow" in table:
        try:
            allow = Allow(table["allow"])
        except UsageError as error:
            faults.append(((*place, "allow"), str(error)))
    if faults:
        raise ConfigError(what, [files.at_line(lines, keys, fault) for keys, fault in faults])
    return allow


__all__ = ["allowed_beside"]
