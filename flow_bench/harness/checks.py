"""The check of work done: a contender that skips, repeats or mistreats a node is refused, not ranked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import anyio

from flow_bench.harness.contender import Contender, Floor, Refused
from flow_bench.harness.work import Work

PATIENCE = 60
"""Seconds after which an async contender that has not ended its checked run is refused."""


class Recorder:
    """Nodes that note who was called with what: node ``i`` returns ``i``, so its dependents must get that."""

    def __init__(self, work: Work) -> None:
        self.calls: list[int] = []
        self.wrong: list[str] = []
        self.dependencies = work.dependencies
        count = len(work.dependencies)
        self.work = Work(
            work.dependencies, [self._sync(i) for i in range(count)], [self._async(i) for i in range(count)],
            outputs=range(count),
        )  # fmt: skip

    def _note(self, i: int, values: tuple[object, ...]) -> int:
        self.calls.append(i)
        if values != self.dependencies[i]:
            self.wrong.append(f"node {i} was given {_short(values)}, not {_short(self.dependencies[i])}")
        return i

    def _sync(self, i: int) -> Any:
        return lambda *values: self._note(i, values)

    def _async(self, i: int) -> Any:
        async def node(*values: object) -> int:
            return self._note(i, values)

        return node

    def unfinished(self) -> list[str]:
        return [f"{len(self.calls)} calls were made to {len(self.dependencies)} nodes"]

    def faults(self, contender: Contender, raw: Any) -> list[str]:
        """Say what was not as it should be: calls, order, arguments, outputs."""
        count = len(self.dependencies)
        found = []
        times = Counter(self.calls)
        if never := [i for i in range(count) if not times[i]]:
            found.append(f"nodes never called: {_short(never)}")
        if often := [i for i, n in times.items() if n > 1]:
            found.append(f"nodes called more than once: {_short(often)}")
        place = {i: at for at, i in enumerate(self.calls)}
        for i, at in place.items():
            if late := [d for d in self.dependencies[i] if place.get(d, count) > at]:
                found.append(f"node {i} ran before {_short(late)}")
        if not isinstance(contender, Floor):
            found += self.wrong
        if fault := contender.check(raw, self.work):
            found.append(f"the outputs are not those that the nodes returned: {fault}")
        return found


def check_sync(contender: Contender, work: Work) -> None:
    """Run ``contender`` once, untimed, on nodes that record. :raises Refused: unless it does all of the work."""
    recorder = Recorder(work)
    raw = contender.make(recorder.work)()
    _refuse(contender, recorder.faults(contender, raw))


async def check_async(contender: Contender, work: Work) -> None:
    """As :func:`check_sync`, on the running event loop."""
    recorder = Recorder(work)
    try:
        with anyio.fail_after(PATIENCE):
            raw = await contender.make(recorder.work)()
    except TimeoutError:
        raise Refused(contender.label, [f"it did not end within {PATIENCE} s", *recorder.unfinished()]) from None
    _refuse(contender, recorder.faults(contender, raw))


def _refuse(contender: Contender, faults: Sequence[str]) -> None:
    if faults:
        raise Refused(contender.label, faults)


def _short(values: Sequence[object]) -> str:
    text = ", ".join(map(str, values[:5]))
    return text + (f", ... ({len(values)} in all)" if len(values) > 5 else "") if values else "nothing"
