"""Shapes of public reports about other engines, one test each, in every mode and on every loop.

A docstring says which report, the shape of its graph, and what went wrong there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import product
from typing import Any

import anyio
import pytest

import flow
from flow.errors import MissingOutput

MODES: Mapping[str, dict[str, Any]] = {
    "inline": {"mode": "inline"},
    "asyncio": {},
    "bounded": {"limit": 1},
    "workers": {"mode": "workers", "limit": 2},
    "threads": {"executor": "thread"},
    "trio": {"backend": "trio"},
    "uvloop": {"backend": "uvloop"},
    "critical_path": {"order": "critical_path"},
    "collect": {"on_error": "collect"},
}


class Way:
    """One way to run a Dag. Its nodes note when they end; slow ones end after the others, where they can."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self.settings = settings
        self.is_inline = settings.get("mode") == "inline"
        self.ended: list[str] = []

    def fn(self, name: str) -> Callable[[], str]:
        def ends() -> str:
            self.ended.append(name)
            return name

        return ends

    def slow(self, name: str) -> Callable[[], Any]:
        if self.is_inline:
            return self.fn(name)

        async def ends() -> str:
            for _ in range(5):
                await anyio.sleep(0)
            self.ended.append(name)
            return name

        return ends

    def failing(self, name: str) -> Callable[[], str]:
        def fails() -> str:
            self.ended.append(name)
            raise ValueError(name)

        return fails

    def run(self, dag: flow.Dag, inputs: Mapping[str, Any] | None = None) -> flow.Result:
        """Run it, on a loop unless it is inline. A run that is not ok gives its Result, too."""
        if not self.is_inline:
            dag.add("loop", _suspends)
        try:
            return flow.run(dag, inputs, config=flow.Config(**self.settings))
        except flow.RunError as error:
            return error.result


async def _suspends() -> None:
    await anyio.sleep(0)


@pytest.fixture(params=MODES)
def way(request: pytest.FixtureRequest) -> Way:
    return Way(MODES[request.param])


def statuses(result: flow.Result) -> dict[str, str]:
    return {name: str(status) for name, status in result.status.items() if name != "loop"}


# -- a merge that nothing reached -------------------------------------------------------------


@pytest.mark.parametrize("join", ["some", 1])
def test_airflow_55187_a_merge_that_nothing_reached(way: Way, join: Any) -> None:
    """apache/airflow#55187: branch1 -> [branch2, problematic]; branch2 -> [deadend, dummy]; dummy -> problematic.

    branch1 goes on with branch2, and branch2 with deadend. `problematic` (none_failed_min_one_success, or one_done) ran
    all the same, since branch1 itself had succeeded. Here a router's edge to what it did not choose is dead.
    """
    dag = flow.Dag("d")
    dag.route("branch1", lambda: "b2", to={"b2": "branch2", "p": "problematic"})
    dag.route("branch2", lambda: "end", to={"end": "deadend", "dummy": "dummy"})
    dag.add("deadend", way.fn("deadend"))
    dag.add("dummy", way.slow("dummy"))
    dag.add("problematic", way.fn("problematic"), after="dummy", join=join)
    dag.add("behind", way.fn("behind"), after="problematic")
    result = way.run(dag)
    assert statuses(result) == {
        "branch1": "completed", "branch2": "completed", "deadend": "completed",
        "dummy": "bypassed", "problematic": "bypassed", "behind": "bypassed",
    }  # fmt: skip
    assert result.ok and way.ended == ["deadend"]


def test_airflow_55187_a_merge_node(way: Way) -> None:
    """apache/airflow#55187, with `merge` in the place of the join: it is bypassed, and invents no output."""
    dag = flow.Dag("d")
    dag.route("r", lambda: "c", to={"a": "a", "b": "b", "c": "c"})
    for name in "abc":
        dag.add(name, way.fn(name))
    dag.merge("m", of=["a", "b"])
    dag.add("after_m", lambda m: m)
    result = way.run(dag)
    assert statuses(result)["m"] == statuses(result)["after_m"] == "bypassed" and result.ok
    with pytest.raises(MissingOutput, match="it is bypassed"):
        result["m"]


