"""The run of one map's items: a run within the run, on the same drivers.

A :class:`MapRun` is to a driver what a PlanRun is, with a :class:`flow.run.queue.ItemResolver` in the Resolver's place:
so bounding, retrying, cancelling, threads and sharing the loop are written once.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator, Sequence
from functools import partial
from typing import Any, Final

from flow.data.mapresult import error_of
from flow.errors import NodeAborted, UsageError, note, shower
from flow.logs import log_broken
from flow.policy.fallback import note_broken, value_for
from flow.policy.mapping import note_closing
from flow.run import events
from flow.run.calls import OutOfTime
from flow.run.drive.inline import run_items
from flow.run.frames import keep_users_frames
from flow.run.hooks import NodeCall, NodeOutcome, by_parameter
from flow.run.items.calls import MapCalls
from flow.run.items.results import as_told, gathered, scattered, unpacked
from flow.run.log import log_rest, log_survived
from flow.run.queue import ItemResolver, StreamResolver
from flow.types import MISSING, Status

_WHEN_CLOSED: Final = "raised by the source of the items, when it was closed"


class MapOutcomes(MapCalls):
    """What the outcomes of a map's items mean."""

    __slots__ = ()

    def outcome_of(
        self, i: int, status: Status, output: Any, error: BaseException | None = None, final: bool = True
    ) -> NodeOutcome:
        run_id, path, index = self.hooks.run_id, self.outer.path, self.index(i)  # type: ignore[union-attr]
        attempt, round = self.attempts.get(i, 1), self.outer.extras.round
        return NodeOutcome(run_id, path, self.name, index, round, status, output, error, attempt, final)

    def call_of(self, i: int, values: Sequence[Any]) -> NodeCall:
        run_id, path, index = self.hooks.run_id, self.outer.path, self.index(i)  # type: ignore[union-attr]
        extras = by_parameter(self._extras, self._extras.values())
        arguments = by_parameter(self._roles.items, values if self._roles.whole else tuple(values[0])) | extras
        attempt, round = self.attempts.get(i, 1), self.outer.extras.round
        return NodeCall(run_id, path, self.name, index, round, attempt, self.mapped.fn, arguments)

    def accepted(self, i: int, value: Any) -> Any:
        return value if self._look is None else self._look(value, self.values[i])

    def fallback_of(self, i: int) -> BaseException | None:
        return self.fallbacks.get(self.index(i))

    def note_fallback(self, i: int, error: BaseException) -> None:
        self.fallbacks.update(dict.fromkeys(self.places(i), error))

    def output_of(self, i: int, value: Any) -> Any:
        return as_told(self.mapped.options, value)

    def may_return(self) -> bool:
        return self.on_slot is None or self.on_slot(0)

    def count_slots(self, by: int) -> None:
        if self.on_slot is not None:
            self.on_slot(by)

    def received(self, i: int) -> list[Any]:
        """What entry ``i`` is called with: its item, the parts of that, and what is the same for all."""
        item = self.values[i]
        parts = item if isinstance(item, (tuple, list)) else ()
        return [item, *parts, *self._extras.values()]

    def retry_delay(self, i: int, error: BaseException) -> float | None:
        delay = super().retry_delay(i, error)
        if delay is not None:
            self.feed.delayed.add(i)  # waiting, it still counts as pulled
        return delay

    def retried(self, i: int, attempt: int, error: BaseException, delay: float) -> None:
        now = self.clock.now()
        self.emit(events.ItemRetried(self.run_id, self.name, self.index(i), attempt, error, delay, now))

    def fail(self, i: int, error: BaseException) -> bool:
        """Record that entry ``i`` failed for good, and take its fallback if it has one.

        :return: True if the map must end.
        """
        attempt = self.attempts.get(i, 1)
        tries = f", attempt {attempt}" if self.mapped.retry is not None else ""
        self.conceal(error)
        keep_users_frames(error, self.mapped.fn)
        item, what = self.values[i], f"item {i}"
        if self.mapped.options.batch_size is not None:
            what, self._sizes[i] = f"the batch from item {self.index(i)}", len(item)
        note(error, f"in {what} ({shower(self.config)(item)}) of map {self.name!r}{tries}")
        if self._fall_back(i, attempt, error):
            return False
        if self.mapped.fallback is not MISSING:
            self.conceal(error)  # which has a note now of what its fallback has raised
        if not isinstance(error, NodeAborted):
            self.tell(i, Status.FAILED, None, error)
        self.errors[i] = error
        if self.mapped.options.on_error != "fail" and not isinstance(error, NodeAborted):
            log_survived(self, i, error, fallback=False, count=len(self.errors))
        self.feed.failed(i)
        if self.config.observers:
            now = self.clock.now()
            self.emit(events.ItemFailed(self.run_id, self.name, self.index(i), attempt, error, now))
        return self.mapped.options.on_error == "fail"

    def _fall_back(self, i: int, attempt: int, error: BaseException) -> bool:
        """Complete entry ``i`` with the map's fallback, if it has one: what the function would have returned."""
        fallback, item, batch = self.mapped.fallback, self.values[i], self.mapped.options.batch_size is not None
        results: list[Any] = []
        for _ in item if batch else (item,):
            results.append(value_for(fallback, error))
            if results[-1] is MISSING:
                return False
        value = results if batch else results[0]
        try:
            value = self.accepted(i, value)
        except Exception as broken:
            note_broken(error, broken, fallback)
            return False
        first = self.index(i)
        self.note_fallback(i, error)
        log_survived(self, i, error, fallback=True, count=len(self.fallbacks))
        if self.spans is not None:
            self.spans.raised.pop(first, None)
        if self._context._scope.published:
            self._context._scope.published.pop(first, None)  # by the attempt that failed
        self.values[i] = value
        self.tell(i, Status.COMPLETED, self.output_of(i, value), error)
        if self.config.observers:
            now = self.clock.now()
            self.emit(events.ItemFallback(self.run_id, self.name, first, attempt, error, now))
        self.feed.done(i)
        return True

    # -- at the end --------------------------------------------------------------------------

    def _told_of_closing(self, error: BaseException | None) -> BaseException | None:
        """Say what generators have raised while they were closed: on ``error``, with which the map ends.

        :return: with what it ends. Without an error of its own that is the first of these, unless the map collects or
            skips, where they are logged.
        """
        closing, self.source.closing = self.source.closing, []
        for one in closing:
            self.conceal(one)
        if error is None and self.mapped.options.on_error == "fail":
            error = closing.pop(0)
            note(error, _WHEN_CLOSED)
        if error is not None:
            _note_all(error, closing)
            return error
        while closing:  # as in _note_all
            text = "the source of map %r raised when it was closed"
            log_broken(text, self.name, error=closing.pop(0), run=self.run_id, node=self.name)
        return None

    def outcome(self) -> Any:
        """What the map's node returns. :raises Exception: if it failed."""
        feed, options, keys = self.feed, self.mapped.options, self.source.keys
        error = feed.broke
        errors = {self.index(i): e for i, e in self.errors.items() if isinstance(e, Exception)}
        fallbacks, self.fallbacks = self.fallbacks, {}
        self.forget()  # an exception keeps the frames it went through, and so this object: no cycle
        if error is None and errors and (options.on_error == "fail" or self.cut_off):
            error = error_of(self.name, errors)
        if self.source.closing:
            error = self._told_of_closing(error)
        if error is not None:
            try:
                raise error
            finally:
                del error, errors, fallbacks  # as above: its traceback holds this frame
        if errors or fallbacks:
            log_rest(self, len(errors), len(fallbacks))
        if fallbacks:
            self.outer.fallbacks[self.outer.nodes.index[self.name]] = dict(sorted(fallbacks.items()))
        published = list((self._context._scope.published or {}).items())  # an abandoned call may just be publishing
        self._context._merge([one for one in published if feed.is_done(self.entry(one[0]))])
        del feed.values[feed.pulled :]
        feed.values += [MISSING] * (self._places.pulled - feed.pulled)
        values = feed.values
        if options.batch_size is not None:
            batch = self.source.open_batch
            if batch is None or feed is self._places:
                values = unpacked(values, self._sizes, self.index, errors)
            else:
                values = scattered(values, batch.places, self._places.pulled, errors)
        if options.on_error == "collect" and errors:
            self.outer.caught(errors.values())
        return gathered(self.name, options, values, errors, keys)

    def close(self) -> None:
        """Nothing is called any more: let go of what points back here."""
        self.source.close()
        self.feed.close()
        self.driver = None
        self._context._scope.calls = None
        del self._call, self._function

    def cut_short(self, error: BaseException, cancels: bool) -> None:
        """Forget how it went: ``error`` ends the map from outside.

        :param cancels: it only cancels.
        :raises Exception: in a cancellation's place, what a generator has raised in its clearing up, as of any node.
        """
        closing, self.source.closing = self.source.closing, []
        self.forget()
        if not (cancels and closing):
            _note_all(error, closing)
            return
        raised = closing.pop(0)
        note(raised, _WHEN_CLOSED)
        _note_all(raised, closing)
        try:
            raise raised
        finally:
            del raised  # its traceback holds this frame: no cycle

    def forget(self) -> None:
        """Let go of the errors, which hold this object: this run gets no Result."""
        self.errors, self.fallbacks, self.feed.broke = {}, {}, None


