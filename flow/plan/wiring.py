"""Decide where each argument of a node's function comes from.

An argument is an integer *slot* of the run's value list: ``0 .. n-1`` are the nodes' outputs in
definition order; ``-1, -2, ...`` count run inputs from the list's end, so that a slot stays
valid when the Dag grows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from flow.data.outcome import received_outcome
from flow.errors import Hints, shown
from flow.plan.definition import Needs
from flow.signature import Parameter, Shape, Source, identity_of, location_of, namesake, qualname_of
from flow.types import ABSENT, MISSING, NodeRef, Status

_LACKING: Any = object()
"""The slot of a parameter of cleanup that reads a node which a part of the Dag lacks (``needs`` says ABSENT); and of
one with a fault."""


class Wiring(msgspec.Struct, frozen=True):
    """One node's arguments: ``slots`` by position, the last ``len(keywords)`` of them by keyword.

    ``context`` is where the Context goes: -1 nowhere, a position, or a keyword's name. ``optional`` says that some of
    the slots are of run inputs that may not be given, whose parameters are then left out of the call.
    """

    slots: tuple[int, ...]
    keywords: tuple[str, ...] = ()
    context: int | str = -1
    optional: bool = False


class InputSlots:
    """Run inputs found so far: one slot per name where it is required, and one per distinct default.

    :param names: the slots of each input that a shorter plan of the same Dag has found.
    :param tail: their defaults, slot -1 last.
    """

    __slots__ = ("_slots", "names", "values")

    declared: Any = None
    left_out: dict[int, str] = {}  # noqa: RUF012  (those that declare inputs have their own)

    def __init__(self, names: Mapping[str, tuple[int, ...]], tail: Sequence[Any]) -> None:
        self.values = list(reversed(tail))  # slot -1 first
        self.names = {name: list(slots) for name, slots in names.items()}
        self._slots = {
            (name, id(self.values[-slot - 1])): slot for name, slots in names.items() for slot in slots
        }  # the values are alive, so their ids stay theirs

    def slot(self, name: str, default: tuple[Any, ...]) -> int:
        """Return the slot that provides parameter ``name``, making it at first use. O(1).

        :param default: a 1-tuple, or nothing if it has none.
        """
        value = default[0] if default else MISSING
        key = (name, id(value))
        slot = self._slots.get(key)
        if slot is None:
            self.values.append(value)
            slot = self._slots[key] = -len(self.values)
            self.names.setdefault(name, []).append(slot)
        return slot

    def nameless(self, value: Any) -> int:
        """Return a new slot with ``value``, which no run input fills."""
        self.values.append(value)
        return -len(self.values)

    def unfilled_faults(
        self, arguments: Sequence[tuple[int, ...]], names: Sequence[Any], taker: Callable[[int, str], str]
    ) -> list[str]:
        """Say which parameters nothing fills. O(arguments) if there are any.

        :param names: of the nodes. :param taker: says that a node (by index) takes a parameter (by name).
        """
        return []


class Wirer:
    """Wires nodes against an index of names; collects faults instead of raising.

    The index may be filled while nodes are wired. It then holds the nodes so far, and at the
    first name it lacks :meth:`find` fills in the rest and sets ``forward``: some node may now
    depend on a later one, so definition order can no longer be taken for a topological one.

    :param names: all names; the index holds those before ``start``.
    :param raw_names: the names as they were given, for messages.
    :param former: by identity, functions that nodes had before they were redefined, with the nodes' names.
    :ivar unsure: nodes whose arguments or edges are not all known, since something is wrong with them.
    """

    __slots__ = (
        "_former", "_hints", "_names", "_names_by_function", "_raw_names", "_start", "faults", "fns", "forward",
        "index", "inputs", "outcomes", "unsure",
    )  # fmt: skip

    def __init__(
        self,
        index: dict[Any, int],
        names: Sequence[Any],
        start: int,
        raw_names: Sequence[Any],
        fns: Sequence[Any],
        inputs: InputSlots,
        former: Mapping[Any, tuple[Any, str]],
    ) -> None:
        self.index = index
        self.fns = fns
        self.inputs = inputs
        self.faults: list[str] = []
        self.forward = False
        self.outcomes: list[int] = []  # nodes with a parameter that is annotated as an Outcome
        self.unsure: set[int] = set()
        self._names = names
        self._start = start
        self._raw_names = raw_names
        self._names_by_function: dict[Any, list[Any]] | None = None
        self._former = former
        self._hints = Hints()

    # -- references --------------------------------------------------------------------------

    def foresee(self) -> None:
        """Fill the index with every node there is."""
        self.forward = True
        names, start = self._names, self._start
        self.index.update(zip(names[start:] if start else names, range(start, len(names)), strict=True))

    def find(self, ref: Any) -> int:
        """Return the index that ``ref`` (a name, a NodeRef, or a node's function) stands for, else -1."""
        if type(ref) is str:  # as most are
            name = ref
        else:
            name = ref.name if type(ref) is NodeRef else ref
            if not issubclass(type(name), str):
                runs = self._run_by(name)
                if len(runs) != 1:
                    return -1
                name = runs[0]
            elif name.__class__ is not str:
                name = str.__str__(name)
        found = self.index.get(name, -1)
        if found < 0 and not self.forward:
            self.foresee()
            found = self.index.get(name, -1)
        return found

    def find_all(self, refs: Sequence[Any], i: int, what: str) -> list[int]:
        """Return the index of each of ``refs``; those that stand for no node are noted as faults and left out."""
        found = []
        for ref in refs:
            at = self.find(ref)
            if at < 0:
                self.unsure.add(i)
                self.unknown(ref, f"{self.where(i)}: {what}")
            else:
                found.append(at)
        return found

    def unknown(self, ref: Any, where: str) -> None:
        """Note that ``ref``, met at ``where``, stands for no node."""
        name = ref.name if type(ref) is NodeRef else ref
        if issubclass(type(name), str):
            meant = self._hints.nearest(name, self.index)
            self.faults.append(f"{where} names {shown(name)}, which is no node of this dag{meant}")
            return
        runs = self._run_by(name)
        called = qualname_of(name)
        label = f"the function {called}" if called else f"{shown(name)} (of type {type(name).__name__})"
        if runs:
            several = ", ".join(map(shown, runs[:3])) + (", ..." if len(runs) > 3 else "")
            self.faults.append(f"{where} names {label}, which several nodes run: say which one ({several})")
        else:
            self.faults.append(f"{where} names {label}, which is no node of this dag{namesake(name, self.index)}")

    def where(self, i: int) -> str:
        """Name node ``i`` and the place of its function."""
        return f"node {shown(self._raw_names[i])} ({location_of(self.fns[i])})"

    def _run_by(self, fn: Any) -> list[Any]:
        if not callable(fn):
            return []
        if self._names_by_function is None:
            by_function = self._names_by_function = {}
            for name, known in zip(self._names, self.fns, strict=True):
                by_function.setdefault(identity_of(known), []).append(name)
        found = self._names_by_function.get(identity_of(fn))
        if found is None and self._former:
            found = [name for _, name in filter(None, [self._former.get(identity_of(fn))])]
        return found or []

    # -- arguments ---------------------------------------------------------------------------

    def infer(self, names: Sequence[str], defaults: Sequence[Any]) -> tuple[int, ...]:
        """Wire a function whose every parameter goes by position and none was given; the last ones have defaults."""
        given = [()] * (len(names) - len(defaults)) + [(value,) for value in defaults]
        return tuple(map(self._infer_one, names, given))

    def wire(self, i: int, shape: Shape, needs: Needs, *, of_condition: bool = False) -> Wiring:
        """Wire node ``i``, or its condition: explicit ``needs`` first, then each parameter left by the usual rule.

        The usual rule: a Context annotation gets the Context; a parameter named after a node gets
        its output; any other is a run input, optional if it has a default.
        """
        noted = len(self.faults)
        given: dict[str, int] = {}
        extra: list[int] = []  # for *args
        extra_keywords: dict[str, int] = {}  # for **kwargs
        if isinstance(needs, tuple):
            self._by_position(i, shape, needs, given, extra)
        elif isinstance(needs, dict):
            self._by_name(i, shape, needs, given, extra_keywords)
        elif needs is not None:
            self.faults.append(f"{self.where(i)}: needs is a set, which has no order: give a list or a mapping")
        if not of_condition and any(p.is_outcome for p in shape.parameters):
            self.outcomes.append(i)
        context: int | str = -1
        optional = False
        slots: list[int] = []
        keywords: dict[str, int] = {}
        for p in shape.parameters:
            if p.is_context and p.name not in given:
                if context != -1:
                    self.faults.append(f"{self.where(i)} asks for the Context twice: one parameter is enough")
                context = p.name if p.keyword_only else len(slots)
                continue
            if p.name in given:
                slot = given[p.name]
            elif p.source is None:
                slot = self._infer_one(p.name, p.default)
            else:
                slot = self._provided(i, p, p.source, of_condition)
            if slot is _LACKING:
                slot = self.inputs.nameless(p.default[0] if p.default else received_outcome(Status.PENDING))
            optional = optional or (slot < 0 and p.is_left_out)
            if p.keyword_only:
                keywords[p.name] = slot
            else:
                slots.append(slot)
        keywords.update(extra_keywords)
        if len(self.faults) > noted:
            self.unsure.add(i)
        return Wiring((*slots, *extra, *keywords.values()), tuple(keywords), context, optional)

    def _infer_one(self, name: str, default: tuple[Any, ...]) -> int:
        node = self.index.get(name, -1)
        if node < 0 and not self.forward:
            self.foresee()
            node = self.index.get(name, -1)
        return self.inputs.slot(name, default) if node < 0 else node

    def _provided(self, i: int, p: Parameter, source: Source, of_condition: bool) -> Any:
        """Return the slot of what a parameter says that it takes, or note what is wrong."""
        name = source.name
        node, declared = self.find(name), self.inputs.declared
        if node >= 0 and source.kind != "input":
            return node
        inputs = None if declared is None or declared.infers else declared.names  # None: there may be any
        if node >= 0:
            said = (
                f"inputs.{name}, and {shown(name)} is a node of this dag: write {name} for the output of the node, or "
                f"rename one of them (a dag that is included: say include(inputs={{{name!r}: ...}}))"
            )
        elif source.kind == "node":
            said = f"{shown(name)}, which is no node of this dag{self._hints.nearest(name, self.index)}"
        elif inputs is None or name in inputs:
            return self.inputs.slot(name, p.default)
        elif source.kind:
            said = f"inputs.{name}, which is no declared input{self._hints.nearest(name, inputs)}"
        else:
            meant = self._hints.nearest(name, [*self.index, *inputs])
            said = f"{shown(name)}, which is neither a node nor a declared input{meant}"
        self.faults.append(f"{self.where(i)}{': its when' if of_condition else ''} reads {said}")
        return _LACKING  # the fault is noted: go on, to find the others

    def _by_position(self, i: int, shape: Shape, needs: Sequence[Any], given: dict[str, int], extra: list[int]) -> None:
        positional = shape.positional
        if len(needs) > len(positional) and not shape.varargs:
            self.faults.append(
                f"{self.where(i)}: needs passes {len(needs)} outputs by position, "
                f"but its function takes {len(positional)}: drop some, or use after=... for pure ordering"
            )
        for k, ref in enumerate(needs):
            found = self._need(i, ref)
            if k < len(positional):
                given[positional[k].name] = found
            else:
                extra.append(found)

    def _by_name(
        self, i: int, shape: Shape, needs: Mapping[Any, Any], given: dict[str, int], extra_keywords: dict[str, int]
    ) -> None:
        known = {p.name for p in shape.parameters}
        for parameter, ref in needs.items():
            found = self._need(i, ref) if ref is not ABSENT else _LACKING
            if not isinstance(parameter, str):
                self.faults.append(
                    f"{self.where(i)}: needs maps {shown(parameter)}, but its keys must be parameter names"
                )
            elif parameter in known:
                given[parameter] = found
            elif shape.varkeywords:
                extra_keywords[parameter] = found
            else:
                self.faults.append(
                    f"{self.where(i)}: needs gives parameter {shown(parameter)}, which its function does not have"
                    f"{self._hints.nearest(parameter, known)}"
                )

    def _need(self, i: int, ref: Any) -> int:
        found = self.find(ref)
        if found < 0:
            self.unknown(ref, f"{self.where(i)}: needs")
            return -1  # no node; the fault is noted: go on, to find the others
        return found