# -- a merge skipped too early ----------------------------------------------------------------


def test_airflow_19222_a_join_of_a_branch_and_of_a_task_that_is_still_running(way: Way) -> None:
    """apache/airflow#19222: branch -> [task_a, task_b]; [task_a, task_c] -> task_d, and task_c is slow.

    The branch chooses task_b. task_d (none_failed_min_one_success) was skipped with task_a, before task_c had ended.
    """
    dag = flow.Dag("d")
    dag.route("branch", lambda: "b", to={"a": "task_a", "b": "task_b"})
    dag.add("task_a", way.fn("task_a"))
    dag.add("task_b", way.fn("task_b"))
    dag.add("task_c", way.slow("task_c"), priority=-1)
    dag.add("task_d", way.fn("task_d"), after=["task_a", "task_c"], join="some")
    result = way.run(dag)
    assert statuses(result)["task_d"] == "completed" and result.ok
    assert [name for name in way.ended if name != "task_b"] == ["task_c", "task_d"]


@pytest.mark.parametrize("choice", ["a", "b"])
def test_airflow_11768_a_join_behind_the_branch_that_was_chosen(way: Way, choice: str) -> None:
    """apache/airflow#11768: branch -> A -> join_task and branch -> B -> join_task; join_task is none_failed_or_skipped.

    join_task was skipped as soon as the branch had left one of them out, before the other one had ended.
    """
    dag = flow.Dag("d")
    dag.route("branch", lambda: choice, to={"a": "a", "b": "b"})
    dag.add("a", way.slow("a"))
    dag.add("b", way.slow("b"))
    dag.add("join_task", way.fn("join_task"), after=["a", "b"], join="some")
    dag.merge("merged", of=["a", "b"])
    result = way.run(dag)
    assert result.ok and way.ended == [choice, "join_task"] and result["merged"] == choice


@pytest.mark.parametrize("choice", ["long", "short"])
def test_airflow_7885_what_stands_behind_two_branches(way: Way, choice: str) -> None:
    """apache/airflow#7885: two branches of different lengths meet in one task, which others follow.

    That task, and all that follow it, were skipped for the branch that was not taken. One choice worked, the other did
    not.
    """
    dag = flow.Dag("d")
    dag.route("branch", lambda: choice, to={"long": "first", "short": "only"})
    dag.add("first", way.slow("first"))
    dag.add("second", way.slow("second"), after="first")
    dag.add("only", way.fn("only"))
    dag.add("joint", way.fn("joint"), after=["second", "only"], join="none_failed")
    dag.add("follows", way.fn("follows"), after="joint")
    dag.add("last", way.fn("last"), after="follows")
    result = way.run(dag)
    taken = ["first", "second"] if choice == "long" else ["only"]
    assert result.ok and way.ended == [*taken, "joint", "follows", "last"]


# -- a merge that is also a direct target -----------------------------------------------------


@pytest.mark.parametrize("choice", ["a", "b"])
@pytest.mark.parametrize("how", ["merge", "join"])
def test_twenty_24071_a_merge_that_is_also_a_direct_target(way: Way, choice: str, how: str) -> None:
    """twentyhq/twenty#24071: if -> (A) update_1 -> M, and if -> (B) M: M is the direct target of one branch.

    With branch A taken, M was skipped as a target of B, though update_1 leads to it; the run was called completed.
    """
    dag = flow.Dag("d")
    dag.route("if", lambda: choice, to={"a": "update_1", "b": "m"})
    dag.add("update_1", way.slow("update_1"))
    if how == "merge":
        dag.merge("m", of=["update_1"])
    else:
        dag.add("m", lambda update_1=None: update_1, join="some")
    dag.add("end", lambda m: (m, "end"))
    result = way.run(dag)
    assert result["end"] == ("update_1" if choice == "a" else None, "end") and result.ok
    assert statuses(result)["update_1"] == ("completed" if choice == "a" else "bypassed")


