"""A run in the background of its caller, and what is sent to it, on every event loop."""

from __future__ import annotations

import contextvars
import gc
import pickle
import threading
import weakref
from typing import Any

import anyio
import msgspec
import pytest

import flow
from flow.errors import SignalError
from flow.testing import FakeClock

pytestmark = pytest.mark.anyio


class Approval(msgspec.Struct):
    by: str
    amount: int = 0


def approval(**options: Any) -> flow.Dag:
    dag = flow.Dag("approval")
    dag.add("ask", lambda: "please")
    dag.signal("approve", type=Approval, after="ask", **options)
    dag.add("pay", lambda approve: f"paid, says {approve.by}")
    return dag


def item_dag() -> flow.Dag:
    dag = flow.Dag("page")
    dag.signal("ask", type=str)
    dag.add("answer", lambda ask, item: f"{item}: {ask}")
    return dag


async def until_waiting(run: flow.RunHandle, *addresses: str) -> None:
    while run.waiting != addresses:
        await anyio.sleep(0.001)


async def until_ended(run: flow.RunHandle) -> None:
    while "going on" in repr(run):
        await anyio.sleep(0.001)


def refused(run: flow.RunHandle, address: Any, payload: Any = None) -> tuple[str, str]:
    with pytest.raises(SignalError) as caught:
        run.send(address, payload)
    return caught.value.reason, str(caught.value)


class TestSend:
    async def test_a_signal_is_waited_for_and_sent(self) -> None:
        async with flow.start(approval(), run_id="r1") as run:
            await until_waiting(run, "approve")
            assert (run.status("approve"), run.status("pay"), run.run_id) == ("waiting", "pending", "r1")
            run.send("approve", {"by": "Ann"})
            result = await run.result()
        assert result["pay"] == "paid, says Ann"
        assert result["approve"] == Approval("Ann")
        assert result.ok
        assert run.waiting == ()
        assert run.status("approve") == "completed"
        assert result.why("approve") == "node 'approve' completed by a signal"

    async def test_what_is_sent_early_is_kept(self) -> None:
        dag = approval()
        dag.timer("later", seconds=0.01)
        dag.edge("later", "approve")
        async with flow.start(dag) as run:
            run.send("approve", Approval("Bob"))
            result = await run.result()
        assert result["pay"] == "paid, says Bob"

    async def test_a_signal_without_a_type_takes_anything_and_none_by_default(self) -> None:
        dag = flow.Dag("any")
        dag.signal("go")
        dag.add("got", lambda go: go)
        async with flow.start(dag) as run:
            run.send("go")
            assert (await run.result())["got"] is None
        ref = flow.types.NodeRef[Any]("go")
        async with flow.start(dag) as run:
            run.send(ref, 5)
            assert (await run.result())[ref] == 5
        thing = object()
        async with flow.start(dag) as run:
            run.send("go", thing)
            assert (await run.result())["got"] is thing

    async def test_what_is_refused(self) -> None:
        dag = approval()
        async with flow.start(dag) as run:
            reason, text = refused(run, "aprove")
            assert reason == "unknown"
            assert text == "the run has no signal 'aprove' (did you mean 'approve'?): its signals are 'approve'"
            assert refused(run, "pay")[0] == refused(run, 7)[0] == "unknown"
            reason, text = refused(run, "approve", {"by": 3})
            assert reason == "invalid"
            assert text.startswith("what was sent to 'approve' is not of its type Approval: Expected `str`, got `int`")
            run.send("approve", {"by": "Ann"})
            assert refused(run, "approve", {"by": "Ann"}) == (
                "sent", "signal 'approve' has been sent before, and takes one payload",
            )  # fmt: skip
            await run.result()
            assert refused(run, "approve", {"by": "Ann"})[0] == "sent"

    async def test_values_are_not_shown_if_the_config_says_so(self) -> None:
        async with flow.start(approval(), config=flow.Config(show_values=False)) as run:
            text = refused(run, "approve", "secret")[1]
            assert "secret" not in text
            assert "it is a str" in text
            run.cancel()

    async def test_after_the_end_nothing_is_taken(self) -> None:
        dag = flow.Dag("d")
        dag.signal("go", when=lambda: False)
        async with flow.start(dag) as run:
            await run.result()
            assert refused(run, "go") == ("ended", "signal 'go' takes nothing any more: the run has ended")

    @pytest.mark.parametrize("status", ["bypassed", "skipped"])
    async def test_a_node_that_was_left_out_takes_nothing(self, status: str) -> None:
        dag = flow.Dag("d")
        dag.add("first", lambda: 1 / 0, when=lambda: status != "bypassed")
        dag.signal("go", after="first")
        dag.signal("last")
        async with flow.start(dag, config=flow.Config(on_error="collect")) as run:
            while run.status("go") != status:  # either of the two may be first
                await anyio.sleep(0.001)
            assert refused(run, "go") == ("ended", f"signal 'go' takes nothing any more: its node has ended ({status})")
            run.send("last")

    async def test_from_another_thread(self) -> None:
        async with flow.start(approval()) as run:
            thread = threading.Thread(target=run.send, args=("approve", {"by": "Cid"}))
            thread.start()
            result = await run.result()
            thread.join()
        assert result["pay"] == "paid, says Cid"

    async def test_many_threads_send_and_one_is_taken(self) -> None:
        for _ in range(5):
            taken: list[int] = []

            def send(k: int, to: flow.RunHandle, taken: list[int] = taken) -> None:
                try:
                    to.send("approve", Approval("x", k))
                except SignalError as error:
                    assert error.reason == "sent"  # noqa: PT017
                else:
                    taken.append(k)

            async with flow.start(approval()) as run:
                threads = [threading.Thread(target=send, args=(k, run)) for k in range(8)]
                for thread in threads:
                    thread.start()
                result = await run.result()
                for thread in threads:
                    thread.join()
            assert [result["approve"].amount] == taken

    async def test_from_a_node_of_the_run(self) -> None:
        handles: list[flow.RunHandle] = []
        dag = flow.Dag("self")

        @dag.node
        def sends() -> list[str]:
            handles[0].send("go", 5)
            return [str(handles[0].status("go")), str(handles[0].status("next"))]

        dag.signal("go", type=int)
        dag.add("next", lambda go: go + 1)
        async with flow.start(dag) as run:
            handles.append(run)
            result = await run.result()
        assert result["next"] == 6
        assert result["sends"][1] == "pending", "nothing is delivered within another node's step"

    async def test_before_it_begins(self) -> None:
        run = flow.start(approval())
        for use in (lambda: run.send("approve"), lambda: run.waiting, lambda: run.status("ask"), run.cancel):
            with pytest.raises(flow.UsageError, match="has not begun: enter it"):
                use()
        assert repr(run) == "<RunHandle of a run that has not begun>"

    def test_the_error_travels(self) -> None:
        error = pickle.loads(pickle.dumps(SignalError("no", "sent")))
        assert (str(error), error.reason) == ("no", "sent")
        assert isinstance(error, flow.UsageError)


