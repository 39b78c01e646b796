"""What nodes emit in a run: an event for its observers."""

from __future__ import annotations

from threading import Lock
from typing import Any, Final, Protocol

from flow.data.context import Context
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

    def emitted(self, call: Context, key: str, value: Any, append: bool) -> None:
        """Tell observers what a node or an item has emitted. Once the run has ended: nobody.

        Observers get the parts of one text one after the other, whichever threads emit them.
        """
        if not self.config.observers or self.wall_time == self.wall_time:
            return
        masks = self.masks
        if masks is not None:
            value = masks.value(value)
        of_item = call._parent is not None
        keeper: Any = call._written() if of_item else self.extras  # what an item has emitted goes with it
        if keeper.texts is None:
            with _FIRST:
                keeper.texts = keeper.texts or Texts()
        index = call.index if of_item else None

        def tell(offset: int) -> None:
            now = self.clock.now()
            self.emit(events.NodeEmitted(self.run_id, call.node, key, value, append, offset, now, index))

        keeper.texts.told(("" if of_item else call.node, key), call.attempt, value, append, tell)
