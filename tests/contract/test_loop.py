"""Loops in every mode and on every event loop: rounds, what they are given, how they end, who sees them."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from typing import Any

import anyio
import pool_functions
import pytest

import flow
from flow import Config
from flow.errors import LoopLimit
from flow.run import events
from flow.run.hooks import NodeCall, NodeOutcome

MODES: Mapping[str, dict[str, Any]] = {
    "inline": {},
    "one_at_a_time": {"mode": "inline"},
    "asyncio": {"mode": "tasks"},
    "bounded": {"mode": "tasks", "limit": 1},
    "workers": {"mode": "workers", "limit": 2},
    "threads": {"executor": "thread"},
    "trio": {"mode": "tasks", "backend": "trio"},
    "uvloop": {"mode": "tasks", "backend": "uvloop"},
    "observed": {"observers": (lambda event: None,), "timing": True},
    "generated": {"optimize": "at_once"},
    "freed": {"keep": "targets"},
    "collect": {"on_error": "collect"},
}


@pytest.fixture(params=MODES)
def mode(request: pytest.FixtureRequest) -> Config:
    return Config(**MODES[request.param])


@pytest.fixture(params=["sync", "async"])
def is_async(request: pytest.FixtureRequest) -> bool:
    return bool(request.param == "async")


def polish_body(is_async: bool) -> flow.Dag:
    """``better`` is ``draft`` and a letter more; ``score`` is its length."""
    body = flow.Dag("polish")

    async def better(draft: str, letter: str) -> str:
        await anyio.sleep(0)
        return draft + letter

    body.add("better", better if is_async else lambda draft, letter: draft + letter)
    body.add("score", lambda better: len(better))
    return body


def polishing(is_async: bool, **options: Any) -> flow.Dag:
    dag = flow.Dag("essay")
    dag.add("draft", lambda: "a")
    settings = {"carry": {"draft": "better"}, "until": lambda score: score > 3, "max_iterations": 5}
    dag.loop("polish", polish_body(is_async), **{**settings, **options})
    dag.add("printed", lambda polish: polish["better"] if isinstance(polish, Mapping) else len(polish))
    return dag


def kept(error: BaseException) -> BaseException:
    """The exception of the one node that failed."""
    assert isinstance(error, flow.RunError)
    assert len(error.exceptions) == 1
    return error.exceptions[0]


class TestRounds:
    def test_a_dag_is_run_until_the_condition_holds(self, mode: Config, is_async: bool) -> None:
        result = flow.run(polishing(is_async), {"letter": "b"}, config=mode, targets=["polish", "printed"])
        assert result["printed"] == "abbb"
        assert dict(result["polish"]) == {"better": "abbb", "score": 4}
        assert result.counts == {"completed": 3}

    def test_a_function_takes_its_own_return_value(self, mode: Config, is_async: bool) -> None:
        async def doubled(n: int, by: int = 2) -> int:
            await anyio.sleep(0)
            return n * by

        dag = flow.Dag("d")
        fn = doubled if is_async else lambda n, by=2: n * by
        dag.loop("power", fn, carry="n", until=lambda n: n > 100, max_iterations=20)
        assert flow.run(dag, {"n": 1}, config=mode)["power"] == 128
        assert flow.run(dag, {"n": 1, "by": 5}, config=mode)["power"] == 125

    def test_without_carry_each_round_is_given_the_same(self, mode: Config, is_async: bool) -> None:
        answers = iter(["wait", "wait", "done", "late"])
        asked: list[str] = []

        async def ask(job: str) -> str:
            await anyio.sleep(0)
            return sync(job)

        def sync(job: str) -> str:
            asked.append(job)
            return next(answers)

        dag = flow.Dag("d")
        dag.loop("poll", ask if is_async else sync, until=lambda state: state != "wait", max_iterations=10)
        assert flow.run(dag, {"job": "j1"}, config=mode)["poll"] == "done"
        assert asked == ["j1", "j1", "j1"]

    def test_history_has_the_outputs_of_all_rounds(self, mode: Config, is_async: bool) -> None:
        result = flow.run(polishing(is_async, history=True), {"letter": "b"}, config=mode, targets=["polish"])
        assert result["polish"] == tuple({"better": "a" + k * "b", "score": k + 1} for k in (1, 2, 3))

    def test_one_round_is_enough_if_the_condition_holds_at_once(self, mode: Config) -> None:
        dag = flow.Dag("d")
        dag.loop("l", lambda n: n + 1, carry="n", until=lambda n: True, max_iterations=1, history=True)
        assert flow.run(dag, {"n": 1}, config=mode)["l"] == (2,)

    def test_several_outputs_are_carried_at_once(self, mode: Config) -> None:
        body = flow.Dag("fibonacci")
        body.add("later", lambda a, b: a + b)
        body.add("former", lambda b: b)
        dag = flow.Dag("d")
        carry = {"a": "former", "b": "later"}
        dag.loop("l", body, carry=carry, until=lambda later: later > 50, max_iterations=20, history=True)
        assert [each["later"] for each in flow.run(dag, {"a": 0, "b": 1}, config=mode)["l"]] == [
            1, 2, 3, 5, 8, 13, 21, 34, 55,
        ]  # fmt: skip

    def test_an_optional_input_is_given_from_the_second_round_on(self, mode: Config) -> None:
        dag = flow.Dag("d")
        dag.loop("l", lambda n=10: n + 1, carry="n", until=lambda n: n > 12, max_iterations=5, history=True)
        assert flow.run(dag, config=mode)["l"] == (11, 12, 13)

    def test_declared_inputs_are_checked_in_every_round(self, mode: Config) -> None:
        import msgspec

        class Inputs(msgspec.Struct):
            n: int
            by: int = 3

        body = flow.Dag("body", inputs=Inputs)
        body.add("more", lambda n, by: n + by if n < 8 else "many")
        dag = flow.Dag("d")
        dag.loop("l", body, carry={"n": "more"}, until=lambda more, by: more > by + 4, max_iterations=5)
        assert flow.run(dag, {"n": 2}, config=mode.replace(on_error="fail_fast"))["l"] == {"more": 8}
        dag.loop("l", body, carry={"n": "more"}, until=lambda more: False, max_iterations=5, replace=True)
        with pytest.raises(flow.RunError) as caught:
            flow.run(dag, {"n": 2}, config=mode.replace(on_error="fail_fast"))
        assert isinstance(kept(caught.value), flow.InputError)
        assert "input 'n' is not of its declared type int" in str(kept(caught.value))

    def test_each_round_has_its_own_data(self, mode: Config, is_async: bool) -> None:
        seen: list[tuple[Any, ...]] = []

        def look(n: int, ctx: flow.Context) -> int:
            seen.append((ctx.data.get("all", None), ctx.data.get("mine", None)))
            ctx.data.set("mine", n)
            return n + 1

        async def alook(n: int, ctx: flow.Context) -> int:
            await anyio.sleep(0)
            return look(n, ctx)

        def holds(n: int, ctx: flow.Context) -> bool:
            assert (ctx.node, ctx.attempt, ctx.inputs["n"]) == ("l", 1, n - 1)
            return ctx.data.get("mine") == 2

        dag = flow.Dag("d")
        dag.add("first", _setting)
        dag.loop("l", alook if is_async else look, carry="n", until=holds, max_iterations=9, after="first")
        data = flow.WorkflowData()
        assert flow.run(dag, {"n": 0}, config=mode, data=data, targets=["l"])["l"] == 3
        assert seen == [("a", None)] * 3
        assert "mine" not in data.keys()


def _setting(ctx: flow.Context) -> None:
    ctx.data.set("all", "a")


class TestUntil:
    def run_until(self, until: Any, mode: Config, body: Any = None, **options: Any) -> Any:
        dag = flow.Dag("d")
        body = polish_body(False) if body is None else body
        options = {"carry": {"draft": "better"}, "max_iterations": 4, **options}
        dag.loop("polish", body, until=until, **options)
        return flow.run(dag, {"draft": "a", "letter": "b"}, config=mode.replace(on_error="fail_fast"))["polish"]

    def test_it_sees_outputs_then_inputs(self, mode: Config) -> None:
        seen = []

        def until(letter: str, draft: str, better: str, *, score: int, absent: int = 7) -> bool:
            seen.append((letter, draft, better, score, absent))
            return score == 3

        assert self.run_until(until, mode)["better"] == "abb"
        assert seen == [("b", "a", "ab", 2, 7), ("b", "ab", "abb", 3, 7)]

    def test_what_a_round_does_not_have_takes_its_default(self, mode: Config) -> None:
        body = flow.Dag("body")
        body.add("n", lambda k: k + 1)
        body.add("even", lambda n: n, when=lambda n: n % 2 == 0)
        seen = []

        def until(even: int = -1, n: int = 0, ctx: flow.Context | None = None) -> bool:
            assert ctx is not None
            seen.append((even, n, dict(ctx._scope.shared.outputs)))
            return n == 3

        dag = flow.Dag("d")
        dag.loop("l", body, carry={"k": "n"}, until=until, max_iterations=9)
        assert flow.run(dag, {"k": 0}, config=mode)["l"] == {"n": 3}
        assert seen == [(-1, 1, {"n": 1}), (2, 2, {"n": 2, "even": 2}), (-1, 3, {"n": 3})]

    def test_what_a_round_does_not_have_and_has_no_default(self, mode: Config) -> None:
        body = flow.Dag("body")
        body.add("n", lambda k: k + 1)
        body.add("even", lambda n: n, when=lambda n: n % 2 == 0)
        dag = flow.Dag("d")
        dag.loop("l", body, carry={"k": "n"}, until=lambda even: False, max_iterations=9)
        with pytest.raises(flow.RunError) as caught:
            flow.run(dag, {"k": 0}, config=mode.replace(on_error="fail_fast"))
        assert "takes 'even', which this round does not have: give it a default" in str(kept(caught.value))

    @pytest.mark.parametrize("answer", [None, 1, "yes", 0.0])
    def test_it_answers_true_or_false(self, mode: Config, answer: Any) -> None:
        asked = []

        def until(score: int) -> Any:
            asked.append(score)
            return answer

        with pytest.raises(flow.RunError) as caught:
            self.run_until(until, mode, retry=flow.Retry(3, delay=0.0))
        error = kept(caught.value)
        assert isinstance(error, flow.UsageError)
        assert f"until ({__file__}:" in str(error)
        assert str(error).endswith(f"returns True or False, not {answer!r}")
        assert asked == [2]  # trying again would change nothing
        assert error.__notes__[0] == "in round 1 of loop 'polish'"

    def test_a_coroutine_is_no_answer(self, mode: Config) -> None:
        async def later() -> bool:
            return True

        with pytest.raises(flow.RunError, match="polish") as caught:
            self.run_until(lambda score: later(), mode)
        assert "returns True or False, not <coroutine" in str(kept(caught.value))

    def test_its_exception_is_the_nodes(self, mode: Config) -> None:
        mine = ZeroDivisionError("mine")

        def until(score: int) -> bool:
            if score == 3:
                raise mine
            return False

        with pytest.raises(flow.RunError) as caught:
            self.run_until(until, mode)
        assert kept(caught.value) is mine
        assert mine.__notes__[0] == "in round 2 of loop 'polish'"
        frames = []
        at = mine.__traceback__
        while at is not None:
            frames.append(at.tb_frame.f_code.co_name)
            at = at.tb_next
        assert frames == ["until"]

    def test_its_contextvars_are_its_own(self, mode: Config) -> None:
        from contextvars import ContextVar

        var: ContextVar[int] = ContextVar("var", default=0)
        seen = []

        def until(score: int) -> bool:
            seen.append(var.get())
            var.set(score)
            return score == 4

        self.run_until(until, mode)
        assert seen == [0, 0, 0]


class TestLimit:
    def test_the_node_fails_at_the_limit(self, mode: Config, is_async: bool) -> None:
        dag = polishing(is_async, until=lambda score: False)
        with pytest.raises(flow.RunError) as caught:
            flow.run(dag, {"letter": "b"}, config=mode.replace(on_error="fail_fast"))
        error = kept(caught.value)
        assert isinstance(error, LoopLimit)
        assert (error.loop, error.rounds) == ("polish", 5)
        assert str(error).startswith("loop 'polish' has run 5 rounds, the most it may (max_iterations), and until (")
        assert caught.value.result.status["printed"] == "skipped"

    def test_or_the_last_round_is_taken(self, mode: Config, is_async: bool) -> None:
        dag = polishing(is_async, until=lambda score: False, on_limit="return")
        assert flow.run(dag, {"letter": "b"}, config=mode, targets=["printed"])["printed"] == "abbbbb"
        dag = polishing(is_async, until=lambda score: False, on_limit="return", history=True)
        assert flow.run(dag, {"letter": "b"}, config=mode, targets=["printed"])["printed"] == 5

    def test_the_error_travels(self) -> None:
        import pickle

        error = LoopLimit("l", 3, "file.py:1")
        copy = pickle.loads(pickle.dumps(error))
        assert (str(copy), copy.loop, copy.rounds) == (str(error), "l", 3)


class TestFailures:
    def test_the_functions_own_exception_fails_the_node(self, mode: Config, is_async: bool) -> None:
        mine = ValueError("mine")

        def fails(n: int) -> int:
            if n == 3:
                raise mine
            return n + 1

        async def afails(n: int) -> int:
            await anyio.sleep(0)
            return fails(n)

        dag = flow.Dag("d")
        dag.loop("l", afails if is_async else fails, carry="n", until=lambda n: False, max_iterations=9)
        with pytest.raises(flow.RunError) as caught:
            flow.run(dag, {"n": 1}, config=mode.replace(on_error="fail_fast"))
        assert kept(caught.value) is mine
        assert mine.__notes__[1] == "in round 3 of loop 'l'"
        assert mine.__notes__[2].startswith("in node 'l' (")
        frames = mine.__traceback__
        while frames is not None:
            assert frames.tb_frame.f_code.co_filename == __file__
            frames = frames.tb_next

    def test_a_dags_failure_is_its_runs(self, mode: Config) -> None:
        body = flow.Dag("body")
        body.add("n", lambda k: 12 // (3 - k))
        body.add("after", lambda n: n)
        body.add("next", lambda k: k + 1)
        dag = flow.Dag("d")
        dag.loop("l", body, carry={"k": "next"}, until=lambda n: False, max_iterations=9)
        with pytest.raises(flow.RunError) as caught:
            flow.run(dag, {"k": 1}, config=mode.replace(on_error="fail_fast"))
        error = kept(caught.value)
        assert isinstance(error, flow.RunError)
        assert error.nodes == ("n",)
        assert error.result.status["after"] == "skipped"
        assert error.__notes__[0] == "in round 3 of loop 'l'"

    def test_what_the_body_tolerates_is_no_failure(self, mode: Config) -> None:
        body = flow.Dag("body")
        body.add("n", lambda k: k + 1)
        body.add("bad", lambda n: 1 // 0, continue_on_error=True)
        body.add("spare", lambda n: 1 // 0, fallback=5)
        body.map("each", lambda item: 1 // item, over="items", on_error="collect")
        dag = flow.Dag("d")
        dag.loop("l", body, carry={"k": "n"}, until=lambda n, spare: n == spare, max_iterations=9)
        result = flow.run(dag, {"k": 2, "items": [0, 1]}, config=mode)
        assert {name: value for name, value in result["l"].items() if name != "each"} == {"n": 5, "spare": 5}
        assert result["l"]["each"].failed == 1

    def test_retry_covers_the_whole_loop(self, mode: Config, is_async: bool) -> None:
        called: list[int] = []
        attempts: list[int] = []

        def flaky(n: int) -> int:
            called.append(n)
            if called.count(n) == 1 and n == 1:
                raise OSError("once")
            return n + 1

        async def aflaky(n: int) -> int:
            return flaky(n)

        def until(n: int, ctx: flow.Context) -> bool:
            attempts.append(ctx.attempt)
            return n == 3

        dag = flow.Dag("d")
        fn = aflaky if is_async else flaky
        dag.loop("l", fn, carry="n", until=until, max_iterations=3, retry=flow.Retry(2, delay=0.0))
        result = flow.run(dag, {"n": 0}, config=mode)
        assert (result["l"], called, attempts) == (3, [0, 1, 0, 1, 2], [1, 2, 2, 2])
        assert result.attempts == {"l": 2}

    def test_fallback_is_that_of_the_whole_loop(self, mode: Config) -> None:
        dag = flow.Dag("d")
        fallback = lambda error: error.rounds  # noqa: E731
        dag.loop("l", lambda n: n, carry="n", until=lambda n: False, max_iterations=2, fallback=fallback)
        result = flow.run(dag, {"n": 0}, config=mode)
        assert result["l"] == 2
        assert isinstance(result.fallbacks["l"], LoopLimit)

    def test_an_output_to_be_carried_that_is_not_there(self, mode: Config) -> None:
        body = flow.Dag("body")
        body.add("n", lambda k: k + 1)
        body.add("even", lambda n: n, when=lambda n: n % 2 == 0)
        dag = flow.Dag("d")
        dag.loop("l", body, carry={"k": "even"}, until=lambda n: n > 9, max_iterations=9)
        with pytest.raises(flow.RunError) as caught:
            flow.run(dag, {"k": 1}, config=mode.replace(on_error="fail_fast"))
        assert str(kept(caught.value)) == (
            "carry gives input 'k' the output of 'even', which is bypassed and has none: "
            "merge it with what is to be taken then"
        )
        assert kept(caught.value).__notes__[0] == "in round 2 of loop 'l'"

    def test_failed_runs_are_let_go(self, mode: Config) -> None:
        import gc
        import weakref

        class Big:
            pass

        held: list[weakref.ref[Big]] = []

        def fails(n: int) -> int:
            big = Big()
            held.append(weakref.ref(big))
            if n == 2:
                raise ValueError("no")
            return n + 1

        dag = flow.Dag("d")
        dag.loop("l", fails, carry="n", until=lambda n: False, max_iterations=9)
        gc.collect()
        gc.disable()
        try:
            with pytest.raises(flow.RunError):
                flow.run(dag, {"n": 0}, config=mode.replace(on_error="fail_fast"))
            alive = [ref() for ref in held]
        finally:
            gc.enable()
        assert alive == [None, None, None]


class TestTimeAndCancellation:
    """Rounds that never end by themselves, and never suspend."""

    def endless(self, is_async: bool, **options: Any) -> flow.Dag:
        async def more(n: int) -> int:
            return n + 1

        dag = flow.Dag("d")
        fn = more if is_async else lambda n: n + 1
        dag.loop("l", fn, carry="n", until=lambda n: False, max_iterations=10**9, **options)
        return dag

    def test_a_limit_of_the_run_is_looked_at_between_rounds(self) -> None:
        clock = flow.testing.FakeClock()

        def more(n: int) -> int:
            clock.sleep(1.0)
            return n + 1

        dag = flow.Dag("d")
        dag.loop("l", more, carry="n", until=lambda n: False, max_iterations=10**9)
        with pytest.raises(flow.RunError) as caught:
            flow.run(dag, {"n": 0}, config=Config(clock=clock, timeout=3.5))
        assert caught.value.timed_out
        assert caught.value.result.status["l"] == "cancelled"
        assert clock.now() == 4.0

    @pytest.mark.parametrize(
        ("timeout", "why"),
        [(3.5, "its attempt limit of 3.5 s"), (flow.Timeout(node=5.5), "its overall limit of 5.5 s")],
    )
    def test_a_limit_of_the_node_is_looked_at_between_rounds(self, timeout: Any, why: str) -> None:
        clock = flow.testing.FakeClock()
        rounds = []

        def more(n: int) -> int:
            rounds.append(n)
            clock.sleep(1.0)
            return n + 1

        dag = flow.Dag("d")
        retry = flow.Retry(2, delay=0.0)
        dag.loop("l", more, carry="n", until=lambda n: False, max_iterations=10**9, timeout=timeout, retry=retry)
        with pytest.raises(flow.RunError) as caught:
            flow.run(dag, {"n": 0}, config=Config(clock=clock))
        error = kept(caught.value)
        assert isinstance(error, flow.NodeTimeout)
        assert f"node 'l' exceeded {why}: it had run {4 if error.overall is False else 6} rounds" in str(error)
        assert len(rounds) == (6 if error.overall else 8)

    @pytest.mark.parametrize("settings", [{}, {"executor": "thread"}], ids=["loop", "thread"])
    def test_a_limit_of_the_run_on_an_event_loop(self, backend: str, is_async: bool, settings: dict[str, Any]) -> None:
        dag = self.endless(is_async)
        dag.add("waits", _waiting)
        config = Config(backend=backend, timeout=0.05, **settings)  # type: ignore[arg-type]
        with pytest.raises(flow.RunError) as caught:
            flow.run(dag, {"n": 0}, config=config)
        assert caught.value.timed_out
        assert caught.value.result.status == {"l": "cancelled", "waits": "cancelled"}

    @pytest.mark.parametrize("thread", [False, True])
    def test_a_limit_of_the_node_on_an_event_loop(self, backend: str, thread: bool) -> None:
        dag = self.endless(False, timeout=0.05, thread=thread)
        dag.add("turns", _turning)
        with pytest.raises(flow.RunError) as caught:
            flow.run(dag, {"n": 0}, config=Config(backend=backend))  # type: ignore[arg-type]
        assert isinstance(kept(caught.value), flow.NodeTimeout)

    def test_an_abandoned_loop_leaves_its_thread(self, backend: str) -> None:
        mine: list[threading.Thread] = []
        dag = flow.Dag("d")

        def more(n: int) -> int:
            mine.append(threading.current_thread())
            return n + 1

        options: Any = {"timeout": 0.05, "thread": True, "abandon_on_timeout": True, "continue_on_error": True}
        dag.loop("l", more, carry="n", until=lambda n: False, max_iterations=10**9, **options)
        result = flow.run(dag, {"n": 0}, config=Config(backend=backend))  # type: ignore[arg-type]
        assert isinstance(result.errors["l"], flow.NodeTimeout)
        for _ in range(1000):  # the thread ends its round, and nothing tells when
            if not _is_busy(mine[0]):
                break
            time.sleep(0.01)
        assert not _is_busy(mine[0])

    @pytest.mark.parametrize("thread", [False, True])
    def test_cancelled_from_outside(self, on_loop: Any, is_async: bool, thread: bool) -> None:
        dag = self.endless(is_async, **({"thread": True} if thread and not is_async else {}))

        async def main() -> bool:
            with anyio.move_on_after(0.05) as scope:
                await flow.execute(dag, {"n": 0})
            return scope.cancelled_caught

        assert on_loop(main)

    def test_others_run_between_the_rounds(self, backend: str, is_async: bool) -> None:
        """The loop ends when the node beside it says so, which needs many turns of the event loop."""
        dag = flow.Dag("d")
        turned = []

        async def turning() -> None:
            for _ in range(20):
                await anyio.sleep(0)
            turned.append(True)

        async def same(n: int) -> int:
            return n

        fn = same if is_async else lambda n: n
        dag.loop("l", fn, carry="n", until=lambda n: bool(turned), max_iterations=10**9)
        dag.add("turning", turning)
        assert flow.run(dag, {"n": 3}, config=Config(backend=backend))["l"] == 3  # type: ignore[arg-type]


    @pytest.mark.parametrize("where", ["dag", "map", "loop", "deep"])
    def test_others_run_between_the_rounds_of_an_inner_loop(self, backend: str, where: str) -> None:
        turned = []
        rounds = []

        async def turning() -> None:
            for _ in range(20):
                await anyio.sleep(0)
            turned.append(True)

        def same(n: int) -> int:
            rounds.append(n)
            return n

        inner = flow.Dag("inner")
        inner.loop("l", same, carry="n", until=lambda n: bool(turned), max_iterations=10**9)
        dag = flow.Dag("d")
        if where == "deep":
            outer = flow.Dag("outer")
            outer.add("n", lambda: 3)
            outer.add("in", inner)
            inner = outer
        if where == "map":
            inner.add("n", lambda item: item)
            dag.map("all", inner, over="items")
        elif where == "loop":
            dag.loop("outer", inner, until=lambda l: True, max_iterations=2)  # noqa: E741
        else:
            dag.add("in", inner)
        dag.add("turning", turning)
        inputs = {"items": [3, 4]} if where == "map" else {} if where == "deep" else {"n": 3}
        result = flow.run(dag, inputs, config=Config(backend=backend))  # type: ignore[arg-type]
        assert result.ok
        assert set(rounds) == ({3, 4} if where == "map" else {3})


async def _waiting() -> None:
    await anyio.sleep(100)


async def _turning() -> None:
    await anyio.sleep(0)


def _is_busy(thread: threading.Thread) -> bool:
    """Tell whether a worker thread makes a call."""
    import sys

    frame = sys._current_frames().get(thread.ident or 0)
    while frame is not None:
        if frame.f_code.co_name == "_call" and frame.f_code.co_filename.endswith("threads.py"):
            return True
        frame = frame.f_back
    return False


class TestWhere:
    """Threads and executors, as for a Dag that is a node."""

    def test_thread_moves_the_whole_loop_there(self, backend: str) -> None:
        seen: list[int] = []

        def more(n: int) -> int:
            seen.append(threading.get_ident())
            return n + 1

        def until(n: int) -> bool:
            seen.append(threading.get_ident())
            return n == 3

        dag = flow.Dag("d")
        dag.loop("l", more, carry="n", until=until, max_iterations=9, thread=True)
        assert flow.run(dag, {"n": 0}, config=Config(backend=backend))["l"] == 3  # type: ignore[arg-type]
        assert len(set(seen)) == 1
        assert seen[0] != threading.get_ident()

    @pytest.mark.parametrize("everywhere", [False, True])
    def test_the_functions_of_the_rounds_run_in_an_executor(self, backend: str, everywhere: bool) -> None:
        names: list[str] = []

        def more(n: int) -> int:
            names.append(threading.current_thread().name)
            return n + 1

        with ThreadPoolExecutor(1, thread_name_prefix="mine") as pool:
            options = {} if everywhere else {"executor": "pool"}
            dag = flow.Dag("d")
            dag.loop("l", more, carry="n", until=lambda n: n == 3, max_iterations=9, **options)
            config = Config(backend=backend, executors={"pool": pool}, executor="pool" if everywhere else "inline")  # type: ignore[arg-type]
            assert flow.run(dag, {"n": 0}, config=config)["l"] == 3
        assert [name[:4] for name in names] == ["mine"] * 3

    def test_in_processes(self) -> None:
        dag = flow.Dag("d")
        dag.loop("l", pool_functions.square, carry="x", until=lambda x: x > 100, max_iterations=9, executor="pool")
        with ProcessPoolExecutor(1) as pool:
            assert flow.run(dag, {"x": 2}, config=Config(executors={"pool": pool}))["l"] == 256

    def test_an_async_body_is_in_no_thread(self) -> None:
        dag = flow.Dag("d")
        dag.loop("l", _waiting, until=lambda n: True, max_iterations=1, thread=True)
        with pytest.raises(flow.DefinitionError, match="thread=True is for sync functions, and this one is async"):
            dag.compile()

    def test_async_hooks_and_a_thread_exclude_each_other(self) -> None:
        async def hook(outcome: NodeOutcome) -> None: ...

        dag = flow.Dag("d")
        dag.loop("l", lambda n: n, until=lambda n: True, max_iterations=1, thread=True, carry="n")
        with pytest.raises(flow.UsageError, match="where the run's async hook cannot be awaited"):
            flow.run(dag, {"n": 1}, config=Config(mode="tasks", on_outcome=lambda: hook))


class TestTogether:
    """With everything else a node may be, be in, or have within."""

    def test_a_loop_in_a_loop(self, mode: Config, is_async: bool) -> None:
        dag, outer = flow.Dag("d"), flow.Dag("outer")
        outer.loop("polish", polish_body(is_async), carry={"draft": "better"}, until=lambda score: score % 3 == 0,
                   max_iterations=5)  # fmt: skip
        outer.add("text", lambda polish: polish["better"])
        dag.loop("l", outer, carry={"draft": "text"}, until=lambda text: len(text) == 9, max_iterations=5, history=True)
        result = flow.run(dag, {"draft": "a", "letter": "b"}, config=mode)
        assert [each["text"] for each in result["l"]] == ["abb", "abbbbb", "abbbbbbbb"]

    def test_a_loop_for_each_item_of_a_map(self, mode: Config, is_async: bool) -> None:
        each = flow.Dag("each")
        each.loop("polish", polish_body(is_async), carry={"draft": "better"}, until=lambda score: score > 3,
                  max_iterations=5)  # fmt: skip
        each.add("draft", lambda item: item)
        dag = flow.Dag("d")
        dag.map("all", each, over="drafts")
        result = flow.run(dag, {"drafts": ["a", "bb", "ccc"], "letter": "x"}, config=mode)
        assert [one["polish"]["better"] for one in result["all"]] == ["axxx", "bbxx", "cccx"]

    def test_a_map_in_the_body(self, mode: Config, is_async: bool) -> None:
        async def twice(n: int) -> int:
            await anyio.sleep(0)
            return 2 * n

        body = flow.Dag("body")
        body.map("numbers", twice if is_async else lambda n: 2 * n, over="before")
        body.add("total", lambda numbers: sum(numbers))
        dag = flow.Dag("d")
        dag.loop("l", body, carry={"before": "numbers"}, until=lambda total: total > 50, max_iterations=9)
        assert flow.run(dag, {"before": [1, 2, 3]}, config=mode)["l"] == {"numbers": [16, 32, 48], "total": 96}

    def test_a_route_in_the_body(self, mode: Config) -> None:
        """An agent: it calls tools until it answers."""
        body = flow.Dag("turn")
        body.route("ask", lambda notes: "answer" if len(notes) > 2 else "look", to={"look": "look", "answer": "answer"})
        body.add("look", lambda notes: [*notes, "fact"])
        body.add("answer", lambda notes: notes)
        body.merge("so_far", of=["look", "answer"])
        dag = flow.Dag("agent")
        dag.loop("agent", body, carry={"notes": "so_far"}, until=lambda ask: ask == ("answer",), max_iterations=9)
        result = flow.run(dag, {"notes": []}, config=mode)
        assert dict(result["agent"]) == {"ask": ("answer",), "answer": ["fact"] * 3, "so_far": ["fact"] * 3}

    def test_a_loop_that_may_be_left_out(self, mode: Config) -> None:
        dag = polishing(False, when=lambda letter: letter != "-")
        dag.add("end", lambda polish=None: polish and polish["better"], join="none_failed")
        assert flow.run(dag, {"letter": "b"}, config=mode, targets=["end"])["end"] == "abbb"
        result = flow.run(dag, {"letter": "-"}, config=mode, targets=["end"])
        assert (result["end"], result.status["polish"]) == (None, "bypassed")

    def test_a_handler_of_a_loop_that_fails(self, mode: Config) -> None:
        dag = polishing(False, until=lambda score: False)
        dag.add("alarm", _alarm, after={"polish": "failed"})
        dag.remove("printed")
        result = flow.run(dag, {"letter": "b"}, config=mode)
        assert result.ok
        assert "has run 5 rounds" in result["alarm"]

    def test_included_in_another_dag(self, mode: Config) -> None:
        seen: list[Any] = []
        dag = flow.Dag("d")
        dag.add("letters", lambda: "b")
        dag.include(polishing(False), prefix="p", inputs={"letter": "letters"})
        observers = (*mode.observers, seen.append)
        assert flow.run(dag, config=mode.replace(observers=observers, keep="all"))["p.printed"] == "abbb"
        assert [e.node for e in seen if isinstance(e, events.RoundStarted)] == ["p.polish"] * 3

    def test_parts_of_a_plan_and_known_nodes(self, mode: Config) -> None:
        dag = polishing(False)
        result = flow.run(dag, {"letter": "b"}, config=mode, targets=["polish"])
        assert (result["polish"]["better"], "printed" in result) == ("abbb", False)
        assert flow.run(dag.compile().subgraph("polish"), {"letter": "b"}, config=mode)["polish"]["score"] == 4
        assert flow.run(dag.subgraph("polish"), {"letter": "b"}, config=mode)["polish"]["score"] == 4
        known = flow.run(dag, {}, known={"polish": {"better": "known"}}, config=mode, targets=["printed"])
        assert known["printed"] == "known"

    def test_needs_by_name_and_by_position(self, mode: Config) -> None:
        dag = flow.Dag("d")
        dag.add("one", lambda: 1)
        dag.add("ten", lambda: 10)
        dag.loop("a", lambda n, by: n + by, carry="n", until=lambda n: n > 20, max_iterations=9, needs=["one", "ten"])
        dag.loop("b", lambda n, by: n + by, carry="n", until=lambda n: n > 20, max_iterations=99,
                 needs={"n": "ten", "by": "one"})  # fmt: skip
        result = flow.run(dag, config=mode.replace(keep="all"))
        assert (result["a"], result["b"]) == (21, 21)

    def test_middleware_is_around_the_whole_loop(self, mode: Config) -> None:
        called: list[str] = []

        def around(call: Any, ctx: flow.Context) -> Any:
            called.append(ctx.node)
            return call()

        dag = polishing(False, middleware=[around])
        assert flow.run(dag, {"letter": "b"}, config=mode, targets=["printed"])["printed"] == "abbb"
        assert called == ["polish"]

    def test_a_body_is_as_it_was_when_it_was_added(self) -> None:
        body = polish_body(False)
        dag = flow.Dag("d")
        dag.loop("l", body, until=lambda score: True, max_iterations=1)
        body.add("more", lambda: 1)
        assert dict(flow.run(dag, {"draft": "a", "letter": "b"})["l"]) == {"better": "ab", "score": 2}

    def test_replaced_like_any_node(self) -> None:
        dag = polishing(False)
        dag.loop("polish", lambda draft: draft, until=lambda text: True, max_iterations=1, replace=True)
        dag.add("printed", lambda polish: polish, replace=True)
        assert flow.run(dag)["printed"] == "a"


def _alarm(polish: flow.Outcome[Any]) -> str:
    return str(polish.error)


class TestSeenFromOutside:
    def test_observers_see_each_round(self, mode: Config, is_async: bool) -> None:
        seen: list[Any] = []
        config = mode.replace(observers=(seen.append,), on_error="fail_fast")
        flow.run(polishing(is_async), {"letter": "b"}, config=config, targets=["polish"])
        run_id = seen[0].run_id
        rounds = [e for e in seen if isinstance(e, (events.RoundStarted, events.RoundFinished))]
        assert [(type(e).__name__, e.run_id, e.node, e.round) for e in rounds] == [
            (name, run_id, "polish", k) for k in (1, 2, 3) for name in ("RoundStarted", "RoundFinished")
        ]
        assert [e.at for e in rounds] == sorted(e.at for e in rounds)
        inner = [e for e in seen if isinstance(e, events.RunStarted) and e.run_id != run_id]
        assert [(e.dag, e.nodes) for e in inner] == [("polish", 2)] * 3

    def test_a_round_that_fails_does_not_finish(self, mode: Config) -> None:
        seen: list[Any] = []
        dag = flow.Dag("d")
        def fails(n: int) -> int:
            if n == 1:
                raise ValueError("no")
            return n + 1

        dag.loop("l", fails, carry="n", until=lambda n: False, max_iterations=9)
        with pytest.raises(flow.RunError):
            flow.run(dag, {"n": 0}, config=mode.replace(observers=(seen.append,), on_error="fail_fast"))
        mine = [(type(e).__name__, getattr(e, "round", None)) for e in seen if getattr(e, "node", "") == "l"]
        rounds = [("RoundStarted", 1), ("RoundFinished", 1), ("RoundStarted", 2)]
        assert mine == [("NodeStarted", None), *rounds, ("NodeFailed", None)]

    def test_hooks_get_the_round(self, mode: Config, is_async: bool) -> None:
        told: list[Any] = []
        asked: list[Any] = []

        def tell(outcome: NodeOutcome) -> None:
            told.append((*outcome.path, outcome.node, outcome.round, str(outcome.status)))

        def ask(call: NodeCall) -> flow.Outcome[Any] | None:
            asked.append((*call.path, call.node, call.round))
            if call.round == 2 and call.node == "better":
                return flow.Outcome(value=call.arguments["draft"] + "c")
            return None

        config = mode.replace(on_outcome=lambda: tell, before_call=lambda: ask)
        result = flow.run(polishing(is_async, needs={}), {"letter": "b"}, config=config, targets=["polish"])
        assert result["polish"]["better"] == "abcb"
        nodes = [(f"polish#{k}", node, k) for k in (1, 2, 3) for node in ("better", "score")]
        assert [one for one in told if one[0] != "draft"][:-1] == [(*node, "completed") for node in nodes]
        assert told[-1] == ("polish", None, "completed")
        assert [one for one in asked if one[0] != "draft"] == [("polish", None), *nodes]

    def test_async_hooks_get_the_round(self, backend: str) -> None:
        told: list[Any] = []

        async def tell(outcome: NodeOutcome) -> None:
            await anyio.sleep(0)
            told.append((*outcome.path, outcome.node, outcome.round))

        config = Config(mode="tasks", backend=backend, on_outcome=lambda: tell)  # type: ignore[arg-type]
        dag = polishing(False)
        dag.add("waits", _turning)
        assert flow.run(dag, {"letter": "b"}, config=config)["printed"] == "abbb"
        assert [one for one in told if one[0] == "polish#2"] == [("polish#2", "better", 2), ("polish#2", "score", 2)]

    def test_the_path_of_a_map_in_a_round_in_an_item(self) -> None:
        told: list[Any] = []
        body = flow.Dag("body")
        body.map("twice", lambda n: 2 * n, over="item")
        each = flow.Dag("each")
        each.loop("l", body, carry={"item": "twice"}, until=lambda twice: sum(twice) > 5, max_iterations=5)
        dag = flow.Dag("d")
        dag.map("all", each, over="lists")
        tell = lambda o: told.append((o.path, o.node, o.item, o.round))  # noqa: E731
        result = flow.run(dag, {"lists": [[1, 1]]}, config=Config(on_outcome=lambda: tell))
        assert result["all"] == [{"l": {"twice": [4, 4]}}]
        assert (("all[0]", "l#2"), "twice", 1, 2) in told
        assert (("all[0]", "l#2"), "twice", None, 2) in told
        assert (("all[0]",), "l", None, None) in told

    def test_timelines_show_rounds(self) -> None:
        clock = flow.testing.FakeClock()

        def more(n: int) -> int:
            clock.sleep(0.1)
            return n + 1

        dag = flow.Dag("d")
        dag.loop("l", more, carry="n", until=lambda n: n == 2, max_iterations=9)
        result = flow.run(dag, {"n": 0}, config=Config(clock=clock, timing=True))
        lines = result.timeline().splitlines()
        assert lines[-3:] == [
            "    section l#58; 2 rounds", "    l#35;1 :done, t1, 0, 100ms", "    l#35;2 :done, t2, 100, 100ms",
        ]  # fmt: skip
        assert ">l: 2 rounds<" in result.timeline("svg")
        assert ">l#1<" in result.timeline("svg")

    def test_timelines_of_loops_that_fail_and_of_many_rounds(self) -> None:
        dag = flow.Dag("d")

        def fails(n: int) -> int:
            return n + 1 if n < 59 else n // 0

        dag.loop("l", fails, carry="n", until=lambda n: False, max_iterations=99)
        result = flow.run(dag, {"n": 0}, config=Config(timing=True, on_error="collect"))
        svg = result.timeline("svg")
        assert "l: 60 rounds, 1 failed (the slowest ones are drawn" in svg
        assert "l#60" in svg

    def test_the_log_and_the_progress_know_rounds(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level("DEBUG", logger="flow")
        progress = flow.observe.Progress()
        rows: list[dict[str, int]] = []

        def until(score: int) -> bool:
            rows.append(dict(next(iter(progress._rows.values())).rounds))
            return score > 3

        dag = polishing(False, until=until)
        tracker = flow.plan.StatusTracker(dag.compile())
        observers = (flow.observe.logging(), progress, flow.observe.tracking(tracker))
        flow.run(dag, {"letter": "b"}, config=Config(observers=observers))
        assert rows == [{"polish": 1}, {"polish": 2}, {"polish": 3}]
        assert not next(iter(progress._rows.values())).rounds
        said = [r.getMessage().partition(": ")[2] for r in caplog.records if "round" in r.getMessage()]
        assert said[:2] == ["polish: round 1 begins", "polish: round 1 completed"]
        assert {r.levelname for r in caplog.records if "round" in r.getMessage()} == {"DEBUG"}
        assert tracker["polish"] == "completed"

    def test_results_tell_how_many_rounds_there_were(self, mode: Config) -> None:
        result = flow.run(polishing(False), {"letter": "b"}, config=mode.replace(keep="all"))
        assert {name: node.get("rounds") for name, node in result.to_dict()["nodes"].items()} == {
            "draft": None, "polish": 3, "printed": None,
        }  # fmt: skip
        assert "3 rounds" in result.graph("svg")
        dag = polishing(False, until=lambda score: 1 // (3 - score))
        result = flow.run(dag, {"letter": "b"}, config=mode.replace(keep="all", on_error="collect"))
        assert result.to_dict()["nodes"]["polish"]["rounds"] == 1

    def test_pictures_say_what_it_is(self) -> None:
        from flow.cli.show import lines

        plan = polishing(False).compile()
        assert "loop, up to 5 rounds, 2 nodes, sync" in plan._repr_html_()
        assert any("loop, sync" in line for line in lines(plan, "table", False))
        assert repr(plan._nodes.fns[1]) == "<loop of <Plan('polish', nodes=2, edges=1) as one node>, at most 5 rounds>"
