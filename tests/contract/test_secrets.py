"""Secret inputs: nodes get them, and nothing shows, logs, emits or stores their texts."""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import io
import json
import logging
import subprocess
import sys
import traceback
import urllib.parse
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, TypedDict

import msgspec
import pytest
from conftest import MODES, modes

import flow
from flow.cli import commands
from flow.masking import MASK, MAX_PARTS, MAX_TEXTS, Masks, Secret, is_secret, texts_in, unmarked

TOKEN = "hunter2-geheim"
MORE = 'pa\'ss "w\u00f6rd"/+\\x'
Text = Annotated[str, flow.Secret]


class Given(msgspec.Struct):
    token: Text = TOKEN
    region: str = "eu-north"


@dataclasses.dataclass
class Data:
    token: Text = TOKEN
    region: str = "eu-north"


class Typed(TypedDict):
    token: Text
    region: str


def dag_of(*, inputs: Any = Given, **nodes: Any) -> flow.Dag:
    dag = flow.Dag("d", inputs=inputs)
    for name, fn in nodes.items():
        dag.add(name, fn)
    return dag


def fails(token: str) -> None:
    raise ValueError(f"no such user: {token}", token)


async def afails(token: str) -> None:
    raise ValueError(f"no such user: {token}", token)


class Watch:
    """All that a run tells besides its Result."""

    def __init__(self, **settings: Any) -> None:
        self.events: list[Any] = []
        self.outcomes: list[Any] = []
        self.config = flow.Config(
            observers=[self.events.append], on_outcome=lambda: self.outcomes.append, on_error="collect", **settings
        )


def said(error: BaseException | None) -> str:
    return "" if error is None else "".join(traceback.format_exception(error))


def shown(result: flow.Result, *, outputs: bool = True) -> str:
    """All that a Result shows."""
    texts = [repr(result), result._repr_html_(), str(result.to_dict(outputs=outputs)), repr(result.inputs)]
    texts += [*map(said, result.errors.values()), said(result.error()), *map(result.why, result.plan.names)]
    texts += [repr(error) for error in result.errors.values()]
    texts += [repr(result.fallbacks), result.graph("mermaid"), result.graph()]
    if result._run.started is not None:
        texts += [result.timeline(), result.timeline("svg")]
    return "\n".join(texts)


@pytest.fixture
def logs(caplog: pytest.LogCaptureFixture) -> Iterator[Callable[[], str]]:
    with caplog.at_level(logging.DEBUG, logger="flow"):
        yield lambda: caplog.text + "".join(record.getMessage() for record in caplog.records)


# -- what is secret --------------------------------------------------------------------------


class TestDeclared:
    @pytest.mark.parametrize("inputs", [Given, Data, Typed])
    def test_by_a_field_of_each_kind_of_class(self, inputs: Any) -> None:
        plan = dag_of(inputs=inputs, a=lambda token, region: token).compile()
        assert plan._nodes.secret == {"token"}
        result = flow.run(plan, {"token": TOKEN, "region": "eu"})
        assert result["a"] == TOKEN  # nodes get it
        assert dict(result.inputs) == {"token": MASK, "region": "eu"}

    @pytest.mark.parametrize(
        "hint",
        [
            Text,
            Annotated[str, flow.Secret, msgspec.Meta(min_length=2)],
            Text | None,
            list[Text],
            dict[str, list[Text]],
            Annotated[str, msgspec.Meta(extra={"secret": True})],
        ],
    )
    def test_by_its_mark_anywhere_in_the_type(self, hint: Any) -> None:
        assert is_secret(hint)

    @pytest.mark.parametrize("hint", [str, str | None, Annotated[str, msgspec.Meta(min_length=2)], Callable[[], str]])
    def test_not_without_it(self, hint: Any) -> None:
        assert not is_secret(hint)

    def test_the_type_is_checked_as_ever_and_named_without_the_mark(self) -> None:
        class Pin(msgspec.Struct):
            pin: Annotated[int, flow.Secret]
            long: Annotated[str, flow.Secret, msgspec.Meta(min_length=4)] = "long"

        with pytest.raises(flow.InputError) as caught:
            flow.run(dag_of(inputs=Pin, a=lambda pin, long: pin), {"pin": TOKEN, "long": "no"})
        first, second = caught.value.faults
        assert first == "input 'pin' is not of its declared type int: it is a str"
        assert second.endswith(": it is a str")
        assert unmarked(Text) is str

    def test_json_schema_says_it_is_written_only(self) -> None:
        assert msgspec.json.schema(Given)["$defs"]["Given"]["properties"]["token"]["writeOnly"] is True

    def test_of_included_dags(self) -> None:
        def outer_of(**options: Any) -> flow.Dag:
            outer = flow.Dag("outer", **options)
            outer.include(dag_of(a=fails), prefix="in")
            return outer

        assert outer_of().compile()._nodes.secret == {"token"}
        assert outer_of(inputs=["token", "region"]).compile()._nodes.secret == {"token"}  # it is that same input
        assert TOKEN not in shown(flow.run(outer_of(), config=flow.Config(on_error="collect")))
        given = flow.Dag("outer")
        given.add("n", lambda: TOKEN)
        given.include(dag_of(a=fails), prefix="in", inputs={"token": "n"})
        assert given.compile()._nodes.secret == frozenset()  # an output is none of the inputs

    def test_kept_by_parts_and_when_the_dag_grows(self) -> None:
        dag = dag_of(a=lambda token: token, b=lambda a: a)
        assert dag.compile().subgraph("a")._nodes.secret == {"token"}
        assert dag.subgraph("a").compile()._nodes.secret == {"token"}
        dag.add("c", lambda b: b)
        assert dag.compile()._nodes.secret == {"token"}

    def test_what_dags_within_take_as_secret(self) -> None:
        """It is as secret in the run around them: of nodes, maps and loops, over any number of levels."""
        inner = dag_of(a=lambda token: token)
        outer = flow.Dag("outer")
        outer.add("one", inner)
        assert outer.compile()._nodes.secret == {"token"}
        outermost = flow.Dag("outermost")
        outermost.add("two", outer)
        outermost.add("after", lambda two: two)
        assert outermost.compile()._nodes.secret == {"token"}
        outermost.add("three", lambda: 3)  # compiled on from there
        assert outermost.compile()._nodes.secret == {"token"}
        with_map = flow.Dag("m")
        with_map.map("each", dag_of(inputs=PerItem, a=lambda token, item: token), over="regions")
        assert with_map.compile()._nodes.secret == {"token"}
        items = flow.Dag("m")
        items.map("each", dag_of(inputs=OnlyToken, a=lambda token: token), over="tokens")
        assert items.compile()._nodes.secret == {"tokens"}
        loop = flow.Dag("l")
        loop.loop("again", dag_of(inputs=OnlyToken, a=lambda token: token), until=lambda a: True, max_iterations=2)
        assert loop.compile()._nodes.secret == {"token"}

    def test_a_plan_without_any_has_no_masks(self) -> None:
        plan = dag_of(inputs=["token"], a=lambda token: token).compile()
        state = flow.run(plan, {"token": TOKEN})._run
        assert plan._nodes.secret == frozenset() and state.masks is None
        assert state.config.show_values


