"""What runs are answered: outputs whatever they are, errors without paths and secrets."""

from __future__ import annotations

import asyncio
import enum
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, TypedDict

import msgspec
import pytest
from client import API, Got, serving
from workflows import one, raising

import flow
import flow.spec


@dataclass
class Record:
    a: int
    at: datetime


class Struct(msgspec.Struct):
    x: int


class Named(enum.Enum):
    ONE = "one"


class Secrets(TypedDict):
    token: Annotated[str, flow.Secret]


class Dumped:
    """As a model of pydantic."""

    def __init__(self, token: str) -> None:
        self.token = token

    def model_dump(self, mode: str) -> dict[str, str]:
        assert mode == "json"
        return {"a": self.token}


class Unusable:
    def __repr__(self) -> str:
        raise ValueError("/srv/private/a.txt")


def answered(dag: flow.Dag, inputs: dict[str, Any] | None = None) -> dict[str, Any]:
    """Run it in a thread, and in the handler: they must say the same."""
    with serving({"one": dag}) as client:
        first, second = (client.start("one", {"inputs": inputs or {}}) for _ in range(2))
        seen = client.get(f"{API}/runs/{second.json['id']}").json
    assert (first.status, second.status) == (200, 200)
    told = _without_what_differs(second)
    assert _without_what_differs(first) == told
    assert {name: seen.get(name) for name in told} == told
    return told


def _without_what_differs(got: Got) -> dict[str, Any]:
    told: dict[str, Any] = got.json
    assert told.pop("id")
    assert told.pop("seconds") >= 0
    return told


def _cycle() -> list[Any]:
    cycle: list[Any] = []
    cycle.append(cycle)
    return cycle