class TestNested:
    async def test_addresses(self) -> None:
        dag = flow.Dag("outer")
        dag.add("inner", approval())
        dag.map("pages", item_dag(), over="names")
        async with flow.start(dag, {"names": ["a", "b", "c"]}) as run:
            run.send("pages#1.ask", "early")
            while len(run.waiting) < 3:
                await anyio.sleep(0.001)
            assert sorted(run.waiting) == ["inner.approve", "pages#0.ask", "pages#2.ask"]
            text = refused(run, "pages#x.ask")[1]
            assert "its signals are 'inner.approve', 'pages#N.ask' (N is a number" in text
            for wrong in ("pages#01.ask", "approve", "pages.ask", "pages#N.ask", "pages#1", ""):
                assert refused(run, wrong)[0] == "unknown"
            for k in (0, 2):
                run.send(f"pages#{k}.ask", f"answer {k}")
            run.send("inner.approve", {"by": "Ann"})
            result = await run.result()
        assert [page["answer"] for page in result["pages"]] == ["a: answer 0", "b: early", "c: answer 2"]
        assert result["inner"]["pay"] == "paid, says Ann"

    async def test_runs_within_runs_within_items(self) -> None:
        middle = flow.Dag("middle")
        middle.add("deep", item_dag())
        dag = flow.Dag("outer")
        dag.map("pages", middle, over="names")
        async with flow.start(dag, {"names": ["a"]}) as run:
            await until_waiting(run, "pages#0.deep.ask")
            run.send("pages#0.deep.ask", "yes")
            assert (await run.result())["pages"][0]["deep"]["answer"] == "a: yes"

    async def test_what_has_ended_takes_nothing(self) -> None:
        ended_items: list[str] = []
        one = flow.Dag("one")
        one.signal("ask", when=lambda item: item != "b")
        one.add("last", lambda item: ended_items.append(item), join="done", after="ask")
        dag = flow.Dag("outer")
        dag.map("pages", one, over="names")
        dag.add("inner", approval(), when=lambda: False)
        dag.signal("go")
        async with flow.start(dag, {"names": ["a", "b"]}) as run:
            while len(run.waiting) < 2 or run.status("inner") != "bypassed" or ended_items != ["b"]:
                await anyio.sleep(0.001)
            ended = "takes nothing any more:"
            text = refused(run, "inner.approve", Approval("x"))[1]
            assert text.endswith(f"{ended} node 'inner' has ended (bypassed)")
            with anyio.fail_after(5):
                while not refused(run, "pages#1.ask")[1].endswith(f"{ended} the run of 'pages#1' has ended"):
                    await anyio.sleep(0.001)
            run.send("pages#0.ask")
            while run.status("pages") != "completed":
                await anyio.sleep(0.001)
            assert refused(run, "pages#5.ask")[1].endswith(f"{ended} node 'pages' has ended (completed)")
            run.send("go")

    async def test_a_node_of_a_nested_run_that_was_left_out(self) -> None:
        inner = flow.Dag("inner")
        inner.signal("no", when=lambda: False)
        inner.signal("yes")
        dag = flow.Dag("outer")
        dag.add("inner", inner)
        async with flow.start(dag) as run:
            await until_waiting(run, "inner.yes")
            assert refused(run, "inner.no")[1].endswith("its node has ended (bypassed)")
            run.send("inner.yes")

    async def test_a_nested_run_that_is_tried_again_gets_it_again(self) -> None:
        tried: list[int] = []

        def flaky(ask: int) -> int:
            tried.append(ask)
            if len(tried) < 3:
                raise OSError
            return ask

        inner = flow.Dag("inner")
        inner.signal("ask", type=int)
        inner.add("flaky", flaky)
        dag = flow.Dag("outer")
        dag.add("inner", inner, retry=flow.Retry(3, delay=0.0))
        async with flow.start(dag) as run:
            run.send("inner.ask", 7)
            assert (await run.result())["inner"]["flaky"] == 7
        assert tried == [7, 7, 7]

    async def test_rounds_of_a_loop(self) -> None:
        body = flow.Dag("body")
        body.signal("ask", type=int)
        body.add("score", lambda ask, so_far=0: so_far + ask)
        dag = flow.Dag("outer")
        dag.loop("polish", body, carry={"so_far": "score"}, until=lambda score: score > 3, max_iterations=5)
        async with flow.start(dag) as run:
            run.send("polish#4.ask", 9)
            await until_waiting(run, "polish#1.ask")
            run.send("polish#1.ask", 1)
            await until_waiting(run, "polish#2.ask")
            assert refused(run, "polish#1.ask", 1)[0] == "sent"
            assert refused(run, "polish.ask", 1)[0] == "unknown"
            run.send("polish#2.ask", 5)
            result = await run.result()
        assert result["polish"]["score"] == 6

    async def test_a_run_that_a_node_starts_cannot_be_sent_anything(self) -> None:
        clock = FakeClock()
        timed, endless = flow.Dag("timed"), flow.Dag("endless")
        timed.signal("ask", timeout=5, fallback="nobody")
        endless.signal("ask")
        dag = flow.Dag("outer")

        @dag.node
        async def starts(ctx: flow.Context) -> Any:
            return (await ctx.execute(timed))["ask"]

        @dag.node(retry=flow.Retry(3, delay=0.0), continue_on_error=True)
        async def hangs(ctx: flow.Context) -> Any:
            calls.append(1)
            await ctx.execute(endless)

        calls: list[int] = []
        async with flow.start(dag, config=flow.Config(clock=clock)) as run:
            assert run.waiting == ()
            assert refused(run, "starts.ask")[0] == "unknown"
            result = await run.result()
        assert result["starts"] == "nobody"
        assert "would wait for ever" in str(result.errors["hangs"])
        assert calls == [1], "it would be the same again"

    async def test_a_time_limit_around_it(self) -> None:
        clock = FakeClock()
        inner = flow.Dag("inner")
        inner.signal("ask", timeout=5)
        dag = flow.Dag("outer")
        dag.add("inner", inner, fallback="late")
        async with flow.start(dag, config=flow.Config(clock=clock)) as run:
            result = await run.result()
        assert result["inner"] == "late"
        assert clock.now() == 5

    async def test_two_signals_of_one_address_are_refused(self) -> None:
        inner = flow.Dag("inner")
        inner.signal("b.ask")
        other = flow.Dag("other")
        other.signal("ask")
        dag = flow.Dag("outer")
        dag.add("a", inner)
        dag.add("a.b", other)
        with pytest.raises(flow.UsageError, match=r"several signals of the address 'a\.b\.ask': rename a node"):
            async with flow.start(dag):
                raise AssertionError
        dag = flow.Dag("outer")
        dag.map("pages", item_dag(), over="names")
        dag.add("pages#1", other)
        with pytest.raises(flow.UsageError, match=r"several signals of the address 'pages#1\.ask': rename a node"):
            async with flow.start(dag, {"names": []}):
                raise AssertionError


