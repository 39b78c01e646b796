"""Which nodes a task becomes: one for each way into it, unless a run can take one of the ways only.

Orquesta runs a task without ``join`` once for each transition into it, and all that follows it as well. So a task that
is reached in several ways becomes several nodes. But ways that exclude each other, such as those behind ``succeeded()``
and ``failed()`` of one task, are ways into one node.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

from flow.errors import UsageError
from flow.spec.converting.graphs import edges_of, ordered
from flow.spec.converting.model import Task, Transition
from flow.spec.converting.naming import unused
from flow.spec.converting.reading import Notes
from flow.spec.converting.terms import Term

MAX_NODES: Final = 2_000


@dataclass(eq=False)
class Instance:
    """A node to be made of a task.

    :ivar inbound: the ways into it. :ivar must: what holds whenever it runs: values by what is asked.
    :ivar certain: it runs in every run that does not fail. :ivar before: the places of all before it, as bits.
    """

    task: Task
    place: int
    route: int = 0
    inbound: list[tuple[Instance, Transition]] = field(default_factory=list)
    must: dict[Any, Any] = field(default_factory=dict)
    certain: bool = True
    before: int = 0
    name: str = ""
    tolerated: bool = False

    @cached_property
    def sources(self) -> dict[int, tuple[Instance, list[Transition]]]:
        """The nodes before it, each with the ways from it."""
        found: dict[int, tuple[Instance, list[Transition]]] = {}
        for source, transition in self.inbound:
            found.setdefault(source.place, (source, []))[1].append(transition)
        return found

    def ended(self, way: Transition) -> str:
        """How the node has ended where a transition from it is taken."""
        return "completed" if way.status == "done" and not self.task.may_fail else way.status

    def is_before(self, other: Instance) -> bool:
        return bool(other.before >> self.place & 1)


def instances(tasks: Mapping[str, Task], published: frozenset[str], notes: Notes, once: bool = False) -> list[Instance]:
    """Return the nodes to be made, in an order in which each comes after those before it.

    :param published: the variables whose values change.
    :param once: a task runs once, at the first way that is taken to it.
    :raises UsageError: if there are too many.
    """
    made = list[Instance]()
    by_task: dict[str, list[Instance]] = {}
    routes = _Routes()
    inbound: dict[str, list[tuple[str, Transition]]] = {name: [] for name in tasks}
    for name, task in tasks.items():
        for transition in task.next:
            for target in dict.fromkeys(transition.do):
                if target in tasks:
                    inbound[target].append((name, transition))
        task.next = [way for way in task.next if way.status != "never"]
    for name in ordered(edges_of(tasks)):
        task = tasks[name]
        ways = [(source, way) for before, way in inbound[name] if way.status != "never" for source in by_task[before]]
        groups: Iterable[list[tuple[Instance, Transition]]]
        if not inbound[name]:
            groups = [[]]
        elif task.join is not None:
            groups = _joined(task, ways, len({before for before, _ in inbound[name]}), notes)
        else:
            groups = [ways] if once and ways else _apart(ways, published)
        by_task[name] = []
        groups = list(groups)
        for group in groups:
            one = Instance(task, len(made), inbound=group)
            _facts(one, published)
            one.route = routes.of(one, len(groups) > 1 and task.join is None and len(inbound[name]) > 1)
            made.append(one)
            by_task[name].append(one)
            if len(made) > MAX_NODES:
                raise UsageError(
                    f"the tasks are reached in so many ways that more than {MAX_NODES:,} nodes would be made: "
                    f"give {name!r} a join, or write the part behind it as a workflow of its own"
                )
    _name(by_task)
    return made


class _Routes:
    """Numbers of the ways, in the order in which they part."""

    def __init__(self) -> None:
        self.count = 0

    def of(self, one: Instance, is_split: bool) -> int:
        if is_split:
            self.count += 1
            return self.count
        return one.inbound[0][0].route if one.inbound else 0


def _joined(
    task: Task, ways: list[tuple[Instance, Transition]], count: int, notes: Notes
) -> list[list[tuple[Instance, Transition]]]:
    """One group for each route: a join joins what is of one route."""
    by_route: dict[int, list[tuple[Instance, Transition]]] = {}
    for source, way in ways:
        by_route.setdefault(source.route, []).append((source, way))
    needed = task.join if isinstance(task.join, int) else count
    found = [group for group in by_route.values() if len({id(source.task) for source, _ in group}) >= needed]
    if needed > count:
        notes.add(
            task.at, f"{task.name!r} joins {needed} tasks, and {count} lead to it: it never runs, and is left out"
        )
        return []
    if len(found) < len(by_route):
        if not found:
            notes.add(task.at, f"{task.name!r} joins tasks that are run once per way: here it joins all of them")
            return [ways]
        notes.add(
            task.at, f"{task.name!r} joins tasks of one way only: on the other ways it never runs, and is left out"
        )
    return found


def _apart(
    ways: list[tuple[Instance, Transition]], published: frozenset[str]
) -> list[list[tuple[Instance, Transition]]]:
    """Put ways together that exclude each other."""
    groups = list[tuple[list[tuple[Instance, Transition]], list[dict[Any, Any]]]]()
    for source, way in ways:
        holds = {**source.must, **literals(source, way, published)}
        for group, held in groups:
            if all(_exclude(holds, other) for other in held):
                group.append((source, way))
                held.append(holds)
                break
        else:
            groups.append(([(source, way)], [holds]))
    return [group for group, _ in groups]


def _exclude(one: Mapping[Any, Any], other: Mapping[Any, Any]) -> bool:
    """Tell whether what must hold on two ways cannot hold in one run."""
    small, large = (one, other) if len(one) <= len(other) else (other, one)
    for key, value in small.items():
        other_value = large.get(key, value)
        if other_value != value and (key[0] != "value" or not _both_may(value, other_value)):
            return True
    return False


def _both_may(one: tuple[str, Any], other: tuple[str, Any]) -> bool:
    """Tell whether two comparisons of one thing with constants may both hold: ``x > 0`` and ``x == 0`` may not."""
    for (sign, value), (second, limit) in ((one, other), (other, one)):
        if sign == "==":
            return _holds(value, second, limit)
    if not all(isinstance(value, (int, float)) for _, value in (one, other)):
        return True
    low = [(value, sign) for sign, value in (one, other) if sign in (">", ">=")]
    high = [(value, sign) for sign, value in (one, other) if sign in ("<", "<=")]
    if not low or not high:
        return True
    return low[0][0] < high[0][0] or (low[0][0] == high[0][0] and low[0][1] == ">=" and high[0][1] == "<=")


def _holds(value: Any, sign: str, limit: Any) -> bool:
    if sign in ("==", "!="):
        return (value == limit) is (sign == "==")
    if not all(isinstance(each, (int, float)) for each in (value, limit)):
        return True
    return bool({"<": value < limit, "<=": value <= limit, ">": value > limit, ">=": value >= limit}[sign])


def literals(source: Instance, way: Transition, published: frozenset[str]) -> dict[Any, Any]:
    """What holds when a transition is taken."""
    found: dict[Any, Any] = {("ran", source.place): True, ("way", source.place, way.index): True}
    if way.status != "done" and source.task.may_fail:
        found["status", source.place] = way.status
    if way.status == "completed" or not source.task.may_fail:
        found |= {("way", source.place, one.index): True for one in source.task.next if one.shared}
    if way.choice is not None:
        found["choice", source.place] = way.choice
    for condition in way.conditions:
        term, holds = _positive(condition)
        owner = source.place if _changes(term, published) else None
        if term.kind == "op" and term.value in _OPPOSITE and term.parts[1].kind in ("const", "name"):
            key = ("value", owner, term.parts[0])
            sign = term.value if holds else _OPPOSITE[term.value]
            found.setdefault(key, (sign, term.parts[1].value))
        else:
            found["is", owner, _plain(term)] = holds
    return found


def _plain(term: Term) -> Term:
    return Term(term.kind, term.value, term.parts, term.named, term.on)


_OPPOSITE: Final = {"==": "!=", "!=": "==", "<": ">=", ">=": "<", ">": "<=", "<=": ">"}


def _positive(term: Term) -> tuple[Term, bool]:
    holds = True
    while term.kind == "not":
        term, holds = term.parts[0], not holds
    if term.kind == "op" and term.value == "not in":
        term, holds = Term("op", "in", term.parts), not holds
    return term, holds


def _changes(term: Term, published: frozenset[str]) -> bool:
    """Tell whether a condition may have another value when it is asked at another task."""
    todo = [term]
    while todo:
        one = todo.pop()
        if one.kind == "raw" or (
            one.kind == "call" and not one.on and one.value in ("result", "succeeded", "failed", "now")
        ):
            return True
        if one.kind == "name" and one.value in ("result", "system"):
            return True
        if one.kind in ("attr", "const", "name") and one.value in published:
            return True
        if one.kind == "attr" and one.value in ("result", "output", "results", "error"):
            return False  # of another task, which has ended
        todo += [*one.parts, *(named for _, named in one.named)]
    return False


def _facts(one: Instance, published: frozenset[str]) -> None:
    """Set what is known of a node from those before it."""
    must: dict[Any, Any] | None = None
    certain = True
    sources = one.sources
    for source, ways in sources.values():
        one.before |= source.before | (1 << source.place)
        fires = source.certain and any(_always(source, way) for way in ways)
        certain = certain and fires
        found = _common([{**source.must, **literals(source, way, published)} for way in ways])
        if must is None:
            must = found
        else:
            must = {**must, **found} if one.task.join == "all" else _common([must, found])
    one.must = must or {}
    one.certain = certain and (len(sources) < 2 or one.task.join is not None)


def _common(several: list[dict[Any, Any]]) -> dict[Any, Any]:
    """Return what is the same in all of several mappings."""
    made, *others = several
    for one in others:
        made = {key: value for key, value in made.items() if key in one and one[key] == value}
    return made


def _always(source: Instance, way: Transition) -> bool:
    """Tell whether a transition is taken whenever its task ends and the run goes on."""
    if way.conditions:
        return False
    return way.status == "done" or not source.task.may_fail or (way.status == "completed" and not goes_on(source.task))


def goes_on(task: Task) -> bool:
    """Tell whether the workflow may go on after the task has failed."""
    return any(one.status in ("failed", "done") and one.leads_on for one in task.next)


def _name(by_task: Mapping[str, list[Instance]]) -> None:
    taken = set(by_task)
    for name, made in by_task.items():
        for one in made:
            one.name = name if len(made) == 1 else unused(f"{name}__r{one.route}", taken, "x")
            taken.add(one.name)


__all__ = ["MAX_NODES", "Instance", "goes_on", "instances", "literals"]
