"""Watch a run while it goes on: a StatusTracker that tells every change, and an observer of one's own."""

import flow

dag = flow.Dag("training")


@dag.node(retry=flow.Retry(2, delay=0.01, retry_if=OSError))
def load(ctx: flow.Context) -> list[int]:
    if ctx.attempt == 1:
        raise OSError("the disk is not mounted yet")
    return [1, 2, 3]


@dag.node
def train(load: list[int]) -> float:
    raise ValueError("three rows are too few")


@dag.node
def report(train: float) -> str:
    return f"accuracy {train}"


def main() -> None:
    plan = dag.compile()
    tracker = flow.plan.StatusTracker(plan, timestamps=True)
    tracker.subscribe(lambda change: print(f"{change.node}: {change.old} -> {change.new}"))
    troubles: list[str] = []

    def note_trouble(event: flow.events.Event) -> None:
        if isinstance(event, flow.events.NodeRetried | flow.events.NodeFailed):
            troubles.append(f"{event.node} ({type(event.error).__name__})")

    observers = (flow.observe.tracking(tracker), note_trouble)
    flow.run(plan, config=flow.Config(on_error="collect", observers=observers))
    print(f"{len(troubles)} retries or failures: {', '.join(troubles)}")
    now = tracker.statistics()
    print(f"completed {now.completed}, failed {now.failed}, skipped {now.skipped}, done {now.done}")


if __name__ == "__main__":
    main()
