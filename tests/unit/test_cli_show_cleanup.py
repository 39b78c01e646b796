"""``flow show`` says which nodes clean up."""

from __future__ import annotations

import flow
from flow.cli import show


def test_the_table_and_the_json_name_cleanup_and_teardowns() -> None:
    dag = flow.Dag("d")
    dag.add("open", lambda: 1)
    dag.teardown("shut", lambda: 2, of="open")
    dag.add("close", lambda: 3, cleanup=True)
    plan = dag.compile()
    kinds = {name: show._kind(plan, i) for i, name in enumerate(plan.names)}
    assert kinds == {"open": "sync", "shut": "sync, teardown", "close": "sync, cleanup"}
    found = {name: show._routing(plan, i) for i, name in enumerate(plan.names)}
    assert (found["open"], found["shut"]["teardown_of"], found["close"]["cleanup"]) == ({}, "open", True)
