"""Which errors are tried again: ``Retry(retry_if=...)``, a type, a tuple of types or a predicate of the exception."""

from __future__ import annotations

import pickle
from typing import Any

import anyio
import pytest

import flow


class Rejected(Exception):
    def __init__(self, status: int) -> None:
        super().__init__(f"status {status}")
        self.status = status


def may_pass(error: Exception) -> bool:
    return isinstance(error, Rejected) and error.status == 503


def breaks(error: Exception) -> bool:
    raise ZeroDivisionError("of the predicate")


def retry(retry_if: Any) -> flow.Retry:
    return flow.Retry(3, delay=0, retry_if=retry_if)


@pytest.mark.parametrize("where", ["node", "item", "batch", "inner"])
@pytest.mark.parametrize("waits", [False, True])
def test_a_predicate_is_asked_of_each_error(where: str, waits: bool, backend: str) -> None:
    calls: list[int] = []

    def rejected() -> None:
        calls.append(1)
        raise Rejected(503 if len(calls) == 1 else 404)

    async def rejected_late() -> None:
        await anyio.lowlevel.checkpoint()
        rejected()

    dag = flow.Dag("d")
    fn: Any = rejected_late if waits else rejected
    if where == "node":
        dag.add("n", fn, retry=retry(may_pass))
    elif where == "inner":
        inner = flow.Dag("inner")
        inner.add("n", fn, retry=retry(may_pass))
        dag.add("n", inner)
    else:

        async def late(x: Any) -> None:
            await rejected_late()

        call: Any = late if waits else (lambda x: rejected())
        batch_size: Any = 2 if where == "batch" else None
        dag.map("n", call, "xs", retry=retry(may_pass), batch_size=batch_size)
        dag.add("xs", lambda: [1])
    with pytest.raises(flow.RunError) as caught:
        flow.run(dag, config=flow.Config(backend=backend))  # type: ignore[arg-type]
    (error,) = flow.errors.leaves(caught.value)
    assert isinstance(error, Rejected)
    assert (error.status, len(calls)) == (404, 2)


@pytest.mark.parametrize("where", ["node", "item"])
def test_what_it_raises_is_noted_and_does_not_mask_the_nodes_error(where: str, backend: str) -> None:
    calls: list[int] = []

    def rejected(x: int = 0) -> None:
        calls.append(1)
        raise Rejected(503)

    dag = flow.Dag("d")
    if where == "node":
        dag.add("n", rejected, retry=retry(breaks))
    else:
        dag.map("n", rejected, "xs", retry=retry(breaks))
        dag.add("xs", lambda: [1])
    with pytest.raises(flow.RunError) as caught:
        flow.run(dag, config=flow.Config(backend=backend))  # type: ignore[arg-type]
    (error,) = flow.errors.leaves(caught.value)
    assert isinstance(error, Rejected)
    assert "retry_if raised ZeroDivisionError: of the predicate; not retried" in error.__notes__
    assert (len(calls), error.__context__, error.__cause__) == (1, None, None)


def test_a_predicate_that_raises_is_not_masked_by_a_fallback() -> None:
    dag = flow.Dag("d")
    dag.add("n", lambda: 1 / 0, retry=retry(breaks), fallback=5)
    result = flow.run(dag)
    assert result["n"] == 5
    assert any("retry_if raised" in note for note in result.fallbacks["n"].__notes__)  # type: ignore[union-attr]


def test_an_exit_of_the_predicate_ends_the_run() -> None:
    def leaves(error: Exception) -> bool:
        raise KeyboardInterrupt

    dag = flow.Dag("d")
    dag.add("n", lambda: 1 / 0, retry=retry(leaves))
    with pytest.raises(KeyboardInterrupt):
        flow.run(dag)


@pytest.mark.parametrize("truth", [1, "yes", [0]])
def test_its_answer_is_true_or_not(truth: Any) -> None:
    assert retry(lambda error: truth).wants(ValueError())
    assert not retry(lambda error: type(truth)()).wants(ValueError())


def test_it_is_never_asked_of_an_exit() -> None:
    assert not retry(breaks).wants(KeyboardInterrupt())


def test_it_is_checked_by_compile() -> None:
    async def later(error: Exception) -> bool:
        return True

    for wrong in (5, "ValueError", (), (ValueError, may_pass), later):
        dag = flow.Dag("d")
        dag.add("n", lambda: 1, retry=retry(wrong))
        with pytest.raises(flow.DefinitionError, match="retry_if"):
            dag.compile()


def test_equality_hash_repr_and_pickle() -> None:
    assert retry(may_pass) == retry(may_pass) != retry(breaks)
    assert len({retry(may_pass), retry(may_pass), retry(breaks), retry((KeyError, OSError))}) == 3
    assert "may_pass" in repr(retry(may_pass))
    assert pickle.loads(pickle.dumps(retry(may_pass))) == retry(may_pass)


def test_no_file_of_settings_holds_one(tmp_path: Any) -> None:
    path = tmp_path / "flow.toml"
    path.write_text('[flow]\nretry_if = "ValueError"\nretry = {attempts = 3}\n')
    with pytest.raises(flow.errors.ConfigError) as caught:
        flow.Config.load(path)
    assert caught.value.faults == (
        "line 2: no setting is called 'retry_if' (a setting of flow.Retry: retry=flow.Retry(retry_if=ConnectionError))",
        "line 3: no setting is called 'retry' (an option of a node: dag.node(retry=flow.Retry(attempts=3)))",
    )
