"""How many locks a hundred completions take: the locks of :mod:`flow_bench.suites.engine.contention`, counted.

Run as a process of its own, because it puts counting locks into :mod:`threading` before flow is imported: flow's code
stays as it is, and every lock that it makes from then on counts. Prints one JSON value.
"""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

from flow_bench.harness.contender import require

MADE: list[Counted] = []
"""Every lock since :func:`install`."""


class Counted:
    """A lock that counts how often it is taken, and how often somebody had to wait for it."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self.lock = make()
        self.maker = str(sys._getframe(1).f_globals.get("__name__"))
        self.reset()
        MADE.append(self)

    def reset(self) -> None:
        self.taken = self.waited = 0

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """Take it, as the real one; the counts are changed by the holder alone, so none is lost."""
        waits = not self.lock.acquire(False)
        if waits and not (blocking and self.lock.acquire(True, timeout)):
            return False
        self.taken += 1
        self.waited += waits
        return True

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *exception: object) -> None:
        self.lock.release()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.lock, name)  # what else the standard library asks of a lock


def install() -> None:
    """Let all code that imports ``Lock`` and ``RLock`` of :mod:`threading` from now on get counting ones."""
    vars(threading).update(Lock=partial(Counted, threading.Lock), RLock=partial(Counted, threading.RLock))


def counted(how: str) -> dict[str, int]:
    """Note a hundred completions in one way and return what flow's locks counted."""
    from flow_bench.suites.engine.contention import Trial

    trial, before = Trial(how), len(MADE)
    trial.prepare()
    locks = [lock for lock in MADE[before:] if lock.maker.startswith("flow.")]
    few = f"only {len(locks)} of flow's locks can be counted, of the tracker's and the store's"
    require(len({lock.maker for lock in locks}) >= 2, how, few)
    for lock in locks:
        lock.reset()
    trial.run()
    found = _sum(locks)  # before the check, which reads the store
    require(Trial.done(trial), how, "not all completions were noted")
    return found


def counted_run() -> dict[str, int]:
    """Run a hundred independent nodes of flow in threads, and count all locks: flow's and the standard library's."""
    import flow
    from flow_bench.suites.engine.contention import COMPLETIONS, NAMES

    gate = threading.Barrier(COMPLETIONS)
    dag = flow.Dag("completions")
    for name in NAMES:
        dag.add(name, gate.wait, thread=True)  # all are there before the first ends
    plan = dag.compile()
    for lock in MADE:
        lock.reset()  # those that were made at imports count as well
    result = flow.run(plan, config=flow.Config(threads=COMPLETIONS))
    locks = MADE.copy()
    passed = sorted(result.outputs.values()) == list(range(COMPLETIONS))
    require(passed, "a run", f"not all of {COMPLETIONS} nodes passed the barrier")
    return _sum(locks) | {"flow": _sum([lock for lock in locks if lock.maker.startswith("flow.")])["taken"]}


def _sum(locks: list[Counted]) -> dict[str, int]:
    return {"taken": sum(lock.taken for lock in locks), "waited": sum(lock.waited for lock in locks)}


if __name__ == "__main__":
    if "flow" in sys.modules:
        sys.exit("flow is imported already: its locks cannot be counted")
    install()
    print(json.dumps({"each": counted("each"), "batched": counted("batched"), "run": counted_run()}))