class TestOutputs:
    @pytest.mark.parametrize(
        ("made", "told"),
        [
            (lambda: {1, 2}, [1, 2]),
            (lambda: Record(1, datetime(2024, 1, 2, tzinfo=UTC)), {"a": 1, "at": "2024-01-02T00:00:00Z"}),
            (lambda: [Struct(1), Named.ONE, (1, None)], [{"x": 1}, "one", [1, None]]),
            (lambda: [math.nan, math.inf], [None, None]),
            (lambda: b"ab", "YWI="),
            (lambda: "\ud800", r"'\ud800'"),
            (lambda: {"fine": 1, "half": "\ud800"}, r"{'fine': 1, 'half': '\ud800'}"),
            (_cycle, "[[...]]"),
            (lambda: {(1, 2): 3}, {"(1, 2)": 3}),
            (lambda: {1: 2}, {"1": 2}),
            (lambda: 10**30, 10**30),
            (lambda: 10**5_000, "<int of about 5,001 digits>"),
            (lambda: Path("/srv/private/a.txt"), "PosixPath('a.txt')"),
            (
                lambda: FileNotFoundError(2, "No such file", "/srv/private/a.txt"),
                "FileNotFoundError(2, 'No such file')",
            ),
            (lambda: ValueError("cannot read /srv/private/a.txt"), "ValueError('cannot read a.txt')"),
            (lambda: asyncio, "<module 'asyncio' from '__init__.py'>"),
            (lambda: Unusable(), "<Unusable without a usable repr>"),
            (lambda: iter([]), "<list_iterator object>"),
            (lambda: "/srv/data/report.pdf", "/srv/data/report.pdf"),  # a text is what the node wants to say
        ],
    )
    def test_what_json_can_and_cannot_hold(self, made: Callable[[], Any], told: Any) -> None:
        if isinstance(made(), Path) and type(made()).__name__ != "PosixPath":
            pytest.skip("paths of Windows")
        assert answered(one(made))["outputs"] == {"node": told}

    def test_one_that_json_cannot_hold_leaves_the_others(self) -> None:
        dag = flow.Dag("two")
        dag.add("bad", _cycle)
        dag.add("good", lambda: {"x": [1]})
        assert answered(dag)["outputs"] == {"bad": "[[...]]", "good": {"x": [1]}}

    def test_a_map_tells_its_items_and_their_errors_without_paths(self) -> None:
        def item(x: int) -> int:
            if x == 2:
                raise FileNotFoundError(2, "No such file", "/srv/private/a.txt")
            return x

        dag = flow.Dag("maps")
        dag.add("numbers", lambda: [1, 2, 3])
        dag.map("items", item, over="numbers", on_error="collect")
        told = answered(dag)["outputs"]["items"]
        assert (told["completed"], told["failed"]) == (2, 1)
        assert told["errors"] == {"1": "FileNotFoundError: No such file: a.txt"}

    def test_outputs_of_sinks(self) -> None:
        dag = flow.Dag("sinks")
        dag.add("a", lambda: 1)
        dag.add("b", lambda a: a + 1)
        dag.add("c", lambda a: a + 2)
        assert answered(dag)["outputs"] == {"b": 2, "c": 3}

    def test_cleanup_gives_no_outputs_and_takes_none_away(self) -> None:
        dag = flow.Dag("cleaned")
        dag.add("made", lambda: 1)
        dag.add("unmade", lambda made=None: None, cleanup=True)
        told = answered(dag)
        assert (told["outputs"], told["counts"]) == ({"made": 1}, {"completed": 2})

    def test_what_was_bypassed_has_no_output(self) -> None:
        dag = flow.Dag("bypassed")
        dag.add("a", lambda: 1)
        dag.add("b", lambda a: 2, when=lambda a: a > 5)
        told = answered(dag)
        assert (told["status"], told["outputs"]) == ("completed", {})
        assert told["counts"] == {"completed": 1, "bypassed": 1}

    def test_outputs_of_a_workflow_file(self) -> None:
        text = """
            {"flow": 1, "inputs": {"n": {"type": "integer", "default": 2}},
             "nodes": {"double": {"set": {"value": "{{ inputs.n * 2 }}"}}},
             "outputs": {"twice": "{{ double.value }}", "said": "it is {{ double.value }}"}}
        """
        dag = flow.spec.loads(text)
        assert answered(dag)["outputs"] == {"twice": 4, "said": "it is 4"}
        assert answered(dag, {"n": 5})["outputs"] == {"twice": 10, "said": "it is 10"}

    def test_models_of_pydantic_are_what_they_dump(self) -> None:
        pydantic = pytest.importorskip("pydantic")

        class Model(pydantic.BaseModel):  # type: ignore[misc, name-defined]
            n: int
            at: datetime
            anything: Any = None

        at = datetime(2024, 1, 2, tzinfo=UTC)
        found = answered(one(lambda: [Model(n=4, at=at)]))
        assert found["outputs"]["node"] == [{"n": 4, "at": "2024-01-02T00:00:00Z", "anything": None}]
        found = answered(one(lambda: Model(n=4, at=at, anything=iter([]))))  # which JSON cannot hold
        assert found["status"] == "completed"
        assert answered(one(lambda: Model))["outputs"]["node"].startswith("<class ")