class TestEnd:
    async def test_the_end_of_the_block_awaits_the_run(self) -> None:
        async with flow.start(approval()) as run:
            run.send("approve", {"by": "Ann"})
        assert repr(run).startswith("<RunHandle of 'approval': ended")
        assert (await run.result())["pay"] == "paid, says Ann"

    async def test_a_failure_is_raised_at_the_end(self) -> None:
        dag = flow.Dag("d")
        dag.signal("go")
        dag.add("bad", lambda go: 1 / 0)
        with pytest.raises(flow.RunError) as caught:
            async with flow.start(dag) as run:
                run.send("go")
        assert isinstance(caught.value.exceptions[0], ZeroDivisionError)
        assert caught.value.result.status["go"] == "completed"
        assert run.status("bad") == "failed"

    async def test_a_failure_that_result_has_raised_is_not_raised_again(self) -> None:
        dag = flow.Dag("d")
        dag.add("bad", lambda: 1 / 0)
        async with flow.start(dag) as run:
            for _ in range(2):
                with pytest.raises(flow.RunError, match="1 of 1 node failed: 'bad'"):
                    await run.result()

    async def test_collected_failures_are_in_the_result(self) -> None:
        dag = flow.Dag("d")
        dag.add("bad", lambda: 1 / 0)
        async with flow.start(dag, config=flow.Config(on_error="collect")) as run:
            result = await run.result()
        assert not result.ok
        assert list(result.errors) == ["bad"]

    async def test_an_exception_in_the_block_cancels_the_run_and_goes_on(self) -> None:
        cleared: list[str] = []
        dag = approval()

        @dag.node
        async def slow() -> None:
            try:
                await anyio.sleep_forever()
            finally:
                cleared.append("slow")

        error = ValueError("mine")
        with pytest.raises(ValueError, match="mine") as caught:
            async with flow.start(dag) as run:
                await until_waiting(run, "approve")
                raise error
        assert caught.value is error
        assert cleared == ["slow"]
        assert (run.status("approve"), run.status("pay"), run.waiting) == ("cancelled", "cancelled", ())
        assert refused(run, "approve", Approval("x"))[0] == "ended"
        with pytest.raises(flow.RunError, match="the run was cancelled"):
            await run.result()

    async def test_an_exception_before_the_run_has_begun(self) -> None:
        with pytest.raises(ValueError, match="mine"):
            async with flow.start(approval()) as run:
                raise ValueError("mine")
        with pytest.raises(flow.RunError, match="the run was cancelled") as caught:
            await run.result()
        assert set(caught.value.result.status.values()) == {flow.Status.CANCELLED}

    async def test_what_nodes_raise_meanwhile_is_noted_on_the_exception(self) -> None:
        dag = flow.Dag("d")
        began = anyio.Event()

        @dag.node
        async def slow() -> None:
            began.set()
            try:
                await anyio.sleep_forever()
            finally:
                raise OSError("while clearing up")

        with pytest.raises(ValueError, match="mine") as caught:
            async with flow.start(dag):
                await began.wait()
                raise ValueError("mine")
        assert "OSError" in caught.value.__notes__[0]

    async def test_a_cancellation_of_the_block_cancels_the_run(self) -> None:
        with anyio.CancelScope() as scope:
            async with flow.start(approval()) as run:
                await until_waiting(run, "approve")
                scope.cancel()
        assert scope.cancelled_caught
        assert run.status("approve") == "cancelled"

    async def test_a_cancellation_of_who_waits_for_the_result_does_not(self) -> None:
        async with flow.start(approval()) as run:
            with anyio.move_on_after(0.005) as scope:
                await run.result()
            assert scope.cancelled_caught
            run.send("approve", {"by": "Ann"})
            assert (await run.result()).ok

    @pytest.mark.parametrize("from_thread", [False, True])
    async def test_cancel(self, from_thread: bool) -> None:
        async with flow.start(approval()) as run:
            await until_waiting(run, "approve")
            if from_thread:
                thread = threading.Thread(target=run.cancel)
                thread.start()
                thread.join()
            else:
                run.cancel()
            await until_ended(run)
            assert refused(run, "approve", Approval("x"))[0] == "ended"
        assert run.status("approve") == "cancelled"
        with pytest.raises(flow.RunError, match="the run was cancelled") as caught:
            await run.result()
        assert caught.value.result["ask"] == "please"

    async def test_cancel_before_it_has_begun_and_after_its_end(self) -> None:
        async with flow.start(approval()) as run:
            run.cancel()
        with pytest.raises(flow.RunError, match="the run was cancelled"):
            await run.result()
        dag = flow.Dag("d")
        dag.add("a", lambda: 1)
        async with flow.start(dag) as run:
            await run.result()
            run.cancel()
            assert (await run.result()).ok

    async def test_what_nodes_raise_while_it_is_cancelled_is_raised(self) -> None:
        dag = flow.Dag("d")
        began = anyio.Event()

        @dag.node
        async def slow() -> None:
            began.set()
            try:
                await anyio.sleep_forever()
            finally:
                raise OSError("while clearing up")

        with pytest.raises(flow.RunError) as caught:
            async with flow.start(dag) as run:
                await began.wait()
                run.cancel()
        assert isinstance(caught.value.exceptions[0], OSError)

    async def test_the_time_limit_of_the_run(self) -> None:
        with pytest.raises(flow.RunError, match="exceeded its limit of 0.02 s") as caught:
            async with flow.start(approval(), config=flow.Config(timeout=0.02)) as run:
                await run.result()
        assert caught.value.timed_out
        assert caught.value.result.status["approve"] == "cancelled"

    async def test_a_failure_elsewhere_ends_the_waiting(self) -> None:
        dag = approval()
        dag.timer("soon", seconds=0.01)
        dag.add("bad", lambda: 1 / 0, after="soon")
        with pytest.raises(flow.RunError, match="1 of 5 nodes failed: 'bad'") as caught:
            async with flow.start(dag) as run:
                await until_waiting(run, "approve")
        assert caught.value.result.status["approve"] == "cancelled"


