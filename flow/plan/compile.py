"""Compile a :class:`Definition` to a :class:`Plan`: wire, validate, order, freeze.

One pass over the nodes, most of them wired by a dict lookup per dependency. The index of names
is filled as the pass goes: a node that finds all it needs there stands after it, so the
definition order is a topological one, and no unknown name, self edge or cycle can exist. At the
first name it lacks, the index is filled with all nodes (:meth:`Wirer.foresee`), and an order is
computed at the end. Faults are collected on the way; the plan under construction shares nothing
that changes, so a refused definition leaves nothing behind.

O(nodes + edges); plus O(log nodes) per node that stands before something it needs.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import FunctionType
from typing import Any, Final

from msgspec import structs

from flow.awaits import is_async_generator, is_generator_function
from flow.config import Timeout
from flow.errors import CycleError, DefinitionError, described, shown
from flow.plan.checks import checked_names, dag_faults, duplicate_faults, generator_faults, policy_faults
from flow.plan.definition import PLAIN, Definition, Policy
from flow.plan.order import cycle_in, is_ordered, reach, topological_order
from flow.plan.plan import Plan
from flow.plan.spare import provide_defaults
from flow.plan.usual import Usual
from flow.plan.wiring import InputSlots, Wirer
from flow.policy.arguments import optionals_of
from flow.policy.bind import Binder
from flow.policy.mapping import Folded, Mapped, Over
from flow.signature import Composite, Nested, Shape, is_async_callable, qualname_of, shape_of
from flow.types import MISSING, NodeRef

CYCLE_SHOWN: Final = 24
"""Names of a cycle that the message shows; ``DefinitionError.cycle`` always holds all."""

_ANY_SHAPE: Final = Shape((), True, True, False)  # stands in for what cannot be read


def compile_definition(definition: Definition, previous: Plan | None = None) -> Plan:
    """Validate ``definition`` and freeze it.

    :param previous: the plan of a prefix of this definition (no edge added since), to resolve only what is new.
    :raises DefinitionError: listing every fault. :raises CycleError: if the only fault is a cycle.
    """
    if previous is not None and (
        _takes_over_an_input(definition.names[previous.count :], previous)
        or any(type(fn) is Mapped and fn.options.is_pipelined for fn in definition.fns[previous.count :])
    ):
        previous = None
    return _Compilation(definition, previous).plan_or_faults()


def _takes_over_an_input(new_names: list[Any], previous: Plan) -> bool:
    """Tell whether what a parameter of an older node took for a run input is a node now."""
    inputs = previous.inputs
    return bool(inputs) and any(str.__str__(name) in inputs for name in new_names if isinstance(name, str))


class _Compilation:
    """One attempt: the plan under construction, and what has been found wrong."""

    def __init__(self, d: Definition, previous: Plan | None) -> None:
        self.d = d
        self.previous = previous
        self.start = start = 0 if previous is None else previous.count
        self.plan = plan = Plan(d.name, len(d.names)) if previous is None else previous.extended(len(d.names))
        self.faults = dag_faults(d.name, d.middleware)
        plan.names.extend(checked_names(d.names, start, d.fns, self.faults))
        plan.fns.extend(d.fns[start:] if start else d.fns)
        self.inputs = InputSlots(plan.inputs, plan.tail)
        self.wirer = Wirer(plan.index, plan.names, start, d.names, plan.fns, self.inputs)
        self.usual = Usual()
        self.unreadable: dict[int, str] = {}  # by id of the function: why
        self.pipelined: list[int] = []
        self.lent: dict[int, list[int]] = {}  # per map, what it waits for only for those pipelined after it
        self.ordering: dict[int, tuple[int, ...]] = {}  # dependencies of nodes where they are not the arguments
        edges = d.edges if previous is None else ()  # those of a prefix are in its plan
        if edges:
            self.wirer.foresee()
        self._wire_nodes()
        plan.dependencies.extend(plan.arguments[start:] if start else plan.arguments)
        for i, deps in self.ordering.items():
            plan.dependencies[i] = deps
        self._add_edges(edges)
        self._join_pipelines()
        self._check_generators()

    def plan_or_faults(self) -> Plan:
        """Finish, or raise the one error that lists everything that is wrong."""
        d, plan = self.d, self.plan
        self._apply_policies()
        faults, cycle = self._all_faults(), []
        order: Sequence[int] = ()
        if len(plan.index) == plan.count:  # else names are used twice, and edges mean nothing
            order = self._order()
            if len(order) != plan.count:
                cycle = [str(plan.names[i]) for i in cycle_in(plan.dependencies, order)]
        if cycle:
            faults.append(_cycle_fault(cycle))
        if faults:
            kind = CycleError if cycle and len(faults) == 1 else DefinitionError
            raise kind(d.name, faults, cycle)
        if plan.tolerant:
            provide_defaults(plan, self.start, self.lent)
        plan.freeze(self.inputs, order)
        return plan

    # -- wiring ------------------------------------------------------------------------------

    def _wire_nodes(self) -> None:
        """Fill in arguments, kinds and index. The loop all of compiling's time is spent in."""
        d, plan, start, ordering = self.d, self.plan, self.start, self.ordering
        index, shapes, arity_of = plan.index, plan.shapes, self.usual.arity
        add_arguments = plan.arguments.append
        plan.kinds.extend(bytes(plan.count - start))
        columns: tuple[list[Any], ...] = (plan.names, plan.fns, d.needs, d.after)
        if start:
            columns = tuple([column[start:] for column in columns])
        last, shape, usual, exact, takes_any, is_async = self, _ANY_SHAPE, False, -1, False, False
        for i, name, fn, needs, after in zip(range(start, plan.count), *columns, strict=True):
            if fn is not last:
                last = fn
                exact = arity_of(fn) if type(fn) is FunctionType and needs.__class__ is not dict else -1
                usual = exact != -1
                if usual:
                    takes_any, is_async = False, exact < 0
                    if is_async:
                        exact = -2 - exact
                else:
                    shape = shapes.get(id(fn)) or self._read(fn)
                    exact, takes_any, is_async = shape.exact, shape.takes_any, shape.is_async
            if needs.__class__ is tuple and ((size := len(needs)) == exact or takes_any):
                try:  # the usual sizes on their own: cheaper than a comprehension and a set
                    if size == 1:
                        args: tuple[int, ...] = (index[needs[0]],)
                    elif size == 2:
                        a, b = needs
                        args = (index[a], index[b])
                        if a == b:
                            ordering[i] = args[:1]
                    elif size == 3:
                        a, b, c = needs
                        args = (index[a], index[b], index[c])
                        if a == b or a == c or b == c:  # noqa: SIM109  a set costs more
                            ordering[i] = _distinct(args)
                    elif size:
                        args = tuple([index[need] for need in needs])
                        if len(set(args)) != size:
                            ordering[i] = _distinct(args)
                    else:
                        args = ()
                except Exception:  # not a name, or of a later node or none; a reference may even fail to hash
                    args = self._wire_references(i, needs)
            elif needs is None and (usual or shape.inferred is not None):
                parameters = fn.__code__.co_varnames[:exact] if usual else shape.inferred or ()
                try:  # different names are different nodes: nothing to make distinct
                    args = tuple([index[parameter] for parameter in parameters])
                except KeyError:  # a later node, or a run input
                    args = self.wirer.infer(parameters, fn.__defaults__ or () if usual else shape.defaults)
                    ordering[i] = _distinct(args)
            else:
                args = self._wire_with_care(i, fn, needs)
            if after:
                ordering[i] = _distinct((*args, *self.wirer.find_all(after, i, "after")))
            if is_async:
                plan.kinds[i] = 1
            add_arguments(args)
            index[name] = i

    def _wire_references(self, i: int, needs: tuple[Any, ...]) -> tuple[int, ...]:
        args = self.wirer.find_all(needs, i, "needs")
        self.ordering[i] = _distinct(args)
        return tuple(args)

    def _wire_with_care(self, i: int, fn: Any, needs: Any) -> tuple[int, ...]:
        shape = self.plan.shapes.get(id(fn)) or self._read(fn)
        wiring = self.wirer.wire(i, shape, needs)
        self.ordering[i] = _distinct(wiring.slots)
        if id(fn) in self.unreadable:
            if issubclass(type(fn), Over):  # what is wrong with its settings is found all the same
                self.faults += [f"{self.wirer.where(i)}: {fault}" for fault in fn.faults()]
            return wiring.slots
        composite = isinstance(fn, Composite)
        if wiring.keywords or wiring.context != -1 or wiring.optional or shape.lifted or composite:
            binder = Binder(fn, shape.is_async, wiring.keywords, wiring.context)
            if wiring.optional and not composite:  # those leave out what is missing themselves
                binder = structs.replace(binder, optional=optionals_of(shape))
            self.plan.binders[i] = binder
        if isinstance(fn, Over):
            self._check_over(i, fn, wiring.slots[: len(fn.sources)])
        return wiring.slots

    def _check_over(self, i: int, over: Over, sources: tuple[int, ...]) -> None:
        self.faults += [f"{self.wirer.where(i)}: {fault}" for fault in over.faults()]
        if isinstance(over, Mapped) and over.options.is_pipelined:
            self.pipelined.append(i)
        fns, binder = self.d.fns, self.plan.binders[i]
        if any(slot >= 0 and is_async_generator(fns[slot]) for slot in sources):
            self.plan.kinds[i] = 1  # its items must be awaited, whatever the function is
            self.plan.binders[i] = structs.replace(binder, fn=over.awaiting(), is_async=True)

    def _read(self, fn: Any) -> Shape:
        shape = _ANY_SHAPE
        if callable(fn):
            try:
                shape = shape_of(fn)
                if is_generator_function(fn):
                    self.usual.generators.add(id(fn))
            except Exception as error:  # of the function's own attributes
                why = str(error) if type(error) is TypeError else f"its parameters cannot be read: {described(error)}"
                self.unreadable[id(fn)] = why
        else:
            self.unreadable[id(fn)] = f"{shown(fn)} is not callable: give a function, a callable object or a Dag"
        self.plan.shapes[id(fn)] = shape
        return shape

    def _check_generators(self) -> None:
        """Find nodes whose output is a generator, and of these the ones that several nodes read.

        O(nodes + arguments) if there is any. (One with middleware may well return something else.)
        """
        d, plan, ids = self.d, self.plan, self.usual.generators
        ids.update([id(d.fns[i]) for i in plan.generators])  # what an earlier compile has read is not read again
        if ids and not d.middleware:
            mine = {i for i in range(self.start, plan.count) if id(d.fns[i]) in ids}
            plan.generators.update([i for i in mine if i not in d.policies or not d.policies[i].middleware])
        if not plan.generators:
            return
        readers: dict[int, list[int]] = {i: [] for i in sorted(plan.generators)}
        for i, slots in enumerate(plan.arguments):
            for slot in plan.generators.intersection(slots):
                reads = max(_reads(d.fns[i], at) for at, found in enumerate(slots) if found == slot)
                readers[slot] += [i] * reads
        for i, several_reads in readers.items():
            if len(several_reads) > 1:
                names = [shown(str(plan.names[k])) for k in dict.fromkeys(several_reads)]
                several = f"nodes {' and '.join(names[:3])}" if len(names) > 1 else f"node {names[0]}"
                more = f" and {len(names) - 3} more" if len(names) > 3 else ""
                read = "read it" if len(names) > 1 else "reads it more than once"
                self.faults.append(
                    f"{self.wirer.where(i)} gives a generator, which can be gone over once, but {several}{more} "
                    f"{read}: whichever comes later would find nothing left. Let it return list(...)"
                )

    def _add_edges(self, edges: Sequence[tuple[Any, Any]]) -> None:
        find, dependencies = self.wirer.find, self.plan.dependencies
        upstream_of: dict[int, list[int]] = {}
        for upstream, downstream in edges:
            a, b = find(upstream), find(downstream)
            if a >= 0 and b >= 0:
                upstream_of.setdefault(b, []).append(a)
                continue
            for ref, found in ((upstream, a), (downstream, b)):
                if found < 0:
                    self.wirer.unknown(ref, f"edge({_label(upstream)}, {_label(downstream)})")
        for i, more in upstream_of.items():
            dependencies[i] = _distinct((*dependencies[i], *more))

    def _join_pipelines(self) -> None:
        """Give each map those pipelined after it; it runs them, so it waits for what they take besides its results."""
        plan, fns = self.plan, self.d.fns
        before: dict[int, int] = {}
        for i in self.pipelined:
            if not plan.arguments[i]:  # its function could not be read
                continue
            fault = _pipeline_fault(fns[i], plan.names, fns, plan.arguments[i])
            if fault:
                self.faults.append(f"{self.wirer.where(i)}: {fault}")
                continue
            before[i] = source = plan.arguments[i][0]
            plan.pipelines[source] = (*plan.pipelines.get(source, ()), i)
        for i, source in before.items():
            others = [d for d in plan.dependencies[i] if d != source]
            first, seen = source, {i}
            while first in before and first not in seen:  # (a cycle is found later)
                seen.add(first)
                first = before[first]
            if others and first in reach(others, plan.dependencies):
                self.faults.append(
                    f"{self.wirer.where(i)}: cannot be pipelined: it also waits for what itself waits for the map "
                    f"{shown(str(plan.names[first]))}, and its items could never start before that has ended"
                )
            elif others:
                self.lent.setdefault(first, []).extend([d for d in others if d not in plan.dependencies[first]])
                plan.dependencies[first] = _distinct((*plan.dependencies[first], *others))

    # -- policies, faults, order -------------------------------------------------------------

    def _apply_policies(self) -> None:
        d, plan = self.d, self.plan
        if not d.policies and not d.middleware:
            return
        for i in range(self.start, plan.count):
            policy = d.policies.get(i)
            if policy is None and not d.middleware:
                continue
            fn = d.fns[i]
            readable = id(fn) not in self.unreadable
            is_async = is_async_callable(fn.fn) if readable and isinstance(fn, Mapped) else bool(plan.kinds[i])
            found = policy_faults(policy or PLAIN, is_async, type(fn) is Folded)
            if policy is not None and (i in plan.generators or _makes_generators(fn)):
                found += generator_faults(policy, isinstance(fn, Mapped))
            if found:
                self.faults += [f"{self.wirer.where(i)}: {fault}" for fault in found]
            elif readable:
                _apply_policy(plan, i, policy or PLAIN, d.middleware)

    def _all_faults(self) -> list[str]:
        d, plan, where = self.d, self.plan, self.wirer.where
        if not self.faults and not self.wirer.faults and not self.unreadable and 0 < plan.count == len(plan.index):
            return []
        faults = [] if plan.count else ["the dag is empty: add a node first"]
        if len(plan.index) != plan.count:
            faults += duplicate_faults(plan.names, d.fns)
        bad = self.unreadable
        faults += [f"{where(i)}: {bad[id(fn)]}" for i, fn in enumerate(d.fns) if id(fn) in bad]
        return [*self.faults, *faults, *self.wirer.faults]

    def _order(self) -> Sequence[int]:
        """The order in which a run with limit 1 takes nodes; short if there is a cycle."""
        plan, previous = self.plan, self.previous
        ranks = plan.ranks()
        if ranks is None and (not (self.wirer.forward or self.pipelined) or is_ordered(plan.dependencies, self.start)):
            if previous is None or isinstance(previous.order, range):
                return range(plan.count)
            return [*previous.order, *range(self.start, plan.count)]
        return topological_order(plan.dependencies, plan.successors, ranks)


