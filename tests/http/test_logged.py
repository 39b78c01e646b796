"""Failed runs in the log of a service: each way in which one is run, without secrets, and never too many."""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import Callable
from typing import Annotated, Any, TypedDict

import pytest
from client import API, Client, serving
from workflows import one, quick, raising

import flow
import flow.store
from flow.http.logged import MOST, Failures


class Token(TypedDict):
    token: Annotated[str, flow.Secret]


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock of the failures that are logged here; those of other tests do not count."""
    clock = Clock()
    failures = Failures(clock)
    monkeypatch.setattr("flow.http.driving.FAILURES", failures)
    monkeypatch.setattr("flow.http.ended.FAILURES", failures)
    return clock


def fails(x: int = 1) -> None:
    raise ValueError(f"no {x}\x1b[31m")


async def fails_on_loop() -> None:
    raise KeyError("k")


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records]


def only(caplog: pytest.LogCaptureFixture) -> logging.LogRecord:
    (record,) = [record for record in caplog.records if record.levelno > logging.WARNING]
    assert (record.name, record.levelno) == ("flow", logging.ERROR)
    return record


def frames(record: logging.LogRecord) -> list[str]:
    """The functions in the traceback of a record."""
    assert record.exc_info is not None
    return [frame.name for frame in traceback.extract_tb(record.exc_info[2])]


def asked(client: Client, name: str, run_id: str, **inputs: Any) -> Any:
    got = client.start(name, {"run_id": run_id, "inputs": inputs})
    assert (got.status, got.json["status"]) == (200, "failed"), got
    return got


class TestEachWay:
    def test_a_thread_and_the_handler(self, caplog: pytest.LogCaptureFixture) -> None:
        with serving({"bad": one(fails)}) as client:
            workflow = client.app.workflows["bad"]
            for is_quick in (False, True):
                caplog.clear()
                workflow.pace.quick = is_quick
                run_id = client.start("bad").json["id"]
                record = only(caplog)
                assert record.getMessage() == f"run {run_id} of bad failed: node: ValueError: no 1\\x1b[31m"
                assert (record.flow_run, record.flow_node) == (run_id, "node")  # type: ignore[attr-defined]
                assert frames(record) == ["fails"]

    def test_the_event_loop(self, caplog: pytest.LogCaptureFixture) -> None:
        with serving({"bad": one(fails_on_loop)}) as client:
            asked(client, "bad", "a")
            assert only(caplog).getMessage() == "run a of bad failed: node: KeyError: 'k'"
            assert frames(only(caplog)) == ["fails_on_loop"]

    def test_a_store(self, caplog: pytest.LogCaptureFixture, tmp_path: Any) -> None:
        with flow.store.open(tmp_path / "s.db") as store, serving({"bad": one(fails)}, store=store) as client:
            asked(client, "bad", "a")
            assert only(caplog).getMessage().startswith("run a of bad failed: node: ValueError: no 1")

    @pytest.mark.parametrize("is_quick", [False, True])
    def test_an_exit(self, caplog: pytest.LogCaptureFixture, is_quick: bool) -> None:
        with serving({"bad": raising(SystemExit(3))}) as client:
            client.app.workflows["bad"].pace.quick = is_quick
            run_id = client.start("bad").json["id"]
            assert only(caplog).getMessage() == f"run {run_id} of bad failed: SystemExit: 3"
            assert frames(only(caplog)) == ["node"]

    def test_several_nodes_and_a_time_limit(self, caplog: pytest.LogCaptureFixture) -> None:
        dag = flow.Dag("two", config=flow.Config(on_error="collect"))
        dag.add("a", fails)
        dag.add("b", fails)

        async def waits() -> None:
            await asyncio.Event().wait()

        limited = one(waits)
        with serving({"two": dag}) as client:
            asked(client, "two", "r")
            assert only(caplog).getMessage().endswith("failed: a: ValueError: no 1\\x1b[31m (and 1 more failed)")
        caplog.clear()
        with serving({"slow": limited}, config=flow.Config(timeout=0.01)) as client:
            asked(client, "slow", "r")
            assert only(caplog).getMessage() == (
                "run r of slow failed: dag 'one': the run exceeded its limit of 0.01 s"
            )

    def test_what_is_none(self, caplog: pytest.LogCaptureFixture) -> None:
        """Runs that complete, that somebody cancels, and that never begin, as their inputs do not fit."""

        async def waits() -> None:
            await asyncio.Event().wait()

        with serving({"quick": quick(), "waits": one(waits)}) as client:
            assert client.start("quick").json["status"] == "completed"
            assert client.start("quick", {"inputs": {"z": 1}}).status == 422
            client.start("waits", {"run_id": "a"}, headers={"prefer": "respond-async"})
            client.post(f"{API}/runs/a/cancel")
            assert client.start("waits", {"run_id": "a"}).json["status"] == "cancelled"  # it waits for the end
        assert lines(caplog) == []

    def test_a_handler_of_the_users_that_raises(self) -> None:
        class Broken(logging.Handler):
            def emit(self, record: logging.LogRecord) -> None:
                raise OSError("full")

        broken, logger = Broken(), logging.getLogger("flow")
        logger.addHandler(broken)
        try:
            with serving({"bad": one(fails)}) as client:
                asked(client, "bad", "a")
        finally:
            logger.removeHandler(broken)


class TestSecrets:
    @pytest.mark.parametrize("is_quick", [False, True])
    def test_they_are_masked(self, caplog: pytest.LogCaptureFixture, is_quick: bool) -> None:
        def node(token: str) -> None:
            try:
                raise KeyError(token)
            except KeyError as error:
                raise ValueError(f"not {token}") from error

        dag = flow.Dag("d", inputs=Token)
        dag.add("node", node)
        with serving({"bad": dag}) as client:
            client.app.workflows["bad"].pace.quick = is_quick
            assert client.start("bad", {"inputs": {"token": "hunter22"}}).json["status"] == "failed"
        record = only(caplog)
        text = logging.Formatter().format(record)
        assert "failed: node: ValueError: not ***\nTraceback" in text
        assert "KeyError: '***'" in text
        assert "in node" in text
        assert "hunter22" not in text + str(vars(record))
        assert record.exc_info is None  # the value is a variable of these frames

    def test_of_an_exit_only_the_kind_is_told(self, caplog: pytest.LogCaptureFixture) -> None:
        def node(token: str) -> None:
            raise SystemExit(token)

        dag = flow.Dag("d", inputs=Token)
        dag.add("node", node)
        with serving({"bad": dag}) as client:
            client.start("bad", {"run_id": "a", "inputs": {"token": "hunter22"}})
        assert logging.Formatter().format(only(caplog)) == "run a of bad failed: SystemExit"


class TestBound:
    def test_no_more_than_some_in_a_second(self, caplog: pytest.LogCaptureFixture, clock: Clock) -> None:
        with serving({"bad": one(fails)}) as client:
            for number in range(MOST + 3):
                asked(client, "bad", f"r{number}")
            assert len(lines(caplog)) == MOST
            assert lines(caplog)[-1].startswith(f"run r{MOST - 1} ")
            clock.now += 1
            asked(client, "bad", "next")
            rest, last = lines(caplog)[MOST:]
            assert rest == "... and 3 more runs failed in the last second"
            assert last.startswith("run next of bad failed")

    def test_the_end_of_the_service_tells_the_rest(self, caplog: pytest.LogCaptureFixture) -> None:
        with serving({"bad": one(fails)}) as client:
            for number in range(MOST + 1):
                asked(client, "bad", f"r{number}")
        assert lines(caplog)[MOST:] == ["... and 1 more run failed in the last second"]

    def test_a_timer_tells_the_rest(self, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
        timers: list[tuple[float, Callable[[], None]]] = []
        with serving({"bad": one(fails)}) as client:
            loop = client.runner.get_loop()
            for number in range(MOST + 2):
                if number == MOST:

                    def later(delay: float, callback: Any, *args: Any, **more: Any) -> Any:
                        if getattr(callback, "__func__", None) is Failures.tell_rest:
                            timers.append((delay, callback))
                            return None
                        return type(loop).call_later(loop, delay, callback, *args, **more)

                    monkeypatch.setattr(loop, "call_later", later)
                asked(client, "bad", f"r{number}")
            ((delay, tell),) = timers
            assert delay == 1.0
            tell()
            assert lines(caplog)[MOST:] == ["... and 2 more runs failed in the last second"]
            tell()
            assert len(lines(caplog)) == MOST + 1

    def test_nothing_is_counted_that_the_log_does_not_take(self, caplog: pytest.LogCaptureFixture) -> None:
        with caplog.at_level(logging.CRITICAL, "flow"), serving({"bad": one(fails)}) as client:
            for number in range(MOST + 1):
                asked(client, "bad", f"r{number}")
        assert lines(caplog) == []