def test_an_exit_of_a_node_is_raised(anyio_backend: Any) -> None:
    dag = flow.Dag("d")
    dag.signal("go")

    @dag.node
    def leaves(go: Any) -> None:
        raise SystemExit(3)

    async def main() -> None:
        async with flow.start(dag) as run:
            run.send("go")
            await run.result()

    backend, options = anyio_backend
    with pytest.raises(SystemExit):
        anyio.run(main, backend=backend, backend_options=options)


async def test_cleanup_runs_though_a_node_waits() -> None:
    cleaned: list[str] = []
    dag = approval()
    dag.add("close", lambda: cleaned.append("close"), cleanup=True)
    async with flow.start(dag) as run:
        await until_waiting(run, "approve")
        run.cancel()
    assert cleaned == ["close"]
    assert run.status("approve") == "cancelled"
    assert run.status("close") == "completed"


class TestChecks:
    async def test_faults_are_raised_when_the_block_is_entered(self) -> None:
        cases: list[tuple[Any, Any]] = [
            (flow.start(approval(), {"x": 1}), flow.InputError),
            (flow.start(flow.Dag("empty")), flow.DefinitionError),
            (flow.start(approval(), run_id="../x"), flow.errors.ConfigError),
            (flow.start(approval(), targets=["nope"]), flow.UsageError),
            (flow.start(approval(), limit=3), flow.UsageError),  # type: ignore[call-arg]
            (flow.start(approval(), config=flow.Config(mode="inline")), flow.UsageError),
        ]
        for start, kind in cases:
            with pytest.raises(kind) as caught:
                async with start:
                    raise AssertionError
            assert caught.value

    async def test_it_is_entered_once(self) -> None:
        start = flow.start(approval())
        async with start as run:
            run.cancel()
        with pytest.raises(flow.UsageError, match="entered once"):
            async with start:
                raise AssertionError

    async def test_a_plan_without_signals(self) -> None:
        dag = flow.Dag("d")
        dag.add("double", lambda n: 2 * n)
        async with flow.start(dag.compile(), {"n": 4}) as run:
            assert (await run.result())["double"] == 8
            assert refused(run, "go")[1] == "the run has no signal 'go': it has none"

    async def test_known_outcomes_may_be_signals(self) -> None:
        dag = approval()
        async with flow.start(dag, known={"approve": Approval("Dan")}) as run:
            assert (await run.result())["pay"] == "paid, says Dan"
        assert (await flow.execute(dag, known={"approve": Approval("Eve")}))["pay"] == "paid, says Eve"


