"""Several admissions of a node, and ``settled``: they are told how the attempts ended that they have let in."""

from __future__ import annotations

from typing import Any, cast

import anyio
import anyio.lowlevel
import pytest

import flow
from flow import Config, Context, Retry
from flow.policy.admission import NotBegun

PLACES = ("sync", "async", "thread", "item", "async item", "thread item")


class Gate:
    """An admission that notes what it is asked and told."""

    def __init__(self, name: str, log: list[Any], refuses: Exception | None = None) -> None:
        self.name, self.log, self.refuses = name, log, refuses
        self.contexts: list[Any] = []

    def __call__(self, ctx: Context) -> None:
        self.log.append(f"{self.name} asked")
        if self.refuses is not None:
            raise self.refuses
        self.contexts.append(ctx)

    def settled(self, ctx: Context, error: BaseException | None) -> None:
        assert ctx is self.contexts.pop()  # the one that it was asked with
        self.log.append((self.name, error))


class LateGate(Gate):
    async def __call__(self, ctx: Context) -> None:  # type: ignore[override]
        await anyio.lowlevel.checkpoint()
        super().__call__(ctx)


def dag_of(place: str, fn: Any, **options: Any) -> flow.Dag:
    dag = flow.Dag("d")

    async def late() -> Any:
        await anyio.lowlevel.checkpoint()
        return fn()

    async def late_item(item: Any) -> Any:
        return await late()

    if "item" in place:
        dag.map("n", late_item if "async" in place else (lambda item: fn()), "xs", thread="thread" in place, **options)
    else:
        dag.add("n", late if place == "async" else fn, thread=place == "thread", **options)
    return dag


