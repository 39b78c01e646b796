"""What the journal of a run that goes on knows, and hands out as nodes and items are about to be called."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final

from flow.config import Config
from flow.data.outcome import Outcome
from flow.errors import FlowError, NotStorable
from flow.logs import NAME as LOGGER
from flow.logs import fields
from flow.run.items.calls import MapCalls
from flow.run.journal import Answer
from flow.run.state import PlanRun
from flow.store.backend import RunRow
from flow.store.entries import Keeper
from flow.store.listening import Listening
from flow.store.records import Began, Failed, LeftOut, Record
from flow.types import Status

if TYPE_CHECKING:
    from flow.store.resume import Resumed


_KINDS: Final = {"list": b"", "filter": b"filter", "flat": b"flat"}
"""Stored results of items of one kind of map are none of another's."""


class Knowing(Listening):
    """The part of a journal that knows.

    :param resumed: what is known of the run; None if it is new.
    """

    def __init__(
        self, store: Keeper, row: RunRow, inputs: Mapping[str, Any] | None, config: Config, resumed: Resumed | None
    ) -> None:
        super().__init__(store, row, inputs, config)
        self.resumed = resumed
        self.ended = resumed is not None and resumed.ended
        self._answers: dict[Any, Any] = {}
        self._keyed: dict[tuple[int, str], dict[Any, Any]] = {}  # where items with keys are among these
        self._history = None if resumed is None else resumed.history

    def begins(self, run: Any, i: int) -> Any:
        """As the protocol says."""
        if self.broken is not None:
            if run.outlasts(i):  # it cleans up, and is not kept
                return run.clock.now(), None
            self.fail()
        mark = None if type(run) is PlanRun else self._mark(run, i)
        if self.resumed is not None:
            answer = self._answer(run, i, mark)
            if answer is not None:
                return answer
        return run.clock.now(), mark

    def _mark(self, run: Any, i: int) -> int | str | None:
        """By what an item is known again: its key, or a checksum. None for a node."""
        if not isinstance(run, MapCalls):
            return None
        keys, kind = run.source.keys, _KINDS[run.mapped.options.outcome]
        try:
            if keys is not None and run.mapped.options.batch_size is None:
                key = repr(keys[run.index(i)]).encode("utf-8", "backslashreplace")  # (which may be secret)
                return f"key {blake2b(key, digest_size=8, person=kind).hexdigest()}"
            digest = blake2b(self.store.codecs.encode(run.values[i]), digest_size=8, person=kind).digest()
            return int.from_bytes(digest, "big", signed=True)
        except (FlowError, IndexError):
            return None  # by its index alone

    def _answer(self, run: Any, i: int, mark: int | str | None) -> Answer | None:
        path, name, item = run.place(i)
        known = self._history.tries.get(path) if self._history is not None else None
        tried = None if known is None else known.pop((name, item), None)
        if tried is not None and i not in run.attempts:
            run.attempts = {**run.attempts, i: tried.attempt + 1}
            limit = run.node_limit(i)
            if limit is not None:
                run._deadlines.setdefault(i, run.clock.now() + max(0.0, limit - tried.spent))
        mine = self._answers.get(path)
        record = None if mine is None else mine.pop((name, item), None)
        if isinstance(mark, str) and mine is not None and getattr(record, "mark", None) != mark:
            if record is not None:
                mine[name, item] = record  # it is another item's
            record = self._by_key(mine, name, mark)
        if record is None or isinstance(record, LeftOut):
            return None
        if isinstance(record, Failed):
            error: Any = self.decoded(record.error)
            error.final = True
            return Answer(Outcome(Status.FAILED, None, error))
        if record.output is None:
            return None
        if isinstance(run, MapCalls) and (mark is None or record.mark != mark):  # (None: it cannot be known again)
            text = "item %d of map %r is not the one that was stored: it runs again"
            logging.getLogger(LOGGER).warning(text, item, name, extra=fields(None, self.run_id, name, item))
            return None
        assert self.resumed is not None
        value = self.decoded(record.output, self.resumed.hint(run, i), self._storing(run, i) == "pickle")
        if record.attempt > 1:
            run.attempts = {**run.attempts, i: record.attempt}
        if record.published is not None:
            calls = [(key, one, rule) for key, one, rule in self.decoded(record.published)]
            published: Any = run._context._scope.published
            published[run.index(i)] = calls
        return Answer(Outcome(Status.COMPLETED, value, None if record.error is None else self.decoded(record.error)))

    def has_answer(self, run: Any, i: int) -> bool:
        """As the protocol says."""
        path, name, item = run.place(i)
        mine = self._answers.get(path)
        if not mine or self.broken is not None:
            return False
        is_item = isinstance(run, MapCalls)
        mark, record = self._mark(run, i), mine.get((name, item))
        if isinstance(mark, str) and getattr(record, "mark", None) != mark:
            place = self._places_by_key(mine, name).get(mark)
            record = None if place is None else mine.get(place)
        if record is None or isinstance(record, (Failed, LeftOut)):
            return isinstance(record, Failed)
        return record.output is not None and (not is_item or (mark is not None and record.mark == mark))

    def _by_key(self, mine: dict[Any, Any], name: str, mark: str) -> Any:
        """Take out what is known of the item of this key, whatever its index was. O(items) for the first."""
        place = self._places_by_key(mine, name).get(mark)
        return None if place is None else mine.pop(place, None)

    def _places_by_key(self, mine: dict[Any, Any], name: str) -> dict[Any, Any]:
        """Return where what is known of a map's items is, by their keys. O(items) for the first."""
        keyed = self._keyed.get((id(mine), name))
        if keyed is None:
            found = [(place, one) for place, one in mine.items() if place[0] == name]
            keyed = {one.mark: place for place, one in found if getattr(one, "mark", None) is not None}
            self._keyed[id(mine), name] = keyed
        return keyed

    def _storing(self, run: Any, i: int) -> Any:
        """Return what the node, or the map of the item, says by its option ``store``; None for the default."""
        if isinstance(run, MapCalls):
            return run.outer.nodes.storing.get(run.outer.nodes.index[run.name])
        return run.nodes.storing.get(i)

    def _forget_within(self, path: Any, name: str, item: int | None, final: bool) -> None:
        """What is known of runs within a node that is tried again is that of the attempt before."""
        if not final and self._history is not None:
            self._forget(self._history.forget_within(path, name, item))

    def _forget(self, paths: Sequence[Any]) -> None:
        for path in paths if self._answers else ():
            self._answers.pop(path, None)

    def begins_run(self, run: Any, inputs: Mapping[str, Any]) -> None:
        """As the protocol says."""
        try:
            digest = blake2b(self.encode([run.plan.name, dict(inputs)]), digest_size=8).digest()
        except NotStorable:
            digest = os.urandom(8)  # it cannot be known again
        given, path = int.from_bytes(digest, "big", signed=True), run.path
        known = None if self._history is None else self._history.began.get(path)
        if known == given:
            return
        if known is not None and self._history is not None:
            text = "the run at %s is another one than was stored: it runs again"
            logging.getLogger(LOGGER).warning(text, "/".join(path), extra=fields(None, self.run_id))
            self._forget(self._history.forget_run(path))
        self._keep(Began(path, given))

    def wanted(self, run: Any, i: int) -> bool:
        """As the protocol says."""
        known = None if self._history is None else self._history.wants.get(run.path)
        return known is not None and run.nodes.names[i] in known

    def last_round(self, run: Any) -> bool | None:
        """As the protocol says."""
        return None if self._history is None else self._history.rounds.get(run.path)

    def _keep(self, record: Record) -> None:
        raise NotImplementedError


__all__ = ["Knowing"]
