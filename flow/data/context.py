"""The Context a node asks for with ``ctx: flow.Context``, and its children: one per item of a map."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from contextvars import ContextVar
from functools import partial
from threading import Lock
from types import FunctionType, MappingProxyType, MethodType
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol, TypeAlias

import msgspec

from flow.awaits import UNAWAITED, is_unawaited
from flow.config.data import DEFAULT_DATA_CONFIG
from flow.data.emissions import Texts
from flow.data.key import plain_key
from flow.data.system import System
from flow.data.telling import Telling
from flow.data.within import nesting
from flow.errors import Show, UsageError, note, shower, shown
from flow.tracebacks import OUR_ERRORS, end_at_user

if TYPE_CHECKING:
    from datetime import datetime

    from flow.clock import Clock
    from flow.config import DataConfig
    from flow.data.exported import ContextExport
    from flow.data.store import WorkflowData
    from flow.data.within import Runnable, RunResult, Targets
    from flow.masking import Masks

Merge: TypeAlias = Literal["last", "append"] | Callable[[Any, Any], Any]
"""How published values meet: the last one stays, all are listed, or a function folds them two by two."""

Published: TypeAlias = tuple[str, Any, Merge]
"""One call of :meth:`Context.publish`: key, value and rule."""

_ABSENT: Final[Any] = object()

_MAKING: Final = Lock()
"""Held while a Context makes what it writes to: threads of its node may all be the first."""


class Shared(Protocol):
    """Where a Context gets what all contexts of one run share (a run's state)."""

    @property
    def data(self) -> WorkflowData:
        """The run's store, made at first use."""
        ...

    @property
    def workflow(self) -> str:
        """The name of the run's Dag."""
        ...

    @property
    def clock(self) -> Clock:
        """The run's clock."""
        ...

    @property
    def outputs(self) -> Mapping[str, Any]:
        """The run's outputs so far, by node."""
        ...

    def dates(self) -> tuple[datetime, datetime]:
        """When the run started, and now."""
        ...

    def released(self) -> AbstractAsyncContextManager[None]:
        """Give back the slot of a call that is going on, and take one again at the end."""
        ...

    def emitted(self, call: Context, key: str, value: Any, append: bool) -> None:
        """Tell who observes the run what a node or an item has emitted.

        :param call: its Context; no child that it has made.
        """
        ...

    def report(self, call: Context, kind: str, value: Any) -> None:
        """Keep what a node or an item reports. :param value: plain data, which nobody changes."""
        ...

    def reported(self, call: Context, kind: str) -> list[Any]:
        """Return what a node or an item has reported so far."""
        ...

    def run_reported(self, kind: str) -> list[Any]:
        """Return what has been reported so far in the whole outermost run."""
        ...


class Scope(msgspec.Struct):
    """The part that all contexts of one node share, by reference.

    :ivar published: values that the items of a map have published, by index; None outside of a map.
    :ivar calls: whose calls these are, if not those of ``shared``: a map's.
    :ivar recorded: makes the store, as a node of a durable run sees it: what the node writes is noted.
    """

    run_id: str
    node: str
    inputs: Mapping[str, Any]
    shared: Shared
    published: dict[int, list[Published]] | None = None
    calls: Any = None
    recorded: Callable[[WorkflowData], WorkflowData] | None = None

    @property
    def data(self) -> WorkflowData:
        """The store of the run, as the node sees it."""
        data = self.shared.data
        return data if self.recorded is None else self.recorded(data)


class _Own(msgspec.Struct):
    """What a context has written; made at its first write.

    :ivar runs: those that an item has started; ``texts`` are those that it has emitted. (Of a node its run counts them,
        as it may have several contexts.)
    """

    data: WorkflowData | None = None
    published: list[Published] = []
    released: int = 0
    runs: int = 0
    texts: Texts | None = None


class Context(Telling, msgspec.Struct, frozen=True):
    """The run, as one of its nodes sees it.

    A node gets a Context by annotating a parameter (of any name) with ``flow.Context``; other nodes pay
    nothing. Each attempt has a new Context. Its content is shared by reference, so the cost of a Context,
    or of a :meth:`child`, does not depend on the size of the run. (:func:`flow.testing.context` makes one
    in a test.)

    :ivar attempt: 1 for the first call, 2 for the first retry, and so on.
    :ivar item: the item of this context; None for a node.
    :ivar index: the place of the item, from 0; None for a node.
    """

    _scope: Scope
    attempt: int = 1
    item: Any = None
    index: int | None = None
    _parent: Context | None = None
    _own: _Own | None = None

    @property
    def run_id(self) -> str:
        """The run's id; unique per run in this process and random across processes."""
        return self._scope.run_id

    @property
    def node(self) -> str:
        """This node's name."""
        return self._scope.node

    @property
    def idempotency_key(self) -> str:
        """32 digits: the same in every attempt, and after a resume, so that a service does a thing once."""
        return _digest_of(self._scope, self._call().index)

    @property
    def inputs(self) -> Mapping[str, Any]:
        """The run's inputs, read-only."""
        return self._scope.inputs

    @property
    def data(self) -> WorkflowData:
        """The store that the nodes of this run share; in a child, its own overlay over its parent's.

        No other context sees the writes and deletions of a child. To hand a value up, :meth:`publish` it.
        """
        if self._parent is None:
            return self._scope.shared.data if self._scope.recorded is None else self._scope.data
        own = self._written()
        if own.data is None:
            own.data = self._parent.data.child()
        return own.data

    @property
    def system(self) -> System:
        """What the run tells of itself: the workflow, this node and attempt, the run's start, and the present time.

        Made at each access; a Context without one costs nothing.
        """
        scope = self._scope
        start, now = scope.shared.dates()
        return System(scope.shared.workflow, scope.run_id, scope.node, self.attempt, self.index, start, now)

    def export(self) -> ContextExport:
        """Return all that this context holds at this moment, as a value of its own. O(inputs + nodes + keys).

        Values are taken by reference, not copied. What was published and is not merged yet is no part of it. Of secret
        inputs there is ``***``, also where outputs and data hold their texts (in copies of these).
        """
        from flow.data.exported import ContextExport  # here: a run that exports nothing needs none of it

        scope, masks, item = self._scope, self._masks(), self.item
        shared: Any = scope.shared
        inputs, outputs, data = dict(scope.inputs), dict(shared.outputs), dict(self.data.items())
        if masks is not None:
            item, outputs, data = masks.value(item), masks.named(outputs, ()), masks.named(data, ())
            inputs = masks.named(inputs, shared.nodes.secret)
        show_values = self._show() is shown
        return ContextExport(self.system, inputs, outputs, data, item, self._parent is not None, show_values)

    @classmethod
    def from_export(cls, export: ContextExport, config: DataConfig = DEFAULT_DATA_CONFIG) -> Context:
        """Return a Context that belongs to no run and holds what ``export`` does. O(its keys).

        It equals the exported one in all that ``export()`` returns. The Context of a node has a store of its own. That
        of an item (or of a :meth:`child`) is an item's again, with an overlay of its own over what it saw. Its time
        stands still at the export: ``system`` is what it was.

        :param config: the settings of its store.
        :raises UsageError: if ``export`` is no ContextExport.
        :raises DataError: listing each key that such a store cannot keep.
        """
        from flow.data.exported import restored

        shared, system = restored(export, config), export.system
        scope = Scope(system.run_id, system.node, MappingProxyType(dict(export.inputs)), shared)
        made = Context(scope, system.attempt)
        return Context(scope, system.attempt, export.item, system.index, made) if export.child else made

    def child(self, item: Any = None, index: int | None = None) -> Context:
        """Return a context for one item. O(1): one small object, nothing is copied."""
        if index is not None and not isinstance(index, int):
            raise UsageError(f"child: index is an integer, or None, not {self._show()(index)}")
        return Context(self._scope, 1, item, index, self)

    def publish(self, key: str, value: Any, merge: Merge = "last") -> None:
        """Hand a value up.

        A node's value goes into ``ctx.data`` at once. Values of items go up together when the map ends, in
        the order of the indices, whatever the order of finishing. Values of a failed item (or attempt) are
        dropped. Values of a :meth:`child` that you made go up when you :meth:`gather` it.

        :param merge: ``"last"`` replaces the present value, ``"append"`` makes a list of all values, a
            function ``(so_far, value) -> new`` folds them. A key must always be published with the same merge.
        """
        rule: Any = merge  # it may be anything
        if rule not in _RULES if isinstance(rule, str) else not callable(rule):
            raise UsageError(f"publish({shown(key)}): merge is 'last', 'append' or a function, not {shown(merge)}")
        if not isinstance(rule, str) and is_unawaited(rule):
            raise UsageError(f"publish({shown(key)}): merge {UNAWAITED}, not {shown(merge)}")
        if self._parent is None:
            _merge_into(self.data, key, [value], merge)
            return
        mine = self._written().published
        mine.append((plain_key(key), value, merge))
        gathered = self._scope.published
        if gathered is not None and self.index is not None and self._parent._parent is None:  # no child of an item's
            gathered[self.index] = mine

    def gather(self, children: Iterable[Context]) -> None:
        """Merge what ``children`` have published into this context's data, in the order of their indices.

        :raises UsageError: if two of them publish one key by different rules; nothing is merged then.
        """
        made = list(children)
        for child in made:
            if not isinstance(child, Context):
                raise UsageError(f"gather takes contexts that child() has made, not {self._show()(child)}")
        self._merge([(child.index, child._own.published) for child in made if child._own is not None])

    def run(self, target: Runnable, inputs: Mapping[str, Any] | None = None, *, targets: Targets = None) -> RunResult:
        """Run a Dag or Plan of sync functions as part of this run, in this thread, and return its :class:`flow.Result`.

        It has the config, observers, hooks and time limit of this run, a limit of the same size for itself, and a store
        that is an overlay over ``ctx.data``. The arguments are those of :func:`flow.run`, and so are the errors.

        :raises UsageError: if the Dag needs an event loop: await :meth:`execute` in an async node.
        """
        try:
            return nesting()[0](self, target, inputs, targets)
        except OUR_ERRORS as error:
            end_at_user(error)
            raise

    async def execute(
        self, target: Runnable, inputs: Mapping[str, Any] | None = None, *, targets: Targets = None
    ) -> RunResult:
        """As :meth:`run`, for an async node: any Dag or Plan, on the event loop of this run.

        :raises UsageError: in a run without an event loop, or in another thread than that of its event loop.
        """
        try:
            return await nesting()[1](self, target, inputs, targets)
        except OUR_ERRORS as error:
            end_at_user(error)
            raise

    @asynccontextmanager
    async def released(self) -> AsyncIterator[None]:
        """Give this async node's slot back while it waits: ``async with ctx.released(): await ...``.

        Within the block another node may start, whatever the limit. At the end the node waits for a slot again. If
        several tasks of one node use it at the same time, it gives back one slot.

        :raises UsageError: in a run without an event loop, where there is no slot to give back.
        """
        (own := self._written()).released += 1
        try:
            if own.released > 1:
                yield
                return
            calls = self._scope.calls or self._scope.shared
            async with calls.released():
                yield
        finally:
            own.released -= 1

    def _merge(self, published: list[tuple[int | None, list[Published]]]) -> None:
        """Merge what was published by index into this context's data."""
        values: dict[str, list[Any]] = {}
        rules: dict[str, Merge] = {}
        show = self._show()
        for index, calls in sorted(published, key=lambda one: -1 if one[0] is None else one[0]):
            for key, value, merge in calls:
                if not _is_same(rules.setdefault(key, merge), merge):
                    raise UsageError(
                        f"node {self.node!r}: key {shown(key)} is published with merge={_rule(rules[key], show)} and "
                        f"with merge={_rule(merge, show)} (item {index}): say the same everywhere"
                    )
                values.setdefault(key, []).append(value)
        for key, published in values.items():
            try:
                _merge_into(self.data, key, published, rules[key])
            except Exception as error:
                note(error, f"in the merge of what was published under {shown(key)}")
                raise

    def _call(self) -> Context:
        """The Context of the call that this one belongs to: a node's, or an item's."""
        at, parent, of_map = self, self._parent, self._scope.published is not None
        while parent is not None and not (of_map and parent._parent is None):
            at, parent = parent, parent._parent
        return at

    def _show(self) -> Show:
        """How messages say a value, as the run's Config has it."""
        config = getattr(self._scope.shared, "config", None)
        return shown if config is None else shower(config)

    def _masks(self) -> Masks | None:
        """What must not be shown of the run; None if nothing is secret."""
        return getattr(self._scope.shared, "masks", None)

    def _written(self) -> _Own:
        if self._own is None:
            with _MAKING:
                if self._own is None:
                    msgspec.structs.force_setattr(self, "_own", _Own())
        own = self._own
        assert own is not None
        return own

    def __repr__(self) -> str:
        item = "" if self._parent is None else f", item={self._show()(self.item)}, index={self.index}"
        return f"Context(run_id={self.run_id!r}, node={self.node!r}, attempt={self.attempt}{item})"


class Lease:
    """Whether one attempt of a node may still write. An attempt that was abandoned in its thread may not.

    :ivar node: the node's name, or ``map[index]``.
    """

    __slots__ = ("node", "revoked")

    def __init__(self, node: str) -> None:
        self.node = node
        self.revoked = False

    def check(self) -> None:
        """:raises UsageError: if the attempt was left behind."""
        if self.revoked:
            raise UsageError(
                f"node {self.node!r} was abandoned at its time limit (abandon_on_timeout=True) while this call of it "
                "was still going on: its Context takes no writes any more"
            )


LEASE: Final[ContextVar[Lease]] = ContextVar("flow.lease")
"""That of the call which the present thread is making, if it may be left behind."""


class LeasedContext(Context, frozen=True):
    """The Context of an attempt that may be left behind in its thread: it refuses writes from then on."""

    _lease: Any = None

    @property
    def data(self) -> WorkflowData:
        own = self._written()
        if own.data is None:
            from flow.data.leased import leased

            store = self._scope.data if self._parent is None else self._parent.data.child()
            own.data = leased(store, self._lease.check)
        return own.data

    def child(self, item: Any = None, index: int | None = None) -> Context:
        return LeasedContext(self._scope, 1, item, index, self, None, self._lease)

    def publish(self, key: str, value: Any, merge: Merge = "last") -> None:
        self._lease.check()
        Context.publish(self, key, value, merge)

    def emit(self, key: str, value: Any, *, append: bool = False) -> None:
        self._lease.check()
        Context.emit(self, key, value, append=append)

    def report(self, kind: str, value: Any) -> None:
        self._lease.check()
        Context.report(self, kind, value)

    def run(self, target: Runnable, inputs: Mapping[str, Any] | None = None, *, targets: Targets = None) -> RunResult:
        self._lease.check()
        return Context.run(self, target, inputs, targets=targets)


def _digest_of(scope: Scope, index: int | None) -> str:
    """Return a digest of the run's id, the path to a node, the node, and the item: its key, if it has one."""
    from hashlib import blake2b

    outermost: Any = scope.shared
    while getattr(outermost, "outer", None) is not None:
        outermost = outermost.outer
    run_id = scope.run_id if outermost is scope.shared else outermost.run_id
    parts = [run_id, *getattr(scope.shared, "path", ()), scope.node]
    if index is not None:
        keys = getattr(getattr(scope.calls, "source", None), "keys", None)
        parts.append(f"[{index}]" if keys is None or index >= len(keys) else f"key {keys[index]!r}")
    return blake2b("\0".join(parts).encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def context_of(scope: Scope, attempt: int, item: Any = None, index: int | None = None, parent: Any = None) -> Context:
    """Return a Context for the present call of a node that may be left behind in its thread."""
    lease = LEASE.get(None)  # none outside of the thread: for a middleware that is awaited
    if lease is None:
        return Context(scope, attempt, item, index, parent)
    return LeasedContext(scope, attempt, item, index, parent, None, lease)


_RULES: Final = ("last", "append")


def _is_same(rule: Any, other: Any) -> bool:
    """Tell whether two rules do the same; a lambda is made anew at each call of the function it stands in."""
    if rule is other or type(rule) is not type(other):
        return rule is other
    if isinstance(rule, partial):
        return _is_same(rule.func, other.func) and _equal((rule.args, rule.keywords), (other.args, other.keywords))
    if isinstance(rule, MethodType):
        return rule.__self__ is other.__self__ and rule.__func__ is other.__func__
    if isinstance(rule, FunctionType):
        return rule.__code__ is other.__code__ and _equal(_held(rule), _held(other))
    return _equal(rule, other)


def _held(fn: FunctionType) -> list[Any]:
    """What a function uses besides its arguments and the names of its module."""
    return [fn.__defaults__, fn.__kwdefaults__, *[cell.cell_contents for cell in fn.__closure__ or ()]]


def _equal(one: Any, other: Any) -> bool:
    try:
        return bool(one == other)
    except Exception:  # arrays, say
        return False


def _rule(merge: Merge, show: Show) -> str:
    return repr(merge) if isinstance(merge, str) else str(getattr(merge, "__qualname__", None) or show(merge))


def _merge_into(data: WorkflowData, key: str, values: list[Any], merge: Merge) -> None:
    if merge == "last":
        data.set(key, values[-1])
        return

    def merged(there: Any) -> Any:
        if merge == "append":
            return [*there, *values] if isinstance(there, list) else [*values] if there is _ABSENT else [there, *values]
        assert callable(merge)
        so_far, rest = (values[0], values[1:]) if there is _ABSENT else (there, values)
        for value in rest:
            so_far = merge(so_far, value)
        return so_far

    data.update(key, merged, _ABSENT)
