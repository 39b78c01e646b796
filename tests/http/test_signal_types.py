"""What is sent to signals as JSON, which has few types: it is taken as that which the schema of the signal says."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from jsonschema import Draft202012Validator
from running import API, on_loop, served

import flow


class Odd(msgspec.Struct):
    day: dt.date
    cost: Decimal
    counts: dict[int, int]


CASES = [
    (dt.date, "2024-01-02", dt.date(2024, 1, 2)),
    (dt.datetime, "2024-01-02T03:04:05Z", dt.datetime(2024, 1, 2, 3, 4, 5, tzinfo=dt.UTC)),
    (Decimal, "1.10", Decimal("1.10")),
    (bytes, "eA==", b"x"),
    (dict[int, int], {"1": 2}, {1: 2}),
    (Odd, {"day": "2024-01-02", "cost": "1.5", "counts": {"1": 2}}, Odd(dt.date(2024, 1, 2), Decimal("1.5"), {1: 2})),
    (int, 3, 3),
    (str, "2024-01-02", "2024-01-02"),
]


def asking(kind: Any) -> flow.Dag:
    dag = flow.Dag("asking")
    dag.signal("it", type=kind)
    dag.add("told", lambda it: f"{type(it).__name__} {it!r}")
    return dag


@pytest.mark.parametrize("durable", [False, True], ids=["memory", "store"])
@pytest.mark.parametrize(("kind", "payload", "value"), CASES, ids=[str(kind) for kind, _, _ in CASES])
@on_loop
async def test_what_fits_the_schema_is_taken(kind: Any, payload: Any, value: Any, durable: bool) -> None:
    store: dict[str, Any] = {"store": flow.store.memory()} if durable else {}
    async with served(asking(kind), **store) as door:
        schema = (await door.got(f"{API}/workflows/asking")).json["signals"]["it"]
        assert Draft202012Validator(schema).is_valid(payload)
        run = await door.run_of("asking")
        await door.until(run, "waiting")
        assert (await door.signal(run, "it", payload)).status == 202
        seen = await door.until(run, "completed")
        assert seen["outputs"]["told"] == f"{type(value).__name__} {value!r}"


@pytest.mark.parametrize(("kind", "payload", "value"), CASES, ids=[str(kind) for kind, _, _ in CASES])
@on_loop
async def test_what_is_sent_while_nobody_drives_the_run_is_taken_later(kind: Any, payload: Any, value: Any) -> None:
    store, plan = flow.store.memory(), asking(kind).compile()
    with pytest.raises(KeyError):
        async with flow.start(plan, store=store, run_id="r") as run:
            await run.next_waiting()
            raise KeyError
    store.send("r", "it", value)
    assert (await flow.execute(plan, store=store, run_id="r"))["told"] == f"{type(value).__name__} {value!r}"


@pytest.mark.parametrize(("kind", "payload"), [(dt.date, "no day"), (Odd, {"day": "2024-01-02"}), (int, "3"), (str, 3)])
@on_loop
async def test_what_does_not_fit_is_refused(kind: Any, payload: Any) -> None:
    async with served(asking(kind)) as door:
        run = await door.run_of("asking")
        await door.until(run, "waiting")
        got = await door.signal(run, "it", payload)
        assert got.status == 422 and got.json["errors"][0]["pointer"].startswith("/payload")


@on_loop
async def test_a_schema_has_no_definitions_but_its_own() -> None:
    dag = flow.Dag("many")
    for n in range(30):
        dag.signal(f"s{n}", type=msgspec.defstruct(f"Kind{n}", [("x", Odd)]))
    async with served(dag) as door:
        signals = (await door.got(f"{API}/workflows/many")).json["signals"]
        assert sorted(signals["s7"]["$defs"]) == ["Kind7", "Odd"]
        for schema in signals.values():
            Draft202012Validator.check_schema(schema)
