"""The API suite: every server does the work, what is refused or lost is counted, and every section has its rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

import flow
from flow_bench.__main__ import main
from flow_bench.harness.contender import Refused
from flow_bench.originals.table import source
from flow_bench.suites.api import alone, beside, load, memory, order, suite, trials
from flow_bench.suites.api.server import App
from flow_bench.suites.api.trials import BARE, FULL, Pool, Trial

TINY = alone.Effort(rounds=1, seconds=0.1, connections=(1, 4), waiting=20)
FIGURES = {"p50", "p95", "p99", "CPU us", "connections per request", "MB"}


@pytest.fixture(scope="module")
def pool() -> Iterator[Pool]:
    with Pool() as made:
        yield made


@pytest.fixture
def by_client(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where wrk is not installed."""
    monkeypatch.setattr(load, "wrk", lambda: None)


def request() -> bytes:
    return order.body_of(order.inputs_of(trials.SIZE))


class TestServers:
    @pytest.mark.parametrize("app", [FULL, beside.FASTAPI, beside.LITESTAR], ids=lambda app: app.label)
    def test_it_does_the_work(self, app: App, pool: Pool) -> None:
        """A pool checks it: three orders, a wrong key, a wrong order."""
        if app.missing:
            pytest.skip(app.missing)
        (server,) = pool(app)
        status, answer = server.ask("POST", order.PATH, request())
        assert status == 200
        assert set(answer) == {"id", "status", "outputs", "errors", "counts", "seconds"}

    def test_a_constant_is_no_work(self) -> None:
        lazy = replace(BARE, works=True)
        with Pool() as made, pytest.raises(Refused, match="its answer has no right outputs"):
            made(lazy)

    def test_one_that_cannot_start_says_why(self) -> None:
        broken = App("broken", "no_such_program")
        with Pool() as made, pytest.raises(Refused, match="its process died: .*no_such_program"):
            made(broken)

    def test_connections_and_time_are_told(self, pool: Pool) -> None:
        (server,) = pool(BARE)
        before = server.used()
        server.ask("POST", order.PATH, request())
        after = server.used()
        assert after["opened"] == before["opened"] + 1
        assert after["cpu"] > before["cpu"] > 0
        assert server.resident > 10e6


class TestDrivers:
    @pytest.fixture(params=["wrk", "client"])
    def drive(self, request: pytest.FixtureRequest) -> Any:
        program = load.wrk()
        if request.param == "client":
            return load.by_client
        if program is None:
            pytest.skip("wrk is not installed")
        return lambda job, seconds: load.by_wrk(program, job, seconds)

    def test_requests_connections_and_refusals_are_counted(self, drive: Any, pool: Pool) -> None:
        bare, refusing = pool(BARE, alone.REFUSING)
        for server, refused in ((bare, False), (refusing, True)):
            before = server.used()["opened"]
            seen = drive(Trial("any", server, connections=8).job(), 0.2)
            assert seen.requests > 8 and seen.lost == 0
            assert seen.refused == (seen.requests if refused else 0)
            assert 0 < seen.p50 <= seen.p95 <= seen.p99 <= seen.seconds
            assert 8 <= server.used()["opened"] - before <= 9  # wrk tries the address first

    def test_a_connection_for_each_request(self, drive: Any, pool: Pool) -> None:
        (bare,) = pool(BARE)
        before = bare.used()["opened"]
        seen = drive(Trial("any", bare, connections=4, close=True).job(), 0.2)
        opened = bare.used()["opened"] - before
        assert seen.requests <= opened <= seen.requests + 16
        assert seen.refused == seen.lost == 0

    def test_a_rate_is_kept(self, pool: Pool) -> None:
        (bare,) = pool(BARE)
        seen = load.drive(Trial("any", bare, rate=200.0).job(), 0.5)  # not by wrk, which cannot
        assert 90 <= seen.requests <= 100

    def test_one_that_fails_is_refused(self, pool: Pool) -> None:
        (bare,) = pool(BARE)
        job = replace(Trial("any", bare).job(), port=1)
        with pytest.raises(Refused, match="the client"):
            load.by_client(job, 0.1)
        with pytest.raises(Refused, match="wrk' is refused: it said nothing"):
            load._seen("wrk", "")


class TestTrials:
    @pytest.mark.usefixtures("by_client")
    def test_answers_that_are_refused_are_no_answers(self, pool: Pool) -> None:
        (refusing,) = pool(alone.REFUSING)
        refusing.app = replace(refusing.app, refuses=False)
        try:
            with pytest.raises(Refused, match=r"(\d+) of \1 requests were refused"):
                Trial("any", refusing, connections=2).one(0.1, keep=True)
        finally:
            refusing.app = alone.REFUSING

    @pytest.mark.usefixtures("by_client")
    def test_answers_that_are_let_in_are_no_refusals(self, pool: Pool) -> None:
        (full,) = pool(FULL)
        full.app = replace(FULL, refuses=True)
        try:
            with pytest.raises(Refused, match=r"(\d+) of \1 requests were let in"):
                Trial("any", full, connections=2).one(0.1, keep=True)
        finally:
            full.app = FULL


