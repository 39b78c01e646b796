"""How a dag is wired, as a store keeps it, and what of it no longer fits a stored run.

Nodes are compared one by one and by name: a run may go on with another program, as long as what has completed stands as
it stood.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from hashlib import blake2b
from types import CodeType
from typing import Any, Final

import msgspec

from flow.errors import DamagedRow, UsageError, listing, shown
from flow.plan.plan import Plan
from flow.plan.waits import Signal, Timer, plan_within
from flow.policy.looping import Looped
from flow.signature import Composite

_DIGEST: Final = 16
_CODE: Final = 8


class Wiring(msgspec.Struct, array_like=True, frozen=True):
    """A node: what its parameters take, in their order (``parameter=source`` by keyword), and what it comes ``after``.

    :ivar code: a digest of its function's code. :ivar kind: "signal" or "timer", of a node that waits.
    """

    takes: tuple[str, ...]
    code: bytes
    kind: str = ""


class Structure(msgspec.Struct, array_like=True, frozen=True):
    """The nodes of a dag by name, and by path those of the dags that nodes run."""

    nodes: dict[str, dict[str, Wiring]]


class Shape:
    """The structure of a plan. :ivar digest: of it. :ivar encoded: as a store keeps it."""

    __slots__ = ("digest", "encoded", "structure")

    def __init__(self, structure: Structure) -> None:
        self.structure = structure
        self.encoded: bytes = msgspec.msgpack.encode(structure)
        self.digest = blake2b(self.encoded, digest_size=_DIGEST).digest()


def shape_of(plan: Plan) -> Shape:
    """Return the structure of a plan. Made once per plan, O(nodes + edges).

    :raises UsageError: if a node has the name of a round of a loop: nothing would tell what runs within both.
    """
    kept = plan._kept
    if kept.structure is None:
        faults = [
            f"node {shown(name)} is called like a round of the loop {shown(loop)}: rename one of them"
            for name, loop in _like_rounds(plan)
        ]
        if faults:
            raise UsageError(listing(f"dag {shown(plan.name)} cannot be stored", faults))
        kept.structure = Shape(Structure(dict(_plans(plan))))
    found: Shape = kept.structure
    return found


def with_code_of(
    shape: Shape, stored: Mapping[str, Mapping[str, Wiring]], names: Collection[tuple[str, str]]
) -> Shape:
    """Return ``shape`` with the stored wiring of these nodes, by path and name: their outputs are of that code."""
    nodes = {path: dict(at) for path, at in shape.structure.nodes.items()}
    for path, name in names:
        nodes[path][name] = stored[path][name]
    return Shape(Structure(nodes))


def decoded(encoded: bytes | None, digest: bytes, store: str) -> Structure:
    """Return a structure that a store has kept.

    :param encoded: None if it has none. :param digest: of it (:attr:`Shape.digest`). :param store: its name.
    :raises DamagedRow: if it is not what was written.
    """
    if encoded is None or blake2b(encoded, digest_size=_DIGEST).digest() != digest:
        raise DamagedRow(
            f"store {store!r}: the structure {digest.hex()} of a dag is gone, or damaged. Restore a copy of the store"
        )
    return msgspec.msgpack.decode(encoded, type=Structure)


def _plans(plan: Plan) -> Iterator[tuple[str, dict[str, Wiring]]]:
    codes: dict[Any, bytes] = {}  # of code that many nodes share
    for path, at in _all_plans(plan):
        names_of = {slot: name for name, filled in at._nodes.inputs.items() for slot in filled}
        yield path, {name: _wiring(at, i, names_of, codes) for i, name in enumerate(at.names)}


def _all_plans(plan: Plan) -> Iterator[tuple[str, Plan]]:
    """Yield a plan and those that its nodes run, each with its path."""
    todo = [("", plan)]
    while todo:
        path, at = todo.pop()
        yield path, at
        for i, fn in enumerate(at._nodes.fns):
            inner = plan_within(fn) if issubclass(type(fn), Composite) else None
            if inner is not None:
                todo.append((f"{path}/{at.names[i]}" if path else at.names[i], inner))


def _like_rounds(plan: Plan) -> Iterator[tuple[str, str]]:
    """Yield the nodes that are called like a round of a loop beside them (``loop#2``), and the loop."""
    for _, at in _all_plans(plan):
        if any(issubclass(type(fn), Looped) for fn in at._nodes.fns):
            for name in at.names:
                loop, mark, number = name.rpartition("#")
                if mark and number.isdigit() and loop in at and isinstance(at._nodes.fns[at.find(loop)], Looped):
                    yield name, loop


def _wiring(plan: Plan, i: int, inputs: Mapping[int, str], codes: dict[Any, bytes]) -> Wiring:
    nodes = plan._nodes
    slots, names, binder = nodes.arguments[i], nodes.names, nodes.binders.get(i)
    takes = [names[slot] if slot >= 0 else inputs.get(slot, "") for slot in slots]
    keywords = () if binder is None else binder.keywords
    for k, keyword in enumerate(keywords, len(takes) - len(keywords)):
        takes[k] = f"{keyword}={takes[k]}"
    dependencies = nodes.dependencies[i]
    if dependencies is not slots:
        takes += sorted([f"after {names[d]}" for d in dependencies if d not in slots])
    fn = nodes.fns[i] if binder is None else binder.fn
    code = getattr(fn, "__code__", None) if getattr(fn, "__wrapped__", None) is None else None
    digest = codes.get(code) if code is not None else None
    if digest is None:
        digest = _code_of(fn)
        if code is not None:
            codes[code] = digest
    kind = "signal" if isinstance(fn, Signal) else "timer" if isinstance(fn, Timer) else ""
    return Wiring(tuple(takes), digest, kind)


def _code_of(fn: Any) -> bytes:
    """Return a digest of what a node calls: of its code, if it has some that can be looked at."""
    digest = blake2b(digest_size=_CODE)
    todo, seen = [fn], set[int]()
    while todo:
        at = todo.pop()
        if id(at) in seen:
            continue
        seen.add(id(at))
        at = getattr(at, "__wrapped__", at) if not isinstance(at, Composite) else at
        if isinstance(at, Composite):
            digest.update(type(at).__name__.encode())
            todo += [part for part in (getattr(at, "fn", None), getattr(at, "body", None)) if part is not None]
            continue
        inner = getattr(at, "func", None) or getattr(at, "__func__", None)  # a partial, a method
        code = getattr(inner if inner is not None else at, "__code__", None)
        if isinstance(code, CodeType):
            _add_code(digest, code)
        elif inner is not None:
            todo.append(inner)
        else:
            source = getattr(at, "source", None)  # of an expression
            text = source if isinstance(source, str) else getattr(at, "__qualname__", None) or type(at).__qualname__
            digest.update(str(text).encode("utf-8", "replace"))
    return digest.digest()


def _add_code(digest: Any, code: CodeType) -> None:
    """Add the code of a function, and of functions in it; not where it stands, nor its name."""
    todo = [code]
    while todo:
        at = todo.pop()
        digest.update(at.co_code)
        digest.update(repr((at.co_names, at.co_varnames, at.co_freevars)).encode("utf-8", "replace"))
        for constant in at.co_consts:
            if isinstance(constant, CodeType):
                todo.append(constant)
            else:
                digest.update(_said(constant).encode("utf-8", "replace"))


def _said(constant: Any) -> str:
    if isinstance(constant, frozenset):  # in an order that differs from process to process
        return repr(sorted(map(repr, constant)))
    return repr(constant)


def faults_of(
    stored: Mapping[str, Wiring], now: Mapping[str, Wiring], completed: list[str], path: str
) -> Iterator[str]:
    """Say of each completed node that is gone, or wired otherwise, what is wrong."""
    for name in completed:
        was = stored.get(name)
        at = now.get(name)
        called = f"{path}/{name}" if path else name
        if at is None:
            yield f"node {shown(called)} has completed, and is gone: put it back, or begin anew with another run_id"
        elif was is not None and was.takes != at.takes:
            yield (
                f"node {shown(called)} has completed, and is wired otherwise now: it took {_listed(was.takes)}, and "
                f"takes {_listed(at.takes)}: call it otherwise, or begin anew with another run_id"
            )


def _listed(takes: tuple[str, ...]) -> str:
    return ", ".join(takes[:6]) + (f" and {len(takes) - 6} more" if takes[6:] else "") if takes else "nothing"


__all__ = ["Shape", "Structure", "Wiring", "decoded", "faults_of", "shape_of", "with_code_of"]
