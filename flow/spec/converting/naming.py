"""Names of tasks that mean something else in our expressions get other ones."""

from __future__ import annotations

import re
from collections.abc import Container
from typing import Final

from flow.spec.converting.model import COMMANDS, Task, Workflow
from flow.spec.converting.reading import Notes
from flow.spec.nodes.parts import RESERVED
from flow.types import NAME_RULE, is_name

_RESERVED: Final = RESERVED | {"next", "output"}
"""Names that no task keeps: ``next`` ends the body of a loop, and tasks of Attune have an ``output``."""


def unused(name: str, taken: Container[str], more: str = "_") -> str:
    """Return a name that is not taken: ``name``, with ``more`` behind it as often as it takes."""
    while name in taken:
        name += more
    return name


def renamed(workflow: Workflow, notes: Notes) -> Workflow:
    """Return the workflow with tasks renamed whose names have another meaning here."""
    names = {}
    taken = {*workflow.tasks, *workflow.inputs}
    for name, task in workflow.tasks.items():
        if not is_name(name):
            made, why = "task_" + re.sub(r"\W+", "_", name)[:200], NAME_RULE
        elif name in workflow.inputs:
            made, why = f"{name}_task", "an input has this name, too"
        elif name in _RESERVED:
            made, why = f"{name}_task", "expressions mean something else by this name"
        else:
            continue
        names[name] = unused(made, taken)
        taken.add(names[name])
        notes.add(task.at, f"task {name!r} is called {names[name]!r} here: {why}")
    for name in [name for name in workflow.inputs if not name.isidentifier() or name.startswith("_")]:
        notes.add(None, f"the input {name!r} has no counterpart: an input is a word of letters, digits and '_'")
        del workflow.inputs[name]
    for name in [name for name in workflow.variables if not name.isidentifier() or name.startswith("_")]:
        notes.add(None, f"the variable {name!r} has no counterpart: a variable is a word of letters, digits and '_'")
        del workflow.variables[name]
    tasks = dict[str, Task]()
    for name, task in workflow.tasks.items():
        task.name = names.get(name, name)
        for way in task.next:
            way.do = [names.get(one, one) if one not in COMMANDS else one for one in way.do]
        tasks[task.name] = task
    workflow.tasks = tasks
    workflow.renamed = names
    return workflow


__all__ = ["renamed", "unused"]
