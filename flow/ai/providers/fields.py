"""What the header fields of an answer say: when to come again, and what is left of a provider's rates."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from math import isfinite
from typing import Final

LONGEST: Final = 86_400.0
"""Most seconds that an answer can make one wait: a day, which is the longest of the periods that providers count by."""

_UNITS: Final = {"d": 86_400.0, "h": 3_600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_SPAN: Final = r"(\d+(?:\.\d+)?)(ms|d|h|m|s)"

_OPENAI: Final = "x-ratelimit-{1}-{0}"
_ANTHROPIC: Final = "anthropic-ratelimit-{0}-{1}"
_KINDS: Final = (("requests", ("requests",)), ("tokens", ("tokens", "input-tokens")))
_FACTS: Final = (("", "remaining"), ("_limit", "limit"), ("_reset", "reset"))
_LEFT: Final = tuple(
    form.format(name, "remaining") for form in (_OPENAI, _ANTHROPIC) for _, names in _KINDS for name in names
)


def retry_after(fields: Mapping[str, str]) -> float | None:
    """Return in how many seconds another request makes sense, if the fields say it.

    ``retry-after-ms`` comes before ``Retry-After`` (seconds, or a date). It is at most a day.

    :param fields: by their names in lower case.
    """
    milliseconds = _number(fields.get("retry-after-ms"))
    if milliseconds is not None:
        return min(milliseconds / 1_000, LONGEST)
    text = fields.get("retry-after", "").strip()
    seconds = _number(text)
    if seconds is None and text:
        seconds = _until(_date(text), fields)
    return None if seconds is None else min(seconds, LONGEST)


def has_rates(fields: Mapping[str, str]) -> bool:
    """Tell whether the fields say what is left. O(1)."""
    return any(name in fields for name in _LEFT)


def rates_left(fields: Mapping[str, str]) -> dict[str, float]:
    """Return what :meth:`flow.ai.Provider.headroom` does, of the fields of one answer."""
    found: dict[str, float] = {}
    for kind, names in _KINDS:
        for ending, fact in _FACTS:
            for text in (fields.get(form.format(name, fact)) for name in names for form in (_OPENAI, _ANTHROPIC)):
                value = None if text is None else _span(text, fields) if fact == "reset" else _number(text)
                if value is not None:
                    found[kind + ending] = value
                    break
    return found


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return max(0.0, value) if isfinite(value) else None


def _span(text: str, fields: Mapping[str, str]) -> float | None:
    """Read ``1.5``, ``1m30s``, ``20ms``, or a time of RFC 3339."""
    text = text.strip()
    seconds = _number(text)
    if seconds is not None:
        return seconds
    parts = re.findall(_SPAN, text)
    if parts and "".join(number + unit for number, unit in parts) == text:
        return sum(float(number) * _UNITS[unit] for number, unit in parts)
    try:
        return _until(datetime.fromisoformat(text), fields)
    except ValueError:
        return None


def _until(when: datetime | None, fields: Mapping[str, str]) -> float | None:
    """Return the seconds until ``when``, by the server's own clock if the answer has its date."""
    if when is None:
        return None
    now = _date(fields.get("date", "")) or datetime.now(UTC)
    return max(0.0, (_aware(when) - _aware(now)).total_seconds())


def _date(text: str) -> datetime | None:
    if not text:
        return None
    from email.utils import parsedate_to_datetime

    try:
        return parsedate_to_datetime(text)
    except (ValueError, TypeError, OverflowError):
        return None


def _aware(when: datetime) -> datetime:
    return when if when.tzinfo is not None else when.replace(tzinfo=UTC)


__all__ = ["LONGEST", "has_rates", "rates_left", "retry_after"]
