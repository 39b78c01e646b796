"""The places of expressions in a region of tasks, and what names mean there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from flow.spec.converting.terms import Unconvertible
from flow.spec.converting.translating import is_plain, key_of, quoted

if TYPE_CHECKING:
    from flow.spec.converting.model import Task
    from flow.spec.converting.routes import Instance
    from flow.spec.converting.templates import Converter
    from flow.spec.converting.variables import Definition, Variables

_SYSTEM = {
    "timestamp": "system.now", "now": "system.now", "workflow_start": "system.started", "start_time": "system.started",
    "execution_id": "system.run_id", "run_id": "system.run_id", "workflow_name": "system.workflow",
    "workflow": "system.workflow", "attempt": "system.attempt", "task": "system.node", "task_name": "system.node",
}  # fmt: skip


UNREAD = ""
"""In place of the expression of what has none."""


class World(Protocol):
    """What is the same for all places of a region."""

    variables: Variables
    made: list[Instance]
    published: frozenset[str]
    converter: Converter

    def callee(self, task: Task) -> str: ...
    def is_flag(self, name: str) -> bool: ...
    def loop_node(self, one: Instance, site: Place) -> dict[str, Any]: ...
    def initial(self, name: str) -> str: ...
    def parameter(self, name: str) -> str: ...
    def outside(self, path: str) -> str: ...
    def node_of(self, task: str) -> list[Instance]: ...


def reference(node: str) -> str:
    """Return the expression of a node's output."""
    return node if is_plain(node) else f"nodes[{quoted(node)}]"


class Place:
    """One place: a node's own values, its conditions, or what it publishes.

    :param one: the node; None is the end, which is reached also when nodes have not run.
    :param ended: how the node has ended there, None before.
    :param own: what the output of the node is called, where it has one.
    """

    def __init__(
        self, world: World, one: Instance | None, *, ended: str | None = None, own: str = "",
        item_names: Sequence[str] = (), local: Mapping[str, str] | None = None,
    ) -> None:  # fmt: skip
        self.world = world
        self.one = one
        self.ended = ended
        self.own = own
        self.item_names = item_names
        self.local: dict[str, str] = dict(local or {})
        self.sees_own = False  # what the task itself publishes, on whatever way it is left

    def variable(self, name: str) -> str:
        from flow.spec.converting.variables import written

        if name in self.local:
            if self.local[name] == UNREAD:
                raise Unconvertible(f"{name!r} is read, whose value is no single expression: write it out here, too")
            return self.local[name]
        variables = self.world.variables
        chain = variables.last(name) if self.one is None else variables.chain(name, self.one, self.sees_own)
        return written(chain, lambda: self.world.initial(name), self._is_published)

    def _is_published(self, definition: Definition) -> bool:
        """Tell whether a value is there whenever this place is reached."""
        from flow.spec.converting.variables import surely

        if self.one is None:
            return False
        return definition.owner is self.one or surely(definition, self.one.must)

    def parameter(self, name: str) -> str:
        return self.world.parameter(name)

    def raw(self, text: str) -> str:
        assert self.one is not None
        return text.replace("{node}", reference(self.one.name))

    def result(self) -> str:
        if self.one is None or self.ended is None:
            raise Unconvertible("result() is known after a task only")
        if self.own:
            return self.own
        node = reference(self.one.name)
        if self.ended == "failed":
            return f"errors({node})[0]"
        return node if self.ended == "completed" else f"default({node}, errors({node}))"

    def status(self, word: str, task: str | None) -> str:
        node = self._status_node(task)
        if word in ("succeeded", "completed", "success"):
            if word == "completed":
                return f"(succeeded({node}) or failed({node}))"
            return f"succeeded({node})"
        if word in ("failed", "timed_out"):
            return f"{word}({node})"
        raise Unconvertible(f"a task has no status {word!r} here: there are succeeded, failed, bypassed and timed_out")

    def _status_node(self, task: str | None) -> str:
        if task is None:
            if self.one is None or self.ended is None:
                raise Unconvertible("the status of a task is known after the task only")
            return reference(self.one.name)
        found = self.world.node_of(task)
        if not found:
            raise Unconvertible(f"there is no task {task!r} in this file")
        return reference(self._nearest(found).name)

    def _nearest(self, found: Sequence[Instance]) -> Instance:
        if self.one is not None:
            before = [one for one in found if one.is_before(self.one) or one is self.one]
            if before:
                return before[-1]
        return found[0]

    def item(self, name: str | None) -> str:
        if self.one is None or self.one.task.kind != "map" or self.ended is not None or self.own == "over":
            raise Unconvertible("an item is known in the input of a task with items only")
        if name is None or not self.item_names:
            return "item" if name is None else key_of("item", name)
        if name not in self.item_names:
            raise Unconvertible(f"items have no name {name!r}: there are {', '.join(self.item_names)}")
        return "item" if len(self.item_names) == 1 else f"item[{self.item_names.index(name)}]"

    def task(self, name: str, field: str, path: Sequence[str]) -> str:
        """``task.a.result.x`` and the like."""
        found = self.world.node_of(name)
        if not found:
            raise Unconvertible(f"there is no task {name!r} in this file")
        one = self._nearest(found)
        node = reference(one.name)
        if field == "error":
            return f"errors({node})[0]"  # what else an error has is not there
        if field == "errors":
            return f"errors({node})"
        own = one is self.one and bool(self.own)
        text = self.own if own else node
        if field in ("failed_items", "failed"):
            text = f"{text}.errors"
        elif field in ("results", "result", "output", ""):
            text = f"{text}.values" if one.task.options.get("on_error") == "collect" else text
        else:
            text = key_of(text, field)
        for key in path:
            text = key_of(text, key)
        return text if own or self._surely(one) else f"default({text}, null)"

    def _surely(self, one: Instance) -> bool:
        """Tell whether the output of a node is there."""
        if one is self.one:
            return self.ended == "completed"
        if self.one is None:
            return False
        must = self.one.must
        return bool(must.get(("ran", one.place))) and (
            not one.task.may_fail or must.get(("status", one.place)) == "completed"
        )

    def system(self, path: Sequence[str]) -> str:
        if path[0] in _SYSTEM and len(path) == 1:
            return _SYSTEM[path[0]]
        return self.outside("_".join(("system", *path)))

    def outside(self, path: str) -> str:
        return self.world.outside(path)


class Recorder:
    """A place at which names are only noted.

    :ivar variables: those that are read. :ivar tasks: the tasks whose fields are read, with the field.
    """

    def __init__(self) -> None:
        self.variables: dict[str, None] = {}
        self.tasks: list[tuple[str, str]] = []

    def variable(self, name: str) -> str:
        self.variables[name] = None
        return "x"

    def task(self, name: str, field: str, path: Sequence[str]) -> str:
        self.tasks.append((name, field))
        return "x"

    def raw(self, *_: Any, **__: Any) -> str:
        return "x"

    parameter = result = status = item = system = outside = raw


__all__ = ["UNREAD", "Place", "Recorder", "World", "reference"]
