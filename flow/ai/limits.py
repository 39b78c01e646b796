"""The most that one call of a node may use: :class:`UsageLimits`, and :func:`check` before each of its requests."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final, Literal, TypeAlias

from flow.ai.amounts import amount, amount_fault, costs_in
from flow.ai.errors import LimitExceeded, UnknownModel
from flow.config.fields import Settings, is_int, is_one_of
from flow.errors import ConfigError, shown
from flow.run.accounts import EXACT, usd

OnUnknown: TypeAlias = Literal["refuse", "ignore"]
"""What is done with a call whose cost is not known, where its cost is limited."""

Asked: TypeAlias = Decimal | Callable[[int | None], Decimal | None] | None
"""What a request costs at most; None: not known. Or a function that says it for the most output tokens."""


class UsageLimits(Settings, frozen=True, kw_only=True):
    """The most that one call of a node may use: all its attempts, repair rounds and rounds of an agent together.

    >>> flow.ai.UsageLimits(requests=3, output_tokens=800, cost="0.05")

    A request that would go beyond a limit is not made: :class:`flow.ai.LimitExceeded`. The most output tokens of a
    request are lowered to what is left. Answers of a cache use nothing.

    :param requests: to providers. :param input_tokens: of all requests. :param output_tokens: of all answers.
    :param total_tokens: both. :param cost: USD as text, Decimal or int. None is no limit.
    :param on_unknown: with ``cost``, if the price of a model is not known: "refuse" makes no request, "ignore" counts
        what is not known as nothing.
    :raises ConfigError: listing every setting that is out of range.
    """

    requests: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    total_tokens: int | None = None
    cost: str | Decimal | int | None = None
    on_unknown: OnUnknown = "refuse"

    def __post_init__(self) -> None:
        faults = []
        for name in _INTEGERS:
            value = getattr(self, name)
            if value is not None and (not is_int(value) or value < 1):
                faults.append(f"{name} must be an integer of at least 1, or None, not {shown(value)}")
        if self.cost is not None and (fault := amount_fault("cost", self.cost)):
            faults.append(fault)
        if not is_one_of(self.on_unknown, ON_UNKNOWN):
            faults.append(f"on_unknown must be 'refuse' or 'ignore', not {shown(self.on_unknown)}")
        if faults:
            raise ConfigError("UsageLimits", faults)


ZERO: Final = Decimal(0)

_INTEGERS: Final = ("requests", "input_tokens", "output_tokens", "total_tokens")

ON_UNKNOWN: Final = ("refuse", "ignore")


def check(
    limits: UsageLimits | None,
    reported: Sequence[Mapping[str, Any]],
    asked_input: int,
    asked_output: int | None,
    asked_cost: Asked,
    what: str,
) -> int | None:
    """Return the most output tokens that the next request of a call may have; None if nothing limits them. O(reported).

    :param reported: the usage of all requests of the call so far.
    :param asked_input: tokens of the request. :param asked_output: the most that its answer may have, if that is said.
    :param asked_cost: a function is given what this returns.
    :param what: whose limits these are, for messages: ``node 'summary'``.
    :raises LimitExceeded: if the request, with an answer of one token, would go beyond a limit.
    :raises UnknownModel: if its cost is limited and not known.
    """
    if limits is None:
        return asked_output
    used = _Used(reported)
    _refuse_beyond("requests", limits.requests, used.requests, 1, what)
    _refuse_beyond("input_tokens", limits.input_tokens, used.input, asked_input, what)
    allowed = asked_output
    if limits.output_tokens is not None:
        _refuse_beyond("output_tokens", limits.output_tokens, used.output, 1, what)
        allowed = _least(allowed, limits.output_tokens - used.output)
    if limits.total_tokens is not None:
        _refuse_beyond("total_tokens", limits.total_tokens, used.input + used.output, asked_input + 1, what)
        allowed = _least(allowed, limits.total_tokens - used.input - used.output - asked_input)
    if limits.cost is not None:
        _check_cost(limits, used, asked_cost(allowed) if callable(asked_cost) else asked_cost, what)
    return allowed


class _Used:
    """What the requests of a call have used so far."""

    __slots__ = ("cost", "input", "output", "requests", "unknown")

    def __init__(self, reported: Sequence[Mapping[str, Any]]) -> None:
        self.requests = self.input = self.output = 0
        self.cost, self.unknown = ZERO, False
        for usage in reported:
            if not isinstance(usage, Mapping) or usage.get("cached"):
                continue
            self.requests += _number(usage, "requests")
            self.input += _number(usage, "input_tokens")
            self.output += _number(usage, "output_tokens")
            cost = costs_in(usage)
            self.unknown |= cost is None
            self.cost = EXACT.add(self.cost, cost or ZERO)


def _number(usage: Mapping[str, Any], name: str) -> int:
    value = usage.get(name)
    return value if isinstance(value, int) and is_int(value) and value > 0 else 0


def _check_cost(limits: UsageLimits, used: _Used, asked: Decimal | None, what: str) -> None:
    assert limits.cost is not None
    if limits.on_unknown == "refuse" and (asked is None or used.unknown):
        which = "its next request may cost" if asked is None else "one of its requests has cost"
        raise UnknownModel(
            f"{what} has limits=UsageLimits(cost='{usd(amount(limits.cost))}'), and what {which} is not known: give "
            "the model's prices, as ai.Model(..., input_price=, output_price=), or the limit on_unknown='ignore'"
        )
    most = amount(limits.cost)
    if asked and EXACT.add(used.cost, asked) > most:
        raise LimitExceeded(
            f"{what} has limits=UsageLimits(cost='{usd(most)}'): {usd(used.cost)} USD used, and the next request may "
            f"cost {usd(asked)} USD. It was not made: raise the limit, or lower max_output_tokens"
        )


def _refuse_beyond(name: str, limit: int | None, used: int, asked: int, what: str) -> None:
    if limit is not None and used + asked > limit:
        raise LimitExceeded(
            f"{what} has limits=UsageLimits({name}={limit}): {used:,} used, and the next request needs "
            f"{asked:,}{'' if name in ('requests', 'input_tokens') else ' or more'}. It was not made: raise the limit, "
            "or let the node ask less"
        )


def _least(one: int | None, other: int) -> int:
    return other if one is None else min(one, other)


__all__ = ["ON_UNKNOWN", "Asked", "OnUnknown", "UsageLimits", "check"]
