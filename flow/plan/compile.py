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

from collections.abc import Collection, Sequence
from types import FunctionType
from typing import Any, Final

from msgspec import structs

from flow.awaits import is_async_generator, is_generator_function
from flow.config import Timeout
from flow.config.policy import UNLIMITED, per_attempt
from flow.errors import CycleError, DefinitionError, described, shown
from flow.plan.arity import Usual
from flow.plan.checks import checked_names, dag_faults, duplicate_faults, generator_faults, policy_faults
from flow.plan.cleanup import gated_order
from flow.plan.definition import PLAIN, Definition, Policy
from flow.plan.generators import makes_generators, mark_generators, reading_faults
from flow.plan.nodes import Nodes
from flow.plan.order import cycle_in, distinct, is_ordered, topological_order
from flow.plan.pipelines import join_pipelines
from flow.plan.plan import Plan
from flow.plan.routing import give_defaults, routes_of
from flow.plan.spare import provide_defaults
from flow.plan.waits import Wait
from flow.plan.wiring import InputSlots, Wirer
from flow.plan.within import note_within, secret_inputs
from flow.policy.admission import gates_of
from flow.policy.arguments import optionals_of
from flow.policy.bind import Binder
from flow.policy.looping import Looped
from flow.policy.mapping import Folded, Mapped, Over
from flow.signature import Composite, Shape, is_async_callable, qualname_of, shape_of
from flow.types import MISSING, NodeRef

CYCLE_SHOWN: Final = 24
"""Names of a cycle that the message shows; ``DefinitionError.cycle`` always holds all."""

_ANY_SHAPE: Final = Shape((), True, True, False)  # stands in for what cannot be read


def compile_definition(definition: Definition, previous: Plan | None = None) -> Plan:
    """Validate ``definition`` and freeze it.

    :param previous: the plan of a prefix of this definition (no edge added since), to resolve only what is new.
    :raises DefinitionError: listing every fault. :raises CycleError: if the only fault is a cycle.
    """
    before = None if previous is None else previous._nodes
    if before is not None and (
        _takes_over_an_input(definition.names[before.count :], before)
        or any(type(fn) is Mapped and fn.options.is_pipelined for fn in definition.fns[before.count :])
        or definition.included
        or before.routes is not None
        or any(i >= before.count and policy.routes for i, policy in definition.policies.items())
    ):
        before = None
    plan = _Compilation(definition, before).plan_or_faults()
    plan._nodes.config, plan._nodes.secret = definition.config, secret_inputs(plan._nodes)
    return plan


def _takes_over_an_input(new_names: list[Any], previous: Nodes) -> bool:
    """Tell whether what a parameter of an older node took for a run input is a node now."""
    inputs: Collection[str] = previous.inputs
    if previous.left_out:
        inputs = previous.left_out.union(inputs)
    return bool(inputs) and any(str.__str__(name) in inputs for name in new_names if isinstance(name, str))


