"""Large values as files of their own, named by their digest."""

from __future__ import annotations

import os
import sys
from typing import Final

from flow.errors import DamagedRow
from flow.store.backend import digest_of
from flow.store.sqlite.faults import store_error

_DRAFT: Final = ".tmp"


class Files:
    """The folder ``<store>.files``, where a digest ``ab...`` lies in ``ab/ab...``."""

    __slots__ = ("_folder", "_name")

    def __init__(self, folder: str, name: str) -> None:
        self._folder = folder
        self._name = name

    def _path(self, digest: bytes) -> str:
        text = digest.hex()
        return os.path.join(self._folder, text[:2], text)

    def has(self, digest: bytes) -> bool:
        """Tell whether there is a file of this digest."""
        return os.path.exists(self._path(digest))

    def put(self, digest: bytes, data: bytes) -> None:
        """Write ``data``, whole or not at all, and be sure that it is on the disk. O(data).

        :raises OSError: if that fails.
        """
        path = self._path(digest)
        folder = os.path.dirname(path)
        self._make(folder)
        if self._content(path) != data:  # one that is there may be damaged
            draft = f"{path}.{os.urandom(8).hex()}{_DRAFT}"
            try:
                with open(draft, "xb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
                os.replace(draft, path)
            except BaseException:
                if os.path.exists(draft):
                    os.unlink(draft)
                raise
        sync_folder(folder)  # also if it was there: who has put it may not have come so far

    def _make(self, folder: str) -> None:
        for path in (self._folder, folder):
            try:
                os.mkdir(path)
            except FileExistsError:
                continue
            sync_folder(os.path.dirname(path))

    def _content(self, path: str) -> bytes | None:
        try:
            with open(path, "rb") as file:
                return file.read()
        except FileNotFoundError:
            return None

    def get(self, digest: bytes) -> bytes:
        """Read what has this digest. O(its size). :raises DamagedRow: if it is gone, or is not what was written."""
        data = self._content(self._path(digest))
        if data is None:
            raise store_error(self._name, f"is damaged: its file {digest.hex()} is gone", DamagedRow)
        if digest_of(data) != digest:
            raise store_error(self._name, f"is damaged: its file {digest.hex()} is not what was written", DamagedRow)
        return data

    def remove(self, digest: bytes) -> bool:
        """Remove a file if it is there; False if that cannot be (Windows: while somebody reads it)."""
        try:
            os.unlink(self._path(digest))
        except FileNotFoundError:
            return True
        except OSError:
            return False
        return True


def sync_folder(folder: str) -> None:
    """Be sure that the names in a folder are on the disk. Windows has nothing of the kind."""
    if sys.platform == "win32":
        return
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


__all__ = ["Files", "sync_folder"]