class OnlyToken(msgspec.Struct):
    token: Text


class PerItem(msgspec.Struct):
    item: str
    token: Text


# -- errors of nodes -------------------------------------------------------------------------


class Own(Exception):
    """Its text is in an attribute."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __str__(self) -> str:
        return f"own: {self.text}"


class Slotted(Exception):
    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text

    def __str__(self) -> str:
        return f"slotted: {self.text}"


@dataclasses.dataclass(frozen=True)
class Frozen(Exception):
    text: str


class Nothing(Exception):
    """Each question raises."""

    @property
    def args(self) -> Any:  # type: ignore[override]
        raise RuntimeError(TOKEN)

    def __str__(self) -> str:
        raise RuntimeError(TOKEN)

    def __getattribute__(self, name: str) -> Any:
        if name in ("__dict__", "__notes__", "exceptions"):
            raise RuntimeError(TOKEN)
        return super().__getattribute__(name)


def noted(text: str) -> Exception:
    error = ValueError("no")
    error.add_note(f"see {text}")
    return error


def caused(text: str) -> Exception:
    error = ValueError("no")
    error.__cause__ = KeyError(text)
    error.__cause__.__context__ = ValueError(text)
    error.__cause__.__context__.__cause__ = error  # a circle
    return error


def failed_command(text: str) -> Exception:
    return subprocess.CalledProcessError(1, ["curl", "-H", f"Authorization: {text}"], output=f"no {text}".encode())


ERRORS: dict[str, Callable[[str], Exception]] = {
    "message": lambda text: ValueError(f"no such user: {text}"),
    "several": lambda text: ValueError("no", text, 7),
    "nested": lambda text: ValueError({"user": [text, (text, {text})]}),
    "key": lambda text: KeyError(text),
    "bytes": lambda text: ValueError(text.encode(), bytearray(text.encode())),
    "repr": lambda text: ValueError(repr({"a": text})),
    "json": lambda text: ValueError(json.dumps([text])),
    "json, as it is": lambda text: ValueError(json.dumps([text], ensure_ascii=False)),
    "url": lambda text: ValueError(f"https://a/?q={urllib.parse.quote_plus(text)}"),
    "path": lambda text: ValueError(f"https://a/{urllib.parse.quote(text, safe='')}"),
    "base64": lambda text: ValueError(base64.b64encode(text.encode()).decode()),
    "basic": lambda text: ValueError(base64.b64encode(f"user:{text}".encode()).decode()),
    "url base64": lambda text: ValueError(base64.urlsafe_b64encode(f"u:{text}:x".encode()).decode()),
    "record": lambda text: ValueError(Given(text), Data(text)),
    "attribute": Own,
    "slot": Slotted,
    "frozen": Frozen,
    "note": noted,
    "causes": caused,
    "group": lambda text: ExceptionGroup("several", [ValueError(text), ExceptionGroup("more", [KeyError(text)])]),
    "held": lambda text: ValueError("no", KeyError(text)),
    "command": failed_command,
    "file": lambda text: FileNotFoundError(2, "No such file", f"/keys/{text}"),
    "syntax": lambda text: SyntaxError("bad", ("f.py", 1, 2, f"token = {text}")),
    "import": lambda text: ImportError("no", name=text),
}


class TestErrors:
    @pytest.mark.parametrize("name", ERRORS)
    @pytest.mark.parametrize("secret", [TOKEN, MORE])
    def test_wherever_the_text_is_in_them(self, name: str, secret: str) -> None:
        made: list[Exception] = []

        def node(token: str) -> None:
            made.append(ERRORS[name](token))
            raise made[0]

        watch = Watch(timing=True)
        result = flow.run(dag_of(a=node), {"token": secret}, config=watch.config)
        error = result.errors["a"]
        assert error is made[0] and type(error) is type(ERRORS[name](""))  # the object is the node's own
        text = shown(result) + repr(vars(error)) + repr(error.args) + repr(watch.events) + repr(watch.outcomes)
        for written in (secret, repr(secret)[1:-1], json.dumps(secret)[1:-1], urllib.parse.quote_plus(secret)):
            assert written not in text
        assert base64.b64encode(secret.encode()).decode().rstrip("=")[:-1] not in text
        assert MASK in text

    def test_what_raises_when_it_is_asked(self) -> None:
        def node(token: str) -> None:
            raise Nothing(token)

        result = flow.run(dag_of(a=node), config=flow.Config(on_error="collect"))
        assert type(result.errors["a"]) is Nothing
        assert BaseException.__dict__["args"].__get__(result.errors["a"]) == (MASK,)

    @pytest.mark.parametrize("fn", [fails, afails], ids=["sync", "async"])
    def test_in_every_mode(self, fn: Any, mode: dict[str, Any], backend: str) -> None:
        if mode.get("mode") == "inline" and fn is afails:
            mode = dict(mode, mode="auto")
        dag = dag_of(a=fn, b=lambda region: region)
        result = flow.run(dag, config=flow.Config(**{**mode, "on_error": "collect", "backend": backend}))
        assert str(result.errors["a"]) == f"('no such user: {MASK}', '{MASK}')"
        assert TOKEN not in shown(result, outputs=False)
        with pytest.raises(flow.RunError) as caught:
            flow.run(dag, config=flow.Config(**{**mode, "backend": backend}))
        assert TOKEN not in said(caught.value) and MASK in said(caught.value)

    def test_texts_of_values_within(self) -> None:
        class Many(msgspec.Struct):
            users: Annotated[dict[str, list[str]], flow.Secret]
            pin: Annotated[int, flow.Secret] = 271828

        def node(users: Any, pin: int) -> None:
            raise ValueError(users["name"][1], "name", pin, 2718281, f"pin={pin}")

        result = flow.run(
            dag_of(inputs=Many, a=node), {"users": {"name": ["of", "geheim"]}}, config=flow.Config(on_error="collect")
        )
        assert result.errors["a"].args == (MASK, "name", MASK, 2718281, f"pin={MASK}")  # no keys, no short texts

    def test_defaults_are_secret_too(self) -> None:
        class Made(msgspec.Struct):
            token: Text = msgspec.field(default_factory=lambda: TOKEN)

        for inputs in (Given, Made):
            result = flow.run(dag_of(inputs=inputs, a=fails), config=flow.Config(on_error="collect"))
            assert TOKEN not in shown(result)

    def test_short_texts_are_left(self) -> None:
        result = flow.run(dag_of(a=fails), {"token": "abc"}, config=flow.Config(on_error="collect"))
        assert result.errors["a"].args == ("no such user: abc", "abc")
        assert result.inputs["token"] == MASK

    def test_of_two_at_one_place_the_longer(self) -> None:
        masks = Masks(texts_in(["geheim", "geheim-2"]))
        assert masks.text("a geheim-2 b geheim c") == f"a {MASK} b {MASK} c"

    def test_retries_and_what_looks_at_failed_attempts(self, mode: dict[str, Any], logs: Callable[[], str]) -> None:
        seen: list[str] = []

        def wanted(error: Exception) -> bool:
            seen.append(str(error))
            return True

        def kept(error: Exception) -> str:
            seen.append(str(error))
            return "kept"

        dag = flow.Dag("d", inputs=Given)
        retry = flow.Retry(2, delay=0, retry_if=wanted)
        dag.add("a", fails, retry=retry, fallback=kept)
        watch = Watch(**{name: value for name, value in mode.items() if name != "observers"})
        result = flow.run(dag, config=watch.config)
        assert result["a"] == "kept"
        kinds = [type(event).__name__ for event in watch.events]
        assert "NodeRetried" in kinds and "NodeFallback" in kinds
        assert [outcome.final for outcome in watch.outcomes] == [False, True]
        text = shown(result) + logs() + repr(seen) + repr(watch.events) + repr(watch.outcomes)
        assert TOKEN not in text and len(seen) == 2 and logs().count(MASK) >= 2

    def test_what_fallbacks_and_predicates_raise(self) -> None:
        def broken(error: Exception) -> Any:
            raise LookupError(TOKEN + " " + str(error))

        dag = flow.Dag("d", inputs=Given)
        dag.add("a", fails, fallback=broken)
        dag.add("b", fails, retry=flow.Retry(2, delay=0, retry_if=broken))
        dag.add("items", lambda: [1])
        dag.map("m", lambda item, token: fails(token), over="items", fallback=broken)
        dag.map("n", lambda item, token: fails(token), over="items", fallback=broken, on_error="collect")
        result = flow.run(dag, config=flow.Config(on_error="collect"))
        assert len(result.errors) == 3
        text = shown(result) + said(result["n"].errors[0])
        assert text.count("its fallback") >= 3 and "retry_if raised" in text
        assert TOKEN not in text

    def test_that_are_tolerated_or_handled(self) -> None:
        dag = flow.Dag("d", inputs=Given)
        dag.add("a", fails, continue_on_error=True)
        dag.add("b", lambda a="nothing": a, after={"a": "failed"}, join="failed")
        seen: list[Any] = []
        dag.add("c", lambda a: seen.append(a), needs={"a": "a"})
        result = flow.run(dag)
        assert TOKEN not in shown(result) and MASK in shown(result)

    def test_exits_and_interrupts(self, backend: str) -> None:
        def leaves(token: str) -> None:
            raise SystemExit(f"bye {token}")

        async def aleaves(token: str) -> None:
            raise SystemExit(f"bye {token}")

        for fn in (leaves, aleaves):
            with pytest.raises(SystemExit) as caught:
                flow.run(dag_of(a=fn), config=flow.Config(backend=backend))
            assert caught.value.code == f"bye {MASK}"

    def test_conditions_routes_and_loops(self) -> None:
        dag = flow.Dag("d", inputs=Given)

        def raises(token: str) -> bool:
            raise ValueError(token)

        dag.add("a", lambda: 1, when=raises)
        dag.add("x", lambda: 1)
        dag.route("r", lambda token: token, to={"one": "x"})
        body = flow.Dag("body", inputs=Given)
        body.add("step", lambda token: token)
        dag.loop("l", body, until=lambda step: step, max_iterations=2)
        dag.loop("k", dag_of(step=fails), until=lambda step: True, max_iterations=2)
        result = flow.run(dag, config=flow.Config(on_error="collect"))
        assert set(result.errors) == {"a", "r", "l", "k"}
        assert TOKEN not in shown(result)


class TestMaps:
    @pytest.mark.parametrize("settings", modes("auto", "tasks", "threads", "observed"))
    @pytest.mark.parametrize("on_error", ["fail", "collect", "skip"])
    def test_items(self, on_error: Any, settings: dict[str, Any], backend: str, logs: Callable[[], str]) -> None:
        dag = flow.Dag("d", inputs=Given)
        dag.add("items", lambda token: [token, f"a {token}", "eu"])
        seen: list[str] = []

        def wanted(error: Exception) -> bool:
            seen.append(str(error))
            return True

        def each(item: str, token: str) -> str:
            raise ValueError(item, token)

        retry = flow.Retry(2, delay=0, retry_if=wanted)
        dag.map("m", each, over="items", on_error=on_error, retry=retry)
        events: list[Any] = []
        settings = {**settings, "observers": [events.append], "timing": True, "backend": backend}
        result = flow.run(dag, config=flow.Config(on_error="collect", **settings))
        text = shown(result) + repr(events) + logs() + repr(seen)
        if on_error == "collect":
            errors = result["m"]
            text += repr(errors) + errors._repr_html_() + said(next(iter(errors.errors.values())))
            with pytest.raises(flow.errors.MapError) as caught:
                errors.raise_for_errors()
            text += said(caught.value)
        assert TOKEN not in text and MASK in text

    def test_pipelines_and_batches(self) -> None:
        dag = flow.Dag("d", inputs=Given)
        dag.add("items", lambda token: [token, token])
        dag.map("m", lambda item: item, over="items")

        def second(item: Any) -> Any:
            raise ValueError(item)

        dag.map("n", second, over="m", pipelined=True, on_error="collect")
        dag.map("b", second, over="items", batch_size=2)
        result = flow.run(dag, config=flow.Config(on_error="collect"))
        assert TOKEN not in shown(result, outputs=False) + repr(result["n"]) + said(result["n"].errors[0])

    def test_sources_that_raise_when_they_are_closed(self, logs: Callable[[], str]) -> None:
        def source(token: str) -> Iterator[int]:
            try:
                yield 1
                yield 2
            finally:
                raise ValueError(token)

        dag = flow.Dag("d", inputs=Given)
        dag.add("s", source)
        dag.map("m", lambda item: item, over="s", take=1, on_error="collect")
        result = flow.run(dag, config=flow.Config(on_error="collect"))
        assert TOKEN not in shown(result, outputs=False) + logs() and MASK in shown(result, outputs=False) + logs()


class TestWithin:
    """Runs within a run mask what is secret in them, and around them."""

    def outer(self, inner: flow.Dag) -> flow.Dag:
        dag = flow.Dag("outer", inputs=Given)
        dag.add("inner", inner)
        return dag

    def plain(self, fn: Any = fails) -> flow.Dag:
        return dag_of(inputs=["token"], a=fn)

    @pytest.mark.parametrize("fn", [fails, afails], ids=["sync", "async"])
    def test_dags_as_nodes(self, fn: Any, backend: str) -> None:
        watch = Watch(backend=backend)
        result = flow.run(self.outer(self.plain(fn)), config=watch.config)
        assert TOKEN not in shown(result) + repr(watch.events) + repr(watch.outcomes)

    def test_whose_own_inputs_are_secret(self) -> None:
        """A node of the run around gives the value: only the run within knows of it."""
        dag = flow.Dag("outer")
        dag.add("token", lambda: TOKEN)
        dag.add("inner", dag_of(a=fails))
        watch = Watch()
        result = flow.run(dag, config=watch.config)
        errors = shown(result, outputs=False)
        assert TOKEN not in errors + repr(watch.events) and MASK in errors
        assert result._run.masks is None and result["token"] == TOKEN

    def test_one_search_for_all_of_a_map(self) -> None:
        """Items that are given the same secret share what masks it."""
        seen: list[Any] = []

        def look(token: str, ctx: flow.Context) -> None:
            seen.append(ctx._masks())

        def each(item: int, token: str, ctx: flow.Context) -> None:
            ctx.run(body, {"token": token})

        body = dag_of(inputs=OnlyToken, a=look)
        dag = flow.Dag("outer")
        dag.add("items", lambda: [1, 2])
        dag.map("each", each, over="items")
        dag.add("also", body)  # by it the input is secret here as well
        result = flow.run(dag, {"token": TOKEN})
        assert result._run.masks is not None and all(one is result._run.masks for one in seen) and len(seen) == 3

    def test_ctx_run_and_execute(self, backend: str) -> None:
        def starts(ctx: flow.Context) -> Any:
            ctx.run(dag_of(a=fails))

        async def awaits(ctx: flow.Context) -> Any:
            await ctx.execute(dag_of(a=afails), {"token": TOKEN})

        dag = flow.Dag("d")
        dag.add("a", starts, continue_on_error=True)
        dag.add("b", awaits, continue_on_error=True)
        result = flow.run(dag, config=flow.Config(backend=backend))
        assert len(result.errors) == 2 and TOKEN not in shown(result) and shown(result).count(MASK) > 2

    def test_rounds(self) -> None:
        body = flow.Dag("body", inputs=OnlyToken)
        body.add("next", lambda token: token + "+")

        @body.node
        def check(next: str) -> None:
            if len(next) > len(TOKEN) + 2:
                raise ValueError(next[:-1])  # what this round was given

        dag = flow.Dag("d")
        dag.loop("l", body, until=lambda next: False, max_iterations=9, carry={"token": "next"})
        result = flow.run(dag, {"token": TOKEN}, config=flow.Config(on_error="collect"))
        assert "l" in result.errors and TOKEN not in shown(result)

    def test_the_results_that_errors_hold_stay_results(self) -> None:
        inner = flow.Dag("inner")
        inner.add("fine", lambda t: t)
        inner.add("broken", lambda t: fails(t))

        def within(token: str, ctx: flow.Context) -> None:
            ctx.run(inner, {"t": token})

        def apart(token: str) -> None:
            flow.run(inner, {"t": token})

        dag = flow.Dag("d", inputs=Given)
        for name, fn in {"a": within, "b": apart}.items():
            dag.add(name, fn, continue_on_error=True)
        result = flow.run(dag)
        assert len(result.errors) == 2
        for error in result.errors.values():
            assert isinstance(error, flow.RunError) and type(error.result) is flow.Result
            assert error.result["fine"] == TOKEN and TOKEN not in said(error) + repr(error.result)
        assert TOKEN not in shown(result) + shown(result.errors["a"].result, outputs=False)  # type: ignore[attr-defined]
        assert dict(result.errors["a"].result.inputs) == {"t": MASK}  # type: ignore[attr-defined]

    def test_the_result_of_a_run_within(self) -> None:
        seen: list[Any] = []
        inner = dag_of(a=lambda token: token)
        flow.run(dag_of(inputs=None, b=_starting(inner, seen)))
        assert seen[0]["a"] == TOKEN and seen[0].inputs["token"] == MASK


def _starting(inner: flow.Dag, seen: list[Any]) -> Any:
    def node(ctx: flow.Context) -> None:
        seen.append(ctx.run(inner))

    return node


# -- our own errors --------------------------------------------------------------------------


class Checked(msgspec.Struct):
    token: Annotated[str, flow.Secret, msgspec.Meta(max_length=5)]
    kind: str = "one"

    def __post_init__(self) -> None:
        if self.kind == "two":
            raise ValueError(f"{self.token!r} does not go with {self.kind}")


class TestRefusals:
    @pytest.mark.parametrize(
        ("inputs", "given", "config"),
        [
            (OnlyToken, {"token": TOKEN.encode()}, None),
            (OnlyToken, {"token": [TOKEN]}, None),
            (OnlyToken, {"token": TOKEN, "tokens": TOKEN}, None),
            (Checked, {"token": TOKEN}, None),
            (Checked, {"token": "hush!", "kind": "two"}, None),
            (OnlyToken, OnlyToken(TOKEN), None),
            (OnlyToken, [TOKEN], None),
        ],
    )
    def test_inputs_that_do_not_fit(self, inputs: Any, given: Any, config: Any) -> None:
        def node(token: str) -> None: ...

        outer = flow.Dag("outer")
        outer.add("inner", dag_of(inputs=inputs, a=node))
        for dag in (dag_of(inputs=inputs, a=node), outer):
            with pytest.raises(flow.FlowError) as caught:
                flow.run(dag, given)
            assert TOKEN not in said(caught.value) and "hush!" not in said(caught.value)

    def test_keywords_that_should_be_inputs(self) -> None:
        with pytest.raises(flow.UsageError) as caught:
            flow.run(dag_of(a=fails), token=TOKEN)  # type: ignore[call-arg]
        assert TOKEN not in said(caught.value)

    def test_too_many_texts_to_mask(self) -> None:
        class Many(msgspec.Struct):
            tokens: Annotated[list[Any], flow.Secret]
            number: int = 1

        calls: list[int] = []
        dag = dag_of(inputs=Many, a=lambda tokens: calls.append(1))
        for many in ([f"{n:06}" for n in range(MAX_TEXTS + 1)], [1] * (MAX_PARTS + 1)):
            with pytest.raises(flow.InputError, match=r"the secret inputs \(tokens\) are too large: over 1,000 texts"):
                flow.run(dag, {"tokens": many})
        with pytest.raises(flow.InputError, match="input 'number' is not of its declared type int$"):
            flow.run(dag, {"tokens": many, "number": "x"})
        outer = flow.Dag("outer")
        outer.add("tokens", lambda: many)
        outer.add("inner", dag)
        with pytest.raises(flow.RunError) as caught:
            flow.run(outer)
        assert isinstance(caught.value.exceptions[0], flow.InputError) and not calls

    def test_types_are_said_of_values(self) -> None:
        """Values are cut in messages, so a run with secrets says none (as under ``show_values=False``)."""

        def node(ctx: flow.Context) -> None:
            ctx.data["k"] = "x" * 70 + TOKEN
            ctx.data.get_int("k")

        dag = dag_of(a=node, items=lambda: ["x" * 70 + TOKEN])
        dag.map("m", lambda item: int("x"), over="items")
        dag.add("v", lambda token: ["x" * 70 + token], middleware=[flow.middleware.validated(list[int])])
        result = flow.run(dag, config=flow.Config(on_error="collect"))
        assert str(result.errors["a"]) == "key 'k' holds a str, not an int"
        assert "in item 0 (a str) of map 'm'" in said(result.errors["m"])
        assert "node 'v' returned a list" in str(result.errors["v"])
        assert not result._run.config.show_values and flow.Config().show_values

    def test_texts_that_were_cut(self) -> None:
        secret = "".join(chr(97 + n % 26) for n in range(200))
        masks = Masks(texts_in([secret, TOKEN]))
        assert masks.text(f"x {secret[:60]}... (200 characters)") == f"x {MASK}... (200 characters)"
        assert masks.text(f"user {TOKEN[:7]}...") == f"user {MASK}..."
        assert masks.text("user hun...") == "user hun..."
        assert masks.text("nothing...") == "nothing..."


# -- logs, events, what is kept --------------------------------------------------------------


class TestShown:
    def test_logs(self, backend: str, logs: Callable[[], str]) -> None:
        dag = flow.Dag("d", inputs=Given, middleware=[flow.middleware.logged()])
        dag.add("a", afails, retry=flow.Retry(2, delay=0), continue_on_error=True)
        dag.add("b", fails, fallback=1)
        for observers in ([], [flow.observe.logging()]):
            flow.run(dag, config=flow.Config(observers=observers, backend=backend))
        assert TOKEN not in logs() and MASK in logs()

    def test_progress(self) -> None:
        pytest.importorskip("rich")
        from rich.console import Console

        text = io.StringIO()
        progress = flow.observe.Progress(console=Console(file=text, width=200, force_terminal=True))
        dag = dag_of(a=fails)
        flow.run(dag, config=flow.Config(observers=[progress], on_error="collect"))
        assert TOKEN not in text.getvalue()

    def test_what_nodes_emit(self, backend: str) -> None:
        async def node(token: str, ctx: flow.Context) -> None:
            ctx.emit("at", {"url": f"https://{token}@host", "n": 1})
            ctx.emit("text", f"with {token}", append=True)
            ctx.emit("text", " more", append=True)

        events: list[Any] = []
        flow.run(dag_of(a=node), config=flow.Config(observers=[events.append], backend=backend))
        emitted = [event for event in events if isinstance(event, flow.events.NodeEmitted)]
        assert [event.value for event in emitted] == [{"url": f"https://{MASK}@host", "n": 1}, f"with {MASK}", " more"]
        assert [event.offset for event in emitted] == [0, 0, len(f"with {MASK}")]

    def test_streams(self) -> None:
        async def main() -> list[Any]:
            return [event async for event in flow.stream(dag_of(a=fails), config=flow.Config(on_error="collect"))]

        *events, result = asyncio.run(main())
        assert TOKEN not in repr(events) + shown(result) and MASK in repr(events)

    def test_outputs_are_real_and_shown_without_it(self) -> None:
        def node(token: str, region: str) -> Any:
            return {"url": f"https://{token}@{region}", "raw": token.encode(), "n": 1, "s": Given(token)}

        result = flow.run(dag_of(a=node, b=lambda: [1]))
        assert result["a"]["url"] == f"https://{TOKEN}@eu-north"
        assert TOKEN not in shown(result)
        plain = result.to_dict()["nodes"]
        assert plain["a"]["output"] == {
            "url": f"https://{MASK}@eu-north", "raw": MASK.encode(), "n": 1, "s": Given(MASK),
        }  # fmt: skip
        assert plain["b"]["output"] is result["b"]

    def test_exports(self) -> None:
        seen: list[Any] = []

        def node(token: str, a: Any, ctx: flow.Context) -> None:
            ctx.data["url"] = f"https://{token}@host"
            ctx.data["n"] = 1
            assert ctx.inputs["token"] == TOKEN
            seen.append(ctx.export())

        dag = dag_of(a=lambda token: [token], b=node)
        dag.add("items", lambda token: [token])

        def each(item: str, ctx: flow.Context) -> None:
            seen.append(ctx.export())

        dag.map("m", each, over="items")
        flow.run(dag)
        for export in seen:
            assert dict(export.inputs) == {"token": MASK, "region": "eu-north"}
            assert export.outputs["a"] == [MASK]
            assert TOKEN not in export.to_json().decode() + repr(export) and TOKEN.encode() not in export.to_msgpack()
        assert seen[0].data == {"url": f"https://{MASK}@host", "n": 1}
        assert seen[1].item == MASK
        assert flow.Context.from_export(seen[0]).inputs["token"] == MASK

    def test_contexts(self) -> None:
        seen: list[str] = []
        dag = dag_of(items=lambda token: [token])

        def each(item: str, ctx: flow.Context) -> None:
            seen.append(repr(ctx))

        dag.map("m", each, over="items")
        flow.run(dag)
        assert "item=a str" in seen[0]

    def test_hooks_get_real_values_to_keep(self) -> None:
        outcomes: list[Any] = []
        calls: list[Any] = []
        config = flow.Config(on_outcome=lambda: outcomes.append, before_call=lambda: calls.append)
        flow.run(dag_of(a=lambda token: token), config=config)
        assert outcomes[0].output == TOKEN and calls[0].arguments == {"token": TOKEN}

    def test_known_outcomes(self) -> None:
        dag = dag_of(a=lambda token: token, b=lambda a, token: fails(token))
        first = flow.run(dag, config=flow.Config(on_error="collect"))
        second = flow.run(dag, known=first, config=flow.Config(on_error="collect"))
        assert TOKEN not in shown(first) + shown(second)
        for outcome in given_outcomes():
            third = flow.run(dag, known={"a": outcome}, config=flow.Config(on_error="collect"))
            assert TOKEN not in shown(third) and MASK in shown(third)

    def test_answers_of_hooks(self) -> None:
        for outcome in given_outcomes():
            config = flow.Config(on_error="collect", before_call=lambda: lambda call: outcome)
            result = flow.run(dag_of(a=lambda token: token), config=config)
            assert TOKEN not in shown(result) and MASK in shown(result)

    def test_what_hooks_admission_and_middleware_raise(self, backend: str) -> None:
        def told(record: Any) -> None:
            raise LookupError(record.output)

        async def awaited(record: Any) -> None:
            raise LookupError(record.output)

        async def node(token: str) -> str:
            return token

        for hook in (told, awaited):
            with pytest.raises(LookupError) as caught:
                flow.run(dag_of(a=node), config=flow.Config(on_outcome=lambda hook=hook: hook, backend=backend))
            assert TOKEN not in said(caught.value)

        def refuses(*given: Any) -> None:
            raise LookupError(given[-1].inputs["token"])

        dag = flow.Dag("d", inputs=Given)
        dag.add("a", node, admission=refuses)
        dag.add("b", node, middleware=[refuses])
        result = flow.run(dag, config=flow.Config(on_error="collect", backend=backend))
        assert len(result.errors) == 2 and TOKEN not in shown(result)

    def test_what_is_raised_while_it_is_cancelled(self, backend: str) -> None:
        import anyio

        async def slow(token: str) -> None:
            try:
                await anyio.sleep(60)
            finally:
                raise ValueError(token)

        async def group(token: str) -> None:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(afails, token)
                tasks.start_soon(slow, token)

        with pytest.raises(flow.RunError) as caught:
            flow.run(dag_of(a=slow), config=flow.Config(backend=backend, timeout=0.02))
        assert TOKEN not in said(caught.value) + shown(caught.value.result) and MASK in said(caught.value)
        result = flow.run(dag_of(a=group), config=flow.Config(backend=backend, on_error="collect"))
        assert TOKEN not in shown(result) and MASK in shown(result)

    def test_cleanup(self) -> None:
        dag = dag_of(a=lambda: 1, b=fails)
        dag.add("c", fails, cleanup=True)
        result = flow.run(dag, config=flow.Config(on_error="collect"))
        assert len(result.errors) == 2 and TOKEN not in shown(result)


def given_outcomes() -> list[flow.Outcome]:
    return [flow.Outcome("failed", error=ValueError(TOKEN)), flow.Outcome(value=1, error=ValueError(TOKEN))]


FILE = """
from typing import Annotated
import msgspec
import flow

