"""Contenders timed in turns, so that a slow moment of the machine is every contender's.

The order turns from round to round. Garbage is collected between rounds and the collector is off within them, for all
contenders alike.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from time import perf_counter, process_time
from types import MappingProxyType
from typing import Any

import anyio.lowlevel

from flow_bench.harness.allocations import WANTED, Allocated, allocated, allocated_on_loop
from flow_bench.harness.contender import Contender
from flow_bench.harness.rows import UNITS, Measured, Row, Target, ratios


class Samples(dict[str, list[float]]):
    """Seconds per operation by label, round after round.

    :ivar allocated: what one operation took of memory, by label.
    """

    def __init__(self, labels: Iterable[str] = ()) -> None:
        super().__init__({label: [] for label in labels})
        self.allocated: dict[str, Allocated] = {}

    def keep(
        self, contender: Contender, raw: Sequence[Any], subject: Sequence[Any], turn: int, took: float, cpu: float
    ) -> None:
        """Check what the operations of a sample returned, and keep what they took unless it was for warming up.

        :param cpu: 0 if nobody is to compare CPU time.
        """
        for one in raw:
            contender.refuse_unless_done(one, *subject)
        if turn >= 0:
            count = len(raw) * contender.per
            self[contender.label].append(Measured(took / count, cpu / count))

    def memory(self, label: str, per: int = 1) -> dict[str, float]:
        """A row's figures ``bytes`` and ``blocks``.

        :param per: of how many more things an operation is the cost than the contender says: nodes, say.
        """
        found = self.allocated.get(label)
        return {} if found is None else {"bytes": found.bytes / per, "blocks": found.blocks / per}

    def rows(
        self,
        section: str,
        unit: str,
        base: str | Sequence[float] | None = None,
        *,
        per: int = 1,
        prefix: str = "",
        targets: Mapping[str, Target] = MappingProxyType({}),
        **more: Any,
    ) -> list[Row]:
        """A row of each contender, in a unit, with its ratios to a baseline, round by round.

        :param base: a contender's label, or seconds; the first contender by default.
        :param per: of how many more things an operation is the cost, as in :meth:`memory`.
        :param prefix: of the rows' labels.
        :param targets: by contender's label.
        """
        scale = UNITS[unit.partition("/")[0]]
        beside = self[base or next(iter(self))] if base is None or isinstance(base, str) else base
        return [
            Row(
                section, prefix + label, unit, [s * scale / per for s in seconds], ratios=ratios(seconds, beside),
                target=targets.get(label), figures=self.memory(label, per), **more,
            )
            for label, seconds in self.items()
        ]  # fmt: skip

    def only(self, *labels: str) -> Samples:
        made = Samples()
        made.update((label, self[label]) for label in labels)
        made.allocated = self.allocated
        return made

    def over(self, label: str, base: str) -> list[float]:
        """Round by round, how much longer one contender took than another."""
        return ratios(self[label], self[base])


def schedule(count: int, rounds: int) -> Iterator[tuple[int, int]]:
    """Yield ``(round, contender)``: round -1 is for warming up; the order turns and is reversed every other round.

    The collector is off until the generator is closed, and run between rounds; what was there before the first
    is kept from it, or looking at all that would take most of the time.
    """
    was_on = gc.isenabled()
    with _frozen():
        try:
            for turn in range(-1, rounds):
                gc.enable()
                gc.collect()
                gc.disable()
                order = [(turn + k) % count for k in range(count)]
                for contender in reversed(order) if turn % 2 else order:
                    yield turn, contender
        finally:
            if was_on:
                gc.enable()


@contextmanager
def _frozen() -> Iterator[None]:
    """Keep what there is from the collector, or looking at all that would take most of the time."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def repeat_of(nodes: int) -> int:
    """Runs per sample, so that a sample is long against the clock and the noise."""
    return max(1, 1_000 // nodes)


def interleave(
    contenders: Sequence[Contender],
    rounds: int,
    *subject: Any,
    repeat: int = 1,
    clock: Callable[[], float] = perf_counter,
    memory: bool = True,
) -> Samples:
    """Seconds per operation of each contender, by label, round after round. Making is not timed, nor is checking.

    :param subject: what all contenders are given: a :class:`~flow_bench.harness.work.Work`, say.
    :param repeat: operations in one sample.
    :param clock: :func:`time.thread_time` leaves out what others do meanwhile, and what is only waited for.
    :param memory: say what an operation allocates, which takes one more of each, traced.
    :raises Refused: by the first contender that did not do its work.
    """
    samples = Samples(one.label for one in contenders)
    for turn, which in schedule(len(contenders), rounds):
        contender = contenders[which]
        operations = [contender.make(*subject) for _ in range(repeat)]
        cpu, began = process_time(), clock()
        raw = [operation() for operation in operations]
        took, cpu = clock() - began, process_time() - cpu
        samples.keep(contender, raw, subject, turn, took, cpu)
        del raw, operations  # else the next contender's time has their freeing in it
    with _frozen():
        for one in contenders if memory and WANTED else ():
            samples.allocated[one.label] = allocated(partial(one.make, *subject)).per(one.per)
    return samples


async def interleave_on_loop(
    contenders: Sequence[Contender],
    rounds: int,
    *subject: Any,
    repeat: int = 1,
    clock: Callable[[], float] = perf_counter,
    waits: bool = False,
    memory: bool = True,
) -> Samples:
    """As :func:`interleave`, awaiting every operation; the running loop turns once between two samples.

    :param waits: the time is mostly waiting, so nobody is to compare CPU time.
    :param memory: as there.
    """
    samples = Samples(one.label for one in contenders)
    for turn, which in schedule(len(contenders), rounds):
        contender = contenders[which]
        operations = [contender.make(*subject) for _ in range(repeat)]
        await anyio.lowlevel.checkpoint()
        cpu, began = process_time(), clock()
        raw = [await operation() for operation in operations]
        took, cpu = clock() - began, 0.0 if waits else process_time() - cpu
        samples.keep(contender, raw, subject, turn, took, cpu)
        del raw, operations  # else the next contender's time has their freeing in it
    with _frozen():
        for one in contenders if memory and WANTED else ():
            samples.allocated[one.label] = (await allocated_on_loop(partial(one.make, *subject))).per(one.per)
    return samples
