"""What workflows of other engines have in common: tasks, transitions, and notes on what was made of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from flow.spec.converting.terms import Term

COMMANDS = frozenset(("continue", "noop", "fail", "retry"))
"""What a transition may do instead of running a task."""


class Note(NamedTuple):
    """What is to be known of one place of a converted file.

    :ivar line: of the file that was converted, from 1. :ivar column: the same, from 1.
    :ivar text: what was left out, or is only nearly the same, and what to do.
    """

    line: int
    column: int
    text: str

    def __str__(self) -> str:
        return f"{self.line}:{self.column}: {self.text}"


@dataclass(frozen=True)
class Conversion:
    """A workflow of another engine as a workflow file.

    :ivar text: the file.
    :ivar notes: what could not be converted or is only nearly the same, in the order of the source.
    :ivar files: other files that ``text`` names, by name: the bodies of its loops.
    :ivar module: a Python module with a function for each action that the files call.
    :ivar module_name: what the files call that module.
    """

    text: str
    notes: Sequence[Note]
    files: Mapping[str, str]
    module: str
    module_name: str


@dataclass
class Transition:
    """What happens after a task.

    :ivar status: how the task must end: "completed", "failed" or "done". :ivar conditions: what must hold besides.
    :ivar shared: what it publishes is there on all ways from its task, and for their conditions.
    :ivar choice: of an ordered choice: transitions of one task with different choices exclude each other.
    """

    index: int
    do: list[str]
    publish: list[tuple[str, Any]]
    at: Any
    status: str = "done"
    conditions: list[Term] = field(default_factory=list)
    choice: int | None = None
    shared: bool = False
    again: str = ""  # the head of the loop that it goes back to, or the task outside of a loop that it leads to

    @property
    def leads_on(self) -> bool:
        """It leads to a task, be it in the next round of a loop."""
        return bool(set(self.do) - {"continue", "fail"} or self.again)


@dataclass
class Task:
    """A task of the source.

    :ivar kind: "call", "map", "set", "signal" or "loop". :ivar options: what stands in the node as it is.
    :ivar join: None, "all", or how many tasks. :ivar loop: of a loop, its body.
    """

    name: str
    at: Any
    kind: str = "set"
    action: str = ""
    given: Any = None
    items: Any = None
    item_names: list[str] = field(default_factory=list)
    options: dict[str, Any] = field(default_factory=dict)
    join: Any = None
    delay: Any = None
    next: list[Transition] = field(default_factory=list)
    loop: Any = None

    @property
    def may_fail(self) -> bool:
        return self.kind != "set"


@dataclass
class Workflow:
    """A workflow of the source.

    :ivar inputs: by name, as our files write them. :ivar variables: by name, with their first values.
    :ivar renamed: the names that tasks have here, by those that they had.
    """

    name: str
    description: str
    inputs: dict[str, dict[str, Any]]
    variables: dict[str, Any]
    tasks: dict[str, Task]
    outputs: dict[str, Any]
    renamed: dict[str, str] = field(default_factory=dict)

    def values(self) -> set[str]:
        """Return the names of all inputs and variables, published ones included."""
        published = {name for task in self.tasks.values() for way in task.next for name, _ in way.publish}
        return {*self.inputs, *self.variables, *published}


__all__ = ["COMMANDS", "Conversion", "Note", "Task", "Transition", "Workflow"]
