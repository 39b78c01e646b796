"""A process that owns a run: ``durable_owner.py FOLDER RUN_ID DURABILITY [LEASE]``.

It prints ``held`` once a node of it waits for the file ``go``, and in the end how the run has ended.
"""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path
from typing import Any

import flow
from flow.errors import FlowError

CONFIG = flow.Config(on_error="collect")


def dag_of(folder: Path, held: Any = lambda: None) -> flow.Dag:
    """A dag that is held in its midst. Its calls are in the file ``calls``, each with its process."""
    file = os.open(folder / "calls", os.O_APPEND | os.O_CREAT | os.O_WRONLY)
    dag = flow.Dag("owned")

    def note(name: str) -> str:
        os.write(file, b"%s %d\n" % (name.encode(), os.getpid()))
        return name

    async def holds(first: str) -> str:
        import anyio

        note("holds")
        held()
        while not (folder / "go").exists():
            await anyio.sleep(0.01)
        return "holds"

    dag.add("first", lambda: note("first"))
    dag.add("holds", holds)
    dag.add("last", lambda holds: note("last"))
    dag.teardown("clean", lambda: note("clean"), of="first")
    return dag


def asking_dag(folder: Path, held: Any = lambda: None) -> flow.Dag:
    """A dag that asks somebody."""
    dag = flow.Dag("asking")

    def first() -> None:
        held()

    dag.add("first", first)
    dag.signal("answer", type=int, after="first")
    dag.add("last", lambda answer: answer * 2)
    return dag


def main() -> None:
    folder, run_id, durability = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    if len(sys.argv) > 4:
        for name in ("listening", "mending", "store", "writing"):
            module: Any = importlib.import_module(f"flow.store.{name}")
            if hasattr(module, "LEASE"):
                module.LEASE = float(sys.argv[4])
    made = asking_dag if run_id.startswith("asking") else dag_of
    dag = made(folder, lambda: print("held", flush=True))
    store: Any = flow.store.open(folder / "runs.db", durability=durability)  # type: ignore[arg-type]
    try:
        result = flow.run(dag, run_id=run_id, store=store, config=CONFIG)
    except FlowError as error:
        print(type(error).__name__, flush=True)
    else:
        print(store.run(run_id).status, result.get("last"), flush=True)


if __name__ == "__main__":
    main()
