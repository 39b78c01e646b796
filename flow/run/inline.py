"""The driver for plans of sync functions: no event loop, and no counting while all goes well.

Any topological order will do, and the plan has one. When a node raises, or a run has a time
limit, the Resolver takes over from exactly that state.
"""

from __future__ import annotations

from heapq import heappop, heappush

from flow.plan.resolver import Resolver
from flow.run.state import RunState


def run_inline(run: RunState) -> None:
    """Call every node of a plan without async nodes, in the plan's order, on this thread."""
    if run.config.timeout is not None:
        _count_down(run, run.resolve())
        return
    values, fns, arguments, order = run.values, run.fns, run.plan.arguments, run.order
    i = -1
    try:
        for i in order:
            values[i] = fns[i](*[values[slot] for slot in arguments[i]])
        return
    except Exception as error:
        raised = error
    except BaseException:
        run.resolve(order[: order.index(i) if i >= 0 else 0])
        raise
    # Out of the except block: what fails from here on has nothing to do with this error.
    resolver = run.resolve(order[: order.index(i)])
    resolver.take()  # the best ready node, as the order had it: i
    delayed: list[tuple[float, int]] = []
    over = _failed(run, resolver, i, raised, delayed)
    del raised  # its traceback holds this frame: no cycle
    if not over:
        _count_down(run, resolver, delayed)


def _count_down(run: RunState, resolver: Resolver, delayed: list[tuple[float, int]] | None = None) -> None:
    """Run what the resolver says is ready until nothing is, or a failure ends the run."""
    values, fns, arguments, clock = run.values, run.fns, run.plan.arguments, run.clock
    delayed = [] if delayed is None else delayed  # heap of (due, node): retries that wait
    limit = run.config.timeout
    deadline = None if limit is None else run.started_at + limit
    while True:
        while delayed and delayed[0][0] <= clock.now():
            resolver.put_back(heappop(delayed)[1])
        if deadline is not None and resolver.unfinished and clock.now() >= deadline:
            run.timed_out = True
            return
        i = resolver.take()
        if i < 0:
            if not delayed:
                return
            wake = delayed[0][0] if deadline is None else min(delayed[0][0], deadline)
            clock.sleep(max(0.0, wake - clock.now()))
            continue
        failed: Exception | None = None  # also lets go of the one before
        try:
            values[i] = fns[i](*[values[slot] for slot in arguments[i]])
        except Exception as error:
            failed = error
        if failed is None:
            resolver.done(i)
        elif _failed(run, resolver, i, failed, delayed):
            del failed  # as above
            return


def _failed(
    run: RunState, resolver: Resolver, i: int, error: Exception, delayed: list[tuple[float, int]]
) -> bool:
    """Retry later or fail node ``i``; return True if the run must end."""
    delay = run.retry_delay(i, error)
    if delay is None:
        return run.fail(i, error)
    heappush(delayed, (run.clock.now() + delay, i))
    return False