class Given(msgspec.Struct):
    token: Annotated[str, flow.Secret]
    pin: Annotated[int, flow.Secret] = 271828

class Odd:
    def __init__(self, text): self.text = text
    def __repr__(self): return f"Odd({self.text})"

dag = flow.Dag("d", inputs=Given)
dag.add("a", lambda token: {"auth": "Bearer " + token})
dag.add("number", lambda pin: [pin, pin + 1])
dag.add("odd", lambda token: Odd(token))
dag.add("items", lambda token: [token])
dag.map("m", lambda item: item, over="items", on_error="collect")

@dag.node(continue_on_error=True)
def broken(token: str) -> None:
    raise ValueError(token)
"""


class TestCommandLine:
    @pytest.fixture
    def run(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> Callable[..., tuple[str, str]]:
        (tmp_path / "made.py").write_text(FILE, "utf-8")
        monkeypatch.chdir(tmp_path)

        def called(*args: str) -> tuple[str, str]:
            with pytest.raises(SystemExit):
                commands.cli.main(args)
            out, err = capsys.readouterr()
            return out, err

        return called

    def test_output(self, run: Callable[..., tuple[str, str]], tmp_path: Path) -> None:
        given = ("--no-progress", "--input", f"token={TOKEN}", "--log", "debug", "--debug")
        for more in ((), ("--all",), ("--json",), ("--timeline", "t.svg"), ("--timeline", "t.md")):
            out, err = run("run", "made.py", *given, *more)
            assert TOKEN not in out + err and "271828" not in out
            assert "Bearer ***" in out and "ValueError: ***" in err
        for file in ("t.svg", "t.md"):
            text = (tmp_path / file).read_text("utf-8")
            assert TOKEN not in text and (MASK in text or file == "t.md")

    def test_json_stays_json(self, run: Callable[..., tuple[str, str]]) -> None:
        out, _ = run("run", "made.py", "--no-progress", "--input", f"token={TOKEN}", "--json")
        nodes = json.loads(out)["nodes"]
        assert nodes["a"]["output"] == {"auth": f"Bearer {MASK}"}
        assert nodes["number"]["output"] == [MASK, 271829]
        assert nodes["odd"]["output"] == f"Odd({MASK})"
        assert nodes["m"]["output"]["values"] == [MASK]

    def test_refusals(self, run: Callable[..., tuple[str, str]]) -> None:
        out, err = run("run", "made.py", "--no-progress", "--input", f"pin={TOKEN}", "--input", "token=x")
        assert TOKEN not in out + err and "input 'pin' is not of its declared type int: it is a str" in err


# -- the masks themselves --------------------------------------------------------------------


class Lazy(Mapping[str, Any]):
    """A mapping that raises."""

    def __getitem__(self, name: str) -> Any:
        raise RuntimeError(TOKEN)

    def __iter__(self) -> Iterator[str]:
        return iter(["a"])

    def __len__(self) -> int:
        return 1


class Str(str):
    __slots__ = ()


class NoFields:
    __record_fields__ = ()


@dataclasses.dataclass
class NoFieldsData:
    pass


class NoFieldsStruct(msgspec.Struct):
    pass


@dataclasses.dataclass
class MoreThanFields:
    token: str
    start: dataclasses.InitVar[str]


@dataclasses.dataclass(slots=True)
class SlotsWithout:
    """Has a variable of the class, and a field that is not set."""

    token: str
    kind: ClassVar[str] = "a kind"
    later: str = dataclasses.field(init=False)


class WithDict(msgspec.Struct, dict=True):
    token: str


class TestMasks:
    masks = Masks(texts_in([TOKEN, 271828]))

    @pytest.mark.parametrize(
        ("value", "masked"),
        [
            (f"a {TOKEN}", f"a {MASK}"),
            (Str(TOKEN), MASK),
            ([TOKEN, 1], [MASK, 1]),
            ((TOKEN,), (MASK,)),
            ({TOKEN: TOKEN}, {MASK: MASK}),
            ({TOKEN}, {MASK}),
            (frozenset([TOKEN]), frozenset([MASK])),
            (deque([TOKEN], 3), deque([MASK], 3)),
            (OrderedDict(a=TOKEN), {"a": MASK}),
            (TOKEN.encode(), MASK.encode()),
            (271828, MASK),
            (Path(f"/a/{TOKEN}"), str(Path(f"/a/{MASK}"))),
            (Given(TOKEN), Given(MASK)),
            (Data(TOKEN), Data(MASK)),
            ([[[{"a": (TOKEN,)}]]], [[[{"a": (MASK,)}]]]),
            ([1] * (MAX_PARTS + 1), MASK),
            (Lazy(), MASK),
        ],
    )
    def test_values(self, value: Any, masked: Any) -> None:
        found = self.masks.value(value)
        assert found == masked and type(found) is type(masked)

    @pytest.mark.parametrize("value", ["a", [1, "b", [None, True]], {"a": (1, 2)}, b"x", 7, 1.5, object(), Given("x")])
    def test_what_has_none_stays_the_same_object(self, value: Any) -> None:
        assert self.masks.value(value) is value

    def test_what_holds_itself(self) -> None:
        clean: list[Any] = [1]
        clean.append(clean)
        assert self.masks.value(clean) is clean
        secret: list[Any] = [TOKEN]
        secret.append(secret)
        assert self.masks.value(secret) == [MASK, MASK]

    def test_what_is_there_twice(self) -> None:
        one = [TOKEN]
        assert self.masks.value({"a": one, "b": [one, one]}) == {"a": [MASK], "b": [[MASK], [MASK]]}

    def test_no_depth_is_too_deep(self) -> None:
        deep: Any = [TOKEN]
        for _ in range(4_000):
            deep = [deep]
        found = self.masks.value(deep)
        for _ in range(4_000):
            (found,) = found
        assert found == [MASK]

    def test_long_chains_of_causes(self) -> None:
        first = error = ValueError(TOKEN)
        for _ in range(5_000):
            error.__cause__ = ValueError(TOKEN)
            error = error.__cause__
        self.masks.conceal(first)
        assert error.args == (MASK,)

    def test_originals_stay(self) -> None:
        held = {"token": [TOKEN]}
        error = ValueError("no", held)
        self.masks.conceal(error)
        assert error.args[1] == {"token": [MASK]} and held == {"token": [TOKEN]}

    def test_exceptions_within_stay_what_they_are(self) -> None:
        inner = Frozen(TOKEN)
        error = ValueError("no", inner)
        self.masks.conceal(error)
        assert error.args[1] is inner and inner.text == MASK

    def test_no_texts_no_search(self) -> None:
        masks = Masks(texts_in(["abc", None, True, 7]))
        assert masks.texts == frozenset() and masks.text("abc") == "abc" and masks.value(["abc"]) == ["abc"]

    def test_texts_in_records_and_containers(self) -> None:
        found = texts_in([Given("in-struct"), Data("in-data"), {"key": ["in-list"]}, b"in-bytes", Path("a/bc"), 12345])
        texts = ["in-struct", "eu-north", "in-data", "in-list", "in-bytes", str(Path("a/bc")), "12345"]
        assert found == frozenset(texts)
        circle: list[Any] = ["text"]
        circle.append(circle)
        assert texts_in([circle, 10**5000]) == {"text"}

    def test_texts_of_a_mapping_that_makes_them_when_asked(self) -> None:
        """Their ids are used again once they are dropped."""

        class Made(Mapping[str, list[str]]):
            def __init__(self, name: str) -> None:
                self.name = name

            def __getitem__(self, key: str) -> list[str]:
                return [f"{self.name}-{key}"]

            def __iter__(self) -> Iterator[str]:
                return map(str, range(50))

            def __len__(self) -> int:
                return 50

        names = ("first", "second", "third")
        assert texts_in([Made(name) for name in names]) == {f"{name}-{i}" for name in names for i in range(50)}

    @pytest.mark.parametrize(
        "empty", [NoFields(), NoFieldsData(), NoFieldsStruct()], ids=lambda one: type(one).__name__
    )
    def test_records_without_fields(self, empty: Any) -> None:
        assert texts_in([empty, TOKEN]) == {TOKEN}
        assert self.masks.value([empty, TOKEN, "ok"]) == [empty, MASK, "ok"]

    @pytest.mark.parametrize("made", [MoreThanFields(TOKEN, "x"), SlotsWithout(TOKEN), WithDict(TOKEN)])
    def test_what_records_hold_besides_fields(self, made: Any) -> None:
        if not isinstance(made, SlotsWithout):
            made.upper = f"upper {TOKEN}"
        assert texts_in([made]) == {TOKEN, *([made.upper] if hasattr(made, "upper") else [])}
        masked = self.masks.value(made)
        assert type(masked) is type(made) and masked.token == MASK and made.token == TOKEN
        assert getattr(masked, "upper", None) == (f"upper {MASK}" if hasattr(made, "upper") else None)

    def test_results_of_maps(self) -> None:
        def each(item: int, token: str) -> str:
            return f"{item} {token}" if item else fails(token) or ""

        def exports(m: object, ctx: flow.Context) -> object:
            return ctx.export().outputs["m"]

        dag = flow.Dag("d", inputs=Given)
        dag.add("items", lambda: [0, 1])
        dag.map("m", each, over="items", on_error="collect")
        dag.add("exports", exports)
        result = flow.run(dag)
        assert result["m"][1] == f"1 {TOKEN}"
        masked = self.masks.value(result["m"])
        assert type(masked) is flow.MapResult and masked[1] == f"1 {MASK}"
        for told in (masked, result["exports"]):
            assert TOKEN not in repr(told.to_dict()) and told[1] == f"1 {MASK}"

    def test_the_limit_that_is_told(self) -> None:
        """A group keeps its message where nothing can write; a text that was changed is another one."""
        group = ExceptionGroup(f"no {TOKEN}", [ValueError(TOKEN)])
        self.masks.conceal(group)
        assert TOKEN in str(group) and TOKEN not in repr(group.exceptions)
        assert self.masks.text(TOKEN[::-1]) == TOKEN[::-1]


def test_importing_flow_imports_none_of_it() -> None:
    code = "import sys, flow\nd = flow.Dag('d')\nd.add('a', list)\nflow.run(d)\nprint('flow.masking' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "False"


def test_the_mark_is_public_at_one_place() -> None:
    assert flow.Secret is Secret
    assert MODES
