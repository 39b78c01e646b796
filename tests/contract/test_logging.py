"""The logger ``flow``: retries, failures that a run survives, and, for who asks for it, all events."""

from __future__ import annotations

import asyncio
import io
import itertools
import logging
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import anyio
import pytest
from conftest import MODES

import flow
from flow.run.log import MAX_WARNINGS

Records = Callable[[], list[logging.LogRecord]]
NO_DELAY = flow.Retry(3, delay=0)


@pytest.fixture
def records(caplog: pytest.LogCaptureFixture) -> Iterator[Records]:
    with caplog.at_level(logging.DEBUG, "flow"):
        yield lambda: [record for record in caplog.records if record.name == "flow"]


def said(record: logging.LogRecord) -> tuple[Any, ...]:
    of = record.__dict__
    return record.levelname, of["flow_event"], of["flow_node"], of["flow_item"], of["flow_attempt"]


def fails() -> None:
    raise ValueError("why")


async def fails_late() -> None:
    await anyio.lowlevel.checkpoint()
    raise ValueError("why")


@pytest.fixture(params=[fails, fails_late], ids=["sync", "async"])
def bad(request: pytest.FixtureRequest) -> Any:
    return request.param


def run(dag: flow.Dag, backend: str, inputs: Any = None, **settings: Any) -> flow.Result:
    return flow.run(dag, inputs, run_id="r1", config=flow.Config(backend=backend, **settings))  # type: ignore[arg-type]


def test_a_retry_is_told_at_info(records: Records, bad: Any, backend: str) -> None:
    dag = flow.Dag("d")
    dag.add("n", bad, retry=NO_DELAY, continue_on_error=True)
    run(dag, backend)
    assert [said(record) for record in records()] == [
        ("INFO", "NodeRetried", "n", None, 1),
        ("INFO", "NodeRetried", "n", None, 2),
        ("WARNING", "NodeFailed", "n", None, 3),
    ]
    assert [record.getMessage() for record in records()] == [
        "run r1: n: attempt 1 of 3 failed, the next begins in 0 s: ValueError: why",
        "run r1: n: attempt 2 of 3 failed, the next begins in 0 s: ValueError: why",
        "run r1: n: failed after 3 attempts, the run goes on: ValueError: why",
    ]
    assert {record.__dict__["flow_run"] for record in records()} == {"r1"}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("options", "settings", "event"),
    [
        ({"continue_on_error": True}, {}, "NodeFailed"),
        ({}, {"on_error": "collect"}, "NodeFailed"),
        ({"fallback": 1}, {}, "NodeFallback"),
        ({"fallback": lambda error: 1}, {"on_error": "collect"}, "NodeFallback"),
    ],
)
def test_a_failure_that_the_run_survives_is_a_warning(
    records: Records, mode: str, options: Any, settings: Any, event: str
) -> None:
    dag = flow.Dag("d")
    dag.add("n", fails, **options)
    flow.run(dag, run_id="r1", config=flow.Config(**MODES[mode], **settings))
    (record,) = records()
    assert said(record) == ("WARNING", event, "n", None, 1)
    what = "its fallback stands in" if event == "NodeFallback" else "the run goes on"
    assert record.getMessage() == f"run r1: n: failed, {what}: ValueError: why"
    assert record.exc_info is None


@pytest.mark.parametrize("where", ["node", "item", "inner", "items of an inner", "timed out"])
def test_what_ends_the_run_is_raised_and_not_logged(records: Records, where: str, backend: str) -> None:
    inner = flow.Dag("inner")
    inner.add("n", fails)
    dag = flow.Dag("d")
    if where == "node":
        dag.add("n", fails)
    elif where == "item":
        dag.map("n", lambda x: fails(), "xs")
        dag.add("xs", lambda: [1])
    elif where == "inner":
        dag.add("n", inner)
    elif where == "items of an inner":
        inner.add("takes", lambda item: item)
        dag.map("n", inner, "xs")
        dag.add("xs", lambda: [1])
    else:
        dag.add("n", fails_late, timeout=5)
    with pytest.raises(flow.RunError):
        run(dag, backend)
    assert records() == []


def test_an_exit_is_not_survived(records: Records) -> None:
    def leaves() -> None:
        raise SystemExit(3)

    dag = flow.Dag("d")
    dag.add("n", leaves, continue_on_error=True)
    for settings in ({"on_error": "collect"}, {"mode": "tasks"}):
        with pytest.raises(SystemExit):
            flow.run(dag, config=flow.Config(**settings))  # type: ignore[arg-type]
    assert records() == []


