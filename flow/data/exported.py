"""All that a Context holds, as a value of its own that can be written and read: :class:`ContextExport`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

import msgspec

from flow.config import DataConfig
from flow.data.codec import Format, decoded, encode_json, encode_msgpack, strict_fault_in
from flow.data.encoders import (
    Decoders,
    Encoders,
    Mark,
    Sections,
    checked_decoders,
    checked_encoders,
    decoded_by,
    entries,
    written,
)
from flow.data.standalone import PastRun, Standalone
from flow.data.store import WorkflowData, filled
from flow.data.system import System
from flow.errors import DataError, UsageError, a_kind, described, shower, shown
from flow.reprs import counted

FORMAT: Final = "flow.context"
VERSION: Final = 1
"""Raised by each change after which older readers would misread what is written."""


class ContextExport(msgspec.Struct, frozen=True):
    """What :meth:`flow.Context.export` returns: all that a Context held at one moment.

    Its dicts are its own: delete what need not be written. The values in them are those of the run, not copies.

    :ivar system: what the run told of itself then; its ``timestamp`` is that of the export.
    :ivar inputs: the run's inputs.
    :ivar outputs: the outputs of the nodes that had completed, by name.
    :ivar data: the values of the store as the context saw them: for an item, with its own writes over the run's.
    :ivar item: the item; None for a node.
    :ivar child: True for the context of an item, or of :meth:`flow.Context.child`; False for that of a node.
    :ivar show_values: False if messages must not repeat values (``Config.show_values`` of the run).
    :ivar version: of the form in which it is written.
    """

    system: System
    inputs: dict[str, Any]
    outputs: dict[str, Any]
    data: dict[str, Any]
    item: Any = None
    child: bool = False
    show_values: bool = True
    version: Literal[1] = VERSION

    def to_json(self, *, encode: Encoders | None = None) -> bytes:
        """Return all of it as one JSON object. O(size).

        Values are written if they come back equal and of the same types: those that a store writes (see
        :meth:`flow.WorkflowData.to_json`), and those that ``encode`` makes plain data of. The outputs of a Dag that
        is a node are written as a dict, which is equal to them.

        :param encode: by type, a function that makes plain data of a value of exactly this type. It may leave other
            such types in it. Reading needs a ``decode`` of the same types.
        :raises DataError: listing every value that would not come back; if made by hand, all parts of a wrong type.
        :raises UsageError: if ``encode`` is no mapping of types to plain functions. What these raise is raised.
        """
        return self._written("JSON", encode)

    def to_msgpack(self, *, encode: Encoders | None = None) -> bytes:
        """Return all of it as one msgpack map; bytes, NaN and infinity are plain. Otherwise as :meth:`to_json`."""
        return self._written("msgpack", encode)

    @classmethod
    def from_json(cls, data: bytes | str, *, decode: Decoders | None = None) -> ContextExport:
        """Return what :meth:`to_json` has written. O(size).

        :param decode: by type, or by the name under which the type was written ("shapes.Point"), a function that makes
            the value of what its encoder returned.
        :raises DataError: if ``data`` is something else, or of a version that this one does not read; listing all types
            that have no decoder.
        :raises UsageError: if ``decode`` is no mapping of types to plain functions. What these raise is raised.
        """
        return _read(data, "JSON", decode)

    @classmethod
    def from_msgpack(cls, data: bytes, *, decode: Decoders | None = None) -> ContextExport:
        """Return what :meth:`to_msgpack` has written. Otherwise as :meth:`from_json`."""
        return _read(data, "msgpack", decode)

    def _written(self, form: Format, encode: Encoders | None) -> bytes:
        show = shower(self)
        if faults := _faults_of_parts(self):
            raise DataError(f"the context cannot be written as {form}", faults)
        plain, marks = written(_sections(self), form, checked_encoders(encode), show)
        fields = {"format": FORMAT, **msgspec.structs.asdict(self), **plain, "encoded": marks}
        try:
            return encode_json(fields) if form == "JSON" else encode_msgpack(fields)
        except (ValueError, OverflowError, TypeError) as error:  # a lone surrogate, an int too large
            found = [(label, strict_fault_in(key, value, form, show)) for label, _, key, value in entries(plain)]
            faults = [f"{label}: {fault}" for label, fault in found if fault] or [described(error)]
        raise DataError(f"the context cannot be written as {form}", faults)

    def __repr__(self) -> str:
        parts = {"input": self.inputs, "output": self.outputs, "key": self.data}
        if not isinstance(self.system, System) or not all(isinstance(part, Mapping) for part in parts.values()):
            return "ContextExport(made by hand, and not of what export() returns)"
        sizes = ", ".join(counted(len(part), what) for what, part in parts.items())
        return f"ContextExport(run_id={self.system.run_id!r}, node={self.system.node!r}, {sizes})"


class _Fields(msgspec.Struct, forbid_unknown_fields=True):
    """What is written."""

    format: str
    version: Literal[1]
    system: System
    inputs: dict[str, Any]
    outputs: dict[str, Any]
    data: dict[str, Any]
    item: Any
    child: bool
    show_values: bool
    encoded: list[Mark]


def _faults_of_parts(export: ContextExport) -> list[str]:
    """Say what in an export is of another type than declared, one sentence each: one made by hand may hold anything."""
    faults = []
    try:
        if not isinstance(export.system, System):
            raise TypeError(f"it is {a_kind(export.system)}")
        msgspec.convert(msgspec.structs.asdict(export.system), System)
    except (ValueError, TypeError) as error:  # msgspec's own errors are ValueErrors
        faults.append(f"system must be what ctx.system gives: {described(error)}")
    for name, part in (("inputs", export.inputs), ("outputs", export.outputs), ("data", export.data)):
        if not isinstance(part, Mapping):
            faults.append(f"{name} must be a dict by name, not {a_kind(part)}")
        else:
            show = shower(export)
            faults += [f"{name} has the key {show(key)}: keys must be str" for key in part if not isinstance(key, str)]
    for name, flag in (("child", export.child), ("show_values", export.show_values)):
        if not isinstance(flag, bool):
            faults.append(f"{name} must be True or False, not {a_kind(flag)}")
    if export.version != VERSION:
        faults.append(f"version must be {VERSION}, not {shown(export.version)}")
    return faults


def restored(export: ContextExport, config: DataConfig) -> Standalone:
    """Return what the Context of an export asks for its run's parts.

    :raises UsageError: if ``export`` is none.
    :raises DataError: listing each key that a store of this ``config`` cannot keep, or parts of a wrong type.
    """
    if not isinstance(export, ContextExport):
        made = "ContextExport.from_json and from_msgpack make one of bytes"
        raise UsageError(f"from_export takes what export() has returned, not {shown(export)}; {made}")
    if faults := _faults_of_parts(export):
        raise DataError("no context can be made of this export", faults)
    store = WorkflowData(config if export.show_values else config.replace(show_values=False))
    filled(store, export.data)
    outputs = dict(export.outputs)
    store.attach(PastRun(outputs))
    dates = export.system.start, export.system.timestamp
    return Standalone(store, export.system.workflow, lambda: dates, outputs)


def _sections(export: Any) -> Sections:
    return {"item": export.item, "inputs": export.inputs, "outputs": export.outputs, "data": export.data}


def _read(data: bytes | str, form: Format, decode: Decoders | None) -> ContextExport:
    decoders = checked_decoders(decode)
    what = f"no context can be read from this {form}"
    found = decoded(data, form, what)
    version = found.get("version")
    if found.get("format") != FORMAT:
        raise DataError(what, ["a context's export() has not written it"])
    if version != VERSION:
        raise DataError(what, [f"it is of version {shown(version)}, and this flow reads version {VERSION}"])
    try:
        fields = msgspec.convert(found, _Fields)
    except (ValueError, TypeError, OverflowError) as error:  # msgspec's own errors are ValueErrors
        raise DataError(what, [f"a part of it is missing or damaged: {described(error)}"]) from None
    sections = _sections(fields)
    decoded_by(sections, fields.encoded, decoders, what, shower(fields))
    return ContextExport(fields.system, child=fields.child, show_values=fields.show_values, **sections)
