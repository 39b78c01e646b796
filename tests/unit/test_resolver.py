"""Whole states of the Resolver: what is ready, taken, done after each event."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import flow
from flow.plan.resolver import DONE, Resolver

# 0 -> 1 -> 3 -> 5
#  \-> 2 --/     4 (alone)
GRAPH = [(), (0,), (0,), (1, 2), (), (3,)]


def picture(resolver: Resolver) -> str:
    """One letter per node: . waiting, r ready, t taken, a awaiting, D done, F failed, S skipped, C cancelled."""
    return "".join(".rtaDFSC"[code] for code in resolver.state)


def test_states_of_a_run_that_goes_well() -> None:
    r = Resolver(GRAPH)
    assert (picture(r), r.ready) == ("r...r.", (0, 4))
    assert r.take() == 0
    assert picture(r) == "t...r."
    r.done(0)
    assert (picture(r), r.ready) == ("Drr.r.", (1, 2, 4))
    assert [r.take(), r.take(), r.take(), r.take()] == [1, 2, 4, -1]
    r.done(2)
    assert picture(r) == "DtD.t."
    r.done(1)
    assert (picture(r), r.ready) == ("DDDrt.", (3,))
    assert r.advance(4) == 3
    assert r.advance(3) == 5
    assert r.advance(5) == -1
    assert (picture(r), r.active, r.unfinished) == ("DDDDDD", False, 0)


def test_failure_skips_exactly_the_descendants() -> None:
    r = Resolver(GRAPH)
    r.take()
    r.done(0)
    assert r.take() == 1
    assert r.failed(1) == [3, 5]
    assert (picture(r), r.ready) == ("DFrSrS", (2, 4))
    assert r.take() == 2
    r.done(2)
    assert picture(r) == "DFDSrS"
    assert r.statistics() == flow.plan.resolver.ResolverStatistics(
        waiting=0, ready=1, taken=0, done=2, failed=1, skipped=2, cancelled=0
    )


def test_skip_of_a_pending_node_and_of_a_ready_one() -> None:
    r = Resolver(GRAPH)
    assert r.skip(3) == [3, 5]
    assert r.skip(4) == [4]
    assert (picture(r), r.ready, r.take()) == ("r..SSS", (0,), 0)
    assert r.take() == -1
    with pytest.raises(flow.UsageError, match="node 0 is running; only a pending or ready node"):
        r.skip(0)


def test_put_back_takes_its_place_again() -> None:
    r = Resolver(GRAPH)
    assert r.take() == 0
    r.put_back(0)
    assert (picture(r), r.ready) == ("r...r.", (0, 4))
    assert r.take() == 0
    with pytest.raises(flow.UsageError, match="cannot be put back: it is ready"):
        r.put_back(4)


def test_cancel_rest_leaves_taken_nodes_to_their_driver() -> None:
    r = Resolver(GRAPH)
    r.take()
    r.cancel_rest()
    assert (picture(r), r.ready, r.take()) == ("tCCCCC", (), -1)
    r.cancelled(0)
    assert picture(r) == "CCCCCC"
    r = Resolver(GRAPH)
    r.take()
    r.cancel_rest(taken=True)
    assert picture(r) == "CCCCCC"


def test_nothing_becomes_ready_after_cancel_rest() -> None:
    r = Resolver(GRAPH)
    r.take()
    r.cancel_rest()
    r.done(0)
    assert (picture(r), r.ready) == ("DCCCCC", ())


@pytest.mark.parametrize("event", ["done", "failed", "cancelled", "put_back", "advance"])
def test_only_a_taken_node_can_end(event: str) -> None:
    r = Resolver(GRAPH)
    with pytest.raises(flow.UsageError, match=r"node 3 cannot be .*: it is pending, not running"):
        getattr(r, event)(3)
    r.take()
    r.done(0)
    with pytest.raises(flow.UsageError, match="it is completed"):
        getattr(r, event)(0)


def test_ranks_decide_among_ready_nodes_only() -> None:
    r = Resolver([(), (), (0,), ()], ranks=[3, 2, 0, 1])
    assert r.ready == (3, 1, 0)
    assert [r.take(), r.take(), r.take()] == [3, 1, 0]
    assert r.advance(0) == 2
    r.put_back(2)
    assert r.take() == 2


def test_nodes_added_during_a_run() -> None:
    r = Resolver([(), (0,)])
    assert r.add([1]) == 2
    assert r.add() == 3
    assert picture(r) == "r..r"
    r.take()
    r.done(0)
    assert r.add([0]) == 4
    assert (picture(r), r.ready) == ("Dr.rr", (1, 3, 4))
    r.take()
    assert r.failed(1) == [2]
    assert r.add([4, 2]) == 5
    assert picture(r) == "DFSrrS"
    with pytest.raises(flow.UsageError, match=r"cannot wait for \[9\]: there are nodes 0 to 5"):
        r.add([9])
    assert len(r) == 6


def test_adding_to_a_plans_resolver_leaves_the_plan_alone() -> None:
    plan = flow.topologies.linear(3).compile()
    r = Resolver(plan)
    r.add([2])
    assert plan.successors == {"n0": ("n1",), "n1": ("n2",), "n2": ()}
    assert Resolver(plan).statistics().waiting == 2


def test_added_nodes_rank_last() -> None:
    r = Resolver([(), ()], ranks=[1, 0])
    r.add()
    assert [r.take(), r.take(), r.take()] == [1, 0, 2]


def test_tolerant_failure_lets_ordering_pass_and_data_not() -> None:
    dag = flow.Dag("d")
    dag.add("a", lambda: 1, continue_on_error=True)
    dag.add("uses", lambda a: a)
    dag.add("after", lambda: 2, after="a")
    dag.add("both", lambda: 3, after=["a", "uses"])
    r = Resolver(dag.compile())
    assert r.take() == 0
    assert r.failed(0) == [1, 3]
    assert (picture(r), r.ready) == ("FSrS", (2,))


def test_resumed_equals_counting_down() -> None:
    plan = flow.topologies.diamond(6).compile()
    counted = Resolver(plan)
    for _ in range(3):
        counted.done(counted.take())
    resumed = Resolver.resumed(plan._nodes, [0, 1, 2])
    assert (picture(resumed), resumed.ready) == (picture(counted), counted.ready) == ("DDDrr.", (3, 4))


@st.composite
def graphs(draw: st.DrawFn) -> list[tuple[int, ...]]:
    count = draw(st.integers(1, 30))
    return [
        tuple(draw(st.lists(st.integers(0, i - 1), max_size=4))) if i else ()
        for i in range(count)
    ]


@given(graphs(), st.data())
def test_random_events_keep_the_definition_of_ready(graph: list[tuple[int, ...]], data: st.DataObject) -> None:
    """After any events: a node is ready exactly if it was not ended or taken and all it waits for is done."""
    r = Resolver(graph)
    taken: list[int] = []
    while r.active:
        if not taken or (r.ready and data.draw(st.booleans())):
            best = r.ready[0]
            assert r.take() == best
            taken.append(best)
            continue
        i = taken.pop(data.draw(st.integers(0, len(taken) - 1)))
        event = data.draw(st.sampled_from(["done", "advance", "failed", "put_back", "cancelled"]))
        before = [k for k in range(len(graph)) if r.state[k] == 0]
        if event == "failed":
            skipped = r.failed(i)
            reach = {i}
            for k in range(len(graph)):
                if reach & set(graph[k]):
                    reach.add(k)
            assert skipped == [k for k in before if k in reach]
        elif event == "cancelled":
            r.cancelled(i)
            r.cancel_rest()
        elif event == "advance":
            n = r.advance(i)
            if n >= 0:
                taken.append(n)
        else:
            getattr(r, event)(i)
        for k, deps in enumerate(graph):
            if r.state[k] <= 1:
                assert (r.state[k] == 1) == all(r.state[d] == DONE for d in deps)
                assert r.is_runnable(k) == (r.state[k] == 1)
        for t in taken:
            assert r.status(t) is flow.Status.RUNNING


def tolerating(**dependencies: str) -> Resolver:
    """Nodes by name and what they wait for: ``a`` takes its output, ``a?`` has a default for it, ``~a`` comes after it.

    A node whose name begins with t is tolerant.
    """
    dag = flow.Dag("d")
    for name, waits in dependencies.items():
        refs = waits.split()
        takes = [ref for ref in refs if not ref.startswith("~")]
        parameters = ", ".join(sorted([f"{ref[0:-1]}=None" if ref.endswith("?") else ref for ref in takes], key=len))
        dag.add(
            name,
            eval(f"lambda {parameters}: 1"),
            after=[ref[1:] for ref in refs if ref.startswith("~")],
            continue_on_error=name.startswith("t"),
        )
    return Resolver(dag.compile())


def test_a_reader_with_a_default_goes_on_after_a_tolerated_failure() -> None:
    r = tolerating(t="", uses="t", may="t?", both="t? ~t", other="", later="t? other")
    assert [r.take(), r.take()] == [0, 4]
    assert r.failed(0) == [1]
    assert (picture(r), r.ready) == ("FSrrt.", (2, 3))
    r.done(4)
    assert (picture(r), r.ready) == ("FSrrDr", (2, 3, 5))


def test_a_default_does_not_help_against_a_failure_that_is_not_tolerated() -> None:
    r = tolerating(a="", may="a?", last="may?")
    r.take()
    assert r.failed(0) == [1, 2]
    assert picture(r) == "FSS"


def test_what_was_skipped_for_a_tolerated_failure_is_done_without_too() -> None:
    r = tolerating(t="", uses="t", more="uses", may="more?", after="~more")
    r.take()
    assert r.failed(0) == [1, 2, 4]
    assert (picture(r), r.ready) == ("FSSrS", (3,))


@pytest.mark.parametrize("advance", [False, True])
def test_a_reader_of_a_skipped_node_waits_until_all_is_known(advance: bool) -> None:
    r = tolerating(t="", a="", both="t a", may="both?")
    assert [r.take(), r.take()] == [0, 1]
    assert r.failed(0) == [2]
    assert (picture(r), r.ready) == ("FtS.", ())
    if advance:
        assert r.advance(1) == 3
    else:
        r.done(1)
        assert (picture(r), r.ready) == ("FDSr", (3,))


def test_a_skip_that_comes_to_be_for_another_failure_too_is_not_done_without() -> None:
    r = tolerating(t="", a="", both="t a", may="both?", last="may?")
    assert [r.take(), r.take()] == [0, 1]
    assert r.failed(0) == [2]
    assert r.failed(1) == [3, 4]
    assert picture(r) == "FFSSS"
    first = tolerating(t="", a="", both="t a", may="both?", last="may?")
    assert [first.take(), first.take()] == [0, 1]
    assert (first.failed(1), first.failed(0)) == ([2, 3, 4], [])
    assert picture(first) == picture(r)


def test_tolerated_failures_one_after_the_other() -> None:
    r = tolerating(t="", t2="t?", t3="", uses="t2 t3", may="uses? t2? t3?")
    assert [r.take(), r.take()] == [0, 2]
    assert r.failed(0) == []
    assert r.take() == 1
    assert r.failed(1) == [3]
    assert (picture(r), r.ready) == ("FFtS.", ())
    assert r.failed(2) == []
    assert (picture(r), r.ready) == ("FFFSr", (4,))


@pytest.mark.parametrize("tolerant", [False, True])
def test_a_failure_looks_at_each_edge_a_few_times(tolerant: bool) -> None:
    """A fan of failures in front of a chain: what was skipped once is not gone through again by each."""
    count = 300
    dag = flow.Dag("fan")
    for i in range(count):
        dag.add(f"f{i}", lambda: 1, continue_on_error=tolerant or i % 2 == 0)
    dag.add("c0", lambda *values: 1, needs=[f"f{i}" for i in range(count)])
    for i in range(1, count):
        dag.add(f"c{i}", lambda value: 1, needs=[f"c{i - 1}"])
    r = Resolver(dag.compile())
    looked = 0

    class Counted(list[object]):
        def __getitem__(self, i: object) -> object:
            nonlocal looked
            looked += 1
            return super().__getitem__(i)  # type: ignore[index]

    r.successors = Counted(r.successors)
    taken = [r.take() for _ in range(count)]
    for i in taken:
        r.failed(i)
    assert picture(r) == "F" * count + "S" * count
    assert looked < 10 * count


class TestSteps:
    """What is told of each node that has ended: the one step on which what follows from that composes."""

    def resolver(self, *steps: Any) -> Resolver:
        dag = flow.Dag("steps")
        dag.add("a", lambda: 1)
        dag.add("b", lambda a: 1)
        dag.add("c", lambda b: 1)
        dag.add("d", lambda a: 1)
        return Resolver.resumed(dag.compile()._nodes, (), None, steps)

    def test_each_end_is_told_once_to_each_in_turn(self) -> None:
        told: list[Any] = []
        r = self.resolver(lambda i: told.append(("first", i)), lambda i: told.append(("second", i)))
        assert r.advance(r.take()) == 1
        assert told == [("first", 0), ("second", 0)]
        assert r.failed(1) == [2]
        assert [i for who, i in told if who == "second"] == [0, 1, 2]
        r.take()
        r.cancelled(3)
        r.cancel_rest()
        assert [i for who, i in told if who == "first"] == [0, 1, 2, 3]

    def test_skipped_and_cancelled_ones_too(self) -> None:
        told: list[int] = []
        r = self.resolver(told.append)
        assert r.skip(1) == [1, 2] and told == [1, 2]
        r.take()
        r.cancel_rest(taken=True)
        assert told == [1, 2, 0, 3]

    def test_those_that_were_done_before(self) -> None:
        told: list[int] = []
        dag = flow.Dag("known")
        dag.add("a", lambda: 1)
        dag.add("b", lambda a: 1)
        Resolver.resumed(dag.compile()._nodes, [0], None, [told.append])
        assert told == [0]

    def test_one_may_be_claimed_whatever_its_place(self) -> None:
        r = self.resolver()
        r.done(r.take())
        r.claim(3)
        assert (r.status(3), r.ready, r.take(), r.take()) == ("running", (1,), 1, -1)
        with pytest.raises(flow.UsageError, match="only a ready node can be taken"):
            r.claim(2)
