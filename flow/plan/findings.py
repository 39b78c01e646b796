"""Warnings about a plan that compiles and is most likely wrong: similar names, contradicting types.

``flow check``, ``flow show`` and ``Plan.warnings`` ask for them. No run pays for them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

import msgspec

from flow.errors import DefinitionWarning, shown
from flow.plan.annotated import Annotations
from flow.plan.assignable import UNKNOWN, item_of, list_of
from flow.plan.declared import Declared, type_text
from flow.plan.near import Known
from flow.plan.nodes import Nodes, fallback_of
from flow.policy.expressed import Expressed
from flow.policy.looping import Looped
from flow.policy.mapping import Folded, Mapped, Over
from flow.signature import Nested, location_of, qualname_of
from flow.tracebacks import warn_user


class Finding(msgspec.Struct, frozen=True):
    """One thing in a plan that is most likely wrong.

    :ivar kind: "name" (a parameter has a name similar to another), "type" (annotations contradict) or "route" (several
        routers lead to one node, and all must choose it; or a node asks whether one has failed, and is skipped then).
    :ivar text: the warning in one sentence, with the places in the code.
    :ivar node: the node that takes ``parameter``, or that the routers lead to (``parameter`` is empty then).
    :ivar source: the node or input with the similar name, or whose value does not fit.
    """

    kind: Literal["name", "type", "route"]
    text: str
    node: str
    parameter: str
    source: str

    def __str__(self) -> str:
        return self.text


def findings(
    nodes: Nodes,
    start: int = 0,
    *,
    names: bool = True,
    types: bool = True,
    routes: bool = True,
    conditions: bool = False,
) -> tuple[Finding, ...]:
    """Return the findings about the nodes from ``start`` on and within Dags that are nodes, outermost first.

    O(nodes + arguments), and for each parameter that no node fills the names that begin with the same letter.

    :param conditions: also conditions that are never asked after the failure which they ask about.
    """
    found: list[Finding] = []
    todo: list[tuple[Nodes, int, str]] = [(nodes, start, "")]
    seen: set[int] = set()
    for at, first, within in todo:  # grows on the way
        several = [*(_of_names(at, first) if names else ()), *(_of_types(at, first) if types else ())]
        several += [*(_of_routes(at, first) if routes else ()), *(_of_conditions(at, first) if conditions else ())]
        found += [msgspec.structs.replace(each, text=f"{within}{each.text}") for each in several]
        for i in range(first, at.count):
            fn: Any = at.fns[i]
            inner = fn.fn if isinstance(fn, (Over, Looped)) else fn
            if isinstance(inner, Nested) and id(inner.plan) not in seen:
                seen.add(id(inner.plan))
                todo.append((inner.plan._nodes, 0, f"in dag {inner.plan.name!r}: "))
    return tuple(found)


def warn_of(found: Iterable[Finding]) -> None:
    """Issue a warning for each finding, at the line of the user's code that called us."""
    for each in found:
        warn_user(each.text, DefinitionWarning)


# -- names -----------------------------------------------------------------------------------


def _of_names(nodes: Nodes, start: int) -> Iterator[Finding]:
    declared: Declared | None = nodes.declared
    closed = declared is not None and not declared.infers
    meant = frozenset(() if declared is None else declared.names)
    unfilled: dict[str, list[int]] = {}  # by parameter that no node and no declared input fills: the nodes that take it
    for i in range(start, nodes.count):
        if not nodes.arguments[i] or min(nodes.arguments[i]) >= 0:
            continue
        for slot, parameter in zip(nodes.arguments[i], nodes.parameters(i), strict=False):
            name = parameter.removeprefix("inputs.")  # (of an expression)
            if slot < 0 and name not in meant:
                unfilled.setdefault(name, []).append(i)
    if not unfilled:
        return
    known = Known([*nodes.names, *meant, *(() if closed else unfilled)])
    told: set[tuple[str, str]] = set()
    for name, takers in unfilled.items():
        for other in known.near(name):
            pair = (min(name, other), max(name, other))
            alone = [i for i in takers if other not in nodes.parameters(i)]  # one that takes both means both
            if alone and pair not in told:
                told.add(pair)
                yield _near(nodes, alone[0], name, other)


def _near(nodes: Nodes, i: int, name: str, other: str) -> Finding:
    at = nodes.index.get(other, -1)
    what = "the run input " if nodes.declared is None or other not in nodes.declared.names else "the declared input "
    meant = _where(nodes, at) if at >= 0 else f"{what}{shown(other)}"
    text = f"{_where(nodes, i)} has a parameter {shown(name)}, which no node fills: is {meant} meant?"
    return Finding("name", text, nodes.names[i], name, other)


# -- routes ----------------------------------------------------------------------------------


def _of_routes(nodes: Nodes, start: int) -> Iterator[Finding]:
    """Find nodes that several routers lead to under ``join="all"``."""
    routes = nodes.routes
    routers: dict[int, list[int]] = {}
    for i, choice in {} if routes is None else routes.routers.items():
        for target in choice.targets:
            routers.setdefault(target, []).append(i)
    for i, found in routers.items():
        if len(found) > 1 and routes is not None and i not in routes.joins and max(i, *found) >= start:
            names = [nodes.names[router] for router in found]
            text = (
                f"{_where(nodes, i)} runs only if all of its {len(names)} routers choose it "
                f"({', '.join(map(shown, names[:3]))}{', ...' if len(names) > 3 else ''}): is join='some' meant?"
            )
            yield Finding("route", text, nodes.names[i], "", names[0])


