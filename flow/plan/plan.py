"""The Plan: a compiled Dag. Immutable, shared by any number of runs at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NoReturn

from flow.draw.rich import Rich
from flow.errors import MAX_FAULTS_SHOWN, UsageError, nearest, shown
from flow.plan.kept import Kept
from flow.plan.nodes import Nodes, with_cleanup
from flow.plan.order import reach
from flow.plan.paths import CriticalPath, Durations, level_of, longest_chain
from flow.signature import is_same, namesake, qualname_of
from flow.tracebacks import end_at_user, ends_at_user
from flow.types import NodeRef

if TYPE_CHECKING:
    from flow.config import Config
    from flow.plan.findings import Finding

MAX_SUBGRAPHS: Final = 32
"""Sets of targets whose plan :meth:`Plan.subgraph` keeps; the oldest makes room."""


class Plan(Rich):
    """A validated, frozen Dag; made by :meth:`flow.Dag.compile`.

    Nodes are numbered in definition order. Every method is O(nodes + edges) at most, and iterative.
    ``len(plan)`` is the node count; ``name in plan`` and iteration go by node names.

    :ivar name: the Dag's name.
    """

    __slots__ = ("_kept", "_levels", "_nodes", "_parts", "name")

    name: str
    _nodes: Nodes
    _kept: Kept  # what drivers cache
    _levels: list[int]
    _parts: dict[Any, Plan]

    def __init__(self, name: str, nodes: Nodes) -> None:
        self.__setstate__((name, nodes))

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"a Plan is immutable: {name!r} cannot be set; change the Dag and compile it again")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"a Plan is immutable: {name!r} cannot be deleted")

    def __getstate__(self) -> tuple[str, Nodes]:
        """Only the graph is pickled and copied. Each copy makes its own generated code and adapts its own limits."""
        return self.name, self._nodes

    def __setstate__(self, state: tuple[str, Nodes]) -> None:
        name, nodes = state
        _set(self, "name", name)
        _set(self, "_nodes", nodes)
        _set(self, "_kept", Kept(nodes.count, nodes.is_async.count(0)))
        _set(self, "_levels", [])
        _set(self, "_parts", {})

    # -- names -------------------------------------------------------------------------------

    def __len__(self) -> int:
        return self._nodes.count

    def __iter__(self) -> Iterator[str]:
        return iter(self._nodes.names)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name in self._nodes.index

    def __repr__(self) -> str:
        return f"Plan({self.name!r}, nodes={len(self)}, edges={self.edge_count})"

    def _repr_html_(self) -> str:
        from flow.plan.pictured import card

        return card(repr(self), self.name, self._nodes, self._level_of)

    @property
    def names(self) -> Sequence[str]:
        """Node names by index, in definition order."""
        return self._nodes.names

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of all run inputs."""
        return tuple(self._nodes.inputs)

    @property
    def required_inputs(self) -> tuple[str, ...]:
        """Names of the run inputs without a default."""
        return self._nodes.required_inputs

    @property
    def costs(self) -> Mapping[str, float]:
        """Expected seconds of the nodes that have a ``cost=``, by name."""
        names = self._nodes.names
        return {names[i]: cost for i, cost in self._nodes.costs.items()}

    @property
    def config(self) -> Config | None:
        """The Config of runs that are given none (``flow.Dag(config=...)``); None if the Dag has none."""
        return self._nodes.config

    @property
    def all_sync(self) -> bool:
        """True if no node needs an event loop."""
        return self._nodes.all_sync

    def find(self, ref: Any) -> int:
        """Return the index of a node given by name, :class:`flow.types.NodeRef` or function. O(1) by name.

        :raises UsageError: if it is no node of this plan, naming the nearest ones.
        """
        name = ref.name if isinstance(ref, NodeRef) else ref
        if isinstance(name, str):
            found = self._nodes.index.get(str.__str__(name))
            if found is not None:
                return found
        try:
            return _running(self, name)
        except UsageError as error:
            end_at_user(error)
            raise

    # -- shape -------------------------------------------------------------------------------

    @property
    def dependencies(self) -> dict[str, tuple[str, ...]]:
        """By node, the nodes that it waits for; those whose outputs it takes come first. O(nodes + edges)."""
        return self._by_name(self._nodes.dependencies)

    @property
    def successors(self) -> dict[str, tuple[str, ...]]:
        """By node, the nodes that wait for it, in definition order. O(nodes + edges)."""
        return self._by_name(self._nodes.successors)

    def _by_name(self, table: Sequence[Sequence[int]]) -> dict[str, tuple[str, ...]]:
        names = self._nodes.names
        return {name: tuple([names[i] for i in others]) for name, others in zip(names, table, strict=True)}

    @property
    def edge_count(self) -> int:
        """Number of distinct dependencies."""
        return sum(map(len, self._nodes.dependencies))

    @property
    def edges(self) -> Iterator[tuple[str, str]]:
        """Every dependency as ``(upstream, downstream)`` names, in definition order."""
        names = self._nodes.names
        return ((names[d], names[i]) for i, deps in enumerate(self._nodes.dependencies) for d in deps)

    def topological_order(self) -> list[str]:
        """Names in the order a run with limit 1 takes them."""
        return [self._nodes.names[i] for i in self._nodes.order]

    @property
    def level_of(self) -> dict[str, int]:
        """By node, the length (in edges) of the longest path that leads to it. O(nodes); O(nodes + edges) at first."""
        return dict(zip(self._nodes.names, self._level_of, strict=True))

    @property
    def _level_of(self) -> Sequence[int]:
        if not self._levels:
            self._levels[:] = level_of(self._nodes.dependencies, self._nodes.order)
        return self._levels

    def levels(self) -> list[list[str]]:
        """Names grouped by :attr:`level_of`. A picture of the graph only: runs have no level barrier."""
        grouped: list[list[str]] = [[] for _ in range(self.depth)]
        for name, level in zip(self._nodes.names, self._level_of, strict=True):
            grouped[level].append(name)
        return grouped

    @property
    def depth(self) -> int:
        """Number of levels: nodes on the longest path."""
        return 1 + max(self._level_of)

    @property
    def width(self) -> int:
        """Most nodes on one level."""
        counts = [0] * self.depth
        for level in self._level_of:
            counts[level] += 1
        return max(counts)

    @ends_at_user
    def critical_path(self, durations: Durations = None) -> CriticalPath:
        """The longest chain, weighted by ``durations`` (seconds by name, or a function of the name).

        Without ``durations``, the weight is the ``cost`` of the nodes if any node has one, else 1 per node.
        Names that a mapping lacks weigh nothing. Measured ones: ``plan.critical_path(result.durations)``.
        """
        nodes = self._nodes
        path, length = longest_chain(nodes.dependencies, nodes.order, nodes.weights(durations))
        return CriticalPath(tuple([nodes.names[i] for i in path]), length)

    @ends_at_user
    def serial_time(self, durations: Durations = None) -> float:
        """Sum of all durations: the time one worker needs. Weighted as :meth:`critical_path`."""
        return sum(self._nodes.weights(durations))

    @ends_at_user
    def ancestors(self, *refs: Any) -> list[str]:
        """Names of all nodes that the given nodes wait for, directly or not, in definition order."""
        return self._beyond(refs, self._nodes.dependencies)

    @ends_at_user
    def descendants(self, *refs: Any) -> list[str]:
        """Names of all nodes that wait for the given nodes, directly or not, in definition order."""
        return self._beyond(refs, self._nodes.successors)

    def _beyond(self, refs: Iterable[Any], step: Sequence[Sequence[int]]) -> list[str]:
        starts = [self.find(ref) for ref in refs]
        return [self._nodes.names[i] for i in sorted(reach([n for start in starts for n in step[start]], step))]

    def warnings(self) -> tuple[Finding, ...]:
        """Return warnings of what is most likely wrong: names that nearly match, annotations that contradict.

        Those of Dags that are nodes come after the others. Computed anew each time, O(nodes + arguments).
        """
        from flow.plan.findings import findings  # here: no run needs it

        return findings(self._nodes, conditions=True)

    # -- a part of it ------------------------------------------------------------------------

    @ends_at_user
    def subgraph(self, *targets: Any) -> Plan:
        """The plan of ``targets`` and their dependencies alone, with the same names and wiring.

        All run inputs may still be given; inputs that only other nodes take are no longer
        required. O(nodes + edges) at first; kept for the last :data:`MAX_SUBGRAPHS` sets of targets.

        :raises UsageError: for an unknown target, or none at all.
        """
        return self._part(self._starts(targets))

    def _starts(self, targets: Sequence[Any]) -> frozenset[int]:
        """The indices of ``targets``. :raises UsageError: as :meth:`subgraph`."""
        if not targets:
            raise UsageError(f"plan {self.name!r}: no target is given, so there is nothing to run: name at least one")
        return frozenset([self.find(ref) for ref in targets])

    def _part(self, starts: frozenset[int], known: frozenset[int] = frozenset()) -> Plan:
        """The plan of what ``starts`` need, where the nodes ``known`` need nothing: their outcome is there."""
        key = (starts, known)
        found = self._parts.get(key)
        if found is None:
            nodes = self._nodes
            step: Any = nodes.dependencies
            if known:
                step = [() if i in known else deps for i, deps in enumerate(step)]
            keep = with_cleanup(nodes, reach(starts, step))
            if len(keep) == nodes.count and not known:
                return self
            found = Plan(self.name, nodes.part(sorted(keep), known))
            while len(self._parts) >= MAX_SUBGRAPHS:
                self._parts.pop(next(iter(tuple(self._parts))), None)  # another thread may be doing the same
            self._parts[key] = found
        return found


