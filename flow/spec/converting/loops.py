"""Cycles of tasks as loops: what goes back to a task becomes the next round of a loop that holds it."""

from __future__ import annotations

from collections.abc import Collection, Container, Mapping
from dataclasses import dataclass, replace

from flow.errors import UsageError
from flow.spec.converting.graphs import cycles, edges_of, entries_of, reached
from flow.spec.converting.model import COMMANDS, Task, Transition
from flow.spec.converting.naming import unused
from flow.spec.converting.reading import Notes, place_of, text_at
from flow.spec.converting.terms import Term

ENDLESS = 100
"""How often a task is tried that Orquesta tries again for ever."""


@dataclass
class Body:
    """The tasks of a loop.

    :ivar flags: by task that a way out leads to, what says in the state that it was taken: the head for a further round
        comes first.
    """

    head: str
    tasks: dict[str, Task]
    flags: dict[str, str]
    variables: list[str]


def without_cycles(tasks: Mapping[str, Task], notes: Notes, name: str, taken: Collection[str]) -> dict[str, Task]:
    """Return the tasks with loops in place of those on cycles. O(n + e) for each loop.

    :param taken: names of variables, which stand in the state of a loop as well.
    :raises UsageError: if a cycle is entered at several tasks, or no task can begin.
    """
    for group in cycles(edges_of(tasks)):
        if len(group) == 1:
            _as_retry(tasks[next(iter(group))], notes)
    made = _that_run(tasks, notes, name)
    while found := cycles(edges_of(made)):
        first = next(one for one in made if any(one in group for group in found))
        _collapse(made, next(group for group in found if first in group), notes, name, taken)
    return made


def _that_run(tasks: Mapping[str, Task], notes: Notes, name: str) -> dict[str, Task]:
    """Return the tasks without those behind a cycle that nothing leads to."""
    run = reached(edges_of(tasks), entries_of(tasks))
    if not run:
        raise UsageError(f"{name}: no task begins, as each follows another one: add a task before them")
    for task in tasks.values():
        if task.name not in run:
            notes.add(
                task.at,
                f"{task.name!r} is on, or behind, a cycle that nothing leads to: it never runs, and is left out",
            )
    return {one: task for one, task in tasks.items() if one in run}


def _as_retry(task: Task, notes: Notes) -> None:
    """Let a task that follows itself alone be tried again: after a failure, or until a condition holds."""
    back = [way for way in task.next if task.name in way.do]
    simple = all(not way.publish and way.do == [task.name] for way in back)
    if simple and all(way.status == "failed" for way in back) and task.kind in ("call", "map"):
        task.next = [way for way in task.next if way not in back]
        task.options["retry"] = {"attempts": ENDLESS, "delay": 0}
        notes.add(
            back[0].at, f"{task.name!r} is tried again after each failure without an end: here {ENDLESS} times in all"
        )
        if any(way.conditions for way in back):
            notes.add(
                back[0].at,
                "a retry follows any failure here: let only such errors be raised, or name them in 'retry_if'",
            )
        return
    alone = len(back) == 1 and task.kind == "call" and not any(way.shared for way in task.next)
    if simple and alone and back[0].conditions and back[0].status == "completed" and _reads_result_only(back[0]):
        task.next = [way for way in task.next if way not in back]
        task.options["until"] = back[0]


def _reads_result_only(way: Transition) -> bool:
    """Tell whether the conditions of a transition read nothing but what its task has given."""
    todo: list[Term] = list(way.conditions)
    while todo:
        one = todo.pop()
        if one.kind == "call" and not one.on and one.value not in ("result", "len", "int", "str", "bool", "float"):
            return False
        if one.kind == "name" and not getattr(way.conditions[0], "yaql", True):
            return False  # of Jinja: what it names may be anything
        todo += [*one.parts, *(term for _, term in one.named)]
    return True


def _collapse(made: dict[str, Task], group: set[str], notes: Notes, name: str, taken: Collection[str]) -> None:
    edges = edges_of(made)
    led_to = {target for other, targets in edges.items() if other not in group for target in targets}
    heads = [one for one in made if one in group and one in led_to]
    if len(heads) > 1:
        place = place_of(made[heads[1]].at)
        raise UsageError(
            f"{name}:{place.line}:{place.column}: the cycle of {', '.join(sorted(group))} is entered at "
            f"{' and at '.join(heads)}: a loop has one entry. Let one task come before both, "
            f"or write the part as a workflow of its own"
        )
    head = heads[0]
    inside = set(made) - reached(edges, entries_of(made), without=head)
    _replace(made, head, {one: made[one] for one in made if one in inside}, notes, taken)


def _replace(made: dict[str, Task], head: str, inside: dict[str, Task], notes: Notes, taken: Collection[str]) -> None:
    """Put one task in the place of all those of a loop."""
    flags = {head: _flag(head, taken)}
    loop_name = unused(f"{head}.loop", made)
    join = inside[head].join
    inside[head].join = None
    outer = {way.again for task in inside.values() for way in task.next if way.again}  # of the loop around this one
    for task in inside.values():
        _flagged(task, head, inside, flags, taken)
    published = list(dict.fromkeys(name for task in inside.values() for way in task.next for name, _ in way.publish))
    at = inside[head].at
    loop = Task(loop_name, at, kind="loop", join=join, loop=Body(head, inside, flags, published))
    if published:
        values = [(one, text_at("{{ result.next." + one + " }}", at)) for one in published]
        loop.next.append(Transition(0, ["continue"], values, at, "completed", shared=True))
    for flag, said in list(flags.items())[1:]:
        test = Term("raw", "{node}.next." + said)
        outside = flag in outer
        way = Transition(len(loop.next), ["continue"] if outside else [flag], [], at, "completed", [test])
        way.again = flag if outside else ""
        loop.next.append(way)
    notes.add(
        at,
        f"the cycle through {head!r} is a loop: its tasks are in a file of their own, which runs at most 1,000 rounds",
    )
    tasks = dict[str, Task]()
    for name, task in made.items():
        if name == head:
            tasks[loop_name] = loop
        if name not in inside:
            for way in task.next:
                way.do = [loop_name if target == head else target for target in way.do]
            tasks[name] = task
    made.clear()
    made.update(tasks)


def _flagged(task: Task, head: str, inside: Container[str], flags: dict[str, str], taken: Collection[str]) -> None:
    """Turn the transitions of a task that leave the body, or go back to its head, into flags."""
    ways = list[Transition]()
    for way in task.next:
        leaving = [target for target in way.do if target == head or (target not in inside and target not in COMMANDS)]
        for target in [way.again] if way.again else leaving:
            if target not in flags:
                flags[target] = _flag(target, {*flags.values(), *taken})
        if way.again:
            ways.append(way)
            continue
        staying = [target for target in way.do if target not in leaving]
        if len(leaving) == 1 and not staying:
            ways.append(replace(way, do=["continue"], again=leaving[0]))
            continue
        if staying or way.publish or not leaving:
            ways.append(replace(way, do=staying or ["continue"]))
        ways += [replace(way, do=["continue"], publish=[], again=target) for target in leaving]
    for index, way in enumerate(ways):
        way.index = index
    task.next = ways


def _flag(target: str, taken: Container[str]) -> str:
    """Return what says in the state of a loop that a way was taken."""
    return unused("to_" + "".join(letter if letter.isalnum() else "_" for letter in target), taken)


__all__ = ["Body", "without_cycles"]