class TestFailures:
    def test_a_failed_run_is_an_answer(self) -> None:
        dag = flow.Dag("fails")
        dag.add("a", lambda: 1 / 0)
        dag.add("b", lambda a: 1)
        assert answered(dag) == {
            "status": "failed", "outputs": {}, "counts": {"failed": 1, "skipped": 1},
            "errors": {"a": {"type": "ZeroDivisionError", "message": "division by zero"}},
        }  # fmt: skip

    def test_collected_failures_and_the_outputs_that_came(self) -> None:
        dag = flow.Dag("collects", config=flow.Config(on_error="collect"))
        dag.add("a", lambda: [][1])
        dag.add("b", lambda: 2)
        dag.add("c", lambda: {}["x"])
        told = answered(dag)
        assert (told["status"], told["outputs"]) == ("failed", {"b": 2})
        assert {name: error["type"] for name, error in told["errors"].items()} == {"a": "IndexError", "c": "KeyError"}

    def test_a_failure_that_the_run_gets_by_without_is_told_too(self) -> None:
        dag = flow.Dag("survives")
        dag.add("a", lambda: 1 / 0, continue_on_error=True)
        dag.add("b", lambda a=4: a)
        told = answered(dag)
        assert (told["status"], told["outputs"]) == ("completed", {"b": 4})
        assert list(told["errors"]) == ["a"]

    def test_a_run_out_of_time(self) -> None:
        async def forever() -> None:
            await asyncio.Event().wait()

        dag = flow.Dag("slow", config=flow.Config(timeout=0.02))
        dag.add("node", forever)
        told = answered(dag)
        assert told["status"] == "failed"
        assert told["detail"] == "dag 'slow': the run exceeded its limit of 0.02 s"

    @pytest.mark.parametrize(
        ("error", "message"),
        [
            (
                FileNotFoundError(2, "No such file or directory", "/srv/private/a.txt"),
                "No such file or directory: a.txt",
            ),
            (ValueError("in /srv/private/a.txt and C:\\private\\b.txt"), "in a.txt and b.txt"),
            (KeyError("/srv/private/a.txt"), "a.txt"),
            (ValueError(Path("/srv/private/a.txt")), "PosixPath('a.txt')"),
            (ExceptionGroup("two", [ValueError("/srv/private/a.txt"), OSError(5, "I/O", "/srv/private")]), None),
            (ValueError('Traceback (most recent call last):\n  File "/srv/private/a.py", line 1\nKeyError: 1'), None),
            (ValueError("x" * 5_000), "x" * 997 + "..."),
            (ValueError(), "ValueError"),
            (ValueError("\ud800\0\x1b[31m"), None),
        ],
    )
    def test_messages_without_paths_and_tracebacks(self, error: BaseException, message: str | None) -> None:
        told = answered(raising(error))["errors"]["node"]
        assert told["type"] == type(error).__name__
        if message is not None:
            assert told["message"] == message
        for part in ("private", "Traceback", 'File "', "\0", "\x1b"):
            assert part not in told["message"]

    def test_a_message_that_cannot_be_made(self) -> None:
        class Broken(Exception):
            def __str__(self) -> str:
                raise RuntimeError("/srv/private/a.txt")

        assert "private" not in json.dumps(answered(raising(Broken())))


class TestSecrets:
    SECRET = "/s3cr3t/hunter2-token"

    @pytest.mark.parametrize(
        "node",
        [
            lambda token: token,
            lambda token: {"deep": [token, {token: 1}], "bytes": token.encode()},
            lambda token: [ValueError(token), {(1, 2): token}, f"https://x/?t={token}"],
            lambda token: [_cycle(), token],
            lambda token: Dumped(token),
            lambda token: (_ for _ in ()).throw(ValueError(f"bad {token}")),
            lambda token: (_ for _ in ()).throw(ValueError("x" * 985 + token + " tail")),
            lambda token: (_ for _ in ()).throw(FileNotFoundError(2, "No such file", token)),
            lambda token: {}[token],
        ],
    )
    def test_they_are_masked_wherever_they_stand(self, node: Callable[[str], Any]) -> None:
        dag = flow.Dag("secrets", inputs=Secrets)
        dag.add("node", node)
        with serving({"one": dag}) as client:
            for run_id in ("a", None):
                got = client.start("one", {"inputs": {"token": self.SECRET}, **({"run_id": run_id} if run_id else {})})
                assert got.status == 200
                for seen in (got, *(client.get(url) for url in (
                    f"{API}/runs/{got.json['id']}", f"{API}/runs", f"/runs/{got.json['id']}", "/",
                    f"{API}/runs/{got.json['id']}/events",
                ))):  # fmt: skip
                    assert seen.status == 200
                    for part in ("hunter2", "s3cr3t"):
                        assert part not in seen.text, (seen, part)
