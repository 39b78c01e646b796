"""What stands where a node's function stands and goes over items: a map, or a fold."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import reduce
from types import AsyncGeneratorType, GeneratorType
from typing import Any, Final, Literal, TypeAlias

import msgspec

from flow.awaits import UNAWAITED, is_generator_function, is_unawaited, may_return_awaitable
from flow.config import Retry, Timeout
from flow.config.fields import is_int, is_number, is_one_of
from flow.errors import Show, UsageError, a_kind, described, note, shown
from flow.policy.admission import Gates
from flow.policy.fresh import fresh, fresh_faults
from flow.signature import (
    Around,
    Composite,
    Parameter,
    Shape,
    by_position,
    is_async_callable,
    is_text,
    location_of,
    shape_of,
    wrapped,
)
from flow.types import MISSING

DEFAULT_CONCURRENCY: Final = 50
"""Items of one map in flight at once, unless it says otherwise."""

OnError: TypeAlias = Literal["fail", "collect", "skip"]
Outcome: TypeAlias = Literal["list", "filter", "flat"]


class MapOptions(msgspec.Struct, frozen=True):
    """How a map treats its items; see :meth:`flow.Dag.map`."""

    concurrency: int | Literal["auto"] | None = DEFAULT_CONCURRENCY
    batch_size: int | None = None
    batch_wait: float | None = None
    on_error: OnError = "fail"
    key: Callable[[Any], Any] | None = None
    take: int | None = None
    pipelined: bool = False
    outcome: Outcome = "list"

    @property
    def adapts(self) -> bool:
        """True if the number of items in flight follows their latency."""
        return self.concurrency == "auto"

    @property
    def is_pipelined(self) -> bool:
        """True if it is to be pipelined; also before its settings are checked, when it may be what has no truth."""
        return isinstance(self.pipelined, int) and bool(self.pipelined)

    @property
    def bound(self) -> int:
        """Most items in flight, as far as the map itself says."""
        return self.concurrency if isinstance(self.concurrency, int) else 1 << 62

    def faults(self) -> list[str]:
        """Say what is out of range, one sentence each; empty if nothing is."""
        found = []
        adapts = self.concurrency is None or is_one_of(self.concurrency, ("auto",))
        if not adapts and (not is_int(self.concurrency) or self.bound < 1):
            wanted = "an integer of at least 1, 'auto', or None"
            found.append(f"concurrency must be {wanted}, not {shown(self.concurrency)}")
        if self.batch_size is not None and (not is_int(self.batch_size) or self.batch_size < 1):
            found.append(f"batch_size must be an integer of at least 1, or None, not {shown(self.batch_size)}")
        found += self._faults_of_wait()
        if self.take is not None and (not is_int(self.take) or self.take < 0):
            found.append(f"take must be an integer of at least 0, or None for all items, not {shown(self.take)}")
        sizes = {"batch_size": self.batch_size, "take": self.take}
        found += [
            f"{setting} must be at most {sys.maxsize}, not {shown(size)}"
            for setting, size in sizes.items()
            if size is not None and is_int(size) and size > sys.maxsize
        ]
        if not is_one_of(self.on_error, ("fail", "collect", "skip")):
            found.append(f"on_error must be one of 'fail', 'collect', 'skip', not {shown(self.on_error)}")
        if self.key is not None and not callable(self.key):
            found.append(f"key must be a function of the item, or None, not {shown(self.key)}")
        elif self.key is not None and is_unawaited(self.key):
            found.append(f"key {UNAWAITED} of the item, not {shown(self.key)}")
        elif self.key is not None and is_text(self.key):
            read = [p.name for p in shape_of(self.key).parameters]
            if read != ["item"]:
                others = ", ".join([shown(name) for name in read if name != "item"]) or "nothing"
                found.append(f"key is an expression of 'item' alone, and {shown(self.key)} reads {others}")
        if not isinstance(self.pipelined, bool):
            found.append(f"pipelined must be True or False, not {shown(self.pipelined)}")
        if self.key is not None and self.is_pipelined:
            found.append("key and pipelined exclude each other: give key to the first map")
        if is_one_of(self.on_error, ("collect",)) and self.outcome != "list":
            found.append("on_error='collect' is for map: a filter or flat_map has no result for each item")
        return found

    def _faults_of_wait(self) -> list[str]:
        wait = self.batch_wait
        if wait is None:
            return []
        found = []
        if not is_number(wait) or wait <= 0:
            found.append(f"batch_wait must be a number of seconds > 0, or None, not {shown(wait)}")
        if self.batch_size is None:
            found.append("batch_wait needs batch_size, the most items of a batch: give both")
        return found


class Roles(msgspec.Struct, frozen=True):
    """Where a map's function gets what: the names of its parameters, by what they receive.

    :ivar positional: parameters passed by position, in order, without those of ``*args``.
    :ivar items: the parameters that receive the item; several if its parts are spread over them, and fewer than
        there are parts if ``*args`` receives the rest.
    :ivar whole: the item is not in parts: one parameter (or ``*args``) receives it.
    :ivar extras: parameters filled once for all items, by the rule of any node.
    :ivar gaps: as in :class:`flow.signature.Shape`.
    :ivar awaits: what the function returns is to be awaited; ``lifted``, if it can be.
    """

    positional: tuple[str, ...]
    items: tuple[str, ...]
    whole: bool
    extras: tuple[Parameter, ...]
    awaits: bool
    lifted: bool
    context: str | None = None
    index: str | None = None
    key: str | None = None
    gaps: tuple[Any, ...] = ()

    def without(self, missing: Collection[str]) -> tuple[Roles, dict[str, Any]]:
        """Return the roles when nothing fills the extras ``missing``, and values for those that cannot be left out."""
        positional, gaps = by_position(self.positional, self.gaps, missing)
        extras = tuple([p for p in self.extras if p.name in gaps or p.name not in missing])
        return msgspec.structs.replace(self, positional=tuple(positional), extras=extras), gaps

    @property
    def bare(self) -> bool:
        """True if the function takes its item first and nothing else."""
        return self.whole and self.positional == self.items != () and not self.extras


class Over(Composite):
    """A function, and where the items that it is called with come from: parameters ``sources`` of the node.

    :ivar misnamed: what is wrong with how the sources were named, one sentence each.
    """

    __slots__ = ("around", "fn", "misnamed", "sources")

    def __init__(self, fn: Any, sources: tuple[str, ...]) -> None:
        self.fn = fn
        self.sources = sources
        self.around: Around | None = None
        self.misnamed: tuple[str, ...] = ()

    @property
    def is_async(self) -> bool:
        return is_async_callable(self.fn)

    @property
    def turns(self) -> bool:
        return issubclass(type(self.fn), Composite) and bool(self.fn.turns)

    @property
    def location(self) -> str:
        return location_of(self.fn)

    def source_slots(self, slots: Sequence[int]) -> Sequence[int]:
        """Return which of the slots that the node is called with hold what it goes over.

        -1 stands for what is made of them (:class:`flow.signature.Around`), and is no output of a node.
        """
        if self.around is None:
            return slots[: len(self.sources)]
        names = [p.name for p in self.around.shape().positional]
        return [slots[names.index(name)] for name in self.around.sources] or [-1] * len(self.sources)

    def awaiting(self) -> Over:
        """Return what does the same for items that must be awaited."""
        return self

    def faults(self) -> list[str]:
        """Say what is wrong with its sources and settings, one sentence each; empty if nothing is."""
        return list(self.misnamed)


class Folded(Over):
    """A function of two values that folds items into one (:meth:`flow.Dag.reduce`)."""

    __slots__ = ("awaits", "start")

    def __init__(self, fn: Any, sources: tuple[str, ...], start: Any, awaits: bool = False) -> None:
        super().__init__(fn, sources)
        self.start = start
        self.awaits = awaits

    @property
    def is_async(self) -> bool:
        return self.awaits or is_async_callable(self.fn)

    def awaiting(self) -> Folded:
        return Folded(self.fn, self.sources, self.start, awaits=True)

    def calling(self, fn: Any) -> Folded:
        """Return what folds in the same way by ``fn``."""
        return Folded(fn, self.sources, self.start, self.awaits)

    def shape(self) -> Shape:
        if not callable(self.fn):
            raise TypeError(f"{shown(self.fn)} is not callable: give a function of what was folded so far and an item")
        shape = shape_of(self.fn)
        if is_text(self.fn):
            raise TypeError(f"reduce calls a function of two values in this order, not {shown(self.fn)}")
        free = [p for p in shape.parameters if not p.keyword_only]
        required = [p.name for p in shape.parameters if not p.default]
        if len(required) > 2 or (len(free) < 2 and not shape.varargs):
            names = ", ".join(p.name for p in shape.parameters) or "nothing"
            raise TypeError(f"the function of reduce takes two values, what was folded so far and an item, not {names}")
        return Shape(tuple(map(Parameter, self.sources)), False, False, self.is_async)

    def faults(self) -> list[str]:
        found = super().faults()
        if len(self.sources) != 1:
            found.append(f"reduce goes over one source, not {len(self.sources)}")
        return [*found, *fresh_faults("start", self.start)]

    def fold(self, items: Any, ours: bool = False, show: Show = shown) -> Any:
        """Fold ``items`` from a copy of the start value on.

        :param ours: a node of this run has made them, so a generator is closed if the function fails.
        :raises UsageError: if they are nothing to go over.
        """
        check_source("reduce", self.sources[0], items, show)
        if hasattr(items, "__aiter__"):
            raise UsageError("reduce goes over an asynchronous iterator by a sync function: make that async")
        try:
            return reduce(self.fn, items.values() if isinstance(items, Mapping) else items, fresh(self.start))
        except BaseException as error:
            if ours and isinstance(items, GeneratorType) and not items.gi_running:
                _closed(items, error)
            raise

    async def fold_awaiting(self, items: Any, ours: bool = False, show: Show = shown) -> Any:
        """As :meth:`fold`; the function, the items or both are asynchronous."""
        check_source("reduce", self.sources[0], items, show)
        made = items.__aiter__() if hasattr(items, "__aiter__") else items
        ours = ours or has_made(items, made)
        try:
            return await self._folded(made)
        except BaseException as error:
            if ours and isinstance(made, GeneratorType) and not made.gi_running:
                _closed(made, error)
            elif ours and isinstance(made, AsyncGeneratorType):
                try:
                    await left(made)
                except Exception as closing:
                    note_closing(error, closing)
            raise

    async def _folded(self, items: Any) -> Any:
        so_far, fn, awaited = fresh(self.start), self.fn, is_async_callable(self.fn)
        if hasattr(items, "__anext__"):
            async for item in items:
                so_far = await fn(so_far, item) if awaited else fn(so_far, item)
        else:
            for item in items.values() if isinstance(items, Mapping) else items:
                so_far = await fn(so_far, item) if awaited else fn(so_far, item)
        return so_far

    def __repr__(self) -> str:
        return f"<fold of {', '.join(self.sources)} by {shown(self.fn)}>"


class Mapped(Over):
    """A function, called once per item (:meth:`flow.Dag.map`)."""

    __slots__ = ("_names", "_roles", "abandons", "admission", "executor", "fallback", "options", "retry", "timeout")

    def __init__(self, fn: Any, sources: tuple[str, ...], options: MapOptions) -> None:
        super().__init__(fn, sources)
        self.options = options
        self.retry: Retry | None = None
        self.timeout: Timeout | None = None
        self.executor: str | None = None
        self.admission: Gates | None = None
        self.abandons = False
        self.fallback: Any = MISSING
        self._roles: Roles | None = None
        self._names: tuple[str, ...] | None = None

    def with_policy(
        self,
        retry: Retry | None,
        timeout: Timeout | None,
        executor: str | None,
        fallback: Any,
        abandons: bool,
        admission: Gates | None = None,
    ) -> Mapped:
        """Return a copy whose items are retried, limited, let in, run and replaced as given."""
        copy = Mapped(self.fn, self.sources, self.options)
        copy.retry, copy.timeout, copy.executor, copy.abandons = retry, timeout, executor, abandons
        copy.fallback, copy.admission, copy._roles, copy.around = fallback, admission, self._roles, self.around
        return copy

    @property
    def is_async(self) -> bool:
        waits = self.executor not in (None, "inline") or self.roles.awaits
        return waits or (self.admission is not None and self.admission.is_async)

    def faults(self) -> list[str]:
        return [*super().faults(), *self.options.faults()]

    @property
    def roles(self) -> Roles:
        """What each parameter of the function receives. :raises TypeError: if none can take the item."""
        if self._roles is None:
            batched = self.options.batch_size is not None
            self._roles = roles_of(self.fn, 1 if batched else len(self.sources))
            if batched:
                _refuse_parts(self._roles, self.sources)
        return self._roles

    @property
    def names(self) -> tuple[str, ...]:
        """What it is called with: the sources, then what the function needs besides its item."""
        if self._names is None:
            self._names = tuple([p.name for p in self._own_shape().parameters])
        return self._names

    def shape(self) -> Shape:
        """The sources, then what the function needs besides its item; or what is done around it needs."""
        own = self._own_shape()
        return own if self.around is None else wrapped(self.around, own.is_async)

    def _own_shape(self) -> Shape:
        extras = [p for p in self.roles.extras if p.name not in self.sources]
        outcomes = [p.name for p in extras if p.is_outcome]
        if outcomes:
            raise TypeError(
                f"the function of this map takes {', '.join(map(repr, outcomes))} as a flow.Outcome, and a map gives "
                "outputs: drop the annotation, or let a node before the map take the Outcome"
            )
        parameters = (*map(Parameter, self.sources), *[Parameter(p.name, p.default, source=p.source) for p in extras])
        return Shape(parameters, False, False, self.is_async)

    def __repr__(self) -> str:
        return f"<{shown(self.fn)} for each of {', '.join(self.sources)}>"


def check_source(who: str, label: str, source: Any, show: Show = shown) -> None:
    """:raises UsageError: if ``source`` is nothing to go over item by item."""
    text = isinstance(source, (str, bytes))
    if text or not (hasattr(source, "__iter__") or hasattr(source, "__aiter__")):
        hint = ": to go over its parts, make it a list" if text else ""
        hint = ": does the node that provides it return it?" if source is None else hint
        what = a_kind(source) if show is a_kind else f"{a_kind(source)}, {show(source)}"
        raise UsageError(f"{who} cannot go over {label!r}: it is {what}{hint}")


def _closed(generator: Any, error: BaseException) -> None:
    """Close a generator after ``error``, which stands whatever closing raises."""
    try:
        generator.close()
    except Exception as closing:
        note_closing(error, closing)


def note_closing(error: BaseException, closing: Exception) -> None:
    """Say on ``error`` what the source raised when it was closed after that."""
    note(error, f"its source raised {described(closing)} when it was closed")


def has_made(source: Any, iterator: Any) -> bool:
    """Tell whether ``iterator`` is a generator that ``source`` has made for this iteration alone, and does not keep.

    (An ``__iter__`` that is no generator function may hand out the same generator each time.)
    """
    method = "__aiter__" if isinstance(iterator, AsyncGeneratorType) else "__iter__"
    return iterator is not source and is_generator_function(getattr(type(source), method, None))


async def left(generator: Any) -> None:
    """Close an async generator that is left halfway; what it awaits then is not cancelled."""
    if not getattr(generator, "ag_running", False):  # (by another node, whose it is then)
        from anyio import CancelScope

        with CancelScope(shield=True):
            await generator.aclose()


def roles_of(fn: Any, sources: int) -> Roles:
    """Decide what each parameter of ``fn`` receives.

    Parameters called ``item``, ``index`` and ``key`` say so themselves. Without an ``item``, the
    first positional parameter gets it; of several zipped sources, the first so many get a part each.

    :param sources: how many parts an item has; 1 for batches, which are lists of whole items.
    :raises TypeError: if there is no parameter for the item.
    """
    if not callable(fn):
        raise TypeError(f"{shown(fn)} is not callable: give the function that is called with each item")
    shape = shape_of(fn)
    names = {p.name for p in shape.parameters}
    free = [p.name for p in shape.parameters if not (p.keyword_only or p.is_context or p.name in ("index", "key"))]
    if is_text(fn) and "item" not in names:
        raise TypeError(f"the expression of this map must read its item as 'item', and {shown(fn)} does not")
    if isinstance(fn, Composite) and "item" not in names:
        free = _only_required(shape)
    if "item" in names:
        items: tuple[str, ...] = ("item",)
    elif sources <= len(free) or shape.varargs:
        items = tuple(free[:sources])
    else:
        wanted = "its item" if sources == 1 else f"the {sources} parts of its item"
        raise TypeError(
            f"the function of this map has no parameter for {wanted}: call one 'item', or let the first "
            f"{'one be it' if sources == 1 else f'{sources} be them'}"
        )
    context = next((p.name for p in shape.parameters if p.is_context), None)
    special = {*items, "index", "key"}
    return Roles(
        tuple([p.name for p in shape.parameters if not p.keyword_only]),
        items,
        sources == 1 or items == ("item",),
        tuple([p for p in shape.parameters if not p.is_context and p.name not in special]),
        is_async_callable(fn),
        may_return_awaitable(fn),
        context,
        "index" if "index" in names else None,
        "key" if "key" in names else None,
        shape.gaps,
    )


def _refuse_parts(roles: Roles, sources: tuple[str, ...]) -> None:
    """:raises TypeError: if a function of batches names its parameters as the parts of zipped items."""
    parts = [p.name for p in roles.extras if p.name in sources]
    if parts and roles.items and roles.items[0] in sources and len(sources) > 1:
        raise TypeError(
            f"with batch_size the function of this map gets one list of tuples, and not its parts: "
            f"{', '.join(map(repr, (*roles.items, *parts)))} name sources; let one parameter, called otherwise, "
            f"get the tuples"
        )


def _only_required(shape: Shape) -> list[str]:
    """A Dag's inputs have no order of their own: the item can only go to one that is alone."""
    required = [p.name for p in shape.parameters if not p.default]
    if len(required) != 1:
        names = ", ".join(map(repr, required)) or "none"
        raise TypeError(f"the Dag of this map must call the input for its item 'item'; it requires {names}")
    return required


__all__ = ["DEFAULT_CONCURRENCY", "Folded", "MapOptions", "Mapped", "OnError", "Over", "Roles", "roles_of"]
