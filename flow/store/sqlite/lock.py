"""The lock file: one process at a time writes, checkpoints and closes, and one thread of it.

SQLite up to 3.51.2 can lose what a write-ahead log holds if two connections write or checkpoint at the same moment (its
WAL-reset bug). Who holds this lock is alone.
"""

from __future__ import annotations

import os
import sys
from threading import Lock
from time import monotonic, sleep
from typing import Final

from flow.store.sqlite.faults import WAIT, store_error

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

POLL: Final = 0.001
"""Seconds between two attempts: no system call waits for a lock only so long."""

TURN: Final = 0.05
"""Seconds after which a process that writes without a pause looks whether another one waits."""

_MARK: Final = 8  # where in the file a process that waits leaves a mark; Windows locks byte 0


class FileLock:
    """Excludes all other processes, and all other threads of this one, while it is held.

    Nothing hands the lock over to who waits. A process that waits leaves a mark therefore, and who finds it after its
    :data:`TURN` steps aside for two polls.

    :param path: the lock file, which is made if it is not there.
    :param name: of the store, for messages.
    :raises OSError: if the file cannot be opened.
    """

    __slots__ = ("_aside", "_fd", "_name", "_thread", "_turn")

    def __init__(self, path: str, name: str) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o644)
        self._name = name
        self._thread = Lock()
        self._aside = False
        self._turn = monotonic()

    def acquire(self, deadline: float) -> None:
        """Wait for the lock until the time ``deadline`` of :func:`time.monotonic`.

        :raises StoreError: if somebody else has it that long; it says who, if that is known.
        """
        if not self._thread.acquire(timeout=max(0.0, deadline - monotonic())):
            raise store_error(self._name, f"is busy with another call of this process for {WAIT:g} s")
        try:
            if self._aside:
                sleep(2 * POLL)
                self._aside = False
            if not self._locked():
                self._wait(deadline)
        except BaseException:
            self._thread.release()
            raise

    def _wait(self, deadline: float) -> None:
        while True:
            self._mark(b"1")
            sleep(POLL)
            if self._locked():
                self._turn = monotonic()
                return
            if monotonic() > deadline:
                raise store_error(self._name, f"is locked by another process{self._holder()} for {WAIT:g} s")

    def release(self) -> None:
        """Let the next one in. O(1), and two system calls at most."""
        now = monotonic()
        if now - self._turn > TURN:
            self._turn = now
            if self._marked():
                self._aside = True
                self._mark(b"0")
        self._unlock()
        self._thread.release()

    def close(self) -> None:
        """Close the file. In a child process after a fork this leaves the parent's lock as it is."""
        os.close(self._fd)

    if sys.platform == "win32":

        def _locked(self) -> bool:
            os.lseek(self._fd, 0, os.SEEK_SET)
            try:
                msvcrt.locking(self._fd, msvcrt.LK_NBLCK, 1)
            except OSError:
                return False
            return True

        def _unlock(self) -> None:
            os.lseek(self._fd, 0, os.SEEK_SET)
            msvcrt.locking(self._fd, msvcrt.LK_UNLCK, 1)

    else:

        def _locked(self) -> bool:
            try:
                fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            return True

        def _unlock(self) -> None:
            fcntl.flock(self._fd, fcntl.LOCK_UN)

    def _mark(self, mark: bytes) -> None:
        """Tell others that somebody waits, or no longer. A hint: a full disk may lose it."""
        try:
            os.lseek(self._fd, _MARK, os.SEEK_SET)
            os.write(self._fd, mark)
        except OSError:
            return

    def _marked(self) -> bool:
        try:
            os.lseek(self._fd, _MARK, os.SEEK_SET)
            return os.read(self._fd, 1) == b"1"
        except OSError:
            return False

    def _holder(self) -> str:
        """Ask the kernel who has the lock. Only Linux tells; to write it down would cost every transaction."""
        try:
            inode = str(os.fstat(self._fd).st_ino)
            with open("/proc/locks", encoding="ascii") as locks:
                for line in locks:
                    fields = line.split()  # 1: FLOCK ADVISORY WRITE 4711 08:01:262146 0 EOF
                    if fields[1] == "FLOCK" and fields[5].rpartition(":")[2] == inode:
                        return f" (pid {fields[4]})"
        except (OSError, IndexError, ValueError):
            pass
        return ""


__all__ = ["POLL", "TURN", "FileLock"]
