"""What a stored run knows, as the run that goes on with it takes it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from flow.data.outcome import Outcome
from flow.errors import DagChanged, StoreError, note, shown
from flow.plan.plan import Plan
from flow.plan.resolver import STATUS_OF
from flow.run.items.calls import MapCalls
from flow.run.journal import Known
from flow.store.codec.hints import Hints
from flow.store.history import History, bare
from flow.store.records import Done, Failed, Key, LeftOut, Reset
from flow.store.structure import Shape, Wiring, faults_of, shape_of, with_code_of
from flow.tracebacks import warn_user
from flow.types import MISSING, Status

if TYPE_CHECKING:
    from flow.run.state import PlanRun
    from flow.store.writing import Writing

_CODES = {str(status): code for code, status in enumerate(STATUS_OF)}


class Resumed:
    """What is known of a run.

    :ivar ended: it has ended: nothing is driven. :ivar known: of its outermost nodes. :ivar answers: of all others, by
        path and then by node or item; each is taken out once it has been asked for.
    """

    __slots__ = ("_hints", "_owned", "_plan", "_plans", "answers", "ended", "history", "known")

    def __init__(self, plan: Plan, history: History, ended: bool, owned: float) -> None:
        self._plan, self.history, self.ended, self._owned = plan, history, ended, owned
        self._hints = {id(plan): Hints(plan)}
        self._plans = [plan]  # which their ids are those of
        self.known = Known({}, {}, (), {})
        self.answers: dict[Any, Any] = {}

    def read(self, journal: Writing) -> None:
        """Decode what the run's outermost nodes have given. O(outcomes).

        :raises StoreError: for what cannot be read.
        """
        plan, mine = self._plan, self.history.outcomes.get((), {})
        nodes, index = plan._nodes, plan._nodes.index
        gated: Collection[int] = () if nodes.routes is None else nodes.routes.gated
        ended = {
            index[name]: record
            for (name, item), record in mine.items()
            if item is None and name in index and (self.ended or index[name] not in gated)
        }
        cleaned = {i: mine[plan.names[i], None] for i in gated if (plan.names[i], None) in mine}
        if self.ended or any(i not in ended and i not in gated for i in range(len(plan))):
            cleaned = {}  # the run goes on, and what has cleaned up after its last end does so after the next
        again = set() if self.ended else _runs_again(plan, ended | cleaned, self._torn_down(mine))
        outputs, outcomes = dict[str, Any](), dict[str, Outcome]()
        for i, record in ended.items():
            if i in again:
                continue
            if type(record) is Done and record.error is None:
                outputs[plan.names[i]] = self._output(journal, i, record)
            else:
                outcomes[plan.names[i]] = self._outcome(journal, i, record)
        tries = self.history.tries.get((), {})
        attempts = {name: one.attempt + 1 for (name, item), one in tries.items() if item is None}
        for i, record in ended.items():
            if i not in again and not isinstance(record, LeftOut):
                if record.attempt > 1:
                    attempts[plan.names[i]] = record.attempt
                elif attempts:
                    attempts.pop(plan.names[i], None)
        self.known = Known(outputs, outcomes, [plan.names[i] for i in again], attempts)
        self.answers = {path: dict(known) for path, known in self.history.outcomes.items() if path}
        taken = {plan.names[i] for i in ended}
        self.answers[()] = {
            place: record for place, record in mine.items() if place[1] is not None or place[0] not in taken
        }
        for i in gated if not self.ended else ():
            if again or i not in cleaned:
                self.answers[()].pop((plan.names[i], None), None)

    def _torn_down(self, mine: Mapping[Any, Any]) -> set[int]:
        """Return the setups whose teardown has begun: what they have given is of no use any more."""
        routes, names = self._plan._nodes.routes, self._plan.names
        setups = {} if routes is None else routes.setups
        tries = self.history.tries.get((), {})
        return {setup for i, setup in setups.items() if (names[i], None) in mine or (names[i], None) in tries}

    def _outcome(self, journal: Writing, i: int, record: Any) -> Outcome:
        if isinstance(record, LeftOut):
            return Outcome(record.status)
        if isinstance(record, Failed):
            error = journal.decoded(record.error)
            traceback = getattr(error, "traceback", "")  # (a group has none)
            if self.ended and traceback:
                note(error, f"as it was raised then:\n{traceback.rstrip()}")
            return Outcome(Status.FAILED, None, error)
        return Outcome(Status.COMPLETED, self._output(journal, i, record), journal.decoded(record.error))

    def _output(self, journal: Writing, i: int, record: Done) -> Any:
        if record.output is None:
            return MISSING
        try:
            pickle = self._plan._nodes.storing.get(i) == "pickle"
            return journal.decoded(record.output, self._hints[id(self._plan)].of(i), pickle)
        except StoreError as error:
            error.add_note(f"the stored output of node {self._plan.names[i]!r} of run {journal.run_id!r}")
            raise

    def hint(self, run: Any, i: int) -> Any:
        """Return what the output of a node or an item within other nodes is decoded by."""
        is_map = isinstance(run, MapCalls)
        plan = run.outer.plan if is_map else run.plan
        hints = self._hints.get(id(plan))
        if hints is None:
            hints = self._hints[id(plan)] = Hints(plan)
            self._plans.append(plan)
        return hints.item_of(plan._nodes.index[run.name]) if is_map else hints.of(i)

    def restore(self, run: PlanRun) -> None:
        """Let a run that has ended look as it did: what has no outcome was cancelled, or waits."""
        resolver, last = run.resolver, self.history.ended
        assert resolver is not None
        if last is not None:
            run.timed_out, run.cut_off = last.timed_out, last.cut_off
            for name, status in last.statuses.items():
                i = run.nodes.index.get(name)
                if i is not None:
                    resolver.state[i] = _CODES[status]
        gated = () if run.nodes.routes is None else run.nodes.routes.gated
        for i in gated:
            record = self.history.outcomes.get((), {}).get((run.nodes.names[i], None))
            if record is not None:
                resolver.state[i] = _CODES[_status_of(record)]
        run.started_at = run.clock.now() - self._owned


def _status_of(record: Done | Failed | LeftOut) -> str:
    if isinstance(record, LeftOut):
        return record.status
    return str(Status.COMPLETED if isinstance(record, Done) else Status.FAILED)


def _runs_again(plan: Plan, ended: Mapping[int, Any], spoiled: Collection[int]) -> set[int]:
    """Return completed nodes whose outputs are not stored, or ``spoiled``, and which something unfinished needs."""
    dependencies = plan._nodes.dependencies
    todo, again = [i for i in range(len(plan)) if i not in ended], set[int]()
    while todo:
        for d in dependencies[todo.pop()]:
            record = ended.get(d)
            if isinstance(record, Done) and (record.output is None or d in spoiled) and d not in again:
                again.add(d)
                todo.append(d)
    return again


def compared(
    plan: Plan, history: History, run: str, rerun: bool
) -> tuple[Reset | None, Shape]:
    """Compare a dag with that of a stored run, node by node.

    :param rerun: completed nodes whose code has changed, and all that depends on them, are to run again.
    :return: what is to run again, and the structure of the run from now on.
    :raises DagChanged: listing the completed nodes that are gone, or wired otherwise.
    """
    now, faults, changed = shape_of(plan).structure.nodes, list[str](), list[Key]()
    for path, known in history.outcomes.items():
        at = history.plan_path(path)
        was, there = history.nodes.get(at, {}), now.get(at)
        if there is None:
            continue  # the node that ran it is not what it was, and is looked at itself
        completed = list(dict.fromkeys(name for (name, _), record in known.items() if isinstance(record, Done)))
        faults += faults_of(was, there, completed, at)
        changed += [(path, name, None) for name in completed if _has_changed(was.get(name), there.get(name))]
    if faults:
        raise DagChanged(plan.name, faults)
    if not changed:
        return None, shape_of(plan)
    if rerun:
        return Reset(list(_all_after(plan, changed)), True), shape_of(plan)
    names = ", ".join(dict.fromkeys("/".join((*path, name)) for path, name, _ in changed[:5]))
    more = f" and {len(changed) - 5} more" if len(changed) > 5 else ""
    warn_user(
        f"run {run!r} of dag {plan.name!r}: the code of completed nodes has changed ({names}{more}): their stored "
        "outputs are kept; on_change='rerun' runs them again, and all that depends on them",
        RuntimeWarning,
    )
    kept = [(history.plan_path(path), name) for path, name, _ in changed]
    return None, with_code_of(shape_of(plan), history.nodes, kept)


def _has_changed(was: Wiring | None, now: Wiring | None) -> bool:
    return was is not None and now is not None and was.code != now.code


def _all_after(plan: Plan, changed: Collection[Key]) -> Iterator[Key]:
    """Yield these nodes and the outermost ones that depend on them. Within a node that runs again all does."""
    outermost = [path[0] if path else name for path, name, _ in changed]
    yield from after(plan, [bare(name) if name not in plan else name for name in outermost])


def after(plan: Plan, names: Collection[str]) -> Iterator[Key]:
    """Yield these nodes of a plan, and all that depends on them."""
    successors, index = plan._nodes.successors, plan._nodes.index
    todo = [index[name] for name in names if name in index]
    seen = set(todo)
    while todo:
        i = todo.pop()
        yield (), plan.names[i], None
        for s in successors[i]:
            if s not in seen:
                seen.add(s)
                todo.append(s)


def unknown_node(plan_names: Collection[str], name: str, run: str) -> StoreError:
    """Make the error for a node that a run does not have."""
    from flow.errors import nearest

    return StoreError(f"run {run!r} has no node {shown(name)}{nearest(name, list(plan_names))}")


__all__ = ["Resumed", "after", "compared", "unknown_node"]
