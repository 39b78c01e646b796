"""What header fields say: when to come again, and what is left."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from flow.ai.providers.fields import has_rates, rates_left, retry_after

DATE = "Wed, 21 Oct 2015 07:28:00 GMT"


@pytest.mark.parametrize(
    ("fields", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": " 1.5 "}, 1.5),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after": "-3"}, 0.0),
        ({"retry-after-ms": "1500"}, 1.5),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after-ms": "soon", "retry-after": "9"}, 9.0),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:30 GMT", "date": DATE}, 30.0),
        ({"retry-after": "Wed, 21 Oct 2015 07:27:30 GMT", "date": DATE}, 0.0),
        ({"retry-after": "Wed, 21 Oct 2015 07:27:30 GMT"}, 0.0),
        ({"retry-after": "99999999"}, 86_400.0),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "1e999"}, None),
        ({"retry-after": "tomorrow"}, None),
        ({"retry-after": ""}, None),
    ],
)
def test_when_to_come_again(fields: dict[str, str], seconds: float | None) -> None:
    assert retry_after(fields) == seconds


def test_a_date_without_the_servers_own() -> None:
    found = retry_after({"retry-after": format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)})
    assert found is not None
    assert 3_000 < found <= 3_600


def test_openais_rates() -> None:
    fields = {
        "x-ratelimit-limit-requests": "60",
        "x-ratelimit-remaining-requests": "59",
        "x-ratelimit-reset-requests": "1s",
        "x-ratelimit-limit-tokens": "150000",
        "x-ratelimit-remaining-tokens": "149984",
        "x-ratelimit-reset-tokens": "6m0.5s",
    }
    assert has_rates(fields)
    assert rates_left(fields) == {
        "requests": 59, "requests_limit": 60, "requests_reset": 1.0,
        "tokens": 149_984, "tokens_limit": 150_000, "tokens_reset": 360.5,
    }  # fmt: skip


def test_anthropics_rates() -> None:
    fields = {
        "date": DATE,
        "anthropic-ratelimit-requests-limit": "50",
        "anthropic-ratelimit-requests-remaining": "49",
        "anthropic-ratelimit-requests-reset": "2015-10-21T07:28:02Z",
        "anthropic-ratelimit-input-tokens-limit": "40000",
        "anthropic-ratelimit-input-tokens-remaining": "0",
    }
    assert has_rates(fields)
    assert rates_left(fields) == {
        "requests": 49, "requests_limit": 50, "requests_reset": 2.0, "tokens": 0, "tokens_limit": 40_000,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("20ms", 0.02), ("1h2m3s", 3_723.0), ("1d", 86_400.0), ("12.5", 12.5), ("1m30", None), ("x", None), ("-1s", None)],
)
def test_spans(text: str, seconds: float | None) -> None:
    assert rates_left({"x-ratelimit-reset-requests": text}).get("requests_reset") == seconds


def test_nothing_is_said() -> None:
    assert not has_rates({"date": DATE})
    assert rates_left({"x-ratelimit-remaining-requests": "many"}) == {}
