"""Bytes in fixed blocks that the garbage collector never looks at: :class:`Arena`, and what stands on it.

:class:`Blocks` appends byte strings to ``bytearray`` blocks. :class:`Records` adds an open-addressing hash table of
plain integers, so that a million records are a few hundred objects to Python.
:class:`flow.data.arena_store.ArenaDict` and :class:`flow.data.strings.ArenaStrings` are such records.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from threading import Lock
from typing import Final, TypeAlias

import msgspec

from flow.config.fields import is_int
from flow.errors import ConfigError, UsageError, shown

DEFAULT_BLOCK_SIZE: Final = 65_536
"""Bytes of one block."""

MIN_BLOCK_SIZE: Final = 64
"""Bytes of the smallest block that can be asked for."""

MAX_BLOCK_SIZE: Final = 1 << 30
"""Bytes of the largest block that can be asked for. (One record may be larger: it has a block of its own.)"""

_SIZE_BITS: Final = 32  # of an Arena's handle: the record's size
_SIZE: Final = (1 << _SIZE_BITS) - 1

HASH: Final = (1 << 30) - 1  # such integers are one digit to CPython: fast to compare, mask and read
DEAD: Final = HASH + 1  # no key hashes to it
_MIN_TABLE: Final = 8


class ArenaStatistics(msgspec.Struct, frozen=True, gc=False):
    """Sizes of an arena at one moment; all but the first and last in bytes.

    :ivar blocks: how many there are, kept empty ones included.
    :ivar block_size: bytes of each, except of those made for one larger record.
    :ivar capacity: bytes of all blocks.
    :ivar used: bytes of the records that can be read.
    :ivar wasted: bytes that cannot be used before a reset: of replaced and deleted records, and at the ends of
        blocks into which the next record did not fit.
    :ivar records: how many can be read.
    """

    blocks: int
    block_size: int
    capacity: int
    used: int
    wasted: int
    records: int


class Blocks:
    """Append-only bytes in blocks. A *position* is one integer: block number and offset. Without a lock."""

    __slots__ = ("_base", "_end", "_view", "bits", "block_size", "blocks", "filled", "low", "opened", "tails", "views")

    def __init__(self, block_size: int = DEFAULT_BLOCK_SIZE, kept: Iterable[bytearray] = ()) -> None:
        if not is_int(block_size) or not MIN_BLOCK_SIZE <= block_size <= MAX_BLOCK_SIZE:
            wanted = f"from {MIN_BLOCK_SIZE} to {MAX_BLOCK_SIZE:,} bytes"
            raise ConfigError("Arena", [f"block_size must be an integer {wanted}, not {shown(block_size)}"])
        self.block_size = block_size
        self.bits = block_size.bit_length()  # of an offset; it may equal the size: an empty record at the end
        self.low = (1 << self.bits) - 1
        self.blocks = [block for block in kept if len(block) == block_size]
        self.views = [memoryview(block) for block in self.blocks]
        self.opened = 0  # blocks in use; the rest are kept for later
        self.filled = 0  # bytes of those
        self._view = memoryview(bytearray())
        self.tails = 0  # bytes at the ends of full blocks
        self._base = 0
        self._end = self.block_size + 1  # as if full: even an empty record opens a block

    def emptied(self) -> Blocks:
        """Return blocks that hold nothing: these again, except those made for one large record."""
        return Blocks(self.block_size, self.blocks)

    def append(self, data: bytes | bytearray | memoryview) -> int:
        """Copy ``data`` in and return its position. O(len(data))."""
        size = len(data)
        start = self._end
        end = start + size
        if end > self.block_size:
            if size > self.block_size:
                return self._append_alone(data)
            self._open()
            start, end = 0, size
        self._view[start:end] = data
        self._end = end
        return self._base + start

    def _open(self) -> None:
        if self.opened == len(self.blocks):
            self._insert(bytearray(self.block_size))  # first: there may be no memory for it
        if self._view:
            self.tails += self.block_size - self._end
        self._view = self.views[self.opened]
        self._base = self.opened << self.bits
        self.opened += 1
        self.filled += self.block_size

    def _append_alone(self, data: bytes | bytearray | memoryview) -> int:
        number, size = self.opened, len(data)  # before the empty blocks; the block that is being filled stays so
        self._insert(bytearray(data))
        self.opened += 1
        self.filled += size
        return number << self.bits

    def _insert(self, block: bytearray) -> None:
        at, view = self.opened, memoryview(block)
        self.blocks[at:at], self.views[at:at] = [block], [view]  # no call between: see Records

    def view(self, position: int, size: int) -> memoryview:
        """Return the bytes there: writable, not copied."""
        start = position & self.low
        return self.views[position >> self.bits][start : start + size]

    def copy(self) -> Blocks:
        """Return the same records at the same positions, in blocks of their own; empty blocks are not copied."""
        new = Blocks(self.block_size)
        new.blocks = [bytearray(block) for block in self.blocks[: self.opened]]
        new.views = [memoryview(block) for block in new.blocks]
        new.opened, new.filled, new.tails = self.opened, self.filled, self.tails
        new._base, new._end = self._base, self._end
        if self._view:
            new._view = new.views[self._base >> self.bits]
        return new

    def statistics(self, records: int, dead: int) -> ArenaStatistics:
        """Count, given how many records are alive and how many bytes of dead ones there are. O(blocks)."""
        capacity = sum(map(len, self.blocks))
        tail = self.block_size - self._end if self._view else 0
        used = self.filled - tail - self.tails - dead
        return ArenaStatistics(len(self.blocks), self.block_size, capacity, used, self.tails + dead, records)


class Arena:
    """Byte strings in fixed blocks that are never moved or resized and that the garbage collector never visits.

    For many small records whose life ends together: adding is one copy, forgetting all of them is O(1) per block.

    :param block_size: bytes per block, 64 to 2**30. A larger record gets a block of its own size.
    :raises ConfigError: if ``block_size`` is out of range.

    >>> arena = Arena()
    >>> handle = arena.add(b"some bytes")
    >>> bytes(arena.view(handle))
    b'some bytes'

    Any number of threads may add and view at the same time.
    """

    __slots__ = ("_blocks", "_lock", "_records")

    def __init__(self, block_size: int = DEFAULT_BLOCK_SIZE) -> None:
        self._blocks = Blocks(block_size)
        self._lock = Lock()
        self._records = 0

    def add(self, data: bytes | bytearray | memoryview) -> int:
        """Copy ``data`` (anything with the buffer interface) in and return a handle for :meth:`view`.

        O(len(data)). The handle is an integer (position and size), good until :meth:`reset`.

        :raises UsageError: if ``data`` has no bytes to give, or 4 GiB or more.
        """
        if not isinstance(data, (bytes, bytearray)):
            try:
                data = memoryview(data).tobytes()
            except (TypeError, ValueError):  # a ValueError: it has been released
                raise UsageError(f"an Arena keeps bytes, not {shown(data)}: encode it first") from None
        if len(data) > _SIZE:
            raise UsageError(f"one record of an Arena is smaller than 4 GiB, not {len(data):,} bytes")
        with self._lock:
            position = self._blocks.append(data)
            self._records += 1
        return position << _SIZE_BITS | len(data)

    def view(self, handle: int) -> memoryview:
        """Return the record's bytes: read-only and not copied. O(1).

        After :meth:`reset` a view shows the bytes that are written to its place later. Copy (``bytes(view)``) bytes
        that must outlive the contents of the arena.

        :raises UsageError: if the handle points outside of what this arena holds.
        """
        blocks = self._blocks
        if is_int(handle) and 0 <= (position := handle >> _SIZE_BITS) >> blocks.bits < blocks.opened:
            view = blocks.view(position, handle & _SIZE)
            if len(view) == handle & _SIZE:
                return view.toreadonly()
        raise UsageError(f"{shown(handle)} is no handle of this Arena; was it added before a reset()?")

    def reset(self) -> None:
        """Forget all records and keep the blocks for the next ones. O(blocks).

        Handles lose their meaning, and views that are still held will show later records' bytes. Blocks made for
        one large record are given back.
        """
        with self._lock:
            self._blocks, self._records = self._blocks.emptied(), 0

    def statistics(self) -> ArenaStatistics:
        """Count blocks and bytes. O(blocks)."""
        with self._lock:
            return self._blocks.statistics(self._records, 0)

    def __len__(self) -> int:
        return self._records

    def __repr__(self) -> str:
        return f"Arena({self._records} records, {len(self._blocks.blocks)} blocks of {self._blocks.block_size} bytes)"


Index: TypeAlias = "tuple[int, array[int], array[int], array[int], array[int], list[bytearray], int, int]"
"""Mask, table, hashes, positions, sizes; and the blocks positions point into, with bits and mask of an offset."""

encode: Final = msgspec.msgpack.Encoder().encode


class Records:
    """Records found by a string: each is a msgpack array whose first element is its key.

    ``table`` maps a hash to the number of a record (0: none), probing onwards; ``hashes``, ``positions`` and ``sizes``
    are indexed by that number, in the order in which keys were first added, up to ``_next``; beyond are spare places.
    A deleted record keeps its number and loses its hash, and a spare place has none.

    Writers hold ``_lock``; readers do not. The index is one tuple, replaced as a whole whenever records move or are
    forgotten. If a reader finds it unchanged after copying a record's bytes, the bytes are those of this record.

    Ctrl-C may raise KeyboardInterrupt in a writer, at any call or jump back. Related values are therefore stored by
    statements with neither in between, so that an interrupted write is either complete or not begun.
    """

    __slots__ = ("_blocks", "_dead", "_index", "_live", "_lock", "_next")

    def __init__(self, block_size: int = DEFAULT_BLOCK_SIZE) -> None:
        self._lock = Lock()
        self._begin(Blocks(block_size))

    def _begin(self, blocks: Blocks) -> None:
        """Hold nothing, in these blocks."""
        self._reindex(blocks, array("I", [DEAD]), array("Q", [0]), array("I", [0]), 1, 0)  # record 0 is none

    def _reindex(
        self, blocks: Blocks, hashes: array[int], positions: array[int], sizes: array[int], after: int, dead: int
    ) -> None:
        """Make a table for the records before number ``after``, of which none is dead. O(records)."""
        size = _MIN_TABLE
        while size < 3 * after:
            size *= 2
        mask = size - 1
        table = array("I", bytes(4 * size))
        for number in range(1, after):
            slot = hashes[number] & mask
            while table[slot]:
                slot = (slot + 1) & mask
            table[slot] = number
        self._point(blocks, table, hashes, positions, sizes, after, after - 1, dead)

    def _point(
        self,
        blocks: Blocks,
        table: array[int],
        hashes: array[int],
        positions: array[int],
        sizes: array[int],
        after: int,
        live: int,
        dead: int,
    ) -> None:
        """Hold these from now on: ``live`` records that can be read, and ``dead`` bytes of those that cannot."""
        index: Index = (len(table) - 1, table, hashes, positions, sizes, blocks.blocks, blocks.bits, blocks.low)
        self._blocks, self._index, self._next, self._live, self._dead = blocks, index, after, live, dead

    def _rebuild(self) -> None:
        """Drop the dead and make room in the table. O(records)."""
        _, _, hashes, positions, sizes, *_ = self._index
        after = self._next
        if self._live < after - 1:
            alive = [0, *(number for number, hashed in enumerate(hashes) if hashed != DEAD)]
            hashes = array("I", map(hashes.__getitem__, alive))
            positions = array("Q", map(positions.__getitem__, alive))
            sizes = array("I", map(sizes.__getitem__, alive))
            after = len(alive)
        self._reindex(self._blocks, hashes, positions, sizes, after, self._dead)

    def _compact(self) -> None:
        """Copy the live records into new blocks. O(bytes). Readers of the old blocks still read the old records."""
        _, _, hashes, positions, sizes, *_ = self._index
        old = self._blocks
        new = Blocks(old.block_size)
        alive = [number for number, hashed in enumerate(hashes) if hashed != DEAD]
        self._reindex(
            new,
            array("I", [DEAD, *(hashes[number] for number in alive)]),
            array("Q", [0, *(new.append(old.view(positions[number], sizes[number])) for number in alive)]),
            array("I", [0, *(sizes[number] for number in alive)]),
            len(alive) + 1,
            0,
        )

    def _find(self, index: Index, hashed: int, probe: bytes) -> int:
        """Return the number of the record whose key is encoded as ``probe``, or 0. O(1) on average."""
        mask, table, hashes, positions, _, blocks, bits, low = index
        slot = hashed & mask
        while number := table[slot]:
            if hashes[number] == hashed:
                position = positions[number]
                if blocks[position >> bits].startswith(probe, (position & low) + 1):
                    return number
            slot = (slot + 1) & mask
        return 0

    def _add(self, hashed: int, record: bytes) -> int:
        """Append a record whose key is not there yet, and return its number."""
        mask, table, hashes, positions, sizes, *_ = self._index
        number = self._next
        if number == len(hashes):
            self._make_room()
        size, position = len(record), self._blocks.append(record)
        slot = hashed & mask
        while table[slot]:
            slot = (slot + 1) & mask
        # No call from here on.
        sizes[number], positions[number], hashes[number] = size, position, hashed
        self._next = number + 1
        self._live += 1
        table[slot] = number  # last: from here on readers see it
        if 2 * number > mask:
            self._rebuild()
            return self._next - 1
        return number

    def _make_room(self) -> None:
        """Add spare places, an eighth more. O(1) amortised."""
        _, _, hashes, positions, sizes, *_ = self._index
        more = self._next // 8 + 8
        positions.extend(array("Q", bytes(8 * more)))
        sizes.extend(array("I", bytes(4 * more)))
        hashes.extend(array("I", [DEAD]) * more)  # last: its length says how many there are

    def _waste(self, size: int) -> None:
        """Count a dead record's bytes; compact once they are more than the living's.

        The ends of blocks do not count: there may be as many of them after compacting.
        """
        self._dead += size
        blocks = self._blocks
        if self._dead > blocks.block_size and 2 * self._dead > blocks.filled - blocks.tails:
            self._compact()

    def statistics(self) -> ArenaStatistics:
        """Count records, blocks and bytes. O(blocks)."""
        with self._lock:
            return self._blocks.statistics(self._live, self._dead)

    def __len__(self) -> int:
        return self._live
