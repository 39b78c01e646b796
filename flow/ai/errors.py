"""What goes wrong between a node and a model. All are :class:`flow.FlowError`.

Retries go by two attributes, which any exception may have: ``retryable`` (False: another attempt makes no sense) and
``retry_after`` (seconds until another attempt makes sense, as the provider says). No message holds a key.
"""

from __future__ import annotations

from typing import Any

from flow.errors import FlowError


class AIError(FlowError):
    """Base of the errors of :mod:`flow.ai`.

    :ivar retryable: whether another attempt may help. :ivar retry_after: in how many seconds, if that is known.
    """

    retryable: bool = False
    retry_after: float | None = None


class ProviderError(AIError):
    """A provider has not answered a request.

    :ivar provider: its name. :ivar model: that was asked. :ivar status: of HTTP; None if there was no answer.
    :ivar code: the provider's own word for it. :ivar trips_breaker: whether it speaks against the provider's health.
    :ivar begun: a part of an answer had come before it: the request is paid for.
    :ivar tokens: what the provider says that it has taken all the same (:class:`flow.ai.messages.Tokens`), or None.
    """

    trips_breaker: bool = True
    begun: bool = False
    tokens: Any = None

    def __init__(
        self,
        message: str,
        *,
        provider: str = "",
        model: str = "",
        status: int | None = None,
        code: str = "",
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.provider = provider
        self.model = model
        self.status = status
        self.code = code
        self.retry_after = retry_after

    def __reduce__(self) -> Any:
        return (_made, (type(self), self.args, dict(self.__dict__)))


def _made(kind: type[ProviderError], args: tuple[Any, ...], state: dict[str, Any]) -> ProviderError:
    error = kind(*args)
    error.__dict__.update(state)
    return error


class RateLimited(ProviderError):
    """Too many requests or tokens (HTTP 429): the provider takes more later."""

    retryable = True
    trips_breaker = False


class QuotaExceeded(ProviderError):
    """The account has no quota or credit left (429 ``insufficient_quota``, 402). Waiting does not help."""

    trips_breaker = False


class AccessDenied(ProviderError):
    """The key is missing, wrong, or may not do this (401, 403)."""

    trips_breaker = False


class RequestRejected(ProviderError):
    """The provider does not take the request as it is (400, 404, 413, 422)."""

    trips_breaker = False


class ProviderUnavailable(ProviderError):
    """The provider has a fault or no time (408, 409, 5xx, an ``overloaded`` answer)."""

    retryable = True


class ConnectionFailed(ProviderError):
    """No connection, or one that broke off.

    :ivar sent: the request had gone out, at least in part: it may have been carried out, and paid for.
    """

    retryable = True
    sent: bool = False


class ReplyInvalid(ProviderError):
    """What came is no answer: no JSON, another content type, a field that is missing, more bytes than are taken."""

    retryable = True


class Refused(AIError):
    """The model has refused. :ivar text: what it said."""

    def __init__(self, message: str, text: str = "") -> None:
        super().__init__(message, text)
        self.text = text

    def __str__(self) -> str:
        return str(self.args[0])


class Truncated(AIError):
    """The answer ends at its most output tokens, where a whole one is needed. :ivar text: what came."""

    def __init__(self, message: str, text: str = "") -> None:
        super().__init__(message, text)
        self.text = text

    def __str__(self) -> str:
        return str(self.args[0])


class OutputMismatch(AIError):
    """The answer does not have the form that ``output=`` asks for, also after its repair. :ivar text: what came."""

    def __init__(self, message: str, text: str = "") -> None:
        super().__init__(message, text)
        self.text = text

    def __str__(self) -> str:
        return str(self.args[0])


class UnknownModel(AIError, ValueError):
    """A model's name means nothing, or the price of a model is needed and not known."""


class LimitExceeded(AIError):
    """A call would go beyond the ``limits=`` of its node (:class:`flow.ai.UsageLimits`), and was not made."""


class BudgetExceeded(AIError):
    """A call could cost more than is left of a budget, and was not made.

    :ivar budget: its name. :ivar limit: in USD. :ivar spent: so far. :ivar reserved: by calls that go on.
    :ivar asked: what the call could cost at most. These four are :class:`decimal.Decimal`.
    :ivar account: of the budget: the value of its ``by=``; "" if it has one account.
    :ivar window: "run", "hour", "day" or "month". :ivar begins_anew: when the window ends; None for that of a run.
    """

    def __init__(
        self,
        message: str,
        budget: str,
        limit: Any,
        spent: Any,
        reserved: Any,
        asked: Any,
        account: str = "",
        window: str = "",
        begins_anew: Any = None,
    ) -> None:
        super().__init__(message, budget, limit, spent, reserved, asked, account, window, begins_anew)
        self.budget = budget
        self.limit = limit
        self.spent = spent
        self.reserved = reserved
        self.asked = asked
        self.account = account
        self.window = window
        self.begins_anew = begins_anew

    def __str__(self) -> str:
        return str(self.args[0])


__all__ = [
    "AIError", "AccessDenied", "BudgetExceeded", "ConnectionFailed", "LimitExceeded", "OutputMismatch",
    "ProviderError", "ProviderUnavailable", "QuotaExceeded", "RateLimited", "Refused", "ReplyInvalid",
    "RequestRejected", "Truncated", "UnknownModel",
]  # fmt: skip
