"""Models by name: what they stand for, what is refused, and what is loaded when."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Mapping
from decimal import Decimal
from typing import Any

import pytest

from flow.ai import known
from flow.ai.errors import UnknownModel
from flow.ai.messages import Delta, Reply, Request, Tokens
from flow.ai.models import Model, Resolved, models, prepared, resolve
from flow.ai.prices import Rates, prices
from flow.ai.tokens import EstimatedTokens, OpenAITokens
from flow.errors import ConfigError, UsageError

D = Decimal


class Scripted:
    """A provider of a user's own."""

    def __init__(self, name: str = "mine") -> None:
        self.name = name

    async def complete(self, request: Request) -> Reply:
        return Reply("hello")

    async def stream(self, request: Request) -> AsyncIterator[Delta]:
        yield Delta(reply=Reply("hello"))

    def headroom(self) -> Mapping[str, float]:
        return {}


def test_a_provider_and_a_name() -> None:
    found = resolve("openai:gpt-4.1-mini")
    assert (found.name, found.label, found.provider_name) == ("gpt-4.1-mini", "openai:gpt-4.1-mini", "openai")
    assert isinstance(found.counter, OpenAITokens)
    assert resolve("ollama:llama3.1:8b").name == "llama3.1:8b"
    assert resolve("openrouter:openai/gpt-4o").label == "openrouter:openai/gpt-4o"


def test_a_model_with_all_that_is_known_of_it() -> None:
    counter = EstimatedTokens(2)
    model = Model(
        Scripted(), "tiny", input_price="0.40", output_price=2, cached_price=D("0.1"), cache_write_price="0.5",
        max_output_tokens=500, context=8_000, tokens=counter,
    )  # fmt: skip
    found = resolve(model)
    assert found.label == "mine:tiny"
    assert found.provider is model.provider
    assert found.rates == Rates(D("0.40"), D(2), D("0.1"), D("0.5"))
    assert found.needed_rates() == found.rates
    assert (found.counter, found.context, found.max_output_tokens) == (counter, 8_000, 500)
    assert found.is_priced


def test_a_model_without_prices_has_none() -> None:
    found = resolve(Model(Scripted(), "tiny"))
    assert found.rates is None
    assert found.context is None
    assert found.max_output_tokens is None
    with pytest.raises(UnknownModel, match="the prices of 'mine:tiny' are not known: give them to ai.Model"):
        found.needed_rates()


def test_a_request_that_writes_to_a_cache_of_unknown_price_has_no_cost() -> None:
    rates = resolve(Model(Scripted(), "tiny", input_price=1, output_price=1)).needed_rates()
    assert rates.cost(Tokens(input=10, cached=5)) == D("0.00001")
    assert rates.cost(Tokens(input=10, cache_write=5)) is None


def test_where_prices_come_from() -> None:
    """The Model, then the table of the process, then genai-prices."""
    pytest.importorskip("genai_prices")
    name = "gpt-4.1-mini"
    listed = resolve(f"openai:{name}")
    known_rates, window = listed.needed_rates(), listed.context
    assert known_rates.input
    assert window
    with prices({f"openai:{name}": {"input": 7, "output": 8, "context": 9, "max_output_tokens": 3}}):
        assert listed.rates == Rates(D(7), D(8))
        assert (listed.context, listed.max_output_tokens) == (9, 3)
        own = resolve(Model("openai", name, input_price=1, output_price=2, context=4, max_output_tokens=5))
        assert own.rates == Rates(D(1), D(2))
        assert (own.context, own.max_output_tokens) == (4, 5)
        assert listed.rates_for({"service_tier": "priority"}) == Rates(D(7), D(8))
    assert listed.rates == known_rates
    assert listed.context == window
    priority = listed.rates_for({"service_tier": "priority"})
    assert priority is not None
    assert priority.input is not None
    assert priority.input > known_rates.input


def test_an_unknown_price_names_the_nearest_model() -> None:
    pytest.importorskip("genai_prices")
    with pytest.raises(UnknownModel, match=r"'openai:gpt-4.1-mni' are not known \(did you mean 'gpt-4.1-mini'"):
        resolve("openai:gpt-4.1-mni").needed_rates()


