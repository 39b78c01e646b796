"""The Plan: a compiled Dag. Immutable, integer-indexed, shared by any number of runs at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from flow.config import Retry
from flow.errors import UsageError, nearest, shown
from flow.plan.order import extended_successors, inverse, reach, successors_of, topological_order
from flow.plan.part import part_of
from flow.plan.paths import CriticalPath, Durations, level_of, longest_below, longest_chain, weights
from flow.plan.straight import HOT_AFTER, LEAST, Guarded, Straight
from flow.signature import is_same, qualname_of
from flow.types import MISSING, NodeRef, references

if TYPE_CHECKING:
    from flow.plan.wiring import InputSlots
    from flow.policy.bind import Binder
    from flow.signature import Shape

MAX_PARTS: Final = 32
"""Target sets whose plan :meth:`Plan.part` keeps; the oldest makes room."""

_COPIED: Final = (
    "names", "index", "fns", "arguments", "dependencies", "kinds",
    "binders", "retries", "priorities", "costs", "tolerant", "fallbacks", "spared", "generators", "pipelines", "shapes",
)  # fmt: skip


class Plan:
    """A validated, frozen Dag; made by :meth:`flow.Dag.compile`.

    Nodes are numbered in definition order. All questions are answered in O(nodes + edges) at
    most, iteratively; what only some runs need (successors, levels) is computed at first use
    and kept. ``len(plan)`` is the node count, ``name in plan`` and iteration go by node names.

    :ivar name: the Dag's name.
    :ivar names: node names by index.
    :ivar dependencies: per node, the indices it waits for (data first, then pure ordering).
    :ivar arguments: per node, the value slots its function is called with.
    :ivar inputs: names of all run inputs, with the value slots each one fills.
    :ivar required_inputs: names that every run must give.
    :ivar order: the indices in the order that a run with limit 1 takes them.
    """

    __slots__ = (
        "_critical_order",
        "_in_degrees",
        "_known",
        "_levels",
        "_parts",
        "_sources",
        "_successors",
        "all_sync",
        "arguments",
        "binders",
        "costs",
        "count",
        "dependencies",
        "fallbacks",
        "fns",
        "generators",
        "heads",
        "heat",
        "index",
        "inputs",
        "kinds",
        "learned",
        "loaded",
        "name",
        "names",
        "order",
        "pipelines",
        "priorities",
        "required_inputs",
        "retries",
        "shapes",
        "spared",
        "straight",
        "tail",
        "tolerant",
        "unchecked",
        "warmth",
    )

    def __init__(self, name: str, count: int) -> None:
        self.name = name
        self.count = count
        self.names: list[str] = []
        self.index: dict[str, int] = {}
        self.fns: list[Callable[..., Any]] = []
        self.arguments: list[tuple[int, ...]] = []
        self.dependencies: list[tuple[int, ...]] = []
        self.kinds = bytearray()  # 1: calling it returns an awaitable
        self.binders: dict[int, Binder] = {}
        self.retries: dict[int, Retry] = {}
        self.priorities: dict[int, int] = {}
        self.costs: dict[int, float] = {}
        self.tolerant: set[int] = set()  # continue_on_error
        self.fallbacks: dict[int, Any] = {}
        self.spared: dict[int, frozenset[int]] = {}  # per node, those whose outputs it can do without: it has defaults
        self.generators: set[int] = set()  # nodes whose output is a generator, which can be gone over once
        self.pipelines: dict[int, tuple[int, ...]] = {}  # per map, those that take its items as they come
        self.inputs: dict[str, tuple[int, ...]] = {}
        self.tail: tuple[Any, ...] = ()  # defaults of the input slots, slot -1 last
        self.shapes: dict[int, Shape] = {}
        self.order: Sequence[int] = ()
        self.all_sync = False
        self.required_inputs: tuple[str, ...] = ()
        self._successors: list[Sequence[int]] | None = None
        self._in_degrees: list[int] | None = None
        self._sources: list[int] | None = None
        self._known: list[Sequence[int]] | None = None  # the successors of the plan this one extends
        self._levels: list[int] | None = None
        self._critical_order: tuple[Sequence[int], Sequence[int]] | None = None
        self._parts: dict[frozenset[int], Plan] = {}
        self.unchecked: Sequence[int] = range(count)  # nodes that no run has completed (flow.run.outputs)
        self.learned: dict[str, Any] = {}  # limits that have adapted (flow.run.adaptive), by map; of the nodes: ""
        self.loaded: tuple[Any, ...] = ()  # ways it has been run, for which all modules are there (flow.run.loading)
        # Code generated so far (flow.plan.straight), and runs to go until more is, 0 if it is all there: of runs
        # without an event loop, and of those on one, by the node that each stretch begins with.
        self.straight: Straight | None = None
        self.heat = HOT_AFTER
        self.heads: Mapping[int, Guarded] = {}
        self.warmth = HOT_AFTER

    # -- building (flow.plan.compile only) ---------------------------------------------------

    def extended(self, count: int) -> Plan:
        """Begin a plan of ``count`` nodes whose first ``len(self)`` are this one's.

        Everything that will grow is copied (pointers only), so that this
        plan stays as it is whatever becomes of the other.
        """
        plan = Plan(self.name, count)
        for field in _COPIED:
            setattr(plan, field, getattr(self, field).copy())
        plan.inputs, plan.tail = self.inputs, self.tail
        plan._known = self._successors
        return plan

    def freeze(self, inputs: InputSlots, order: Sequence[int]) -> None:
        """Take over the inputs found and the order; nothing changes after this."""
        self.inputs = {name: tuple(slots) for name, slots in inputs.names.items()}
        self.tail = tuple(reversed(inputs.values))
        self.order = order
        self.all_sync = 1 not in self.kinds
        if self.kinds.count(0) < LEAST:
            self.warmth = 0
        if not self.all_sync:  # a run on an event loop needs them, and must not hold the loop to make them
            _ = self.successors, self.sources
        tail = self.tail
        self.required_inputs = tuple([n for n, slots in self.inputs.items() if any(tail[s] is MISSING for s in slots)])

    def __getstate__(self) -> tuple[None, dict[str, Any]]:
        """What is pickled and copied: all but generated code, which a copy makes for itself."""
        state = {field: getattr(self, field) for field in Plan.__slots__} | {"loaded": ()}
        warmth = HOT_AFTER if self.warmth or self.heads else 0
        return None, state | {"straight": None, "heat": HOT_AFTER, "heads": {}, "warmth": warmth}

    # -- names -------------------------------------------------------------------------------

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name in self.index

    def __repr__(self) -> str:
        return f"Plan({self.name!r}, nodes={self.count}, edges={self.edge_count})"

    def find(self, ref: Any) -> int:
        """Return the index of a node given by name, :class:`flow.NodeRef` or function. O(1) by name.

        :raises UsageError: if it is no node of this plan, naming the nearest ones.
        """
        name = ref.name if isinstance(ref, NodeRef) else ref
        if isinstance(name, str):
            found = self.index.get(str.__str__(name))
            if found is not None:
                return found
            raise UsageError(f"plan {self.name!r} has no node {shown(name)}{nearest(name, self.names)}")
        indices = [i for i, fn in enumerate(self.fns) if is_same(fn, name)] if callable(name) else []
        if len(indices) == 1:
            return indices[0]
        what = f"{len(indices)} nodes run it: say which one" if indices else "no node runs it"
        label = shown(qualname_of(name) or name)
        raise UsageError(f"plan {self.name!r}: {label} is no node's name, and {what}")

    # -- shape -------------------------------------------------------------------------------

    @property
    def edge_count(self) -> int:
        """Number of distinct dependencies."""
        return sum(map(len, self.dependencies))

    @property
    def successors(self) -> list[Sequence[int]]:
        """Per node, the indices that wait for it, ascending. Computed at first use, O(nodes + edges)."""
        if self._successors is None:
            known, self._known = self._known, None
            make = successors_of if known is None else partial(extended_successors, known)
            self._successors = make(self.dependencies)
        return self._successors

    @property
    def in_degrees(self) -> list[int]:
        """Per node, how many nodes it waits for. Computed at first use and kept, O(nodes)."""
        if self._in_degrees is None:
            self._in_degrees = list(map(len, self.dependencies))
        return self._in_degrees

    @property
    def sources(self) -> list[int]:
        """The nodes that wait for nothing, ascending. Computed at first use and kept, O(nodes)."""
        if self._sources is None:
            self._sources = [i for i, waits_for in enumerate(self.in_degrees) if not waits_for]
        return self._sources

    @property
    def edges(self) -> Iterator[tuple[str, str]]:
        """Every dependency as ``(upstream, downstream)`` names, in definition order."""
        names = self.names
        return ((names[d], names[i]) for i, deps in enumerate(self.dependencies) for d in deps)

    def topological_order(self) -> list[str]:
        """Names in the order a run with limit 1 takes them."""
        return [self.names[i] for i in self.order]

    @property
    def level_of(self) -> list[int]:
        """Per node, the length (in edges) of the longest path that leads to it. Computed at first use."""
        if self._levels is None:
            self._levels = level_of(self.dependencies, self.order)
        return self._levels

    def levels(self) -> list[list[str]]:
        """Names grouped by :attr:`level_of`. A picture of the graph only: runs have no level barrier."""
        grouped: list[list[str]] = [[] for _ in range(self.depth)]
        for i, level in enumerate(self.level_of):
            grouped[level].append(self.names[i])
        return grouped

    @property
    def depth(self) -> int:
        """Number of levels: nodes on the longest path."""
        return 1 + max(self.level_of)

    @property
    def width(self) -> int:
        """Most nodes on one level."""
        counts = [0] * self.depth
        for level in self.level_of:
            counts[level] += 1
        return max(counts)

    def critical_path(self, durations: Durations = None) -> CriticalPath:
        """The longest chain, weighted by ``durations`` (seconds by name, or a function of the name).

        Without them by the nodes' ``cost`` where any node has one, else by counting nodes.
        Names a mapping lacks weigh nothing. Measured ones: ``plan.critical_path(result.durations)``.
        """
        path, length = longest_chain(self.dependencies, self.order, self._weights(durations))
        return CriticalPath(tuple([self.names[i] for i in path]), length)

    def serial_time(self, durations: Durations = None) -> float:
        """Sum of all durations: the time one worker needs. Weighted as :meth:`critical_path`."""
        return sum(self._weights(durations))

    def _weights(self, durations: Durations) -> list[float]:
        return weights(self.names, self.costs, durations)

    def ancestors(self, *refs: Any) -> list[str]:
        """Names of all that the given nodes wait for, directly or not, in definition order."""
        return self._beyond(refs, self.dependencies)

    def descendants(self, *refs: Any) -> list[str]:
        """Names of all that wait for the given nodes, directly or not, in definition order."""
        return self._beyond(refs, self.successors)

    def upstream_closure(self, refs: Any) -> frozenset[int]:
        """Indices of the given nodes (one or several) and all their ancestors."""
        starts = [self.find(ref) for ref in references(refs)]
        return reach(starts, self.dependencies)

    def part(self, targets: Any) -> Plan:
        """The plan of only what ``targets`` (one reference or several) need, with the same names and wiring.

        All run inputs may still be given; those that only other nodes take are no longer
        required. O(nodes + edges) at first; kept for the last :data:`MAX_PARTS` sets of targets.

        :raises UsageError: for an unknown target, or none at all.
        """
        starts = frozenset([self.find(ref) for ref in references(targets)])
        if not starts:
            raise UsageError(f"plan {self.name!r}: no target is given, so there is nothing to run: name at least one")
        found = self._parts.get(starts)
        if found is None:
            keep = reach(starts, self.dependencies)
            if len(keep) == self.count:
                return self
            found = part_of(self, Plan(self.name, len(keep)), sorted(keep))
            while len(self._parts) >= MAX_PARTS:
                self._parts.pop(next(iter(tuple(self._parts))), None)  # another thread may be doing the same
            self._parts[starts] = found
        return found

    def _beyond(self, refs: Iterable[Any], step: Sequence[Sequence[int]]) -> list[str]:
        starts = [self.find(ref) for ref in refs]
        return [self.names[i] for i in sorted(reach([n for start in starts for n in step[start]], step))]

    # -- the order in which ready nodes are taken --------------------------------------------

    def ranks(self) -> Sequence[int] | None:
        """Each node's place when ready nodes are taken by priority, then definition; None if that is its index."""
        if not self.priorities:
            return None
        priorities = self.priorities
        by_rank = sorted(range(self.count), key=lambda i: (-priorities.get(i, 0), i))
        return inverse(by_rank)

    def critical_ranks(self) -> Sequence[int]:
        """Each node's place by priority, then by the longest weighted path from it down, then definition."""
        below = longest_below(self.dependencies, self.order, self._weights(None))
        priorities = self.priorities
        return inverse(sorted(range(self.count), key=lambda i: (-priorities.get(i, 0), -below[i], i)))

    def critical_order(self) -> tuple[Sequence[int], Sequence[int]]:
        """The order of a run with limit 1 that takes ready nodes by :meth:`critical_ranks`, and those ranks. Kept."""
        if self._critical_order is None:
            ranks = self.critical_ranks()
            self._critical_order = (topological_order(self.dependencies, self.successors, ranks), ranks)
        return self._critical_order


__all__ = ["CriticalPath", "Durations", "Plan", "successors_of"]
