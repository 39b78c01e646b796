"""What a durable run asks of its store: the protocols :class:`Durable` and :class:`Journal`.

The engine imports no store. A store is handed to :func:`flow.run` (``store=``) and opens a journal for the run. A run
without one pays nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol, TypeAlias

import msgspec

from flow.run.hooks import HookFailed
from flow.types import Status

if TYPE_CHECKING:
    from flow.config import Config
    from flow.data.outcome import Outcome
    from flow.data.reports import Report
    from flow.plan.plan import Plan

OnConflict: TypeAlias = Literal["attach", "retry", "fail", "restart"]
OnChange: TypeAlias = Literal["fail", "rerun"]
OnWait: TypeAlias = Literal["block", "return"]

WINDOW: Final = 256
"""Outcomes after which the journal is asked to write, however little time has passed."""


class Rested(Exception):
    """Ends a run that only waits for signals (``on_wait="return"``)."""


class CancelAsked(Exception):
    """Ends a run that somebody has cancelled in its store."""


def ends_quietly(error: BaseException) -> bool:
    """Tell whether what ends a run is no error: it rests, or somebody has cancelled it in its store."""
    inner = error.error if isinstance(error, HookFailed) else error
    return isinstance(inner, (Rested, CancelAsked))


class Durability(msgspec.Struct, frozen=True):
    """What a call says of a durable run: the keywords ``store``, ``on_conflict``, ``on_change`` and ``on_wait``."""

    store: Durable
    on_conflict: OnConflict | None = None
    on_change: OnChange = "fail"
    on_wait: OnWait = "block"


class Durable(Protocol):
    """A store, as the engine sees it (:class:`flow.store.Store`)."""

    def begin(
        self,
        plan: Plan,
        inputs: Mapping[str, Any] | None,
        run_id: str | None,
        config: Config,
        how: Durability,
        whole: Plan,
    ) -> Journal:
        """Look for a run, and return its journal, which :meth:`Journal.claim` makes this process's own.

        :param whole: that of which ``plan`` is the part that is run.
        :param inputs: as the caller gave them; None if none were given, which takes the stored ones.
        :raises StoreError: if it does not fit, or cannot be read. Nothing is changed.
        """
        ...


class Known(msgspec.Struct, frozen=True):
    """What a stored run knows of its outermost nodes.

    :ivar outputs: of nodes that have completed, by name; MISSING if it is not stored.
    :ivar outcomes: how other nodes have ended, and those that have completed by a fallback.
    :ivar again: completed nodes that run again, as something that has not ended needs an output that is not stored.
    :ivar attempts: of nodes that have been tried, the number of the next attempt.
    """

    outputs: Mapping[str, Any]
    outcomes: Mapping[str, Outcome]
    again: Collection[str]
    attempts: Mapping[str, int]


class Journal(Protocol):
    """What keeps the outcomes of one run, and of all runs within it. Threads may call it at once.

    :ivar plain: types whose values are encoded by a function alone, which raises for some of them; the function; and
        what goes before.
    :ivar inputs: those of the run. :ivar config: its settings, with what is left of its time limit,
        of which ``limit`` is the whole.
    :ivar known: what it knows of the run's nodes; None for a new run.
    :ivar ended: the run had ended before: nothing is driven.
    :ivar commits: a dependant of a node starts after the commit of its outcome.
    :ivar entries: outcomes that are not written yet. Of a new run whose nodes are called in the plan's order, encoded
        outputs alone.
    :ivar broken: why it keeps nothing any more. What cleans up goes on all the same, and is not kept.
    :ivar cancel_asked: somebody has asked for the run's end.
    :ivar idle: holds something while nothing is being written: who adds an entry calls :meth:`wake` then.
    """

    plain: tuple[Collection[type], Callable[[Any], bytes], bytes]
    run_id: str
    inputs: Mapping[str, Any] | None
    config: Config
    limit: float | None
    known: Known | None
    ended: bool
    commits: bool
    entries: list[Any]
    idle: list[None]
    cancel_asked: bool
    broken: BaseException | None

    def claim(self) -> None:
        """Make the run this process's own; add it, if it is new.

        :raises RunOwned: if another process is driving it. :raises StoreError: if the store cannot do it.
        """
        ...

    def known_names(self) -> Collection[str]:
        """Return the outermost nodes that have completed before."""
        ...

    def start(self, run: Any) -> None:
        """``run``, the outermost one, begins: restore its data; from now on somebody may ask for its end."""
        ...

    def encode(self, value: Any) -> bytes:
        """Return an output as it is stored. :raises NotStorable: if it cannot be."""
        ...

    def stores_plainly(self, run: Any) -> bool:
        """Tell whether all outputs of a plan's nodes are stored, by :meth:`encode` alone."""
        ...

    def kept_plainly(self, run: Any) -> Collection[int]:
        """Return the nodes of which there is nothing to keep but their output and times, if they complete.

        An entry is a tuple then: the run, the node, the attempt, the output, and when the attempt began and ended.
        """
        ...

    def wake(self) -> None:
        """There are entries to write. :raises HookFailed: if that is not possible."""
        ...

    def window(self) -> None:
        """There are so many entries that they are to be written now. :raises HookFailed: if that is not possible."""
        ...

    def begins(self, run: Any, i: int) -> Any:
        """A call of node or item ``i`` is about to be made.

        :return: an :class:`Answer`, which takes the call's place; else what :meth:`completed` is to be given.
        """
        ...

    def has_answer(self, run: Any, i: int) -> bool:
        """Tell whether :meth:`begins` will return an :class:`Answer`: nothing is called then. Changes nothing."""
        ...

    def completed(self, run: Any, i: int, output: Any, error: BaseException | None, begun: Any) -> None:
        """Keep an output, before anybody gets it.

        :param error: what a fallback has stood in for. :raises NotStorable: if it cannot be kept.
        """
        ...

    def ended_as(self, run: Any, i: int, status: Status, output: Any, error: BaseException | None, final: bool) -> None:
        """Keep another outcome, or a failed attempt that another one follows (``final=False``)."""
        ...

    def aborts(self) -> None:
        """An exit within a node ends the run. What is left out or fails for that is not kept: a later call goes on."""
        ...

    def commit(self) -> None:
        """Return once all that was kept is stored. :raises HookFailed: with the StoreError."""
        ...

    async def committed(self) -> None:
        """As :meth:`commit`, on an event loop, which goes on meanwhile."""
        ...

    def begins_run(self, run: Any, inputs: Mapping[str, Any]) -> None:
        """A node starts ``run`` through its Context. What is known at its place is of no use if it was given others."""
        ...

    def wanted(self, run: Any, i: int) -> bool:
        """Tell whether the condition of node ``i`` is known to hold."""
        ...

    def wants(self, run: Any, i: int) -> None:
        """Keep that the condition of node ``i`` holds."""
        ...

    def last_round(self, run: Any) -> bool | None:
        """Return what is known of a round of a loop: whether it was the last. None if nothing is."""
        ...

    def decide_round(self, run: Any, last: bool) -> None:
        """Keep whether a round of a loop was the last."""
        ...

    def waits(self, run: Any, i: int, seconds: float | None) -> float | None:
        """Node ``i`` begins to wait, for so long at most; return how much of that is left, by the wall clock."""
        ...

    def reports(self, report: Report, value: bytes) -> None:
        """Keep what a node has reported, with the next write. Raises nothing: what cannot be kept is not.

        :param value: that of the report, by :meth:`encode`.
        """
        ...

    def reported(self, run: Any) -> Sequence[Report]:
        """Return what was reported before ``run``, the outermost one, goes on. :raises StoreError: if it cannot be."""
        ...

    def rejects(self, address: str) -> None:
        """What was sent to a signal is not of its type: something else may be sent."""
        ...

    def drives(self, driver: Any) -> None:
        """``driver`` drives a part of the run from now on: a run, or the items of a map."""
        ...

    def sent(self, address: str, payload: Any) -> bool:
        """Keep what is sent to a signal. False if something has been before."""
        ...

    def finish(self, run: Any) -> None:
        """The run has ended: keep how, and return once all is stored. :raises StoreError: if it cannot be."""
        ...

    def restore(self, run: Any) -> None:
        """Let a run that has ended before look as it did: what was cancelled, its times, its data."""
        ...

    def explain(self, result: Any) -> None:
        """Note on what the nodes have raised how the run can go on."""
        ...

    def interrupt(self) -> None:
        """Something else than its nodes has ended the run: keep what there is, and let go of it. Raises nothing."""
        ...


class Answer:
    """An outcome that a store knows: it takes the place of a call."""

    __slots__ = ("outcome",)

    def __init__(self, outcome: Outcome) -> None:
        self.outcome = outcome


__all__ = [
    "WINDOW", "Answer", "CancelAsked", "Durability", "Durable", "Journal", "Known", "OnChange", "OnConflict", "OnWait",
    "Rested", "ends_quietly",
]  # fmt: skip
