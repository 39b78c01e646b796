"""Reads workflows of Attune."""

from __future__ import annotations

from functools import reduce
from typing import Any, Final

from flow.config.fields import is_int, is_number
from flow.errors import UsageError
from flow.spec.converting.conditions import Condition, condition, negated, parsed, put
from flow.spec.converting.model import Task, Transition, Workflow
from flow.spec.converting.orquesta import checked_join, literal_of, retry, signal, without_lost
from flow.spec.converting.reading import Notes, Table, names_of, pairs_of, place_of, tables
from flow.spec.converting.templates import Converter
from flow.spec.converting.terms import Term, const

_KEYS: Final = frozenset(
    [
        "ref",
        "label",
        "name",
        "description",
        "version",
        "parameters",
        "vars",
        "tasks",
        "output_map",
        "output",
        "output_schema",
        "tags",
        "metadata",
        "enabled",
        "type",
    ]
)
_TASK_KEYS: Final = frozenset(
    [
        "name",
        "action",
        "input",
        "next",
        "publish",
        "on_success",
        "on_failure",
        "on_timeout",
        "on_complete",
        "decision",
        "with_items",
        "with-items",
        "batch_size",
        "concurrency",
        "retry",
        "timeout",
        "type",
        "tasks",
        "join",
        "when",
        "delay",
        "description",
        "label",
    ]
)
_TYPES: Final = frozenset(("string", "integer", "number", "boolean", "array", "object", "any"))
_WANTED: Final[dict[str, type[Any]]] = {"enum": list, "description": str, "pattern": str, "secret": bool, "type": str}
_RENAMED: Final = {
    "type": "type", "enum": "enum", "default": "default", "secret": "secret", "description": "description",
    "minimum": "minimum", "maximum": "maximum", "minLength": "min_length", "maxLength": "max_length",
    "min_length": "min_length", "max_length": "max_length", "pattern": "pattern",
}  # fmt: skip


def workflow(source: Table, name: str, converter: Converter) -> Workflow:
    """Read a workflow. :raises UsageError: if it has no tasks, or a transition leads nowhere."""
    for key in source:
        if key not in _KEYS:
            converter.notes.add(key, f"{key!r} has no counterpart, and is left out")
    tasks = dict[str, Task]()
    given = source.get("tasks")
    for one in given if isinstance(given, list) else ():
        if isinstance(one, Table):
            _Task(one, converter).put(tasks)
    if isinstance(given, Table):
        for key, one in given.items():
            _Task(_named(str(key), one, key), converter).put(tasks)
    if not tasks:
        raise UsageError(f"{name}: there are no tasks")
    without_lost(tasks, converter.notes)
    text = str(source.get("description") or source.get("label") or "").strip()
    return Workflow(
        name, text, _inputs(source.get("parameters"), converter.notes), dict(pairs_of(source.get("vars"))), tasks,
        dict(pairs_of(source.get("output_map"))),
    )  # fmt: skip


def _named(name: str, source: Any, at: Any) -> Table:
    made = Table(place_of(at))
    if isinstance(source, Table):
        made.update(source)
        made.marks.update(source.marks)
    made["name"] = name
    return made


def _inputs(source: Any, notes: Notes) -> dict[str, dict[str, Any]]:
    found = dict[str, dict[str, Any]]()
    properties = source.get("properties") if isinstance(source, dict) and source.get("type") == "object" else None
    required = source.get("required", ()) if properties is not None else ()
    for name, spec in pairs_of(properties if isinstance(properties, dict) else source):
        made: dict[str, Any] = {}
        for key, value in (spec if isinstance(spec, dict) else {}).items():
            if key == "items" and isinstance(value, dict):
                made["items"] = {"type": value["type"]} if str(value.get("type")) in _TYPES else {}
            elif key == "minItems" or key == "maxItems":
                made["min_length" if key == "minItems" else "max_length"] = value
            elif key in _RENAMED and isinstance(value, _WANTED.get(key, object)):
                made[_RENAMED[key]] = value
            elif key not in ("required", "position", "label"):
                notes.add(key, f"{str(key)!r} of a parameter has no counterpart, and is left out")
        if made.get("type", "any") not in _TYPES:
            made.pop("type")
        if made.get("type") != "array":
            made.pop("items", None)
        is_required = name in required or (isinstance(spec, dict) and spec.get("required") is True)
        if "default" not in made and not is_required:
            made["required"] = False
        found[name] = made
    return found


