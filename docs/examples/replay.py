"""Replay a real workflow's trace on a clock of its own: how long would it take with N workers?"""

from collections.abc import Awaitable, Callable
from pathlib import Path

import flow

TRACE = Path(__file__).parents[2] / "tests" / "data" / "srasearch-chameleon-10a-001.json"


def makespan(limit: int | None) -> float:
    """Seconds the workflow takes if ``limit`` of its tasks may run at once, longest way to the end first."""
    clock = flow.testing.FakeClock()

    def work(task: flow.traces.Task) -> Callable[..., Awaitable[None]]:
        async def wait(*outputs: object) -> None:
            await clock.wait(task.runtime or 0.0)

        return wait

    dag = flow.traces.load(TRACE, work=work)
    flow.run(dag, config=flow.Config(limit=limit, order="critical_path", clock=clock))
    return clock.time


def main() -> None:
    plan = flow.traces.load(TRACE).compile()
    print(f"{len(plan)} nodes, depth {plan.depth}, width {plan.width}")
    print(f"critical path {plan.critical_path().length:.1f} s of {plan.serial_time():.1f} s in all")
    for limit in (1, 4, 8, None):
        print(f"{f'{limit} at a time' if limit else 'all at once'}: {makespan(limit):.1f} s")


if __name__ == "__main__":
    main()