@pytest.mark.parametrize("on_error", ["collect", "skip"])
@pytest.mark.parametrize("pipelined", [False, True])
def test_items(records: Records, on_error: Any, pipelined: bool, backend: str) -> None:
    def item(x: int) -> int:
        if x == 3:
            raise KeyError("x")
        return x

    dag = flow.Dag("d")
    dag.map("before", lambda x: x, "xs")
    dag.map("m", item, "before", on_error=on_error, retry=flow.Retry(2, delay=0), pipelined=pipelined)
    run(dag, backend, {"xs": [1, 2, 3]})
    assert [said(record) for record in records()] == [
        ("INFO", "ItemRetried", "m", 2, 1),
        ("WARNING", "ItemFailed", "m", 2, 2),
    ]
    assert records()[1].getMessage() == "run r1: m[2]: failed after 2 attempts, the run goes on: KeyError: 'x'"


@pytest.mark.parametrize("batch_size", [None, 2])
def test_fallbacks_of_items(records: Records, batch_size: int | None) -> None:
    dag = flow.Dag("d")
    dag.map("m", lambda x: fails(), "xs", fallback=0, batch_size=batch_size)
    assert flow.run(dag, {"xs": [1, 2]})["m"] == [0, 0]
    expected = [("WARNING", "ItemFallback", "m", i, 1) for i in range(2 if batch_size is None else 1)]
    assert [said(record) for record in records()] == expected


@pytest.mark.parametrize(
    ("options", "event"), [({"on_error": "skip"}, "ItemFailed"), ({"fallback": 0}, "ItemFallback")]
)
def test_of_very_many_items_a_few_are_warnings_and_one_line_counts_them(
    records: Records, options: Any, event: str
) -> None:
    dag = flow.Dag("d")
    dag.map("m", lambda x: fails(), "xs", **options)
    flow.run(dag, {"xs": range(100)}, run_id="r1")
    levels = [record.levelname for record in records() if said(record)[3] is not None]
    assert levels == ["WARNING"] * MAX_WARNINGS + ["INFO"] * (100 - MAX_WARNINGS)
    last = records()[-1]
    assert said(last) == ("WARNING", event, "m", None, None)
    assert last.getMessage().startswith("run r1: m: in all, 100 items ")


def test_a_failure_within_a_nested_run_has_its_path_and_the_id_of_the_outermost(records: Records, backend: str) -> None:
    inner = flow.Dag("inner")
    inner.add("n", lambda item: fails(), continue_on_error=True)
    inner.add("other", lambda item: item)
    dag = flow.Dag("d")
    dag.map("outer", inner, "xs", timeout=60)
    dag.map("plain", inner, "ys")
    dag.add("once", inner, needs={"item": "plain"})
    run(dag, backend, {"xs": ["a", "b"], "ys": [1]})
    texts = [record.getMessage() for record in records()]
    assert texts == [
        f"run r1: {place}/n: failed, the run goes on: ValueError: why"
        for place in ("outer[0]", "outer[1]", "plain[0]", "once")
    ]
    assert {record.__dict__["flow_run"] for record in records()} == {"r1"}


def test_what_a_nested_run_collects_is_told_once_by_the_node_around_it(records: Records) -> None:
    inner = flow.Dag("inner")
    inner.add("n", fails)
    dag = flow.Dag("d")
    dag.add("outer", inner)
    flow.run(dag, config=flow.Config(on_error="collect"))
    (record,) = records()
    assert said(record) == ("WARNING", "NodeFailed", "outer", None, 1)
    assert "ValueError: why" in record.getMessage()


def test_known_failures_are_not_news(records: Records) -> None:
    dag = flow.Dag("d")
    dag.add("n", fails, continue_on_error=True)
    flow.run(dag, known={"n": flow.Outcome("failed", error=ValueError("why"))})
    assert records() == []


@pytest.mark.parametrize("text", ["two\nlines", "\x1b[2J", "\u202eabc", "x" * 5_000, ""])
def test_each_message_is_one_line_of_plain_characters(records: Records, text: str) -> None:
    def shouts() -> None:
        raise ValueError(text)

    dag = flow.Dag("d")
    dag.add("n", shouts, continue_on_error=True, retry=NO_DELAY)
    flow.run(dag)
    for record in records():
        assert record.getMessage().isprintable() and len(record.getMessage()) < 400


