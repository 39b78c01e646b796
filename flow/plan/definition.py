"""The definition of a Dag so far: parallel lists, one entry per node.

A structure of arrays rather than a node object each: adding a node is four appends, and a
million nodes cost no million objects. :class:`flow.Dag` writes it, :mod:`flow.plan.compile`
reads it. Redefining and removing nodes are for notebooks: adding one pays nothing for them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

import msgspec

from flow.config import Retry, Timeout
from flow.errors import UsageError, nearest, shown
from flow.policy.admission import Admissions
from flow.signature import identity_of, is_same, namesake, qualname_of
from flow.types import MISSING, NodeRef

Needs = tuple[Any, ...] | Mapping[str, Any] | None


class Router(msgspec.Struct, frozen=True):
    """What a node may choose: nodes by key, and the one to go on with where it gives no key.

    :ivar partial: the Dag may lack some of these nodes, since it is a part of another one.
    """

    to: Any
    default: Any = None
    partial: bool = False


class Routing(msgspec.Struct, frozen=True):
    """What a node's edges carry, where that is no option of a name of its own.

    :ivar conditions: those of the edges from the nodes in ``after``, in that order; empty if all are "completed".
    :ivar router: what its output chooses; None if it is no router.
    :ivar reads: the nodes that its condition takes, by parameter; other parameters follow the usual rule.
    :ivar setup: the node that it is the teardown of; MISSING if it is none.
    """

    conditions: tuple[Any, ...] = ()
    router: Router | None = None
    reads: Any = None
    setup: Any = MISSING


class Policy(msgspec.Struct, frozen=True):
    """The options of a node beyond function and dependencies. Nodes without options have no Policy."""

    retry: Retry | None = None
    timeout: Timeout | float | None = None
    thread: bool = False
    continue_on_error: bool = False
    priority: int = 0
    middleware: tuple[Callable[..., Any], ...] = ()
    cost: float | None = None
    fallback: Any = MISSING
    abandon_on_timeout: bool = False
    executor: str | None = None
    admission: Admissions | None = None
    join: str | int = "all"
    when: Callable[..., Any] | None = None
    cleanup: bool = False
    routing: Routing | None = None
    store: bool | Literal["pickle"] = True

    @property
    def routes(self) -> bool:
        """Tell whether it says when the node runs, or what it chooses."""
        if self.when is not None or self.routing is not None or self.cleanup is not False:
            return True
        return type(self.join) is not str or self.join != "all"

    @property
    def runs_in(self) -> str | None:
        """Where a sync function runs: "inline", "thread" or the name of an executor; None: as the run's config says.

        Ask this rather than ``thread`` and ``executor``, which are as the user wrote them.
        """
        executor: Any = self.executor
        if self.thread is True:
            return "thread"
        return str.__str__(executor) if executor is not None and issubclass(type(executor), str) else None


PLAIN = Policy()


class Definition:
    """The growing description of a Dag. What is appended leaves a compiled prefix valid; all else does not."""

    __slots__ = (
        "_indexed", "_places", "_twice", "after", "config", "edges", "fns", "former", "included", "inputs",
        "middleware", "name", "names", "needs", "policies",
    )  # fmt: skip

    def __init__(
        self, name: str, middleware: tuple[Callable[..., Any], ...] = (), inputs: Any = None, config: Any = None
    ) -> None:
        self.name = name
        self.config = config  # of runs that are given none
        self.inputs = inputs  # as the user declares them; None: every unfilled parameter is an input
        self.included: list[Any] = []  # the declarations of included Dags
        self.middleware = middleware
        self.names: list[Any] = []
        self.fns: list[Any] = []
        self.needs: list[Needs] = []  # None: infer from the signature
        self.after: list[tuple[Any, ...]] = []
        self.edges: list[tuple[Any, Any]] = []  # added by Dag.edge: (upstream, downstream)
        self.policies: dict[int, Policy] = {}
        self.former: dict[Any, tuple[Any, str]] = {}  # by identity: former functions of nodes, with the nodes' names
        self._places: dict[str, int] = {}  # of the first ``_indexed`` names
        self._twice: set[str] = set()
        self._indexed = 0

    # -- redefine ----------------------------------------------------------------------------

    def put(self, name: Any, fn: Any, needs: Needs, after: tuple[Any, ...], policy: Policy | None) -> bool:
        """Put a node in the place of the present node ``name``, or append it. O(1) on average.

        References to the former function of the node still mean this node.

        :return: whether a node was replaced.
        """
        i = self._place(name)
        is_new = i < 0
        if is_new:
            i = len(self.names)
            columns: Any = (self.names, self.fns, self.needs, self.after)
            for column in columns:
                column.append(None)
        else:
            key, old = str.__str__(name), self.fns[i]
            if key in self._twice:
                self._cut([k for k in self._called(key) if k != i])
            if not is_same(old, fn):
                self.former[identity_of(old)] = (old, key)
        self.names[i], self.fns[i], self.needs[i], self.after[i] = name, fn, needs, after
        self.policies.pop(i, None)
        if policy is not None:
            self.policies[i] = policy
        return not is_new

    def remove(self, ref: Any) -> None:
        """Remove the node that ``ref`` names, and its edges. O(nodes + edges).

        :raises UsageError: if there is no such node.
        """
        name = self._name_of(ref)
        gone = self._called(name)
        if not gone:
            raise UsageError(f"dag {shown(self.name)} has no node {shown(name)}{nearest(name, self.names)}")
        fns = [self.fns[i] for i in gone]
        self._cut(gone)
        # If other nodes run the same function, an edge of that function is theirs too.
        fns = [fn for fn in fns if not any(is_same(other, fn) for other in self.fns)]
        fns += [fn for fn, of in self.former.values() if of == name]
        self.edges = [edge for edge in self.edges if not any(_means(ref, name, fns) for ref in edge)]
        self.former = {key: found for key, found in self.former.items() if found[1] != name}

    def cut_below(self, prefix: str) -> bool:
        """Remove the nodes ``prefix.*``; tell whether there were any. Edges stay, for new nodes of these names."""
        below = f"{prefix}."
        found = [i for i, name in enumerate(self.names) if isinstance(name, str) and name.startswith(below)]
        if found:
            self._cut(found)
        return bool(found)

    def current(self, ref: Any) -> Any:
        """Return the name of the node whose former function is ``ref``; ``ref`` if a node has this function now."""
        if not self.former or isinstance(ref, (str, NodeRef)) or any(is_same(fn, ref) for fn in self.fns):
            return ref
        found = self.former.get(identity_of(ref))
        return ref if found is None else found[1]

    def _place(self, name: Any) -> int:
        """Return the index of the first node called ``name``; -1 without such a node. Each name is indexed once."""
        for i in range(self._indexed, len(self.names)):
            known = self.names[i]
            if issubclass(type(known), str):
                key = str.__str__(known)
                if self._places.setdefault(key, i) != i:
                    self._twice.add(key)
        self._indexed = len(self.names)
        return self._places.get(str.__str__(name), -1) if issubclass(type(name), str) else -1

    def _called(self, name: str) -> list[int]:
        return [i for i, known in enumerate(self.names) if issubclass(type(known), str) and str.__str__(known) == name]

    def _name_of(self, ref: Any) -> str:
        name = ref.name if isinstance(ref, NodeRef) else ref
        if issubclass(type(name), str):
            return str.__str__(name)
        label = shown(qualname_of(name) or name)
        runs = {self.names[i] for i, fn in enumerate(self.fns) if is_same(fn, name)}
        if len(runs) > 1:
            raise UsageError(f"dag {shown(self.name)}: {len(runs)} nodes run {label}: say which one, by its name")
        if not runs:
            former = self.former.get(identity_of(name))
            if former is None or former[0] is not name:
                what = f"is no node's name, and no node runs it{namesake(name, self.names)}"
                raise UsageError(f"dag {shown(self.name)}: {label} {what}")
            runs = {former[1]}
        return str.__str__(runs.pop())

    def _cut(self, indices: Iterable[int]) -> None:
        """Remove the nodes at ``indices``; later nodes move up."""
        gone = frozenset(indices)
        kept = [i for i in range(len(self.names)) if i not in gone]
        columns: Any = (self.names, self.fns, self.needs, self.after)
        for column in columns:
            column[:] = [column[i] for i in kept]
        self.policies = {at: self.policies[i] for at, i in enumerate(kept) if i in self.policies}
        self._places, self._twice, self._indexed = {}, set(), 0


def _means(ref: Any, name: str, fns: Iterable[Any]) -> bool:
    """Tell whether ``ref`` stands for the node ``name``, which had the functions ``fns``."""
    label = ref.name if isinstance(ref, NodeRef) else ref
    if issubclass(type(label), str):
        return str.__str__(label) == name
    return any(is_same(fn, label) for fn in fns)
