"""The nodes of a plan: parallel lists by index, filled by compiling and not changed afterwards.

A structure of arrays rather than an object per node: what a driver asks of a node is one lookup by an integer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar

from flow.config import Config, Retry
from flow.plan.order import extended_successors, inverse, successors_of, topological_order
from flow.plan.paths import Durations, longest_below, weights
from flow.policy.mapping import Mapped
from flow.signature import shape_of
from flow.types import MISSING

if TYPE_CHECKING:
    from flow.plan.declared import Declared
    from flow.plan.routes import Routes
    from flow.plan.wiring import InputSlots
    from flow.policy.bind import Binder
    from flow.signature import Shape

T = TypeVar("T")

_COPIED: Final = (
    "names", "index", "fns", "arguments", "dependencies", "is_async", "named",
    "binders", "retries", "priorities", "costs", "may_fail", "fallbacks", "spared", "generators", "pipelines", "shapes",
    "holders", "guarded", "storing",
)  # fmt: skip


class Nodes:
    """The nodes of one plan, numbered in definition order.

    :ivar names: by index; ``index`` leads back.
    :ivar fns: what each node calls.
    :ivar arguments: per node, the value slots its function is called with.
    :ivar dependencies: per node, the indices it waits for (data first, then pure ordering).
    :ivar is_async: 1 for nodes whose call returns an awaitable.
    :ivar binders: how those nodes are called that need more than ``fn(*values)``.
    :ivar may_fail: nodes with ``continue_on_error``. ``storing``: what those say that have another ``store`` than True.
    :ivar spared: per node, those whose outputs it can do without: it has defaults.
    :ivar generators: nodes whose output is a generator, which can be gone over once.
    :ivar pipelines: per map, those that take its items as they come.
    :ivar inputs: the slots that each run input fills; ``input_defaults`` are their defaults, slot -1 last.
    :ivar order: the indices in the order that a run with limit 1 takes them.
    :ivar all_sync: no call returns an awaitable. ``cleans`` says that some clean up.
    :ivar declared: what the Dag declares of its inputs; None if it declares nothing. ``left_out`` are parameters that
        neither a node nor one of these fills.
    :ivar routes: what decides which nodes run; None if all do unless one fails.
    :ivar config: the Config of runs that are given none; None if the Dag has none either.
    :ivar named: nodes that say by which of ``Config.executors`` they are called.
    :ivar holders: nodes that run a plan in which a node waits for a signal or a time.
    :ivar secret: run inputs whose values are not shown; ``guarded`` are nodes that run a plan which has some.
    """

    __slots__ = (
        "_critical_order", "_in_degrees", "_known", "_parameters", "_sources", "_successors", "all_sync", "arguments",
        "binders", "cleans", "config", "costs", "count", "declared", "dependencies", "fallbacks", "fns", "generators",
        "guarded", "holders", "index", "input_defaults", "inputs", "is_async", "left_out", "may_fail", "named", "names",
        "order", "pipelines", "priorities", "required_inputs", "retries", "routes", "secret", "shapes", "spared",
        "storing",
    )  # fmt: skip

    def __init__(self, count: int) -> None:
        self.count = count
        self.names: list[str] = []
        self.index: dict[str, int] = {}
        self.fns: list[Callable[..., Any]] = []
        self.arguments: list[tuple[int, ...]] = []
        self.dependencies: list[tuple[int, ...]] = []
        self.is_async = bytearray()
        self.binders: dict[int, Binder] = {}
        self.retries: dict[int, Retry] = {}
        self.priorities: dict[int, int] = {}
        self.costs: dict[int, float] = {}
        self.may_fail: set[int] = set()
        self.fallbacks: dict[int, Any] = {}
        self.spared: dict[int, frozenset[int]] = {}
        self.generators: set[int] = set()
        self.named: set[int] = set()
        self.storing: dict[int, Literal[False, "pickle"]] = {}
        self.holders: set[int] = set()
        self.guarded: set[int] = set()
        self.secret: frozenset[str] = frozenset()
        self.pipelines: dict[int, tuple[int, ...]] = {}
        self.shapes: dict[int, Shape] = {}
        self.inputs: dict[str, tuple[int, ...]] = {}
        self.input_defaults: tuple[Any, ...] = ()
        self.required_inputs: tuple[str, ...] = ()
        self.declared: Declared | None = None
        self.config: Config | None = None
        self.left_out: frozenset[str] = frozenset()
        self.routes: Routes | None = None
        self.order: Sequence[int] = ()
        self.all_sync = self.cleans = False
        self._successors: list[Sequence[int]] | None = None
        self._in_degrees: list[int] | None = None
        self._sources: list[int] | None = None
        self._parameters: dict[int, Sequence[str]] = {}
        self._known: list[Sequence[int]] | None = None  # the successors of the nodes that these extend
        self._critical_order: tuple[Sequence[int], Sequence[int]] | None = None

    # -- building (flow.plan.compile only) ---------------------------------------------------

    def extended(self, count: int) -> Nodes:
        """Begin ``count`` nodes of which the first are these. They stay as they are: what will grow is copied."""
        nodes = Nodes(count)
        for field in _COPIED:
            setattr(nodes, field, getattr(self, field).copy())
        nodes.inputs, nodes.input_defaults, nodes.left_out = self.inputs, self.input_defaults, self.left_out
        nodes._known = self._successors
        return nodes

    def freeze(self, inputs: InputSlots, order: Sequence[int]) -> None:
        """Take over the inputs found and the order; nothing changes after this."""
        self.inputs = {name: tuple(slots) for name, slots in inputs.names.items()}
        self.input_defaults = tuple(reversed(inputs.values))
        self.order = order
        self.all_sync = 1 not in self.is_async
        self.cleans = self.routes is not None and self.routes.count_gates(self)
        if not self.all_sync:  # a run on an event loop needs them, and must not hold the loop to make them
            _ = self.successors, self.sources
        defaults = self.input_defaults
        self.required_inputs = tuple(
            [name for name, slots in self.inputs.items() if any(defaults[slot] is MISSING for slot in slots)]
        )
        if inputs.declared is not None:
            self.declared = declared = inputs.declared
            self.left_out = self.left_out.union(inputs.left_out.values())
            needed = declared.required.union(self.required_inputs)
            self.required_inputs = tuple([name for name in self.inputs if name in needed])

    # -- shape -------------------------------------------------------------------------------

    @property
    def successors(self) -> list[Sequence[int]]:
        """Per node, the indices that wait for it, ascending. Computed at first use, O(nodes + edges)."""
        if self._successors is None:
            known, self._known = self._known, None
            make = successors_of if known is None else partial(extended_successors, known)
            self._successors = make(self.dependencies)
        return self._successors

    @property
    def reads(self) -> Sequence[tuple[int, ...]]:
        """Per node, the value slots that its function and its condition are called with."""
        if self.routes is None or not self.routes.whens:
            return self.arguments
        return [self.reads_of(i) for i in range(self.count)]

    def reads_of(self, i: int) -> tuple[int, ...]:
        """Return the value slots that the function and the condition of node ``i`` are called with."""
        when = None if self.routes is None else self.routes.whens.get(i)
        return self.arguments[i] if when is None else (*self.arguments[i], *when.slots)

    @property
    def waits(self) -> bool:
        """True if a node waits for a signal or a time, here or in a plan that a node runs."""
        return bool(self.holders) or (self.routes is not None and bool(self.routes.waits))

    @property
    def in_degrees(self) -> list[int]:
        """Per node, how many nodes it waits for, and 1 for the gate of cleanup. Computed at first use, O(nodes)."""
        if self._in_degrees is None:
            self._in_degrees = list(map(len, self.dependencies))
            for i in () if self.routes is None else self.routes.gated:
                self._in_degrees[i] += 1
        return self._in_degrees

    @property
    def sources(self) -> list[int]:
        """The nodes that wait for nothing, ascending. Computed at first use and kept, O(nodes)."""
        if self._sources is None:
            self._sources = [i for i, waits_for in enumerate(self.in_degrees) if not waits_for]
        return self._sources

    def edges(self) -> Iterator[tuple[int, int, bool]]:
        """Every edge as ``(upstream, downstream, passes data)`` indices, in definition order."""
        for i, (dependencies, arguments) in enumerate(zip(self.dependencies, self.arguments, strict=True)):
            if dependencies is arguments:  # the compiler shares the tuple of a node with data edges only
                for d in dependencies:
                    yield d, i, True
            else:
                data = frozenset(arguments)
                for d in dependencies:
                    yield d, i, d in data

    def parameters(self, i: int) -> Sequence[str]:
        """Return the parameter of each value of node ``i``; ``args[0]``, ... for ``*args``. Read once and kept."""
        found = self._parameters.get(i)
        if found is None:
            binder, fn = self.binders.get(i), self.fns[i]
            shape = self.shapes.get(id(fn)) or shape_of(fn)
            keywords = () if binder is None else binder.keywords
            positional = len(self.arguments[i]) - len(keywords)
            names = [p.name for p in shape.positional][:positional]
            found = (*names, *[f"args[{k}]" for k in range(positional - len(names))], *keywords)
            self._parameters[i] = found
        return found

    def weights(self, durations: Durations = None) -> list[float]:
        """Each node's weight (:func:`flow.plan.paths.weights`)."""
        return weights(self.names, self.costs, durations)

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
        below = longest_below(self.dependencies, self.order, self.weights())
        priorities = self.priorities
        return inverse(sorted(range(self.count), key=lambda i: (-priorities.get(i, 0), -below[i], i)))

    def critical_order(self) -> tuple[Sequence[int], Sequence[int]]:
        """The order of a run with limit 1 that takes ready nodes by :meth:`critical_ranks`, and those ranks. Kept."""
        if self._critical_order is None:
            ranks = self.critical_ranks()
            self._critical_order = (topological_order(self.dependencies, self.successors, ranks), ranks)
        return self._critical_order

    # -- a part of them ----------------------------------------------------------------------

    def part(self, kept: Sequence[int], known: frozenset[int] = frozenset()) -> Nodes:
        """Return the nodes ``kept`` as nodes of their own. O(nodes + edges).

        :param kept: ascending indices, with all that they depend on, but for what only ``known`` ones and cleanup do.
        :param known: those of them that wait for nothing and are not called: their outcome is there.
        """
        new = dict(zip(kept, range(len(kept)), strict=True))
        part = Nodes(len(kept))
        part.names = [self.names[i] for i in kept]
        part.index = dict(zip(part.names, range(len(kept)), strict=True))
        part.fns = [self.fns[i] for i in kept]
        part.is_async = bytearray([self.is_async[i] for i in kept])
        absent = -1 - len(self.input_defaults)
        for i in kept:
            arguments: tuple[int, ...] = () if i in known else self.arguments[i]
            dependencies = arguments if i in known else self.dependencies[i]
            # Input slots count from the end: they stay.
            slots = tuple([slot if slot < 0 else new.get(slot, absent) for slot in arguments])
            shared = dependencies is arguments and absent not in slots
            part.arguments.append(slots)
            part.dependencies.append(slots if shared else tuple([new[d] for d in dependencies if d in new]))
        called = {i: at for i, at in new.items() if i not in known} if known else new
        part.binders, part.retries = _of(called, self.binders), _of(called, self.retries)
        part.priorities, part.costs = _of(new, self.priorities), _of(new, self.costs)
        part.storing, part.fallbacks = _of(new, self.storing), _of(called, self.fallbacks)
        part.may_fail = {new[i] for i in self.may_fail if i in new}
        spared = {i: frozenset([new[d] for d in without if d in new]) for i, without in self.spared.items()}
        part.spared = _of(called, spared)
        part.pipelines = {
            new[i]: followers
            for i, after in self.pipelines.items()
            if i in called and (followers := tuple([new[a] for a in after if a in called]))
        }
        part.named = {new[i] for i in self.named if i in called}
        part.holders = {new[i] for i in self.holders if i in called}
        part.generators = {new[i] for i in self.generators if i in new}
        # Nothing kept waits for anything dropped, so what is left of the order is the part's own.
        whole = isinstance(self.order, range)
        part.order = range(len(kept)) if whole else [new[i] for i in self.order if i in new]
        part.all_sync = 1 not in part.is_async
        part.inputs, part.input_defaults, part.shapes = self.inputs, self.input_defaults, self.shapes
        part.routes = None if self.routes is None else self.routes.part(new, called, absent)
        part.cleans = part.routes is not None and part.routes.count_gates(part)
        if part.cleans:
            part.input_defaults = (MISSING, *part.input_defaults)  # at ``absent``
        used = {slot for slots in part.reads for slot in slots if slot < 0 and part.input_defaults[slot] is MISSING}
        part.config, part.declared, part.secret, taken = self.config, self.declared, self.secret, self.inputs
        part.required_inputs = tuple([
            name for name in self.required_inputs if not taken[name] or not used.isdisjoint(taken[name])
        ])  # fmt: skip
        return part