def test_exceptions_that_cannot_be_shown(records: Records) -> None:
    class Odd(Exception):
        def __str__(self) -> str:
            raise ZeroDivisionError

    def odd() -> None:
        raise Odd

    dag = flow.Dag("d")
    dag.add("n", odd, fallback=1)
    assert flow.run(dag)["n"] == 1
    assert records()[0].getMessage().endswith("Odd (its message cannot be shown)")


def test_records_can_be_sent(records: Records) -> None:
    dag = flow.Dag("d")
    dag.add("n", fails, fallback=1)
    flow.run(dag)
    assert pickle.loads(pickle.dumps(records()[0])).__dict__["flow_node"] == "n"


def test_attributes_clash_with_none_of_a_record() -> None:
    from flow.logs import fields

    own = logging.LogRecord("flow", 20, "", 1, "", (), None).__dict__.keys() | {"message", "asctime", "taskName"}
    assert not own & fields().keys()
    assert list(fields()) == ["flow_event", "flow_run", "flow_node", "flow_item", "flow_attempt"]


def test_the_level_is_the_users(caplog: pytest.LogCaptureFixture) -> None:
    made: list[int] = []

    class Counted(ValueError):
        def __str__(self) -> str:
            made.append(1)
            return "why"

    def counted() -> None:
        raise Counted

    dag = flow.Dag("d")
    dag.add("n", counted, retry=NO_DELAY, fallback=1)
    with caplog.at_level(logging.ERROR, "flow"):
        flow.run(dag)
    assert (caplog.records, made) == ([], [])  # nothing is even formatted


def test_a_filter_that_raises_harms_nothing(records: Records) -> None:
    def filtering(record: logging.LogRecord) -> bool:
        raise ZeroDivisionError

    dag = flow.Dag("d")
    dag.add("n", fails, retry=NO_DELAY, fallback=1)
    logger = logging.getLogger("flow")
    logger.addFilter(filtering)
    try:
        assert flow.run(dag)["n"] == 1
    finally:
        logger.removeFilter(filtering)


SCRIPT = """
import sys
import flow
dag = flow.Dag("d")
calls = []
@dag.node(retry=flow.Retry(2, delay=0))
def flaky():
    calls.append(1)
    if len(calls) == 1:
        raise ValueError("once")
flow.run(dag)
assert len(calls) == 2
assert "logging" not in sys.modules
dag.add("bad", lambda: 1 / 0, continue_on_error=True)
flow.run(dag, run_id="r1")
"""


def test_nothing_is_imported_for_what_nobody_reads_and_without_any_set_up_warnings_are_printed() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False)
    assert done.stderr == "run r1: bad: failed, the run goes on: ZeroDivisionError: division by zero\n"
    assert done.returncode == 0


def test_trials_of_tune_say_nothing(records: Records) -> None:
    dag = flow.Dag("d")
    dag.add("n", fails, continue_on_error=True)
    flow.tune(dag, budget=5.0, timer=partial(next, itertools.count(0, 0.01)))
    assert records() == []
    flow.run(dag)
    assert len(records()) == 1


# -- what goes wrong beside the run ------------------------------------------------------------


def test_what_is_raised_where_nothing_fails_has_the_same_attributes(records: Records) -> None:
    def observer(event: Any) -> None:
        raise ZeroDivisionError

    dag = flow.Dag("d")
    dag.add("n", lambda: 1)
    flow.run(dag, run_id="r1", config=flow.Config(observers=(observer,)))
    tracker = flow.plan.StatusTracker(["n"]) if hasattr(flow.plan, "StatusTracker") else flow.plan.StatusTracker(["n"])
    tracker.subscribe(observer)
    tracker.set("n", "ready")
    assert {record.levelname for record in records()} == {"ERROR"}
    assert all(record.exc_info is not None for record in records())
    assert {record.__dict__["flow_run"] for record in records()} == {"r1", None}
    assert records()[-1].__dict__["flow_node"] == "n"