def _running(plan: Plan, name: Any) -> int:
    """The index of the one node that runs a function. :raises UsageError: as :meth:`Plan.find`."""
    nodes = plan._nodes
    if isinstance(name, str):
        raise UsageError(f"plan {plan.name!r} has no node {shown(name)}{nearest(name, nodes.names)}")
    indices = [i for i, fn in enumerate(nodes.fns) if is_same(fn, name)] if callable(name) else []
    if len(indices) == 1:
        return indices[0]
    what = f"no node runs it{namesake(name, nodes.index)}"
    if indices:
        what = f"{len(indices)} nodes run it: say which one"
    label = shown(qualname_of(name) or name)
    raise UsageError(f"plan {plan.name!r}: {label} is no node's name, and {what}")


def find_all(plan: Plan, refs: Iterable[Any], where: str) -> list[int]:
    """Return the indices of nodes as :meth:`Plan.find` does.

    :param where: what names them, for the message.
    :raises UsageError: listing what is no node of this plan.
    """
    found: list[int] = []
    faults: list[str] = []
    for ref in refs:
        try:
            found.append(plan.find(ref))
        except UsageError as error:
            if len(faults) == MAX_FAULTS_SHOWN:  # looking for the nearest names takes its time
                faults.append("... and maybe more")
                break
            faults.append(str(error))
    if faults:
        listed = faults[0] if len(faults) == 1 else "".join([f"\n  - {fault}" for fault in faults])
        raise UsageError(f"{where} names what is no node: {listed}")
    return found


_set: Final = object.__setattr__


__all__ = ["CriticalPath", "Durations", "Plan", "find_all"]
