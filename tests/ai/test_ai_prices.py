"""What requests cost: exact sums, bounds for reservations, and a user's own table."""

from __future__ import annotations

import decimal
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, examples
from hypothesis import given
from hypothesis import strategies as st

from flow.ai.messages import Tokens
from flow.ai.prices import PriceTable, Rates, Tier, price_of, prices, table_entry, usd
from flow.errors import ConfigError

D = Decimal
MINI = Rates(D("0.40"), D("1.60"), D("0.10"))
LONG = Rates(
    D("1.25"), D(10), D("0.31"), D("1.625"), D("3.5"),
    tiers=(
        Tier(200_000, D("2.50"), D(15), D("0.625"), D("3.125"), D(4)),
        Tier(1_000_000, D(5), D(20), D(5), D(5), D(5)),
    ),
)  # fmt: skip


@pytest.mark.parametrize(
    ("rates", "tokens", "cost"),
    [
        (MINI, Tokens(input=1_000, output=500), "0.0012"),
        (MINI, Tokens(), "0"),
        (MINI, Tokens(input=1, output=1), "0.000002"),
        # 250 fresh at 0.40, 750 cached at 0.10, 3 out
        (MINI, Tokens(input=1_000, output=3, cached=750), "0.0001798"),
        (Rates(D(2), D(8)), Tokens(input=10, output=1, cached=10), "0.000028"),  # no discount is known
        (MINI, Tokens(input=1_000, output=500, reasoning=200), "0.0012"),
        (LONG, Tokens(input=100, output=50, reasoning=20), "0.000495"),  # 125 + 300 + 70
        (LONG, Tokens(input=200_000, output=1), "0.25001"),  # not above
        (LONG, Tokens(input=200_001, output=1), "0.5000175"),  # all of it
        (LONG, Tokens(input=200_001, cached=200_000, cache_write=1), "0.125003125"),
        (LONG, Tokens(input=1_000_001, output=1), "5.000025"),
        (Rates(D(1), D(1), request=D("0.012")), Tokens(input=1, output=5), "0.012006"),
        (Rates(D("0.0123456789"), D(0)), Tokens(input=7), "0.0000000864197523"),
        (Rates(D("0.1"), D("0.2")), Tokens(input=10**12 + 1, output=10**12), "300000.0000001"),
        (MINI, Tokens(input=5, output=5, cached=9, reasoning=9), "0.0000153"),  # what cannot be does not go below 0
    ],
)
def test_costs_are_exact(rates: Rates, tokens: Tokens, cost: str) -> None:
    found = rates.cost(tokens)
    assert found is not None
    assert found == D(cost)
    assert usd(found) == cost


def test_the_context_of_the_thread_rounds_nothing() -> None:
    with decimal.localcontext(decimal.Context(prec=2, rounding=decimal.ROUND_UP)):
        assert MINI.cost(Tokens(input=123_457, output=7_891)) == D("0.0620084")
        assert MINI.most(123_457, 7_891) == D("0.0620084")


@pytest.mark.parametrize(
    ("rates", "tokens"),
    [
        (Rates(), Tokens(input=1)),
        (Rates(D(1)), Tokens(input=1, output=1)),
        (Rates(None, D(1)), Tokens(input=1, output=1)),
        (MINI, Tokens(input=2, cache_write=1)),  # what writing to a cache costs is not said
        (Rates(D(1), D(1), tiers=(Tier(10, D(1)),)), Tokens(input=11, output=1)),
    ],
)
def test_what_is_not_known_is_none_and_not_0(rates: Rates, tokens: Tokens) -> None:
    assert rates.cost(tokens) is None


def test_what_is_not_needed_may_be_unknown() -> None:
    assert Rates(D(1)).cost(Tokens(input=3)) == D("0.000003")
    assert Rates(D(1)).most(3, 0) == D("0.000003")
    assert Rates().cost(Tokens()) == 0
    assert Rates(D(1)).most(3, 1) is None
    assert Rates(None, D(1)).most(1, 1) is None


def test_the_most_of_a_request() -> None:
    assert MINI.most(1_000, 500) == D("0.0012")
    assert LONG.most(100, 0) == D("0.0001625")  # all may be written to a cache
    assert LONG.most(200_000, 100) == D("0.326")
    assert LONG.most(200_001, 100) == D("0.626503125")
    falling = Rates(D(9), D(9), tiers=(Tier(10, D(1), D(1)),))
    assert falling.most(20, 0) == D("0.00018")  # it may be that only 10 come, at 9
    assert Rates(D(1), D(1), request=D(2)).most(0, 0) == 2
    assert MINI.most(1_000, None) is None
    assert Rates(D(1), D(0)).most(5, None) == D("0.000005")


money = st.decimals(0, 100, places=6, allow_nan=False)
maybe = st.none() | money