VARIABLE = contextvars.ContextVar("VARIABLE", default="unset")


async def test_nodes_see_the_contextvars_of_who_has_started_the_run() -> None:
    dag = flow.Dag("d")
    dag.signal("go")
    dag.add("seen", lambda go: VARIABLE.get())
    dag.add("when", lambda: 1, after="go", when=lambda: VARIABLE.get() == "started")
    token = VARIABLE.set("started")
    try:
        async with flow.start(dag) as run:
            await until_waiting(run, "go")
            VARIABLE.set("sent")
            run.send("go")
            result = await run.result()
    finally:
        VARIABLE.reset(token)
    assert result["seen"] == "started"
    assert result.status["when"] == "completed"


class Payload:
    """What can be watched."""


@pytest.mark.parametrize("how", ["well", "cancelled", "failed", "raised"])
async def test_nothing_is_left_of_a_run(how: str) -> None:
    dag = flow.Dag("d")
    dag.signal("go", type=Payload)
    dag.add("uses", lambda go, thing: 1 / 0 if how == "failed" else go)
    payload, thing = Payload(), Payload()
    seen = [weakref.ref(payload), weakref.ref(thing)]
    gc.collect()
    gc.disable()
    try:
        try:
            async with flow.start(dag, {"thing": thing}) as run:
                await until_waiting(run, "go")
                if how == "raised":
                    raise ValueError  # noqa: TRY301
                if how == "cancelled":
                    run.cancel()
                else:
                    run.send("go", payload)
                    await run.result()
        except (flow.RunError, ValueError):
            pass
        del payload, thing, run
        await anyio.sleep(0.01)
        assert [one() for one in seen] == [None, None]
    finally:
        gc.enable()