class _Compilation:
    """One attempt: the nodes under construction, and what has been found wrong."""

    def __init__(self, d: Definition, previous: Nodes | None) -> None:
        self.d = d
        self.previous = previous
        self.start = start = 0 if previous is None else previous.count
        self.nodes = nodes = Nodes(len(d.names)) if previous is None else previous.extended(len(d.names))
        self.faults = dag_faults(d.name, d.middleware, d.config)
        nodes.names.extend(checked_names(d.names, start, d.fns, self.faults))
        nodes.fns.extend(d.fns[start:] if start else d.fns)
        self.inputs = InputSlots(nodes.inputs, nodes.input_defaults)
        self.wirer = Wirer(nodes.index, nodes.names, start, d.names, nodes.fns, self.inputs, d.former)
        if d.inputs is not None or d.included:
            self._declare()
        self.usual = Usual()
        self.unreadable: dict[int, str] = {}  # by id of the function: why
        self.pipelined: list[int] = []
        self.ordering: dict[int, tuple[int, ...]] = {}  # dependencies of nodes where they are not the arguments
        edges = d.edges if previous is None else ()  # those of a prefix are in its plan
        if edges:
            self.wirer.foresee()
        self._wire_nodes()
        nodes.dependencies.extend(nodes.arguments[start:] if start else nodes.arguments)
        for i, deps in self.ordering.items():
            nodes.dependencies[i] = deps
        self._add_edges(edges)
        self.lent, faults = join_pipelines(nodes, d.fns, self.pipelined, self.wirer.where)
        self.faults += faults
        mark_generators(nodes, d, start, self.usual.generators)
        self.faults += reading_faults(nodes, d.fns, self.wirer.where)

    def plan_or_faults(self) -> Plan:
        """Finish, or raise the one error that lists everything that is wrong."""
        d, nodes = self.d, self.nodes
        self._apply_policies()
        self._apply_routes()
        if self.inputs.declared is not None:
            self.faults += self.inputs.unfilled_faults(nodes.reads, nodes.names, self._taker)
        faults, cycle = self._all_faults(), []
        order: Sequence[int] = ()
        if len(nodes.index) == nodes.count:  # else names are used twice, and edges mean nothing
            order = self._order()
            if len(order) != nodes.count:
                cycle = [str(nodes.names[i]) for i in cycle_in(nodes.dependencies, order)]
            elif not self.faults and nodes.routes is not None and nodes.routes.gated:
                order = gated_order(nodes, nodes.ranks())
        if cycle:
            faults.append(_cycle_fault(cycle))
        if faults:
            kind = CycleError if cycle and len(faults) == 1 else DefinitionError
            raise kind(d.name, faults, cycle)
        if nodes.may_fail:
            provide_defaults(nodes, self.start, self.lent)
        if nodes.routes is not None:
            give_defaults(nodes)
        nodes.freeze(self.inputs, order)
        return Plan(d.name, nodes)

    def _declare(self) -> None:
        """Read what the Dag declares of its inputs."""
        from flow.plan.declared import DeclaredSlots, declaration  # here: few Dags declare any

        before = None if self.previous is None else self.previous.declared
        declared, faults = declaration(self.d, before, self.nodes.names)
        self.faults += faults
        self.wirer.inputs = self.inputs = DeclaredSlots(declared, self.nodes.inputs, self.nodes.input_defaults)

    def _taker(self, i: int, parameter: str) -> str:
        fn = self.d.fns[i]
        over = isinstance(fn, Over) and parameter in fn.sources
        return f"{self.wirer.where(i)} {'goes over' if over else 'takes'} {shown(parameter)}"

    # -- wiring ------------------------------------------------------------------------------

    def _wire_nodes(self) -> None:
        """Fill in arguments, kinds and index. The loop all of compiling's time is spent in."""
        d, nodes, start, ordering = self.d, self.nodes, self.start, self.ordering
        index, shapes, arity_of = nodes.index, nodes.shapes, self.usual.arity
        add_arguments = nodes.arguments.append
        nodes.is_async.extend(bytes(nodes.count - start))
        columns: tuple[list[Any], ...] = (nodes.names, nodes.fns, d.needs, d.after)
        if start:
            columns = tuple([column[start:] for column in columns])
        last, shape, usual, exact, takes_any, is_async = self, _ANY_SHAPE, False, -1, False, False
        for i, name, fn, needs, after in zip(range(start, nodes.count), *columns, strict=True):
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
                            ordering[i] = distinct(args)
                    elif size:
                        args = tuple([index[need] for need in needs])
                        if len(set(args)) != size:
                            ordering[i] = distinct(args)
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
                    ordering[i] = distinct(args)
            else:
                args = self._wire_with_care(i, fn, needs)
            if after:
                ordering[i] = distinct((*args, *self.wirer.find_all(after, i, "after")))
            if is_async:
                nodes.is_async[i] = 1
            add_arguments(args)
            index[name] = i

    def _wire_references(self, i: int, needs: tuple[Any, ...]) -> tuple[int, ...]:
        args = self.wirer.find_all(needs, i, "needs")
        self.ordering[i] = distinct(args)
        return tuple(args)

    def _wire_with_care(self, i: int, fn: Any, needs: Any) -> tuple[int, ...]:
        shape = self.nodes.shapes.get(id(fn)) or self._read(fn)
        wiring = self.wirer.wire(i, shape, needs)
        self.ordering[i] = distinct(wiring.slots)
        if id(fn) in self.unreadable:
            if issubclass(type(fn), Over):  # what is wrong with its settings is found all the same
                self.faults += [f"{self.wirer.where(i)}: {fault}" for fault in fn.faults()]
            return wiring.slots
        composite = isinstance(fn, Composite)
        if wiring.keywords or wiring.context != -1 or wiring.optional or shape.lifted or composite:
            binder = Binder(fn, shape.is_async, wiring.keywords, wiring.context)
            if wiring.optional and not composite:  # those leave out what is missing themselves
                binder = structs.replace(binder, optional=optionals_of(shape))
            self.nodes.binders[i] = binder
        if composite:
            note_within(self.nodes, i, fn)
        if isinstance(fn, Over):
            self._check_over(i, fn, fn.source_slots(wiring.slots))
        elif isinstance(fn, Looped):
            self.faults += [f"{self.wirer.where(i)}: {fault}" for fault in fn.faults()]
        return wiring.slots

    def _check_over(self, i: int, over: Over, sources: Sequence[int]) -> None:
        self.faults += [f"{self.wirer.where(i)}: {fault}" for fault in over.faults()]
        if isinstance(over, Mapped) and over.options.is_pipelined:
            self.pipelined.append(i)
        fns, binder = self.d.fns, self.nodes.binders[i]
        if any(slot >= 0 and is_async_generator(fns[slot]) for slot in sources):
            self.nodes.is_async[i] = 1  # its items must be awaited, whatever the function is
            self.nodes.binders[i] = structs.replace(binder, fn=over.awaiting(), is_async=True)

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
        self.nodes.shapes[id(fn)] = shape
        return shape

    def _add_edges(self, edges: Sequence[tuple[Any, Any]]) -> None:
        find, dependencies = self.wirer.find, self.nodes.dependencies
        upstream_of: dict[int, list[int]] = {}
        for upstream, downstream in edges:
            a, b = find(upstream), find(downstream)
            if a >= 0 and b >= 0:
                upstream_of.setdefault(b, []).append(a)
                continue
            for ref, found in ((upstream, a), (downstream, b)):
                if found < 0:
                    self.wirer.unknown(ref, f"edge({_label(upstream)}, {_label(downstream)})")
            self.wirer.unsure.update([b] if b >= 0 else range(self.nodes.count))
        for i, more in upstream_of.items():
            dependencies[i] = distinct((*dependencies[i], *more))

    # -- policies, faults, order -------------------------------------------------------------

    def _apply_policies(self) -> None:
        d, nodes = self.d, self.nodes
        if not d.policies and not d.middleware:
            return
        for i in range(self.start, nodes.count):
            policy = d.policies.get(i)
            if policy is None and not d.middleware:
                continue
            fn = d.fns[i]
            readable = id(fn) not in self.unreadable
            is_async = is_async_callable(fn.fn) if readable and isinstance(fn, Mapped) else bool(nodes.is_async[i])
            found = _faults_of(fn, policy or PLAIN, is_async)
            if policy is not None and (i in nodes.generators or makes_generators(fn)):
                found += generator_faults(policy, isinstance(fn, Mapped))
            if found:
                self.faults += [f"{self.wirer.where(i)}: {fault}" for fault in found]
            elif readable:
                _apply_policy(nodes, i, policy or PLAIN, d.middleware)

    def _apply_routes(self) -> None:
        sound = not (self.faults or self.unreadable) and len(self.nodes.index) == self.nodes.count
        if self.wirer.outcomes or any(policy.routes for policy in self.d.policies.values()):
            if self.unreadable:
                self.wirer.unsure.update([i for i, fn in enumerate(self.d.fns) if id(fn) in self.unreadable])
            self.nodes.routes, faults = routes_of(self.nodes, self.d, self.wirer, sound)
            self.faults += faults

    def _all_faults(self) -> list[str]:
        d, nodes, where = self.d, self.nodes, self.wirer.where
        if not self.faults and not self.wirer.faults and not self.unreadable and 0 < nodes.count == len(nodes.index):
            return []
        faults = [] if nodes.count else ["the dag is empty: add a node first"]
        if len(nodes.index) != nodes.count:
            faults += duplicate_faults(nodes.names, d.fns)
        bad = self.unreadable
        faults += [f"{where(i)}: {bad[id(fn)]}" for i, fn in enumerate(d.fns) if id(fn) in bad]
        return [*self.faults, *faults, *self.wirer.faults]

    def _order(self) -> Sequence[int]:
        """The order in which a run with limit 1 takes nodes; short if there is a cycle."""
        nodes, previous = self.nodes, self.previous
        ranks = nodes.ranks()
        if ranks is None and (not (self.wirer.forward or self.pipelined) or is_ordered(nodes.dependencies, self.start)):
            if previous is None or isinstance(previous.order, range):
                return range(nodes.count)
            return [*previous.order, *range(self.start, nodes.count)]
        return topological_order(nodes.dependencies, nodes.successors, ranks)


