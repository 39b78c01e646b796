"""The status machine: every pair of statuses, counts against a recount, times, subscribers."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from itertools import product
from threading import Thread

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flow.errors import TransitionError, UsageError
from flow.graph import topologies
from flow.plan.status import TRANSITIONS, StatusChange, StatusTracker
from flow.types import TERMINAL, Status

PATHS = {
    Status.PENDING: (),
    Status.READY: ("ready",),
    Status.RUNNING: ("ready", "running"),
    Status.WAITING: ("ready", "waiting"),
    Status.COMPLETED: ("ready", "running", "completed"),
    Status.FAILED: ("ready", "running", "failed"),
    Status.SKIPPED: ("skipped",),
    Status.BYPASSED: ("bypassed",),
    Status.CANCELLED: ("cancelled",),
}

LEGAL = {
    ("pending", "ready"), ("pending", "skipped"), ("pending", "bypassed"), ("pending", "cancelled"),
    ("ready", "running"), ("ready", "waiting"), ("ready", "skipped"), ("ready", "bypassed"), ("ready", "cancelled"),
    ("waiting", "completed"), ("waiting", "failed"), ("waiting", "cancelled"),
    ("running", "completed"), ("running", "failed"), ("running", "cancelled"), ("running", "ready"),
}  # fmt: skip


def walk(tracker: StatusTracker, name: str, *statuses: str) -> None:
    for status in statuses:
        tracker.set(name, status)


def ticking() -> Callable[[], float]:
    """A clock that shows 1, 2, 3, ... seconds."""
    ticks = iter(range(1, 1000))
    return lambda: float(next(ticks))


class TestTransitions:
    @pytest.mark.parametrize(("old", "new"), list(product(Status, Status)))
    def test_exactly_the_documented_ones_are_legal(self, old: Status, new: Status) -> None:
        tracker = StatusTracker(["a", "b"])
        walk(tracker, "a", *PATHS[old])
        if (old, new) in LEGAL:
            tracker.set("a", new)
            assert tracker["a"] is new
            return
        with pytest.raises(TransitionError) as caught:
            tracker.set("a", new)
        message = str(caught.value)
        assert f"node 'a' cannot go from {old} to {new}" in message
        assert all(legal in message for legal in TRANSITIONS[old])
        assert tracker["a"] is old
        assert sum(tracker.counts.values()) == 2

    def test_table_and_terminal_statuses_agree(self) -> None:
        assert {(old, new) for old, news in TRANSITIONS.items() for new in news} == LEGAL
        assert {status for status, news in TRANSITIONS.items() if not news} == TERMINAL

    def test_message_of_a_terminal_status(self) -> None:
        tracker = StatusTracker("a")
        tracker.set("a", Status.SKIPPED)
        with pytest.raises(TransitionError, match="from skipped to ready: it is skipped, and it stays so"):
            tracker.set("a", "ready")

    def test_unknown_node_and_status(self) -> None:
        tracker = StatusTracker(["users"])
        with pytest.raises(UsageError, match=r"no node 'user'.*did you mean 'users'"):
            tracker.set("user", "ready")
        with pytest.raises(UsageError, match="no node 'user'"):
            tracker["user"]
        with pytest.raises(UsageError, match=r"'done' is no status; one of pending, ready, .* is"):
            tracker.set("users", "done")
        with pytest.raises(UsageError, match="None is no status"):
            tracker.count(None)  # type: ignore[arg-type]
        assert tracker["users"] == "pending"

    def test_names_must_differ(self) -> None:
        with pytest.raises(UsageError, match=r"there twice: 'a', 'b'$"):
            StatusTracker(["a", "b", "a", "c", "b", "a"])


class TestLook:
    @given(st.lists(st.tuples(st.integers(0, 4), st.sampled_from(Status)), max_size=80))
    def test_counts_equal_a_recount(self, moves: list[tuple[int, Status]]) -> None:
        tracker = StatusTracker([f"n{i}" for i in range(5)])
        model = {f"n{i}": Status.PENDING for i in range(5)}
        for i, new in moves:
            name = f"n{i}"
            if (model[name], new) in LEGAL:
                tracker.set(name, new)
                model[name] = new
            else:
                with pytest.raises(TransitionError):
                    tracker.set(name, new)
        assert tracker == model
        recount = Counter(model.values())
        assert tracker.counts == {status: recount[status] for status in Status}
        statistics = tracker.statistics()
        for status in Status:
            expected = [name for name, at in model.items() if at is status]
            assert tracker.names_in(status) == expected
            assert tracker.count(status) == len(expected) == getattr(statistics, status)
        assert statistics.total == 5
        assert statistics.finished == sum(recount[status] for status in TERMINAL)
        assert statistics.done is (statistics.finished == 5)
        assert statistics.elapsed is None

    def test_is_a_mapping(self) -> None:
        tracker = StatusTracker(iter(["a", "b"]))
        tracker.set("b", "ready")
        assert list(tracker) == ["a", "b"]
        assert len(tracker) == 2
        assert dict(tracker) == {"a": Status.PENDING, "b": Status.READY}
        assert "a" in tracker
        assert "c" not in tracker
        assert not tracker.__contains__(0)
        assert tracker.get("b") is Status.READY
        assert tracker.get("c") is None
        assert repr(tracker) == "StatusTracker(pending=1, ready=1)"

    def test_empty_is_done(self) -> None:
        assert StatusTracker([]).statistics().done is True

    def test_of_a_plan_knows_only_that_plans_nodes(self) -> None:
        dag = topologies.linear(2)
        plan = dag.compile()
        dag.add("n2", topologies.noop, needs=["n1"])
        longer = dag.compile()
        tracker = StatusTracker(plan)
        assert list(tracker) == ["n0", "n1"]
        assert list(StatusTracker(longer)) == ["n0", "n1", "n2"]
        assert "n2" not in tracker
        with pytest.raises(UsageError, match="no node 'n2'"):
            tracker["n2"]

    def test_snapshot_does_not_change(self) -> None:
        tracker = StatusTracker(["a"])
        before = tracker.statistics()
        tracker.set("a", "ready")
        assert (before.pending, before.ready) == (1, 0)
        with pytest.raises(AttributeError):
            before.pending = 3  # type: ignore[misc]

    def test_reset(self) -> None:
        tracker = StatusTracker(["a", "b"], timestamps=True, clock=ticking())
        seen: list[StatusChange] = []
        walk(tracker, "a", "ready", "running", "failed")
        tracker.subscribe(seen.append)
        tracker.reset()
        assert dict(tracker) == {"a": "pending", "b": "pending"}
        assert tracker.count("pending") == 2
        assert tracker.started("a") is tracker.finished("a") is None
        assert tracker.statistics().elapsed is None
        assert seen == []
        tracker.set("a", "ready")
        assert [(change.node, change.new) for change in seen] == [("a", "ready")]

    def test_threads_lose_no_change(self) -> None:
        names = [f"n{i}" for i in range(4000)]
        tracker = StatusTracker(names)

        def work(part: list[str]) -> None:
            for name in part:
                walk(tracker, name, "ready", "running", "completed")

        threads = [Thread(target=work, args=(names[k::4],)) for k in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert tracker.counts == {status: 4000 * (status is Status.COMPLETED) for status in Status}


class TestTimestamps:
    def test_from_first_start_to_end(self) -> None:
        tracker = StatusTracker(["a", "b", "c"], timestamps=True, clock=ticking())
        walk(tracker, "a", "ready", "running", "ready", "running", "completed")  # 1 .. 5: one retry
        assert (tracker.started("a"), tracker.finished("a"), tracker.duration("a")) == (2.0, 5.0, 3.0)
        walk(tracker, "b", "ready", "running")  # 6, 7
        assert (tracker.started("b"), tracker.finished("b"), tracker.duration("b")) == (7.0, None, None)
        assert tracker.statistics().elapsed == 8.0 - 2.0  # reads the clock: still going
        walk(tracker, "b", "failed")  # 9
        walk(tracker, "c", "skipped")  # 10
        assert (tracker.started("c"), tracker.finished("c"), tracker.duration("c")) == (None, 10.0, None)
        assert tracker.statistics().elapsed == tracker.statistics().elapsed == 10.0 - 2.0

    def test_not_asked_for(self) -> None:
        tracker = StatusTracker(["a"], clock=lambda: pytest.fail("the clock was read"))
        walk(tracker, "a", "ready", "running", "completed")
        for ask in (tracker.started, tracker.finished, tracker.duration):
            with pytest.raises(UsageError, match="timestamps=True"):
                ask("a")

    def test_unknown_node(self) -> None:
        with pytest.raises(UsageError, match="no node 'b'"):
            StatusTracker(["a"], timestamps=True).started("b")


class TestSubscribers:
    def test_get_every_change_as_a_frozen_record(self) -> None:
        tracker = StatusTracker(["a"], clock=ticking())
        seen: list[StatusChange] = []
        tracker.subscribe(seen.append)
        walk(tracker, "a", "ready", "running")
        with pytest.raises(TransitionError):
            tracker.set("a", "skipped")
        assert seen == [
            StatusChange("a", Status.PENDING, Status.READY, 1.0),
            StatusChange("a", Status.READY, Status.RUNNING, 2.0),
        ]
        with pytest.raises(AttributeError):
            seen[0].node = "b"  # type: ignore[misc]

    def test_unsubscribing_ends_one_subscription(self) -> None:
        tracker = StatusTracker(["a"])
        seen: list[StatusChange] = []
        first = tracker.subscribe(seen.append)
        tracker.subscribe(seen.append)
        tracker.set("a", "ready")
        first()
        first()
        tracker.set("a", "running")
        assert [change.new for change in seen] == ["ready", "ready", "running"]

    def test_one_that_raises_harms_nobody(self, caplog: pytest.LogCaptureFixture) -> None:
        tracker = StatusTracker(["a"])
        seen: list[StatusChange] = []

        def broken(change: StatusChange) -> None:
            raise ValueError("out of paper")

        tracker.subscribe(broken)
        tracker.subscribe(seen.append)
        with caplog.at_level(logging.ERROR, logger="flow"):
            tracker.set("a", "ready")
        assert tracker["a"] == "ready"
        assert [change.new for change in seen] == ["ready"]
        (record,) = caplog.records
        assert record.name == "flow"
        assert "StatusChange(node='a'" in record.getMessage()
        assert record.exc_info is not None
        assert str(record.exc_info[1]) == "out of paper"

    def test_may_change_the_tracker_and_unsubscribe_while_told(self) -> None:
        tracker = StatusTracker(["a", "b"])
        seen: list[str] = []

        def once(change: StatusChange) -> None:
            seen.append(f"{change.node} {change.new}")
            unsubscribe()
            tracker.set("b", "ready")

        unsubscribe = tracker.subscribe(once)
        tracker.set("a", "ready")
        assert seen == ["a ready"]
        assert dict(tracker) == {"a": "ready", "b": "ready"}
