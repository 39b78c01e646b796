"""The source of a map: any iterable, as one iterator of items pulled one at a time."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Collection, Iterable, Iterator, Mapping, Sized
from contextvars import Context, copy_context
from itertools import islice, repeat
from math import inf
from types import AsyncGeneratorType, GeneratorType
from typing import Any, Final

from flow.awaits import NEVER_AWAITED, unawaited
from flow.clock import Clock
from flow.data.mapresult import MapResult
from flow.errors import Show, UsageError, note
from flow.policy.mapping import MapOptions, check_source, has_made, left
from flow.run.items.batches import OpenBatch
from flow.signature import direct_of

_END: Final[Any] = object()


class Source:
    """Where a map's items come from.

    :ivar entries: what is pulled: items, or lists of them where the map has batches.
    :ivar total: number of entries; None if it is unknown.
    :ivar keys: the keys of the items pulled so far, if they have keys.
    :ivar stream: the asynchronous iterator of entries, if it is one; ``entries`` is empty then.
    :ivar open_batch: the batch that is being filled, if batches end by time as well or a map hands over their items.
    :ivar closing: what generators have raised while they were closed.

    :param ours: those of the sources that are generators which nodes of this run have made. They are closed when no
        more is asked of them, and so is one that a source makes in its ``__iter__``; what is the caller's is left as
        it is.
    """

    __slots__ = ("_context", "_ours", "closing", "entries", "keys", "open_batch", "stream", "total")

    def __init__(
        self,
        name: str,
        sources: Mapping[str, Any],
        options: MapOptions,
        show: Show,
        clock: Clock,
        ours: Collection[Any] = (),
    ) -> None:
        self._ours = ours
        self._context: Context | None = None
        self.closing: list[Exception] = []
        self.keys: list[Any] | None = None
        self.stream: AsyncGenerator[Any, None] | None = None
        self.total = _total(sources.values(), options)
        self.open_batch: OpenBatch | None = None
        if options.batch_wait is not None and self.total is None:  # else all items are there: nothing to wait for
            assert options.batch_size is not None
            self.open_batch = OpenBatch(options.batch_size, options.batch_wait, clock)
        for label, source in sources.items():
            check_source(f"map {name!r}", label, source, show)
        if any(hasattr(source, "__aiter__") for source in sources.values()):
            self.entries: Iterator[Any] = iter(())
            keys = _Keys(name, show)
            if options.key is not None:
                self.keys = keys.all
            self.stream = self._awaited(name, sources, options, keys)
        else:
            self.entries = self._pulled(name, sources, options, show)

    @classmethod
    def handed_over(cls, before: Source, options: MapOptions, clock: Clock) -> Source:
        """What a map hands over to one that is pipelined after it: its results, each at its item's place."""
        source = cls.__new__(cls)
        source._ours, source._context, source.closing, source.open_batch = (), None, [], None
        if options.batch_size is not None:
            wait = inf if options.batch_wait is None else options.batch_wait
            source.open_batch = OpenBatch(options.batch_size, wait, clock)
        source.entries, source.stream, source.total, source.keys = iter(()), None, None, before.keys
        return source

    def _pulled(self, name: str, sources: Mapping[str, Any], options: MapOptions, show: Show) -> Iterator[Any]:
        first, *others = sources.values()
        entries: Iterator[Any]
        if others:
            entries = self._zipped(name, sources)
        elif options.key is None and _has_keys(first):
            entries = self._keyed(_Keys(name, show), self._iterator(first.items()), _second)
        else:
            entries = self._iterator(first)
        if options.take is not None:
            entries = islice(entries, options.take)
        if options.key is not None:
            entries = self._keyed(_Keys(name, show), entries, direct_of(options.key))
        if self.open_batch is not None:
            return self.open_batch.split(entries)
        return entries if options.batch_size is None else _batches(entries, options.batch_size)

    def _keyed(self, keys: _Keys, entries: Iterator[Any], key: Callable[[Any], Any]) -> Iterator[Any]:
        self.keys = keys.all
        if key is _second:
            return (keys.add(k, item) for k, item in entries)
        return (keys.add_by(key, item) for item in entries)

    def _iterator(self, source: Any) -> Iterator[Any]:
        """Go over a source. A generator is always resumed in the same context, for every item."""
        elements = _elements(source)
        iterator: Iterator[Any] = iter(elements)
        if type(iterator) is not GeneratorType or isinstance(source, MapResult):
            return iterator
        if has_made(elements, iterator):
            self._ours = [*self._ours, iterator]
        if self._context is None:
            self._context = copy_context()
        run: Any = self._context.run
        return map(run, repeat(next), repeat(iterator))

    def _zipped(self, name: str, sources: Mapping[str, Any]) -> Iterator[tuple[Any, ...]]:
        iterators = [self._iterator(source) for source in sources.values()]
        while not _have_ended(name, sources, parts := [next(iterator, _END) for iterator in iterators]):
            yield tuple(parts)

    async def _awaited(
        self, name: str, sources: Mapping[str, Any], options: MapOptions, keys: _Keys
    ) -> AsyncGenerator[Any, None]:
        iterators: list[Any] = [
            source.__aiter__() if hasattr(source, "__aiter__") else self._iterator(source)
            for source in sources.values()
        ]
        batch: list[Any] = []
        open_batch = self.open_batch
        taken, key = 0, direct_of(options.key)
        try:
            while taken != options.take:
                parts = [await anext(it, _END) if hasattr(it, "__anext__") else next(it, _END) for it in iterators]
                if _have_ended(name, sources, parts):
                    break
                taken += 1
                item = parts[0] if len(parts) == 1 else tuple(parts)
                if options.key is not None:
                    keys.add_by(key, item)
                if options.batch_size is None:
                    yield item
                    continue
                if open_batch is not None:
                    if open_batch.add(item):
                        yield open_batch.take()
                    continue
                batch.append(item)
                if len(batch) == options.batch_size:
                    yield batch
                    batch = []
            if batch:
                yield batch
            elif open_batch:
                yield open_batch.take()
        finally:
            for source, iterator in zip(sources.values(), iterators, strict=True):
                if isinstance(iterator, AsyncGeneratorType) and (iterator in self._ours or has_made(source, iterator)):
                    await self._left(iterator)

    async def _left(self, generator: Any) -> None:
        try:
            await left(generator)
        except Exception as error:
            self.closing.append(error)

    def close(self) -> None:
        """Close the sync generators that nodes of this run have made: no more is asked of them."""
        for generator in self._ours:
            if type(generator) is GeneratorType and not generator.gi_running:
                try:
                    (self._context or copy_context()).run(generator.close)
                except Exception as error:
                    self.closing.append(error)
        self._ours = ()


