"""The page for people: what it says of the service and of one run, and that nothing from outside runs there."""

from __future__ import annotations

import asyncio
import re
import shlex
from html import unescape
from html.parser import HTMLParser
from typing import Any

import msgspec
import pytest
from client import API, Got, serving
from faces import flows
from workflows import one, quick

import flow
from flow.http import Limits, Service, page
from flow.http.answers import NodeError
from flow.http.board import NodeState
from flow.http.looking import View
from flow.http.memory import Row
from flow.http.page.parts import lasting, when

NASTY = "<script>alert('x')</script>\"><img src=x onerror=alert(1)>\u202e\ud800&amp;"
SHOWN = NASTY.replace("\u202e", "\\u202e").replace("\ud800", "\\ud800")
VOID = {"meta", "link", "br", "img", "input"}


class Page(HTMLParser):
    """What a browser makes of a page. It fails if a tag is not closed."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.shown: list[str] = []
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert not self._open, self._open

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: Any) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self._open:
            self.shown.append(data)

    @property
    def text(self) -> str:
        return " ".join("".join(f"{part}\0" for part in self.shown).replace("\0", " ").split())

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.tags if name == tag]

    @property
    def refresh(self) -> str | None:
        return next((meta["content"] for meta in self.all("meta") if meta.get("http-equiv") == "refresh"), None)


def read(html: bytes | Got) -> Page:
    """Read a page, and check what holds for each: nothing runs, and nothing comes from elsewhere."""
    if isinstance(html, Got):
        assert html.status == 200, html
        assert html.headers["content-type"] == "text/html; charset=utf-8"
        assert "script-src" not in html.headers["content-security-policy"]
        assert html.headers["content-security-policy"].startswith("default-src 'none'")
        html = html.body
    found = Page(html.decode())
    assert not {"script", "iframe", "object", "form", "img", "base"} & {tag for tag, _ in found.tags}
    for _, attributes in found.tags:
        assert not [name for name in attributes if name.startswith("on") or name == "style"]
        for name in ("href", "src"):
            assert attributes.get(name, "/").startswith(("/", "data:,")), attributes
    assert all(attributes.get("scope") in ("col", "row") for attributes in found.all("th"))
    assert [tag for tag, _ in found.tags].count("h1") == 1
    return found


def view(**changes: Any) -> View:
    """A run of :func:`quick`."""
    known: dict[str, Any] = {
        "id": "run-1", "workflow": "quick", "status": "running", "created": 1.7e9, "outputs": msgspec.Raw(b"{}"),
        "errors": {}, "counts": {}, "seconds": 1.0, "nodes": [],
    }  # fmt: skip
    return View(**(known | changes))


def run_page(dag: flow.Dag | None = None, root: str = "", options: Any = None, **changes: Any) -> Page:
    workflow = Service({"quick": dag or quick()}).workflows["quick"]
    return read(page.run(view(**changes), workflow, root, **(options or {})))


def index_page(rows: Any = (), query: Any = None, cursor: str | None = None, root: str = "", **facts: Any) -> Page:
    known = {"runs": 0, "queued": 0, "streams": 0, "status": "ready", "store": None} | facts
    workflows = Service(flows()).workflows
    return read(page.index(workflows, rows, known, query or {}, cursor, root))


class TestIndex:
    def test_runs_are_listed(self) -> None:
        with serving(flows()) as client:
            client.start("later", {"run_id": "one"})
            client.start("broken", {"run_id": "two"})
            found = read(client.get("/"))
        assert "two broken failed" in found.text
        assert 'parse: ValueError: it is <b>broken</b> & "quoted"' in found.text
        assert "second line" not in found.text  # an error takes one line
        assert {"/runs/one", "/runs/two"} <= {link["href"] for link in found.all("a")}
        assert found.text.index("two") < found.text.index("one later")
        assert found.refresh == "5"

    def test_the_service_and_its_workflows(self) -> None:
        found = index_page(runs=3, queued=2, streams=1)
        assert "service: ready" in found.text
        assert "3 runs go on 2 of them wait for a place 1 stream of events" in found.text
        assert "in memory" in found.text
        assert "kept in a store (async)" in index_page(store="async").text
        assert "token: str (secret)" in found.text
        assert "order: Order , day: date" in found.text
        assert f"{API}/workflows/orders/graph.svg" in {link["href"] for link in found.all("a")}

    def test_filters_and_pages(self) -> None:
        query = {"status": ["failed"], "workflow": ["later"], "limit": ["2"], "cursor": ["abc"]}
        found = index_page([Row("x", "later", "failed", 1.0)], query, "next+", root="/flows")
        links = {link["href"] for link in found.all("a")}
        assert "/flows/?status=failed&workflow=later&limit=2&cursor=next%2B" in links
        assert "/flows/?status=failed&workflow=later&limit=2" in links  # the latest
        assert "/flows/?status=failed&limit=2" in links  # of every workflow
        assert "/flows/?workflow=orders&status=failed&limit=2" in {_sorted(link) for link in links} | links
        assert [link["href"] for link in found.all("a") if link.get("aria-current")]
        assert found.refresh is None  # who reads older runs is not sent elsewhere

    def test_links_are_answered(self) -> None:
        with serving(flows()) as client:
            client.start("later", {"run_id": "a#b+c"})
            found = read(client.get("/?limit=1&status=completed"))
            for link in {link["href"] for link in found.all("a")} - {"/metrics"}:
                assert client.get(link).status == 200, link

    def test_nothing_yet(self) -> None:
        assert "No runs yet" in index_page().text
        assert "No runs that fit" in index_page(query={"status": ["failed"]}).text

    def test_what_comes_from_outside_is_text(self) -> None:
        row = Row(NASTY, NASTY, NASTY, 1.0, error=NASTY)
        found = index_page([row], {"status": [NASTY], "workflow": [NASTY]}, NASTY, status=NASTY, store=NASTY)
        assert SHOWN in found.text


def _sorted(link: str) -> str:
    path, _, query = link.partition("?")
    parts = dict(part.split("=") for part in query.split("&") if part)
    return f"{path}?" + "&".join(f"{name}={parts[name]}" for name in ("workflow", "status", "limit") if name in parts)


class TestRun:
    def test_which_node_is_broken_and_why(self) -> None:
        with serving(flows()) as client:
            client.start("broken", {"run_id": "two"})
            got = client.get("/runs/two")
            found = read(got)
        assert 'parse ValueError it is <b>broken</b> & "quoted" second line' in found.text
        assert "1 node failed" in found.text
        assert "kept skipped parse failed" in found.text
        assert found.refresh is None
        assert "<title>parse: failed\nValueError: it is &lt;b&gt;broken" in got.text  # in the graph
        assert "flow-failed" in {rect.get("class") for rect in found.all("rect")}
        assert "Traceback" not in got.text
        assert ".py" not in got.text

    def test_one_that_goes_on(self) -> None:
        nodes = [NodeState("first", "completed", 2, 0.25), NodeState("second", "running", 1)]
        found = run_page(nodes=nodes, counts={"completed": 1, "running": 1, "pending": 1})
        assert found.refresh == "2"
        assert "first completed 2 250 ms" in found.text
        assert "second running" in found.text
        assert "third pending" in found.text  # it is not known to the run yet
        assert "/api/v1/runs/run-1/cancel" in found.text

    def test_what_ended_it_if_that_was_no_node(self) -> None:
        assert "What ended the run it took too long" in run_page(status="failed", detail="it took too long").text

    def test_one_that_got_by(self) -> None:
        found = run_page(status="completed", errors={"first": NodeError("OSError", "no")})
        assert "1 node failed" in found.text
        assert "has completed without that" in found.text

    def test_a_signal_is_sent_by_the_line_on_the_page(self) -> None:
        with serving(flows()) as client:
            client.start("asking", {"run_id": "a#1"}, "?wait=0")
            client.run(lambda: _until_waiting(client, "a#1"))
            html = client.get("/runs/a%231").text
            line = next(unescape(line) for line in re.findall(r"<pre[^>]*>(.*?)</pre>", html) if "signals" in line)
            words = shlex.split(line)
            assert words[:4] == ["curl", "-X", "POST", f"http://localhost:8080{API}/runs/a%231/signals/approve"]
            got = client.post(words[3].removeprefix("http://localhost:8080"), words[-1].encode())
            assert got.status == 202, got
            assert client.start("asking", {"run_id": "a#1"}).json["status"] == "completed"

    @pytest.mark.parametrize(("stored", "keys"), [(True, True), (False, False)])
    def test_commands(self, stored: bool, keys: bool) -> None:
        options = {"base": "https://flow.example'$(x)", "stored": stored, "keys": keys}
        found = run_page(status="failed", options=options, root="/flows")
        assert ("/retry" in found.text) == stored
        assert ("Authorization: Bearer" in found.text) == (stored and keys)
        if stored:
            line = found.text[found.text.index("curl") :]
            assert shlex.split(line)[3] == "https://flow.example'$(x)/flows/api/v1/runs/run-1/retry"
        assert "retry" not in run_page(status="completed", options=options).text

    def test_outputs(self) -> None:
        found = run_page(status="completed", outputs=msgspec.Raw(b'{"third":{"x":"<b>"}}'))
        assert 'Outputs { "third": { "x": "<b>" } }' in found.text
        assert "Outputs" not in run_page(status="completed").text

    @pytest.mark.parametrize("size", [12_000, 200_000])
    def test_large_outputs_are_cut(self, size: int) -> None:
        outputs = msgspec.json.encode({"third": "y" * size})
        found = run_page(status="completed", outputs=msgspec.Raw(outputs))
        assert 9_800 < found.text.count("y" * 100) * 100 <= 10_000
        assert "the whole run as JSON" in found.text

    def test_outputs_that_are_nested_very_deeply(self) -> None:
        outputs = b'{"third":' + b"[" * 5_000 + b"]" * 5_000 + b"}"
        assert "[[[[" in run_page(status="completed", outputs=msgspec.Raw(outputs)).text.replace(" ", "")

    def test_a_large_run_is_cut_with_the_broken_nodes_first(self) -> None:
        dag = flow.Dag("wide")
        for i in range(1_200):
            dag.add(f"n{i}", lambda: 1)
        nodes = [NodeState(f"n{i}", "failed" if i > 1_100 else "completed") for i in range(1_200)]
        errors = {f"n{i}": NodeError("OSError", "no") for i in range(1_101, 1_200)}
        found = run_page(dag, status="failed", nodes=nodes, errors=errors)
        assert "99 nodes failed" in found.text
        assert "and 49 more" in found.text
        assert "and 700 more nodes" in found.text
        assert len([th for th in found.all("th") if th["scope"] == "row"]) == 50 + 500
        assert found.text.index("n1199 failed") < found.text.index("n0 completed")
        assert len(found.all("rect")) < 100

    def test_nodes_that_the_plan_has_no_more(self) -> None:
        assert "gone completed" in run_page(nodes=[NodeState("gone", "completed")]).text

    def test_what_comes_from_outside_is_text(self) -> None:
        dag = flow.Dag("one")
        dag.add("first", lambda: 1)
        error = NodeError(NASTY, NASTY)
        found = run_page(
            dag, id=NASTY, workflow=NASTY, status=NASTY, detail=NASTY, waiting=(NASTY,), errors={NASTY: error},
            nodes=[NodeState("first", "failed", 1, 0.1, error), NodeState(NASTY, NASTY)], counts={NASTY: 1},
            outputs=msgspec.Raw(msgspec.json.encode({"x": NASTY[:40]})), options={"base": NASTY},
        )  # fmt: skip
        assert found.text.count(SHOWN) >= 8


class TestGraph:
    def test_it_says_no_files(self) -> None:
        with serving({"quick": quick(), "one": one(lambda: 1)}) as client:
            got = client.get(f"{API}/workflows/quick/graph.svg")
        assert got.headers["content-type"] == "image/svg+xml"
        assert "first" in got.text
        assert ".py" not in got.text


class TestTimes:
    @pytest.mark.parametrize(
        ("time", "said"),
        [(0.0032, "3.2 ms"), (59, "59 s"), (250, "4 min 10 s"), (7_500, "2 h 5 min"), (273_600, "3 d 4 h")],
    )
    def test_how_long(self, time: float, said: str) -> None:
        assert lasting(time) == said

    def test_when(self) -> None:
        assert "2023-11-14 22:13:20" in when(1.7e9)
        assert when(1e30) == when(float("nan")) == "?"


async def _until_waiting(client: Any, run_id: str) -> None:
    live = client.app.runs.live[run_id]
    while not live.board.waiting:
        await asyncio.sleep(0)


def test_there_are_limits_of_rows() -> None:
    with serving(flows(), limits=Limits(finished=10)) as client:
        for _ in range(12):
            client.start("later")
        assert len([link for link in read(client.get("/")).all("a") if link["href"].startswith("/runs/")]) == 10


def test_a_browser_is_refused_by_a_page() -> None:
    keys = flow.http.Keys.memory()
    keys.add("ci", "read")
    with serving({"one": one(lambda: 1)}, auth=keys) as client:
        for path, status in (("/", 401), ("/runs/x", 401), ("/login?token=<b>", 403)):
            got = client.get(path, headers={"accept": "text/html,*/*;q=0.8"})
            assert (got.status, got.headers["content-type"]) == (status, "text/html; charset=utf-8")
            assert "flow keys link" in got.text and "<b>" not in got.text
            assert Page(got.text)
            assert client.get(path).headers["content-type"] == "application/problem+json"
