"""All routes, asked in all the ways that nobody should: no 5xx, no traceback, and no path of a file in any answer."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, TypedDict

import msgspec
import pytest
from client import API, Client, Got, serving
from conftest import examples
from hypothesis import given
from hypothesis import strategies as st
from watching import watched
from workflows import quick

import flow
import flow.store
from flow.http import Limits
from flow.http.routes import table

PRIVATE = "/srv/private/where.txt"
NASTY = [
    "", "/", "..", "../..", "%2e%2e%2f", "a\0b", "a\nb", "a\r\nx: y", "'\"", "<script>alert(1)</script>", "{{7*7}}",
    "$(id)", "%s%n", "x" * 10_240, "\u202e", "é", "\U0001f600", PRIVATE, "C:\\private\\where.txt", "-1",
    "1e999", "null",
    "'; DROP TABLE runs; --", "__class__", "file:///srv/private/where.txt",
]  # fmt: skip
VALUES: list[Any] = [None, True, 0, -1, 1.5, 2**70, [], {}, [[[]]], {"": {"": ""}}, *NASTY]
TOLD = (
    "private",
    "Traceback",
    'File "',
    "\\n  at ",
    "site-packages",
    str(Path(flow.__file__).parent),
    os.getcwd(),
    sys.prefix,
)


class Checked(msgspec.Struct):
    name: str

    def __post_init__(self) -> None:
        if self.name:
            raise FileNotFoundError(2, f"no {PRIVATE}", PRIVATE)


class Given(TypedDict, total=False):
    number: int
    checked: Checked
    names: list[str]
    key: Annotated[str, flow.Secret]


class Odd(Exception):
    def __str__(self) -> str:
        raise OSError(PRIVATE)


ERRORS: list[BaseException] = [
    FileNotFoundError(2, "No such file", PRIVATE), ValueError(f"cannot read {PRIVATE}, see {__file__}:12"), Odd(),
    ImportError("no module", name="x", path=PRIVATE), SyntaxError("bad", (PRIVATE, 1, 1, "x")),
    UnicodeDecodeError("utf-8", b"/srv/private/where", 0, 1, PRIVATE), KeyError(PRIVATE), SystemExit(PRIVATE),
    ExceptionGroup(PRIVATE, [OSError(5, "I/O error", PRIVATE)]), RecursionError(PRIVATE), MemoryError(PRIVATE),
    StopIteration(PRIVATE), StopAsyncIteration(PRIVATE), AssertionError(Path(PRIVATE)),
    type("A" * 5_000, (Exception,), {})(),
]  # fmt: skip


def workflows() -> dict[str, flow.Dag]:
    def failing(error: BaseException) -> Any:
        def node() -> None:
            try:
                raise ValueError(PRIVATE)
            except ValueError as before:
                raise error from before

        return node

    typed = flow.Dag("typed", inputs=Given)
    typed.add("node", lambda number=1, checked=None, names=(), key="": [number, names])
    found = {f"error{number}": flow.Dag(f"error{number}") for number in range(len(ERRORS))}
    for dag, error in zip(found.values(), ERRORS, strict=True):
        dag.add("node", failing(error))
    return {"quick": quick(), "typed": typed, **found}


def check(got: Got, sent: str = "", *, less: int = 500) -> None:
    """:param sent: what the client has said itself may come back."""
    assert got.status < less, got
    for part in [part for part in TOLD if part not in sent]:
        assert part not in got.text, (part, got)
        assert not any(part in value for _, value in got.all), (part, got)
    if got.status >= 400:
        assert got.headers["content-type"] == "application/problem+json"
        told = got.json
        assert told["status"] == got.status
        assert len(got.body) < 100_000


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with serving(workflows(), limits=Limits(finished=5)) as found:
        yield found


def paths(value: str) -> Iterator[tuple[str, str]]:
    from urllib.parse import quote

    for entry in table():
        if "{" in entry.path:
            for name in ("{id}", "{name}", "{address}"):
                yield (
                    entry.method,
                    entry.path.replace(name, quote(value, safe=""))
                    .replace("{id}", "a")
                    .replace("{name}", "quick")
                    .replace("{address}", "x"),
                )


class TestSweep:
    @pytest.mark.parametrize("value", [value for value in NASTY if value], ids=lambda value: repr(value)[:20])
    def test_names_in_paths_queries_and_headers(self, client: Client, value: str) -> None:
        from urllib.parse import quote

        client.start("quick", {"run_id": "a"})
        for method, path in paths(value):
            got = client.ask(method, path, b'{"payload": 1}')
            check(got, value)
            assert got.status >= 400 or "a" in path
        for name in ("status", "workflow", "limit", "cursor", "wait", "token", value):
            query = f"?{quote(name, safe='')}={quote(value, safe='')}"
            for path in (f"{API}/runs", "/", "/login", f"{API}/runs/a", f"{API}/workflows/instances"):
                check(client.get(path + query), value)
            check(client.start("quick", {}, query), value)
        plain = value.encode("utf-8", "replace").decode("latin-1")
        for name in ("host", "origin", "cookie", "authorization", "x-api-key", "idempotency-key", "prefer", "accept",
                     "last-event-id", "accept-encoding", "content-type", "x-request-id", "sec-fetch-site"):  # fmt: skip
            check(client.start("quick", headers={name: plain}), value)
            for path in ("/", f"{API}/runs/a/events"):
                check(client.get(path, headers={name: plain}), value)

    @pytest.mark.parametrize("value", VALUES, ids=lambda value: repr(value)[:20])
    def test_values_in_bodies(self, client: Client, value: Any) -> None:
        member = value if isinstance(value, str) else "a"
        for body in (
            value, {"inputs": value}, {"inputs": {"number": value}}, {"inputs": {"checked": {"name": value}}},
            {"inputs": {"names": [value]}}, {"inputs": {"key": value}}, {"inputs": {member: value}}, {member: value},
            {"run_id": value}, {"targets": value}, {"targets": [value]}, {"workflow": value}, {"payload": value},
            {"workflow": "typed", "data": value},
        ):  # fmt: skip
            for entry in table():
                if entry.method == "POST":
                    path = entry.path.replace("{id}", "a").replace("{name}", "typed").replace("{address}", "x")
                    check(client.post(path, json.dumps(body).encode()), member)

    @pytest.mark.parametrize("number", range(len(ERRORS)), ids=lambda number: type(ERRORS[number]).__name__[:20])
    def test_what_nodes_raise(self, client: Client, number: int) -> None:
        for body in ({"run_id": f"e{number}"}, {}, {}):
            got = client.start(f"error{number}", body)
            check(got)
            assert (got.status, got.json["status"]) == (200, "failed")
        run_id = got.json["id"]
        for path in (f"{API}/runs/{run_id}", f"{API}/runs/{run_id}/events", f"/runs/{run_id}", f"{API}/runs", "/"):
            got = client.get(path)
            check(got)
            assert got.status == 200

    def test_what_nodes_raise_in_a_store(self, tmp_path: Path) -> None:
        with flow.store.open(tmp_path / "private.db") as store, serving(workflows(), store=store) as client:
            for number in range(len(ERRORS)):
                got = client.start(f"error{number}", {"run_id": f"e{number}"})
                check(got, less=501)
                for path in (f"{API}/runs/e{number}", f"/runs/e{number}", f"{API}/runs", "/", "/health/detailed"):
                    check(client.get(path))

    def test_no_file_is_opened_by_a_name_from_outside(self, tmp_path: Path) -> None:
        folder = tmp_path / "store"
        folder.mkdir()
        with flow.store.open(folder / "runs.db") as store, serving(workflows(), store=store) as client:

            def ask() -> None:
                for value in [*NASTY, "good"]:
                    client.start("quick", {"run_id": value})
                    client.start(
                        "quick", {"workflow": value, "inputs": {value: value}}, headers={"idempotency-key": "k"}
                    )
                    for method, path in paths(value) if value else ():
                        client.ask(method, path, b'{"payload": 1}')

            ask()  # which imports what it needs
            with watched() as seen:
                (folder / "control").write_text("x")
                ask()
        opened = [what for event, what in seen if event == "open" or event.startswith(("os.", "shutil.", "sqlite3.c"))]
        assert any("control" in what for what in opened)
        assert [what for what in opened if str(folder) not in what] == []

    def test_what_is_told_of_the_service(self, client: Client) -> None:
        for path in (
            "/openapi.json",
            f"{API}/workflows",
            f"{API}/workflows/typed",
            "/health/detailed",
            "/metrics",
            "/",
        ):
            got = client.get(path)
            check(got)
            assert got.status == 200

    @examples(100)
    @given(data=st.data())
    def test_any_json(self, client: Client, data: st.DataObject) -> None:
        leaves = (
            st.none()
            | st.booleans()
            | st.integers()
            | st.floats(allow_nan=False, allow_infinity=False)
            | st.text(st.characters(codec="utf-8"))
        )
        names = st.sampled_from(["inputs", "run_id", "targets", "number", "checked", "name", "names", "key"])
        values = st.recursive(
            leaves,
            lambda inner: (
                st.lists(inner, max_size=4)
                | st.dictionaries(names | st.text(st.characters(codec="utf-8")), inner, max_size=4)
            ),
        )
        body = data.draw(values)
        got = client.start("typed", json.dumps(body).encode())
        check(got)
        assert got.status in (200, 400, 409, 422)
