"""What has been sent to a run, without a run."""

from __future__ import annotations

from typing import Any

import pytest

import flow
from flow.errors import SignalError
from flow.plan.resolver import AWAITING, DONE, WAITING
from flow.run.mailbox import Mailbox
from flow.types import Status


class Run:
    """A run of which only the states are there."""

    def __init__(self, plan: flow.Plan, *codes: int) -> None:
        self.plan = plan
        self.config = flow.Config()
        self.journal = None
        self.codes = list(codes)

    def code(self, i: int) -> int:
        return self.codes[i]

    def status(self, i: int) -> Status:
        return Status.COMPLETED


class Receiver:
    def __init__(self, ended: bool = False) -> None:
        self.got: list[tuple[int, Any]] = []
        self.ended = ended

    def deliver(self, i: int, payload: Any) -> None:
        if self.ended:
            raise RuntimeError("Event loop is closed")
        self.got.append((i, payload))


def plan() -> flow.Plan:
    inner = flow.Dag("inner")
    inner.signal("ask", type=int)
    dag = flow.Dag("d")
    dag.signal("ask", type=int)
    dag.add("box", inner)
    return dag.compile()


def refused(box: Mailbox, address: str, payload: Any = 1) -> str:
    with pytest.raises(SignalError) as caught:
        box.send(address, payload)
    return str(caught.value)


def test_one_that_waits_gets_it_at_once_and_one_that_comes_later_then() -> None:
    box, now, later = Mailbox(Run(plan(), AWAITING, WAITING)), Receiver(), Receiver()
    box.wait("ask", now, 0)
    box.send("ask", 5)
    box.send("box.ask", 6)
    assert (now.got, later.got, box.waiting()) == ([(0, 5)], [], ())
    box.wait("box.ask", later, 0)
    assert later.got == [(0, 6)]


def test_what_was_sent_before_the_time_was_up_counts() -> None:
    box, receiver = Mailbox(Run(plan(), AWAITING, WAITING)), Receiver()
    box.wait("ask", receiver, 0)
    box.send("ask", 5)
    assert not box.expire("ask")
    box.leave("ask")
    assert receiver.got == [(0, 5)]


def test_when_the_time_is_up_nothing_is_taken() -> None:
    box = Mailbox(Run(plan(), AWAITING, WAITING))
    box.wait("ask", Receiver(), 0)
    assert box.waiting() == ("ask",)
    assert box.expire("ask")
    assert box.waiting() == ()
    assert refused(box, "ask") == "signal 'ask' takes nothing any more: its time was up"


def test_an_event_loop_that_has_ended() -> None:
    box = Mailbox(Run(plan(), AWAITING, WAITING))
    box.wait("ask", Receiver(ended=True), 0)
    assert refused(box, "ask") == "signal 'ask' takes nothing: the event loop has ended"


def test_what_the_plan_does_not_know_has_no_box() -> None:
    box, receiver = Mailbox(Run(plan(), WAITING, WAITING)), Receiver()
    box.wait("other.ask", receiver, 0)
    assert box.waiting() == ()
    assert box.expire("other.ask")
    box.leave("other.ask")
    assert refused(box, "other.ask").startswith("the run has no signal 'other.ask'")


def test_the_places_of_nested_runs() -> None:
    run = Run(plan(), AWAITING, AWAITING)
    box, inner = Mailbox(run), Run(plan(), DONE)
    box.begin("box", inner)
    assert refused(box, "box.ask").endswith("its node has ended (completed)")
    box.end("box")
    assert refused(box, "box.ask").endswith("the run of 'box' has ended")
    box.begin("box", Run(plan(), WAITING))  # tried again
    box.send("box.ask", 1)
    run.codes[0] = DONE
    assert refused(box, "ask").endswith("its node has ended (completed)")
    box.end()
    assert refused(box, "ask").endswith("the run has ended")


def test_many_names_are_listed_in_part() -> None:
    dag = flow.Dag("d")
    for k in range(15):
        dag.signal(f"s{k}")
    box = Mailbox(Run(dag.compile(), *[WAITING] * 15))
    assert "'s8', 's9' and 5 more" in refused(box, "zzz")
