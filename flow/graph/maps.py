"""Nodes that go over items: what :class:`flow.Dag` offers for lists, generators and streams."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypedDict, TypeVar, Unpack, overload

from flow.config import Retry, Timeout
from flow.policy.mapping import DEFAULT_CONCURRENCY, Folded, MapOptions, Mapped, OnError
from flow.policy.middleware import Middleware
from flow.types import NodeRef, references

if TYPE_CHECKING:
    from flow.data.mapresult import MapResult

T = TypeVar("T")
A = TypeVar("A")
Ref: TypeAlias = str | NodeRef[Any] | Callable[..., Any]
Over: TypeAlias = Ref | Sequence[Ref]


class ItemOptions(TypedDict, total=False):
    """What :meth:`flow.Dag.map` takes by keyword; see there. The last six are as of :meth:`flow.Dag.add`."""

    concurrency: int | None
    batch_size: int | None
    take: int | None
    pipelined: bool
    needs: Mapping[str, Ref] | None
    retry: Retry | None
    timeout: float | Timeout | None
    thread: bool
    after: Ref | Iterable[Ref]
    continue_on_error: bool
    priority: int
    middleware: Sequence[Middleware]
    cost: float | None


class Maps:
    """The methods of a Dag that add nodes which go over items."""

    __slots__ = ()

    @overload
    def map(
        self,
        name: str,
        fn: Callable[..., Coroutine[Any, Any, T]],
        over: Over,
        *,
        on_error: Literal["collect"],
        key: Callable[[Any], Any] | None = None,
        **options: Unpack[ItemOptions],
    ) -> NodeRef[MapResult[T]]: ...

    @overload
    def map(
        self,
        name: str,
        fn: Callable[..., Coroutine[Any, Any, T]],
        over: Over,
        *,
        on_error: Literal["fail", "skip"] = "fail",
        **options: Unpack[ItemOptions],
    ) -> NodeRef[list[T]]: ...

    @overload
    def map(
        self,
        name: str,
        fn: Callable[..., T],
        over: Over,
        *,
        on_error: Literal["collect"],
        key: Callable[[Any], Any] | None = None,
        **options: Unpack[ItemOptions],
    ) -> NodeRef[MapResult[T]]: ...

    @overload
    def map(
        self,
        name: str,
        fn: Callable[..., T],
        over: Over,
        *,
        on_error: Literal["fail", "skip"] = "fail",
        **options: Unpack[ItemOptions],
    ) -> NodeRef[list[T]]: ...

    @overload
    def map(
        self,
        name: str,
        fn: Any,
        over: Over,
        *,
        on_error: OnError = "fail",
        key: Callable[[Any], Any] | None = None,
        **options: Unpack[ItemOptions],
    ) -> NodeRef[Any]: ...

    def map(
        self,
        name: str,
        fn: Any,
        over: Over,
        *,
        on_error: OnError = "fail",
        key: Callable[[Any], Any] | None = None,
        **options: Any,
    ) -> NodeRef[Any]:
        """Add a node that calls ``fn`` once per item of what ``over`` provides; its output is the list of results.

        The item goes to the parameter called ``item``, or else to the first one; ``index`` gets its place
        and ``key`` its key. Every other parameter is filled as in :meth:`add`, once for all items, and a
        ``flow.Context`` is each item's own. Results are in item order, whatever finishes first.

        :param fn: a sync or async function, or a Dag to run for each item (whose input is called ``item``, or is
            its only required one).
        :param over: the node or run input that provides the items: anything that can be iterated, lazily and
            asynchronously too, or a mapping (``fn`` gets its values, the output is a dict of the same keys). Several
            are zipped: ``item`` is a tuple then, or the first parameters get a part each.
        :param concurrency: most items in flight, 50 if not given; None leaves it to ``Config.limit``. A lazy source
            is asked for an item when one can be started. Items of a sync function run one after another,
            unless ``thread``.
        :param batch_size: call ``fn`` with lists of up to so many items; it returns a list of a result for each.
        :param on_error: ``fail`` ends the map with the item's own exception (several: a :class:`flow.MapError`);
            ``collect`` goes on and returns a :class:`flow.MapResult`; ``skip`` goes on and leaves failed items out.
        :param key: a function of the item that names it; the output is then a dict of results by key.
        :param take: go over so many items at most.
        :param pipelined: start on an item as soon as ``over``, itself a map, has its result, not when it has all.
        :param needs: which node fills which parameter, where names differ.
        :param options: the rest of :meth:`add`'s; ``retry``, ``timeout`` and ``thread`` are each item's.
        """
        return self._add_map(name, fn, over, options, on_error=on_error, key=key)

    def flat_map(
        self,
        name: str,
        fn: Any,
        over: Over,
        *,
        on_error: Literal["fail", "skip"] = "fail",
        **options: Unpack[ItemOptions],
    ) -> NodeRef[list[Any]]:
        """As :meth:`map`, for a function that returns several results per item: the output is one list of all."""
        return self._add_map(name, fn, over, options, on_error=on_error, outcome="flat")

    def filter(
        self,
        name: str,
        fn: Any,
        over: Over,
        *,
        on_error: Literal["fail", "skip"] = "fail",
        **options: Unpack[ItemOptions],
    ) -> NodeRef[list[Any]]:
        """As :meth:`map`; the output is the list of the items for which ``fn`` returned something true."""
        return self._add_map(name, fn, over, options, on_error=on_error, outcome="filter")

    def reduce(
        self, name: str, fn: Callable[[A, Any], A | Coroutine[Any, Any, A]], over: Ref, *, start: A, **options: Any
    ) -> NodeRef[A]:
        """Add a node that folds what ``over`` provides: ``fn(so_far, item)`` for each item, beginning with ``start``.

        :param fn: a sync or async function of two values.
        :param options: as of :meth:`add`.
        """
        return self._add_over(name, lambda sources: Folded(fn, sources, start), over, options)

    def _add_map(self, name: str, fn: Any, over: Any, options: Mapping[str, Any], **settings: Any) -> NodeRef[Any]:
        from flow.graph.dag import Dag
        from flow.signature import Nested

        if isinstance(fn, Dag):
            fn = Nested.of(fn)
        own = {"concurrency": DEFAULT_CONCURRENCY, "batch_size": None, "take": None, "pipelined": False}
        settings.update({setting: options.get(setting, default) for setting, default in own.items()})
        rest = {option: value for option, value in options.items() if option not in own}
        return self._add_over(name, lambda sources: Mapped(fn, sources, MapOptions(**settings)), over, rest)

    def _add_over(
        self, name: str, make: Callable[[tuple[str, ...]], Any], over: Any, options: Mapping[str, Any]
    ) -> NodeRef[Any]:
        """Add what ``make`` gives for its sources' parameter names: those of the nodes, where they have names."""
        needs: dict[Any, Any] = dict(options.get("needs") or {})
        sources: list[str] = []
        for k, ref in enumerate(references(over)):
            label = ref.name if isinstance(ref, NodeRef) else ref
            if not isinstance(label, str) or label in sources:
                label = f"over:{k}"  # no parameter can be called that
                needs[label] = ref
            sources.append(label)
        dag: Any = self
        added: NodeRef[Any] = dag.add(name, make(tuple(sources)), **{**options, "needs": needs or None})
        return added


__all__ = ["ItemOptions", "Maps"]
