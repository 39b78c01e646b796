"""Writes the journal of a durable run: what has come since the last time, in one transaction."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping, Sequence
from threading import Lock
from typing import Any, Final, NoReturn

import msgspec

from flow.config import Config
from flow.errors import StoreError
from flow.run import events
from flow.run.hooks import HookFailed
from flow.run.journal import WINDOW, ends_quietly
from flow.run.state import PlanRun
from flow.store.backend import Change, RunRow
from flow.store.entries import Entries, Keeper
from flow.store.records import Batch, Bulk, Done, Ended, Record, Reset, sealed
from flow.store.structure import Shape

LEASE: Final = 30.0
"""Seconds for which an owner counts as alive without a sign of life."""

FULL: Final = 1_024
"""Entries that may wait to be written. One who adds another writes them himself: that is the back-pressure."""

LARGE: Final = 256 * 1024
"""Bytes of an encoded output that go into a file of their own."""

FILE: Final = b"F"
"""Begins an output that is in a file; what follows is the digest of that."""


class Writing(Entries):
    """The part of a journal that writes."""

    def __init__(self, store: Keeper, row: RunRow, inputs: Mapping[str, Any] | None, config: Config) -> None:
        super().__init__(store, row, inputs, config)
        self.broken: BaseException | None = None
        self.shape: Shape
        self.driven: set[tuple[str, float]] = set()  # as the store calls it
        self.is_nobodys = False  # its id was made for it
        self.resets: Sequence[Reset] = ()
        self.cancels = False  # somebody has asked for its end, and nobody has ended it
        self.segments = 0  # of its journal, when it was read
        self.replaces: RunRow | None = None  # the run of this id that it takes the place of
        self.deferred: bytes | None = None  # the structure of a run that the first write adds
        self._run: PlanRun | None = None
        self._lock = Lock()  # held while segments are written: one after the other
        self._commit: Any = None  # the event that the next commit sets
        self._making = Lock()
        self._over = False
        self._lease = 0.0
        self._began = 0.0
        self._stored: deque[list[Record]] = deque()  # records that observers have not been told of

    def wake(self) -> None:
        """As the protocol says."""
        if self.idle:
            try:
                self.idle.pop()
            except IndexError:  # another thread has
                pass
            else:
                self.store.writer.poke()
        if self.broken is not None or len(self.entries) >= WINDOW:
            self.window()

    def fail(self) -> NoReturn:
        """Raise what ends the run. What is no fault of the store is raised once: what cleans up is kept again."""
        assert self.broken is not None
        why = self.broken
        if ends_quietly(why):
            self.broken = None
        raise HookFailed(why)

    def window(self) -> None:
        if self.broken is not None:
            self.fail()
        if self._stored and self._run is not None and self._run.driver is None:
            self._tell_stored()
        if self.commits:
            self.commit()
        elif self.store.durability == "exit":
            return
        elif len(self.entries) >= FULL:
            self.commit()
        elif len(self.entries) >= WINDOW and self.store.writer.sleeps:  # else it looks by itself, soon
            self.store.writer.poke()

    def commit(self) -> None:
        if self.broken is not None:
            self.fail()
        try:
            self._write()
        except StoreError as error:
            self._break(error)
        if self.broken is not None:
            self.fail()
        if self._stored:
            self._tell_stored()

    async def committed(self) -> None:
        with self._making:
            event = self._commit
            if event is None:
                from anyio import Event

                event = self._commit = Event()
        self.store.writer.poke()
        if self.broken is None:
            await event.wait()
        if self.broken is not None:
            self.fail()

    @property
    def is_urgent(self) -> bool:
        """Somebody waits for the commit."""
        return self._commit is not None

    def write_behind(self) -> bool:
        """Write what there is; tell whether there was something."""
        if self.store.durability == "exit" or self._over or self.broken is not None:
            return False
        if not self.entries and self._commit is None and self.deferred is None:
            return False
        try:
            self._write()
        except StoreError as error:
            self._break(error)
        except Exception as error:  # a fault of ours: the run must not go on as if all was stored
            self._break(StoreError(f"store {self.store.name!r} cannot write: {error!r}"))
        return True

    def park(self) -> bool:
        """From now on :meth:`wake` is called for the next entry."""
        if self.store.durability == "exit":
            return True
        if not self.idle:
            self.idle.append(None)
        if self.entries and not self._over and self.broken is None:
            try:
                self.idle.pop()
            except IndexError:  # it has been called
                return True
            return False
        return True

    def _write(self, last: Ended | None = None, change: Change | None = None) -> None:
        """Write all entries there are, in one transaction.

        :raises StoreError: if that is not possible, or was not when another thread has tried.
        """
        with self._lock:
            if self.broken is not None and not ends_quietly(self.broken):
                raise self.broken
            with self._making:
                commit, self._commit = self._commit, None
            entries = self.entries
            count = len(entries)
            taken = entries[:count]
            del entries[:count]
            records = self._records(taken)
            if last is not None:
                records.append(last)
            try:
                if records or change is not None or self.deferred is not None:
                    self._put(records, change)
                    if self._run is not None and self._run.config.observers:
                        self._stored.append(records)
            except BaseException as error:
                entries[:0] = taken  # not stored: nothing is forgotten
                self.broken = self.broken or error
                raise
            finally:
                if commit is not None:
                    self._soon(commit.set)
        if self._stored and self._run is not None and self._run.driver is not None:
            self._soon(self._tell_stored)

    def _put(self, records: list[Record], change: Change | None) -> None:
        now = time.time()
        files = self._files(records)
        lease = None
        if self._lease - now < LEASE * 2 / 3:
            lease = self._lease = now + LEASE
        owned = self.row.owned + max(0.0, self._now() - self._began)
        if change is None:
            change = Change(now, owned, lease)
        else:
            change = msgspec.structs.replace(change, updated=now, owned=owned, lease=change.lease or lease)
        segment = sealed(now, records) if records else None
        if self.deferred is not None:
            self._add(change, segment if not files else None)
            self.store.flushed()
            if not files:
                return
        self.store.backend.write(self.run_id, self.row.token, change, segment, files)
        self.store.flushed()

    def _add(self, change: Change, segment: bytes | None) -> None:
        """Add the run, with its first segment."""
        changes = {name: value for name, value in msgspec.structs.asdict(change).items() if value is not None}
        if changes.pop("released"):
            changes.update(owner="", lease=0.0)
        shape, self.deferred = self.deferred, None
        if self.store.backend.create(msgspec.structs.replace(self.row, **changes), shape or b"", segment) is not None:
            raise StoreError(f"store {self.store.name!r} has a run {self.run_id!r} already")

    def _files(self, records: list[Record]) -> list[bytes]:
        """Put large outputs into files of their own; return the digests."""
        files: list[bytes] = []
        for record in records:
            if type(record) is Batch or type(record) is Bulk:
                outputs = record.outputs
                if max(map(len, outputs)) >= LARGE:
                    record.outputs = [self._filed(output, files) for output in outputs]
            elif type(record) is Done and record.output is not None:
                if len(record.output) >= LARGE:
                    record.output = self._filed(record.output, files)
                elif record.output[:1] == FILE:  # a try before this one has put it there
                    files.append(record.output[1:])
        return files

    def _filed(self, output: bytes, files: list[bytes]) -> bytes:
        if len(output) < LARGE:
            return output
        files.append(self.store.backend.put_file(output))
        return FILE + files[-1]

    def decoded(self, data: bytes, hint: Any = None, pickle: bool = False) -> Any:
        """Return a stored value. :raises StoreError: if it cannot be read."""
        if data[:1] == FILE:
            data = self.store.backend.get_file(data[1:])
        codecs = self.store.codecs
        return codecs.decode(data) if hint is None else hint.decode(codecs, data, pickle)

    def _break(self, error: BaseException) -> None:
        """The store cannot write: end the run, which must not go on as if it could."""
        self.broken = error if self.broken is None or self.broken is error else self.broken
        self.idle.append(None)  # the next entry is refused
        with self._making:
            commit, self._commit = self._commit, None
        if commit is not None:
            self._soon(commit.set)
        driver: Any = None if self._run is None else self._run.driver
        if driver is not None and not self._over:
            self._soon(driver.broke, HookFailed(self.broken))

    def stop(self) -> None:
        """The store is closed: end the run."""
        if not self._over:
            self._break(StoreError(f"store {self.store.name!r} was closed while run {self.run_id!r} was being driven"))

    def _soon(self, fn: Any, *args: Any) -> None:
        driver: Any = None if self._run is None else self._run.driver
        if driver is None:
            return
        try:
            driver.soon(fn, *args)
        except RuntimeError:  # the event loop has ended, and with it the run
            pass

    def _tell_stored(self) -> None:
        """Tell observers what is stored by now, on the thread of the run."""
        run = self._run
        while self._stored and run is not None:
            at = run.clock.now()
            for record in self._stored.popleft():
                if type(record) is Done:
                    run.emit(events.NodeStored(run.run_id, record.name, at, record.path, record.item))
                elif type(record) is Bulk:
                    for name in record.names:
                        run.emit(events.NodeStored(run.run_id, name, at, record.path))

    def _now(self) -> float:
        return self._began if self._run is None else self._run.clock.now()


__all__ = ["FILE", "LARGE", "LEASE", "Writing"]