class _Task:
    """Reads one task, and those of a group."""

    def __init__(self, source: Table, converter: Converter) -> None:
        self.source = source
        self.converter = converter
        self.notes = converter.notes
        name = source.get("name")
        if not isinstance(name, str):
            raise UsageError(f"line {source.at.line}: a task has no name")
        self.task = Task(str(name), name)
        self.count = 0

    def put(self, tasks: dict[str, Task], status: str = "completed") -> tuple[Task, list[str]]:
        """Add the task, and what is in it, to ``tasks``.

        :param status: how the members of a group around it must end for the group to go on: "completed" or "done".
        :returns: the task that ends it, and the names of those that may fail.
        """
        source, task = self.source, self.task
        if task.name in tasks:
            raise UsageError(f"line {source.at.line}: there are two tasks {task.name!r}")
        for key in source:
            if key not in _TASK_KEYS:
                self.notes.add(key, f"{key!r} of a task has no counterpart, and is left out")
        tasks[task.name] = task
        if source.get("type") == "parallel" and isinstance(source.get("tasks"), list):
            return self._group(tasks, source["tasks"], status)
        self._call()
        self._transitions(task)
        task.join = checked_join(source.get("join"), task, self.notes)
        task.delay = source.get("delay")
        return task, [task.name]

    def _group(self, tasks: dict[str, Task], members: list[Any], status: str) -> tuple[Task, list[str]]:
        """``type: parallel``: the task begins its members, and another task joins them."""
        begin = self.task
        begin.next.append(Transition(0, [], [], begin.at, "completed"))
        end = Task(f"{self.task.name}.end", self.task.at, join="all")
        if end.name in tasks:
            raise UsageError(f"line {self.source.at.line}: there are two tasks {end.name!r}")
        tasks[end.name] = end
        self._transitions(end)
        fails = any(one.status == "failed" for one in end.next)
        if fails or any(one.status == "done" for one in end.next):
            status = "done"
        ends, names = list[Task](), list[str]()
        for one in members:
            if isinstance(one, Table):
                member = _Task(one, self.converter)
                begin.next[0].do.append(member.task.name)
                last, inner = member.put(tasks, status)
                ends.append(last)
                names += inner
        for last in ends or [begin]:
            last.next.append(Transition(len(last.next), [end.name], [], begin.at, status))
        for one in end.next:
            if one.status == "failed":
                one.conditions.append(_member_status("any_failed", names))
            elif one.status == "completed" and fails:
                one.conditions.append(_member_status("none_failed", names))
            one.status = "completed"
        return end, names

    def _call(self) -> None:
        source, task = self.source, self.task
        action = source.get("action")
        if not isinstance(action, str):
            return
        task.kind = "call"
        task.action = str(action)
        task.given = source.get("input") or {}
        if action in ("core.inquiry", "core.ask"):
            signal(task, self.notes, action)
        items = source.get("with_items", source.get("with-items"))
        if items is not None:
            task.kind = "map"
            task.items = items
            for key in ("concurrency", "batch_size"):
                self._number(key)
        if task.kind != "signal":
            self._number("timeout")
            self._retry(source.get("retry"))

    def _number(self, key: str) -> None:
        value = literal_of(self.source.get(key))
        if (is_number if key == "timeout" else is_int)(value) and value > 0:
            self.task.options[key] = value
        elif value is not None:
            self.notes.add(self.source.marks[key], f"{key!r} is a number here, and no expression: it is left out")

    def _retry(self, source: Any) -> None:
        if not isinstance(source, dict):
            return
        count, delay = literal_of(source.get("count", 1)), literal_of(source.get("delay", 0))
        if not is_int(count) or not is_number(delay) or not 0 <= count < 1_000_000 or delay < 0:
            self.notes.add(source, "the numbers of a retry are numbers here, and no expressions: 3 attempts are taken")
            count, delay = 2, 0
        backoff = str(source.get("backoff", "constant"))
        self.task.options["retry"] = retry(
            count, delay, backoff if backoff in ("linear", "exponential") else "constant"
        )
        limit = literal_of(source.get("max_delay"))
        if is_number(limit) and limit >= 0:
            self.task.options["retry"]["max_delay"] = limit
        if "when" in source or "on_error" in source:
            self.notes.add(source, "a retry follows any failure here: name exceptions in 'retry_if'")

    # -- transitions

    def _transitions(self, task: Task) -> None:
        source = self.source
        shared = pairs_of(source.get("publish"))
        timed = "on_timeout" in source
        if shared:
            made = self._made(["continue"], shared, source["publish"], "completed")
            made.shared = True
            task.next.append(made)
        for one in tables(source.get("next"), "'next'", task.at, self.notes):
            self._next(task, one)
        for key, status in (
            ("on_success", "completed"),
            ("on_failure", "failed"),
            ("on_complete", "done"),
            ("on_timeout", "failed"),
        ):
            if key in source:
                extra = [_timeout(key == "on_timeout")] if status == "failed" and timed else []
                self._branches(task, source[key], status, extra, source.marks.get(key))
        if "decision" in source:
            self._decision(task, source["decision"])

    def _made(self, do: list[str], publish: list[tuple[str, Any]], at: Any, status: str) -> Transition:
        self.count += 1
        return Transition(self.count - 1, do, publish, at, status)

    def _next(self, task: Task, source: dict[str, Any]) -> None:
        made = self._made(names_of(source.get("do")), pairs_of(source.get("publish")), source, "done")
        if source.get("when") is not None:
            put(made, parsed(source["when"], self.converter))
        task.next.append(made)

    def _branches(self, task: Task, source: Any, status: str, extra: list[Condition], at: Any) -> None:
        """What follows ``on_success`` and the like: a name, names, or conditions with names."""
        for one in source if isinstance(source, list) else [source]:
            if not isinstance(one, dict):
                made = self._made(names_of(one), [], one if isinstance(one, str) else at, status)
                made.conditions += extra
                task.next.append(made)
                continue
            test = parsed(one["when"], self.converter) if one.get("when") is not None else None
            inner = one.get("do", one.get("next"))
            if isinstance(inner, list) and any(isinstance(each, dict) for each in inner):
                self._branches(task, inner, status, [*extra, *([test] if test is not None else [])], one)
                continue
            made = self._made(names_of(inner), pairs_of(one.get("publish")), one, status)
            put(made, test)
            made.conditions += extra
            task.next.append(made)

    def _decision(self, task: Task, source: Any) -> None:
        """An ordered choice: each condition holds only if those before it do not."""
        before = list[Condition]()
        for index, one in enumerate(tables(source, "'decision'", task.at, self.notes)):
            target = one.get("next", one.get("default", one.get("do")))
            made = self._made(names_of(target), pairs_of(one.get("publish")), one, "completed")
            made.conditions += [negated(test) for test in before]
            made.choice = index
            if one.get("when") is not None:
                test = parsed(one["when"], self.converter)
                if test is not None:
                    made.conditions.append(test)
                    before.append(test)
            task.next.append(made)


def _timeout(is_timeout: bool) -> Condition:
    test = condition(Term("call", "timed_out"), False, "timed_out()")
    return test if is_timeout else negated(test)


def _member_status(word: str, names: list[str]) -> Condition:
    """Whether tasks of a group have failed."""
    asked = [Term("call", "failed", (Term("const", name),)) for name in names] or [const(False)]
    term = reduce(lambda one, other: Term("op", "or", (one, other)), asked)
    return condition(term if word == "any_failed" else Term("not", None, (term,)), False, word)


__all__ = ["workflow"]
