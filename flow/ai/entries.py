"""Where a cache keeps its entries: in memory, or in a folder that processes share."""

from __future__ import annotations

import os
from collections import OrderedDict
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from secrets import token_hex
from typing import Final, Protocol

import msgspec

from flow.ai.messages import Reply

_MAGIC: Final = b"flow.ai 1\n"
"""What a file begins with. Another version of its form has another number."""

_SUM: Final = 16
"""Bytes of the checksum, which follows."""


class Entry(msgspec.Struct, frozen=True):
    """An answer, and when it came (Unix time)."""

    at: float
    reply: Reply


class Entries(Protocol):
    """A mapping of answers, bounded."""

    blocks: bool
    """Its methods may wait for a disk."""

    def read(self, key: str) -> Entry | None:
        """Return an entry; None if there is none, or a damaged one."""
        ...

    def write(self, key: str, entry: Entry) -> None:
        """Keep an entry. :raises OSError: if it cannot be kept."""
        ...

    def clear(self) -> None:
        """Forget all."""
        ...

    def __len__(self) -> int: ...


class InMemory:
    """The ``most`` entries that were used last. Each method is O(1) (``clear`` apart)."""

    __slots__ = ("_entries", "_most")

    blocks = False

    def __init__(self, most: int) -> None:
        self._entries: OrderedDict[str, Entry] = OrderedDict()
        self._most = most

    def read(self, key: str) -> Entry | None:
        entry = self._entries.get(key)
        if entry is not None:
            with suppress(KeyError):  # another thread has just dropped it
                self._entries.move_to_end(key)
        return entry

    def write(self, key: str, entry: Entry) -> None:
        self._entries[key] = entry
        if len(self._entries) > self._most:
            with suppress(KeyError):
                self._entries.popitem(last=False)

    def clear(self) -> None:
        self._entries.clear()

    def __len__(self) -> int:
        return len(self._entries)


class InFiles:
    """One file per entry. Processes may share the folder: a file is replaced as a whole, and checked when it is read.

    About ``most`` entries stay: each tenth part of so many writes, the oldest files beyond are deleted.

    :raises OSError: if there is no such folder, and it cannot be made.
    """

    __slots__ = ("_folder", "_most", "_writes")

    blocks = True

    def __init__(self, folder: Path, most: int) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder = folder
        self._most = most
        self._writes = 0

    def read(self, key: str) -> Entry | None:
        try:
            data = self._file(key).read_bytes()
        except OSError:
            return None
        return _entry_of(data)

    def write(self, key: str, entry: Entry) -> None:
        """Write a file beside it, which then takes its place."""
        payload = msgspec.msgpack.encode(entry)
        beside = self._folder / f"{key}.{token_hex(4)}.new"
        try:
            with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(_MAGIC + _sum_of(payload) + payload)
            os.replace(beside, self._file(key))
        except BaseException:
            with suppress(OSError):
                beside.unlink()
            raise
        self._writes += 1
        if self._writes % max(1, self._most // 10) == 0:
            self._prune()

    def clear(self) -> None:
        for path in self._folder.glob("*.reply"):
            with suppress(OSError):
                path.unlink()

    def __len__(self) -> int:
        return sum(1 for _ in self._folder.glob("*.reply"))

    def _file(self, key: str) -> Path:
        return self._folder / f"{key}.reply"

    def _prune(self) -> None:
        """Delete the oldest files of those that are too many. O(files log files)."""
        found = []
        for path in self._folder.glob("*.reply"):
            with suppress(OSError):  # another process has deleted it
                found.append((path.stat().st_mtime, path))
        found.sort(reverse=True)
        for _, path in found[self._most :]:
            with suppress(OSError):
                path.unlink()


def _entry_of(data: bytes) -> Entry | None:
    """Return what a file holds; None if it is damaged."""
    start = len(_MAGIC) + _SUM
    payload = data[start:]
    if data[: len(_MAGIC)] != _MAGIC or data[len(_MAGIC) : start] != _sum_of(payload):
        return None
    try:
        return msgspec.msgpack.decode(payload, type=Entry)
    except msgspec.MsgspecError:  # of a version with other fields
        return None


def _sum_of(payload: bytes) -> bytes:
    return blake2b(payload, digest_size=_SUM).digest()


__all__ = ["Entries", "Entry", "InFiles", "InMemory"]
