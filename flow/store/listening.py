"""What comes to a durable run from outside: signals, and the wish that it end; and its end while it only waits."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from flow.config import Config
from flow.errors import Fenced, StoreError, UnknownRun
from flow.plan.resolver import AWAITING, READY, TAKEN
from flow.plan.waits import Timer
from flow.run.hooks import HookFailed
from flow.run.journal import CancelAsked, Rested
from flow.run.signals import signals_of
from flow.run.state import PlanRun
from flow.store.backend import RunRow, Signal
from flow.store.codec.hints import Hint
from flow.store.entries import Keeper
from flow.store.writing import LEASE, Writing


class Listening(Writing):
    """The part of a journal that looks for what is new."""

    def __init__(self, store: Keeper, row: RunRow, inputs: Mapping[str, Any] | None, config: Config) -> None:
        super().__init__(store, row, inputs, config)
        self.cancel_asked = self._claimed = False
        self._seen = 0  # signals
        self._drivers: list[Any] = []  # of the run and of those within it, if it may rest

    def look(self) -> None:
        """See whether something was sent, or the run's end was asked for; keep the lease."""
        run = self._run
        if run is None or self._over or self.broken is not None or self.deferred is not None:
            return
        try:
            signals, cancel = self.store.backend.take_signals(self.run_id, self._seen)
            self._seen += len(signals)
            if cancel and not self.cancel_asked:
                self.cancel_asked = True
                self._end(CancelAsked())
                return
            mailbox: Any = getattr(run.driver, "mailbox", None)
            if mailbox is not None:
                for signal in signals:
                    if "\0" in signal.address:
                        continue  # it was not taken
                    found = signals_of(run.plan).find(signal.address)
                    hint = None if found is None else Hint(found[0].wait.type)
                    mailbox.take(signal.address, self.decoded(signal.payload, hint))
            if self.rest_asked:
                self._soon(self._look_for_rest)
            if self._lease - time.time() < LEASE * 2 / 3 and self._claimed:
                with self._lock:
                    if not self._over:
                        self._put([], None)
        except UnknownRun as error:
            self._break(Fenced(f"{error}: somebody has deleted it"))
        except StoreError as error:
            self._break(error)

    def cancel_at_once(self, driver: Any) -> None:
        """The run's end was asked for before it began: end it at once, or without an event loop at its first call."""
        self.cancel_asked = True
        if driver is not None:
            driver.broke(HookFailed(CancelAsked()))
            return
        self.broken = CancelAsked()
        self.idle.append(None)

    def sent(self, address: str, payload: Any) -> bool:
        """Keep what is sent to a signal of the run. :raises NotStorable: if it cannot be kept."""
        return self.store.backend.send(self.run_id, Signal(address, self.encode(payload), time.time()))

    def rejects(self, address: str) -> None:
        """As the protocol says."""
        self.store.backend.reject(self.run_id, address)

    def drives(self, driver: Any) -> None:
        """As the protocol says."""
        if self.rest_asked:
            self._drivers = [one for one in self._drivers if one.run.driver is one]
            self._drivers.append(driver)

    def _look_for_rest(self) -> None:
        """End the run if nothing but signals can let it go on. On the thread of its event loop."""
        run, waits = self._run, 0
        if run is None or self._over or self.broken is not None:
            return
        drivers = [one for one in self._drivers if one.run.driver is one]
        going_on = 1 - len(drivers)  # a node that drives a run within it does nothing else
        for driver in drivers:
            resolver = driver.run.resolver
            if resolver is None:
                return
            going_on += _going_on(driver)
            if isinstance(driver.run, PlanRun):
                routes = driver.run.nodes.routes
                for i, wait in ({} if routes is None else routes.waits).items():
                    if resolver.state[i] == AWAITING:
                        waits += 1
                        if isinstance(wait, Timer):
                            return
        mailbox: Any = getattr(run.driver, "mailbox", None)
        addresses = () if mailbox is None else mailbox.waiting()
        if waits == len(addresses) > 0 == going_on:  # else something that was sent is about to come
            run.extras.rests = addresses
            self._end(Rested())

    def _end(self, why: Exception) -> None:
        """End the run early, which is no error."""
        driver: Any = None if self._run is None else self._run.driver
        if driver is None:
            self.broken = self.broken or why  # the next outcome raises it
            self.idle.append(None)
        else:
            self._soon(driver.broke, HookFailed(why))


def _going_on(driver: Any) -> int:
    """Return how many nodes or items of one run are taken, or are about to be; or that it is about to end."""
    run, resolver = driver.run, driver.run.resolver
    if not isinstance(run, PlanRun):
        has_room = driver.workers < driver.limit + driver.outside or resolver.taken_count < driver.workers
        going_on: int = resolver.unfinished if has_room else resolver.taken_count  # what has no room waits for those
        return max(1, going_on)
    state = resolver.state
    taken: int = state.count(TAKEN)
    ready: int = state.count(READY)
    ends = not taken and not ready and state.count(AWAITING) == 0
    return taken + ready + ends


__all__ = ["Listening"]