class MapRun(MapOutcomes):
    """The run of one map's items, as drivers see it."""

    __slots__ = ()

    # -- running -----------------------------------------------------------------------------

    def run_inline(self) -> Any:
        """Call the function with every item on this thread; return what the node returns."""
        self.refuse_stream()
        mapped = self.mapped
        counts = mapped.timeout or mapped.admission or self.hooks or self.journal or self.config.observers
        direct = not counts and self.spans is None and self.deadline is None
        try:
            run_items(self, self.feed, self._call if direct else None, not self._plain)
            if self.timed_out:
                raise OutOfTime
        except BaseException as error:
            self.close()
            self.cut_short(error, isinstance(error, OutOfTime))
            raise
        self.close()
        return self.outcome()

    def refuse_stream(self) -> None:
        """:raises UsageError: if the items come asynchronously, and there is no event loop."""
        if self.source.stream is not None:
            raise UsageError(
                f"map {self.name!r} goes over an asynchronous iterator, and this run has no event loop: "
                "make its function async, or use 'await flow.execute(...)'"
            )

    async def run_on_loop(self, driver: Any) -> Any:
        """Let ``driver``, made for this run, call the function with every item; return what the node returns."""
        self.feed.on_broken = driver.stop
        driver.companion = self.new_companion(driver)
        if driver.companion is not None:
            self.start_counting(iter(()))
        try:
            await driver.drive()
        except BaseException as error:
            self.close()
            self.cut_short(error, driver.is_cancellation(error))
            raise
        finally:
            driver.companion = None
        self.close()
        return self.outcome()

    def new_companion(self, driver: Any) -> Callable[[], Coroutine[Any, Any, None]] | None:
        """What lets items come that come asynchronously, telling ``driver`` each time; None if they do not."""
        stream = self.source.stream
        if stream is None or not isinstance(self.feed, StreamResolver):
            return None
        limit = lambda: min(self.limit, driver.limit)  # noqa: E731
        pump = partial(self.feed.pump, stream, limit, driver.pump, self.source.closing)
        batch = self.source.open_batch
        return pump if batch is None else partial(batch.fill, self.feed, limit, driver.pump, pump)

    def adaptive(self) -> Any:
        adapts = self.limit > 1 and (self.outer.adapts or self.mapped.options.adapts)
        return self.outer.adaptive(self.name, self.limit) if adapts else None

    # -- what drivers and bound calls ask ----------------------------------------------------

    @property
    def deadline(self) -> float | None:
        return None if self.on_loop else self.outer.deadline  # a loop cancels

    def first_phase(self) -> Iterator[int]:
        return self.feed.one_by_one()

    @property
    def plain_feed(self) -> ItemResolver | None:
        return self.feed if self._plain and self.feed.on_done is None else None

    def start_counting(self, left: Iterator[int]) -> int:
        self.resolver = feed = self.feed
        return feed.start_counting() if feed.at_hand is MISSING else feed.adopt(feed.at_hand)

    def others_ready(self, i: int | None) -> bool:
        feed = self.feed
        return feed.total is None or (feed.pulled or len(feed.values)) < feed.total


def _note_all(error: BaseException, closing: list[Exception]) -> None:
    while closing:  # emptied: the frames that these errors hold may hold it
        note_closing(error, closing.pop(0))
