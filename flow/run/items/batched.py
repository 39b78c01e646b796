"""Pipelined maps of which some have batches: those are filled by the items that the map before hands over."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Any

from flow.run.items.batches import BatchResolver, run_beside
from flow.run.items.pipeline import PipelineRun
from flow.run.items.results import DROPPED
from flow.run.items.run import MapRun


class BatchedPipelineRun(PipelineRun):
    """A pipeline that gives what a batch holds as soon as no more items come to it.

    :ivar _left: per stage, items that have come from the stage before and not ended. Of the first stage, whose items
        come from the source, only those that have ended are counted: the number is negative.
    :ivar _filling: the stages with batches to which items may still come.
    :ivar _streaming: an asynchronous source has not ended; None if it is a synchronous one.
    """

    __slots__ = ("_filling", "_left", "_sources", "_streaming")

    _streaming: bool | None

    def __init__(self, stages: Sequence[MapRun], sources: Sequence[int]) -> None:
        super().__init__(stages, sources)
        self._sources = sources
        self._left = [0] * len(stages)
        self._filling = {s: stage.feed for s, stage in enumerate(stages) if isinstance(stage.feed, BatchResolver)}
        self._streaming = None if stages[0].source.stream is None else True

    def run_inline(self) -> None:
        for feed in self._filling.values():
            feed.by_arrival = True
        super().run_inline()

    def new_companion(self, driver: Any) -> Callable[[], Coroutine[Any, Any, None]] | None:
        pump = super().new_companion(driver)
        timers = [
            partial(self._give_by_time, self._stages[s], feed, driver.pump)
            for s, feed in self._filling.items()
            if self._stages[s].mapped.options.batch_wait is not None
        ]
        if pump is None and not timers:
            return None

        async def body() -> None:
            if pump is not None:
                await pump()
                self._streaming = False
                if self._give_rest():
                    driver.pump()

        return partial(run_beside, body, timers, self.halt)

    async def _give_by_time(self, stage: MapRun, feed: BatchResolver, arrived: Callable[[], None]) -> None:
        assert stage.source.open_batch is not None
        await stage.source.open_batch.give_by_time(feed, lambda: stage.limit, arrived)

    # -- what drivers ask --------------------------------------------------------------------

    def fail(self, i: int, error: BaseException) -> bool:
        over = super().fail(i, error)
        self._left[i % len(self._stages)] -= 1
        self._give_rest()
        return over

    def take(self) -> int:
        i = super().take()
        return super().take() if i < 0 and self._give_rest() else i

    def done(self, i: int) -> None:
        super().done(i)
        self._left[i % len(self._stages)] -= 1
        self._give_rest()

    def _hand_on(self, s: int, k: int) -> None:
        if self._stages[s].feed.values[k] is not DROPPED:
            for follower in self._followers[s]:
                self._left[follower] += 1
        super()._hand_on(s, k)

    # -- the rest ----------------------------------------------------------------------------

    def _give_rest(self) -> bool:
        """Give the batches that get no more items. Tell whether there are any. O(stages)."""
        given = False
        for s in list(self._filling):
            if self._is_over(self._sources[s]):
                given |= self._filling.pop(s).end()
        return given

    def _is_over(self, s: int) -> bool:
        """Tell whether stage ``s`` hands nothing on any more."""
        feed = self._stages[s].feed
        if s:
            return (feed.halted or not self._left[s]) and self._is_over(self._sources[s])
        ended = feed.ended if self._streaming is None else not self._streaming
        return (ended or feed.halted) and feed.came + self._left[0] == 0


__all__ = ["BatchedPipelineRun"]
