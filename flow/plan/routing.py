"""Compile what decides which nodes run, from the options of the nodes: :class:`flow.plan.routes.Routes`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from msgspec import structs

from flow.errors import Hints, shown
from flow.plan.cleanup import give_gates, read_cleanup
from flow.plan.definition import Definition, Policy, Router, Routing
from flow.plan.merging import Merge
from flow.plan.nodes import Nodes
from flow.plan.order import distinct, reach
from flow.plan.routes import Choice, Routes
from flow.plan.spare import defaults_of, optionals
from flow.plan.waits import Wait
from flow.plan.whens import needed_by, settle_asked, when_faults, when_of
from flow.policy.bind import Binder
from flow.signature import Composite, Shaped, remedy_of

if TYPE_CHECKING:
    from flow.plan.wiring import Wirer

JOINS: Final = ("all", "some", "none_failed", "done", "failed")
CONDITIONS: Final = ("completed", "failed", "done")


def routes_of(nodes: Nodes, d: Definition, wirer: Wirer, sound: bool) -> tuple[Routes | None, list[str]]:
    """Return the rules of the plan under construction, and what is wrong with them. O(nodes + edges).

    Conditions are wired: what they read becomes a dependency.

    :param sound: nothing has been found wrong so far. Else all that can be told of the rest is looked at.
    """
    return _Reading(nodes, d, wirer).routes(sound)


class _Reading:
    """Reads the routing options of all nodes of one definition."""

    def __init__(self, nodes: Nodes, d: Definition, wirer: Wirer) -> None:
        self.nodes, self.d, self.wirer = nodes, d, wirer
        self.faults: list[str] = []
        self.found = Routes({}, {}, {}, {}, {}, {})
        self.hints = Hints()
        self.lost = False  # an edge leads nowhere, and may be lacking at any node
        self.routers: dict[int, list[int]] = {}  # by target
        self.asked: dict[int, dict[int, str]] = {}  # by node, what its condition says of edges

    def routes(self, sound: bool) -> tuple[Routes | None, list[str]]:
        found, policies = self.found, self.d.policies
        for i, policy in policies.items():
            if policy.routes:
                self._read(i, policy, policy.routing or Routing())
        dependencies = self.nodes.dependencies
        for at, routers in self.routers.items():  # of all routers at once: thousands may lead to one node
            dependencies[at] = distinct((*dependencies[at], *routers))
        self._read_outcomes(settle_asked(found, self.asked))
        if found.cleanup or found.setups:
            for i, fault in give_gates(found, self.nodes, self.d, self.wirer):
                self._fault(i, fault)
        if not found.has_any:
            return None, self.faults
        sound = sound and not self.faults and not self.wirer.faults
        found.watched = [0] * self.nodes.count
        for i in self._watched():
            found.watched[i] = 1
        found.hold(self.nodes.count)
        self._check_readers()
        for i, fault in when_faults(found, self.nodes.names):
            self._fault(i, fault)
        self._check_joins()
        if sound:  # else there may be no pipelines
            self._check_pipelines()
        return found, self.faults

    def _fault(self, i: int, text: str) -> None:
        self.faults.append(f"{self.wirer.where(i)}: {text}")

    # -- options -----------------------------------------------------------------------------

    def _read(self, i: int, policy: Policy, routing: Routing) -> None:
        join: Any = policy.join
        if isinstance(join, str) and join in JOINS:
            if join != "all":
                self.found.joins[i] = str.__str__(join)
        elif type(join) is int and join > 0:
            self.found.joins[i] = join
        else:
            meant = self.hints.nearest(join, JOINS) if isinstance(join, str) else ""
            wanted = ", ".join(map(repr, JOINS))
            self._fault(i, f"join must be one of {wanted} or an integer >= 1, not {shown(join)}{meant}")
        for ref, condition in zip(self.d.after[i], routing.conditions, strict=False):
            self._read_condition(i, ref, condition)
        if routing.router is not None:
            self._read_router(i, routing.router)
        fn: Any = self.nodes.fns[i]
        if issubclass(type(fn), Wait):
            self.found.waits[i] = fn
        if policy.when is not None:
            self._read_when(i, policy.when, routing.reads)
        for fault in read_cleanup(i, policy, self.found, self.nodes, self.wirer):
            self._fault(i, fault)

    def _read_condition(self, i: int, ref: Any, condition: Any) -> None:
        if not (isinstance(condition, str) and condition in CONDITIONS):
            wanted = ", ".join(map(repr, CONDITIONS))
            meant = self.hints.nearest(condition, CONDITIONS) if isinstance(condition, str) else ""
            self._fault(i, f"after maps {shown(_name(ref))} to one of {wanted}, not {shown(condition)}{meant}")
        elif condition != "completed" and (at := self.wirer.find(ref)) >= 0:
            self.found.conditions.setdefault(i, {})[at] = str.__str__(condition)

    def _read_router(self, i: int, router: Router) -> None:
        to, default, partial = router.to, router.default, router.partial
        if isinstance(self.nodes.fns[i], Composite):
            self._fault(i, "a route takes a function that returns a key; a Dag, map or fold returns none")
            return
        if not isinstance(to, Mapping) or not to:
            self._fault(i, f"a route's to= maps each key to a node, and has one at least; got {shown(to)}")
            return
        names = {key: self._target(i, ref, "to", partial) for key, ref in to.items()}
        chosen = None if default is None else self._target(i, default, "default", partial)
        found = {*names.values(), *([] if chosen is None else [chosen])}
        targets = {at: name for name in found if (at := self.nodes.index.get(name, -1)) >= 0}
        self.found.routers[i] = Choice(names, chosen, targets)
        for at in targets:
            self.routers.setdefault(at, []).append(i)
            self.wirer.forward = self.wirer.forward or at <= i  # itself, too: no order has it

    def _target(self, i: int, ref: Any, what: str, partial: bool) -> str:
        at = self.wirer.find(ref)
        if at < 0 and partial:
            return str(ref)
        if at >= 0:
            return self.nodes.names[at]
        self.lost = True
        self.wirer.unknown(ref, f"{self.wirer.where(i)}: {what}")
        return ""

    def _read_when(self, i: int, fn: Any, reads: Any) -> None:
        made = when_of(i, fn, reads, self.wirer)
        if isinstance(made, str):
            self._fault(i, made)
            return
        when, self.asked[i] = made
        self.found.whens[i] = when
        read = [slot for slot in when.slots if slot >= 0]
        self.found.needs[i] = needed_by(when)
        self.nodes.dependencies[i] = distinct((*self.nodes.dependencies[i], *read))
        self.wirer.forward = self.wirer.forward or any(slot >= i for slot in read)

    def _read_outcomes(self, kept: set[tuple[int, int]]) -> None:
        """Find the parameters that get an Outcome; their edges are live however their node ends."""
        nodes = self.nodes
        for i in self.wirer.outcomes:
            taken = {p.name for p in nodes.shapes[id(nodes.fns[i])].parameters if p.is_outcome}
            slots = nodes.arguments[i]
            places = [at for at, name in enumerate(nodes.parameters(i)) if name in taken and slots[at] >= 0]
            if places:
                self.found.outcomes[i] = tuple(places)
            plain = {slot for at, slot in enumerate(slots) if at not in places}
            for at in places:
                if slots[at] not in plain and (i, slots[at]) not in kept:
                    self.found.conditions.setdefault(i, {}).setdefault(slots[at], "done")

    # -- what follows ------------------------------------------------------------------------

    def _watched(self) -> Iterator[int]:
        found = self.found
        yield from found.routers
        for by_node in found.conditions.values():
            yield from [d for d, condition in by_node.items() if condition == "failed"]
        for i, join in found.joins.items():
            if type(join) is int:
                yield from self.nodes.dependencies[i]

    def _check_readers(self) -> None:
        """Find the readers of edges that may be dead, which need defaults."""
        nodes, found = self.nodes, self.found
        readers = {*found.joins, *found.conditions, *found.gated}
        for i in sorted(readers - self.wirer.unsure):
            defaults, names = defaults_of(nodes, i), nodes.parameters(i)
            for at, slot in found.doubtful(nodes.arguments, i).items():
                if at not in defaults and not _takes_dead(nodes, i):
                    why = f"join={found.joins[i]!r}" if i in found.joins else f"{found.condition(slot, i)!r}"
                    why = "before cleanup" if i in found.gated else f"under {why}"
                    reads = issubclass(type(nodes.fns[i]), Shaped)
                    how = remedy_of(nodes.fns[i]) + ("" if reads else ", or annotate it flow.Outcome")
                    self._fault(
                        i,
                        f"parameter {shown(names[at])} takes the output of {shown(nodes.names[slot])}, which may not "
                        f"come {why}: {how}",
                    )
        masked = {i for i in readers if found.doubtful(nodes.arguments, i)}
        found.masked = frozenset(masked.union(found.outcomes))

    def _check_joins(self) -> None:
        for i, join in self.found.joins.items():
            if self.lost or i in self.wirer.unsure:
                continue  # it may have more edges
            count = len(self.nodes.dependencies[i])
            if type(join) is int and join > count:
                self._fault(i, f"join={join} waits for {join} live edges, and {count} lead to this node")
            elif join in ("some", "failed") and not count:
                self._fault(i, f"join={join!r} looks at the nodes before this one, and there is none")

    def _check_pipelines(self) -> None:
        nodes, found = self.nodes, self.found
        stages = {follower for after in nodes.pipelines.values() for follower in after}
        if not stages:
            return
        targets = [target for choice in found.routers.values() for target in choice.targets]
        own = {*found.whens, *found.joins, *found.conditions, *targets, *found.gated}
        doubtful = reach(own, nodes.successors)
        for i in sorted(stages):
            if i in own or not doubtful.isdisjoint(set(nodes.dependencies[i]) - {nodes.arguments[i][0]}):
                self._fault(i, "a pipelined map runs with the map before it, and cannot be routed: drop pipelined=True")


def give_defaults(nodes: Nodes) -> None:
    """Give the readers of edges that may be dead their parameters' defaults. O(arguments of those)."""
    routes = nodes.routes
    assert routes is not None
    for i in routes.masked:
        doubtful = routes.doubtful(nodes.arguments, i)
        nodes.spared[i] = nodes.spared.get(i, frozenset()).union(doubtful.values())
        if not doubtful or _takes_dead(nodes, i):
            continue
        defaults = defaults_of(nodes, i)
        binder = nodes.binders.get(i) or Binder(nodes.fns[i], bool(nodes.is_async[i]))
        given = dict(binder.defaults) | {at: defaults[at][0] for at in doubtful}
        nodes.binders[i] = structs.replace(
            binder, defaults=tuple(given.items()), optional=binder.optional or optionals(nodes, i)
        )


def _takes_dead(nodes: Nodes, i: int) -> bool:
    """Tell whether the function of node ``i`` takes what is missing itself, as a merge does."""
    return isinstance(nodes.fns[i], Merge)


def _name(ref: Any) -> Any:
    return getattr(ref, "name", ref)


__all__ = ["CONDITIONS", "JOINS", "give_defaults", "routes_of"]
