"""The run of one map's items: a run within the run, on the same drivers.

An :class:`Items` is to a driver what a RunState is, with a :class:`flow.run.feed.Feed` in the Resolver's place:
so bounding, retrying, cancelling, threads and sharing the loop are written once.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence, Set, Sized
from functools import partial
from itertools import islice
from types import GeneratorType, MappingProxyType
from typing import Any, Final

from flow.awaits import NEVER_AWAITED, discard
from flow.config import Retry
from flow.data.context import Context, Scope, context_of
from flow.data.mapresult import MapResult, error_of
from flow.errors import Show, UsageError, a_kind, note, shower
from flow.policy.bind import ThreadLimit, limited_async, limited_sync, with_defaults
from flow.policy.fallback import note_broken, value_for
from flow.policy.mapping import Mapped, Roles, note_closing
from flow.policy.middleware import settled
from flow.run import events
from flow.run.driven import Driven
from flow.run.feed import Feed, PushFeed
from flow.run.frames import keep_users_frames
from flow.run.inline import OutOfTime, run_items
from flow.run.outputs import looked_at_items
from flow.run.sources import Source
from flow.run.state import RunState
from flow.signature import Composite
from flow.types import ABSENT, MISSING, Status

DROPPED: Final[Any] = object()
"""What stands at the place of an item that a filter has dropped."""

_NO_VERDICT: Final = NEVER_AWAITED | {GeneratorType}
"""What a filter's function has returned by mistake."""

_WHEN_CLOSED: Final = "raised by the source of the items, when it was closed"

MIN_WINDOW: Final = 100
"""Items that may wait for a retry while more are pulled, or twice as many as are in flight at once."""


