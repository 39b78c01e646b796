"""Cycles and faulty definitions: refused when compiled, all faults in one error, and nothing runs."""

from __future__ import annotations

import math

import pytest

import flow
from flow import Retry

DEEP = 10_000


class TestCycles:
    """Refused when compiled, with the path of one cycle."""

    @pytest.mark.parametrize("count", [1, 2, 3, DEEP])
    def test_path_is_named(self, count: int) -> None:
        dag = flow.Dag("d")
        calls: list[int] = []
        for i in range(count):
            dag.add(f"n{i}", lambda *values: calls.append(1), needs=[f"n{(i - 1) % count}"])
        dag.add("tail", lambda x: x, needs=["n0"])
        with pytest.raises(flow.errors.CycleError) as caught:
            flow.run(dag)
        path = caught.value.cycle
        assert len(path) == count + 1
        assert path[0] == path[-1]
        edges = {(f"n{(i - 1) % count}", f"n{i}") for i in range(count)}
        assert set(zip(path, path[1:], strict=False)) == edges
        assert path[0] in str(caught.value)
        assert len(str(caught.value)) < 600
        assert not calls

    def test_self_edge_through_a_parameter(self) -> None:
        dag = flow.Dag("d")
        dag.add("users", lambda users: users)
        with pytest.raises(flow.errors.CycleError, match="self edge: users -> users"):
            dag.compile()


class TestBadDefinitions:
    """One error lists all faults; nothing runs."""

    def test_all_at_once(self) -> None:
        ran: list[int] = []
        dag = flow.Dag("bad")
        dag.add("scores", lambda: ran.append(1))
        dag.add("a", lambda: ran.append(1), after="score", timeout=math.nan)
        dag.add("b", lambda: 1, timeout=0, retry=Retry(-1))
        dag.add("b", lambda: 1)
        dag.add(7, lambda: 1)  # type: ignore[arg-type]
        dag.add("", lambda: 1)
        dag.add("c", lambda x: x, needs={"y": "scores"})
        dag.add("d", "not callable")  # type: ignore[arg-type]
        with pytest.raises(flow.DefinitionError) as caught:
            flow.run(dag)
        faults = caught.value.faults
        text = str(caught.value)
        for part in (
            "'score', which is no node of this dag (did you mean 'scores'?)",
            "timeout must be a number of seconds > 0, not nan",
            "timeout must be a number of seconds > 0, not 0",
            "retry attempts must be an integer of at least 1, not -1",
            "'b' is defined twice",
            "node name 7",
            "node name ''",
            "parameter 'y', which its function does not have",
            "is not callable",
        ):
            assert sum(part in fault for fault in faults) == 1, (part, faults)
        assert len(faults) == 9
        assert __file__ in text
        assert not ran

    def test_an_empty_dag(self) -> None:
        with pytest.raises(flow.DefinitionError, match="the dag is empty"):
            flow.run(flow.Dag("d"))

    def test_inputs_missing_and_unknown_in_one_error(self) -> None:
        dag = flow.Dag("d")
        dag.add("scores", lambda users, region: 1)
        dag.add("other", lambda user_ids=(): 1)
        with pytest.raises(flow.InputError) as caught:
            flow.run(dag, {"user_id": 1, "scores": 2})
        assert [f.split(":")[0] for f in caught.value.faults] == [
            "input 'users' is missing",
            "input 'region' is missing",
            "input 'user_id' is no parameter of any node (did you mean 'user_ids' or 'users'?)",
            "input 'scores' is the name of a node, which provides that value itself",
        ]

