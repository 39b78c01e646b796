"""Reads workflows of Orquesta, StackStorm's native engine (https://docs.stackstorm.com/orquesta/languages/orquesta.html)."""

from __future__ import annotations

import json
import re
from typing import Any, Final

from flow.config.fields import is_int, is_number
from flow.errors import UsageError, nearest
from flow.spec.converting.conditions import parsed, put
from flow.spec.converting.model import COMMANDS, Task, Transition, Workflow
from flow.spec.converting.reading import Notes, Table, names_of, pairs_of, place_of, tables, text_at
from flow.spec.converting.templates import Converter

_KEYS: Final = frozenset(("version", "description", "input", "vars", "output", "tasks", "tags"))
_TASK_KEYS: Final = frozenset(("action", "input", "next", "join", "with", "delay", "retry"))
_INLINE: Final = re.compile(  # with lengths: very many brackets that are not closed would take quadratic time
    r"""\b(\w+)=(\[.{0,2000}?\]|"[^"]{0,2000}"|'[^']{0,2000}'|<%.{0,2000}?%>|\{\{.{0,2000}?\}\}|\{.{0,2000}?\}|[^\s,]+)""",
    re.DOTALL,
)
_LITERAL: Final = "is a number here, and no expression"
_ITEMS: Final = re.compile(r"\s*(?P<names>\w+(?:\s*,\s*\w+)*)\s+in\s+(?P<items>.+)", re.DOTALL)


def workflow(source: Table, name: str, converter: Converter) -> Workflow:
    """Read a workflow. :raises UsageError: if it has no tasks, or a transition leads nowhere."""
    notes = converter.notes
    for key in source:
        if key not in _KEYS:
            notes.add(key, f"{key!r} has no counterpart, and is left out")
    tasks = source.get("tasks")
    if not isinstance(tasks, Table) or not tasks:
        raise UsageError(f"{name}: there are no tasks")
    read = dict[str, Task]()
    for key, value in tasks.items():
        table = value if isinstance(value, Table) else Table(place_of(key))
        read[str(key)] = _Task(str(key), table, key, converter).made()
    made = Workflow(
        name,
        str(source.get("description") or "").strip(),
        _inputs(source.get("input"), notes),
        dict(pairs_of(source.get("vars"))),
        read,
        dict(pairs_of(source.get("output"))),
    )
    without_lost(made.tasks, notes)
    return made


def without_lost(tasks: dict[str, Task], notes: Notes) -> None:
    """Drop ways to tasks that there are none of."""
    for task in tasks.values():
        for transition in task.next:
            for target in transition.do:
                if target not in COMMANDS and target not in tasks:
                    notes.add(
                        transition.at, f"there is no task {target!r}{nearest(target, tasks)}: the way to it is left out"
                    )
            transition.do = [one for one in transition.do if one in COMMANDS or one in tasks] or ["continue"]


def _inputs(source: Any, notes: Notes) -> dict[str, dict[str, Any]]:
    found = dict[str, dict[str, Any]]()
    for one in source if isinstance(source, list) else [source] if isinstance(source, dict) else ():
        if isinstance(one, dict):
            for key, value in one.items():
                if isinstance(value, str) and ("<%" in value or "{{" in value):
                    notes.add(
                        value, f"the default of input {str(key)!r} is computed, which it cannot be here: it is null"
                    )
                    value = None
                found[str(key)] = {"default": value} if value is not None else {"required": False}
        else:
            found[str(one)] = {"required": False}
    return found


def checked_join(value: Any, task: Task, notes: Notes) -> Any:
    """Return what a task says of its join, if that is something."""
    if value is None or value == "all" or (isinstance(value, int) and not isinstance(value, bool) and value > 0):
        return value
    notes.add(task.at, f"the join of {task.name!r} is 'all' or a number of tasks: it is left out")
    return None


def inline(text: str, at: Any) -> list[tuple[str, Any]]:
    """Read ``key=value key=value``."""
    found = list[tuple[str, Any]]()
    for key, value in _INLINE.findall(text):
        quoted = value[:1] in "\"'" and value[-1:] == value[:1] and len(value) > 1
        made: Any = value[1:-1] if quoted else value
        if not quoted and not value.startswith(("<%", "{{")):
            try:
                made = json.loads(value.lower() if value.lower() in ("true", "false") else value)
            except (ValueError, RecursionError):
                pass
        found.append((key, text_at(made, at) if isinstance(made, str) else made))
    return found