def _reads(fn: Any, at: int) -> int:
    """How often a node goes over what comes at position ``at``: several times (2), if each item of a map does."""
    if isinstance(fn, Mapped):
        if at >= len(fn.sources):
            return 2
        try:
            return 2 if any(p.name == fn.sources[at] for p in fn.roles.extras) else 1
        except TypeError:  # its function cannot be read, which is another fault
            return 1
    if isinstance(fn, Nested):
        inside = set(fn.plan.inputs[fn.inputs[at]])
        return sum(slot in inside for slots in fn.plan.arguments for slot in slots)
    return 1


def _pipeline_fault(over: Mapped, names: Sequence[Any], fns: Sequence[Any], slots: Sequence[int]) -> str:
    """Say why a map cannot take its items from the node at its first slot as they come; nothing if it can."""
    source = slots[0]
    label = str(names[source]) if source >= 0 else over.sources[0]
    before = fns[source] if source >= 0 else None
    if len(over.sources) != 1:
        return f"pipelined goes over one other map, not over {len(over.sources)} sources"
    if not isinstance(before, Mapped):
        return f"pipelined goes over one other map; {shown(label)} is none"
    try:
        takes_all = source in slots[1:] or any(p.name in over.sources for p in over.roles.extras)
    except TypeError:  # its function cannot be read, which is another fault
        return ""
    if takes_all:
        why = f"its function also takes all of {shown(label)}"
        return f"cannot be pipelined: {why}, which is not there before it has ended"
    if over.options.take is not None:
        return "take and pipelined exclude each other: give take to the first map"
    if before.options.batch_size is not None:
        return f"cannot be pipelined after {shown(label)}, which has batches"
    return f"cannot be pipelined after {shown(label)}, which is a flat_map" if before.options.outcome == "flat" else ""


