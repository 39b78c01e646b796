"""Nodes that go over items: what :class:`flow.Dag` offers for lists, generators and streams."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence, Set
from typing import TYPE_CHECKING, Any, Final, Literal, Never, TypeVar, Unpack, overload

from flow.draw.rich import Rich
from flow.errors import shown
from flow.graph.options import TEARDOWN, FoldOptions, ItemOptions, Ref, Sources, unknown_options
from flow.policy.mapping import DEFAULT_CONCURRENCY, Folded, MapOptions, Mapped, OnError, Over
from flow.signature import Nested, identity_of
from flow.tracebacks import OUR_ERRORS, end_at_user
from flow.types import NodeRef

if TYPE_CHECKING:
    from flow.data.mapresult import MapResult

T = TypeVar("T")
A = TypeVar("A")
E = TypeVar("E", bound=dict[Never, Never] | list[Never] | set[Never])  # of an empty literal, which tells no more


class Maps(Rich):
    """The methods of a Dag that add nodes which go over items."""

    __slots__ = ()

    add: Callable[..., NodeRef[Any]]
    """How a node is added: :meth:`flow.Dag.add`."""

    @overload
    def map(
        self,
        name: str,
        fn: Callable[..., Coroutine[Any, Any, Iterable[T]]],
        over: Sources,
        *,
        batch_size: int,
        on_error: Literal["fail", "skip"] = "fail",
        **options: Unpack[ItemOptions],
    ) -> NodeRef[list[T]]: ...

    @overload
    def map(
        self,
        name: str,
        fn: Callable[..., Iterable[T]],
        over: Sources,
        *,
        batch_size: int,
        on_error: Literal["fail", "skip"] = "fail",
        **options: Unpack[ItemOptions],
    ) -> NodeRef[list[T]]: ...

    @overload
    def map(
        self,
        name: str,
        fn: Callable[..., Coroutine[Any, Any, Iterable[T]]],
        over: Sources,
        *,
        batch_size: int,
        on_error: Literal["collect"],
        key: Callable[[Any], Any] | None = None,
        **options: Unpack[ItemOptions],
    ) -> NodeRef[MapResult[T]]: ...

    @overload
    def map(
        self,
        name: str,
        fn: Callable[..., Iterable[T]],
        over: Sources,
        *,
        batch_size: int,
        on_error: Literal["collect"],
        key: Callable[[Any], Any] | None = None,
        **options: Unpack[ItemOptions],
    ) -> NodeRef[MapResult[T]]: ...

    @overload
    def map(
        self,
        name: str,
        fn: Callable[..., Coroutine[Any, Any, T]],
        over: Sources,
        *,
        on_error: Literal["collect"],
        batch_size: None = None,
        key: Callable[[Any], Any] | None = None,
        **options: Unpack[ItemOptions],
    ) -> NodeRef[MapResult[T]]: ...

    @overload
    def map(
        self,
        name: str,
        fn: Callable[..., Coroutine[Any, Any, T]],
        over: Sources,
        *,
        on_error: Literal["fail", "skip"] = "fail",
        batch_size: None = None,
        **options: Unpack[ItemOptions],
    ) -> NodeRef[list[T]]: ...

    @overload
    def map(
        self,
        name: str,
        fn: Callable[..., T],
        over: Sources,
        *,
        on_error: Literal["collect"],
        batch_size: None = None,
        key: Callable[[Any], Any] | None = None,
        **options: Unpack[ItemOptions],
    ) -> NodeRef[MapResult[T]]: ...

    @overload
    def map(
        self,
        name: str,
        fn: Callable[..., T],
        over: Sources,
        *,
        on_error: Literal["fail", "skip"] = "fail",
        batch_size: None = None,
        **options: Unpack[ItemOptions],
    ) -> NodeRef[list[T]]: ...

    @overload
    def map(
        self,
        name: str,
        fn: Any,
        over: Sources,
        *,
        on_error: OnError = "fail",
        batch_size: int | None = None,
        key: Callable[[Any], Any] | None = None,
        **options: Unpack[ItemOptions],
    ) -> NodeRef[Any]: ...

    def map(
        self,
        name: str,
        fn: Any,
        over: Sources,
        *,
        on_error: OnError = "fail",
        batch_size: int | None = None,
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
            are zipped, each named once: ``item`` is a tuple then, or the first parameters get a part each.
        :param concurrency: most items in flight, 50 if not given; None leaves it to ``Config.limit``; "auto" follows
            the items' latency (:mod:`flow.run.adaptive`). A lazy source is asked for an item when one can be
            started. Items of a sync function run one after another, unless ``thread`` or ``executor`` moves them.
        :param batch_size: call ``fn`` with lists of up to so many items (zipped: of tuples); it returns their results.
        :param batch_wait: most seconds that a batch is filled, from its first item on (a sync source: till the next).
        :param on_error: ``fail`` ends the map with the item's own exception (several: a :class:`flow.errors.MapError`);
            ``collect`` goes on and returns a :class:`flow.MapResult`; ``skip`` goes on and leaves failed items out.
        :param key: a function of the item that names it; the output is then a dict of results by key.
        :param take: go over so many items at most.
        :param pipelined: start on an item as soon as ``over``, itself a map, has its result, not when it has all.
        :param needs: which node fills which parameter, where names differ.
        :param options: the rest of :meth:`add`'s; ``retry``, ``timeout``, ``thread``, ``executor``, ``admission``,
            ``abandon_on_timeout`` and ``fallback`` (in place of what ``fn`` would have returned) are each item's.
        """
        try:
            return _add_map(self, name, fn, over, options, on_error=on_error, batch_size=batch_size, key=key)
        except OUR_ERRORS as error:
            end_at_user(error)
            raise

    @overload
    def flat_map(
        self, name: str, fn: Callable[..., Coroutine[Any, Any, Iterable[T]] | Iterable[T]], over: Sources, *,
        on_error: Literal["fail", "skip"] = "fail", batch_size: None = None, **options: Unpack[ItemOptions],
    ) -> NodeRef[list[T]]: ...  # fmt: skip
    @overload
    def flat_map(
        self, name: str, fn: Any, over: Sources, *, on_error: Literal["fail", "skip"] = "fail",
        batch_size: int | None = None, **options: Unpack[ItemOptions],
    ) -> NodeRef[list[Any]]: ...  # fmt: skip
    def flat_map(
        self,
        name: str,
        fn: Any,
        over: Sources,
        *,
        on_error: Literal["fail", "skip"] = "fail",
        batch_size: int | None = None,
        **options: Unpack[ItemOptions],
    ) -> NodeRef[list[Any]]:
        """As :meth:`map`, for a function that returns several results per item: the output is one list of all."""
        try:
            return _add_map(self, name, fn, over, options, on_error=on_error, batch_size=batch_size, outcome="flat")
        except OUR_ERRORS as error:
            end_at_user(error)
            raise

    def filter(
        self,
        name: str,
        fn: Any,
        over: Sources,
        *,
        on_error: Literal["fail", "skip"] = "fail",
        batch_size: int | None = None,
        **options: Unpack[ItemOptions],
    ) -> NodeRef[list[Any]]:
        """As :meth:`map`; the output is the list of the items for which ``fn`` returned something true."""
        try:
            return _add_map(self, name, fn, over, options, on_error=on_error, batch_size=batch_size, outcome="filter")
        except OUR_ERRORS as error:
            end_at_user(error)
            raise

    @overload
    def reduce(
        self,
        name: str,
        fn: Callable[[A, Any], Coroutine[Any, Any, A]],
        over: Ref,
        *,
        start: A,
        **options: Unpack[FoldOptions],
    ) -> NodeRef[A]: ...

    @overload
    def reduce(
        self, name: str, fn: Callable[[A, Any], A], over: Ref, *, start: A, **options: Unpack[FoldOptions]
    ) -> NodeRef[A]: ...

    @overload
    def reduce(
        self,
        name: str,
        fn: Callable[[A | E, Any], Coroutine[Any, Any, A]],
        over: Ref,
        *,
        start: E,
        **options: Unpack[FoldOptions],
    ) -> NodeRef[A]: ...

    @overload
    def reduce(
        self, name: str, fn: Callable[[A | E, Any], A], over: Ref, *, start: E, **options: Unpack[FoldOptions]
    ) -> NodeRef[A]: ...

    def reduce(self, name: str, fn: Any, over: Ref, *, start: Any, **options: Any) -> NodeRef[Any]:
        """Add a node that folds what ``over`` provides: ``fn(so_far, item)`` for each item, beginning with ``start``.

        :param fn: a sync or async function of two values.
        :param options: as of :meth:`add`; ``executor`` is "inline" or "thread" here.
        """
        try:
            return _add_over(self, name, lambda sources: Folded(fn, sources, start), over, options, _FOLDS, "reduce")
        except OUR_ERRORS as error:
            end_at_user(error)
            raise


