"""Inputs of stored runs: kept one by one, and compared with those that a later call gives."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import msgspec

from flow.errors import InputError, NotStorable, RunConflict, listing, nearest, shown
from flow.plan.annotated import Annotations
from flow.plan.assignable import UNKNOWN
from flow.plan.plan import Plan
from flow.signature import Nested
from flow.store.backend import RunRow
from flow.store.codec import Codecs
from flow.store.records import checked, with_checksum

_decode = msgspec.msgpack.Decoder(dict[str, bytes | None]).decode


def kept_of(row: RunRow, store: str) -> dict[str, bytes | None]:
    """Return the stored inputs of a run, encoded; None for one that is not stored.

    :param store: its name. :raises DamagedRow: if they are not what was written.
    """
    where = f"store {store!r}: the row of the inputs of run {row.id!r}"
    return _decode(checked(row.inputs, lambda: where))


def encoded(inputs: Mapping[str, Any], secret: Collection[str], codecs: Codecs) -> bytes:
    """Return inputs as they are stored. Those that cannot be, and secret ones, are there by name alone."""
    kept: dict[str, bytes | None] = {}
    for name, value in inputs.items():
        if not isinstance(name, str):
            continue  # which is refused a moment later
        try:
            kept[name] = None if name in secret else codecs.encode(value)
        except NotStorable:
            kept[name] = None
    return with_checksum(msgspec.msgpack.encode(kept))


def merged(
    row: RunRow, inputs: Mapping[str, Any] | None, plan: Plan, codecs: Codecs, store: str, needed: bool
) -> dict[str, Any]:
    """Return the inputs of a stored run: those given, and the stored ones.

    :param needed: nodes are to run with them.
    :raises RunConflict: if they are others. :raises InputError: if some were not stored, and are not given.
    """
    stored, given = kept_of(row, store), {} if inputs is None else inputs
    found, faults = dict[str, Any](), list[str]()
    for name, value in given.items():
        if name not in stored:
            faults.append(f"input {shown(name)} is none that it was given{nearest(name, list(stored))}")
        elif (kept := stored[name]) is not None and not _is_same(kept, value, codecs):
            faults.append(f"input {name!r} is another value")
        found[name] = value
    if faults:
        text = listing(f"run {row.id!r} in store {store!r} has other inputs", faults)
        raise RunConflict(f"{text}. Leave the inputs out to go on with the stored ones, or give another run_id")
    missing = [name for name, kept in stored.items() if kept is None and name not in found and needed]
    if missing:
        why = "secret inputs and those that cannot be encoded are not stored, and must be given again"
        faults = [f"input {name!r} of run {row.id!r} is missing: {why}" for name in missing]
        raise InputError(plan.name, faults)
    left_out = [name for name, kept in stored.items() if name not in found and kept is not None]
    hints = _hints(plan, set(left_out)) if left_out and needed else {}
    for name in left_out:
        found[name] = codecs.decode(stored[name] or b"", hints.get(name, Any))
    return found


def _hints(plan: Plan, names: set[str]) -> dict[str, Any]:
    """Return the types of run inputs, as far as a parameter that takes one is annotated. O(nodes)."""
    annotations, found, nodes = Annotations(), dict[str, Any](), plan._nodes
    name_of = {slot: name for name in names for slot in nodes.inputs.get(name, ())}
    for i, slots in enumerate(nodes.arguments):
        for k, slot in enumerate(slots):
            name = name_of.get(slot) if slot < 0 else None
            if name is None or name in found:
                continue
            binder = nodes.binders.get(i)
            fn, parameter = nodes.fns[i] if binder is None else binder.fn, nodes.parameters(i)[k]
            if isinstance(fn, Nested):
                hint = _hints(fn.plan, {parameter}).get(parameter, UNKNOWN)
            else:
                hint = annotations.of(fn).get(parameter, UNKNOWN)
            if hint is not UNKNOWN:
                found[name] = hint
    return found


def _is_same(kept: bytes, value: Any, codecs: Codecs) -> bool:
    try:
        data = codecs.encode(value)
        return data == kept or bool(codecs.decode(data) == codecs.decode(kept))
    except Exception:  # it cannot be encoded, or compared
        return False


__all__ = ["encoded", "kept_of", "merged"]
