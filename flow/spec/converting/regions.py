"""A set of tasks without cycles, and what stands around it: the workflow, or the loop whose body it is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from flow.errors import UsageError
from flow.spec.converting.emitting import MAX_ROUNDS, Emitter
from flow.spec.converting.loops import Body, without_cycles
from flow.spec.converting.making import Maker
from flow.spec.converting.model import Task, Workflow
from flow.spec.converting.naming import unused
from flow.spec.converting.reading import place_of
from flow.spec.converting.routes import Instance, instances
from flow.spec.converting.sites import Place, Recorder, reference
from flow.spec.converting.templates import Converter
from flow.spec.converting.terms import Unconvertible
from flow.spec.converting.translating import Translator, key_of, templated
from flow.spec.converting.variables import Variables
from flow.spec.text.limits import MAX_NESTED

if TYPE_CHECKING:
    from flow.spec.converting.actions import Actions


class Region:
    """Tasks that are converted together.

    :param tasks: by name. :ivar depth: how many loops it is in.
    """

    depth = 0

    def __init__(
        self, workflow: Workflow, tasks: Mapping[str, Task], converter: Converter, actions: Actions,
        files: dict[str, str], name: str,
    ) -> None:  # fmt: skip
        self.workflow = workflow
        self.converter = converter
        self.actions = actions
        self.files = files
        self.name = name
        self.tasks = without_cycles(tasks, converter.notes, name, workflow.values())
        published = frozenset(one for task in self.tasks.values() for way in task.next for one, _ in way.publish)
        self.published = published
        self.made = instances(self.tasks, published, converter.notes, once=converter.attune)
        self.by_task: dict[str, list[Instance]] = {}
        for one in self.made:
            self.by_task.setdefault(one.task.name, []).append(one)
        self.variables = Variables(self.made)
        self.variables.name(self._readers(), published, self.around(), converter.notes)

    def around(self) -> set[str]:
        """The keys that are published around this region."""
        return set()

    def node_of(self, task: str) -> list[Instance]:
        return self.by_task.get(self.workflow.renamed.get(task, task), [])

    def emit(self) -> dict[str, dict[str, Any]]:
        """Return the nodes."""
        self.emitter = Emitter(self)
        Maker(self.emitter).make_all()
        return self.emitter.nodes

    def is_flag(self, name: str) -> bool:
        """Tell whether a variable is certainly a bool."""
        if name in self.published or name in self.workflow.variables:
            return name not in self.published and isinstance(self.workflow.variables.get(name), bool)
        declared = self.workflow.inputs.get(name, {})
        return declared.get("type") == "boolean" or isinstance(declared.get("default"), bool)

    def callee(self, task: Task) -> str:
        return self.actions.callee(task)

    # -- what stands around

    def initial(self, name: str) -> str:
        """Return the expression of a variable before all nodes."""
        raise NotImplementedError

    def parameter(self, name: str) -> str:
        raise NotImplementedError

    def outside(self, path: str) -> str:
        raise NotImplementedError

    # -- loops

    def loop_node(self, one: Instance, site: Place) -> dict[str, Any]:
        """Return the node of a loop, whose body goes into a file of its own."""
        body = one.task.loop
        inner = BodyRegion(self, body)
        file = f"{self.workflow.name}.{body.head}.yaml"
        nodes = inner.emit()
        self.files[file] = inner.file(nodes)
        state = {name: templated(site.variable(name)) for name in inner.state}
        given: dict[str, Any] = {inner.carried: state}
        for name in inner.parameters:
            given[name] = templated(self.parameter(name))
        return {
            "loop": {"file": file}, "with": given, "carry": {inner.carried: "next"},
            "until": f"not next.{body.flags[body.head]}", "max_iterations": MAX_ROUNDS,
        }  # fmt: skip

    # -- who reads what

    def _readers(self) -> dict[str, list[Instance]]:
        """Return the nodes that read each variable."""
        found: dict[str, list[Instance]] = {}
        for one in self.made:
            for name in recorded(one.task, self.converter.attune).variables:
                found.setdefault(name, []).append(one)
        return found


def recorded(task: Task, attune: bool) -> Recorder:
    """Return what a task, its transitions and all tasks in it read."""
    recorder = Recorder()
    quiet = Converter(_Silent(), attune=attune, checks=False)  # type: ignore[arg-type]
    todo = [task]
    while todo:
        one = todo.pop()
        if isinstance(one.loop, Body):
            todo += one.loop.tasks.values()
            recorder.variables.update(dict.fromkeys(one.loop.variables))
        for value in _values(one):
            quiet.value(value, recorder)
        until = one.options.get("until")
        for way in [*one.next, *([until] if until is not None else [])]:
            for condition in way.conditions:
                try:
                    Translator(recorder, yaql=getattr(condition, "yaql", False), attune=attune).text(condition)
                except Unconvertible:
                    continue
    return recorder


def _values(task: Task) -> Iterator[Any]:
    yield task.given
    yield task.items
    for way in task.next:
        for _, value in way.publish:
            yield value


class _Silent:
    """Notes that nobody reads."""

    def add(self, at: Any, text: str) -> None:
        """Nothing: what is wrong is noted when the expression is converted."""


class Top(Region):
    """The tasks of the workflow itself. :ivar added: inputs that it did not declare."""

    def __init__(
        self,
        workflow: Workflow,
        tasks: Mapping[str, Task],
        converter: Converter,
        actions: Actions,
        files: dict[str, str],
    ) -> None:
        self.added: dict[str, str] = {}
        super().__init__(workflow, tasks, converter, actions, files, workflow.name)

    def initial(self, name: str) -> str:
        if name in self.workflow.variables:
            return key_of("vars", name)
        if name in self.workflow.inputs:
            return key_of("inputs", name)
        if name in self.published:
            return "null"
        return self.outside(name)

    def parameter(self, name: str) -> str:
        if name not in self.workflow.inputs:
            self.added.setdefault(name, name)
        return key_of("inputs", name)

    def outside(self, path: str) -> str:
        name = "".join(letter if letter.isalnum() else "_" for letter in path)
        name = unused(name, {*self.workflow.tasks, "state"}, "_input")
        if name not in self.workflow.inputs:
            self.added.setdefault(name, path)
        return f"inputs.{name}"


class BodyRegion(Region):
    """The tasks of a loop.

    :ivar state: the variables that a round takes from the one before. :ivar carried: the input that has them.
    :raises UsageError: if the loop is in so many others that the file could not be loaded.
    """

    def __init__(self, outer: Region, body: Body) -> None:
        self.outer = outer
        self.body = body
        self.depth = outer.depth + 1
        if self.depth > MAX_NESTED:
            place = place_of(body.tasks[body.head].at)
            raise UsageError(
                f"{outer.name}:{place.line}:{place.column}: more than {MAX_NESTED} cycles are behind each other, and "
                f"files run each other {MAX_NESTED} deep at most: write the part from {body.head!r} on as a workflow"
            )
        self.carried = unused("state", outer.workflow.inputs)
        self.state: dict[str, None] = dict.fromkeys(body.variables)
        self.parameters: dict[str, None] = {}
        super().__init__(outer.workflow, body.tasks, outer.converter, outer.actions, outer.files, outer.name)

    def initial(self, name: str) -> str:
        self.state[name] = None
        return key_of(f"inputs.{self.carried}", name)

    def parameter(self, name: str) -> str:
        self.outer.parameter(name)
        self.parameters[name] = None
        return key_of("inputs", name)

    def around(self) -> set[str]:
        return self.outer.around() | self.outer.variables.keys

    def is_flag(self, name: str) -> bool:
        return name not in self.published and self.outer.is_flag(name)

    def outside(self, path: str) -> str:
        name = self.outer.outside(path).removeprefix("inputs.")
        self.parameters[name] = None
        return f"inputs.{name}"

    def emit(self) -> dict[str, dict[str, Any]]:
        nodes = super().emit()
        emitter = self.emitter
        state: dict[str, Any] = {}
        for flag, said in self.body.flags.items():
            helpers = [
                name for (place, index), name in emitter.helpers.items()
                if next(way for way in self.made[place].task.next if way.index == index).again == flag
            ]  # fmt: skip
            asked = " or ".join(f"succeeded({reference(name)})" for name in helpers)
            state[said] = templated(asked or "false")
        end = Place(self, None)
        for name in list(self.state):
            state[name] = templated(end.variable(name))
        after = {node: "done" for key in emitter.publishers for node, _ in emitter.publishers[key]}
        nodes["next"] = {"set": state, **({"after": after} if after else {}), "join": "done"}
        text = repr(nodes)
        for name in self.converter.todo:
            if f"inputs.{name}" in text:
                self.parameters[name] = None
                self.outer.parameter(name)
        return nodes

    def file(self, nodes: Mapping[str, Any]) -> str:
        """Return the text of the body's file."""
        from flow.spec.dumping.writing import write

        inputs: dict[str, Any] = {
            self.carried: {"type": "object"},
            **{name: {"required": False} for name in self.parameters},
        }
        whole = {"flow": 1, "name": f"{self.workflow.name}.{self.body.head}", "inputs": inputs, "nodes": dict(nodes)}
        return write(whole)


__all__ = ["BodyRegion", "Region", "Top", "recorded"]