@st.composite
def rates_of(draw: Any) -> Rates:
    def prices_of() -> dict[str, Decimal | None]:
        known = {"input": draw(money), "output": draw(money)}
        return known | {name: draw(maybe) for name in ("cached", "cache_write", "reasoning")}

    starts = sorted(draw(st.sets(st.integers(1, 60), max_size=3)))
    return Rates(**prices_of(), request=draw(money), tiers=tuple(Tier(start, **prices_of()) for start in starts))  # type: ignore[arg-type]


@st.composite
def within(draw: Any) -> tuple[int, int, Tokens]:
    """Counts that are reserved, and tokens within them."""
    most_input, most_output = draw(st.integers(0, 80)), draw(st.integers(0, 80))
    taken, given_ = draw(st.integers(0, most_input)), draw(st.integers(0, most_output))
    cached = draw(st.integers(0, taken))
    written = draw(st.integers(0, taken - cached))
    reasoning = draw(st.integers(0, given_))
    return most_input, most_output, Tokens(taken, given_, cached, written, reasoning)


@examples(150)
@given(rates_of(), within())
def test_no_request_costs_more_than_the_most(rates: Rates, case: tuple[int, int, Tokens]) -> None:
    most_input, most_output, tokens = case
    most, cost = rates.most(most_input, most_output), rates.cost(tokens)
    assert most is not None
    assert cost is None or cost <= most


@examples(80)
@given(rates_of(), within())
def test_costs_are_those_of_plain_fractions(rates: Rates, case: tuple[int, int, Tokens]) -> None:
    from fractions import Fraction

    tokens = case[2]
    at: Any = next((tier for tier in reversed(rates.tiers) if tokens.input > tier.above), rates)
    if at.cache_write is None and tokens.cache_write:
        assert rates.cost(tokens) is None
        return
    parts = [
        (tokens.input - tokens.cached - tokens.cache_write, at.input),
        (tokens.cached, at.input if at.cached is None else at.cached),
        (tokens.cache_write, at.cache_write or 0),
        (tokens.output - tokens.reasoning, at.output),
        (tokens.reasoning, at.output if at.reasoning is None else at.reasoning),
    ]
    total = sum((count * Fraction(price) for count, price in parts), Fraction(0)) / 10**6 + Fraction(rates.request)
    cost = rates.cost(tokens)
    assert cost is not None
    assert Fraction(cost) == total


@pytest.mark.parametrize(
    ("value", "price"),
    [("0.40", "0.4"), (3, "3"), (D("1.5"), "1.5"), ("0", "0"), (" 2 ", "2"), ("-0", "0"), ("1e-3", "0.001")],
)
def test_prices_are_read(value: Any, price: str) -> None:
    assert price_of(value) == D(price)
    assert str(price_of(value))[0] != "-"


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (0.1, "is a float, which holds no exact price: write it as text, '0.1'"),
        (True, "must be USD as text, an int or a Decimal, not a bool"),
        (None, "not a NoneType"),
        ("$3", "leave out the sign of the currency"),
        ("three", "is no number"),
        ("-1", "it must be 0 or more"),
        (D("NaN"), "is no price"),
        ("Infinity", "is no price"),
        ("1" * 31, "more than 30 digits"),
        ("1e99", "more than 30 digits"),
    ],
)
def test_what_is_no_price_is_refused_with_a_reason(value: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says.replace("$", r"\$")):
        price_of(value)


def test_amounts_as_text() -> None:
    assert [usd(D(text)) for text in ("1E+3", "0E-9", "4E-7", "12.50", "100", "0.10")] == [
        "1000", "0", "0.0000004", "12.5", "100", "0.1",
    ]  # fmt: skip


TABLE = """\
# USD per million tokens
["openai:gpt-4.1-mini"]
input = 0.40
output = 1.60
cached = 0.10
context = 1_000_000
max_output_tokens = 32_768

["google:gemini-pro"]
input = "1.25"
output = 10

[["google:gemini-pro".tiers]]
above = 200_000
input = 2.50
output = 15

["ollama:*"]
input = 0
output = 0

["ollama:big*"]
input = 7
output = 7
request = 0.01
"""


def test_a_table(tmp_path: Path) -> None:
    path = tmp_path / "prices.toml"
    path.write_text(TABLE, encoding="utf-8")
    table = PriceTable(path)
    assert len(table) == 4
    mini = table.find("openai:gpt-4.1-mini")
    assert mini is not None
    assert (mini.rates, mini.context, mini.max_output_tokens) == (MINI, 1_000_000, 32_768)
    pro = table.find("google:gemini-pro")
    assert pro is not None
    assert pro.rates.tiers == (Tier(200_000, D("2.5"), D(15)),)
    assert pro.rates.cost(Tokens(input=200_001)) == D("0.5000025")
    assert table.find("openai:gpt-4.1") is None
    other, big = table.find("ollama:llama3.1:8b"), table.find("ollama:big:8b")
    assert other is not None
    assert other.rates.cost(Tokens(input=5, output=5)) == 0
    assert big is not None
    assert big.rates.cost(Tokens()) == D("0.01")  # the longest beginning


