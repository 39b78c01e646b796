"""What all answers have: their headers, their compression, their ids; and answers where there is nothing."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from client import API, Got, serving
from workflows import one, quick

from flow.http import Keys
from flow.http.replies import takes_gzip
from flow.http.routes import table

PAGES = ("/", "/runs/a")
MISSING = [
    "/nope",
    f"{API}",
    f"{API}/run",
    f"{API}/runs/",
    f"{API}/runs/a/b/c",
    "//",
    "/%2e%2e/",
    f"{API}/workflows/a%2fb",
]


def each(method: str = "GET") -> list[str]:
    paths = [entry.path for entry in table() if entry.method == method]
    return [path.replace("{id}", "a").replace("{name}", "quick").replace("{address}", "x") for path in paths]


def headers_of(got: Got) -> dict[str, str]:
    names = [name for name, _ in got.all]
    assert len(names) == len(set(names)), names
    assert got.headers["x-content-type-options"] == "nosniff"
    assert got.headers["cache-control"] == "no-store"
    assert got.headers["x-request-id"]
    assert "server" not in got.headers
    return got.headers


class TestHeaders:
    @pytest.mark.parametrize("path", [*each(), *MISSING])
    def test_all_answers_have_those_that_keep_browsers_safe(self, path: str) -> None:
        with serving({"quick": quick()}) as client:
            client.start("quick", {"run_id": "a"})
            for got in (
                client.get(path),
                client.ask("HEAD", path),
                client.ask("DELETE", path),
                client.like(host="x").get(path),
            ):
                headers = headers_of(got)
                if got.status in (200, 204) and got.headers.get("content-type", "").startswith(
                    ("text/html", "image/svg")
                ):
                    assert "default-src 'none'" in headers["content-security-policy"]
                    assert "script-src" not in headers["content-security-policy"]
                    assert headers["x-frame-options"] == "DENY"
                    assert headers["referrer-policy"] == "no-referrer"
                if got.status >= 400:
                    assert headers["content-type"] == "application/problem+json"
            assert client.get("/").headers["content-type"] == "text/html; charset=utf-8"

    @pytest.mark.parametrize("path", [*each("POST"), f"{API}/workflows/quick/runs", f"{API}/workflows/no/runs"])
    def test_also_those_to_post(self, path: str) -> None:
        with serving({"quick": quick()}) as client:
            for body in ({}, b"{", {"payload": 1}, {"workflow": "quick"}):
                headers_of(client.post(path, body))

    def test_no_content_has_no_length(self) -> None:
        with serving({"quick": quick()}) as client:
            client.start("quick", {"run_id": "a"})
            got = client.get(f"{API}/runs/a/events", headers={"last-event-id": "x.end"})
            assert (got.status, got.body) == (204, b"")
            assert not {"content-length", "content-type"} & set(headers_of(got))

    def test_ids_of_requests(self) -> None:
        with serving({"quick": quick()}) as client:
            for ask in (
                lambda **options: client.start("quick", **options),
                lambda **options: client.get("/nope", **options),
            ):
                made = {ask().headers["x-request-id"] for _ in range(20)}
                assert len(made) == 20
                for given in ("a-1", "8e03978e-40d5-43dd-bc93-6894a57f9324", "x" * 128):
                    assert ask(headers={"x-request-id": given}).headers["x-request-id"] == given
                for given in ("x" * 129, "a b", "<script>", "é", "..", "a/b", '"', "%0d%0a", "\x7f"):
                    got = ask(headers={"x-request-id": given})
                    assert got.headers["x-request-id"] != given
                    assert len(given) < 3 or given not in got.text
            got = client.get("/nope", headers={"x-request-id": "mine"})
            assert got.json["request_id"] == "mine"


class TestCompression:
    def test_what_is_large_is_compressed_for_who_takes_it(self) -> None:
        with serving({"large": one(lambda: "x" * 5_000), "huge": one(lambda: "x" * 200_000)}) as client:
            for name, size in (("large", 5_000), ("huge", 200_000)):
                plain, packed = (
                    client.start(name),
                    client.start(name, headers={"accept-encoding": "deflate, gzip;q=0.5"}),
                )
                assert plain.json["outputs"] == packed.json["outputs"] == {"node": "x" * size}
                assert "content-encoding" not in plain.headers
                assert packed.headers["content-encoding"] == "gzip"
                assert plain.headers["vary"] == packed.headers["vary"] == "accept-encoding"
                assert int(packed.headers["content-length"]) == len(b"".join(packed.parts)) < size / 10

    def test_what_is_small_is_not(self) -> None:
        with serving({"quick": quick()}) as client:
            got = client.start("quick", headers={"accept-encoding": "gzip"})
            assert not {"content-encoding", "vary"} & set(got.headers)
            assert int(got.headers["content-length"]) == len(got.body)

    @pytest.mark.parametrize(
        ("accepted", "takes"),
        [
            (b"", False), (b"gzip", True), (b"br;q=1, gzip;q=0.1", True), (b"gzip;q=0", False),
            (b"gzip; q=0.0, br", False), (b"br", False), (b"gzip;q=0.001", True), (b"gzip;q=1.0", True),
            (b"x-gzip", True),
        ],
    )  # fmt: skip
    def test_who_takes_it(self, accepted: bytes, takes: bool) -> None:
        assert takes_gzip(accepted) is takes


class TestNothing:
    @pytest.mark.parametrize("path", MISSING)
    @pytest.mark.parametrize("method", ["GET", "POST", "HEAD", "PUT", "OPTIONS"])
    def test_paths_that_there_are_not(self, path: str, method: str) -> None:
        with serving({"quick": quick()}) as client:
            got = client.ask(method, path, b"{}")
            assert got.status == 404
            if method != "HEAD":
                assert got.json["detail"] == "there is nothing at this path: /openapi.json says what there is"

    @pytest.mark.parametrize("entry", table(), ids=lambda entry: f"{entry.method} {entry.path}")
    def test_other_methods_say_which_there_are(self, entry: Any) -> None:
        path = entry.path.replace("{id}", "a").replace("{name}", "quick").replace("{address}", "x")
        methods = {one.method for one in table() if one.path == entry.path}
        head = {"HEAD"} if "GET" in methods and entry.head else set()
        with serving({"quick": quick()}) as client:
            for method in ("PUT", "DELETE", "PATCH", "OPTIONS", "BREW"):
                got = client.ask(method, path, b"{}")
                assert got.status == 405
                allowed = set(got.headers["allow"].split(", "))
                assert allowed == methods | head
                assert got.json["detail"] == f"{method} is not taken here: use {' or '.join(sorted(allowed))}"

    def test_a_link_is_not_opened_by_head(self) -> None:
        with serving({"quick": quick()}) as client:
            got = client.ask("HEAD", "/login?token=x")
            assert (got.status, got.headers["allow"]) == (405, "GET")
            got = client.ask("POST", "/login?token=x", b"{}")
            assert (got.status, got.json["detail"]) == (405, "POST is not taken here: use GET")

    @pytest.mark.parametrize("path", [path for path in each() if path != "/login"])
    def test_head_is_get_without_its_body(self, path: str) -> None:
        with serving({"quick": quick()}) as client:
            client.start("quick", {"run_id": "a"})
            got, bare = client.get(path), client.ask("HEAD", path)
            assert bare.status == got.status
            assert bare.body == b"".join(bare.parts) == b""
            if not path.endswith(("/metrics", "/detailed", "/")):  # which differ from time to time
                differs = {"x-request-id", *({"content-length"} if got.status != 200 else ())}
                assert {name: value for name, value in bare.headers.items() if name not in differs} == {
                    name: value for name, value in got.headers.items() if name not in differs
                }


class TestOurOwnFaults:
    """What nobody has thought of: it is logged, and not told."""

    @pytest.mark.parametrize("path", [f"{API}/runs", "/", "/openapi.json", "/health/detailed", f"{API}/runs/a/events"])
    def test_of_other_ways(self, path: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
        def broken(*args: Any, **kwargs: Any) -> Any:
            raise RuntimeError("in /srv/private/secret.py")

        with serving({"quick": quick()}) as client:
            client.start("quick", {"run_id": "a"})
            monkeypatch.setattr("flow.http.memory.Runs.rows", broken)
            monkeypatch.setattr("flow.http.memory.Runs.ended", broken)
            monkeypatch.setattr("flow.http.openapi.document", broken)
            monkeypatch.setattr("flow.http.service.Service.health", broken)
            got = client.get(path)
            self._check(got, caplog)

    def test_of_requests_for_runs(self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
        def broken(*args: Any, **kwargs: Any) -> Any:
            raise RuntimeError("in /srv/private/secret.py")

        with serving({"quick": quick()}) as client:
            monkeypatch.setattr("flow.http.triggering.Trigger.run", broken)
            self._check(client.start("quick"), caplog)

    def _check(self, got: Got, caplog: pytest.LogCaptureFixture) -> None:
        assert got.status == 500
        headers_of(got)
        assert got.json == {
            "type": "about:blank", "title": "Internal Server Error", "status": 500, "detail": "",
            "request_id": got.headers["x-request-id"],
        }  # fmt: skip
        assert "in /srv/private/secret.py" in caplog.text
        assert {record.levelno for record in caplog.records} == {logging.ERROR}

    def test_keys_that_cannot_be_read_let_nobody_in(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def broken(*args: Any) -> Any:
            raise RuntimeError("no")

        keys = Keys.memory()
        key = keys.add("a")
        monkeypatch.setattr(Keys, "verify", broken)
        with serving({"quick": quick()}, auth=keys) as client:
            assert client.start("quick", headers={"x-api-key": key}).status == 500
            assert client.get(f"{API}/runs", headers={"x-api-key": key}).status == 500
