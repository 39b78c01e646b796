"""What has been sent to the signals of one outermost run, and which of them are waited for."""

from __future__ import annotations

from threading import Lock
from typing import Any, Protocol

from flow.errors import Hints, SignalError, shower, shown
from flow.logs import NAME as LOGGER
from flow.logs import fields
from flow.plan.resolver import DONE
from flow.run.signals import Address, Signals, signals_of
from flow.types import MISSING, NodeRef

_LISTED = 10


class Receiver(Protocol):
    """Who waits for a signal: :class:`flow.run.waiting.Waiting`."""

    def deliver(self, i: int, payload: Any) -> None:
        """Have node ``i`` completed with ``payload``, on the thread of the event loop. Any thread may call this."""
        ...


class Box:
    """One address. ``receiver`` waits for it with its node ``i``; ``over`` says why nothing is taken any more."""

    __slots__ = ("i", "over", "payload", "receiver")

    def __init__(self) -> None:
        self.payload: Any = MISSING
        self.receiver: Receiver | None = None
        self.i = -1
        self.over = ""


class Mailbox:
    """The signals of one outermost run, by address. Any thread may send.

    What is sent is kept until the run ends: a nested run that is tried again gets it again.

    :param run: the run, a :class:`flow.run.state.PlanRun`.
    """

    __slots__ = ("_boxes", "_changed", "_lock", "_over", "_run", "_runs")

    def __init__(self, run: Any) -> None:
        self._run = run
        self._boxes: dict[str, Box] = {}
        self._runs: dict[str, Any] | None = None  # nested runs by their place, made at the first; None once ended
        self._over = False
        self._changed: Any = None  # made by who waits for the next signal that is waited for
        self._lock = Lock()

    def take(self, address: str, payload: Any) -> None:
        """Take what somebody has sent by way of the store. What the run does not take is logged."""
        try:
            self.send(address, payload, stored=True)
        except SignalError as error:
            if error.reason != "sent":
                import logging

                run = self._run.run_id
                logging.getLogger(LOGGER).warning("run %r: %s", run, error, extra=fields(None, run))
            if error.reason == "invalid":
                self._run.journal.rejects(address)

    def send(self, address: str | NodeRef[Any], payload: Any, stored: bool = False) -> None:
        """Take what is sent.

        :param stored: it comes from the store of a durable run; else it goes there first.
        :raises SignalError: if the run does not take it.
        """
        address = address.name if isinstance(address, NodeRef) else address
        signals = signals_of(self._run.plan)
        found = signals.find(address) if isinstance(address, str) else None
        if found is None:
            raise _unknown(address, signals)
        from flow.plan.declared import checked, type_text  # here: its imports take time

        signal, prefixes = found
        show = shower(self._run.config)
        value, fault = checked(payload, signal.wait.type, show)
        if fault:
            kind = type_text(signal.wait.type)
            raise SignalError(f"what was sent to {address!r} is not of its type {kind}{fault}", "invalid")
        with self._lock:
            box = self._boxes.get(address)
            if box is not None and box.payload is not MISSING:
                raise SignalError(f"signal {address!r} has been sent before, and takes one payload", "sent")
            over = self._ended(signal, prefixes) if box is None or not box.over else box.over
            if over:
                raise SignalError(f"signal {address!r} takes nothing any more: {over}", "ended")
            journal = self._run.journal
            if journal is not None and not stored and not journal.sent(address, payload):
                raise SignalError(f"signal {address!r} has been sent before, and takes one payload", "sent")
            if box is None:
                box = self._boxes[address] = Box()
            box.payload = value
            if box.receiver is not None:
                try:
                    box.receiver.deliver(box.i, value)
                except RuntimeError:
                    raise SignalError(f"signal {address!r} takes nothing: the event loop has ended", "ended") from None

    def _ended(self, signal: Address, prefixes: list[str]) -> str:
        """Say why a signal that nobody waits for will never be waited for; nothing if it may be."""
        if self._over:
            return "the run has ended"
        run, runs = self._run, self._runs or {}
        for step, prefix in zip(signal.steps, prefixes, strict=True):
            if run is not None and run.code(step.node) >= DONE:
                return f"node {step.name!r} has ended ({run.status(step.node)})"
            run = runs.get(prefix)
            if run is None and prefix in runs:
                return f"the run of {prefix!r} has ended"
        if run is not None and run.code(signal.node) >= DONE:
            return f"its node has ended ({run.status(signal.node)})"
        return ""

    def waiting(self) -> tuple[str, ...]:
        """Return the addresses that are waited for now, in the order in which the waiting began."""
        with self._lock:
            boxes = self._boxes.items()
            return tuple([at for at, box in boxes if box.receiver is not None and box.payload is MISSING])

    def watch(self) -> Any:
        """Return an event that is set when another signal is waited for."""
        if self._changed is None:
            from anyio import Event

            self._changed = Event()
        return self._changed

    # -- what runs say, on the thread of the event loop --------------------------------------

    def wait(self, address: str, receiver: Receiver, i: int) -> None:
        """Node ``i`` of ``receiver`` waits for this address. What was sent before is delivered.

        (A run that a node has started has no address: it is no part of the plan.)
        """
        if signals_of(self._run.plan).find(address) is None:
            return
        with self._lock:
            box = self._boxes.pop(address, None) or Box()
            self._boxes[address] = box
            box.receiver, box.i, box.over = receiver, i, ""
            changed, self._changed = self._changed, None
            if changed is not None:
                changed.set()
            if box.payload is not MISSING:
                receiver.deliver(i, box.payload)

    def expire(self, address: str) -> bool:
        """The time of this address is up. Return False if something was sent in time, and is about to be delivered."""
        with self._lock:
            box = self._boxes.get(address)
            if box is not None:
                if box.payload is not MISSING:
                    return False
                box.receiver, box.over = None, "its time was up"
            return True

    def leave(self, address: str, over: str = "") -> None:
        """Nobody waits for this address any more: it has been delivered, or is ``over``."""
        with self._lock:
            box = self._boxes.get(address)
            if box is not None:
                box.receiver, box.over = None, over

    def begin(self, place: str, run: Any) -> None:
        """A nested run has begun at this place: a node may be tried again, and its run has another one before."""
        with self._lock:
            if self._runs is None:
                self._runs = {}
            self._runs[place] = run

    def end(self, place: str = "") -> None:
        """The run at this place has ended; an empty place is the outermost run."""
        with self._lock:
            if place and self._runs is not None:
                self._runs[place] = None
            elif not place:
                self._over, self._runs = True, None


def _unknown(address: object, signals: Signals) -> SignalError:
    names = list(signals.signals)
    listed = ", ".join(map(repr, names[:_LISTED])) + (f" and {len(names) - _LISTED} more" if names[_LISTED:] else "")
    meant = Hints().nearest(address, names)
    there = f"its signals are {listed}" if names else "it has none"
    number = " (N is a number, from 0 for items and from 1 for rounds)" if any("#N" in name for name in names) else ""
    return SignalError(f"the run has no signal {shown(address)}{meant}: {there}{number}")


__all__ = ["Mailbox", "Receiver"]
