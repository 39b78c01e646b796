"""Task results of 10 KB, and a Dag whose nodes leave them."""

from __future__ import annotations

from functools import partial
from typing import Any

import flow

KILOBYTES = 10
ROWS = 270
"""Integers in a result: 28 bytes each, 8 in the list, which makes 10 KB."""


def result(number: int) -> dict[str, Any]:
    """Return what one task leaves: 10 KB of Python objects."""
    return {"task": number, "rows": [1_000 * number + row for row in range(1_000, 1_000 + ROWS)]}


def results(count: int) -> dict[str, Any]:
    """Return ``count`` results by the names of their nodes; the same objects each time."""
    while len(_MADE) < count:
        _MADE.append(result(len(_MADE)))
    return {f"r{i}": _MADE[i] for i in range(count)}


_MADE: list[dict[str, Any]] = []


def dag_of(count: int) -> flow.Dag:
    """Return a Dag of ``count`` nodes that return the results."""
    dag = flow.Dag("results")
    for name, value in results(count).items():
        dag.add(name, partial(_given, value))
    return dag


def _given(value: Any, /) -> Any:
    return value
