"""What no observer wants to be told of is not made; what one wants, all are told."""

from __future__ import annotations

from typing import Any

import pytest

import flow
from flow.metrics import Counts
from flow.run.events import NodeFinished, NodeStarted


class Wanting:
    """An observer that wants some types of events, and notes all that it gets."""

    def __init__(self, *wants: type) -> None:
        self.wants = frozenset(wants)
        self.got: list[type] = []

    def __call__(self, event: Any) -> None:
        self.got.append(type(event))


def one(kind: str) -> flow.Dag:
    dag = flow.Dag("one")
    if kind == "sync":
        dag.add("node", lambda: 1)
    else:

        async def node() -> int:
            return 1

        dag.add("node", node)
    return dag


@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.parametrize("wanted", [(NodeStarted,), (NodeFinished,), (NodeStarted, NodeFinished), ()])
def test_only_what_somebody_wants_is_made(kind: str, wanted: tuple[type, ...]) -> None:
    seen = Wanting(*wanted)
    result = flow.run(one(kind), config=flow.Config(observers=(seen,)))
    assert {type_ for type_ in seen.got if type_ in (NodeStarted, NodeFinished)} == set(wanted)
    assert set(result.durations) == {"node"}  # times are taken all the same


def test_an_observer_that_wants_all_is_told_all() -> None:
    seen: list[Any] = []
    some = Wanting(NodeFinished)
    flow.run(one("sync"), config=flow.Config(observers=(some, seen.append)))
    assert [type(event) for event in seen] == some.got
    assert NodeStarted in some.got


def test_counting_wants_no_beginnings_of_nodes() -> None:
    counts = Counts()
    seen = Wanting()
    flow.run(one("sync"), config=flow.Config(observers=(seen, counts.observe)))
    assert NodeFinished in seen.got
    assert NodeStarted not in seen.got
