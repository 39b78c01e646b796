"""What one call of a node may use: which request is made, and with how many output tokens."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from flow.ai.errors import LimitExceeded, UnknownModel
from flow.ai.limits import UsageLimits, check
from flow.errors import ConfigError


def usage(cost: str | None = "0.01", **values: Any) -> dict[str, Any]:
    return {"requests": 1, "input_tokens": 100, "output_tokens": 10, "cost": cost, **values}


def test_without_limits_nothing_changes() -> None:
    assert check(None, [usage()], 1, None, None, "node 'a'") is None
    assert check(None, [usage()], 1, 7, None, "node 'a'") == 7
    assert check(UsageLimits(), [usage()] * 9, 10**9, 7, None, "node 'a'") == 7


@pytest.mark.parametrize(
    ("limits", "reported", "asked", "expected"),
    [
        (UsageLimits(requests=3), 2, (1, None), None),
        (UsageLimits(input_tokens=300), 2, (100, 5), 5),
        (UsageLimits(output_tokens=30), 2, (1, None), 10),
        (UsageLimits(output_tokens=30), 2, (1, 4), 4),
        (UsageLimits(output_tokens=21), 2, (1, 500), 1),
        (UsageLimits(total_tokens=300), 2, (50, None), 30),
        (UsageLimits(total_tokens=300, output_tokens=25), 2, (50, 80), 5),
    ],
)  # fmt: skip
def test_output_is_lowered_to_what_is_left(limits: UsageLimits, reported: int, asked: Any, expected: Any) -> None:
    assert check(limits, [usage()] * reported, *asked, None, "node 'a'") == expected


@pytest.mark.parametrize(
    ("limits", "asked", "name", "used"),
    [
        (UsageLimits(requests=2), (1, None), "requests=2", "2 used"),
        (UsageLimits(input_tokens=299), (100, 5), "input_tokens=299", "200 used, and the next request needs 100"),
        (UsageLimits(output_tokens=20), (1, None), "output_tokens=20", "20 used"),
        (UsageLimits(total_tokens=270), (50, None), "total_tokens=270", "220 used, and the next request needs 51"),
    ],
)
def test_what_goes_beyond_a_limit_is_refused(limits: UsageLimits, asked: Any, name: str, used: str) -> None:
    with pytest.raises(LimitExceeded) as caught:
        check(limits, [usage(), usage()], *asked, None, "node 'a'")
    assert "node 'a'" in str(caught.value) and name in str(caught.value) and used in str(caught.value)
    assert not caught.value.retryable


def test_cost() -> None:
    limits = UsageLimits(cost="0.05")
    reported = [usage("0.015"), usage("0.015")]
    assert check(limits, reported, 1, 9, Decimal("0.02"), "node 'a'") == 9
    with pytest.raises(LimitExceeded, match=r"cost='0.05'\): 0.03 USD used, and the next request may cost 0.0200001"):
        check(limits, reported, 1, 9, Decimal("0.0200001"), "node 'a'")


def test_a_call_without_a_price_is_refused_before_it_is_made() -> None:
    for reported, asked in (([usage()], None), ([usage(None)], Decimal(0))):
        with pytest.raises(UnknownModel, match="node 'a'.*not known.*input_price"):
            check(UsageLimits(cost="1"), reported, 1, None, asked, "node 'a'")
        check(UsageLimits(cost="1", on_unknown="ignore"), reported, 1, None, asked, "node 'a'")
    ignoring = UsageLimits(cost="0.02", on_unknown="ignore")
    with pytest.raises(LimitExceeded):  # what is known counts
        check(ignoring, [usage(None), usage("0.015")], 1, None, Decimal("0.01"), "node 'a'")


def test_cost_is_that_of_the_lowered_output() -> None:
    asked: list[int | None] = []

    def cost(output: int | None) -> Decimal:
        asked.append(output)
        return Decimal(output or 10**6) / 1000

    assert check(UsageLimits(output_tokens=40, cost="0.05"), [usage()], 1, None, cost, "node 'a'") == 30
    assert asked == [30]


def test_answers_of_a_cache_use_nothing() -> None:
    cached = usage("0", requests=0, cached=True)
    assert check(UsageLimits(requests=1, output_tokens=5, input_tokens=5), [cached] * 9, 5, None, None, "a") == 5


def test_all_faults_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        UsageLimits(requests=0, input_tokens=True, output_tokens=1.5, total_tokens=-1, cost=0.1, on_unknown="no")
    faults = caught.value.faults
    assert [fault.split()[0] for fault in faults] == [
        "requests", "input_tokens", "output_tokens", "total_tokens", "cost", "on_unknown",
    ]  # fmt: skip
    assert "float" in faults[4] and "cost='0.1'" in faults[4] and "0.10000000000000000" in faults[4]


@pytest.mark.parametrize("wrong", ["", "a", "0", "-1", "nan", "inf", 0, True, "1000001", b"1", Decimal("NaN")])
def test_amounts_that_are_none(wrong: Any) -> None:
    with pytest.raises(ConfigError, match="cost must be"):
        UsageLimits(cost=wrong)
