"""What nodes emit in a run: an event for its observers."""

from __future__ import annotations

from threading import Lock
from typing import Any, Final, Protocol

from flow.data.emissions import Texts
from flow.run import events
from flow.run.calls import Calls

_FIRST: Final = Lock()
"""Held while the first text of a run is noted: nodes in threads may all be the first."""


class Emitters(Protocol):
    """What a run keeps of what its nodes emit."""

    texts: Texts | None


class EmittingCalls(Calls):
    """Calls whose functions may emit values while they go on."""

    __slots__ = ()

    wall_time: float

    @property
    def extras(self) -> Emitters:
        """Where the texts are noted."""
        raise NotImplementedError

    def emitted(self, node: str, index: int | None, attempt: int, key: str, value: Any, append: bool) -> None:
        """Tell observers what a node (an item, if ``index`` is its index) has emitted. Once the run has ended: nobody.

        Observers get the parts of one text one after the other, whichever threads emit them.
        """
        if not self.config.observers or self.wall_time == self.wall_time:
            return
        extras = self.extras
        if extras.texts is None:
            with _FIRST:
                extras.texts = extras.texts or Texts()

        def tell(offset: int) -> None:
            now = self.clock.now()
            self.emit(events.NodeEmitted(self.run_id, node, key, value, append, offset, now, index))

        extras.texts.told((node, index, key), attempt, value, append, tell)
