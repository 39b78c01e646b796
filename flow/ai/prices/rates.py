"""What a model costs: :class:`Rates`, in exact decimals.

A float holds no price exactly (0.1 is none), and errors of floats add up over the requests of a budget. So prices are
:class:`decimal.Decimal`, and sums and products here are exact whatever the decimal context of the thread is.
"""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Any, Final

import msgspec

from flow.ai.messages import Tokens
from flow.errors import a_kind, shown
from flow.usage import EXACT

MOST_DIGITS: Final = 30
"""Digits of a price, before and behind the point together."""

PER_MILLION: Final = -6
"""Prices are those of a million tokens: the power of ten by which a product is moved."""

ZERO: Final = Decimal(0)


class Tier(msgspec.Struct, frozen=True):
    """The prices of all tokens of a request with more than so many input tokens.

    :ivar above: input tokens; with exactly so many, the prices below apply still.
    """

    above: int
    input: Decimal | None = None
    output: Decimal | None = None
    cached: Decimal | None = None
    cache_write: Decimal | None = None
    reasoning: Decimal | None = None


class Rates(msgspec.Struct, frozen=True):
    """Prices of one model, in USD per million tokens.

    None is a price that is not known, with two exceptions: without a price for cached tokens they cost what input
    costs, and without one for reasoning it costs what output costs.

    :ivar cached: of tokens read from the provider's cache. :ivar cache_write: of tokens written to it.
    :ivar reasoning: of output tokens that the model thinks with.
    :ivar request: USD per request, besides its tokens.
    :ivar tiers: by ``above``, ascending. The last one whose ``above`` the input of a request exceeds applies to all of
        its tokens. A tier has all its prices: those of the base do not apply in it.
    """

    input: Decimal | None = None
    output: Decimal | None = None
    cached: Decimal | None = None
    cache_write: Decimal | None = None
    reasoning: Decimal | None = None
    request: Decimal = ZERO
    tiers: tuple[Tier, ...] = ()

    def cost(self, tokens: Tokens) -> Decimal | None:
        """Return what a request has cost, in USD, exactly; None if a price that it takes is not known.

        Fees that are no matter of tokens are not in it: searches of the provider's own, storage of caches. Tokens that
        are written to a cache for an hour are not told from those for five minutes. O(tiers).
        """
        at = self.at(tokens.input) if self.tiers else self
        is_plain = tokens.cached == tokens.cache_write == tokens.reasoning == 0
        if is_plain and at.input is not None and at.output is not None:
            taken, made = EXACT.multiply(at.input, tokens.input), EXACT.multiply(at.output, tokens.output)
            return EXACT.add(EXACT.scaleb(EXACT.add(taken, made), PER_MILLION), self.request)
        fresh = max(0, tokens.input - tokens.cached - tokens.cache_write)
        plain = max(0, tokens.output - tokens.reasoning)
        cached = at.input if at.cached is None else at.cached
        reasoning = at.output if at.reasoning is None else at.reasoning
        total = ZERO
        for count, price in (
            (fresh, at.input),
            (tokens.cached, cached),
            (tokens.cache_write, at.cache_write),
            (plain, at.output),
            (tokens.reasoning, reasoning),
        ):
            if count:
                if price is None:
                    return None
                total = EXACT.add(total, EXACT.multiply(price, count))
        return EXACT.add(EXACT.scaleb(total, PER_MILLION), self.request)

    def most(self, input_tokens: int, output_tokens: int | None) -> Decimal | None:
        """Return the most that a request of up to so many tokens can cost, in USD; None if that is not known.

        It is never below :meth:`cost` of tokens within these counts: nothing is taken as cached at a discount, all
        input may be written to a cache, and of the tiers that the input can reach the dearest one counts. A price for
        cache writes that is not known bounds nothing: :meth:`cost` is None as well then. O(tiers).

        :param output_tokens: None: nothing bounds them. The cost is known then only if output is free.
        """
        levels: list[Rates | Tier] = [self, *(tier for tier in self.tiers if tier.above < input_tokens)]
        dearest = ZERO
        for at in levels:
            if (input_tokens and at.input is None) or (output_tokens != 0 and at.output is None):
                return None
            taken = EXACT.multiply(_dearest(at.input, at.cached, at.cache_write), input_tokens)
            each = _dearest(at.output, at.reasoning)
            if output_tokens is None and each:
                return None
            dearest = max(dearest, EXACT.add(taken, EXACT.multiply(each, output_tokens or 0)))
        return EXACT.add(EXACT.scaleb(dearest, PER_MILLION), self.request)

    def at(self, input_tokens: int) -> Rates | Tier:
        """Return what has the prices of a request with so many input tokens: these rates, or one of their tiers."""
        for tier in reversed(self.tiers):
            if input_tokens > tier.above:
                return tier
        return self


def _dearest(*prices: Decimal | None) -> Decimal:
    return max((price for price in prices if price is not None), default=ZERO)


def usd(cost: Decimal) -> str:
    """Return an amount as plain text: exact, without an exponent and without zeros at its end."""
    text = format(cost, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def price_of(value: Any) -> Decimal:
    """Read a price: text, an int or a Decimal.

    :raises ValueError: saying what is wrong with it, as the rest of a sentence that begins with its name.
    """
    if isinstance(value, float):
        raise ValueError(f"{shown(value)} is a float, which holds no exact price: write it as text, '{value!r}'")
    if isinstance(value, bool) or not isinstance(value, (str, int, Decimal)):
        raise ValueError(f"must be USD as text, an int or a Decimal, not {a_kind(value)}")
    try:
        price = Decimal(value)
    except (InvalidOperation, ValueError):
        hint = ": leave out the sign of the currency" if "$" in str(value)[:9] else ""
        raise ValueError(f"{shown(value)} is no number{hint}") from None
    if not price.is_finite() or price < 0:
        raise ValueError(f"{shown(str(price))} is no price: it must be 0 or more")
    _, digits, exponent = price.as_tuple()
    if len(digits) > MOST_DIGITS or abs(int(exponent)) > MOST_DIGITS:
        raise ValueError(f"has more than {MOST_DIGITS} digits")
    return price.copy_abs()  # -0


__all__ = ["Rates", "Tier", "price_of", "usd"]
