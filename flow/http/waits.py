"""What a run waits for, and what it asks of whoever sends that: :class:`Waits`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from flow.run.events import NodeWaiting
from flow.run.questions import questions_of


class Asked(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a run waits for.

    :ivar waiting: addresses of signals. :ivar questions: what is asked there, by address, where something is.
    """

    waiting: tuple[str, ...]
    questions: dict[str, Any] = {}


class Waits:
    """The signals and timers that a run waits for now, and the questions there. The caller keeps threads apart.

    :param is_signal: tells whether something can be sent to an address.
    :ivar number: that of the last change of what is asked.
    """

    __slots__ = ("_addresses", "_is_signal", "_questions", "number")

    def __init__(self, is_signal: Callable[[str], object]) -> None:
        self._is_signal = is_signal
        self._addresses: dict[tuple[str, str], str] = {}  # by run and node
        self._questions: dict[str, Any] = {}
        self.number = 0

    def __bool__(self) -> bool:
        return bool(self._addresses)

    def note(self, event: Any) -> bool:
        """Take in an event of a node; tell whether what is asked has changed. O(1)."""
        key = (event.run_id, event.node)
        if type(event) is NodeWaiting:
            self._addresses[key] = event.address
            return bool(self._is_signal(event.address))
        address = self._addresses.pop(key, "")
        self._questions.pop(address, None)
        return bool(address and self._is_signal(address))

    def asks(self, reported: Iterable[Any]) -> bool:
        """Take in questions; tell whether what is asked has changed. O(these + waits)."""
        new = questions_of(reported)
        self._questions |= new
        return not new.keys().isdisjoint(self._addresses.values())

    def recall(self, reported: Iterable[Any]) -> bool:
        """Take over questions of before, as :meth:`asks`. Newer ones stay."""
        new = {address: asked for address, asked in questions_of(reported).items() if address not in self._questions}
        self._questions |= new
        return not new.keys().isdisjoint(self._addresses.values())

    def addresses(self) -> tuple[str, ...]:
        """Return the addresses of the signals that are waited for."""
        return tuple([one for one in list(self._addresses.values()) if one and self._is_signal(one)])

    def asked(self) -> Asked:
        """Return what is asked now. O(waits)."""
        waiting = self.addresses()
        return Asked(waiting, {one: self._questions[one] for one in waiting if one in self._questions})


__all__ = ["Asked", "Waits"]