@pytest.mark.parametrize(
    ("model", "says"),
    [
        ("opnai:gpt-4o", r"there is no provider 'opnai' \(did you mean 'openai'\?\); there are openai, anthropic, "),
        ("OpenAI:gpt-4o", r"there is no provider 'OpenAI' \(did you mean 'openai'\?\)"),
        ("gpt-4o", r"no model is called 'gpt-4o' \(did you mean 'openai:gpt-4o'\?\)"),
        ("claude-sonnet-4", r"\(did you mean 'anthropic:claude-sonnet-4'\?\)"),
        ("nothing", "no model is called 'nothing': write 'provider:name', as 'openai:gpt-4.1-mini', or a name"),
        ("", "no model is called ''"),
        ("openai:", "'openai:' has no name after its provider"),
    ],
)
def test_unknown_names(model: str, says: str) -> None:
    with pytest.raises(UnknownModel, match=says):
        resolve(model)


@pytest.mark.parametrize("model", [None, 3, ["openai:gpt-4o"], Scripted()])
def test_what_is_no_model(model: Any) -> None:
    with pytest.raises(UsageError, match="model must be 'provider:name', a name of ai.models, or an ai.Model, not a"):
        resolve(model)


def test_names_for_the_process() -> None:
    big = Model(Scripted(), "big", input_price=3, output_price=15)
    with models({"fast": "openai:gpt-4.1-mini", "big": big}):
        assert resolve("fast").label == "openai:gpt-4.1-mini"
        assert resolve("big").rates == Rates(D(3), D(15))
        with pytest.raises(UnknownModel, match=r"no model is called 'fsat' \(did you mean 'fast'\?\)"):
            resolve("fsat")
        kept = resolve("fast")
        with models({"fast": Model(Scripted(), "tiny"), "other": "groq:x"}):
            assert resolve("fast").label == "mine:tiny"
            assert resolve("big").name == "big"
            assert kept.label == "openai:gpt-4.1-mini"
        assert resolve("fast").label == "openai:gpt-4.1-mini"
        with pytest.raises(UnknownModel):
            resolve("other")
    with pytest.raises(UnknownModel):
        resolve("fast")


def test_all_faults_of_names() -> None:
    wrong: Any = {
        "a:b": "openai:x",
        "c": "opnai:y",
        "d": 3,
        "": "openai:z",
        "e": "openai:",
        "f": "fast",
        "good": "groq:x",
    }
    with pytest.raises(ConfigError) as caught:
        models(wrong)
    said = [fault.partition(";")[0] for fault in caught.value.faults]
    assert said == [
        "'a:b' is no name: it must be a text without a colon",
        "'c' is 'opnai:y': there is no provider 'opnai' (did you mean 'openai'?)",
        "'d' must be a Model or 'provider:name', not 3",
        "'' is no name: it must be a text without a colon",
        "'e' is 'openai:' has no name after its provider: write 'provider:name', as 'openai:gpt-4.1-mini', or a name "
        "that ai.models({...}) has given",
        "'f' must be a Model or 'provider:name', not 'fast'",
    ]
    with pytest.raises(UnknownModel):
        resolve("good")
    with pytest.raises(UsageError, match="models takes a mapping"):
        models([("a", "openai:x")])  # type: ignore[arg-type]


