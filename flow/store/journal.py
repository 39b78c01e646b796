"""The journal of one durable run: what the engine says goes in."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec

from flow.data.recorded import taken_back
from flow.data.reports import Report
from flow.errors import Fenced, NotStorable, StoredError, StoreError, described, note, printable
from flow.logs import log_broken
from flow.run.items.calls import MapCalls
from flow.run.journal import WINDOW, Known, ends_quietly
from flow.run.state import PlanRun, emit_end
from flow.store import advice
from flow.store import backend as kinds
from flow.store.backend import Change
from flow.store.knowing import Knowing
from flow.store.records import Done, Ended, Failed, LeftOut, Record, Reported, Round, Waits, Wants
from flow.store.unbroken import Unbroken
from flow.types import MISSING, Status

if TYPE_CHECKING:
    from flow.store.resume import Resumed

NOTHING: Final[Any] = {}


class Outcomes(Knowing):
    """The part of a journal that is told how nodes and items end, and what was decided."""

    _aborted = False

    def completed(self, run: Any, i: int, output: Any, error: BaseException | None, begun: Any) -> None:
        """As the protocol says."""
        if self.broken is not None and run.outlasts(i):
            return
        path, name, item = run.place(i)
        is_item = item is not None
        began, mark = begun
        data = self._encoded(run, i, output)
        record = Done(path, name, item, run.attempts.get(i, 1), data, mark)
        now = run.clock.now()
        record.began, record.ended = (now if began is None else began) + self._epoch, now + self._epoch
        if error is not None:
            record.error = self._said(run, error)
        if is_item:
            published = run._context._scope.published
            mine = published.get(run.index(i)) if published else None
            if mine:
                record.published = self._published(mine)
                if self._is_secret(run, [value for _, value, _ in mine], record.published):
                    record.published = record.output = None
        elif run._extras.writes:
            record.writes = self._writes(run, run._extras.writes.pop(i, None))
        self._keep(record)

    def _encoded(self, run: Any, i: int, output: Any) -> bytes | None:
        how = self._storing(run, i)
        if how is False:
            return None
        data = self.encode(output, how == "pickle") if how is not None else self.encode(output)
        return None if self._is_secret(run, output, data) else data  # (it runs again if something needs it)

    def _is_secret(self, run: Any, value: Any, data: bytes) -> bool:
        """Tell whether a secret is in a value: as a text in what is stored, or in a form that masks know."""
        masks = run.masks
        if masks is None:
            return False
        if _holds(data, masks.texts):
            return True
        masked = masks.value(value)
        return masked is not value and _differs(masked, value)

    def aborts(self) -> None:
        """As the protocol says."""
        self._aborted = True

    def _said(self, run: Any, error: BaseException) -> bytes:
        """Encode what a node has raised. Whatever it is, it must not be masked by what storing it raises."""
        try:
            data = self.encode(error)
            if run.masks is not None and _holds(data, run.masks.texts):  # where masks cannot be put
                return self.encode(StoredError(type(error).__name__, run.masks.text(printable(described(error)))))
            return data
        except Exception as broken:
            return self.encode(StoredError(type(error).__name__, f"(cannot be stored: {type(broken).__name__})"))

    def _published(self, calls: Sequence[tuple[str, Any, Any]]) -> bytes:
        for key, _, rule in calls:
            if not isinstance(rule, str):
                raise NotStorable(
                    f"publish({key!r}) of an item of a durable run takes merge='last' or 'append', not a function: "
                    "publish by 'append', and fold the list in a node"
                )
        return self.encode([list(call) for call in calls])

    def _writes(self, run: Any, keys: Mapping[str, Any] | None) -> dict[str, bytes | None] | None:
        if not keys:
            return None
        found: dict[str, bytes | None] = {}
        for key in keys:
            value = run.data.get(key, MISSING)
            try:
                data = None if value is MISSING else self.encode(value)
            except NotStorable as error:
                note(error, f"written to ctx.data under {key!r}")
                raise
            if data is None or not self._is_secret(run, value, data):
                found[key] = data
        return found

    def _keep(self, record: Record) -> None:
        if self.broken is not None:
            self.fail()
        entries, self._mixed = self.entries, True
        entries.append(record)
        if self.idle:
            self.wake()
        if len(entries) >= WINDOW and not self.commits:
            self.window()
        if self._stored and self._run is not None and self._run.driver is None:
            self._tell_stored()
        if self.rest_asked:
            self._soon(self._look_for_rest)

    def ended_as(self, run: Any, i: int, status: Status, output: Any, error: BaseException | None, final: bool) -> None:
        """As the protocol says."""
        if self.ended or self._over or (self._aborted and status is not Status.COMPLETED):
            return
        if self.broken is not None and run.outlasts(i):
            return
        path, name, item = run.place(i)
        if status is Status.COMPLETED:
            try:
                self.completed(run, i, output, error, (_begun(run, i), None))
            except NotStorable:  # of a fallback, or of what was sent: it is computed again if something needs it
                self._keep(Done(path, name, item, run.attempts.get(i, 1), None))
        elif status is Status.FAILED:
            assert error is not None
            attempt, limit, now = run.attempts.get(i, 1), run.node_limit(i), run.clock.now()
            left = run._deadlines.get(i)
            spent = limit - (left - now) if limit is not None and left is not None else 0.0
            begun, at = _begun(run, i), now + self._epoch
            began = at if begun is None else begun + self._epoch
            self._keep(Failed(path, name, item, attempt, final, self._said(run, error), spent, began, at))
            self._forget_within(path, name, item, final)
            if not isinstance(run, MapCalls) and run._extras.writes:
                taken_back(run.data, run._extras.writes.pop(i, NOTHING))
        else:
            self._keep(LeftOut(path, name, item, str(status)))
        if self.commits and status in (Status.COMPLETED, Status.FAILED):
            self.commit()
        elif status is Status.FAILED and self.store.durability == "async":
            self.store.writer.poke()

    def wants(self, run: Any, i: int) -> None:
        """As the protocol says."""
        self._keep_decision(Wants(run.path, run.nodes.names[i]))

    def decide_round(self, run: Any, last: bool) -> None:
        """As the protocol says."""
        self._keep_decision(Round(run.path, last))

    def _keep_decision(self, record: Record) -> None:
        """Keep what is never decided again: where dependants wait for commits, before anything follows from it."""
        self._keep(record)
        if self.commits:
            self.commit()

    def waits(self, run: Any, i: int, seconds: float | None) -> float | None:
        """As the protocol says."""
        path, name = run.path, run.nodes.names[i]
        known = MISSING if self._history is None else self._history.waits.get((path, name), MISSING)
        if known is MISSING:
            self._keep(Waits(path, name, None if seconds is None else time.time() + seconds))
        if self.rest_asked:
            self._soon(self._look_for_rest)
        if known is MISSING:
            return seconds
        return None if known is None else max(0.0, known - time.time())

    def reports(self, report: Report, value: bytes) -> None:
        """As the protocol says."""
        if self.ended or self._over or self.broken is not None:
            return
        self._mixed = True
        at = report.at + self._epoch
        self.entries.append(Reported(report.path, report.node, report.index, report.attempt, report.kind, value, at))

    def reported(self, run: PlanRun) -> Sequence[Report]:
        """As the protocol says."""
        if self._history is None:
            return ()
        created = run.clock.now() - (time.time() - self.row.created)
        return [told(record, self.decoded(record.value), created) for record in self._history.reports]


def told(record: Reported, value: Any, created: float) -> Report:
    """Return a stored report. :param created: when the run was created."""
    return Report(record.kind, value, record.name, record.path, record.item, record.attempt, created + record.at)


class RunJournal(Outcomes):
    """As :class:`flow.run.journal.Journal` says."""

    known: Known | None
    broken: BaseException | None
    _released = False

    def knows(self, resumed: Resumed) -> None:
        """Read what is known of the run. O(outcomes). :raises StoreError: for what cannot be read."""
        resumed.read(self)
        self.known, self._answers = resumed.known, resumed.answers

    def known_names(self) -> Collection[str]:
        """As the protocol says."""
        return () if self.known is None else self.known.outputs.keys()

    def claim(self) -> None:
        """Make the run this process's own, unless it is. :raises StoreError: if it cannot be."""
        if self._claimed or self.ended:
            return
        with Unbroken():
            self.row = self.store.claimed(self)
            self._claimed, self._lease = True, self.row.lease

    def start(self, run: PlanRun) -> None:
        """The run begins."""
        if self.ended:
            return
        self.claim()
        self._run, clock = run, run.clock
        self._began = clock.now()
        self._epoch = time.time() - self._began - self.row.created
        if self.resumed is not None:
            self.restore_data(run)
        self.store.writer.add(self)
        driver: Any = run.driver
        if self.row.cancel:
            self.cancel_at_once(driver)
        if getattr(driver, "mailbox", None) is not None:
            self.look()

    def restore_data(self, run: PlanRun) -> None:
        """Give the run's store what completed nodes have written."""
        assert self._history is not None
        for key, value in self._history.data.items():
            if value is None:
                run.data.delete(key)
            else:
                run.data.set(key, self.decoded(value))

    def finish(self, run: PlanRun) -> None:
        """As the protocol says."""
        if self.ended:
            return
        rests = run.rests
        status = kinds.WAITING if rests else self._status(run)
        try:
            if self.broken is not None and ends_quietly(self.broken):
                self.broken = None
            if self.broken is not None:
                raise self.broken
            last = self._last(run, status)
            failed = next(iter(run.errors.items()), None)
            error = "" if failed is None else f"{run.nodes.names[failed[0]]}: {printable(described(failed[1]))[:500]}"
            if run.timed_out:
                error = error or "the run exceeded its time limit"
            counts = msgspec.msgpack.encode({str(kind): n for kind, n in run.counts.items()})
            now = time.time()
            change = Change(now, 0.0, None, status, 0.0 if rests else now, error, counts, released=True)
            self._write(last, change)
            self._released = True
            if self._stored:
                self._tell_stored()
        except StoreError:
            self.interrupt()
            raise
        finally:
            self._close()

    def _status(self, run: PlanRun) -> str:
        if run.ok:
            return kinds.COMPLETED
        return kinds.CANCELLED if self.cancel_asked else kinds.FAILED

    def _last(self, run: PlanRun, status: str) -> Ended:
        if run.resolver is None:
            return Ended(status, run.timed_out, run.cut_off, {}, [])
        names, others = run.nodes.names, {}
        for i in range(run.nodes.count):
            found = run.status(i)
            if found not in (Status.COMPLETED, Status.FAILED, Status.SKIPPED, Status.BYPASSED):
                others[names[i]] = str(found)
        handled = [names[i] for i in run.errors if run.resolver.is_handled(i)]
        if status == kinds.FAILED and len(handled) == len(run.errors):
            handled = []  # it has failed for what was tolerated, so a retry is to run that again
        return Ended(status, run.timed_out, run.cut_off, others, handled)

    def restore(self, run: PlanRun) -> None:
        """As the protocol says."""
        assert self.resumed is not None
        self.resumed.restore(run)
        self.restore_data(run)

    def explain(self, result: Any) -> None:
        """As the protocol says."""
        advice.explain(self.run_id, self.store.name, result)

    def interrupt(self) -> None:
        """As the protocol says."""
        with Unbroken():
            self._interrupt()

    def _interrupt(self) -> None:
        if self.ended or self._released or not self._claimed:
            return
        self._released = True
        if self.broken is not None and ends_quietly(self.broken):
            self.broken = None
        broken, now = self.broken, time.time()
        try:
            if broken is None:
                self._write(None, Change(now, 0.0, released=True))
            elif not isinstance(broken, Fenced):
                self.store.backend.write(self.run_id, self.row.token, Change(now, self.row.owned, released=True))
        except StoreError as error:
            if broken is None:  # else it is what ends the run, and is raised
                text = "store %r could not note that run %r was interrupted"
                log_broken(text, self.store.name, self.run_id, error=error, run=self.run_id)
        finally:
            self._close()

    def _close(self) -> None:
        run, self._run, was_over = self._run, None, self._over
        self._over = True
        self.store.writer.remove(self)
        self.store.left(self)
        if run is not None and run.config.observers and not was_over:
            emit_end(run, run.clock.now(), ok=self._released and self.broken is None)


def _begun(run: Any, i: int) -> float | None:
    """Return when the last attempt of a node began, or its waiting; None if nobody has taken that time."""
    if isinstance(run, MapCalls) or run.started is None:
        return None
    tries = None if run._extras is None else run._extras.tries.get(i)
    began: float = tries[-1][0] if tries else run.started[i]
    return began if began == began else None  # (NaN: it was never called)


def _holds(data: bytes, texts: Collection[str]) -> bool:
    """Tell whether encoded data holds one of these texts: as UTF-8, or as arrays and tables keep it."""
    forms = ("utf-8", "utf-16-le", "utf-32-le")
    return any(text.encode(form, "surrogatepass") in data for text in texts for form in forms)


def _differs(one: Any, other: Any) -> bool:
    try:
        return bool(one != other)
    except Exception:  # arrays, say
        return True


__all__ = ["RunJournal"]