class _Task:
    """Reads one task."""

    def __init__(self, name: str, source: Table, at: Any, converter: Converter) -> None:
        self.name = name
        self.source = source
        self.converter = converter
        self.notes = converter.notes
        self.task = Task(name, at)

    def made(self) -> Task:
        source, task = self.source, self.task
        for key in source:
            if key not in _TASK_KEYS:
                self.notes.add(key, f"{key!r} of a task has no counterpart, and is left out")
        self._action()
        task.join = checked_join(source.get("join"), task, self.notes)
        task.delay = source.get("delay")
        self._items(source.get("with"))
        for one in tables(source.get("retry"), "'retry'", task.at, self.notes):
            self._retry(one)
        for index, one in enumerate(tables(source.get("next"), "'next'", task.at, self.notes)):
            self._transition(index, one)
        return task

    def _action(self) -> None:
        source, task = self.source, self.task
        action = str(source.get("action") or "").strip()
        given = source.get("input")
        if not action:
            return
        task.kind = "call"
        name, _, rest = action.partition(" ")
        task.action = name
        task.given = dict(inline(rest, source["action"])) if rest else {}
        if isinstance(given, dict):
            task.given = {**task.given, **given}
        elif isinstance(given, str):
            task.given = dict(inline(given, given)) or given
        if name in ("core.ask", "core.inquiry"):
            signal(task, self.notes, source["action"])

    def _items(self, source: Any) -> None:
        task = self.task
        if source is None:
            return
        if task.kind != "call":
            raise UsageError(f"{place_of(task.at).line}: task {self.name!r} has items and no action")
        task.kind = "map"
        spec = source if isinstance(source, Table) else None
        items, concurrency = (source, None) if spec is None else (spec.get("items"), spec.get("concurrency"))
        match = _ITEMS.fullmatch(items) if isinstance(items, str) else None
        if match is not None and not match[0].strip().startswith(("<%", "{{")):
            task.item_names = [name.strip() for name in match["names"].split(",")]
            items = text_at(match["items"], items)
        task.items = items
        if spec is not None and concurrency is not None:
            literal = literal_of(concurrency)
            if is_int(literal) and literal > 0:
                task.options["concurrency"] = literal
            else:
                self.notes.add(
                    spec.marks["concurrency"], "concurrency is a number here, and no expression: it is left out"
                )

    def _retry(self, source: Table) -> None:
        count, delay = literal_of(source.get("count", 3)), literal_of(source.get("delay", 0))
        if not is_int(count) or not 0 <= count < 1_000_000:
            self.notes.add(source.marks["count"], f"the count of a retry {_LITERAL}: 3 is taken")
            count = 3
        if not is_number(delay) or delay < 0:
            self.notes.add(source.marks["delay"], f"the delay of a retry {_LITERAL}: 0 is taken")
            delay = 0
        self._retried(count, delay, source.get("when"))

    def _retried(self, count: int, delay: float, when: Any) -> None:
        self.task.options["retry"] = retry(count, delay)
        if when is None:
            return
        probe = Transition(0, [], [], when)
        put(probe, parsed(when, self.converter))
        if probe.status != "failed":
            self.notes.add(when, "a retry follows a failure only: let the action raise where it is to be tried again")
        elif probe.conditions:
            self.notes.add(
                when, "a retry follows any failure here: name exceptions in 'retry_if', or let others not be raised"
            )

    def _transition(self, index: int, source: dict[str, Any]) -> None:
        do, publish = source.get("do"), source.get("publish")
        at = do if isinstance(do, str) else source
        pairs = inline(publish, publish) if isinstance(publish, str) else pairs_of(publish)
        made = Transition(index, names_of(do), pairs, at)
        if source.get("when") is not None:
            put(made, parsed(source["when"], self.converter))
        if "retry" in made.do:
            made.do = [one for one in made.do if one != "retry"]
            if made.status != "failed" or made.conditions:
                self.notes.add(
                    at, "'do: retry' follows a failure only here: let the action raise where it is to be tried again"
                )
            self.task.options["retry"] = retry(3, 0)
            if not made.do:
                return
        self.task.next.append(made)


def retry(count: int, delay: float, backoff: str = "constant") -> dict[str, Any]:
    """Return the policy that tries ``count`` times more."""
    made: dict[str, Any] = {"attempts": count + 1, "delay": delay}
    if delay and backoff != "exponential":
        made["backoff"] = backoff
    return made


def literal_of(value: Any) -> Any:
    """Return a number that is written as text as a number."""
    if isinstance(value, str):
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return value
    return value


def signal(task: Task, notes: Notes, at: Any) -> None:
    """An inquiry waits for a person: it becomes a signal."""
    given = task.given if isinstance(task.given, dict) else {}
    task.kind = "signal"
    limit = literal_of(given.get("timeout", given.get("ttl")))
    if is_number(limit) and limit > 0:
        task.options["timeout"] = limit * (60 if "ttl" in given and "timeout" not in given else 1)
    text = given.get("prompt")
    if isinstance(text, str) and text.strip():
        plain = re.sub(r"(?:\{\{|<%)\s*(.*?)\s*(?:\}\}|%>)", r"<\1>", text)
        task.options["description"] = " ".join(plain.split())
    notes.add(
        at,
        f"the inquiry {task.name!r} is a signal: whoever has the answer calls run.send({task.name!r}, answer)",
    )


__all__ = ["checked_join", "inline", "literal_of", "retry", "signal", "workflow"]
