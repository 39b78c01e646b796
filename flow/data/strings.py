"""One object, or one run of bytes, for each distinct string: :class:`StringPool` and :class:`ArenaStrings`."""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from threading import Lock
from typing import Final, Unpack

import msgspec

from flow.config.fields import is_int, unknown_arguments
from flow.data.arena import DEAD, HASH, Records, encode
from flow.errors import ConfigError, DataError, UsageError, shown
from flow.types import Nothing

DEFAULT_CAPACITY: Final = 10_000
"""Strings a pool keeps."""

DEFAULT_MAX_LENGTH: Final = 256
"""Characters of the longest string a pool keeps."""

_decode: Final = msgspec.msgpack.Decoder(tuple[str]).decode


class StringStatistics(msgspec.Struct, frozen=True, gc=False):
    """Counts of a :class:`StringPool` since it was made or cleared.

    :ivar hits: strings for which a kept one was returned.
    :ivar misses: strings that were new and are kept now.
    :ivar refused: strings that were new and not kept: too long, or the pool was full.
    :ivar size: strings kept.
    :ivar characters: their length in all.
    """

    hits: int
    misses: int
    refused: int
    size: int
    characters: int


class StringPool:
    """Keeps one object per distinct string, up to a bound.

    ``sys.intern`` does the same without bound or statistics.

    :param capacity: most strings kept; when the pool is full, new strings pass through.
    :param max_length: characters; longer strings pass through.
    :raises ConfigError: if one of them is no positive integer.

    >>> pool = StringPool()
    >>> pool.intern("".join(["a", "b"])) is pool.intern("".join(["a", "b"]))
    True

    Any number of threads may use it; all get the same object. Finding a kept string takes no lock, so under
    contention a hit may go uncounted on a free-threaded build.
    """

    __slots__ = ("_capacity", "_characters", "_hits", "_kept", "_lock", "_max_length", "_misses", "_refused")

    def __init__(
        self, capacity: int = DEFAULT_CAPACITY, max_length: int = DEFAULT_MAX_LENGTH, **wrong: Unpack[Nothing]
    ) -> None:
        if wrong:
            raise unknown_arguments("StringPool", "StringPool", wrong)
        named = {"capacity": capacity, "max_length": max_length}
        faults = [f"{k} must be an integer > 0, not {shown(v)}" for k, v in named.items() if not is_int(v) or v < 1]
        if faults:
            raise ConfigError("StringPool", faults)
        self._capacity = capacity
        self._max_length = max_length
        self._kept: dict[str, str] = {}
        self._lock = Lock()
        self._hits = self._misses = self._refused = self._characters = 0

    def intern(self, text: str) -> str:
        """Return the kept string that equals ``text``. Without one, keep ``text`` if the bounds allow it. O(len).

        :raises UsageError: if ``text`` is no str.
        """
        try:
            kept = self._kept.get(text)
        except TypeError:  # unhashable
            kept = None
        if kept is None:
            return self._miss(text)
        self._hits += 1
        return kept

    def intern_many(self, texts: Iterable[str]) -> list[str]:
        """Return :meth:`intern` of each, in their order, taking the lock at most once.

        :raises UsageError: if one is no str; those before it are kept.
        """
        asked = texts if isinstance(texts, list) else list(texts)
        try:
            found = list(map(self._kept.get, asked))
        except TypeError:  # unhashable: one by one, up to it
            return list(map(self.intern, asked))
        if None not in found:
            self._hits += len(found)
            return found  # type: ignore[return-value]
        self._hits += len(found) - found.count(None)
        with self._lock:  # once, not for each
            return [self._keep(text) if kept is None else kept for text, kept in zip(asked, found, strict=True)]

    def _miss(self, text: str) -> str:
        with self._lock:
            return self._keep(text)

    def _keep(self, text: str) -> str:
        if not isinstance(text, str):
            raise UsageError(f"a StringPool keeps strings, not {shown(text)} (a {type(text).__name__})")
        if text.__class__ is not str:
            text = str.__str__(text)  # a subclass may carry more than its characters
        kept = self._kept.get(text)
        if kept is not None:  # kept meanwhile: by another thread, or earlier in the same batch
            self._hits += 1
            return kept
        if len(text) > self._max_length or len(self._kept) >= self._capacity:
            self._refused += 1
            return text
        self._misses += 1
        self._characters += len(text)
        self._kept[text] = text
        return text

    def clear(self) -> None:
        """Forget all strings and counts. Strings that were handed out stay good."""
        with self._lock:
            self._kept.clear()
            self._hits = self._misses = self._refused = self._characters = 0

    def statistics(self) -> StringStatistics:
        """Count what was done. O(1)."""
        with self._lock:
            return StringStatistics(self._hits, self._misses, self._refused, len(self._kept), self._characters)

    def __len__(self) -> int:
        return len(self._kept)

    def __contains__(self, text: object) -> bool:
        return text in self._kept

    def __repr__(self) -> str:
        return f"StringPool({len(self._kept)} of {self._capacity} strings)"