def test_the_middleware_says_who_it_is(records: Records) -> None:
    dag = flow.Dag("d", middleware=[flow.middleware.logged()])
    dag.add("n", fails, retry=flow.Retry(2, delay=0))
    with pytest.raises(flow.RunError):
        flow.run(dag, run_id="r1")
    own = [record for record in records() if record.__dict__["flow_event"] is None]
    assert [record.__dict__["flow_attempt"] for record in own] == [1, 1, 2, 2]
    assert {(record.__dict__["flow_run"], record.levelname) for record in own} == {("r1", "INFO")}


# -- all events --------------------------------------------------------------------------------


def everything() -> flow.Dag:
    dag = flow.Dag("d")
    dag.add("known", lambda: 1)
    dag.add("n", fails, retry=flow.Retry(2, delay=0), continue_on_error=True)
    dag.add("skipped", lambda n: 1)
    dag.add("stood_in", fails, fallback=1)
    dag.map("m", lambda x: 1 // x, "xs", on_error="collect", retry=flow.Retry(2, delay=0))
    dag.map("f", lambda x: 1 // x, "xs", fallback=7)
    return dag


def observed(dag: flow.Dag, inputs: Any = None, **options: Any) -> flow.Result:
    config = flow.Config(observers=(flow.observe.logging(**options),), on_error="collect")
    return flow.run(dag, inputs, known={"known": 1} if "known" in dag else None, run_id="r1", config=config)


def test_every_event_is_logged_once(records: Records) -> None:
    observed(everything(), {"xs": [1, 0]})
    assert [said(record) for record in records()] == [
        ("INFO", "RunStarted", None, None, None),
        ("INFO", "NodeKnown", "known", None, None),
        ("INFO", "NodeStarted", "n", None, 1),
        ("INFO", "NodeRetried", "n", None, 1),
        ("INFO", "NodeStarted", "n", None, 2),
        ("WARNING", "NodeFailed", "n", None, 2),
        ("INFO", "NodeSkipped", "skipped", None, None),
        ("INFO", "NodeStarted", "stood_in", None, 1),
        ("WARNING", "NodeFallback", "stood_in", None, 1),
        ("INFO", "NodeFinished", "stood_in", None, 1),
        ("INFO", "NodeStarted", "m", None, 1),
        ("INFO", "MapStarted", "m", None, None),
        ("DEBUG", "ItemFinished", "m", 0, None),
        ("INFO", "ItemRetried", "m", 1, 1),
        ("WARNING", "ItemFailed", "m", 1, 2),
        ("INFO", "NodeFinished", "m", None, 1),
        ("INFO", "NodeStarted", "f", None, 1),
        ("INFO", "MapStarted", "f", None, None),
        ("DEBUG", "ItemFinished", "f", 0, None),
        ("WARNING", "ItemFallback", "f", 1, 1),
        ("DEBUG", "ItemFinished", "f", 1, None),
        ("INFO", "NodeFinished", "f", None, 1),
        ("WARNING", "RunFinished", None, None, None),
    ]
    texts = [record.getMessage() for record in records()]
    assert all(text.startswith("run r1: ") for text in texts)
    assert texts[0] == "run r1: dag d begins, nodes: 6"
    assert texts[1] == "run r1: known: known as completed"
    assert texts[5] == "run r1: n: failed after 2 attempts: ValueError: why"
    assert texts[6] == "run r1: skipped: skipped, for n"
    assert texts[11] == "run r1: m: goes over 2 items"
    assert "dag d ended NOT OK in " in texts[-1]


def test_a_run_that_goes_well_and_one_that_is_cut_short(records: Records) -> None:
    dag = flow.Dag("d")
    dag.add("n", fails)
    dag.add("other", lambda: 1)
    with pytest.raises(flow.RunError):
        flow.run(dag, config=flow.Config(observers=(flow.observe.logging(),)))
    assert ("INFO", "NodeCancelled", "other", None, None) in [said(record) for record in records()]
    one = flow.Dag("one")
    one.map("m", lambda x: x, "xs")
    observed(one, {"xs": iter([1])})
    assert said(records()[-1])[:2] == ("INFO", "RunFinished")
    assert "run r1: m: goes over items" in [record.getMessage() for record in records()]
    assert " ended ok in " in records()[-1].getMessage()


def test_every_kind_of_event_has_its_words() -> None:
    from typing import get_args

    from flow.observe.log import _SAID
    from flow.run import events

    assert set(_SAID) == set(get_args(events.Event))


def test_levels_and_logger_are_chosen(caplog: pytest.LogCaptureFixture) -> None:
    mine = logging.getLogger("mine")
    with caplog.at_level(logging.DEBUG, "mine"):
        observed(everything(), {"xs": [1, 0]}, logger=mine, level="debug", failures=logging.ERROR, items="INFO")
    assert {record.name for record in caplog.records} == {"mine"}
    levels = {said(record)[1]: record.levelname for record in caplog.records}
    assert (levels["NodeStarted"], levels["NodeFailed"], levels["ItemFinished"]) == ("DEBUG", "ERROR", "INFO")
    assert levels["RunFinished"] == "ERROR"
    with caplog.at_level(logging.WARNING, "mine"):
        caplog.clear()
        observed(everything(), {"xs": [1]}, logger="mine")
    assert {record.levelname for record in caplog.records} == {"WARNING"}


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"logger": 5}, r"observe.logging\(logger\): a logging.Logger, or the name of one, not 5"),
        ({"level": "loud"}, r"observe.logging\(level=...\): a level's number or one of .*INFO.*, not 'loud'"),
        ({"failures": None}, r"observe.logging\(failures=...\)"),
        ({"items": True}, r"observe.logging\(items=...\)"),
    ],
)
def test_what_is_no_logger_and_no_level(options: Any, fault: str) -> None:
    with pytest.raises(flow.UsageError, match=fault):
        flow.observe.logging(**options)


