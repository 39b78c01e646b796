"""From what a provider answers, or does not, to the errors of :mod:`flow.ai`: one table for all of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

from flow.ai.errors import (
    AccessDenied,
    ConnectionFailed,
    ProviderError,
    ProviderUnavailable,
    QuotaExceeded,
    RateLimited,
    RequestRejected,
)
from flow.ai.providers.fields import retry_after
from flow.ai.providers.keys import Key
from flow.errors import printable

MAX_SAID: Final = 500
"""Characters of a provider's own message that ours repeats."""

_E = TypeVar("_E", bound=ProviderError)

_QUOTA: Final = frozenset({
    "insufficient_quota", "billing_hard_limit_reached", "billing_not_active", "billing_error", "insufficient_credits",
    "insufficient_balance", "credit_balance_too_low", "payment_required",
})  # fmt: skip
"""Words for an account without credit, whatever the status: OpenAI says 429, others 402, 403 or 400."""

_QUOTA_SAID: Final = "credit balance is too low"
"""Anthropic says this with status 400 and no word of its own for it."""

_WORDS: Final[Mapping[str, type[ProviderError]]] = {
    "overloaded_error": ProviderUnavailable,
    "overloaded": ProviderUnavailable,
    "api_error": ProviderUnavailable,
    "server_error": ProviderUnavailable,
    "internal_server_error": ProviderUnavailable,
    "timeout_error": ProviderUnavailable,
    "rate_limit_error": RateLimited,
    "rate_limit_exceeded": RateLimited,
    "tokens": RateLimited,
    "requests": RateLimited,
    "authentication_error": AccessDenied,
    "invalid_api_key": AccessDenied,
    "permission_error": AccessDenied,
    "invalid_request_error": RequestRejected,
    "not_found_error": RequestRejected,
    "request_too_large": RequestRejected,
    "context_length_exceeded": RequestRejected,
    "content_policy_violation": RequestRejected,
}
"""Errors within an answer of status 200, as in the middle of a stream, have no status: their words say which."""


class Where:
    """Whose request failed: makes the errors about it.

    :param redact: hides the key in a text.
    """

    __slots__ = ("model", "provider", "redact")

    def __init__(self, provider: str, model: str, redact: Callable[[str], str]) -> None:
        self.provider = provider
        self.model = model
        self.redact = redact

    def error(self, kind: type[_E], said: str, **facts: Any) -> _E:
        """Make an error whose message names the provider and the model, and holds no key."""
        text = f"{self.provider}, model {self.model}: {self.shown(said)}"
        return kind(text, provider=self.provider, model=self.model, **facts)

    def shown(self, text: str) -> str:
        """Return ``text`` for a message: without the key, in one line, shortened. Cut last: half a key is one too."""
        found = printable(self.redact(text.strip()))
        return found if len(found) <= MAX_SAID else found[: MAX_SAID - 3] + "..."

    def broken(self, what: str, *, sent: bool) -> ConnectionFailed:
        """Make the error for a connection that there is not, or that broke off. (``sent``: see the class.)"""
        error = self.error(ConnectionFailed, what)
        error.sent = sent
        return error

    def fault(self, told: Any, status: int | None = None, fields: Mapping[str, str] | None = None) -> ProviderError:
        """Make the error for what a provider has told: the value of ``error`` in its JSON, or a text.

        :param fields: of the answer's header, by their names in lower case.
        """
        said, words, number = _read(told)
        status = status if status is not None and status >= 300 else number
        fields = fields or {}
        kind = kind_of(status, words, said)
        code = self.shown(words[0]) if words else ""
        answered = f"answered {status}" if status is not None else "ended its answer with an error"
        text = f"{answered}{f' ({code})' if code else ''}{f': {self.shown(said)}' if said.strip() else ''}"
        error = self.error(
            kind, text + _ADVICE.get(kind, ""), status=status, code=code, retry_after=retry_after(fields)
        )
        should = fields.get("x-should-retry", "").strip().lower()
        if should in ("true", "false") and kind is not QuotaExceeded:
            error.retryable = should == "true"
        return error


class Asked(Where):
    """One request of a provider.

    :ivar sent: its secrets, which are hidden in its errors.
    """

    __slots__ = ("sent",)

    def __init__(self, provider: str, model: str, key: Key) -> None:
        self.sent = key.request()
        super().__init__(provider, model, self.sent.redact)


_ADVICE: Final[Mapping[type[ProviderError], str]] = {
    QuotaExceeded: "; the account has no credit left, and waiting does not help",
    AccessDenied: "; check the key and what it may do",
}


def kind_of(status: int | None, words: tuple[str, ...], said: str = "") -> type[ProviderError]:
    """Return which error it is.

    :param status: of HTTP; None within a stream. :param words: the provider's codes for it, the most special first.
    """
    if status == 402 or not _QUOTA.isdisjoint(words) or _QUOTA_SAID in said.lower():
        return QuotaExceeded
    meant = next((_WORDS[word] for word in words if word in _WORDS), ProviderUnavailable)
    if status is None:
        return meant
    if status in (401, 403):
        return AccessDenied
    if status == 429:
        return RateLimited
    if status >= 500 or status in (408, 409, 425) or "overloaded_error" in words:
        return ProviderUnavailable
    return RequestRejected


def _read(told: Any) -> tuple[str, tuple[str, ...], int | None]:
    """Return what was said, the words for it, and the status it names. Providers differ: all may be missing."""
    if isinstance(told, list) and told:
        told = told[0]
    if isinstance(told, Mapping) and isinstance(told.get("error"), Mapping | str) and told["error"]:
        told = told["error"]
    if not isinstance(told, Mapping):
        return (told if isinstance(told, str) else ""), (), None
    said = next((text for key in ("message", "detail", "error") if isinstance(text := told.get(key), str)), "")
    words = [word for key in ("code", "type", "status") if isinstance(word := told.get(key), str) and word]
    number = next((n for key in ("code", "status") if type(n := told.get(key)) is int and 300 <= n < 600), None)
    return said, tuple(dict.fromkeys(words)), number


__all__ = ["MAX_SAID", "Asked", "Where", "kind_of"]
