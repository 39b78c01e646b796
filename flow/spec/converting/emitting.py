"""From tasks and transitions to the nodes of a workflow file.

An edge of ours has a condition about its node's status, and a node one condition of its own (``when``). So a transition
becomes an edge wherever it can; where a condition belongs to one of several ways into a node, or something is published
on the way, a node of its own stands for the transition: ``a.to.b``, with ``set: {}``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from flow.expr import compile as compile_expression
from flow.expr import structure
from flow.policy.scope import ALL
from flow.spec.converting.model import Transition
from flow.spec.converting.routes import Instance, goes_on
from flow.spec.converting.sites import Place, reference
from flow.spec.converting.terms import Term
from flow.spec.converting.variables import Definition, surely

if TYPE_CHECKING:
    from flow.spec.converting.sites import World

MAX_ROUNDS: Final = 1_000

Edges = dict[str, str]


class Emitter:
    """Makes the nodes of one region.

    :ivar nodes: what has been made, in order.
    """

    def __init__(self, region: World) -> None:
        self.region = region
        self.converter = region.converter
        self.notes = region.converter.notes
        self.nodes: dict[str, dict[str, Any]] = {}
        self.helpers: dict[tuple[int, int], str] = {}  # of transitions that have a node of their own
        self.taken = {one.name for one in region.made}
        self._targets: dict[tuple[int, int], list[Instance]] = {}
        self.publishers: dict[str, list[tuple[str, Definition]]] = {}
        for one in region.made:
            for source, way in one.inbound:
                self._targets.setdefault((source.place, way.index), []).append(one)
        self._plan()

    # -- which transitions have nodes of their own

    def _plan(self) -> None:
        for one in self.region.made:
            one.tolerated = self._tolerates(one)
            own = set[str]()
            for way in one.task.next:
                published = self.region.variables.at(one, way)
                direct = way.status == "completed" and not way.conditions and one.task.kind != "signal"
                if direct and not own & set(published):
                    own |= set(published)
                    for definition in published.values():
                        self._publishes(definition, one.name)
                    if not way.again and not self._needs_helper(one, way):
                        continue
                elif not published and not way.again and not self._needs_helper(one, way):
                    continue
                name = self.fresh(self._helper_name(one, way))
                self.helpers[one.place, way.index] = name
                for definition in published.values():
                    if not definition.node:
                        self._publishes(definition, name)

    def _publishes(self, definition: Definition, node: str) -> None:
        definition.node = node
        self.publishers.setdefault(definition.key, []).append((node, definition))

    def _tolerates(self, one: Instance) -> bool:
        """Tell whether all that follows a task follows it however it ends."""
        ways = [way for way in one.task.next if set(way.do) - {"continue"} or way.again]
        return (
            one.task.kind in ("call", "map", "loop", "signal")
            and any(way.status == "done" and not way.conditions for way in ways)
            and all(way.status == "done" for way in one.task.next)
        )

    def targets(self, one: Instance, way: Transition) -> list[Instance]:
        return self._targets.get((one.place, way.index), [])

    def _needs_helper(self, one: Instance, way: Transition) -> bool:
        unsure = bool(way.conditions) or (way.status == "done" and not one.tolerated and not one.certain)
        for other in self.targets(one, way):
            sources = other.sources
            siblings = sources[one.place][1]
            if len(sources) > 1 and unsure and len(siblings) == 1:
                return True
            if len(siblings) > 1 and any(each.conditions for each in siblings):
                return True
            if way.status == "failed" and (len(sources) > 1 or goes_on(other.task)):
                return True
        return False

    def _helper_name(self, one: Instance, way: Transition) -> str:
        targets = [other.name for other in self.targets(one, way)]
        if way.again:
            return f"{one.name}.to.{way.again}"
        if len(targets) == 1:
            return f"{one.name}.to.{targets[0]}"
        return f"{one.name}.next{way.index}" if targets else f"{one.name}.then{way.index}"

    def fresh(self, name: str) -> str:
        count, made = 2, name
        while made in self.taken:
            made, count = f"{name}.{count}", count + 1
        self.taken.add(made)
        return made

    # -- texts

    def conditions(self, one: Instance, way: Transition) -> list[str]:
        """Return the expressions that must hold for a transition besides the status."""
        found = list[str]()
        for condition in way.conditions:
            site = Place(self.region, one, ended=one.ended(way))
            site.sees_own = site.ended == "completed"
            text = self.converter.condition(condition, site, way.at)
            found.append(text if gives_bool(condition, self.region) else f"not not {tight(text)}")
        return found

    # -- edges

    def edge(self, one: Instance, ways: Sequence[Transition], alone: bool) -> tuple[Edges, list[str]]:
        """Return the edges of some transitions from one node to another, and what must hold besides.

        :param alone: nothing else leads to the other node.
        """
        helpers = [self.helpers.get((one.place, way.index)) for way in ways]
        if all(helpers):
            return dict.fromkeys([str(name) for name in helpers], "completed"), []
        status = self._status(one, ways)
        when = self.conditions(one, ways[0]) if len(ways) == 1 else []
        if status == "done" and not one.certain and alone:
            node = reference(one.name)
            when.insert(0, f"succeeded({node}) or failed({node})")
        return {one.name: status}, when

    def _status(self, one: Instance, ways: Sequence[Transition]) -> str:
        """Return how a node must end for one of some transitions without conditions to be taken."""
        statuses = {way.status for way in ways}
        status = next(iter(statuses)) if len(statuses) == 1 else "done"
        return "completed" if status == "done" and (one.tolerated or not one.task.may_fail) else status

    def edges(self, one: Instance) -> tuple[Edges, list[str], Any]:
        """Return the edges into a node, what must hold besides, and its join."""
        sources = one.sources
        edges: Edges = {}
        when = list[str]()
        several = False
        for source, ways in sources.values():
            found, texts = self.edge(source, ways, len(sources) == 1)
            unsure = "done" in found.values() and not source.certain
            if len(sources) > 1 and len(ways) > 1 and (unsure or (len(found) > 1 and one.task.join is not None)):
                found = self._either(source, ways, one)
            several = several or len(found) > 1
            edges.update(found)
            when += texts
        join: Any = None
        if isinstance(one.task.join, int) and len(sources) > 1:
            join = one.task.join
        elif (one.task.join is None and len(edges) > 1) or (several and len(edges) > 1):
            join = 1
        return edges, when, join

    def _either(self, source: Instance, ways: Sequence[Transition], one: Instance) -> Edges:
        """A node that stands for several transitions from one task into a join."""
        name = self.fresh(f"{source.name}.into.{one.name}")
        node = reference(source.name)
        if not any(way.conditions for way in ways):
            status = self._status(source, ways)
            if status != "done":
                return {source.name: status}
            after, texts = {source.name: "done"}, [f"succeeded({node})", f"failed({node})"]
        else:
            helpers = [self.helpers[source.place, way.index] for way in ways]
            after, texts = dict.fromkeys(helpers, "done"), [f"succeeded({reference(helper)})" for helper in helpers]
        self.put(name, {"set": {}, **self.after(after), "when": " or ".join(texts)})
        return {name: "completed"}

    @staticmethod
    def after(edges: Mapping[str, str]) -> dict[str, Any]:
        """Return ``after`` as a person would write it."""
        if not edges:
            return {}
        if all(status == "completed" for status in edges.values()):
            names = list(edges)
            return {"after": names[0] if len(names) == 1 else names}
        return {"after": dict(edges)}

    # -- nodes

    def put(self, name: str, node: dict[str, Any], must: Mapping[Any, Any] | None = None) -> None:
        """Add a node; the edges that what it reads asks for are added to it. :param must: what holds when it runs."""
        self.nodes[name] = self._reading(name, node, must or {})

    def _reading(self, name: str, node: dict[str, Any], must: Mapping[Any, Any]) -> dict[str, Any]:
        """Let a node that reads what may not have been published run all the same."""
        keys, guarded = what_is_read(node)
        after = node.get("after")
        names = [after] if isinstance(after, str) else after or ()
        edges: Edges = dict(after) if isinstance(after, dict) else dict.fromkeys(names, "completed")
        if not edges and "join" not in node:
            return node
        more: Edges = {}
        for key in keys:
            for publisher, definition in self.publishers.get(key, ()):
                known = publisher == name or publisher in edges
                if not known and not surely(definition, must):
                    more[publisher] = "done"
        if more:
            node = {**node, **self.after({**edges, **more})}
        if (more or guarded) and "join" not in node:
            node = {**node, "join": "all"}
        return node


def grouped(text: str) -> str:
    """Return an expression that may stand next to ``and``."""
    return f"({text})" if " or " in text or " if " in text else text


def all_of(texts: Sequence[str]) -> str:
    """Return the expression of what must hold together."""
    return " and ".join(map(grouped, texts)) if len(texts) > 1 else texts[0]


_TESTS: Final = frozenset(("==", "!=", "<", "<=", ">", ">=", "in", "not in"))
_ASKING: Final = frozenset(
    ("succeeded", "failed", "completed", "timed_out", "startsWith", "startswith", "endsWith", "endswith", "contains",
     "containsKey", "isEmpty", "matches", "regex_match", "any", "all", "bool")
)  # fmt: skip


def gives_bool(term: Term, region: World) -> bool:
    """Tell whether a condition is certainly true or false, as conditions are here, and not only taken for it."""
    if term.kind in ("not", "raw") or (term.kind == "const" and isinstance(term.value, bool)):
        return True
    if term.kind == "op":
        return term.value in _TESTS or (
            term.value in ("and", "or") and all(gives_bool(one, region) for one in term.parts)
        )
    if term.kind == "call":
        if term.value == "ctx" and len(term.parts) == 1:
            return region.is_flag(str(term.parts[0].value))
        return term.value in _ASKING or str(term.value).startswith("is ")
    if term.kind == "attr":
        base = term.parts[0]
        if base.kind == "name":
            return base.value in ("parameters", "workflow", "vars") and region.is_flag(term.value)
        return base == Term("call", "ctx") and region.is_flag(term.value)
    return False


def tight(text: str) -> str:
    """Return an expression that may stand behind ``not``."""
    return text if re.fullmatch(r"[\w.()\[\]'\",]*", text) else f"({text})"


def what_is_read(node: Mapping[str, Any]) -> tuple[list[str], bool]:
    """Return the published keys that a node reads, and whether it reads something in ``default(...)``."""
    made = [structure(node[part], functions=ALL) for part in ("with", "over", "set", "publish") if node.get(part)]
    uses = [use for one in made for use in one.uses]
    if "when" in node:
        uses += compile_expression(node["when"], functions=ALL).uses
    keys = dict.fromkeys(str(use.key) for use in uses if use.name == "data")
    roots = ("inputs", "vars", "system", "item", "index", "key", "result")
    return list(keys), any(use.guarded and not use.by and use.name not in roots for use in uses)


__all__ = ["MAX_ROUNDS", "Emitter", "all_of", "grouped", "what_is_read"]
