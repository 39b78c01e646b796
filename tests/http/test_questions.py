"""What a run asks of who sends it something: beside the addresses, on the page, in its events, and after a restart."""

from __future__ import annotations

import re
import shlex
from html import unescape
from types import GenericAlias
from typing import Annotated, Any, TypedDict

import msgspec
import pytest
from client import API
from hypothesis import given
from hypothesis import strategies as st
from running import Reader, eventually, on_loop, served

import flow
from flow import ai
from flow.http import Limits
from flow.http.page.samples import sample_of
from flow.store.store import Store

ADDRESSES = ["reply#1.approve#0.answer", "reply#1.approve#1.answer"]
QUESTIONS = {
    address: {"tool": "refund", "arguments": {"order": order, "amount": amount}}
    for address, order, amount in zip(ADDRESSES, (1, 2), (30, 1000), strict=True)
}
both = pytest.mark.parametrize("durable", [False, True], ids=["memory", "store"])


def stores(durable: bool) -> dict[str, Any]:
    return {"store": flow.store.memory()} if durable else {}


def refunding() -> flow.Dag:
    def refund(order: int, amount: int) -> str:
        """Refund an amount of an order."""
        return f"refunded {amount}"

    def answer(request: ai.Request) -> ai.Reply:
        told = [message for message in request.messages if message.role == "tool"]
        texts = [f'{{"order": {order}, "amount": {amount}}}' for order, amount in ((1, 30), (2, 1000))]
        asked = tuple(ai.ToolCall(f"c{i}", "refund", text) for i, text in enumerate(texts))
        return ai.Reply(", ".join(str(message.content) for message in told)) if told else ai.Reply(tool_calls=asked)

    dag = flow.Dag("refunds")
    model = ai.Model(ai.Scripted(answer), "m")
    ai.agent(dag, "reply", model=model, prompt="{{ mail }}", tools=[refund], approve=[refund])
    return dag


class Given(TypedDict):
    token: Annotated[str, flow.Secret]


def asking(**settings: Any) -> flow.Dag:
    """A Dag whose node says, before a signal, what is asked there."""
    dag = flow.Dag("asking", **settings)

    @dag.node
    async def draft(ctx: flow.Context, token: str = "") -> int:
        ctx.report("question", {"address": "approve", "text": f"publish? {token}"})
        ctx.report("question", {"address": "nowhere", "text": "never asked"})
        ctx.report("question", {"text": "of no address"})
        ctx.report("question", "text")
        return 1

    dag.signal("approve", type=bool, after=["draft"])
    return dag


@both
@on_loop
async def test_what_an_agent_asks_stands_beside_each_address(durable: bool) -> None:
    async with served(refunding(), **stores(durable)) as door:
        run = await door.run_of("refunds", {"mail": "x"})
        seen = await door.until(run, "waiting")
        assert sorted(seen["waiting"]) == ADDRESSES and seen["questions"] == QUESTIONS
        await door.signal(run, ADDRESSES[0], {"yes": True})
        seen = await eventually(lambda: asked_only(door, run, ADDRESSES[1]))
        assert seen["questions"] == {ADDRESSES[1]: QUESTIONS[ADDRESSES[1]]}
        await door.signal(run, ADDRESSES[1], {"yes": False})
        assert "questions" not in await door.until(run, "completed")


@both
@on_loop
async def test_who_asks_for_the_run_again_is_told(durable: bool) -> None:
    async with served(asking(inputs=Given), **stores(durable)) as door:
        asked = {"run_id": "r", "inputs": {"token": "s3cret-of-mine"}}
        await door.sent(f"{API}/workflows/asking/runs?wait=0", asked)
        await door.until("r", "waiting")
        got = await door.sent(f"{API}/workflows/asking/runs?wait=0", asked)
        assert (got.status, got.json["waiting"]) == (202, ["approve"])
        assert got.json["questions"] == {"approve": {"text": "publish? ***"}}


@on_loop
async def test_who_asks_for_the_run_after_a_restart_is_told() -> None:
    store = flow.store.memory()
    async with served(asking(), store=store) as door:
        await door.sent(f"{API}/workflows/asking/runs?wait=0", {"run_id": "r"})
        await door.until("r", "waiting")
        await eventually(lambda: store.history_of(store.load("r")).waits)
    async with served(asking(), store=store) as door:
        got = await door.sent(f"{API}/workflows/asking/runs?wait=0", {"run_id": "r"})
        while not got.json.get("waiting"):  # it has begun anew
            got = await door.sent(f"{API}/workflows/asking/runs?wait=0", {"run_id": "r"})
        assert got.json["questions"] == {"approve": {"text": "publish? "}}


@both
@on_loop
async def test_a_question_that_json_cannot_hold_is_answered(durable: bool) -> None:
    dag = flow.Dag("odd")

    @dag.node
    async def draft(ctx: flow.Context) -> int:
        ctx.report("question", {"address": "approve", "text": "half: \ud800"})
        return 1

    dag.signal("approve", type=bool, after=["draft"])
    async with served(dag, **stores(durable)) as door:
        got = await door.sent(f"{API}/workflows/odd/runs?wait=0", {"run_id": "r"})
        assert got.status == 202
        await door.until("r", "waiting")
        got = await door.sent(f"{API}/workflows/odd/runs?wait=0", {"run_id": "r"})
        assert got.status == 202 and "approve" in got.json["questions"]
        assert "approve" in (await door.view("r"))["questions"]
        assert (await door.got("/runs/r")).status == 200


async def asked_only(door: Any, run: str, address: str) -> Any:
    view = await door.view(run)
    return view if view["waiting"] == [address] and view["status"] == "waiting" else None


