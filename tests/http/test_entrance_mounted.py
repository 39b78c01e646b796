"""A service within another app, or behind a path: all places that it tells begin there. And what a service loads."""

from __future__ import annotations

import asyncio
import contextlib
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from client import API, Client
from workflows import Gate, quick

from flow.http import Keys, Service

ROOTS = ["/flow", "/a/b", "/api/v1"]


@contextlib.contextmanager
def mounted(service: Service, root: str, way: str) -> Iterator[Client]:
    """Yield a client that asks for paths within ``root``."""
    if way == "root_path":
        app: Any = service
    elif way == "starlette":
        from starlette.applications import Starlette
        from starlette.routing import Mount

        app = Starlette(routes=[Mount(root, app=service)])
    else:
        app = pytest.importorskip("fastapi").FastAPI()
        app.mount(root, service)
    with asyncio.Runner() as runner:
        client = Client(app, runner, root=root if way == "root_path" else "")
        try:
            yield client
        finally:
            client.run(lambda: service.drain(0.0))


@pytest.mark.parametrize("way", ["root_path", "starlette", "fastapi"])
@pytest.mark.parametrize("root", ROOTS)
class TestMounted:
    def test_runs_and_where_they_are(self, root: str, way: str) -> None:
        gate = Gate()
        with mounted(Service({"quick": quick(), "held": gate.loop}), root, way) as client:
            at = "" if way == "root_path" else root
            for _ in range(2):
                got = client.post(f"{at}{API}/workflows/quick/runs", {"inputs": {"x": 1}})
                assert (got.status, got.json["outputs"]) == (200, {"third": {"x": 3}})
            for got in (
                client.post(f"{at}{API}/workflows/held/runs?wait=0"),
                client.post(f"{at}{API}/workflows/trigger?wait=0", {"workflow": "held"}),
                client.post(f"{at}{API}/workflows/held/runs?wait=0", {"run_id": "a"}),
                client.post(f"{at}{API}/runs/a/cancel"),
            ):
                assert got.status == 202
                assert got.headers["location"] == f"{root}{API}/runs/{got.json['id']}"
            assert client.get(f"{at}{API}/runs/a").json["id"] == "a"
            assert client.get(f"{at}{API}/workflows/held").status == 200
            gate.open()

    def test_links_of_the_page(self, root: str, way: str) -> None:
        with mounted(Service({"quick": quick()}), root, way) as client:
            at = "" if way == "root_path" else root
            client.post(f"{at}{API}/workflows/quick/runs", {"run_id": "a"})
            for path in ("/", "/runs/a"):
                page = client.get(f"{at}{path}").text
                links = [
                    link for link in re.findall(r'(?:href|src|action)="([^"]*)"', page) if not link.startswith("data:")
                ]
                assert links
                for link in links:
                    assert re.match(r"#|\?|http:|" + re.escape(root) + r"(/|\?|$)", link), link
                    if link.startswith(root):
                        inside = link if way != "root_path" else link[len(root) :]
                        assert client.get(inside.replace("&amp;", "&")).status == 200, link

    def test_cookies_are_for_it_alone(self, root: str, way: str) -> None:
        keys = Keys.memory()
        with mounted(Service({"quick": quick()}, auth=keys), root, way) as client:
            at = "" if way == "root_path" else root
            got = client.get(f"{at}/login?token={keys.link_token()}")
            assert (got.status, got.headers["location"]) == (303, f"{root}/")
            assert f"; Path={root};" in got.headers["set-cookie"]
            cookie = got.headers["set-cookie"].partition(";")[0]
            assert client.get(f"{at}/", headers={"cookie": cookie}).status == 200

    def test_the_description_says_where_it_is(self, root: str, way: str) -> None:
        with mounted(Service({"quick": quick()}), root, way) as client:
            at = "" if way == "root_path" else root
            told = client.get(f"{at}/openapi.json").json
            assert told["servers"] == [{"url": root}]

    def test_what_is_not_there(self, root: str, way: str) -> None:
        with mounted(Service({"quick": quick()}), root, way) as client:
            at = "" if way == "root_path" else root
            for path in (f"{at}/nope", f"{at}{API}/workflows/nope/runs"):
                got = client.post(path)
                assert got.status == 404
                assert got.headers["content-type"] == "application/problem+json"
            assert client.ask("DELETE", f"{at}{API}/runs").headers["allow"] in ("GET, HEAD", "HEAD, GET")


def test_an_app_around_it_still_checks_hosts() -> None:
    with mounted(Service({"quick": quick()}), "/flow", "starlette") as client:
        assert client.like(host="evil.com").post(f"/flow{API}/workflows/quick/runs").status == 421


class TestLoads:
    """``import flow`` loads nothing of the service, and the service nothing that it does not need."""

    @staticmethod
    def loaded(code: str, wanted: str) -> list[str]:
        script = f"{code}\nimport re, sys\nprint([m for m in sys.modules if re.match({wanted!r}, m)])"
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
        found: list[str] = eval(done.stdout.splitlines()[-1])
        return found

    def test_import_flow(self) -> None:
        assert (
            self.loaded("import flow, flow.cli", r"flow\.(http|metrics)|starlette|uvicorn|prometheus|httptools") == []
        )

    def test_the_names_of_the_room(self) -> None:
        assert self.loaded("import flow.http; flow.http.Limits", r"starlette|uvicorn|flow\.http\.service") == []

    def test_a_service(self) -> None:
        code = (
            "import flow, flow.http\ndag = flow.Dag('d'); dag.add('a', lambda: 1)\n"
            "service = flow.http.Service({'d': dag})"
        )
        without = "import sys\nfor name in ('prometheus_client', 'uvicorn', 'click'): sys.modules[name] = None\n"
        assert self.loaded(without + code, "nothing") == []
        assert (
            self.loaded(code, r"uvicorn|uvloop|httptools|prometheus|click|rich|networkx|fastapi|pydantic|httpx") == []
        )