# -- on the command line -----------------------------------------------------------------------


@pytest.fixture
def program(tmp_path: Any) -> str:
    path = tmp_path / "program.py"
    path.write_text(
        "import flow\ndag = flow.Dag('d')\ndag.add('n', lambda: 1 / 0, continue_on_error=True)\n"
        "dag.map('m', lambda x: x, 'xs')\ndag.add('xs', lambda: [1])\n"
    )
    return str(path)


def command(*words: str) -> tuple[int, str, str]:
    testing = pytest.importorskip("click.testing")
    from flow.cli.commands import cli

    done = testing.CliRunner().invoke(cli, ["run", *words], prog_name="flow")
    return done.exit_code, done.stdout, done.stderr


@pytest.mark.parametrize(
    ("words", "levels"),
    [
        (["--log"], {"INFO", "WARNING"}),
        (["--log", "info"], {"INFO", "WARNING"}),
        (["--log=WARNING"], {"WARNING"}),
        (["--log", "debug"], {"DEBUG", "INFO", "WARNING"}),
        ([], set()),
    ],
)
@pytest.mark.parametrize("first", [False, True])
def test_the_option_log(program: str, words: list[str], levels: set[str], first: bool) -> None:
    code, out, told = command(*(words if first else []), program, *([] if first else words))
    assert code == 0
    assert "\nd: ok" in f"\n{out}"
    lines = [line.split()[1] for line in told.splitlines() if ": " in line and " run " in line]
    assert set(lines) == levels
    assert told.count("ZeroDivisionError") == (2 if words else 1)  # in the log, and in the report


def test_a_level_that_there_is_not(program: str) -> None:
    code, _, told = command(program, "--log=loud")
    assert code == 2
    assert "'loud' is not one of 'debug', 'info', 'warning'" in told


def test_the_users_own_set_up_is_kept(program: str) -> None:
    text = io.StringIO()
    handler = logging.StreamHandler(text)
    logger = logging.getLogger("flow")
    logger.addHandler(handler)
    try:
        command(program)
    finally:
        logger.removeHandler(handler)
    assert "n: failed, the run goes on" in text.getvalue()
    assert (logger.filters, logger.level) == ([], logging.NOTSET)


def test_a_retry_on_a_loop_of_ones_own(records: Records) -> None:
    dag = flow.Dag("d")
    dag.add("n", fails_late, retry=flow.Retry(2, delay=0), fallback=1)
    asyncio.run(flow.execute(dag, run_id="r1"))  # type: ignore[arg-type]
    assert [said(record)[:2] for record in records()] == [("INFO", "NodeRetried"), ("WARNING", "NodeFallback")]


def test_what_left_a_node_out_is_told(records: Records) -> None:
    dag = flow.Dag("d")
    dag.add("own", lambda: 1, when=lambda: False)
    dag.add("after", lambda own: own)
    run(dag, "asyncio", observers=(flow.observe.logging(),))
    texts = [record.getMessage() for record in records()]
    assert "run r1: own: bypassed by its condition" in texts
    assert "run r1: after: bypassed, by own" in texts