def run(dag: flow.Dag, backend: Any, **config: Any) -> flow.Result:
    inputs = {"xs": [1]} if "xs" in dag.compile().inputs else None
    return flow.run(dag, inputs, config=Config(backend=backend, on_error="collect", **config))


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("kinds", [(Gate,), (Gate, Gate), (LateGate,), (Gate, LateGate, Gate), (LateGate, LateGate)])
def test_of_each_attempt(place: str, kinds: Any, backend: str) -> None:
    log, errors = list[Any](), [OSError("first"), None]
    gates = [kind(f"g{number}", log) for number, kind in enumerate(kinds)]

    def fn() -> int:
        log.append("called")
        error = errors.pop(0)
        if error is not None:
            raise error
        return 1

    assert run(dag_of(place, fn, admission=gates, retry=Retry(2, delay=0)), backend).ok
    names = [gate.name for gate in gates]
    first, second = log[: len(log) // 2], log[len(log) // 2 :]
    assert first[: len(gates) + 1] == second[: len(gates) + 1] == [*(f"{name} asked" for name in names), "called"]
    assert [name for name, _ in first[len(gates) + 1 :]] == names[::-1]
    assert all(isinstance(error, OSError) for _, error in first[len(gates) + 1 :])
    assert second[len(gates) + 1 :] == [(name, None) for name in names[::-1]]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("kind", [Gate, LateGate])
def test_a_later_one_that_refuses(place: str, kind: type[Gate], backend: str) -> None:
    log, refusal = list[Any](), PermissionError("no")
    gates = (kind("a", log), Gate("b", log), kind("c", log, refusal), kind("d", log))
    result = run(dag_of(place, lambda: log.append("called"), admission=gates), backend)
    assert not result.ok
    asked, told = log[:3], log[3:]
    assert asked == ["a asked", "b asked", "c asked"]
    assert [name for name, _ in told] == ["b", "a"]
    assert all(isinstance(error, NotBegun) and error.error is refusal for _, error in told)
    assert not isinstance(told[0][1], Exception)


def test_a_cancelled_attempt(backend: str) -> None:
    log: list[Any] = []
    dag = flow.Dag("d")

    async def waits() -> None:
        await anyio.sleep_forever()

    dag.add("n", waits, admission=Gate("g", log))
    with pytest.raises(flow.RunError):
        flow.run(dag, config=Config(backend=backend, timeout=0.02))  # type: ignore[arg-type]
    ((name, error),) = log[1:]
    assert name == "g"
    assert isinstance(error, BaseException) and not isinstance(error, Exception)


@pytest.mark.parametrize("when", ["waiting", "at the slot"])
def test_cancelled_while_it_is_let_in(when: str, backend: str) -> None:
    """Also if that comes while the node waits for its slot again: it has been let in then."""
    log: list[Any] = []
    dag = flow.Dag("d")

    class Slow(Gate):
        async def __call__(self, ctx: Context) -> None:  # type: ignore[override]
            super().__call__(ctx)
            if when == "waiting":
                await anyio.sleep_forever()
            await held.wait()

    held = anyio.Event()

    async def holds() -> None:
        held.set()
        await anyio.sleep_forever()

    dag.add("n", lambda: log.append("called"), admission=[Gate("first", log), Slow("slow", log)])
    dag.add("holds", holds)
    with pytest.raises(flow.RunError):
        flow.run(dag, config=Config(backend=backend, timeout=0.05, limit=1))  # type: ignore[arg-type]
    told = [entry for entry in log if isinstance(entry, tuple)]
    assert [name for name, _ in told] == (["first"] if when == "waiting" else ["slow", "first"])
    assert "called" not in log
    assert all(isinstance(error, NotBegun) for _, error in told)


def test_a_time_limit_is_a_failure(backend: str) -> None:
    log: list[Any] = []

    async def waits() -> None:
        await anyio.sleep_forever()

    dag = flow.Dag("d")
    dag.add("n", waits, admission=Gate("g", log), timeout=0.01)
    assert not run(dag, backend).ok
    assert isinstance(log[-1][1], flow.NodeTimeout)


def test_what_settled_raises_is_logged(backend: str, caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Gate):
        def settled(self, ctx: Context, error: BaseException | None) -> None:
            super().settled(ctx, error)
            raise OSError("of settled")

    log: list[Any] = []
    assert run(dag_of("async", lambda: 1, admission=[Gate("a", log), Broken("b", log)]), backend).ok
    assert log[2:] == [("b", None), ("a", None)]
    (record,) = caplog.records
    assert "the admission a Broken of node 'n' raised in settled" in record.getMessage()


def test_secrets_are_masked_for_them() -> None:
    """They may show the error in another run."""
    from test_report import Inputs

    log: list[Any] = []
    dag = flow.Dag("d", inputs=Inputs)

    def fails(token: str) -> None:
        raise OSError(f"refused {token}")

    dag.add("n", fails, admission=Gate("g", log))
    flow.run(dag, {"token": "very-secret"}, config=Config(on_error="collect"))
    assert str(log[-1][1]) == "refused ***"


def test_none_in_a_list_is_none() -> None:
    dag = flow.Dag("d")
    dag.add("n", lambda: 1, admission=[])
    assert flow.run(dag)["n"] == 1
    assert not dag.compile()._nodes.binders  # nothing is paid


def test_a_plain_list_needs_no_event_loop() -> None:
    log: list[Any] = []
    dag = flow.Dag("d")
    dag.add("n", lambda: 1, admission=[Gate("a", log), lambda ctx: log.append("plain")])
    assert flow.run(dag, config=Config(mode="inline"))["n"] == 1
    assert log == ["a asked", "plain", ("a", None)]


def test_one_that_awaits_without_saying_so() -> None:
    log: list[Any] = []

    async def late() -> None:
        raise AssertionError

    dag = flow.Dag("d")
    sly: Any = lambda ctx: late()  # noqa: E731
    dag.add("n", lambda: 1, admission=[Gate("a", log), sly])
    with pytest.raises(flow.RunError) as caught:
        flow.run(dag)
    assert "the admission of node 'n' returned something to await: make it async" in str(caught.value.exceptions[0])
    assert isinstance(log[-1][1], NotBegun)


def test_wrong_admissions() -> None:
    class Late(Gate):
        async def settled(self, ctx: Context, error: BaseException | None) -> None:  # type: ignore[override]
            raise AssertionError

    class Odd(Gate):
        settled = 3  # type: ignore[assignment]

    dag, three = flow.Dag("d"), cast(Any, 3)
    dag.add("a", lambda: 1, admission=Late("x", []))
    dag.add("b", lambda: 1, admission=[Odd("x", []), three])
    with pytest.raises(flow.DefinitionError) as caught:
        dag.compile()
    a, b, c = caught.value.faults
    assert "settled is async, and nothing awaits what it returns" in a
    assert "settled must be a method (ctx, error), not 3" in b
    assert "admission must be a callable (ctx), a list of them, or None, not 3" in c
