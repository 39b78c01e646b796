"""Maps that start on an item as soon as the map before them has it: ``pipelined=True``.

The first map's node runs them all, as one: entry ``k`` of stage ``s`` of ``n`` is number ``k * n + s`` to the
driver. Each stage has the feed, bound, retries and errors of its own :class:`MapRun`. The nodes of the later
stages only fetch their outcome.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from flow.run.calls import Calls, OutOfTime
from flow.run.drive.inline import count_down
from flow.run.items.results import DROPPED
from flow.run.items.run import MapRun
from flow.run.queue import ItemResolver
from flow.types import Status

if TYPE_CHECKING:
    from flow.run.journal import Journal


class PipelineRun(Calls):
    """The run of several maps' items; also the resolver of it.

    :param stages: the first map, then those that go over its items or over those of a stage before them.
    :param sources: per stage, the number of the stage it goes over; the first has none.

    Of the items that may start, those furthest along go first, so that few are under way at a time. While many results
    wait for a stage (:meth:`_is_held`), the one before it starts nothing more, and so the source is asked for nothing.
    """

    __slots__ = ("_followers", "_in_flight", "_stages", "arguments", "limit")

    def __init__(self, stages: Sequence[MapRun], sources: Sequence[int]) -> None:
        first = stages[0]
        super().__init__(first.config)
        self.limit = min(first.outer.limit, sum(stage.limit for stage in stages))
        self._stages = stages
        self._in_flight = [0] * len(stages)
        self._followers: list[list[int]] = [[] for _ in stages]
        for s, source in enumerate(sources[1:], 1):
            self._followers[source].append(s)
        for s, stage in enumerate(stages):
            stage.on_slot = partial(self._count, s)
        feeds = [stage.feed for stage in stages]
        self.values: Any = _Woven([feed.values for feed in feeds])
        self.fns: Any = _Woven([feed.fns for feed in feeds])
        self.is_async: Any = _Woven([feed.is_async for feed in feeds])
        self.arguments: Any = _Itself()
        self.resolver = self
        for feed in feeds:
            feed.start_counting()

    def run_inline(self) -> None:
        """Run all stages on this thread, each item through as many as it can go before the next is pulled."""
        first, delayed = self._stages[0], []  # type: ignore[var-annotated]
        first.refuse_stream()
        first.feed.on_broken = delayed.clear
        try:
            count_down(self, self, delayed)
            if self.timed_out:
                raise OutOfTime
        except BaseException as error:
            self._close()
            first.cut_short(error, isinstance(error, OutOfTime))
            raise
        self._close()

    async def run_on_loop(self, driver: Any) -> None:
        """Let ``driver``, made for this run, run all stages."""
        first = self._stages[0]
        for stage in self._stages:
            stage.driver = driver
        first.feed.on_broken = driver.stop
        driver.companion = self.new_companion(driver)
        try:
            await driver.drive()
        except BaseException as error:
            self._close()
            first.cut_short(error, driver.is_cancellation(error))
            raise
        finally:
            driver.companion = None
        self._close()
        if self.cut_off:
            for stage in self._stages:
                stage.cut_off = True
                if stage.failures:
                    stage.outcome()

    def new_companion(self, driver: Any) -> Callable[[], Coroutine[Any, Any, None]] | None:
        """As of the first stage."""
        return self._stages[0].new_companion(driver)

    def _close(self) -> None:
        """As of each stage."""
        for stage in self._stages:
            stage.close()
            stage.on_slot = None
        self.resolver = self.driver = None

    def _count(self, s: int, by: int) -> bool:
        """A call of stage ``s`` has left its slot (-1), or has one again (1). Tell whether there is another (0)."""
        self._in_flight[s] += by
        return self._in_flight[s] < self._stages[s].limit

    def _at(self, i: int) -> tuple[MapRun, ItemResolver, int]:
        k, s = divmod(i, len(self._stages))
        return self._stages[s], self._stages[s].feed, k

    # -- what drivers ask --------------------------------------------------------------------

    @property
    def deadline(self) -> float | None:
        return self._stages[0].deadline

    @property
    def run_id(self) -> str:
        return self._stages[0].run_id

    @property
    def journal(self) -> Journal | None:
        return self._stages[0].journal

    def called_elsewhere(self, i: int) -> bool:
        stage, _, k = self._at(i)
        return stage.called_elsewhere(k)

    def name_of(self, i: int) -> str:
        stage, _, k = self._at(i)
        return stage.name_of(k)

    def location(self, i: int) -> str:
        return self._at(i)[0].location(i)

    def adaptive(self) -> Any:
        first = self._stages[0]
        adapts = self.limit > 1 and (first.outer.adapts or any(stage.mapped.options.adapts for stage in self._stages))
        return first.outer.adaptive(first.name, self.limit) if adapts else None

    def call_kind(self, i: int) -> int:
        return i % len(self._stages)

    @property
    def failures(self) -> int:
        return sum(stage.failures for stage in self._stages)

    def first_phase(self) -> Iterator[int]:
        return iter(())

    def function(self, i: int) -> Any:
        return self._at(i)[0].mapped.fn

    def retry_delay(self, i: int, error: BaseException) -> float | None:
        stage, _, k = self._at(i)
        delay = stage.retry_delay(k, error)
        if delay is not None:
            self._in_flight[i % len(self._stages)] -= 1
        return delay

    def fail(self, i: int, error: BaseException) -> bool:
        """As of the stage's own map; a later stage that fails stops itself, and not what it goes over."""
        stage, feed, k = self._at(i)
        self._in_flight[i % len(self._stages)] -= 1
        over = stage.fail(k, error)
        if feed.is_done(k):  # with a fallback
            self._hand_on(i % len(self._stages), k)
        if not over or stage is self._stages[0]:
            return over
        feed.halt()
        return False

    # -- the Resolver's protocol -------------------------------------------------------------

    @property
    def ready_count(self) -> int:
        return sum(
            max(0, min(stage.feed.ready_count, stage.limit - busy))
            for s, (stage, busy) in enumerate(zip(self._stages, self._in_flight, strict=True))
            if not self._is_held(s)
        )

    @property
    def unfinished(self) -> int:
        return sum(stage.feed.unfinished for stage in self._stages)

    @property
    def taken_count(self) -> int:
        return sum(stage.feed.taken_count for stage in self._stages)

    def status(self, i: int) -> Status:
        _, feed, k = self._at(i)
        return feed.status(k)

    def take(self) -> int:
        count = len(self._stages)
        for s in range(count - 1, -1, -1):
            stage = self._stages[s]
            if self._in_flight[s] < stage.limit and not self._is_held(s):
                k = stage.feed.take()
                if k >= 0:
                    self._in_flight[s] += 1
                    return k * count + s
        return -1

    def _is_held(self, s: int) -> bool:
        """Tell whether so many results of stage ``s`` wait for a stage after it that it is to start nothing more.

        As many may wait as both stages have slots: with fewer, the later one could run out of them while the calls of
        the earlier one take their time. Whatever waits may start without this stage, so nothing is held for ever.
        """
        for follower in self._followers[s]:
            stage = self._stages[follower]
            if stage.feed.back and not stage.feed.halted:
                most = self.limit if self.driver is None else self.driver.limit  # which may adapt
                size = stage.mapped.options.batch_size or 1
                room = min(stage.limit, most) * size + min(self._stages[s].limit, most)
                if len(stage.feed.back) * size >= room:
                    return True
        return False

    def done(self, i: int) -> None:
        _, feed, k = self._at(i)
        s = i % len(self._stages)
        self._in_flight[s] -= 1
        feed.done(k)
        self._hand_on(s, k)

    def _hand_on(self, s: int, k: int) -> None:
        """Give the result of entry ``k`` of stage ``s`` to the stages after it."""
        result = self._stages[s].feed.values[k]
        if result is not DROPPED:
            for follower in self._followers[s]:
                self._stages[follower].feed.arrive(k, result)

    def advance(self, i: int) -> int:
        self.done(i)
        return self.take()

    def cancelled(self, i: int) -> None:
        _, feed, k = self._at(i)
        feed.cancelled(k)

    def put_back(self, i: int) -> None:
        _, feed, k = self._at(i)
        if k not in feed.delayed:
            self._in_flight[i % len(self._stages)] -= 1
        feed.put_back(k)

    def halt(self) -> None:
        for stage in self._stages:
            stage.feed.halt()


class _Woven:
    """The stages' lists as the one that a driver sees."""

    __slots__ = ("_lists",)

    def __init__(self, lists: Sequence[Any]) -> None:
        self._lists = lists

    def __getitem__(self, i: int) -> Any:
        k, s = divmod(i, len(self._lists))
        return self._lists[s][k]

    def __setitem__(self, i: int, value: Any) -> None:
        k, s = divmod(i, len(self._lists))
        self._lists[s][k] = value


class _Itself:
    """The arguments of call ``i``: the value that stands at ``i``."""

    __slots__ = ()

    def __getitem__(self, i: int) -> tuple[int]:
        return (i,)