def _makes_generators(fn: Any) -> bool:
    """Tell whether a map's function only makes generators, of which nothing runs within the item's call."""
    if type(fn) is not Mapped or not is_generator_function(fn.fn):
        return False
    return fn.options.batch_size is None and fn.options.outcome != "flat"


def _apply_policy(plan: Plan, i: int, policy: Policy, dag_middleware: tuple[Any, ...]) -> None:
    """Take a node's valid policy into the plan."""
    if policy.continue_on_error:
        plan.tolerant.add(i)
    if policy.priority:
        plan.priorities[i] = policy.priority
    if policy.cost is not None:
        plan.costs[i] = float(policy.cost)
    layers, timeout = (*dag_middleware, *policy.middleware), policy.timeout
    if timeout is not None and not isinstance(timeout, Timeout):
        timeout = Timeout(timeout)
    if timeout == Timeout():
        timeout = None  # limits nothing
    fn, thread = plan.fns[i], policy.runs_in == "thread"
    if isinstance(fn, Mapped):  # these are each item's, the rest the node's
        fn = fn.with_policy(policy.retry, timeout, thread, policy.fallback, policy.abandon_on_timeout)
        binder = structs.replace(plan.binders[i], fn=fn, is_async=bool(plan.kinds[i]) or fn.is_async)
        plan.binders[i] = binder = binder.with_policy(False, layers, None)
        plan.kinds[i] = binder.is_async
        return
    if policy.fallback is not MISSING:
        plan.fallbacks[i] = policy.fallback
    if policy.retry is not None:
        plan.retries[i] = policy.retry
    if layers or thread or timeout is not None:
        made = plan.binders.get(i) or Binder(plan.fns[i], bool(plan.kinds[i]))
        plan.binders[i] = binder = made.with_policy(thread, layers, timeout, policy.abandon_on_timeout)
        plan.kinds[i] = binder.is_async


def _distinct(slots: Sequence[int]) -> tuple[int, ...]:
    """The node indices among ``slots``, each once; the very same tuple if that is what it is."""
    unique = tuple(dict.fromkeys([slot for slot in slots if slot >= 0]))
    return slots if unique == slots else unique


def _label(ref: Any) -> str:
    name = ref.name if isinstance(ref, NodeRef) else ref
    return qualname_of(name) or shown(name)


def _cycle_fault(path: list[str]) -> str:
    names = [shown(name)[1:-1] for name in path] if len(path) <= CYCLE_SHOWN else []
    if not names:
        half = CYCLE_SHOWN // 2
        left_out = f"... {len(path) - CYCLE_SHOWN} more (see .cycle) ..."
        names = [*path[:half], left_out, *path[-half:]]
    kind = "self edge" if len(path) == 2 else "cycle"
    return f"{kind}: {' -> '.join(names)} (each node waits for the one before it: drop one of these dependencies)"


__all__ = ["compile_definition"]