def _of_conditions(nodes: Nodes, start: int) -> Iterator[Finding]:
    """Find conditions that ask whether a node has failed, of nodes that are skipped then: what is between them is."""
    routes = nodes.routes
    for i, when in {} if routes is None else routes.whens.items():
        if i < start or routes is None or not isinstance(when.fn, Expressed) or not _is_skipped(nodes, i):
            continue
        asked = [use for use in when.fn.made.uses if use.by in ("failed", "timed_out")]
        found = {nodes.index.get(use.node, -1) for use in asked}
        found -= {-1, *nodes.may_fail}
        for at in nodes.dependencies[i] if found else ():
            if at in found or routes.condition(at, i) != "completed" or not _is_skipped(nodes, at):
                continue
            for x in found.intersection(nodes.dependencies[at]):
                if routes.condition(x, at) == "completed":
                    failed, before = shown(nodes.names[x]), shown(nodes.names[at])
                    text = (
                        f"{_where(nodes, i)} asks whether {failed} has failed, and is skipped then, since {before} "
                        "before it is: is join='done' meant?"
                    )
                    yield Finding("route", text, nodes.names[i], "", nodes.names[at])


def _is_skipped(nodes: Nodes, i: int) -> bool:
    """Tell whether a failure before a node skips it."""
    routes = nodes.routes
    return routes is None or (routes.joins.get(i, "all") in ("all", "some", "none_failed") and i not in routes.cleanup)


# -- types -----------------------------------------------------------------------------------


def _of_types(nodes: Nodes, start: int) -> Iterator[Finding]:
    hints = Annotations()
    inputs = _declared_types(nodes)
    outputs: dict[int, Any] = {}
    for i in nodes.order:
        slots = nodes.arguments[i]
        fn = nodes.fns[i]
        sources = [outputs.get(slot, UNKNOWN) if slot >= 0 else inputs.get(slot, UNKNOWN) for slot in slots]
        outputs[i] = _output(nodes, i, hints, sources)
        if i < start or not slots:
            continue
        names = nodes.parameters(i)
        if isinstance(fn, Over):
            yield from _of_items(nodes, i, fn, sources, hints)
            names, slots, sources = names[len(fn.sources) :], slots[len(fn.sources) :], sources[len(fn.sources) :]
            fn = fn.fn
        fn = fn.fn if isinstance(fn, Looped) else fn
        asked = _declared_by_name(fn.plan._nodes) if isinstance(fn, Nested) else hints.of(fn)
        for name, slot, given in zip(names, slots, sources, strict=False):
            if name in asked and hints.contradict(given, asked[name]):
                takes = f"takes {name!r} as {type_text(asked[name])}"
                yield _contradiction(nodes, i, name, slot, takes, f"gives {type_text(given)}")


def _output(nodes: Nodes, i: int, hints: Annotations, sources: Sequence[Any]) -> Any:
    """Return the type of node ``i``'s output; unknown behind middleware, which may change the output."""
    binder = nodes.binders.get(i)
    if binder is not None and binder.middleware:
        return UNKNOWN
    return hints.output(nodes.fns[i], sources[0] if sources else UNKNOWN, fallback_of(nodes, i))


def _of_items(nodes: Nodes, i: int, over: Over, sources: Sequence[Any], hints: Annotations) -> Iterator[Finding]:
    """Compare the items of a map or fold with the parameter that receives them."""
    if isinstance(over.fn, Nested):
        return
    asked = hints.of(over.fn)
    names: Sequence[str] = ()
    if isinstance(over, Folded):
        names = _positional(over.fn)[1:2]
    elif isinstance(over, Mapped) and not (len(over.sources) > 1 and over.roles.whole):
        names = over.roles.items
    batched = isinstance(over, Mapped) and over.options.batch_size is not None
    for name, slot, source in zip(names, nodes.arguments[i], sources, strict=False):
        item = item_of(source, values=True)
        wanted = asked.get(name, UNKNOWN)
        if hints.contradict(list_of(item) if batched else item, wanted):
            each = "each batch" if batched else "each item"
            takes = f"takes {each} as {type_text(wanted)} ({name!r})"
            yield _contradiction(nodes, i, name, slot, takes, f"gives items of {type_text(item)}")


def _positional(fn: Any) -> Sequence[str]:
    from flow.signature import shape_of

    return [p.name for p in shape_of(fn).positional]


def _contradiction(nodes: Nodes, i: int, name: str, slot: int, takes: str, gives: str) -> Finding:
    if slot >= 0:
        source, giver = nodes.names[slot], _where(nodes, slot)
    else:
        source = next(known for known, slots in nodes.inputs.items() if slot in slots)
        cls = None if nodes.declared is None else nodes.declared.source
        giver = f"the declared input {source!r}" + (f" ({qualname_of(cls)})" if cls is not None else "")
        gives = gives.replace("gives items of", "has items of").replace("gives", "is")
    return Finding("type", f"{_where(nodes, i)} {takes}, but {giver} {gives}", nodes.names[i], name, source)


def _declared_types(nodes: Nodes) -> Mapping[int, Any]:
    """Return the types of declared inputs, by slot."""
    by_name = _declared_by_name(nodes)
    return {slot: kind for name, kind in by_name.items() for slot in nodes.inputs.get(name, ())}


def _declared_by_name(nodes: Nodes) -> Mapping[str, Any]:
    return {} if nodes.declared is None else nodes.declared.types


def _where(nodes: Nodes, i: int) -> str:
    return f"node {nodes.names[i]!r} ({location_of(nodes.fns[i])})"


__all__ = ["Finding", "findings", "warn_of"]
