"""Opens a store: :func:`open`, and :func:`memory` for tests."""

from __future__ import annotations

import os
from collections.abc import Sequence

from flow.errors import ConfigError, shown
from flow.store.codec import Codec
from flow.store.entries import Mode
from flow.store.store import Store


def open(
    path: str | os.PathLike[str],
    durability: Mode = "async",
    power_safe: bool = False,
    codecs: Sequence[Codec] = (),
    pickle: bool = False,
) -> Store:
    """Open the file of durable runs at ``path``; it is made if it is not there. Its folder must be.

    Beside it lie ``<path>-wal`` and ``<path>-shm`` (SQLite's), ``<path>.lock``, and the folder ``<path>.files`` for
    values over 256 KB. Several processes may have it open at once.

    :param durability: when outcomes are stored. ``"sync"``: a dependant of a node starts after the commit of its
        outcome, which power loss does not undo. ``"async"``: it starts at once, and what came within 5 ms (or
        1,024 outcomes) is stored together behind it: after a kill the last window runs again. ``"exit"``: all is stored
        at the end of the run.
    :param power_safe: with ``"async"`` and ``"exit"``: each commit is safe from power loss as well (``"sync"`` always
        is). Without it the last windows may be lost with the power; the file stays sound.
    :param codecs: for types of your own (:class:`flow.store.Codec`).
    :param pickle: let values that nothing else can encode be pickled, and read again by unpickling: only for files that
        nobody else can write.
    :raises StoreError: if the file cannot be opened, or is none of ours.
    :raises ConfigError: for another durability.
    """
    if not isinstance(path, (str, os.PathLike)):
        raise ConfigError("store", [f"path is that of a file, not {shown(path)}"])
    if durability not in ("sync", "async", "exit"):
        raise ConfigError("store", [f"durability is 'sync', 'async' or 'exit', not {shown(durability)}"])
    from flow.store.sqlite import SqliteBackend

    backend = SqliteBackend(path, fsync=power_safe or durability == "sync")
    return Store(backend, durability, codecs, pickle)


def memory(durability: Mode = "async", codecs: Sequence[Codec] = (), pickle: bool = False) -> Store:
    """Return a store that lies in memory, for tests: it is gone with the process."""
    from flow.store.in_memory import MemoryBackend

    return Store(MemoryBackend(), durability, codecs, pickle)


__all__ = ["memory", "open"]
