"""Choices of a Dag: nodes that choose what runs next, and nodes that take the output of the one that ran."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from typing import Any, Literal, TypeVar, Unpack, overload

from msgspec import structs

from flow.errors import UsageError, shown
from flow.graph.loops import Loops
from flow.graph.options import TEARDOWN, NodeOptions, Ref, unknown_options
from flow.plan.definition import Policy, Router, Routing
from flow.plan.merging import Merge
from flow.plan.plan import Plan
from flow.signature import qualname_of, shape_of
from flow.tracebacks import ends_at_user, users_line
from flow.types import MISSING, NodeRef, references

T = TypeVar("T")

_CONDITIONS = "after: conditions"  # no keyword of a caller's can have such a name
_ROUTER = "route: router"
WAITS = "waits: yes"
_OWN = frozenset({_CONDITIONS, _ROUTER, TEARDOWN, WAITS})


class Choices(Loops):
    """The methods of a Dag that add nodes which choose, and merge what was chosen."""

    __slots__ = ()

    @overload
    def route(
        self, name: str, fn: Callable[..., Coroutine[Any, Any, Any]], *, to: Mapping[Any, Ref],
        default: Ref | None = None, **options: Unpack[NodeOptions],
    ) -> NodeRef[tuple[str, ...]]: ...  # fmt: skip

    @overload
    def route(
        self, name: str, fn: Callable[..., Any], *, to: Mapping[Any, Ref], default: Ref | None = None,
        **options: Unpack[NodeOptions],
    ) -> NodeRef[tuple[str, ...]]: ...  # fmt: skip

    @ends_at_user
    def route(self, name: str, fn: Any, *, to: Any, default: Any = None, **options: Any) -> NodeRef[tuple[str, ...]]:
        """Add a node that chooses which of other nodes run. Its output is the tuple of the names that it chose.

        An edge leads from it to each of these nodes. Those that it does not choose are bypassed, unless their ``join``
        lets them run.

        :param fn: a sync or async function that returns the key, or a list of the keys, to go on with.
        :param to: the nodes by key. Several keys may lead to one node. The nodes may be added later.
        :param default: the node to go on with if ``fn`` returns None or an empty list.
        :param options: as of :meth:`add`. A ``fallback`` gives a key, too.
        :raises UsageError: for an option that there is not. In a run a key that ``to`` has not, or none without a
            default, fails the node with a :class:`flow.errors.RouteError`.
        """
        return self.add(name, fn, **{**options, _ROUTER: Router(to, default)})

    @overload
    def merge(
        self, name: str, *, of: Sequence[NodeRef[T]], pick: Literal["first"] | None = None,
        after: Ref | Iterable[Ref] | Mapping[Any, str] = (), replace: bool = False,
        store: bool | Literal["pickle"] = True,
    ) -> NodeRef[T]: ...  # fmt: skip

    @overload
    def merge(
        self, name: str, *, of: Sequence[Ref], pick: Literal["first"] | None = None,
        after: Ref | Iterable[Ref] | Mapping[Any, str] = (), replace: bool = False,
        store: bool | Literal["pickle"] = True,
    ) -> NodeRef[Any]: ...  # fmt: skip

    @ends_at_user
    def merge(
        self,
        name: str,
        *,
        of: Any = (),
        pick: Any = None,
        after: Any = (),
        replace: bool = False,
        store: Any = True,
        **wrong: Any,
    ) -> NodeRef[Any]:
        """Add a node whose output is that of the one node among several that ran.

        It runs under ``join="some"``: it waits for all of them, is skipped if one of them failed, and bypassed if none
        ran. If only a node in ``after``, or a router that leads to it, has let it run, its output is None.

        :param of: the nodes, one at least.
        :param pick: "first" takes the output of the first of several that ran, in the order of ``of``. None: several
            are a :class:`flow.errors.RouteError`.
        :param store: as of :meth:`add`.
        :raises UsageError: if ``of`` is no list, is empty, or names a node twice, or ``pick`` is something else.
        """
        if wrong:
            raise unknown_options("node", name, wrong, ["of", "pick", "after", "replace", "store"])
        if pick not in (None, "first"):
            raise UsageError(f"merge(pick=...) is 'first' or None, not {shown(pick)}")
        if isinstance(of, (set, frozenset)):
            raise UsageError("merge(of=...) is a set, which has no order: give a list")
        refs = references(of)
        if len(refs) == 1 and refs[0] is of:
            raise UsageError(f"merge(of=...) is a list of nodes, not {shown(of)}: give a list, even of one node")
        if not refs:
            raise UsageError("merge(of=...) names the nodes to merge, one at least")
        names = [_name_of(ref) for ref in refs]
        if len(set(names)) < len(names):
            twice = next(name for k, name in enumerate(names) if name in names[:k])
            raise UsageError(f"merge(of=...) names {shown(twice)} more than once")
        merge = Merge(tuple(names), pick == "first", users_line())
        return self.add(name, merge, needs=refs, after=after, join="some", replace=replace, store=store)


def _name_of(ref: Any) -> str:
    name = ref.name if isinstance(ref, NodeRef) else ref
    return name if isinstance(name, str) else qualname_of(name) or shown(name)


def conditional(after: Any, options: dict[str, Any]) -> tuple[Any, ...]:
    """Return the references in ``after``; if it maps each to a condition, the conditions go into ``options``."""
    if after.__class__ is str or not issubclass(type(after), Mapping):
        return references(after)
    options[_CONDITIONS] = tuple(["completed" if condition is None else condition for condition in after.values()])
    return tuple(after)


def in_part(policy: Policy, plan: Plan, i: int) -> Policy:
    """Return the policy of node ``i`` of ``plan`` for a Dag of a part of it: nodes may be lacking that it chooses."""
    routes, routing = plan._nodes.routes, policy.routing
    if routing is None or routes is None or i not in routes.routers:
        return policy
    choice = routes.routers[i]
    return structs.replace(policy, routing=structs.replace(routing, router=Router(choice.to, choice.default, True)))


def prefixed(
    policy: Policy | None, plan: Plan, i: int, names: Sequence[str], sources: Mapping[int, Any]
) -> Policy | None:
    """Return the policy of node ``i`` of ``plan`` where its nodes are called ``names``.

    :param sources: by slot, what provides its value; None for an input that follows the usual rule.
    """
    routes = plan._nodes.routes
    if policy is None or not policy.routes or routes is None:
        return policy
    changes: dict[str, Any] = {}
    if i in routes.routers:
        choice, index = routes.routers[i], plan._nodes.index
        to = {key: names[index[name]] for key, name in choice.to.items() if name in index}
        default = None if choice.default is None else names[index[choice.default]]
        changes["router"] = Router(to, default)
    when = routes.whens.get(i)
    if when is not None:
        positional = [p.name for p in shape_of(when.fn).positional]
        first = len(when.slots) - len(when.keywords)
        filled = zip((*positional[:first], *when.keywords), when.slots, strict=True)
        changes["reads"] = {name: sources[slot] for name, slot in filled if sources.get(slot) is not None}
    if i in routes.conditions or i in routes.gated:
        changes["conditions"] = tuple([routes.condition(d, i) for d in after_of(plan, i)])
    if i in routes.setups:
        changes["setup"] = names[routes.setups[i]]
    if not changes:
        return policy
    return structs.replace(policy, routing=Routing(**changes))


def after_of(plan: Plan, i: int) -> list[int]:
    """Return the nodes that node ``i`` of ``plan`` only comes after, or has a condition on."""
    nodes = plan._nodes
    if nodes.routes is not None and i in nodes.routes.gated and i not in nodes.routes.joins:
        return list(nodes.dependencies[i])  # each edge has a condition
    data, conditions = nodes.reads_of(i), {} if nodes.routes is None else nodes.routes.conditions.get(i, {})
    return [d for d in nodes.dependencies[i] if d not in data or d in conditions]


def routing_of(options: dict[str, Any]) -> Routing | None:
    """Take the conditions and the choice out of a node's ``options``; None if there are none."""
    if _OWN.isdisjoint(options):
        return None
    conditions, router = options.pop(_CONDITIONS, ()), options.pop(_ROUTER, None)
    setup, waits = options.pop(TEARDOWN, MISSING), options.pop(WAITS, False)
    if router is not None or setup is not MISSING or (conditions and options.get("cleanup") is True):
        return Routing(conditions, router, setup=setup)
    if not waits and all(isinstance(condition, str) and condition == "completed" for condition in conditions):
        return None
    return Routing(conditions, router)


__all__ = ["WAITS", "Choices", "after_of", "conditional", "in_part", "prefixed", "routing_of"]
