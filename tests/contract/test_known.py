"""``known=``: outcomes that are there before a run. Such nodes are not called, and what only they need does not run."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from conftest import modes

import flow
from flow import Config, Outcome, Retry, Status, events


class Steps:
    """A Dag whose nodes say that they were called."""

    def __init__(self) -> None:
        self.dag = flow.Dag("steps")
        self.calls: list[str] = []

    def add(self, name: str, *needs: str, **options: Any) -> None:
        def node(*values: Any) -> str:
            self.calls.append(name)
            return name + "".join(map(str, values))

        self.dag.add(name, node, needs=list(needs), **options)

    def run(self, known: Any, **options: Any) -> flow.Result:
        self.calls.clear()
        return flow.run(self.dag, known=known, **options)


@pytest.fixture
def steps() -> Steps:
    """a -> b -> c, and a -> d."""
    made = Steps()
    for name, *needs in (("a",), ("b", "a"), ("c", "b"), ("d", "a")):
        made.add(name, *needs)
    return made


@pytest.mark.parametrize("mode", modes())
def test_a_known_node_is_not_called(steps: Steps, mode: dict[str, Any]) -> None:
    result = steps.run({"b": "B"}, config=Config(**mode))
    assert sorted(steps.calls) == ["a", "c", "d"]
    assert result["c"] == "cB" and result.ok
    assert result.known == ("b",)
    assert dict(result.attempts) == {"a": 1, "c": 1, "d": 1}


def test_what_only_known_nodes_need_is_no_part_of_the_run(steps: Steps) -> None:
    result = steps.run({"b": "B", "d": "D"})
    assert steps.calls == ["c"]
    assert dict(result) == {"b": "B", "c": "cB", "d": "D"} and result.plan.names == ["b", "c", "d"]
    result = steps.run({"b": "B"}, targets="c")
    assert steps.calls == ["c"] and dict(result) == {"b": "B", "c": "cB"}


def test_only_for_order(steps: Steps) -> None:
    steps.dag.add("late", lambda: "late", after="c")
    assert dict(steps.run({"late": 1}, targets="late")) == {"late": 1} and steps.calls == []
    assert steps.run({"c": 1}, targets="late")["late"] == "late" and steps.calls == []


def test_inputs_that_nobody_needs_any_more_need_not_be_given() -> None:
    dag = flow.Dag("inputs")
    dag.add("read", lambda path: path)
    dag.add("size", lambda read: len(read))
    with pytest.raises(flow.InputError, match="path"):
        flow.run(dag)
    assert flow.run(dag, known={"read": "abc"})["size"] == 3


def test_by_name_reference_and_function() -> None:
    dag = flow.Dag("references")

    @dag.node
    def one() -> int:
        raise AssertionError

    two = dag.add("two", lambda one: one + 1)
    dag.add("three", lambda two: two + 1)
    assert flow.run(dag, known={one: 1})["three"] == 3
    assert flow.run(dag, known={two: 5})["three"] == 6
    assert flow.run(dag, known={"two": None}, targets="two")["two"] is None


def test_a_result_makes_a_rerun(steps: Steps) -> None:
    broken = [True]

    def fragile(b: str) -> str:
        if broken:
            raise OSError("the disk is full")
        return "mended"

    steps.dag.add("fragile", fragile)
    steps.dag.add("end", lambda fragile, d: fragile + d)
    with pytest.raises(flow.RunError) as caught:
        steps.run(None, config=Config(mode="tasks", limit=1))
    broken.clear()
    before = set(caught.value.result)
    assert "b" in before and "fragile" not in before
    result = steps.run(caught.value.result)
    assert before.isdisjoint(steps.calls)
    assert result["end"] == "mendedda" and set(result.known) == before


def test_a_result_of_everything_calls_nothing(steps: Steps) -> None:
    first = steps.run(None)
    again = steps.run(first)
    assert steps.calls == [] and dict(again) == dict(first)


def test_generators_of_an_earlier_result_are_never_reused() -> None:
    dag = flow.Dag("generators")
    made: list[str] = []

    def numbers() -> Iterator[int]:
        made.append("numbers")
        yield from (1, 2)

    dag.add("numbers", numbers)
    dag.add("total", lambda numbers: sum(numbers))
    dag.add("end", lambda total: total)
    first = flow.run(dag)
    assert flow.run(dag, known={"total": first["total"]}, targets="end")["end"] == 3 and made == ["numbers"]
    again = flow.run(dag, known=first)
    assert "numbers" not in again.known and made == ["numbers"]  # made anew, and nobody goes over it
    failed = flow.run(dag, known={"numbers": iter([5])})  # the caller's own is the caller's affair
    assert failed["end"] == 5


@pytest.mark.parametrize("make", [lambda: map(str, [1, 2]), lambda: iter([1, 2]), lambda: zip([1], [2], strict=True)])
def test_an_iterator_of_an_earlier_result_is_never_reused(make: Callable[[], Any]) -> None:
    dag = flow.Dag("iterators")
    dag.add("items", make)
    dag.add("count", lambda items: len(list(items)))
    first = flow.run(dag)
    dag.add("again", lambda items: len(list(items)), after="count")
    known = {"count": first["count"]}
    assert "items" not in flow.run(dag, known=first, targets="items").known
    assert flow.run(dag, known=known, targets="again")["again"] == first["count"]


def test_a_known_generator_is_the_callers_own() -> None:
    """A node that is tried again must not be refused or closed for what the caller has handed in."""
    closed: list[str] = []

    def numbers() -> Iterator[int]:
        try:
            yield from (1, 2, 3)
        finally:
            closed.append("closed")

    dag = flow.Dag("own")
    dag.add("numbers", numbers)
    dag.map("firsts", lambda x: x, over="numbers", take=1)
    mine = numbers()
    assert flow.run(dag, known={"numbers": mine})["firsts"] == [1]
    assert closed == [] and next(mine) == 2


def test_outputs_that_were_freed_run_again(steps: Steps) -> None:
    first = steps.run(None, config=Config(keep=["c"]))
    result = steps.run(first)
    assert steps.calls == ["a", "d"] and set(result.known) == {"c"}


@pytest.mark.parametrize("mode", modes("auto", "tasks", "freeing"))
class TestOutcomes:
    def test_a_known_failure_is_one(self, steps: Steps, mode: dict[str, Any]) -> None:
        error = ValueError("before")
        with pytest.raises(flow.RunError) as caught:
            steps.run({"b": Outcome("failed", error=error)}, config=Config(**mode))
        assert caught.value.exceptions == (error,) and steps.calls == []
        result = steps.run({"b": Outcome("failed", error=error)}, config=Config(on_error="collect", **mode))
        assert {name: str(s) for name, s in result.status.items()} == {
            "a": "completed", "b": "failed", "c": "skipped", "d": "completed",
        }  # fmt: skip
        assert result.errors == {"b": error} and steps.calls == ["a", "d"]

    def test_a_known_skip(self, steps: Steps, mode: dict[str, Any]) -> None:
        result = steps.run({"b": Outcome("skipped")}, config=Config(on_error="collect", **mode))
        assert (result.status["b"], result.status["c"], result.ok) == ("skipped", "skipped", False)
        with pytest.raises(flow.RunError, match="known as skipped, or skipped for that: 'b', 'c'"):
            result.raise_for_errors()

    def test_a_known_failure_that_is_tolerated(self, mode: dict[str, Any]) -> None:
        dag = flow.Dag("tolerant")
        dag.add("price", lambda: 1, continue_on_error=True)
        dag.add("needs", lambda price: price)
        dag.add("can", lambda price=7: price)
        dag.add("late", lambda: "late", after="price")
        result = flow.run(dag, known={"price": Outcome("failed", error=OSError())}, config=Config(**mode))
        assert dict(result) == {"can": 7, "late": "late"}
        assert result.status["needs"] == "skipped"

    def test_a_fallback_that_was_taken(self, steps: Steps, mode: dict[str, Any]) -> None:
        error = ValueError("before")
        result = steps.run({"b": Outcome("completed", "B", error)}, config=Config(**mode))
        assert result["c"] == "cB" and result.fallbacks == {"b": error} and result.ok


@pytest.mark.parametrize("mode", modes("auto", "tasks"))
class TestMaps:
    def maps(self, fn: Callable[[int], int] = abs) -> flow.Dag:
        dag = flow.Dag("maps")
        dag.map("first", fn, over="xs")
        dag.map("second", lambda x: x + 1, over="first", pipelined=True)
        dag.map("third", lambda x: x * 10, over="second", pipelined=True)
        return dag

    def test_the_first_of_a_pipeline(self, mode: dict[str, Any]) -> None:
        def never(x: int) -> int:
            raise AssertionError

        result = flow.run(self.maps(never), known={"first": [1, 2]}, config=Config(**mode))
        assert result["third"] == [20, 30]

    def test_one_in_the_middle(self, mode: dict[str, Any]) -> None:
        result = flow.run(self.maps(), {"xs": [-1]}, known={"second": [4]}, config=Config(**mode))
        assert dict(result) == {"second": [4], "third": [40]}

    def test_the_last(self, mode: dict[str, Any]) -> None:
        dag = self.maps()
        dag.add("seen", lambda second: second)
        result = flow.run(dag, {"xs": [-1, 2]}, known={"third": "done"}, config=Config(**mode))
        assert dict(result) == {"first": [1, 2], "second": [2, 3], "third": "done", "seen": [2, 3]}


class TestRefused:
    def test_names_that_are_no_nodes_all_at_once(self, steps: Steps) -> None:
        with pytest.raises(flow.UsageError) as caught:
            steps.run({"aa": 1, "b": 2, "x": 3})
        assert "'aa' (did you mean 'a'?)" in str(caught.value) and "'x'" in str(caught.value)
        assert steps.calls == []

    @pytest.mark.parametrize("known", [5, ["a"], "a"])
    def test_what_is_no_mapping(self, steps: Steps, known: Any) -> None:
        with pytest.raises(flow.UsageError, match="known is a mapping"):
            steps.run(known)

    def test_nodes_that_a_result_has_and_this_dag_has_not(self, steps: Steps) -> None:
        other = flow.Dag("other")
        other.add("a", lambda: "A")
        other.add("gone", lambda: 1)
        result = steps.run(flow.run(other))
        assert result.known == ("a",) and result["b"] == "bA"

    @pytest.mark.parametrize(
        ("make", "message"),
        [
            (lambda: Outcome("running"), "'completed', 'failed', 'skipped' or 'bypassed', not 'running'"),
            (lambda: Outcome("failed"), "needs its exception"),
            (lambda: Outcome("failed", error=KeyboardInterrupt()), "needs its exception"),
            (lambda: Outcome("completed", 1, "text"), "is an exception, not 'text'"),
            (lambda: Outcome(3), "not 3"),
        ],
    )
    def test_outcomes_that_make_no_sense(self, make: Callable[[], Any], message: str) -> None:
        with pytest.raises(flow.UsageError, match=message):
            make()


def test_observers_are_told_once_of_each(steps: Steps) -> None:
    seen: list[Any] = []
    steps.run({"b": "B"}, config=Config(observers=(seen.append,)))
    known = [event for event in seen if isinstance(event, events.NodeKnown)]
    assert [(event.node, event.status) for event in known] == [("b", Status.COMPLETED)]
    assert sorted(e.node for e in seen if isinstance(e, events.NodeFinished)) == ["a", "c", "d"]


def test_policies_of_a_known_node_do_not_matter() -> None:
    dag = flow.Dag("policies")
    dag.add("a", lambda: 1, retry=Retry(3), timeout=1.0, thread=True, fallback=0)
    dag.add("b", lambda a: a + 1)
    result = flow.run(dag, known={"a": 5})
    assert result["b"] == 6


def test_plain_data_says_what_was_known(steps: Steps) -> None:
    nodes = steps.run({"b": "B"}).to_dict()["nodes"]
    assert nodes["b"] == {"status": "completed", "known": True, "output": "B"} and "known" not in nodes["a"]


def test_the_plan_itself_stays_as_it_is(steps: Steps) -> None:
    plan = steps.dag.compile()
    for _ in range(2):
        flow.run(plan, known={"b": 1})
        assert dict(flow.run(plan)) == {"a": "a", "b": "ba", "c": "cba", "d": "da"}
    for i in range(100):  # more sets than are kept
        assert flow.run(plan, known={"b": i}, targets=["c"] if i % 2 else ["d", "c"])["c"] == f"c{i}"


def test_trackers_and_progress_know_them(steps: Steps) -> None:
    tracker, progress = flow.plan.StatusTracker(steps.dag.compile()), flow.observe.Progress()
    known = {"b": Outcome("failed", error=ValueError()), "d": "D"}
    config = Config(on_error="collect", observers=(flow.observe.tracking(tracker), progress))
    result = steps.run(known, targets=["c", "d"], config=config)
    assert {name: tracker[name] for name in result.plan} == dict(result.status)
    seen = progress.statistics()
    assert (seen.completed, seen.failed, seen.skipped) == (1, 1, 1)


def test_no_target_at_all_is_refused(steps: Steps) -> None:
    with pytest.raises(flow.UsageError, match="no target is given"):
        steps.run({"b": "B"}, targets=[])


def test_a_known_output_is_freed_as_any_other() -> None:
    class Output:
        pass

    dag = flow.Dag("freed")
    dag.add("a", Output)
    dag.add("b", lambda a: "b")
    dag.add("c", lambda b: gone() is None)
    known = Output()
    gone = weakref.ref(known)
    values = {"a": known}
    del known
    result = flow.run(dag, known=values, config=Config(keep="targets"))
    assert result["c"] is False  # the caller's mapping holds it
    values.clear()
    assert gone() is None


def test_what_fallbacks_stood_in_for_is_known_too() -> None:
    dag = flow.Dag("fallbacks")
    dag.add("a", lambda: 1 / 0, fallback=7)
    first = flow.run(dag)
    again = flow.run(dag, known=first)
    assert again["a"] == 7 and again.fallbacks == first.fallbacks


def test_what_is_kept_is_what_nothing_depends_on_in_the_whole(steps: Steps) -> None:
    result = steps.run({"a": "A", "b": "B"}, config=Config(keep="targets"))
    assert dict(result) == {"c": "cB", "d": "dA"}
