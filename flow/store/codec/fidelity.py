"""Which outputs of a Dag would come back from a store as something else: :func:`roundtrip`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, time
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

import msgspec

from flow.errors import NotStorable, StoreError
from flow.plan.plan import Plan
from flow.reprs import counted
from flow.store.codec.codecs import Codecs
from flow.store.codec.errors import name_of
from flow.store.codec.hints import Hint, Hints, Outputs
from flow.store.codec.places import Path, parts_of, said
from flow.types import View

if TYPE_CHECKING:
    from flow.config import Config
    from flow.graph.dag import Dag

MOST: Final = 50
"""Changes that are listed of one output."""

_WHOLE: Final = (str, bytes, bytearray, set, frozenset)


class Changed(msgspec.Struct, frozen=True):
    """A part of an output that comes back from a store as something else.

    :ivar node: its name; of one in a Dag that is a node, ``outer/inner``. :ivar place: ``value[0]['when']``.
    :ivar before: the type that the node has returned.
    :ivar after: the type that comes back: the same if it is another value, empty if it cannot be stored.
    :ivar why: it cannot be stored, or read.
    """

    node: str
    place: str
    before: str
    after: str = ""
    why: str = ""

    def __str__(self) -> str:
        if self.why:
            return f"{self.node}: {self.why}"
        what = f"{self.before} comes back as {self.after}"
        return f"{self.node}: {self.place}: {what if self.before != self.after else f'another {self.after}'}"


class Roundtrip(tuple[Changed, ...]):
    """What :func:`roundtrip` has found. Empty, and so false, if every output comes back as it was."""

    __slots__ = ()

    def __str__(self) -> str:
        if not self:
            return "every output comes back from a store as it was"
        head = f"{counted(len(self), 'part')} of outputs would come back from a store as something else:"
        return "\n  ".join([head, *map(str, self)])


def roundtrip(
    dag: Dag | Plan,
    inputs: Mapping[str, Any] | None = None,
    codecs: Codecs | None = None,
    config: Config | None = None,
) -> Roundtrip:
    """Run a Dag without a store, encode and decode each output as a store does, and tell what comes back otherwise.

    A type that is lost comes back where the node's function has it as its return annotation. Nodes with ``store=False``
    are left out, and so are those that come after a signal or a timer. O(the outputs).

    :param codecs: those of the store; none but the shipped ones by default. :param inputs: as of :func:`flow.run`.
    :raises RunError: if the run fails.
    """
    from flow.run.api import run

    plan = dag if isinstance(dag, Plan) else dag.compile()
    result = run(plan, inputs, config=config, targets=_before_waits(plan))
    plan = result.plan
    used = Codecs() if codecs is None else codecs
    return Roundtrip(_changed(result.outputs, plan, Hints(plan), used, ""))


def _before_waits(plan: Plan) -> list[str] | None:
    """Return the nodes that wait for no signal and no time, and come after none that does; None if all are."""
    nodes = plan._nodes
    if not nodes.waits:
        return None
    todo = [*nodes.holders, *(() if nodes.routes is None else nodes.routes.waits)]
    after = set(todo)
    while todo:
        for s in nodes.successors[todo.pop()]:
            if s not in after:
                after.add(s)
                todo.append(s)
    return [name for i, name in enumerate(plan.names) if i not in after]


def _changed(
    outputs: Mapping[str, Any], plan: Plan, hints: Hints, codecs: Codecs, prefix: str
) -> Iterator[Changed]:
    index, storing = plan._nodes.index, plan._nodes.storing
    for name, value in outputs.items():
        if storing.get(index[name]) is False:
            continue
        hint = hints.named(name)
        if isinstance(hint, Outputs) and issubclass(type(value), View):
            yield from _changed(value, hint.hints.plan, hint.hints, codecs, f"{prefix}{name}/")
        else:
            yield from _of_one(f"{prefix}{name}", value, hint, codecs)


def _of_one(node: str, value: Any, hint: Hint, codecs: Codecs) -> Iterator[Changed]:
    try:
        back = hint.decode(codecs, codecs.encode(value))
    except NotStorable as error:
        yield Changed(node, "value", name_of(type(value)), why=str(error))
        return
    except StoreError as error:
        yield Changed(node, "value", name_of(type(value)), why=f"cannot be read again: {error}")
        return
    for path, before, after in islice(differences(value, back, codecs), MOST):
        yield Changed(node, said(path), name_of(type(before)), name_of(type(after)))


def differences(value: Any, back: Any, codecs: Codecs) -> Iterator[tuple[Path, Any, Any]]:
    """Yield the outermost parts of ``value`` that are of another type or value in ``back``, with their places.

    Iterative, so that no value is too deep for it. O(parts).
    """
    todo: list[tuple[Any, Any, Path]] = [(value, back, None)]
    while todo:
        before, after, path = todo.pop()
        if issubclass(type(before), View):  # of ours, and written as this
            before = dict(before)
        if type(before) is not type(after):
            yield path, before, after
            continue
        mine = [] if issubclass(type(before), _WHOLE) else list(parts_of(before))
        theirs = list(parts_of(after)) if mine else []
        if mine and len(mine) == len(theirs):
            pairs = zip(mine, theirs, strict=True)
            todo.extend([(one, other, (path, step)) for (one, step), (other, _) in pairs][::-1])
        elif mine or not _is_same(before, after, codecs):
            yield path, before, after


def _is_same(before: Any, after: Any, codecs: Codecs) -> bool:
    """Tell whether two values of one type are one value: by ``==``, or else by how they are written."""
    if issubclass(type(before), (datetime, time)):
        return bool(before.isoformat() == after.isoformat())  # equal ones may be of other zones
    try:
        if issubclass(type(before), (set, frozenset)):
            return bool(before == after) and set(map(type, before)) == set(map(type, after))
        if (before == after) is True:
            return True
    except Exception:  # its own comparison fails
        pass
    try:
        return codecs.encode(before) == codecs.encode(after)
    except StoreError:
        return False


__all__ = ["Changed", "Roundtrip", "differences", "roundtrip"]