class ArenaStrings(Records):
    """Distinct strings as utf-8 in arena blocks, each known by a small integer, the *handle*.

    For millions of strings that are rarely read: about 30 bytes above the text per string, none of them visible to
    the garbage collector. Reading makes a new str each time.

    :param block_size: bytes per block; see :class:`flow.memory.Arena`.

    >>> names = ArenaStrings()
    >>> names.add("ada") == names.add("ada")
    True
    >>> names.get(names.add("ada"))
    'ada'

    Any number of threads may use it.
    """

    __slots__ = ()

    def add(self, text: str) -> int:
        """Return the handle of ``text``, which is kept from now on. Equal strings have equal handles. O(len(text)).

        :raises DataError: if ``text`` is no str, or cannot be encoded (lone surrogates).
        """
        if text.__class__ is not str:
            if not isinstance(text, str):
                raise DataError("string refused", [f"{shown(text)} is a {type(text).__name__}, not a str"])
            text = str.__str__(text)
        try:
            probe = encode(text)
        except UnicodeEncodeError as error:
            raise DataError("string refused", [f"{shown(text)} cannot be encoded: {error.reason}"]) from None
        hashed = hash(text) & HASH
        number = self._find(self._index, hashed, probe)
        if not number:
            with self._lock:
                number = self._find(self._index, hashed, probe) or self._add(hashed, b"\x91" + probe)
        return number

    def add_many(self, texts: Iterable[str]) -> array[int]:
        """Return :meth:`add` of each, in their order: an array, four bytes per handle."""
        return array("I", map(self.add, texts))

    def get(self, handle: int) -> str:
        """Return the string of ``handle``. O(its length).

        :raises UsageError: if there is no such handle (since :meth:`reset`).
        """
        index = self._index
        if not is_int(handle) or not 0 < handle < len(index[2]) or index[2][handle] == DEAD:
            raise UsageError(f"{shown(handle)} is no handle of these ArenaStrings; was it added before a reset()?")
        _, _, _, positions, sizes, blocks, bits, low = index
        position = positions[handle]
        start = position & low
        return _decode(blocks[position >> bits][start : start + sizes[handle]])[0]

    def reset(self) -> None:
        """Forget all strings and keep the blocks. O(blocks). Handles lose their meaning."""
        with self._lock:
            self._begin(self._blocks.emptied())

    def __contains__(self, text: object) -> bool:
        if not isinstance(text, str):
            return False
        try:
            text = str.__str__(text)
            return self._find(self._index, hash(text) & HASH, encode(text)) > 0
        except UnicodeEncodeError:
            return False

    def __repr__(self) -> str:
        return f"ArenaStrings({len(self)} strings, {self._blocks.filled} bytes)"