class TestNextWaiting:
    @pytest.mark.anyio
    async def test_each_once_until_the_end(self) -> None:
        page = flow.Dag("page")
        page.add("shown", lambda item: item)
        page.signal("ask")
        dag = flow.Dag("d")
        dag.map("pages", page, over="rows")
        dag.signal("last", after=["pages"])
        asked: list[str] = []
        async with flow.start(dag, {"rows": [0, 1]}) as run:
            while (address := await run.next_waiting()) is not None:
                asked.append(address)
                run.send(address)
            result = await run.result()
        assert sorted(asked[:2]) == ["pages#0.ask", "pages#1.ask"]
        assert asked[2:] == ["last"]
        assert result.ok

    @pytest.mark.anyio
    async def test_a_run_that_fails(self) -> None:
        """Polling would go on for ever."""

        def fails() -> None:
            raise OSError("no")

        dag = flow.Dag("d")
        dag.add("fails", fails)
        dag.signal("ask", after=["fails"])
        with pytest.raises(flow.RunError):
            async with flow.start(dag) as run:
                assert await run.next_waiting() is None

    @pytest.mark.anyio
    async def test_the_event_has_the_address_and_can_be_answered(self) -> None:
        body = flow.Dag("body")
        body.signal("ask", type=int)
        dag = flow.Dag("d")
        dag.loop("again", body, until=lambda ask: ask > 1, max_iterations=3)
        started: list[tuple[str, ...]] = []

        def watch(event: flow.events.Event) -> None:
            if isinstance(event, flow.events.NodeWaiting):
                assert event.address in run.waiting
                run.send(event.address, len(started))
            elif isinstance(event, flow.events.RunStarted):
                started.append(event.path)

        async with flow.start(dag, config=flow.Config(observers=(watch,))) as run:
            result = await run.result()
        assert result["again"]["ask"] == 2
        assert started == [(), ("again#1",)]

    @pytest.mark.anyio
    async def test_another_event_loop_is_refused(self) -> None:
        dag = flow.Dag("d")
        dag.signal("ask", timeout=0.2, fallback=1)

        def elsewhere() -> None:
            anyio.run(run.result)

        async with flow.start(dag) as run:
            with pytest.raises(flow.UsageError, match="another one"):
                await anyio.to_thread.run_sync(elsewhere)
