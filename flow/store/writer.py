"""The thread that writes behind: one per store, started with the first run that needs it.

It writes what has come to a run's journal every 5 ms, or at once if it is asked to; and looks now and then whether
somebody has sent something to a run, or asked for its end.
"""

from __future__ import annotations

import threading
import time
from typing import Final, Protocol

WINDOW_SECONDS: Final = 0.005
"""How long entries wait for others, at most."""

LOOK_SECONDS: Final = 0.25
"""How often a run is asked whether something is new."""

_AWAKE: Final = 0.1
"""Seconds without an entry after which the thread sleeps."""

_LINGERS: Final = 10.0
"""Seconds for which a thread without runs stays."""


class Written(Protocol):
    """A journal, as the writer sees it."""

    def write_behind(self) -> bool:
        """Write what there is; tell whether there was something. It raises nothing."""
        ...

    def park(self) -> bool:
        """From now on :meth:`Writer.poke` is called for the next entry. False if there is one by now."""
        ...

    def look(self) -> None:
        """See what is new from outside, and keep the lease. It raises nothing."""
        ...

    def stop(self) -> None:
        """Nothing is written any more: the run must end."""
        ...

    @property
    def is_urgent(self) -> bool:
        """Somebody waits for the commit."""
        ...


class Writer:
    """Writes the journals of all runs of one store that this process drives.

    While runs are busy, the thread looks every 5 ms by itself: who adds an entry need not wake it. After a while
    without entries it sleeps, and the next entry wakes it.

    :ivar sleeps: it is to be woken.
    """

    def __init__(self) -> None:
        self._journals: set[Written] = set()
        self._lock = threading.Lock()
        self._event = threading.Event()
        self._thread: threading.Thread | None = None
        self.sleeps = self._closed = False

    def add(self, journal: Written) -> None:
        """Write this one from now on."""
        with self._lock:
            self._journals.add(journal)
            if self._thread is None and not self._closed:
                self._thread = threading.Thread(target=self._work, name="flow-store-writer", daemon=True)
                self._thread.start()
        if self.sleeps:
            self._event.set()

    def remove(self, journal: Written) -> None:
        """Write this one no more."""
        with self._lock:
            self._journals.discard(journal)

    def close(self) -> None:
        """Write nothing any more: the thread ends soon."""
        self._closed = True
        self._event.set()
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(_LINGERS)
        for journal in list(self._journals):
            journal.stop()

    def poke(self) -> None:
        """There is something to write now."""
        self._event.set()

    def _work(self) -> None:
        busy_at, looked = time.monotonic(), 0.0
        while True:
            with self._lock:
                journals = list(self._journals)
                if self._closed or (not journals and time.monotonic() - busy_at > _LINGERS):
                    self._thread = None
                    return
            wrote = [journal.write_behind() for journal in journals]
            now = time.monotonic()
            if now - looked >= LOOK_SECONDS:
                looked = now
                for journal in journals:
                    journal.look()
            if any(wrote):
                busy_at = now
            if any(journal.is_urgent for journal in journals):
                continue
            if now - busy_at < _AWAKE:
                self._wait(WINDOW_SECONDS)
                continue
            self.sleeps = True  # before the journals are parked: one that comes now wakes us
            parked = [journal.park() for journal in journals]
            if len(journals) == len(self._journals) and all(parked):
                busy_at = time.monotonic() if self._wait(LOOK_SECONDS if journals else _LINGERS) else busy_at
            self.sleeps = False

    def _wait(self, seconds: float) -> bool:
        """Wait until something is to be written now, or the time is over; tell which."""
        poked = self._event.wait(seconds)
        self._event.clear()
        return poked


__all__ = ["LOOK_SECONDS", "WINDOW_SECONDS", "Writer"]
