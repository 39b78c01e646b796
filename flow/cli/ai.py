"""The commands ``flow ai ...``: what requests to models cost."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

import click
import msgspec

from flow import files
from flow.cli import options as given
from flow.cli.terminal import say, say_json

if TYPE_CHECKING:
    from decimal import Decimal

    from flow.ai.models import Resolved
    from flow.ai.prices import Rates

MOST_BYTES: Final = 64 * 2**20
"""Longest text that is read."""


@click.group()
def ai() -> None:
    """Count tokens and prices of language models. (The extra `ai`; nothing is sent, and nothing is fetched.)"""


@ai.command()
@click.argument("text", metavar="TEXT|@FILE|-")
@click.option("--model", required=True, metavar="PROVIDER:NAME", help="As openai:gpt-4.1-mini.")
@click.option(
    "--output-tokens", type=click.IntRange(min=0), metavar="N", help="Print the price with so many output tokens, too."
)
@click.option("--table", metavar="FILE.toml", help="A table of your own prices, over those that are known.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, and nothing else, on stdout.")
@given.debug_option
def price(text: str, model: str, output_tokens: int | None, table: str | None, as_json: bool) -> None:
    """Print how many tokens TEXT has, and what it costs as the input of a model, in USD.

    The exit code is 2 if the price is not known; the tokens are printed all the same.
    """
    from flow.ai.errors import UnknownModel
    from flow.ai.models import resolve
    from flow.ai.prices import prices

    content = _content(text)
    with prices(table):
        found = resolve(model)
        tokens, estimated = found.counter.count_text(content)
        rates = found.rates
        if as_json:
            say_json(_document(found, tokens, estimated, output_tokens, rates))
        else:
            say(*_lines(found, tokens, estimated, output_tokens, rates))
        if rates is None:
            raise UnknownModel(f"{found.unpriced()}: give them in a table, by --table FILE.toml")


def _content(text: str) -> str:
    """Return the text, that of a file, or what comes on standard input."""
    if text != "-" and not text.startswith("@"):
        return text
    name = "standard input" if text == "-" else repr(text[1:])
    try:
        if text == "-":
            data = sys.stdin.buffer.read(MOST_BYTES + 1)
            if len(data) > MOST_BYTES:
                raise click.BadParameter(f"{name} has more than {MOST_BYTES / 2**20:g} MiB", param_hint="TEXT")
        else:
            data = files.read(text[1:], MOST_BYTES)
        return data.decode("utf-8")
    except OSError as error:
        raise click.BadParameter(f"{name} cannot be read: {error.strerror}", param_hint="TEXT") from error
    except UnicodeDecodeError as error:
        raise click.BadParameter(f"{name} is not UTF-8 text", param_hint="TEXT") from error


def _costs(rates: Rates | None, tokens: int, output_tokens: int | None) -> tuple[str | None, str | None, str | None]:
    """Return the price of the input, of the output, and of both; None for what is not known or not asked for."""
    from flow.ai.messages import Tokens
    from flow.ai.prices import usd

    def text_of(cost: Decimal | None) -> str | None:
        return None if cost is None else usd(cost)

    if rates is None:
        return None, None, None
    taken = rates.cost(Tokens(input=tokens))
    both = rates.cost(Tokens(input=tokens, output=output_tokens or 0))
    if output_tokens is None or taken is None or both is None:
        return text_of(taken), None, text_of(both)
    return text_of(taken), text_of(both - taken), text_of(both)


def _lines(found: Resolved, tokens: int, estimated: bool, output_tokens: int | None, rates: Rates | None) -> list[str]:
    counted = f"about {tokens:,} (estimated)" if estimated else f"{tokens:,}"
    lines = [found.label, f"  input tokens   {counted}"]
    if rates is None:
        return lines
    lines.append(f"  USD per million tokens: {_rates(rates, tokens)}")
    taken, written, both = _costs(rates, tokens, output_tokens)
    lines.append(f"  input          {_usd(taken)}")
    if output_tokens is not None:
        lines.append(f"  output         {_usd(written)} ({output_tokens:,} tokens)")
        lines.append(f"  both           {_usd(both)}")
    return lines


def _usd(cost: str | None) -> str:
    return "not known" if cost is None else f"{cost} USD"


def _rates(rates: Rates, tokens: int) -> str:
    """Return the prices that apply to so many input tokens."""
    from flow.ai.prices import usd

    at = rates.at(tokens)
    named = [("input", at.input), ("output", at.output)]
    named += [(name, p) for name, p in (("cached", at.cached), ("cache write", at.cache_write)) if p != at.input]
    text = ", ".join(f"{name} {usd(price)}" for name, price in named if price is not None)
    return f"{text}; {usd(rates.request)} USD per request" if rates.request else text


def _document(found: Resolved, tokens: int, estimated: bool, output_tokens: int | None, rates: Rates | None) -> bytes:
    taken, written, both = _costs(rates, tokens, output_tokens)
    document = {
        "model": found.label,
        "input_tokens": tokens,
        "estimated": estimated,
        "output_tokens": output_tokens,
        "rates": None if rates is None else msgspec.to_builtins(rates),
        "input_cost": taken,
        "output_cost": written,
        "cost": both,
    }
    return msgspec.json.format(msgspec.json.encode(document), indent=2)


__all__ = ["ai"]