# -- a skip that travels too far --------------------------------------------------------------


@pytest.mark.parametrize("wanted", [(True, False, False), (False, True, True), (False, False, False)])
@pytest.mark.parametrize("join", ["none_failed", "some"])
def test_airflow_17138_optional_steps_before_a_last_one(way: Way, wanted: tuple[bool, ...], join: str) -> None:
    """apache/airflow#17138: [load_1, load_2, load_3] -> finalize, and each load has a condition (ShortCircuitOperator).

    What a condition left out took all that follows with it, finalize too, whatever its trigger rule said.
    """
    dag = flow.Dag("d")
    for k, runs in enumerate(wanted):
        dag.add(f"load_{k}", way.slow(f"load_{k}"), when=lambda runs=runs: runs)
    dag.add("finalize", way.fn("finalize"), after=["load_0", "load_1", "load_2"], join=join)
    result = way.run(dag)
    runs = join == "none_failed" or any(wanted)
    assert statuses(result)["finalize"] == ("completed" if runs else "bypassed") and result.ok
    assert way.ended.count("finalize") == runs and (not runs or way.ended[-1] == "finalize")


def test_actions_runner_491_a_condition_behind_a_job_that_was_left_out(way: Way) -> None:
    """actions/runner#491: job_c and job_d need job_a and job_b, job_b was left out, and their own conditions are true.

    job_c never ran: its condition was true, and was not even looked at, because job_b had been skipped.
    """
    asked: list[str] = []
    dag = flow.Dag("d")
    dag.add("job_a", lambda: {"truthy": "something", "null": ""})
    dag.add("job_b", way.fn("job_b"), when=lambda job_a: bool(job_a["null"]))

    def truthy(job_a: Any = None) -> bool:
        asked.append("job_c")
        return bool(job_a and job_a["truthy"])

    dag.add("job_c", way.fn("job_c"), after=["job_a", "job_b"], join="none_failed", when=truthy)
    dag.add("job_d", way.fn("job_d"), after=["job_a", "job_b"], join="done", when=lambda job_a=None: job_a is not None)
    dag.add("job_e", way.fn("job_e"), after=["job_a", "job_b"])
    result = way.run(dag)
    assert statuses(result) == {
        "job_a": "completed", "job_b": "bypassed", "job_c": "completed", "job_d": "completed", "job_e": "bypassed",
    }  # fmt: skip
    assert asked == ["job_c"] and result.ok
    assert result.why("job_e") == "node 'job_e' was bypassed: node 'job_b' before it was bypassed"


def test_actions_runner_2205_what_needs_a_job_that_has_run(way: Way) -> None:
    """actions/runner#2205: skipped_job -> needs_job (always()) -> next_job -> last_job.

    needs_job ran and succeeded. next_job needs that one alone, and was skipped for the one before it.
    """
    dag = flow.Dag("d")
    dag.add("skipped_job", way.fn("skipped_job"), when=lambda: False)
    dag.add("also_skipped", way.fn("also_skipped"), after="skipped_job")
    dag.add("needs_job", way.slow("needs_job"), after="also_skipped", join="none_failed")
    dag.add("next_job", way.fn("next_job"), after="needs_job")
    dag.add("last_job", way.fn("last_job"), after="next_job")
    result = way.run(dag)
    assert list(statuses(result).values()) == ["bypassed"] * 2 + ["completed"] * 3 and result.ok
    assert way.ended == ["needs_job", "next_job", "last_job"]