@pytest.mark.usefixtures("by_client")
class TestSections:
    @pytest.mark.parametrize(
        ("section", "labels"),
        [
            (alone.payload, [*alone.SIZES, alone.CLOSED]),
            (alone.connections, ["connections: 1", "connections: 4"]),
            (
                alone.limiter,
                ["without a limiter", "with one that lets all in", "with one that refuses all: 429s"],
            ),
            (alone.mixed, ["nothing else runs", "with 20 runs in flight"]),
        ],
    )
    def test_the_service_alone(self, section: Any, labels: list[str], pool: Pool) -> None:
        rows = section(TINY, pool)
        assert [row.label for row in rows][1:] == labels
        assert set(rows[0].ratios) == {1.0} and rows[0].label.startswith(BARE.label)
        for row in rows:
            assert set(row.figures) == FIGURES and row.unit == "requests/s" and row.better == "higher"
            assert row.figure > 0 and len(row.samples) == len(row.ratios) == len(row.cpu) == 1
            assert row.note.startswith("driven by the client of flow_bench")

    def test_beside_others(self, pool: Pool) -> None:
        missing = replace(beside.FASTAPI, label="Nowhere", package="no-such-distribution-of-anyone")
        apps = (beside.PROTOCOL, BARE, FULL, missing)
        effort = beside.Effort(rounds=2, seconds=0.1, apps=apps, rate=100.0, paced_rounds=1)
        whole, over, paced = beside.run(effort, pool)
        assert [row.label for row in whole] == [app.label for app in apps]
        assert whole[3].figure is None and "is not installed (pip install '.[peers]')" in whole[3].note
        assert [row.target and str(row.target) for row in whole] == [None, None, ">= 15000", None]
        assert [row.label.partition(" / ")[0] for row in over] == ["CPU per request", "P99"]
        assert [row.unit for row in paced] == ["ms", "ms", "x"]
        assert all(len(row.samples) == 2 for row in [*whole[:3], *over])

    def test_the_ratios_that_are_asked_for(self, pool: Pool) -> None:
        servers = dict(zip((BARE, FULL), pool(BARE, FULL), strict=True))
        seen = [load.Seen(100, 1.0, 0.01, 0.01, 0.02)]
        made = {app: Trial(app.label, server, seen=seen, used=[{"cpu": 1e-4}]) for app, server in servers.items()}
        for app, requests in ((beside.FASTAPI, 25), (beside.LITESTAR, 80)):
            fewer = [replace(seen[0], requests=requests)]
            made[app] = Trial(app.label, servers[BARE], seen=fewer, used=[{"cpu": 4e-4}])
        assert {row.label: (row.figure, row.verdict) for row in beside.ratios_of(made)} == {
            "requests/s / those of FastAPI": (4.0, "pass"),
            "requests per CPU second / those of FastAPI": (4.0, "PASS"),
            "requests/s / those of Litestar": (1.25, "miss"),
            "requests per CPU second / those of Litestar": (4.0, "PASS"),
            "CPU per request / that of bare ASGI": (1.0, "PASS"),
            "P99 / that of bare ASGI, both full": (1.0, ""),
        }


class TestSuite:
    def test_it_is_registered(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["api", "--quick", "--only", "nonsense"]) == 2
        names = "'beside', 'payload', 'connections', 'limiter', 'mixed', 'memory', 'long'"
        assert f"it has {names}" in capsys.readouterr().err

    def test_a_million_requests_are_sent_on_request(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(memory, "long", lambda effort: ["long"])
        section = suite.SECTIONS["long"]
        assert list(section(suite.QUICK, Pool())) == []
        asked = [replace(suite.QUICK, long=True), replace(suite.QUICK, sections=("long",))]
        assert [list(section(effort, Pool())) for effort in asked] == [[["long"]]] * 2

    def test_what_it_needs_is_said(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        monkeypatch.setattr(suite, "NEEDED", ("no_such_module",))
        assert main(["api", "--quick"]) == 4
        assert "no_such_module is not installed: pip install '.[bench,http,metrics]'" in capsys.readouterr().err


def test_the_rows_beside_the_originals(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    def measured(given: list[Trial], *_: Any) -> None:
        for trial in given:
            trial.seen, trial.used = [load.Seen(9, 1.0, 0.1, 0.2, 0.3)], [{"cpu": 0.1, "opened": 0.1, "resident": 1e6}]

    monkeypatch.setattr(alone, "measure", measured)
    for name in ("begin_waiting", "refuse_unless_waiting"):
        monkeypatch.setattr(alone, name, lambda *_: None)
    names = ("payload", "connections", "limiter", "mixed")
    found = {name: getattr(alone, name)(alone.Effort(), pool) for name in names}
    effort = memory.Effort()
    watched = [memory.Watched(rate, [(0.0, 1), (30.0, 1)], 1, float(rate)) for rate in effort.rates]
    found["memory"] = [*[row for one in watched for row in memory.rows_of(one)], memory.row_of(effort.alive, 1)]
    known = {(name, row.section, row.label) for name, rows in found.items() for row in rows}
    ours = [one for _, one in source("rust").rows() if one.suite == "api"]
    assert len(ours) > 20
    assert [one for one in ours if (one.only, one.section, one.label) not in known] == []


def test_the_dag_that_is_served_is_the_one_that_is_run() -> None:
    assert isinstance(order.dag, flow.Dag) and [*order.dag.compile()] == ["subtotal", "discount", "receipt"]