def _faults_of(fn: Any, policy: Policy, is_async: bool) -> list[str]:
    """Say what is wrong with the policy of a node that has this function."""
    return fn.faults(policy) if issubclass(type(fn), Wait) else policy_faults(policy, is_async, type(fn) is Folded)


def _apply_policy(nodes: Nodes, i: int, policy: Policy, dag_middleware: tuple[Any, ...]) -> None:
    """Take a node's valid policy into the plan."""
    if policy.continue_on_error:
        nodes.may_fail.add(i)
    if policy.priority:
        nodes.priorities[i] = policy.priority
    if policy.cost is not None:
        nodes.costs[i] = float(policy.cost)
    if policy.store is not True:
        nodes.storing[i] = False if policy.store is False else "pickle"
    fn = nodes.fns[i]
    layers, timeout = () if issubclass(type(fn), Wait) else (*dag_middleware, *policy.middleware), policy.timeout
    if timeout is not None and not isinstance(timeout, Timeout):
        timeout = per_attempt(timeout)
    if timeout == UNLIMITED:
        timeout = None  # limits nothing
    if policy.runs_in not in (None, "inline", "thread"):
        nodes.named.add(i)
    gates = None if policy.admission is None else gates_of(policy.admission)
    if isinstance(fn, Mapped):  # these are each item's, the rest the node's
        fn = fn.with_policy(policy.retry, timeout, policy.runs_in, policy.fallback, policy.abandon_on_timeout, gates)
        binder = structs.replace(nodes.binders[i], fn=fn, is_async=bool(nodes.is_async[i]) or fn.is_async)
        nodes.binders[i] = binder = binder.with_policy(None, layers, None)
        nodes.is_async[i] = binder.is_async
        return
    if policy.fallback is not MISSING:
        nodes.fallbacks[i] = policy.fallback
    if policy.retry is not None:
        nodes.retries[i] = policy.retry
    if layers or timeout is not None or policy.runs_in is not None or gates is not None:
        made = nodes.binders.get(i) or Binder(nodes.fns[i], bool(nodes.is_async[i]))
        nodes.binders[i] = binder = made.with_policy(policy.runs_in, layers, timeout, policy.abandon_on_timeout, gates)
        nodes.is_async[i] = binder.is_async


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