@both
@on_loop
async def test_the_lines_of_the_page_are_taken(durable: bool) -> None:
    async with served(refunding(), **stores(durable)) as door:
        run = await door.run_of("refunds", {"mail": "x"})
        await door.until(run, "waiting")
        html = (await door.got(f"/runs/{run}")).text
        shown = [unescape(one) for one in re.findall(r'aria-label="question">(.*?)</pre>', html, re.DOTALL)]
        found = [msgspec.json.decode(one) for one in shown]  # in the order in which they began to wait
        assert sorted(found, key=str) == [QUESTIONS[one] for one in ADDRESSES]
        lines = [unescape(one) for one in re.findall(r"<pre[^>]*>(.*?)</pre>", html) if "signals" in one]
        for line in lines:
            words = shlex.split(line)
            assert words[-1] == '{"payload":{"yes":true}}'
            got = await door.sent(words[3].removeprefix("http://localhost:8080"), msgspec.json.decode(words[-1]))
            assert got.status == 202, got
        assert len(lines) == 2
        assert (await door.until(run, "completed", "failed"))["status"] == "completed"


@both
@on_loop
async def test_an_approval_gives_its_place_back_and_is_listed(durable: bool) -> None:
    async with served(refunding(), limits=Limits(runs=1), **stores(durable)) as door:
        runs = [await door.run_of("refunds", {"mail": "x"}) for _ in range(3)]
        for run in runs:
            await door.until(run, "waiting")
        listed = (await door.got(f"{API}/runs?status=waiting")).json["runs"]
        assert {row["id"] for row in listed} == set(runs)
        await eventually(lambda: door.service.places.taken == 0)
        for run in runs:
            for address in ADDRESSES:
                assert (await door.signal(run, address, {"yes": True})).status == 202
            assert (await door.until(run, "completed", "failed"))["status"] == "completed"


def told_of(reader: Reader) -> list[Any]:
    return [event.data for event in reader.events if event.kind == "waiting"]


@both
@on_loop
async def test_a_reader_is_told_what_is_asked(durable: bool) -> None:
    async with served(refunding(), **stores(durable)) as door:
        run = await door.run_of("refunds", {"mail": "x"})
        reader = Reader(door, run)
        await eventually(lambda: told_of(reader) and set(told_of(reader)[-1]["waiting"]) == set(ADDRESSES))
        assert told_of(reader)[-1]["questions"] == QUESTIONS
        await door.until(run, "waiting")
        late = Reader(door, run)
        await eventually(lambda: told_of(late))
        assert told_of(late) == [{"waiting": told_of(reader)[-1]["waiting"], "questions": QUESTIONS}]
        for address in ADDRESSES:
            await door.signal(run, address, {"yes": True})
        await reader.task
        assert told_of(reader)[-1] == {"waiting": []}


LATER: list[tuple[Any, Any, Any, Any]] = [
    (refunding, {"mail": "x"}, ADDRESSES, QUESTIONS),
    (asking, {}, ["approve"], {"approve": {"text": "publish? "}}),
]


@pytest.mark.parametrize("which", [0, 1], ids=["agent", "node"])
@on_loop
async def test_a_run_that_goes_on_later_asks_again(which: int) -> None:
    make, inputs, addresses, questions = LATER[which]
    dag, backend = make(), flow.store.memory().backend
    result = await flow.execute(dag, inputs, run_id="r", store=Store(backend), on_wait="return")
    asked = [dict(one.value) for one in result.reports if one.kind == "question" and type(one.value) is dict]
    told = {one.pop("address", ""): one for one in asked}
    assert {address: told[address] for address in result.waiting} == questions
    async with served(dag, store=Store(backend)) as door:  # it goes on with it by itself
        await door.until("r", "waiting")
        reader = Reader(door, "r")
        await eventually(lambda: set(addresses) <= last_waiting(reader))
        assert told_of(reader)[-1]["questions"] == questions
        assert (await door.view("r"))["questions"] == questions
        async with served(dag, store=Store(backend)) as other:  # another worker, which does not drive it
            view = await other.view("r")
            assert (sorted(view["waiting"]), view["questions"]) == (addresses, questions)
            late = Reader(other, "r")
            await eventually(lambda: told_of(late))
            assert told_of(late)[-1]["questions"] == questions


def last_waiting(reader: Reader) -> set[str]:
    told = told_of(reader)
    return set(told[-1]["waiting"]) if told else set()


@both
@on_loop
async def test_secrets_are_masked(durable: bool) -> None:
    dag = asking(inputs=Given)
    async with served(dag, **stores(durable)) as door:
        run = await door.run_of("asking", {"token": "s3cret-of-mine"})
        seen = await door.until(run, "waiting")
        assert list(seen["questions"]) == ["approve"] and "publish?" in str(seen["questions"])
        assert "s3cret" not in str(seen) + (await door.got(f"/runs/{run}")).text


class Page(msgspec.Struct):
    number: int
    title: str
    draft: bool = True


@given(
    st.recursive(
        st.sampled_from([bool, int, str, float, None, dict, list, Page, ai.Approval, bytes]),
        lambda kinds: (
            kinds.map(lambda kind: GenericAlias(list, (kind,)))
            | kinds.map(lambda kind: GenericAlias(dict, (str, kind)))
            | st.tuples(kinds, kinds).map(lambda pair: GenericAlias(tuple, pair))
            | kinds.map(lambda kind: msgspec.defstruct("Made", [("one", kind), ("two", kind, None)]))
        ),
        max_leaves=4,
    )
)
def test_samples_are_of_their_type(kind: Any) -> None:
    sample = msgspec.json.decode(msgspec.json.encode(sample_of(kind)))
    msgspec.convert(sample, kind)
