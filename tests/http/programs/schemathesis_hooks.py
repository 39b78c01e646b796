"""What schemathesis does besides: requests that fit the schemas are made such that they are taken, and must be."""

from __future__ import annotations

from itertools import count
from typing import Any

import schemathesis
from schemathesis.checks import positive_data_acceptance

_numbers = count()


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: Any) -> None:
    """Name each run once: a schema cannot say that a key or an id is of another run, or that there is one of them."""
    if not (case.meta and case.meta.generation.mode.is_positive):
        return
    if isinstance(case.body, dict) and case.body.get("run_id"):
        case.body["run_id"] = f"{case.body['run_id'][:200]}{next(_numbers)}"
        case.headers.pop("Idempotency-Key", None)
    elif "Idempotency-Key" in (case.headers or {}):
        case.headers["Idempotency-Key"] = f"{case.headers['Idempotency-Key'][:200]}{next(_numbers)}"


@schemathesis.hook
def filter_case(context: Any, case: Any) -> bool:
    """Leave out wrong keys of requests: HTTP takes blanks around a value off, and what is left may fit."""
    return bool(case.meta and case.meta.generation.mode.is_positive) or "Idempotency-Key" not in (case.headers or {})


@schemathesis.check
def what_fits_is_taken(ctx: Any, response: Any, case: Any) -> Any:
    if "cursor" in (case.query or {}) or has_whole_floats(case.body):
        return None
    return positive_data_acceptance(ctx, response, case)


def has_whole_floats(value: Any) -> bool:
    """Tell whether there is a 62.0 in it: JSON Schema takes that as an integer, and a service does not."""
    if isinstance(value, dict):
        return any(map(has_whole_floats, value.values()))
    if isinstance(value, list):
        return any(map(has_whole_floats, value))
    return isinstance(value, float) and value.is_integer()