class _Keys:
    """The keys so far, each used once."""

    __slots__ = ("all", "name", "seen", "show")

    def __init__(self, name: str, show: Show) -> None:
        self.show = show
        self.name = name
        self.all: list[Any] = []
        self.seen: dict[Any, int] = {}

    def add_by(self, key: Callable[[Any], Any], item: Any) -> Any:
        """Add the key that the map's ``key=`` gives; what that raises is told apart from the source's own errors."""
        try:
            made = key(item)
            if type(made) in NEVER_AWAITED:
                raise unawaited(f"map {self.name!r}: key", made)
            return self.add(made, item)
        except Exception as error:
            if not isinstance(error, UsageError):
                note(error, f"from the map's key= for item {len(self.all)} ({self.show(item)})")
            raise

    def add(self, key: Any, item: Any) -> Any:
        at = self.seen.setdefault(key, len(self.all))
        if at != len(self.all):
            both = f"items {at} and {len(self.all)} ({self.show(item)})"
            raise UsageError(f"map {self.name!r}: {both} have the same key {self.show(key)}: keys must differ")
        self.all.append(key)
        return item


def _second(pair: Any) -> Any:
    return pair[1]


def _has_keys(source: Any) -> bool:
    return isinstance(source, Mapping) or (isinstance(source, MapResult) and source.keys is not None)


def _total(sources: Iterable[Any], options: MapOptions) -> int | None:
    total = options.take
    for source in sources:
        if not isinstance(source, Sized) or hasattr(source, "__aiter__"):
            return None
        try:
            count = source.completed if isinstance(source, MapResult) else len(source)
        except TypeError:  # a wrapper of what has no length, as list() takes it too
            return None
        total = count if total is None else min(total, count)
    if total is not None and options.batch_size is not None:
        total = -(-total // options.batch_size)
    return total


def _batches(entries: Iterator[Any], size: int) -> Iterator[list[Any]]:
    while batch := list(islice(entries, size)):
        yield batch


def _have_ended(name: str, sources: Mapping[str, Any], parts: list[Any]) -> bool:
    """Tell whether the sources have ended. :raises UsageError: if only some have."""
    ended = [part is _END for part in parts]  # never ==, which is the items' own
    if True not in ended:
        return False
    if not all(ended):
        short = ", ".join(repr(label) for label, end in zip(sources, ended, strict=True) if end)
        more = ", ".join(repr(label) for label, end in zip(sources, ended, strict=True) if not end)
        raise UsageError(f"map {name!r} goes over sources of different lengths: {short} ended before {more}")
    return True


def _elements(source: Any) -> Any:
    return source.values() if isinstance(source, Mapping) else source
