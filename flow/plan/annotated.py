"""The resolved annotations of functions: types of parameters and outputs, as far as they are certain."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from types import FunctionType, MethodType
from typing import Any, get_type_hints

from flow.annotations import annotations_of
from flow.awaits import may_return_awaitable
from flow.data.mapresult import MapResult
from flow.plan.assignable import UNKNOWN, contradict, item_of, list_of, union
from flow.plan.waits import Wait
from flow.policy.looping import Looped
from flow.policy.mapping import Folded, Mapped
from flow.signature import Nested, Shaped, is_async_callable, shape_of
from flow.types import MISSING


class Annotations:
    """Reads the annotations of each function once, and compares each pair of types once."""

    __slots__ = ("_compared", "_read")

    def __init__(self) -> None:
        self._read: dict[int, tuple[Any, Mapping[str, Any]]] = {}  # by id: the function, so that the id stays its own
        self._compared: dict[Any, bool] = {}

    def contradict(self, given: Any, asked: Any) -> bool:
        """As :func:`flow.plan.assignable.contradict`, which looks through all subclasses."""
        try:
            found = self._compared.get((given, asked))
        except TypeError:  # an annotation that cannot be hashed
            return contradict(given, asked)
        if found is None:
            found = self._compared[given, asked] = contradict(given, asked)
        return found

    def of(self, fn: Any) -> Mapping[str, Any]:
        """Return the types of ``fn``'s parameters and of its return value ("return"), as far as they are certain."""
        found = self._read.get(id(fn))
        if found is None:
            try:
                hints = _hints(fn)
            except Exception:  # an object whose attributes raise
                hints = {}
            found = self._read[id(fn)] = (fn, hints)
        return found[1]

    def returned(self, fn: Any) -> Any:
        """Return the type of the output of ``fn``: of the awaited value if ``fn`` is async."""
        if isinstance(fn, Nested):
            return Mapping[str, Any]
        if isinstance(fn, Wait):
            return UNKNOWN if fn.output_type is Any else fn.output_type
        if may_return_awaitable(fn) and not is_async_callable(getattr(fn, "__func__", fn)):
            return UNKNOWN
        return self.of(fn).get("return", UNKNOWN)

    def output(self, fn: Any, source: Any, fallback: Any) -> Any:
        """Return the type of a node's output.

        :param source: type of the source of a map. :param fallback: the fallback of the node.
        """
        if isinstance(fn, Mapped):
            return self._mapped(fn, source, fallback)
        if isinstance(fn, Looped):
            if fn.around is not None:  # what is done after it makes another value
                return _or_fallback(self.returned(fn.around), fallback)
            output = self.returned(fn.fn)
            return _or_fallback(_tuple_of(output) if fn.history else output, fallback)
        if isinstance(fn, Folded):
            return union(self.returned(fn.fn), _type_of(fn.start))
        return _or_fallback(self.returned(fn), fallback)

    def _mapped(self, fn: Mapped, source: Any, fallback: Any) -> Any:
        options = fn.options
        if options.on_error == "collect":
            return MapResult
        result = self.returned(fn.fn)
        if options.outcome == "filter":
            result = item_of(source, values=True) if len(fn.sources) == 1 else UNKNOWN
        elif options.batch_size is not None or options.outcome == "flat":
            result = item_of(result)  # (of a batch that is mapped flat: of the lists in it)
            if options.batch_size is not None and options.outcome == "flat":
                result = UNKNOWN
        result = _or_fallback(result, fallback)
        if options.outcome == "list" and options.key is not None:
            return _dict_of(result)
        if options.outcome == "list" and (len(fn.sources) > 1 or not self.contradict(source, Mapping)):
            return union(list_of(result), _dict_of(result))
        return list_of(result)


def _tuple_of(kind: Any) -> Any:
    return tuple if kind is UNKNOWN else tuple[kind, ...]


def _dict_of(kind: Any) -> Any:
    return dict[Any, kind]


def _or_fallback(kind: Any, fallback: Any) -> Any:
    if fallback is MISSING:
        return kind
    return UNKNOWN if callable(fallback) else union(kind, _type_of(fallback))


def _type_of(value: Any) -> Any:
    return type(value) if isinstance(type(value), type) and not callable(value) else UNKNOWN


def _hints(fn: Any) -> Mapping[str, Any]:
    if isinstance(fn, partial):
        return {name: kind for name, kind in _hints(fn.func).items() if name not in fn.keywords}
    if isinstance(fn, MethodType):
        fn = fn.__func__
    if isinstance(fn, Shaped):
        return {"return": fn.returns[0]} if fn.returns else {}
    if isinstance(fn, type):
        own: Any = fn  # a class whose call makes an instance of it, and nothing else
        is_plain = type(own) is type and not isinstance(own.__new__, FunctionType)
        hints = dict(_hints(own.__init__)) if is_plain and isinstance(own.__init__, FunctionType) else {}
        return {**hints, "return": fn} if is_plain else {}
    if type(fn) is not FunctionType or "__wrapped__" in fn.__dict__ or "__signature__" in fn.__dict__:
        return {}  # a wrapper may take and give something else
    try:
        hints = get_type_hints(fn)
    except Exception:  # a name that only type checkers know
        hints = {name: kind for name, kind in annotations_of(fn).items() if not isinstance(kind, str)}
    nones = {p.name for p in shape_of(fn).parameters if p.default and p.default[0] is None}
    return {name: union(kind, None) if name in nones else kind for name, kind in hints.items()}


__all__ = ["Annotations"]
