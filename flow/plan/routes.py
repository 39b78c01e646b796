"""What of a plan decides which nodes run: joins, conditions, choices."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec
from msgspec import structs

NO_CONDITIONS: Final[Mapping[int, str]] = {}


class Choice(msgspec.Struct, frozen=True):
    """What a router may choose. ``targets`` are the nodes of this plan among them: names by index."""

    to: dict[Any, str]
    default: str | None
    targets: dict[int, str]


class When(msgspec.Struct, frozen=True):
    """The condition of a node: called with the values at ``slots``, the last ones by keyword.

    ``defaults`` are 1-tuples by position among them; ``context`` as in :class:`flow.plan.wiring.Wiring`.
    ``plain`` says that there is nothing but values that are always there.
    """

    fn: Callable[..., Any]
    slots: tuple[int, ...]
    keywords: tuple[str, ...]
    context: int | str
    defaults: dict[int, tuple[Any, ...]]
    plain: bool


class Routes(msgspec.Struct):
    """The rules of one plan, by node index. Nodes without an entry run when all their edges are live.

    :ivar joins: those other than "all".
    :ivar conditions: per node, those of its edges other than "completed", by the node that they come from.
    :ivar outcomes: per node, the positions among its arguments that get an Outcome.
    :ivar needs: per node, those whose output its condition cannot do without.
    :ivar masked: nodes that may be given what a dead edge has brought.
    :ivar watched: nodes whose tokens are not all live when they complete, or are counted.
    :ivar cleanup: nodes that run after all others. ``setups`` are those of teardowns.
    :ivar gated: all of these: nodes that also wait for nodes which no edge leads from.
    :ivar teardowns: those of each setup.
    :ivar open_counts: if there are teardowns, per ordinary node 1 and the number of its ordinary dependants.
    """

    joins: dict[int, str | int]
    conditions: dict[int, dict[int, str]]
    routers: dict[int, Choice]
    whens: dict[int, When]
    outcomes: dict[int, tuple[int, ...]]
    needs: dict[int, frozenset[int]]
    masked: frozenset[int] = frozenset()
    watched: frozenset[int] = frozenset()
    cleanup: set[int] = msgspec.field(default_factory=set)
    setups: dict[int, int] = msgspec.field(default_factory=dict)
    gated: frozenset[int] = frozenset()
    teardowns: dict[int, list[int]] = msgspec.field(default_factory=dict)
    open_counts: list[int] = msgspec.field(default_factory=list)

    def condition(self, i: int, s: int) -> str:
        """Return the condition of the edge from node ``i`` to ``s``."""
        return self.conditions.get(s, NO_CONDITIONS).get(i, "completed")

    def may_handle(self, i: int, s: int) -> bool:
        """Tell whether node ``s`` may run after node ``i`` has failed."""
        return self.condition(i, s) != "completed" or self.joins.get(s) in ("failed", "done")

    def handles(self, i: int, s: int) -> bool:
        """Tell whether the failure of node ``i`` is handled once node ``s`` has completed."""
        return self.condition(i, s) == "failed" or self.joins.get(s) == "failed"

    def doubtful(self, arguments: Sequence[tuple[int, ...]], i: int) -> dict[int, int]:
        """Return the arguments of node ``i`` whose edges may be dead when it runs: slots by position."""
        own = self.conditions.get(i, NO_CONDITIONS)
        setup = self.setups.get(i, -1)  # has completed
        # A join of k does not wait for the nodes whose Outcomes it takes.
        outcomes = () if type(self.joins.get(i)) is int else self.outcomes.get(i, ())
        slots = enumerate(arguments[i])
        all_of_them = i in self.joins or i in self.gated
        return {
            at: slot
            for at, slot in slots
            if slot >= 0 and slot != setup and at not in outcomes and (all_of_them or slot in own)
        }

    def count_gates(self, nodes: Any) -> bool:
        """Prepare the gates of nodes that clean up; tell whether there are any. O(nodes + edges) if there are.

        :param nodes: the :class:`flow.plan.nodes.Nodes` with these rules.
        """
        for i, setup in self.setups.items():
            self.teardowns.setdefault(setup, []).append(i)
        if self.setups:
            self.open_counts = [1 + len(after) - len(self.gated.intersection(after)) for after in nodes.successors]
        return bool(self.gated)

    def kept_cleanup(self, part: frozenset[int]) -> frozenset[int]:
        """Return what cleans up in a run of the nodes ``part``: all cleanup, and the teardowns of setups among them."""
        return frozenset(self.cleanup).union([i for i, setup in self.setups.items() if setup in part])

    def part(self, new: Mapping[int, int], called: Mapping[int, int], absent: int = 0) -> Routes:
        """Return the rules of a part of the plan. (It may have none, and known nodes that are bypassed.)

        :param new: its nodes, by former index. :param called: those of them that are called.
        :param absent: the slot of what nodes outside the part would bring.
        """

        def of(by_node: Mapping[int, Any], among: Mapping[int, int]) -> dict[int, Any]:
            return {among[i]: value for i, value in by_node.items() if i in among}

        routers = {
            at: structs.replace(choice, targets=of(choice.targets, new)) for at, choice in of(self.routers, new).items()
        }
        conditions = {at: of(found, new) for at, found in of(self.conditions, called).items()}
        whens = {
            at: structs.replace(when, slots=tuple([slot if slot < 0 else new.get(slot, absent) for slot in when.slots]))
            for at, when in of(self.whens, called).items()
        }
        needs = {at: frozenset(of(dict.fromkeys(found), new)) for at, found in of(self.needs, called).items()}
        part = Routes(of(self.joins, called), conditions, routers, whens, of(self.outcomes, called), needs)
        part.masked = frozenset(of(dict.fromkeys(self.masked), called))
        part.watched = frozenset(of(dict.fromkeys(self.watched), new))
        if self.gated:
            part.cleanup = set(of(dict.fromkeys(self.cleanup), new))
            part.setups = {new[i]: new[setup] for i, setup in self.setups.items() if i in new}
            part.gated = frozenset([*part.cleanup, *part.setups])
        return part


__all__ = ["NO_CONDITIONS", "Choice", "Routes", "When"]
