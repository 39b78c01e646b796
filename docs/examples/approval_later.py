"""An invoice waits for days for a person, and no process waits with it: each step may be one of its own."""

import tempfile
from pathlib import Path

import msgspec

import flow

drafted: list[int] = []


class Approval(msgspec.Struct):
    by: str
    yes: bool


dag = flow.Dag("invoice")


@dag.node
def draft(total: int) -> str:
    drafted.append(total)
    return f"invoice over {total}"


dag.signal("approve", type=Approval, after="draft")


@dag.node
def outcome(draft: str, approve: Approval) -> str:
    return f"{draft}: {approve.by} says {'yes' if approve.yes else 'no'}"


def submit(path: Path, run_id: str, total: int) -> tuple[str, ...]:
    """What a web form calls; it returns at once."""
    with flow.store.open(path) as store:
        return flow.run(dag, {"total": total}, run_id=run_id, store=store, on_wait="return").waiting


def answer(path: Path, run_id: str, approval: Approval) -> bool:
    """What a link in a mail calls, or a person: flow runs send ID approve '{"by": "Ann", "yes": true}' --store FILE."""
    with flow.store.open(path) as store:
        return store.send(run_id, "approve", approval)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "runs.db")
        print("monday: waiting for", *submit(path, "invoice-1", 500), *submit(path, "invoice-2", 90))
        for name, yes in [("Ann", True), ("Bob", False)]:
            print(f"tuesday: {name} is heard:", answer(path, "invoice-1", Approval(name, yes)))
        with flow.store.open(path) as store:  # what a timer of the machine calls every hour
            for run_id, result in flow.recover(store, [dag]).items():
                print(f"wednesday: {run_id}:", result["outcome"] if isinstance(result, flow.Result) else result)
            print("still waiting:", *[row.id for row in store.runs(["waiting"])], f"(drafted {drafted})")


if __name__ == "__main__":
    main()
