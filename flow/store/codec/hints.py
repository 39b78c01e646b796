"""What the outputs of a plan's nodes are decoded by: the annotations of functions, and what composites make of them."""

from __future__ import annotations

from collections.abc import Awaitable, Coroutine, Mapping
from types import FunctionType
from typing import Annotated, Any, Final, get_args, get_origin

import msgspec
from msgspec.msgpack import Decoder, Ext

from flow.data.mapresult import MapResult
from flow.errors import FlowError
from flow.plan.annotated import Annotations
from flow.plan.assignable import UNKNOWN, item_of, list_of, union
from flow.plan.merging import Merge
from flow.plan.plan import Plan
from flow.plan.waits import Wait
from flow.policy.looping import Looped
from flow.policy.mapping import Folded, Mapped
from flow.signature import Composite, Nested
from flow.store.codec import tags
from flow.store.codec.codecs import Codecs, body_of
from flow.store.codec.special import map_result

MAX_MERGED: Final = 50
"""Merges of merges that are followed to the types of what they merge."""

_OUTPUTS: Final = Decoder(dict[str, msgspec.Raw]).decode
_ITEMS: Final = Decoder(list[msgspec.Raw]).decode
_KEYED: Final = Decoder(dict[Any, msgspec.Raw]).decode
_EXTENSION: Final = Decoder(Ext).decode
_COLLECTED: Final = Decoder(tuple[str, list[msgspec.Raw], msgspec.Raw, msgspec.Raw]).decode


class Hint:
    """What one output is decoded by: an annotation. Immutable."""

    __slots__ = ("annotation",)

    def __init__(self, annotation: Any = Any) -> None:
        self.annotation = annotation

    def decode(self, codecs: Codecs, data: bytes | memoryview, pickle: bool = False) -> Any:
        """Return the value. :raises: as :meth:`Codecs.decode`."""
        return codecs.decode(data, self.annotation, pickle)

    def of_body(self, codecs: Codecs, body: Any) -> Any:
        """Return the value of a piece of msgpack without a tag. :raises: as :meth:`Codecs.unpacked`."""
        return codecs.unpacked(body, self.annotation)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.annotation}>"


ANYTHING: Final = Hint()
"""What nothing is known of."""


class _Composed(Hint):
    """What is decoded part by part, each by its own hint."""

    __slots__ = ()

    def decode(self, codecs: Codecs, data: bytes | memoryview, pickle: bool = False) -> Any:
        if data[:1] != tags.MSGPACK:
            return codecs.decode(data, Any, pickle)
        return codecs.within_depth(lambda: self.of_body(codecs, body_of(data)))

    def of_body(self, codecs: Codecs, body: Any) -> Any:
        try:
            return self._parts(codecs, body)
        except (FlowError, RecursionError):
            raise
        except Exception:  # it is something else: a fallback, what middleware has returned
            return codecs.unpacked(body, Any)

    def _parts(self, codecs: Codecs, body: Any) -> Any:
        """Return the value. :raises Exception: if it is not of this kind."""
        raise NotImplementedError


class Outputs(_Composed):
    """The outputs of a Dag that is a node: by name, each by its own hint."""

    __slots__ = ("hints",)

    def __init__(self, hints: Hints) -> None:
        super().__init__(Mapping[str, Any])
        self.hints = hints

    def _parts(self, codecs: Codecs, body: Any) -> Any:
        named = self.hints.named
        return {name: named(name).of_body(codecs, part) for name, part in _OUTPUTS(body).items()}


class Items(_Composed):
    """The output of a map: a list, or a dict if it has keys."""

    __slots__ = ("item",)

    def __init__(self, item: Hint) -> None:
        super().__init__(list_of(item.annotation))
        self.item = item

    def _parts(self, codecs: Codecs, body: Any) -> Any:
        if _is_map(bytes(body[:1])):
            return {key: self.item.of_body(codecs, part) for key, part in _KEYED(body).items()}
        whole = codecs.typed(self.annotation) if type(self.item) is Hint else None
        if whole is not None:
            try:
                return whole(body)
            except RecursionError:
                raise
            except Exception:  # one item may not fit, and the others do
                pass
        return [self.item.of_body(codecs, part) for part in _ITEMS(body)]


class Rounds(_Composed):
    """The outputs of all rounds of a loop: a tuple."""

    __slots__ = ("item",)

    def __init__(self, item: Hint) -> None:
        super().__init__(tuple[item.annotation, ...])  # type: ignore[name-defined]
        self.item = item

    def _parts(self, codecs: Codecs, body: Any) -> Any:
        return tuple([self.item.of_body(codecs, part) for part in _ITEMS(body)])


class Collected(_Composed):
    """The output of a map with ``on_error="collect"``."""

    __slots__ = ("item",)

    def __init__(self, item: Hint) -> None:
        super().__init__(MapResult)
        self.item = item

    def _parts(self, codecs: Codecs, body: Any) -> Any:
        found = _EXTENSION(body)
        if found.code != tags.MAP_RESULT:
            raise ValueError("no MapResult")
        name, outcomes, errors, keys = _COLLECTED(found.data)
        values = [self.item.of_body(codecs, part) for part in outcomes]
        return map_result(name, values, codecs.unpacked(errors, Any), codecs.unpacked(keys, Any))


def _is_bare(fn: object) -> bool:
    """Tell whether it is a plain function without annotations."""
    return type(fn) is FunctionType and not fn.__annotations__


