"""The callables of a map's items and their arguments: made when the map begins, or per item if they differ."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from operator import mul, pos
from typing import TYPE_CHECKING, Any, Final

from flow.config import Retry
from flow.data.context import Context, context_of
from flow.errors import shower
from flow.policy.bind import Expand, ThreadLimit, limited_async, limited_sync
from flow.policy.mapping import Mapped, Roles
from flow.policy.middleware import settled
from flow.run import events
from flow.run.around import admitted, asked, kept, lifted, told
from flow.run.calls import Calls
from flow.run.items.batches import BatchResolver
from flow.run.items.caller import Function, ItemCall, caller
from flow.run.items.results import look_of
from flow.run.items.source import Source
from flow.run.queue import ItemResolver, StreamResolver
from flow.run.spans import ItemSpans
from flow.run.state import PlanRun
from flow.run.unawaited import looked_at
from flow.signature import Composite
from flow.types import ABSENT

if TYPE_CHECKING:
    from flow.masking import Masks
    from flow.run.hooks import Hooks
    from flow.run.journal import Journal

MIN_WINDOW: Final = 100
"""Items that may wait for a retry while more are pulled, or twice as many as are in flight at once."""


class MapCalls(Calls):
    """The calls of one map's function, an entry each: an item, or a batch of them.

    :param outer: the run that the map is a node of.
    :param node: its index there.
    :param values: what the node is called with: the sources, then what its function needs besides.
    :param expand: gives what runs a Dag as the map's function.
    :param before: the map that hands its results over to this one, if it is pipelined.
    :ivar index: gives the index of the first item of entry ``i``.
    """

    __slots__ = (
        "_awaits", "_call", "_context", "_executor", "_expand", "_extras", "_function", "_lifts", "_look", "_places",
        "_plain", "_roles", "_sizes", "_threaded", "arguments", "fallbacks", "feed", "index", "limit", "mapped", "name",
        "on_slot", "outer", "source", "spans",
    )  # fmt: skip

    def __init__(
        self,
        outer: PlanRun,
        node: int,
        mapped: Mapped,
        values: Sequence[Any],
        expand: Expand,
        before: MapCalls | None = None,
    ) -> None:
        super().__init__(outer.config if outer.config.timeout is None else outer.config.replace(timeout=None))
        self.outer = outer
        self.mapped, self.name = mapped, outer.nodes.names[node]
        self._expand = expand
        self.on_slot: Callable[[int], bool] | None = None  # of a pipeline's stage
        options = mapped.options
        self.limit = min(outer.limit, options.bound)
        self._sizes: dict[int, int] = {}  # of failed batches
        self.fallbacks: dict[int, BaseException] = {}  # by item
        self._roles, self._extras = self._filled_roles(dict(zip(mapped.names, values, strict=True)))
        roles = self._roles
        self._look = look_of(options, shower(self.config))
        self.source = self._new_source(node, values, before)
        self.index = _index_of(options.batch_size, self.source)
        self._context = Context(outer.scope(node, {}, self))
        self._executor = mapped.executor or (outer.config.executor if outer.on_loop else "inline")
        self._function, self._awaits = self._new_function(node)
        self._threaded = not self._awaits and outer.on_loop and self._executor == "thread"
        hooks, journal = outer.hooks, outer.journal
        self.spans = _timed(outer, node) if self.config.timing else None
        self._plain = plain = (
            roles.bare
            and self.spans is None
            and not self._threaded
            and hooks is None
            and journal is None
            and mapped.timeout is None
            and mapped.admission is None
            and options.batch_size is None
            and options.outcome == "list"
            and not isinstance(mapped.fn, Composite)  # whose runs say which item they are of
        )
        gate = mapped.admission
        self._lifts = (outer.on_loop and outer.lifts) or (gate is not None and gate.is_async)
        fn = self._function(0)
        self._call = fn if plain else self._new_call()
        self.feed = feed = self._resolver_type(before)(
            self.source.entries,
            fn,
            None if plain else self._bind,
            self._awaits or self._threaded or self._lifts,
            self.source.total,
            max(2 * self.limit, MIN_WINDOW),
        )
        self._places: ItemResolver = feed if before is None else before._places  # whose items' places all stages share
        self.values, self.fns, self.is_async, self.arguments = feed.values, feed.fns, feed.is_async, feed.arguments
        if self.config.observers:
            feed.on_done = self._finished
            self.emit(events.MapStarted(self.run_id, self.name, self.source.total, self.clock.now()))

    def _new_source(self, node: int, values: Sequence[Any], before: MapCalls | None) -> Source:
        """Where the items come from, called as the nodes are that provide it."""
        if before is not None:
            return Source.handed_over(before.source, self.mapped.options, self.clock)
        nodes, sources = self.outer.nodes, {}
        slots = self.mapped.source_slots(nodes.arguments[node])
        for label, slot, value in zip(self.mapped.sources, slots, values, strict=False):
            name = nodes.names[slot] if slot >= 0 else label
            sources[label if name in sources else name] = value
        ours = [value for slot, value in zip(slots, sources.values(), strict=False) if self.outer.made(slot, value)]
        return Source(self.name, sources, self.mapped.options, shower(self.config), self.clock, ours)

    def _resolver_type(self, before: MapCalls | None) -> Callable[..., ItemResolver]:
        batch = self.source.open_batch
        if before is not None and batch is not None:
            return partial(BatchResolver, batch)
        return ItemResolver if self.source.stream is None else StreamResolver

    def _filled_roles(self, given: dict[str, Any]) -> tuple[Roles, dict[str, Any]]:
        """The function's roles, without parameters that nothing fills, and the values that all items share."""
        roles = self.mapped.roles
        missing = [p.name for p in roles.extras if given[p.name] is ABSENT]
        if missing and not isinstance(self.mapped.fn, Composite):  # a Dag sees for itself what is missing
            roles, gaps = roles.without(missing)
            given = given | gaps
        return roles, {p.name: given[p.name] for p in roles.extras}

    # -- calling the function ----------------------------------------------------------------

    def _new_call(self) -> ItemCall:
        """What is called with an entry's number and the item; its result is what stands at the item's place."""
        roles, mapped = self._roles, self.mapped
        own: dict[str, ItemCall] = {}
        if roles.index is not None:
            own[roles.index] = lambda i, item: self.index(i)
        if roles.key is not None:
            own[roles.key] = lambda i, item: self._key(i)
        if roles.context is not None:
            own[roles.context] = self._leased_child if mapped.abandons else self._child
        call = caller(roles, self._function, self._extras, own, not isinstance(mapped.fn, Composite))
        look = self._look
        if look is None:
            return call
        # A batch is each attempt's own: the function may empty it, and the results are counted against the real one.
        each: Callable[[Any], Any] = _itself if mapped.options.batch_size is None else list

        async def awaited(i: int, item: Any) -> Any:
            return look(await call(i, each(item)), item)

        return awaited if self._awaits else lambda i, item: look(call(i, each(item)), item)

    def _new_function(self, node: int) -> tuple[Function, bool]:
        """What gives the function for an entry, and whether what that returns is to be awaited."""
        mapped, executor, fn = self.mapped, self._executor, self.mapped.fn
        if isinstance(fn, Composite):
            expand = self._expand
            awaited = expand(fn, node, executor, self.name)[1]
            return lambda i: expand(fn, node, executor, self._place_within(i))[0], awaited
        awaits = mapped.roles.awaits
        if not awaits and executor not in ("inline", "thread"):
            fn, awaits = self.outer.in_executor(executor, fn), True
        elif not awaits and self.outer.plan._kept.unchecked:  # no run has ended with it
            fn = looked_at(self.outer, node, fn)
        elif mapped.roles.lifted:
            fn = settled(fn)
        return lambda i: fn, awaits

    def _place_within(self, i: int) -> str:
        return self.name if self._plain else self.name_of(i)  # plain: the same for all items

    def _key(self, i: int) -> Any:
        keys, index = self.source.keys, self.index(i)
        return index if keys is None else keys[index]

    def _bind(self, i: int) -> Callable[..., Any]:
        """Make what a driver calls with entry ``i``."""
        mapped, awaits = self.mapped, self._awaits
        call: Callable[..., Any] = partial(self._call, i)
        if self._threaded:
            limit = None if mapped.timeout is None else ThreadLimit(self, i, mapped.timeout, mapped.abandons)
            call, awaits = self.in_thread(call, limit), True
            call = call if limit is None else limit.around(call)
        elif mapped.timeout is not None:
            call = (limited_async if awaits else limited_sync)(call, self, i, mapped.timeout)
        if self._lifts and not awaits:
            call, awaits = lifted(self, i, call), True
        if self.hooks is not None:
            call = asked(self, i, call, awaits)
        if self.journal is not None:
            call = kept(self, i, call, awaits)
        if self.spans is not None:
            attempt = partial(self.attempts_of, i)
            call = self.spans.watched(self.index(i), attempt, call, awaits, self.clock)
        if self.hooks is not None:
            call = told(self, i, call, awaits)
        if mapped.admission is not None:
            make = lambda: self._child(i, self.values[i])  # noqa: E731
            call = admitted(self, i, call, awaits, mapped.admission, make)
        return call

    def _child(self, i: int, item: Any) -> Context:
        """The Context of entry ``i``'s present attempt: a child of the map's own."""
        scope, index = self._context._scope, self.index(i)
        if scope.published:
            scope.published.pop(index, None)  # by a failed attempt
        return Context(scope, self.attempts.get(i, 1), item, index, self._context)

    def _leased_child(self, i: int, item: Any) -> Context:
        """It for an attempt that may be left behind in its thread."""
        made = self._child(i, item)
        return context_of(made._scope, made.attempt, item, made.index, self._context)

    def entry(self, index: int) -> int:
        """The entry whose first item has this index."""
        batch = self.source.open_batch
        return index // (self.mapped.options.batch_size or 1) if batch is None else batch.number(index)

    def places(self, i: int) -> Sequence[int]:
        """The indices of the items of entry ``i``, which has not ended."""
        batch, first = self.source.open_batch, self.index(i)
        if batch is not None:
            return batch.places[i]
        return range(first, first + (1 if self.mapped.options.batch_size is None else len(self.values[i])))

    def attempts_of(self, i: int) -> int:
        """The number of entry ``i``'s present attempt."""
        return self.attempts.get(i, 1)

    def _finished(self, i: int) -> None:
        self.emit(events.ItemFinished(self.run_id, self.name, self.index(i), self.clock.now()))

    # -- what is known of them ---------------------------------------------------------------

    @property
    def hooks(self) -> Hooks | None:
        return self.outer.hooks

    @property
    def journal(self) -> Journal | None:
        return self.outer.journal

    @property
    def masks(self) -> Masks | None:
        return self.outer.masks

    @property
    def run_id(self) -> str:
        return self.outer.run_id

    def called_elsewhere(self, i: int) -> bool:
        return not self._awaits and self._executor != "inline"

    def name_of(self, i: int) -> str:
        return f"{self.name}[{self.index(i)}]"

    def place(self, i: int) -> tuple[tuple[str, ...], str, int | None]:
        return self.outer.path, self.name, self.index(i)

    def location(self, i: int) -> str:
        return self.mapped.location

    def function(self, i: int) -> Any:
        return self.mapped.fn

    def retry_of(self, i: int) -> Retry | None:
        return self.mapped.retry

    def node_limit(self, i: int) -> float | None:
        return None if self.mapped.timeout is None else self.mapped.timeout.node


def _index_of(batch_size: int | None, source: Source) -> Callable[[int], int]:
    if batch_size is None:
        return pos
    return partial(mul, batch_size) if source.open_batch is None else source.open_batch.first


def _timed(outer: PlanRun, node: int) -> ItemSpans:
    spans = outer.extras.items[node] = ItemSpans()  # of the map's last attempt
    return spans


def _itself(item: Any) -> Any:
    return item