class Items(Driven):
    """What the run of one map's items knows.

    :param outer: the run that the map is a node of.
    :param node: its index there.
    :param values: what the node is called with: the sources, then what its function needs besides.
    :param before: the map that hands its results over to this one, if it is pipelined.
    """

    __slots__ = (
        "_call", "_context", "_extras", "_places", "_plain", "_roles", "_size", "_sizes", "_threaded",
        "arguments", "fallbacks", "feed", "limit", "mapped", "name", "outer", "source",
    )  # fmt: skip

    def __init__(
        self, outer: RunState, node: int, mapped: Mapped, values: Sequence[Any], before: Items | None = None
    ) -> None:
        super().__init__(outer.config if outer.config.timeout is None else outer.config.replace(timeout=None))
        self.outer = outer
        self.mapped, self.name = mapped, outer.plan.names[node]
        options = mapped.options
        self.limit = min(outer.limit, options.bound)
        self._size = options.batch_size or 1
        self._sizes: dict[int, int] = {}  # of failed batches
        self.fallbacks: dict[int, BaseException] = {}  # by item
        self._extras = dict(zip(mapped.names, values, strict=True))
        self._roles = roles = self._filled_roles()
        self.source: Source = self._new_source(node, values) if before is None else Source.handed_over(before.source)
        self._context = Context(Scope(outer.run_id, self.name, MappingProxyType(outer.inputs), outer, {}))
        fn, is_async = self._function(outer, node)
        self._threaded = not is_async and outer.on_loop and (mapped.thread or outer.config.executor == "thread")
        self._plain = plain = (
            roles.bare
            and not self._threaded
            and mapped.timeout is None
            and options.batch_size is None
            and options.outcome == "list"
        )
        self._call = fn if plain else self._followed(self._caller(fn), is_async)
        make = Feed if self.source.stream is None else PushFeed
        self.feed = feed = make(
            self.source.entries,
            fn,
            None if plain else self._bind,
            is_async or self._threaded,
            self.source.total,
            max(2 * self.limit, MIN_WINDOW),
        )
        self._places: Feed = feed if before is None else before._places  # whose items' places all stages share
        self.values, self.fns, self.kinds, self.arguments = feed.values, feed.fns, feed.kinds, feed.arguments
        if self.config.observers:
            feed.on_done = self._finished
            self.emit(events.MapStarted(self.run_id, self.name, self.source.total, self.clock.now()))

    def _new_source(self, node: int, values: Sequence[Any]) -> Source:
        """Where the items come from, called as the nodes are that provide it."""
        plan, sources = self.outer.plan, {}
        for label, slot, value in zip(self.mapped.sources, plan.arguments[node], values, strict=False):
            name = plan.names[slot] if slot >= 0 else label
            sources[label if name in sources else name] = value
        ours = [v for slot, v in zip(plan.arguments[node], sources.values(), strict=False) if self.outer.made(slot, v)]
        return Source(self.name, sources, self.mapped.options, shower(self.config), ours)

    def _filled_roles(self) -> Roles:
        """The function's roles, without the parameters that nobody fills."""
        roles = self.mapped.roles
        missing = [p.name for p in roles.extras if self._extras[p.name] is ABSENT]
        if not missing or isinstance(self.mapped.fn, Composite):  # a Dag sees for itself what is missing
            return roles
        roles, gaps = roles.without(missing)
        self._extras.update(gaps)
        return roles

    # -- running -----------------------------------------------------------------------------

    def run_inline(self) -> Any:
        """Call the function with every item on this thread; return what the node returns."""
        self.refuse_stream()
        direct = self.mapped.timeout is None and not self.config.observers and self.deadline is None
        try:
            run_items(self, self.feed, self._call if direct else None, not self._plain)
            if self.timed_out:
                raise OutOfTime
        except BaseException as error:
            self.close()
            self.cut_short(error, isinstance(error, OutOfTime))
            raise
        self.close()
        return self.outcome()

    def refuse_stream(self) -> None:
        """:raises UsageError: if the items come asynchronously, and there is no event loop."""
        if self.source.stream is not None:
            raise UsageError(
                f"map {self.name!r} goes over an asynchronous iterator, and this run has no event loop: "
                "make its function async, or use 'await flow.execute(...)'"
            )

    async def run_on_loop(self, tasks: Any) -> Any:
        """Let ``tasks``, made for this run, call the function with every item; return what the node returns."""
        self.feed.on_broken = tasks.stop
        tasks.beside = self.companion(tasks)
        if tasks.beside is not None:
            self.start_counting(iter(()))
        try:
            await tasks.drive()
        except BaseException as error:
            self.close()
            self.cut_short(error, tasks.is_cancellation(error))
            raise
        finally:
            tasks.beside = None
        self.close()
        return self.outcome()

    def close(self) -> None:
        """Nothing is called any more: let go of what points back here."""
        self.source.close()
        self.feed.close()
        self.tasks = None
        del self._call

    def cut_short(self, error: BaseException, cancels: bool) -> None:
        """Forget how it went: ``error`` ends the map from outside.

        :param cancels: it only cancels.
        :raises Exception: in a cancellation's place, what a generator has raised in its clearing up, as of any node.
        """
        closing, self.source.closing = self.source.closing, []
        self.forget()
        if not (cancels and closing):
            _note_all(error, closing)
            return
        raised = closing.pop(0)
        note(raised, _WHEN_CLOSED)
        _note_all(raised, closing)
        try:
            raise raised
        finally:
            del raised  # its traceback holds this frame: no cycle

    def forget(self) -> None:
        """Nobody will ask how it went: let go of the errors, which hold this object."""
        self.errors, self.feed.broke = {}, None

    def companion(self, tasks: Any) -> Callable[[], Coroutine[Any, Any, None]] | None:
        """What lets items come that come asynchronously, telling ``tasks`` each time; None if they do not."""
        stream = self.source.stream
        if stream is None or not isinstance(self.feed, PushFeed):
            return None
        limit = lambda: min(self.limit, tasks.limit)  # noqa: E731
        return partial(self.feed.pump, stream, limit, tasks.pump, self.source.closing)

    def adaptive(self) -> Any:
        adapts = self.limit > 1 and (self.outer.adapts or self.mapped.options.adapts)
        return self.outer.adaptive(self.name, self.limit) if adapts else None

    # -- calling the function ----------------------------------------------------------------

    def _function(self, outer: RunState, node: int) -> tuple[Callable[..., Any], bool]:
        """The function that takes an item, and whether it is to be awaited."""
        fn = self.mapped.fn
        if isinstance(fn, Composite):
            return outer.expanded(fn, node), fn.is_async
        roles = self.mapped.roles
        if not roles.awaits:
            fn = looked_at_items(outer, node, fn)
        return (settled(fn) if roles.lifted else fn), roles.awaits

    def _caller(self, fn: Callable[..., Any]) -> Callable[[int, Any], Any]:
        """Return what is called with an entry's number and the item, whatever ``fn`` takes and in which order."""
        roles = self._roles
        extras = {p.name: self._extras[p.name] for p in roles.extras}
        own: dict[str, Callable[[int, Any], Any]] = {}  # what differs from item to item, besides the item
        if roles.index is not None:
            own[roles.index] = lambda i, item: self.index(i)
        if roles.key is not None:
            own[roles.key] = lambda i, item: self._key(i)
        if roles.context is not None:
            own[roles.context] = self._leased_child if self.mapped.abandons else self._child
        places = {name: at for at, name in enumerate(roles.positional)}
        if not (roles.whole and roles.items and {*roles.items, *own} <= places.keys()):
            return self._general_caller(fn, extras, own)
        template = [extras.pop(name, None) for name in places]
        at_item, at_own = places[roles.items[0]], [(places[name], make) for name, make in own.items()]

        def call(i: int, item: Any) -> Any:
            values = template.copy()
            values[at_item] = item
            for at, make in at_own:
                values[at] = make(i, item)
            return fn(*values, **extras)

        return call

    def _general_caller(
        self, fn: Callable[..., Any], extras: dict[str, Any], own: dict[str, Callable[[int, Any], Any]]
    ) -> Callable[[int, Any], Any]:
        """As :meth:`_caller`, for an item in parts, ``*args``, or keyword-only parameters."""
        roles = self._roles
        items, positional, whole = roles.items, roles.positional, roles.whole

        def call(i: int, item: Any) -> Any:
            parts = (item,) if whole else item
            named = extras | dict(zip(items, parts, strict=False))
            for name, make in own.items():
                named[name] = make(i, item)
            return fn(*[named.pop(name) for name in positional], *parts[len(items) :], **named)

        return call

    def _key(self, i: int) -> Any:
        keys, index = self.source.keys, self.index(i)
        return index if keys is None else keys[index]

    def _followed(self, call: Callable[[int, Any], Any], is_async: bool) -> Callable[[int, Any], Any]:
        """Put around ``call`` what looks at its results."""
        look = self._look()
        if look is None:
            return call
        # A batch is each attempt's own: the function may empty it, and the results are counted against the real one.
        own: Callable[[Any], Any] = _itself if self.mapped.options.batch_size is None else list

        async def awaited(i: int, item: Any) -> Any:
            return look(await call(i, own(item)), item)

        return awaited if is_async else lambda i, item: look(call(i, own(item)), item)

    def _look(self) -> Callable[[Any, Any], Any] | None:
        """What looks at results, of a batch, a filter or a flat_map; None if they stand as they are."""
        options = self.mapped.options
        show = shower(self.config)
        look = _kept if options.outcome == "filter" else _several(show) if options.outcome == "flat" else None
        return look if options.batch_size is None else partial(_one_each, show, look)

    def _bind(self, i: int) -> Callable[..., Any]:
        """Make what a driver calls with entry ``i``."""
        call: Callable[..., Any] = partial(self._call, i)
        timeout = self.mapped.timeout
        if self._threaded:
            limit = None if timeout is None else ThreadLimit(self, i, timeout, self.mapped.abandons)
            call = self.in_thread(call, limit)
            return call if limit is None else limit.around(call)
        if timeout is not None:
            call = (limited_async if self.kinds[i] else limited_sync)(call, self, i, timeout)
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

    def index(self, i: int) -> int:
        """The index of the first item of entry ``i``; an entry is an item, or a batch of them."""
        return i * self._size

    # -- what drivers and bound calls ask ----------------------------------------------------

    @property
    def deadline(self) -> float | None:
        return None if self.on_loop else self.outer.deadline  # a loop cancels

    @property
    def run_id(self) -> str:
        return self.outer.run_id

    def name_of(self, i: int) -> str:
        return f"{self.name}[{self.index(i)}]"

    def location(self, i: int) -> str:
        return self.mapped.location

    def first_phase(self) -> Iterator[int]:
        return self.feed.one_by_one()

    @property
    def plain_feed(self) -> Feed | None:
        return self.feed if self._plain and self.feed.on_done is None else None

    def start_counting(self, left: Iterator[int]) -> int:
        self.resolver = feed = self.feed
        return feed.start_counting() if feed.at_hand is MISSING else feed.adopt(feed.at_hand)

    def others_ready(self, i: int | None) -> bool:
        feed = self.feed
        return feed.total is None or (feed.pulled or len(feed.values)) < feed.total

    def function(self, i: int) -> Any:
        return self.mapped.fn

    def retry_of(self, i: int) -> Retry | None:
        return self.mapped.retry

    def node_limit(self, i: int) -> float | None:
        return None if self.mapped.timeout is None else self.mapped.timeout.node

    # -- outcomes ----------------------------------------------------------------------------

    def received(self, i: int) -> list[Any]:
        """What entry ``i`` is called with: its item, the parts of that, and what is the same for all."""
        item = self.values[i]
        parts = item if isinstance(item, (tuple, list)) else ()
        extras = [self._extras[p.name] for p in self.mapped.roles.extras]
        return [item, *parts, *extras]

    def retry_delay(self, i: int, error: BaseException) -> float | None:
        delay = super().retry_delay(i, error)
        if delay is not None:
            self.feed.delayed.add(i)  # waiting, it still counts as pulled
        return delay

    def retried(self, i: int, attempt: int, error: BaseException, delay: float) -> None:
        now = self.clock.now()
        self.emit(events.ItemRetried(self.run_id, self.name, self.index(i), attempt, error, delay, now))

    def _finished(self, i: int) -> None:
        self.emit(events.ItemFinished(self.run_id, self.name, self.index(i), self.clock.now()))

    def fail(self, i: int, error: BaseException) -> bool:
        """Record that entry ``i`` failed for good, and take its fallback if it has one.

        :return: True if the map must end.
        """
        attempt = self.attempts.get(i, 1)
        tries = f", attempt {attempt}" if self.mapped.retry is not None else ""
        keep_users_frames(error, self.mapped.fn)
        item, what = self.values[i], f"item {i}"
        if self.mapped.options.batch_size is not None:
            what, self._sizes[i] = f"the batch from item {self.index(i)}", len(item)
        note(error, f"in {what} ({shower(self.config)(item)}) of map {self.name!r}{tries}")
        if self._fall_back(i, attempt, error):
            return False
        self.errors[i] = error
        self.feed.failed(i)
        if self.config.observers:
            now = self.clock.now()
            self.emit(events.ItemFailed(self.run_id, self.name, self.index(i), attempt, error, now))
        return self.mapped.options.on_error == "fail"

    def _fall_back(self, i: int, attempt: int, error: BaseException) -> bool:
        """Complete entry ``i`` with the map's fallback, if it has one: what the function would have returned."""
        fallback, item, batch = self.mapped.fallback, self.values[i], self.mapped.options.batch_size is not None
        results: list[Any] = []
        for _ in item if batch else (item,):
            results.append(value_for(fallback, error))
            if results[-1] is MISSING:
                return False
        value = results if batch else results[0]
        try:
            look = self._look()
            value = value if look is None else look(value, item)
        except Exception as broken:
            note_broken(error, broken, fallback)
            return False
        first = self.index(i)
        self.fallbacks.update(dict.fromkeys(range(first, first + len(results)), error))
        if self._context._scope.published:
            self._context._scope.published.pop(first, None)  # by the attempt that failed
        self.values[i] = value
        if self.config.observers:
            now = self.clock.now()
            self.emit(events.ItemFallback(self.run_id, self.name, first, attempt, error, now))
        self.feed.done(i)
        return True

    # -- at the end --------------------------------------------------------------------------

    def _told_of_closing(self, error: BaseException | None) -> BaseException | None:
        """Say what generators have raised while they were closed: on ``error``, with which the map ends.

        :return: with what it ends. Without an error of its own that is the first of these, unless the map collects or
            skips, where they are logged.
        """
        closing, self.source.closing = self.source.closing, []
        if error is None and self.mapped.options.on_error == "fail":
            error = closing.pop(0)
            note(error, _WHEN_CLOSED)
        if error is not None:
            _note_all(error, closing)
            return error
        import logging

        log = logging.getLogger("flow")
        while closing:  # as in _note_all
            log.error("the source of map %r raised when it was closed", self.name, exc_info=closing.pop(0))
        return None

    def outcome(self) -> Any:
        """What the map's node returns. :raises Exception: if it failed."""
        feed, options, keys = self.feed, self.mapped.options, self.source.keys
        error = feed.broke
        errors = {self.index(i): e for i, e in self.errors.items() if isinstance(e, Exception)}
        fallbacks, self.fallbacks = self.fallbacks, {}
        self.forget()  # an exception keeps the frames it went through, and so this object: no cycle
        if error is None and errors and (options.on_error == "fail" or self.cut_off):
            error = error_of(self.name, errors)
        if self.source.closing:
            error = self._told_of_closing(error)
        if error is not None:
            try:
                raise error
            finally:
                del error, errors, fallbacks  # as above: its traceback holds this frame
        if fallbacks:
            self.outer.fallbacks[self.outer.plan.index[self.name]] = dict(sorted(fallbacks.items()))
        published = list((self._context._scope.published or {}).items())  # an abandoned call may just be publishing
        self._context._merge([one for one in published if feed.is_done(one[0] // self._size)])
        del feed.values[feed.pulled :]
        feed.values += [MISSING] * (self._places.pulled - feed.pulled)
        values = feed.values if options.batch_size is None else self._unpacked(errors)
        if options.on_error == "collect":
            if errors:
                self.outer.caught(errors.values())
            return MapResult(self.name, values, errors, keys)
        if keys is not None and options.outcome != "flat":
            pairs = zip(keys, values, strict=True)
            return {key: value for key, value in pairs if value is not MISSING and value is not DROPPED}
        if errors or options.outcome == "filter" or options.pipelined:
            values = [value for value in values if value is not MISSING and value is not DROPPED]
        return values if options.outcome != "flat" else [part for value in values for part in value]

    def _unpacked(self, errors: dict[int, Exception]) -> list[Any]:
        """Results item by item; a failed batch's error is that of all its items."""
        found: list[Any] = []
        for i, results in enumerate(self.values):
            if results is MISSING:
                results = [MISSING] * self._sizes[i]
                errors.update({self.index(i) + k: errors[self.index(i)] for k in range(self._sizes[i])})
            found += results
        return found


def _note_all(error: BaseException, closing: list[Exception]) -> None:
    while closing:  # emptied: the frames that these errors hold may hold it
        note_closing(error, closing.pop(0))


def _itself(item: Any) -> Any:
    return item


def _refused(text: str) -> UsageError:
    """The error of results of the wrong kind, which another attempt would give as well."""
    error = UsageError(text)
    error.final = True
    return error


def _one_each(show: Show, look: Callable[[Any, Any], Any] | None, results: Any, batch: list[Any]) -> list[Any]:
    """``look`` at each of the results; refuse what is not one per item of the batch."""
    try:
        if isinstance(results, (str, bytes, Mapping, Set)):
            raise TypeError("characters, keys and sets are no results in order")
        parts = iter(results)
    except TypeError as error:
        raise _refused(f"a map with batch_size needs one result per item: got {show(results)}") from error
    sized = isinstance(results, Sized)
    # Outside: a TypeError of a generator is the user's own. An iterator may never end.
    found = list(parts if sized else islice(parts, len(batch) + 1))
    if len(found) > len(batch) and not sized:
        raise _refused(f"a map with batch_size needs one result per item: more than {len(batch)} came for so many")
    if len(found) != len(batch):
        raise _refused(f"a map with batch_size needs one result per item: {len(found)} came for {len(batch)} items")
    return found if look is None else [look(result, item) for result, item in zip(found, batch, strict=True)]


def _kept(verdict: Any, item: Any) -> Any:
    if type(verdict) in _NO_VERDICT:
        discard(verdict)
        raise _refused(f"a filter needs a verdict on each item, and {a_kind(verdict)} is always true: return a bool")
    return item if verdict else DROPPED


def _several(show: Show) -> Callable[[Any, Any], list[Any]]:
    def several(results: Any, item: Any) -> list[Any]:
        """Refuse what is not several results; those of a generator are the item's own doing, errors included."""
        if isinstance(results, (str, bytes)) or not hasattr(results, "__iter__"):
            raise _refused(f"a flat_map needs a list of results per item: got {show(results)}")
        return list(results)

    return several


def map_inline(outer: RunState, node: int, mapped: Mapped, *values: Any) -> Any:
    """Run a map as node ``node`` of a run without an event loop."""
    stage = outer.stages.pop(node, None)
    if stage is not None:  # it ran with the map before it
        return stage.outcome()
    items = Items(outer, node, mapped, values)
    chain = _chain(items, node)
    if chain is None:
        return items.run_inline()
    chain.run_inline()
    return items.outcome()


async def map_on_loop(outer: RunState, node: int, mapped: Mapped, *values: Any) -> Any:
    """Run a map as node ``node`` of a run on an event loop."""
    stage = outer.stages.pop(node, None)
    if stage is not None:
        return stage.outcome()
    items = Items(outer, node, mapped, values)
    chain = _chain(items, node)
    if chain is None:
        return await items.run_on_loop(_tasks(items, outer))
    await chain.run_on_loop(_tasks(chain, outer))
    return items.outcome()


def _tasks(run: Driven, outer: RunState) -> Any:
    assert outer.tasks is not None
    return type(outer.tasks)(run, outer.tasks)


def _chain(first: Items, node: int) -> Any:
    """The run of this map and those that are pipelined after it; None if there are none."""
    outer, pipelines = first.outer, first.outer.plan.pipelines
    if node not in pipelines:
        return None
    from flow.run.chain import Chain

    stages, sources, nodes = [first], [-1], [node]
    for s, at in enumerate(nodes):  # grows on the way
        for follower in pipelines.get(at, ()):
            if outer.resolver is not None and outer.resolver.status(follower) is Status.SKIPPED:
                continue  # what it takes besides the items has failed, which is tolerated
            binder = outer.plan.binders[follower]
            mapped: Any = binder.fn
            values = with_defaults([outer.values[slot] for slot in outer.plan.arguments[follower]], binder.defaults)
            stage = Items(outer, follower, mapped, values, stages[s])
            outer.stages[follower] = stage
            stages.append(stage)
            sources.append(s)
            nodes.append(follower)
    return Chain(stages, sources) if len(stages) > 1 else None


__all__ = ["DROPPED", "Items", "map_inline", "map_on_loop"]
