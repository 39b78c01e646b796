"""Routing in every mode and on every loop: the rows of the table in docs/routing.md."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

import flow
from flow.errors import RouteError
from flow.run import events

MODES: Mapping[str, dict[str, Any]] = {
    "inline": {},
    "asyncio": {"mode": "async"},
    "bounded": {"mode": "async", "limit": 1},
    "workers": {"mode": "workers", "limit": 2},
    "threads": {"executor": "thread"},
    "trio": {"mode": "async", "backend": "trio"},
    "uvloop": {"mode": "async", "backend": "uvloop"},
    "collect": {"on_error": "collect"},
}


@pytest.fixture(params=MODES)
def mode(request: pytest.FixtureRequest) -> dict[str, Any]:
    return dict(MODES[request.param])


def fails() -> int:
    raise ValueError("no")


async def afails() -> int:
    raise ValueError("no")


def one() -> int:
    return 1


async def aone() -> int:
    return 1


def run(dag: flow.Dag, mode: Mapping[str, Any], **settings: Any) -> flow.Result:
    """Run it; a run that is not ok gives its Result as well."""
    if mode.get("mode") == "async":
        mode = {key: value for key, value in mode.items() if key != "mode"}
        dag.add("waits", aone)
    try:
        return flow.run(dag, config=flow.Config(**mode, **settings))
    except flow.RunError as error:
        return error.result


def statuses(result: flow.Result) -> dict[str, str]:
    return {name: str(status) for name, status in result.status.items() if name != "waits"}


def router(choice: Any) -> flow.Dag:
    dag = flow.Dag("triage")
    dag.route("triage", lambda: choice, to={"spam": "drop", "bill": "pay", "other": "answer"})
    for name in ("drop", "pay", "answer"):
        dag.add(name, lambda name=None, said=name: said, needs={})
    dag.merge("outcome", of=["drop", "pay", "answer"])
    return dag


class TestJoins:
    """One row each: what a join says of a node after one that completed, one that failed, one that was bypassed."""

    ROWS: Mapping[Any, tuple[str, str, str, str]] = {
        # after:      completed    +bypassed    +failed    bypassed alone
        "all": ("completed", "bypassed", "skipped", "bypassed"),
        "some": ("completed", "completed", "skipped", "bypassed"),
        "none_failed": ("completed", "completed", "skipped", "completed"),
        "done": ("completed", "completed", "completed", "completed"),
        "failed": ("bypassed", "bypassed", "completed", "bypassed"),
        1: ("completed", "completed", "completed", "bypassed"),
    }

    @pytest.mark.parametrize("join", ROWS)
    def test_a_row(self, mode: dict[str, Any], join: Any) -> None:
        dag = flow.Dag("d")
        dag.add("ok", one)
        dag.add("not", one, when=lambda: False)
        dag.add("bad", fails)
        dag.add("handler", one, after={"bad": "failed"})  # so that the run goes on
        for name, after in {"a": ["ok"], "b": ["ok", "not"], "c": ["ok", "not", "bad"], "d": ["not"]}.items():
            dag.add(name, one, after=after, join=join)
        found = statuses(run(dag, mode))
        assert tuple(found[name] for name in "abcd") == self.ROWS[join]

    @pytest.mark.parametrize(
        ("fn", "expected"),
        [(one, ("completed", "bypassed", "completed")), (fails, ("skipped", "completed", "completed"))],
    )
    def test_conditions(self, mode: dict[str, Any], fn: Any, expected: tuple[str, ...]) -> None:
        dag = flow.Dag("d")
        dag.add("a", fn)
        for condition in ("completed", "failed", "done"):
            dag.add(condition, one, after={"a": condition})
        found = statuses(run(dag, mode))
        assert tuple(found[name] for name in ("completed", "failed", "done")) == expected

    def test_a_bypassed_node_is_done_and_has_not_failed(self, mode: dict[str, Any]) -> None:
        dag = flow.Dag("d")
        dag.add("a", one, when=lambda: False)
        dag.add("done", one, after={"a": "done"})
        dag.add("failed", one, after={"a": "failed"})
        assert statuses(run(dag, mode)) == {"a": "bypassed", "done": "completed", "failed": "bypassed"}

    def test_a_join_of_k_starts_early_and_takes_defaults(self) -> None:
        """``late`` waits for ``first``: no join but that of 1 could start it."""
        import asyncio

        started = asyncio.Event()

        async def late() -> str:
            await started.wait()
            return "late"

        async def first(quick: str, late: str = "undecided") -> tuple[str, str]:
            started.set()
            return quick, late

        dag = flow.Dag("d")
        dag.add("quick", lambda: "quick")
        dag.add("late", late)

        async def taking(quick: str = "none", late: str = "undecided") -> tuple[str, str]:
            return await first(quick, late)

        dag.add("first", taking, join=1)
        result = flow.run(dag)
        assert (result["first"], result["late"]) == (("quick", "undecided"), "late")

    def test_a_join_of_k_that_cannot_come(self, mode: dict[str, Any]) -> None:
        dag = flow.Dag("d")
        dag.add("a", one)
        dag.add("b", one, when=lambda: False)
        dag.add("c", one, after=["a", "b"], join=2)
        result = run(dag, mode)
        assert statuses(result)["c"] == "bypassed" and result.ok
        assert result.why("c") == "node 'c' was bypassed: 1 of the 2 live edges that it waits for came (join=2)"


class TestValues:
    def test_a_reader_of_a_dead_edge_takes_its_own_default(self, mode: dict[str, Any]) -> None:
        dag = flow.Dag("d")
        dag.add("a", one)
        dag.add("b", one, when=lambda: False)
        dag.add("c", lambda a=10, b=20: (a, b), join="some")
        assert run(dag, mode)["c"] == (1, 20)

    def test_an_edge_that_was_not_chosen_brings_nothing(self, mode: dict[str, Any]) -> None:
        dag = flow.Dag("d")
        dag.add("go", one)
        dag.route("choose", lambda: "x", to={"x": "x", "y": "y"})
        dag.add("x", lambda choose: choose)
        dag.add("y", lambda go=0, choose=None: (go, choose), join="some")
        result = run(dag, mode)
        assert (result["x"], result["y"]) == (("x",), (1, None))

    @pytest.mark.parametrize("keep", ["all", "targets"])
    def test_outcomes(self, mode: dict[str, Any], keep: str) -> None:
        seen = []

        def report(ok: flow.Outcome[int], bad: flow.Outcome[int], left: flow.Outcome[int]) -> int:
            seen.extend([ok, bad, left])
            return 5

        dag = flow.Dag("d")
        dag.add("ok", one)
        dag.add("bad", fails)
        dag.add("left", one, when=lambda: False)
        dag.add("report", report)
        result = run(dag, mode, keep=keep)
        ok, bad, left = seen
        assert (ok.status, ok.value, ok.error) == ("completed", 1, None)
        assert (bad.status, bad.value, str(bad.error)) == ("failed", None, "no")
        assert (left.status, left.value, left.error) == ("bypassed", None, None)
        assert result["report"] == 5 and not result.ok  # it has seen the failure, and does not handle it

    def test_a_handler_gets_the_error(self, mode: dict[str, Any]) -> None:
        def alarm(bad: flow.Outcome[int]) -> str:
            return str(bad.error)

        dag = flow.Dag("d")
        dag.add("bad", fails)
        dag.add("alarm", alarm, after={"bad": "failed"})
        result = run(dag, mode)
        assert result["alarm"] == "no" and result.ok


class TestWhen:
    def test_it_reads_as_functions_do(self, mode: dict[str, Any]) -> None:
        dag = flow.Dag("d")
        dag.add("invoice", lambda: 7)
        dag.add("pay", lambda invoice: invoice, when=lambda invoice, least: invoice > least)
        dag.add("drop", lambda invoice: invoice, when=lambda invoice, *, least=9, ctx=None: invoice > least)
        if mode.get("mode") == "async":
            dag.add("waits", aone)
            del mode["mode"]
        result = flow.run(dag, {"least": 5}, config=flow.Config(**mode))
        assert statuses(result) == {"invoice": "completed", "pay": "completed", "drop": "completed"}

    def test_it_gets_the_context(self, mode: dict[str, Any]) -> None:
        def when(ctx: flow.Context) -> bool:
            return ctx.node != "it"

        dag = flow.Dag("d")
        dag.add("it", one, when=when)
        dag.add("other", one, when=when)
        assert statuses(run(dag, mode)) == {"it": "bypassed", "other": "completed"}

    @pytest.mark.parametrize("keep", ["all", "targets"])
    def test_what_it_reads_is_a_dependency(self, mode: dict[str, Any], keep: str) -> None:
        dag = flow.Dag("d")
        dag.add("it", one, when=lambda source: source == 1)
        dag.add("source", one)
        assert dag.compile().dependencies["it"] == ("source",)
        assert run(dag, mode, keep=keep).status["it"] == "completed"

    def test_it_is_asked_once(self, mode: dict[str, Any]) -> None:
        asked, called = [], []

        def flaky() -> int:
            called.append(1)
            if len(called) < 3:
                raise OSError
            return 1

        dag = flow.Dag("d")
        dag.add("it", flaky, when=lambda: not asked.append(1), retry=flow.Retry(3, delay=0.0))
        assert run(dag, mode)["it"] == 1 and (len(asked), len(called)) == (1, 3)

    @pytest.mark.parametrize("fn", [one, aone])
    @pytest.mark.parametrize(
        ("when", "error"),
        [(lambda: 1 / 0, ZeroDivisionError), (lambda: 1, flow.UsageError), (lambda: None, flow.UsageError)],
    )
    def test_one_that_raises_or_gives_no_bool_fails_the_node(
        self, mode: dict[str, Any], fn: Any, when: Any, error: type[Exception]
    ) -> None:
        seen: list[Any] = []
        dag = flow.Dag("d")
        dag.add("it", fn, when=when, retry=flow.Retry(3, delay=0.0), fallback=5)
        dag.add("after", one, after="it")
        result = run(dag, mode, observers=[seen.append])
        assert statuses(result) == {"it": "failed", "after": "skipped"} and type(result.errors["it"]) is error
        mine = [type(e).__name__ for e in seen if getattr(e, "node", "") == "it"]
        assert mine == ["NodeStarted", "NodeFailed"]
        assert "its condition (when) could not be asked" in result.why("it")

    def test_on_a_map(self, mode: dict[str, Any]) -> None:
        asked = []
        dag = flow.Dag("d")
        dag.add("xs", lambda: [1, 2, 3])
        dag.map("double", lambda x: x * 2, "xs", when=lambda xs: not asked.append(xs))
        dag.map("never", lambda x: x * 2, "xs", when=lambda xs: len(xs) > 3)
        result = run(dag, mode)
        assert result["double"] == [2, 4, 6] and result.status["never"] == "bypassed" and asked == [[1, 2, 3]]

    def test_what_a_bypassed_node_tells(self, mode: dict[str, Any]) -> None:
        seen: list[Any] = []
        told: list[Any] = []
        dag = flow.Dag("d")
        dag.add("it", one, when=lambda: False)
        dag.add("after", lambda it: it)
        run(dag, mode, observers=[seen.append], on_outcome=lambda: told.append)
        left_out = [e for e in seen if isinstance(e, events.NodeBypassed)]
        assert [(e.node, e.cause) for e in left_out] == [("it", "it"), ("after", "it")]
        assert [(t.node, t.status, t.attempt) for t in told if t.node != "waits"] == [
            ("it", "bypassed", 0), ("after", "bypassed", 0),
        ]  # fmt: skip


    def test_an_async_hook_is_told_before_anything_starts(self) -> None:
        order: list[str] = []

        async def hook(outcome: Any) -> None:
            import asyncio

            await asyncio.sleep(0)
            order.append(f"{outcome.node} {outcome.status}")

        dag = flow.Dag("d")
        dag.add("start", aone)
        dag.add("it", one, when=lambda: False, after="start")
        dag.add("then", lambda: order.append("then begins"), after={"it": "done"})
        dag.add("also", one, after="it")
        flow.run(dag, config=flow.Config(on_outcome=lambda: hook))
        assert order == ["start completed", "it bypassed", "also bypassed", "then begins", "then completed"]


class TestRouters:
    @pytest.mark.parametrize(("choice", "chosen"), [("spam", "drop"), ("bill", "pay"), (["other"], "answer")])
    def test_one(self, mode: dict[str, Any], choice: Any, chosen: str) -> None:
        result = run(router(choice), mode)
        assert (result["triage"], result["outcome"], result.ok) == ((chosen,), chosen, True)
        assert sorted(set(statuses(result).values())) == ["bypassed", "completed"]
        other = next(name for name in ("drop", "pay") if name != chosen)
        assert result.why(other) == f"node {other!r} was bypassed: router 'triage' chose {chosen!r}"

    @pytest.mark.parametrize("choice", ["nothing", None, [], ["bill", "nothing"], [[]]])
    def test_a_wrong_key(self, mode: dict[str, Any], choice: Any) -> None:
        result = run(router(choice), mode)
        assert type(result.errors["triage"]) is RouteError
        assert statuses(result) == {
            "triage": "failed", "drop": "skipped", "pay": "skipped", "answer": "skipped", "outcome": "skipped",
        }  # fmt: skip

    @pytest.mark.parametrize("choice", [None, []])
    def test_a_default(self, mode: dict[str, Any], choice: Any) -> None:
        dag = flow.Dag("d")
        dag.route("r", lambda: choice, to={"a": "a"}, default="b")
        dag.add("a", one)
        dag.add("b", one)
        assert statuses(run(dag, mode)) == {"r": "completed", "a": "bypassed", "b": "completed"}

    def test_a_fallback_and_a_hook_give_keys(self, mode: dict[str, Any]) -> None:
        dag = flow.Dag("d")
        dag.route("r", fails, to={1: "a", 2: "b"}, fallback=2)
        dag.add("a", one)
        dag.add("b", one)
        assert statuses(run(dag, mode)) == {"r": "completed", "a": "bypassed", "b": "completed"}
        answered = flow.Config(before_call=lambda: lambda call: flow.Outcome(value=1) if call.node == "r" else None)
        assert flow.run(dag, config=answered)["r"] == ("a",)

    def test_a_fallback_that_is_no_key(self, mode: dict[str, Any]) -> None:
        dag = flow.Dag("d")
        dag.route("r", fails, to={1: "a"}, fallback=2)
        dag.add("a", one)
        result = run(dag, mode)
        assert statuses(result) == {"r": "failed", "a": "skipped"}
        assert any("its fallback raised RouteError" in note for note in result.errors["r"].__notes__)

    def test_an_async_one(self, mode: dict[str, Any]) -> None:
        async def choose() -> str:
            return "a"

        dag = flow.Dag("d")
        dag.route("r", choose, to={"a": "a", "b": "b"})
        dag.add("a", aone)
        dag.add("b", one)
        assert statuses(run(dag, mode)) == {"r": "completed", "a": "completed", "b": "bypassed"}

    def test_several_must_agree_under_all(self, mode: dict[str, Any]) -> None:
        dag = flow.Dag("d")
        dag.route("r", lambda: 1, to={1: "a", 2: "b"})
        dag.route("s", lambda: 2, to={1: "a", 2: "b"})
        dag.add("a", one)
        dag.add("b", one, join="some")
        with pytest.warns(flow.DefinitionWarning, match="all of its 2 routers"):
            result = run(dag, mode)
        assert statuses(result) == {"r": "completed", "s": "completed", "a": "bypassed", "b": "completed"}

    def test_several_outputs_for_a_merge(self, mode: dict[str, Any]) -> None:
        result = run(router(["bill", "spam"]), mode)
        assert type(result.errors["outcome"]) is RouteError and "('drop', 'pay')" in str(result.errors["outcome"])
        dag = router(["bill", "spam"])
        dag.merge("first", of=["pay", "drop"], pick="first")
        assert run(dag, {"on_error": "collect"})["first"] == "pay"


class TestEnds:
    def test_a_handled_failure_is_in_order(self, mode: dict[str, Any]) -> None:
        dag = flow.Dag("saga")
        dag.add("book", one)
        dag.add("pay", fails, after="book")
        dag.add("ship", one, after="pay")
        dag.add("undo", one, after={"pay": "failed"})
        result = run(dag, mode)
        assert statuses(result) == {"book": "completed", "pay": "failed", "ship": "skipped", "undo": "completed"}
        assert result.ok and result.error() is None
        assert result.why("pay").endswith("ValueError: no; handled by 'undo'")
        assert result.why("ship") == "node 'ship' was skipped: node 'pay' failed"

    @pytest.mark.parametrize("handler", [fails, afails])
    def test_a_handler_that_fails(self, mode: dict[str, Any], handler: Any) -> None:
        dag = flow.Dag("d")
        dag.add("bad", fails)
        dag.add("handler", handler, after={"bad": "failed"})
        dag.add("later", one, after="handler")
        result = run(dag, mode)
        error = result.error()
        assert error is not None
        assert list(error.nodes) == ["bad", "handler"]
        assert statuses(result) == {"bad": "failed", "handler": "failed", "later": "skipped"}

    @pytest.mark.parametrize("settings", [{}, {"limit": 1}])
    def test_fail_fast_ends_where_no_handler_is_left(self, settings: dict[str, Any]) -> None:
        dag = flow.Dag("d")
        dag.add("bad", fails)
        dag.add("handler", one, after={"bad": "failed"}, when=lambda: False)
        dag.add("a", one, after={"handler": "done"})
        dag.add("b", one, after="a")
        with pytest.raises(flow.RunError) as caught:
            flow.run(dag, config=flow.Config(**settings))
        assert caught.value.result.status["handler"] == "bypassed"
        assert caught.value.result.status["b"] == "cancelled"

    def test_a_failure_that_nobody_handles_ends_the_run_at_once(self) -> None:
        dag = flow.Dag("d")
        dag.add("other", fails)
        dag.add("x", one, when=lambda: True, after={"other": "completed"})
        dag.add("rest", one, priority=-1)
        with pytest.raises(flow.RunError) as caught:
            flow.run(dag)
        assert statuses(caught.value.result) == {"other": "failed", "x": "skipped", "rest": "cancelled"}

    def test_a_tolerated_failure_fires_conditions_and_goes_on(self, mode: dict[str, Any]) -> None:
        dag = flow.Dag("d")
        dag.add("ads", fails, continue_on_error=True)
        dag.add("page", lambda ads=0: ads)
        dag.add("strict", lambda ads: ads)
        dag.add("alarm", one, after={"ads": "failed"})
        dag.add("ordered", one, after="ads")
        result = run(dag, mode)
        assert statuses(result) == {
            "ads": "failed", "page": "completed", "strict": "skipped", "alarm": "completed", "ordered": "completed",
        }  # fmt: skip
        assert result.ok  # strict was skipped for a failure that alarm has handled
        assert "this is tolerated" in result.why("ads")


class TestParts:
    def test_targets(self, mode: dict[str, Any]) -> None:
        result = flow.run(router("bill"), targets=["drop"])
        assert statuses(result) == {"triage": "completed", "drop": "bypassed"}
        part = router("bill").subgraph("drop")
        assert statuses(run(part, mode)) == {"triage": "completed", "drop": "bypassed"}
        plan = router("bill").compile().subgraph("pay")
        assert statuses(flow.run(plan)) == {"triage": "completed", "pay": "completed"}

    @pytest.mark.parametrize("known", ["spam", ("drop",)])
    def test_known_routers(self, known: Any) -> None:
        result = flow.run(router("bill"), known={"triage": known})
        assert (result["triage"], result["outcome"]) == (("drop",), "drop")

    @pytest.mark.parametrize("status", ["skipped", "bypassed"])
    def test_known_as_left_out(self, status: str) -> None:
        dag = flow.Dag("d")
        dag.add("a", one, when=lambda: True)
        dag.add("b", lambda a: a)
        dag.add("c", lambda a=5: a, join="done")
        result = flow.run(dag, known={"a": flow.Outcome(status)}, config=flow.Config(on_error="collect"))
        assert statuses(result) == {"a": status, "b": status, "c": "completed"} and result["c"] == 5
        assert result.why("a") == f"node 'a' was {status}, which was known before the run"
        with pytest.raises(flow.UsageError, match="cannot be bypassed"):
            flow.run(flow.topologies.linear(2), known={"n0": flow.Outcome("bypassed")})

    def test_known_failures_are_handled(self) -> None:
        dag = flow.Dag("d")
        dag.add("a", one)
        dag.add("alarm", one, after={"a": "failed"})
        result = flow.run(dag, known={"a": flow.Outcome("failed", error=ValueError("known"))})
        assert statuses(result) == {"a": "failed", "alarm": "completed"} and result.ok

    def test_a_result_with_routes_is_known_again(self) -> None:
        dag = router("bill")
        again = flow.run(dag, known=flow.run(dag))
        assert again["outcome"] == "pay" and "triage" in again.known

    def test_include(self, mode: dict[str, Any]) -> None:
        inner = flow.Dag("inner")
        inner.route("r", lambda which: which, to={1: "a", 2: "b"}, default="b")
        inner.add("a", one)
        inner.add("b", one)
        inner.add("big", one, when=lambda a, least=0: a > least, after={"b": "done"})
        inner.merge("m", of=["a", "b"])
        inner.add("alarm", one, after={"a": "failed"})
        whole = flow.Dag("whole")
        whole.add("which", one)
        whole.include(inner, prefix="p", inputs={"which": "which"})
        result = run(whole, mode)
        assert result["p.m"] == 1 and result["p.r"] == ("p.a",)
        found = [str(result.status[f"p.{name}"]) for name in ("b", "big", "alarm")]
        assert found == ["bypassed", "completed", "bypassed"]

    def test_a_nested_dag(self, mode: dict[str, Any]) -> None:
        whole = flow.Dag("whole")
        whole.add("inner", router("bill"))
        whole.add("out", lambda inner: (inner["outcome"], "drop" in inner))
        assert run(whole, mode)["out"] == ("pay", False)

    def test_plans_are_pickled_and_copied(self) -> None:
        import copy
        import pickle

        dag = flow.Dag("d")
        dag.add("a", one, when=_never)
        dag.add("b", one, after="a")
        for plan in (copy.copy(dag.compile()), pickle.loads(pickle.dumps(dag.compile()))):
            assert statuses(flow.run(plan)) == {"a": "bypassed", "b": "bypassed"}


class Held:
    """Something that a weak reference can be to."""


@pytest.mark.parametrize("handled", [True, False])
def test_failed_runs_are_let_go_without_the_garbage_collector(mode: dict[str, Any], handled: bool) -> None:
    import gc
    import weakref

    def bad(held: Held) -> int:
        raise ValueError("no")

    def when(held: Held) -> bool:
        raise ValueError("no")

    def handler(bad: flow.Outcome[int]) -> str:
        return str(bad.error)

    dag = flow.Dag("d")
    if handled:
        dag.add("bad", bad)
        dag.add("handler", handler, after={"bad": "failed"})
    else:
        dag.add("bad", one, when=when)
    gc.disable()
    try:
        held = Held()
        gone = weakref.ref(held)
        dag.add("given", lambda: 1)
        config = flow.Config(**{key: value for key, value in mode.items() if key != "mode"})
        try:
            assert flow.run(dag, {"held": held}, config=config).counts["failed"] == 1
        except flow.RunError as error:
            assert error.result.counts["failed"] == 1
        del held
        assert gone() is None
    finally:
        gc.enable()


def _never() -> bool:
    return False


def test_a_long_chain_is_bypassed_without_recursion() -> None:
    dag = flow.topologies.linear(20_000)
    dag.route("r", lambda: "other", to={"chain": "n0", "other": "other"})
    dag.add("other", one)
    result = flow.run(dag)
    assert result.counts == {"completed": 2, "bypassed": 20_000}
    assert result.why("n19999") == "node 'n19999' was bypassed: node 'n19998' before it was bypassed"




@pytest.mark.parametrize("unrelated", [True, False])
@pytest.mark.parametrize("tolerated", [True, False])
def test_a_handler_that_fails_ends_a_run_that_fails_fast(
    mode: Mapping[str, Any], unrelated: bool, tolerated: bool
) -> None:
    """Whatever an unrelated node does meanwhile: nobody is left that may handle the first failure."""
    dag = flow.Dag("handlers")
    dag.add("a", fails)
    dag.add("h", fails, after={"a": "failed"}, continue_on_error=tolerated)
    if not tolerated:
        dag.add("h2", lambda: 1, after={"h": "failed"})
    dag.add("u", lambda: 1, when=lambda: unrelated, after={"h": "done"})
    dag.add("z", lambda: 2, after={"h": "done"})
    status = statuses(run(dag, {**mode, "on_error": "fail_fast"}))
    assert (status["a"], status["h"], status["z"]) == ("failed", "failed", "cancelled")


@pytest.mark.parametrize("how", ["route", "when", "default"])
def test_a_node_that_waits_for_itself_is_refused(how: str) -> None:
    dag = flow.Dag("itself")
    dag.add("b", lambda: 1)
    if how == "when":
        dag.add("a", lambda: 1, when=lambda a: True)
    elif how == "route":
        dag.route("a", lambda: 1, to={1: "a", 2: "b"})
    else:
        dag.route("a", lambda: 1, to={2: "b"}, default="a")
    with pytest.raises(flow.errors.CycleError, match="self edge"):
        dag.compile()


def test_a_routers_fallback_is_read_as_its_functions_value_is(mode: Mapping[str, Any]) -> None:
    dag = flow.Dag("keys")
    dag.route("r", fails, to={"a": "b", "b": "a"}, fallback=("a",))
    dag.add("a", one)
    dag.add("b", one)
    assert run(dag, mode)["r"] == ("b",)