def ends_of(nodes: Nodes) -> list[int]:
    """Return the nodes that no other waits for, cleanup apart: nodes that cleanup reads are ends, cleanup is none."""
    if nodes.routes is None or not nodes.cleans:
        return [i for i, after in enumerate(nodes.successors) if not after]
    gated = nodes.routes.gated
    return [i for i, after in enumerate(nodes.successors) if i not in gated and gated.issuperset(after)]


def with_cleanup(nodes: Nodes, part: frozenset[int]) -> frozenset[int]:
    """Return the nodes ``part`` and those that clean up in a run of them."""
    return part if nodes.routes is None else part.union(nodes.routes.kept_cleanup(part))


def function_of(nodes: Nodes, i: int) -> object:
    """Return the function, map, fold or Dag of node ``i``, without its policies."""
    binder = nodes.binders.get(i)
    return nodes.fns[i] if binder is None else binder.fn


def executor_of(nodes: Nodes, i: int) -> str | None:
    """Return the executor that node ``i``, or the items of its map, are to run in; None leaves it to the Config."""
    binder, fn = nodes.binders.get(i), function_of(nodes, i)
    if isinstance(fn, Mapped):
        return fn.executor
    return None if binder is None else binder.executor


def fallback_of(nodes: Nodes, i: int) -> Any:
    """Return the ``fallback=`` of node ``i``, or of the items of its map; MISSING if it has none."""
    fn = function_of(nodes, i)
    return fn.fallback if isinstance(fn, Mapped) else nodes.fallbacks.get(i, MISSING)


def _of(new: dict[int, int], by_node: dict[int, T]) -> dict[int, T]:
    return {new[i]: value for i, value in by_node.items() if i in new}
