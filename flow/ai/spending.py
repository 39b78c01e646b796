"""What one request has taken, from its sending to the one report of it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from decimal import Decimal
from types import MappingProxyType
from typing import Any, Final

import msgspec

from flow.ai.errors import (
    AccessDenied,
    ConnectionFailed,
    ProviderError,
    ProviderUnavailable,
    QuotaExceeded,
    RateLimited,
    RequestRejected,
)
from flow.ai.messages import MOST_TOKENS, NO_TOKENS, Delta, Reply, Request, Tokens
from flow.ai.models import Resolved
from flow.ai.prices import Rates
from flow.ai.tokens import EstimatedTokens
from flow.config.fields import is_int
from flow.data.context import Context
from flow.errors import a_kind, shown
from flow.logs import NAME
from flow.run.accounts import usd
from flow.usage import KIND

_REFUSALS: Final = (AccessDenied, QuotaExceeded, RateLimited, RequestRejected)
"""What providers answer in the place of an answer. It costs nothing."""

ZERO: Final = Decimal(0)


class Spending:
    """Keeps what is known of one request while it goes on, and reports it once.

    :param rates: by which it is paid; None if they are not known.
    :param counted: its input tokens, if they have been counted.
    """

    __slots__ = ("_began", "_came", "_clock", "_counted", "_ctx", "_known", "_model", "_pieces", "_rates", "_request")

    def __init__(
        self, ctx: Context, model: Resolved, request: Request, rates: Rates | None, counted: int | None
    ) -> None:
        self._ctx, self._model, self._request, self._rates, self._counted = ctx, model, request, rates, counted
        self._clock: Any = ctx._scope.shared.clock
        self._began: float = self._clock.now()
        self._known: Tokens | None = None
        self._pieces: list[str] = []
        self._came = False

    def came(self, delta: Delta) -> None:
        """Note a piece of a streamed answer."""
        self._came = True
        if delta.tokens is not None and not token_faults(delta.tokens):
            self._known = delta.tokens
        self._pieces += [text for text in (delta.text, delta.other) if text]

    def answered(self, reply: Reply) -> tuple[Tokens, Decimal | None]:
        """Return what a whole answer has taken. What the provider says of it wins over what is counted."""
        self._came = True
        tokens = reply.tokens
        if tokens is None:
            asked = "".join([reply.text, reply.refusal, *[call.name + call.arguments for call in reply.tool_calls]])
            asked += "" if reply.kept is None else reply.kept.value
            tokens = self._estimated(max("".join(self._pieces), asked, key=len))  # thoughts are pieces, too
        return tokens, self.cost(tokens)

    def broken(self, error: BaseException) -> tuple[Tokens, Decimal | None]:
        """Return what a request has taken that has no whole answer: nothing, or what came of it, as an estimate."""
        if self.was_free(error):
            return NO_TOKENS, ZERO
        said = getattr(error, "tokens", None)
        if isinstance(said, Tokens) and not token_faults(said):
            self._known = said
        try:
            tokens = self._estimated("".join(self._pieces))
            return tokens, self.cost(tokens)
        except Exception:  # of a counter of the user's own: it may be what has failed
            return Tokens(input=self._counted or 0, estimated=True), None

    def was_free(self, error: BaseException) -> bool:
        """Tell whether the provider has certainly begun no answer."""
        if self._came or getattr(error, "begun", False) or getattr(error, "tokens", None) is not None:
            return False
        if isinstance(error, ConnectionFailed):
            return not error.sent
        if isinstance(error, ProviderUnavailable):
            return error.status is not None
        return isinstance(error, _REFUSALS)

    def cost(self, tokens: Tokens) -> Decimal | None:
        """Return what these tokens cost; None if that is not known."""
        return None if self._rates is None else self._rates.cost(tokens)

    def report(
        self,
        tokens: Tokens,
        cost: Decimal | None,
        budgets: Mapping[str, str],
        most: Decimal | None,
        error: BaseException | None = None,
    ) -> None:
        """Report the request, unless none has gone out.

        :param budgets: the accounts that it counts to. :param most: what was reserved there.
        """
        if isinstance(error, ConnectionFailed) and not error.sent:
            return
        seconds = max(0.0, self._clock.now() - self._began)
        failed = "" if error is None else type(error).__name__
        all_counts = cost is None if error is None else not self.was_free(error)
        counted = most if budgets and all_counts and most != cost else None
        report(self._ctx, self._model, tokens, cost, seconds=seconds, error=failed, budgets=budgets, counted=counted)

    def _estimated(self, text: str) -> Tokens:
        """Return what is known of the tokens; of the rest, what is counted. (Without loading what counts exactly.)"""
        counter: Any = self._model.counter
        counter = counter if getattr(counter, "ready", True) else EstimatedTokens()
        output = counter.count_text(text)[0] if text else 0
        known = self._known
        if known is not None:
            return msgspec.structs.replace(known, output=max(known.output, output), estimated=True)
        count = counter.count(self._request)[0] if self._counted is None else self._counted
        return Tokens(input=count, output=output, estimated=True)


def report(
    ctx: Context,
    model: Resolved,
    tokens: Tokens = NO_TOKENS,
    cost: Decimal | None = ZERO,
    *,
    requests: int = 1,
    cached: bool = False,
    seconds: float = 0.0,
    error: str = "",
    budgets: Mapping[str, str] = MappingProxyType({}),
    counted: Decimal | None = None,
) -> None:
    """Report what one request has taken: with ``cached``, one that was not made."""
    taken: dict[str, Any] = {
        "provider": model.provider.name,
        "model": model.name,
        "requests": requests,
        "input_tokens": tokens.input,
        "output_tokens": tokens.output,
        "cached_tokens": tokens.cached,
        "reasoning_tokens": tokens.reasoning,
        "cost": None if cost is None else f"{cost:f}",
        "estimated": tokens.estimated,
        "cached": cached,
        "seconds": seconds,
        "error": error,
    }
    if budgets:  # most reports are flat without them, which is copied at once
        taken["budgets"] = dict(budgets)
    if counted is not None:  # what these budgets have counted, where it is not the cost
        taken["counted"] = f"{counted:f}"
    ctx.report(KIND, taken)


def token_faults(tokens: Any) -> str:
    """Say what is wrong with the tokens that a provider of the user's own gives; "" if nothing is."""
    if not isinstance(tokens, Tokens):
        return f"its tokens are {a_kind(tokens)}, and no Tokens"
    counts = (tokens.input, tokens.output, tokens.cached, tokens.cache_write, tokens.reasoning)
    if set(map(type, counts)) == _INTS and min(counts) >= 0 and max(counts) <= MOST_TOKENS:
        return ""
    for name in ("input", "output", "cached", "cache_write", "reasoning"):
        value = getattr(tokens, name)
        if not is_int(value) or not 0 <= value <= MOST_TOKENS:
            return f"its tokens have {name}={shown(value)}, and no number of 0 or more"
    return ""


_INTS: Final = {int}

_warned: Final[set[str]] = set()

_MOST_WARNED: Final = 1_000  # models


def warn_unknown(model: Resolved, most: Decimal | None) -> None:
    """Log, once for a model, that its budgets count what was reserved."""
    if model.label not in _warned and len(_warned) < _MOST_WARNED:
        _warned.add(model.label)
        counts = "nothing" if most is None else f"what was reserved, {usd(most)} USD,"
        text = "what a request to %s has cost is not known: %s counts in its budgets, as for all like it"
        logging.getLogger(NAME).warning(text, model.label, counts)


def is_providers_fault(error: BaseException) -> bool:
    """Tell whether another model may answer what this one has not: the request itself is in order."""
    return isinstance(error, ProviderError) and not isinstance(error, RequestRejected)


__all__ = ["Spending", "is_providers_fault", "report", "token_faults", "warn_unknown"]