_OWN: Final[Mapping[str, Any]] = {
    "concurrency": DEFAULT_CONCURRENCY, "batch_wait": None, "take": None, "pipelined": False,
}  # fmt: skip
"""The options that are a map's alone, with their defaults."""

_FOLDS: Final = frozenset(FoldOptions.__annotations__)
"""The options of a reduce."""


def _add_map(dag: Maps, name: str, fn: Any, over: Any, options: Mapping[str, Any], **settings: Any) -> NodeRef[Any]:
    if issubclass(type(fn), Maps):  # a Dag: nothing else has these methods
        fn = Nested.of(fn)
    known = {*ItemOptions.__annotations__, *settings} - {"outcome"}
    if not options.keys() <= {*known, TEARDOWN}:
        given = {setting: value for setting, value in settings.items() if value is not None and setting in known}
        raise unknown_options("map", name, {**given, **options}, known)
    settings.update({setting: options.get(setting, default) for setting, default in _OWN.items()})
    rest = {option: value for option, value in options.items() if option not in _OWN}
    return _add_over(dag, name, lambda sources: Mapped(fn, sources, MapOptions(**settings)), over, rest, known)


def _add_over(
    dag: Maps,
    name: str,
    make: Callable[[tuple[str, ...]], Over],
    over: Any,
    options: Mapping[str, Any],
    known: Set[str],
    place: str = "map",
) -> NodeRef[Any]:
    """Add what ``make`` gives for its sources' parameter names: those of the nodes, where they have names."""
    if not options.keys() <= {*known, TEARDOWN}:
        raise unknown_options(place, name, options, known)
    refs, faults = _sources(over)
    needs: dict[Any, Any] = {}
    if isinstance(options.get("needs"), Mapping):
        needs.update(options["needs"])
    elif not _is_none(options.get("needs")):
        faults.append(
            "needs is a mapping here, from parameters of the function to nodes (a list would be by position, "
            f"where the item goes), not {shown(options['needs'])}"
        )
    sources: list[str] = []
    for k, ref in enumerate(refs):
        label = ref.name if isinstance(ref, NodeRef) else ref
        if not isinstance(label, str):
            label = f"over:{k}"  # no parameter can be called that
            needs[label] = ref
        sources.append(label)
    made = make(tuple(sources or ["?"]))  # one at least, so that all else that is wrong is found as well
    made.misnamed = tuple(faults)
    return dag.add(name, made, **{**options, "needs": needs or None})


def _is_none(needs: Any) -> bool:
    return needs is None or (isinstance(needs, (str, list, tuple, set, frozenset)) and not needs)


def _sources(over: Any) -> tuple[list[Any], list[str]]:
    """Return the references in ``over``, each once, and its faults, one sentence each."""
    if isinstance(over, (set, frozenset)):
        return [], ["over is a set, which has no order: give a list"]
    refs = over if isinstance(over, Sequence) and not isinstance(over, str) else [over]
    if not refs or not all(isinstance(ref, (str, NodeRef)) or callable(ref) for ref in refs):
        wanted = "the node or run input that provides the items (its name, NodeRef or function), or a list of several"
        return [], [f"over must be {wanted}, not {shown(over)}"]
    once: dict[Any, Any] = {}
    twice: dict[Any, str] = {}
    for ref in refs:
        label = ref.name if isinstance(ref, NodeRef) else ref
        same = label if isinstance(label, str) else identity_of(label)
        if same in once:
            twice[same] = f"goes over {shown(getattr(label, '__name__', label))} twice: name each source once"
        once[same] = ref
    return list(once.values()), list(twice.values())


__all__ = ["Maps"]
