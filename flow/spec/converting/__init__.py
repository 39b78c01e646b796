"""Converts workflows of StackStorm's Orquesta and of Attune to workflow files."""

from __future__ import annotations

import re
from typing import Any

from flow.errors import ExpressionError, UsageError
from flow.spec.called.written import taken_apart
from flow.spec.converting import attune, orquesta
from flow.spec.converting.actions import Actions
from flow.spec.converting.emitting import what_is_read
from flow.spec.converting.model import Conversion, Note, Workflow
from flow.spec.converting.naming import renamed
from flow.spec.converting.reading import Notes, Table, read
from flow.spec.converting.regions import Top, recorded
from flow.spec.converting.sites import UNREAD, Place
from flow.spec.converting.templates import Converter
from flow.spec.converting.terms import Term
from flow.spec.converting.translating import quoted
from flow.spec.dumping.writing import write


def convert(text: str, *, name: str = "workflow", module: str = "actions") -> Conversion:
    """Convert a workflow of Orquesta or Attune. Which one it is, is told by its keys.

    :param text: YAML. :param name: the name of the new workflow, and the beginning of the names of its files.
    :param module: the Python module that the new file calls for its actions.
    :returns: the file, and all that is to be known of it. What has no counterpart is noted with its line and column; an
        expression without one is replaced by an input, ``todo_1``.
    :raises UsageError: if ``module`` is no name of one, or the text is no such workflow; if it has a cycle that is
        entered at several tasks, or makes too many nodes, too long an expression, or files in each other.
    """
    if fault := taken_apart(f"{module}:action").fault:
        raise UsageError(f"module={module!r} is none that a file may name: {fault}")
    try:
        return _converted(read(text, name), name, module)
    except ExpressionError as error:
        raise UsageError(f"{name}: what an expression of it becomes is refused: {error}") from None


def _converted(source: Table, name: str, module: str) -> Conversion:
    notes = Notes()
    is_attune = _is_attune(source)
    converter = Converter(notes, attune=is_attune)
    reader = attune if is_attune else orquesta
    workflow = renamed(reader.workflow(source, name, converter), notes)
    if is_attune:
        _collect(workflow)
    actions = Actions(module, notes)
    files: dict[str, str] = {}
    top = Top(workflow, workflow.tasks, converter, actions, files)
    whole = _whole(workflow, top)
    what_is_read({"set": whole.get("outputs")})  # refuses an expression that is too long
    return Conversion(write(whole), notes.ordered(), files, actions.text(), module)


def _is_attune(source: Table) -> bool:
    """Attune lists its tasks, and has parameters."""
    return isinstance(source.get("tasks"), list) or "parameters" in source or "output_map" in source


def _collect(workflow: Workflow) -> None:
    """Let a map whose failed items are read collect them: it completes then, and conditions ask for its errors."""
    read = {
        name
        for task in workflow.tasks.values()
        for name, field in recorded(task, True).tasks
        if field == "failed_items"
    }
    for name in read:
        task = workflow.tasks.get(workflow.renamed.get(name, name))
        if task is None or task.kind != "map" or not any(way.status == "failed" for way in task.next):
            continue
        task.options["on_error"] = "collect"
        for way in task.next:
            if way.status == "failed":
                way.conditions.insert(0, Term("raw", "len({node}.errors) > 0"))
            elif way.status == "completed" and set(way.do) - {"continue"}:
                way.conditions.insert(0, Term("raw", "len({node}.errors) == 0"))
            way.status = "completed"


class _Start(Place):
    """The place of the first values of variables: each reads those before it."""

    def __init__(self, top: Top) -> None:
        super().__init__(top, None)
        self.known: set[str] = set()

    def variable(self, name: str) -> str:
        if name in self.known:
            return f"vars.{name}"
        return self.world.parameter(name)


def _whole(workflow: Workflow, top: Top) -> dict[str, Any]:
    """Return the file as data."""
    start = _Start(top)
    variables: dict[str, Any] = {}
    for name, value in workflow.variables.items():
        variables[name] = top.converter.value(value, start)
        start.known.add(name)
    nodes = top.emit()
    outputs = _outputs(workflow, top)
    inputs: dict[str, Any] = dict(workflow.inputs)
    for name, path in top.added.items():
        if name in top.converter.todo:
            continue
        inputs[name] = {"required": False, "description": f"{path}, of the engine it comes from"}
        top.converter.notes.add(None, f"{path!r} is known to no part of the file: it is the input {name!r} here")
    todo = top.converter.todo.items()
    inputs |= {name: {"description": f"to be converted: {source}"} for name, source in todo}
    whole: dict[str, Any] = {"flow": 1, "name": workflow.name}
    if workflow.description:
        whole["description"] = workflow.description
    parts = {"inputs": inputs, "vars": variables, "nodes": nodes, "outputs": outputs}
    return whole | {key: value for key, value in parts.items() if value}


def _outputs(workflow: Workflow, top: Top) -> dict[str, Any]:
    """Return the values of the outputs; later ones read earlier ones. What they read stands in ``default(...)``."""
    end = Place(top, None)
    made: dict[str, Any] = {}
    for name, value in workflow.outputs.items():
        made[name] = text = top.converter.value(value, end)
        if isinstance(text, str) and text.startswith("{{ ") and text.endswith(" }}") and text.count("{{") == 1:
            inner = text[3:-3]
            end.local[name] = inner if re.fullmatch(r"[\w.]+", inner) else f"({inner})"
        elif not isinstance(text, (dict, list)) and not (isinstance(text, str) and "{{" in text):
            end.local[name] = quoted(text)
        else:
            end.local[name] = UNREAD
    return made


__all__ = ["Conversion", "Note", "convert"]
