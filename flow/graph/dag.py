"""The builder: say what the nodes are and what they depend on."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from functools import partial
from types import EllipsisType, FunctionType
from typing import Any, Final, TypeVar, Unpack, overload

from flow.config import Config
from flow.config.fields import unknown_arguments
from flow.errors import DefinitionError, UsageError, shown
from flow.graph.inline import cleanup_of_part, inline
from flow.graph.options import NodeOptions, Ref, unknown_options
from flow.graph.routes import conditional, in_part, routing_of
from flow.graph.waits import Waits
from flow.plan.compile import compile_definition
from flow.plan.definition import PLAIN, Definition, Policy
from flow.plan.plan import Plan
from flow.policy.middleware import Middleware
from flow.signature import Nested
from flow.tracebacks import OUR_ERRORS, end_at_user, ends_at_user
from flow.types import NodeRef, Nothing, references

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])

_DEFAULTS: Final = {option: getattr(PLAIN, option) for option in Policy.__struct_fields__}


class Dag(Waits):
    """A directed acyclic graph of plain functions, being built.

    :param name: matches :data:`flow.types.NAME_PATTERN`; shown in errors, plans and pictures.
    :param middleware: callables ``(next, ctx) -> result`` around every node, first one outermost.
    :param inputs: the run inputs: a list of their names; or a :class:`msgspec.Struct`, dataclass or TypedDict whose
        fields give each a type and perhaps a default. A required parameter that neither a node nor one of these fills
        is a fault then, and one with a default is left out. ``...`` (also at the end of a list) lets runs give any
        other input as well. None: every parameter that no node fills is a run input.
    :param config: the :class:`flow.Config` of runs that are given none. Where this Dag is a node of another one, or is
        included in it, the run's own holds.

    Adding checks nothing (but compiles a Dag added as a node): :meth:`compile` validates the whole and lists all faults
    in one error. Building costs O(1) per node, one entry in each of four lists.
    """

    __slots__ = ("_definition", "_plan", "_plan_edges")

    def __init__(
        self,
        name: str = "dag",
        *,
        middleware: Sequence[Middleware] = (),
        inputs: Sequence[str | EllipsisType] | type[Any] | EllipsisType | None = None,
        config: Config | None = None,
        **wrong: Unpack[Nothing],
    ) -> None:
        if wrong:
            raise unknown_arguments("Dag", "flow.Dag", wrong)
        name = str.__str__(name) if isinstance(name, str) else name  # a member of a StrEnum, say
        self._definition = Definition(name, references(middleware), inputs, config)
        self._plan: Plan | None = None
        self._plan_edges = 0

    @overload
    def add(self, name: str, fn: Dag, **options: Unpack[NodeOptions]) -> NodeRef[Mapping[str, Any]]: ...

    @overload
    def add(
        self, name: str, fn: Callable[..., Coroutine[Any, Any, T]], **options: Unpack[NodeOptions]
    ) -> NodeRef[T]: ...

    @overload
    def add(self, name: str, fn: Callable[..., T], **options: Unpack[NodeOptions]) -> NodeRef[T]: ...

    def add(
        self,
        name: str,
        fn: Callable[..., Any] | Dag,
        *,
        after: Any = (),  # the overloads say what it takes
        needs: Any = None,
        **options: Any,
    ) -> NodeRef[Any]:
        """Add a node. Its dependencies may be added later.

        :param name: see :data:`flow.types.NAME_PATTERN`.
        :param fn: a sync or async function, or a Dag to run as this one node (its output is then
            the mapping of the inner Dag's outputs). That Dag is compiled now, as it is now.
        :param after: nodes that must end first, or a mapping of them to "completed", "failed" or "done" (in any way).
        :param needs: a sequence passes those nodes' outputs by position, a mapping by parameter.
            Each parameter left is filled by the usual rule: one named after a node receives its output, one annotated
            ``flow.Context`` the Context, any other is a run input (optional if it has a default).
        :param retry: how to try again; None does not. :param timeout: seconds per attempt, or a :class:`flow.Timeout`.
        :param thread: run this sync function in a worker thread, contextvars carried over: the short word for
            ``executor="thread"``.
        :param continue_on_error: a failure is recorded but does not end the run, and nodes that come ``after`` this
            one still run. Those that take its output run with their parameter's default, or are skipped.
        :param priority: among ready nodes, higher goes first.
        :param middleware: callables ``(next, ctx) -> result`` around this node, inside the Dag's.
        :param cost: expected seconds, for critical paths and ``Config(order="critical_path")``.
        :param fallback: what becomes the output if the last attempt fails: a value (copied each time), or a function
            of the exception, which is then in :attr:`flow.Result.fallbacks`. The node completes.
        :param abandon_on_timeout: with ``thread`` and ``timeout``: at its limit the node fails, and nobody waits for
            its function, which cannot be interrupted. What that returns is dropped; see ``Result.abandoned``.
        :param executor: where this sync function runs: "inline" (where the run itself goes on), "thread", or a name in
            ``Config(executors=...)``. None leaves it to ``Config.executor``.
        :param admission: called with the ``flow.Context`` before each attempt, and awaited if what it returns can be,
            without holding a slot: a :class:`flow.RateLimiter`, a :class:`flow.Breaker`, one of yours, or a list.
        :param join: which edges must be live: "all", "some", "none_failed", "done", "failed", or a number of them.
        :param when: a sync function or ``flow.expr(...)``, wired by what it reads, asked once: False bypasses the node.
        :param cleanup: it runs after all other nodes, whatever became of them, and however the run ends (within
            ``Config.cleanup_timeout``). What it reads of them needs defaults, or ``flow.Outcome`` as annotation.
        :param store: False: what the node returns is not stored by a durable run; the node runs again when something
            unfinished needs it after a resume (connections, generators). "pickle": by pickle, if nothing else can.
        :param replace: take the place of the node of this name, if there is one: a notebook's cell can run again.
            Function, dependencies and options are all new; its place in the order, and edges of :meth:`edge`, stay.
        :return: a typed reference, usable wherever a name is, and as a key of a Result.
        :raises UsageError: for an option that there is not. :raises DefinitionError: if a Dag given as ``fn`` cannot
            be compiled. Nothing is added then.
        """
        try:
            if type(fn) is not FunctionType and issubclass(type(fn), Dag):  # not isinstance: a proxy may raise
                fn = Nested.of(fn)
            if needs is not None and needs.__class__ is not tuple:
                needs = tuple(needs) if needs.__class__ is list else _needs(needs)
            if after.__class__ is not tuple:
                after = conditional(after, options)
            d = self._definition
            if options:
                replaces = options.pop("replace", False)
                policy = _policy(name, options) if options else None
                if replaces:
                    if d.put(name, fn, needs, after, policy):
                        self._plan = None
                    return NodeRef(name)
                if policy is not None:
                    d.policies[len(d.names)] = policy
        except OUR_ERRORS as error:
            end_at_user(error)
            raise
        # Only now, when nothing can fail: the lists must stay of one length.
        d.names.append(name)
        d.fns.append(fn)
        d.needs.append(needs)
        d.after.append(after)
        return NodeRef(name)

    @overload
    def node(self, fn: F, /, *, name: str | None = None, **options: Unpack[NodeOptions]) -> F: ...

    @overload
    def node(
        self, fn: None = None, /, *, name: str | None = None, **options: Unpack[NodeOptions]
    ) -> Callable[[F], F]: ...

    @ends_at_user
    def node(self, fn: F | None = None, /, *, name: str | None = None, **options: Any) -> F | Callable[[F], F]:
        """Decorate a function to add it as the node of its own name (or ``name``).

        Takes the options of :meth:`add`. Returns the function unchanged, so that it can be
        called and tested as before; it also serves as a reference: ``after=fn``, ``result[fn]``.

        :raises UsageError: if what is decorated is no function, or has no name of its own and none is given.
        """
        if fn is None:
            return partial(_decorated, self, name, options)
        return _decorated(self, name, options, fn)

    def edge(self, upstream: Ref, downstream: Ref) -> None:
        """Make ``downstream`` wait for ``upstream``: ``edge(a, b)`` draws ``a -> b``, a runs first. No data passes."""
        self._definition.edges.append((upstream, downstream))

    @ends_at_user
    def remove(self, ref: Ref) -> None:
        """Remove a node, and what :meth:`edge` has said of it. O(nodes + edges).

        A parameter that read its output takes a run input of that name from now on. Where ``needs`` or ``after``
        name the node, :meth:`compile` says so.

        :raises UsageError: if there is no such node, naming the nearest ones.
        """
        self._definition.remove(ref)
        self._plan = None

    @ends_at_user
    def include(
        self,
        other: Dag,
        *,
        prefix: str,
        inputs: Mapping[str, Ref] | None = None,
        after: Ref | Iterable[Ref] = (),
        replace: bool = False,
    ) -> None:
        """Inline all nodes of ``other`` as ``prefix.name``. (To run a Dag as one node, :meth:`add` it.)

        :param inputs: which of this Dag's nodes provides which of ``other``'s run inputs. The rest
            follow the usual rule: a node of that name in this Dag, else a run input.
        :param after: nodes of this Dag that all of ``other``'s first nodes wait for.
        :param replace: first remove all nodes called ``prefix.*``, so that a notebook's cell can run again.
        :raises DefinitionError: if ``other`` cannot be compiled. :raises UsageError: if ``inputs``
            names no input of ``other``, or a node of it cannot be inlined; nothing is added then.
        """
        if not isinstance(other, Dag):
            raise UsageError(f"include() takes a flow.Dag, not {shown(other)}")
        if inputs is not None and not isinstance(inputs, Mapping):
            raise UsageError(f"include(inputs=...) maps {shown(other.name)}'s run inputs to nodes; got {shown(inputs)}")
        given, starts = dict(inputs or {}), references(after)
        if inline(self._definition, other._definition, other.compile(), prefix, given, starts, replace):
            self._plan = None

    # -- look --------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """The Dag's name."""
        return self._definition.name

    @property
    def names(self) -> tuple[str, ...]:
        """Node names in definition order."""
        return tuple(self._definition.names)

    def __len__(self) -> int:
        return len(self._definition.names)

    def __iter__(self) -> Iterator[str]:
        return iter(self._definition.names)

    def __contains__(self, name: object) -> bool:
        plan = self._plan
        if plan is not None and plan._nodes.count == len(self):
            return name in plan
        return name in self._definition.names  # O(nodes) until compiled

    def __repr__(self) -> str:
        return f"Dag({shown(self.name)}, nodes={len(self)})"

    def _repr_html_(self) -> str:
        return _card(self)

    # -- derive ------------------------------------------------------------------------------

    def compile(self, *, check_types: bool = False) -> Plan:
        """Validate everything and freeze it as a :class:`Plan`.

        An unchanged Dag returns the same Plan again; after adding nodes only the new ones are
        resolved. O(nodes + edges); plus O(nodes log nodes) if nodes stand before what they need.

        :param check_types: warn where the annotations of an output and of a parameter that receives it exclude each
            other, with both places.
        :raises DefinitionError: listing every fault, each with its node and place.
        :raises CycleError: if the only fault is a cycle.
        """
        d, plan = self._definition, self._plan
        edges = len(d.edges)
        try:
            if plan is not None and edges == self._plan_edges:
                if len(d.names) == plan._nodes.count:
                    return _warned(plan, plan._nodes.count, check_types) if check_types else plan
            else:
                plan = None  # a new edge may lead to an old node
            start = 0 if plan is None else plan._nodes.count
            self._plan = plan = compile_definition(d, plan)
            self._plan_edges = edges
            plain = plan._nodes.declared is None and plan._nodes.routes is None and not check_types
            return plan if plain else _warned(plan, start, check_types)
        except OUR_ERRORS as error:
            end_at_user(error)
            raise

    @ends_at_user
    def subgraph(self, *targets: Ref) -> Dag:
        """Return a new Dag of ``targets`` and all they depend on, in the same order.

        :raises DefinitionError: if this Dag cannot be compiled. :raises UsageError: for an unknown target, or none.
        """
        plan = self.compile()
        return _part_of(self._definition, plan, plan.subgraph(*targets))


def _part_of(source: Definition, plan: Plan, part: Plan) -> Dag:
    """Return the Dag whose plan is ``part``, of ``plan``, which is that of ``source``."""
    dag = Dag(source.name)
    keep, d = {plan.find(name) for name in part}, dag._definition
    declared = plan._nodes.declared
    if declared is not None:  # (of included Dags, too)
        still = set(part.required_inputs)
        d.inputs = declared.narrowed([name for name in declared.names if name not in still])
    d.middleware, d.config = source.middleware, source.config
    cleanup = () if plan._nodes.routes is None else plan._nodes.routes.gated
    for i in sorted(keep):
        needs, after = source.needs[i], source.after[i]
        if i in cleanup:
            needs, after, policy = cleanup_of_part(plan, i, source.policies[i], keep)
            d.policies[len(d.names)] = policy
        elif i in source.policies:
            d.policies[len(d.names)] = in_part(source.policies[i], plan, i)
        d.names.append(source.names[i])
        d.fns.append(source.fns[i])
        d.needs.append(needs)
        d.after.append(after)
    d.former = source.former
    # By name: the function of a kept node may well run dropped ones too.
    edges = [(plan.find(source.current(a)), plan.find(source.current(b))) for a, b in source.edges]
    d.edges = [(plan.names[a], plan.names[b]) for a, b in edges if b in keep]
    return dag


def _decorated(dag: Dag, name: str | None, options: Mapping[str, Any], fn: F) -> F:
    """Add ``fn`` to ``dag``; return it."""
    try:
        if options:
            dag.add(_name_for(fn, name), fn, **options)
        else:  # unpacking nothing has its price too
            dag.add(_name_for(fn, name), fn)
    except OUR_ERRORS as error:
        end_at_user(error)
        raise
    return fn


def _card(dag: Dag) -> str:
    """Return the card of a Dag; its faults if it cannot be compiled."""
    if len(dag):
        try:
            # Not dag.compile(): it warns once of each thing, and the notebook's own code would be the place.
            return compile_definition(dag._definition, None)._repr_html_()
        except DefinitionError as error:
            faults: Sequence[str] = error.faults
    else:
        faults = ()
    from flow.draw import html
    from flow.reprs import counted

    name = dag.name if isinstance(dag.name, str) else shown(dag.name)
    head = [html.title(name), html.said(counted(len(dag), "node"))]
    if faults:
        head.append(html.said(f"cannot be compiled: {counted(len(faults), 'fault')}", "bad"))
    return html.card("\n".join([repr(dag), *faults]), head, html.listed(faults))


def _warned(plan: Plan, start: int, types: bool) -> Plan:
    """Return ``plan``, and warn of what is most likely wrong: unfilled parameters with a similar name, routers.

    :param start: the first node that is new. :param types: warn of contradicting types, too.
    """
    from flow.plan.findings import findings, warn_of  # here: most Dags ask for neither

    if plan._nodes.declared is not None and start < len(plan):
        warn_of(findings(plan._nodes, start, types=False, routes=False))
    if types:
        warn_of(findings(plan._nodes, names=False, routes=False))
    if plan._nodes.routes is not None and start < len(plan):
        warn_of(findings(plan._nodes, start, names=False, types=False))
    return plan


def _policy(name: Any, options: Any) -> Policy | None:
    """Make a Policy of ``options``, a mapping of the caller's own; None if they say no more than the defaults.

    :raises UsageError: for an option that there is not.
    """
    if options.get("routing") is not None:
        raise unknown_options("node", name, options, NodeOptions.__annotations__)
    options.pop("routing", None)
    routing = routing_of(options)
    for option, value in options.items():
        if option not in _DEFAULTS or value is not _DEFAULTS[option]:  # a value may be anything, and need not compare
            break
    else:
        if routing is None:
            return None
    if "middleware" in options:
        options["middleware"] = references(options["middleware"])
    try:
        return Policy(**options, routing=routing)
    except TypeError:
        raise unknown_options("node", name, options, NodeOptions.__annotations__) from None


def _needs(needs: Any) -> Any:
    """Needs as compiling takes them: a mapping by parameter, or a tuple by position. (It refuses a set.)"""
    if isinstance(needs, Mapping):
        return dict(needs)
    return frozenset(needs) if isinstance(needs, (set, frozenset)) else references(needs)


def _name_for(fn: Any, name: str | None) -> str:
    if not callable(fn) and not isinstance(fn, Dag):
        raise UsageError(f"dag.node decorates a function, not {shown(fn)}: name the node with dag.node(name=...)")
    found = getattr(fn, "__name__", None) if name is None else name
    if found is None:
        raise UsageError(f"{shown(fn)} has no name of its own: name the node with dag.node(name=...)")
    return found


__all__ = ["Dag", "Ref"]
