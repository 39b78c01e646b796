"""What the journal of a run consists of: segments of records, one segment per write.

A segment is one byte of version, a CRC-32 of the rest, and the rest as msgpack: when it was written, and its records in
the order in which they came. So a bit that flips anywhere makes an error that names the segment, never a wrong value.

``path`` leads to a node through the runs around it (:attr:`flow.run.hooks.NodeOutcome.path`); ``item`` is the index of
an item of the map ``name``, and None for a node.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, TypeAlias
from zlib import crc32

import msgspec

from flow.errors import DamagedRow, shown

Path: TypeAlias = tuple[str, ...]
Key: TypeAlias = tuple[Path, str, int | None]
"""A node, or an item of a map."""

VERSION: Final = 1
_HEAD: Final = 5
_UNFIT: Final = "its checksum does not fit"


class Done(msgspec.Struct, array_like=True, tag=0, gc=False):
    """A node or an item has completed.

    :ivar output: encoded; None if it is not stored (``store=False``).
    :ivar mark: of an item, by which it is known again: its key, or a checksum of it.
    :ivar error: what a fallback has stood in for, encoded.
    :ivar writes: to ``ctx.data``, by key; None for one that was deleted.
    :ivar published: by an item, encoded.
    :ivar began: when its last attempt began, in seconds since the run was created; ``ended`` is when it ended.
    """

    path: Path
    name: str
    item: int | None
    attempt: int
    output: bytes | None
    mark: int | str | None = None
    error: bytes | None = None
    writes: dict[str, bytes | None] | None = None
    published: bytes | None = None
    began: float = 0.0
    ended: float = 0.0


class Batch(msgspec.Struct, array_like=True, tag=1, gc=False):
    """Nodes of the outermost run have completed at their first attempt, in this order."""

    names: list[str]
    outputs: list[bytes]


class Bulk(msgspec.Struct, array_like=True, tag=9, gc=False):
    """Nodes of one run have completed, of which there is nothing but their outputs and times, in this order.

    :ivar attempts: () if all have completed at their first.
    """

    path: Path
    names: list[str]
    attempts: Sequence[int]
    outputs: list[bytes]
    began: list[float]
    ended: list[float]


class Began(msgspec.Struct, array_like=True, tag=10, gc=False):
    """A node has started a run (``ctx.run``). ``given`` is a digest of its dag's name and of its inputs."""

    path: Path
    given: int


class Failed(msgspec.Struct, array_like=True, tag=2, gc=False):
    """An attempt of a node or an item has failed.

    :ivar final: no other attempt follows. :ivar error: encoded. :ivar spent: seconds since the first attempt began, in
        the process at hand.
    """

    path: Path
    name: str
    item: int | None
    attempt: int
    final: bool
    error: bytes
    spent: float = 0.0
    began: float = 0.0
    ended: float = 0.0


class LeftOut(msgspec.Struct, array_like=True, tag=3, gc=False):
    """A node was skipped or bypassed (``status``)."""

    path: Path
    name: str
    item: int | None
    status: str


class Wants(msgspec.Struct, array_like=True, tag=4, gc=False):
    """The condition of a node holds. (One that does not makes it bypassed.)"""

    path: Path
    name: str


class Round(msgspec.Struct, array_like=True, tag=5, gc=False):
    """A round of a loop, at the end of ``path``, was the last one, or not."""

    path: Path
    last: bool


class Waits(msgspec.Struct, array_like=True, tag=6, gc=False):
    """A node waits for a signal or a time, until the Unix time ``until`` at most."""

    path: Path
    name: str
    until: float | None


class Reset(msgspec.Struct, array_like=True, tag=7, gc=False):
    """These nodes and items are to run again.

    :ivar deep: with all that is known of runs within them, and of their conditions.
    """

    keys: list[Key]
    deep: bool


class Ended(msgspec.Struct, array_like=True, tag=8, gc=False):
    """The run has ended.

    :ivar statuses: of the outermost nodes that have no outcome: those that were cancelled, or wait.
    :ivar handled: outermost nodes whose failure something has handled.
    """

    status: str
    timed_out: bool
    cut_off: bool
    statuses: dict[str, str]
    handled: list[str]


class Reported(msgspec.Struct, array_like=True, tag=11, gc=False):
    """A node or an item has reported ``value``, encoded. ``at`` is in seconds since the run was created."""

    path: Path
    name: str
    item: int | None
    attempt: int
    kind: str
    value: bytes
    at: float


Record: TypeAlias = Done | Batch | Began | Bulk | Failed | LeftOut | Wants | Round | Waits | Reset | Ended | Reported


class Segment(msgspec.Struct, array_like=True, gc=False):
    """What one write adds. ``at`` is its Unix time."""

    at: float
    records: Sequence[Record]


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Segment).decode


def sealed(at: float, records: Sequence[Record]) -> bytes:
    """Return a segment. O(bytes)."""
    return with_checksum(_encode((at, records)))


def with_checksum(body: bytes) -> bytes:
    """Return ``body`` as it is stored: after a byte of version and a CRC-32. O(bytes)."""
    return bytes([VERSION]) + crc32(body).to_bytes(4, "big") + body


def checked(
    data: bytes, where: Callable[[], str], holding: Callable[[memoryview], str] = lambda _: _UNFIT
) -> memoryview:
    """Return the body of what :func:`with_checksum` has made.

    :param where: says what it is, for the message.
    :raises DamagedRow: if it is not what was written.
    """
    if data[:1] != bytes([VERSION]) and len(data) > _HEAD and data[0] > VERSION:
        raise DamagedRow(f"{where()} was written by a newer flow (version {data[0]})")
    body = memoryview(data)[_HEAD:]
    if data[:1] != bytes([VERSION]) or crc32(body) != int.from_bytes(data[1:_HEAD], "big"):
        raise DamagedRow(f"{where()} is damaged: {holding(body)}. Restore a copy of the store")
    return body


def opened(run: str, number: int, data: bytes, store: str) -> Segment:
    """Return what a segment holds, which is number ``number`` (from 1) of a run.

    :raises DamagedRow: if it is not what was written.
    """
    body = checked(data, lambda: _where(run, number, store), _holding)
    try:
        return _decode(body)
    except msgspec.MsgspecError as error:
        raise DamagedRow(f"{_where(run, number, store)} cannot be read: {error}") from None


def _where(run: str, number: int, store: str) -> str:
    return f"store {store!r}: row {number} of the journal of run {run!r}"


def _holding(body: memoryview) -> str:
    """Say which nodes a damaged segment seems to be of."""
    try:
        records = _decode(body).records
    except msgspec.MsgspecError:
        return f"{_UNFIT}, and nothing in it can be read"
    names = [name for record in records for name in _names(record)]
    few = ", ".join(map(shown, names[:3])) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    return f"{_UNFIT}; it seems to be of {few or 'no node'}"


def _names(record: Record) -> list[str]:
    if isinstance(record, (Batch, Bulk)):
        return record.names
    return [record.name] if isinstance(record, (Done, Failed, LeftOut, Wants, Waits, Reported)) else []


__all__ = [
    "Batch", "Began", "Bulk", "Done", "Ended", "Failed", "Key", "LeftOut", "Path", "Record", "Reported",
    "Reset", "Round", "Segment", "Waits", "Wants", "checked", "opened", "sealed", "with_checksum",
]  # fmt: skip
