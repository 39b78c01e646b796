"""A dict of plain data kept as bytes: :class:`ArenaDict`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping
from threading import Lock
from typing import Any, Final

import msgspec

from flow.data.arena import DEAD, DEFAULT_BLOCK_SIZE, HASH, Records, encode
from flow.errors import DataError, described, shown

_RAISE: Final[Any] = object()  # not flow's MISSING, which callers give as their default
_decode: Final = msgspec.msgpack.Decoder().decode


class ArenaDict(Records, MutableMapping[str, Any]):
    """A dict from str to plain data whose keys and values are msgpack bytes in arena blocks.

    Getting decodes a fresh object each time: changing it changes nothing here. The garbage collector sees a handful
    of objects, however many records there are. Order is that of a dict: first added first, replacing keeps the place.

    What msgpack makes another type of (a tuple comes back as a list, a datetime as a str) is the caller's to refuse;
    what it cannot encode is refused here.

    A value of the size it had is replaced in place. Otherwise the new one is appended and the old bytes are wasted,
    until more than half of the blocks are: then the living are copied into new ones, O(1) amortised per write.

    Any number of threads may use it: every operation on one key is atomic, writers wait for one another, readers
    for nobody. (On a free-threaded build its caller must hold a lock around reading, too.)

    :param block_size: bytes per block; see :class:`flow.memory.Arena`.
    """

    __slots__ = ("_cleared",)

    def __init__(self, block_size: int = DEFAULT_BLOCK_SIZE) -> None:
        super().__init__(block_size)
        self._cleared = 0

    def __getitem__(self, key: str) -> Any:
        """Decode the value of ``key``. O(size of the value)."""
        hashed, probe = _sought(key)
        while True:
            index = self._index
            mask, table, hashes, positions, sizes, blocks, bits, low = index
            slot = hashed & mask
            while number := table[slot]:  # Records._find, without the price of calling it
                if hashes[number] == hashed:
                    position = positions[number]
                    block, start = blocks[position >> bits], position & low
                    if block.startswith(probe, start + 1):
                        break
                slot = (slot + 1) & mask
            else:
                raise KeyError(key)
            data = block[start + 1 + len(probe) : start + sizes[number]]
            if self._index is index:  # else the bytes may be another record's by now
                try:
                    return _decode(data)
                except msgspec.DecodeError:
                    # Position and size were of different writes. Such a slice never decodes, since no msgpack value
                    # is the beginning of another, and one of the same size is replaced in place.
                    with self._lock:
                        return _decode(self._value(key, hashed, probe))

    def view(self, key: str) -> memoryview:
        """Return the value's msgpack bytes: read-only and not copied. O(1).

        Good until the next write: the same place may hold another value of this key, or after :meth:`clear` of any.

        :raises KeyError: if there is no such key.
        """
        hashed, probe = _sought(key)
        with self._lock:
            return self._value(key, hashed, probe).toreadonly()

    def _value(self, key: str, hashed: int, probe: bytes) -> memoryview:
        """Return a value's bytes, for one who holds the lock."""
        number = self._find(self._index, hashed, probe)
        if not number:
            raise KeyError(key)
        _, _, _, positions, sizes, *_ = self._index
        return self._blocks.view(positions[number], sizes[number])[1 + len(probe) :]

    def __setitem__(self, key: str, value: Any) -> None:
        """Encode and keep ``value``. O(its size), amortised.

        :raises DataError: if ``key`` is no str, or if msgpack cannot encode it or the value.
        """
        hashed, probe, record = _made(key, value)
        with self._lock:  # not acquire(): Ctrl-C may come after that call and before a try
            number = self._find(self._index, hashed, probe)
            if number:
                self._replace(number, record)
            else:
                self._add(hashed, record)

    def _replace(self, number: int, record: bytes) -> None:
        _, _, _, positions, sizes, _, bits, low = self._index
        blocks, size = self._blocks, sizes[number]
        if size == len(record):
            position = positions[number]
            start = position & low
            blocks.views[position >> bits][start : start + size] = record
        else:
            new, position = len(record), blocks.append(record)
            positions[number], sizes[number] = position, new
            self._waste(size)

    def __delitem__(self, key: str) -> None:
        hashed, probe = _sought(key)
        with self._lock:
            number = self._find(self._index, hashed, probe)
            if not number:
                raise KeyError(key)
            self._kill(number)

    def _kill(self, number: int) -> None:
        _, _, hashes, _, sizes, *_ = self._index
        hashes[number] = DEAD
        self._live -= 1
        self._waste(sizes[number])

    # The mixin's versions of these three take several steps, between which another thread may come.

    def pop(self, key: str, default: Any = _RAISE) -> Any:
        """Remove ``key`` and return its value, or ``default``. :raises KeyError: without either."""
        try:
            hashed, probe = _sought(key)
            with self._lock:
                value = _decode(self._value(key, hashed, probe))
                self._kill(self._find(self._index, hashed, probe))
            return value
        except KeyError:
            if default is _RAISE:
                raise
            return default

    def popitem(self) -> tuple[str, Any]:
        """Remove and return the pair that was added last. O(records). :raises KeyError: if there is none."""
        with self._lock:
            _, _, hashes, positions, sizes, *_ = self._index
            for number in range(len(hashes) - 1, 0, -1):
                if hashes[number] != DEAD:
                    key, value = _decode(self._blocks.view(positions[number], sizes[number]))
                    self._kill(number)
                    return key, value
        raise KeyError("the ArenaDict is empty")

    def setdefault(self, key: str, default: Any = None) -> Any:
        """Return the value of ``key``, which is ``default`` from now on if it had none."""
        hashed, probe, record = _made(key, default)
        with self._lock:
            number = self._find(self._index, hashed, probe)
            if not number:
                self._add(hashed, record)
            return _decode(self._value(key, hashed, probe))

    def __contains__(self, key: object) -> bool:
        try:
            hashed, probe = _sought(key)
        except KeyError:
            return False
        return self._find(self._index, hashed, probe) > 0

    def __iter__(self) -> Iterator[str]:
        """Yield the keys in the order in which they were added.

        :raises RuntimeError: as a dict does, if keys are added or deleted meanwhile.
        """
        _, _, hashes, positions, _, blocks, bits, low = self._index
        live, cleared = self._live, self._cleared
        for number, hashed in enumerate(hashes):
            if hashed != DEAD:
                position = positions[number]
                yield _key_at(blocks[position >> bits], (position & low) + 1)
                if self._live != live or self._cleared != cleared:
                    raise RuntimeError("the ArenaDict changed during iteration: iterate over list(data)")

    def clear(self) -> None:
        """Forget everything and keep the blocks. O(blocks)."""
        with self._lock:
            self._cleared += 1
            self._begin(self._blocks.emptied())

    reset = clear

    def copy(self) -> ArenaDict:
        """The same keys and values in blocks of their own. O(bytes), at the speed of copying memory."""
        new = ArenaDict.__new__(ArenaDict)
        new._lock, new._cleared = Lock(), 0
        with self._lock:
            _, table, hashes, positions, sizes, *_ = self._index
            blocks, arrays = self._blocks.copy(), (table[:], hashes[:], positions[:], sizes[:])
            new._point(blocks, *arrays, self._next, self._live, self._dead)
        return new

    def __eq__(self, other: object) -> bool:
        return dict(self) == other if isinstance(other, Mapping) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"ArenaDict({len(self)} keys, {self._blocks.filled} bytes)"