def test_the_table_among_the_examples() -> None:
    table = PriceTable(ROOT / "docs" / "examples" / "prices.toml")
    found = table.find("gemini:gemini-2.5-pro")
    assert found is not None
    assert found.rates.cost(Tokens(input=200_001, output=1)) == D("0.5000175")


def test_a_mapping_is_a_table() -> None:
    tiers = [{"above": 5, "input": 2, "output": "4"}]
    table = PriceTable({"a:b": {"input": "1", "output": D(2), "cached": "0.5", "reasoning": 3, "tiers": tiers}})
    found = table.find("a:b")
    assert found is not None
    # a price that a tier does not say is that of the base
    assert found.rates == Rates(D(1), D(2), D("0.5"), None, D(3), tiers=(Tier(5, D(2), D(4), D("0.5"), None, D(3)),))


def test_all_faults_of_a_table_with_their_lines(tmp_path: Path) -> None:
    path = tmp_path / "prices.toml"
    lines = {
        '["openai:gpt-4.1-mini"]': "",
        "input = -0.40": "input: '-0.40' is no price",
        "outptu = 1.60": "there is no 'outptu' here (did you mean 'output'?)",
        "context = 0": "context must be a number of tokens of at least 1, not 0",
        '[["openai:gpt-4.1-mini".tiers]]  # a comment': "",
        "above = 200": "",
        "input = 1": "",
        "output = 1": "",
        "[[ 'openai:gpt-4.1-mini' . tiers ]]": "",
        "above = 100": "above=100 must be more than that of the tier before, 200",
        "input = nan": "input: 'NaN' is no price",
        "output = 2": "",
        "request = 2": "there is no 'request' here",
        "[bare]": "'bare' is no model",
        "input  = 1": "",
        "output  = 1": "",
        '["xai:grok"]': "'xai:grok' has no input and no output: 0 is free",
        '["groq:*x"]': "'groq:*x' is no model",
        "input   = true": "input must be USD as text, an int or a Decimal, not a bool",
        "output   = 1": "",
    }
    path.write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        PriceTable(path)
    wanted = {f"{path}:{k}: {text}" for k, text in enumerate(lines.values(), 1) if text}
    missing = {one for one in wanted if not any(fault.startswith(one) for fault in caught.value.faults)}
    assert not missing
    rest = [fault for fault in caught.value.faults if not fault.startswith(tuple(wanted))]
    assert rest == [f"{path}:1: 'openai:gpt-4.1-mini' has no output: 0 is free"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("input = 1\n", "prices.toml:1: 'input' is no model"),
        ("a = 1\nb = \n", "prices.toml:2: it is not TOML"),
        ('["a:b"]\ninput = 1\noutput = 1\ntiers = 3\n', "prices.toml:4: tiers must be tables"),
        ('["a:b"]\ninput = 1\noutput = 1\ntiers = [3]\n', "prices.toml:4: a tier must be a table, not an int"),
        (
            '["a:b"]\ninput = 1\noutput = 1\n[["a:b".tiers]]\ninput = 2\noutput = 2\n',
            "prices.toml:4: above must be a number",
        ),
    ],
)
def test_what_is_no_table_is_refused(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "prices.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        PriceTable(path)
    assert says in str(caught.value)


def test_faults_of_a_mapping_name_the_model() -> None:
    source: Any = {"a:b": {"input": 0.1, "output": 1}, "c": 3}
    with pytest.raises(ConfigError) as caught:
        PriceTable(source)
    assert list(caught.value.faults) == [
        "'a:b': input: 0.1 is a float, which holds no exact price: write it as text, '0.1'",
        "'c' is no model: write 'provider:model', or 'provider:*' for all of one",
        "'c' must be a table with input and output, not an int",
    ]


def test_a_missing_file_is_told_with_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "prices.toml").write_text("", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"there is no such file \(did you mean 'prices.toml'\?\)"):
        PriceTable(tmp_path / "price.toml")


def test_the_table_of_the_process(tmp_path: Path) -> None:
    path = tmp_path / "prices.toml"
    path.write_text(TABLE, encoding="utf-8")
    label = "openai:gpt-4.1-mini"
    assert table_entry(label) is None
    with prices(path):
        found = table_entry(label)
        assert found is not None
        assert found.rates == MINI
        with pytest.raises(ConfigError):
            prices({"x": {}})
        assert table_entry(label) is found  # as it was
        with prices({label: {"input": 1, "output": 1}}):
            within_ = table_entry(label)
            assert within_ is not None
            assert within_.rates.input == 1
        assert table_entry(label) is found
        with prices(None):
            assert table_entry(label) is None
    assert table_entry(label) is None