def test_all_faults_of_a_model() -> None:
    wrong: Any = {
        "provider": "opnai", "name": " ", "input_price": 0.3, "cached_price": "-1", "max_output_tokens": 0,
        "context": True, "tokens": 3,
    }  # fmt: skip
    with pytest.raises(ConfigError) as caught:
        Model(**wrong)
    starts = [
        "there is no provider 'opnai' (did you mean 'openai'?); there are openai",
        "name must be the name of a model, not ' '",
        "input_price: 0.3 is a float, which holds no exact price: write it as text, '0.3'",
        "cached_price: '-1' is no price",
        "output_price is missing: one price needs the other, '0' is free",
        "max_output_tokens must be a number of tokens of at least 1, not 0",
        "context must be a number of tokens of at least 1, not True",
        "tokens must have the methods count and count_text, and an int has not",
    ]
    assert len(caught.value.faults) == len(starts)
    assert all(fault.startswith(start) for fault, start in zip(caught.value.faults, starts, strict=True))
    with pytest.raises(ConfigError, match="provider must be a prefix, as 'openai', or a provider, not an int"):
        Model(3, "x")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="inptu_price"):
        Model("openai", "x", inptu_price="3")  # type: ignore[call-arg]


@pytest.mark.parametrize("prefix", sorted(known.URLS))
def test_providers_are_made_once_for_each_prefix(prefix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in (*known.ELSEWHERE.values(), "OLLAMA_HOST"):
        monkeypatch.delenv(variable, raising=False)
    found = resolve(f"{prefix}:one").provider
    assert found.name == prefix
    assert resolve(f"{prefix}:another").provider is found
    assert resolve(Model(prefix, "third")).provider is found


def test_one_provider_for_threads_that_ask_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Scripted] = []
    gate = threading.Barrier(4)

    def make(prefix: str, url: str) -> Scripted:
        made.append(Scripted(prefix))
        return made[-1]

    def ask() -> None:
        gate.wait(5)
        found.append(resolve("groq:x").provider)

    monkeypatch.setattr(known, "_MADE", {})
    monkeypatch.setattr(known, "_made", make)
    found: list[Any] = []
    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1
    assert found == made * 4


@pytest.mark.parametrize(
    ("prefix", "variable", "value", "url"),
    [
        ("openai", "OPENAI_BASE_URL", "http://127.0.0.1:9/v1", "http://127.0.0.1:9/v1"),
        ("anthropic", "ANTHROPIC_BASE_URL", "http://127.0.0.1:9", "http://127.0.0.1:9"),
        ("openai", "OPENAI_BASE_URL", " ", "https://api.openai.com/v1"),
        ("ollama", "OLLAMA_HOST", "10.0.0.7:11434", "http://10.0.0.7:11434/v1"),
        ("ollama", "OLLAMA_HOST", "https://o.example/", "https://o.example/v1"),
        ("groq", "OPENAI_BASE_URL", "http://127.0.0.1:9/v1", "https://api.groq.com/openai/v1"),
    ],
)
def test_the_environment_may_say_where_a_provider_is(
    prefix: str, variable: str, value: str, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = resolve(f"{prefix}:x").provider
    monkeypatch.setenv(variable, value)
    assert known.url_of(prefix) == url
    assert (resolve(f"{prefix}:x").provider is before) == (url == known.URLS[prefix])


class Watched(Resolved):
    """Notes in which thread it is prepared."""

    __slots__ = ("threads",)

    def prepare(self, counting: bool = True) -> None:
        self.threads.append(threading.current_thread())
        super().prepare(counting)


@pytest.mark.anyio
async def test_models_are_prepared_in_a_worker_thread_and_once() -> None:
    pytest.importorskip("genai_prices")
    here = threading.current_thread()

    class Counter(EstimatedTokens):
        __slots__ = ("loaded",)

        @property
        def ready(self) -> bool:
            return self.loaded

        def prepare(self) -> None:
            self.loaded = True

    counter = Counter()
    counter.loaded = False
    found = Watched(Model(Scripted(), "x", input_price=1, output_price=1, tokens=counter))
    found.threads = []
    await prepared(found, counting=False)
    assert not found.threads  # its prices are its own
    await prepared(found)
    await prepared(found)
    assert len(found.threads) == 1
    assert found.threads[0] is not here
    assert counter.loaded


def test_reprs_are_short() -> None:
    assert repr(resolve("openai:gpt-4.1")) == "<Resolved openai:gpt-4.1>"
    assert repr(OpenAITokens()) == "OpenAITokens('o200k_base')"
    assert repr(EstimatedTokens()) == "EstimatedTokens(1.2)"
