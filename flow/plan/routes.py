"""What of a plan decides which nodes run: joins, conditions, choices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
from msgspec import structs

from flow.errors import printable
from flow.plan.waits import Wait
from flow.signature import direct_of, is_text

NO_CONDITIONS: Final[Mapping[int, str]] = {}

ASKS: Final = 1
"""Kind of held nodes: they have a condition of their own."""

SAID: Final = 60
"""Most characters of a condition's text in messages and pictures."""

GATED: Final = 2
"""Kind of held nodes: they clean up, and decide when they are taken."""

WAITS: Final = 4
"""Kind of held nodes: they wait for a signal or a time, and are not handed out."""


class Choice(msgspec.Struct, frozen=True):
    """What a router may choose. ``targets`` are the nodes of this plan among them: names by index."""

    to: dict[Any, str]
    default: str | None
    targets: dict[int, str]


class When(msgspec.Struct, frozen=True):
    """The condition of a node: called with the values at ``slots``, the last ones by keyword.

    ``defaults`` are 1-tuples by position among them; ``context`` as in :class:`flow.plan.wiring.Wiring`. ``outcomes``
    are the positions among them that get an Outcome.
    ``plain`` says that there is nothing but values that are always there.
    """

    fn: Any
    slots: tuple[int, ...]
    keywords: tuple[str, ...]
    context: int | str
    defaults: dict[int, tuple[Any, ...]]
    plain: bool
    outcomes: tuple[int, ...] = ()

    @property
    def said(self) -> str:
        """What messages and pictures call it: an expression by its text, shortened; a function "when"."""
        if not is_text(self.fn):
            return "when"
        text = printable(" ".join(self.fn.text.split()))
        return text if len(text) <= SAID else f"{text[: SAID - 1]}\u2026"


class Routes(msgspec.Struct):
    """The rules of one plan, by node index. Nodes without an entry run when all their edges are live.

    :ivar joins: those other than "all".
    :ivar conditions: per node, those of its edges other than "completed", by the node that they come from.
    :ivar outcomes: per node, the positions among its arguments that get an Outcome.
    :ivar needs: per node, those whose output its condition cannot do without.
    :ivar masked: nodes that may be given what a dead edge has brought.
    :ivar watched: per node, 1 if its tokens may not all be live when it completes, or are counted.
    :ivar held: per node, why it may not begin although it has been taken, as bits; 0 if nothing holds it.
    :ivar asked: per node with a plain condition, its function, how many slots that reads, and these, or the only one;
        with another condition, the When, -1 and None.
    :ivar cleanup: nodes that run after all others. ``setups`` are those of teardowns.
    :ivar gated: all of these: nodes that also wait for nodes which no edge leads from.
    :ivar waits: nodes that wait for a signal or a time.
    :ivar teardowns: those of each setup.
    :ivar open_counts: if there are teardowns, per ordinary node 1 and the number of its ordinary dependants.
    :ivar handlers: per node, those whose failure its condition asks for, besides what conditions of edges say.
    :ivar deciding: nodes whose join may not start them when all their tokens are live.
    """

    joins: dict[int, str | int]
    conditions: dict[int, dict[int, str]]
    routers: dict[int, Choice]
    whens: dict[int, When]
    outcomes: dict[int, tuple[int, ...]]
    needs: dict[int, frozenset[int]]
    masked: frozenset[int] = frozenset()
    watched: list[int] = []
    held: list[int] = []
    asked: list[Any] = []
    cleanup: set[int] = set()
    setups: dict[int, int] = {}
    gated: frozenset[int] = frozenset()
    teardowns: dict[int, list[int]] = {}
    open_counts: list[int] = []
    waits: dict[int, Wait] = {}
    deciding: list[int] = []
    handlers: dict[int, set[int]] = {}

    def hold(self, count: int) -> None:
        """Set ``held``, ``asked`` and ``deciding`` of ``count`` nodes, once all else is there."""
        self.held = held = [0] * count
        for kind, nodes in ((GATED, self.gated), (ASKS, self.whens), (WAITS, self.waits)):
            for i in nodes:
                held[i] |= kind
        self.asked = [None] * count if self.whens else []
        for i, when in self.whens.items():
            self.asked[i] = _asked(when)
        self.deciding = [i for i, join in self.joins.items() if join == "failed" or type(join) is int]

    @property
    def has_any(self) -> bool:
        """True if there is any rule."""
        rules = (self.joins, self.conditions, self.routers, self.whens, self.outcomes, self.gated, self.waits)
        return any(rules)

    def condition(self, i: int, s: int) -> str:
        """Return the condition of the edge from node ``i`` to ``s``."""
        return self.conditions.get(s, NO_CONDITIONS).get(i, "completed")

    def may_handle(self, i: int, s: int) -> bool:
        """Tell whether node ``s`` may run after node ``i`` has failed."""
        if s in self.gated:
            return False
        return self.condition(i, s) != "completed" or self.joins.get(s) in ("failed", "done")

    def handles(self, i: int, s: int) -> bool:
        """Tell whether the failure of node ``i`` is handled once node ``s`` has completed."""
        if s in self.gated:
            return False
        asks = i in self.handlers.get(s, ())
        return asks or self.condition(i, s) == "failed" or self.joins.get(s) == "failed"

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

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle all but what :meth:`hold` makes: of expressions that is code."""
        return _held_again, (type(self), structs.astuple(structs.replace(self, asked=[])), len(self.held))

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
        part.handlers = {at: set(of(dict.fromkeys(found), new)) for at, found in of(self.handlers, called).items()}
        part.masked = frozenset(of(dict.fromkeys(self.masked), called))
        part.watched = [self.watched[i] for i in new]
        part.waits = of(self.waits, called)
        if self.gated:
            part.cleanup = set(of(dict.fromkeys(self.cleanup), new))
            part.setups = {new[i]: new[setup] for i, setup in self.setups.items() if i in new}
            part.gated = frozenset([*part.cleanup, *part.setups])
        part.hold(len(new))
        return part


def _held_again(kind: type[Routes], fields: tuple[Any, ...], count: int) -> Routes:
    routes = kind(*fields)
    routes.hold(count)
    return routes


def _asked(when: When) -> tuple[Any, int, Any]:
    if not when.plain:
        return when, -1, None
    count = len(when.slots)
    return direct_of(when.fn), count, when.slots[0] if count == 1 else when.slots


__all__ = ["ASKS", "GATED", "NO_CONDITIONS", "WAITS", "Choice", "Routes", "When"]