class Hints:
    """The hints of one ``plan``, each made at its first use. Keep it as long as the plan is used, and no longer."""

    __slots__ = ("_annotations", "_made", "plan")

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._annotations = Annotations()
        self._made: dict[int, Hint] = {}

    def of(self, i: int) -> Hint:
        """Return the hint of the output of node ``i``. Never raises."""
        found = self._made.get(i)
        if found is None:
            found = self._made[i] = self._of(i, 0)
        return found

    def named(self, name: str) -> Hint:
        """Return the hint of the node of this name; one that knows nothing if there is none."""
        i = self.plan._nodes.index.get(name)
        return ANYTHING if i is None else self.of(i)

    def item_of(self, i: int) -> Hint:
        """Return the hint of what is told of one item of the map that is node ``i`` (of one batch, if it has these).

        Of a filter that is whether the item is kept, of a flat_map the list of its results. Never raises.
        """
        try:
            mapped: Any = self.plan._nodes.fns[i]
            if not isinstance(mapped, Mapped):
                return ANYTHING
            options = mapped.options
            one: Any = self._of_result(mapped)
            if options.outcome == "filter":
                one = Hint(bool)
            elif options.outcome == "flat":
                one = Items(one)
            return one if options.batch_size is None else Items(one)
        except Exception:  # an annotation that raises when it is looked at
            return ANYTHING

    # -- how ---------------------------------------------------------------------------------

    def _of(self, i: int, merged: int) -> Hint:
        nodes = self.plan._nodes
        try:
            if nodes.routes is not None and i in nodes.routes.routers:
                return Hint(tuple[str, ...])
            fn: Any = nodes.fns[i]
            if type(fn) is Merge:
                return self._of_merge(nodes.arguments[i], merged + 1)
            return self._of_fn(fn)
        except Exception:  # an annotation, or a function, that raises when it is looked at
            return ANYTHING

    def _of_merge(self, slots: tuple[int, ...], merged: int) -> Hint:
        """Return the one hint of all that is merged, or a union of plain ones."""
        if merged > MAX_MERGED:
            return ANYTHING
        hints = [self._of(slot, merged) if slot >= 0 else ANYTHING for slot in slots]
        if len(hints) == 1:
            return hints[0]
        if not all(type(hint) is Hint for hint in hints):
            return ANYTHING
        return _hint(union(*[hint.annotation for hint in hints]))

    def _of_fn(self, fn: Any) -> Hint:
        if _is_bare(fn):
            return ANYTHING  # (at once: there may be 100,000 of them)
        if not issubclass(type(fn), Composite):
            return _hint(self._annotations.returned(fn))
        if fn.around is not None:  # what is done after it makes another value
            return _hint(self._annotations.returned(fn.around))
        if isinstance(fn, Nested):
            return Outputs(Hints(fn.plan))
        if isinstance(fn, Wait):
            return _hint(fn.output_type)
        if isinstance(fn, Looped):
            return _of_loop(fn)
        if isinstance(fn, Folded):
            return _hint(self._annotations.returned(fn.fn))
        if isinstance(fn, Mapped):
            return self._of_map(fn)
        return ANYTHING

    def _of_map(self, mapped: Mapped) -> Hint:
        item = ANYTHING if mapped.options.outcome == "filter" else self._of_result(mapped)
        return Collected(item) if mapped.options.on_error == "collect" else Items(item)

    def _of_result(self, mapped: Mapped) -> Hint:
        """Return the hint of what a map's function returns for one item; of one of its results, for a flat_map."""
        result = self._of_fn(mapped.fn)
        for flattens in (mapped.options.batch_size is not None, mapped.options.outcome == "flat"):
            if flattens:  # of composites nothing is known: a batch goes to a function
                result = _hint(item_of(result.annotation)) if type(result) is Hint else ANYTHING
        return result


def decoder_of(plan: Plan, i: int) -> Hint:
    """Return what the output of node ``i`` of ``plan`` is decoded by. O(1) for a node. Never raises.

    For many nodes of a plan keep one :class:`Hints`: it reads each annotation once.
    """
    return Hints(plan).of(i)


def item_decoder_of(plan: Plan, i: int) -> Hint:
    """Return what the outcome of one item of the map at node ``i`` is decoded by: :meth:`Hints.item_of`."""
    return Hints(plan).item_of(i)


def _of_loop(looped: Looped) -> Hint:
    if looped.body is None:
        return ANYTHING
    hints = Hints(looped.body.plan)
    round_ = Outputs(hints) if looped.output is None else hints.of(looped.output)
    return Rounds(round_) if looped.history else round_


def _hint(annotation: Any) -> Hint:
    """Return the hint of an annotation: of what it awaits, without metadata."""
    for _ in range(MAX_MERGED):
        origin = get_origin(annotation)
        if origin is Annotated:
            annotation = get_args(annotation)[0]
        elif origin in (Awaitable, Coroutine):
            annotation = get_args(annotation)[-1]
        else:
            break
    return ANYTHING if annotation is UNKNOWN else Hint(annotation)


def _is_map(first: bytes) -> bool:
    """Tell whether a piece of msgpack that begins with this byte is a map."""
    return first in (b"\xde", b"\xdf") or (first != b"" and first[0] & 0xF0 == 0x80)


__all__ = ["ANYTHING", "Hint", "Hints", "decoder_of", "item_decoder_of"]