def _sought(key: object) -> tuple[int, bytes]:
    """Return what a key is found by. :raises KeyError: if it is one that no record has."""
    try:
        if key.__class__ is not str:
            key = _plain(key)
        return hash(key) & HASH, encode(key)
    except (TypeError, UnicodeEncodeError):
        raise KeyError(key) from None


def _made(key: str, value: Any) -> tuple[int, bytes, bytes]:
    """Return what a key is found by, and its record."""
    try:
        if key.__class__ is not str:
            key = _plain(key)
        return hash(key) & HASH, encode(key), encode((key, value))
    except Exception as error:
        raise _refusal(key, value, error) from None


def _plain(key: object) -> str:
    """Return ``key`` as an exact str, which is all that msgspec encodes. :raises TypeError: if it is none."""
    if not isinstance(key, str):
        raise TypeError
    return str.__str__(key)


def _key_at(block: bytearray, start: int) -> str:
    """Decode the msgpack str that starts there, wherever its record ends."""
    head = block[start]
    start += 1
    if head < 0xC0:  # up to 31 bytes: the length is in the head
        length = head & 0x1F
    else:  # 0xD9, 0xDA, 0xDB: it is in the next 1, 2 or 4 bytes
        width = 1 << head - 0xD9
        length = int.from_bytes(block[start : start + width], "big")
        start += width
    return block[start : start + length].decode()


def _refusal(key: object, value: object, error: Exception) -> DataError:
    if not isinstance(key, str):
        return DataError("key refused", [f"a key is a str, not {shown(key)} (a {type(key).__name__})"])
    why = described(error)
    return DataError("value refused", [f"key {shown(key)}: a {type(value).__name__} that msgpack cannot keep: {why}"])