@pytest.mark.parametrize(("first", "second"), list(product([True, False], repeat=2)))
def test_tekton_3345_steps_behind_a_step_with_a_condition(way: Way, first: bool, second: bool) -> None:
    """tektoncd/pipeline#3345: if c1: X; then Y; if c2: A; then B.

    Where a `when` was false, all that comes after was skipped: the sequence had to be written out per combination.
    """
    dag = flow.Dag("d")
    dag.add("x", way.slow("x"), when=lambda: first)
    dag.add("y", way.slow("y"), after="x", join="none_failed")
    dag.add("a", way.slow("a"), after="y", when=lambda: second)
    dag.add("b", way.slow("b"), after="a", join="none_failed")
    result = way.run(dag)
    assert result.ok and way.ended == [*(["x"] if first else []), "y", *(["a"] if second else []), "b"]


# -- one failed, wait for all -----------------------------------------------------------------


@pytest.mark.parametrize("failing", [(), ("quick",), ("slow",), ("quick", "slow")])
def test_airflow_35149_one_failed_but_wait_for_all(way: Way, failing: tuple[str, ...]) -> None:
    """apache/airflow#35149: several tasks read one file; if one failed, the file is moved once all have ended.

    `one_failed` starts at the first failure, while the other tasks still read the file.
    """
    dag = flow.Dag("d")
    dag.add("quick", (way.failing if "quick" in failing else way.fn)("quick"))
    dag.add("slow", way.failing("slow") if "slow" in failing else way.slow("slow"))
    dag.add("move", way.fn("move"), after=["quick", "slow"], join="failed")
    result = way.run(dag)
    assert statuses(result)["move"] == ("completed" if failing else "bypassed") and result.ok
    assert sorted(way.ended[:2]) == ["quick", "slow"] and way.ended[2:] == (["move"] if failing else [])


# -- an output of a node that did not run -----------------------------------------------------


def test_argo_15837_an_output_of_a_skipped_task_as_a_parameter(way: Way) -> None:
    """argoproj/argo-workflows#15837: stage-c takes an output of stage-b, whose `when` was false.

    stage-c was never created, and the workflow stayed running. Here it takes its own default, or is left out at once.
    """
    dag = flow.Dag("d")
    dag.add("stage_a", way.fn("stage_a"))
    dag.add("stage_b", lambda stage_a: stage_a, when=lambda stage_a: stage_a == "other")
    dag.add("stage_c", lambda stage_a, stage_b="none": (stage_a, stage_b), join="none_failed", needs=None)
    dag.add("strict", lambda stage_b: stage_b)
    with pytest.raises(flow.DefinitionError, match="parameter 'stage_a' .* may not come"):
        dag.compile()
    dag.add("stage_c", lambda stage_a="", stage_b="none": (stage_a, stage_b), join="none_failed", replace=True)
    result = way.run(dag)
    assert result["stage_c"] == ("stage_a", "none") and result.ok
    assert statuses(result)["stage_b"] == statuses(result)["strict"] == "bypassed"
    with pytest.raises(MissingOutput, match="it is bypassed"):
        result["stage_b"]


@pytest.mark.parametrize("run_stage_b", [True, False])
def test_argo_15949_an_output_of_a_skipped_step_in_arguments_and_in_a_condition(way: Way, run_stage_b: bool) -> None:
    """argoproj/argo-workflows#15949: the output of a skipped step in `arguments:` and `when:` of later steps.

    The workflow put itself into the queue again for ever. Here a condition has defaults as a function has, and a map
    over what did not come is left out.
    """
    dag = flow.Dag("d")
    dag.add("b", lambda: [1, 2], when=lambda run_stage_b: run_stage_b)
    dag.add("argument", lambda b=(): list(b), join="done")
    dag.add("condition", way.fn("condition"), join="done", after="b", when=lambda b=None: b is None)
    dag.map("items", lambda x: x * 10, over="b")
    dag.add("total", lambda items=(): sum(items), join="none_failed")
    result = way.run(dag, {"run_stage_b": run_stage_b})
    assert result["argument"] == ([1, 2] if run_stage_b else [])
    assert statuses(result)["condition"] == ("bypassed" if run_stage_b else "completed")
    assert statuses(result)["items"] == ("completed" if run_stage_b else "bypassed")
    assert result["total"] == (30 if run_stage_b else 0) and result.ok
